//! The dispatcher: the one owner of the line's state. It hears what happened, writes it to the ledger, and orders what
//! comes next. It never waits for a device.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::floor::{Floor, Move, Where};
use super::source::{Ask, Prepared, Source, Unready};
use super::station::{Happening, Order, Place, STUCK};
use super::{Batch, LineSetup, Outcome, Stop, output, station};
use crate::hsm::Hsm;
use crate::ids::Mic;
use crate::ledger::{AttemptState, Change, Context, JobId, Ledger, Ticket};
use crate::modules::{Blame, Blank, Done, Fault, Work};

/// Ledger changes whose outcome is looked at later; more than these at once, and the dispatcher waits for the oldest.
const TICKETS: usize = 512;

struct Station {
    name: String,
    orders: Sender<Order>,
    binds: Sender<Ticket>,
    /// The unbound blank that lies there.
    blank: Option<u32>,
    /// The station before, whose card this one is taking.
    taking: Option<Place>,
}

struct Stage {
    name: String,
    mics: Vec<Mic>,
    stations: Vec<Station>,
}

/// See the module.
pub struct Dispatcher<'a> {
    ledger: &'a Ledger,
    job: JobId,
    floor: Floor,
    stages: Vec<Stage>,
    asks: Sender<Ask>,
    to_output: Sender<output::Order>,
    prepared: Receiver<Prepared>,
    happenings: Receiver<(Place, Happening)>,
    from_output: Receiver<output::Happening>,
    stop: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
    pending: VecDeque<u32>,
    remakes: std::collections::BTreeSet<u32>,
    next_blank: u32,
    next_position: u32,
    tickets: VecDeque<Ticket>,
    outcome: Outcome,
    first_feed: Option<Instant>,
}

impl<'a> Dispatcher<'a> {
    /// Starts the threads of a line.
    pub fn start(
        line: LineSetup,
        batch: Batch,
        hsm: Box<dyn Hsm>,
        ledger: &'a Ledger,
        stop: Receiver<()>,
    ) -> Self {
        let counts: Vec<usize> = line.stages.iter().map(|s| s.stations.len()).collect();
        let total: usize = counts.iter().sum();
        let mut threads = Vec::new();
        let mut spawn = |name: String, body: Box<dyn FnOnce() + Send>| {
            // Without threads there is no line: the operating system's refusal ends up as an empty floor below.
            match std::thread::Builder::new().name(name).spawn(body) {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::error!(%error, "cannot start a thread"),
            }
        };

        let (asks, asked) = bounded(usize::from(line.reorder_buffer) + 1);
        let (give, prepared) = bounded(usize::from(line.reorder_buffer));
        let source = Source {
            spool: batch.spool,
            hsm,
            issuer_id: batch.issuer_id,
            file_id: batch.file_id,
            product: batch.product,
        };
        spawn("source".into(), Box::new(move || source.run(&asked, &give)));

        let (say, happenings) = bounded(4 * total);
        let mut stages = Vec::new();
        for (stage, setup) in line.stages.into_iter().enumerate() {
            let mut stations = Vec::new();
            for (station, setup) in setup.stations.into_iter().enumerate() {
                let (orders, ordered) = bounded(1);
                let (binds, bound) = bounded(1);
                let (name, say) = (setup.name.clone(), say.clone());
                let place = Place { stage, station };
                spawn(name.clone(), Box::new(move || station::run(setup, place, &ordered, &bound, &say)));
                stations.push(Station { name, orders, binds, blank: None, taking: None });
            }
            stages.push(Stage { name: setup.name, mics: setup.mics, stations });
        }

        let (to_output, output_orders) = bounded(1);
        let (output_says, from_output) = bounded(1);
        spawn("output".into(), Box::new(move || output::run(line.output, &output_orders, &output_says)));

        Self {
            ledger,
            job: batch.job,
            floor: Floor::new(&counts, line.reorder_buffer),
            stages,
            asks,
            to_output,
            prepared,
            happenings,
            from_output,
            stop,
            threads,
            pending: batch.sequences.into(),
            remakes: batch.remakes,
            next_blank: batch.next_blank,
            next_position: batch.next_position,
            tickets: VecDeque::new(),
            outcome: Outcome::default(),
            first_feed: None,
        }
    }

