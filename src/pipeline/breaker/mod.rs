//! Circuit breakers: failures in a row mean that the fault is in a station or a module, and not in the cards.
//! Pure: this file counts, the dispatcher acts. Wrong keys: `turns`.
//!
//! | counted | reset by | consequence |
//! |---|---|---|
//! | failures with one reason word at one station | a card finished there | the station needs a person |
//! | rejects of one module, at any station, for any reason | a card finished at that module | the job stops |
//!
//! Not counted: a fault that takes the station out of service by itself (`station::probe` counts those), and
//! a card that is thrown out because another station cannot go on with it.

use std::collections::BTreeMap;

use super::station::Place;
use crate::profile::line::BreakerLimits as Limits;
use crate::reason::ReasonWord;

/// The limit that a failure has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// This number of failures with one reason at the station.
    Station(u32),
    /// This number of rejects at the module.
    Job(u32),
}

/// The counts of one run.
pub struct Breakers {
    limits: Limits,
    /// The last failure of each station, and how often it came in a row.
    stations: BTreeMap<Place, (ReasonWord, u32)>,
    /// Rejects in a row of each module.
    modules: BTreeMap<usize, u32>,
}

impl Breakers {
    /// Counts from zero.
    pub fn new(limits: Limits) -> Self {
        Self { limits, stations: BTreeMap::new(), modules: BTreeMap::new() }
    }

    /// Counts a card that a station threw out before it goes on. Returns the most serious limit that this card
    /// has reached.
    pub fn failed(&mut self, place: Place, reason: &ReasonWord) -> Option<Trip> {
        let (last, equal) = self.stations.entry(place).or_insert_with(|| (reason.clone(), 0));
        if last == reason {
            *equal = equal.saturating_add(1);
        } else {
            (*last, *equal) = (reason.clone(), 1);
        }
        let rejects = self.modules.entry(place.stage).or_default();
        *rejects = rejects.saturating_add(1);
        if *rejects >= self.limits.job {
            Some(Trip::Job(*rejects))
        } else if *equal >= self.limits.station {
            Some(Trip::Station(*equal))
        } else {
            None
        }
    }

    /// Counts a card that a station finished.
    pub fn finished(&mut self, place: Place) {
        self.stations.remove(&place);
        self.modules.remove(&place.stage);
    }
}

#[cfg(test)]
mod tests;
