//! Which token a host uses, and what its module needs of the system.

use std::ffi::OsString;
use std::path::PathBuf;

use super::token::TokenChoice;
use crate::hardening::SandboxNeeds;

/// The token of a line, as its profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSetup {
    /// The PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// Which of its tokens.
    pub choice: TokenChoice,
    /// Whether steps may be done on the host.
    pub host_crypto: bool,
    /// What the module needs of the system once it is started.
    pub needs: SandboxNeeds,
}

impl TokenSetup {
    /// The arguments of a host.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--module".into(), self.module.clone().into()];
        match &self.choice {
            TokenChoice::Only => {}
            TokenChoice::Label(label) => arguments.extend(["--token".into(), label.into()]),
            TokenChoice::Slot(slot) => arguments.extend(["--slot".into(), slot.to_string().into()]),
        }
        if self.host_crypto {
            arguments.push("--host-crypto".into());
        }
        for path in &self.needs.paths {
            arguments.extend(["--needs".into(), path.clone().into()]);
        }
        if self.needs.sockets {
            arguments.push("--needs-sockets".into());
        }
        arguments
    }
}
