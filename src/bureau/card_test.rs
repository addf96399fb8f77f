//! `line check --cards`: test blanks go through the line, one at a time, and show that each device stands at its
//! station. Nothing of any record is written.
//!
//! ```text
//! device                    proof
//! notices cards             sees none; its transport brings the blank; it sees one, and no other of its kind does
//! has a serial number       the number, without a blank
//! has no number, has rivals writes the station's name on the blank; a person reads it when the blank is out
//! is alone of its driver    none is needed
//! ```
//!
//! A rival is a machine of the same driver that has no number either. A blank goes through one station of each module,
//! so as many are used as the widest module has stations, and fewer after a failure at the first module.
//!
//! Not here: asking the person (`cli`), the proofs of a running line (`pipeline`).

use std::collections::{BTreeMap, BTreeSet};

use drivers::identity::OnlyMachine;
use drivers::{Condition, DeviceError};

use super::line::blind::{BlindMachine, BlindMachines};
use super::line::check::Finding;
use super::line::stations;
use super::opening::Bureau;
use super::refusal::{Denial, Refusal};
use crate::actor::Actor;
use crate::exit::Exit;
use crate::laws::Context;
use crate::ledger::{Ledger, LedgerError};
use crate::modules::sight::{CardSight, LATE_TIME, exchanged, stray_card, unseen};
use crate::modules::{Blame, Fault};
use crate::pipeline::{CardTransport, LineSetup, StationSetup};
use crate::reason::ReasonWord;
use crate::report::SIMULATED;

/// Name of the check of one station.
pub const CHECK: &str = "test blank";
/// Place of findings about the line as a whole.
pub const LINE: &str = "cards";
/// Longest part of a person's answer that is shown.
const SHOWN: usize = 40;

/// What a person has to do before the test can go on. A test blank may be any blank of the line's product, so the
/// hopper's own words about the job's stock would mislead.
fn wanted(error: &DeviceError) -> String {
    match error {
        DeviceError::HopperEmpty => "the hopper is empty: put blanks for the test into it".to_owned(),
        other => other.to_string(),
    }
}

/// The person at the line.
pub trait TestPerson {
    /// Cards are touched from now on: a signal must no longer end the program at once.
    fn begins(&mut self);
    /// Whether the person wants the test to end before its next blank.
    fn stops(&mut self) -> bool;
    /// Asks the person a question, and returns the answer: one line. `None` if no answer will come.
    fn answers(&mut self, question: &str) -> Option<String>;
}

impl Bureau {
    /// Sends test blanks through the line, in the name of `by`.
    pub fn test_cards(&self, by: &Actor, person: &mut dyn TestPerson) -> Result<Vec<Finding>, Refusal> {
        self.may_test_cards()?;
        let links = self.links()?;
        let machines = self.blind_machines(&*links)?;
        let mut line = stations::open(&self.line, &*links, &self.proofs, &machines, || self.station_hsm())?;
        person.begins();
        let cleared = crate::pipeline::clear(&mut line);
        if let Some(asks) = cleared.asks_for() {
            return Err(Refusal::fault(Exit::Device, format!("device: {asks}")));
        }
        let booking = Booking { ledger: &self.ledger, by, simulated: self.simulation.on };
        let mut test = CardTest::new(line, &machines, booking, person);
        test.findings.extend(cleared.told().map(|told| Finding::saying(LINE, "left cards", Ok(told))));
        test.forget_words()?;
        if let Err(error) = test.run() {
            // The person needs to read what was found before.
            test.find(LINE, Err(error.to_string()));
        }
        Ok(test.findings)
    }

    /// Refuses a test that would throw out cards about which a person has to decide, and a simulated one on a ledger of
    /// real cards: events of no job have no mark of the simulation.
    fn may_test_cards(&self) -> Result<(), Refusal> {
        let reader = self.ledger.reader()?;
        for job in reader.jobs()? {
            if self.simulation.on && !job.simulated {
                let what = format!(
                    "operator: the ledger has {}, a job of real cards, and an event about a test blank cannot have the mark \
                     of a simulated one: name another ledger for the simulated test",
                    job.job
                );
                return Err(Refusal::fault(Exit::Denied, what));
            }
            let balance = &job.balance;
            if balance.unknown + balance.in_flight + balance.blanks_in_line > 0 {
                return Err(Refusal::denied(job.job, Denial::CardsInLine));
            }
        }
        Ok(())
    }
}

