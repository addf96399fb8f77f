//! A station's thread with a scripted module and transport: what it does and reports, and its standing
//! afterwards.

mod supplies;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::{bounded, unbounded};
use drivers::DeviceError;
use drivers::identity::{MachineIdentity, OnlyMachine};
use drivers::link::{ByteLink, LinkError};
use drivers::presence::DeviceConnection;
use drivers::transport::Transport;

use super::*;
use crate::ids::{KeyData, KmcRef};
use crate::laws::{Change, Context};
use crate::modules::sight::CardSight;
use crate::modules::{Blame, StationModule};
use crate::reason::ReasonWord;

/// Everything that happens at the station, in order.
type Trace = Arc<Mutex<Vec<String>>>;

/// A framed machine that answers each command with the next of these status characters, then with '0'. `None`
/// is silence.
struct Machine {
    trace: Trace,
    script: BTreeMap<char, VecDeque<Option<u8>>>,
    output: VecDeque<u8>,
}

impl ByteLink for Machine {
    fn send(&mut self, bytes: &[u8], _: Duration) -> Result<(), LinkError> {
        // Our own acknowledgement is one byte.
        if let [0x02, cmd, ..] = bytes {
            let cmd = *cmd as char;
            self.trace.lock().unwrap().push(cmd.to_string());
            let status = self.script.get_mut(&cmd).and_then(VecDeque::pop_front).unwrap_or(Some(b'0'));
            if let Some(status) = status {
                self.output.extend([0x06, 0x02, cmd as u8, status, 0x03, cmd as u8 ^ status ^ 0x03]);
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        let n = buffer.len().min(self.output.len());
        buffer.iter_mut().zip(self.output.drain(..n)).for_each(|(to, byte)| *to = byte);
        if n == 0 { Err(LinkError::Timeout(timeout)) } else { Ok(n) }
    }

    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        self.trace.lock().unwrap().push("reopen".into());
        Ok(())
    }
}

/// A module that fails with each of these faults in turn, then no more.
struct Worker {
    trace: Trace,
    inspect: VecDeque<Fault>,
    personalize: VecDeque<Fault>,
    probe: VecDeque<Fault>,
    /// What the inspection of every card returns.
    shows: BlankInspection,
    /// Faults of `authenticate`.
    keys: VecDeque<Fault>,
    eye: Option<Eye>,
    identity: Option<Identity>,
}

/// A machine that sees no cards. Each entry is the result of one check of its identity; later checks succeed.
struct Identity(VecDeque<bool>);

impl MachineIdentity for Identity {
    fn only(&mut self, _: OnlyMachine) {}
    fn check(&mut self) -> Result<(), DeviceError> {
        match self.0.pop_front() {
            Some(false) => Err(DeviceError::Unproved { station: "chip-1".into() }),
            _ => Ok(()),
        }
    }
    fn connection(&self) -> DeviceConnection {
        DeviceConnection::through("")
    }
}

/// The sight of a scripted device: each answer once, and the last one from then on.
#[derive(Clone)]
struct Eye {
    trace: Trace,
    connections: VecDeque<DeviceConnection>,
    sees_none: VecDeque<bool>,
    comes: VecDeque<bool>,
}

impl Eye {
    fn next<T: Clone>(answers: &mut VecDeque<T>) -> T {
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
    }
}

impl CardSight for Eye {
    fn connection(&mut self) -> Result<DeviceConnection, Fault> {
        Ok(Self::next(&mut self.connections))
    }
    fn stays_empty(&mut self, time: Duration) -> Result<bool, Fault> {
        if !time.is_zero() {
            self.trace.lock().unwrap().push("rest".into());
        }
        Ok(true)
    }
    fn expect(&mut self) -> Result<bool, Fault> {
        self.trace.lock().unwrap().push("expect".into());
        Ok(Self::next(&mut self.sees_none))
    }
    fn comes(&mut self, _: Duration) -> Result<(bool, DeviceConnection), Fault> {
        self.trace.lock().unwrap().push("sight".into());
        Ok((Self::next(&mut self.comes), Self::next(&mut self.connections)))
    }
    fn sees(&mut self) -> Result<bool, Fault> {
        Ok(Self::next(&mut self.comes))
    }
}

impl Worker {
    fn step(trace: &Trace, name: &str, faults: &mut VecDeque<Fault>) -> Result<(), Fault> {
        trace.lock().unwrap().push(name.into());
        faults.pop_front().map_or(Ok(()), Err)
    }
}

impl StationModule for Worker {
    fn prepare(&mut self, _: &CardWork) -> Result<(), Fault> {
        Ok(())
    }
    fn inspect(&mut self, _: &CardWork) -> Result<BlankInspection, Fault> {
        Self::step(&self.trace, "inspect", &mut self.inspect).map(|()| self.shows)
    }
    fn authenticate(&mut self, _: &CardWork) -> Result<(), Fault> {
        Self::step(&self.trace, "authenticate", &mut self.keys)
    }
    fn personalize(&mut self, _: &CardWork) -> Result<ModuleOutcome, Fault> {
        Self::step(&self.trace, "write", &mut self.personalize).map(|()| ModuleOutcome::default())
    }
    fn wants(&self, _: &CardWork) -> bool {
        true
    }
    fn sight(&mut self) -> Option<&mut dyn CardSight> {
        self.eye.as_mut().map(|eye| eye as &mut dyn CardSight)
    }
    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        self.identity.as_mut().map(|identity| identity as &mut dyn MachineIdentity)
    }
    fn probe(&mut self) -> Result<(), Fault> {
        Self::step(&self.trace, "probe", &mut self.probe)
    }
}

