//! What is said to the ledger and what it says back. Pure data.

use serde::{Deserialize, Serialize};

use super::event::{CardValue, ChipId, DataFate, JobProfiles, RunCounts};
use crate::actor::Actor;
pub use crate::ids::JobId;
use crate::ids::{CardRef, FileId, IssuerId, KekId, ProductName, SpoolKeyName};
use crate::reason::ReasonWord;

/// A file that acceptance let in: becomes a job.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Header.
    pub issuer_id: IssuerId,
    /// Header; unique per issuer in a ledger.
    pub file_id: FileId,
    /// Header.
    pub product: ProductName,
    /// SHA-256 of the whole file; unique in a ledger.
    pub digest: [u8; 32],
    /// KEK of the Trailer.
    pub kek: KekId,
    /// Line profile's name.
    pub line: String,
    /// Whether the line shreds rejects (`src/manual/ledger-events.md`, the law of new attempts).
    pub rejects_shredded: bool,
    /// Whether the line marks rejects.
    pub rejects_marked: bool,
    /// What its cards are made by.
    pub profiles: JobProfiles,
    /// Marked SIMULATED everywhere.
    pub simulated: bool,
    /// Made with TEST keys: marked everywhere.
    pub test_keys: bool,
    /// Path of the spool.
    pub spool: String,
    /// Key that it is sealed with, in the HSM; none if it lies there in the clear.
    pub spool_key: Option<SpoolKeyName>,
    /// One for each record, sequence 1, 2, 3 ...
    pub cards: Vec<CardRef>,
}

/// What a new job got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its number.
    pub job: JobId,
    /// Sequences whose card_ref stands in another file of the issuer. If there are any, the job is HELD and waits
    /// for a supervisor; else it is OPEN.
    pub seen_before: Vec<u32>,
}

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// May be run: cards may be bound.
    Open,
    /// Waits for a person; cards that are under way may finish, no new one is bound.
    Held,
    /// Accounted for; nothing changes any more.
    Closed,
}

/// State of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RecordState {
    /// Waiting.
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
    /// Checks passed.
    Verified,
    /// In the good cards' stacker.
    Stacked,
    /// Thrown out.
    Rejected,
    /// Outcome not known.
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
    /// An unbound blank was thrown out; its record does not notice.
    RejectedUnbound {
        /// Which.
        blank: u32,
        /// As far as the chip was asked.
        chip: Option<ChipId>,
    },
    /// An unbound blank lies unused where it was fed, and goes back to stock.
    Returned {
        /// Which.
        blank: u32,
    },
    /// A blank was used up to set up the machines: fed, without any record's data, and a test card. Refused while something
    /// is under way.
    Tested {
        /// New number, one more than the last.
        blank: u32,
    },
    /// Blanks were put into the hopper for the job. From the first time on its hopper is counted, so that comes before its
    /// first blank is fed.
    StockIssued {
        /// How many.
        count: u32,
    },
    /// Unused blanks were taken out of the hopper.
    StockReturned {
        /// How many.
        count: u32,
    },
    /// Good cards were put into the vault.
    StockVaulted {
        /// How many.
        count: u32,
    },
    /// Record and blank become an attempt: QUEUED or (released) REMAKE → IN_FLIGHT; attempt BOUND.
    Bound {
        /// Record.
        seq: u32,
        /// Blank.
        blank: u32,
        /// Where the first module asks a chip.
        chip: Option<ChipId>,
    },
    /// The chip of the current attempt is known, before its first channel is opened: where the chip module is not the first.
    ChipFound {
        /// Record.
        seq: u32,
        /// The chip; it was never bound to an attempt.
        chip: ChipId,
    },
    /// The card of the current attempt gave a value back.
    ValueGiven {
        /// Record.
        seq: u32,
        /// The value; its name was not given in this attempt.
        value: Box<CardValue>,
    },
    /// The current attempt of a record moves on (PERSONALIZING, WRITTEN).
    Attempt {
        /// Record.
        seq: u32,
        /// To.
        to: AttemptState,
    },
    /// VERIFIED, with what was compared.
    Verified {
        /// Record.
        seq: u32,
        /// "stripe read-back, status words".
        compared: String,
    },
    /// STACKED: attempt STACKED, record GOOD.
    Stacked {
        /// Record.
        seq: u32,
        /// Place in the stacker, from 1; above every earlier one of the job.
        position: u32,
    },
    /// Attempt REJECTED, record REMAKE.
    Rejected {
        /// Record.
        seq: u32,
    },
    /// Attempt and record UNKNOWN.
    Lost {
        /// Record.
        seq: u32,
    },
    /// A queued (or REMAKE) record will not be made.
    Cancelled {
        /// Record.
        seq: u32,
    },
    /// A person saw the card of the last attempt that is REJECTED or UNKNOWN destroyed: REJECTED → DESTROYED; or
    /// UNKNOWN → DESTROYED, record REMAKE.
    Destroyed {
        /// Record.
        seq: u32,
    },
    /// A person found an UNKNOWN card good: attempt GOOD, record GOOD.
    FoundGood {
        /// Record.
        seq: u32,
    },
    /// A good card is taken out for inspection: attempt SAMPLE, record REMAKE.
    Sampled {
        /// Record.
        seq: u32,
    },
    /// A person lets a REMAKE record be made again. Refused unless every earlier attempt is DESTROYED, or REJECTED
    /// where the line shreds.
    RemakeReleased {
        /// Record.
        seq: u32,
    },
    /// A person had the card of a record asked; what it said stands in the context. Nothing changes.
    Asked {
        /// Record.
        seq: u32,
    },
    /// A run of the job ended, and counted this. Nothing changes.
    Ran(RunCounts),
    /// A hold was asked for while cards are under way: they are finished, and then the job is held. Refused unless it is OPEN.
    HoldAsked,
    /// That hold is taken back. Refused unless the job is OPEN.
    HoldTakenBack,
    /// The job stops (operator, fault) and waits: cards under way may finish, none is bound. A HELD job may be held
    /// again, for another reason: stopping is never refused.
    Held,
    /// The job goes on. Refused unless it is HELD.
    Released,
    /// Refused unless nothing is queued, in flight, remake or unknown, every attempt rejected after PERSONALIZING
    /// is DESTROYED, no sample is left, no blank is in the line, and none of the stock in the hopper.
    Closed,
    /// The cardholder data of a CLOSED job is about to be deleted, before the key of its spool goes. The context says by
    /// whom and why.
    Deleting,
    /// It was deleted. The last event of a job, once, after [`Change::Deleting`].
    Deleted(DataFate),
}

