//! The process that holds the keys, and the HSM that it hosts.
//!
//! A PKCS#11 module is loaded here alone too, in a process that does nothing else: its check needs no keys of ours and
//! no socket.
//!
//! Not here: serving (`hsm::host`), starting the process (`hsm::client`).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::hsm::client::READY;
pub use crate::hsm::pkcs11::{StepPlace, TokenChoice, TokenReport};
use crate::hsm::pkcs11::{Token, probe};
use crate::hsm::soft::SoftHsm;
use crate::hsm::soft::issuer::SoftIssuer;
use crate::hsm::store::{KeyStore, StoreSide};
use crate::hsm::{CallerRole, CallerSecrets, HostLock, HostedHsm, HsmDoor, host};
use crate::threads;

/// Serves the keys of a bureau's store until standard input closes, which means that the parent has ended. It is the only
/// host that has the store open, unless it serves only callers that check, which change nothing that a host remembers.
pub fn run(keys: &Path, socket: &Path, only_checks: bool) -> Result<Exit, Failure> {
    let store = KeyStore::open(keys)?;
    if only_checks {
        return Parent::of_this_process(only_checks)?.serve(SoftHsm::for_checks(store)?, socket);
    }
    let _alone = HostLock::take(keys)?;
    Parent::of_this_process(only_checks)?.serve(SoftHsm::new(store)?, socket)
}

/// Serves the keys of an issuer's store, as [`run`] does, beside other hosts that have it open.
pub fn run_issuers(keys: &Path, socket: &Path, only_checks: bool) -> Result<Exit, Failure> {
    let hsm = SoftIssuer::new(KeyStore::open(keys)?)?;
    Parent::of_this_process(only_checks)?.serve(hsm, socket)
}

/// Finds out what a PKCS#11 token does inside. Its module is a foreign library, so a program calls this for nothing but
/// a check, and ends.
pub fn check_token(
    module: &Path,
    choice: &TokenChoice,
    pin: impl FnOnce() -> Result<Zeroizing<String>, Failure>,
) -> Result<TokenReport, Failure> {
    Ok(probe(&Token::open(module, choice, pin)?))
}

/// Serves the keys of a store of either side in a thread of this process, until the process ends: keys that a dry run has
/// made for itself, never others. Returns the door.
pub(in crate::bureau) fn serve_own(keys: KeyStore, socket: &Path) -> Result<HsmDoor, Failure> {
    let secrets = Arc::new(CallerSecrets::draw()?);
    match keys.side() {
        StoreSide::Bureau => listen(SoftHsm::new(keys)?, socket, Arc::clone(&secrets))?,
        StoreSide::Issuer => listen(SoftIssuer::new(keys)?, socket, Arc::clone(&secrets))?,
    }
    Ok(HsmDoor::new(socket, std::process::id(), secrets))
}

/// Serves from now on, in a thread.
fn listen(hsm: impl HostedHsm + 'static, socket: &Path, secrets: Arc<CallerSecrets>) -> Result<(), Failure> {
    let listener = host::listen(socket)?;
    threads::start("hsm-accept", move || host::serve(&hsm, &listener, &secrets))?;
    Ok(())
}

/// The program that has started this host, on standard input: it sends the secrets of its callers, and nothing more while
/// it lives.
struct Parent {
    input: File,
    secrets: Arc<CallerSecrets>,
}

impl Parent {
    /// Takes the secrets. They are read without a buffer, which nobody would wipe.
    fn of_this_process(only_checks: bool) -> Result<Self, Failure> {
        let taken = || {
            let mut input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            let secrets = CallerSecrets::take(&mut input)?;
            Ok((input, secrets))
        };
        let (input, secrets) = taken().map_err(|_: std::io::Error| {
            let what = "operator: an HSM host is started by a line or a command, which sends it secrets on standard input: name \
                        the key store to that line or command (--keys)";
            Failure::new(Exit::Io, what)
        })?;
        let secrets = if only_checks { secrets.only(CallerRole::Check)? } else { secrets };
        Ok(Self { input, secrets: Arc::new(secrets) })
    }

    /// Listens, prints `ready`, and serves.
    fn serve(mut self, hsm: impl HostedHsm + 'static, socket: &Path) -> Result<Exit, Failure> {
        let lost =
            |e: std::io::Error| Failure::new(Exit::Io, format!("us: the HSM host lost its parent: {e}"));
        listen(hsm, socket, self.secrets)?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{READY}").and_then(|()| out.flush()).map_err(lost)?;
        drop(out);

        let mut ignored = [0u8; 64];
        // An error ends the wait as well: the parent is gone.
        while self.input.read(&mut ignored).is_ok_and(|n| n > 0) {}
        // The process ends, and its connections with it. Only the name of the socket would stay.
        let _ = std::fs::remove_file(socket);
        Ok(Exit::Ok)
    }
}
