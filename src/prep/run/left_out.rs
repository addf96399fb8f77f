//! `--keep-going`: finds the cards that are rejected, so that the others can be made.
//!
//! A card is rejected if one of its rows has a fault, or if it cannot be built. Of two cards with one card_ref, or with one
//! account number and sequence number, both are: nobody but the issuer knows which is right. Not here: the files of rejected
//! rows (`rejects`).

use std::collections::BTreeSet;
use std::path::Path;

use super::hashed::HashedInput;
use super::input::RunInput;
use super::sources::name;
use crate::exit::{Exit, Failure};
use crate::hsm::key_host::KeyHost;
use crate::prep::counter::NumberCounter;
use crate::prep::input::{InputError, RejectedLine, SourceRow};
use crate::prep::rejects::{RejectList, RejectSource, RejectedCards, RejectedRows};

/// The rows that are left out of an input.
pub(super) struct LeftOut {
    /// SHA-256 of the first source in which they stand.
    pub digest: [u8; 32],
    /// Lines of the first source in which a row with a fault begins.
    lines: BTreeSet<u64>,
    cards: RejectedCards,
}

impl LeftOut {
    /// Whether a row stays. One that cannot be read is no row of a card; a file that cannot be read stays a fault.
    pub fn keeps(&self, row: &Result<SourceRow, RejectedLine>) -> bool {
        match row {
            Ok(row) => !self.lines.contains(&row.place.line) && !self.cards.is_of(row),
            Err(line) => matches!(line.faults.as_slice(), [InputError::Io(_)]),
        }
    }
}

/// What was left out.
pub(super) struct LeftOutRows {
    /// Rows that were read.
    pub read: u64,
    list: RejectList,
}

impl LeftOutRows {
    /// The failure of a run that has written nothing else.
    pub fn nothing_written(self, why: &str) -> Failure {
        self.list.failure(Exit::Input, [format!("nothing was written: {why}")])
    }

    /// The failure of a run that has written the other cards. The rejected rows are copied now: before, a person could have
    /// mended both them and the input.
    pub fn others_written(self, input: &RunInput<'_>) -> Failure {
        let mut last = input.copied_rows(&self.list);
        last.push("the other cards were written".to_owned());
        self.list.failure(Exit::RowsRejected, last)
    }
}

impl<'a> RunInput<'a> {
    /// Finds the cards that are rejected, lists their faults, and leaves them out from here on; `None` if there are none.
    pub fn leave_out(
        &mut self,
        counter: Option<&NumberCounter>,
        keys: &mut KeyHost,
    ) -> Result<Option<LeftOutRows>, Failure> {
        self.first_number = counter.map(NumberCounter::next).transpose()?;
        let mut source = HashedInput::open(self.path)?;
        let Ok(mut cards) = self.cards(&mut source) else {
            return Err(self.rejected(super::changed(), keys));
        };
        cards.by_ref().for_each(drop);
        let doubled = cards.into_doubled();
        let digest = source.finish()?;
        let mut source = HashedInput::open(self.path)?;
        let mut cards = self.cards(&mut source).map_err(|_| super::changed())?;
        cards.holders = cards.holders.rejecting(doubled);
        let (list, read) = self.listed(cards, &mut keys.hsm);
        if source.finish()? != digest {
            return Err(super::changed());
        }
        if list.is_empty() {
            return Ok(None);
        }
        let rows = LeftOutRows { read, list };
        if rows.list.is_cut() || !rows.list.is_whole() {
            return Err(rows.nothing_written("not every row could be read"));
        }
        let sources = self.reject_sources();
        let found = RejectedRows::find(&sources, &self.builder.plan().input, rows.list.places())?;
        found.check_places(self.output)?;
        let first = self.name();
        let Some(cards) = found.into_cards(|source| source.name == first) else {
            return Err(rows.nothing_written(
                "a rejected row of a joined input has no card_ref, so its card is not known: correct that row and start again",
            ));
        };
        let places = rows.list.places().iter().filter(|place| place.file == first);
        let lines = places.map(|place| place.line).collect();
        drop(sources);
        self.left_out = Some(LeftOut { digest, lines, cards });
        Ok(Some(rows))
    }

    /// The sources of rows.
    fn reject_sources(&self) -> Vec<RejectSource<'a>> {
        let format = self.builder.plan().input.format;
        let source = |path: &'a Path, name| RejectSource { path, name, format: format.of_file(path) };
        let joined = self.join_paths.iter().map(|path| source(path, Some(name(path))));
        std::iter::once(source(self.path, self.name())).chain(joined).collect()
    }

    /// Copies the rows of rejected cards into files of their own. Returns where they are, for people.
    fn copied_rows(&self, list: &RejectList) -> Vec<String> {
        let sources = self.reject_sources();
        let rows = RejectedRows::find(&sources, &self.builder.plan().input, list.places());
        match rows.and_then(|rows| rows.write(self.output)) {
            Ok(paths) => {
                let said = paths.iter().map(|path| {
                    format!(
                        "the rejected rows are in {}, with cardholder data: mend them, prepare them as a file of their own, \
                         and remove them",
                        path.display()
                    )
                });
                said.collect()
            }
            Err(failure) => vec![format!("the rejected rows are not copied: {failure}")],
        }
    }
}
