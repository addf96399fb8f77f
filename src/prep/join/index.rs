//! Finds the cards of the first source by card_ref: 16 bytes a card.
//!
//! The hash has a random key, so that nobody can make a file whose cards all have one hash. Two card_refs of a run may have
//! one hash, once in millions of large runs; who completes a card compares the card_ref itself.

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
}

impl CardIndex {
    /// Adds a card.
    pub fn add(&mut self, card_ref: &str, number: u32) {
        self.entries.push((self.key.hash_one(card_ref), number));
    }

    /// Ends adding.
    pub fn sort(&mut self) {
        self.entries.sort_unstable();
        let count = self.entries.len() / CARDS_OF_START + 1;
        self.starts = Vec::with_capacity(count);
        for (place, (hash, _)) in (0..).zip(&self.entries) {
            while self.starts.len() <= range(*hash, count) {
                self.starts.push(place);
            }
        }
    }

    /// The numbers of the cards with the hash of this card_ref, in order.
    pub fn numbers<'s>(&'s self, card_ref: &str) -> impl Iterator<Item = u32> + use<'s> {
        let hash = self.key.hash_one(card_ref);
        let start = self.starts.get(range(hash, self.entries.len() / CARDS_OF_START + 1));
        let start = start.and_then(|start| usize::try_from(*start).ok()).unwrap_or(self.entries.len());
        let later = self.entries.get(start..).unwrap_or_default().iter();
        let found =
            later.skip_while(move |(known, _)| *known < hash).take_while(move |(known, _)| *known == hash);
        found.map(|(_, number)| *number)
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
            for wanted in names.iter().map(String::as_str).chain(["", "C", "X1"]) {
                let numbers = (0..).zip(&names).filter(|(_, name)| *name == wanted).map(|(number, _)| number);
                assert_eq!(
                    index.numbers(wanted).collect::<Vec<u32>>(),
                    numbers.collect::<Vec<_>>(),
                    "{wanted}"
                );
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
