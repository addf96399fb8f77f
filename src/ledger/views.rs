//! What a reader of the ledger gets: jobs, cards, rejects, gaps. Serializable for `--json`; no PAN, no secret.

use serde::Serialize;

use super::types::{AttemptState, Balance, Event, JobId, JobState, RecordState};
use crate::ids::SpoolKeyName;

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobView {
    /// Number.
    #[serde(serialize_with = "as_text")]
    pub job: JobId,
    /// State.
    pub state: JobState,
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
    #[serde(serialize_with = "as_name")]
    pub spool_key: Option<SpoolKeyName>,
    /// Its cardholder data were deleted.
    pub deleted: bool,
    /// Unix time in milliseconds at which the file became a job; in JSON as RFC 3339.
    #[serde(serialize_with = "as_time")]
    pub accepted: u64,
    /// Both balances.
    pub balance: Balance,
}

/// A record with all its attempts and events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CardView {
    /// Job.
    #[serde(serialize_with = "as_text")]
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
    /// Everything that happened to it, in order. Not in its JSON: `report::events` knows how events are written.
    #[serde(skip)]
    pub events: Vec<Event>,
}

/// One record on one blank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// A blank that was thrown out or lost, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// It was REJECTED after PERSONALIZING and nobody saw it destroyed.
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
    #[serde(serialize_with = "as_time")]
    pub ts: u64,
}

/// How many cards reached a state at a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StackView {
    /// Records whose first attempt freed its place in the stack, in file order.
    pub gaps: Vec<Gap>,
    /// Cards stacked at a later attempt, by position.
    pub remakes: Vec<Remade>,
}

/// A place in the stack that was freed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

fn as_text<S: serde::Serializer>(job: &JobId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(job)
}

fn as_name<S: serde::Serializer>(key: &Option<SpoolKeyName>, serializer: S) -> Result<S::Ok, S::Error> {
    key.map(|key| key.to_string()).serialize(serializer)
}

fn as_time<S: serde::Serializer>(unix_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&super::time::rfc3339(*unix_ms))
}
