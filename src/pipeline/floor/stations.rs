//! The stations of the floor: which is free, which is out of service, which module has none left.
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

use crate::pipeline::station::Place;

/// What a module can do at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// At least one station works.
    Up,
    /// None does, but one may answer again.
    Awaited,
    /// None does, and none is waited for.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Occupied,
    OutOfService,
    Stuck,
}

struct StageService {
    states: Vec<State>,
    free: BTreeSet<usize>,
    /// Free or occupied.
    up: usize,
    probed: usize,
    /// It was waited for in vain.
    given_up: bool,
}

/// All stations, by stage.
pub struct Stations(Vec<StageService>);

impl Stations {
    /// So many of each stage, all free.
    pub fn new(counts: &[usize]) -> Self {
        let stage = |n: &usize| StageService {
            states: vec![State::Free; *n],
            free: (0..*n).collect(),
            up: *n,
            probed: 0,
            given_up: false,
        };
        Self(counts.iter().map(stage).collect())
    }

    /// How many stages there are.
    pub fn stages(&self) -> usize {
        self.0.len()
    }

    /// Stations of the largest stage.
    pub fn widest(&self) -> usize {
        self.0.iter().map(|s| s.states.len()).max().unwrap_or(0)
    }

    /// What a stage can do.
    pub fn service(&self, stage: usize) -> Service {
        match self.0.get(stage) {
            Some(stage) if stage.up > 0 => Service::Up,
            Some(stage) if stage.probed > 0 && !stage.given_up => Service::Awaited,
            _ => Service::Lost,
        }
    }

    /// A free station of a stage.
    pub fn any_free(&self, stage: usize) -> Option<Place> {
        let station = *self.0.get(stage)?.free.first()?;
        Some(Place { stage, station })
    }

    /// An order goes to a free station.
    pub fn occupy(&mut self, place: Place) {
        self.turn(place, &[State::Free], State::Occupied);
    }

    /// No card lies there any more.
    pub fn free(&mut self, place: Place) {
        self.turn(place, &[State::Occupied], State::Free);
    }

    /// No card lies there any more, and its device does not answer.
    pub fn out_of_service(&mut self, place: Place) {
        self.turn(place, &[State::Occupied], State::OutOfService);
    }

    /// Its device answers again.
    pub fn back(&mut self, place: Place) {
        self.turn(place, &[State::OutOfService], State::Free);
    }

    /// It needs a person.
    pub fn stuck(&mut self, place: Place) {
        self.turn(place, &[State::Free, State::Occupied, State::OutOfService], State::Stuck);
    }

    /// A stage without a station in service is waited for no longer, until one comes back.
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
            // A station may get stuck in the middle of anything, and what was begun there then ends.
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
