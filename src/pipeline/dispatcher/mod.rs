//! The dispatcher owns the line's state. It receives what happened, records it in the ledger, and gives the
//! next orders. It never waits for a device, and it accounts for the cards of a thread that dies (`deaths`).

mod books;
mod cancelled;
mod deaths;
mod kill;
mod leave;
mod output;
mod start;
mod station;
mod supplies;
mod turns;
mod wiring;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select};

use self::leave::Leaving;
use self::supplies::SupplyWaits;
use super::breaker::Breakers;
use super::floor::{Floor, Move, Service};
use super::output::OutputOrder;
use super::source::{Ask, Prepared, Unready};
use super::station::{Binding, Place, StationHappening, StationOrder};
use super::turns::KeyTurns;
use super::{LineMessage, RunOutcome, Stop};
use crate::ids::{KmcRef, Mic};
use crate::laws::JobId;
use crate::ledger::{Ledger, Ticket};
use crate::modules::{Blame, CardWork, Fault};
use crate::reason::ReasonWord;

/// The dispatcher's view of one station.
struct Station {
    name: String,
    thread: Option<JoinHandle<()>>,
    orders: Sender<StationOrder>,
    binds: Sender<Binding>,
    /// The station's thread has died.
    dead: bool,
    /// Its order is to feed, and no data of the record has gone to a card yet.
    unbound: bool,
    /// When its last order to feed was given.
    feeds_since: Option<Instant>,
    /// The ledger was asked to bind the blank that lies there.
    binding: bool,
    /// Number of the unbound blank that lies there.
    blank: Option<u32>,
    /// KMC of the chip that it works on, if the card has a chip.
    kmc: Option<KmcRef>,
    /// It throws out a card that another station cannot go on with.
    clearing: bool,
    /// The previous station, while this one takes the card from it.
    taking: Option<Place>,
    /// When it went out of service.
    out: Option<Instant>,
}

struct ModuleStage {
    name: String,
    mics: Vec<Mic>,
    stations: Vec<Station>,
    /// While no station of it is in service and one may come back: since when, and the last station to fail
    /// with its fault.
    awaited: Option<(Instant, Place, Fault)>,
}

/// The owner of the line's state, for one run.
pub struct Dispatcher<'a> {
    ledger: &'a Ledger,
    job: JobId,
    floor: Floor,
    stages: Vec<ModuleStage>,
    /// Longest time that a module may be without a station in service.
    recover: Duration,
    leaving: Leaving,
    supplies: SupplyWaits,
    breakers: Breakers,
    /// Searches for the device that saw a card which its own station's did not see.
    searches: Vec<wiring::Search>,
    /// Which card of a KMC goes first, and whether its keys are in doubt.
    turns: KeyTurns,
    /// The stages with chip stations.
    chip_stages: BTreeSet<usize>,
    asks: Sender<Ask>,
    to_output: Sender<OutputOrder>,
    prepared: Receiver<Prepared>,
    happenings: Receiver<(Place, StationHappening)>,
    from_output: Receiver<super::output::OutputHappening>,
    stop: Receiver<()>,
    told: Receiver<LineMessage>,
    /// Blanks that may still be fed; `None` where blanks are not counted.
    hopper: Option<u64>,
    /// Threads of the source and the output.
    threads: Vec<JoinHandle<()>>,
    pending: VecDeque<u32>,
    remakes: BTreeSet<u32>,
    /// Records that a person cancelled while the source prepared them or a station fed a blank for them.
    withdrawn: BTreeSet<u32>,
    next_blank: u32,
    next_position: u32,
    tickets: VecDeque<Ticket>,
    outcome: RunOutcome,
    first_feed: Option<Instant>,
}

