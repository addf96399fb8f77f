//! The controller's end: [`HsmClient`] speaks to an HSM host, [`HostProcess`] starts one and ends it.
//!
//! After any fault of its connection a client refuses every call ([`HsmError::Host`]), or connects again where its calls
//! stand alone: a late answer could belong to another question. The calls themselves are made from the table in `operations`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr};

use super::caller::{CallerRole, CallerSecrets, HsmDoor};
use super::greeting;
use super::operations::{HsmAnswer, HsmRequestRef};
use super::pkcs11::{TokenPin, TokenSetup};
use super::timing::micros;
use super::wire::{self, HsmReply, WireFrames};
use super::{HsmError, Realm};
use crate::exit::{Exit, Failure};
use crate::threads::{self, ThreadRefused};

/// The line that a host prints when it listens.
pub const READY: &str = "ready";
/// Begins the message with which a program ends.
const FAILURE: &str = "error: ";
/// A host that remembers much, or has a token that it probes, on a slow machine, gets this long until it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A call takes milliseconds; a host that needs this long hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Limit of a call that stands alone and can be repeated: the ledger's writer waits for it.
const ALONE_LIMIT: Duration = Duration::from_secs(5);
/// Time between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);
/// Most bytes kept of a host's error output.
const MAX_COMPLAINT: usize = 4096;

/// One connection to an HSM host.
pub struct HsmClient {
    frames: Option<WireFrames<UnixStream>>,
    realm: Realm,
    calls: Option<HsmCallCounter>,
    /// Where and as what to connect again after a fault; `None` for a client whose calls depend on earlier ones.
    again: Option<(HsmDoor, CallerRole)>,
}

/// Counts the calls of several clients, and the time that they waited, by kind.
#[derive(Debug, Clone, Default)]
pub struct HsmCallCounter(Arc<Mutex<BTreeMap<&'static str, CallTotal>>>);

/// The calls of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallTotal {
    /// Number of calls.
    pub calls: u64,
    /// Microseconds that the callers waited.
    pub us: u64,
}

impl HsmCallCounter {
    fn count(&self, kind: &'static str, took: Duration) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total = totals.entry(kind).or_default();
        total.calls += 1;
        total.us = total.us.saturating_add(micros(took));
    }

    /// Returns the calls since the last `take`, and starts at zero again.
    pub fn take(&self) -> BTreeMap<&'static str, CallTotal> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn broken(error: &std::io::Error) -> HsmError {
    HsmError::Host(if is_slow(error) { "it takes too long".into() } else { error.to_string() })
}

fn not_connected(error: &std::io::Error) -> HsmError {
    match error.kind() {
        // Nobody listens: a host that hangs still takes callers.
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => HsmError::HostEnded,
        _ => broken(error),
    }
}

