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
                        Err(error) => denied(blank, error),
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

/// Why nothing may be written to the card. If one of the ledger's laws keeps the card from its record, it is not bound. An error
/// that is not listed here means that the ledger takes nothing more.
fn denied(blank: BlankInspection, error: LedgerError) -> CardPermission {
    let refused = |blame, reason, detail| CardPermission::Refused(blank, Fault::new(blame, reason, detail));
    match error {
        error @ LedgerError::NotAcknowledged { .. } => {
            let what = format!("{error}; the card is bound, and nothing was written on its chip: destroy it");
            CardPermission::Lost(Fault::new(Blame::Hsm, ReasonWord::NotAcknowledged, what))
        }
        LedgerError::Barred { why, .. } => CardPermission::Lost(Fault::barred(why)),
        LedgerError::Denied { law: law @ Law::ChipSeen(_), .. } => {
            refused(Blame::Device, ReasonWord::ChipSeen, format!("device: {law}"))
        }
        LedgerError::Denied { law: Law::Record { is: RecordState::Cancelled, .. }, .. } => refused(
            Blame::Card,
            ReasonWord::RecordCancelled,
            "operator: the record was cancelled after this blank was fed for it; the blank is still empty"
                .into(),
        ),
        error @ LedgerError::NotSigned { .. } => {
            refused(Blame::Hsm, ReasonWord::NotSigned, error.to_string())
        }
        error => CardPermission::NotRecorded(error),
    }
}
