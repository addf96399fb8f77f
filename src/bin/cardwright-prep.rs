//! `cardwright-prep`: the issuer's data preparation. Parses the command line and returns the exit code; the
//! library does the work (`prep`, `cli::keys`).

use std::io::Write;
use std::process::ExitCode;

use cardwright::cli::check_return::{self, CheckReturnArgs};
use cardwright::cli::counter::{self, CounterCommand};
use cardwright::cli::hosts::{HsmHostArgs, hold_issuers_keys};
use cardwright::cli::issuer_cert::{self, IssuerCertCommand};
use cardwright::cli::keys::{self, KeyCommand};
use cardwright::cli::manual::{self, ManualArgs};
use cardwright::cli::pool::{self, PoolCommand};
use cardwright::cli::preview::{self, PreviewArgs};
use cardwright::cli::profile::{self, ProfileCommand};
use cardwright::exit::{Exit, Failure};
use cardwright::hardening::harden;
use cardwright::hsm::store::StoreSide;
use cardwright::panics;
use cardwright::prep::{self, PrepRunArgs, SampleArgs};
use cardwright::printable::one_line;
use cardwright::stdout::tame;
use cardwright::version::VERSION_TEXT;
use clap::{Parser, Subcommand};

/// Prepares the output file for a personalization bureau from cardholder data and the issuer's keys.
#[derive(Parser)]
#[command(name = "cardwright-prep", version = VERSION_TEXT)]
struct PrepArguments {
    #[command(subcommand)]
    command: PrepCommand,
}

#[derive(Subcommand)]
enum PrepCommand {
    /// Make an output file from cardholder data.
    Run(PrepRunArgs),
    /// Show what each medium of one card will show, with the account number and codes hidden.
    Preview(PreviewArgs),
    /// Make, list and check the issuer's key store.
    #[command(subcommand)]
    Key(KeyCommand),
    /// The issuer's RSA keys and their certificates.
    #[command(subcommand)]
    IssuerCert(IssuerCertCommand),
    /// Make RSA key pairs of cards ahead.
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Counters of card numbers.
    #[command(subcommand)]
    Counter(CounterCommand),
    /// Check that the bureau's return file accounts for every record that was sent.
    CheckReturn(CheckReturnArgs),
    /// Line and product profiles.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// The manual: a page for each role, and the formats.
    Manual(ManualArgs),
    /// Serve the keys of a store over a Unix socket, until standard input closes.
    #[command(hide = true)]
    HsmHost(HsmHostArgs),
    /// Make a CSV file of made-up cardholders, for demonstrations and measurements.
    Sample(SampleArgs),
}

fn main() -> ExitCode {
    let command = PrepArguments::parse().command;
    panics::quote_nothing();
    let mut result =
        Err(Failure::new(Exit::Thread, "us: the program itself died, which is a bug: report it"));
    panics::ends_well(|| {
        result = harden().and_then(|()| match command {
            PrepCommand::Run(args) => prep::run(&args),
            PrepCommand::Preview(args) => preview::run(&args),
            PrepCommand::Key(command) => keys::run(&command, StoreSide::Issuer),
            PrepCommand::IssuerCert(command) => issuer_cert::run(&command),
            PrepCommand::Pool(command) => pool::run(&command),
            PrepCommand::Counter(command) => counter::run(&command),
            PrepCommand::CheckReturn(args) => check_return::run(&args),
            PrepCommand::Profile(command) => profile::run(&command),
            PrepCommand::Manual(args) => manual::run(&args),
            PrepCommand::HsmHost(args) => hold_issuers_keys(&args),
            PrepCommand::Sample(args) => prep::sample(&args),
        });
    });
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Standard error may be closed; the exit code reports the failure as well.
            let text = match failure.exit {
                // This message has a line for each fault.
                Exit::Input | Exit::RowsRejected => tame(&failure.message),
                _ => one_line(&failure.message).into_owned(),
            };
            let _ = writeln!(std::io::stderr(), "cardwright-prep: {text}");
            failure.exit.into()
        }
    }
}
