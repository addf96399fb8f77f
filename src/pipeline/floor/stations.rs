//! The stations of the floor: which are free, which are out of service, which module has none left.
//!
//! ```text
//!           order                    card lifted or thrown out, order void
//!  FREE ────────────► OCCUPIED ─────────────────────────────────────────────► FREE
//!   ▲                    │
//!   │                    │ its device does not answer; no card lies there any more
//!   │ it answers again   ▼
//!   └───────────── OUT OF SERVICE (its thread probes it)
//!                        │
//!                        │ a card cannot be thrown out, or only a person can help (from OCCUPIED as well)
//!                        ▼
//!                      STUCK (until a person says that it is ready)
//!
//!           its machine wants supplies                            and it does not answer any more
//! OCCUPIED ────────────────────────────► WANTING (with its card) ─────────────────────────────────► SILENT
//!    ▲  ▲                                   │    ▲                                                  │ │
//!    │  └────── it has got them ────────────┘    └──────────────── it says so again ────────────────┘ │
//!    └───────────────────────────────────── it is ready ──────────────────────────────────────────────┘
//! ```
//!
//! A machine that is out of service and says that it wants supplies is waited for without a limit, too. A card
//! that leaves a WANTING or SILENT station leaves it as it would an OCCUPIED one. A station without blanks takes
//! cards from others, but gets no order to feed.

use std::collections::BTreeSet;

use super::proofs::Proof;
use crate::pipeline::station::Place;

/// Whether a module can work on cards at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// At least one station is in service.
    Up,
    /// No station is in service, but one may answer again.
    Awaited,
    /// No station is in service, and the line waits for none.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Occupied,
    Wanting,
    Silent,
    OutOfService,
    /// Out of service, and its machine says that it wants supplies.
    OutWanting,
    Stuck,
}

impl State {
    pub(super) fn is_held(self) -> bool {
        HELD.contains(&self)
    }

    pub(super) fn is_up(self) -> bool {
        matches!(self, Self::Free | Self::Occupied)
    }

    fn is_probed(self) -> bool {
        matches!(self, Self::OutOfService | Self::Silent)
    }

    fn wants(self) -> bool {
        matches!(self, Self::Wanting | Self::OutWanting)
    }
}

/// States of a station with a card or an order.
const HELD: [State; 3] = [State::Occupied, State::Wanting, State::Silent];
/// Every state but STUCK.
const NOT_STUCK: [State; 6] =
    [State::Free, State::Occupied, State::Wanting, State::Silent, State::OutOfService, State::OutWanting];

/// What the floor knows of one station.
#[derive(Debug, Clone)]
pub(super) struct StationService {
    pub(super) state: State,
    /// What is known of the device; `None` for one that does not see cards.
    pub(super) proof: Option<Proof>,
    /// A card is being moved into the station.
    pub(super) moving: bool,
    /// The device stands at another station: only a person can exchange the cables.
    pub(super) miswired: bool,
    /// A card that the station called for may still come, although the order has ended.
    pub(super) unclear: bool,
}

impl StationService {
    const FREE: Self =
        Self { state: State::Free, proof: None, moving: false, miswired: false, unclear: false };
}

pub(super) struct StageService {
    /// Kind of the devices, if they see cards.
    pub(super) kind: &'static str,
    pub(super) stations: Vec<StationService>,
    pub(super) free: BTreeSet<usize>,
    /// Those whose transport has no blank to feed.
    pub(super) without_blanks: BTreeSet<usize>,
    /// Number of stations that are free or occupied.
    pub(super) up: usize,
    probed: usize,
    /// Number of stations whose machines want supplies.
    wanting: usize,
    /// The line waited for it in vain.
    pub(super) given_up: bool,
}

/// All stations, by stage.
pub struct Stations(pub(super) Vec<StageService>);

impl Stations {
    /// Stations by stage, all of them free; `counts` has their number in each.
    pub fn new(counts: &[usize]) -> Self {
        let stage = |n: &usize| StageService {
            kind: "",
            stations: vec![StationService::FREE; *n],
            free: (0..*n).collect(),
            without_blanks: BTreeSet::new(),
            up: *n,
            probed: 0,
            wanting: 0,
            given_up: false,
        };
        Self(counts.iter().map(stage).collect())
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.0.len()
    }

    /// Number of stations in the largest stage.
    pub fn widest(&self) -> usize {
        self.0.iter().map(|s| s.stations.len()).max().unwrap_or(0)
    }

    /// Returns what the module of a stage can do.
    ///
    /// Stations in service do not suffice if a late card keeps each of them from its proof: a line that went on waiting
    /// for them would wait without a limit.
    pub fn service(&self, stage: usize) -> Service {
        match self.0.get(stage) {
            Some(of) if of.up > 0 && self.late_card_for(stage).is_none() => Service::Up,
            Some(of) if of.wanting > 0 => Service::Awaited,
            Some(of) if (of.up > 0 || of.probed > 0 || of.is_miswired()) && !of.given_up => Service::Awaited,
            _ => Service::Lost,
        }
    }

