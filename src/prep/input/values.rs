//! The values of a row by column, in one piece of text. One string for each value would cost an allocation each.
//!
//! Not here: rules for values (`check`).

use std::ops::Range;

use crate::prep::columns::Column;
use crate::wiped::WipedBytes;

/// Values by column, in the order of the columns. It is cardholder data: no `Debug`, wiped when dropped.
#[derive(Default)]
pub struct RowValues {
    /// The values, also those that were removed or replaced.
    text: String,
    places: Vec<(Column, Range<usize>)>,
}

impl RowValues {
    /// No values, with room for so many, of so many bytes.
    pub fn with_capacity(values: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), places: Vec::with_capacity(values) }
    }

    /// The value of a column.
    pub fn get(&self, column: Column) -> Option<&str> {
        let place = self.place(column).ok()?;
        self.places.get(place).and_then(|(_, range)| self.text.get(range.clone()))
    }

    /// Whether a column has a value.
    pub fn contains(&self, column: Column) -> bool {
        self.place(column).is_ok()
    }

    /// Gives a column this value, in place of the one that it may have.
    pub fn insert(&mut self, column: Column, value: &str) {
        let begin = self.text.len();
        if self.text.capacity() < begin + value.len() {
            self.grow(begin + value.len());
        }
        self.text.push_str(value);
        let range = begin..self.text.len();
        match self.place(column) {
            Ok(place) => {
                if let Some((_, known)) = self.places.get_mut(place) {
                    *known = range;
                }
            }
            Err(place) => self.places.insert(place, (column, range)),
        }
    }

    /// Takes the value of a column away.
    pub fn remove(&mut self, column: Column) {
        if let Ok(place) = self.place(column) {
            self.places.remove(place);
        }
    }

    /// The columns with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Column, &str)> {
        self.places.iter().filter_map(|(column, range)| Some((*column, self.text.get(range.clone())?)))
    }

    /// Number of columns that have a value.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Bytes of all values, also of those that were removed or replaced.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    fn place(&self, column: Column) -> Result<usize, usize> {
        // Most rows are filled in the order of the columns.
        match self.places.last() {
            Some((last, _)) if *last >= column => {
                self.places.binary_search_by(|(known, _)| known.cmp(&column))
            }
            _ => Err(self.places.len()),
        }
    }

    /// Moves the text into a larger buffer, and wipes the one that it leaves.
    fn grow(&mut self, least: usize) {
        let mut larger = String::with_capacity(least.max(2 * self.text.capacity()).max(64));
        larger.push_str(&self.text);
        wiped(std::mem::replace(&mut self.text, larger));
    }
}

impl Drop for RowValues {
    fn drop(&mut self) {
        wiped(std::mem::take(&mut self.text));
    }
}

fn wiped(text: String) {
    drop(WipedBytes::from(text.into_bytes()));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::prep::columns::COLUMNS;

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            steps in proptest::collection::vec((0..COLUMNS.len(), proptest::option::of("\\PC{0,12}")), 0..60)
        ) {
            let (mut values, mut model) = (RowValues::default(), BTreeMap::new());
            for (number, value) in steps {
                let column = COLUMNS[number].column;
                match value {
                    Some(value) => {
                        values.insert(column, &value);
                        model.insert(column, value);
                    }
                    None => {
                        values.remove(column);
                        model.remove(&column);
                    }
                }
                prop_assert_eq!(values.count(), model.len());
            }
            for known in COLUMNS {
                prop_assert_eq!(values.get(known.column), model.get(&known.column).map(String::as_str));
                prop_assert_eq!(values.contains(known.column), model.contains_key(&known.column));
            }
            let all: Vec<_> = model.iter().map(|(column, value)| (*column, value.as_str())).collect();
            prop_assert_eq!(values.iter().collect::<Vec<_>>(), all);
        }
    }
}
