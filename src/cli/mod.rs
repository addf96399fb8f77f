//! The command lines of `cardwright` and `cardwright-prep`: one file for each verb, and the composition root that puts
//! a line together (`line`). Here, and only here, concrete drivers, links and HSMs are named.
//!
//! Not here: what the verbs mean; each calls one part and prints what it says.

pub mod accept;
pub mod ask;
pub mod audit;
pub mod card;
pub mod common;
mod cpu;
pub mod daemon;
mod delete;
pub mod hsm_host;
pub mod inspect;
pub mod job;
pub mod keys;
#[cfg(test)]
mod ledger_tests;
pub mod line;
mod links;
pub mod log;
pub mod look;
mod papers;
pub mod profile;
mod remote;
pub mod run;
mod shop;
mod signals;
mod simulator;
pub mod station_host;
mod stations;
pub mod stock;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::exit::{Exit, Failure};
use crate::hsm::client::{HostProcess, HsmClient};

/// Ends a program: prints an expected failure in one line, and gives its exit code.
pub fn end(result: Result<Exit, Failure>) -> std::process::ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Nobody may be listening any more; the exit code says it too.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            failure.exit.into()
        }
    }
}

/// A directory for sockets that nobody else can enter; gone with its value.
fn socket_directory() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("cardwright-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|e| Failure::new(Exit::Io, format!("no directory for sockets: {e}")))
}

/// An HSM host for as long as a command needs it. Fields are dropped in order.
struct Keys {
    hsm: HsmClient,
    socket: std::path::PathBuf,
    _host: HostProcess,
    _directory: tempfile::TempDir,
}

impl Keys {
    /// Starts it on a store.
    fn open(store: &Path) -> Result<Self, Failure> {
        let directory = socket_directory()?;
        let socket = directory.path().join("hsm.sock");
        let host = HostProcess::start(&own_program()?, store, &socket)?;
        Ok(Self { hsm: HsmClient::connect(&socket)?, socket, _host: host, _directory: directory })
    }

    /// One more connection.
    fn connect(&self) -> Result<HsmClient, Failure> {
        Ok(HsmClient::connect(&self.socket)?)
    }
}

/// The program `cardwright`, to start it in another role: this one, or the one beside the daemon's.
fn own_program() -> Result<std::path::PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|e| Failure::new(Exit::Io, format!("own program: {e}")))?;
    Ok(if own.ends_with("cardwrightd") { own.with_file_name("cardwright") } else { own })
}

/// Logs go to stderr, as `CARDWRIGHT_LOG` asks (default: warnings); JSON with `CARDWRIGHT_LOG_FORMAT=json`.
pub fn init_logs() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("CARDWRIGHT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let json = std::env::var("CARDWRIGHT_LOG_FORMAT").is_ok_and(|f| f == "json");
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A second initialization (tests) is no fault.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
