//! The card_refs of a whole file, in the order of its records, at about one byte each in addition to their text: a
//! file of a million records must not need much more memory than a short one.
//!
//! Not here: the rules for one name (`card_ref`).

use std::hash::{BuildHasher, RandomState};

use super::{CardRef, NameError};

/// Longest name in bytes: its length is one character of [`CardNames::text`]. Names of a file have at most 40.
const LONGEST: u8 = 0x7F;
/// Number of names between two entries of `blocks`.
const BLOCK: usize = 32;

/// Names by index, from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardNames {
    /// `{ L1 name }*`.
    text: String,
    /// Where every 32nd name begins.
    blocks: Vec<usize>,
    count: usize,
}

impl CardNames {
    /// Adds the next name. An old ledger may have names that no new file may have.
    pub fn push(&mut self, name: &str) -> Result<(), NameError> {
        let length = u8::try_from(name.len()).ok().filter(|length| *length <= LONGEST);
        let length = length.ok_or(NameError::TooLong(LONGEST.into()))?;
        if self.count.is_multiple_of(BLOCK) {
            self.blocks.push(self.text.len());
        }
        self.text.push(char::from(length));
        self.text.push_str(name);
        self.count += 1;
        Ok(())
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The name of this index.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.iter_from(index).next()
    }

    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.from(0)
    }

    /// The names from this index on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &str> {
        let place = self.blocks.get(index / BLOCK).copied().unwrap_or(self.text.len());
        self.from(place).skip(index % BLOCK)
    }

    fn from(&self, place: usize) -> impl Iterator<Item = &str> {
        let mut rest = self.text.get(place..).unwrap_or_default();
        std::iter::from_fn(move || {
            let length = usize::from(*rest.as_bytes().first()?);
            let (name, after) = rest.get(1..)?.split_at_checked(length)?;
            rest = after;
            Some(name)
        })
    }

    /// Finds the first name that repeats an earlier one. Returns the earlier index, then the later one.
    pub fn repeated(&self) -> Option<(usize, usize)> {
        // Upper half: hash, lower half: index, so that sorting brings equal names together. The key is random, so that an
        // issuer cannot choose names with equal hashes. Names with equal hashes are compared.
        let key = RandomState::new();
        let entry = |(name, index)| (key.hash_one(name) >> 32 << 32) | index;
        let mut entries = Vec::with_capacity(self.count);
        entries.extend(self.iter().zip(0u64..=u64::from(u32::MAX)).map(entry));
        entries.sort_unstable();
        let index = |entry: &u64| usize::try_from(entry & u64::from(u32::MAX)).ok();
        let earlier_of = |group: &[u64]| {
            let mut names: Vec<_> =
                group.iter().filter_map(index).filter_map(|at| Some((self.get(at)?, at))).collect();
            names.sort_unstable();
            let pairs = names.windows(2).filter_map(|pair| match pair {
                [(a, first), (b, second)] if a == b => Some((*first, *second)),
                _ => None,
            });
            pairs.min_by_key(|(_, second)| *second)
        };
        let groups = entries.chunk_by(|a, b| a >> 32 == b >> 32).filter(|group| group.len() > 1);
        groups.filter_map(earlier_of).min_by_key(|(_, second)| *second)
    }
}

impl FromIterator<CardRef> for CardNames {
    fn from_iter<I: IntoIterator<Item = CardRef>>(names: I) -> Self {
        let mut all = Self::default();
        for name in names {
            // Never too long: a card_ref has at most 40 characters.
            let _ = all.push(name.as_str());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(texts: &[String]) -> CardNames {
        let mut names = CardNames::default();
        texts.iter().for_each(|text| names.push(text).unwrap());
        names
    }

    proptest! {
        #[test]
        fn every_name_comes_back(texts in prop::collection::vec("[ -~]{0,40}", 0..200)) {
            let names = names(&texts);
            prop_assert_eq!(names.len(), texts.len());
            prop_assert!(names.iter().eq(&texts));
            for index in 0..=texts.len() {
                prop_assert_eq!(names.get(index), texts.get(index).map(String::as_str));
            }
        }

        #[test]
        fn the_first_repetition_is_found(texts in prop::collection::vec("[AB]{1,4}", 0..40)) {
            let expected = (0..texts.len())
                .find_map(|second| {
                    let first = (0..second).rev().find(|first| texts[*first] == texts[second])?;
                    Some((first, second))
                });
            prop_assert_eq!(names(&texts).repeated(), expected);
        }
    }

    #[test]
    fn a_hundred_thousand_names_differ_until_one_is_repeated() {
        let mut texts: Vec<_> = (1..=100_000).map(|n| format!("CARD-{n}")).collect();
        assert_eq!(names(&texts).repeated(), None);
        texts.extend(["CARD-77000".to_owned(), "CARD-5".to_owned()]);
        assert_eq!(names(&texts).repeated(), Some((76_999, 100_000)));
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let mut names = CardNames::default();
        names.push(&"A".repeat(127)).unwrap();
        assert_eq!(names.push(&"A".repeat(128)), Err(NameError::TooLong(127)));
        assert_eq!((names.len(), names.iter().count()), (1, 1));
    }
}
