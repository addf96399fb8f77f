//! Which stations are proved (`station::proof`), and which unproved one may take a card to prove its device.
//!
//! An unproved station goes first, because each proof costs little and every station that is proved adds to the
//! line's rate. But it gets a card only while no other unproved station with that kind of device has one, none of
//! them moves a card, and none of them may still bring a late one: then the card that its device sees is its own.

use super::stations::{StageService, State, StationService, Stations};
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

impl StationService {
    fn is_unproved(&self) -> bool {
        matches!(self.proof, Some(Proof::Unproved(_)))
    }
}

impl StageService {
    /// Whether a person who exchanges cables may bring a station back. Its cards are not thrown out before.
    pub(super) fn is_miswired(&self) -> bool {
        self.stations.iter().any(|station| station.miswired && station.state == State::Stuck)
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
        if !self.is_unproved(place) {
            self.set_proof(place, Proof::Unproved(0));
        }
    }

    /// Whether the station has to prove its device with its next card.
    pub fn is_unproved(&self, place: Place) -> bool {
        self.at(place).is_some_and(StationService::is_unproved)
    }

    /// Counts an order that ended without a proof. Returns whether there were too many.
    pub fn proof_failed(&mut self, place: Place) -> bool {
        let Some(Proof::Unproved(orders)) = self.at(place).and_then(|station| station.proof) else {
            return false;
        };
        self.set_proof(place, Proof::Unproved(orders + 1));
        orders + 1 >= PROOFS_MAX
    }

    /// Enters that the card of an order has arrived, or will not come.
    pub fn arrived(&mut self, place: Place) {
        if let Some(station) = self.at_mut(place) {
            station.moving = false;
        }
    }

    /// Enters whether a card that this station called for may still come.
    pub fn is_unclear(&mut self, place: Place, unclear: bool) {
        let Some(station) = self.at_mut(place) else { return };
        if std::mem::replace(&mut station.unclear, unclear) && !unclear {
            // The modules that waited for this card can prove their stations again.
            let kind = self.0.get(place.stage).map_or("", |stage| stage.kind);
            for stage in self.0.iter_mut().filter(|stage| stage.kind == kind) {
                stage.given_up &= stage.up == 0;
            }
        }
    }

    /// The station whose late card keeps every station of a stage that is in service from its proof, and so from its
    /// next card; `None` if one of them has a card, or can have one.
    pub fn late_card_for(&self, stage: usize) -> Option<Place> {
        let of = self.0.get(stage).filter(|of| of.up > 0)?;
        let mut in_service = of.stations.iter().filter(|station| station.state.is_up());
        if !in_service.all(|station| station.state == State::Free && station.is_unproved()) {
            return None;
        }
        self.of_kind(of.kind).find(|(_, station)| station.unclear).map(|(place, _)| place)
    }

    /// Takes a station out of service whose device stands at another station, or that has another's.
    pub fn miswired(&mut self, place: Place) {
        if let Some(station) = self.at_mut(place) {
            station.miswired = true;
        }
        self.stuck(place);
    }

    /// Enters that a person has freed a station: if its device sees cards, the next one proves it.
    pub(super) fn wired_anew(&mut self, place: Place) {
        if let Some(station) = self.at_mut(place) {
            station.miswired = false;
            station.proof = station.proof.map(|_| Proof::Unproved(0));
        }
    }

    /// Whether a module needs a proof before it can work on a card: its devices see cards, and none is proved.
    pub fn lacks_proof(&self, stage: usize) -> bool {
        self.0.get(stage).is_some_and(|stage| {
            let proofs = || stage.stations.iter().filter_map(|station| station.proof);
            proofs().next().is_some() && proofs().all(|proof| proof != Proof::Proved)
        })
    }

    /// The other stations with that kind of device that are free and unproved: one of them may have the device
    /// that this station should have.
    pub fn suspects(&self, of: Place) -> Vec<Place> {
        let Some(kind) = self.0.get(of.stage).map(|stage| stage.kind) else { return Vec::new() };
        let suspect = |(place, station): &(Place, &StationService)| {
            *place != of && station.state == State::Free && station.is_unproved()
        };
        self.of_kind(kind).filter(suspect).map(|(place, _)| place).collect()
    }

    /// A free station of a stage that can have a card now: an unproved one first, if it can be proved now.
    pub fn any_free(&self, stage: usize) -> Option<Place> {
        self.any_of(stage, |_| true)
    }

    /// Like [`Self::any_free`], of those that have blanks to feed.
    pub fn any_feeding(&self, stage: usize) -> Option<Place> {
        let without = &self.0.get(stage)?.without_blanks;
        self.any_of(stage, |station| !without.contains(station))
    }

    fn any_of(&self, stage: usize, may: impl Fn(&usize) -> bool) -> Option<Place> {
        let of = self.0.get(stage)?;
        let free = || {
            let free = of.free.iter().filter(|station| may(station));
            free.map(|station| Place { stage, station: *station })
        };
        let Some(unproved) = free().find(|place| self.is_unproved(*place)) else { return free().next() };
        let others = || self.of_kind(of.kind).map(|(_, station)| station);
        if others().any(|other| other.unclear || other.state.is_held() && other.is_unproved()) {
            return free().find(|place| !self.is_unproved(*place));
        }
        // Cards that are moving arrive soon, and no other one is moved before.
        let moving = others().any(|other| other.moving && other.state.is_held());
        (!moving).then_some(unproved)
    }

    /// Every station with this kind of device.
    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = (Place, &StationService)> {
        let stages = self.0.iter().enumerate().filter(move |(_, stage)| stage.kind == kind);
        stages.flat_map(|(stage, of)| {
            let stations = of.stations.iter().enumerate();
            stations.map(move |(station, service)| (Place { stage, station }, service))
        })
    }

    fn set_proof(&mut self, place: Place, proof: Proof) {
        if let Some(station) = self.at_mut(place) {
            station.proof = Some(proof);
        }
    }
}
