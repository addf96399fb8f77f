//! The input of a run, which is read as often as it takes: a first source, and others joined to it.
//!
//! Not here: rules of its lines (`prep::input`), the list of faults (`rejects`).

use std::cell::{Cell, RefCell, RefMut};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::PrepRunArgs;
use super::left_out::LeftOut;
use super::sources::{FirstSource, JoinedFile, JoinedSources, NOTHING_WRITTEN, Rows, joined, name};
use crate::emv::MonthYear;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::KeyHost;
use crate::ids::KekId;
use crate::prep::allow::{Allowances, TakenCards};
use crate::prep::counter::NumberCounter;
use crate::prep::hashed::HashedInput;
use crate::prep::input::{CardholderReader, DoubledNames, RejectedLine, check};
use crate::prep::join::Join;
use crate::prep::maker::{self, CardToMake};
use crate::prep::offline::CardKeySize;
use crate::prep::order::{BuildError, CardBuilder, CardInputs, OrderedCard};
use crate::prep::rejects::{self, RejectList};
use crate::record::Record;

/// The failure of a run whose input was changed in the meantime.
pub(super) fn changed() -> Failure {
    let what = "input: the file changed while it was read; nothing was written, start again";
    Failure::new(Exit::Input, what)
}

/// The input of a run, read as often as it takes.
pub(super) struct RunInput<'a> {
    /// The first source.
    pub path: &'a Path,
    /// Whether it is an unfinished file.
    pub is_unfinished: bool,
    /// The other sources; `None` if there are none.
    join: Option<RefCell<Join<'a>>>,
    /// SHA-256 of the first source when the join read the names of its cards.
    named: Option<[u8; 32]>,
    /// Their files, with the SHA-256 of each.
    pub joined: Vec<JoinedFile<'a>>,
    /// The output, next to which the faults are listed.
    pub output: &'a Path,
    pub builder: &'a CardBuilder,
    kek: KekId,
    /// This month.
    today: MonthYear,
    allowed: &'a Allowances,
    /// The first number of the product's counter that is this run's.
    pub first_number: Option<u64>,
    /// What is left out though it stands in the input.
    pub left_out: Option<LeftOut<'a>>,
}

/// What a first reading of the input finds.
pub(super) struct InputCount {
    /// Number of cards.
    pub records: u32,
    /// SHA-256 of the first source.
    pub digest: [u8; 32],
    /// The cards that are taken in spite of a rule.
    pub taken: TakenCards,
}

/// The cards of an input, in the order of its first source.
pub(super) struct InputCards<'s> {
    pub holders: CardholderReader<'s, Rows<'s>>,
    /// The record of the row that was taken last.
    record: Rc<Cell<Option<Record>>>,
}

impl InputCards<'_> {
    /// The names that stood in several rows.
    pub fn into_doubled(self) -> DoubledNames {
        self.holders.into_doubled()
    }
}

impl Iterator for InputCards<'_> {
    type Item = Result<CardToMake, RejectedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let holder = self.holders.next()?;
        // One row is read for each card, so this is the card's own record.
        let earlier = self.record.take();
        Some(holder.map(|holder| CardToMake { holder, earlier }))
    }
}