/// A ledger with a job.
fn ledger() -> ((crate::ledger::Ledger, crate::ids::JobId), tempfile::TempDir) {
    let directory = crate::ledger::tests::directory();
    let ledger = crate::ledger::Ledger::open(directory.path().join("l.db")).unwrap();
    let job = ledger.new_job(crate::ledger::tests::file("F", 3)).unwrap().job;
    ((ledger, job), directory)
}

fn hung() -> Fault {
    Fault::new(Blame::Device, ReasonWord::Timeout, "no answer")
}

fn away() -> Fault {
    Fault::new(Blame::Device, ReasonWord::Reader, "no service")
}

fn bad_card() -> Fault {
    Fault::new(Blame::Card, ReasonWord::Mute, "no ATR")
}

/// A station that runs in a thread.
struct Bench {
    /// Senders of orders and bindings; `None` after hanging up.
    line: Option<(Sender<StationOrder>, Sender<Binding>)>,
    said: Receiver<(Place, StationHappening)>,
    trace: Trace,
    thread: std::thread::JoinHandle<()>,
}

fn start(
    script: &[(char, &[Option<u8>])],
    inspect: Vec<Fault>,
    personalize: Vec<Fault>,
    probe: Vec<Fault>,
) -> Bench {
    start_showing(BlankInspection::default(), script, inspect, (personalize, probe))
}

fn start_showing(
    shows: BlankInspection,
    script: &[(char, &[Option<u8>])],
    inspect: Vec<Fault>,
    more: (Vec<Fault>, Vec<Fault>),
) -> Bench {
    start_with_keys(shows, script, inspect, more, vec![])
}

fn start_with_keys(
    shows: BlankInspection,
    script: &[(char, &[Option<u8>])],
    inspect: Vec<Fault>,
    (personalize, probe): (Vec<Fault>, Vec<Fault>),
    keys: Vec<Fault>,
) -> Bench {
    let trace = Trace::default();
    let script = script.iter().map(|(cmd, answers)| (*cmd, answers.iter().copied().collect())).collect();
    let machine = Machine { trace: Arc::clone(&trace), script, output: VecDeque::new() };
    let module = Worker {
        trace: Arc::clone(&trace),
        inspect: inspect.into(),
        personalize: personalize.into(),
        probe: probe.into(),
        shows,
        keys: keys.into(),
        eye: None,
        identity: None,
    };
    bench(trace, machine, module, &Arc::default())
}

