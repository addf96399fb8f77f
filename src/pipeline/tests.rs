//! A line in which a thread dies: the run ends within a time limit with its reason, every card is accounted
//! for, and the other threads finish what they can.
//!
//! Two stages: `a` with two stations, `b` with one. A panic is planted in a module, a transport's link, the
//! HSM or the ledger's auditor, at the n-th time that it reaches a certain step.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel::{bounded, never};
use drivers::link::LinkError;
use sha2::{Digest, Sha256};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::audit::{AuditKey, ChainPlace, LedgerId};
use crate::hsm::{
    Acknowledged, AuditInfo, Auditor, CardSession, CardSessionRequest, FileAdmission, FollowedLedger,
    Following, HsmError, HsmInfo, RecordHandle, RecordToVerify, ShownEvents, TrailerRequest, VerifiedRecord,
};
use crate::laws::chain::{beginning, place_after};
use crate::laws::{AttemptState, Change, Context, JobState, RecordState};
use crate::ledger::tests::{directory, file};
use crate::modules::{BlankInspection, CardWork, ModuleOutcome};
use crate::profile::ProductProfile;
use crate::reason::ReasonWord;
use crate::record::testing::{self, ApplicationPieces, SectionPieces};
use crate::scp::{HostChallenge, SecureChannelSpec};

/// A station whose machine dies with the third card, for good.
struct Dying(u32);

impl StationModule for Dying {
    fn prepare(&mut self, _: &CardWork) -> Result<(), Fault> {
        Ok(())
    }

    fn inspect(&mut self, _: &CardWork) -> Result<BlankInspection, Fault> {
        Ok(BlankInspection::default())
    }

    fn personalize(&mut self, _: &CardWork) -> Result<ModuleOutcome, Fault> {
        self.0 += 1;
        if self.0 < 3 {
            Ok(ModuleOutcome::default())
        } else {
            self.probe().map(|()| ModuleOutcome::default())
        }
    }

    fn wants(&self, _: &CardWork) -> bool {
        true
    }

    fn probe(&mut self) -> Result<(), Fault> {
        Err(Fault::new(crate::modules::Blame::Device, ReasonWord::Timeout, "device: no answer"))
    }
}

/// A station that never comes back from its device.
struct Sleeper;

impl StationModule for Sleeper {
    fn prepare(&mut self, _: &CardWork) -> Result<(), Fault> {
        Ok(())
    }

    fn inspect(&mut self, _: &CardWork) -> Result<BlankInspection, Fault> {
        Ok(BlankInspection::default())
    }

    fn personalize(&mut self, _: &CardWork) -> Result<ModuleOutcome, Fault> {
        std::thread::sleep(2 * LIMIT);
        Ok(ModuleOutcome::default())
    }

    fn wants(&self, _: &CardWork) -> bool {
        true
    }