    /// Works until every record is made or out, or the line stopped.
    pub fn run(mut self) -> Outcome {
        loop {
            self.advance();
            if !self.floor.moving() && !self.floor.asked_open() {
                // Nothing moves, nothing is owed, and `advance` found nothing to order.
                break;
            }
            let stop = if self.outcome.stopped.is_some() { never() } else { self.stop.clone() };
            select! {
                recv(self.happenings) -> happening => match happening {
                    Ok((place, happening)) => self.happened(place, happening),
                    Err(_) => break,
                },
                recv(self.from_output) -> happening => match happening {
                    Ok(happening) => self.output_happened(happening),
                    Err(_) => break,
                },
                recv(self.prepared) -> prepared => match prepared {
                    Ok(prepared) => self.source_gave(prepared),
                    Err(_) => break,
                },
                recv(stop) -> _ => self.stop_feeding(Stop::Operator),
            }
        }
        self.finish()
    }

    fn advance(&mut self) {
        let feeding = self.outcome.stopped.is_none();
        while feeding
            && self.floor.wants_more()
            && let Some(seq) = self.pending.pop_front()
        {
            self.floor.asked(seq);
            if self.asks.send(Ask::Next(seq)).is_err() {
                return;
            }
        }
        while let Some(next) = self.floor.next_move(self.outcome.stopped.is_none()) {
            self.order(next);
        }
    }

    fn order(&mut self, next: Move) {
        match next {
            Move::Feed(seq, to) => {
                if let Some(work) = self.work(seq) {
                    self.send(to, Order::Feed(work));
                }
            }
            Move::Take { seq, from, to } => {
                let from_name = self.name(from);
                if let Some(station) = self.station(to) {
                    station.taking = Some(from);
                }
                if let Some(work) = self.work(seq) {
                    self.send(to, Order::Take { from: from_name, work });
                }
            }
            Move::ThrowOut(_, place) => {
                let fault =
                    Fault::new(Blame::Device, "no-station", "the next module has no station in service");
                self.send(place, Order::ThrowOut(fault));
            }
            Move::Collect(seq, from, slot) => {
                let from = self.name(from);
                drop(self.to_output.send(output::Order::Collect { seq, from, slot }));
            }
            Move::Stack(seq, slot) => {
                let position = self.next_position;
                self.next_position += 1;
                let remake = self.remakes.contains(&seq);
                drop(self.to_output.send(output::Order::Stack { seq, slot, position, remake }));
            }
        }
    }

