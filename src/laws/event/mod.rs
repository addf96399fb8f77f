//! Events: what happened, typed. `src/manual/ledger-events.md` specifies their bytes.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | [`LedgerEvent`], its facts, and accessors for views |
//! | `kinds` | every kind: its code, its word, the fields that it may have |
//! | `chip`, `state` | chips and states in events |
//! | `codec`, `limits` | the bytes of chain version 2; how long texts are and what characters they have |
//! | `version_one` | chain version 1: its bytes, and the one reader of its `detail`; frozen |
//! | `words` | events as text for people |
//!
//! Not here: rows (`store`), laws (`book`), the conversion between changes and events (`fact`).

pub mod chip;
pub(crate) mod codec;
pub mod kinds;
pub(crate) mod limits;
mod state;
pub(crate) mod version_one;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use chip::{BlankLabel, ChipId, ChipIdentity};
pub use state::StateName;

use super::types::{AttemptState, Context, JobId};
use crate::ids::{KekId, SpoolKeyName};

/// An event is no longer than this, in bytes.
pub const EVENT_MAX: usize = 8192;

/// Events of this kind or a higher one are notes: they change no state.
pub const NOTE_KIND: u16 = 0x8000;

/// An event that is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEvent {
    /// Number in the ledger, from 1 without a gap.
    pub n: u64,
    /// Unix time in milliseconds.
    pub ts: u64,
    /// The job; `None` if the event is about no job.
    pub job: Option<JobId>,
    /// Always present, so that simulated output can never pass for live.
    pub simulated: bool,
    /// Version of the chain that contains it.
    pub chain: ChainVersion,
    /// State before: of the attempt, else of the record, else of the blank or job.
    pub from: Option<StateName>,
    /// The fact that it records.
    pub fact: EventFact,
    /// Where, why and by whom.
    pub context: Context,
    /// Notes with unknown tags, kept so that the event encodes to the bytes that were read.
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

/// A fact that an event records: its kind, with the fields that only this kind has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventFact {
    /// A file became a job. `None` in chain version 1, where `detail` holds the sealed terms.
    Accepted(Option<Box<AcceptedTerms>>),
    /// The job stops.
    Held,
    /// The job goes on.
    Released,
    /// The job was closed: everything is accounted for.
    Closed,
    /// The job's cardholder data is about to be deleted.
    Deleting {
        /// The key that seals its spool, if ACCEPTED does not state it (chain version 1).
        spool_key: Option<SpoolKeyName>,
    },
    /// The job's cardholder data was deleted.
    Deleted(DataFate),
    /// A run of the job ended.
    Ran(RunCounts),
    /// A hold was requested while cards were under way: the line feeds no more blanks. No state changes yet.
    HoldAsked,
    /// The requested hold was withdrawn before the job was held.
    HoldTakenBack,
    /// Blanks were put into the hopper.
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
    /// A blank came from the hopper.
    Fed {
        /// The blank.
        blank: BlankSubject,
    },
    /// An unbound blank goes back to stock.
    Returned {
        /// The blank.
        blank: BlankSubject,
    },
    /// A blank was used up as a test card of the job.
    Tested {
        /// The blank.
        blank: BlankSubject,
    },
    /// An unbound blank was thrown out.
    BlankRejected {
        /// The blank.
        blank: BlankSubject,
        /// The blank's chip, if it was read.
        chip: Option<ChipId>,
    },
    /// Record and blank became an attempt.
    Bound {
        /// The record, the attempt and the blank.
        card: CardSubject,
        /// The chip, if the first module of the line reads it.
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
    /// The card returned a value.
    ValueGiven {
        /// The attempt.
        card: CardSubject,
        /// Name, length and digest of the value, and the value itself if it is public.
        value: Box<CardValue>,
    },
    /// The card passed its checks.
    Verified {
        /// The attempt.
        card: CardSubject,
        /// The comparisons that were made; may be empty.
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
        /// The record.
        record: RecordSubject,
    },
    /// A person lets a record be made again.
    RemakeReleased {
        /// The record.
        record: RecordSubject,
    },
    /// A person had a record's card read.
    Asked {
        /// The record.
        record: RecordSubject,
    },
    /// A shift begins.
    ShiftBegun {
        /// Its name.
        name: String,
    },
    /// A person confirmed that a device is the one of a station.
    PersonsWord {
        /// The station.
        station: String,
        /// Serial number, mark or connection.
        device: Option<String>,
    },
    /// The wiring of a station is proved.
    WiringProved {
        /// The station.
        station: String,
        /// Serial number, mark or connection.
        device: Option<String>,
        /// Kind of the proof.
        how: String,
    },
    /// A machine reported the state of a supply.
    SupplyTold {
        /// The station.
        station: String,
        /// Name of the supply.
        supply: String,
        /// State of the supply.
        state: String,
    },
    /// Blanks were used up to check the line.
    BlanksTested {
        /// The station, if only one was checked.
        station: Option<String>,
        /// Number of blanks.
        count: u32,
    },
    /// An event of an unknown kind, or of a known kind with an unknown field.
    Unknown {
        /// The kind.
        kind: u16,
        /// Its fields that are not notes.
        fields: Vec<RawField>,
    },
}

