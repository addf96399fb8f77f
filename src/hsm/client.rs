//! The daemon's end: [`Client`] speaks to an HSM host, [`HostProcess`] starts one and ends it.
//!
//! After any fault of the connection a client answers nothing any more ([`HsmError::Host`]): an answer that came late
//! could belong to another question.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::octets::OctetsRef;
use super::wire::{self, Answer, Frames, Reply, RequestRef};
use super::{
    Admission, AuditInfo, Auditor, Handle, Hsm, HsmError, HsmInfo, OpenRequest, Opened, PersonalizeRequest,
    Personalized, Realm, SessionRequest, TrailerRequest, Vault, Verified, VerifyRequest,
};
use crate::audit::{ChainPlace, Checkpoint, DocumentKind, LedgerId, Signature};
use crate::exit::{Exit, Failure};
use crate::ids::SpoolKeyName;

/// The line that a host prints when it listens.
pub const READY: &str = "ready";
/// A host opens its store and socket within milliseconds; a loaded machine gets this long.
const START_LIMIT: Duration = Duration::from_secs(10);
/// A call takes milliseconds; a host that needs this long hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Most bytes kept of what a host said on its error output.
const MAX_COMPLAINT: usize = 4096;

/// One connection to an HSM host.
pub struct Client {
    frames: Option<Frames<UnixStream>>,
    realm: Realm,
    calls: Option<Counter>,
}

/// Counts the calls of several clients, by kind.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Counter {
    fn count(&self, kind: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    /// The calls since this was asked last.
    pub fn take(&self) -> BTreeMap<String, u64> {
        let calls = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        calls.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect()
    }
}

fn broken(error: &std::io::Error) -> HsmError {
    HsmError::Host(match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "it takes too long".into(),
        _ => error.to_string(),
    })
}

impl Client {
    /// Connects, checks that the host is this user's, and its version.
    pub fn connect(socket: &Path) -> Result<Self, HsmError> {
        let mut stream = UnixStream::connect(socket).map_err(|e| broken(&e))?;
        if !wire::same_user(&stream) {
            return Err(HsmError::Host("the socket is another user's".into()));
        }
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(|e| broken(&e))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(|e| broken(&e))?;
        let realm = wire::greeted(&mut stream).map_err(|e| broken(&e))?;
        Ok(Self { frames: Some(Frames::new(stream)), realm, calls: None })
    }

    /// The same, with its calls counted.
    pub fn counted(self, calls: &Counter) -> Self {
        Self { calls: Some(calls.clone()), ..self }
    }

    /// TEST or LIVE, as the host greeted.
    pub fn realm(&self) -> Realm {
        self.realm
    }

    fn ask(&mut self, request: &RequestRef<'_>) -> Result<Answer, HsmError> {
        if let Some(calls) = &self.calls {
            calls.count(request.kind());
        }
        // Taken out, and put back only after a whole answer.
        let mut frames =
            self.frames.take().ok_or_else(|| HsmError::Host("the connection failed before".into()))?;
        wire::send(frames.stream(), request).map_err(|e| broken(&e))?;
        let reply: Option<Reply> = frames.receive().map_err(|e| broken(&e))?;
        let reply = reply.ok_or_else(|| HsmError::Host("it closed the connection".into()))?;
        self.frames = Some(frames);
        reply
    }
}

/// An answer to another question than the one asked.
fn mixed_up<T>() -> Result<T, HsmError> {
    Err(HsmError::Host("it answered another question".into()))
}

impl Hsm for Client {
    fn info(&mut self) -> Result<HsmInfo, HsmError> {
        match self.ask(&RequestRef::Info)? {
            Answer::Info(info) => Ok(info),
            _ => mixed_up(),
        }
    }

    fn verify_trailer(&mut self, request: &TrailerRequest) -> Result<(), HsmError> {
        match self.ask(&RequestRef::VerifyTrailer(request))? {
            Answer::Done => Ok(()),
            _ => mixed_up(),
        }
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<Verified, HsmError> {
        match self.ask(&RequestRef::Verify(request))? {
            Answer::Verified(verified) => Ok(verified),
            _ => mixed_up(),
        }
    }

    fn verify_all(&mut self, requests: &[VerifyRequest]) -> Result<Vec<Verified>, HsmError> {
        match self.ask(&RequestRef::VerifyAll(requests))? {
            Answer::AllVerified(verified) if verified.len() == requests.len() => Ok(verified),
            _ => mixed_up(),
        }
    }

    fn open(&mut self, request: &OpenRequest) -> Result<Opened, HsmError> {
        match self.ask(&RequestRef::Open(request))? {
            Answer::Opened(opened) => Ok(opened),
            _ => mixed_up(),
        }
    }

    fn personalize(&mut self, request: &PersonalizeRequest) -> Result<Personalized, HsmError> {
        match self.ask(&RequestRef::Personalize(request))? {
            Answer::Personalized(personalized) => Ok(personalized),
            _ => mixed_up(),
        }
    }

    fn session(&mut self, open: &OpenRequest, session: SessionRequest) -> Result<Personalized, HsmError> {
        match self.ask(&RequestRef::Session(open, &session))? {
            Answer::Personalized(personalized) => Ok(personalized),
            _ => mixed_up(),
        }
    }

    fn release(&mut self, handles: &[Handle]) -> Result<(), HsmError> {
        match self.ask(&RequestRef::Release(handles))? {
            Answer::Done => Ok(()),
            _ => mixed_up(),
        }
    }
}

impl Auditor for Client {
    fn audit(&mut self, ledger: LedgerId) -> Result<AuditInfo, HsmError> {
        match self.ask(&RequestRef::Audit(ledger))? {
            Answer::Audit(info) => Ok(info),
            _ => mixed_up(),
        }
    }