/// A station whose device sees cards in this way.
fn start_seeing(
    (connections, sees_none, comes): (&[(&str, u16)], &[bool], &[bool]),
    inspect: Vec<Fault>,
    proofs: &Arc<WiringProofs>,
) -> Bench {
    let trace = Trace::default();
    let machine = Machine { trace: Arc::clone(&trace), script: BTreeMap::new(), output: VecDeque::new() };
    let connection = |(node, count): &(&str, u16)| DeviceConnection { node: (*node).into(), count: *count };
    let eye = Eye {
        trace: Arc::clone(&trace),
        connections: connections.iter().map(connection).collect(),
        sees_none: sees_none.iter().copied().collect(),
        comes: comes.iter().copied().collect(),
    };
    let module = Worker {
        trace: Arc::clone(&trace),
        inspect: inspect.into(),
        personalize: VecDeque::new(),
        probe: VecDeque::new(),
        shows: BlankInspection::default(),
        keys: VecDeque::new(),
        eye: Some(eye),
        identity: None,
    };
    bench(trace, machine, module, proofs)
}

/// A station whose machine sees no cards; `checks` are the results of the checks of its identity.
fn start_knowing(checks: &[bool], personalize: Vec<Fault>) -> Bench {
    let trace = Trace::default();
    let machine = Machine { trace: Arc::clone(&trace), script: BTreeMap::new(), output: VecDeque::new() };
    let module = Worker {
        trace: Arc::clone(&trace),
        inspect: VecDeque::new(),
        personalize: personalize.into(),
        probe: VecDeque::new(),
        shows: BlankInspection::default(),
        keys: VecDeque::new(),
        eye: None,
        identity: Some(Identity(checks.iter().copied().collect())),
    };
    bench(trace, machine, module, &Arc::default())
}

fn bench(trace: Trace, machine: Machine, module: Worker, proofs: &Arc<WiringProofs>) -> Bench {
    let setup = StationSetup {
        name: "chip-1".into(),
        module: Box::new(module),
        transport: Transport::new(Box::new(machine) as Box<dyn ByteLink>),
        proofs: Arc::clone(proofs),
        refused: None,
    };
    let (orders, ordered) = bounded(1);
    let (say, said) = unbounded();
    let (binds, bound) = bounded(1);
    let thread = std::thread::spawn(move || {
        run(setup, Place { stage: 0, station: 0 }, &ordered, &bound, &say);
    });
    Bench { line: Some((orders, binds)), said, trace, thread }
}

impl Bench {
    fn order(&self, order: StationOrder) {
        self.line.as_ref().unwrap().0.send(order).unwrap();
    }

    fn feed(&self) {
        self.order(StationOrder::Feed { work: work(), proving: false });
    }

    fn take(&self) {
        self.order(StationOrder::Take { from: "chip-0".into(), work: work(), proving: false });
    }

    fn feed_proving(&self) {
        self.order(StationOrder::Feed { work: work(), proving: true });
    }

    fn take_proving(&self) {
        self.order(StationOrder::Take { from: "chip-0".into(), work: work(), proving: true });
    }

    /// The station's next reports, abbreviated.
    fn says(&self, expected: &[&str]) {
        for expected in expected {
            let (_, happening) = self.said.recv_timeout(Duration::from_secs(20)).expect(expected);
            assert_eq!(short(&happening), *expected);
        }
    }

    fn did(&self) -> String {
        std::mem::take(&mut *self.trace.lock().unwrap()).join(" ")
    }

    /// Hangs up. The thread has to end at once.
    fn end(mut self) {
        self.line = None;
        let start = Instant::now();
        self.thread.join().unwrap();
        assert!(start.elapsed() < Duration::from_millis(90), "{:?}", start.elapsed());
    }
}

fn work() -> Arc<CardWork> {
    Arc::new(crate::modules::testing::work(&[]))
}

