//! One HSM host at a time has a bureau's store open, so that its notes of ledgers, files and spools have one owner.
//!
//! An advisory lock on the file `host` in the store's folder, which notes the program whose host holds it and is never
//! removed. Programs that only read the keys do not take it, nor does a host for callers that only check, nor an issuer's
//! host: it remembers nothing of earlier files, and several preparations may run at once. Not here: who may change a store while others read it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::exit::{Exit, Failure};
use crate::files;

/// How often a host tries again to take a lock that is held, and how long it waits before each time: the host of a program
/// that was killed ends by itself, within milliseconds on a machine that is not loaded.
const LOOKS: u32 = 250;
const LOOK: Duration = Duration::from_millis(20);
/// Most bytes of the note: a number.
const NOTE_MAX: u64 = 20;

/// Held for as long as a host serves a store; the kernel frees it when the process ends.
pub struct HostLock {
    _file: Flock<File>,
}

impl HostLock {
    /// Takes the lock of the store at this path. The failure names the program that has it open.
    pub fn take(store: &Path) -> Result<Self, Failure> {
        let path = store.join("host");
        let fail = |what: String| Failure::new(Exit::Io, format!("key store {}: {what}", path.display()));
        let mut file = files::open_private(&path).map_err(|e| fail(files::trouble(&e)))?;
        for look in 0..=LOOKS {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => {
                    // For a message to people, who know the program and not its host; nothing else depends on it.
                    let note = format!("{}\n", std::os::unix::process::parent_id());
                    let noted = held.set_len(0).and_then(|()| held.write_all_at(note.as_bytes(), 0));
                    if let Err(error) = noted {
                        tracing::debug!(%error, "the note in the key store was not written");
                    }
                    return Ok(Self { _file: held });
                }
                Err((back, Errno::EWOULDBLOCK)) => file = back,
                Err((_, errno)) => return Err(fail(errno.to_string())),
            }
            if look < LOOKS {
                std::thread::sleep(LOOK);
            }
        }
        Err(in_use(store, file))
    }
}

fn in_use(store: &Path, file: File) -> Failure {
    let mut note = String::new();
    let holder = match file.take(NOTE_MAX).read_to_string(&mut note).map(|_| note.trim().parse::<u32>()) {
        Ok(Ok(program)) => format!("another program (pid {program})"),
        _ => "another program".to_owned(),
    };
    let what = format!(
        "key store {}: {holder} has it open, and a store has one HSM host at a time: ask that daemon (--socket), or try \
         again when that line or command has ended",
        store.display()
    );
    Failure::new(Exit::KeyStore, what)
}
