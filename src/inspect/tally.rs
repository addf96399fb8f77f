//! Counts names. Records name them mostly in one order, so that counting a name costs one comparison.

use std::collections::HashMap;

/// The number of times that each name was added.
#[derive(Default)]
pub(super) struct NameTally {
    /// Names and counts in the order of first appearance.
    entries: Vec<(Vec<u8>, u64)>,
    places: HashMap<Vec<u8>, usize>,
    /// Index of the entry that is expected next.
    next: usize,
}

impl NameTally {
    pub fn add(&mut self, name: &[u8]) {
        let place = match self.entries.get(self.next) {
            Some((expected, _)) if expected == name => self.next,
            _ => self.find(name),
        };
        if let Some((_, count)) = self.entries.get_mut(place) {
            *count += 1;
        }
        self.next = if place + 1 < self.entries.len() { place + 1 } else { 0 };
    }

    fn find(&mut self, name: &[u8]) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.entries.len();
        self.entries.push((name.to_vec(), 0));
        self.places.insert(name.to_vec(), place);
        place
    }

    /// Returns names and counts, sorted by name.
    pub fn sorted(&self) -> Vec<(&[u8], u64)> {
        let mut entries: Vec<_> =
            self.entries.iter().map(|(name, count)| (name.as_slice(), *count)).collect();
        entries.sort_unstable();
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::NameTally;

    #[test]
    fn any_order_is_counted() {
        let mut tally = NameTally::default();
        for name in ["b", "a", "b", "a", "a", "c", "b", "c", "b", "a"] {
            tally.add(name.as_bytes());
        }
        assert_eq!(tally.sorted(), [(&b"a"[..], 4), (b"b", 4), (b"c", 2)]);
    }
}
