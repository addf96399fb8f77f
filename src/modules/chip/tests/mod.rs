//! A scripted card and a scripted HSM: which commands are sent, where a session stops, who is blamed.

mod ask;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use drivers::link::{CardError, LinkError, SessionLimits};
use drivers::presence::{CardPresence, DeviceConnection, LookFor, ReaderSighting};

use super::*;
use crate::audit::LedgerId;
use crate::crypto::KeyType;
use crate::hsm::{
    CardSession, DataPart, HsmError, HsmInfo, KmcInfo, Realm, RecordHandle, RecordToVerify, TrailerRequest,
    VerifiedRecord,
};
use crate::ids::{Dgi, Kcv};
use crate::laws::JobId;
use crate::modules::testing::{self, checked};
use crate::record::chip::EncType;
use crate::scp::SecureChannelSpec;

const ATR: &str = "3B751300005443415244";
/// The channel of product `multiapp`.
const CHANNEL: SecureChannelSpec = SecureChannelSpec { protocol: 0x02, parameter: 0x55, key_version: 0 };
/// INITIALIZE UPDATE answered by the card of a session worked by hand from EMV CPS 1.1.
const RESPONSE: &str = "FFFFFF4761730102030401020001112233445566AB20563DD039E65D9000";
const PSE: &str = "315041592E5359532E4444463031";
const PAYMENT: &str = "A0000000031010";

/// What happens at a station, in one order: `on` (a cold reset), `off`, APDUs in hex, `open` with the number of
/// the application, `personalize`.
type Trace = Arc<Mutex<Vec<String>>>;

/// A card that returns the answer for the command's prefix, else 9000.
struct Card {
    trace: Trace,
    atr: Result<Vec<u8>, CardError>,
    /// (prefix of the command, answers in turn; the last one stays).
    answers: Vec<(String, VecDeque<Result<String, CardError>>)>,
    /// How long a command with this prefix takes ("on" is the reset).
    slow: Vec<(&'static str, Duration)>,
    /// Whether it still answers a probe.
    dead: bool,
}

impl Card {
    /// Takes its time, at most `timeout`.
    fn take(&self, command: &str, timeout: Duration) -> Result<(), CardError> {
        let time = self.slow.iter().find(|(prefix, _)| command.starts_with(prefix));
        let time = time.map_or(Duration::ZERO, |(_, time)| *time);
        std::thread::sleep(time.min(timeout));
        if time > timeout { Err(CardError::Reader(LinkError::Timeout(timeout))) } else { Ok(()) }
    }
}

impl CardLink for Card {
    fn power_on(&mut self, reset: Reset, _: Protocols, timeout: Duration) -> Result<Vec<u8>, CardError> {
        self.trace.lock().unwrap().push(if reset == Reset::Cold { "on" } else { "warm" }.into());
        self.take("on", timeout)?;
        self.atr.clone()
    }

    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError> {
        let command = hex::encode_upper(command);
        self.trace.lock().unwrap().push(command.clone());
        self.take(&command, timeout)?;
        let Some((_, queue)) =
            self.answers.iter_mut().find(|(prefix, _)| command.starts_with(prefix.as_str()))
        else {
            return Ok(vec![0x90, 0x00]);
        };
        let answer = if queue.len() > 1 { queue.pop_front().unwrap() } else { queue[0].clone() };
        answer.map(|a| hex::decode(a).unwrap())
    }

