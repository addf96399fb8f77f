//! `counter`: numbers of the tool for cards whose row has none.
//!
//! Not here: the file (`prep::counter`).

use std::path::PathBuf;

use crate::arguments::whole_number;
use crate::exit::{Exit, Failure};
use crate::prep::counter::NumberCounter;
use crate::stdout;

/// The commands about counters.
#[derive(Debug, clap::Subcommand)]
pub enum CounterCommand {
    /// Make a counter.
    New {
        /// The counter; a file that exists is not replaced.
        #[arg(long, value_name = "FILE")]
        counter: PathBuf,
        /// The first number.
        #[arg(long, default_value_t = 1, value_parser = whole_number::<u64>)]
        next: u64,
    },
    /// Show the number that comes next.
    Show {
        /// The counter.
        #[arg(long, value_name = "FILE")]
        counter: PathBuf,
    },
}

/// Runs one of the commands, printing to standard output.
pub fn run(command: &CounterCommand) -> Result<Exit, Failure> {
    let (path, counter) = match command {
        CounterCommand::New { counter, next } => (counter, NumberCounter::make(counter, *next)?),
        CounterCommand::Show { counter } => (counter, NumberCounter::open(counter)?),
    };
    stdout::print(&format!("{}: {} comes next\n", path.display(), counter.next()?))?;
    Ok(Exit::Ok)
}
