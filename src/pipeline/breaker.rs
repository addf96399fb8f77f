//! Circuit breakers: when failures in a row say that not the card is at fault, but what works on it. Pure: it counts, the
//! dispatcher acts.
//!
//! | what | in a row | then |
//! |---|---|---|
//! | equal failures (same reason word) at one station | without a card finished there | the station needs a person |
//! | rejects of one module, whatever station and reason | without a card finished at that module | the job stops |
//! | wrong card cryptograms | without a card of the same KMC and key version finished | the job stops: wrong keys eat cards |
//!
//! Not counted: a fault that takes the station out of service by itself (`station::probe` counts those), and a card that
//! is thrown out because another station cannot go on with it.

use std::collections::BTreeMap;

use super::station::Place;
use crate::ids::KmcRef;
use crate::profile::line::Breakers as Limits;
use crate::reason::ReasonWord;

/// Wrong card cryptograms that are one too many: one may be a bad card.
const WRONG_CRYPTOGRAMS: usize = 2;

/// What a failure was one too many for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// So many equal ones at the station.
    Station(u32),
    /// So many rejects at the module.
    Job(u32),
    /// The keys are in doubt.
    Cryptogram,
}

/// The counts of one run.
pub struct Breakers {
    limits: Limits,
    /// The last failure of each station, and how often in a row.
    stations: BTreeMap<Place, (ReasonWord, u32)>,
    /// Rejects in a row of each module.
    modules: BTreeMap<usize, u32>,
    /// KMCs of the cards with wrong cryptograms, since their last good one.
    doubted: Vec<Option<KmcRef>>,
}

impl Breakers {
    /// Nothing has failed yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, stations: BTreeMap::new(), modules: BTreeMap::new(), doubted: Vec::new() }
    }

    /// A station threw a card out and goes on; `kmc` is that of its chip, as far as it said. The gravest trip counts.
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

    /// A station has finished a card, whose chip is of this KMC.
    pub fn finished(&mut self, place: Place, kmc: Option<KmcRef>) {
        self.stations.remove(&place);
        self.modules.remove(&place.stage);
        self.doubted.retain(|doubted| *doubted != kmc);
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