/// Where, why and by whom; goes with every change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Station, e.g. `chip-3`.
    pub station: Option<String>,
    /// Module, e.g. `chip`.
    pub module: Option<String>,
    /// Why.
    pub reason: Option<ReasonWord>,
    /// For people alone; no program reads it.
    pub detail: Option<String>,
    /// Command header of the APDU that failed, eight hex digits.
    pub header: Option<String>,
    /// Status word of it.
    pub sw: Option<u16>,
    /// Milliseconds that the step took.
    pub ms: Option<u64>,
    /// Who decided: `line`, or a person's name.
    pub actor: Option<String>,
    /// The request that this is the answer to.
    pub act: Option<ActReference>,
    /// Who asked first, where it takes two people.
    pub first_person: Option<String>,
    /// The line, where the event is about no job.
    pub on_line: Option<String>,
}

impl Context {
    /// Asked for by somebody; nothing else is known.
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
    /// Chosen by the asker; 1 to 64 printable ASCII characters.
    pub key: String,
    /// SHA-256 of the request.
    pub request: [u8; 32],
}

/// Blanks that people gave to a job, and its cards that they put away. All zero where nobody issued any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// Put into the hopper.
    pub issued: u64,
    /// Taken out of it unused.
    pub returned: u64,
    /// Good cards put into the vault.
    pub vaulted: u64,
}

impl Stock {
    /// Whether the job's hopper is counted.
    pub fn is_counted(&self) -> bool {
        self.issued > 0
    }

    /// Blanks in the hopper: issued, less returned and fed; those that the line gave back lie there again. Below zero if
    /// more were fed than anybody issued. 0 where the hopper is not counted.
    pub fn hopper(&self, balance: &Balance) -> i64 {
        if !self.is_counted() {
            return 0;
        }
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let fed = count(balance.blanks_fed) - count(balance.blanks_returned);
        count(self.issued) - count(self.returned) - fed
    }
}

/// Both balances of a job (`src/manual/ledger-events.md`); all counts are of this instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Records of the job.
    pub records: u64,
    /// QUEUED.
    pub queued: u64,
    /// IN_FLIGHT.
    pub in_flight: u64,
    /// GOOD.
    pub good: u64,
    /// REMAKE.
    pub remake: u64,
    /// UNKNOWN records.
    pub unknown: u64,
    /// CANCELLED.
    pub cancelled: u64,
    /// Blanks fed.
    pub blanks_fed: u64,
    /// Blanks in the line, bound or not.
    pub blanks_in_line: u64,
    /// Blanks of attempts STACKED or found GOOD.
    pub blanks_good: u64,
    /// Blanks rejected, bound or not (DESTROYED ones were rejected, unknown or samples before and count here).
    pub blanks_rejected: u64,
    /// Blanks of UNKNOWN attempts.
    pub blanks_unknown: u64,
    /// Blanks returned to stock.
    pub blanks_returned: u64,
    /// Sample cards that are not DESTROYED, and test cards.
    pub blanks_sample: u64,
}

impl Balance {
    /// Records less what became of them: 0, or something is lost.
    pub fn records_off(&self) -> i128 {
        i128::from(self.records)
            - [self.queued, self.in_flight, self.good, self.remake, self.unknown, self.cancelled]
                .into_iter()
                .map(i128::from)
                .sum::<i128>()
    }

    /// Blanks fed less where they are: 0, or something is lost.
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
