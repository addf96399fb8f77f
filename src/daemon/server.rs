//! `cardwrightd`: a line, its queue of jobs, and the people who may decide about them.
//!
//! ```text
//! main thread      signals: the first drains, the second ends at once
//! "line"           makes one released job after the other
//! "retention"      deletes the cardholder data that are due
//! "accept"         a thread for each connection: request, policy, answer
//! ```
//!
//! Not here: the answers (`answers`), the words on the command line (`cli::daemon`).

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{bounded, select};
use zeroize::Zeroizing;

use super::farewell::Farewells;
use super::people::People;
use super::policy;
use super::queue::Queue;
use super::watch::Deaths;
use crate::bureau::line::simulator::Simulation;
use crate::bureau::{Bureau, KeyAccess, Refusal};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::modules::LineProfile;
use crate::signals::Signals;
use crate::threads;

/// Most bytes of a people file.
const PEOPLE_MAX: u64 = 1 << 20;
/// Printed when a signal ends the program before it listens.
const STOPPED: &str = "stopped by the operator before the daemon listened";

/// The settings that a daemon is started with.
#[derive(Debug)]
pub struct Setup {
    /// Line profile: a shipped name or a .toml file.
    pub line: String,
    /// The bureau's key store.
    pub keys: PathBuf,
    /// People file (TOML): who may do what.
    pub people: PathBuf,
    /// Socket that the daemon creates.
    pub socket: PathBuf,
    /// Path of the ledger.
    pub ledger: PathBuf,
    /// Whether and how `hwsim` takes the place of the devices.
    pub simulation: Simulation,
}

/// The state that all threads share.
pub(super) struct LineDaemon {
    pub(super) bureau: Bureau,
    pub(super) people: People,
    queue: Mutex<Queue>,
    /// Notified when the queue has changed.
    pub(super) changed: Condvar,
    /// Held by [`Self::papers_guard`].
    pub(super) deleting: Mutex<()>,
    /// Threads of the daemon that died.
    deaths: Deaths,
}

/// Runs the daemon until a signal. `pin` asks for the PIN of the line's token, if it has one.
pub fn run(setup: &Setup, pin: &dyn Fn() -> Result<Zeroizing<String>, Failure>) -> Result<Exit, Refusal> {
    let signals = Signals::handle(STOPPED)?;
    let keys = KeyAccess { store: &setup.keys, pin };
    let bureau = Bureau::open(&setup.line, keys, &setup.ledger, &setup.simulation, &signals)?;
    let people = people(&setup.people, &bureau.line)?;
    let core = Arc::new(LineDaemon {
        bureau,
        people,
        queue: Mutex::default(),
        changed: Condvar::new(),
        deleting: Mutex::default(),
        deaths: Deaths::default(),
    });
    core.hold_all()?;
    let listener = listen(&setup.socket)?;
    let ours = inode(&setup.socket);
    let heard = signals.heard(2);
    // The line's thread owns this end of the channel, so the main thread notices when it dies or returns.
    let (ended, line_ended) = bounded::<()>(0);
    let (line, retain, accept) = (Arc::clone(&core), Arc::clone(&core), Arc::clone(&core));
    threads::start("line", move || {
        let _ended = ended;
        line.watch("line", || line.make_jobs());
    })
    .map_err(Failure::from)?;
    threads::start("retention", move || retain.watch("retention", || retain.retain()))
        .map_err(Failure::from)?;
    let farewells = Farewells::start().map_err(Failure::from)?;
    threads::start("accept", move || accept.watch("accept", || accept.accept(&listener, &farewells)))
        .map_err(Failure::from)?;
    // Standard output may be closed; the socket answers all the same.
    let _ = writeln!(std::io::stdout(), "ready").and_then(|()| std::io::stdout().flush());

    let mut drained = true;
    select! {
        recv(heard) -> _ => {
            tracing::warn!("draining: cards under way are finished; a second signal ends at once");
            core.queue().drain();
            core.changed.notify_all();
            select! {
                recv(line_ended) -> _ => {}
                recv(heard) -> _ => drained = false,
            }
        }
        recv(line_ended) -> _ => {}
    }
    if inode(&setup.socket) == ours {
        let _ = std::fs::remove_file(&setup.socket);
    }
    if !drained {
        // The cards under way are UNKNOWN at the next start.
        return Ok(Exit::Stopped);
    }
    end_of(&core)
}

