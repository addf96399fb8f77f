//! Changes with their context, states, stock and balances. Pure data.

use serde::{Deserialize, Serialize};

use super::event::{CardValue, ChipId, DataFate, RunCounts};
use crate::actor::Actor;
pub use crate::ids::JobId;
use crate::ids::SpoolKeyName;
use crate::reason::ReasonWord;

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// May be run: cards may be bound.
    Open,
    /// Waits for a person; cards that are under way may finish, no new one is bound.
    Held,
    /// Accounted for; only the deletion of its cardholder data can follow.
    Closed,
}

/// State of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RecordState {
    /// Waits for a blank.
    Queued,
    /// An attempt is under way.
    InFlight,
    /// Personalized and stacked.
    Good,
    /// To be made again.
    Remake,
    /// Its attempt's outcome is not known; a person decides.
    Unknown,
    /// Will not be made.
    Cancelled,
}

/// State of an attempt: one record on one blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptState {
    /// Record and blank belong together; nothing of the record has left yet.
    Bound,
    /// Data of the record is going to the card.
    Personalizing,
    /// Every module has written.
    Written,
    /// Its checks passed.
    Verified,
    /// In the good cards' stacker.
    Stacked,
    /// Thrown out of the line.
    Rejected,
    /// Its outcome is not known; a person decides.
    Unknown,
    /// A person saw it destroyed.
    Destroyed,
    /// Was UNKNOWN; a person found it good.
    Good,
    /// Was good; taken out for inspection, so that its record is made again.
    Sample,
}

