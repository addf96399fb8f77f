//! Data object lists (EMV Book 3, 5.4): PDOL, DDOL, CDOL1 and CDOL2. The terminal sends the values alone, one
//! after the other, each in the length that the card's list gives it.

use super::ber::CardBytes;

/// A list of tags with the lengths of their values.
pub(super) struct CardDol(Vec<(u32, usize)>);

impl CardDol {
    /// Parses tags and lengths of one byte each; `None` if the list ends inside an entry.
    pub(super) fn parse(list: &[u8]) -> Option<Self> {
        let mut list = CardBytes(list);
        let mut entries = Vec::new();
        while !list.0.is_empty() {
            entries.push((list.tag()?, list.u8()?.into()));
        }
        Some(Self(entries))
    }

    /// Length of all the values.
    pub(super) fn length(&self) -> usize {
        self.0.iter().map(|(_, length)| length).sum()
    }

    /// The value of this tag among the values that the terminal sent.
    pub(super) fn value<'a>(&self, tag: u32, values: &'a [u8]) -> Option<&'a [u8]> {
        let mut values = CardBytes(values);
        for (listed, length) in &self.0 {
            let value = values.take(*length)?;
            if *listed == tag {
                return Some(value);
            }
        }
        None
    }
}