impl Dispatcher<'_> {
    /// Works until every record is made or rejected, or until the line has stopped.
    pub fn run(mut self) -> RunOutcome {
        loop {
            // People's messages come first: a record that was cancelled must not cost another blank.
            while let Ok(told) = self.told.try_recv() {
                self.told(told);
            }
            self.advance();
            if self.at_end() {
                break;
            }
            let patience =
                self.patience_ends().into_iter().chain(self.leaving.at).min().map_or_else(never, at);
            select! {
                recv(self.happenings) -> happening => match happening {
                    Ok((place, happening)) => self.happened(place, happening),
                    Err(_) => self.stations_died(),
                },
                recv(self.from_output) -> happening => match happening {
                    Ok(happening) => self.output_happened(happening),
                    Err(_) => self.output_died(),
                },
                recv(self.prepared) -> prepared => match prepared {
                    Ok(prepared) => self.source_gave(prepared),
                    Err(_) => self.source_died(),
                },
                recv(self.stop) -> _ => self.end_asked(),
                recv(self.told) -> told => match told {
                    Ok(told) => self.told(told),
                    Err(_) => self.told = never(),
                },
                recv(patience) -> now => self.time_is_up(now.unwrap_or_else(|_| Instant::now())),
            }
        }
        self.finish()
    }

    /// Whether the run is over: no card moves, the source owes no answer, and `advance` found nothing to
    /// order. Prepared records that wait for a module which may come back keep a run alive while the line
    /// still feeds.
    fn at_end(&self) -> bool {
        let waits = self.outcome.stopped.is_none() && self.floor.ready_waits();
        !self.floor.moving() && !self.floor.asked_open() && !waits
    }

    /// Asks the source for records and gives every order that is possible now.
    fn advance(&mut self) {
        self.take_turns();
        let feeding = self.outcome.stopped.is_none();
        while feeding
            && self.floor.wants_more()
            && let Some(seq) = self.pending.pop_front()
        {
            self.floor.asked(seq);
            if self.asks.send(Ask::Next(seq)).is_err() {
                self.source_died();
                break;
            }
        }
        while let Some(next) = self.floor.next_move(self.outcome.stopped.is_none() && self.hopper != Some(0))
        {
            self.order(next);
        }
        self.late_cards_are_awaited();
        self.hopper_is_enough();
        self.hopper_is_waited_for();
    }

    fn order(&mut self, next: Move) {
        match next {
            Move::Feed(seq, to) => {
                self.feeds(seq);
                if let Some(work) = self.work(seq) {
                    // Counted with the order; `not_fed` takes it back if no blank came.
                    self.hopper = self.hopper.map(|blanks| blanks.saturating_sub(1));
                    if let Some(station) = self.station(to) {
                        (station.unbound, station.binding) = (true, false);
                        station.feeds_since = Some(Instant::now());
                    }
                    let proving = self.floor.stations.is_unproved(to);
                    self.send(to, StationOrder::Feed { work, proving });
                }
            }
            Move::Take { seq, from, to } => {
                let from_name = self.name(from);
                if let Some(station) = self.station(to) {
                    (station.taking, station.unbound) = (Some(from), false);
                }
                if let Some(work) = self.work(seq) {
                    let proving = self.floor.stations.is_unproved(to);
                    self.send(to, StationOrder::Take { from: from_name, work, proving });
                }
            }
            Move::ThrowOut(_, place) => {
                let fault = self.no_way_on();
                self.clear(place, fault);
            }
            Move::Collect(seq, from, slot) => {
                let from = self.name(from);
                self.send_output(OutputOrder::Collect { seq, from, slot });
            }
            Move::Discard(seq, slot) => self.send_output(OutputOrder::Discard { seq, slot }),
            Move::Stack(seq, slot) => {
                let position = self.next_position;
                self.next_position += 1;
                let remake = self.remakes.contains(&seq);
                self.send_output(OutputOrder::Stack { seq, slot, position, remake });
            }
        }
    }

    /// Enters a prepared record on the floor. If it cannot be made, the line stops and the record stays QUEUED: its data
    /// were right at acceptance, so something has changed since, which would meet the next record too.
    fn source_gave(&mut self, prepared: Prepared) {
        self.outcome.stats.hsm_calls += u64::from(prepared.hsm.calls);
        let seq = prepared.seq;
        if self.withdrawn.remove(&seq) {
            self.release(prepared.work.ok().as_deref());
            self.off_floor(seq);
            return;
        }
        match prepared.work {
            Ok(work) => {
                let route = (0..self.stages.len())
                    .filter(|stage| self.stages.get(*stage).is_some_and(|s| wants(&s.mics, &work)))
                    .collect::<Vec<_>>();
                if route.is_empty() {
                    let detail = "the record has no section for any module of this line".to_owned();
                    let fault = Fault::new(Blame::Data, ReasonWord::Data, detail);
                    self.hold_for_data(seq, fault);
                } else {
                    self.floor.ready(seq, work, route);
                    if let Some(card) = self.floor.card_mut(seq) {
                        card.hsm = prepared.hsm;
                    }
                }
            }
            Err(Unready::Fault(fault)) if fault.blame == Blame::Data => self.hold_for_data(seq, fault),
            Err(Unready::Fault(fault)) => {
                self.floor.remove(seq);
                self.stop_feeding(Stop::Fault { station: "source".into(), fault });
            }
            Err(Unready::Spool(what)) => {
                self.floor.remove(seq);
                self.stop_feeding(Stop::Spool(what));
            }
        }
    }

    /// When the first module without a station has been waited for long enough.
    fn patience_ends(&self) -> Option<Instant> {
        let limited = |(index, _): &(usize, &ModuleStage)| !self.floor.stations.wants_supplies(*index);
        let stages = self.stages.iter().enumerate().filter(limited);
        let since = stages.filter_map(|(_, s)| s.awaited.as_ref().map(|(since, ..)| *since)).min()?;
        since.checked_add(self.recover)
    }

    /// Acts when a time limit of the line has passed.
    fn time_is_up(&mut self, now: Instant) {
        if self.leaving.at.is_some_and(|at| at <= now) {
            self.leave();
        } else {
            self.give_up(now);
        }
    }

    /// Gives up modules that were waited for long enough: the line stops, and the cards that wait for them
    /// are thrown out.
    fn give_up(&mut self, now: Instant) {
        for index in 0..self.stages.len() {
            if self.floor.stations.wants_supplies(index) {
                continue;
            }
            let Some(stage) = self.stages.get_mut(index) else { continue };
            let Some((_, place, fault)) =
                stage.awaited.take_if(|(since, ..)| now.duration_since(*since) >= self.recover)
            else {
                continue;
            };
            let detail = format!(
                "no station of module {} came back within {:?}; the last to go: {}",
                stage.name, self.recover, fault.detail
            );
            self.floor.stations.give_up(index);
            self.end_waits_of(index);
            let station = self.name(place);
            self.stop_feeding(Stop::Fault { station, fault: Fault { detail, ..fault } });
        }
    }

    /// Decides what the outage of a station means for its module and for the line.
    fn module_after(&mut self, place: Place, fault: Fault) {
        match self.floor.stations.service(place.stage) {
            Service::Up => {
                if let Some(stage) = self.stages.get_mut(place.stage) {
                    stage.awaited = None;
                }
            }
            Service::Awaited => {
                if let Some(stage) = self.stages.get_mut(place.stage)
                    && stage.awaited.is_none()
                {
                    tracing::warn!(module = %stage.name, limit = ?self.recover, "no station in service: its cards wait");
                    stage.awaited = Some((Instant::now(), place, fault));
                }
            }
            Service::Lost => {
                if let Some(stage) = self.stages.get_mut(place.stage) {
                    stage.awaited = None;
                }
                self.stop_feeding(Stop::Fault { station: self.name(place), fault });
            }
        }
    }

    /// Begins and ends the limit for modules whose stations are in service, but wait for the late card of another
    /// station.
    fn late_cards_are_awaited(&mut self) {
        for index in 0..self.stages.len() {
            let service = self.floor.stations.service(index);
            let late = match service {
                Service::Awaited => self.floor.stations.late_card_for(index),
                Service::Up | Service::Lost => None,
            };
            let late = late.map(|place| (place, self.name(place)));
            let Some(stage) = self.stages.get_mut(index) else { continue };
            if service == Service::Up {
                stage.awaited = None;
            } else if let Some((place, name)) = late
                && stage.awaited.is_none()
            {
                let detail = format!(
                    "a card that station {name} called for may still come, and until then no other device of its kind \
                     can be proved"
                );
                let fault = Fault::new(Blame::Device, ReasonWord::Transport, detail);
                stage.awaited = Some((Instant::now(), place, fault));
            }
        }
    }

    /// Stops the feeding of blanks. Only the first reason is kept.
    fn stop_feeding(&mut self, why: Stop) {
        if self.outcome.stopped.is_none() {
            match &why {
                // The job's hold has the details.
                Stop::Fault { station, fault } => {
                    tracing::warn!(job = %self.job, station, reason = %fault.reason, "the line stops feeding");
                }
                why => tracing::warn!(job = %self.job, %why, "the line stops feeding"),
            }
            self.outcome.stopped = Some(why);
        }
    }

    fn work(&self, seq: u32) -> Option<Arc<CardWork>> {
        self.floor.card(seq).and_then(|c| c.work.clone())
    }

    /// Orders a station to throw its card out for a reason that is not the station's own.
    fn clear(&mut self, place: Place, fault: Fault) {
        if let Some(station) = self.station(place) {
            station.clearing = true;
        }
        self.send(place, StationOrder::ThrowOut(fault));
    }

    /// Sends an order. If the station's thread does not take it, that thread has died.
    fn send(&mut self, to: Place, order: StationOrder) {
        if !self.station(to).is_some_and(|station| !station.dead && station.orders.send(order).is_ok()) {
            self.station_died(to);
        }
    }

    fn send_output(&mut self, order: OutputOrder) {
        if self.to_output.send(order).is_err() {
            self.output_died();
        }
    }

    fn station(&mut self, place: Place) -> Option<&mut Station> {
        self.stages.get_mut(place.stage).and_then(|s| s.stations.get_mut(place.station))
    }

    fn name(&self, place: Place) -> String {
        let station = self.stages.get(place.stage).and_then(|s| s.stations.get(place.station));
        station.map(|s| s.name.clone()).unwrap_or_default()
    }
}

fn wants(mics: &[Mic], work: &CardWork) -> bool {
    mics.iter().any(|mic| work.record.section(mic.as_str()).is_some())
}
