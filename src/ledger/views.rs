//! The views that a reader of the ledger returns: jobs, cards, rejects, gaps. Serializable for `--json`; no PAN, no
//! secret.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::SpoolKeyName;
use crate::laws::event::LedgerEvent;
use crate::laws::types::{AttemptState, Balance, JobId, JobState, RecordState, Stock};
use crate::reason::ReasonWord;

/// A job, its state and its balances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Number of the job.
    pub job: JobId,
    /// The stored state.
    pub state: JobState,
    /// The state as shown to people.
    pub phase: JobPhase,
    /// Reason of the hold, if the job is HELD. An operator may release a job held for `submitted` or `operator`, a
    /// supervisor any job.
    pub held_for: Option<ReasonWord>,
    /// Detail of the event that held the job, if it is HELD.
    pub held_detail: Option<String>,
    /// Stations, hopper and output that want something of a person while the line works, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<String>,
    /// Marked SIMULATED everywhere.
    pub simulated: bool,
    /// Made with TEST keys: marked everywhere.
    pub test_keys: bool,
    /// Issuer, from the Header.
    pub issuer_id: String,
    /// The issuer's id of the file, from the Header.
    pub file_id: String,
    /// Product, from the Header.
    pub product: String,
    /// Number of records.
    pub records: u32,
    /// SHA-256 of the file, hex.
    pub digest: String,
    /// KEK that the Trailer names, hex.
    pub kek: String,
    /// Name of the line profile.
    pub line: String,
    /// Whether the line shreds rejects.
    pub rejects_shredded: bool,
    /// Path of the spool.
    pub spool: String,
    /// Name of the key that seals the spool; `None` if the spool is in the clear.
    pub spool_key: Option<SpoolKeyName>,
    /// Its cardholder data was deleted.
    pub deleted: bool,
    /// The deletion of its cardholder data has begun.
    pub deleting: bool,
    /// Unix time in milliseconds at which the file became a job; in JSON as RFC 3339.
    #[serde(with = "unix_time")]
    pub accepted: u64,
    /// Both balances, of records and of blanks.
    pub balance: Balance,
    /// Requests that wait for a second person. A daemon knows of them, and the ledger does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub second_person: Vec<SecondPersonWanted>,
}

/// A request that one person has made, and that takes two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondPersonWanted {
    /// Word of the action, as line profiles list it.
    pub action: String,
    /// The records that it is about, or a count; empty if it is about the job as a whole.
    pub subject: String,
    /// Who made the request first.
    pub by: String,
}

impl fmt::Display for SecondPersonWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.subject.is_empty() { "" } else { " " };
        let Self { action, subject, by } = self;
        write!(f, "waits for a second person: {action}{of}{subject}, asked for by {by}")
    }
}

/// The state of a job as shown to people: the stored states, and two phases that are derived and stored nowhere.
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
    /// Nothing prevents closing it.
    Complete,
    /// Accounted for.
    Closed,
}

impl JobPhase {
    /// Its word in output, e.g. `OPEN`.
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
    /// The job.
    pub job: JobId,
    /// Sequence of the record.
    pub seq: u32,
    /// Its card_ref.
    pub card_ref: String,
    /// State of the record.
    pub state: RecordState,
    /// Only for REMAKE: a person allowed the record to be made again.
    pub released: bool,
    /// In order; the first is number 1.
    pub attempts: Vec<AttemptView>,
    /// Everything that happened to it, in order.
    pub events: Vec<LedgerEvent>,
}

/// One record on one blank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// State of the attempt.
    pub state: AttemptState,
    /// Number of the blank.
    pub blank_number: u32,
    /// Its name in events: the label of its chip in hex if known, else `#` and the number.
    pub blank: String,
    /// KEYDATA in hex, if a GlobalPlatform chip was read.
    pub key_data: Option<String>,
    /// Data of the record was sent to the card, so its chip may hold live keys.
    pub wrote: bool,
    /// Place in the stacker.
    pub position: Option<u32>,
    /// The comparisons that were made.
    pub compared: Option<String>,
}

/// The attempt that a chip belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The job.
    pub job: JobId,
    /// Sequence of the record.
    pub seq: u32,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Its state.
    pub state: AttemptState,
}

/// A blank that was thrown out, lost or taken out as a sample, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectView {
    /// Record; `None` if the blank was not bound.
    pub seq: Option<u32>,
    /// The card_ref of that record.
    pub card_ref: Option<String>,
    /// Number of the attempt.
    pub attempt: Option<u32>,
    /// Label of the blank, or `#` and its number.
    pub blank: Option<String>,
    /// Current state of the attempt; `None` if the blank was not bound.
    pub state: Option<AttemptState>,
    /// It was REJECTED after PERSONALIZING or is a SAMPLE, and has yet to be destroyed.
    pub to_destroy: bool,
    /// Station at which it happened, e.g. `chip-3`.
    pub station: Option<String>,
    /// Module of that station, e.g. `chip`.
    pub module: Option<String>,
    /// Stable word for the reason.
    pub reason: Option<String>,
    /// A text for people.
    pub detail: Option<String>,
    /// Header of the command that failed, eight hex digits.
    pub header: Option<String>,
    /// Status word that answered it, four hex digits.
    pub sw: Option<String>,
    /// Unix time in milliseconds; in JSON as RFC 3339.
    #[serde(with = "unix_time")]
    pub ts: u64,
}

