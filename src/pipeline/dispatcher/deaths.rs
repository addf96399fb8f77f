//! Acts on the death of a thread of the line, which is a bug, and on a thread that the system refused. The
//! line stops feeding, and the other threads finish what they can. The cards of the dead thread
//! are accounted for:
//!
//! | dead thread | its cards | other cards |
//! |---|---|---|
//! | a station with a feed order | none known; record QUEUED | go on at other stations of the module \* |
//! | a station with an unbound blank | REJECTED unbound, as after a crash; record QUEUED | likewise |
//! | a station with a bound card | UNKNOWN | likewise |
//! | the output | those in its hand and in the buffer places: UNKNOWN | are thrown out where they lie |
//! | the source | none: the records stay QUEUED | go on |
//!
//! \* If the module has no other station, the cards that wait for it are thrown out.

use std::time::Duration;

use crossbeam_channel::never;

use super::Dispatcher;
use super::output::output_context;
use crate::laws::{Change, Context};
use crate::ledger::LedgerError;
use crate::modules::{Blame, Fault};
use crate::pipeline::Stop;
use crate::pipeline::station::{Place, Standing};
use crate::reason::ReasonWord;
use crate::threads::ThreadRefused;

impl Dispatcher<'_> {
    /// Handles a station whose thread takes no more orders. Called again for that station, it only accounts
    /// for the card of the last order.
    pub(super) fn station_died(&mut self, place: Place) {
        let name = format!("station {}", self.name(place));
        let fault = died(&name, "look for its card there and in the reject bin, and destroy it");
        let Some(station) = self.station(place) else { return };
        if !std::mem::replace(&mut station.dead, true) {
            self.stop_feeding(Stop::Died(name));
            self.floor.stations.stuck(place);
            self.outage(place, &fault, Standing::Stuck);
            self.module_after(place, fault.clone());
        }
        if let Some(seq) = self.floor.working_at(place) {
            self.left_at(place, seq, &fault);
        }
        self.looked(place, false);
    }

    /// Handles the death of all stations: the channel that they report on is closed.
    pub(super) fn stations_died(&mut self) {
        self.happenings = never();
        let stages = self.stages.iter().map(|stage| stage.stations.len()).enumerate();
        let places =
            stages.flat_map(|(stage, count)| (0..count).map(move |station| Place { stage, station }));
        for place in places.collect::<Vec<_>>() {
            self.station_died(place);
        }
    }

    /// Accounts for the card of a station that works on it no more, because its thread died or the line ends.
    pub(super) fn left_at(&mut self, place: Place, seq: u32, fault: &Fault) {
        let context = Context { ms: None, ..self.fault_context(place, fault, Duration::ZERO) };
        let Some(station) = self.station(place) else { return };
        let (blank, unbound, binding) = (station.blank.take(), station.unbound, station.binding);
        if let Some(before) = station.taking.take() {
            // A person has to see which of the two stations holds the card.
            self.floor.stations.stuck(before);
            self.outage(before, fault, Standing::Stuck);
        }
        self.take_kmc(place);
        self.turns.left(place);
        match blank {
            Some(blank) if !binding => self.left_unbound(seq, blank, context),
            // Only the ledger knows whether the binding was refused.
            Some(blank) => match self.ledger.record(self.job, Change::Lost { seq }, context.clone()).wait() {
                Err(LedgerError::Denied { .. }) => self.left_unbound(seq, blank, context),
                Err(error) => {
                    self.off_floor(seq);
                    self.stop_feeding(Stop::Ledger(error));
                }
                Ok(_) => self.lost_there(place, seq),
            },
            // The station reported no blank. A person has to see whether one was fed.
            None if unbound => {
                self.not_fed();
                self.wait_again(seq);
            }
            None => {
                self.record(Change::Lost { seq }, context);
                self.lost_there(place, seq);
            }
        }
    }

    fn left_unbound(&mut self, seq: u32, blank: u32, context: Context) {
        self.record(Change::RejectedUnbound { blank, chip: None }, context);
        self.wait_again(seq);
    }

    fn lost_there(&mut self, place: Place, seq: u32) {
        self.worked(place, Duration::ZERO, true);
        if let Some(card) = self.off_floor(seq) {
            self.release(card.work.as_deref());
        }
    }

    /// Handles the death of the output's thread: from now on no card is collected or stacked.
    pub(super) fn output_died(&mut self) {
        self.from_output = never();
        let fault = died("the output", "look for the card in its hand and in the buffer places");
        self.stop_feeding(Stop::Died("the output".to_owned()));
        for (seq, from) in self.floor.output_gone() {
            if let Some(place) = from {
                // A person has to see whether the card was lifted.
                self.floor.stations.stuck(place);
                self.outage(place, &fault, Standing::Stuck);
            }
            let context = Context {
                reason: Some(fault.reason.clone()),
                detail: Some(fault.detail.clone()),
                ..output_context()
            };
            self.record(Change::Lost { seq }, context);
            self.off_floor(seq);
        }
    }

    /// Handles the death of the source's thread: from now on no record is prepared.
    pub(super) fn source_died(&mut self) {
        self.prepared = never();
        self.stop_feeding(Stop::Died("the source".to_owned()));
        for seq in self.floor.with_source() {
            self.off_floor(seq);
        }
    }

    /// Stops the line before it begins, because the system refused a thread for a part of it.
    pub(super) fn refused(&mut self, refused: Vec<ThreadRefused>) {
        if let Some(first) = refused.into_iter().next() {
            self.stop_feeding(Stop::NoThread(first));
        }
    }

    /// The fault of a card that is thrown out because no station or output can go on with it.
    pub(super) fn no_way_on(&self) -> Fault {
        if self.floor.has_output() {
            Fault::new(Blame::Device, ReasonWord::NoStation, "the next module has no station in service")
        } else {
            died("the output", "no thread takes this card to the stacker, so it was thrown out")
        }
    }
}

fn died(whose: &str, next: &str) -> Fault {
    let detail = format!("us: the thread of {whose} died, which is a bug: report it; {next}");
    Fault::new(Blame::Us, ReasonWord::ThreadDied, detail)
}
