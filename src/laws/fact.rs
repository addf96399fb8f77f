//! Converts a change to its event and an event back to its change: one function each way. The writer makes events
//! with it; the replay compares each event with the one that its change would make again. Pure.

use super::book::ChangeEffect;
use super::event::{BlankSubject, CardSubject, EventFact, RecordSubject};
use super::types::{AttemptState, Change};

/// The event of an allowed change; `card_ref` is that of the record which it is about. `None` if `effect` lacks a blank,
/// record or attempt that the event needs.
pub(crate) fn fact_of(change: &Change, effect: &ChangeEffect, card_ref: Option<&str>) -> Option<EventFact> {
    let blank = || {
        let (number, label) = effect.blank?;
        Some(BlankSubject { number: Some(number), label })
    };
    let record = || {
        let seq = effect.seq?;
        Some(RecordSubject { seq, card_ref: card_ref?.to_owned() })
    };
    let card = || {
        let (attempt, _) = effect.attempt?;
        Some(CardSubject { record: record()?, attempt, blank: blank()? })
    };
    let moved = |to| Some(EventFact::Moved { card: card()?, to });
    Some(match change {
        Change::Fed { .. } => EventFact::Fed { blank: blank()? },
        Change::RejectedUnbound { chip, .. } => EventFact::BlankRejected { blank: blank()?, chip: *chip },
        Change::Returned { .. } => EventFact::Returned { blank: blank()? },
        Change::Tested { .. } => EventFact::Tested { blank: blank()? },
        Change::StockIssued { count } => EventFact::StockIssued { count: *count },
        Change::StockReturned { count } => EventFact::StockReturned { count: *count },
        Change::StockVaulted { count } => EventFact::StockVaulted { count: *count },
        Change::Bound { chip, .. } => EventFact::Bound { card: card()?, chip: *chip },
        Change::ChipFound { chip, .. } => EventFact::ChipFound { card: card()?, chip: *chip },
        Change::ValueGiven { value, .. } => EventFact::ValueGiven { card: card()?, value: value.clone() },
        Change::Attempt { to, .. } => return moved(*to),
        Change::Verified { compared, .. } => {
            EventFact::Verified { card: card()?, compared: compared.clone() }
        }
        Change::Stacked { position, .. } => EventFact::Stacked { card: card()?, position: *position },
        Change::Rejected { .. } => return moved(AttemptState::Rejected),
        Change::Lost { .. } => return moved(AttemptState::Unknown),
        Change::Destroyed { .. } => return moved(AttemptState::Destroyed),
        Change::FoundGood { .. } => return moved(AttemptState::Good),
        Change::Sampled { .. } => return moved(AttemptState::Sample),
        Change::Cancelled { .. } => EventFact::Cancelled { record: record()? },
        Change::RemakeReleased { .. } => EventFact::RemakeReleased { record: record()? },
        Change::Asked { .. } => EventFact::Asked { record: record()? },
        Change::Ran(counts) => EventFact::Ran(counts.clone()),
        Change::HoldAsked => EventFact::HoldAsked,
        Change::HoldTakenBack => EventFact::HoldTakenBack,
        Change::Held => EventFact::Held,
        Change::Released => EventFact::Released,
        Change::Closed => EventFact::Closed,
        Change::Deleting { spool_key } => EventFact::Deleting { spool_key: *spool_key },
        Change::Deleted(fate) => EventFact::Deleted(*fate),
    })
}

/// The change that an event of a job records. `None` for an event that records no change, or that lacks the blank's
/// number (chain version 1).
pub(crate) fn change_of(fact: &EventFact) -> Option<Change> {
    let number = |blank: &BlankSubject| blank.number;
    Some(match fact {
        EventFact::HoldAsked => Change::HoldAsked,
        EventFact::HoldTakenBack => Change::HoldTakenBack,
        EventFact::Held => Change::Held,
        EventFact::Released => Change::Released,
        EventFact::Closed => Change::Closed,
        EventFact::Deleting { spool_key } => Change::Deleting { spool_key: *spool_key },
        EventFact::Deleted(fate) => Change::Deleted(*fate),
        EventFact::Ran(counts) => Change::Ran(counts.clone()),
        EventFact::StockIssued { count } => Change::StockIssued { count: *count },
        EventFact::StockReturned { count } => Change::StockReturned { count: *count },
        EventFact::StockVaulted { count } => Change::StockVaulted { count: *count },
        EventFact::Fed { blank } => Change::Fed { blank: number(blank)? },
        EventFact::Returned { blank } => Change::Returned { blank: number(blank)? },
        EventFact::Tested { blank } => Change::Tested { blank: number(blank)? },
        EventFact::BlankRejected { blank, chip } => {
            Change::RejectedUnbound { blank: number(blank)?, chip: *chip }
        }
        EventFact::Bound { card, chip } => {
            Change::Bound { seq: card.record.seq, blank: number(&card.blank)?, chip: *chip }
        }
        EventFact::ChipFound { card, chip } => Change::ChipFound { seq: card.record.seq, chip: *chip },
        EventFact::ValueGiven { card, value } => {
            Change::ValueGiven { seq: card.record.seq, value: value.clone() }
        }
        EventFact::Moved { card, to } => {
            let seq = card.record.seq;
            match to {
                AttemptState::Rejected => Change::Rejected { seq },
                AttemptState::Unknown => Change::Lost { seq },
                AttemptState::Destroyed => Change::Destroyed { seq },
                AttemptState::Good => Change::FoundGood { seq },
                AttemptState::Sample => Change::Sampled { seq },
                to => Change::Attempt { seq, to: *to },
            }
        }
        EventFact::Verified { card, compared } => {
            Change::Verified { seq: card.record.seq, compared: compared.clone() }
        }
        EventFact::Stacked { card, position } => {
            Change::Stacked { seq: card.record.seq, position: *position }
        }
        EventFact::Cancelled { record } => Change::Cancelled { seq: record.seq },
        EventFact::RemakeReleased { record } => Change::RemakeReleased { seq: record.seq },
        EventFact::Asked { record } => Change::Asked { seq: record.seq },
        EventFact::Accepted(_)
        | EventFact::ShiftBegun { .. }
        | EventFact::PersonsWord { .. }
        | EventFact::WiringProved { .. }
        | EventFact::SupplyTold { .. }
        | EventFact::BlanksTested { .. }
        | EventFact::Unknown { .. } => return None,
    })
}
