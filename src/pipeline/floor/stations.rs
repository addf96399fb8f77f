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
//!                      STUCK (until the next run)
//! ```

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
    OutOfService,
    Stuck,
}

pub(super) struct StageService {
    /// Kind of the devices, if they see cards.
    pub(super) kind: &'static str,
    pub(super) states: Vec<State>,
    /// What is known of the device; `None` for one that does not see cards.
    pub(super) proofs: Vec<Option<Proof>>,
    /// A card is being moved into the station.
    pub(super) moving: Vec<bool>,
    /// The device stands at another station: only a person can exchange the cables.
    pub(super) miswired: Vec<bool>,
    /// A card that the station called for may still come, although the order has ended.
    pub(super) unclear: Vec<bool>,
    pub(super) free: BTreeSet<usize>,
    /// Number of stations that are free or occupied.
    up: usize,
    probed: usize,
    /// The line waited for it in vain.
    given_up: bool,
}

/// All stations, by stage.
pub struct Stations(pub(super) Vec<StageService>);

impl Stations {
    /// Stations by stage, all of them free; `counts` has their number in each.
    pub fn new(counts: &[usize]) -> Self {
        let stage = |n: &usize| StageService {
            kind: "",
            states: vec![State::Free; *n],
            proofs: vec![None; *n],
            moving: vec![false; *n],
            miswired: vec![false; *n],
            unclear: vec![false; *n],
            free: (0..*n).collect(),
            up: *n,
            probed: 0,
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
        self.0.iter().map(|s| s.states.len()).max().unwrap_or(0)
    }

    /// Returns what the module of a stage can do.
    pub fn service(&self, stage: usize) -> Service {
        match self.0.get(stage) {
            Some(stage) if stage.up > 0 => Service::Up,
            Some(stage) if (stage.probed > 0 || stage.is_miswired()) && !stage.given_up => Service::Awaited,
            _ => Service::Lost,
        }
    }

    /// Occupies a free station, because an order goes there.
    pub fn occupy(&mut self, place: Place) {
        self.turn(place, &[State::Free], State::Occupied);
        self.set_moving(place, true);
    }

    /// Frees a station: no card lies there any more.
    pub fn free(&mut self, place: Place) {
        self.turn(place, &[State::Occupied], State::Free);
    }

    /// Takes a station out of service: no card lies there any more, and its device does not answer.
    pub fn out_of_service(&mut self, place: Place) {
        self.turn(place, &[State::Occupied], State::OutOfService);
    }

    /// Puts a station back into service: its device answers again.
    pub fn back(&mut self, place: Place) {
        self.turn(place, &[State::OutOfService], State::Free);
    }

    /// Takes a station out of service for the whole run, because it needs a person.
    pub fn stuck(&mut self, place: Place) {
        self.turn(place, &[State::Free, State::Occupied, State::OutOfService], State::Stuck);
    }

    /// Gives up waiting for a stage without a station in service, until a station comes back.
    pub fn give_up(&mut self, stage: usize) {
        if let Some(stage) = self.0.get_mut(stage) {
            stage.given_up = true;
        }
    }

    fn turn(&mut self, place: Place, from: &[State], to: State) {
        let stage = self.0.get_mut(place.stage);
        let Some((stage, was)) = stage.and_then(|s| s.states.get(place.station).copied().map(|was| (s, was)))
        else {
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
        let Some(state) = stage.states.get_mut(place.station) else { return };
        *state = to;
        let up = |state| matches!(state, State::Free | State::Occupied);
        if to == State::Free {
            stage.free.insert(place.station);
        } else {
            stage.free.remove(&place.station);
        }
        stage.up = stage.up + usize::from(up(to)) - usize::from(up(was));
        stage.probed =
            stage.probed + usize::from(to == State::OutOfService) - usize::from(was == State::OutOfService);
        stage.given_up &= stage.up == 0;
    }
}
