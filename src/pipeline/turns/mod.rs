//! Whose turn it is: wrong keys destroy each chip that is opened with them, so one card of each KMC and key
//! version goes first, and the others wait for it. Pure: this file decides, the dispatcher acts.
//!
//! The first blank of a run is fed alone:
//!
//! ```text
//!         a blank is fed for a record with a chip          a proof, or every module is done with the card
//! OPEN ───────────────────────────────────────────► ALONE ─────────────────────────────────────────────► OVER
//!   ▲                                                 │
//!   └──────────── the card is out ────────────────────┘
//! ```
//!
//! Each KMC with its key version has a turn:
//!
//! ```text
//!               a station asks: it goes first         EXTERNAL AUTHENTICATE answers 9000
//!  (unknown) ────────────────────────────────► TRIED ─────────────────────────────────────► PROVED
//!                 ▲                            │  │ others wait                               │
//!                 │ out for another reason,    │  │                                           │
//!                 └─ and none waits ───────────┘  │ wrong cryptogram                          │ two in a row
//!                                                 ▼                                           ▼
//!                                              DOUBTED ◄──────────────────────────────────────┘
//! ```
//!
//! When the card that goes first is out for another reason, the turn goes to the card that waits longest. A
//! card that waited asks its chip INITIALIZE UPDATE anew before it goes on. Once a KMC is in doubt, the job is
//! held, and no KMC is tried any more: only cards of proved ones go on.

use std::collections::{BTreeMap, VecDeque};

use super::station::Place;
use crate::ids::KmcRef;

/// Wrong card cryptograms of proved keys that stop the job. One alone may come from a bad card.
const WRONG_CRYPTOGRAMS: usize = 2;

/// The answer to a station that asks whether the chip that lies there may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Yes; `first`: its answer to EXTERNAL AUTHENTICATE is the proof that others wait for.
    Given {
        /// Whether this card goes first.
        first: bool,
    },
    /// Not yet.
    Later,
    /// No: its keys are in doubt.
    Never,
}

/// A word to a station that was told to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Ask the chip anew, and then the line.
    AskAnew,
    /// The card has to go.
    Never,
}

/// Why the keys of a KMC are in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// No card of this KMC has proved its keys in this run.
    First,
    /// This number of wrong cryptograms came in a row, although a card had proved the keys.
    InARow(usize),
}

#[derive(Debug, PartialEq, Eq)]
enum Alone {
    Open,
    Fed(u32),
    Over,
}

#[derive(Debug)]
enum Turn {
    Tried { by: Place, waiting: VecDeque<Place> },
    Proved,
    Doubted,
}

/// The turns of one run.
#[derive(Debug)]
pub struct KeyTurns {
    alone: Alone,
    kmcs: BTreeMap<KmcRef, Turn>,
    /// KMC of each card with a wrong cryptogram, until a card of that KMC is finished.
    wrong: Vec<KmcRef>,
    doubted: bool,
    words: VecDeque<(Place, Word)>,
}

impl KeyTurns {
    /// Nothing is fed and nothing is proved.
    pub fn new() -> Self {
        Self {
            alone: Alone::Open,
            kmcs: BTreeMap::new(),
            wrong: Vec::new(),
            doubted: false,
            words: VecDeque::new(),
        }
    }

    /// Whether no blank may be fed for a record with a chip, because one is fed alone.
    pub fn one_is_alone(&self) -> bool {
        matches!(self.alone, Alone::Fed(_))
    }

    /// Notes that a blank is fed for a record with a chip.
    pub fn fed(&mut self, seq: u32) {
        if self.alone == Alone::Open {
            self.alone = Alone::Fed(seq);
        }
    }

    /// Notes that the card of a record is out of the line, or that its order to feed is void.
    pub fn gone(&mut self, seq: u32) {
        if self.alone == Alone::Fed(seq) {
            self.alone = Alone::Open;
        }
    }

    /// Notes that every module is done with the card of a record.
    pub fn finished(&mut self, seq: u32) {
        if self.alone == Alone::Fed(seq) {
            self.alone = Alone::Over;
        }
    }

