//! Events: what happened, typed. `src/manual/ledger-events.md` specifies their bytes.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | [`LedgerEvent`] and its facts, and what views ask of them |
//! | `kinds` | every kind: its code, its word, the fields that it may have |
//! | `chip`, `state` | chips and states in events |
//! | `codec`, `limits` | the bytes of chain version 2; how long texts are and what characters they have |
//! | `version_one` | chain version 1: its bytes, and the one reader of its `detail`; frozen |
//! | `words` | what events say to people |
//!
//! Not here: rows (`store`), laws (`book`), which change makes which event (`fact`).

pub mod chip;
pub(super) mod codec;
pub mod kinds;
pub(super) mod limits;
mod state;
pub(super) mod version_one;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use chip::{BlankLabel, ChipId, ChipIdentity};
pub use state::StateName;

use super::types::{AttemptState, Context, JobId};
use crate::ids::{KekId, SpoolKeyName};

/// An event is no longer than this, in bytes.
pub const EVENT_MAX: usize = 8192;

/// From this kind and this tag on, an event or a field changes no state.
pub const NOTE_KIND: u16 = 0x8000;

/// An event that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEvent {
    /// Number in the ledger, from 1 without a gap.
    pub n: u64,
    /// Unix time in milliseconds.
    pub ts: u64,
    /// None where it is about no job.
    pub job: Option<JobId>,
    /// Always present, so that simulated output can never pass for live.
    pub simulated: bool,
    /// Which version of the chain has it.
    pub chain: ChainVersion,
    /// State before: of the attempt, else of the record, else of the blank or job.
    pub from: Option<StateName>,
    /// What happened.
    pub fact: EventFact,
    /// Where, why and by whom.
    pub context: Context,
    /// Notes that this program does not know, carried as they are.
    pub unknown: Vec<RawField>,
}

/// Version of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChainVersion {
    /// Frozen; until schema 5.
    One,
    /// From schema 6 on.
    Two,
}

/// A field that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawField {
    /// Its tag.
    pub tag: u8,
    /// Its value.
    pub value: Vec<u8>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventFact {
    /// A file became a job. In chain version 1 its terms stand sealed in `detail`, and there are none here.
    Accepted(Option<Box<AcceptedTerms>>),
    /// The job stops.
    Held,
    /// The job goes on.
    Released,
    /// All is accounted for.
    Closed,
    /// The job's cardholder data is about to be deleted.
    Deleting,
    /// The job's cardholder data was deleted.
    Deleted(DataFate),
    /// A run of the job ended.
    Ran(RunCounts),
    /// Blanks were put into the hopper.
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
    /// A blank came from the hopper.
    Fed {
        /// Which.
        blank: BlankSubject,
    },
    /// An unbound blank goes back to stock.
    Returned {
        /// Which.
        blank: BlankSubject,
    },
    /// A blank was used up as a test card of the job.
    Tested {
        /// Which.
        blank: BlankSubject,
    },
    /// An unbound blank was thrown out.
    BlankRejected {
        /// Which.
        blank: BlankSubject,
        /// As far as the chip was asked.
        chip: Option<ChipId>,
    },
    /// Record and blank became an attempt.
    Bound {
        /// Both.
        card: CardSubject,
        /// Where the first module asks the chip.
        chip: Option<ChipId>,
    },
    /// The chip of an attempt became known at a later module.
    ChipFound {
        /// The attempt.
        card: CardSubject,
        /// Its chip.
        chip: ChipId,
    },
    /// An attempt moved to PERSONALIZING, WRITTEN, REJECTED, UNKNOWN, DESTROYED, GOOD or SAMPLE.
    Moved {
        /// The attempt.
        card: CardSubject,
        /// Its new state.
        to: AttemptState,
    },
    /// The card gave a value back.
    ValueGiven {
        /// The attempt.
        card: CardSubject,
        /// The value, or its digest.
        value: Box<CardValue>,
    },
    /// The card passed its checks.
    Verified {
        /// The attempt.
        card: CardSubject,
        /// What was compared with what.
        compared: String,
    },
    /// The card lies in the stacker.
    Stacked {
        /// The attempt.
        card: CardSubject,
        /// Its place, from 1.
        position: u32,
    },
    /// A record will not be made.
    Cancelled {
        /// Which.
        record: RecordSubject,
    },
    /// A person lets a record be made again.
    RemakeReleased {
        /// Which.
        record: RecordSubject,
    },
    /// A person had the card of a record asked.
    Asked {
        /// Which.
        record: RecordSubject,
    },
    /// A shift begins.
    ShiftBegun {
        /// Its name.
        name: String,
    },
    /// A person's word that a device is the one of a station.
    PersonsWord {
        /// The station.
        station: String,
        /// Serial number or mark.
        device: Option<String>,
    },
    /// The wiring of a station is proved.
    WiringProved {
        /// The station.
        station: String,
        /// Serial number or mark.
        device: Option<String>,
        /// By what.
        how: String,
    },
    /// What a machine says of its supplies.
    SupplyTold {
        /// The station.
        station: String,
        /// Which supply.
        supply: String,
        /// How it is.
        state: String,
    },
    /// Blanks were used up to check the line.
    BlanksTested {
        /// At this station, if at one.
        station: Option<String>,
        /// How many.
        count: u32,
    },
    /// A kind, or a field of a kind, that this program does not know.
    Unknown {
        /// The kind.
        kind: u16,
        /// Its fields that are no notes.
        fields: Vec<RawField>,
    },
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSubject {
    /// Its sequence.
    pub seq: u32,
    /// Its card_ref.
    pub card_ref: String,
}

/// A blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlankSubject {
    /// Its number in the job. Chain version 1 does not always tell it.
    pub number: Option<u32>,
    /// What it is called once its chip is known.
    pub label: Option<BlankLabel>,
}

