//! Machines that want something of a person: their cards wait, without a limit, and people are told once when it
//! begins and once when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crossbeam_channel::Sender;

use super::kill::killed;
use super::{Dispatcher, LineMessage};
use crate::laws::Context;
use crate::ledger::WANTED;
use crate::modules::Fault;
use crate::pipeline::Stop;
use crate::pipeline::floor::Service;
use crate::pipeline::output::OutputOrder;
use crate::pipeline::station::{Place, StationOrder};

/// Name of the hopper, which all stations feed from.
const HOPPER: &str = "hopper";
/// Name of the output.
const OUTPUT: &str = "output";

/// What the line waits for.
pub(super) struct SupplyWaits {
    /// Whether an empty hopper is waited for even if no card is under way.
    waits_for_blanks: bool,
    /// The last station without blanks, until a blank is fed.
    hopper_fault: Option<(Place, Fault)>,
    /// When the hopper was found empty; `None` again after a blank arrives that was ordered later.
    empty_since: Option<Instant>,
    /// Stations, hopper and output that want something of a person.
    wanting: BTreeSet<String>,
    /// People who wait to hear whether a station is ready.
    proving: BTreeMap<Place, Sender<Result<String, String>>>,
}

impl SupplyWaits {
    pub(super) fn new(waits_for_blanks: bool) -> Self {
        Self {
            waits_for_blanks,
            hopper_fault: None,
            empty_since: None,
            wanting: BTreeSet::new(),
            proving: BTreeMap::new(),
        }
    }
}

