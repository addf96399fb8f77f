//! Takes off the line the records that a person cancelled while they waited for a blank.
//!
//! The ledger refuses to bind a cancelled record, so no card can be made for one. The message only spares the
//! blanks that the line would feed before it learns that.

use std::collections::BTreeSet;

use super::Dispatcher;

impl Dispatcher<'_> {
    /// Removes the records that no station feeds a blank for. The others are removed when the ledger refuses
    /// to bind their blanks, and a record that the source still prepares when it comes.
    pub(super) fn withdraw(&mut self, sequences: BTreeSet<u32>) {
        self.pending.retain(|seq| !sequences.contains(seq));
        for seq in sequences {
            let Some(card) = self.floor.card(seq) else { continue };
            if card.is_ready() {
                self.drop_record(seq);
            } else {
                self.withdrawn.insert(seq);
            }
        }
    }

    /// Lets a record wait for another station after a void feed order, if it was not cancelled.
    pub(super) fn wait_again(&mut self, seq: u32) {
        if self.withdrawn.remove(&seq) {
            self.drop_record(seq);
        } else {
            self.floor.unfeed(seq);
        }
    }

    /// Removes a record that will not be made, and releases what the HSM verified for it.
    pub(super) fn drop_record(&mut self, seq: u32) {
        if let Some(card) = self.floor.remove(seq) {
            self.release(card.work.as_deref());
        }
    }
}
