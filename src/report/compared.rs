//! Compares a paper's text with what the HSM has counted of its job, which the seal of the paper states.
//!
//! A report in JSON and a return file are compared line by line. A page in HTML is not read here: whoever checks it compares the
//! figures. Not here: whether the seal is genuine (`seal`).

use std::io::Read;

use hex::FromHex;
use serde::Deserialize;

use super::certificate::says_missing;
use super::return_file::{ReceivedEnd, ReceivedHeader, ReceivedLine, ReceivedRecord, ReturnFile};
use crate::audit::{CountedJob, SealedDocument, SpoolKeyState};
use crate::exit::Failure;
use crate::laws::{CardsDigest, OutcomesDigest, RecordState, file_name_hash};

/// What a paper says of its job.
pub struct StatedJob<'a> {
    /// The ledger.
    pub ledger: &'a str,
    /// The job.
    pub job: &'a str,
    /// Issuer of the file.
    pub issuer_id: &'a str,
    /// Name of the file.
    pub file_id: &'a str,
    /// SHA-256 of the file, in hex.
    pub sha256: &'a str,
    /// The line was simulated.
    pub simulated: bool,
    /// Made with TEST keys.
    pub test_keys: bool,
}

impl<'a> From<&'a ReceivedHeader> for StatedJob<'a> {
    fn from(header: &'a ReceivedHeader) -> Self {
        Self {
            ledger: &header.ledger,
            job: &header.job,
            issuer_id: &header.issuer_id,
            file_id: &header.file_id,
            sha256: &header.sha256,
            simulated: header.simulated,
            test_keys: header.test_keys,
        }
    }
}

impl StatedJob<'_> {
    /// What differs from what was signed.
    pub fn differences(&self, sealed: &SealedDocument) -> Vec<String> {
        let mut found = Vec::new();
        if (self.ledger, self.job) != (&*sealed.head.ledger.to_string(), &*sealed.job.to_string()) {
            found.push("its ledger or job is not the one that was signed".to_owned());
        }
        let Some(counted) = &sealed.counted else { return found };
        let name = file_name_hash(self.issuer_id, self.file_id);
        if <[u8; 32]>::from_hex(self.sha256) != Ok(counted.file) || name != counted.name {
            found.push("its file is not the one of the job".to_owned());
        }
        if (self.simulated, self.test_keys) != (counted.simulated, counted.test_keys) {
            found.push(
                "whether it is SIMULATED, or made with TEST keys, is not what the HSM has seen".to_owned(),
            );
        }
        found
    }
}

/// What the lines of a return file add up to.
#[derive(Default)]
pub struct ReturnTotals {
    outcomes: OutcomesDigest,
    cards: CardsDigest,
    records: u64,
    good: u64,
    cancelled: u64,
    /// A line says what no record of a closed job is.
    strange: bool,
}

impl ReturnTotals {
    /// Adds the line of the next record.
    pub fn add(&mut self, line: &ReceivedRecord) {
        let state = match line.outcome.as_str() {
            "GOOD" => Some(RecordState::Good),
            "CANCELLED" => Some(RecordState::Cancelled),
            _ => None,
        };
        self.records += 1;
        self.good += u64::from(state == Some(RecordState::Good));
        self.cancelled += u64::from(state == Some(RecordState::Cancelled));
        self.cards.add(&line.card_ref);
        match (state, u32::try_from(line.attempts)) {
            (Some(state), Ok(attempts)) => {
                self.outcomes.add(line.seq, state, attempts, line.position.unwrap_or(0));
            }
            _ => self.strange = true,
        }
    }

    /// Whether an end line counts these lines.
    pub fn are_counted_by(&self, end: &ReceivedEnd) -> bool {
        (end.records, end.good, end.cancelled) == (self.records, self.good, self.cancelled)
    }

    /// What differs from what was counted; nothing if the HSM has not counted the job.
    pub fn differences(self, counted: Option<&CountedJob>) -> Vec<String> {
        let Some(counted) = counted else { return Vec::new() };
        let numbers = (self.records, self.good, self.cancelled);
        [
            (
                "number of records",
                !self.strange && numbers == (counted.records, counted.good, counted.cancelled),
            ),
            ("outcome, attempts or position of a card", self.outcomes.finish() == counted.outcomes),
            ("card_ref of a card", self.cards.finish() == counted.cards),
        ]
        .into_iter()
        .filter(|(_, equal)| !equal)
        .map(|(what, _)| differs(what))
        .collect()
    }
}

fn differs(what: &str) -> String {
    format!("the {what} is not what the HSM has counted")
}