    fn transmit_all(
        &mut self,
        steps: &[CommandStep<'_>],
        limits: SessionLimits,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        let start = Instant::now();
        for step in steps {
            let left = limits.each.min(limits.all.saturating_sub(start.elapsed()));
            let response = self.transmit(step.command, left)?;
            let goes_on = step.goes_on_after(&response);
            responses.push(response);
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn power_off(&mut self, _: Duration) -> Result<(), CardError> {
        self.trace.lock().unwrap().push("off".into());
        Ok(())
    }

    fn probe(&mut self, _: Duration) -> Result<(), CardError> {
        self.trace.lock().unwrap().push("probe".into());
        if self.dead { Err(CardError::Held) } else { Ok(()) }
    }

    fn reopen(&mut self, _: Duration) -> Result<(), CardError> {
        self.trace.lock().unwrap().push("reopen".into());
        Ok(())
    }

    fn look(&mut self, _: LookFor, _: Duration) -> Result<ReaderSighting, CardError> {
        let presence = if self.atr.is_ok() { CardPresence::Card } else { CardPresence::Empty };
        Ok(ReaderSighting { presence, connection: DeviceConnection::through("scripted") })
    }
}

/// An HSM that "wraps" by making CLA 84.
struct FakeHsm {
    trace: Trace,
    kmcs: Vec<&'static str>,
    open: Option<HsmError>,
    personalize: Option<HsmError>,
    drop_one: bool,
    /// Challenges drawn so far; the last one is alive.
    drawn: u8,
}

impl FakeHsm {
    fn draw(&mut self) -> HostChallenge {
        self.drawn += 1;
        HostChallenge::new(vec![self.drawn; 8])
    }
}

impl Hsm for FakeHsm {
    fn info(&mut self) -> Result<HsmInfo, HsmError> {
        let kmc = |k: &&str| KmcInfo {
            label: "k".into(),
            kmc: KmcRef::parse(k).unwrap(),
            key_type: KeyType::Tdes2,
            kcv: Kcv([0; 3]),
        };
        Ok(HsmInfo {
            realm: Realm::Test,
            keks: vec![],
            kmcs: self.kmcs.iter().map(kmc).collect(),
            token: None,
            out_of_reach: None,
        })
    }
    fn verify_trailer(&mut self, _: &TrailerRequest) -> Result<(), HsmError> {
        panic!("not of a station")
    }
    fn verify_record(&mut self, _: &RecordToVerify) -> Result<VerifiedRecord, HsmError> {
        panic!("not of a station")
    }
    fn draw_challenge(&mut self, channel: SecureChannelSpec) -> Result<HostChallenge, HsmError> {
        assert_eq!(channel, CHANNEL);
        self.trace.lock().unwrap().push("challenge".into());
        Ok(self.draw())
    }
    fn session(&mut self, request: &CardSessionRequest) -> Result<CardSession, HsmError> {
        self.trace.lock().unwrap().push(format!("open {}", request.step));
        assert_eq!(request.channel, CHANNEL);
        assert_eq!((request.card, request.handle), (CARD, RecordHandle([9; 16])));
        assert_eq!(request.host_challenge, HostChallenge::new(vec![self.drawn; 8]), "the one alive");
        if let Some(error) = self.open.clone() {
            return Err(error);
        }
        self.trace.lock().unwrap().push("personalize".into());
        if let Some(error) = self.personalize.clone() {
            return Err(error);
        }
        let mut apdus = vec![vec![0x84, 0x82, request.level.byte(), 0x00, 0x10]];
        for command in &request.commands {
            let mut apdu = vec![0x84, command.ins, command.p1, command.p2, 0];
            for part in &command.data {
                match part {
                    DataPart::Clear(bytes) => apdu.extend_from_slice(bytes),
                    DataPart::Protected { from, to, .. } => apdu.extend(vec![0xEE; usize::from(to - from)]),
                }
            }
            apdu[4] = u8::try_from(apdu.len() - 5).unwrap();
            apdus.push(apdu);
        }
        if self.drop_one {
            apdus.pop();
        }
        let apdus = apdus.into_iter().map(Into::into).collect();
        Ok(CardSession { apdus, next_challenge: self.draw() })
    }
    fn release(&mut self, _: &[RecordHandle]) -> Result<(), HsmError> {
        Ok(())
    }
}

/// A station to be changed before [`Bench::module`].
struct Bench {
    card: Card,
    limits: line::TimeLimits,
    hsm: FakeHsm,
    trace: Trace,
}

/// The attempt as which every card is bound here.
const CARD: CardAttempt = CardAttempt { ledger: LedgerId([7; 16]), job: JobId(3), seq: 1, attempt: 2 };

fn bound(module: &mut ChipModule) -> &mut ChipModule {
    module.bound(CARD);
    module
}

fn bench() -> Bench {
    let trace = Trace::default();
    let mut bench = Bench {
        card: Card {
            trace: Arc::clone(&trace),
            atr: Ok(hex::decode(ATR).unwrap()),
            answers: vec![],
            slow: vec![],
            dead: false,
        },
        limits: line::TimeLimits::default(),
        hsm: FakeHsm {
            trace: Arc::clone(&trace),
            kmcs: vec!["FFFFFF476173:1"],
            open: None,
            personalize: None,
            drop_one: false,
            drawn: 0,
        },
        trace,
    };
    bench.answer("8050", &[RESPONSE]);
    bench.answer("00B2010C", &["70009000"]);
    bench
}

impl Bench {
    fn answer(&mut self, prefix: &str, answers: &[&str]) -> &mut Self {
        let queue = answers.iter().map(|a| Ok((*a).to_owned())).collect();
        self.card.answers.insert(0, (prefix.to_owned(), queue));
        self
    }

    fn module(self) -> (ChipModule, Trace) {
        let (card, hsm) = (Box::new(self.card), Box::new(self.hsm));
        (ChipModule::new("chip-3".into(), card, hsm, self.limits), self.trace)
    }

    /// Prepares, inspects and personalizes; the trace with challenges blanked.
    fn run(self, work: &CardWork) -> (Result<ModuleOutcome, Fault>, Vec<String>) {
        let (mut module, trace) = self.module();
        let outcome = module
            .prepare(work)
            .and_then(|()| module.inspect(work))
            .and_then(|_| bound(&mut module).personalize(work));
        let trace = trace.lock().unwrap().iter().map(|line| masked(line)).collect();
        (outcome, trace)
    }
}

fn masked(line: &str) -> String {
    if line.starts_with("8050") { format!("{}..{}", &line[..10], &line[26..]) } else { line.to_owned() }
}

/// PSE and payment, the latter with a secret DGI and a log.
fn work() -> CardWork {
    let mut work = testing::work(&[]);
    let mut payment =
        checked(PAYMENT, &[(0x0101, b"\x70\x00"), (0x8000, &[0; 16]), (0x9000, b"\x01\x02\x03")]);
    payment.application.protected = vec![Dgi(0x8000)];
    payment.application.pdi.enc = vec![(Dgi(0x8000), EncType::AsIs)];
    payment.application.log = vec![Dgi(0x9000), Dgi(0x0101)];
    payment.verified.protected = vec![(Dgi(0x8000), 16)];
    work.applications = vec![checked(PSE, &[(0x0101, b"\x61")]), payment];
    work
}

#[test]
fn two_applications_go_on_one_card() {
    let (outcome, trace) = bench().run(&work());
    let done = outcome.unwrap();
    assert_eq!(
        trace,
        [
            "on",
            "challenge",
            "00A404000E315041592E5359532E444446303100",
            "8050000008..00",
            "open 1",
            "personalize",
            "8482010010",
            "84E280000401010161",
            "00A4040007A000000003101000",
            "8050000008..00",
            "open 2",
            "personalize",
            "8482010010",
            "84E20000050101027000",
            "84E2600113800010EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE",
            "84E2800206900003010203",
            "00A4040007A000000003101000",
            "00B2010C00",
            "off",
        ]
    );
    assert_eq!(
        (done.hsm.calls, done.commands),
        (3, 12),
        "one call for the first challenge, then one a session"
    );
    assert_eq!(done.compared, ["chip read-back"]);
    let log: Vec<_> =
        done.log.iter().map(|l| (l.aid.to_string(), l.dgi.to_string(), l.length, l.sw)).collect();
    assert_eq!(log, [(PAYMENT.into(), "0101".into(), 2, 0x9000), (PAYMENT.into(), "9000".into(), 3, 0x9000)]);
}

/// A card that others wait for proves its keys first, and then gets the commands that every card gets.
#[test]
fn a_card_that_goes_first_authenticates_alone_and_goes_on_from_there() {
    let (_, whole) = bench().run(&work());
    let (mut module, trace) = bench().module();
    let work = work();
    module.inspect(&work).unwrap();
    bound(&mut module).authenticate(&work).unwrap();
    let masked = |trace: &Trace| trace.lock().unwrap().iter().map(|line| masked(line)).collect::<Vec<_>>();
    assert_eq!(masked(&trace).last().unwrap(), "8482010010");
    let done = bound(&mut module).personalize(&work).unwrap();
    assert_eq!(masked(&trace), whole);
    assert_eq!((done.hsm.calls, done.commands), (3, 12));
    // Nothing of an open session is left for the next card.
    module.inspect(&work).unwrap();
    bound(&mut module).authenticate(&work).unwrap();
    module.inspect(&work).unwrap();
    bound(&mut module).personalize(&work).unwrap();
    assert_eq!(masked(&trace).iter().filter(|line| *line == "8482010010").count(), 5);

    for (bench, reason) in [
        (
            {
                let mut bench = bench();
                bench.answer("8482", &["6300"]);
                bench
            },
            "sw-6300",
        ),
        (
            {
                let mut bench = bench();
                bench.hsm.open = Some(HsmError::CardCryptogram(KmcRef::parse("FFFFFF476173:1").unwrap()));
                bench
            },
            "cryptogram",
        ),
    ] {
        let (mut module, trace) = bench.module();
        module.inspect(&work).unwrap();
        let fault = bound(&mut module).authenticate(&work).unwrap_err();
        assert_eq!((fault.reason.as_str(), fault.doubts_keys()), (reason, true));
        assert_eq!(trace.lock().unwrap().last().unwrap(), "off");
        assert!(bound(&mut module).personalize(&work).is_err());
    }
}

#[test]
fn a_station_draws_one_challenge_and_then_takes_those_that_sessions_bring() {
    let (mut module, trace) = bench().module();
    let work = work();
    let drawn = || trace.lock().unwrap().iter().filter(|t| *t == "challenge").count();
    for calls in [3, 2, 2] {
        module.inspect(&work).unwrap();
        assert_eq!(bound(&mut module).personalize(&work).unwrap().hsm.calls, calls);
    }
    assert_eq!(drawn(), 1);
    // A card that leaves after INITIALIZE UPDATE takes its challenge along.
    module.inspect(&work).unwrap();
    module.inspect(&work).unwrap();
    assert_eq!(drawn(), 2);
}

#[test]
fn a_record_that_reads_otherwise_rejects_the_card_and_is_not_quoted() {
    for (answer, reason) in [
        ("70019000", "chip-read-back"),
        ("7000009000", "chip-read-back"),
        ("9000", "chip-read-back"),
        ("6A83", "sw-6A83"),
    ] {
        let mut bench = bench();
        bench.answer("00B2010C", &[answer]);
        let (outcome, trace) = bench.run(&work());
        let fault = outcome.unwrap_err();
        assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Card, reason));
        assert_eq!(fault.header.as_deref(), Some("00B2010C"));
        assert!(!fault.detail.contains("7000") && !fault.detail.contains("7001"), "{}", fault.detail);
        assert_eq!(trace.last().unwrap(), "off");
    }
}

#[test]
fn what_is_secret_or_may_be_refused_or_is_not_there_is_not_read_back() {
    let unread = |change: fn(&mut ChipApplication)| {
        let mut work = work();
        change(&mut work.applications[1].application);
        let (outcome, trace) = bench().run(&work);
        assert!(outcome.unwrap().compared.is_empty());
        assert!(trace.iter().all(|line| !line.starts_with("00B2")));
    };
    unread(|application| application.pdi.version_control = vec![Dgi(0x0101)]);
    unread(|application| {
        application.dgis.remove(0);
    });
}

#[test]
fn inspection_gives_keydata_and_writes_nothing() {
    let (mut module, trace) = bench().module();
    let work = work();
    module.prepare(&work).unwrap();
    assert!(trace.lock().unwrap().is_empty());
    let blank = module.inspect(&work).unwrap();
    assert_eq!(blank.key_data.unwrap().to_string(), "FFFFFF47617301020304");
    assert_eq!(blank.chip().unwrap().label().to_string(), "01020304");
    assert_eq!(trace.lock().unwrap().len(), 4);
    // Every card gets its own challenge.
    module.inspect(&work).unwrap();
    let trace = trace.lock().unwrap();
    assert_ne!(trace[3], trace[7]);
}

#[test]
fn a_wrong_cryptogram_ends_the_card_without_another_initialize_update() {
    let mut bench = bench();
    bench.hsm.open = Some(HsmError::CardCryptogram(KmcRef::parse("FFFFFF476173:1").unwrap()));
    let (mut module, trace) = bench.module();
    let work = work();
    module.inspect(&work).unwrap();
    let fault = bound(&mut module).personalize(&work).unwrap_err();
    assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Card, "cryptogram"));
    {
        let trace = trace.lock().unwrap();
        assert_eq!(trace.iter().filter(|t| t.starts_with("8050")).count(), 1);
        assert_eq!(trace[4..], ["open 1", "off"]);
    }
    // Not even if it is asked to go on: the answer of the first one is used up.
    let fault = bound(&mut module).personalize(&work).unwrap_err();
    assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Us, "bug"));
    assert_eq!(trace.lock().unwrap().iter().filter(|t| t.starts_with("8050")).count(), 1);
}

