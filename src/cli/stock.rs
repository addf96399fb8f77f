//! `cardwright stock`: records the blanks that people put into the hopper and take out of it, the cards that
//! they put into the vault, and shifts; and shows the balance.
//!
//! Not here: the effect of a move (`bureau`), its text (`render`).

use super::common::{ByArg, LedgerArg, SocketArg, on_stdout};
use super::{foreground, render};
use crate::arguments::whole_number;
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::request::{Action, StockMove};

/// Arguments of `cardwright stock`.
#[derive(Debug, clap::Args)]
pub struct StockArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    socket: SocketArg,
    /// One JSON document
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: StockVerb,
}

/// Arguments that name a job and a number of blanks or cards.
#[derive(Debug, clap::Args)]
struct Blanks {
    /// Job, e.g. J1
    #[arg(value_name = "J")]
    job: JobId,
    /// How many
    #[arg(value_name = "N", value_parser = whole_number::<u32>)]
    count: u32,
    #[command(flatten)]
    by: ByArg,
}

#[derive(Debug, clap::Subcommand)]
enum StockVerb {
    /// You put blanks into the hopper for a job; from the first time on its hopper is counted
    Issue(Blanks),
    /// You took unused blanks out of the hopper
    Return(Blanks),
    /// You put good cards into the vault
    Vault(Blanks),
    /// You used up blanks to set up the machines, without any record's data; issue them first. At most 1000 in one
    /// command
    Test(Blanks),
    /// A shift begins, and the one before it ends
    Shift {
        /// Its name, e.g. 2026-11-24-early
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        by: ByArg,
    },
    /// Show the stock of jobs, and of a shift
    Show {
        /// Of this job alone
        #[arg(long, value_name = "J")]
        job: Option<JobId>,
        /// Of this shift, not the last one
        #[arg(long, value_name = "NAME")]
        shift: Option<String>,
    },
}

/// Carries out a command of `cardwright stock`.
pub fn run(args: &StockArgs) -> Result<Exit, Failure> {
    on_stdout(|out| {
        let (action, by) = args.verb.action();
        let outcome = foreground::carry_out(&args.socket, &args.ledger, by, &action)?;
        render::show(&outcome, args.json, args.socket.desk(), out)
    })
}

impl StockVerb {
    /// The action, and the argument that names the person if the command has one.
    fn action(&self) -> (Action, Option<&ByArg>) {
        let moved = |blanks: &Blanks, stock_move| Action::MoveStock {
            job: blanks.job,
            count: blanks.count,
            stock_move,
        };
        match self {
            Self::Issue(blanks) => (moved(blanks, StockMove::Issue), Some(&blanks.by)),
            Self::Return(blanks) => (moved(blanks, StockMove::Return), Some(&blanks.by)),
            Self::Vault(blanks) => (moved(blanks, StockMove::Vault), Some(&blanks.by)),
            Self::Test(blanks) => (moved(blanks, StockMove::Test), Some(&blanks.by)),
            Self::Shift { name, by } => (Action::BeginShift { name: name.clone() }, Some(by)),
            Self::Show { job, shift } => (Action::ShowStock { job: *job, shift: shift.clone() }, None),
        }
    }
}
