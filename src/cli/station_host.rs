//! `cardwright station-host`: the process that owns one card reader or one machine.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic;

use drivers::host::{self, HostError};

use crate::exit::{Exit, Failure};

/// Serve one device on standard input, which is a socket, until that closes.
#[derive(Debug, clap::Args)]
pub struct StationHostArgs {}

/// Opens the device that the other end names and carries bytes. Personalization commands pass through this process, so
/// its memory is protected as that of the HSM host.
pub fn run(_: &StationHostArgs) -> Result<Exit, Failure> {
    crate::hsm::host::harden()?;
    let io = |e: std::io::Error| Failure::new(Exit::Io, format!("us: no socket on standard input: {e}"));
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(io)?);
    host::end_with(&socket).map_err(io)?;
    panic::set_hook(Box::new(|panic| {
        // What it says is for nobody here and may quote anything; the controller is told what failed.
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("station host: us: a call failed at {at}");
    }));
    match host::serve(socket) {
        Ok(()) => Ok(Exit::Ok),
        // The controller was told, and asks often while a device is away.
        Err(HostError::Device(_)) => Ok(Exit::Device),
        Err(error) => Err(Failure::new(Exit::Io, format!("station host: {error}"))),
    }
}
