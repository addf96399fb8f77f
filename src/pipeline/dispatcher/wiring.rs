//! Finds the device that saw a card which the device of its own station did not see, and puts both stations out
//! of service.
//!
//! The card lies where the transport brought it while every other unproved station of that kind looks. An
//! unbound blank stays there, unwritten, for a person to put back; a bound card is thrown out unwritten.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Dispatcher;
use crate::laws::Change;
use crate::modules::Fault;
use crate::modules::sight::{exchanged, unseen};
use crate::pipeline::Stop;
use crate::pipeline::floor::Service;
use crate::pipeline::station::{Place, SightReport, Standing, StationOrder};

/// A search for the device that saw a card.
pub(super) struct Search {
    /// The station where the card lies.
    place: Place,
    /// Its record.
    seq: u32,
    /// Stations that have not answered yet.
    asked: BTreeSet<Place>,
    /// Stations whose device sees a card.
    saw: Vec<Place>,
}

impl Dispatcher<'_> {
    /// Gives back an order that the station did not begin: no card was touched.
    pub(super) fn not_begun(&mut self, place: Place, seq: u32, fault: Option<Fault>, standing: Standing) {
        match self.station(place).and_then(|station| station.taking.take()) {
            Some(before) => self.floor.stays(seq, before),
            None => {
                self.not_fed();
                self.wait_again(seq);
            }
        }
        match fault {
            Some(fault) => self.station_after(place, fault, standing),
            None => self.floor.stations.free(place),
        }
    }

    /// Takes stations out of service before the first card. A module that has no other station stops the line.
    pub(super) fn out_from_the_start(&mut self, stations: Vec<(Place, Fault)>) {
        for (place, fault) in stations {
            self.floor.stations.stuck(place);
            self.outage(place, &fault, Standing::Stuck);
            self.module_after(place, fault);
        }
    }

    /// Enters what a station reports of its sight.
    pub(super) fn sight(&mut self, place: Place, report: SightReport) {
        match report {
            SightReport::Proved => self.floor.stations.proved(place),
            SightReport::Unproved => self.floor.stations.unproved(place),
            SightReport::Unseen => {
                self.floor.stations.arrived(place);
                if let Some(seq) = self.floor.working_at(place) {
                    self.unseen(place, seq);
                }
            }
            SightReport::Looked(sees) => self.looked(place, sees),
        }
    }

    /// Begins a search for the device that saw the card of this station.
    fn unseen(&mut self, place: Place, seq: u32) {
        let suspects = self.floor.stations.suspects(place);
        tracing::warn!(station = %self.name(place), "its device sees no card; the others of its kind look");
        self.searches.push(Search { place, seq, asked: suspects.iter().copied().collect(), saw: Vec::new() });
        for suspect in suspects {
            self.send(suspect, StationOrder::Look);
        }
        self.judge_searches();
    }

    /// Enters the answer of a station that looked; one whose thread has died has seen nothing.
    pub(super) fn looked(&mut self, suspect: Place, sees: bool) {
        for search in &mut self.searches {
            if search.asked.remove(&suspect) && sees {
                search.saw.push(suspect);
            }
        }
        self.judge_searches();
    }

    fn judge_searches(&mut self) {
        while let Some(done) = self.searches.iter().position(|search| search.asked.is_empty()) {
            let search = self.searches.swap_remove(done);
            self.judge(&search);
        }
    }

    fn judge(&mut self, search: &Search) {
        let (place, own) = (search.place, self.name(search.place));
        let saw: Vec<_> = search.saw.iter().map(|suspect| self.name(*suspect)).collect();
        let fault = if saw.is_empty() {
            unseen("card", &own)
        } else {
            exchanged(&format!(
                "the card that the transport brought into {own} is seen at {}",
                saw.join(" and ")
            ))
        };
        for suspect in &search.saw {
            self.out_for_wiring(*suspect, &fault);
        }
        self.out_for_wiring(place, &fault);
        match self.take_blank(place) {
            Some(blank) => {
                let detail = format!(
                    "{}; the blank lies in {own}, untouched: take it out and put it back into the hopper",
                    fault.detail
                );
                let told = Fault { detail, ..fault };
                self.record(Change::Returned { blank }, self.fault_context(place, &told, Duration::ZERO));
                self.wait_again(search.seq);
            }
            None => self.clear(place, fault),
        }
    }

    /// Takes a station out of service. If its module has no other, the line stops feeding at once, and the
    /// cards that wait for it lie there for as long as a module is waited for.
    fn out_for_wiring(&mut self, place: Place, fault: &Fault) {
        self.floor.stations.miswired(place);
        self.outage(place, fault, Standing::Stuck);
        if self.floor.stations.service(place.stage) != Service::Up {
            self.stop_feeding(Stop::Fault { station: self.name(place), fault: fault.clone() });
        }
        self.module_after(place, fault.clone());
    }
}
