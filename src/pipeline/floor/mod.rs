//! The floor: which card lies where, which station is free, and which move comes next. Pure: this file
//! decides, the dispatcher acts.
//!
//! A card's route is the modules that its record has data for. The lowest sequence goes first everywhere, so
//! one card passes another only while a station works on the other. Sequences are asked for in file order.
//! The states of a card ([`Where`]):
//!
//! ```text
//!         source gave it       Feed                     module done                    Collect
//! Asked ────────────────► Ready ─────► Working(station) ────────────► Waiting(station) ────────► Leaving
//!                           ▲             │        ▲                     │                          │ lifted
//!                           └─────────────┘        └─────────────────────┘                          ▼
//!                             order void      Take: at the next station;                         Parking
//!                                             ThrowOut or killed: where it lies                     │ parked
//!                                                                                                   ▼
//! removed ◄── stacked, thrown out, cancelled or lost ◄── Stacking ◄── Stack or Discard ───────── Buffered
//! ```
//!
//! A card can be removed from every state, because it can be lost or thrown out in each. A card that the next
//! station did not take works at its old place again, which throws it out.
//!
//! A module goes on with the stations that are in service. While it has none, but one may come back, the
//! cards that wait for it stay where they lie, and no blank is fed that would have to wait for it. When the
//! module is lost, the cards that wait for it are thrown out. A machine that wants supplies keeps its card and is
//! waited for without a limit (`stations`).
//!
//! Every question is answered from an index (by station, by stage, by what a card waits for), so that a move
//! costs no more on a line of many stations than on a small one.

mod proofs;
mod stations;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::stations::{Service, Stations};
use super::station::Place;
use crate::actor::Actor;
use crate::laws::HsmUse;
use crate::modules::CardWork;

/// Most prepared records that wait for a station: enough for stations that become free at once.
const READY_MAX: usize = 16;

/// Where a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// The source prepares its record.
    Asked,
    /// Its record is verified, and waits for a station that can feed a blank.
    Ready,
    /// A station feeds, takes, works on or throws out the card.
    Working(Place),
    /// The module is done with the card, which lies in this station.
    Waiting(Place),
    /// The output is about to lift the card from this station for this buffer place.
    Leaving(Place, u16),
    /// The card is lifted, on its way into this buffer place.
    Parking(u16),
    /// The card lies in this buffer place.
    Buffered(u16),
    /// The card is on its way from this buffer place into the stacker or the reject bin.
    Stacking(u16),
}

/// A card under way, from the first request for its record on.
pub struct Card {
    /// The card's work, as soon as the source has given it.
    pub work: Option<Arc<CardWork>>,
    /// Stages that the card visits, in line order.
    route: Vec<usize>,
    /// Index in `route` of the stage that works on the card or works on it next.
    pub leg: usize,
    at: Where,
    /// Comparisons made so far, for the ledger.
    pub compared: Vec<&'static str>,
    /// What the card has used of the HSM.
    pub hsm: HsmUse,
    /// The person who had it thrown out at its next step.
    pub killed_by: Option<Actor>,
}

impl Card {
    /// The stage that works on the card or works on it next; `None` when every stage is done.
    fn stage(&self) -> Option<usize> {
        self.route.get(self.leg).copied()
    }

    /// Whether it visits this stage.
    pub fn visits(&self, stage: usize) -> bool {
        self.route.contains(&stage)
    }

    /// Whether every module is done with the card.
    pub fn finished(&self) -> bool {
        self.stage().is_none()
    }

    /// Whether its record is prepared and waits for a station that can feed a blank.
    pub fn is_ready(&self) -> bool {
        self.at == Where::Ready
    }

    /// Whether a blank was fed for the card, or is about to be.
    fn fed(&self) -> bool {
        !matches!(self.at, Where::Asked | Where::Ready)
    }
}

/// The next move of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// The station feeds a blank for this record.
    Feed(u32, Place),
    /// A station takes the card from another one.
    Take {
        /// Sequence of the record.
        seq: u32,
        /// Station where the card lies.
        from: Place,
        /// Station that takes it.
        to: Place,
    },
    /// The station throws the card out, because no other place can go on with it.
    ThrowOut(u32, Place),
    /// The output takes the card from this station into this buffer place.
    Collect(u32, Place, u16),
    /// The output stacks the card of this buffer place.
    Stack(u32, u16),
    /// The output throws the card of this buffer place out, because a person wants that.
    Discard(u32, u16),
}