/// The record that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSubject {
    /// Its sequence.
    pub seq: u32,
    /// Its card_ref.
    pub card_ref: String,
}

/// The blank that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlankSubject {
    /// Its number in the job; some events of chain version 1 lack it.
    pub number: Option<u32>,
    /// Its label, once its chip is known.
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

/// The attempt that an event is about: one record on one blank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardSubject {
    /// The record.
    pub record: RecordSubject,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The blank.
    pub blank: BlankSubject,
}

/// The terms of a job, which must not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedTerms {
    /// Issuer, from the Header.
    pub issuer: String,
    /// The issuer's id of the file, from the Header.
    pub file_id: String,
    /// Product, from the Header.
    pub product: String,
    /// Number of records.
    pub records: u32,
    /// Name of the line profile.
    pub line: String,
    /// KEK that the Trailer names.
    pub kek: KekId,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// Path of the spool.
    pub spool: String,
    /// Name of the key that seals the spool; `None` if the spool is in the clear.
    pub spool_key: Option<SpoolKeyName>,
    /// Whether the line shreds rejected cards.
    pub rejects_shredded: bool,
    /// Whether the line marks rejected cards.
    pub rejects_marked: bool,
    /// Made with TEST keys.
    pub test_keys: bool,
    /// SHA-256 over every card_ref with its length, in the order of the sequences.
    pub cards: [u8; 32],
    /// Digests of the profiles and of the chip program that make the job's cards.
    pub profiles: JobProfiles,
    /// Version of the laws.
    pub laws: u16,
}

/// Digests of the profiles and of the chip program that make a job's cards, and the planned time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProfiles {
    /// SHA-256 of the line profile's text.
    pub line_digest: [u8; 32],
    /// SHA-256 of the product profile's text.
    pub product_digest: [u8; 32],
    /// Digest of the chip program; `None` if the product has no chip.
    pub chip_program: Option<[u8; 32]>,
    /// Planned milliseconds per card; `None` without a plan.
    pub plan_ms: Option<u32>,
}

/// Counts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Cards that each station worked on, by module and station.
    #[serde(with = "pairs")]
    pub worked: BTreeMap<(String, String), u64>,
    /// Calls to the HSM, by kind.
    pub hsm_calls: BTreeMap<String, u64>,
    /// Microseconds that their callers waited, by kind.
    pub hsm_us: BTreeMap<String, u64>,
}

impl RunCounts {
    /// Splits the counts into parts, each small enough for one event.
    pub fn parts(self) -> Vec<Self> {
        // A part ends with the first entry that passes this length. An entry has at most 520 bytes (two names of
        // 255), so a part stays below half of an event.
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
            length += 2 * (call.len() + 9);
            let us = self.hsm_us.get(&call).copied();
            part.hsm_us.extend(us.map(|us| (call.clone(), us)));
            part.hsm_calls.insert(call, times);
            if length > LISTED {
                parts.push(std::mem::take(&mut part));
                length = 0;
            }
        }
        // At least one part, so that a run without cards and calls is recorded too.
        if parts.is_empty() || part != Self::default() {
            parts.push(part);
        }
        parts
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (station, cards) in &other.worked {
            *self.worked.entry(station.clone()).or_default() += cards;
        }
        for (call, times) in &other.hsm_calls {
            *self.hsm_calls.entry(call.clone()).or_default() += times;
        }
        for (call, us) in &other.hsm_us {
            *self.hsm_us.entry(call.clone()).or_default() += us;
        }
    }
}

/// Keys in JSON are texts, so a map keyed by two names is serialized as a list of pairs.
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

