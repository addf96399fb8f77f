//! Clears the line before the first card: cards that an earlier run left there go to the reject bin.
//!
//! A run that was killed, or a station that needed a person, leaves cards where they lay. Nothing identifies
//! those cards any more. The ledger has counted them since it was opened, as UNKNOWN or as unbound
//! rejects, so they are not counted here again.

use drivers::{Condition, DeviceError};

use super::{CardTransport, LineSetup};
use crate::threads::each_at_once;

/// The result of clearing a line.
#[derive(Debug, Default)]
pub struct Cleared {
    /// Names of the places where cards lay, each with the number of cards thrown out there.
    pub out: Vec<(String, u32)>,
    /// Names of the places where a card may still lie, each with the error that the transport gave.
    pub left: Vec<(String, DeviceError)>,
}

impl Cleared {
    fn add(&mut self, place: &str, cards: u32, end: Result<(), DeviceError>) {
        if cards > 0 {
            self.out.push((place.to_owned(), cards));
        }
        if let Err(error) = end {
            self.left.push((place.to_owned(), error));
        }
    }

    /// A sentence about the cards that were thrown out; `None` if the line was empty.
    pub fn told(&self) -> Option<String> {
        let cards: u32 = self.out.iter().map(|(_, cards)| cards).sum();
        let of: Vec<_> = self.out.iter().map(|(place, cards)| format!("{place} {cards}")).collect();
        (cards > 0).then(|| {
            format!(
                "cards that an earlier run had left in the line were thrown into the reject bin before the first feed: \
                 {cards} ({}); the ledger counts them already, as UNKNOWN or rejected: destroy them, then resolve the \
                 UNKNOWN records",
                of.join(", ")
            )
        })
    }

    /// A sentence that names the places that a person has to clear, with the reasons; `None` if there are
    /// none.
    pub fn asks_for(&self) -> Option<String> {
        let of: Vec<_> = self.left.iter().map(|(place, error)| format!("{place} ({error})")).collect();
        (!of.is_empty()).then(|| {
            format!(
                "a card may lie where the transport could not throw it out: {}; take it out and destroy it, see to the \
                 transport, and start again",
                of.join(", ")
            )
        })
    }
}

/// Clears the output and every station, all of them in parallel.
pub fn clear(line: &mut LineSetup) -> Cleared {
    let buffer = u32::from(line.reorder_buffer);
    let stations = line.stages.iter_mut().flat_map(|stage| &mut stage.stations);
    // A station holds one card. The output may hold one in its hand besides those in its buffer places.
    let places = stations.map(|station| (station.name.as_str(), &mut station.transport, 1));
    let places: Vec<_> = places.chain([("output", &mut line.output, buffer + 1)]).collect();
    let names: Vec<_> = places.iter().map(|(name, ..)| *name).collect();
    let results = each_at_once(places, |(_, transport, most)| empty(transport, most));
    let mut cleared = Cleared::default();
    for (name, result) in names.into_iter().zip(results) {
        let (cards, end) =
            result.unwrap_or((0, Err(DeviceError::Unexpected("the thread that cleared it died"))));
        cleared.add(name, cards, end);
    }
    cleared
}

/// Throws out the cards that lie at one place, at most `most`. Returns their number, and whether the
/// place is empty.
fn empty(transport: &mut CardTransport, most: u32) -> (u32, Result<(), DeviceError>) {
    for cards in 0..=most {
        match transport.reject() {
            Ok(()) => {}
            Err(error) if error.condition() == Some(Condition::NoCard) => return (cards, Ok(())),
            Err(error) => return (cards, Err(error)),
        }
    }
    (most, Err(DeviceError::Unexpected("it throws out more cards than fit there")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_that_a_person_must_clear_is_named_and_an_empty_line_says_nothing() {
        let mut cleared = Cleared::default();
        cleared.add("chip-1", 0, Ok(()));
        assert_eq!((cleared.told(), cleared.asks_for()), (None, None));
        cleared.add("chip-2", 0, Err(DeviceError::Closed));
        cleared.add("output", 3, Err(DeviceError::Refused('R')));
        cleared.add("stripe-1", 1, Ok(()));
        let (told, asks) = (cleared.told().unwrap(), cleared.asks_for().unwrap());
        assert!(told.contains(": 4 (output 3, stripe-1 1)"), "{told}");
        assert!(
            asks.contains("chip-2 (") && asks.contains("output (") && !asks.contains("stripe-1"),
            "{asks}"
        );
    }
}
