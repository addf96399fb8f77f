//! A station asks whether it may write to the card that lies there: until the change of the ledger is durable,
//! and while the card waits for its turn (`pipeline::turns`).

use super::{Binding, HungUp, Runner, StationHappening};
use crate::audit::LedgerId;
use crate::hsm::CardAttempt;
use crate::laws::event::LedgerEvent;
use crate::laws::{Law, RecordState};
use crate::ledger::LedgerError;
use crate::modules::{Blame, BlankInspection, CardWork, Fault};
use crate::reason::ReasonWord;

/// Whether the station may write to its card.
pub(super) enum CardPermission {
    /// It may, and the change is durable: the card as it was inspected last, and whether its chip goes first.
    Given(BlankInspection, bool),
    /// The card as it was inspected last has to go, for this reason.
    Refused(BlankInspection, Fault),
    /// The card is bound, but nothing may be written on it, for this reason: it has to go.
    Lost(Fault),
    /// The ledger takes nothing more.
    NotRecorded(LedgerError),
}

impl Runner<'_> {
    /// Asks by this report, again after each wait, with a card that was inspected anew.
    pub(super) fn leave(
        &mut self,
        work: &CardWork,
        mut blank: BlankInspection,
        asks: fn(BlankInspection) -> StationHappening,
    ) -> Result<CardPermission, HungUp> {
        loop {
            self.tell(asks(blank))?;
            match self.binds.recv().map_err(|_| HungUp)? {
                Binding::Given { ledger, ticket, first } => {
                    return Ok(match ticket.wait() {
                        Ok(event) => {
                            if let Some(card) = attempt_of(ledger, &event) {
                                self.setup.module.bound(card);
                            }
                            CardPermission::Given(blank, first)
                        }
                        Err(error) => lost(error).map_or_else(
                            |error| {
                                refused(error).map_or_else(CardPermission::NotRecorded, |fault| {
                                    CardPermission::Refused(blank, fault)
                                })
                            },
                            CardPermission::Lost,
                        ),
                    });
                }
                Binding::Refused(fault) => return Ok(CardPermission::Refused(blank, fault)),
                // Its first answer to INITIALIZE UPDATE may be minutes old. The limits begin anew as well.
                Binding::AskAnew => match self.look(work) {
                    Ok(again) => blank = again,
                    Err(fault) => {
                        let key_data = fault.key_data.or(blank.key_data);
                        return Ok(CardPermission::Refused(BlankInspection { key_data, ..blank }, fault));
                    }
                },
            }
        }
    }

    /// Has the chip that goes first prove its keys, and reports the proof at once.
    pub(super) fn proves_keys(&mut self, work: &CardWork) -> Result<Result<(), Fault>, HungUp> {
        let outcome = self.setup.module.authenticate(work);
        if outcome.is_ok() {
            self.tell(StationHappening::KeysProved)?;
        }
        Ok(outcome)
    }
}

/// The attempt that an event is about.
fn attempt_of(ledger: LedgerId, event: &LedgerEvent) -> Option<CardAttempt> {
    let (job, seq, attempt) = (event.job?, event.seq()?, event.attempt()?);
    Some(CardAttempt { ledger, job, seq, attempt })
}

/// The fault of a card that is bound, and on which nothing may be written. Any other error is returned.
fn lost(error: LedgerError) -> Result<Fault, LedgerError> {
    match &error {
        LedgerError::NotAcknowledged { .. } => {
            let what = format!("{error}; the card is bound, and nothing was written on its chip: destroy it");
            Ok(Fault::new(Blame::Hsm, ReasonWord::NotAcknowledged, what))
        }
        LedgerError::Barred { why, .. } => Ok(Fault::barred(*why)),
        _ => Err(error),
    }
}

/// The fault of a card that one of the ledger's laws keeps from its record. Any other error means that the
/// ledger takes nothing more.
fn refused(error: LedgerError) -> Result<Fault, LedgerError> {
    match error {
        LedgerError::Denied { law: law @ Law::ChipSeen(_), .. } => {
            Ok(Fault::new(Blame::Device, ReasonWord::ChipSeen, format!("device: {law}")))
        }
        LedgerError::Denied { law: Law::Record { is: RecordState::Cancelled, .. }, .. } => Ok(Fault::new(
            Blame::Card,
            ReasonWord::RecordCancelled,
            "operator: the record was cancelled after this blank was fed for it; the blank is still empty",
        )),
        error @ LedgerError::NotSigned { .. } => {
            Ok(Fault::new(Blame::Hsm, ReasonWord::NotSigned, error.to_string()))
        }
        error => Err(error),
    }
}