/// When a card leaves that a person wants thrown out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doom {
    /// Never: it is out, on its way into the stacker, or not fed.
    Gone,
    /// At once, in this station.
    Now(Place),
    /// When the move that it takes part in has ended.
    Later,
}

/// All cards under way and all stations of a line.
pub struct Floor {
    /// Which stations are free, occupied or out of service.
    pub stations: Stations,
    cards: BTreeMap<u32, Card>,
    asked: usize,
    /// Prepared records, by the first stage of their route.
    ready: Vec<BTreeSet<u32>>,
    working: BTreeMap<Place, u32>,
    /// Cards that lie in a station, by the stage that they wait for.
    waiting: Vec<BTreeSet<u32>>,
    /// Finished cards that wait for the output.
    done: BTreeSet<u32>,
    /// Cards for which a blank was fed.
    fed: BTreeSet<u32>,
    /// Cards that a person wants thrown out.
    doomed: BTreeSet<u32>,
    free_slots: BTreeSet<u16>,
    output_busy: bool,
    /// The output waits for a person with its order.
    output_waits: bool,
    /// The output's thread has died: no card is collected or stacked any more.
    output_gone: bool,
    window: usize,
    /// No blank is fed for a record that visits one of these stages.
    held_back: BTreeSet<usize>,
}

impl Floor {
    /// An empty floor: `stations` counts those of each stage, `buffer` the buffer places.
    pub fn new(stations: &[usize], buffer: u16) -> Self {
        Self {
            stations: Stations::new(stations),
            cards: BTreeMap::new(),
            asked: 0,
            ready: vec![BTreeSet::new(); stations.len()],
            working: BTreeMap::new(),
            waiting: vec![BTreeSet::new(); stations.len()],
            done: BTreeSet::new(),
            fed: BTreeSet::new(),
            doomed: BTreeSet::new(),
            free_slots: (0..buffer).collect(),
            output_busy: false,
            output_waits: false,
            output_gone: false,
            window: usize::from(buffer),
            held_back: BTreeSet::new(),
        }
    }

    /// Feeds no blank for records that visit one of these stages, until this is called again.
    pub fn hold_back(&mut self, stages: BTreeSet<usize>) {
        self.held_back = stages;
    }

    /// Whether one more record may be asked for: the window has room, and not more records wait than stations
    /// can use.
    pub fn wants_more(&self) -> bool {
        let unfed = self.cards.len() - self.fed.len();
        self.cards.len() < self.window && unfed <= self.stations.widest().min(READY_MAX)
    }

    /// Enters a record that the source was asked for.
    pub fn asked(&mut self, seq: u32) {
        let card = Card {
            work: None,
            route: Vec::new(),
            leg: 0,
            at: Where::Asked,
            compared: Vec::new(),
            hsm: HsmUse::default(),
            killed_by: None,
        };
        self.cards.insert(seq, card);
        self.asked += 1;
    }

    /// Enters the work of a record; the route has at least one stage.
    pub fn ready(&mut self, seq: u32, work: Arc<CardWork>, route: Vec<usize>) {
        debug_assert!(
            self.cards.get(&seq).is_some_and(|card| card.at == Where::Asked),
            "record {seq} was not asked for"
        );
        if let Some(card) = self.cards.get_mut(&seq) {
            card.work = Some(work);
            card.route = route;
            self.put(seq, Where::Ready);
        }
    }

    /// Lets a record wait again after a fault of the station made its feed order void.
    pub fn unfeed(&mut self, seq: u32) {
        self.put(seq, Where::Ready);
    }

    /// Enters that a module is done with the card, which lies in its station.
    pub fn done(&mut self, seq: u32, place: Place) {
        debug_assert_eq!(self.working_at(place), Some(seq), "the station works on another card");
        if let Some(card) = self.cards.get_mut(&seq) {
            card.leg += 1;
            self.put(seq, Where::Waiting(place));
        }
    }

    /// Enters that a card was not taken: it still lies in the previous station, which throws it out.
    pub fn not_taken(&mut self, seq: u32, before: Place) {
        self.put(seq, Where::Working(before));
    }

    /// Enters that a card was not taken, and lies untouched in the previous station.
    pub fn stays(&mut self, seq: u32, before: Place) {
        self.put(seq, Where::Waiting(before));
    }

