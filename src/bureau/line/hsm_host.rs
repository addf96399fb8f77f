//! The process that holds the keys, and the HSM that it hosts.
//!
//! ```text
//! lock pages ──> open the store ──> take the secrets of callers ──> [open the token] ──> listen ──> sandbox
//!            ──> ready, the first connection
//! ```
//!
//! Only such a process loads a PKCS#11 module: the host of a line whose keys lie in the token, or a check of a token, which needs
//! no keys of ours and no socket.
//!
//! Not here: serving (`hsm::host`), starting the process (`hsm::client`).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto::rsa;
use crate::exit::{Exit, Failure};
use crate::hardening::{PageLock, SandboxNeeds, confine, lock_pages, spilled, wipe_stack};
use crate::hsm::client::READY;
pub use crate::hsm::pkcs11::{StepPlace, TokenChoice, TokenPin, TokenReport, TokenSetup};
use crate::hsm::pkcs11::{Token, TokenDevice, TokenHome, TokenKeyTerms, probe};
use crate::hsm::soft::SoftHsm;
use crate::hsm::soft::issuer::SoftIssuer;
use crate::hsm::store::{KeyStore, StoreSide};
use crate::hsm::{CallerRole, CallerSecrets, HostLock, HostedHsm, HsmDoor, Realm, host};
use crate::threads;

/// Set by a test that looks into its host's memory as root: pages are locked by `mlock`, which lets root see them. Only a host
/// of TEST keys starts with it.
const ONLY_MLOCK: &str = "CARDWRIGHT_TEST_MLOCK";

/// Serves the keys of a bureau's store until standard input closes, which means that the parent has ended. It is the only
/// host that has the store open, unless it serves only callers that check, which change nothing that a host remembers.
pub fn run(keys: &Path, socket: &Path, only_checks: bool) -> Result<Exit, Failure> {
    let store = opened(keys)?;
    let parent = Parent::of_this_process(only_checks)?;
    if only_checks {
        return parent.serve(store, SoftHsm::for_checks, (keys, socket), None);
    }
    let _alone = HostLock::take(keys)?;
    parent.serve(store, SoftHsm::new, (keys, socket), None)
}

/// As [`run`], for a bureau's store of which some keys lie in a token. The token is opened and probed before the process goes into
/// its sandbox, because a module reads its libraries and settings then.
pub fn run_with_token(keys: &Path, socket: &Path, setup: &TokenSetup) -> Result<Exit, Failure> {
    let store = opened(keys)?;
    let mut parent = Parent::of_this_process(false)?;
    let pin = TokenPin::take(&mut parent.input).map_err(|_| no_pin())?;
    let terms: Vec<TokenKeyTerms> = store.token_keys().collect();
    if terms.is_empty() {
        let what = "profile: the line profile names a token, but no key of the store lies in one: remove its table [hsm], or make the store from a key list that names token objects";
        return Err(Failure::new(Exit::KeyStore, what));
    }
    if let Some(missing) = setup.needs.paths.iter().find(|path| !path.exists()) {
        let what = format!(
            "profile: hsm: needs: {} is not there: correct the path, or make what the module needs",
            missing.display()
        );
        return Err(Failure::new(Exit::Usage, what));
    }
    let _alone = HostLock::take(keys)?;
    let device = Arc::new(TokenDevice::find(&setup.module, &setup.choice)?);
    let token = TokenHome::open(device, Some(pin), terms)?;
    token.check(setup.host_crypto)?;
    wipe_stack();
    parent.serve(store, |store| SoftHsm::with_token(store, token), (keys, socket), Some(&setup.needs))
}

fn no_pin() -> Failure {
    Failure::new(Exit::Io, "us: the program that started this host gave it no PIN")
}

/// Serves the keys of an issuer's store, as [`run`] does, beside other hosts that have it open.
pub fn run_issuers(keys: &Path, socket: &Path, only_checks: bool) -> Result<Exit, Failure> {
    rsa::prepare();
    let store = opened(keys)?;
    let parent = Parent::of_this_process(only_checks)?;
    parent.serve(store, SoftIssuer::new, (keys, socket), None)
}

/// Locks pages for keys, then opens a store, whose keys go into them.
fn opened(keys: &Path) -> Result<KeyStore, Failure> {
    let for_test = std::env::var_os(ONLY_MLOCK).is_some();
    let pages = lock_pages(if for_test { PageLock::OnlyMlock } else { PageLock::Best });
    let store = KeyStore::open(keys)?;
    if for_test && store.realm() != Realm::Test {
        let what = format!("key: {ONLY_MLOCK} is set, which is for tests with TEST keys: unset it");
        return Err(Failure::new(Exit::KeyStore, what));
    }
    if spilled() {
        let what =
            "key: the store has more keys than there is locked memory for: make a new one with less in it";
        return Err(Failure::new(Exit::KeyStore, what));
    }
    wipe_stack();
    let pages = if for_test { pages.map(Some) } else { unless_test(store.realm(), pages) };
    if let Some(pages) = pages? {
        tracing::debug!(?pages, "the keys lie in locked pages");
    }
    Ok(store)
}

/// What the system gives to protect keys. TEST keys protect nothing, and many containers give little: a host of them warns and
/// goes on without.
fn unless_test<T>(realm: Realm, given: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match given {
        Err(failure) if realm == Realm::Test => {
            tracing::warn!("{failure}; it goes on without, because its keys are TEST");
            Ok(None)
        }
        given => given.map(Some),
    }
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
    let listener = host::listen(socket)?;
    match keys.side() {
        StoreSide::Bureau => serve(SoftHsm::new(keys)?, listener, Arc::clone(&secrets))?,
        StoreSide::Issuer => serve(SoftIssuer::new(keys)?, listener, Arc::clone(&secrets))?,
    }
    Ok(HsmDoor::new(socket, std::process::id(), secrets))
}

/// Serves from now on, in a thread.
fn serve(
    hsm: impl HostedHsm + 'static,
    listener: UnixListener,
    secrets: Arc<CallerSecrets>,
) -> Result<(), Failure> {
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

    /// Listens, goes into the sandbox, and only there makes the HSM, which may start threads: a thread that is started before
    /// stays outside. Then prints `ready`, and serves.
    fn serve<H: HostedHsm + 'static>(
        mut self,
        store: KeyStore,
        hosted: impl FnOnce(KeyStore) -> Result<H, Failure>,
        (keys, socket): (&Path, &Path),
        module: Option<&SandboxNeeds>,
    ) -> Result<Exit, Failure> {
        let lost =
            |e: std::io::Error| Failure::new(Exit::Io, format!("us: the HSM host lost its parent: {e}"));
        let listener = host::listen(socket)?;
        let confined = unless_test(store.realm(), confine(keys, socket, module));
        let hsm = confined.and_then(|confined| {
            if confined.is_some() {
                tracing::debug!("only the key store and the socket can be reached from now on");
            }
            hosted(store)
        });
        let hsm = hsm.inspect_err(|_| drop(std::fs::remove_file(socket)))?;
        // The audit key was made on it.
        wipe_stack();
        serve(hsm, listener, self.secrets)?;
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