    fn source_gave(&mut self, prepared: Prepared) {
        self.outcome.stats.hsm_calls += u64::from(prepared.hsm_calls);
        let seq = prepared.seq;
        match prepared.work {
            Ok(work) => {
                let route = (0..self.stages.len())
                    .filter(|stage| self.stages.get(*stage).is_some_and(|s| wants(&s.mics, &work)))
                    .collect::<Vec<_>>();
                if route.is_empty() {
                    let detail = "the record has no section for any module of this line".to_owned();
                    let fault = Fault::new(Blame::Data, "data", detail);
                    self.cancel(seq, fault);
                } else {
                    self.floor.ready(seq, work, route);
                }
            }
            Err(Unready::Fault(fault)) if fault.blame == Blame::Data => self.cancel(seq, fault),
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

    fn happened(&mut self, place: Place, happening: Happening) {
        let Some(seq) = self.floor.working_at(place) else { return };
        match happening {
            Happening::Fed => {
                self.first_feed.get_or_insert_with(Instant::now);
                let blank = self.next_blank;
                self.next_blank += 1;
                if let Some(station) = self.station(place) {
                    station.blank = Some(blank);
                }
                self.record(Change::Fed { blank }, self.context(place));
            }
            Happening::BlankOut { blank: seen, fault, took } => {
                self.worked(place, took, true);
                if let Some(blank) = self.take_blank(place) {
                    let change = Change::RejectedUnbound { blank, key_data: seen.key_data };
                    self.record(change, self.fault_context(place, &fault, took));
                }
            }
            Happening::MayBind(seen) => self.bind(place, seq, seen),
            Happening::Taken => {
                if let Some(before) = self.station(place).and_then(|s| s.taking.take()) {
                    self.floor.free(before);
                }
            }
            Happening::NotTaken(fault) => {
                let before = self.station(place).and_then(|s| s.taking.take());
                if let Some(before) = before
                    && let Some(card) = self.floor.card_mut(seq)
                {
                    card.at = Where::Working(before);
                    self.floor.free(place);
                    self.send(before, Order::ThrowOut(fault));
                }
            }
            Happening::Writing => {
                if self.floor.card(seq).is_some_and(|c| c.leg == 0) {
                    let change = Change::Attempt { seq, to: AttemptState::Personalizing };
                    self.record(change, self.context(place));
                }
            }
            Happening::Done { done, took } => self.done(place, seq, &done, took),
            Happening::CardOut { fault, took } => self.card_out(place, seq, fault, took),
            Happening::Void(fault) => self.void(place, seq, fault),
        }
    }

    fn bind(&mut self, place: Place, seq: u32, seen: Blank) {
        let Some(blank) = self.take_blank(place) else { return };
        let change = Change::Bound { seq, blank, key_data: seen.key_data };
        let ticket = self.ledger.record(self.job, change, self.context(place));
        if let Some(station) = self.station(place) {
            drop(station.binds.send(ticket));
        }
    }

    fn done(&mut self, place: Place, seq: u32, done: &Done, took: Duration) {
        let name = self.name(place);
        self.worked(place, took, false);
        self.outcome.stats.hsm_calls += u64::from(done.hsm_calls);
        self.outcome.stats.commands += u64::from(done.commands);
        for logged in &done.log {
            let (aid, dgi, length, sw) = (&logged.aid, logged.dgi, logged.length, logged.sw);
            tracing::info!(job = %self.job, seq, station = %name, %aid, %dgi, length, sw = format!("{sw:04X}"), "LOGDATA");
        }
        let Some(card) = self.floor.card_mut(seq) else { return };
        card.compared.extend(&done.compared);
        card.leg += 1;
        card.at = Where::Waiting(place);
        if card.leg < card.route.len() {
            return;
        }
        let compared =
            if card.compared.is_empty() { "device status".to_owned() } else { card.compared.join(", ") };
        let applications = card.work.as_ref().map_or(0, |w| w.applications.len());
        self.outcome.stats.applications += u64::try_from(applications).unwrap_or(0);
        let context = Context { ms: millis(took), ..self.context(place) };
        self.record(Change::Attempt { seq, to: AttemptState::Written }, context);
        self.record(Change::Verified { seq, compared }, self.context(place));
    }

    fn card_out(&mut self, place: Place, seq: u32, fault: Fault, took: Duration) {
        self.worked(place, took, true);
        self.outcome.stats.cards += 1;
        self.record(Change::Rejected { seq }, self.fault_context(place, &fault, took));
        // The applications that were not reached still have their handles.
        if let Some(card) = self.floor.remove(seq) {
            self.release(card.work.as_deref());
        }
        self.station_after(place, fault);
    }

    fn void(&mut self, place: Place, seq: u32, fault: Fault) {
        if fault.blame == Blame::Data {
            self.cancel(seq, fault);
            self.floor.free(place);
            return;
        }
        if fault.reason == "ledger" {
            // The blank is neither bound nor out; the ledger could not be told.
            self.floor.remove(seq);
            self.floor.out_of_service(place);
            self.stop_feeding(Stop::Ledger(fault.detail));
            return;
        }
        self.floor.back(seq);
        self.floor.out_of_service(place);
        self.station_after(place, fault);
    }

    fn worked(&mut self, place: Place, took: Duration, fault: bool) {
        let module = self.stages.get(place.stage).map(|s| s.name.clone()).unwrap_or_default();
        let station = self.outcome.stats.stations.entry(self.name(place)).or_default();
        station.module = module;
        station.cards += 1;
        station.faults += u64::from(fault);
        station.busy_ms += millis(took).unwrap_or(0);
    }

    /// What a fault means for its station and for the line.
    fn station_after(&mut self, place: Place, fault: Fault) {
        let fatal = matches!(fault.blame, Blame::Hsm | Blame::Us);
        if fault.reason == STUCK {
            self.floor.out_of_service(place);
        }
        self.floor.free(place);
        if fatal || !self.floor.in_service(place.stage) {
            self.stop_feeding(Stop::Fault { station: self.name(place), fault });
        }
    }

    fn output_happened(&mut self, happening: output::Happening) {
        self.floor.output_free();
        match happening {
            output::Happening::Collected(seq, result) => {
                let Some(card) = self.floor.card_mut(seq) else { return };
                let Where::Leaving(place, slot) = card.at else { return };
                card.at = Where::Buffered(slot);
                self.floor.free(place);
                if let Err(error) = result {
                    self.lost(seq, &error);
                }
            }
            output::Happening::Stacked(seq, Ok(())) => {
                let position = self.next_position - 1;
                self.record(Change::Stacked { seq, position }, output_context());
                self.floor.remove(seq);
                self.outcome.good += 1;
                self.outcome.stats.cards += 1;
            }
            output::Happening::Stacked(seq, Err(error)) => self.lost(seq, &error),
        }
    }

    fn lost(&mut self, seq: u32, error: &drivers::DeviceError) {
        let detail =
            format!("the output did not confirm the card ({error}); find it and resolve record {seq}");
        let fault = Fault::new(Blame::Device, "output", detail);
        let context = Context {
            reason: Some(fault.reason.clone()),
            detail: Some(fault.detail.clone()),
            ..output_context()
        };
        self.record(Change::Lost { seq }, context);
        self.floor.remove(seq);
        self.stop_feeding(Stop::Fault { station: "output".into(), fault });
    }

    fn cancel(&mut self, seq: u32, fault: Fault) {
        let context = Context {
            reason: Some(fault.reason.clone()),
            detail: Some(fault.detail.clone()),
            actor: Some("line".into()),
            ..Context::default()
        };
        self.record(Change::Cancelled { seq }, context);
        if let Some(card) = self.floor.remove(seq) {
            self.release(card.work.as_deref());
        }
        self.stop_feeding(Stop::Data { seq, fault });
    }

    fn release(&mut self, work: Option<&Work>) {
        let handles: Vec<_> = work.iter().flat_map(|w| &w.applications).map(|a| a.verified.handle).collect();
        if !handles.is_empty() {
            self.outcome.stats.hsm_calls += 1;
            drop(self.asks.send(Ask::Release(handles)));
        }
    }

    /// No blank is fed any more; the first reason stays.
    fn stop_feeding(&mut self, why: Stop) {
        if self.outcome.stopped.is_none() {
            tracing::warn!(job = %self.job, ?why, "the line stops feeding");
            self.outcome.stopped = Some(why);
        }
    }

    fn record(&mut self, change: Change, context: Context) {
        let ticket = self.ledger.record(self.job, change, context);
        self.tickets.push_back(ticket);
        if self.tickets.len() > TICKETS
            && let Some(oldest) = self.tickets.pop_front()
        {
            self.settle(oldest);
        }
    }

    fn settle(&mut self, ticket: Ticket) {
        if let Err(error) = ticket.wait() {
            self.stop_feeding(Stop::Ledger(error.to_string()));
        }
    }

    fn finish(mut self) -> Outcome {
        for seq in self.floor.unfed() {
            if let Some(card) = self.floor.remove(seq) {
                self.release(card.work.as_deref());
            }
        }
        self.outcome.stats.elapsed = self.first_feed.map(|t| t.elapsed()).unwrap_or_default();
        while let Some(ticket) = self.tickets.pop_front() {
            self.settle(ticket);
        }
        // Hanging up ends the threads.
        let Self { asks, to_output, prepared, happenings, from_output, stages, threads, outcome, .. } = self;
        drop((asks, to_output, prepared, happenings, from_output, stages));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the line panicked");
            }
        }
        outcome
    }

