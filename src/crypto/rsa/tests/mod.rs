//! RSA against keys and certificates of another program, wrong keys, and generated keys.

mod generation;
mod known;
mod vectors;
mod wrong;

use sha2::{Digest, Sha256};

use super::{PublicExponent, RsaError, RsaKeyPair};
pub(super) use vectors::{CA, ISSUER};
use vectors::{CARDS, KnownCard, KnownKey};

/// Bytes that look random and are equal in every run.
pub(super) struct SeededRandom {
    seed: Vec<u8>,
    counter: u64,
}

impl SeededRandom {
    pub(super) fn new(seed: &[u8]) -> Self {
        Self { seed: seed.to_vec(), counter: 0 }
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block =
                Sha256::new().chain_update(&self.seed).chain_update(self.counter.to_be_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.counter += 1;
        }
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }

    /// The bytes as a generator takes them.
    pub(super) fn source(&mut self) -> impl FnMut(&mut [u8]) -> Result<(), RsaError> {
        |bytes| {
            self.fill(bytes);
            Ok(())
        }
    }
}

fn bytes(hex_digits: &str) -> Vec<u8> {
    hex::decode(hex_digits).unwrap()
}

/// The key pair of the primes of a known key, with exponent 3.
pub(super) fn known_pair(key: &KnownKey) -> RsaKeyPair {
    RsaKeyPair::from_primes(PublicExponent::Three, &bytes(key.p), &bytes(key.q)).unwrap()
}
