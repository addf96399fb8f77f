//! The keys of a line: its store, and the token in which some may lie.
//!
//! Not here: the host process itself (`hsm::client`), what it does (`line::hsm_host`).

use std::path::Path;

use zeroize::Zeroizing;

use super::line::hsm_host::{TokenChoice, TokenPin, TokenSetup};
use crate::exit::{Exit, Failure};
use crate::hardening::SandboxNeeds;
use crate::hsm::client::{HostProcess, HsmClient};
use crate::hsm::key_host::own_program;
use crate::hsm::{CallerRole, Hsm, HsmDoor, HsmError, TokenPart};
use crate::modules::LineProfile;
use crate::profile::line::{HostCrypto, TokenTable};

/// A key store, and who gives the PIN of a line's token.
#[derive(Clone, Copy)]
pub struct KeyAccess<'a> {
    /// The bureau's key store.
    pub store: &'a Path,
    /// Asks for the PIN: only if the line has a token.
    pub pin: &'a dyn Fn() -> Result<Zeroizing<String>, Failure>,
}

impl KeyAccess<'_> {
    /// Starts the HSM host of a line.
    pub(super) fn start(&self, line: &LineProfile, socket: &Path) -> Result<HostProcess, Failure> {
        let program = own_program()?;
        let Some(table) = &line.hsm else { return HostProcess::start(&program, self.store, socket) };
        let wrong = || Failure::new(Exit::Io, "operator: the PIN of a line's token has at most 64 bytes");
        let pin = TokenPin::new(&(self.pin)()?).ok_or_else(wrong)?;
        HostProcess::start_with_token(&program, self.store, socket, &setup(table), &pin)
    }
}

fn setup(table: &TokenTable) -> TokenSetup {
    TokenSetup {
        module: table.module.clone(),
        choice: TokenChoice::of(table.token.clone(), table.slot),
        host_crypto: table.host_crypto == HostCrypto::Allowed,
        needs: SandboxNeeds { paths: table.needs.clone(), sockets: table.sockets },
    }
}

/// Logs and returns which steps a line's token does inside, and which steps the memory of the host sees. A line that names no
/// token, and has a store with keys in one, is refused before it takes a blank.
pub(super) fn token(door: &HsmDoor) -> Result<Option<TokenPart>, Failure> {
    let info = HsmClient::connect(door, CallerRole::Ledger)?.info()?;
    if let Some(label) = info.out_of_reach {
        return Err(HsmError::KeyInToken(label).into());
    }
    info.token.iter().for_each(report);
    Ok(info.token)
}

fn report(part: &TokenPart) {
    if part.on_host.is_empty() {
        tracing::info!("token {part}");
    } else {
        tracing::warn!("token {part}, so keys of cards or clear secrets come into the memory of the host");
    }
}