#[test]
fn the_first_status_word_that_is_no_success_stops_the_card() {
    for (prefix, header, sw, reason) in [
        ("00A4", "00A40400", "6A82", "sw-6A82"),
        ("00A4", "00A40400", "6999", "sw-6999"),
        ("8482", "84820100", "6300", "sw-6300"),
        ("84E28000", "84E28000", "6A84", "sw-6A84"),
        ("84E20000", "84E20000", "6A80", "sw-6A80"),
        ("84E26001", "84E26001", "6A88", "sw-6A88"),
        ("84E28002", "84E28002", "6A86", "sw-6A86"),
        ("84E26001", "84E26001", "6982", "sw-6982"),
        ("84E20000", "84E20000", "6C10", "sw-6C10"),
        // The link has followed these as far as it could.
        ("00A4", "00A40400", "6100", "sw-6100"),
        ("8050", "80500000", "6C1C", "sw-6C1C"),
        ("84E20000", "84E20000", "9001", "sw-9001"),
        ("8050", "80500000", "6A88", "sw-6A88"),
    ] {
        let mut bench = bench();
        bench.answer(prefix, &[sw]);
        let (outcome, trace) = bench.run(&work());
        let fault = outcome.unwrap_err();
        assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Card, reason), "{prefix}");
        assert_eq!(fault.header.as_deref(), Some(header));
        assert_eq!(fault.sw, Some(u16::from_str_radix(sw, 16).unwrap()));
        assert_eq!(fault.doubts_keys(), reason == "sw-6300");
        // Nothing follows the refused command but the power off.
        assert!(trace[trace.len() - 2].starts_with(prefix), "{trace:?}");
        assert_eq!(trace.last().unwrap(), "off");
    }
}

