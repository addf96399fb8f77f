//! People's messages to a line that runs: stop, go on, throw a card out, blanks were issued.

use super::Dispatcher;
use crate::laws::Context;
use crate::modules::{Blame, Fault};
use crate::pipeline::floor::Doom;
use crate::pipeline::{LineMessage, Stop};
use crate::reason::ReasonWord;

impl Dispatcher<'_> {
    pub(super) fn told(&mut self, told: LineMessage) {
        match told {
            LineMessage::Issued(count) => {
                self.hopper = self.hopper.map(|blanks| blanks.saturating_add(u64::from(count)));
            }
            LineMessage::Cancelled(sequences) => self.withdraw(sequences),
            LineMessage::Stop => self.stop_feeding(Stop::Operator),
            LineMessage::GoOn { answer } => {
                // A person can take back only a person's stop, never one for a fault.
                let goes_on = self.outcome.stopped == Some(Stop::Operator) && self.leaving.at.is_none();
                if goes_on {
                    self.outcome.stopped = None;
                }
                let _ = answer.try_send(goes_on);
            }
            LineMessage::Ready { .. } => self.prove(told),
            LineMessage::Kill { seq, by, answer } => {
                let doom = self.floor.doom(seq, &by);
                match doom {
                    Doom::Now(place) => self.clear(place, killed()),
                    // The caller reads the outcome of the card from the ledger next.
                    Doom::Gone => self.settle_all(),
                    Doom::Later => self.kill_wanting(seq),
                }
                // The caller may have hung up.
                let _ = answer.try_send(doom != Doom::Gone);
            }
        }
    }

    /// Puts the person who had a card thrown out into the ledger as the actor.
    pub(super) fn in_whose_name(&self, seq: u32, fault: &Fault, context: Context) -> Context {
        match self.floor.card(seq).and_then(|card| card.killed_by.as_ref()) {
            Some(by) if fault.reason == ReasonWord::Killed => {
                let Context { actor, first_person, .. } = Context::by(by);
                Context { actor, first_person, ..context }
            }
            _ => context,
        }
    }

    /// Counts a blank that was not fed: it is still in the hopper.
    pub(super) fn not_fed(&mut self) {
        self.hopper = self.hopper.map(|blanks| blanks.saturating_add(1));
    }

    /// Stops the line when, by the count, the hopper is empty, so that it never feeds a blank that was not
    /// issued.
    pub(super) fn hopper_is_enough(&mut self) {
        // A record that the source still prepares counts once it is there: it may be cancelled until then.
        let wanted = self.floor.ready_waits() || !self.pending.is_empty();
        if self.hopper == Some(0) && wanted {
            let detail = "operator: all blanks that were issued to the job are fed; put more into the hopper, issue them, and resume";
            let fault = Fault::new(Blame::Device, ReasonWord::Stock, detail);
            self.stop_feeding(Stop::Fault { station: "hopper".into(), fault });
        }
    }
}

/// The fault of a card that a person had thrown out.
pub(super) fn killed() -> Fault {
    Fault::new(
        Blame::Card,
        ReasonWord::Killed,
        "operator: the card was to be thrown out; once it is seen destroyed, its record can be made again",
    )
}