/// A change of the truth. `seq` is the record's sequence; `blank` the number of the blank in the job, in order of
/// feeding from 1.
#[derive(Debug, Clone)]
pub enum Change {
    /// A blank came from the hopper; it is in the line, unbound.
    Fed {
        /// New number, one more than the last.
        blank: u32,
    },
    /// An unbound blank was thrown out; no record is affected.
    RejectedUnbound {
        /// Number of the blank.
        blank: u32,
        /// The blank's chip, if it was read.
        chip: Option<ChipId>,
    },
    /// An unbound blank lies unused where it was fed, and goes back to stock.
    Returned {
        /// Number of the blank.
        blank: u32,
    },
    /// A blank was fed and used up as a test card, to set up the machines; it carries no record's data. Refused while
    /// cards are under way.
    Tested {
        /// New number, one more than the last.
        blank: u32,
    },
    /// Blanks were put into the hopper for the job. The first such change starts the counting of the hopper, so it
    /// must come before the first blank is fed.
    StockIssued {
        /// Number of blanks.
        count: u32,
    },
    /// Unused blanks were taken out of the hopper.
    StockReturned {
        /// Number of blanks.
        count: u32,
    },
    /// Good cards were put into the vault.
    StockVaulted {
        /// Number of cards.
        count: u32,
    },
    /// Record and blank become an attempt: QUEUED or (released) REMAKE → IN_FLIGHT; attempt BOUND.
    Bound {
        /// Sequence of the record.
        seq: u32,
        /// Number of the blank.
        blank: u32,
        /// The blank's chip, if the first module of the line reads it.
        chip: Option<ChipId>,
    },
    /// The chip of the current attempt became known, on a line whose first module reads no chip. Recorded before the
    /// first channel to the chip is opened.
    ChipFound {
        /// Sequence of the record.
        seq: u32,
        /// The chip; refused if it was bound to an attempt before.
        chip: ChipId,
    },
    /// The card of the current attempt returned a value.
    ValueGiven {
        /// Sequence of the record.
        seq: u32,
        /// The value; refused if this attempt has a value of that name.
        value: Box<CardValue>,
    },
    /// The current attempt of a record moves on (PERSONALIZING, WRITTEN).
    Attempt {
        /// Sequence of the record.
        seq: u32,
        /// New state.
        to: AttemptState,
    },
    /// The current attempt passed its checks: VERIFIED.
    Verified {
        /// Sequence of the record.
        seq: u32,
        /// The comparisons that were made, e.g. "stripe read-back, status words".
        compared: String,
    },
    /// STACKED: attempt STACKED, record GOOD.
    Stacked {
        /// Sequence of the record.
        seq: u32,
        /// Place in the stacker, from 1; above every earlier one of the job.
        position: u32,
    },
    /// Attempt REJECTED, record REMAKE.
    Rejected {
        /// Sequence of the record.
        seq: u32,
    },
    /// Attempt and record UNKNOWN.
    Lost {
        /// Sequence of the record.
        seq: u32,
    },
    /// A QUEUED or REMAKE record will not be made.
    Cancelled {
        /// Sequence of the record.
        seq: u32,
    },
    /// A person saw a card destroyed: that of the last attempt that is REJECTED, UNKNOWN or SAMPLE, which becomes
    /// DESTROYED. The record of an UNKNOWN attempt becomes REMAKE.
    Destroyed {
        /// Sequence of the record.
        seq: u32,
    },
    /// A person found an UNKNOWN card good: attempt GOOD, record GOOD.
    FoundGood {
        /// Sequence of the record.
        seq: u32,
    },
    /// A good card is taken out for inspection: attempt SAMPLE, record REMAKE.
    Sampled {
        /// Sequence of the record.
        seq: u32,
    },
    /// A person allows a REMAKE record to be made again. Refused unless every earlier attempt is DESTROYED, or
    /// REJECTED
    /// where the line shreds.
    RemakeReleased {
        /// Sequence of the record.
        seq: u32,
    },
    /// A person had a record's card read; the context holds its answer. No state changes.
    Asked {
        /// Sequence of the record.
        seq: u32,
    },
    /// A run of the job ended, with these counts. No state changes.
    Ran(RunCounts),
    /// A hold was requested while cards are under way: they are finished, and then the job is held. Refused unless
    /// the job is OPEN.
    HoldAsked,
    /// The requested hold was withdrawn. Refused unless the job is OPEN.
    HoldTakenBack,
    /// The job stops (operator, fault) and waits: cards under way may finish, no new one is bound. A HELD job may be
    /// held again for another reason: stopping is never refused.
    Held,
    /// The job becomes OPEN again. Refused unless it is HELD.
    Released,
    /// The job becomes CLOSED. Refused unless no record is queued, in flight, remake or unknown, every attempt
    /// rejected after PERSONALIZING is DESTROYED, no sample is left, no blank is in the line, and no blank of its
    /// stock is in the hopper.
    Closed,
    /// The deletion of a CLOSED job's cardholder data begins. Recorded before the key of its spool is destroyed; the
    /// context says who asked for it and why.
    Deleting {
        /// The key, if ACCEPTED does not state it, which was so in chain version 1.
        spool_key: Option<SpoolKeyName>,
    },
    /// The deletion is complete. The last event of a job, recorded once, after [`Change::Deleting`].
    Deleted(DataFate),
}

/// Where, why and by whom; goes with every change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Station, e.g. `chip-3`.
    pub station: Option<String>,
    /// Module, e.g. `chip`.
    pub module: Option<String>,
    /// The reason, as a stable word.
    pub reason: Option<ReasonWord>,
    /// A text for people; no program reads it.
    pub detail: Option<String>,
    /// Command header of the APDU that failed, eight hex digits.
    pub header: Option<String>,
    /// Status word that answered that command.
    pub sw: Option<u16>,
    /// Milliseconds that the step took.
    pub ms: Option<u64>,
    /// What the attempt has asked of the HSM, in the event in which it leaves the modules.
    pub hsm: Option<HsmUse>,
    /// Who decided: `line`, or a person's name.
    pub actor: Option<String>,
    /// The request that caused the change.
    pub act: Option<ActReference>,
    /// The first of two people, if the action needs two.
    pub first_person: Option<String>,
    /// Name of the line, in an event about no job.
    pub on_line: Option<String>,
}

