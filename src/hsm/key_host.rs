//! An HSM host that runs for as long as a command needs it, and the folder of its socket.
//!
//! Not here: the host itself (`host`), the HSM of a line that is open (`bureau::opening`).

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg, OFlag};
use tempfile::TempDir;

pub use super::CallerRole;
use super::client::{HostProcess, HsmClient};
use super::{AuditInfo, Auditor, HsmDoor, HsmError};
use crate::audit::LedgerId;
use crate::exit::{Exit, Failure};

/// The names of the directories for sockets begin like this.
const DIRECTORY: &str = "cardwright-run-";

/// Makes a directory for sockets that only this user can enter. It is removed with its value; one whose program was
/// killed is removed here.
pub fn socket_directory() -> Result<TempDir, Failure> {
    let failed = |e| Failure::new(Exit::Io, format!("no directory for sockets: {e}"));
    remove_left();
    loop {
        let directory = tempfile::Builder::new()
            .prefix(DIRECTORY)
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(failed)?;
        // Another program that starts now may take the new directory for one that was left, and remove it.
        if let Some(lock) = locked(directory.path())
            && directory.path().is_dir()
        {
            // It is held until this process ends, however that happens.
            std::mem::forget(lock);
            return Ok(directory);
        }
    }
}

/// Locks a directory, unless the program that made it has it locked.
fn locked(directory: &Path) -> Option<Flock<File>> {
    let options = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let file = File::options().read(true).custom_flags(options.bits()).open(directory).ok()?;
    let ours = file.metadata().is_ok_and(|meta| meta.uid() == nix::unistd::geteuid().as_raw());
    if !ours {
        return None;
    }
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
}

/// Removes the directories of programs of this user that were killed. One that stays does no harm.
fn remove_left() {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(DIRECTORY)) {
        let path = entry.path();
        if let Some(_lock) = locked(&path)
            && let Err(error) = std::fs::remove_dir_all(&path)
        {
            tracing::debug!(%error, "the directory of a program that was killed stays");
        }
    }
}

/// Opens one more connection to the HSM.
pub type Connect<'a> = &'a dyn Fn() -> Result<HsmClient, Failure>;

/// An HSM host that runs for as long as a command needs it. Fields are dropped in order.
pub struct KeyHost {
    /// A connection to the host.
    pub hsm: HsmClient,
    door: HsmDoor,
    role: CallerRole,
    _host: HostProcess,
    _directory: TempDir,
}

impl KeyHost {
    /// Starts a host for a key store. The command does what this role may.
    pub fn open(store: &Path, role: CallerRole) -> Result<Self, Failure> {
        let directory = socket_directory()?;
        let (program, socket) = (own_program()?, directory.path().join("hsm.sock"));
        let host = match role {
            CallerRole::Check => HostProcess::start_for_checks(&program, store, &socket)?,
            _ => HostProcess::start(&program, store, &socket)?,
        };
        let (door, hsm) = (host.door().clone(), HsmClient::connect(host.door(), role)?);
        Ok(Self { hsm, door, role, _host: host, _directory: directory })
    }

    /// The HSM's notes about a ledger.
    pub fn known(&mut self, ledger: LedgerId) -> Result<AuditInfo, HsmError> {
        self.hsm.audit(ledger)
    }

    /// Opens a connection for a ledger's signatures, which is made again after a fault.
    pub fn auditor(&self) -> Result<HsmClient, Failure> {
        Ok(HsmClient::connect_again(&self.door, self.role)?)
    }

    /// Opens one more connection to the host.
    pub fn connect(&self) -> Result<HsmClient, Failure> {
        Ok(HsmClient::connect(&self.door, self.role)?)
    }
}

/// Path of the program that is started in another role: this program, or for the daemon the one next to it.
pub fn own_program() -> Result<std::path::PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|e| Failure::new(Exit::Io, format!("own program: {e}")))?;
    Ok(if own.ends_with("cardwrightd") { own.with_file_name("cardwright") } else { own })
}