impl Dispatcher<'_> {
    /// A machine wants something. Its card waits, or the order to the station, or the station alone.
    pub(super) fn wants(&mut self, place: Place, fault: &Fault) {
        self.floor.stations.wants(place);
        self.want_begins(&self.name(place), fault);
    }

    /// A machine that wanted something does not answer any more: from now on it is waited for as long as for any
    /// other.
    pub(super) fn silent(&mut self, place: Place, fault: Fault) {
        self.floor.stations.silent(place);
        if let Some(stage) = self.stages.get_mut(place.stage) {
            stage.awaited = None;
        }
        self.module_after(place, fault);
    }

    pub(super) fn supplied(&mut self, place: Place) {
        self.floor.stations.supplied(place);
        self.supplied_now(place);
    }

    /// Notes that a station waits no longer, whatever became of its card.
    pub(super) fn supplied_now(&mut self, place: Place) {
        self.want_ends(&self.name(place));
        let up = self.floor.stations.service(place.stage) == Service::Up;
        if let Some(stage) = self.stages.get_mut(place.stage) {
            // The limit stood still meanwhile.
            let again = stage.awaited.take().map(|(_, place, fault)| (Instant::now(), place, fault));
            stage.awaited = again.filter(|_| !up);
        }
    }

    /// The transport of a station has no blank to feed.
    pub(super) fn no_blanks(&mut self, place: Place, fault: Fault) {
        self.floor.stations.has_blanks(place, false);
        self.want_begins(HOPPER, &fault);
        self.supplies.empty_since.get_or_insert_with(Instant::now);
        self.supplies.hopper_fault = Some((place, fault));
    }

    /// A blank was fed.
    pub(super) fn has_blanks(&mut self, place: Place) {
        self.floor.stations.has_blanks(place, true);
        let ordered = self.station(place).and_then(|station| station.feeds_since);
        if ordered < self.supplies.empty_since {
            // The blank may have left the hopper before another station found it empty.
            return;
        }
        (self.supplies.hopper_fault, self.supplies.empty_since) = (None, None);
        self.want_ends(HOPPER);
    }

    /// A run that nobody attends ends when no card is under way and there is no blank for the next.
    pub(super) fn hopper_is_waited_for(&mut self) {
        let ends = !self.supplies.waits_for_blanks
            && self.outcome.stopped.is_none()
            && !self.floor.moving()
            && self.floor.ready_waits()
            && self.floor.stations.lacks_blanks();
        if let Some((place, fault)) = self.supplies.hopper_fault.take_if(|_| ends) {
            self.stop_feeding(Stop::Fault { station: self.name(place), fault });
        }
    }

    pub(super) fn output_wants(&mut self, fault: &Fault) {
        self.floor.output_waits(true);
        self.want_begins(OUTPUT, fault);
    }

    pub(super) fn output_supplied(&mut self) {
        self.floor.output_waits(false);
        self.want_ends(OUTPUT);
    }

    /// Ends the wait of a card that a person wants thrown out.
    pub(super) fn kill_wanting(&mut self, seq: u32) {
        match self.floor.working_place(seq) {
            Some(place) if self.floor.stations.waits(place) => self.end_wait(place, killed()),
            Some(place) => self.kill_waiting(place),
            // A full channel has an order that ends the wait already.
            None if self.floor.waits_at_output(seq) => drop(self.to_output.try_send(OutputOrder::GiveBack)),
            None => {}
        }
    }

    /// Orders a station that waits to throw its card out.
    pub(super) fn end_wait(&mut self, place: Place, fault: Fault) {
        if let Some(station) = self.station(place)
            && station.orders.try_send(StationOrder::EndWait(fault)).is_ok()
        {
            station.clearing = true;
        }
    }

    /// Ends the waits of machines that were waited for in vain: those of a module that is given up.
    pub(super) fn end_waits_of(&mut self, stage: usize) {
        let stations = self.stages.get(stage).map_or(0, |s| s.stations.len());
        for place in (0..stations).map(|station| Place { stage, station }) {
            if self.floor.stations.waits(place) {
                self.end_wait(place, self.no_way_on());
            }
        }
    }

    /// People are told once that something is wanted.
    fn want_begins(&mut self, whose: &str, fault: &Fault) {
        if self.supplies.wanting.insert(whose.to_owned()) {
            let detail = &fault.detail;
            tracing::warn!(job = %self.job, station = whose, detail, "a person is needed: its cards wait until it has what it wants");
            let context = Context { detail: Some(detail.clone()), ..self.supply_context(whose, fault) };
            self.ledger.note_supply(whose, WANTED, context);
        }
    }

    fn want_ends(&mut self, whose: &str) {
        if self.supplies.wanting.remove(whose) {
            tracing::warn!(job = %self.job, station = whose, "it has what it wanted: the cards go on");
            self.ledger.note_supply(whose, "given", Context::by("line"));
        }
    }

    /// Notes, at the end of a run, what was not given.
    pub(super) fn wants_left(&mut self) {
        for whose in std::mem::take(&mut self.supplies.wanting) {
            self.ledger.note_supply(&whose, "not-waited-for", Context::by("line"));
        }
    }

    fn supply_context(&self, whose: &str, fault: &Fault) -> Context {
        Context { station: Some(whose.to_owned()), reason: Some(fault.reason.clone()), ..Context::by("line") }
    }

    /// A person says that a station is ready: it is proved anew.
    pub(super) fn prove(&mut self, told: LineMessage) {
        let LineMessage::Ready { station, answer } = told else { return };
        let place = self.place_of(&station);
        let said = match place {
            None => {
                Some(Err(format!("the line has no station {station:?}; there are {}", self.station_list())))
            }
            Some(place) if self.floor.stations.waits(place) => {
                Some(Ok("it waits for supplies, and goes on by itself when it has them".to_owned()))
            }
            Some(place) => match self.station(place) {
                Some(station) if station.dead => {
                    Some(Err("its thread died: it works again after the next start of the line".to_owned()))
                }
                Some(station) if station.out.is_some() => {
                    let asked = station.orders.try_send(StationOrder::Prove).is_ok();
                    (!asked).then(|| Err("it is being proved".to_owned()))
                }
                _ => Some(Ok("it is in service".to_owned())),
            },
        };
        match (said, place) {
            // The caller may have hung up.
            (Some(said), _) => drop(answer.try_send(said)),
            (None, Some(place)) => drop(self.supplies.proving.insert(place, answer)),
            (None, None) => {}
        }
    }

    /// Answers the person who said that the station is ready.
    pub(super) fn proved(&mut self, place: Place, outcome: Result<String, String>) {
        if let Some(answer) = self.supplies.proving.remove(&place) {
            drop(answer.try_send(outcome));
        }
    }

    fn station_list(&self) -> String {
        let stations = self.stages.iter().flat_map(|stage| &stage.stations);
        stations.map(|station| station.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn place_of(&self, name: &str) -> Option<Place> {
        self.stages.iter().enumerate().find_map(|(stage, s)| {
            let station = s.stations.iter().position(|station| station.name == name)?;
            Some(Place { stage, station })
        })
    }
}
