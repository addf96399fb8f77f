//! `--keep-going`: finds the cards that are rejected, so that the others can be made.
//!
//! A card is rejected if one of its rows has a fault, or if it cannot be built. Of two cards with one card_ref, or with one
//! account number and sequence number, both are: nobody but the issuer knows which is right. Not here: the files of rejected
//! rows (`rejects`).

use std::path::Path;

use super::input::RunInput;
use super::sources::name;
use crate::exit::{Exit, Failure};
use crate::hsm::key_host::KeyHost;
use crate::prep::counter::NumberCounter;
use crate::prep::hashed::HashedInput;
use crate::prep::input::{InputError, RejectedLine, SourceRow};
use crate::prep::rejects::{RejectList, RejectSource, RejectedRows};

/// The rows that are left out of an input.
pub(super) struct LeftOut<'a> {
    /// SHA-256 of the first source.
    pub digest: [u8; 32],
    /// Those with a fault, and all rows of their cards.
    rows: RejectedRows<'a>,
}

impl LeftOut<'_> {
    /// Whether a row stays. One that cannot be read is no row of a card; a file that cannot be read stays a fault.
    pub fn keeps(&self, row: &Result<SourceRow, RejectedLine>) -> bool {
        match row {
            Ok(row) => !self.rows.is_rejected(row),
            Err(line) => matches!(line.faults.as_slice(), [InputError::Io(_)]),
        }
    }

    /// Copies the rows into files of their own, next to an output. Returns where they are, for people.
    fn copied(&self, output: &Path) -> Vec<String> {
        let copies = self.rows.write(output).into_iter().map(|copied| match copied {
            Ok(path) => format!(
                "the rejected rows are in {}, with cardholder data: mend them, prepare them as a file of their own, and \
                 remove them",
                path.display()
            ),
            Err(failure) => format!("rejected rows are not copied: {failure}"),
        });
        copies.collect()
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

    /// The failure of a run that has written the other cards. Copies the rejected rows only now: if a run copied them and then
    /// failed, a person could mend the copy and the input, and order the cards twice. `unreported` is the reason why the report
    /// is missing.
    pub fn others_written(self, input: &RunInput<'_>, unreported: Option<Failure>) -> Failure {
        let mut last =
            input.left_out.as_ref().map(|left_out| left_out.copied(input.output)).unwrap_or_default();
        last.push("the other cards were written".to_owned());
        last.extend(unreported.map(|failure| format!("the report is missing: {failure}")));
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
        self.check_same(digest)?;
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
        let schema = &self.builder.plan().input;
        let found = RejectedRows::find(self.reject_sources(digest), schema, rows.list.places())?;
        if !found.names_all_cards() {
            return Err(rows.nothing_written(
                "a rejected row of a joined input has no card_ref, so its card is not known: correct that row and start again",
            ));
        }
        self.left_out = Some(LeftOut { digest, rows: found });
        Ok(Some(rows))
    }

    /// The sources of rows, of which the first has this digest.
    fn reject_sources(&self, digest: [u8; 32]) -> Vec<RejectSource<'a>> {
        let format = self.builder.plan().input.format;
        let source =
            |path: &'a Path, name, digest| RejectSource { path, name, format: format.of_file(path), digest };
        let joined = self.joined.iter().map(|(path, digest)| source(path, Some(name(path)), *digest));
        std::iter::once(source(self.path, self.name(), digest)).chain(joined).collect()
    }
}
