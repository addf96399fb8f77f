//! `cardwright hsm-host` and `cardwright station-host`: programs that other parts of a line start.
//!
//! Not here: their work (`bureau::line`).

use std::path::PathBuf;

use crate::bureau::line::hsm_host::{self, TokenChoice, TokenSetup};
use crate::bureau::line::station_host;
use crate::exit::{Exit, Failure};
use crate::hardening::SandboxNeeds;

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
    /// PKCS#11 module of the token in which keys of the store lie; its PIN comes on standard input.
    #[arg(long, value_name = "PATH", conflicts_with = "checks")]
    module: Option<PathBuf>,
    /// The token's label.
    #[arg(long, value_name = "LABEL", requires = "module")]
    token: Option<String>,
    /// The token's slot.
    #[arg(long, value_name = "NUMBER", requires = "module", conflicts_with = "token")]
    slot: Option<u64>,
    /// Do steps on the host that the token cannot do.
    #[arg(long, requires = "module")]
    host_crypto: bool,
    /// A file or folder that the module reads and writes.
    #[arg(long, value_name = "PATH", requires = "module")]
    needs: Vec<PathBuf>,
    /// The module connects to a service or to a network.
    #[arg(long, requires = "module")]
    needs_sockets: bool,
}

/// Serve one device on standard input, which is a socket, until that closes.
#[derive(Debug, clap::Args)]
pub struct StationHostArgs {}

/// Runs the HSM host of a bureau.
pub fn hold_keys(args: &HsmHostArgs) -> Result<Exit, Failure> {
    let Some(module) = &args.module else {
        return hsm_host::run(&args.keys, &args.socket, args.checks);
    };
    let setup = TokenSetup {
        module: module.clone(),
        choice: TokenChoice::of(args.token.clone(), args.slot),
        host_crypto: args.host_crypto,
        needs: SandboxNeeds { paths: args.needs.clone(), sockets: args.needs_sockets },
    };
    hsm_host::run_with_token(&args.keys, &args.socket, &setup)
}

/// Runs the HSM host of an issuer.
pub fn hold_issuers_keys(args: &HsmHostArgs) -> Result<Exit, Failure> {
    hsm_host::run_issuers(&args.keys, &args.socket, args.checks)
}

/// Runs a station host.
pub fn serve_device(_: &StationHostArgs) -> Result<Exit, Failure> {
    station_host::run()
}