#[test]
fn only_a_version_controlled_dgi_may_be_refused_with_6a88() {
    let mut work = work();
    work.applications[1].application.pdi.version_control = vec![Dgi(0x0101)];
    let mut tolerant = bench();
    tolerant.answer("84E20000", &["6A88"]);
    let (outcome, trace) = tolerant.run(&work);
    let done = outcome.unwrap();
    assert_eq!(trace[trace.len() - 2], "84E2800206900003010203");
    assert_eq!(done.log.iter().map(|l| l.sw).collect::<Vec<_>>(), [0x6A88, 0x9000]);
    // Other status words do not mean an unknown version, and the other DGI is not in VERCNTL.
    for (prefix, sw) in [("84E20000", "6A80"), ("84E26001", "6A88"), ("84E28002", "6A88")] {
        let mut bench = bench();
        bench.answer(prefix, &[sw]);
        assert!(bench.run(&work).0.is_err());
    }
}

#[test]
fn blanks_that_do_not_fit_are_refused_before_the_binding() {
    let expect = |bench: Bench, work: &CardWork, blame, reason: &str| {
        let (mut module, trace) = bench.module();
        let fault = module.inspect(work).unwrap_err();
        assert_eq!((fault.blame, fault.reason.as_str()), (blame, reason));
        // A reader that does not answer is asked for nothing more.
        let off = trace.lock().unwrap().last().unwrap() == "off";
        assert_eq!(off, blame != Blame::Device);
        assert!(!trace.lock().unwrap().iter().any(|t| t.starts_with("open")));
    };
    let mut mute = bench();
    mute.card.atr = Err(CardError::Mute);
    expect(mute, &work(), Blame::Card, "mute");
    let mut empty = bench();
    empty.card.atr = Err(CardError::Absent);
    let fault = empty.module().0.inspect(&work()).unwrap_err();
    assert!(fault.blame == Blame::Device && fault.is_no_card(), "{fault}");
    let mut foreign = bench();
    foreign.card.atr = Ok(vec![0x3B, 0x00]);
    expect(foreign, &work(), Blame::Card, "wrong-atr");
    let mut gone = bench();
    gone.card.answers.insert(0, ("8050".into(), VecDeque::from([Err(CardError::Removed)])));
    expect(gone, &work(), Blame::Card, "card-removed");
    let mut reader = bench();
    reader
        .card
        .answers
        .insert(0, ("00A4".into(), VecDeque::from([Err(CardError::Reader(LinkError::Closed))])));
    expect(reader, &work(), Blame::Device, "reader");
    let mut nonsense = bench();
    nonsense.answer("00A4", &["90"]);
    expect(nonsense, &work(), Blame::Device, "reader");
    let mut short = bench();
    short.answer("8050", &["FFFFFF4761739000"]);
    expect(short, &work(), Blame::Card, "malformed-response");
    let mut scp03 = bench();
    scp03.answer("8050", &["FFFFFF4761730102030401030001112233445566AB20563DD039E65D9000"]);
    expect(scp03, &work(), Blame::Card, "malformed-response");

    // One application that does not allow the KMC is enough; so is a KMC that the HSM lacks.
    let mut narrow = work();
    narrow.applications[1].verified.allow = vec![KmcRef::parse("FFFFFF476173:2").unwrap()];
    expect(bench(), &narrow, Blame::Card, "unknown-kmc");
    let mut lacking = bench();
    lacking.hsm.kmcs = vec!["FFFFFF476173:2"];
    expect(lacking, &work(), Blame::Card, "unknown-kmc");
}