    /// Notes whether the transport of a station has blanks to feed.
    pub fn has_blanks(&mut self, place: Place, has: bool) {
        if let Some(stage) = self.0.get_mut(place.stage) {
            if has {
                stage.without_blanks.remove(&place.station);
            } else {
                stage.without_blanks.insert(place.station);
            }
        }
    }

    /// Whether any station lacks blanks to feed.
    pub fn lacks_blanks(&self) -> bool {
        self.0.iter().any(|stage| !stage.without_blanks.is_empty())
    }

    /// Whether a machine of a stage wants supplies, for which the line waits without a limit.
    pub fn wants_supplies(&self, stage: usize) -> bool {
        self.0.get(stage).is_some_and(|stage| stage.wanting > 0)
    }

    /// Whether the card or order of a station waits for its machine.
    pub fn waits(&self, place: Place) -> bool {
        matches!(self.state(place), Some(State::Wanting | State::Silent))
    }

    /// Whether only a person can free a station.
    pub fn is_stuck(&self, place: Place) -> bool {
        self.state(place) == Some(State::Stuck)
    }

    /// The machine of a station wants supplies.
    pub fn wants(&mut self, place: Place) {
        if self.state(place).is_some_and(State::wants) {
            return;
        }
        let out = matches!(self.state(place), Some(State::OutOfService | State::OutWanting));
        let to = if out { State::OutWanting } else { State::Wanting };
        self.turn(place, &[State::Occupied, State::Silent, State::OutOfService], to);
    }

    /// The machine of a station wanted supplies, and does not answer any more.
    pub fn silent(&mut self, place: Place) {
        let out = self.state(place) == Some(State::OutWanting);
        let to = if out { State::OutOfService } else { State::Silent };
        self.turn(place, &[State::Wanting, State::OutWanting], to);
    }

    /// The machine of a station has got its supplies.
    pub fn supplied(&mut self, place: Place) {
        self.turn(place, &[State::Wanting, State::Silent], State::Occupied);
    }

    /// Puts a station back into service that a person has freed.
    pub fn freed(&mut self, place: Place) {
        if self.is_stuck(place) {
            self.set(place, State::Stuck, State::Free);
            self.wired_anew(place);
        }
    }

    fn state(&self, place: Place) -> Option<State> {
        self.at(place).map(|station| station.state)
    }

    pub(super) fn at(&self, place: Place) -> Option<&StationService> {
        self.0.get(place.stage)?.stations.get(place.station)
    }

    pub(super) fn at_mut(&mut self, place: Place) -> Option<&mut StationService> {
        self.0.get_mut(place.stage)?.stations.get_mut(place.station)
    }

    /// Occupies a free station, because an order goes there.
    pub fn occupy(&mut self, place: Place) {
        self.turn(place, &[State::Free], State::Occupied);
        if let Some(station) = self.at_mut(place) {
            station.moving = true;
        }
    }

    /// Frees a station: no card lies there any more.
    pub fn free(&mut self, place: Place) {
        self.turn(place, &HELD, State::Free);
    }

    /// Takes a station out of service: no card lies there any more, and its device does not answer.
    pub fn out_of_service(&mut self, place: Place) {
        self.turn(place, &HELD, State::OutOfService);
    }

    /// Puts a station back into service: its device answers again.
    pub fn back(&mut self, place: Place) {
        self.turn(place, &[State::OutOfService, State::OutWanting], State::Free);
    }

    /// Takes a station out of service for the whole run, because it needs a person.
    pub fn stuck(&mut self, place: Place) {
        if !self.is_stuck(place) {
            self.turn(place, &NOT_STUCK, State::Stuck);
        }
    }

    /// Gives up waiting for a stage without a station in service, until a station comes back.
    pub fn give_up(&mut self, stage: usize) {
        if let Some(stage) = self.0.get_mut(stage) {
            stage.given_up = true;
        }
    }

    fn turn(&mut self, place: Place, from: &[State], to: State) {
        let Some(was) = self.state(place) else {
            debug_assert!(false, "there is no station at {place:?}");
            return;
        };
        if !from.contains(&was) {
            // A station may get stuck at any moment. An order that was begun there still ends later.
            debug_assert!(
                was == State::Stuck && to != State::Occupied,
                "{place:?} cannot go from {was:?} to {to:?}"
            );
            return;
        }
        self.set(place, was, to);
    }

    fn set(&mut self, place: Place, was: State, to: State) {
        let Some(stage) = self.0.get_mut(place.stage) else { return };
        let Some(station) = stage.stations.get_mut(place.station) else { return };
        station.state = to;
        if to == State::Free {
            stage.free.insert(place.station);
        } else {
            stage.free.remove(&place.station);
        }
        let count = |count: usize, is: fn(State) -> bool| count + usize::from(is(to)) - usize::from(is(was));
        let up = stage.up;
        stage.up = count(up, State::is_up);
        stage.probed = count(stage.probed, State::is_probed);
        stage.wanting = count(stage.wanting, State::wants);
        stage.given_up &= stage.up <= up;
    }
}
