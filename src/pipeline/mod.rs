//! The pipeline: many cards are under way at once. Each visits its modules in line order, and the good ones
//! leave in file order.
//!
//! ```text
//!             next record            order                       card
//! [source] ───────────────► dispatcher ───────► [station threads] ───► next station ... ───► [output thread]
//!  spool, HSM verify         │  ▲  owns the state      │ what happened                      buffer, stacker
//!                            ▼  └───────────────────────┘
//!                          ledger (every change; the binding is durable before the first byte)
//! ```
//!
//! One dispatcher owns the state and gives orders. Work that blocks is done by one thread for each station,
//! one for the source and one for the output. All channels are bounded. A card lies in the station that
//! worked on it until the next one takes it, so a slow module backs the line up to the hopper and memory does
//! not fill. At most `reorder_buffer` cards of the line profile are under way. The output has this number of
//! buffer places, so it can always take a card and the line cannot lock.
//!
//! Not here: what a module does to a card (`modules`), which states are legal (`ledger`), how the line is put
//! together from links (`bureau::line`, the composition root).

mod breaker;
mod clear;
mod dispatcher;
mod floor;
mod output;
mod source;
mod station;
mod turns;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use drivers::link::ByteLink;
use drivers::transport::Transport;

use self::dispatcher::Dispatcher;
use crate::hsm::Hsm;
use crate::ids::Mic;
use crate::laws::JobId;
use crate::ledger::{Ledger, LedgerError};
use crate::modules::{Fault, StationModule};
use crate::panics::ends_well;
use crate::record::Spool;
use crate::report::RunStats;
use crate::threads::ThreadRefused;

pub use clear::{Cleared, clear};
pub use station::{WiringProofs, transport_fault};

/// A transport over any kind of link.
pub type CardTransport = Transport<Box<dyn ByteLink>>;

/// A station, ready to work.
pub struct StationSetup {
    /// Name of the station: `chip-3`.
    pub name: String,
    /// The module that works on a card there.
    pub module: Box<dyn StationModule>,
    /// Brings cards in and throws them out.
    pub transport: CardTransport,
    /// The wiring proofs of the line.
    pub proofs: Arc<WiringProofs>,
    /// Why it takes no card in this run: its machine is another station's, or may be.
    pub refused: Option<Fault>,
}

/// A processing module with its stations.
pub struct StageSetup {
    /// Module name, as in the line profile.
    pub name: String,
    /// Kind of its devices. Devices of different kinds cannot be mistaken for each other.
    pub kind: &'static str,
    /// A card visits this module if its record has a section with one of these.
    pub mics: Vec<Mic>,
    /// Its stations, at least one.
    pub stations: Vec<StationSetup>,
}

/// A line with its links open.
pub struct LineSetup {
    /// Modules in line order.
    pub stages: Vec<StageSetup>,
    /// Transport of the stacker and the buffer places.
    pub output: CardTransport,
    /// Most cards under way; also the number of buffer places.
    pub reorder_buffer: u16,
    /// Longest time that a module may be without a station in service before the line stops.
    pub recover: std::time::Duration,
    /// Longest time for the cards under way after the line was told to end.
    pub stop: std::time::Duration,
    /// Whether an empty hopper is waited for even if no card is under way.
    pub waits_for_blanks: bool,
    /// Failures in a row that stop a station or the job.
    pub breakers: crate::profile::line::BreakerLimits,
}

/// The records of a job that a run has to make.
pub struct Batch {
    /// The job.
    pub job: JobId,
    /// Sequences of the records, in file order.
    pub sequences: Vec<u32>,
    /// Those of them that were attempted before: their cards are stacked apart.
    pub remakes: std::collections::BTreeSet<u32>,
    /// Number of the next blank.
    pub next_blank: u32,
    /// Stack position of the next good card.
    pub next_position: u32,
    /// Blanks in the hopper; `None` where blanks are not counted.
    pub hopper: Option<u64>,
    /// The job's records.
    pub spool: Spool,
    /// Issuer of the file.
    pub issuer_id: crate::ids::IssuerId,
    /// Identifier of the file.
    pub file_id: crate::ids::FileId,
    /// Product of the file.
    pub product: Arc<crate::profile::ProductProfile>,
}