/// Reads a return file and compares it with its seal.
pub fn return_file(name: String, text: impl Read, sealed: &SealedDocument) -> Result<Vec<String>, Failure> {
    let mut file = ReturnFile::begin(name, text)?;
    let mut found = StatedJob::from(&file.header).differences(sealed);
    let mut totals = ReturnTotals::default();
    let mut end: Option<ReceivedEnd> = None;
    while let Some(line) = file.next()? {
        match line {
            ReceivedLine::Record(record) if end.is_none() => totals.add(&record),
            ReceivedLine::End(line) if end.is_none() => end = Some(line),
            _ => found.push("something stands after its end line".to_owned()),
        }
    }
    if !end.is_some_and(|end| totals.are_counted_by(&end)) {
        found.push("it has no end line, or one that counts other records than it has".to_owned());
    }
    found.extend(totals.differences(sealed.counted.as_ref()));
    Ok(found)
}

/// The balances of a report in JSON.
#[derive(Deserialize)]
struct ReportedJob {
    job: ReportedBalances,
    ledger: String,
}

#[derive(Deserialize)]
struct ReportedBalances {
    job: String,
    issuer_id: String,
    file_id: String,
    digest: String,
    simulated: bool,
    test_keys: bool,
    balance: ReportedBalance,
}

#[derive(Deserialize, PartialEq)]
struct ReportedBalance {
    records: u64,
    good: u64,
    cancelled: u64,
    blanks_fed: u64,
    blanks_good: u64,
    blanks_rejected: u64,
    blanks_returned: u64,
    blanks_sample: u64,
    queued: u64,
    in_flight: u64,
    remake: u64,
    unknown: u64,
    blanks_in_line: u64,
    blanks_unknown: u64,
}

impl From<&CountedJob> for ReportedBalance {
    fn from(counted: &CountedJob) -> Self {
        Self {
            records: counted.records,
            good: counted.good,
            cancelled: counted.cancelled,
            blanks_fed: counted.blanks_fed,
            blanks_good: counted.blanks_good,
            blanks_rejected: counted.blanks_rejected,
            blanks_returned: counted.blanks_returned,
            blanks_sample: counted.blanks_sample,
            // By the laws, a closed job has none of these.
            queued: 0,
            in_flight: 0,
            remake: 0,
            unknown: 0,
            blanks_in_line: 0,
            blanks_unknown: 0,
        }
    }
}

/// Compares a report in JSON with its seal.
pub fn report(text: impl Read, sealed: &SealedDocument) -> Vec<String> {
    let Ok(report) = serde_json::from_reader::<_, ReportedJob>(text) else {
        return vec!["it is no report of this program".to_owned()];
    };
    let ReportedBalances { job, issuer_id, file_id, digest, simulated, test_keys, .. } = &report.job;
    let (simulated, test_keys) = (*simulated, *test_keys);
    let stated =
        StatedJob { ledger: &report.ledger, job, issuer_id, file_id, sha256: digest, simulated, test_keys };
    let mut found = stated.differences(sealed);
    if sealed.counted.as_ref().is_some_and(|counted| report.job.balance != counted.into()) {
        found.push(differs("number of records or blanks"));
    }
    found
}

/// A certificate of deletion, as far as it is compared.
#[derive(Deserialize)]
struct ReportedDeletion {
    ledger: String,
    job: String,
    issuer_id: String,
    file_id: String,
    sha256: String,
    simulated: bool,
    test_keys: bool,
    records: u64,
    spool_key: Option<String>,
    how: String,
}

/// Compares a certificate of deletion with its seal.
pub fn certificate(text: impl Read, sealed: &SealedDocument) -> Vec<String> {
    let Ok(deletion) = serde_json::from_reader::<_, ReportedDeletion>(text) else {
        return vec!["it is no certificate of this program".to_owned()];
    };
    let ReportedDeletion { ledger, job, issuer_id, file_id, sha256, simulated, test_keys, .. } = &deletion;
    let (simulated, test_keys) = (*simulated, *test_keys);
    let stated = StatedJob { ledger, job, issuer_id, file_id, sha256, simulated, test_keys };
    let mut found = stated.differences(sealed);
    let fate = match (&deletion.spool_key, says_missing(&deletion.how)) {
        (None, _) => SpoolKeyState::None,
        (Some(_), true) => SpoolKeyState::Missing,
        (Some(_), false) => SpoolKeyState::Destroyed,
    };
    if sealed.counted.is_some() && fate != sealed.spool_key {
        found.push("the fate of the key is not what the HSM has seen".to_owned());
    }
    if sealed.counted.is_some_and(|counted| counted.records != deletion.records) {
        found.push(differs("number of records"));
    }
    found
}
