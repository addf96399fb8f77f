//! `cardwrightd`: the daemon's command line.
//!
//! Not here: the daemon (`daemon::server`).

use std::path::PathBuf;

use super::common::{LedgerArg, path_of, store_path};
use super::next_step::spelled;
use super::pin::PinArg;
use super::simulate::SimulateArgs;
use crate::daemon::server::{self, Setup};
use crate::exit::{Exit, Failure};
use crate::version::VERSION_TEXT;

/// The daemon of one line.
#[derive(Debug, clap::Parser)]
#[command(
    name = "cardwrightd",
    version = VERSION_TEXT,
    about = "Controller of a smart card personalization line: the daemon"
)]
pub struct DaemonArgs {
    /// Line profile: a shipped name or a .toml file
    #[arg(long)]
    line: String,
    /// The bureau's key store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
    keys: PathBuf,
    /// Who may do what (TOML)
    #[arg(long, value_name = "FILE")]
    people: PathBuf,
    /// Socket to make
    #[arg(long, value_name = "PATH", env = "CARDWRIGHT_SOCKET", value_parser = path_of("CARDWRIGHT_SOCKET"))]
    socket: PathBuf,
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    simulate: SimulateArgs,
    #[command(flatten)]
    pin: PinArg,
}

/// Runs the daemon until a signal.
pub fn run(args: &DaemonArgs) -> Result<Exit, Failure> {
    let DaemonArgs { line, keys, people, socket, ledger, simulate, pin } = args;
    let setup = Setup {
        line: line.clone(),
        keys: keys.clone(),
        people: people.clone(),
        socket: socket.clone(),
        ledger: ledger.ledger.clone(),
        simulation: simulate.simulation(),
    };
    server::run(&setup, &|| pin.pin()).map_err(|refusal| spelled(&refusal))
}