/// A person's message to a line that runs.
pub enum LineMessage {
    /// Throw the card of this record into the reject bin at its next step. The answer says whether the line
    /// will.
    Kill {
        /// Sequence of the record, whose card is bound.
        seq: u32,
        /// The person who asks.
        by: crate::actor::Actor,
        /// Receives the answer, without waiting for a device.
        answer: Sender<bool>,
    },
    /// A person has freed this station, or says that it is ready: it is proved anew. The answer says what was
    /// found, or why the station is not in service.
    Ready {
        /// Name of the station.
        station: String,
        /// Receives the answer, after a device was asked.
        answer: Sender<Result<String, String>>,
    },
    /// This number of blanks was added to the hopper.
    Issued(u32),
    /// These records were cancelled: feed no blank for them.
    Cancelled(std::collections::BTreeSet<u32>),
    /// Stop feeding; cards under way are finished.
    Stop,
    /// Take back the stop that a person asked for. The answer says whether the line goes on feeding.
    GoOn {
        /// Receives the answer, without waiting for a device.
        answer: Sender<bool>,
    },
}

/// The result of a run, for its report. The ledger has the truth about cards.
#[derive(Debug, Clone, Default)]
pub struct RunOutcome {
    /// Number of records stacked.
    pub good: u64,
    /// Measurements of the run.
    pub stats: RunStats,
    /// Why the line stopped before every record was made.
    pub stopped: Option<Stop>,
}

/// Why a line stops feeding. Cards under way are finished first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// A person asked for it, or a signal.
    #[error("the operator asked")]
    Operator,
    /// A record's data is wrong. The record stays as it is, and the job is held.
    #[error("record {seq}: {fault}")]
    Data {
        /// Sequence of the record.
        seq: u32,
        /// The fault found in its data.
        fault: Fault,
    },
    /// The spool does not return the record.
    #[error("the spool: {0}")]
    Spool(String),
    /// A station, the HSM or the ledger failed in a way that would also affect the next card.
    #[error("station {station}: {fault}")]
    Fault {
        /// Name of the station.
        station: String,
        /// The fault that it reported.
        fault: Fault,
    },
    /// The ledger cannot be written, or its writer died. No further card may be bound.
    #[error("the ledger: {0}")]
    Ledger(LedgerError),
    /// The system refused a thread for a part of the line, so no card was fed.
    #[error("{0}")]
    NoThread(ThreadRefused),
    /// A thread of the line died: of a station, the source, the output, or the [`DISPATCHER`].
    #[error("the thread of {0} died")]
    Died(String),
}

/// Name of the dispatcher's thread in [`Stop::Died`]. Without this thread the cards under way are not
/// accounted for: they are UNKNOWN when the ledger is opened next, as after a crash.
pub const DISPATCHER: &str = "the dispatcher";

/// Runs a batch to its end: every record is made or rejected, or the line has stopped with no card half done.
///
/// `people.0` receives a message, or is disconnected, when the line has to end: cards under way have
/// [`LineSetup::stop`] for it, and are UNKNOWN after that.
/// `people.1` receives people's other messages.
pub fn run(
    line: LineSetup,
    batch: Batch,
    hsm: Box<dyn Hsm>,
    ledger: &Ledger,
    people: (Receiver<()>, Receiver<LineMessage>),
) -> RunOutcome {
    let mut outcome =
        RunOutcome { stopped: Some(Stop::Died(DISPATCHER.to_owned())), ..RunOutcome::default() };
    ends_well(|| outcome = Dispatcher::start(line, batch, hsm, ledger, people).run());
    outcome
}

#[cfg(test)]
mod tests;
