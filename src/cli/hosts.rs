//! `cardwright hsm-host` and `cardwright station-host`: programs that other parts of a line start.
//!
//! Not here: their work (`bureau::line`).

use std::path::PathBuf;

use crate::bureau::line::{hsm_host, station_host};
use crate::exit::{Exit, Failure};

/// Serve the keys of a store over a Unix socket, until standard input closes.
#[derive(Debug, clap::Args)]
pub struct HsmHostArgs {
    /// Key store.
    #[arg(long, value_name = "STORE")]
    keys: PathBuf,
    /// Socket to make; its folder must be yours alone (0700).
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Serve only callers that check a file or a ledger, beside the host of a line that has the store open.
    #[arg(long)]
    checks: bool,
}

/// Serve one device on standard input, which is a socket, until that closes.
#[derive(Debug, clap::Args)]
pub struct StationHostArgs {}

/// Runs the HSM host of a bureau.
pub fn hold_keys(args: &HsmHostArgs) -> Result<Exit, Failure> {
    hsm_host::run(&args.keys, &args.socket, args.checks)
}

/// Runs the HSM host of an issuer.
pub fn hold_issuers_keys(args: &HsmHostArgs) -> Result<Exit, Failure> {
    hsm_host::run_issuers(&args.keys, &args.socket, args.checks)
}

/// Runs a station host.
pub fn serve_device(_: &StationHostArgs) -> Result<Exit, Failure> {
    station_host::run()
}
