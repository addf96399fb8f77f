//! The pipeline: many cards under way at once, each visiting its modules in line order, good ones leaving in file
//! order.
//!
//! ```text
//!             next record            order                       card
//! [source] ───────────────► dispatcher ───────► [station threads] ───► next station ... ───► [output thread]
//!  spool, HSM verify         │  ▲  one owner of state   │ what happened                         buffer, stacker
//!                            ▼  └───────────────────────┘
//!                          ledger (every change; the binding is durable before the first byte)
//! ```
//!
//! One dispatcher owns the state and gives orders; one thread per station does what blocks; channels are bounded. A
//! card physically lies in the station that worked on it until the next one takes it, so a slow module backs the line
//! up to the hopper and nothing piles up in memory. Cards under way are at most the line's `reorder_buffer`; that is
//! also the number of buffer places at the output, so the output can always take a card and the line cannot lock.
//!
//! Not here: what a module does to a card (`modules`), which states are legal (`ledger`), how the line is put
//! together from links (`cli`, the composition root).

mod breaker;
mod clear;
mod dispatcher;
mod floor;
mod output;
mod source;
mod station;

use crossbeam_channel::{Receiver, Sender};
use drivers::link::ByteLink;
use drivers::transport::Transport;

use self::dispatcher::Dispatcher;
use crate::hsm::Hsm;
use crate::ids::Mic;
use crate::ledger::{JobId, Ledger, LedgerError};
use crate::modules::{Fault, StationModule};
use crate::panics::ends_well;
use crate::record::Spool;
use crate::report::RunStats;
use crate::threads::ThreadRefused;

pub use clear::{Cleared, clear};

/// A transport over whatever link the station has.
pub type CardTransport = Transport<Box<dyn ByteLink>>;

/// A station, ready to work.
pub struct StationSetup {
    /// `chip-3`.
    pub name: String,
    /// What it does to a card.
    pub module: Box<dyn StationModule>,
    /// How cards come in and are thrown out.
    pub transport: CardTransport,
}

/// A processing module with its stations.
pub struct StageSetup {
    /// Module name, as in the line profile.
    pub name: String,
    /// A card visits this module if its record has one of these.
    pub mics: Vec<Mic>,
    /// At least one.
    pub stations: Vec<StationSetup>,
}

/// A line with its links open.
pub struct LineSetup {
    /// Modules in line order.
    pub stages: Vec<StageSetup>,
    /// Stacker and buffer places.
    pub output: CardTransport,
    /// Cards under way at once; also the number of buffer places.
    pub reorder_buffer: u16,
    /// How long a module may be without any station in service before the line stops.
    pub recover: std::time::Duration,
    /// Failures in a row that stop a station or the job.
    pub breakers: crate::profile::line::BreakerLimits,
}

/// What is to be made.
pub struct Batch {
    /// The job.
    pub job: JobId,
    /// Sequences in file order.
    pub sequences: Vec<u32>,
    /// Those of them that were attempted before: stacked apart.
    pub remakes: std::collections::BTreeSet<u32>,
    /// Number that the next blank gets.
    pub next_blank: u32,
    /// Stack position that the next good card gets.
    pub next_position: u32,
    /// Blanks in the hopper, where they are counted.
    pub hopper: Option<u64>,
    /// The job's records.
    pub spool: Spool,
    /// Of the file.
    pub issuer_id: crate::ids::IssuerId,
    /// Of the file.
    pub file_id: crate::ids::FileId,
    /// Of the file.
    pub product: std::sync::Arc<crate::profile::ProductProfile>,
}

/// What people tell a line while it runs.
pub enum LineMessage {
    /// The card of this record goes into the reject bin at its next step; the answer is whether it will.
    Kill {
        /// Record, whose card is bound.
        seq: u32,
        /// Who asks.
        by: String,
        /// Answered at once.
        answer: Sender<bool>,
    },
    /// So many blanks more are in the hopper.
    Issued(u32),
    /// The line stops feeding; cards under way are finished.
    Stop,
    /// The stop that a person asked for is taken back; the answer is whether the line goes on feeding.
    GoOn {
        /// Answered at once.
        answer: Sender<bool>,
    },
}

/// What a run did, for its report; the ledger has the truth about cards.
#[derive(Debug, Clone, Default)]
pub struct RunOutcome {
    /// Records stacked.
    pub good: u64,
    /// What was measured.
    pub stats: RunStats,
    /// Why the line stopped before all was made.
    pub stopped: Option<Stop>,
}

/// Why a line stops feeding. Cards under way are finished first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The operator asked.
    #[error("the operator asked")]
    Operator,
    /// A record's data is wrong: it is CANCELLED, the job is held.
    #[error("record {seq}: {fault}")]
    Data {
        /// Which.
        seq: u32,
        /// What.
        fault: Fault,
    },
    /// The spool does not give the record.
    #[error("the spool: {0}")]
    Spool(String),
    /// A station, the HSM or the ledger failed in a way that the next card would meet too.
    #[error("station {station}: {fault}")]
    Fault {
        /// Where.
        station: String,
        /// What.
        fault: Fault,
    },
    /// The ledger cannot be written, or its writer died: nothing may be bound any more.
    #[error("the ledger: {0}")]
    Ledger(LedgerError),
    /// The system gave no thread for a part of the line: no card was fed.
    #[error("{0}")]
    NoThread(ThreadRefused),
    /// A thread of the line died: of a station, the source, the output, or the [`DISPATCHER`].
    #[error("the thread of {0} died")]
    Died(String),
}

/// What [`Stop::Died`] calls the thread that owns the line's state. Without it nobody answers for the cards under way: they
/// are UNKNOWN when the ledger is opened next, as after a crash.
pub const DISPATCHER: &str = "the dispatcher";

/// Runs a batch to its end: every record made or out, or the line stopped with no card half done.
///
/// `people.0` receives a message, or is disconnected, when the operator wants the line to stop feeding; `people.1` what else
/// they say.
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
