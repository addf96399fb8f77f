//! Starts the threads of a line and ends them.

use std::collections::{BTreeSet, VecDeque};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::leave::Leaving;
use super::supplies::SupplyWaits;
use super::turns::chip_stages;
use super::{Dispatcher, ModuleStage, Station};
use crate::hsm::Hsm;
use crate::ledger::Ledger;
use crate::modules::Fault;
use crate::pipeline::breaker::Breakers;
use crate::pipeline::floor::Floor;
use crate::pipeline::source::Source;
use crate::pipeline::station::{self, Place, StationHappening};
use crate::pipeline::turns::KeyTurns;
use crate::pipeline::{Batch, LineMessage, LineSetup, RunOutcome, StageSetup, StationSetup, output};
use crate::threads::{self, ThreadRefused};

/// Starts threads, and keeps the refusals of the system until the line can stop for them.
#[derive(Default)]
struct LineThreads {
    refused: Vec<ThreadRefused>,
}

impl LineThreads {
    fn start(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
        threads::start(name, body).map_err(|error| self.refused.push(error)).ok()
    }

    /// Starts the stations of all modules.
    fn stages(
        &mut self,
        stages: Vec<StageSetup>,
        say: &Sender<(Place, StationHappening)>,
    ) -> Vec<ModuleStage> {
        stages.into_iter().enumerate().map(|(stage, setup)| self.stage(stage, setup, say)).collect()
    }

    /// Starts the stations of one module.
    fn stage(
        &mut self,
        stage: usize,
        setup: StageSetup,
        say: &Sender<(Place, StationHappening)>,
    ) -> ModuleStage {
        let stations = setup.stations.into_iter().enumerate();
        let stations =
            stations.map(|(station, setup)| self.station(Place { stage, station }, setup, say.clone()));
        ModuleStage { name: setup.name, mics: setup.mics, stations: stations.collect(), awaited: None }
    }

    fn station(
        &mut self,
        place: Place,
        setup: StationSetup,
        say: Sender<(Place, StationHappening)>,
    ) -> Station {
        let (orders, ordered) = bounded(1);
        let (binds, bound) = bounded(1);
        let name = setup.name.clone();
        let thread = self.start(&name, move || station::run(setup, place, &ordered, &bound, &say));
        Station {
            name,
            thread,
            orders,
            binds,
            dead: false,
            unbound: false,
            feeds_since: None,
            binding: false,
            blank: None,
            kmc: None,
            clearing: false,
            taking: None,
            out: None,
        }
    }
}

/// The empty floor of a line, with the stations whose devices are proved; and the stations that take no card in this
/// run, each with the reason.
fn floor(line: &mut LineSetup) -> (Floor, Vec<(Place, Fault)>) {
    let counts: Vec<usize> = line.stages.iter().map(|s| s.stations.len()).collect();
    let mut floor = Floor::new(&counts, line.reorder_buffer);
    let mut out = Vec::new();
    for (index, stage) in line.stages.iter_mut().enumerate() {
        for (station, setup) in stage.stations.iter_mut().enumerate() {
            let place = Place { stage: index, station };
            out.extend(setup.refused.take().map(|fault| (place, fault)));
            if setup.module.sight().is_some() {
                floor.stations.sees_cards(place, stage.kind, setup.proofs.has(&setup.name));
            }
        }
    }
    (floor, out)
}

impl<'a> Dispatcher<'a> {
    /// Starts the threads of a line. If the system refuses one, the line stops before anything moves.
    pub fn start(
        mut line: LineSetup,
        batch: Batch,
        hsm: Box<dyn Hsm>,
        ledger: &'a Ledger,
        (stop, told): (Receiver<()>, Receiver<LineMessage>),
    ) -> Self {
        let (floor, out) = floor(&mut line);
        let mut threads = LineThreads::default();
        let (asks, asked) = bounded(usize::from(line.reorder_buffer) + 1);
        // Room for one request of each card under way: the dispatcher seldom waits for the source.
        let (give, prepared) = bounded(usize::from(line.reorder_buffer));
        let source = Source {
            spool: batch.spool,
            hsm,
            issuer_id: batch.issuer_id,
            file_id: batch.file_id,
            product: batch.product,
        };
        let source = threads.start("source", move || source.run(&asked, give));
        let (say, happenings) = bounded(4 * line.stages.iter().map(|s| s.stations.len()).sum::<usize>());
        let stages = threads.stages(line.stages, &say);
        let (to_output, output_orders) = bounded(1);
        let (output_says, from_output) = bounded(2);
        let output = threads.start("output", move || output::run(line.output, &output_orders, output_says));

        let mut dispatcher = Self {
            ledger,
            job: batch.job,
            floor,
            chip_stages: chip_stages(&stages),
            stages,
            recover: line.recover,
            leaving: Leaving::new(line.stop),
            supplies: SupplyWaits::new(line.waits_for_blanks),
            breakers: Breakers::new(line.breakers),
            searches: Vec::new(),
            turns: KeyTurns::new(),
            asks,
            to_output,
            prepared,
            happenings,
            from_output,
            stop,
            told,
            hopper: batch.hopper,
            threads: source.into_iter().chain(output).collect(),
            pending: batch.sequences.into(),
            remakes: batch.remakes,
            withdrawn: BTreeSet::new(),
            next_blank: batch.next_blank,
            next_position: batch.next_position,
            tickets: VecDeque::new(),
            outcome: RunOutcome::default(),
            first_feed: None,
        };
        dispatcher.refused(threads.refused);
        dispatcher.out_from_the_start(out);
        dispatcher
    }

    /// Settles what is open, hangs up, and waits for the threads.
    pub(super) fn finish(mut self) -> RunOutcome {
        for seq in self.floor.unfed() {
            if let Some(card) = self.floor.remove(seq) {
                self.release(card.work.as_deref());
            }
        }
        self.outcome.stats.elapsed = self.first_feed.map(|t| t.elapsed()).unwrap_or_default();
        self.settle_all();
        self.count_outages();
        self.wants_left();
        // Hanging up ends the threads. A thread that tries a silent device ends only after that try, so it is
        // not waited for.
        let left = self.leaving.left;
        let Self { asks, to_output, prepared, happenings, from_output, stages, mut threads, outcome, .. } =
            self;
        drop((asks, to_output, prepared, happenings, from_output));
        if left {
            return outcome;
        }
        for station in stages.into_iter().flat_map(|stage| stage.stations) {
            threads.extend(station.thread.filter(|_| station.out.is_none()));
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the line panicked");
            }
        }
        outcome
    }
}
