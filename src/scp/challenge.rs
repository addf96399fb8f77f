//! The host challenge of INITIALIZE UPDATE (RTERM). It is public once sent; it must be new for each card.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A challenge that the HSM drew for one channel. Its length is the channel's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostChallenge(Vec<u8>);

impl HostChallenge {
    /// From random bytes of the HSM, or from a test vector.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, in the order of the data field of INITIALIZE UPDATE.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for HostChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostChallenge({})", hex::encode_upper(&self.0))
    }
}