    fn work(&self, seq: u32) -> Option<Arc<Work>> {
        self.floor.card(seq).and_then(|c| c.work.clone())
    }

    fn send(&mut self, to: Place, order: Order) {
        if let Some(station) = self.station(to) {
            drop(station.orders.send(order));
        }
    }

    fn station(&mut self, place: Place) -> Option<&mut Station> {
        self.stages.get_mut(place.stage).and_then(|s| s.stations.get_mut(place.station))
    }

    fn take_blank(&mut self, place: Place) -> Option<u32> {
        self.station(place).and_then(|s| s.blank.take())
    }

    fn name(&self, place: Place) -> String {
        let station = self.stages.get(place.stage).and_then(|s| s.stations.get(place.station));
        station.map(|s| s.name.clone()).unwrap_or_default()
    }

    fn context(&self, place: Place) -> Context {
        Context {
            station: Some(self.name(place)),
            module: self.stages.get(place.stage).map(|s| s.name.clone()),
            actor: Some("line".into()),
            ..Context::default()
        }
    }

    fn fault_context(&self, place: Place, fault: &Fault, took: Duration) -> Context {
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

fn wants(mics: &[Mic], work: &Work) -> bool {
    mics.iter().any(|mic| work.record.section(mic.as_str()).is_some())
}

fn output_context() -> Context {
    Context {
        station: Some("output".into()),
        module: Some("output".into()),
        actor: Some("line".into()),
        ..Context::default()
    }
}

fn millis(took: Duration) -> Option<u64> {
    u64::try_from(took.as_millis()).ok()
}
