//! What a reader of the ledger gets: jobs, cards, rejects, gaps. Serializable for `--json`; no PAN, no secret.

use serde::{Deserialize, Serialize};

use super::event::LedgerEvent;
use super::types::{AttemptState, Balance, JobId, JobState, RecordState, Stock};
use crate::ids::SpoolKeyName;

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Number.
    pub job: JobId,
    /// State.
    pub state: JobState,
    /// What the state means to people.
    pub phase: JobPhase,
    /// HELD only: why. Held for `submitted` or `operator` an operator lets it go, for anything else a supervisor.
    pub held_for: Option<String>,
    /// HELD only: what the event that held it says besides.
    pub held_detail: Option<String>,
    /// Marked SIMULATED everywhere.
    pub simulated: bool,
    /// Made with TEST keys: marked everywhere.
    pub test_keys: bool,
    /// Header.
    pub issuer_id: String,
    /// Header.
    pub file_id: String,
    /// Header.
    pub product: String,
    /// Number of records.
    pub records: u32,
    /// SHA-256 of the file, hex.
    pub digest: String,
    /// KEK of the Trailer, hex.
    pub kek: String,
    /// Line profile's name.
    pub line: String,
    /// Whether the line shreds rejects.
    pub rejects_shredded: bool,
    /// Path of the spool.
    pub spool: String,
    /// Key that it is sealed with; none if it lies there in the clear.
    pub spool_key: Option<SpoolKeyName>,
    /// Its cardholder data was deleted.
    pub deleted: bool,
    /// The deletion of its cardholder data has begun.
    pub deleting: bool,
    /// Unix time in milliseconds at which the file became a job; in JSON as RFC 3339.
    #[serde(with = "unix_time")]
    pub accepted: u64,
    /// Both balances.
    pub balance: Balance,
}

/// A job as the trade speaks of it: its state, and two phases that are shown and stored nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobPhase {
    /// May be run.
    Open,
    /// Waits for a person.
    Held,
    /// A hold waits for cards under way: no blank is fed, and the cards that are fed are finished. After the line was killed
    /// the job is shown as OPEN.
    Stopping,
    /// Nothing stands against closing.
    Complete,
    /// Accounted for.
    Closed,
}

impl JobPhase {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Held => "HELD",
            Self::Stopping => "STOPPING",
            Self::Complete => "COMPLETE",
            Self::Closed => "CLOSED",
        }
    }
}

impl From<JobState> for JobPhase {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Open => Self::Open,
            JobState::Held => Self::Held,
            JobState::Closed => Self::Closed,
        }
    }
}

/// A record with all its attempts and events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardView {
    /// Job.
    pub job: JobId,
    /// Record.
    pub seq: u32,
    /// Its card_ref.
    pub card_ref: String,
    /// State of the record.
    pub state: RecordState,
    /// REMAKE only: a person let it be made again.
    pub released: bool,
    /// In order.
    pub attempts: Vec<AttemptView>,
    /// Everything that happened to it, in order.
    pub events: Vec<LedgerEvent>,
}

/// One record on one blank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// From 1.
    pub attempt: u32,
    /// State.
    pub state: AttemptState,
    /// Number of the blank.
    pub blank_number: u32,
    /// As events name it: CSN hex where known, else `#` and the number.
    pub blank: String,
    /// KEYDATA, hex, where a chip was asked.
    pub key_data: Option<String>,
    /// Data of the record went to the card: its chip may hold live keys.
    pub wrote: bool,
    /// Place in the stacker.
    pub position: Option<u32>,
    /// What was compared with what.
    pub compared: Option<String>,
}

/// The attempt that a chip belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Job.
    pub job: JobId,
    /// Record.
    pub seq: u32,
    /// Attempt.
    pub attempt: u32,
    /// Its state.
    pub state: AttemptState,
}

/// A blank that was thrown out, lost or taken out as a sample, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectView {
    /// Record; none where the blank was not bound.
    pub seq: Option<u32>,
    /// Its card_ref.
    pub card_ref: Option<String>,
    /// Attempt.
    pub attempt: Option<u32>,
    /// Blank.
    pub blank: Option<String>,
    /// What the attempt is now; none where the blank was not bound.
    pub state: Option<AttemptState>,
    /// It was REJECTED after PERSONALIZING, or is a SAMPLE, and nobody saw it destroyed.
    pub to_destroy: bool,
    /// Station.
    pub station: Option<String>,
    /// Module.
    pub module: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// For people.
    pub detail: Option<String>,
    /// Command header.
    pub header: Option<String>,
    /// Status word, hex.
    pub sw: Option<String>,
    /// Unix time in milliseconds; in JSON as RFC 3339.
    #[serde(with = "unix_time")]
    pub ts: u64,
}

