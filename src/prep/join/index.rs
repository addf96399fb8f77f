//! Finds rows by card_ref: 16 bytes and one bit a row.
//!
//! The hash has a random key, so that nobody can make a file whose rows all have one hash. Two card_refs may have one hash;
//! who looks a row up compares the card_ref itself.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// Bits of an entry for the offset; the rest is the number of the source.
const OFFSET_BITS: u32 = 56;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowPlace {
    /// Number of the source, from 0.
    pub source: u8,
    /// Its place in the sealed rows.
    pub offset: u64,
}

impl RowPlace {
    /// In 64 bits, which sort as places do.
    fn packed(self) -> Option<u64> {
        (self.offset >> OFFSET_BITS == 0).then_some(u64::from(self.source) << OFFSET_BITS | self.offset)
    }

    fn unpacked(packed: u64) -> Self {
        let [source, ..] = packed.to_be_bytes();
        Self { source, offset: packed & (u64::MAX >> (u64::BITS - OFFSET_BITS)) }
    }
}

/// The rows by the hash of their card_ref.
#[derive(Default)]
pub(super) struct RowIndex {
    key: RandomState,
    /// Hash and place; in order after [`Self::sort`].
    entries: Vec<(u64, u64)>,
    /// A bit for each entry that a card has used.
    used: Vec<u64>,
}

impl RowIndex {
    /// The hash of a card_ref.
    pub fn hash(&self, card_ref: &str) -> u64 {
        self.key.hash_one(card_ref)
    }

    /// Adds a row. `None` if its offset is too large.
    pub fn add(&mut self, hash: u64, place: RowPlace) -> Option<()> {
        self.entries.push((hash, place.packed()?));
        Some(())
    }

    /// Ends adding.
    pub fn sort(&mut self) {
        self.entries.sort_unstable();
        self.used = vec![0; self.entries.len().div_ceil(64)];
    }

    /// The numbers of the entries with this hash, in the order of the sources.
    pub fn with(&self, hash: u64) -> Range<usize> {
        let from = self.entries.partition_point(|(known, _)| *known < hash);
        let more = self.entries.get(from..).unwrap_or_default();
        from..from + more.iter().take_while(|(known, _)| *known == hash).count()
    }

    /// The place of an entry.
    pub fn place(&self, number: usize) -> Option<RowPlace> {
        self.entries.get(number).map(|(_, packed)| RowPlace::unpacked(*packed))
    }

    /// Pairs of rows of one source that have one hash, each with the one before it.
    pub fn alike(&self) -> Vec<(RowPlace, RowPlace)> {
        let pairs = self.entries.windows(2).filter_map(|pair| match pair {
            [(a, first), (b, second)] if a == b => {
                Some((RowPlace::unpacked(*first), RowPlace::unpacked(*second)))
            }
            _ => None,
        });
        pairs.filter(|(first, second)| first.source == second.source).collect()
    }

    /// Removes the entries of these places.
    pub fn remove(&mut self, places: &BTreeSet<RowPlace>) {
        self.entries.retain(|(_, packed)| !places.contains(&RowPlace::unpacked(*packed)));
    }

    /// Notes that a card has used an entry.
    pub fn mark(&mut self, number: usize) {
        if let Some(word) = self.used.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether cards have used all entries.
    pub fn is_used_up(&self) -> bool {
        (0..self.entries.len()).all(|number| self.is_used(number))
    }

    /// The places that no card has used, in order. They count as used from here on.
    pub fn take_unused(&mut self) -> Vec<RowPlace> {
        let numbers = (0..self.entries.len()).filter(|number| !self.is_used(*number));
        let mut places: Vec<RowPlace> = numbers.filter_map(|number| self.place(number)).collect();
        places.sort_unstable();
        self.used.fill(u64::MAX);
        places
    }

    fn is_used(&self, number: usize) -> bool {
        self.used.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}
