//! An HSM host that runs for as long as a command needs it, and the folder of its socket.
//!
//! Not here: the host itself (`hsm::host`), the HSM of a line that is open (`opening`).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::audit::LedgerId;
use crate::exit::{Exit, Failure};
use crate::hsm::client::{HostProcess, HsmClient};
use crate::hsm::{AuditInfo, Auditor};

/// Makes a directory for sockets that only this user can enter. It is removed with its value.
pub fn socket_directory() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("cardwright-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|e| Failure::new(Exit::Io, format!("no directory for sockets: {e}")))
}

/// Opens one more connection to the HSM.
pub type Connect<'a> = &'a dyn Fn() -> Result<HsmClient, Failure>;

/// An HSM host that runs for as long as a command needs it. Fields are dropped in order.
pub struct KeyHost {
    /// A connection to the host.
    pub hsm: HsmClient,
    socket: std::path::PathBuf,
    _host: HostProcess,
    _directory: tempfile::TempDir,
}

impl KeyHost {
    /// Starts a host for a key store.
    pub fn open(store: &Path) -> Result<Self, Failure> {
        let directory = socket_directory()?;
        let socket = directory.path().join("hsm.sock");
        let host = HostProcess::start(&own_program()?, store, &socket)?;
        Ok(Self { hsm: HsmClient::connect(&socket)?, socket, _host: host, _directory: directory })
    }

    /// The HSM's notes about a ledger.
    pub fn known(&mut self, ledger: LedgerId) -> Result<AuditInfo, Failure> {
        Ok(self.hsm.audit(ledger)?)
    }

    /// Opens a connection for a ledger's signatures, which is made again after a fault.
    pub fn auditor(&self) -> Result<HsmClient, Failure> {
        Ok(HsmClient::connect_again(&self.socket)?)
    }

    /// Opens one more connection to the host.
    pub fn connect(&self) -> Result<HsmClient, Failure> {
        Ok(HsmClient::connect(&self.socket)?)
    }
}

/// Path of the program `cardwright`, to start it in another role: this program, or the one next to the
/// daemon.
pub fn own_program() -> Result<std::path::PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|e| Failure::new(Exit::Io, format!("own program: {e}")))?;
    Ok(if own.ends_with("cardwrightd") { own.with_file_name("cardwright") } else { own })
}