fn is_slow(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Connects to a socket. While more callers wait than its listener keeps, tries again until the limit.
fn connected(socket: &Path, limit: Duration) -> std::io::Result<UnixStream> {
    let address = UnixAddr::new(socket)?;
    let begun = Instant::now();
    loop {
        // A blocking socket would wait in the system without a limit.
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        match nix::sys::socket::connect(socket.as_raw_fd(), &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(Errno::EAGAIN) if begun.elapsed() < limit => sleep(CONNECT_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Connects to the host of this door, which lets this role in. A call may take `limit`.
fn greeted(
    door: &HsmDoor,
    role: CallerRole,
    limit: Duration,
) -> Result<(WireFrames<UnixStream>, Realm), HsmError> {
    let mut stream = connected(door.socket(), limit).map_err(|e| not_connected(&e))?;
    if !greeting::listens(door.host(), &stream) {
        return Err(HsmError::Host("another program listens on its socket".into()));
    }
    stream.set_read_timeout(Some(limit)).map_err(|e| broken(&e))?;
    stream.set_write_timeout(Some(limit)).map_err(|e| broken(&e))?;
    greeting::call(&mut stream, role, door.secret(role)).map_err(|e| broken(&e))?;
    let realm = greeting::greeted(&mut stream).map_err(|e| broken(&e))?;
    Ok((WireFrames::new(stream), realm))
}

impl HsmClient {
    /// Connects as a part of the program, and checks that the host is the one of this door and has this version.
    pub fn connect(door: &HsmDoor, role: CallerRole) -> Result<Self, HsmError> {
        Self::connect_within(door, role, ANSWER_LIMIT)
    }

    /// Connects for calls that each stand alone, such as those of an auditor. After a fault of its connection this
    /// client connects again with its next call.
    pub fn connect_again(door: &HsmDoor, role: CallerRole) -> Result<Self, HsmError> {
        let client = Self::connect_within(door, role, ALONE_LIMIT)?;
        Ok(Self { again: Some((door.clone(), role)), ..client })
    }

    fn connect_within(door: &HsmDoor, role: CallerRole, limit: Duration) -> Result<Self, HsmError> {
        let (frames, realm) = greeted(door, role, limit)?;
        Ok(Self { frames: Some(frames), realm, calls: None, again: None })
    }

    /// Counts its calls in `calls` from now on.
    pub fn counted(self, calls: &HsmCallCounter) -> Self {
        Self { calls: Some(calls.clone()), ..self }
    }

    /// TEST or LIVE, from the host's greeting.
    pub fn realm(&self) -> Realm {
        self.realm
    }

    /// Sends one request and returns its answer.
    pub(super) fn ask(&mut self, request: &HsmRequestRef<'_>) -> Result<HsmAnswer, HsmError> {
        let begun = Instant::now();
        let answer = self.asked(request);
        if let Some(calls) = &self.calls {
            calls.count(request.counted(), begun.elapsed());
        }
        answer
    }

    fn asked(&mut self, request: &HsmRequestRef<'_>) -> Result<HsmAnswer, HsmError> {
        // Taken out, and put back only after a whole answer: after a fault a late answer must not be read.
        match (self.frames.take(), self.again.clone()) {
            (Some(frames), None) => self.ask_on(frames, request).map_err(|error| broken(&error))?,
            // A host that was restarted has ended the connection, which shows only now. One that hangs is not asked
            // twice, because the caller waits.
            (Some(frames), Some(again)) => match self.ask_on(frames, request) {
                Err(error) if !is_slow(&error) => self.ask_anew(&again, request)?,
                answered => answered.map_err(|error| broken(&error))?,
            },
            (None, Some(again)) => self.ask_anew(&again, request)?,
            (None, None) => Err(HsmError::Host("the connection failed before".into())),
        }
    }

    /// Asks on a new connection.
    fn ask_anew(
        &mut self,
        (door, role): &(HsmDoor, CallerRole),
        request: &HsmRequestRef<'_>,
    ) -> Result<HsmReply, HsmError> {
        let (frames, _) = greeted(door, *role, ALONE_LIMIT)?;
        self.ask_on(frames, request).map_err(|error| broken(&error))
    }

    /// Asks on this connection, and keeps it if the answer came. The error is the connection's.
    fn ask_on(
        &mut self,
        mut frames: WireFrames<UnixStream>,
        request: &HsmRequestRef<'_>,
    ) -> std::io::Result<HsmReply> {
        wire::send(frames.stream(), request)?;
        let reply = frames.receive()?;
        let ended = || std::io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection");
        let reply = reply.ok_or_else(ended)?;
        self.frames = Some(frames);
        Ok(reply)
    }
}

/// A running HSM host. Dropping it kills and reaps it; it also ends by itself when this process dies, because its
/// standard input closes.
pub struct HostProcess {
    child: Child,
    door: HsmDoor,
    /// The host's standard input.
    _life: UnixStream,
}

impl HostProcess {
    /// Runs `program hsm-host --keys store --socket socket`, gives it secrets for its callers, and waits until it listens.
    /// If a host refuses its store, the failure has its message and exit code.
    pub fn start(program: &Path, store: &Path, socket: &Path) -> Result<Self, Failure> {
        Self::start_with(program, store, socket, &[], None)
    }

    /// As [`Self::start`], with a token in which keys of the store lie, and its PIN.
    pub fn start_with_token(
        program: &Path,
        store: &Path,
        socket: &Path,
        token: &TokenSetup,
        pin: &TokenPin,
    ) -> Result<Self, Failure> {
        Self::start_with(program, store, socket, &token.arguments(), Some(pin))
    }

    /// As [`Self::start`], for callers that only check: beside the host that serves a line or a ledger with this store.
    pub fn start_for_checks(program: &Path, store: &Path, socket: &Path) -> Result<Self, Failure> {
        Self::start_with(program, store, socket, &["--checks".into()], None)
    }

    fn start_with(
        program: &Path,
        store: &Path,
        socket: &Path,
        more: &[OsString],
        pin: Option<&TokenPin>,
    ) -> Result<Self, Failure> {
        let fail = |what: String| Failure::new(Exit::Hsm, format!("HSM host {}: {what}", program.display()));
        // Not a pipe: any process of this user could open that through /proc, and read the secrets.
        let (life, theirs) = UnixStream::pair().map_err(|e| fail(format!("cannot be started: {e}")))?;
        let mut child = Command::new(program)
            .arg("hsm-host")
            .arg("--keys")
            .arg(store)
            .arg("--socket")
            .arg(socket)
            .args(more)
            // A group of its own: the operator's Ctrl-C is for us, and cards under way still need their keys.
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| fail(format!("cannot be started: {e}")))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let secrets = CallerSecrets::draw()?;
        // A host that has ended already says why.
        let _ = secrets.give(&mut &life).and_then(|()| pin.map_or(Ok(()), |pin| pin.give(&mut &life)));
        let door = HsmDoor::new(socket, child.id(), Arc::new(secrets));
        let mut host = Self { child, door, _life: life };
        let (Some(output), Some(errors)) = (output, errors) else {
            return Err(fail("has no output".into()));
        };
        let is_ready = Arc::new(AtomicBool::new(false));
        let complaint = listen_to(errors, Arc::clone(&is_ready))?;
        match wait_until_ready(output, is_ready)?.recv_timeout(START_LIMIT) {
            Ok(()) => Ok(host),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(fail("does not get ready; it was killed".into())),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = host.child.wait().map_err(|e| fail(format!("is lost: {e}")))?;
                let said = complaint.join().unwrap_or_default();
                // The host's message begins with the program's name. The caller prints that name too, so it is cut off here.
                let own = program.file_name().map(|name| format!("{}: ", name.display())).unwrap_or_default();
                let said = said.strip_prefix(&own).unwrap_or(&said).to_owned();
                let exit = [Exit::KeyStore, Exit::KeyMismatch, Exit::Hsm, Exit::Io, Exit::Thread]
                    .into_iter()
                    .find(|exit| status.code() == Some(i32::from(*exit as u8)));
                Err(match exit {
                    Some(exit) if !said.is_empty() => Failure::new(exit, said),
                    _ => fail(format!("ended at once ({status}): {said}")),
                })
            }
        }
    }

    /// Where it listens, and what its callers show it.
    pub fn door(&self) -> &HsmDoor {
        &self.door
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id, for the operator.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // Both fail only if it has ended already and was reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reports the line `ready`, then reads on, so that the host never waits for us.
fn wait_until_ready(
    output: ChildStdout,
    is_ready: Arc<AtomicBool>,
) -> Result<mpsc::Receiver<()>, ThreadRefused> {
    let (ready, waiting) = mpsc::channel();
    threads::start("hsm-ready", move || {
        let mut ready = Some(ready);
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if line.trim() == READY
                && let Some(ready) = ready.take()
            {
                is_ready.store(true, Ordering::Relaxed);
                // The receiver is gone if starting took too long.
                let _ = ready.send(());
            }
        }
    })?;
    Ok(waiting)
}

/// Passes a host's error output to the log. The message with which a host ends before it is ready is not logged but
/// returned, because the failure of its start has it. Without such a message, the beginning of the output is returned.
fn listen_to(errors: ChildStderr, is_ready: Arc<AtomicBool>) -> Result<JoinHandle<String>, ThreadRefused> {
    threads::start("hsm-log", move || {
        let (mut said, mut failure) = (String::new(), None);
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            if let Some(message) = line.strip_prefix(FAILURE)
                && !is_ready.load(Ordering::Relaxed)
            {
                failure = Some(message.to_owned());
                continue;
            }
            tracing::warn!(target: "hsm-host", "{line}");
            if said.len() + line.len() < MAX_COMPLAINT {
                said.push_str(if said.is_empty() { "" } else { "; " });
                said.push_str(&line);
            }
        }
        failure.unwrap_or(said)
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::sys::socket::{Backlog, bind, listen, socket};

    use super::*;

    #[test]
    fn a_listener_that_accepts_nobody_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hsm.sock");
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener.as_fd(), Backlog::new(1).unwrap()).unwrap();
        let short = Duration::from_millis(50);
        let mut waiting = Vec::new();
        let refused = loop {
            match connected(&path, short) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert!(is_slow(&refused) && !waiting.is_empty(), "{refused}");
    }
}
