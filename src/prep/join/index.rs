//! Finds the cards of the first source by card_ref: 16 bytes a card.
//!
//! The hash has a random key, so that nobody can make a file whose cards all have one hash. Two card_refs of a run may have
//! one hash, once in millions of large runs; so the join compares the card_ref itself.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

/// Cards that share a first entry in the table, on average.
const CARDS_OF_START: usize = 8;

/// The numbers of the cards, in the order of the first source, by the hash of their card_ref.
#[derive(Default)]
pub(super) struct CardIndex {
    key: RandomState,
    /// Hash and number; in order after [`Self::sort`].
    entries: Vec<(u64, u32)>,
    /// The first entry of each range of hashes, all ranges being of one length.
    starts: Vec<u32>,
    /// Cards whose name an earlier card has, which a first source without faults does not hold, with that card.
    repeated: BTreeMap<u32, u32>,
}

impl CardIndex {
    /// Adds a card.
    pub fn add(&mut self, card_ref: &str, number: u32) {
        self.entries.push((self.key.hash_one(card_ref), number));
    }

    /// Ends adding.
    pub fn sort(&mut self) {
        self.entries.sort_unstable();
        for same in self.entries.chunk_by(|(a, _), (b, _)| a == b) {
            if let [(_, first), more @ ..] = same {
                self.repeated.extend(more.iter().map(|(_, number)| (*number, *first)));
            }
        }
        self.entries.dedup_by_key(|(hash, _)| *hash);
        let count = self.ranges();
        self.starts = Vec::with_capacity(count);
        for (place, (hash, _)) in (0..).zip(&self.entries) {
            while self.starts.len() <= range(*hash, count) {
                self.starts.push(place);
            }
        }
    }

    /// The number of the first card with the hash of this card_ref.
    pub fn number(&self, card_ref: &str) -> Option<u32> {
        let hash = self.key.hash_one(card_ref);
        let start = self.starts.get(range(hash, self.ranges()))?;
        let later = self.entries.get(usize::try_from(*start).ok()?..)?;
        let (_, number) =
            later.iter().take_while(|(known, _)| *known <= hash).find(|(known, _)| *known == hash)?;
        Some(*number)
    }

    /// Number of ranges into which all hashes are divided.
    fn ranges(&self) -> usize {
        self.entries.len() / CARDS_OF_START + 1
    }

    /// The first card with the name of this card.
    pub fn first(&self, number: u32) -> u32 {
        self.repeated.get(&number).copied().unwrap_or(number)
    }

    /// Gives up all but [`Self::first`].
    pub fn forget_names(&mut self) {
        (self.entries, self.starts) = (Vec::new(), Vec::new());
    }
}

/// The range of a hash, if all hashes are divided into `count` of them.
fn range(hash: u64, count: usize) -> usize {
    let product = u128::from(hash) * u128::try_from(count).unwrap_or(u128::MAX >> 64);
    usize::try_from(product >> 64).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_is_found_and_no_other() {
        for count in [0, 1, 2, 7, 8, 9, 1000] {
            let mut index = CardIndex::default();
            // Every third name stands twice.
            let names: Vec<String> = (0..count).map(|number| format!("C{}", number - number / 3)).collect();
            for (number, name) in (0..).zip(&names) {
                index.add(name, number);
            }
            index.sort();
            let first =
                |wanted: &str| (0..).zip(&names).find(|(_, name)| *name == wanted).map(|(number, _)| number);
            for wanted in names.iter().map(String::as_str).chain(["", "C", "X1"]) {
                assert_eq!(index.number(wanted), first(wanted), "{wanted}");
            }
            for (number, name) in (0..).zip(&names) {
                assert_eq!(Some(index.first(number)), first(name), "{number}");
            }
        }
    }

    #[test]
    fn the_ranges_cover_all_hashes() {
        for count in [1, 3, 125_001] {
            assert_eq!(range(0, count), 0);
            assert_eq!(range(u64::MAX, count), count - 1);
        }
    }
}
