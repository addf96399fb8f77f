//! Collects the card_refs of a file and finds one that occurs twice, with the place of its record.

use crate::ids::CardNames;

/// The names of a file so far.
#[derive(Default)]
pub(super) struct UniqueNames {
    names: CardNames,
    /// Offset of the first record, and of the last one.
    first: u64,
    last: u64,
    /// Length of every record but the last.
    lengths: Vec<u32>,
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
    /// Notes the name and offset of the next record.
    pub fn add(&mut self, name: &str, offset: u64) {
        if self.names.is_empty() {
            self.first = offset;
        } else {
            // A record is far shorter than 4 GiB.
            self.lengths.push(u32::try_from(offset.saturating_sub(self.last)).unwrap_or(u32::MAX));
        }
        self.last = offset;
        // Never too long: the name was checked.
        let _ = self.names.push(name);
    }

    /// Returns the first record whose name an earlier one has too.
    pub fn repeated(&self) -> Option<RepeatedName> {
        let (first, second) = self.names.repeated()?;
        let before = self.lengths.get(..second).unwrap_or_default();
        let sequence = |index: usize| u32::try_from(index + 1).ok();
        Some(RepeatedName {
            first: sequence(first)?,
            second: sequence(second)?,
            offset: before.iter().fold(self.first, |at, length| at + u64::from(*length)),
        })
    }

    /// The names, in the order of the records.
    pub fn into_names(self) -> CardNames {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_name_is_found_with_both_places() {
        let mut unique = UniqueNames::default();
        for (name, offset) in [("CARD-1", 100), ("CARD-2", 210), ("CARD-3", 330), ("CARD-2", 460)] {
            assert_eq!(unique.repeated(), None);
            unique.add(name, offset);
        }
        assert_eq!(unique.repeated(), Some(RepeatedName { first: 2, second: 4, offset: 460 }));
        unique.add("CARD-1", 600);
        assert_eq!(unique.repeated(), Some(RepeatedName { first: 2, second: 4, offset: 460 }));
    }
}