fn short(happening: &StationHappening) -> String {
    match happening {
        StationHappening::Fed => "fed".into(),
        StationHappening::BlankOut { fault, standing, .. } => {
            format!("blank out: {} {standing:?}", fault.reason)
        }
        StationHappening::MayBind(_) => "may bind".into(),
        StationHappening::MayOpen(_) => "may open".into(),
        StationHappening::Taken => "taken".into(),
        StationHappening::NotTaken(fault, standing) => format!("not taken: {} {standing:?}", fault.reason),
        StationHappening::Writing(_) => "writing".into(),
        StationHappening::KeysProved => "proved".into(),
        StationHappening::KeysWrong(kmc, fault) => format!("wrong keys {kmc}: {}", fault.reason),
        StationHappening::Done { .. } => "done".into(),
        StationHappening::CardOut { fault, standing, .. } => {
            format!("card out: {} {standing:?}", fault.reason)
        }
        StationHappening::Void(fault, standing) => format!("void: {} {standing:?}", fault.reason),
        StationHappening::NotBegun(fault, standing) => {
            let why = fault.as_ref().map_or("", |fault| fault.reason.as_str());
            format!("not begun: {why} {standing:?}")
        }
        StationHappening::Sight(SightReport::Proved) => "proved".into(),
        StationHappening::Sight(SightReport::Unproved) => "unproved".into(),
        StationHappening::Sight(SightReport::Unseen) => "unseen".into(),
        StationHappening::Sight(SightReport::Looked(sees)) => format!("looked: {sees}"),
        StationHappening::Found(fault) => format!("found: {}", fault.reason),
        StationHappening::Back => "back".into(),
        StationHappening::Stuck(fault) => format!("stuck: {}", fault.reason),
        StationHappening::Wants(fault) => format!("wants: {}", fault.reason),
        StationHappening::Silent(fault) => format!("silent: {}", fault.reason),
        StationHappening::Supplied => "supplied".into(),
        StationHappening::NoBlanks(fault) => format!("no blanks: {}", fault.reason),
        StationHappening::Blanks => "blanks".into(),
        StationHappening::NotBrought { fault, standing, .. } => {
            format!("not brought: {} {standing:?}", fault.reason)
        }
        StationHappening::NotReady(fault) => format!("not ready: {}", fault.reason),
        StationHappening::NotBound(_) => "not bound".into(),
        StationHappening::Died => "died".into(),
    }
}

#[test]
fn a_reader_that_hangs_before_the_binding_costs_a_blank_and_is_probed_until_it_answers() {
    let bench = start(&[], vec![hung()], vec![], vec![hung(), hung()]);
    bench.feed();
    let begun = Instant::now();
    bench.says(&["fed", "blank out: timeout Probed", "back"]);
    // 0.1, 0.2 and 0.4 s.
    assert!(begun.elapsed() >= Duration::from_millis(700));
    assert_eq!(bench.did(), "F inspect R probe probe probe");
    bench.feed();
    bench.says(&["fed", "may bind"]);
    bench.end();
}

#[test]
fn a_reader_that_is_away_for_a_moment_costs_no_card() {
    let bench = start(&[], vec![away(), away()], vec![], vec![away()]);
    bench.feed();
    bench.says(&["fed", "may bind"]);
    assert_eq!(bench.did(), "F inspect probe probe inspect probe inspect");
    bench.end();
    let bench = start(&[], vec![away()], vec![], vec![]);
    bench.take();
    bench.says(&["taken", "writing", "done"]);
    assert_eq!(bench.did(), "T A inspect probe inspect write");
    bench.end();
}

#[test]
fn a_reader_that_stays_away_is_probed_without_the_card() {
    let bench = start(&[], vec![away()], vec![], vec![away(); 30]);
    bench.feed();
    let begun = Instant::now();
    bench.says(&["fed", "blank out: reader Probed"]);
    assert!(begun.elapsed() >= Duration::from_secs(3));
    bench.end();
    // Silence may be the card's own fault: the card is thrown out at once.
    let bench = start(&[], vec![away(), hung()], vec![], vec![]);
    bench.feed();
    bench.says(&["fed", "blank out: timeout Probed", "back"]);
    assert_eq!(bench.did(), "F inspect probe inspect R probe");
    bench.end();
}

