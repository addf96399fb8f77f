//! Checkpoints: signed places of a ledger's chain. Each holds the hash of the one before, so that one that is left out shows.
//!
//! ```text
//! "CWAC2" | ledger (16) | epoch u32 | n u64 | hash (32) | generation u64 | time u64 | before (32)
//! "CWAC1" | ledger (16) | n u64 | hash (32) | generation u64                            of earlier versions
//! ```
//!
//! `time` is the HSM's own (Unix in ms), `before` the SHA-256 of the signed message of the checkpoint before of this ledger, zeros if
//! the store remembers none.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AuditKey, ChainPlace, PublicKey, Signature, verified};

/// A signed position. With it, an auditor can check that a ledger still holds every event up to that
/// position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The position that was signed.
    pub place: ChainPlace,
    /// Generation of the HSM's store when it signed; it rises with every signature.
    pub generation: u64,
    /// How it follows the checkpoint before; `None` in the first form.
    pub link: Option<CheckpointLink>,
    /// Public half of the key that signed.
    pub key: PublicKey,
    /// Signature over all of it.
    pub signature: Signature,
}

/// How a checkpoint follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointLink {
    /// Epoch of the HSM's store for this ledger.
    pub epoch: u32,
    /// The HSM's time, Unix in ms.
    pub time: u64,
    /// [`Checkpoint::digest`] of the one before; zeros if the store remembers none.
    pub before: [u8; 32],
}

/// A checkpoint of the first form, as earlier versions stored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstCheckpoint {
    place: ChainPlace,
    generation: u64,
    key: PublicKey,
    signature: Signature,
}

impl From<FirstCheckpoint> for Checkpoint {
    fn from(first: FirstCheckpoint) -> Self {
        let FirstCheckpoint { place, generation, key, signature } = first;
        Self { place, generation, link: None, key, signature }
    }
}

fn message(place: &ChainPlace, generation: u64, link: Option<&CheckpointLink>) -> Vec<u8> {
    let ChainPlace { ledger, n, hash } = place;
    let (n, generation) = (n.to_be_bytes(), generation.to_be_bytes());
    match link {
        None => [&b"CWAC1"[..], &ledger.0, &n, hash, &generation].concat(),
        Some(CheckpointLink { epoch, time, before }) => {
            let (epoch, time) = (epoch.to_be_bytes(), time.to_be_bytes());
            [&b"CWAC2"[..], &ledger.0, &epoch, &n, hash, &generation, &time, before].concat()
        }
    }
}

impl Checkpoint {
    /// Whether [`Self::key`] made the signature. The caller must know from elsewhere whose key that is.
    pub fn is_genuine(&self) -> bool {
        verified(self.key, &message(&self.place, self.generation, self.link.as_ref()), self.signature)
    }

    /// SHA-256 of what was signed.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(message(&self.place, self.generation, self.link.as_ref())).into()
    }

    /// Why this cannot be the checkpoint that a store signed after `before`; `None` if it can. Checkpoints of the first form are not
    /// linked, and a store that earlier versions made may not remember the last of them.
    pub fn breach(&self, before: Option<&Self>) -> Option<&'static str> {
        if before.is_some_and(|before| before.key != self.key) {
            return Some("another audit key signed it than the one before");
        }
        if before.is_some_and(|before| before.generation >= self.generation) {
            return Some("its generation is not above that of the one before");
        }
        let Some(link) = &self.link else {
            let linked = before.is_some_and(|before| before.link.is_some());
            return linked.then_some("it is of an earlier version than the one before");
        };
        let last = before.and_then(|before| before.link);
        let fresh = last.is_none() && link.before == [0; 32];
        if !fresh && before.map(Self::digest) != Some(link.before) {
            return Some("it does not follow the one before it: a checkpoint was left out or replaced");
        }
        let earlier = last.is_some_and(|last| last.time > link.time || last.epoch > link.epoch);
        earlier.then_some("its time or epoch is before that of the one before")
    }
}

impl AuditKey {
    /// Signs a position in a chain; in the first form without a link.
    pub fn checkpoint(&self, place: ChainPlace, generation: u64, link: Option<CheckpointLink>) -> Checkpoint {
        let signature = self.sign(&message(&place, generation, link.as_ref()));
        Checkpoint { place, generation, link, key: self.public(), signature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::LedgerId;

    const PLACE: ChainPlace = ChainPlace { ledger: LedgerId([1; 16]), n: 7, hash: [2; 32] };

    fn key() -> AuditKey {
        AuditKey::from_seed(&[3; 32])
    }

    #[test]
    fn nothing_of_a_checkpoint_can_be_changed() {
        let link = CheckpointLink { epoch: 1, time: 5, before: [6; 32] };
        for link in [None, Some(link)] {
            let good = key().checkpoint(PLACE, 9, link);
            assert!(good.is_genuine());
            let mut signature = good.signature;
            signature.0[1][0] ^= 1;
            let other = AuditKey::from_seed(&[4; 32]).public();
            let mut bad = vec![
                Checkpoint { place: ChainPlace { n: 8, ..PLACE }, ..good },
                Checkpoint { place: ChainPlace { hash: [0; 32], ..PLACE }, ..good },
                Checkpoint { place: ChainPlace { ledger: LedgerId([0; 16]), ..PLACE }, ..good },
                Checkpoint { generation: 10, ..good },
                Checkpoint { key: other, ..good },
                Checkpoint { signature, ..good },
            ];
            if let Some(link) = link {
                let links = [
                    None,
                    Some(CheckpointLink { epoch: 2, ..link }),
                    Some(CheckpointLink { time: 6, ..link }),
                    Some(CheckpointLink { before: [7; 32], ..link }),
                ];
                bad.extend(links.map(|link| Checkpoint { link, ..good }));
            }
            assert!(bad.iter().all(|bad| !bad.is_genuine()), "{bad:?}");
        }
    }

    #[test]
    fn a_checkpoint_follows_the_one_before_it_and_no_other() {
        let (first, link) =
            (key().checkpoint(PLACE, 1, None), CheckpointLink { epoch: 1, time: 5, before: [0; 32] });
        let next = |before: &Checkpoint, generation, time| {
            let link = CheckpointLink { time, before: before.digest(), ..link };
            key().checkpoint(PLACE, generation, Some(link))
        };
        let fresh = key().checkpoint(PLACE, 2, Some(link));
        let second = next(&first, 2, 5);
        let third = next(&second, 3, 5);
        // A store that an earlier version made may not remember its last checkpoint.
        for (before, after) in
            [(None, first), (None, fresh), (Some(first), fresh), (Some(first), second), (Some(second), third)]
        {
            assert_eq!(after.breach(before.as_ref()), None);
        }
        let fourth = next(&third, 4, 6);
        let wrong = [
            (Some(second), fourth),
            (None, second),
            (Some(second), fresh),
            (Some(second), key().checkpoint(PLACE, 3, Some(link))),
            (Some(second), key().checkpoint(PLACE, 3, None)),
            (Some(second), next(&second, 3, 4)),
            (Some(second), AuditKey::from_seed(&[4; 32]).checkpoint(PLACE, 3, third.link)),
            (Some(third), third),
        ];
        for (before, after) in wrong {
            assert!(after.breach(before.as_ref()).is_some(), "{before:?} {after:?}");
        }
    }
}
