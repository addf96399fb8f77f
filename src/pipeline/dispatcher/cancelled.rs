//! Takes off the line the records that a person cancelled while they waited for a blank.
//!
//! The ledger refuses to bind a cancelled record, so no card can be made for one. The person's message spares
//! the blanks that the line would feed before it meets such a refusal.

use std::collections::BTreeSet;

use super::Dispatcher;
use crate::laws::RecordState;

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

    /// Notes that the ledger refused to bind a blank for this record because it is cancelled. If the person's
    /// message did not come first, the ledger's list replaces it, so that no other blank is lost.
    pub(super) fn refused_as_cancelled(&mut self, seq: u32) {
        if self.withdrawn.insert(seq)
            && let Ok(reader) = self.ledger.reader()
            && let Ok(cancelled) = reader.in_state(self.job, RecordState::Cancelled)
        {
            self.withdraw(cancelled.into_iter().collect());
        }
    }

    /// Lets a record wait for another station after a void feed order, if it was not cancelled.
    pub(super) fn wait_again(&mut self, seq: u32) {
        if self.withdrawn.remove(&seq) {
            self.drop_record(seq);
        } else {
            self.turns.gone(seq);
            self.floor.unfeed(seq);
        }
    }

    /// Removes a record that will not be made, and releases what the HSM verified for it.
    pub(super) fn drop_record(&mut self, seq: u32) {
        if let Some(card) = self.off_floor(seq) {
            self.release(card.work.as_deref());
        }
    }
}