/// The number of cards that reached a state at a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationCount {
    /// Name of the module.
    pub module: String,
    /// Name of the station.
    pub station: String,
    /// State of record or blank.
    pub reached: String,
    /// Number of cards.
    pub cards: u64,
}

/// The differences between the stack and the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackView {
    /// Records whose card is missing at its place in the stack, in file order.
    pub gaps: Vec<Gap>,
    /// Cards stacked at a later attempt, by position.
    pub remakes: Vec<Remade>,
}

/// A record whose card is missing at its place in the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Sequence of the record.
    pub seq: u32,
    /// Its card_ref.
    pub card_ref: String,
    /// State of the record now.
    pub state: RecordState,
    /// Position of the card before the gap; 0 if the gap is at the beginning.
    pub after_position: u32,
}

/// A card that was made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remade {
    /// Sequence of the record.
    pub seq: u32,
    /// Its card_ref.
    pub card_ref: String,
    /// Number of the attempt, from 2.
    pub attempt: u32,
    /// Place in the stacker.
    pub position: u32,
}

/// The stock of a job: issued = fed + in the hopper + returned; fed = in line + good + rejected + unknown + sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockView {
    /// The job.
    pub job: JobId,
    /// Whether the hopper is counted, because blanks were issued.
    pub counted: bool,
    /// Issued, returned, vaulted.
    #[serde(flatten)]
    pub stock: Stock,
    /// Fed, minus those that the line gave back.
    pub fed: u64,
    /// Blanks in the hopper; below zero if more were fed than issued.
    pub hopper: i64,
    /// Blanks in the line, bound or not.
    pub in_line: u64,
    /// Good cards.
    pub good: u64,
    /// Rejected, bound or not.
    pub rejected: u64,
    /// Cards whose outcome is unknown.
    pub unknown: u64,
    /// Sample and test cards.
    pub sample: u64,
}

/// Blanks that are not used yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnHand {
    /// Blanks in the hopper.
    pub hopper: i64,
    /// Blanks in the line.
    pub in_line: i64,
}

impl OnHand {
    /// Blanks in the hopper and in the line.
    pub fn sum(&self) -> i64 {
        self.hopper + self.in_line
    }
}

/// The stock of a shift: opening + issued = good + rejected + unknown + sample + returned + closing. A change counts
/// in the shift in which it happened: an UNKNOWN card of an earlier shift that is found good counts as one unknown
/// less and one good more in this shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShiftView {
    /// Name of the shift.
    pub shift: String,
    /// The person who began it.
    pub by: Option<String>,
    /// When it began; in JSON as RFC 3339.
    #[serde(with = "unix_time")]
    pub begun: u64,
    /// When the next shift began; `None` while this one runs.
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
    /// On hand at its end, by the events; while the shift runs, on hand now, by the tables.
    pub closing: OnHand,
    /// Left side minus right side. Not 0 means that blanks are lost.
    pub off: i64,
}

/// The time that passed between two events, as far as the events between them prove it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimePassed {
    /// Proved time in ms. Less than zero if the clock was set back a little.
    ms: i64,
    /// Number and time (Unix in ms) of the last event.
    pub last: (u64, u64),
    /// The longest time that is not believed.
    pub gap: Option<ClockGap>,
}

/// Two times that follow one another, so far apart that the clock may have been set. Unix in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockGap {
    /// The earlier event's time.
    pub from: u64,
    /// The later event's time.
    pub to: u64,
}

impl ClockGap {
    fn length(self) -> u64 {
        self.from.abs_diff(self.to)
    }
}

impl TimePassed {
    /// No time yet, up to this last event.
    pub(super) fn until(last: (u64, u64)) -> Self {
        Self { last, ..Self::default() }
    }

    /// Counts the time between two moments.
    pub fn count(&mut self, from: u64, to: u64) {
        let step = i64::try_from(from.abs_diff(to)).unwrap_or(i64::MAX);
        self.ms = if to < from { self.ms.saturating_sub(step) } else { self.ms.saturating_add(step) };
    }

    /// Notes a time that is not believed.
    pub fn skip(&mut self, gap: ClockGap) {
        if self.gap.is_none_or(|known| known.length() < gap.length()) {
            self.gap = Some(gap);
        }
    }

    /// The time that is proved.
    pub fn proved(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.ms).unwrap_or_default())
    }
}

/// Unix milliseconds as RFC 3339.
mod unix_time {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::laws::time;

    pub(super) fn serialize<S: Serializer>(unix_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time::rfc3339(*unix_ms))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        time::unix_ms(&text)
            .ok_or_else(|| D::Error::custom("not a time of RFC 3339 in UTC with milliseconds"))
    }
}

/// Unix milliseconds as RFC 3339, or null.
mod unix_time_if {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::laws::time;

    pub(super) fn serialize<S: Serializer>(unix_ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        unix_ms.map(time::rfc3339).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let time = time::unix_ms(&text);
        time.map(Some).ok_or_else(|| D::Error::custom("not a time of RFC 3339 in UTC with milliseconds"))
    }
}