    /// Marks the bound card of this record as one that `by` wants thrown out.
    pub fn doom(&mut self, seq: u32, by: &Actor) -> Doom {
        let Some(card) = self.cards.get_mut(&seq) else { return Doom::Gone };
        let gone = match card.at {
            Where::Asked | Where::Ready => true,
            Where::Stacking(_) => !self.output_waits,
            _ => false,
        };
        if gone && !self.doomed.contains(&seq) {
            return Doom::Gone;
        }
        card.killed_by.get_or_insert_with(|| by.clone());
        self.doomed.insert(seq);
        self.doomed(seq)
    }

    /// When a card leaves that a person wants thrown out. If that is now, the card is entered as being thrown
    /// out.
    pub fn doomed(&mut self, seq: u32) -> Doom {
        match self.cards.get(&seq) {
            Some(card) if self.doomed.contains(&seq) => match card.at {
                Where::Waiting(place) => {
                    self.put(seq, Where::Working(place));
                    Doom::Now(place)
                }
                _ => Doom::Later,
            },
            _ => Doom::Gone,
        }
    }

    /// Enters that the output has lifted a card. Returns the station, which is free now.
    pub fn lifted(&mut self, seq: u32) -> Option<Place> {
        let Where::Leaving(place, slot) = self.cards.get(&seq)?.at else { return None };
        self.put(seq, Where::Parking(slot));
        Some(place)
    }

    /// Enters that a card lies in its buffer place. The output is free.
    pub fn parked(&mut self, seq: u32) {
        self.output_busy = false;
        if let Some(Where::Parking(slot)) = self.cards.get(&seq).map(|card| card.at) {
            self.put(seq, Where::Buffered(slot));
        }
    }

    /// Enters whether the output waits for a person with its order.
    pub fn output_waits(&mut self, waits: bool) {
        self.output_waits = waits;
    }

    /// Whether the output waits with the card of this record, which still lies where it lay.
    pub fn waits_at_output(&self, seq: u32) -> bool {
        let lies = |card: &Card| matches!(card.at, Where::Leaving(..) | Where::Stacking(_));
        self.output_waits && self.cards.get(&seq).is_some_and(lies)
    }

    /// Enters that the output has left a card where it lay. Returns whether it was to be stacked.
    pub fn kept(&mut self, seq: u32) -> bool {
        self.output_busy = false;
        match self.cards.get(&seq).map(|card| card.at) {
            Some(Where::Leaving(place, slot)) => {
                self.free_slots.insert(slot);
                self.put(seq, Where::Waiting(place));
                false
            }
            Some(Where::Stacking(slot)) => {
                self.put(seq, Where::Buffered(slot));
                true
            }
            _ => false,
        }
    }

    /// Cards that lie in a station or at the output, with the station.
    pub fn lying(&self) -> Vec<(u32, Option<Place>)> {
        let of = |(seq, card): (&u32, &Card)| match card.at {
            Where::Waiting(place) | Where::Leaving(place, _) => Some((*seq, Some(place))),
            Where::Parking(_) | Where::Buffered(_) | Where::Stacking(_) => Some((*seq, None)),
            Where::Asked | Where::Ready | Where::Working(_) => None,
        };
        self.cards.iter().filter_map(of).collect()
    }

    /// Enters that the output is free again.
    pub fn output_free(&mut self) {
        self.output_busy = false;
    }

    /// Enters that the output has died. Returns the cards that it had or may have: those in the buffer places
    /// and in its hand, the one that it was lifting with its station.
    pub fn output_gone(&mut self) -> Vec<(u32, Option<Place>)> {
        self.output_gone = true;
        let of = |(seq, card): (&u32, &Card)| match card.at {
            Where::Leaving(place, _) => Some((*seq, Some(place))),
            Where::Parking(_) | Where::Buffered(_) | Where::Stacking(_) => Some((*seq, None)),
            _ => None,
        };
        self.cards.iter().filter_map(of).collect()
    }

    /// Whether finished cards can still leave.
    pub fn has_output(&self) -> bool {
        !self.output_gone
    }

    /// Records that the source has not given yet.
    pub fn with_source(&self) -> Vec<u32> {
        self.cards.iter().filter(|(_, card)| card.at == Where::Asked).map(|(seq, _)| *seq).collect()
    }

