//! Every request to a bureau, spelled once: for a command in the foreground, for the daemon's socket, and for
//! clients that come later.
//!
//! A request does not name the person: its receiver knows who asks. Not here: whether it is granted
//! (`daemon::policy`), carrying it out (`bureau`), words on the command line (`cli`).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::audit::{DocumentKind, PublicKey};
use crate::ids::JobId;

/// A request to one line. Each line has its own ledger, and the numbers of events are per ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Name of the line's profile. Absent: the only line of the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The action that is asked for.
    pub action: Action,
}

/// An action that a person may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is what its name says; shared ones are documented at their types")]
pub enum Action {
    /// Show all jobs.
    ListJobs {},
    /// Show one job with both balances.
    ShowJob { job: JobId },
    /// Report on a job.
    ReportJob { job: JobId },
    /// Show records with their attempts and events.
    ShowCards { job: JobId, records: Records },
    /// Read the page of events that comes after number `after`.
    ReadLog { job: Option<JobId>, after: u64 },
    /// Prove the ledger. `key` is the audit key that must have signed it.
    VerifyLedger {
        /// The audit key that must have signed it.
        key: Option<PublicKey>,
        /// Number of exports that come with the request: the ledger is compared with each.
        #[serde(default)]
        exports: usize,
    },
    /// Write every event and checkpoint into the file that comes with the request.
    ExportLedger {},
    /// Accept the output file that comes with the request. `name` is used in messages only.
    SubmitFile { name: String },
    /// Let a HELD job be made, whatever it was held for.
    ReleaseJob { job: JobId },
    /// Stop a job; cards under way are finished.
    HoldJob { job: JobId },
    /// Go on with a job that an operator held.
    ResumeJob { job: JobId },
    /// Give a job up: records that were not made are CANCELLED.
    CancelJob { job: JobId },
    /// Close a job.
    CloseJob { job: JobId },
    /// Write the signed papers of a closed job into the files that come with the request.
    WritePapers { job: JobId },
    /// Delete the cardholder data of a closed job. Copies of these papers go into the files that come with
    /// the request, the text and the seal of each in turn.
    DeleteData { job: JobId, copies: Vec<PaperName> },
    /// Decide about cards.
    DecideCards { job: JobId, records: Records, decision: CardDecision },
    /// Have cards in the line thrown out at their next step.
    KillCards { job: JobId, records: Records },
    /// Ask cards that lie in the line how far they came, at one `station` only if it is given.
    SurveyCards { job: JobId, records: Records, station: Option<String> },
    /// Note blanks or cards that a person moved.
    MoveStock { job: JobId, count: u32, stock_move: StockMove },
    /// Begin a shift.
    BeginShift { name: String },
    /// Prove a station of the line anew, because a person has freed it.
    ProveStation { station: String },
    /// Show the stock of one job or of all, and of a shift or of the last one.
    ShowStock { job: Option<JobId>, shift: Option<String> },
}

/// A person's finding about a card, or decision about its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardDecision {
    /// The card was seen destroyed.
    Destroyed,
    /// The UNKNOWN card was looked at and is good.
    FoundGood,
    /// The record may be made again.
    Remake,
    /// The record is given up.
    Cancel,
    /// The good card is taken out for inspection.
    Sample,
}

/// Where a person moved blanks or cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StockMove {
    /// Blanks into the hopper.
    Issue,
    /// Unused blanks out of the hopper.
    Return,
    /// Good cards into the vault.
    Vault,
    /// Blanks were used up to set up the machines.
    Test,
}

/// A paper of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaperName {
    /// The report for programs.
    ReportJson,
    /// The report for people.
    ReportHtml,
    /// The return file for the issuer.
    ReturnFile,
    /// The certificate that the cardholder data were deleted.
    Certificate,
}

impl PaperName {
    /// The papers that every closed job can have.
    pub const OF_CLOSED: [Self; 3] = [Self::ReportJson, Self::ReportHtml, Self::ReturnFile];

    /// Name of its file, after the name of the job.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::ReportJson => "report.json",
            Self::ReportHtml => "report.html",
            Self::ReturnFile => "return.jsonl",
            Self::Certificate => "certificate.json",
        }
    }

    /// The kind of document that the audit key signs it as.
    pub fn kind(self) -> DocumentKind {
        match self {
            Self::ReportJson | Self::ReportHtml => DocumentKind::Report,
            Self::ReturnFile => DocumentKind::ReturnFile,
            Self::Certificate => DocumentKind::Certificate,
        }
    }
}

