//! The process that owns one card reader or one machine.
//!
//! Not here: carrying bytes (`drivers::host`).

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use drivers::host::{self, HostError};

use crate::exit::{Exit, Failure};
use crate::threads::ThreadRefused;

/// Opens the device that the other end names, and carries bytes. Personalization commands pass through this
/// process, so its memory is protected like that of the HSM host.
pub fn run() -> Result<Exit, Failure> {
    let io = |e: std::io::Error| Failure::new(Exit::Io, format!("us: no socket on standard input: {e}"));
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(io)?);
    host::end_with(&socket)
        .map_err(|e| ThreadRefused { name: "the controller's end".into(), why: e.to_string() })?;
    match host::serve(socket) {
        Ok(()) => Ok(Exit::Ok),
        // The controller has received the error. It tries often while a device is away.
        Err(HostError::Device(_)) => Ok(Exit::Device),
        Err(error) => Err(Failure::new(Exit::Io, format!("station host: {error}"))),
    }
}
