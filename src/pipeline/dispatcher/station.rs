//! Acts on the reports of the stations.

use std::time::{Duration, Instant};

use super::Dispatcher;
use super::books::millis;
use super::kill::killed;
use crate::ids::KmcRef;
use crate::laws::{AttemptState, Change, Context};
use crate::ledger::LedgerError;
use crate::modules::{Blame, BlankInspection, Fault, ModuleOutcome};
use crate::pipeline::Stop;
use crate::pipeline::breaker::Trip;
use crate::pipeline::floor::Doom;
use crate::pipeline::station::{Place, Standing, StationHappening};
use crate::reason::ReasonWord;

impl Dispatcher<'_> {
    pub(super) fn happened(&mut self, place: Place, happening: StationHappening) {
        if self.leaving.left {
            return;
        }
        let Some(happening) = self.of_station(place, happening) else { return };
        if !matches!(happening, StationHappening::Taken) {
            self.floor.stations.arrived(place);
        }
        let Some(seq) = self.floor.working_at(place) else { return };
        match happening {
            StationHappening::Fed => self.fed(place),
            StationHappening::BlankOut { blank, fault, took, standing } => {
                self.worked(place, took, true);
                self.blank_out(place, seq, blank, fault, took, standing);
            }
            StationHappening::MayBind(seen) => self.bind(place, seq, seen),
            StationHappening::MayOpen(seen) => self.open_chip(place, seq, seen),
            StationHappening::Taken => self.taken(place),
            StationHappening::NotTaken(fault, standing) => {
                if let Some(before) = self.station(place).and_then(|s| s.taking.take()) {
                    self.floor.not_taken(seq, before);
                    self.clear(before, fault.clone());
                }
                self.failed(place, &fault, standing);
                self.station_after(place, fault, standing);
            }
            StationHappening::Writing(kmc) => self.writing(place, seq, kmc),
            StationHappening::KeysProved => self.turns.proved(place),
            StationHappening::KeysWrong(kmc, fault) => self.keys_wrong(place, kmc, fault),
            StationHappening::Done { done, took } => self.done(place, seq, &done, took),
            StationHappening::CardOut { fault, took, standing } => {
                self.card_out(place, seq, fault, took, standing)
            }
            StationHappening::NotBrought { fault, took, standing } => {
                self.worked(place, took, true);
                self.not_brought(place, seq, fault, standing);
            }
            StationHappening::Void(fault, standing) => self.void(place, seq, fault, standing),
            StationHappening::NotBegun(fault, standing) => self.not_begun(place, seq, fault, standing),
            StationHappening::NotBound(error) => self.not_bound(place, seq, error),
            // The others are the station's.
            _ => {}
        }
    }

    /// Acts on a report of a station that works on no card, or that does not concern its card. Returns any other
    /// report.
    fn of_station(&mut self, place: Place, happening: StationHappening) -> Option<StationHappening> {
        match happening {
            StationHappening::Wants(fault) => self.wants(place, &fault),
            StationHappening::Silent(fault) => self.silent(place, fault),
            StationHappening::Supplied => self.supplied(place),
            StationHappening::NoBlanks(fault) => self.no_blanks(place, fault),
            StationHappening::Blanks => self.floor.stations.has_blanks(place, true),
            StationHappening::NotReady(fault) => self.proved(place, Err(fault.detail)),
            StationHappening::Found(fault) => self.found(place, &fault),
            StationHappening::Back => self.back(place),
            StationHappening::Stuck(fault) => {
                self.proved(place, Err(fault.detail.clone()));
                self.station_after(place, fault, Standing::Stuck);
            }
            StationHappening::Died => self.station_died(place),
            StationHappening::Sight(report) => self.sight(place, report),
            other => return Some(other),
        }
        None
    }

    /// Stops at a blank that is neither bound nor thrown out: the ledger accepts no more changes.
    fn not_bound(&mut self, place: Place, seq: u32, error: LedgerError) {
        self.off_floor(seq);
        self.turns.left(place);
        self.floor.stations.stuck(place);
        self.stop_feeding(Stop::Ledger(error));
    }

    fn blank_out(
        &mut self,
        place: Place,
        seq: u32,
        seen: BlankInspection,
        fault: Fault,
        took: Duration,
        standing: Standing,
    ) {
        if let Some(blank) = self.take_blank(place) {
            let change = Change::RejectedUnbound { blank, chip: seen.chip() };
            self.record(change, self.fault_context(place, &fault, took));
        }
        if fault.reason == ReasonWord::RecordCancelled {
            self.refused_as_cancelled(seq);
        }
        self.wait_again(seq);
        self.failed(place, &fault, standing);
        self.station_after(place, fault, standing);
    }

    /// A station is in service again.
    fn back(&mut self, place: Place) {
        if self.floor.stations.is_stuck(place) {
            self.floor.stations.freed(place);
            self.breakers.freed(place);
        } else {
            self.floor.stations.back(place);
        }
        self.floor.stations.is_unclear(place, false);
        self.supplied_now(place);
        if let Some(stage) = self.stages.get_mut(place.stage) {
            stage.awaited = None;
        }
        self.outage_over(place);
        self.proved(place, Ok("it is in service again".to_owned()));
    }

    /// Takes back the count of a blank that the transport reported, and that is neither in the device nor in the
    /// transport.
    fn not_brought(&mut self, place: Place, seq: u32, fault: Fault, standing: Standing) {
        if let Some(blank) = self.take_blank(place) {
            self.record(Change::Returned { blank }, self.fault_context(place, &fault, Duration::ZERO));
        }
        self.not_fed();
        self.wait_again(seq);
        self.failed(place, &fault, standing);
        self.station_after(place, fault, standing);
    }

    fn taken(&mut self, place: Place) {
        if let Some(before) = self.station(place).and_then(|s| s.taking.take()) {
            self.floor.stations.free(before);
        }
    }

    fn writing(&mut self, place: Place, seq: u32, kmc: Option<KmcRef>) {
        if let Some(station) = self.station(place) {
            (station.kmc, station.unbound) = (kmc, false);
        }
        if self.floor.card(seq).is_some_and(|c| c.leg == 0) {
            // The card is bound, so it no longer counts as a blank.
            self.take_blank(place);
            let change = Change::Attempt { seq, to: AttemptState::Personalizing };
            self.record(change, self.context(place));
        }
    }

    fn fed(&mut self, place: Place) {
        self.has_blanks(place);
        self.first_feed.get_or_insert_with(Instant::now);
        let blank = self.next_blank;
        self.next_blank += 1;
        if let Some(station) = self.station(place) {
            station.blank = Some(blank);
        }
        self.record(Change::Fed { blank }, self.context(place));
    }

    /// Counts a blank as fed and thrown out that the station found after an unclear feed.
    fn found(&mut self, place: Place, fault: &Fault) {
        self.hopper = self.hopper.map(|blanks| blanks.saturating_sub(1));
        self.fed(place);
        if let Some(blank) = self.take_blank(place) {
            let change = Change::RejectedUnbound { blank, chip: None };
            self.record(change, self.fault_context(place, fault, Duration::ZERO));
        }
    }

    /// Asks the ledger to bind a blank.
    fn bind(&mut self, place: Place, seq: u32, seen: BlankInspection) {
        let Some(blank) = self.station(place).and_then(|s| s.blank) else { return };
        self.may_write(place, seen, Change::Bound { seq, blank, chip: seen.chip() });
    }

    /// Asks the ledger to record the chip of a card that was bound at a module without a chip.
    fn open_chip(&mut self, place: Place, seq: u32, seen: BlankInspection) {
        if let Some(chip) = seen.chip() {
            self.may_write(place, seen, Change::ChipFound { seq, chip });
        }
    }

    fn done(&mut self, place: Place, seq: u32, done: &ModuleOutcome, took: Duration) {
        let name = self.name(place);
        self.worked(place, took, false);
        if let Some(kmc) = self.take_kmc(place) {
            self.turns.good(place, kmc);
        }
        self.breakers.finished(place);
        self.outcome.stats.hsm_calls += u64::from(done.hsm.calls);
        self.outcome.stats.commands += u64::from(done.commands);
        for logged in &done.log {
            let (aid, dgi, length, sw) = (&logged.aid, logged.dgi, logged.length, logged.sw);
            tracing::info!(job = %self.job, seq, station = %name, %aid, %dgi, length, sw = format!("{sw:04X}"), "LOGDATA");
        }
        self.floor.done(seq, place);
        // The card was doomed while the module worked on it, and leaves before it counts as written.
        if let Doom::Now(place) = self.floor.doomed(seq) {
            return self.clear(place, killed());
        }
        let Some(card) = self.floor.card_mut(seq) else { return };
        card.compared.extend(&done.compared);
        card.hsm += done.hsm;
        if !card.finished() {
            return;
        }
        self.turns.finished(seq);
        // First the comparison of the record's parts with each other, then those of the record with the card.
        let agreed = card.work.as_ref().and_then(|w| w.agreed);
        let compared: Vec<_> = agreed.into_iter().chain(card.compared.iter().copied()).collect();
        let compared = if compared.is_empty() { "device status".to_owned() } else { compared.join(", ") };
        let hsm = card.hsm;
        let applications = card.work.as_ref().map_or(0, |w| w.applications.len());
        self.outcome.stats.applications += u64::try_from(applications).unwrap_or(0);
        let context = Context { ms: millis(took), hsm: Some(hsm), ..self.context(place) };
        self.record(Change::Attempt { seq, to: AttemptState::Written }, context);
        self.record(Change::Verified { seq, compared }, self.context(place));
    }

    fn card_out(&mut self, place: Place, seq: u32, fault: Fault, took: Duration, standing: Standing) {
        self.worked(place, took, true);
        self.outcome.stats.cards += 1;
        let mut hsm = self.floor.card_mut(seq).map(|card| card.hsm).unwrap_or_default();
        hsm += fault.hsm;
        let context = Context { hsm: Some(hsm), ..self.fault_context(place, &fault, took) };
        let context = self.in_whose_name(seq, &fault, context);
        self.record(Change::Rejected { seq }, context);
        // It was bound, so it is no blank, even if nothing was written on it.
        self.take_blank(place);
        // The HSM still holds handles of the applications that were not reached.
        if let Some(card) = self.off_floor(seq) {
            self.release(card.work.as_deref());
        }
        self.failed(place, &fault, standing);
        self.station_after(place, fault, standing);
    }

    /// Counts a card that was thrown out, and acts if a breaker trips.
    fn failed(&mut self, place: Place, fault: &Fault, standing: Standing) {
        self.outcome.stats.hsm_calls += u64::from(fault.hsm.calls);
        self.outcome.stats.commands += u64::from(fault.commands);
        self.take_kmc(place);
        self.turns.left(place);
        let clearing = self.station(place).is_some_and(|s| std::mem::take(&mut s.clearing));
        // Such a card says nothing about this station, or `station::probe` counts the outage.
        let blameless = matches!(
            fault.reason,
            ReasonWord::RecordCancelled
                | ReasonWord::NotSigned
                | ReasonWord::NotAcknowledged
                | ReasonWord::KeysDoubted
                | ReasonWord::Killed
        );
        if clearing || blameless || standing != Standing::InService {
            return;
        }
        let Some(trip) = self.breakers.failed(place, &fault.reason) else { return };
        let last = &fault.detail;
        match trip {
            Trip::Station(count) => {
                let detail = format!(
                    "{count} cards in a row failed with {} at this station, which is out of service until a person has \
                     looked at it; the last: {last}",
                    fault.reason
                );
                let fault = Fault { detail, ..fault.clone() };
                self.floor.stations.stuck(place);
                self.outage(place, &fault, Standing::Stuck);
                self.module_after(place, fault);
            }
            Trip::Job(count) => {
                let module = self.stages.get(place.stage).map_or("", |s| s.name.as_str());
                let detail = format!(
                    "{count} cards in a row were rejected at module {module}; check its stations, the stack in the hopper, \
                     and that job and product are the right ones; the last: {}: {last}",
                    fault.reason
                );
                let fault = Fault::new(Blame::Device, ReasonWord::Breaker, detail);
                self.stop_feeding(Stop::Fault { station: self.name(place), fault });
            }
        }
    }

    pub(super) fn take_kmc(&mut self, place: Place) -> Option<KmcRef> {
        self.station(place).and_then(|s| s.kmc.take())
    }

    fn void(&mut self, place: Place, seq: u32, fault: Fault, standing: Standing) {
        if fault.blame == Blame::Data {
            self.not_fed();
            self.hold_for_data(seq, fault);
            self.floor.stations.free(place);
            return;
        }
        self.not_fed();
        self.wait_again(seq);
        self.station_after(place, fault, standing);
    }

    /// Decides what a fault means for its station and for the line.
    pub(super) fn station_after(&mut self, place: Place, fault: Fault, standing: Standing) {
        if self.floor.stations.waits(place) {
            self.supplied_now(place);
        }
        let silent = fault.reason == ReasonWord::Transport && standing == Standing::Probed;
        self.floor.stations.is_unclear(place, silent);
        // What waits for a person, or goes because of one, says nothing about the device.
        let counts = !fault.waits_for_person() && fault.reason != ReasonWord::Killed;
        let standing = match standing {
            Standing::InService if counts && self.floor.stations.proof_failed(place) => Standing::Stuck,
            standing => standing,
        };
        match standing {
            Standing::InService => self.floor.stations.free(place),
            Standing::Probed => self.floor.stations.out_of_service(place),
            Standing::Stuck => self.floor.stations.stuck(place),
        }
        if standing != Standing::InService {
            self.outage(place, &fault, standing);
        }
        if matches!(fault.blame, Blame::Hsm | Blame::Us) {
            self.stop_feeding(Stop::Fault { station: self.name(place), fault: fault.clone() });
        }
        self.module_after(place, fault);
    }

    pub(super) fn take_blank(&mut self, place: Place) -> Option<u32> {
        self.station(place).and_then(|s| s.blank.take())
    }
}
