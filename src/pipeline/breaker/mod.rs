//! Circuit breakers: failures in a row mean that the fault is in a station, a module or the keys, and not in
//! the cards. Pure: this file counts, the dispatcher acts.
//!
//! | counted | reset by | consequence |
//! |---|---|---|
//! | failures with one reason word at one station | a card finished there | the station needs a person |
//! | rejects of one module, at any station, for any reason | a card finished at that module | the job stops |
//! | wrong card cryptograms | a finished card of that KMC and key version | the job stops |
//!
//! Not counted: a fault that takes the station out of service by itself (`station::probe` counts those), and
//! a card that is thrown out because another station cannot go on with it.

use std::collections::BTreeMap;

use super::station::Place;
use crate::ids::KmcRef;
use crate::profile::line::BreakerLimits as Limits;
use crate::reason::ReasonWord;

/// Wrong card cryptograms that stop the job. One alone may come from a bad card.
const WRONG_CRYPTOGRAMS: usize = 2;

/// The limit that a failure has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// This number of failures with one reason at the station.
    Station(u32),
    /// This number of rejects at the module.
    Job(u32),
    /// Wrong card cryptograms: the keys are in doubt.
    Cryptogram,
}

/// The counts of one run.
pub struct Breakers {
    limits: Limits,
    /// The last failure of each station, and how often it came in a row.
    stations: BTreeMap<Place, (ReasonWord, u32)>,
    /// Rejects in a row of each module.
    modules: BTreeMap<usize, u32>,
    /// KMC of each card with a wrong cryptogram, until a card of that KMC is finished.
    doubted: Vec<Option<KmcRef>>,
}

impl Breakers {
    /// Counts from zero.
    pub fn new(limits: Limits) -> Self {
        Self { limits, stations: BTreeMap::new(), modules: BTreeMap::new(), doubted: Vec::new() }
    }

    /// Counts a card that a station threw out before it goes on. `kmc` is the KMC of its chip, if the chip
    /// gave one. Returns the most serious limit that this card has reached.
    pub fn failed(&mut self, place: Place, reason: &ReasonWord, kmc: Option<KmcRef>) -> Option<Trip> {
        let (last, equal) = self.stations.entry(place).or_insert_with(|| (reason.clone(), 0));
        if last == reason {
            *equal = equal.saturating_add(1);
        } else {
            (*last, *equal) = (reason.clone(), 1);
        }
        let rejects = self.modules.entry(place.stage).or_default();
        *rejects = rejects.saturating_add(1);
        if *reason == ReasonWord::Cryptogram {
            self.doubted.push(kmc);
        }
        if self.doubted.len() >= WRONG_CRYPTOGRAMS {
            Some(Trip::Cryptogram)
        } else if *rejects >= self.limits.job {
            Some(Trip::Job(*rejects))
        } else if *equal >= self.limits.station {
            Some(Trip::Station(*equal))
        } else {
            None
        }
    }

    /// Counts a card that a station finished; `kmc` is the KMC of its chip.
    pub fn finished(&mut self, place: Place, kmc: Option<KmcRef>) {
        self.stations.remove(&place);
        self.modules.remove(&place.stage);
        self.doubted.retain(|doubted| *doubted != kmc);
    }
}

#[cfg(test)]
mod tests;
