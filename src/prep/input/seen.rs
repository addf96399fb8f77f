//! A set of digests that stays small with millions of them: lists in order, by the first bits of a digest.
//!
//! A hash table doubles as it fills, and holds both tables meanwhile: almost 60 bytes for each digest. Not here: what is
//! digested (`check`).

/// Bits of a digest that choose its list: with a million cards a list has about 30 entries, which lie in few lines of the
/// processor's cache.
const BITS: u32 = 16;

/// The digests so far.
pub(super) struct SeenDigests(Vec<Vec<[u8; 16]>>);

impl SeenDigests {
    /// An empty set.
    pub fn new() -> Self {
        Self(vec![Vec::new(); 1 << BITS])
    }

    /// Adds a digest. Returns whether it was not there.
    pub fn insert(&mut self, digest: [u8; 16]) -> bool {
        let [a, b, ..] = digest;
        let number = usize::from(u16::from_be_bytes([a, b]) >> (u16::BITS - BITS));
        let Some(list) = self.0.get_mut(number) else { return false };
        let Err(place) = list.binary_search(&digest) else { return false };
        if list.len() == list.capacity() {
            list.reserve_exact(list.len() / 8 + 4);
        }
        list.insert(place, digest);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn each_digest_is_new_once() {
        let (mut seen, mut model) = (SeenDigests::new(), HashSet::new());
        for number in 0..30_000u32 {
            // Every third one comes again.
            let digest: [u8; 32] = Sha256::digest((number - number / 3).to_be_bytes()).into();
            let mut digest = *digest.first_chunk().unwrap();
            if number % 7 == 0 {
                // Many in one list.
                digest[0] = 0;
                digest[1] = 0;
            }
            assert_eq!(seen.insert(digest), model.insert(digest), "{number}");
        }
        assert!(model.len() > 20_000 && model.len() < 30_000);
    }
}