/// How many cards reached a state at a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationCount {
    /// Module.
    pub module: String,
    /// Station.
    pub station: String,
    /// State of record or blank.
    pub reached: String,
    /// How often.
    pub cards: u64,
}

/// How the stack differs from the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackView {
    /// Records whose first attempt freed its place in the stack, in file order.
    pub gaps: Vec<Gap>,
    /// Cards stacked at a later attempt, by position.
    pub remakes: Vec<Remade>,
}

/// A place in the stack that was freed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Record.
    pub seq: u32,
    /// Its card_ref.
    pub card_ref: String,
    /// State of the record now.
    pub state: RecordState,
    /// Position of the card that stands before the gap; 0 where the gap is the beginning.
    pub after_position: u32,
}

/// A card that was made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remade {
    /// Record.
    pub seq: u32,
    /// Its card_ref.
    pub card_ref: String,
    /// Attempt, from 2.
    pub attempt: u32,
    /// Place in the stacker.
    pub position: u32,
}

/// The stock of a job: issued = fed + in the hopper + returned; fed = in line + good + rejected + unknown + sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockView {
    /// Job.
    pub job: JobId,
    /// Somebody issued blanks, so the hopper is counted.
    pub counted: bool,
    /// Issued, returned, vaulted.
    #[serde(flatten)]
    pub stock: Stock,
    /// Fed, without those that the line gave back.
    pub fed: u64,
    /// In the hopper.
    pub hopper: i64,
    /// In the line.
    pub in_line: u64,
    /// Good.
    pub good: u64,
    /// Rejected, bound or not.
    pub rejected: u64,
    /// Unknown.
    pub unknown: u64,
    /// Sample and test cards.
    pub sample: u64,
}

/// Blanks that are not used yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnHand {
    /// In the hopper.
    pub hopper: i64,
    /// In the line.
    pub in_line: i64,
}

impl OnHand {
    /// Both.
    pub fn sum(&self) -> i64 {
        self.hopper + self.in_line
    }
}

/// The stock of a shift: opening + issued = good + rejected + unknown + sample + returned + closing. What became of cards
/// counts where it happened: an UNKNOWN card of the shift before that is found good is one less there and one more here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShiftView {
    /// Name.
    pub shift: String,
    /// Who began it.
    pub by: Option<String>,
    /// When it began; in JSON as RFC 3339.
    #[serde(with = "unix_time")]
    pub begun: u64,
    /// When the next one began.
    #[serde(with = "unix_time_if")]
    pub ended: Option<u64>,
    /// On hand at its beginning.
    pub opening: OnHand,
    /// Put into hoppers.
    pub issued: i64,
    /// Became good.
    pub good: i64,
    /// Were rejected.
    pub rejected: i64,
    /// Became unknown.
    pub unknown: i64,
    /// Became sample or test cards.
    pub sample: i64,
    /// Taken out of hoppers unused.
    pub returned: i64,
    /// Good cards put into the vault.
    pub vaulted: i64,
    /// On hand at its end, or now: while it runs by the tables, else by its events.
    pub closing: OnHand,
    /// The left side less the right: 0, or something is lost.
    pub off: i64,
}

/// Unix milliseconds as RFC 3339.
mod unix_time {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::ledger::time;

    pub(super) fn serialize<S: Serializer>(unix_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time::rfc3339(*unix_ms))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        time::unix_ms(&text).ok_or_else(|| D::Error::custom("no time as RFC 3339 in UTC with milliseconds"))
    }
}

/// Unix milliseconds as RFC 3339, or null.
mod unix_time_if {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::ledger::time;

    pub(super) fn serialize<S: Serializer>(unix_ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        unix_ms.map(time::rfc3339).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let time = time::unix_ms(&text);
        time.map(Some).ok_or_else(|| D::Error::custom("no time as RFC 3339 in UTC with milliseconds"))
    }
}
