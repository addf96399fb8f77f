//! The HSM host: one Unix socket in front of the software HSM, in a process of its own (DESIGN.md section 2).
//!
//! Nobody but its own user reaches it: the socket's folder is 0700, the socket 0600, and the peer's user is asked of
//! the kernel. Not here: starting the process (`client`), the command line (`cli::hsm_host`).

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::Zeroize;

use super::octets::Octets;
use super::soft::SoftHsm;
use super::wire::{self, Answer, Frames, Reply, Request};
use super::{Auditor, DataPart, Hsm, PlainCommand, Vault};
use crate::exit::{Exit, Failure};
use crate::threads;

/// Connections at a time: a line has tens of threads that talk to the HSM.
const MAX_CONNECTIONS: usize = 256;

/// Makes a process that holds keys keep its memory to itself: no core dump, no debugger, no `/proc/self/mem` for others.
pub fn harden() -> Result<(), Failure> {
    use nix::sys::resource::{Resource, setrlimit};
    let failed =
        |e: nix::Error| Failure::new(Exit::Io, format!("us: cannot protect the memory of this process: {e}"));
    nix::sys::prctl::set_dumpable(false).map_err(failed)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed)
}

/// Makes the socket. Its folder must belong to this user alone (0700); the socket must not exist.
pub fn listen(socket: &Path) -> Result<UnixListener, Failure> {
    let fail = |what: String| Failure::new(Exit::Io, format!("HSM socket {}: {what}", socket.display()));
    let folder = match socket.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let meta = folder.metadata().map_err(|e| fail(format!("its folder cannot be read: {e}")))?;
    if meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(fail("its folder must be yours alone; make it mode 0700 (chmod 700)".into()));
    }
    let listener = UnixListener::bind(socket).map_err(|e| match e.kind() {
        ErrorKind::AddrInUse => {
            fail("exists already; another host runs, or one was killed: remove it".into())
        }
        _ => fail(format!("cannot be made: {e}")),
    })?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o600))
        .map_err(|e| fail(format!("cannot be made 0600: {e}")))?;
    Ok(listener)
}

/// Serves connections, a thread each, until the process ends.
pub fn serve(hsm: &SoftHsm, listener: &UnixListener) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: connections must end before the next can begin.
            std::thread::sleep(std::time::Duration::from_millis(100));
            continue;
        };
        if !wire::same_user(&stream) || open.load(Ordering::SeqCst) >= MAX_CONNECTIONS {
            continue;
        }
        open.fetch_add(1, Ordering::SeqCst);
        let slot = Slot(Arc::clone(&open));
        let hsm = hsm.clone();
        let started = threads::start("hsm-connection", move || {
            let _slot = slot;
            // Whatever ends a connection ends it for the client too; there is nobody else to tell.
            let _ = converse(hsm, stream);
        });
        // It drops its stream: the client sees a closed connection.
        if let Err(refused) = started {
            tracing::warn!(%refused, "a connection to the HSM is closed at once");
        }
    }
}

/// Gives a connection's place back, also when its thread panics or never starts.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One connection.
fn converse(mut hsm: SoftHsm, mut stream: UnixStream) -> std::io::Result<()> {
    wire::greet(&mut stream, hsm.realm())?;
    let mut frames = Frames::new(stream);
    while let Some(request) = frames.receive()? {
        let mut reply = answer(&mut hsm, request);
        let sent = wire::send(frames.stream(), &reply);
        if let Ok(Answer::Pieces(pieces)) = &mut reply {
            pieces.0.zeroize();
        }
        sent?;
    }
    Ok(())
}

/// One request. Cardholder data in it is wiped.
fn answer(hsm: &mut SoftHsm, request: Request) -> Reply {
    match request {
        Request::Info => hsm.info().map(Answer::Info),
        Request::VerifyTrailer(request) => hsm.verify_trailer(&request).map(|()| Answer::Done),
        Request::Verify(mut request) => {
            let verified = hsm.verify(&request);
            request.application.zeroize();
            verified.map(Answer::Verified)
        }
        Request::VerifyAll(mut requests) => {
            let verified = hsm.verify_all(&requests);
            requests.iter_mut().for_each(|request| request.application.zeroize());
            verified.map(Answer::AllVerified)
        }
        Request::Open(request) => hsm.open(&request).map(Answer::Opened),
        Request::Personalize(mut request) => {
            let wrapped = hsm.personalize(&request);
            wipe(&mut request.commands);
            wrapped.map(Answer::Personalized)
        }
        Request::Session(open, mut session) => match hsm.open(&open) {
            Ok(opened) => answer(hsm, Request::Personalize(session.on(opened.channel))),
            Err(error) => {
                wipe(&mut session.commands);
                Err(error)
            }
        },
        Request::Release(handles) => hsm.release(&handles).map(|()| Answer::Done),
        Request::Audit(ledger) => hsm.audit(ledger).map(Answer::Audit),
        Request::Checkpoint(place) => hsm.checkpoint(place).map(Answer::Checkpoint),
        Request::Admit(file) => hsm.admit(&file).map(|()| Answer::Done),
        Request::Sign(kind, ledger, digest) => hsm.sign(kind, ledger, digest).map(Answer::Signed),
        Request::NewSpool(ledger) => hsm.new_spool(ledger).map(Answer::Spool),
        Request::Seal(spool, first, mut clear) => {
            let sealed = hsm.seal(spool, first, &clear.0);
            clear.0.zeroize();
            sealed.map(|sealed| Answer::Pieces(Octets(sealed)))
        }
        Request::Unseal(spool, first, sealed) => {
            hsm.unseal(spool, first, &sealed.0).map(|clear| Answer::Pieces(Octets(clear)))
        }
        Request::DestroySpool(spool) => hsm.destroy_spool(spool).map(|()| Answer::Done),
        Request::KeepSpools(ledger, spools) => hsm.keep_spools(ledger, &spools).map(|()| Answer::Done),
    }
}

/// Clear values are cardholder data.
fn wipe(commands: &mut [PlainCommand]) {
    for part in commands.iter_mut().flat_map(|c| &mut c.data) {
        if let DataPart::Clear(bytes) = part {
            bytes.zeroize();
        }
    }
}