#[test]
fn a_card_that_becomes_another_one_gets_nothing_more() {
    let mut bench = bench();
    let other = RESPONSE.replacen("01020304", "01020305", 1);
    bench.answer("8050", &[RESPONSE, &other]);
    let (outcome, trace) = bench.run(&work());
    let fault = outcome.unwrap_err();
    assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Card, "keydata-changed"));
    assert_eq!(trace.iter().filter(|t| t.starts_with("open")).count(), 1);
}

#[test]
fn hsm_faults_stop_before_the_card_hears_of_them() {
    let mut lost = bench();
    lost.hsm.personalize = Some(HsmError::Host("gone".into()));
    let (outcome, trace) = lost.run(&work());
    let fault = outcome.unwrap_err();
    assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Hsm, "hsm"));
    assert!(!trace.iter().any(|t| t.starts_with("8482")));
    let mut short = bench();
    short.hsm.drop_one = true;
    let (outcome, trace) = short.run(&work());
    assert_eq!(outcome.unwrap_err().blame, Blame::Hsm);
    assert!(!trace.iter().any(|t| t.starts_with("8482")));
}

#[test]
fn wrong_data_is_found_before_a_card_comes() {
    let (mut module, trace) = bench().module();
    let mut empty = work();
    empty.applications[1].application.dgis.clear();
    let mut cplc = work();
    cplc.applications[0].application.pdi.update_cplc = 1;
    let mut foreign = work();
    foreign.applications.push(checked("A000000099", &[(1, b"x")]));
    let mut chipless = work();
    let mut product = (*chipless.product).clone();
    product.chip = None;
    chipless.product = Arc::new(product);
    for wrong in [empty, cplc, foreign, chipless] {
        let fault = module.prepare(&wrong).unwrap_err();
        assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Data, "data"));
    }
    assert!(trace.lock().unwrap().is_empty());
}