/// Outcome of the deletion of a job's cardholder data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFate {
    /// Outcome for the spool's key.
    pub key: KeyFate,
    /// Outcome for the spool.
    pub spool: SpoolFate,
    /// The file in the spool's place could not be read as the accepted spool.
    pub unreadable: bool,
}

/// Outcome for a spool's key.
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

/// Outcome for a spool.
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

/// A value that a card returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardValue {
    /// Its name; unique in an attempt.
    pub name: String,
    /// Its length in bytes.
    pub length: u32,
    /// SHA-256 of the value.
    pub digest: [u8; 32],
    /// The value itself, if it is public and at most 2 KiB.
    pub public: Option<Vec<u8>>,
}

impl LedgerEvent {
    /// Code of its kind (`src/manual/ledger-events.md`).
    pub fn kind(&self) -> u16 {
        self.fact.kind()
    }

    /// Word of its kind, shown as `to`: `BOUND`; `note-8123` or `unknown-0123` for an unknown kind.
    pub fn to_word(&self) -> String {
        match &self.fact {
            EventFact::Unknown { kind, .. } if *kind >= NOTE_KIND => format!("note-{kind:04X}"),
            EventFact::Unknown { kind, .. } => format!("unknown-{kind:04X}"),
            fact => kinds::word(fact.kind()).to_owned(),
        }
    }

    /// Word of the state before the event, shown as `from`.
    pub fn from_word(&self) -> Option<&'static str> {
        self.from.map(StateName::word)
    }

    /// The job as text, `J1`; empty if the event is about no job.
    pub fn job_text(&self) -> String {
        self.job.map(|job| job.to_string()).unwrap_or_default()
    }

    /// Sequence of the record, if the event is about one.
    pub fn seq(&self) -> Option<u32> {
        self.fact.seq()
    }

    /// The card_ref of the record, if the event is about one.
    pub fn card_ref(&self) -> Option<&str> {
        self.fact.record().map(|record| record.card_ref.as_str())
    }

    /// Number of the attempt, from 1, if the event is about one.
    pub fn attempt(&self) -> Option<u32> {
        self.fact.card().map(|card| card.attempt)
    }

    /// Label of the blank, or `#` and its number, if the event is about a blank.
    pub fn blank_name(&self) -> Option<String> {
        self.fact.blank().map(|blank| blank.to_string())
    }

    /// Place in the stacker, of a STACKED event.
    pub fn position(&self) -> Option<u32> {
        match &self.fact {
            EventFact::Stacked { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// Number of blanks or cards, of an event that counts them.
    pub fn count(&self) -> Option<u32> {
        self.fact.count()
    }

    /// The bytes that the chain hashes; `None` in chain version 1.
    pub fn body(&self) -> Option<Vec<u8>> {
        if self.chain == ChainVersion::One {
            return None;
        }
        let mut bytes = Vec::new();
        codec::encode(self, &mut bytes);
        Some(bytes)
    }

    /// Whether it is [`EventFact::Moved`] to `state`. BOUND, VERIFIED and STACKED have events of their own and never
    /// match.
    pub fn is_moved_to(&self, state: AttemptState) -> bool {
        matches!(&self.fact, EventFact::Moved { to, .. } if *to == state)
    }
}

impl EventFact {
    /// Code of the kind (`src/manual/ledger-events.md`).
    pub fn kind(&self) -> u16 {
        match self {
            Self::Accepted(_) => kinds::ACCEPTED,
            Self::Held => kinds::HELD,
            Self::Released => kinds::RELEASED,
            Self::Closed => kinds::CLOSED,
            Self::Deleting { .. } => kinds::DELETING,
            Self::Deleted(_) => kinds::DELETED,
            Self::Ran(_) => kinds::RAN,
            Self::HoldAsked => kinds::STOPPING,
            Self::HoldTakenBack => kinds::GOES_ON,
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

    /// Whether this program knows which state the event changes. An unknown note counts as understood, because it
    /// changes none.
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

    /// The chip, of an event that records one.
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

    /// The key of a spool that DELETING names.
    pub fn spool_key(&self) -> Option<SpoolKeyName> {
        match self {
            Self::Deleting { spool_key } => *spool_key,
            _ => None,
        }
    }

    /// Terms of a job; `None` in chain version 1 and for other events.
    pub fn terms(&self) -> Option<&AcceptedTerms> {
        match self {
            Self::Accepted(terms) => terms.as_deref(),
            _ => None,
        }
    }
}
