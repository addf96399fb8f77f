//! The input of a run, which is read as often as it takes: a first source, and others joined to it.
//!
//! Not here: rules of its lines (`prep::input`), the list of faults (`rejects`).

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use super::PrepRunArgs;
use super::left_out::LeftOut;
use super::sources::{JoinedFile, NOTHING_WRITTEN, Rows, joined, name};
use crate::emv::MonthYear;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::KeyHost;
use crate::ids::KekId;
use crate::prep::allow::{Allowances, TakenCards};
use crate::prep::counter::NumberCounter;
use crate::prep::hashed::HashedInput;
use crate::prep::input::{CardholderReader, DoubledNames, RejectedLine, RowReader, check};
use crate::prep::join::Join;
use crate::prep::maker::{self, CardToMake};
use crate::prep::offline::CardKeySize;
use crate::prep::order::{BuildError, CardBuilder, CardInputs, OrderedCard};
use crate::prep::rejects::{self, RejectList};
use crate::prep::unfinished::{RecordSlot, UnfinishedRows};

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
    pub join: RefCell<Option<Join<'a>>>,
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
    /// The record of an unfinished file from which the next card's row came.
    record: RecordSlot,
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
        let (join, joined) = joined(args, is_unfinished, schema)?;
        Ok(Self {
            path: &args.input,
            is_unfinished,
            join: RefCell::new(join),
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
        self.join.borrow().is_some().then(|| name(self.path))
    }

    /// The cards of the first source, which is open, with the rows of the others, and without those that are left out.
    pub fn cards<'s>(&'s self, source: &'s mut HashedInput) -> Result<InputCards<'s>, RejectedLine> {
        let schema = &self.builder.plan().input;
        let file = self.name();
        let record = RecordSlot::default();
        self.join.borrow_mut().as_mut().into_iter().for_each(Join::begin);
        let rows: Rows<'s> = match self.is_unfinished {
            true => Box::new(UnfinishedRows::new(source, file, RecordSlot::clone(&record))?),
            false => Box::new(RowReader::new(source, schema.format.of_file(self.path), file, schema)?),
        };
        let joined = rows.map(move |row| match &mut *self.join.borrow_mut() {
            Some(join) => join.complete(row?),
            None => row,
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

    /// Checks all lines; `None` if one is wrong. Then takes the numbers that the cards need: from here on they belong to
    /// this run, also if it is killed.
    pub fn count(&mut self, counter: Option<&NumberCounter>) -> Result<Option<InputCount>, Failure> {
        self.first_number = counter.map(NumberCounter::next).transpose()?;
        let mut source = HashedInput::open(self.path)?;
        let Ok(mut cards) = self.cards(&mut source) else { return Ok(None) };
        let Ok(records) = check(&mut cards) else { return Ok(None) };
        let (taken, numbers) = (cards.holders.taken().clone(), cards.holders.counted());
        drop(cards);
        if self.join.borrow().as_ref().is_some_and(|join| !join.is_used_up()) {
            return Ok(None);
        }
        let digest = source.finish()?;
        if self.left_out.as_ref().is_some_and(|left_out| left_out.digest != digest) {
            return Err(changed());
        }
        self.first_number = counter.map(|counter| counter.take(numbers)).transpose()?;
        Ok(Some(InputCount { records, digest, taken }))
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
        // Which rows belong to no card is known after the last card.
        let others = std::iter::from_fn(|| self.join.borrow_mut().as_mut()?.next_rejected().map(Ok));
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