/// Where the test's blanks and proofs are recorded.
struct Booking<'a> {
    ledger: &'a Ledger,
    by: &'a Actor,
    /// The blanks are simulated ones.
    simulated: bool,
}

/// A station of the line under test.
struct TestedStation {
    setup: StationSetup,
    /// Kind of its module.
    kind: &'static str,
    tested: bool,
}

/// A mark on the blank under way.
struct StationMark {
    station: String,
    /// Where on the blank it stands, in words.
    stands: &'static str,
    /// The connection over which it was made.
    node: String,
    /// Its station belongs to the first module.
    first: bool,
}

/// The test of a line.
struct CardTest<'a> {
    /// Names of the stations of each module.
    modules: Vec<Vec<String>>,
    stations: BTreeMap<String, TestedStation>,
    machines: &'a BlindMachines,
    booking: Booking<'a>,
    person: &'a mut dyn TestPerson,
    findings: Vec<Finding>,
    /// Blanks that were fed.
    blanks: u32,
    /// Stations that another station's blank pointed at.
    doubted: BTreeSet<String>,
    /// Where the blank under way lies.
    lies: Option<String>,
}

impl<'a> CardTest<'a> {
    fn new(
        line: LineSetup,
        machines: &'a BlindMachines,
        booking: Booking<'a>,
        person: &'a mut dyn TestPerson,
    ) -> Self {
        let mut test = Self {
            modules: Vec::new(),
            stations: BTreeMap::new(),
            machines,
            booking,
            person,
            findings: Vec::new(),
            blanks: 0,
            doubted: BTreeSet::new(),
            lies: None,
        };
        for stage in line.stages {
            test.modules.push(stage.stations.iter().map(|setup| setup.name.clone()).collect());
            for setup in stage.stations {
                let station = TestedStation { kind: stage.kind, tested: false, setup };
                test.stations.insert(station.setup.name.clone(), station);
            }
        }
        test
    }

