//! The floor: which card lies where, which station is free, and what should move next. Pure: it decides, the
//! dispatcher acts.
//!
//! A card's route is the modules that its record has data for. The lowest sequence goes first everywhere, so a card
//! is overtaken only while it is being worked on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::station::Place;
use crate::modules::Work;

/// Where a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// With the source.
    Asked,
    /// Verified; waits for a station that can feed a blank.
    Ready,
    /// A station works on it (or feeds, takes).
    Working(Place),
    /// Done there, lies there.
    Waiting(Place),
    /// On its way into a buffer place.
    Leaving(Place, u16),
    /// In a buffer place.
    Buffered(u16),
    /// On its way into the stacker.
    Stacking(u16),
}

/// A card under way.
pub struct Card {
    /// Once the source gave it.
    pub work: Option<Arc<Work>>,
    /// Stages to visit, in line order.
    pub route: Vec<usize>,
    /// Index in `route` of the stage that works on it or works next.
    pub leg: usize,
    /// Where it is.
    pub at: Where,
    /// What was compared so far.
    pub compared: Vec<&'static str>,
}

/// What should move next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Feed a blank at this station for this record.
    Feed(u32, Place),
    /// This station takes the card from that one.
    Take {
        /// Record.
        seq: u32,
        /// Where it lies.
        from: Place,
        /// Who takes it.
        to: Place,
    },
    /// Nobody can go on with this card: throw it out where it lies.
    ThrowOut(u32, Place),
    /// The output takes the card into a buffer place.
    Collect(u32, Place, u16),
    /// The output stacks it.
    Stack(u32, u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Station {
    Free,
    Occupied,
    OutOfService,
}

/// The floor.
pub struct Floor {
    stations: Vec<Vec<Station>>,
    cards: BTreeMap<u32, Card>,
    /// Sequences under way in file order; the front is the next to be stacked.
    order: VecDeque<u32>,
    free_slots: BTreeSet<u16>,
    output_busy: bool,
    window: usize,
}

impl Floor {
    /// An empty floor: stations per stage, and the number of buffer places.
    pub fn new(stations: &[usize], buffer: u16) -> Self {
        Self {
            stations: stations.iter().map(|n| vec![Station::Free; *n]).collect(),
            cards: BTreeMap::new(),
            order: VecDeque::new(),
            free_slots: (0..buffer).collect(),
            output_busy: false,
            window: usize::from(buffer),
        }
    }

    /// Whether one more record may be asked for: the window is not full, and not more wait than stations can use.
    pub fn wants_more(&self) -> bool {
        let waiting = self.cards.values().filter(|c| matches!(c.at, Where::Asked | Where::Ready)).count();
        let widest = self.stations.iter().map(Vec::len).max().unwrap_or(0);
        self.cards.len() < self.window && waiting <= widest.min(8)
    }

    /// A record was asked for.
    pub fn asked(&mut self, seq: u32) {
        self.order.push_back(seq);
        self.cards.insert(
            seq,
            Card { work: None, route: Vec::new(), leg: 0, at: Where::Asked, compared: Vec::new() },
        );
    }

    /// Its work is ready.
    pub fn ready(&mut self, seq: u32, work: Arc<Work>, route: Vec<usize>) {
        if let Some(card) = self.cards.get_mut(&seq) {
            card.work = Some(work);
            card.route = route;
            card.at = Where::Ready;
        }
    }

    /// A feed order was void for a reason of the station: the record waits again.
    pub fn back(&mut self, seq: u32) {
        if let Some(card) = self.cards.get_mut(&seq) {
            card.at = Where::Ready;
        }
    }

    /// A card under way.
    pub fn card(&self, seq: u32) -> Option<&Card> {
        self.cards.get(&seq)
    }

    /// A card under way.
    pub fn card_mut(&mut self, seq: u32) -> Option<&mut Card> {
        self.cards.get_mut(&seq)
    }

    /// The card that a station works on.
    pub fn working_at(&self, place: Place) -> Option<u32> {
        self.cards.iter().find(|(_, c)| c.at == Where::Working(place)).map(|(seq, _)| *seq)
    }

    /// Cards that have been fed and are not out yet, or that a station is about to feed.
    pub fn moving(&self) -> bool {
        self.cards.values().any(|c| !matches!(c.at, Where::Asked | Where::Ready))
    }

    /// Whether the source still owes an answer.
    pub fn asked_open(&self) -> bool {
        self.cards.values().any(|c| c.at == Where::Asked)
    }

    /// A card is out, stacked or void; its place in the order is free. Gives it back.
    pub fn remove(&mut self, seq: u32) -> Option<Card> {
        let card = self.cards.remove(&seq)?;
        if let Where::Leaving(_, slot) | Where::Buffered(slot) | Where::Stacking(slot) = card.at {
            self.free_slots.insert(slot);
        }
        self.order.retain(|s| *s != seq);
        Some(card)
    }

    /// Cards that were prepared and never fed.
    pub fn unfed(&self) -> Vec<u32> {
        self.cards.iter().filter(|(_, c)| c.at == Where::Ready).map(|(seq, _)| *seq).collect()
    }

    /// A station is free again.
    pub fn free(&mut self, place: Place) {
        self.set(place, Station::Free);
    }

    /// A station needs a person.
    pub fn out_of_service(&mut self, place: Place) {
        self.set(place, Station::OutOfService);
    }

    /// Whether a stage has a station in service.
    pub fn in_service(&self, stage: usize) -> bool {
        self.stations.get(stage).is_some_and(|s| s.iter().any(|s| *s != Station::OutOfService))
    }

    /// The output is free again.
    pub fn output_free(&mut self) {
        self.output_busy = false;
    }

    fn set(&mut self, place: Place, state: Station) {
        if let Some(station) = self.stations.get_mut(place.stage).and_then(|s| s.get_mut(place.station))
            && *station != Station::OutOfService
        {
            *station = state;
        }
    }

    /// The next move, already entered on the floor; `None` when everything that can move does. With `feeding` off
    /// no blank is fed any more.
    pub fn next_move(&mut self, feeding: bool) -> Option<Move> {
        let next = self.output_move(feeding).or_else(|| self.station_move(feeding))?;
        self.enter(next);
        Some(next)
    }

    fn output_move(&self, feeding: bool) -> Option<Move> {
        if self.output_busy {
            return None;
        }
        // A record that will not be fed any more holds nobody up.
        let counts = |card: &Card| feeding || !matches!(card.at, Where::Asked | Where::Ready);
        let mut under_way = self.order.iter().filter_map(|seq| self.cards.get_key_value(seq));
        if let Some((front, card)) = under_way.find(|(_, card)| counts(card))
            && let Where::Buffered(slot) = card.at
        {
            return Some(Move::Stack(*front, slot));
        }
        let slot = *self.free_slots.first()?;
        self.cards.iter().find_map(|(seq, card)| match card.at {
            Where::Waiting(place) if card.leg >= card.route.len() => Some(Move::Collect(*seq, place, slot)),
            _ => None,
        })
    }

    fn station_move(&self, feeding: bool) -> Option<Move> {
        let mut seen = BTreeSet::new();
        self.cards.iter().find_map(|(seq, card)| {
            let stage = *card.route.get(card.leg)?;
            let from = match card.at {
                Where::Ready if feeding => None,
                Where::Waiting(place) => Some(place),
                _ => return None,
            };
            if let Some(from) = from
                && !self.in_service(stage)
            {
                return Some(Move::ThrowOut(*seq, from));
            }
            // The lowest sequence has asked for this stage already and found no station.
            if seen.contains(&stage) {
                return None;
            }
            let Some(station) = self.stations.get(stage)?.iter().position(|s| *s == Station::Free) else {
                seen.insert(stage);
                return None;
            };
            let to = Place { stage, station };
            Some(match from {
                None => Move::Feed(*seq, to),
                Some(from) => Move::Take { seq: *seq, from, to },
            })
        })
    }

    fn enter(&mut self, next: Move) {
        let (seq, at) = match next {
            Move::Feed(seq, to) | Move::Take { seq, to, .. } => {
                self.set(to, Station::Occupied);
                (seq, Where::Working(to))
            }
            Move::ThrowOut(seq, place) => (seq, Where::Working(place)),
            Move::Collect(seq, place, slot) => {
                self.output_busy = true;
                self.free_slots.remove(&slot);
                (seq, Where::Leaving(place, slot))
            }
            Move::Stack(seq, slot) => {
                self.output_busy = true;
                (seq, Where::Stacking(slot))
            }
        };
        if let Some(card) = self.cards.get_mut(&seq) {
            card.at = at;
        }
    }
}

#[cfg(test)]
mod tests;