impl std::fmt::Display for BlankSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.label, self.number) {
            (Some(label), _) => label.fmt(f),
            (None, Some(number)) => write!(f, "#{number}"),
            (None, None) => f.write_str("?"),
        }
    }
}

/// One record on one blank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardSubject {
    /// The record.
    pub record: RecordSubject,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The blank.
    pub blank: BlankSubject,
}

/// All that must not change about a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedTerms {
    /// Header.
    pub issuer: String,
    /// Header.
    pub file_id: String,
    /// Header.
    pub product: String,
    /// Number of records.
    pub records: u32,
    /// Line profile's name.
    pub line: String,
    /// KEK of the Trailer.
    pub kek: KekId,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// Path of the spool.
    pub spool: String,
    /// Key that seals it, if it does not lie in the clear.
    pub spool_key: Option<SpoolKeyName>,
    /// The line shreds a rejected card.
    pub rejects_shredded: bool,
    /// The line marks a rejected card.
    pub rejects_marked: bool,
    /// Made with TEST keys.
    pub test_keys: bool,
    /// SHA-256 of every card_ref with its length, in the order of the sequences.
    pub cards: [u8; 32],
    /// What the job's cards are made by.
    pub profiles: JobProfiles,
    /// Version of the laws.
    pub laws: u16,
}

/// What the cards of a job are made by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProfiles {
    /// SHA-256 of the line profile's text.
    pub line_digest: [u8; 32],
    /// SHA-256 of the product profile's text.
    pub product_digest: [u8; 32],
    /// Digest of the chip program; none where the product has no chip.
    pub chip_program: Option<[u8; 32]>,
    /// Milliseconds a card by plan; none until there is a plan.
    pub plan_ms: Option<u32>,
}

/// What a run counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Cards that each station worked on, by module and station.
    #[serde(with = "pairs")]
    pub worked: BTreeMap<(String, String), u64>,
    /// Calls to the HSM, by kind.
    pub hsm_calls: BTreeMap<String, u64>,
}