    /// A station asks whether it may open the chip that lies there.
    pub fn asks(&mut self, place: Place, kmc: KmcRef) -> Leave {
        if self.holds(place).is_some_and(|held| held != kmc) {
            // Another chip than before: a person changed the card.
            self.left(place);
        }
        match self.kmcs.get_mut(&kmc) {
            Some(Turn::Proved) => Leave::Given { first: false },
            Some(Turn::Doubted) => Leave::Never,
            Some(Turn::Tried { by, .. }) if *by == place => {
                if self.doubted {
                    self.left(place);
                    return Leave::Never;
                }
                Leave::Given { first: true }
            }
            Some(Turn::Tried { waiting, .. }) => {
                if !waiting.contains(&place) {
                    waiting.push_back(place);
                }
                Leave::Later
            }
            None if self.doubted => Leave::Never,
            None => {
                self.kmcs.insert(kmc, Turn::Tried { by: place, waiting: VecDeque::new() });
                Leave::Given { first: true }
            }
        }
    }

    /// The card of this station has answered EXTERNAL AUTHENTICATE with 9000.
    pub fn proved(&mut self, place: Place) {
        let Some(kmc) = self.tried_by(place) else { return };
        self.alone = Alone::Over;
        if let Some(Turn::Tried { waiting, .. }) = self.kmcs.insert(kmc, Turn::Proved) {
            self.words.extend(waiting.into_iter().map(|place| (place, Word::AskAnew)));
        }
    }

    /// The card of this station gave a wrong cryptogram, or refused ours. Returns why the job has to be held,
    /// if it has to.
    pub fn wrong(&mut self, kmc: KmcRef) -> Option<Doubt> {
        match self.kmcs.get(&kmc) {
            Some(Turn::Doubted) => None,
            Some(Turn::Proved) => {
                self.wrong.push(kmc);
                let count = self.wrong.len();
                if count < WRONG_CRYPTOGRAMS {
                    return None;
                }
                for kmc in std::mem::take(&mut self.wrong) {
                    self.doubt(kmc);
                }
                Some(Doubt::InARow(count))
            }
            Some(Turn::Tried { .. }) | None => {
                self.doubt(kmc);
                Some(Doubt::First)
            }
        }
    }

    /// A chip module is done with a card of this KMC.
    pub fn good(&mut self, place: Place, kmc: KmcRef) {
        self.proved(place);
        self.wrong.retain(|wrong| *wrong != kmc);
    }

    /// The card of this station is out, or its station died: the turn goes to the card that waits longest.
    pub fn left(&mut self, place: Place) {
        for turn in self.kmcs.values_mut() {
            if let Turn::Tried { waiting, .. } = turn {
                waiting.retain(|other| *other != place);
            }
        }
        let Some(kmc) = self.tried_by(place) else { return };
        let doubted = self.doubted;
        let Some(Turn::Tried { by, waiting }) = self.kmcs.get_mut(&kmc) else { return };
        if doubted {
            self.words.extend(waiting.drain(..).map(|place| (place, Word::Never)));
        }
        match waiting.pop_front() {
            Some(next) => {
                *by = next;
                self.words.push_back((next, Word::AskAnew));
            }
            None => drop(self.kmcs.remove(&kmc)),
        }
    }

    /// Whether the card of this station waits for its turn.
    pub fn waits(&self, place: Place) -> bool {
        self.kmcs.values().any(|turn| match turn {
            Turn::Tried { waiting, .. } => waiting.contains(&place),
            Turn::Proved | Turn::Doubted => false,
        })
    }

    /// The next word to a station that waited.
    pub fn next_word(&mut self) -> Option<(Place, Word)> {
        self.words.pop_front()
    }

    fn doubt(&mut self, kmc: KmcRef) {
        self.doubted = true;
        if let Some(Turn::Tried { waiting, .. }) = self.kmcs.insert(kmc, Turn::Doubted) {
            self.words.extend(waiting.into_iter().map(|place| (place, Word::Never)));
        }
    }

    fn tried_by(&self, place: Place) -> Option<KmcRef> {
        let tried = |turn: &Turn| matches!(turn, Turn::Tried { by, .. } if *by == place);
        self.kmcs.iter().find(|(_, turn)| tried(turn)).map(|(kmc, _)| *kmc)
    }

    /// The KMC for whose turn this station stands, first or waiting.
    fn holds(&self, place: Place) -> Option<KmcRef> {
        let holds = |turn: &Turn| match turn {
            Turn::Tried { by, waiting } => *by == place || waiting.contains(&place),
            Turn::Proved | Turn::Doubted => false,
        };
        self.kmcs.iter().find(|(_, turn)| holds(turn)).map(|(kmc, _)| *kmc)
    }
}

#[cfg(test)]
mod tests;