    fn checkpoint(&mut self, place: ChainPlace) -> Result<Checkpoint, HsmError> {
        match self.ask(&RequestRef::Checkpoint(place))? {
            Answer::Checkpoint(checkpoint) if checkpoint.place == place => Ok(checkpoint),
            _ => mixed_up(),
        }
    }

    fn admit(&mut self, file: &Admission) -> Result<(), HsmError> {
        match self.ask(&RequestRef::Admit(file))? {
            Answer::Done => Ok(()),
            _ => mixed_up(),
        }
    }

    fn sign(
        &mut self,
        kind: DocumentKind,
        ledger: LedgerId,
        digest: [u8; 32],
    ) -> Result<Signature, HsmError> {
        match self.ask(&RequestRef::Sign(kind, ledger, digest))? {
            Answer::Signed(signature) => Ok(signature),
            _ => mixed_up(),
        }
    }
}

impl Vault for Client {
    fn new_spool(&mut self, ledger: LedgerId) -> Result<SpoolKeyName, HsmError> {
        match self.ask(&RequestRef::NewSpool(ledger))? {
            Answer::Spool(name) => Ok(name),
            _ => mixed_up(),
        }
    }

    fn seal(&mut self, spool: SpoolKeyName, first: u64, clear: &[u8]) -> Result<Vec<u8>, HsmError> {
        match self.ask(&RequestRef::Seal(spool, first, OctetsRef(clear)))? {
            Answer::Pieces(pieces) => Ok(pieces.0),
            _ => mixed_up(),
        }
    }

    fn unseal(&mut self, spool: SpoolKeyName, first: u64, sealed: &[u8]) -> Result<Vec<u8>, HsmError> {
        match self.ask(&RequestRef::Unseal(spool, first, OctetsRef(sealed)))? {
            Answer::Pieces(pieces) => Ok(pieces.0),
            _ => mixed_up(),
        }
    }

    fn destroy_spool(&mut self, spool: SpoolKeyName) -> Result<(), HsmError> {
        match self.ask(&RequestRef::DestroySpool(spool))? {
            Answer::Done => Ok(()),
            _ => mixed_up(),
        }
    }

    fn keep_spools(&mut self, ledger: LedgerId, spools: &[SpoolKeyName]) -> Result<(), HsmError> {
        match self.ask(&RequestRef::KeepSpools(ledger, spools))? {
            Answer::Done => Ok(()),
            _ => mixed_up(),
        }
    }
}

/// A running HSM host. Dropping it kills and reaps it; it also ends by itself when this process dies, because its
/// standard input closes.
pub struct HostProcess {
    child: Child,
}

impl HostProcess {
    /// Runs `program hsm-host --keys store --socket socket` and waits until it listens. A host that refuses its store
    /// gives its own message and exit code.
    pub fn start(program: &Path, store: &Path, socket: &Path) -> Result<Self, Failure> {
        let fail = |what: String| Failure::new(Exit::Hsm, format!("HSM host {}: {what}", program.display()));
        let mut child = Command::new(program)
            .arg("hsm-host")
            .arg("--keys")
            .arg(store)
            .arg("--socket")
            .arg(socket)
            // A group of its own: the operator's Ctrl-C is for us, and cards under way still need their keys.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| fail(format!("cannot be started: {e}")))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let mut host = Self { child };
        let (Some(output), Some(errors)) = (output, errors) else {
            return Err(fail("has no output".into()));
        };
        let complaint = listen_to(errors);
        match wait_until_ready(output).recv_timeout(START_LIMIT) {
            Ok(()) => Ok(host),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(fail("does not get ready; it was killed".into())),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = host.child.wait().map_err(|e| fail(format!("is lost: {e}")))?;
                let said = complaint.join().unwrap_or_default();
                let said = said.trim().trim_start_matches("error: ");
                let exit = [Exit::KeyStore, Exit::KeyMismatch, Exit::Io]
                    .into_iter()
                    .find(|exit| status.code() == Some(i32::from(*exit as u8)));
                Err(match exit {
                    Some(exit) if !said.is_empty() => Failure::new(exit, said),
                    _ => fail(format!("ended at once ({status}): {said}")),
                })
            }
        }
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
fn wait_until_ready(output: ChildStdout) -> mpsc::Receiver<()> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut tell = Some(tell);
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if line.trim() == READY
                && let Some(tell) = tell.take()
            {
                // Nobody listens any more if starting took too long.
                let _ = tell.send(());
            }
        }
    });
    told
}

/// Passes what a host says on its error output to the log, and keeps its beginning.
fn listen_to(errors: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut kept = String::new();
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            tracing::warn!(target: "hsm-host", "{line}");
            if kept.len() + line.len() < MAX_COMPLAINT {
                kept.push_str(&line);
                kept.push('\n');
            }
        }
        kept
    })
}