impl<'a> RunInput<'a> {
    /// The input of a run for a product's cards, under its rules: KEK, this month, what is allowed. The joined sources are
    /// read.
    pub fn of(
        args: &'a PrepRunArgs,
        builder: &'a CardBuilder,
        is_unfinished: bool,
        (kek, today, allowed): (KekId, MonthYear, &'a Allowances),
    ) -> Result<Self, Failure> {
        let schema = &builder.plan().input;
        let (join, named, joined) = match joined(args, is_unfinished, schema)? {
            Some(JoinedSources { join, first, files }) => (Some(RefCell::new(join)), Some(first), files),
            None => (None, None, Vec::new()),
        };
        Ok(Self {
            path: &args.input,
            is_unfinished,
            join,
            named,
            joined,
            output: &args.output,
            builder,
            kek,
            today,
            allowed,
            first_number: None,
            left_out: None,
        })
    }

    /// The name of the first source in faults; it has one only if there are several.
    pub fn name(&self) -> Option<Arc<str>> {
        self.join.is_some().then(|| name(self.path))
    }

    /// The cards of the first source, which is open, with the rows of the others, and without those that are left out.
    pub fn cards<'s>(&'s self, source: &'s mut HashedInput) -> Result<InputCards<'s>, RejectedLine> {
        let schema = &self.builder.plan().input;
        let first = FirstSource::new(self.path, source, self.is_unfinished, self.name(), schema)?;
        self.join().into_iter().for_each(|mut join| join.begin());
        let record = Rc::new(Cell::new(None));
        let last = Rc::clone(&record);
        let joined = first.rows.map(move |row| {
            let (row, record) = row?;
            last.set(record);
            match self.join() {
                Some(mut join) => join.complete(row),
                None => Ok(row),
            }
        });
        let kept = joined.filter(|row| self.left_out.as_ref().is_none_or(|left_out| left_out.keeps(row)));
        let kept: Rows<'s> = Box::new(kept);
        let holders =
            CardholderReader::of(kept, schema).under(self.kek).at(self.today).allowing(self.allowed);
        let holders = match self.first_number {
            Some(first) => holders.counting_from(first).refusing_from(first),
            None => holders,
        };
        Ok(InputCards { holders, record })
    }

    /// The join; `None` if there is one source.
    fn join(&self) -> Option<RefMut<'_, Join<'a>>> {
        self.join.as_ref().map(RefCell::borrow_mut)
    }

    /// Checks all lines; `None` if one is wrong. Then takes the numbers that the cards need: from here on they belong to
    /// this run, also if it is killed.
    pub fn count(&mut self, counter: Option<&NumberCounter>) -> Result<Option<InputCount>, Failure> {
        self.first_number = counter.map(NumberCounter::next).transpose()?;
        let mut source = HashedInput::open(self.path)?;
        let counted = self.cards(&mut source).and_then(|mut cards| {
            let records = check(&mut cards)?;
            Ok((records, cards.holders.taken().clone(), cards.holders.counted()))
        });
        let digest = source.finish()?;
        self.check_same(digest)?;
        let Ok((records, taken, numbers)) = counted else { return Ok(None) };
        if self.join().is_some_and(|join| !join.is_used_up()) {
            return Ok(None);
        }
        self.first_number = counter.map(|counter| counter.take(numbers)).transpose()?;
        Ok(Some(InputCount { records, digest, taken }))
    }

    /// Checks that the first source has the digest that it had in earlier readings. A joined row is found by the number of its
    /// card.
    pub fn check_same(&self, digest: [u8; 32]) -> Result<(), Failure> {
        let earlier = self.named.into_iter().chain(self.left_out.as_ref().map(|left_out| left_out.digest));
        if earlier.into_iter().all(|earlier| earlier == digest) { Ok(()) } else { Err(changed()) }
    }

    /// Reads the whole input again and lists every fault, also those that show only when a card is built.
    /// Returns the failure with which the run ends; `otherwise` if there is no fault.
    pub fn rejected(&self, otherwise: Failure, keys: &mut KeyHost) -> Failure {
        let mut source = match HashedInput::open(self.path) {
            Ok(source) => source,
            Err(failure) => return failure,
        };
        let (list, _) = match self.cards(&mut source) {
            Ok(cards) => self.listed(cards, &mut keys.hsm),
            Err(header) => (rejects::list(self.output, self.path, std::iter::once(Ok(header))), 0),
        };
        if list.is_empty() {
            return otherwise;
        }
        list.failure(Exit::Input, [NOTHING_WRITTEN.to_owned()])
    }

    /// Lists the faults of cards, also those that show only when a card is built, and the rows that belong to no card. Returns
    /// the number of cards too.
    pub fn listed(&self, cards: InputCards<'_>, hsm: &mut HsmClient) -> (RejectList, u64) {
        let mut read = 0u64;
        let wrong = cards.inspect(|_| read += 1).filter_map(|card| self.wrong(card, hsm));
        // The list names the faults of the cards first, then the joined rows without a card.
        let others = std::iter::from_fn(|| self.join()?.next_rejected().map(Ok));
        let list = rejects::list(self.output, self.path, wrong.chain(others));
        (list, read)
    }

    /// The faults of a card; `None` if it can be made.
    fn wrong(
        &self,
        card: Result<CardToMake, RejectedLine>,
        hsm: &mut HsmClient,
    ) -> Option<Result<RejectedLine, Failure>> {
        let card = match card {
            Ok(card) => card,
            Err(line) => return Some(Ok(line)),
        };
        let card_ref = card.holder.card_ref.clone();
        match self.build(card, hsm) {
            Ok(_) => None,
            Err(BuildError::Input(fault)) => {
                Some(Ok(RejectedLine { card_ref: Some(card_ref), faults: vec![fault] }))
            }
            Err(BuildError::Other(failure)) => Some(Err(failure)),
        }
    }

    /// Builds a card only to find its faults.
    fn build(&self, card: CardToMake, hsm: &mut HsmClient) -> Result<OrderedCard, BuildError> {
        let codes = maker::codes(self.builder, std::slice::from_ref(&card), hsm)?;
        let inputs = CardInputs { codes: codes.first(), card_key: &mut CardKeySize::stand_in };
        maker::ordered(self.builder, card, inputs)
    }
}
