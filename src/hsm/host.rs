//! The HSM host: one Unix socket in front of any [`HostedHsm`], in a process of its own.
//!
//! Only its own user reaches it: the socket's folder is 0700, the socket 0600, and the kernel says who the peer is. Not
//! here: which HSM it is and putting it together (`bureau::line`), starting the process (`client`).

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::operations::{HsmRequest, answer_request};
use super::wire::{self, WireFrames};
use super::{HostedHsm, HsmConnection, Realm};
use crate::exit::{Exit, Failure};
use crate::threads;

/// Connections at a time: a line has tens of threads that talk to the HSM.
const MAX_CONNECTIONS: usize = 256;

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
pub fn serve(hsm: &impl HostedHsm, listener: &UnixListener) {
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
        let slot = ConnectionSlot(Arc::clone(&open));
        let (realm, connection) = (hsm.realm(), hsm.connect());
        let started = threads::start("hsm-connection", move || {
            let _slot = slot;
            // The client sees the end of the connection too, and nothing else depends on it.
            let _ = converse(connection, realm, stream);
        });
        // The closure was dropped with its stream, so the client sees a closed connection.
        if let Err(refused) = started {
            tracing::warn!(%refused, "a connection to the HSM is closed at once");
        }
    }
}

/// Gives a connection's place back, also when its thread panics or never starts.
struct ConnectionSlot(Arc<AtomicUsize>);

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers the requests of one connection. Cardholder data in them is wiped as each is dropped.
fn converse(mut hsm: impl HsmConnection, realm: Realm, mut stream: UnixStream) -> std::io::Result<()> {
    wire::greet(&mut stream, realm)?;
    let mut frames = WireFrames::new(stream);
    while let Some(request) = frames.receive()? {
        if matches!(request, HsmRequest::check(_)) {
            // This connection checks a file for acceptance. Cards that are being made come first.
            threads::give_way();
        }
        wire::send(frames.stream(), &answer_request(&mut hsm, request))?;
    }
    Ok(())
}