#[test]
fn a_bad_blank_ends_the_order_without_a_probe() {
    let bench = start(&[], vec![bad_card()], vec![], vec![]);
    bench.feed();
    bench.says(&["fed", "blank out: mute InService"]);
    assert_eq!(bench.did(), "F inspect R");
    bench.feed();
    bench.says(&["fed", "may bind"]);
    bench.end();
}

#[test]
fn a_blank_that_may_not_be_bound_is_thrown_out_as_the_line_says() {
    let bench = start(&[], vec![], vec![], vec![]);
    bench.feed();
    bench.says(&["fed", "may bind"]);
    let denied = Binding::Refused(Fault::new(Blame::Card, ReasonWord::KeysDoubted, "no"));
    bench.line.as_ref().unwrap().1.send(denied).unwrap();
    bench.says(&["blank out: keys-doubted InService"]);
    assert_eq!(bench.did(), "F inspect R");
    bench.end();
}

/// The chip of a card that was bound at another module is in the ledger before anything is sent to it.
#[test]
fn a_chip_behind_another_module_is_opened_when_the_line_says_so() {
    let key_data = Some(KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 1, 2, 3, 4]));
    let bench = start_showing(BlankInspection { key_data, kmc: None }, &[], vec![], (vec![], vec![]));
    bench.take();
    bench.says(&["taken", "may open"]);
    assert_eq!(bench.did(), "T A inspect");
    let denied = Binding::Refused(Fault::new(Blame::Card, ReasonWord::KeysDoubted, "no"));
    bench.line.as_ref().unwrap().1.send(denied).unwrap();
    bench.says(&["card out: keys-doubted InService"]);
    assert_eq!(bench.did(), "R");
    bench.end();
}

/// A station with a chip of a KMC.
fn start_with_chip(inspect: Vec<Fault>, keys: Vec<Fault>) -> Bench {
    let key_data = Some(KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 1, 2, 3, 4]));
    let kmc = Some(KmcRef { id: [0xFF; 6], version: 1 });
    start_with_keys(BlankInspection { key_data, kmc }, &[], inspect, (vec![], vec![]), keys)
}

impl Bench {
    fn answers(&self, binding: Binding) {
        self.line.as_ref().unwrap().1.send(binding).unwrap();
    }
}

#[test]
fn a_card_that_waited_is_asked_anew_before_the_station_asks_again() {
    let bench = start_with_chip(vec![], vec![]);
    bench.feed();
    bench.says(&["fed", "may bind"]);
    for _ in 0..2 {
        bench.answers(Binding::AskAnew);
        bench.says(&["may bind"]);
    }
    bench.answers(Binding::Refused(bad_card()));
    bench.says(&["blank out: mute InService"]);
    assert_eq!(bench.did(), "F inspect inspect inspect R");
    bench.take();
    bench.says(&["taken", "may open"]);
    bench.answers(Binding::AskAnew);
    bench.says(&["may open"]);
    assert_eq!(bench.did(), "T A inspect inspect");
    // A line that ends does not leave the station waiting.
    bench.end();
}

#[test]
fn a_chip_that_goes_first_is_reported_as_soon_as_it_has_answered() {
    let (ledger, _directory) = ledger();
    let given = |first| Binding::Given {
        ledger: ledger.0.id(),
        ticket: ledger.0.record(ledger.1, Change::Held, Context::by("anna")),
        first,
    };
    let wrong = || Fault::new(Blame::Card, ReasonWord::Cryptogram, "no");
    let bench = start_with_chip(vec![], vec![wrong()]);
    bench.take();
    bench.says(&["taken", "may open"]);
    bench.answers(given(true));
    bench.says(&["writing", "wrong keys FFFFFFFFFFFF:1: cryptogram", "card out: cryptogram InService"]);
    assert_eq!(bench.did(), "T A inspect authenticate R");
    bench.take();
    bench.says(&["taken", "may open"]);
    bench.answers(given(true));
    bench.says(&["writing", "proved", "done"]);
    assert_eq!(bench.did(), "T A inspect authenticate write");
    // Nobody waits for the others.
    bench.take();
    bench.says(&["taken", "may open"]);
    bench.answers(given(false));
    bench.says(&["writing", "done"]);
    assert_eq!(bench.did(), "T A inspect write");
    bench.end();
}

