//! `cardwright card`: shows cards, and records a person's findings and decisions about them.
//!
//! Not here: the effect of a decision (`bureau`), its text (`render`).

use std::io::Write;

use super::common::{ByArg, Early, LedgerArg, SocketArg, on_stdout};
use super::{foreground, render, survey};
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::request::{Action, CardDecision, Records};

/// Arguments of `cardwright card`.
#[derive(Debug, clap::Args)]
pub struct CardArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    socket: SocketArg,
    /// One JSON document
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: CardVerb,
}

/// Arguments that name a job and its records.
#[derive(Debug, clap::Args)]
struct Which {
    /// Job, e.g. J1
    #[arg(value_name = "J")]
    job: JobId,
    /// Records: 17, or 3,7-9, or `all` to which the command applies
    #[arg(value_name = "SEQ")]
    seq: Records,
}

#[derive(Debug, clap::Subcommand)]
enum CardVerb {
    /// Show records with their attempts and everything that happened to them
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Record your findings about cards that are REJECTED, UNKNOWN or a SAMPLE
    #[command(group = clap::ArgGroup::new("found").required(true))]
    Resolve {
        #[command(flatten)]
        which: Which,
        /// You saw the card destroyed
        #[arg(long, group = "found")]
        destroyed: bool,
        /// You checked the UNKNOWN card: it is good and in hand
        #[arg(long, group = "found")]
        good: bool,
        #[command(flatten)]
        by: ByArg,
    },
    /// Ask the card of a record, or `all` cards that lie in the line, how far they came; you still decide
    Ask {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        line: survey::SurveyArgs,
    },
    /// Let REMAKE records be made again
    Remake {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        by: ByArg,
    },
    /// Take good cards out for inspection; their records are made again once they are destroyed
    Sample {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        by: ByArg,
    },
    /// Have the daemon throw cards that are in the line out at their next step
    Kill {
        #[command(flatten)]
        which: Which,
    },
    /// Give QUEUED or REMAKE records up
    Cancel {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        by: ByArg,
    },
}

/// Carries out a command of `cardwright card`.
pub fn run(args: &CardArgs) -> Result<Exit, Failure> {
    on_stdout(|out| execute(args, out))
}

pub(super) fn execute(args: &CardArgs, out: &mut dyn Write) -> Result<Exit, Early> {
    let outcome = match &args.verb {
        CardVerb::Ask { which, line } => {
            survey::carry_out(line, &args.socket, &args.ledger, which.job, &which.seq)?
        }
        verb => {
            let (action, by) = verb.action();
            foreground::carry_out(&args.socket, &args.ledger, by, &action)?
        }
    };
    render::show(&outcome, args.json, args.socket.desk(), out)
}

impl CardVerb {
    /// The action, and the argument that names the person if the command has one.
    fn action(&self) -> (Action, Option<&ByArg>) {
        let decide = |which: &Which, decision| Action::DecideCards {
            job: which.job,
            records: which.seq.clone(),
            decision,
        };
        match self {
            Self::Show { which } => (Action::ShowCards { job: which.job, records: which.seq.clone() }, None),
            Self::Ask { which, line } => (line.action(which.job, &which.seq), None),
            Self::Kill { which } => (Action::KillCards { job: which.job, records: which.seq.clone() }, None),
            Self::Resolve { which, by, destroyed: true, .. } => {
                (decide(which, CardDecision::Destroyed), Some(by))
            }
            Self::Resolve { which, by, .. } => (decide(which, CardDecision::FoundGood), Some(by)),
            Self::Remake { which, by } => (decide(which, CardDecision::Remake), Some(by)),
            Self::Cancel { which, by } => (decide(which, CardDecision::Cancel), Some(by)),
            Self::Sample { which, by } => (decide(which, CardDecision::Sample), Some(by)),
        }
    }
}