    /// The card of a record, if it is under way.
    pub fn card(&self, seq: u32) -> Option<&Card> {
        self.cards.get(&seq)
    }

    /// The card of a record, if it is under way, to be changed.
    pub fn card_mut(&mut self, seq: u32) -> Option<&mut Card> {
        self.cards.get_mut(&seq)
    }

    /// The card that a station works on.
    pub fn working_at(&self, place: Place) -> Option<u32> {
        self.working.get(&place).copied()
    }

    /// The station that works on the card of a record.
    pub fn working_place(&self, seq: u32) -> Option<Place> {
        match self.cards.get(&seq)?.at {
            Where::Working(place) => Some(place),
            _ => None,
        }
    }

    /// Whether any card that was fed, or is about to be fed, has not left the line yet.
    pub fn moving(&self) -> bool {
        !self.fed.is_empty()
    }

    /// Whether the source still owes an answer.
    pub fn asked_open(&self) -> bool {
        self.asked > 0
    }

    /// Whether prepared records wait for a station.
    pub fn ready_waits(&self) -> bool {
        self.ready.iter().any(|stage| !stage.is_empty())
    }

    /// Records that were prepared and not fed.
    pub fn unfed(&self) -> Vec<u32> {
        self.ready.iter().flatten().copied().collect()
    }

    /// Removes a card that is stacked, out or cancelled, and returns it. Its buffer place is free.
    pub fn remove(&mut self, seq: u32) -> Option<Card> {
        self.unindex(seq);
        self.doomed.remove(&seq);
        let card = self.cards.remove(&seq)?;
        if let Where::Leaving(_, slot)
        | Where::Parking(slot)
        | Where::Buffered(slot)
        | Where::Stacking(slot) = card.at
        {
            self.free_slots.insert(slot);
        }
        Some(card)
    }

    fn put(&mut self, seq: u32, at: Where) {
        debug_assert!(self.cards.contains_key(&seq), "card {seq} is not under way");
        self.unindex(seq);
        if let Some(card) = self.cards.get_mut(&seq) {
            card.at = at;
        }
        self.index(seq);
    }

    fn index(&mut self, seq: u32) {
        let Some(card) = self.cards.get(&seq) else { return };
        if card.fed() {
            self.fed.insert(seq);
        }
        let stage = card.stage();
        match card.at {
            Where::Asked => self.asked += 1,
            Where::Ready => set(&mut self.ready, stage, |waits| waits.insert(seq)),
            Where::Working(place) => drop(self.working.insert(place, seq)),
            Where::Waiting(_) if card.finished() => {
                self.done.insert(seq);
            }
            Where::Waiting(_) => set(&mut self.waiting, stage, |waits| waits.insert(seq)),
            _ => {}
        }
    }

    /// Takes a card out of every index.
    fn unindex(&mut self, seq: u32) {
        let Some(card) = self.cards.get(&seq) else { return };
        self.fed.remove(&seq);
        self.done.remove(&seq);
        match card.at {
            Where::Asked => self.asked -= 1,
            Where::Ready => set(&mut self.ready, card.stage(), |waits| waits.remove(&seq)),
            Where::Working(place) => drop(self.working.remove(&place)),
            Where::Waiting(_) => set(&mut self.waiting, card.stage(), |waits| waits.remove(&seq)),
            _ => {}
        }
    }

    /// Returns the next move, already entered on the floor; `None` when every card that can move does. If
    /// `feeding` is off, no blank is fed.
    pub fn next_move(&mut self, feeding: bool) -> Option<Move> {
        let next = match self.output_gone {
            true => self.throw_out(),
            false => self.output_move(feeding).or_else(|| self.station_move(feeding)),
        }?;
        self.enter(next);
        Some(next)
    }

    /// The output's next move. Collecting frees a station, so it comes first until only a quarter of the
    /// buffer places is left.
    ///
    /// There is a buffer place for every card under way, so either the next card of the order can be
    /// collected or it lies there and can be stacked: the line cannot lock.
    fn output_move(&self, feeding: bool) -> Option<Move> {
        if self.output_busy {
            return None;
        }
        let unwanted = self.discard();
        if unwanted.is_some() {
            return unwanted;
        }
        let short = self.free_slots.len() <= self.window / 4;
        let (first, second) = (self.collect(), self.stack(feeding));
        if short { second.or(first) } else { first.or(second) }
    }

