//! The key that authenticates the HSM's memory. HMAC-SHA-256, FIPS 198-1.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hardening::LockedBox;

/// Bytes of a tag: a MAC, cut.
pub const TAG: usize = 16;

/// A tag in the journal or in the list of chips.
pub type MemoryTag = [u8; TAG];

/// A key that authenticates, in locked pages. It has no `Debug`, and is wiped when it is dropped.
#[derive(Clone)]
pub struct MemoryKey(Arc<LockedBox<[u8; 32]>>);

impl MemoryKey {
    /// The key of these bytes.
    pub fn of(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(LockedBox::copy_of(bytes)))
    }

    /// A key for one use, made of this one.
    pub(super) fn derived(&self, parts: &[&[u8]]) -> Self {
        Self::of(&Zeroizing::new(self.mac(parts)))
    }

    /// HMAC over the parts.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        // HMAC fills a key with zeros to one block of the hash, and a whole block cannot be refused.
        let mut block = Zeroizing::new([0; 64]);
        block.iter_mut().zip(self.0.iter()).for_each(|(to, from)| *to = *from);
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    /// The first bytes of the MAC.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> MemoryTag {
        let mut tag = [0; TAG];
        tag.iter_mut().zip(self.mac(parts)).for_each(|(to, from)| *to = from);
        tag
    }
}

/// Whether two MACs, or parts of them, are equal; in constant time.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
