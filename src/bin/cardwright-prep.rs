//! `cardwright-prep`: the issuer's data preparation. Words on the command line in, exit code out; the work is in the
//! library (`prep`, `cli::keys`).

use std::io::Write;
use std::process::ExitCode;

use cardwright::cli::keys::{self, KeyCommand};
use cardwright::exit::{Exit, Failure};
use cardwright::hardening::harden;
use cardwright::hsm::store::StoreSide;
use cardwright::panics;
use cardwright::prep::{self, RunArgs, SampleArgs};
use cardwright::version::VERSION_TEXT;
use clap::{Parser, Subcommand};

/// Prepares the output file for a personalization bureau from cardholder data and the issuer's keys.
#[derive(Parser)]
#[command(name = "cardwright-prep", version = VERSION_TEXT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an output file from cardholder data.
    Run(RunArgs),
    /// Make, list and check the issuer's key store.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make a CSV file of made-up cardholders, for demonstrations and measurements.
    Sample(SampleArgs),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    panics::quote_nothing();
    let mut result =
        Err(Failure::new(Exit::Thread, "us: the program itself died, which is a bug: report it"));
    panics::ends_well(|| {
        result = match command {
            Command::Run(args) => harden().and_then(|()| prep::run(&args)),
            Command::Key(command) => keys::run(&command, StoreSide::Issuer),
            Command::Sample(args) => prep::sample(&args),
        };
    });
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // If nobody hears it, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "cardwright-prep: {}", failure.message);
            failure.exit.into()
        }
    }
}
