//! Who calls the HSM host: the part of a program that a connection serves, and the secret by which the host knows it.
//!
//! The program that starts a host draws a secret for each role and gives them to it on its standard input, a socket that no
//! other process can open. (Until the host has closed its memory, in its first moments, its user's debugger could read them:
//! with TEST keys that user can read the store anyway.) A connection shows one of them first, and then may do what its role needs:
//! each operation lists its callers (`operations`).
//!
//! Not here: how a secret is shown (`greeting`), the host's door (`door`), a service that no program starts.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::HsmError;

/// Bytes of a role's secret.
pub(super) const SECRET: usize = 32;
/// Most bytes of a frame to the host: some hundred applications of a check, or the pieces of a spool.
const LONG_FRAME: usize = 1 << 20;
/// Most bytes of a frame with a session. An application has at most 65,535 bytes, and the shortest DGI, of 3 bytes, takes 9
/// as a command of its own.
const SESSION_FRAME: usize = 1 << 18;

/// The part of a program that a connection serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerRole {
    /// A ledger and what is about it: signatures, papers, spools that are written, deletion.
    Ledger,
    /// The source of a line: it has records verified, and reads spools.
    Source,
    /// A station with a chip.
    Station,
    /// A file from which no card is made yet, and questions about keys.
    Check,
    /// The issuer's preparation.
    Issuer,
}

/// Number of roles.
const ROLES: usize = 5;

impl CallerRole {
    /// Every role.
    pub const ALL: [Self; ROLES] = [Self::Ledger, Self::Source, Self::Station, Self::Check, Self::Issuer];

    /// Its number on the wire.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Ledger => 1,
            Self::Source => 2,
            Self::Station => 3,
            Self::Check => 4,
            Self::Issuer => 5,
        }
    }

    /// The part of this role, of parts in the order of [`Self::ALL`].
    pub(super) fn of<T>(self, all: &[T; ROLES]) -> &T {
        let [ledger, source, station, check, issuer] = all;
        match self {
            Self::Ledger => ledger,
            Self::Source => source,
            Self::Station => station,
            Self::Check => check,
            Self::Issuer => issuer,
        }
    }

    /// Most connections of this role at a time. Those of one role never take the places of another.
    pub(super) fn most_connections(self) -> usize {
        match self {
            // Each person who asks a daemon for papers has a few.
            Self::Ledger => 64,
            Self::Source => 32,
            Self::Station => 128,
            // A file is checked by many threads, and the preparation makes records by many.
            Self::Check | Self::Issuer => 128,
        }
    }

    /// Most bytes of a frame from this role.
    pub(super) fn longest_frame(self) -> usize {
        match self {
            Self::Station => SESSION_FRAME,
            Self::Ledger | Self::Source | Self::Check | Self::Issuer => LONG_FRAME,
        }
    }
}

/// A secret for each role. Shows nothing of itself.
#[derive(Default)]
pub struct CallerSecrets(Zeroizing<[[u8; SECRET]; ROLES]>);

impl CallerSecrets {
    /// Draws new secrets.
    pub fn draw() -> Result<Self, HsmError> {
        let mut secrets = Self::default();
        fill(secrets.0.as_flattened_mut())?;
        Ok(secrets)
    }

    /// Gives them to a host.
    pub fn give(&self, host: &mut impl Write) -> std::io::Result<()> {
        host.write_all(self.0.as_flattened())?;
        host.flush()
    }

    /// Takes them from the program that started this host.
    pub fn take(parent: &mut impl Read) -> std::io::Result<Self> {
        let mut secrets = Self::default();
        parent.read_exact(secrets.0.as_flattened_mut())?;
        Ok(secrets)
    }

    /// Keeps the secret of one role. Nobody knows those of the others then, so nobody gets in with them.
    pub fn only(mut self, role: CallerRole) -> Result<Self, HsmError> {
        for (secret, of) in self.0.iter_mut().zip(CallerRole::ALL) {
            if of != role {
                fill(secret)?;
            }
        }
        Ok(self)
    }

    /// The secret of a role.
    pub(super) fn of(&self, role: CallerRole) -> &[u8; SECRET] {
        role.of(&self.0)
    }

    /// Whether this is the secret of the role. The time it takes does not depend on the answer.
    pub(super) fn is_right(&self, role: CallerRole, shown: &[u8; SECRET]) -> bool {
        self.of(role).ct_eq(shown).into()
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), HsmError> {
    getrandom::fill(bytes).map_err(|_| HsmError::Host("the system gives no random numbers".into()))
}

/// Where a host listens, and what its callers show it.
#[derive(Clone)]
pub struct HsmDoor {
    socket: PathBuf,
    /// The process that listens there. A secret is shown to no other: one of the same user could have put its own socket
    /// in the place of the host's.
    host: u32,
    secrets: Arc<CallerSecrets>,
}

impl HsmDoor {
    /// The door of a host, which is this process.
    pub fn new(socket: &Path, host: u32, secrets: Arc<CallerSecrets>) -> Self {
        Self { socket: socket.to_owned(), host, secrets }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn host(&self) -> u32 {
        self.host
    }

    pub(super) fn secret(&self, role: CallerRole) -> &[u8; SECRET] {
        self.secrets.of(role)
    }
}

impl fmt::Debug for HsmDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HsmDoor({})", self.socket.display())
    }
}
