//! Records copied out of the reader's buffer, so that another thread can check them while the reader goes on.

use super::Frame;
use super::frame::ParsedRecord;
use crate::wiped::WipedBytes;

/// Room for the bodies of a batch: some tens of records of the shipped product, so that handing them over costs
/// little beside checking them. A longer record has a batch of its own.
const ROOM: usize = 64 << 10;
/// Most records of a batch, however short they are.
const RECORDS: usize = 256;

/// Whole records in file order. Holds cardholder data, so it has no `Debug`; wiped when dropped.
pub struct FrameBatch {
    /// Never grows beyond the room that it was made with: growing would leave an unwiped copy.
    bodies: WipedBytes,
    places: Vec<FramePlace>,
}

/// Where a record stands in its batch and in its file.
struct FramePlace {
    parsed: ParsedRecord,
    offset: u64,
    from: usize,
    to: usize,
}

impl FrameBatch {
    /// Adds the next record of the file to a batch. If there is no room, or no batch yet, begins a new one with it and
    /// returns the full one.
    pub fn collect(current: &mut Option<Self>, frame: &Frame<'_>) -> Option<Self> {
        if current.as_mut().is_some_and(|batch| batch.push(frame)) {
            return None;
        }
        current.replace(Self::of(frame))
    }

    /// Makes a batch of one record. Its length never has to be refused: the reader has limited it.
    fn of(frame: &Frame<'_>) -> Self {
        let (parsed, body) = frame.parts();
        let mut batch = Self { bodies: WipedBytes::with_capacity(ROOM.max(body.len())), places: Vec::new() };
        batch.add(parsed, body, frame.offset);
        batch
    }

    /// Adds the next record of the file if there is room for it, and returns whether there was.
    fn push(&mut self, frame: &Frame<'_>) -> bool {
        let (parsed, body) = frame.parts();
        let fits = self.bodies.len() + body.len() <= self.bodies.capacity() && self.places.len() < RECORDS;
        if fits {
            self.add(parsed, body, frame.offset);
        }
        fits
    }

    fn add(&mut self, parsed: ParsedRecord, body: &[u8], offset: u64) {
        let from = self.bodies.len();
        self.bodies.extend_from_slice(body);
        self.places.push(FramePlace { parsed, offset, from, to: self.bodies.len() });
    }

    /// Returns the number of the first record.
    pub fn first(&self) -> u32 {
        self.places.first().map_or(0, |place| place.parsed.sequence)
    }

    /// Returns the number of records.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Iterates over the records in file order.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.places.iter().map(|place| {
            let body = self.bodies.get(place.from..place.to).unwrap_or_default();
            Frame::new(place.parsed.clone(), body, place.offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{file, record};
    use crate::record::{Cwf1Reader, FileLimits};

    #[test]
    fn records_come_back_as_they_stand_in_the_file() {
        let long = vec![b'x'; ROOM];
        let records = [
            record(1, "CARD-1", &[("EMB", b"e"), ("MAG", b"m")]),
            record(2, "CARD-2", &[("EMB", b"f")]),
            record(3, "CARD-3", &[("EMB", &long)]),
        ];
        let bytes = file(&records);
        let mut reader = Cwf1Reader::open(bytes.as_slice(), FileLimits::default()).unwrap();
        let (mut batches, mut current) = (Vec::new(), None);
        let mut digests = Vec::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            digests.push((frame.sequence, frame.offset, frame.card_ref.to_owned(), frame.digest()));
            batches.extend(FrameBatch::collect(&mut current, &frame));
        }
        batches.extend(current);
        assert_eq!(batches.iter().map(FrameBatch::first).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(batches.iter().map(FrameBatch::count).sum::<usize>(), 3);
        let back = batches.iter().flat_map(FrameBatch::frames);
        let back = back.map(|f| (f.sequence, f.offset, f.card_ref.to_owned(), f.digest()));
        assert_eq!(back.collect::<Vec<_>>(), digests);
    }
}
