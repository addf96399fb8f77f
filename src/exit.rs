//! The exit codes of the programs: every expected failure has its own, and only bugs end with 1.
//!
//! `src/manual/exit-codes.md` lists them for operators; a test compares the two. 2 is clap's (wrong words on
//! the command line).

use serde::{Deserialize, Serialize};

/// How a program ended. The numbers are part of the interface: add new ones, never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done: every record GOOD, every check verified.
    Ok = 0,
    /// A fault of the program.
    Bug = 1,
    /// Wrong words on the command line.
    Usage = 2,
    /// `inspect` without keys: structure and digest are right, MACs were not checked. `check-return` without the
    /// bureau's audit key: all is accounted for, but the signature may be anybody's.
    StructureOnly = 3,
    /// The run ended, but not every selected record is GOOD. `check-return`: all is accounted for, but not every record
    /// is GOOD.
    NotAllGood = 4,
    /// The operator stopped the run. No card is half done, unless a second signal ended it at once: then
    /// cards under way are UNKNOWN at the next start.
    Stopped = 5,
    /// The output file is refused: envelope, framing, counts, sequence, names, sections.
    FileFormat = 10,
    /// The file's digest is wrong, or a piece of a sealed file is not authentic.
    FileDigest = 11,
    /// The Trailer's MAC is wrong.
    FileMac = 12,
    /// The file breaks a rule of the line or product profile (unknown MIC, product, application).
    FileProfile = 13,
    /// This file was accepted before: same file_id, or same digest.
    FileSeen = 14,
    /// A record's data is wrong (application MAC, padding, account numbers that differ): acceptance refuses the file. If
    /// only the run finds it, the record waits and the job is held.
    RecordData = 15,
    /// An input of the preparation is wrong; or a file is unfinished where a finished one belongs.
    Input = 16,
    /// Rows of the preparation's input were rejected, and the file was written without them.
    RowsRejected = 17,
    /// A return file does not account for every record that was sent, or is of another file.
    NotReconciled = 18,
    /// The file is sealed to others, or uses a KEK that the key store does not hold, or the store has no KMC to whose cards its
    /// secrets may go.
    KeyUnknown = 20,
    /// A key's type, KCV or issuer differs from what the file or its sender states, or no allowed KMC fits the product's channel.
    KeyMismatch = 21,
    /// The key store is refused: malformed, usage not allowed here, LIVE.
    KeyStore = 22,
    /// The HSM host cannot be reached or died; a PKCS#11 token cannot be used.
    Hsm = 23,
    /// Too few custodians, wrong passphrases, a component that is refused, or an act that was not confirmed.
    Custody = 24,
    /// A profile is wrong: unknown field, missing field, contradiction.
    Profile = 30,
    /// The line cannot be opened, or a device failed and the line stopped.
    Device = 31,
    /// `line check` found a fault.
    LineNotReady = 32,
    /// The ledger cannot be opened or written.
    Ledger = 40,
    /// The ledger holds this job open; the message names the next command.
    JobOpen = 41,
    /// The ledger refuses the change: the laws of card accountability forbid it.
    Denied = 42,
    /// No such job or card in the ledger.
    NotFound = 43,
    /// The job is held for a supervisor.
    Held = 44,
    /// `audit verify` found that the ledger was changed, cut short or replaced.
    AuditFailed = 45,
    /// The daemon cannot be reached, or is of another version.
    Daemon = 46,
    /// The daemon refuses the person: unknown, without the role that is needed, or the daemon is about to
    /// end.
    NotAllowed = 47,
    /// Nothing was done yet: the action takes two people, and the second has to make the request as well.
    SecondPerson = 48,
    /// There was nothing to do: `job resume` of a job without a record that waits to be made.
    NothingToDo = 49,
    /// A file or socket of the program cannot be read or written (permissions, disk).
    Io = 50,
    /// A thread died, which is a bug, or the system gave no thread. The line stopped; a card that the dead
    /// thread handled is UNKNOWN.
    Thread = 51,
}

/// Every exit code.
const ALL: [Exit; 35] = [
    Exit::Ok,
    Exit::Bug,
    Exit::Usage,
    Exit::StructureOnly,
    Exit::NotAllGood,
    Exit::Stopped,
    Exit::FileFormat,
    Exit::FileDigest,
    Exit::FileMac,
    Exit::FileProfile,
    Exit::FileSeen,
    Exit::RecordData,
    Exit::Input,
    Exit::RowsRejected,
    Exit::NotReconciled,
    Exit::KeyUnknown,
    Exit::KeyMismatch,
    Exit::KeyStore,
    Exit::Hsm,
    Exit::Custody,
    Exit::Profile,
    Exit::Device,
    Exit::LineNotReady,
    Exit::Ledger,
    Exit::JobOpen,
    Exit::Denied,
    Exit::NotFound,
    Exit::Held,
    Exit::AuditFailed,
    Exit::Daemon,
    Exit::NotAllowed,
    Exit::SecondPerson,
    Exit::NothingToDo,
    Exit::Io,
    Exit::Thread,
];

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        exit as Self
    }
}

impl TryFrom<u8> for Exit {
    type Error = &'static str;

    fn try_from(code: u8) -> Result<Self, Self::Error> {
        ALL.into_iter().find(|exit| *exit as u8 == code).ok_or("no exit code of this program")
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An expected failure on its way to the operator: its exit code, and one message that says who is to blame,
/// where, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// The text for people; it holds no secret and no cardholder data.
    pub message: String,
}

impl Failure {
    /// Makes a failure with its message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}