/// The kinds of actions that the policy distinguishes. A line's `two_people` lists them by these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionKind {
    /// To look at something.
    Look,
    /// To prove or export the ledger.
    Audit,
    /// To accept a file.
    Submit,
    /// To let a HELD job be made, whatever it was held for.
    Release,
    /// To stop a job.
    Hold,
    /// To go on with a job that an operator held.
    Resume,
    /// To give a job up.
    Cancel,
    /// To close a job.
    Close,
    /// To say that cards were seen destroyed.
    Destroyed,
    /// To say that UNKNOWN cards are good.
    FoundGood,
    /// To let records be made again.
    Remake,
    /// To withdraw records of a job.
    CancelCard,
    /// To ask cards that lie in the line how far they came.
    AskCard,
    /// To have cards in the line thrown out.
    Kill,
    /// To take good cards out for inspection.
    Sample,
    /// To put blanks into the hopper.
    StockIssue,
    /// To take unused blanks out of the hopper.
    StockReturn,
    /// To put good cards into the vault.
    StockVault,
    /// To use up blanks to set up the machines.
    StockTest,
    /// To begin a shift.
    Shift,
    /// To have a station of the line proved anew.
    ProveStation,
    /// To have the papers of a closed job signed.
    Papers,
    /// To delete the cardholder data of a job.
    Delete,
}

impl Action {
    /// The kind of this action, for the policy.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::ListJobs {}
            | Self::ShowJob { .. }
            | Self::ReportJob { .. }
            | Self::ShowCards { .. }
            | Self::ReadLog { .. }
            | Self::ShowStock { .. } => ActionKind::Look,
            Self::VerifyLedger { .. } | Self::ExportLedger {} => ActionKind::Audit,
            Self::SubmitFile { .. } => ActionKind::Submit,
            Self::ReleaseJob { .. } => ActionKind::Release,
            Self::HoldJob { .. } => ActionKind::Hold,
            Self::ResumeJob { .. } => ActionKind::Resume,
            Self::CancelJob { .. } => ActionKind::Cancel,
            Self::CloseJob { .. } => ActionKind::Close,
            Self::WritePapers { .. } => ActionKind::Papers,
            Self::DeleteData { .. } => ActionKind::Delete,
            Self::DecideCards { decision, .. } => match decision {
                CardDecision::Destroyed => ActionKind::Destroyed,
                CardDecision::FoundGood => ActionKind::FoundGood,
                CardDecision::Remake => ActionKind::Remake,
                CardDecision::Cancel => ActionKind::CancelCard,
                CardDecision::Sample => ActionKind::Sample,
            },
            Self::KillCards { .. } => ActionKind::Kill,
            Self::SurveyCards { .. } => ActionKind::AskCard,
            Self::MoveStock { stock_move, .. } => match stock_move {
                StockMove::Issue => ActionKind::StockIssue,
                StockMove::Return => ActionKind::StockReturn,
                StockMove::Vault => ActionKind::StockVault,
                StockMove::Test => ActionKind::StockTest,
            },
            Self::BeginShift { .. } => ActionKind::Shift,
            Self::ProveStation { .. } => ActionKind::ProveStation,
        }
    }

    /// The job that the policy looks at; `None` for a view and for an action that is not about a job.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::ReleaseJob { job }
            | Self::HoldJob { job }
            | Self::ResumeJob { job }
            | Self::CancelJob { job }
            | Self::CloseJob { job }
            | Self::WritePapers { job }
            | Self::DeleteData { job, .. }
            | Self::DecideCards { job, .. }
            | Self::KillCards { job, .. }
            | Self::SurveyCards { job, .. }
            | Self::MoveStock { job, .. } => Some(*job),
            Self::ListJobs {}
            | Self::ShowJob { .. }
            | Self::ReportJob { .. }
            | Self::ShowCards { .. }
            | Self::ReadLog { .. }
            | Self::VerifyLedger { .. }
            | Self::ExportLedger {}
            | Self::SubmitFile { .. }
            | Self::BeginShift { .. }
            | Self::ProveStation { .. }
            | Self::ShowStock { .. } => None,
        }
    }

    /// Number of files that come with the action.
    pub fn files(&self) -> usize {
        // A paper comes with its seal.
        match self {
            Self::VerifyLedger { exports, .. } => *exports,
            Self::ExportLedger {} | Self::SubmitFile { .. } => 1,
            Self::WritePapers { .. } => 2 * PaperName::OF_CLOSED.len(),
            Self::DeleteData { copies, .. } => 2 * copies.len(),
            _ => 0,
        }
    }

    /// The part of the job that the action is about: two people agree only if both asked about these records,
    /// or about this number of blanks. Empty for the whole job.
    pub fn subject(&self) -> String {
        match self {
            Self::DecideCards { records, .. }
            | Self::KillCards { records, .. }
            | Self::SurveyCards { records, .. } => records.to_string(),
            Self::MoveStock { count, .. } => count.to_string(),
            _ => String::new(),
        }
    }
}

