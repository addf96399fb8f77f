//! The HSM host: one Unix socket in front of any [`HostedHsm`], in a process of its own.
//!
//! Only its own user reaches it: the socket's folder is 0700, the socket 0600, and the kernel says who the peer is. Of this
//! user's programs, only the one that started it gets in (`door`). A connection does what its role may; after one fault (a
//! malformed or late frame, another role's request, a panic) it gets an answer and ends, and all that the HSM holds for it
//! is wiped. Not here: which HSM it is and putting it together (`bureau::line`), starting the process (`client`).

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::caller::{CallerRole, CallerSecrets};
use super::door::{AdmittedCaller, Doorkeeper};
use super::greeting::{self, HostGreeting};
use super::operations::{HsmRequest, answer_request};
use super::wire::{self, HsmReply, WireFrames};
use super::{HostedHsm, HsmConnection, HsmError, HsmRefusal, Realm};
use crate::exit::{Exit, Failure};
use crate::hardening::wipe_stack;
use crate::panics::ends_well;
use crate::threads;

/// A frame is sent at once; a loaded machine gets this long. The same holds for reading an answer.
const FRAME_LIMIT: Duration = Duration::from_secs(10);

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
pub fn serve(hsm: &impl HostedHsm, listener: &UnixListener, secrets: &CallerSecrets) {
    let mut door = match Doorkeeper::new(listener, secrets) {
        Ok(door) => door,
        Err(error) => {
            tracing::error!(%error, "the HSM host cannot listen");
            return;
        }
    };
    loop {
        let AdmittedCaller { stream, role, place } = door.next();
        let (realm, connection) = (hsm.realm(), hsm.connect());
        let started = threads::start("hsm-connection", move || {
            let _place = place;
            if role == CallerRole::Check {
                // It checks a file for acceptance. Cards that are being made come first.
                threads::give_way();
            }
            // The client sees the end of the connection too, and nothing else depends on it.
            let _ = converse(connection, role, realm, stream);
        });
        // The closure was dropped with its stream, so the client sees a closed connection.
        if let Err(refused) = started {
            tracing::warn!(%refused, "a connection to the HSM is closed at once");
        }
    }
}

/// Answers the requests of one connection until it closes, or until its first fault. Cardholder data in requests is wiped
/// as each is dropped.
fn converse(
    mut hsm: impl HsmConnection,
    role: CallerRole,
    realm: Realm,
    mut stream: UnixStream,
) -> std::io::Result<()> {
    greeting::greet(&mut stream, HostGreeting::Welcome(realm))?;
    stream.set_write_timeout(Some(FRAME_LIMIT))?;
    let mut frames = WireFrames::limited(stream, role.longest_frame(), FRAME_LIMIT);
    loop {
        let (reply, goes_on) = match frames.receive() {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => answered(&mut hsm, role, request),
            Err(error) => (Err(frame_fault(error)?.into()), false),
        };
        if !goes_on {
            tracing::warn!(?role, "a connection to the HSM is closed after a fault of it");
            // Wiped before the client learns of it.
            drop(hsm);
            return wire::send(frames.stream(), &reply);
        }
        wire::send(frames.stream(), &reply)?;
    }
}

/// The answer to a request, and whether the connection goes on after it.
fn answered(hsm: &mut impl HsmConnection, role: CallerRole, request: HsmRequest) -> (HsmReply, bool) {
    if !request.callers().contains(&role) {
        return (Err(HsmRefusal::Role.into()), false);
    }
    let mut reply = None;
    ends_well(|| reply = Some(answer_request(hsm, request)));
    // A cipher leaves copies of its key there. The connection may live as long as the host.
    wipe_stack();
    match reply {
        Some(reply) => (reply, true),
        None => (Err(HsmError::Host("it failed at this request, which is a bug: report it".into())), false),
    }
}

/// The refusal of a frame that could not be read; an error if the connection itself is gone.
fn frame_fault(error: std::io::Error) -> std::io::Result<HsmRefusal> {
    match error.kind() {
        ErrorKind::InvalidData => Ok(HsmRefusal::Frame(error.to_string())),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Ok(HsmRefusal::Frame(format!(
            "a message did not arrive whole within {} s",
            FRAME_LIMIT.as_secs()
        ))),
        _ => Err(error),
    }
}