/// Ends the parts of a daemon that is drained. The first failure here is the one that says most.
fn end_of(core: &LineDaemon) -> Result<Exit, Refusal> {
    let simulator = core.bureau.end_simulator();
    let closed = core.bureau.ledger.clone().close();
    if core.bureau.keys_are_gone() {
        let what = "key: the HSM host has ended, and the daemon with it; look why (its log stands above), and start again";
        return Err(Refusal::fault(Exit::Hsm, what));
    }
    core.deaths.failure().map_or(Ok(()), Err)?;
    closed?;
    Ok(simulator.map(|()| Exit::Ok)?)
}

/// A word in a message, spelled as in the profile and people files.
fn word(value: &impl serde::Serialize) -> String {
    format!("`{}`", plain_word(value))
}

/// A word as in the profile and people files.
pub(super) fn plain_word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Reads the people file. Only root and the daemon's user may write it, because a writer can make any user a
/// supervisor.
fn people(path: &Path, line: &LineProfile) -> Result<People, Failure> {
    let wrong = |what: String| Failure::new(Exit::Profile, format!("people file {}: {what}", path.display()));
    let meta = path.metadata().map_err(|e| wrong(files::trouble(&e)))?;
    let owner = meta.uid();
    if !meta.is_file() {
        return Err(wrong("it is no regular file".into()));
    }
    if meta.mode() & 0o022 != 0 || owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return Err(wrong("it must be yours or root's, and nobody else may write it (chmod go-w)".into()));
    }
    files::check_folder_of(path).map_err(|e| wrong(e.to_string()))?;
    let text = files::read_text(path, PEOPLE_MAX).map_err(|e| wrong(files::trouble(&e)))?;
    let people = People::from_toml(&text).map_err(wrong)?;
    for kind in &line.two_people {
        let needs = policy::role(*kind, None);
        if people.with(needs) < 2 {
            let what = format!(
                "{} needs two people with the role {}, but fewer are listed",
                word(kind),
                word(&needs)
            );
            return Err(wrong(what));
        }
    }
    Ok(people)
}

/// Creates the socket. Every user may connect, because the kernel reports the user id.
fn listen(socket: &Path) -> Result<UnixListener, Failure> {
    let fail = |what: String| Failure::new(Exit::Io, format!("socket {}: {what}", socket.display()));
    if UnixStream::connect(socket).is_ok() {
        return Err(fail("another daemon listens there".into()));
    }
    // This daemon has the ledger locked, so a socket at this path was left by a daemon that was killed.
    match std::fs::symlink_metadata(socket) {
        Ok(there) if there.file_type().is_socket() => {
            std::fs::remove_file(socket).map_err(|e| fail(e.to_string()))?;
        }
        Ok(_) => return Err(fail("something else lies there; name another path by --socket".into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error.to_string())),
    }
    let listener = UnixListener::bind(socket).map_err(|e| fail(e.to_string()))?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o666)).map_err(|e| fail(e.to_string()))?;
    Ok(listener)
}

impl LineDaemon {
    /// Does all of a thread's work, and drains the daemon if the thread dies.
    pub(super) fn watch(&self, name: &str, work: impl FnOnce()) {
        self.deaths.watch(name, work, || self.died(name));
    }

    /// Ends the daemon after the cards under way: a thread has died, or has left a state that only the next
    /// start can repair.
    pub(super) fn died(&self, name: &str) {
        self.deaths.note(name);
        self.queue().drain();
        self.changed.notify_all();
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
