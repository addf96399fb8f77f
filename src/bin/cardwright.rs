//! `cardwright`: the operator's command line. Parses the verb and hands it to `cardwright::cli`, which
//! carries it out.

use cardwright::cli;
use cardwright::exit::Failure;
use cardwright::hsm::store::StoreSide;
use cardwright::version::VERSION_TEXT;
use clap::{Parser, Subcommand};

/// Controller of a smart card personalization line.
#[derive(Parser)]
#[command(version = VERSION_TEXT, about)]
struct CardwrightArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Accept an output file and personalize it in the foreground.
    Run(cli::run::RunArgs),
    /// Look into an output file.
    Inspect(cli::inspect::InspectArgs),
    /// Jobs in the ledger.
    Job(cli::job::JobArgs),
    /// Cards in the ledger.
    Card(cli::card::CardArgs),
    /// Blanks and cards that people give and take.
    Stock(cli::stock::StockArgs),
    /// Every change in the ledger.
    Log(cli::log::LogArgs),
    /// Proofs for the auditor.
    Audit(cli::audit::AuditArgs),
    /// The bureau's key store.
    #[command(subcommand)]
    Key(cli::keys::KeyCommand),
    /// Hardware security modules.
    #[command(subcommand)]
    Hsm(cli::hsm::HsmCommand),
    /// A line and its devices.
    #[command(subcommand)]
    Line(cli::line::LineCommand),
    /// Line and product profiles.
    #[command(subcommand)]
    Profile(cli::profile::ProfileCommand),
    /// The manual: a page for each role, and the formats.
    Manual(cli::manual::ManualArgs),
    /// The process that holds the keys; started by the others.
    #[command(hide = true)]
    HsmHost(cli::hosts::HsmHostArgs),
    /// The process that owns one reader or machine; started by the others.
    #[command(hide = true)]
    StationHost(cli::hosts::StationHostArgs),
}

fn main() -> std::process::ExitCode {
    let arguments = CardwrightArguments::parse();
    cli::init_logs();
    cli::end(|| run(arguments.verb))
}

fn run(verb: Verb) -> Result<cardwright::exit::Exit, Failure> {
    match verb {
        Verb::Run(args) => cli::run::run(&args),
        Verb::Inspect(args) => cli::inspect::run(&args),
        Verb::Job(args) => cli::job::run(&args),
        Verb::Card(args) => cli::card::run(&args),
        Verb::Stock(args) => cli::stock::run(&args),
        Verb::Log(args) => cli::log::run(&args),
        Verb::Audit(args) => cli::audit::run(&args),
        Verb::Key(command) => cli::keys::run(&command, StoreSide::Bureau),
        Verb::Hsm(command) => cli::hsm::run(&command),
        Verb::Line(command) => cli::line::run(&command),
        Verb::Profile(command) => cli::profile::run(&command),
        Verb::Manual(args) => cli::manual::run(&args),
        Verb::HsmHost(args) => cli::hosts::hold_keys(&args),
        Verb::StationHost(args) => cli::hosts::serve_device(&args),
    }
}