#[test]
fn a_record_without_chip_leaves_the_reader_alone() {
    let (mut module, trace) = bench().module();
    let work = testing::work(&[]);
    assert!(!module.wants(&work));
    module.prepare(&work).unwrap();
    assert_eq!(module.inspect(&work).unwrap(), BlankInspection::default());
    assert_eq!(bound(&mut module).personalize(&work).unwrap().commands, 0);
    assert!(trace.lock().unwrap().is_empty());
}

#[test]
fn a_call_that_hangs_ends_within_its_limit_and_the_fault_says_which_where_and_at_what() {
    let hang = Duration::from_secs(60);
    let limits = |command, phase, card| line::TimeLimits { command, phase, card, recover: 1.0, stop: 1.0 };
    for (slow, limits, at, header, of) in [
        (vec![("on", hang)], limits(0.1, 1.0, 2.0), "power on", None, "1s for looking at"),
        (vec![("00A4", hang)], limits(0.1, 1.0, 2.0), "SELECT", Some("00A40400"), "100ms for a command"),
        (vec![("8050", hang)], limits(1.0, 1.0, 2.0), "INITIALIZE UPDATE", Some("80500000"), "looking at"),
        (vec![("84E28000", hang)], limits(0.2, 1.0, 2.0), "STORE DATA", Some("84E28000"), "for a command"),
        // Each command is quick enough, all of them together are not.
        (
            vec![("84E28000", Duration::from_millis(150)), ("84E20000", hang)],
            limits(0.2, 0.2, 9.0),
            "STORE DATA",
            Some("84E20000"),
            "200ms for looking at a card or for one application",
        ),
        (
            vec![("on", Duration::from_millis(100)), ("8050", Duration::from_millis(100)), ("84E2", hang)],
            limits(0.3, 0.3, 0.3),
            "STORE DATA",
            Some("84E28000"),
            "300ms for the chip's work on a card",
        ),
    ] {
        let mut bench = bench();
        bench.card.slow = slow;
        bench.limits = limits;
        let start = Instant::now();
        let (outcome, trace) = bench.run(&work());
        assert!(start.elapsed() < Duration::from_millis(1300), "{at}: {:?}", start.elapsed());
        let fault = outcome.unwrap_err();
        assert_eq!((fault.blame, fault.reason.as_str()), (Blame::Device, "timeout"));
        assert_eq!((fault.header.as_deref(), fault.sw), (header, None));
        for part in [at, of, "reader chip-3"] {
            assert!(fault.detail.contains(part), "no {part:?} in {}", fault.detail);
        }
        assert_ne!(trace.last().unwrap(), "off");
    }
}

#[test]
fn a_card_whose_time_is_up_gets_no_command_more() {
    let mut bench = bench();
    bench.limits = line::TimeLimits { command: 0.05, phase: 0.05, card: 0.05, recover: 1.0, stop: 1.0 };
    let (mut module, trace) = bench.module();
    let work = work();
    module.inspect(&work).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let fault = bound(&mut module).personalize(&work).unwrap_err();
    assert_eq!((fault.reason.as_str(), fault.header.as_deref()), ("timeout", Some("84820100")));
    assert!(!trace.lock().unwrap().iter().any(|t| t.starts_with("84")));
    // The next card has its own time.
    module.inspect(&work).unwrap();
}

#[test]
fn a_probe_connects_anew_and_asks_the_reader() {
    let (mut module, trace) = bench().module();
    module.probe().unwrap();
    assert_eq!(*trace.lock().unwrap(), ["reopen", "probe"]);
    let mut held = bench();
    held.card.dead = true;
    assert_eq!(held.module().0.probe().unwrap_err().reason.as_str(), "reader-held");
}