impl ActionKind {
    /// The kinds that a line's `two_people` may list. Holds and views never need a second person. An alias is
    /// listed under the kind that it stands for (see [`Self::listed`]).
    pub const FOR_TWO: [Self; 13] = [
        Self::Release,
        Self::Cancel,
        Self::Close,
        Self::Destroyed,
        Self::FoundGood,
        Self::Remake,
        Self::Kill,
        Self::Sample,
        Self::StockIssue,
        Self::StockReturn,
        Self::StockVault,
        Self::StockTest,
        Self::Delete,
    ];

    /// Whether a line's `two_people` may list it.
    pub fn is_for_two(self) -> bool {
        Self::FOR_TWO.contains(&self)
    }

    /// The kind that `two_people` lists for it: resuming a job releases it, and withdrawing all its records
    /// cancels it.
    pub fn listed(self) -> Self {
        match self {
            Self::Resume => Self::Release,
            Self::CancelCard => Self::Cancel,
            other => other,
        }
    }
}

/// The records of a request: `7`, `3,7-9`, or `all` (those that the action applies to).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Records {
    /// One record, as in `7`.
    One(u32),
    /// Several records, as in `3,7-9`.
    Ranges(Vec<RangeInclusive<u32>>),
    /// All records that the action applies to: `all`.
    All,
}

impl std::fmt::Display for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(one) => write!(f, "{one}"),
            Self::Ranges(ranges) => {
                let ranges: Vec<_> = ranges.iter().map(|r| format!("{}-{}", r.start(), r.end())).collect();
                f.write_str(&ranges.join(","))
            }
            Self::All => f.write_str("all"),
        }
    }
}

impl From<Records> for String {
    fn from(records: Records) -> Self {
        records.to_string()
    }
}

impl TryFrom<String> for Records {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Records {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no record; write 7, or 3,7-9, or all");
        let plain = |s: &str| !s.starts_with(['0', '+']);
        let number = |s: &str| s.parse::<u32>().ok().filter(|_| plain(s)).ok_or_else(wrong);
        if text == "all" {
            return Ok(Self::All);
        }
        if let Ok(one) = number(text) {
            return Ok(Self::One(one));
        }
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = number(first)?..=number(last)?;
            if range.is_empty() { Err(wrong()) } else { Ok(range) }
        };
        Ok(Self::Ranges(text.split(',').map(range).collect::<Result<_, _>>()?))
    }
}

impl Records {
    /// The sequences, each once and in file order, of a job with `records` records. Of each range the first
    /// sequence above them is kept, so that the ledger can report that there is no such record. `None` for
    /// `all`.
    pub fn sequences(&self, records: u32) -> Option<Vec<u32>> {
        let ranges = match self {
            Self::One(one) => return Some(vec![*one]),
            Self::Ranges(ranges) => ranges,
            Self::All => return None,
        };
        let last = records.saturating_add(1);
        let bounded = |r: &RangeInclusive<u32>| *r.start()..=*r.end().min(r.start().max(&last));
        let all: BTreeSet<u32> = ranges.iter().flat_map(bounded).collect();
        Some(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_strictly() {
        let sequences = |text: &str| text.parse::<Records>().unwrap().sequences(10);
        assert_eq!(sequences("all"), None);
        assert_eq!(sequences("7"), Some(vec![7]));
        assert_eq!(sequences("11"), Some(vec![11]));
        assert_eq!(sequences("9,3,7-9"), Some(vec![3, 7, 8, 9]));
        assert_eq!(sequences("9-4294967295,77"), Some(vec![9, 10, 11, 77]));
        for wrong in [
            "",
            "0",
            "-1",
            "3-",
            "-3",
            "9-7",
            "3,,4",
            "3,",
            "a",
            "ALL",
            "1-2-3",
            "0-3",
            "4294967296",
            "3 4",
            "+7",
            "007",
            "3,+7-09",
        ] {
            assert!(wrong.parse::<Records>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_request_is_strict_json() {
        let text = r#"{"action":{"action":"show-cards","job":"J1","records":"3,7-9"}}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        assert_eq!(request.action.kind(), ActionKind::Look);
        let again: Request = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
        assert_eq!(again, request);
        for wrong in [
            r#"{"action":{"action":"show-job","job":1}}"#,
            r#"{"action":{"action":"show-job","job":"J1","more":2}}"#,
            r#"{"action":{"action":"show-job","job":"J1"},"by":"anna"}"#,
            r#"{"action":{"action":"show-cards","job":"J1","records":"0"}}"#,
            r#"{"action":{"action":"dance"}}"#,
            r#"{"action":{"action":"list-jobs","more":2}}"#,
        ] {
            assert!(serde_json::from_str::<Request>(wrong).is_err(), "{wrong}");
        }
    }
}