impl RunCounts {
    /// In as many parts as fit into events, each of at most so many stations and calls.
    pub fn parts(self) -> Vec<Self> {
        // Names have up to 255 bytes, an event 8,192.
        const LISTED: usize = 2000;
        let (mut parts, mut part, mut length) = (Vec::new(), Self::default(), 0);
        for ((module, station), cards) in self.worked {
            length += module.len() + station.len() + 10;
            part.worked.insert((module, station), cards);
            if length > LISTED {
                parts.push(std::mem::take(&mut part));
                length = 0;
            }
        }
        for (call, times) in self.hsm_calls {
            length += call.len() + 9;
            part.hsm_calls.insert(call, times);
            if length > LISTED {
                parts.push(std::mem::take(&mut part));
                length = 0;
            }
        }
        if parts.is_empty() || part != Self::default() {
            parts.push(part);
        }
        parts
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (station, cards) in &other.worked {
            *self.worked.entry(station.clone()).or_default() += cards;
        }
        for (call, times) in &other.hsm_calls {
            *self.hsm_calls.entry(call.clone()).or_default() += times;
        }
    }
}

/// Map keys of JSON are texts, so a map by two names travels as a list.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Worked = BTreeMap<(String, String), u64>;

    pub fn serialize<S: Serializer>(map: &Worked, serializer: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Worked, D::Error> {
        Ok(Vec::<((String, String), u64)>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What became of a job's cardholder data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFate {
    /// Of the spool's key.
    pub key: KeyFate,
    /// Of the spool.
    pub spool: SpoolFate,
    /// What lay in the spool's place did not read as what was accepted.
    pub unreadable: bool,
}

/// What became of a spool's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyFate {
    /// The spool lay in the clear.
    NoKey,
    /// It was destroyed.
    Destroyed,
    /// It was missing already.
    Missing,
}

/// What became of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpoolFate {
    /// It was removed.
    Removed,
    /// It lay in the clear, and was overwritten and removed.
    Overwritten,
    /// It was missing already.
    Missing,
}

/// A value that a card gave back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardValue {
    /// Its name; once in an attempt.
    pub name: String,
    /// Its length in bytes.
    pub length: u32,
    /// SHA-256 of it.
    pub digest: [u8; 32],
    /// The value, where it is public and at most 2 KiB.
    pub public: Option<Vec<u8>>,
}

impl LedgerEvent {
    /// Kind of the event, as its specification numbers them.
    pub fn kind(&self) -> u16 {
        self.fact.kind()
    }

    /// Its word, shown as `to`.
    pub fn to_word(&self) -> String {
        match &self.fact {
            EventFact::Unknown { kind, .. } if *kind >= NOTE_KIND => format!("note-{kind:04X}"),
            EventFact::Unknown { kind, .. } => format!("unknown-{kind:04X}"),
            fact => kinds::word(fact.kind()).to_owned(),
        }
    }