    fn probe(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// A run takes a second. A run that hangs would last for ever.
const LIMIT: Duration = Duration::from_secs(60);
const CARDS: u32 = 24;

/// Where the panic is planted, and how often the run passes it before.
struct Plant {
    at: &'static str,
    left: AtomicU32,
    /// Stations wait at their next step while another one acts.
    turn: Mutex<()>,
    /// Done there instead of a panic.
    deed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Plant {
    fn new(at: &'static str, nth: u32) -> Arc<Self> {
        Arc::new(Self { at, left: AtomicU32::new(nth), turn: Mutex::default(), deed: OnceLock::new() })
    }

    fn reached(&self, place: &str) {
        let _turn = (place != "ledger").then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let planted = place == self.at && self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        match self.deed.get().filter(|_| planted) {
            Some(deed) => deed(),
            None => assert!(!planted, "planted"),
        }
    }
}

/// A machine that obeys every command, until the planted panic.
struct Machine {
    name: String,
    plant: Arc<Plant>,
    output: VecDeque<u8>,
}

impl ByteLink for Machine {
    fn send(&mut self, bytes: &[u8], _: Duration) -> Result<(), LinkError> {
        // Our own acknowledgement is one byte.
        if let [0x02, cmd, ..] = bytes {
            self.plant.reached(&format!("{} {}", self.name, *cmd as char));
            self.output.extend([0x06, 0x02, *cmd, b'0', 0x03, cmd ^ b'0' ^ 0x03]);
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        let n = buffer.len().min(self.output.len());
        buffer.iter_mut().zip(self.output.drain(..n)).for_each(|(to, byte)| *to = byte);
        if n == 0 { Err(LinkError::Timeout(timeout)) } else { Ok(n) }
    }

    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        Ok(())
    }
}

struct Worker {
    name: String,
    mic: &'static str,
    plant: Arc<Plant>,
}

impl Worker {
    fn step(&self, step: &str) {
        self.plant.reached(&format!("{} {step}", self.name));
    }
}

impl StationModule for Worker {
    fn prepare(&mut self, _: &CardWork) -> Result<(), Fault> {
        self.step("prepare");
        Ok(())
    }

    fn inspect(&mut self, _: &CardWork) -> Result<BlankInspection, Fault> {
        self.step("inspect");
        Ok(BlankInspection::default())
    }

    fn personalize(&mut self, _: &CardWork) -> Result<ModuleOutcome, Fault> {
        self.step("personalize");
        if self.plant.at == "ledger" {
            // Long enough for the ledger to be signed meanwhile.
            std::thread::sleep(Duration::from_millis(150));
        }
        Ok(ModuleOutcome::default())
    }

    fn wants(&self, work: &CardWork) -> bool {
        work.record.section(self.mic).is_some()
    }

    fn probe(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// An HSM that dies when it is asked about applications.
struct NoHsm(Arc<Plant>);

impl Hsm for NoHsm {
    fn info(&mut self) -> Result<HsmInfo, HsmError> {
        unreachable!()
    }
    fn verify_trailer(&mut self, _: &TrailerRequest) -> Result<(), HsmError> {
        unreachable!()
    }
    fn verify_record(&mut self, _: &RecordToVerify) -> Result<VerifiedRecord, HsmError> {
        self.0.reached("source");
        unreachable!()
    }
    fn draw_challenge(&mut self, _: SecureChannelSpec) -> Result<HostChallenge, HsmError> {
        unreachable!()
    }
    fn session(&mut self, _: &CardSessionRequest) -> Result<CardSession, HsmError> {
        unreachable!()
    }
    fn release(&mut self, _: &[RecordHandle]) -> Result<(), HsmError> {
        Ok(())
    }
}

/// Signs the ledger until the planted panic.
struct Voucher {
    plant: Arc<Plant>,
    head: Mutex<(u64, Option<ChainPlace>)>,
}

impl Auditor for Voucher {
    fn audit(&mut self, _: LedgerId) -> Result<AuditInfo, HsmError> {
        let (generation, head) = *self.head.lock().unwrap();
        Ok(AuditInfo { key: AuditKey::from_seed(&[7; 32]).public(), generation, head, signed: head })
    }
    fn follow(&mut self, request: &Following) -> Result<FollowedLedger, HsmError> {
        let (generation, head) = *self.head.lock().unwrap();
        let place = head.unwrap_or(beginning(request.ledger));
        let key = AuditKey::from_seed(&[7; 32]).public();
        Ok(FollowedLedger { key, generation, place, head: place, signed: None, time: 0 })
    }
    fn show(&mut self, shown: &ShownEvents) -> Result<Acknowledged, HsmError> {
        self.plant.reached("ledger");
        let mut head = self.head.lock().unwrap();
        let next = |place, event: &Vec<u8>| place_after(&place, event);
        let place = shown.events.iter().try_fold(shown.after, next).unwrap();
        *head = (head.0 + u64::from(shown.sign), Some(place));
        let signed = shown.sign.then(|| AuditKey::from_seed(&[7; 32]).checkpoint(place, head.0, None));
        Ok(Acknowledged { place, signed, barred: Vec::new() })
    }
    fn admit(&mut self, _: &FileAdmission) -> Result<(), HsmError> {
        Ok(())
    }
}

/// A run that is over.
struct Ran {
    outcome: RunOutcome,
    ledger: Ledger,
    job: JobId,
    directory: tempfile::TempDir,
}

fn line(plant: &Arc<Plant>) -> LineSetup {
    let transport = |name: &str| {
        let machine = Machine { name: name.to_owned(), plant: Arc::clone(plant), output: VecDeque::new() };
        Transport::new(Box::new(machine) as Box<dyn ByteLink>)
    };
    let station = |name: &str, mic| StationSetup {
        name: name.to_owned(),
        module: Box::new(Worker { name: name.to_owned(), mic, plant: Arc::clone(plant) }),
        transport: transport(name),
        proofs: Arc::default(),
        refused: None,
    };
    let stage = |name: &str, mic: &'static str, stations: &[&str]| StageSetup {
        name: name.to_owned(),
        kind: "none",
        mics: vec![Mic::new(mic).unwrap()],
        stations: stations.iter().map(|name| station(name, mic)).collect(),
    };
    LineSetup {
        stages: vec![stage("a", "EMB", &["a-1", "a-2"]), stage("b", "IND", &["b-1"])],
        output: transport("output"),
        reorder_buffer: 8,
        recover: Duration::from_secs(5),
        stop: Duration::from_secs(30),
        waits_for_blanks: false,
        breakers: crate::profile::line::BreakerLimits { station: 100, job: 100 },
    }
}

fn run_with(plant: &Arc<Plant>, chips: u32) -> Ran {
    run_on(line(plant), plant, chips)
}

fn run_on(line: LineSetup, plant: &Arc<Plant>, chips: u32) -> Ran {
    run_told(line, plant, chips, |_, _| (never(), never()))
}

/// Makes a job of `CARDS` records, of which those from `chips` on have an application. `people` returns
/// the channel of their messages.
fn run_told(
    line: LineSetup,
    plant: &Arc<Plant>,
    chips: u32,
    people: impl FnOnce(&Ledger, JobId) -> (Receiver<()>, Receiver<LineMessage>),
) -> Ran {
    let directory = directory();
    let voucher = Voucher { plant: Arc::clone(plant), head: Mutex::default() };
    let ledger = Ledger::open_audited(directory.path().join("l.db"), Box::new(voucher)).unwrap();
    let job = ledger.new_job(file("F", CARDS)).unwrap().job;
    let chip = SectionPieces::new(&[ApplicationPieces::default()]).bytes();
    let sections = |seq: u32| {
        let mut sections = vec![("EMB", &b"~EM%1;300;300;A\r\n"[..]), ("IND", b"~EM%1;300;300;B\r\n")];
        sections.extend((seq >= chips).then_some(("CHP", &chip[..])));
        sections
    };
    let records: Vec<_> =
        (1..=CARDS).map(|seq| testing::record(seq, &format!("F-{seq}"), &sections(seq))).collect();
    let bytes = testing::file(&records);
    let path = directory.path().join("spool.cwf1");
    std::fs::write(&path, &bytes).unwrap();
    let spool = Spool::open(&path, &Sha256::digest(&bytes).into(), None).unwrap();
    let batch = Batch {
        job,
        sequences: (1..=CARDS).collect(),
        remakes: std::collections::BTreeSet::new(),
        next_blank: 1,
        next_position: 1,
        hopper: None,
        issuer_id: spool.header().issuer_id.clone(),
        file_id: spool.header().file_id.clone(),
        product: Arc::new(ProductProfile::load("multiapp").unwrap()),
        spool,
    };
    let (hsm, theirs) = (NoHsm(Arc::clone(plant)), ledger.clone());
    let (stop, told) = people(&ledger, job);
    let (say, said) = bounded(1);
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    std::thread::spawn(move || {
        tracing::dispatcher::with_default(&subscriber, || {
            let outcome = run(line, batch, Box::new(hsm), &theirs, (stop, told));
            say.send(outcome).unwrap();
        });
    });
    let outcome = said.recv_timeout(LIMIT).expect("the run hangs");
    Ran { outcome, ledger, job, directory }
}

fn run_until(at: &'static str, nth: u32) -> Ran {
    run_with(&Plant::new(at, nth), CARDS + 1)
}

impl Ran {
    #[track_caller]
    fn stopped_by(&self, whose: &str) {
        assert_eq!(self.outcome.stopped, Some(Stop::Died(whose.to_owned())));
    }

    /// Checks that the balances hold, that no card is under way, and that UNKNOWN records have the reason of
    /// a dead thread.
    #[track_caller]
    fn accounted(&self) -> crate::laws::Balance {
        let reader = self.ledger.reader().unwrap();
        reader.verify_chain().unwrap();
        let balance = reader.job(self.job).unwrap().balance;
        assert_eq!(balance, reader.recount(self.job).unwrap());
        assert_eq!((balance.records_off(), balance.blanks_off()), (0, 0), "{balance:?}");
        assert_eq!((balance.in_flight, balance.blanks_in_line), (0, 0), "{balance:?}");
        assert_eq!(balance.good, self.outcome.good);
        let unknown = reader.in_state(self.job, RecordState::Unknown).unwrap();
        assert_eq!(u64::try_from(unknown.len()).unwrap(), balance.unknown);
        for seq in unknown {
            let card = reader.card(self.job, seq).unwrap();
            assert_eq!(card.attempts.last().unwrap().state, AttemptState::Unknown);
            assert_eq!(card.events.last().unwrap().context.reason, Some(ReasonWord::ThreadDied));
        }
        balance
    }
}

#[test]
fn without_a_death_every_card_is_good() {
    let ran = run_until("nowhere", 1);
    assert_eq!((ran.outcome.good, ran.outcome.stopped.is_none()), (u64::from(CARDS), true));
    ran.accounted();
}

#[test]
fn a_station_that_dies_before_the_binding_costs_a_blank_at_most() {
    for (at, nth, blanks) in [
        ("a-1 prepare", 1, 0),
        ("a-1 prepare", 3, 0),
        ("a-1 F", 2, 0),
        ("a-1 inspect", 1, 1),
        ("a-2 inspect", 3, 1),
    ] {
        let ran = run_until(at, nth);
        ran.stopped_by(&format!("station {}", &at[..3]));
        let balance = ran.accounted();
        assert_eq!((balance.unknown, balance.remake, balance.blanks_rejected), (0, 0, blanks), "{at} {nth}");
        // The cards under way elsewhere were finished.
        assert!(balance.good >= u64::from(nth) - 1 && balance.good < u64::from(CARDS), "{at}: {balance:?}");
    }
}

#[test]
fn a_station_that_dies_with_a_card_leaves_it_unknown_and_the_others_are_finished() {
    for (at, nth) in [("a-1 personalize", 1), ("a-1 personalize", 4), ("a-2 personalize", 2)] {
        let ran = run_until(at, nth);
        ran.stopped_by(&format!("station {}", &at[..3]));
        let balance = ran.accounted();
        assert_eq!((balance.unknown, balance.remake, balance.blanks_rejected), (1, 0, 0), "{at} {nth}");
        assert!(balance.good >= u64::from(nth) - 1, "{at}: {balance:?}");
    }
}

#[test]
fn the_last_station_of_a_module_that_dies_leaves_one_card_unknown_and_the_others_are_thrown_out() {
    for at in ["b-1 T", "b-1 prepare", "b-1 A", "b-1 inspect", "b-1 personalize"] {
        let ran = run_until(at, 3);
        ran.stopped_by("station b-1");
        let balance = ran.accounted();
        assert_eq!((balance.unknown, balance.good), (1, 2), "{at}: {balance:?}");
        assert_eq!(balance.remake, balance.blanks_rejected, "{at}");
    }
}

#[test]
fn a_station_that_dies_throwing_a_card_out_leaves_it_unknown() {
    // The module after it has died, so it has to throw out a card.
    let ran = run_until("b-1 personalize", 1);
    assert!(ran.accounted().remake > 0, "nothing was thrown out: the next case proves nothing");
    let plant = Plant::new("b-1 personalize", 1);
    let mut line = line(&plant);
    let stage = line.stages.first_mut().unwrap();
    for station in &mut stage.stations {
        let thrower = Plant::new(if station.name == "a-1" { "a-1 R" } else { "a-2 R" }, 1);
        let machine = Machine { name: station.name.clone(), plant: thrower, output: VecDeque::new() };
        station.transport = Transport::new(Box::new(machine) as Box<dyn ByteLink>);
    }
    let ran = run_on(line, &plant, CARDS + 1);
    let balance = ran.accounted();
    assert!(balance.unknown >= 2 && balance.remake == 0, "{balance:?}");
}

#[test]
fn an_output_that_dies_leaves_its_cards_unknown_and_the_others_are_thrown_out() {
    for at in ["output T", "output B", "output K"] {
        for nth in [1, 4] {
            let ran = run_until(at, nth);
            ran.stopped_by("the output");
            let balance = ran.accounted();
            assert!(balance.unknown >= 1 && balance.unknown <= 8, "{at} {nth}: {balance:?}");
            assert!(balance.good < u64::from(nth), "{at} {nth}: {balance:?}");
        }
    }
}

#[test]
fn a_source_that_dies_leaves_its_records_queued_and_cards_under_way_are_finished() {
    for from in [1, 6] {
        let ran = run_with(&Plant::new("source", 1), from);
        ran.stopped_by("the source");
        let balance = ran.accounted();
        // Records that were prepared and not fed wait, too.
        assert_eq!(
            (balance.unknown, balance.remake, balance.good + balance.queued),
            (0, 0, u64::from(CARDS))
        );
        assert!(balance.good < u64::from(from), "{balance:?}");
    }
}

#[test]
fn a_ledger_whose_writer_dies_binds_nothing_more_and_the_next_start_says_what_is_unknown() {
    // The new job is signed at once, later events within a second: in the middle of the run.
    let ran = run_until("ledger", 2);
    assert_eq!(ran.outcome.stopped, Some(Stop::Ledger(LedgerError::WriterDied)));
    assert_eq!(ran.ledger.failed(), Some(&LedgerError::WriterDied));
    let held = ran.ledger.record(ran.job, Change::Held, Context::default());
    assert_eq!(held.wait().unwrap_err(), LedgerError::WriterDied);
    let Ran { ledger, job, directory, .. } = ran;
    assert_eq!(ledger.close(), Err(LedgerError::WriterDied));
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let reader = ledger.reader().unwrap();
    let view = reader.job(job).unwrap();
    assert_eq!((view.balance.in_flight, view.balance.blanks_in_line), (0, 0));
    assert_eq!((view.balance.records_off(), view.balance.blanks_off()), (0, 0));
    assert_eq!(view.state, JobState::Held);
}

/// A log that panics at the line in which the dispatcher reports that it stops feeding.
struct Grumbler;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Grumbler {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        assert!(!event.metadata().target().ends_with("pipeline::dispatcher"), "planted");
    }
}

#[test]
fn a_dispatcher_that_dies_is_a_reason_and_its_cards_are_unknown_at_the_next_start() {
    let subscriber = tracing_subscriber::registry().with(Grumbler);
    let ran = tracing::subscriber::with_default(subscriber, || run_until("a-1 personalize", 3));
    ran.stopped_by(DISPATCHER);
    let Ran { ledger, job, directory, .. } = ran;
    ledger.close().unwrap();
    let ledger = Ledger::open(directory.path().join("l.db")).unwrap();
    let balance = ledger.reader().unwrap().job(job).unwrap().balance;
    assert!(balance.unknown >= 1 && balance.in_flight == 0 && balance.blanks_in_line == 0, "{balance:?}");
    assert_eq!((balance.records_off(), balance.blanks_off()), (0, 0));
}

/// A line that is told to end does not wait for a machine that died, however long it would be waited for otherwise.
#[test]
fn a_line_that_is_told_to_end_leaves_its_cards_when_its_time_is_up() {
    for at in ["b-1", "a-1"] {
        let plant = Plant::new("nowhere", 1);
        let mut line = line(&plant);
        line.recover = Duration::from_secs(3600);
        line.stop = Duration::from_millis(400);
        let stations = line.stages.iter_mut().flat_map(|stage| &mut stage.stations);
        for station in stations.filter(|station| station.name == at) {
            station.module = Box::new(Dying(0));
        }
        if at == "a-1" {
            // A station that does not come back from its device at all.
            line.stages[0].stations.truncate(1);
            line.stages[0].stations[0].module = Box::new(Sleeper);
        }
        let (stop, stopped) = bounded(1);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            stop.send(()).unwrap();
            // Connected until the end of the run.
            std::thread::sleep(LIMIT);
        });
        let began = std::time::Instant::now();
        let ran = run_told(line, &plant, CARDS + 1, |_, _| (stopped, never()));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(ran.outcome.stopped, Some(Stop::Operator));
        let reader = ran.ledger.reader().unwrap();
        let balance = reader.job(ran.job).unwrap().balance;
        assert_eq!((balance.records_off(), balance.blanks_off()), (0, 0), "{balance:?}");
        assert_eq!((balance.in_flight, balance.blanks_in_line), (0, 0), "{balance:?}");
        assert!(balance.unknown > 0 && balance.queued > 0, "{balance:?}");
        // The one with which the machine died was thrown out before.
        assert_eq!(balance.remake, u64::from(at == "b-1"), "{balance:?}");
    }
}

/// Runs a line where a person cancels the chosen records that wait while station `a-1` looks at its n-th
/// blank. `notified` is whether the line hears of it.
fn run_and_cancel(nth: u32, notified: bool, chosen: fn(u32) -> bool) -> Ran {
    let plant = Plant::new("a-1 inspect", nth);
    run_told(line(&plant), &plant, CARDS + 1, |ledger, job| {
        let (say, told) = bounded(1);
        let ledger = ledger.clone();
        let deed = move || {
            let queued = ledger.reader().unwrap().in_state(job, RecordState::Queued).unwrap();
            let chosen: Vec<u32> = queued.into_iter().filter(|seq| chosen(*seq)).collect();
            let done = |seq: &u32| {
                ledger.record(job, Change::Cancelled { seq: *seq }, Context::by("anna")).wait().is_ok()
            };
            // A record that the other station has bound meanwhile is refused.
            let cancelled = chosen.into_iter().filter(done).collect();
            if notified {
                say.send(LineMessage::Cancelled(cancelled)).unwrap();
            }
        };
        plant.deed.set(Box::new(deed)).ok().unwrap();
        (never(), told)
    })
}

#[test]
fn records_cancelled_while_the_line_works_are_not_made_and_cost_only_the_blanks_already_fed() {
    for nth in [1, 2, 5] {
        let ran = run_and_cancel(nth, true, |_| true);
        let balance = ran.accounted();
        assert_eq!(ran.outcome.stopped, None);
        assert!(balance.cancelled > 0, "{balance:?}");
        assert_eq!(balance.cancelled + balance.good, u64::from(CARDS), "{balance:?}");
        // One of each station of the first module.
        assert!((1..=2).contains(&balance.blanks_rejected), "{balance:?}");
    }
}

#[test]
fn the_line_goes_on_with_the_records_that_were_not_cancelled() {
    let ran = run_and_cancel(2, true, |seq| seq % 2 == 0);
    let balance = ran.accounted();
    assert_eq!(ran.outcome.stopped, None);
    assert!(balance.cancelled > 5, "{balance:?}");
    assert_eq!(balance.cancelled + balance.good, u64::from(CARDS), "{balance:?}");
}

#[test]
fn a_line_that_is_not_notified_learns_of_cancelled_records_from_the_first_refusal() {
    let ran = run_and_cancel(2, false, |_| true);
    let balance = ran.accounted();
    assert_eq!(ran.outcome.stopped, None);
    assert_eq!(balance.cancelled + balance.good, u64::from(CARDS), "{balance:?}");
    // The first refusal shows the line all of them.
    assert!((1..=4).contains(&balance.blanks_rejected), "{balance:?}");
}
