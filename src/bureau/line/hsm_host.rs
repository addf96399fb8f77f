//! The process that holds the keys: which HSM it hosts.
//!
//! Not here: serving (`hsm::host`), starting it (`hsm::client`).

use std::io::{Read, Write};
use std::path::Path;

use crate::exit::{Exit, Failure};
use crate::hardening::harden;
use crate::hsm::client::READY;
use crate::hsm::host;
use crate::hsm::soft::SoftHsm;
use crate::hsm::store::KeyStore;
use crate::threads;

/// Opens the store, listens, prints `ready`, and serves until standard input closes: the parent has gone.
pub fn run(keys: &Path, socket: &Path) -> Result<Exit, Failure> {
    harden()?;
    let hsm = SoftHsm::new(KeyStore::open(keys)?)?;
    let listener = host::listen(socket)?;
    let lost = |e: std::io::Error| Failure::new(Exit::Io, format!("us: the HSM host lost its parent: {e}"));
    threads::start("hsm-accept", move || host::serve(&hsm, &listener))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{READY}").and_then(|()| out.flush()).map_err(lost)?;
    drop(out);

    let mut ignored = [0u8; 64];
    let mut input = std::io::stdin().lock();
    // An error says the same as the end: nobody is there any more.
    while input.read(&mut ignored).is_ok_and(|n| n > 0) {}
    // The process ends and takes its connections along; what stays is the name of the socket.
    let _ = std::fs::remove_file(socket);
    Ok(Exit::Ok)
}
