//! The verdict about a return file: counts, the records without a good card, and what is wrong. Names and counts, no
//! cardholder data.
//!
//! Not here: how it is found (`check_return`).

use std::fmt::Write;

use serde::Serialize;

use super::shown;
use crate::exit::Exit;
use crate::report::{SIMULATED, TEST_KEYS, counted};

/// What became of the records of a file, by the bureau's return file.
#[derive(Default, Serialize)]
pub struct ReturnVerdict {
    /// The return file.
    pub return_file: String,
    /// The file that was sent.
    pub sent: String,
    /// No card of the file exists.
    pub simulated: bool,
    /// Made with TEST keys.
    pub test_keys: bool,
    /// The issuer's id of the file.
    pub file_id: String,
    /// The issuer.
    pub issuer_id: String,
    /// The product.
    pub product: String,
    /// SHA-256 of the file that was sent, hex.
    pub sha256: String,
    /// The bureau's job.
    pub job: String,
    /// When the job was closed.
    pub closed: String,
    /// The key that signed the return file.
    pub audit_key: String,
    /// Whether that is the key that the caller named; `false`: none was named.
    pub key_was_named: bool,
    /// Whether the HSM of the bureau has counted the job, and so every line was compared with its figures.
    pub counted: bool,
    /// Records that were sent.
    pub records: u32,
    /// Records with a good card.
    pub good: u32,
    /// Those of them that took more than one blank.
    pub remade: u32,
    /// Records that the bureau gave up.
    pub cancelled: u32,
    /// Records without a line.
    pub missing: u32,
    /// Lines of records that were not sent.
    pub unknown: u32,
    /// Lines of records that had one before.
    pub repeated: u32,
    /// Records whose line has no final state.
    pub not_final: u32,
    /// Every record or line that is not GOOD.
    pub not_good: Vec<UnmadeRecord>,
    /// What is wrong with the return file as a whole.
    pub faults: Vec<String>,
}

const COUNTED: &str = "counted every outcome of this job itself";
const NOT_COUNTED: &str = "signed the text, and has not counted the outcomes";

/// A record without a good card, or a line that belongs to none.
#[derive(Serialize)]
pub struct UnmadeRecord {
    /// Number of the record.
    pub seq: u32,
    /// Its card_ref; `None` if what stands there is none.
    pub card_ref: Option<String>,
    /// What is known of it.
    pub state: ReturnState,
}

/// Why a record or a line is not GOOD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReturnState {
    /// The bureau gave the record up.
    Cancelled,
    /// The record has no line.
    Missing,
    /// No such record was sent.
    Unknown,
    /// The record has a line already.
    Repeated,
    /// The line says neither GOOD, with the blank of the card, nor CANCELLED.
    NotFinal,
}

impl ReturnState {
    fn word(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Missing => "MISSING",
            Self::Unknown => "UNKNOWN",
            Self::Repeated => "REPEATED",
            Self::NotFinal => "NOT FINAL",
        }
    }
}

impl ReturnVerdict {
    /// Counts and lists a record or line that is not GOOD.
    pub(super) fn add(&mut self, seq: u32, card_ref: &str, state: ReturnState) {
        let count = match state {
            ReturnState::Cancelled => &mut self.cancelled,
            ReturnState::Missing => &mut self.missing,
            ReturnState::Unknown => &mut self.unknown,
            ReturnState::Repeated => &mut self.repeated,
            ReturnState::NotFinal => &mut self.not_final,
        };
        *count = count.saturating_add(1);
        self.not_good.push(UnmadeRecord { seq, card_ref: shown(card_ref), state });
    }

    /// Whether every record that was sent has one final state, and the return file is right otherwise.
    pub fn all_accounted_for(&self) -> bool {
        let final_states = u64::from(self.good) + u64::from(self.cancelled);
        let stray = [self.missing, self.unknown, self.repeated, self.not_final];
        self.faults.is_empty() && stray == [0; 4] && final_states == u64::from(self.records)
    }

    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self.all_accounted_for() {
            false => Exit::NotReconciled,
            true if !self.key_was_named || !self.counted => Exit::StructureOnly,
            true if self.cancelled > 0 => Exit::NotAllGood,
            true => Exit::Ok,
        }
    }

    /// The verdict for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mark = match (self.simulated, self.test_keys) {
            (true, _) => format!("  {SIMULATED}"),
            (false, true) => format!("  {TEST_KEYS}"),
            (false, false) => String::new(),
        };
        let whose =
            if self.key_was_named { "the one that you named" } else { "compare it with the bureau's" };
        // Writing to a String does not fail.
        let _ =
            writeln!(out, "{}: {} of {}{mark}", self.return_file, counted(self.records, "record"), self.sent);
        for (name, value) in [
            ("file_id", self.file_id.clone()),
            ("issuer_id", self.issuer_id.clone()),
            ("product", self.product.clone()),
            ("SHA-256", self.sha256.clone()),
            ("job", format!("{}, closed {}", self.job, self.closed)),
            ("audit key", format!("{} ({whose})", self.audit_key)),
            ("HSM", if self.counted { COUNTED } else { NOT_COUNTED }.to_owned()),
            ("GOOD", format!("{}, {} of them remade", self.good, self.remade)),
            ("CANCELLED", self.cancelled.to_string()),
            ("MISSING", self.missing.to_string()),
            ("UNKNOWN", self.unknown.to_string()),
            ("REPEATED", self.repeated.to_string()),
            ("NOT FINAL", self.not_final.to_string()),
        ] {
            let _ = writeln!(out, "{name:<10} {value}");
        }
        if !self.not_good.is_empty() {
            let _ = writeln!(out, "\n{:>8}  {:<40}  state", "record", "card_ref");
        }
        for UnmadeRecord { seq, card_ref, state } in &self.not_good {
            let name = card_ref.as_deref().unwrap_or("(not shown)");
            let _ = writeln!(out, "{seq:>8}  {name:<40}  {}", state.word());
        }
        for fault in &self.faults {
            let _ = writeln!(out, "WRONG: {fault}");
        }
        let verdict = match self.all_accounted_for() {
            true => "Every record is accounted for",
            false => "NOT every record is accounted for: ask the bureau",
        };
        let _ = writeln!(out, "{verdict}");
        out
    }
}