    /// Without an output, a card that lies in a station can leave only through the reject bin.
    fn throw_out(&self) -> Option<Move> {
        let lying = self.waiting.iter().flatten().chain(&self.done);
        lying.copied().find_map(|seq| match self.cards.get(&seq)?.at {
            Where::Waiting(place) => Some(Move::ThrowOut(seq, place)),
            _ => None,
        })
    }

    fn discard(&self) -> Option<Move> {
        self.doomed.iter().find_map(|seq| match self.cards.get(seq)?.at {
            Where::Buffered(slot) => Some(Move::Discard(*seq, slot)),
            _ => None,
        })
    }

    fn collect(&self) -> Option<Move> {
        let (seq, slot) = (*self.done.first()?, *self.free_slots.first()?);
        match self.cards.get(&seq)?.at {
            Where::Waiting(place) => Some(Move::Collect(seq, place, slot)),
            _ => None,
        }
    }

    fn stack(&self, feeding: bool) -> Option<Move> {
        // A record that will not be fed any more must not keep the others from the stacker.
        let front = if feeding { self.cards.keys().next() } else { self.fed.first() };
        let front = *front?;
        match self.cards.get(&front)?.at {
            Where::Buffered(slot) => Some(Move::Stack(front, slot)),
            _ => None,
        }
    }

    fn station_move(&self, feeding: bool) -> Option<Move> {
        (0..self.stations.stages()).find_map(|stage| {
            let waits = self.waiting.get(stage).and_then(BTreeSet::first).copied();
            let from = waits.and_then(|seq| self.cards.get(&seq)).and_then(|card| match card.at {
                Where::Waiting(from) => Some(from),
                _ => None,
            });
            if let (Some(seq), Some(from), Service::Lost) = (waits, from, self.stations.service(stage)) {
                return Some(Move::ThrowOut(seq, from));
            }
            let feeds = self.stations.any_feeding(stage).filter(|_| feeding);
            let ready = feeds.and_then(|to| Some((self.feedable(stage)?, to)));
            match (waits.zip(from).zip(self.stations.any_free(stage)), ready) {
                (Some(((seq, from), to)), ready) if ready.is_none_or(|(ready, _)| seq < ready) => {
                    Some(Move::Take { seq, from, to })
                }
                (_, ready) => ready.map(|(seq, to)| Move::Feed(seq, to)),
            }
        })
    }

    /// The first record that begins at this stage and can get through the whole line.
    fn feedable(&self, stage: usize) -> Option<u32> {
        let passes = |card: &Card| {
            card.route.iter().all(|stage| {
                self.stations.service(*stage) == Service::Up
                    && !self.held_back.contains(stage)
                    && !(self.stations.lacks_proof(*stage) && self.is_due_at(*stage))
            })
        };
        self.ready.get(stage)?.iter().copied().find(|seq| self.cards.get(seq).is_some_and(passes))
    }

    /// Whether a card on the line has yet to pass a stage. Where the devices of a stage are all unproved, one card
    /// goes there alone: if they are exchanged, it is lost, and no other.
    fn is_due_at(&self, stage: usize) -> bool {
        let to_come = |card: &Card| card.route.get(card.leg..).is_some_and(|route| route.contains(&stage));
        self.fed.iter().filter_map(|seq| self.cards.get(seq)).any(to_come)
    }

    fn enter(&mut self, next: Move) {
        match next {
            Move::Feed(seq, to) | Move::Take { seq, to, .. } => {
                self.stations.occupy(to);
                self.put(seq, Where::Working(to));
            }
            Move::ThrowOut(seq, place) => self.put(seq, Where::Working(place)),
            Move::Collect(seq, place, slot) => {
                self.output_busy = true;
                self.free_slots.remove(&slot);
                self.put(seq, Where::Leaving(place, slot));
            }
            Move::Stack(seq, slot) | Move::Discard(seq, slot) => {
                self.output_busy = true;
                self.put(seq, Where::Stacking(slot));
            }
        }
    }
}

/// Changes the set of a stage.
fn set(stages: &mut [BTreeSet<u32>], stage: Option<usize>, change: impl FnOnce(&mut BTreeSet<u32>) -> bool) {
    if let Some(waits) = stage.and_then(|stage| stages.get_mut(stage)) {
        change(waits);
    }
}

#[cfg(test)]
mod tests;
