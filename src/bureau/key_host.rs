//! An HSM host for as long as a command needs it, and the folder of its socket.
//!
//! Not here: the host itself (`hsm::host`), the HSM of a line that is open (`opening`).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::audit::LedgerId;
use crate::exit::{Exit, Failure};
use crate::hsm::client::{HostProcess, HsmClient};
use crate::hsm::{AuditInfo, Auditor};

/// A directory for sockets that nobody else can enter; gone with its value.
pub fn socket_directory() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("cardwright-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|e| Failure::new(Exit::Io, format!("no directory for sockets: {e}")))
}

/// Gives one more connection to the HSM.
pub type Connect<'a> = &'a dyn Fn() -> Result<HsmClient, Failure>;

/// An HSM host for as long as a command needs it. Fields are dropped in order.
pub struct KeyHost {
    /// A connection to it.
    pub hsm: HsmClient,
    socket: std::path::PathBuf,
    _host: HostProcess,
    _directory: tempfile::TempDir,
}

impl KeyHost {
    /// Starts it on a store.
    pub fn open(store: &Path) -> Result<Self, Failure> {
        let directory = socket_directory()?;
        let socket = directory.path().join("hsm.sock");
        let host = HostProcess::start(&own_program()?, store, &socket)?;
        Ok(Self { hsm: HsmClient::connect(&socket)?, socket, _host: host, _directory: directory })
    }

    /// What the HSM has noted of a ledger.
    pub fn known(&mut self, ledger: LedgerId) -> Result<AuditInfo, Failure> {
        Ok(self.hsm.audit(ledger)?)
    }

    /// Gives one more connection.
    pub fn connect(&self) -> Result<HsmClient, Failure> {
        Ok(HsmClient::connect(&self.socket)?)
    }
}

/// The program `cardwright`, to start it in another role: this one, or the one beside the daemon's.
pub fn own_program() -> Result<std::path::PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|e| Failure::new(Exit::Io, format!("own program: {e}")))?;
    Ok(if own.ends_with("cardwrightd") { own.with_file_name("cardwright") } else { own })
}

/// No connection, for a command without a key store.
pub fn keyless() -> Result<HsmClient, Failure> {
    Err(Failure::new(Exit::Usage, "operator: name the key store by --keys or CARDWRIGHT_KEYS"))
}
