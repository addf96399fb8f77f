//! `--keep-going`: finds the cards that are rejected, so that the others can be made.
//!
//! A card is rejected if one of its rows has a fault, or if it cannot be built. Of two cards with one card_ref, or with one
//! account number and sequence number, both are: nobody but the issuer knows which is right. Not here: the files of rejected
//! rows (`rejects`).

use std::collections::BTreeSet;

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
    /// Where the rejected rows are, for people.
    copies: Vec<String>,
}

impl LeftOutRows {
    /// The failure with which the run ends.
    pub fn failure(self, exit: Exit, last: &str) -> Failure {
        self.list.failure(exit, self.copies.into_iter().chain([last.to_owned()]))
    }
}

impl RunInput<'_> {
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
        let mut source = HashedInput::open(self.path)?;
        let mut cards = self.cards(&mut source).map_err(|_| super::changed())?;
        cards.holders = cards.holders.rejecting(doubled);
        let (list, read) = self.listed(cards, &mut keys.hsm);
        if list.is_empty() {
            return Ok(None);
        }
        let (cards, copies) = self.copied_rows(&list);
        let first = self.name();
        let lines =
            list.places().iter().filter(|place| place.file == first).map(|place| place.line).collect();
        let is_whole = list.is_whole();
        let rows = LeftOutRows { read, list, copies };
        match cards.filter(|_| is_whole) {
            Some(cards) => self.left_out = Some(LeftOut { lines, cards }),
            None => {
                return Err(
                    rows.failure(Exit::Input, "nothing was written: not every rejected row names its card")
                );
            }
        }
        Ok(Some(rows))
    }

    /// Copies the rows of rejected cards into files of their own. Returns the cards, unless a row of a joined source does not
    /// name its card; and for people where the files are.
    pub fn copied_rows(&self, list: &RejectList) -> (Option<RejectedCards>, Vec<String>) {
        let schema = &self.builder.plan().input;
        let source = |path, name| RejectSource { path, name, format: schema.format.of_file(path) };
        let first = (!self.is_unfinished).then(|| source(self.path, self.name()));
        let joined = self.join_paths.iter().map(|path| source(path, Some(name(path))));
        let sources: Vec<_> = first.into_iter().chain(joined).collect();
        let rows = match RejectedRows::find(&sources, schema, list.places()) {
            Ok(rows) => rows,
            Err(failure) => return (None, vec![format!("the rejected rows are not copied: {failure}")]),
        };
        let said = match rows.write(self.output) {
            Ok(paths) => paths
                .iter()
                .map(|path| {
                    format!(
                        "the rejected rows are in {}, with cardholder data: mend them, prepare them as a file of their own, and \
                         remove them",
                        path.display()
                    )
                })
                .collect(),
            Err(failure) => vec![format!("the rejected rows are not copied: {failure}")],
        };
        let first = self.name();
        (rows.into_cards(|source| source.name == first), said)
    }
}