#[test]
fn a_device_that_hangs_with_a_bound_card_loses_it_and_comes_back() {
    let bench = start(&[], vec![], vec![hung(), bad_card()], vec![]);
    bench.take();
    bench.says(&["taken", "writing", "card out: timeout Probed", "back"]);
    assert_eq!(bench.did(), "T A inspect write R probe");
    bench.take();
    bench.says(&["taken", "writing", "card out: mute InService"]);
    bench.take();
    bench.says(&["taken", "writing", "done"]);
    bench.end();
}

#[test]
fn a_device_that_answers_probes_and_no_card_ends_with_a_person() {
    let bench = start(&[], vec![], vec![hung(); 4], vec![]);
    for _ in 0..3 {
        bench.take();
        bench.says(&["taken", "writing", "card out: timeout Probed", "back"]);
    }
    bench.take();
    bench.says(&["taken", "writing", "card out: timeout Stuck"]);
    bench.end();
}

#[test]
fn another_machine_that_answers_a_probe_is_named_and_waits_for_a_person() {
    let miswired = Fault::new(Blame::Device, ReasonWord::Miswired, "WRONG MACHINE");
    let bench = start(&[], vec![], vec![hung()], vec![hung(), miswired]);
    bench.take();
    bench.says(&["taken", "writing", "card out: timeout Probed", "stuck: miswired"]);
    assert_eq!(bench.did(), "T A inspect write R probe probe");
    bench.end();
}

#[test]
fn a_transport_that_brings_no_card_ends_with_a_person_before_the_hopper_is_empty() {
    let unseen = || Fault::new(Blame::Device, ReasonWord::NoCard, "no card in reader");
    let bench = start(&[], vec![unseen(), unseen(), unseen(), unseen()], vec![], vec![]);
    for standing in ["InService", "InService", "InService", "Stuck"] {
        bench.feed();
        bench.says(&["fed", &format!("blank out: no-card {standing}")]);
    }
    bench.end();
    // A card that is seen resets the count.
    let bench = start(&[], vec![unseen(), unseen(), unseen()], vec![], vec![]);
    for _ in 0..3 {
        bench.feed();
        bench.says(&["fed", "blank out: no-card InService"]);
    }
    bench.feed();
    bench.says(&["fed", "may bind"]);
    bench.end();
}

#[test]
fn hanging_up_ends_the_probing_at_once() {
    let bench = start(&[], vec![], vec![hung()], vec![hung(); 100]);
    bench.take();
    bench.says(&["taken", "writing", "card out: timeout Probed"]);
    // In the middle of the wait before the fourth probe.
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(bench.did(), "T A inspect write R probe probe probe");
    bench.end();
}

#[test]
fn what_a_silent_transport_fed_is_thrown_out_and_counted_when_it_answers() {
    for (reject, says) in [
        // A blank lay there; none did; the transport needs more time; it is jammed.
        (&[Some(b'0')][..], &["found: transport", "back"][..]),
        (&[Some(b'2')], &["back"]),
        (&[None, Some(b'0')], &["found: transport", "back"]),
        (&[Some(b'1')], &["stuck: jam"]),
    ] {
        let bench = start(&[('F', &[None]), ('R', reject)], vec![], vec![], vec![]);
        bench.feed();
        bench.says(&["void: transport Probed"]);
        bench.says(says);
        let reopened = "reopen R ".repeat(reject.len());
        let probed = if says.ends_with(&["back"]) { "probe" } else { "" };
        assert_eq!(bench.did(), format!("F {reopened}{probed}").trim_end());
        bench.end();
    }
}

