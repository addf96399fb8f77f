//! The input of a run, which is read as often as it takes.
//!
//! Not here: rules of its lines (`prep::input`), the list of faults (`rejects`).

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::emv::MonthYear;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::SealedCardKey;
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::KeyHost;
use crate::ids::KekId;
use crate::prep::allow::{Allowances, TakenCards};
use crate::prep::counter::NumberCounter;
use crate::prep::input::{Cardholder, CardholderReader, RejectedLine, RowReader, check};
use crate::prep::offline::CardKeySize;
use crate::prep::order::{BuildError, CardBuilder, CardInputs, OrderedCard};
use crate::prep::{maker, rejects};

pub(super) fn changed() -> Failure {
    let what = "input: the file changed while it was read; nothing was written, start again";
    Failure::new(Exit::Input, what)
}

/// The input of a run, read as often as it takes.
pub(super) struct RunInput<'a> {
    path: &'a Path,
    output: &'a Path,
    builder: &'a CardBuilder,
    kek: KekId,
    /// This month.
    today: MonthYear,
    allowed: &'a Allowances,
    /// The first number of the product's counter that is this run's.
    first_number: Option<u64>,
}

/// What a first reading of the input finds.
pub(super) struct InputCount {
    /// Number of cards.
    pub records: u32,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// The cards that are taken in spite of a rule.
    pub taken: TakenCards,
}

impl<'a> RunInput<'a> {
    pub fn cards<'s>(
        &self,
        source: &'s mut HashedInput,
    ) -> Result<CardholderReader<'a, RowReader<'a, &'s mut HashedInput>>, RejectedLine> {
        let schema = &self.builder.plan().input;
        let rows = RowReader::new(source, schema.format.of_file(self.path), None, schema)?;
        let cards = CardholderReader::of(rows, schema).under(self.kek).at(self.today).allowing(self.allowed);
        Ok(match self.first_number {
            Some(first) => cards.counting_from(first),
            None => cards,
        })
    }

    /// The input at `path` for the output at `output`, under the rules of a run: KEK, this month, what is allowed.
    pub fn of(
        builder: &'a CardBuilder,
        (path, output): (&'a Path, &'a Path),
        (kek, today, allowed): (KekId, MonthYear, &'a Allowances),
    ) -> Self {
        Self { path, output, builder, kek, today, allowed, first_number: None }
    }

    /// Checks all lines; `None` if one is wrong. Then takes the numbers that the cards need: from here on they belong to
    /// this run, also if it is killed.
    pub fn count(&mut self, counter: Option<&NumberCounter>) -> Result<Option<InputCount>, Failure> {
        self.first_number = counter.map(NumberCounter::next).transpose()?;
        let mut source = HashedInput::open(self.path)?;
        let Ok(mut cards) = self.cards(&mut source) else { return Ok(None) };
        let Ok(records) = check(&mut cards) else { return Ok(None) };
        let (taken, numbers) = (cards.taken().clone(), cards.counted());
        let digest = source.finish()?;
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
        let cards = match self.cards(&mut source) {
            Ok(cards) => cards,
            Err(header) => return rejects::list(self.output, std::iter::once(Ok(header)), otherwise),
        };
        let wrong = |card: Result<Cardholder, RejectedLine>| match card {
            Err(line) => Some(Ok(line)),
            Ok(card) => match self.build(&card, &mut keys.hsm) {
                Ok(_) => None,
                Err(BuildError::Input(fault)) => {
                    Some(Ok(RejectedLine { card_ref: Some(card.card_ref), faults: vec![fault] }))
                }
                Err(BuildError::Other(failure)) => Some(Err(failure)),
            },
        };
        rejects::list(self.output, cards.filter_map(wrong), otherwise)
    }

    /// Builds a card only to find its faults. It takes no key pair of a pool: zeros of the right length stand for one.
    fn build(&self, card: &Cardholder, hsm: &mut HsmClient) -> Result<OrderedCard, BuildError> {
        let codes = maker::codes(self.builder, std::slice::from_ref(card), hsm)?;
        let mut card_key = |size: CardKeySize| {
            Ok(SealedCardKey { modulus: vec![0; usize::from(size.bits / 8)], sealed: Vec::new() })
        };
        let inputs = CardInputs { sequence: 0, codes: codes.first(), card_key: &mut card_key };
        self.builder.card(card, inputs)
    }
}

/// The input file; it is hashed while it is read.
pub(super) struct HashedInput {
    file: BufReader<File>,
    hash: Sha256,
    name: String,
}

impl HashedInput {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let fail = |what: String| Failure::new(Exit::Io, format!("operator: input {name}: {what}"));
        // The input is read twice, which a pipe does not allow.
        if !std::fs::metadata(path).map_err(|e| fail(files::trouble(&e)))?.is_file() {
            return Err(fail("it is no regular file: name a file".into()));
        }
        let file = File::open(path).map_err(|e| fail(files::trouble(&e)))?;
        Ok(Self { file: BufReader::with_capacity(256 * 1024, file), hash: Sha256::new(), name })
    }

    /// Reads the rest of the file and returns the SHA-256 of all of it.
    pub fn finish(mut self) -> Result<[u8; 32], Failure> {
        std::io::copy(&mut self, &mut std::io::sink())
            .map_err(|e| Failure::new(Exit::Io, format!("input {}: {}", self.name, files::trouble(&e))))?;
        Ok(self.hash.finalize().into())
    }
}

impl Read for HashedInput {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
