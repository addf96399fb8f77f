//! Why a change is refused: the laws of card accountability (`src/manual/ledger-events.md`) as values.
//!
//! Not here: the command that helps (`cli::next_step`).

use serde::{Deserialize, Serialize};

use super::types::{AttemptState, RecordState};

/// The law that forbids a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// The job has no record of that sequence.
    #[error("the job has no such record")]
    NoRecord,
    /// A job without records, or with more than fit.
    #[error("a job has 1 to 4,294,967,295 records")]
    RecordCount,
    /// A card_ref stands twice in one job; the number is the second sequence.
    #[error("the card_ref of record {0} stands twice in the file")]
    CardRefTwice(u32),
    /// A CLOSED job does not change.
    #[error("the job is CLOSED: nothing about it changes any more")]
    JobClosed,
    /// Only a CLOSED job's data are deleted.
    #[error("the job is not CLOSED: its cardholder data are needed until it is")]
    NotClosed,
    /// A job's data are deleted only once.
    #[error("its cardholder data has already been deleted")]
    AlreadyDeleted,
    /// A deletion begins only once.
    #[error("the deletion of its cardholder data has already begun")]
    AlreadyDeleting,
    /// A deletion is recorded when it begins; only then can its end be recorded.
    #[error("the deletion of its cardholder data has not begun")]
    NotDeleting,
    /// No binding while HELD.
    #[error("the job is HELD: no record is bound to a blank before the job is released")]
    JobHeld,
    /// Only a HELD job is released.
    #[error("the job is not HELD")]
    JobNotHeld,
    /// Blanks are numbered in the order of feeding.
    #[error("blank #{got} is not the next one, #{next}")]
    BlankNumber {
        /// Number of the next blank.
        next: u32,
        /// Number in the change.
        got: u32,
    },
    /// A blank is bound, thrown out or returned only once, and only after it was fed.
    #[error("blank #{0} does not lie unbound in the line")]
    BlankNotFree(u32),
    /// One chip takes the data of one record. A chip that shows up again has not left the line, or was fed a second
    /// time.
    #[error(
        "the chip of blank #{0} was bound to a record before: it lies in another station than its transport says, or was \
         put back into the hopper; find it and destroy it"
    )]
    ChipSeen(u32),
    /// An attempt has one chip.
    #[error("the chip of blank #{0} is known already")]
    ChipKnown(u32),
    /// A card returns each value once in an attempt.
    #[error("the card has given a value of this name before")]
    ValueGiven,
    /// A name or text that does not fit into an event.
    #[error("its {0} is empty, too long for an event of the ledger, or holds control characters")]
    NotWritable(std::borrow::Cow<'static, str>),
    /// The record is in the wrong state for the change.
    #[error("the record is {is}, and only {needs} allows this")]
    Record {
        /// Its state.
        is: RecordState,
        /// States that allow it.
        needs: std::borrow::Cow<'static, str>,
    },
    /// The record has no attempt that could change.
    #[error("no card was begun for this record")]
    NoAttempt,
    /// The attempt is in the wrong state for the change.
    #[error("attempt {attempt} is {is}, it cannot become {to}")]
    Attempt {
        /// Its number.
        attempt: u32,
        /// Its state.
        is: AttemptState,
        /// The state asked for.
        to: AttemptState,
    },
    /// A remake is released only once.
    #[error("the remake is released already")]
    AlreadyReleased,
    /// A remake starts only after a person released it.
    #[error("the record is REMAKE, and its remake is not released")]
    NotReleased,
    /// The law of new attempts.
    #[error(
        "attempt {attempt} is {is}: a new attempt starts only when every earlier one is DESTROYED, or REJECTED on a \
         line that shreds"
    )]
    EarlierAttempt {
        /// Number of the attempt that forbids it.
        attempt: u32,
        /// Its state.
        is: AttemptState,
    },
    /// Places in the stacker are given in rising order.
    #[error("stack position {got} is not above the last one, {last}")]
    Position {
        /// Last position given in this job.
        last: u32,
        /// Position in the change.
        got: u32,
    },
    /// Test cards are made only while no other card is under way.
    #[error("cards are under way, and test cards are made before or between runs")]
    UnderWay,
    /// Stock is counted from before the first blank, or not at all.
    #[error("blanks were fed before any was issued: the hopper of this job is not counted")]
    StockLate,
    /// Stock is counted only if blanks were issued.
    #[error("no blanks were issued to this job, so its stock is not counted")]
    NoStock,
    /// No more blanks are taken out of the hopper than it holds.
    #[error("{asked} blanks, but by the ledger there are {hopper} in the hopper")]
    NotInHopper {
        /// Blanks in the hopper.
        hopper: i64,
        /// Blanks to be taken out.
        asked: u32,
    },
    /// Only good cards lie in the vault.
    #[error("{vaulted} cards would be in the vault, but only {good} are good")]
    NotGood {
        /// Cards in the vault after the change.
        vaulted: u64,
        /// Good cards.
        good: u64,
    },
    /// More blanks or cards than are counted, or none.
    #[error("a number of blanks or cards is 1 to 1,000,000")]
    StockNumber,
    /// Each shift has its own name.
    #[error(
        "a shift has a name of 1 to 40 letters, digits, dots, hyphens, underscores and spaces that no earlier shift had"
    )]
    ShiftName,
    /// The law of closing.
    #[error("the job is not accounted for: {}", obstacles(self))]
    Closing {
        /// Records QUEUED.
        queued: u64,
        /// Records IN_FLIGHT.
        in_flight: u64,
        /// Records REMAKE.
        remake: u64,
        /// Records UNKNOWN.
        unknown: u64,
        /// Attempts REJECTED after PERSONALIZING or SAMPLE, and not DESTROYED.
        rejects: u64,
        /// Blanks in the line.
        blanks: u64,
        /// Blanks in the hopper, if it is counted; below zero if more were fed than issued.
        hopper: i64,
    },
}

/// Lists the numbers that stand against closing a job, without those that are 0.
fn obstacles(law: &Law) -> String {
    let Law::Closing { queued, in_flight, remake, unknown, rejects, blanks, hopper } = law else {
        return String::new();
    };
    let states = [(queued, "QUEUED"), (in_flight, "IN_FLIGHT"), (remake, "REMAKE"), (unknown, "UNKNOWN")];
    let records: Vec<_> =
        states.iter().filter(|(n, _)| **n != 0).map(|(n, state)| format!("{n} {state}")).collect();
    let records = (!records.is_empty()).then(|| format!("records: {}", records.join(", ")));
    let rejects = (*rejects != 0)
        .then(|| format!("cards rejected after PERSONALIZING, or samples, and not DESTROYED: {rejects}"));
    let blanks = (*blanks != 0).then(|| format!("blanks in the line: {blanks}"));
    let hopper = (*hopper != 0).then(|| format!("blanks of its stock in the hopper: {hopper}"));
    [records, rejects, blanks, hopper].into_iter().flatten().collect::<Vec<_>>().join("; ")
}