#[test]
fn a_jam_that_cannot_be_cleared_needs_a_person_and_an_empty_hopper_is_asked_again() {
    for (script, says) in [
        (&[('F', &[Some(b'1')][..]), ('R', &[Some(b'1')])][..], &["void: jam Stuck"][..]),
        (&[('F', &[Some(b'1')])], &["fed", "blank out: jam InService"]),
        (
            &[('F', &[Some(b'4')]), ('S', &[Some(b'4')])],
            &["no blanks: supply", "void: supply InService", "blanks"],
        ),
        (&[('F', &[Some(b'7')])], &["no blanks: supply", "void: supply InService", "blanks"]),
    ] {
        let bench = start(script, vec![], vec![], vec![]);
        bench.feed();
        bench.says(says);
        bench.end();
    }
}

#[test]
fn a_card_that_cannot_be_thrown_out_is_a_persons_and_a_silent_transport_is_asked_again() {
    for (reject, says) in [
        (&[Some(b'1')][..], &["card out: stuck Stuck"][..]),
        (&[None, Some(b'0')], &["card out: stuck Probed", "back"]),
        // A person took it out already: the station is clear.
        (&[Some(b'2')], &["card out: stuck InService"]),
    ] {
        let bench = start(&[('R', reject)], vec![], vec![bad_card()], vec![]);
        bench.take();
        bench.says(&["taken", "writing"]);
        bench.says(says);
        bench.end();
    }
}

#[test]
fn a_card_that_does_not_come_is_thrown_out_here_or_left_there() {
    for (script, says) in [
        (&[('T', &[Some(b'1')][..])][..], &["taken", "card out: jam InService"][..]),
        (&[('T', &[Some(b'5')]), ('R', &[Some(b'2')])], &["not taken: transport InService"]),
        (&[('T', &[Some(b'5')]), ('R', &[Some(b'1')])], &["not taken: transport Stuck"]),
        (&[('T', &[None]), ('R', &[None])], &["not taken: transport Probed", "back"]),
        (&[('A', &[Some(b'1')])], &["taken", "card out: jam InService"]),
    ] {
        let bench = start(script, vec![], vec![], vec![]);
        bench.take();
        bench.says(says);
        bench.end();
    }
}

/// Connections of one device that stays, and that sees a card come.
const STAYS: &[(&str, u16)] = &[("x", 4), ("x", 5)];

#[test]
fn an_unproved_device_moves_no_card_without_the_turn() {
    let bench = start_seeing((STAYS, &[true], &[true]), vec![], &Arc::default());
    bench.feed();
    bench.says(&["unproved", "not begun:  InService"]);
    bench.take();
    bench.says(&["unproved", "not begun:  InService"]);
    assert_eq!(bench.did(), "");
    bench.end();
}

#[test]
fn a_card_that_its_device_sees_proves_it_from_job_to_job() {
    let proofs = Arc::default();
    let bench = start_seeing((STAYS, &[true], &[true]), vec![], &proofs);
    bench.feed_proving();
    bench.says(&["unproved", "fed", "proved", "may bind"]);
    assert_eq!(bench.did(), "expect F sight inspect");
    bench.end();
    let next_job = start_seeing((&[("x", 6), ("x", 7)], &[true], &[true]), vec![], &proofs);
    next_job.feed();
    next_job.says(&["fed", "may bind"]);
    assert_eq!(next_job.did(), "F sight inspect");
    next_job.end();
    let new_reader = start_seeing((&[("x", 0)], &[true], &[true]), vec![], &proofs);
    new_reader.feed();
    new_reader.says(&["unproved", "not begun:  InService"]);
    new_reader.end();
}

