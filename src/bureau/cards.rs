//! People's decisions about cards. Each is one change of the ledger, whose laws accept or refuse it.
//!
//! Not here: who may decide (`daemon::policy`), throwing cards out of a line that runs (`daemon::answers`).

use super::outcome::{CardDecisions, Outcome};
use super::refusal::{Refusal, Senseless};
use crate::actor::Actor;
use crate::ids::JobId;
use crate::laws::{Change, Context, RecordState};
use crate::ledger::{JobView, Ledger, LedgerError, Reader};
use crate::request::{CardDecision, Records};

/// Has the ledger record a decision about records. Returns the changes that its laws allow, and the records
/// that they refuse.
pub fn decide(
    ledger: &Ledger,
    job: JobId,
    records: &Records,
    decision: CardDecision,
    actor: &Actor,
) -> Result<Outcome, Refusal> {
    if (decision, records) == (CardDecision::FoundGood, &Records::All) {
        return Err(Refusal::Senseless(Senseless::AllFoundGood));
    }
    let reader = ledger.reader()?;
    let sequences = match records.sequences(reader.job(job)?.records) {
        Some(sequences) => sequences,
        None => applicable(&reader, job, decision)?,
    };
    // All changes go to the writer before the first one is waited for, so that they share commits.
    let tickets: Vec<_> = sequences
        .into_iter()
        .map(|seq| (seq, ledger.record(job, change(decision, seq), Context::by(actor))))
        .collect();
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    for (seq, ticket) in tickets {
        match ticket.wait() {
            Ok(event) => changed.push((&event).into()),
            Err(error @ LedgerError::Denied { .. }) => refused.push((seq, error)),
            Err(error) => return Err(error.into()),
        }
    }
    let JobView { phase, held_for, .. } = reader.job(job)?;
    Ok(Outcome::Decided(CardDecisions { job, phase, held_for, decision, changed, refused }))
}

/// The records to which `all` refers in a decision.
fn applicable(reader: &Reader, job: JobId, decision: CardDecision) -> Result<Vec<u32>, LedgerError> {
    match decision {
        CardDecision::FoundGood => reader.in_state(job, RecordState::Unknown),
        CardDecision::Destroyed => reader.to_destroy(job),
        CardDecision::Remake => reader.unreleased(job),
        CardDecision::Sample => reader.in_state(job, RecordState::Good),
        CardDecision::Cancel => {
            let mut both = reader.in_state(job, RecordState::Queued)?;
            both.extend(reader.in_state(job, RecordState::Remake)?);
            both.sort_unstable();
            Ok(both)
        }
    }
}

fn change(decision: CardDecision, seq: u32) -> Change {
    match decision {
        CardDecision::FoundGood => Change::FoundGood { seq },
        CardDecision::Destroyed => Change::Destroyed { seq },
        CardDecision::Remake => Change::RemakeReleased { seq },
        CardDecision::Cancel => Change::Cancelled { seq },
        CardDecision::Sample => Change::Sampled { seq },
    }
}
