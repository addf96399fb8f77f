//! The process that holds the keys, and the HSM that it hosts.
//!
//! Not here: serving (`hsm::host`), starting the process (`hsm::client`).

use std::io::{Read, Write};
use std::path::Path;

use crate::exit::{Exit, Failure};
use crate::hsm::client::READY;
use crate::hsm::soft::SoftHsm;
use crate::hsm::soft::issuer::SoftIssuer;
use crate::hsm::store::{KeyStore, StoreSide};
use crate::hsm::{HostedHsm, host};
use crate::threads;

/// Serves the keys of a bureau's store until standard input closes, which means that the parent has ended.
pub fn run(keys: &Path, socket: &Path) -> Result<Exit, Failure> {
    serve(SoftHsm::new(KeyStore::open(keys)?)?, socket)
}

/// Serves the keys of an issuer's store, as [`run`] does.
pub fn run_issuers(keys: &Path, socket: &Path) -> Result<Exit, Failure> {
    serve(SoftIssuer::new(KeyStore::open(keys)?)?, socket)
}

/// Serves the keys of a store of either side in a thread of this process, until the process ends: keys that a dry run has
/// made for itself, never others.
pub(in crate::bureau) fn serve_own(keys: KeyStore, socket: &Path) -> Result<(), Failure> {
    match keys.side() {
        StoreSide::Bureau => listen(SoftHsm::new(keys)?, socket),
        StoreSide::Issuer => listen(SoftIssuer::new(keys)?, socket),
    }
}

/// Serves from now on, in a thread.
fn listen(hsm: impl HostedHsm + 'static, socket: &Path) -> Result<(), Failure> {
    let listener = host::listen(socket)?;
    threads::start("hsm-accept", move || host::serve(&hsm, &listener))?;
    Ok(())
}

/// Listens, prints `ready`, and serves.
fn serve(hsm: impl HostedHsm + 'static, socket: &Path) -> Result<Exit, Failure> {
    let lost = |e: std::io::Error| Failure::new(Exit::Io, format!("us: the HSM host lost its parent: {e}"));
    listen(hsm, socket)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{READY}").and_then(|()| out.flush()).map_err(lost)?;
    drop(out);

    let mut ignored = [0u8; 64];
    let mut input = std::io::stdin().lock();
    // An error ends the wait as well: the parent is gone.
    while input.read(&mut ignored).is_ok_and(|n| n > 0) {}
    // The process ends, and its connections with it. Only the name of the socket would stay.
    let _ = std::fs::remove_file(socket);
    Ok(Exit::Ok)
}
