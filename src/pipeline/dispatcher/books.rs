//! The dispatcher's records: changes for the ledger, figures for the report.

use std::time::{Duration, Instant};

use super::Dispatcher;
use crate::laws::{Change, Context};
use crate::ledger::Ticket;
use crate::modules::{CardWork, Fault};
use crate::pipeline::Stop;
use crate::pipeline::source::Ask;
use crate::pipeline::station::{Place, Standing};
use crate::report::StationStats;

/// Most ledger changes whose outcome is still to be looked at. With one more, the dispatcher waits for the
/// oldest, so that a slow ledger slows the line down instead of filling memory.
const TICKETS: usize = 512;

impl Dispatcher<'_> {
    /// Asks the ledger for a change and goes on without waiting for the disk.
    pub(super) fn record(&mut self, change: Change, context: Context) {
        let ticket = self.ledger.record(self.job, change, context);
        self.tickets.push_back(ticket);
        if self.tickets.len() > TICKETS
            && let Some(oldest) = self.tickets.pop_front()
        {
            self.settle(oldest);
        }
    }

    /// Waits for a change. A ledger that refuses it or cannot write it stops the line.
    pub(super) fn settle(&mut self, ticket: Ticket) {
        if let Err(error) = ticket.wait() {
            self.stop_feeding(Stop::Ledger(error));
        }
    }

    /// Waits until the ledger has every change that was asked for.
    pub(super) fn settle_all(&mut self) {
        while let Some(ticket) = self.tickets.pop_front() {
            self.settle(ticket);
        }
    }

    /// Stops the line for a record that it cannot make because its data is wrong. The record stays QUEUED: people decide
    /// whether it is given up.
    pub(super) fn hold_for_data(&mut self, seq: u32, fault: Fault) {
        // A person may have cancelled it meanwhile; then its data no longer matter.
        let withdrawn = self.withdrawn.remove(&seq);
        self.drop_record(seq);
        if !withdrawn {
            self.stop_feeding(Stop::Data { seq, fault });
        }
    }

    /// Has the source release what the HSM verified for a card.
    pub(super) fn release(&mut self, work: Option<&CardWork>) {
        if let Some(handle) = work.and_then(|work| work.handle) {
            self.outcome.stats.hsm_calls += 1;
            drop(self.asks.send(Ask::Release(handle)));
        }
    }

    /// Counts a card that a station has worked on.
    pub(super) fn worked(&mut self, place: Place, took: Duration, fault: bool) {
        let station = self.stats(place);
        station.cards += 1;
        station.faults += u64::from(fault);
        station.busy_ms += millis(took).unwrap_or(0);
    }

    /// Logs and counts that a station goes out of service.
    pub(super) fn outage(&mut self, place: Place, fault: &Fault, standing: Standing) {
        let name = self.name(place);
        let (reason, detail) = (fault.reason.as_str(), &fault.detail);
        match standing {
            Standing::Stuck => {
                tracing::warn!(station = %name, reason, detail, "out of service: it needs a person");
            }
            _ => tracing::warn!(station = %name, reason, detail, "out of service: its device is probed"),
        }
        let Some(station) = self.station(place) else { return };
        if station.out.is_none() {
            station.out = Some(Instant::now());
            self.stats(place).outages += 1;
        }
    }

    /// Logs and counts that a station is in service again.
    pub(super) fn outage_over(&mut self, place: Place) {
        let Some(since) = self.station(place).and_then(|s| s.out.take()) else { return };
        let out_ms = millis(since.elapsed()).unwrap_or(0);
        self.stats(place).out_ms += out_ms;
        tracing::info!(station = %self.name(place), out_ms, "in service again");
    }

    /// Counts, at the end of a run, the outages that still last.
    pub(super) fn count_outages(&mut self) {
        let places: Vec<(Place, Instant)> = (self.stages.iter().enumerate())
            .flat_map(|(stage, s)| s.stations.iter().enumerate().map(move |(n, s)| (stage, n, s.out)))
            .filter_map(|(stage, station, out)| Some((Place { stage, station }, out?)))
            .collect();
        for (place, since) in places {
            self.stats(place).out_ms += millis(since.elapsed()).unwrap_or(0);
        }
    }

    fn stats(&mut self, place: Place) -> &mut StationStats {
        let (name, stage) = (self.name(place), self.stages.get(place.stage));
        let station = self.outcome.stats.stations.entry(name).or_default();
        if let Some(stage) = stage.filter(|_| station.module.is_empty()) {
            station.module.clone_from(&stage.name);
        }
        station
    }

    pub(super) fn context(&self, place: Place) -> Context {
        Context {
            station: Some(self.name(place)),
            module: self.stages.get(place.stage).map(|s| s.name.clone()),
            actor: Some("line".into()),
            ..Context::default()
        }
    }

    pub(super) fn fault_context(&self, place: Place, fault: &Fault, took: Duration) -> Context {
        Context {
            reason: Some(fault.reason.clone()),
            detail: Some(fault.detail.clone()),
            header: fault.header.clone(),
            sw: fault.sw,
            ms: millis(took),
            ..self.context(place)
        }
    }
}

/// A duration in the ledger's unit, milliseconds.
pub fn millis(took: Duration) -> Option<u64> {
    u64::try_from(took.as_millis()).ok()
}