    /// Takes back the earlier words about all machines of which this test asks for new ones: a test that ends early must
    /// not leave the old words of those that it did not reach.
    fn forget_words(&self) -> Result<(), LedgerError> {
        let words: BTreeSet<_> = self
            .stations
            .keys()
            .filter(|name| self.machines.at(name).is_some_and(BlindMachine::needs_word))
            .cloned()
            .collect();
        for station in self.booking.ledger.reader()?.wired(&words)?.keys() {
            self.booking.ledger.wiring_refuted(station, self.context(station))?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), LedgerError> {
        let widest = self.modules.iter().map(Vec::len).max().unwrap_or(0);
        for nth in 0..widest {
            if self.person.stops() {
                self.find(LINE, Err("stopped by the operator; the line holds no test blank".to_owned()));
                break;
            }
            if !self.blank(nth)? {
                break;
            }
        }
        let untested: Vec<_> = self
            .stations
            .iter()
            .filter(|(_, station)| !station.tested)
            .map(|(name, _)| name.clone())
            .collect();
        for name in untested {
            self.find(&name, Err("not tested: the test ended before it".to_owned()));
        }
        Ok(())
    }

    /// Sends a blank through one station of each module. Returns whether the next one may follow.
    fn blank(&mut self, nth: usize) -> Result<bool, LedgerError> {
        let path = self.modules.iter().filter_map(|of| of.get(nth.checked_rem(of.len())?).cloned());
        let (mut goes_on, mut marks) = (true, Vec::new());
        for (leg, name) in path.collect::<Vec<_>>().into_iter().enumerate() {
            match self.visit(&name, leg == 0) {
                Ok(mark) => marks.extend(mark),
                Err(fault) => {
                    self.find(&name, Err(fault.detail));
                    goes_on = leg > 0;
                    break;
                }
            }
        }
        goes_on &= self.throw_out();
        for mark in marks {
            let says = self.person.answers(&format!(
                "Test blank {} lies in the reject bin. Which station's name stands on {}?",
                self.blanks, mark.stands
            ));
            let right = self.judge(&mark, says.as_deref())?;
            goes_on &= right || !mark.first;
        }
        Ok(goes_on)
    }

    /// Brings the blank to a station, and proves its device unless it was proved before.
    fn visit(&mut self, name: &str, first: bool) -> Result<Option<StationMark>, Fault> {
        let seen = self.stations.get_mut(name).is_some_and(|at| std::mem::replace(&mut at.tested, true));
        if seen {
            self.bring(name)?;
            return Ok(None);
        }
        if self.sight(name).is_some() {
            self.sees(name)?;
            self.find(name, Ok("its device sees the blank that its transport brought".to_owned()));
            return Ok(None);
        }
        if self.machines.at(name).is_some_and(BlindMachine::needs_word) {
            self.bring(name)?;
            return self.marks(name, first).map(Some);
        }
        if let Some(identity) = self.setup(name)?.module.identity() {
            identity.check()?;
        }
        self.bring(name)?;
        self.find(name, Ok("the blank went through".to_owned()));
        Ok(None)
    }

    /// Makes sure that the device of a station sees the blank, and no other of its kind does.
    fn sees(&mut self, name: &str) -> Result<(), Fault> {
        // A reader without a switch reports a card even when its place is empty.
        let before = self.others_that_see(name);
        let Some(sight) = self.sight(name) else { return Ok(()) };
        if !sight.expect()? {
            return Err(stray_card(name));
        }
        self.bring(name)?;
        let Some(sight) = self.sight(name) else { return Ok(()) };
        let (came, _) = sight.comes(LATE_TIME)?;
        let others: Vec<_> = self.others_that_see(name).difference(&before).cloned().collect();
        match (came, others.is_empty()) {
            (true, true) => Ok(()),
            (false, true) => Err(unseen("blank", name)),
            (false, false) => Err(self.exchanged(name, &others, "is seen at")),
            (true, false) => {
                let also = others.join(" and ");
                let detail = format!(
                    "device: the blank that lay in {name} is seen there and at {also}: look whether {also} has a card of its \
                     own, or stands too near to another device"
                );
                Err(Fault::new(Blame::Device, ReasonWord::StrayCard, detail))
            }
        }
    }

    /// The other stations with that kind of device whose device sees a card now.
    fn others_that_see(&mut self, name: &str) -> BTreeSet<String> {
        let Some(kind) = self.stations.get(name).map(|station| station.kind) else { return BTreeSet::new() };
        let others = self.stations.iter_mut().filter(|(other, of)| *other != name && of.kind == kind);
        let sees = |station: &mut TestedStation| {
            station.setup.module.sight().is_some_and(|sight| sight.sees().unwrap_or(false))
        };
        others.filter_map(|(other, station)| sees(station).then(|| other.clone())).collect()
    }

    /// Has the machine of a station write the station's name on the blank.
    fn marks(&mut self, name: &str, first: bool) -> Result<StationMark, Fault> {
        match self.mark(name) {
            Ok((stands, node)) => Ok(StationMark { station: name.to_owned(), stands, node, first }),
            Err(fault) if fault.is_no_card() || fault.reason == ReasonWord::StripeFailed => {
                let rivals = self.machines.rivals(name);
                // The machine that has the blank under its head is the one that stands here.
                let found = rivals.iter().find(|rival| self.mark(rival).is_ok()).cloned();
                Err(match found {
                    Some(rival) => self.exchanged(name, &[rival], "was marked over the link of"),
                    None => {
                        self.refute(name);
                        let detail = format!(
                            "{}; the blank lay in {name}, and no other machine of its model could mark it: look whether the cables \
                             of {name} and {} are exchanged",
                            fault.detail,
                            rivals.join(", ")
                        );
                        Fault { detail, ..fault }
                    }
                })
            }
            Err(fault) => Err(fault),
        }
    }

    /// Has the machine on a station's link write that station's name. Returns where it stands, and the connection.
    fn mark(&mut self, name: &str) -> Result<(&'static str, String), Fault> {
        let only = self.machines.at(name).map(|machine| machine.only.clone()).unwrap_or_default();
        let module = &mut self.setup(name)?.module;
        let mut node = String::new();
        if let Some(identity) = module.identity() {
            identity.only(OnlyMachine::Any);
            node = identity.connection().node;
        }
        let marked = module.mark(name);
        if let Some(identity) = module.identity() {
            identity.only(only);
        }
        marked.map(|stands| (stands, node))
    }

    /// Judges a person's answer about a mark. Returns whether it proves the station.
    fn judge(&mut self, mark: &StationMark, says: Option<&str>) -> Result<bool, LedgerError> {
        let name = mark.station.as_str();
        let Some(says) = says.map(str::trim) else {
            self.find(
                name,
                Err("no answer was given about its mark, so nothing is recorded for its machine".to_owned()),
            );
            return Ok(false);
        };
        let is = |station: &str| says.eq_ignore_ascii_case(station);
        if is(name) {
            if mark.node.is_empty() {
                let what = "the system gives its connection no name, so no word can be kept for it: give \
                            link.STATION.number in the profile";
                self.find(name, Err(what.to_owned()));
                return Ok(false);
            }
            if self.doubted.contains(name) {
                let what = format!(
                    "device: the name of {name} was read on another station's blank, too: test again, and read each blank \
                     as it comes out"
                );
                self.find(name, Err(what));
                return Ok(false);
            }
            self.booking.ledger.wired_by_word(name, &mark.node, self.context(name))?;
            self.find(name, Ok(format!("its mark was read by {}", self.booking.by.name)));
            return Ok(true);
        }
        if let Some(rival) = self.machines.rivals(name).into_iter().find(|rival| is(rival)) {
            let fault = self.exchanged(name, &[rival], "bears the name of");
            self.find(name, Err(fault.detail));
            return Ok(false);
        }
        let read: String = says.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        let read = if read.is_empty() { "no name".to_owned() } else { format!("{read:?}") };
        self.refute(name);
        self.find(
            name,
            Err(format!(
                "device: the blank that lay in {name} must bear that name, but the person read {read}: check whether \
                 the machine works, and where its cable leads"
            )),
        );
        Ok(false)
    }

    /// The fault of a station whose blank other devices had. They get a finding, and lose earlier proofs.
    fn exchanged(&mut self, name: &str, others: &[String], how: &str) -> Fault {
        let with = others.join(" and ");
        let fault = exchanged(&format!("the blank that lay in {name} {how} {with}"));
        for other in others {
            self.doubted.insert(other.clone());
            self.refute(other);
            self.find(other, Err(fault.detail.clone()));
        }
        self.refute(name);
        fault
    }

    /// Takes back a proof that the ledger has for a station.
    fn refute(&mut self, name: &str) {
        let needs_word = self.machines.at(name).is_some_and(BlindMachine::needs_word);
        let own = BTreeSet::from([name.to_owned()]);
        let had = || self.booking.ledger.reader().and_then(|reader| reader.wired(&own));
        if !needs_word || had().is_ok_and(|words| words.is_empty()) {
            return;
        }
        if let Err(error) = self.booking.ledger.wiring_refuted(name, self.context(name)) {
            self.find(name, Err(format!("its earlier proof still stands in the ledger: {error}")));
        }
    }

    /// Brings the blank from where it lies, or a new one from the hopper.
    fn bring(&mut self, name: &str) -> Result<(), Fault> {
        let Some(from) = self.lies.clone() else { return self.bring_new(name) };
        let fault = |doing: &str, error| crate::pipeline::transport_fault(doing, &error);
        let transport = self.transport(name)?;
        if let Err(error) = transport.take(&from) {
            // It may have been lifted all the same.
            if transport.reject().is_ok() {
                self.lies = None;
            }
            return Err(fault("taking the test blank", error));
        }
        let arrived = transport.arrive();
        self.lies = Some(name.to_owned());
        arrived.map_err(|error| fault("bringing the test blank", error))
    }

    /// Brings a new blank from the hopper. A person sees to an empty hopper and the like, as often as it takes.
    fn bring_new(&mut self, name: &str) -> Result<(), Fault> {
        loop {
            let (fed, counts) = self.feed(name);
            if counts {
                self.counted(name)?;
            }
            let error = match fed {
                Err(error) if error.waits_for_person() => error,
                fed => {
                    return fed
                        .map_err(|error| crate::pipeline::transport_fault("feeding a test blank", &error));
                }
            };
            let wants = wanted(&error);
            if !self.is_seen_to(&wants) {
                let detail = format!("device: no test blank came: {wants}, then test again");
                return Err(Fault::new(Blame::Device, ReasonWord::Supply, detail));
            }
        }
    }

    /// Asks the person to do something at the line. Returns false if no answer comes.
    fn is_seen_to(&mut self, wants: &str) -> bool {
        self.person.answers(&format!("The test waits: {wants}. Then press Enter.")).is_some()
    }

    /// Feeds a test blank into a station. Returns also whether a blank came or may have come; one that comes in spite of
    /// an error is thrown out.
    fn feed(&mut self, name: &str) -> (Result<(), DeviceError>, bool) {
        let Ok(transport) = self.transport(name) else { return (Ok(()), false) };
        let fed = transport.feed();
        let (counts, lies) = match &fed {
            Ok(()) => (true, true),
            Err(error) if error.waits_for_person() => (false, false),
            Err(error) => match transport.reject() {
                Ok(()) => (true, false),
                Err(none) if none.condition() == Some(Condition::NoCard) => {
                    // A transport whose answer was lost may still bring the blank.
                    let unclear = error.condition().is_none();
                    (unclear, unclear)
                }
                Err(_) => (error.is_jam(), true),
            },
        };
        self.lies = lies.then(|| name.to_owned());
        (fed, counts)
    }

    /// Records a blank that was fed, before anything is done with it.
    fn counted(&mut self, name: &str) -> Result<(), Fault> {
        self.blanks += 1;
        self.booking.ledger.blank_tested(name, self.context(name)).map_err(|error| {
            let what = format!("the ledger does not record the test blank in {name}: {error}");
            Fault::new(Blame::Us, ReasonWord::Ledger, what)
        })
    }

    /// Throws out the blank under way. Returns whether the line is empty.
    fn throw_out(&mut self) -> bool {
        let Some(name) = self.lies.take() else { return true };
        let error = loop {
            match self.transport(&name).map(CardTransport::reject) {
                Ok(Err(error)) if error.waits_for_person() && self.is_seen_to(&wanted(&error)) => {}
                Ok(Err(error)) => break error,
                Ok(Ok(())) | Err(_) => return true,
            }
        };
        let what = format!(
            "device: the test blank could not be thrown out ({error}): take it out of {name} and destroy it"
        );
        self.find(&name, Err(what));
        false
    }

    fn setup(&mut self, name: &str) -> Result<&mut StationSetup, Fault> {
        let station = self.stations.get_mut(name).map(|station| &mut station.setup);
        let lost = || Fault::new(Blame::Us, ReasonWord::Bug, format!("us: the line has no station {name}"));
        station.ok_or_else(lost)
    }

    fn transport(&mut self, name: &str) -> Result<&mut CardTransport, Fault> {
        self.setup(name).map(|setup| &mut setup.transport)
    }

    fn sight(&mut self, name: &str) -> Option<&mut dyn CardSight> {
        self.stations.get_mut(name)?.setup.module.sight()
    }

    fn context(&self, name: &str) -> Context {
        let detail = self.booking.simulated.then(|| SIMULATED.to_owned());
        Context { station: Some(name.to_owned()), detail, ..Context::by(self.booking.by) }
    }

    fn find(&mut self, place: &str, found: Result<String, String>) {
        self.findings.push(Finding::saying(place, CHECK, found));
    }
}