#[test]
fn a_device_that_sees_a_card_before_one_was_moved_moves_none() {
    let bench = start_seeing((STAYS, &[false], &[true]), vec![], &Arc::default());
    bench.feed_proving();
    bench.says(&["unproved", "not begun: stray-card Stuck"]);
    bench.take_proving();
    bench.says(&["unproved", "not begun: stray-card Stuck"]);
    assert_eq!(bench.did(), "expect expect");
    bench.end();
}

#[test]
fn a_card_that_its_device_does_not_see_stays_and_gets_nothing() {
    let bench = start_seeing((STAYS, &[true], &[false]), vec![], &Arc::default());
    bench.feed_proving();
    bench.says(&["unproved", "fed", "unseen"]);
    assert_eq!(bench.did(), "expect F sight");
    bench.order(StationOrder::ThrowOut(bad_card()));
    bench.says(&["card out: mute InService"]);
    bench.take_proving();
    bench.says(&["unproved", "taken", "unseen"]);
    assert_eq!(bench.did(), "R expect T A sight");
    bench.order(StationOrder::Look);
    bench.says(&["looked: false"]);
    bench.end();
}

#[test]
fn a_device_that_was_connected_anew_under_a_card_gets_no_data() {
    let proofs = Arc::default();
    for connections in [&[("x", 4), ("x", 4), ("y", 5)], &[("x", 4), ("x", 4), ("x", 0)]] {
        let bench = start_seeing((connections, &[true], &[true]), vec![], &proofs);
        bench.feed_proving();
        bench.says(&["unproved", "fed", "unproved", "blank out: connected-anew InService"]);
        assert_eq!(bench.did(), "expect F sight R");
        bench.end();
    }
    // A proved one as well.
    let bench = start_seeing(
        (&[("x", 4), ("x", 4), ("x", 5), ("x", 6), ("z", 0)], &[true], &[true]),
        vec![],
        &proofs,
    );
    bench.feed_proving();
    bench.says(&["unproved", "fed", "proved", "may bind"]);
    bench.line.as_ref().unwrap().1.send(Binding::Refused(bad_card())).unwrap();
    bench.says(&["blank out: mute InService"]);
    bench.take();
    bench.says(&["taken", "unproved", "card out: connected-anew InService"]);
    assert_eq!(bench.did(), "expect F sight inspect R T A sight R");
    bench.end();
}

/// The sighting may have been the late report of the card before.
#[test]
fn a_card_that_does_not_answer_proves_nothing() {
    let bench = start_seeing((STAYS, &[true], &[true]), vec![bad_card()], &Arc::default());
    bench.feed_proving();
    bench.says(&["unproved", "fed", "proved", "unproved", "blank out: mute InService"]);
    bench.end();
}

/// A card that lay at another station when the device was connected may be reported late.
#[test]
fn a_device_that_was_connected_in_the_run_has_to_see_no_card_for_a_while() {
    let bench = start_seeing((&[("x", 4), ("y", 1), ("y", 2)], &[true], &[true]), vec![], &Arc::default());
    bench.feed_proving();
    bench.says(&["unproved", "fed", "proved", "may bind"]);
    assert_eq!(bench.did(), "rest expect F sight inspect");
    bench.end();
}

#[test]
fn a_machine_that_may_be_another_stations_gets_no_card_until_it_is_its_own_again() {
    for take in [false, true] {
        let bench = start_knowing(&[false, false, true], vec![]);
        if take {
            bench.take()
        } else {
            bench.feed()
        }
        bench.says(&["not begun: unproved Stuck"]);
        assert_eq!(bench.did(), "", "no card was moved");
        bench.order(StationOrder::Prove);
        bench.says(&["not ready: unproved"]);
        bench.order(StationOrder::Prove);
        bench.says(&["back"]);
        bench.end();
    }
}

#[test]
fn a_machine_that_was_away_and_may_be_another_one_needs_a_person() {
    let bench = start_knowing(&[true, false], vec![hung()]);
    bench.take();
    bench.says(&["taken", "writing", "card out: timeout Probed", "stuck: unproved"]);
    bench.end();
}
