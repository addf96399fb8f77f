//! Finds a card_ref that stands twice among millions, at a cost of 24 bytes each.
//!
//! An entry is a 96-bit keyed hash of the name (SipHash of the name and of the name with a zero byte, under a
//! key drawn for this reader) above the 32-bit sequence, so that sorting brings equal names together with the
//! records that hold them. Two different names have equal hashes with odds of n² / 2^97: 6 in 10^18 for a
//! million records, and an attacker without the key cannot aim for it. The odds of a memory fault are far
//! higher, so a hit is believed without reading the file again.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The names of a file so far.
pub(super) struct UniqueNames {
    key: RandomState,
    seen: Vec<u128>,
    /// Offset of each record in the file, by sequence from 1.
    offsets: Vec<u64>,
}

/// A record whose name an earlier record has too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RepeatedName {
    pub first: u32,
    pub second: u32,
    /// Offset of the second record in the file.
    pub offset: u64,
}

impl UniqueNames {
    pub fn new() -> Self {
        Self { key: RandomState::new(), seen: Vec::new(), offsets: Vec::new() }
    }

    /// Notes the name and offset of the next record.
    pub fn add(&mut self, name: &[u8], sequence: u32, offset: u64) {
        let mut hasher = self.key.build_hasher();
        hasher.write(name);
        let high = hasher.finish();
        hasher.write_u8(0);
        let hash = u128::from(high) << 64 | u128::from(hasher.finish());
        self.seen.push(hash >> 32 << 32 | u128::from(sequence));
        self.offsets.push(offset);
    }

    /// Returns the first record whose name an earlier one has too. Call it once, at the end of the file.
    pub fn repeated(&mut self) -> Option<RepeatedName> {
        self.seen.sort_unstable();
        let sequence = |entry: u128| u32::try_from(entry & u128::from(u32::MAX)).ok();
        let pairs = self.seen.windows(2).filter_map(|pair| match *pair {
            [a, b] if a >> 32 == b >> 32 => Some((sequence(a)?, sequence(b)?)),
            _ => None,
        });
        let (first, second) = pairs.min_by_key(|(_, second)| *second)?;
        let place = usize::try_from(second).ok()?.checked_sub(1)?;
        Some(RepeatedName { first, second, offset: self.offsets.get(place).copied().unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_repeated_name_is_found_with_both_places() {
        let mut unique = UniqueNames::new();
        for sequence in 1..=100_000u32 {
            unique.add(format!("CARD-{sequence}").as_bytes(), sequence, 100 + u64::from(sequence));
        }
        assert_eq!(unique.repeated(), None);
        unique.add(b"CARD-77000", 100_001, 200_001);
        unique.add(b"CARD-5", 100_002, 200_002);
        let found = RepeatedName { first: 77_000, second: 100_001, offset: 200_001 };
        assert_eq!(unique.repeated(), Some(found));
    }
}
