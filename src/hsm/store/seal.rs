//! Sealing with a key that seals many things: every writing has a key of its own.
//!
//! ```text
//! head | seed (16) | length u32 | ciphertext | tag (16)
//! ```
//!
//! AES-256-GCM under HMAC-SHA-256(key, label | seed); the nonce is zero, because a seed is drawn for each writing and its key
//! is used once. Associated data is everything before the ciphertext, so a head belongs to its content. FIPS 198-1,
//! NIST SP 800-38D.
//!
//! Not here: what is sealed (`body`, `companion`), who has the key (`header`).

use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use aes_gcm::{Aes256Gcm, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::hardening::LockedBox;

/// Bytes of a seed.
const SEED: usize = 16;
/// Bytes between head and ciphertext: the seed and the length.
const OVER: usize = SEED + 4;
/// Bytes of a tag.
const TAG: usize = 16;

/// A key that seals, in locked pages where the process has some. Shows nothing of itself.
pub(in crate::hsm) struct SealKey(LockedBox<[u8; 32]>);

impl SealKey {
    /// Bytes of a key.
    pub(super) const LENGTH: usize = 32;

    /// A key that is drawn.
    pub(super) fn draw() -> Result<Self, getrandom::Error> {
        let mut key = LockedBox::zeros();
        getrandom::fill(&mut *key)?;
        Ok(Self(key))
    }

    /// A key that was stored.
    pub(in crate::hsm) fn of(bytes: &[u8; Self::LENGTH]) -> Self {
        Self(LockedBox::copy_of(bytes))
    }

    /// The key itself, to be stored.
    pub(super) fn expose(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// HMAC-SHA-256 over the parts.
    pub(in crate::hsm) fn mac(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        // HMAC fills a key with zeros to one block of the hash, and a whole block cannot be refused.
        let mut block = Zeroizing::new([0; 64]);
        block.iter_mut().zip(self.0.iter()).for_each(|(to, from)| *to = *from);
        let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
        parts.iter().for_each(|part| mac.update(part));
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    /// Seals a content behind its head, with room for some bytes more; `None` if the system gives no random numbers, or for
    /// 4 GiB.
    pub(in crate::hsm) fn seal(
        &self,
        label: &[u8],
        head: &[u8],
        clear: &[u8],
        more: usize,
    ) -> Option<Vec<u8>> {
        let mut seed = [0; SEED];
        getrandom::fill(&mut seed).ok()?;
        let length = u32::try_from(clear.len()).ok()?.to_be_bytes();
        // The clear content never moves: it is encrypted where it is put first.
        let mut sealed = Vec::with_capacity(head.len() + OVER + clear.len() + TAG + more);
        for part in [head, &seed, &length, clear] {
            sealed.extend_from_slice(part);
        }
        let (before, content) = sealed.split_at_mut_checked(head.len() + OVER)?;
        let place = InOutBuf::from(content);
        let tag = self.cipher(label, &seed)?.encrypt_inout_detached(&[0; 12].into(), before, place).ok()?;
        sealed.extend_from_slice(&tag);
        Some(sealed)
    }

    /// Opens what was sealed under this label, whose head has `head` bytes. `None` unless every byte is authentic.
    pub(in crate::hsm) fn open(
        &self,
        label: &[u8],
        head: usize,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (before, rest) = sealed.split_at_checked(head.checked_add(OVER)?)?;
        let (seed, length) = before.get(head..)?.split_first_chunk::<SEED>()?;
        let (content, tag) = rest.split_last_chunk::<TAG>()?;
        if usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()? != content.len() {
            return None;
        }
        let mut clear = Zeroizing::new(content.to_vec());
        let place = InOutBuf::from(clear.as_mut_slice());
        let cipher = self.cipher(label, seed)?;
        cipher.decrypt_inout_detached(&[0; 12].into(), before, place, &(*tag).into()).ok()?;
        Some(clear)
    }

    fn cipher(&self, label: &[u8], seed: &[u8; SEED]) -> Option<Aes256Gcm> {
        Aes256Gcm::new_from_slice(&*self.mac(&[label, seed])).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1 to 4.
    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let key = |bytes: &[u8]| {
            // HMAC fills a short key with zeros, so a key with zeros behind it is the same key.
            let mut whole = [0; SealKey::LENGTH];
            whole[..bytes.len()].copy_from_slice(bytes);
            SealKey::of(&whole)
        };
        let counting: Vec<u8> = (1..=25).collect();
        for (key, data, mac) in [
            (
                key(&[0x0B; 20]),
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                key(b"Jefe"),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                key(&[0xAA; 20]),
                &[0xDD; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (key(&counting), &[0xCD; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        ] {
            assert_eq!(hex::encode(*key.mac(&[data])), mac);
        }
    }

    #[test]
    fn two_writes_never_share_a_key_and_every_byte_counts() {
        let key = SealKey::draw().unwrap();
        let sealed = key.seal(b"label", b"head", b"content", 0).unwrap();
        assert_ne!(sealed, key.seal(b"label", b"head", b"content", 0).unwrap());
        assert_eq!(**key.open(b"label", 4, &sealed).unwrap(), *b"content");
        assert!(key.open(b"other", 4, &sealed).is_none());
        assert!(SealKey::draw().unwrap().open(b"label", 4, &sealed).is_none());
        assert!(key.open(b"label", 4, &[&sealed[..], &[0]].concat()).is_none());
        for at in 0..sealed.len() {
            assert!(key.open(b"label", 4, &sealed[..at]).is_none(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = sealed.clone();
                bad[at] ^= 1 << bit;
                assert!(key.open(b"label", 4, &bad).is_none(), "{at}.{bit}");
            }
        }
    }
}