    /// The state before, as it is shown.
    pub fn from_word(&self) -> Option<&'static str> {
        self.from.map(StateName::word)
    }

    /// `J1`; empty where it is about no job.
    pub fn job_text(&self) -> String {
        self.job.map(|job| job.to_string()).unwrap_or_default()
    }

    /// The record's sequence, if it is about one.
    pub fn seq(&self) -> Option<u32> {
        self.fact.seq()
    }

    /// The record's card_ref.
    pub fn card_ref(&self) -> Option<&str> {
        self.fact.record().map(|record| record.card_ref.as_str())
    }

    /// Number of the attempt.
    pub fn attempt(&self) -> Option<u32> {
        self.fact.card().map(|card| card.attempt)
    }

    /// What the blank is called.
    pub fn blank_name(&self) -> Option<String> {
        self.fact.blank().map(|blank| blank.to_string())
    }

    /// Place in the stacker.
    pub fn position(&self) -> Option<u32> {
        match &self.fact {
            EventFact::Stacked { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// Number of blanks or cards.
    pub fn count(&self) -> Option<u32> {
        self.fact.count()
    }

    /// The bytes that were hashed, in chain version 2.
    pub fn body(&self) -> Option<Vec<u8>> {
        if self.chain == ChainVersion::One {
            return None;
        }
        let mut bytes = Vec::new();
        codec::encode(self, &mut bytes);
        Some(bytes)
    }

    /// Whether it moved an attempt to this state, one that needs no more fields.
    pub fn is_moved_to(&self, state: AttemptState) -> bool {
        matches!(&self.fact, EventFact::Moved { to, .. } if *to == state)
    }
}

impl EventFact {
    /// Kind of the event, as its specification numbers them.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Accepted(_) => kinds::ACCEPTED,
            Self::Held => kinds::HELD,
            Self::Released => kinds::RELEASED,
            Self::Closed => kinds::CLOSED,
            Self::Deleting => kinds::DELETING,
            Self::Deleted(_) => kinds::DELETED,
            Self::Ran(_) => kinds::RAN,
            Self::StockIssued { .. } => kinds::STOCK_ISSUED,
            Self::StockReturned { .. } => kinds::STOCK_RETURNED,
            Self::StockVaulted { .. } => kinds::STOCK_VAULTED,
            Self::Fed { .. } => kinds::FED,
            Self::Returned { .. } => kinds::RETURNED,
            Self::Tested { .. } => kinds::TESTED,
            Self::BlankRejected { .. } => kinds::BLANK_REJECTED,
            Self::Bound { .. } => kinds::BOUND,
            Self::ChipFound { .. } => kinds::CHIP,
            Self::Moved { to, .. } => kinds::of_attempt(*to),
            Self::ValueGiven { .. } => kinds::VALUE,
            Self::Verified { .. } => kinds::VERIFIED,
            Self::Stacked { .. } => kinds::STACKED,
            Self::Cancelled { .. } => kinds::CANCELLED,
            Self::RemakeReleased { .. } => kinds::REMAKE_RELEASED,
            Self::Asked { .. } => kinds::ASKED,
            Self::ShiftBegun { .. } => kinds::SHIFT,
            Self::PersonsWord { .. } => kinds::WORD,
            Self::WiringProved { .. } => kinds::WIRED,
            Self::SupplyTold { .. } => kinds::SUPPLY,
            Self::BlanksTested { .. } => kinds::TEST_BLANK,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Whether this program can tell what it changes.
    pub fn is_understood(&self) -> bool {
        !matches!(self, Self::Unknown { kind, .. } if *kind < NOTE_KIND)
    }

    /// The attempt that it is about.
    pub fn card(&self) -> Option<&CardSubject> {
        match self {
            Self::Bound { card, .. }
            | Self::ChipFound { card, .. }
            | Self::Moved { card, .. }
            | Self::ValueGiven { card, .. }
            | Self::Verified { card, .. }
            | Self::Stacked { card, .. } => Some(card),
            _ => None,
        }
    }

    /// The record that it is about.
    pub fn record(&self) -> Option<&RecordSubject> {
        match self {
            Self::Cancelled { record } | Self::RemakeReleased { record } | Self::Asked { record } => {
                Some(record)
            }
            fact => fact.card().map(|card| &card.record),
        }
    }

    /// The record's sequence.
    fn seq(&self) -> Option<u32> {
        match self {
            Self::Unknown { fields, .. } => codec::raw_seq(fields),
            fact => fact.record().map(|record| record.seq),
        }
    }

    /// The blank that it is about.
    pub fn blank(&self) -> Option<BlankSubject> {
        match self {
            Self::Fed { blank }
            | Self::Returned { blank }
            | Self::Tested { blank }
            | Self::BlankRejected { blank, .. } => Some(*blank),
            fact => fact.card().map(|card| card.blank),
        }
    }

    /// The chip that it makes known.
    pub fn chip(&self) -> Option<&ChipId> {
        match self {
            Self::BlankRejected { chip, .. } | Self::Bound { chip, .. } => chip.as_ref(),
            Self::ChipFound { chip, .. } => Some(chip),
            _ => None,
        }
    }

    /// Number of blanks or cards.
    fn count(&self) -> Option<u32> {
        match self {
            Self::StockIssued { count }
            | Self::StockReturned { count }
            | Self::StockVaulted { count }
            | Self::BlanksTested { count, .. } => Some(*count),
            _ => None,
        }
    }

    /// The terms of a job, in chain version 2.
    pub fn terms(&self) -> Option<&AcceptedTerms> {
        match self {
            Self::Accepted(terms) => terms.as_deref(),
            _ => None,
        }
    }
}