/// Calls to the HSM, and how long the caller waited for the answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsmUse {
    /// Number of calls.
    pub calls: u32,
    /// Microseconds.
    pub us: u64,
}

impl std::ops::AddAssign for HsmUse {
    fn add_assign(&mut self, more: Self) {
        self.calls = self.calls.saturating_add(more.calls);
        self.us = self.us.saturating_add(more.us);
    }
}

impl Context {
    /// A context that names only who decided.
    pub fn by(actor: impl Into<Actor>) -> Self {
        let Actor { name, first } = actor.into();
        Self { actor: Some(name), first_person: first, ..Self::default() }
    }

    /// Who decided, if the event says so.
    pub fn decided_by(&self) -> Option<Actor> {
        Some(Actor { name: self.actor.clone()?, first: self.first_person.clone() })
    }
}

/// A request by its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActReference {
    /// Chosen by the client; 1 to 64 printable ASCII characters.
    pub key: String,
    /// SHA-256 of the request.
    pub request: [u8; 32],
}

/// Blanks that were issued to a job or returned, and its cards in the vault. All zero if no blanks were issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// Blanks put into the hopper.
    pub issued: u64,
    /// Blanks taken out of the hopper unused.
    pub returned: u64,
    /// Good cards put into the vault.
    pub vaulted: u64,
}

impl Stock {
    /// Whether the job's hopper is counted.
    pub fn is_counted(&self) -> bool {
        self.issued > 0
    }

    /// Blanks in the hopper: issued, minus returned, minus fed; a blank that the line gave back is in the hopper
    /// again. Below zero if more were fed than issued; 0 if the hopper is not counted.
    pub fn hopper(&self, balance: &Balance) -> i64 {
        if !self.is_counted() {
            return 0;
        }
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let fed = count(balance.blanks_fed) - count(balance.blanks_returned);
        count(self.issued) - count(self.returned) - fed
    }
}

/// Both balances of a job, of records and of blanks (`src/manual/ledger-events.md`), at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Records of the job.
    pub records: u64,
    /// Records QUEUED.
    pub queued: u64,
    /// Records IN_FLIGHT.
    pub in_flight: u64,
    /// Records GOOD.
    pub good: u64,
    /// Records REMAKE.
    pub remake: u64,
    /// Records UNKNOWN.
    pub unknown: u64,
    /// Records CANCELLED.
    pub cancelled: u64,
    /// Blanks fed, test cards among them.
    pub blanks_fed: u64,
    /// Blanks in the line, bound or not.
    pub blanks_in_line: u64,
    /// Blanks of attempts STACKED or found GOOD.
    pub blanks_good: u64,
    /// Blanks rejected, bound or not. A DESTROYED card counts here, whether it was rejected, unknown or a sample
    /// before.
    pub blanks_rejected: u64,
    /// Blanks of UNKNOWN attempts.
    pub blanks_unknown: u64,
    /// Blanks returned to stock.
    pub blanks_returned: u64,
    /// Sample cards that are not DESTROYED, and test cards.
    pub blanks_sample: u64,
}

impl Balance {
    /// Difference between the job's records and the sum of their states. Not 0 means that records are lost.
    pub fn records_off(&self) -> i128 {
        i128::from(self.records)
            - [self.queued, self.in_flight, self.good, self.remake, self.unknown, self.cancelled]
                .into_iter()
                .map(i128::from)
                .sum::<i128>()
    }

    /// Difference between the blanks fed and the blanks accounted for. Not 0 means that blanks are lost.
    pub fn blanks_off(&self) -> i128 {
        i128::from(self.blanks_fed)
            - [
                self.blanks_in_line,
                self.blanks_good,
                self.blanks_rejected,
                self.blanks_unknown,
                self.blanks_returned,
                self.blanks_sample,
            ]
            .into_iter()
            .map(i128::from)
            .sum::<i128>()
    }
}
