//! Which stations are proved (`station::proof`), and which unproved one may take a card to prove its device.
//!
//! An unproved station goes first, because each proof costs little and every station that is proved adds to the
//! line's rate. But it gets a card only while no other unproved station with that kind of device has one, none of
//! them moves a card, and none of them may still bring a late one: then the card that its device sees is its own.

use super::stations::{StageService, State, Stations};
use crate::pipeline::station::Place;

/// What is known of a station whose device sees cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is the device of this station.
    Proved,
    /// It may be another station's. So many cards in a row have not proved it.
    Unproved(u32),
}

/// Most orders in a row without a proof; more of them need a person.
const PROOFS_MAX: u32 = 3;

impl StageService {
    /// Whether a person who exchanges cables may bring a station back. Its cards are not thrown out before.
    pub(super) fn is_miswired(&self) -> bool {
        self.miswired.iter().zip(&self.states).any(|(is, state)| *is && *state == State::Stuck)
    }
}

impl Stations {
    /// Enters that the device of a station sees cards, and whether it is proved. Devices of one `kind` can be
    /// mistaken for each other.
    pub fn sees_cards(&mut self, place: Place, kind: &'static str, proved: bool) {
        if let Some(stage) = self.0.get_mut(place.stage) {
            stage.kind = kind;
        }
        self.set_proof(place, if proved { Proof::Proved } else { Proof::Unproved(0) });
    }

    /// Enters that the device of a station is proved.
    pub fn proved(&mut self, place: Place) {
        self.set_proof(place, Proof::Proved);
    }

    /// Enters that nothing shows any more that the device of a station is its own.
    pub fn unproved(&mut self, place: Place) {
        if !matches!(self.proof(place), Some(Proof::Unproved(_))) {
            self.set_proof(place, Proof::Unproved(0));
        }
    }

    /// Whether the station has to prove its device with its next card.
    pub fn is_unproved(&self, place: Place) -> bool {
        matches!(self.proof(place), Some(Proof::Unproved(_)))
    }

    /// Counts an order that ended without a proof. Returns whether there were too many.
    pub fn proof_failed(&mut self, place: Place) -> bool {
        let Some(Proof::Unproved(orders)) = self.proof(place) else { return false };
        self.set_proof(place, Proof::Unproved(orders + 1));
        orders + 1 >= PROOFS_MAX
    }

    /// Enters that the card of an order has arrived, or will not come.
    pub fn arrived(&mut self, place: Place) {
        self.set_moving(place, false);
    }

    /// Enters whether a card that this station called for may still come.
    pub fn is_unclear(&mut self, place: Place, unclear: bool) {
        if let Some(is) = self.0.get_mut(place.stage).and_then(|s| s.unclear.get_mut(place.station)) {
            *is = unclear;
        }
    }

    /// Takes a station out of service whose device stands at another station, or that has another's.
    pub fn miswired(&mut self, place: Place) {
        if let Some(is) = self.0.get_mut(place.stage).and_then(|s| s.miswired.get_mut(place.station)) {
            *is = true;
        }
        self.stuck(place);
    }

    /// Whether a module needs a proof before it can work on a card: its devices see cards, and none is proved.
    pub fn lacks_proof(&self, stage: usize) -> bool {
        self.0.get(stage).is_some_and(|stage| {
            stage.proofs.iter().any(Option::is_some) && !stage.proofs.contains(&Some(Proof::Proved))
        })
    }

    /// The other stations with that kind of device that are free and unproved: one of them may have the device
    /// that this station should have.
    pub fn suspects(&self, of: Place) -> Vec<Place> {
        let Some(kind) = self.0.get(of.stage).map(|stage| stage.kind) else { return Vec::new() };
        let free = |(_, stage, station): &(Place, &StageService, usize)| {
            stage.states.get(*station) == Some(&State::Free)
        };
        let others = self.of_kind(kind).filter(|(place, ..)| *place != of).filter(free);
        others.map(|(place, ..)| place).filter(|place| self.is_unproved(*place)).collect()
    }

    /// A free station of a stage that can have a card now: an unproved one first, if it can be proved now.
    pub fn any_free(&self, stage: usize) -> Option<Place> {
        let of = self.0.get(stage)?;
        let at = |station| Place { stage, station };
        let unproved = of.free.iter().copied().find(|station| self.is_unproved(at(*station)));
        let Some(unproved) = unproved else { return of.free.first().copied().map(at) };
        let others = || self.of_kind(of.kind).map(|(_, stage, station)| (stage, station));
        let proves = |(stage, station): (&StageService, usize)| {
            stage.states.get(station) == Some(&State::Occupied)
                && matches!(stage.proofs.get(station), Some(Some(Proof::Unproved(_))))
        };
        if others().any(proves) || others().any(|(s, station)| s.unclear.get(station) == Some(&true)) {
            let proved = of.free.iter().copied().find(|station| !self.is_unproved(at(*station)));
            return proved.map(at);
        }
        // Cards that are moving arrive soon, and no other one is moved before.
        let moving = others().any(|(stage, station)| {
            stage.moving.get(station) == Some(&true) && stage.states.get(station) == Some(&State::Occupied)
        });
        (!moving).then(|| at(unproved))
    }

    /// Every station with this kind of device.
    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = (Place, &StageService, usize)> {
        let stages = self.0.iter().enumerate().filter(move |(_, stage)| stage.kind == kind);
        stages.flat_map(|(index, stage)| {
            (0..stage.states.len()).map(move |station| (Place { stage: index, station }, stage, station))
        })
    }

    fn proof(&self, place: Place) -> Option<Proof> {
        self.0.get(place.stage).and_then(|stage| stage.proofs.get(place.station).copied().flatten())
    }

    fn set_proof(&mut self, place: Place, proof: Proof) {
        if let Some(is) = self.0.get_mut(place.stage).and_then(|s| s.proofs.get_mut(place.station)) {
            *is = Some(proof);
        }
    }

    pub(super) fn set_moving(&mut self, place: Place, moving: bool) {
        if let Some(is) = self.0.get_mut(place.stage).and_then(|s| s.moving.get_mut(place.station)) {
            *is = moving;
        }
    }
}
