//! Machines that see no cards. Two of one model are identified by their serial numbers, or by their marks on test
//! blanks, which a person reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::books::{Witness, job, none, number, stacked};
use crate::expected;
use crate::support::{Ended, World, lines};

const CARDS: u32 = 12;
const SIM_8: &str = include_str!("../../profiles/lines/sim-8.toml");
const SIM_LINE: &str = include_str!("../../profiles/lines/sim-line.toml");
/// Exit code of a line that is not ready.
const NOT_READY: i32 = 32;

/// Exit code of a run that the operator stopped.
const STOPPED: i32 = 5;

/// Exit code of a request that the ledger forbids.
const DENIED: i32 = 42;

/// Exit code of a ledger that another process has open.
const IN_USE: i32 = 40;

/// A line on serial ports: an encoder, and two machines that see no cards.
struct Ports {
    world: World,
    hwsim: Option<Child>,
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.off();
    }
}

/// Two embossers.
const EMBOSSERS: [&str; 2] = ["embosser-1", "embosser-2"];
const TWO_EMBOSSERS: &str = "[[module]]\nname = \"stripe\"\nkind = \"stripe\"\nmics = [\"MAG\"]\ncoercivity = \"hico\"\n\n\
     [[module]]\nname = \"embosser\"\nkind = \"embosser\"\nmics = [\"EMB\", \"IND\"]\nstations = 2\n";
/// Two encoders that see no cards, before an embosser.
const TWO_ENCODERS: &str = "[[module]]\nname = \"stripe\"\nkind = \"stripe\"\nmics = [\"MAG\"]\ncoercivity = \"hico\"\n\
     read_back = false\ndriver = \"mse630\"\nstations = 2\n\n\
     [[module]]\nname = \"embosser\"\nkind = \"embosser\"\nmics = [\"EMB\", \"IND\"]\n";

/// Two printers.
const PRINTERS: [&str; 2] = ["printer-1", "printer-2"];
const TWO_PRINTERS: &str = "[[module]]\nname = \"stripe\"\nkind = \"stripe\"\nmics = [\"MAG\"]\ncoercivity = \"hico\"\n\n\
     [[module]]\nname = \"printer\"\nkind = \"printer\"\nmics = [\"GFX\"]\nstations = 2\n";

impl Ports {
    /// A line of these modules and stations, with a job.
    fn new(modules: &str, stations: &[&str]) -> Self {
        let world = World::new();
        world.prepared("job", CARDS, 65);
        let at = |name: &str| world.path(name).display().to_string();
        let served = |mic: &str| modules.contains(mic);
        let ignored = ["CHP", "GFX", "EMB", "IND"].into_iter().filter(|mic| !served(mic));
        let ignore = format!("{:?}", ignored.collect::<Vec<_>>());
        let mut text = format!(
            "name = \"ports\"\ndescription = \"test\"\nreorder_buffer = 16\nrejects = \"bin\"\nkeys = \"test\"\n\
             ignore = {ignore}\n[limits]\nrecover = 1\n{modules}\n\
             [[module]]\nname = \"fulfilment\"\nkind = \"fulfilment\"\nmics = [\"FUL\"]\n"
        );
        let (_, sim) = SIM_8.split_once("[sim]").unwrap();
        let (mut attach, mut streams) = (String::new(), BTreeMap::new());
        for station in stations {
            if station.starts_with("printer") {
                let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                streams.insert(*station, free.to_string());
            }
            let (serial, transport) = (at(&format!("{station}.serial")), at(&format!("{station}.transport")));
            writeln!(text, "[link.{station}]\nserial = {serial:?}\ntransport = {transport:?}").unwrap();
            writeln!(attach, "[sim.attach.{station}]\nmachine = {serial:?}\ntransport = {transport:?}")
                .unwrap();
            if let Some(stream) = streams.get(station) {
                writeln!(text, "stream = {stream:?}").unwrap();
                writeln!(attach, "stream = {stream:?}").unwrap();
            }
        }
        let output = at("output.transport");
        writeln!(text, "[link.output]\ntransport = {output:?}\n[sim]{sim}\n{attach}").unwrap();
        writeln!(text, "[sim.attach.output]\ntransport = {output:?}").unwrap();
        std::fs::write(world.path("line.toml"), text).unwrap();
        let mut ports = Self { world, hwsim: None };
        ports.on("");
        ports
    }

    /// Switches the machines on, with these faults; they are fast.
    fn on(&mut self, faults: &str) {
        self.off();
        std::fs::write(self.world.path("faults.toml"), faults).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
        let mut command = self.world.command(&program);
        command.args(["serve", "--line", "line.toml", "--socket", "hwsim.sock", "--until-stdin-closes"]);
        command.args(["--speed", "0", "--dump", "dumps", "--faults", "faults.toml", "--seed", "3"]);
        let mut hwsim = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        let out = hwsim.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut ready).unwrap();
        assert!(ready.contains("SIMULATED"), "hwsim did not start");
        self.hwsim = Some(hwsim);
    }

    fn off(&mut self) {
        if let Some(mut hwsim) = self.hwsim.take() {
            drop(hwsim.stdin.take());
            let _ = hwsim.wait();
        }
    }

    /// Replaces a text of the profile.
    fn profile(&self, from: &str, to: &str) {
        let path = self.world.path("line.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// Runs `line check --cards` with these lines on standard input.
    fn test_cards(&self, answers: impl AsRef<[u8]>) -> (Ended, Vec<Value>) {
        checked(&self.world, &["line.toml", "--by", "Anna"], answers)
    }

    fn made(&self, verb: &[&str]) -> Ended {
        let _ = std::fs::remove_file(self.world.path("events.jsonl"));
        let common = ["--line", "line.toml", "--keys", "bureau.store", "--events", "events.jsonl"];
        self.world.cardwright(&[verb, &common].concat())
    }

    /// Fails unless the line makes no card, for this reason.
    fn makes_nothing(&self, verb: &[&str], reason: &str) -> Ended {
        let before = fed(&self.world);
        let ended = self.made(verb);
        assert!(self.world.path("cardwright.db").exists(), "{}", ended.stderr);
        let job = job(&self.world);
        assert_eq!((&job["state"], &job["held_for"]), (&"HELD".into(), &reason.into()), "{}", ended.stderr);
        assert_eq!(fed(&self.world), before, "a blank was fed: {}", ended.stderr);
        ended
    }

    /// Fails unless every card becomes GOOD, embossed with its own number.
    fn makes_all(&self, verb: &[&str]) {
        let ended = self.made(verb);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(number(&job(&self.world)["balance"], "good"), u64::from(CARDS));
        let mut good: Vec<_> =
            self.world.dumps().into_iter().filter(|dump| dump["fate"] == "stacked").collect();
        good.sort_by_key(|dump| number(dump, "position"));
        let csv = std::fs::read_to_string(self.world.path("job.csv")).unwrap();
        let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let column = rows.next().unwrap().iter().position(|name| *name == "pan").unwrap();
        for (row, dump) in rows.zip(&good) {
            let embossed = dump["emboss"].to_string().replace(' ', "");
            assert!(embossed.contains(row[column]), "{dump}");
        }
        assert_eq!(good.len() as u64, u64::from(CARDS));
    }

    /// Fails unless the ledger counts as many test blanks as the witness saw.
    fn counts_test_blanks(&self) {
        assert_eq!(tested(&self.world), fed(&self.world));
    }
}

/// Runs `line check --cards --json` with these lines on standard input. Returns the findings of test blanks.
fn checked(world: &World, line: &[&str], answers: impl AsRef<[u8]>) -> (Ended, Vec<Value>) {
    let mut command = world.command(Path::new(env!("CARGO_BIN_EXE_cardwright")));
    command.args(["line", "check"]).args(line).args(["--keys", "bureau.store", "--cards", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = command.spawn().unwrap();
    // The program may end without reading an answer, so a failed write is no fault.
    let _ = check.stdin.take().unwrap().write_all(answers.as_ref());
    let ended = Ended::from(check.wait_with_output().unwrap());
    let document: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
    let findings = document["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "test blank");
    let findings = findings.cloned().collect();
    (ended, findings)
}

/// Runs `line check --cards --json` with a person who answers each line of standard error, or does not.
fn asked(
    world: &World,
    line: &[&str],
    mut answer: impl FnMut(&str, Pid) -> Option<&'static str>,
) -> (Ended, String) {
    let mut command = world.command(Path::new(env!("CARGO_BIN_EXE_cardwright")));
    command.args(["line", "check"]).args(line).args(["--keys", "bureau.store", "--cards", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = command.spawn().unwrap();
    let (mut person, questions) = (check.stdin.take().unwrap(), check.stderr.take().unwrap());
    let mut all = String::new();
    for question in std::io::BufReader::new(questions).lines() {
        let question = question.unwrap();
        if let Some(answer) = answer(&question, Pid::from_raw(check.id().cast_signed())) {
            let _ = person.write_all(answer.as_bytes());
        }
        all += &format!("{question}\n");
    }
    (Ended::from(check.wait_with_output().unwrap()), all)
}

/// Blanks that the simulated line's hopper has given.
fn fed(world: &World) -> u64 {
    lines(&world.path("dumps/line.jsonl")).iter().filter(|line| line["what"] == "fed").count() as u64
}

/// Blanks of all TEST_BLANK events.
fn tested(world: &World) -> u64 {
    of_kind(world, "TEST_BLANK").iter().map(|event| number(event, "count")).sum()
}

fn of_kind(world: &World, kind: &str) -> Vec<Value> {
    let ended = world.cardwright(&["log", "--json"]);
    let events: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    events.into_iter().filter(|event| event["to"] == kind).collect()
}

/// The faults that test blanks found, by station.
fn faults(findings: &[Value]) -> Vec<(String, String)> {
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let bad = findings.iter().filter(|finding| finding["good"] == false);
    bad.map(|finding| (word(finding, "place"), word(finding, "says"))).collect()
}

/// Fails unless each of two stations has a fault that names the other.
fn names_both(findings: &[Value], pair: [&str; 2]) {
    let faults = faults(findings);
    let named =
        |place: &str, other: &str| faults.iter().any(|(at, says)| at == place && says.contains(other));
    assert!(named(pair[0], pair[1]) && named(pair[1], pair[0]), "{faults:?}");
}

#[test]
fn simulated_machines_with_numbers_that_are_exchanged_get_no_card() {
    for pair in [EMBOSSERS, ["printer-1", "printer-2"]] {
        let world = World::new();
        let expected = expected::prepared(&world, "job", CARDS, 66);
        let [a, b] = pair;
        std::fs::write(world.path("line.toml"), SIM_LINE.replacen("chip_s = 4.0", "chip_s = 0.0", 1))
            .unwrap();
        std::fs::write(world.path("faults.toml"), format!("[[exchange]]\nstations = [{a:?}, {b:?}]\n"))
            .unwrap();
        let ended = world.run("job.cwf1", "line.toml", &["--faults", "faults.toml"]);
        let said = &ended.stderr;
        assert!(
            said.contains("WRONG MACHINE") && pair.iter().all(|station| said.contains(station)),
            "{said}"
        );
        assert_eq!((fed(&world), &job(&world)["held_for"]), (0, &"miswired".into()), "{said}");
        let check = ["line.toml", "--simulate", "--speed", "0", "--faults", "faults.toml"];
        let (ended, findings) = checked(&world, &check, "");
        assert_eq!((ended.code, fed(&world)), (NOT_READY, 0), "{}", ended.stderr);
        assert!(ended.stdout.contains("WRONG MACHINE") && findings.len() == 1, "{}", ended.stdout);

        let ended = world.resume("line.toml", &[]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let witness = Witness::keep(&world, 1);
        none(&expected.differences(&stacked(&world.events(), &witness), 5));
    }
}

#[test]
fn test_blanks_go_through_every_station_of_a_simulated_line() {
    let world = World::new();
    let check = ["sim-line", "--simulate", "--speed", "0", "--dump", "dumps"];
    let (ended, findings) = checked(&world, &check, "");
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert!(faults(&findings).is_empty() && findings.len() == 13, "{findings:?}");
    assert_eq!((fed(&world), tested(&world)), (8, 8));
    assert!(world.dumps().iter().all(|dump| dump["fate"] == "rejected" && dump["jobs"] != 1), "written");
}

#[test]
fn test_blanks_find_exchanged_readers_and_encoders() {
    let three = SIM_8.replacen("stations = 8", "stations = 3", 1);
    let line = three.replacen("kind = \"stripe\"", "kind = \"stripe\"\nstations = 2", 1);
    // The readers are the first module, so a failed proof there ends the test without another blank.
    for (pair, blanks) in
        [(["chip-1", "chip-2"], 1), (["chip-1", "chip-3"], 1), (["stripe-1", "stripe-2"], 3)]
    {
        let world = World::new();
        let [a, b] = pair;
        std::fs::write(world.path("line.toml"), &line).unwrap();
        std::fs::write(world.path("faults.toml"), format!("[[exchange]]\nstations = [{a:?}, {b:?}]\n"))
            .unwrap();
        let check = ["line.toml", "--simulate", "--speed", "0", "--dump", "dumps", "--faults", "faults.toml"];
        let (ended, findings) = checked(&world, &check, "");
        assert_eq!(ended.code, NOT_READY, "{}", ended.stderr);
        names_both(&findings, pair);
        assert_eq!((fed(&world), tested(&world)), (blanks, blanks), "{pair:?}");
    }
}

#[test]
fn machines_without_numbers_get_no_card_until_a_person_gives_the_word_and_none_after_a_new_connection() {
    let mut ports = Ports::new(TWO_EMBOSSERS, &["stripe-1", "embosser-1", "embosser-2"]);
    let ended = ports.makes_nothing(&["run", "job.cwf1"], "unproved");
    assert!(ended.stderr.contains("line check LINE --cards"), "{}", ended.stderr);
    let ended = ports.world.cardwright(&["line", "check", "line.toml", "--keys", "bureau.store"]);
    let warned = |station: &str| {
        let unproved =
            "warning: the station takes no card: the machine on this connection is not proved to be that of";
        ended.stdout.contains(&format!("{unproved} {station}"))
    };
    assert!(EMBOSSERS.into_iter().all(warned), "{}", ended.stdout);
    // A run would stop before its first card.
    assert_eq!(ended.code, NOT_READY, "{}", ended.stdout);
    assert!(ended.stdout.contains("FAULT  embosser     wiring: no station"), "{}", ended.stdout);

    // A missing answer, and a wrong one.
    let (ended, findings) = ports.test_cards("embosser-1\n");
    assert_eq!(ended.code, NOT_READY);
    assert_eq!(faults(&findings).len(), 1, "{findings:?}");
    let ended = ports.world.cardwright(&["line", "check", "line.toml", "--keys", "bureau.store"]);
    assert_eq!(ended.code, 0, "one station is enough: {}", ended.stdout);
    let (ended, findings) = ports.test_cards("embosser-2\nembosser-1\n");
    assert_eq!(ended.code, NOT_READY);
    names_both(&findings, EMBOSSERS);
    ports.makes_nothing(&["job", "resume", "J1"], "unproved");

    let (ended, findings) = ports.test_cards("Embosser-1\n embosser-2\n");
    assert_eq!(ended.code, 0, "{findings:?}");
    assert!(!ended.stderr.contains("embosser-1"), "a question gives its answer away: {}", ended.stderr);
    ports.counts_test_blanks();
    let words = of_kind(&ports.world, "WORD");
    assert!(words.iter().all(|word| word["actor"].as_str().unwrap().starts_with("Anna")), "{words:?}");
    ports.makes_all(&["job", "resume", "J1"]);

    // The word does not hold for another connection.
    ports.on("");
    let ended = ports.world.cardwright(&["line", "check", "line.toml", "--keys", "bureau.store"]);
    assert!(ended.stdout.contains("warning: the station takes no card"), "{}", ended.stdout);
    assert_eq!(ended.code, NOT_READY, "{}", ended.stdout);
}

#[test]
fn machines_with_numbers_that_are_exchanged_while_the_line_runs_make_no_wrong_card() {
    for [a, b] in [EMBOSSERS, PRINTERS] {
        let world = World::new();
        let expected = expected::prepared(&world, "job", 30, 67);
        let line = SIM_LINE.replacen("chip_s = 4.0", "chip_s = 0.0", 1);
        let line = line.replacen("[sim]\n", "[limits]\nrecover = 1\n\n[sim]\n", 1);
        std::fs::write(world.path("line.toml"), line).unwrap();
        let faults = format!("[[exchange]]\nstations = [{a:?}, {b:?}]\nafter = 20\n");
        std::fs::write(world.path("faults.toml"), faults).unwrap();
        let ended = world.run("job.cwf1", "line.toml", &["--faults", "faults.toml", "--seed", "3"]);
        let said = &ended.stderr;
        assert!(said.contains("WRONG MACHINE") && said.contains(a) && said.contains(b), "{said}");
        let witness = Witness::keep(&world, 1);
        witness.holds(&world);
        none(&expected.differences(&stacked(&world.events(), &witness), 5));
        let (job, good) = (job(&world), witness.fate("stacked").count() as u64);
        assert_eq!((&job["held_for"], number(&job["balance"], "good")), (&"miswired".into(), good), "{job}");
        assert!(good > 0, "no card was made before the exchange: {said}");
    }
}

#[test]
fn a_signal_ends_a_test_as_it_ends_a_run() {
    let ports = Ports::new(TWO_EMBOSSERS, &["stripe-1", "embosser-1", "embosser-2"]);
    let (ended, _) = asked(&ports.world, &["line.toml"], |question, program| {
        if question.contains("Test blank 1 ") {
            kill(program, Signal::SIGINT).unwrap();
        }
        None
    });
    assert_eq!(ended.code, STOPPED, "{}", ended.stdout);
    assert!(ended.stdout.contains("stopped by the operator"), "{}", ended.stdout);
    ports.counts_test_blanks();
}

#[test]
fn an_answer_that_is_no_text_is_asked_for_again() {
    let ports = Ports::new(TWO_EMBOSSERS, &["stripe-1", "embosser-1", "embosser-2"]);
    let (ended, findings) = ports.test_cards(b"embosser-\xFF\nembosser-1\n\xC3(\nembosser-2\n");
    assert_eq!(ended.code, 0, "{findings:?}");
    assert_eq!(ended.stderr.matches("was not understood").count(), 2, "{}", ended.stderr);
}

#[test]
fn a_person_fills_an_empty_hopper_and_the_test_goes_on() {
    let mut ports = Ports::new(TWO_EMBOSSERS, &["stripe-1", "embosser-1", "embosser-2"]);
    let empty = |ms: u32| format!("[[fault]]\nkind = \"hopper-empty\"\nblanks = [2]\nms = {ms}\n");
    ports.on(&empty(60_000));
    let (ended, findings) = ports.test_cards("embosser-1\n");
    assert_eq!(ended.code, NOT_READY);
    let (_, says) = &faults(&findings)[0];
    assert!(says.contains("the hopper is empty: put blanks for the test into it, then test again"), "{says}");

    ports.on(&empty(300));
    let (ended, questions) = asked(&ports.world, &["line.toml"], |question, _| {
        if question.contains("the hopper is empty") {
            std::thread::sleep(std::time::Duration::from_millis(100));
            return Some("\n");
        }
        [("Test blank 1 ", "embosser-1\n"), ("Test blank 2 ", "embosser-2\n")]
            .into_iter()
            .find_map(|(of, answer)| question.contains(of).then_some(answer))
    });
    assert_eq!(ended.code, 0, "{}{questions}", ended.stdout);
    assert!(questions.contains("put blanks for the test into it. Then press Enter."), "{questions}");
}

#[test]
fn simulated_test_blanks_are_not_recorded_among_real_cards() {
    let ports = Ports::new(TWO_EMBOSSERS, &["stripe-1", "embosser-1", "embosser-2"]);
    let simulated =
        ["line", "check", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "0", "--cards"];
    assert_eq!(ports.world.cardwright(&simulated).code, 0);
    let marks: Vec<_> =
        of_kind(&ports.world, "TEST_BLANK").iter().map(|event| event["detail"].clone()).collect();
    assert!(marks.len() == 8 && marks.iter().all(|mark| mark == "SIMULATED"), "{marks:?}");
    ports.makes_nothing(&["run", "job.cwf1"], "unproved");
    let ended = ports.world.cardwright(&simulated);
    assert_eq!((ended.code, tested(&ports.world)), (DENIED, 8), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("J1, a job of real cards"), "{}", ended.stderr);
}

#[test]
fn a_test_throws_out_no_card_of_a_killed_job() {
    let world = World::new();
    world.prepared("job", CARDS, 68);
    std::fs::write(world.path("faults.toml"), "[[fault]]\nkind = \"kill-controller\"\nafter = 150\n")
        .unwrap();
    world.run("job.cwf1", "sim-8", &["--faults", "faults.toml"]);
    let check = ["line", "check", "sim-8", "--keys", "bureau.store", "--simulate", "--speed", "0", "--cards"];
    let ended = world.cardwright(&check);
    assert!(number(&job(&world)["balance"], "unknown") > 0);
    assert_eq!((ended.code, tested(&world)), (DENIED, 0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("cardwright card ask J1 all"), "{}", ended.stderr);
    for seq in 1..=CARDS {
        let seq = seq.to_string();
        world.cardwright(&["card", "resolve", "J1", &seq, "--destroyed", "--by", "Anna"]);
    }
    let ended = world.cardwright(&check);
    assert_eq!((ended.code, tested(&world)), (0, 8), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn a_line_without_the_audit_book_of_its_keys_is_not_ready() {
    let world = World::new();
    world.prepared("job", 1, 69);
    std::fs::remove_file(world.path("bureau.store/audit")).unwrap();
    let ended = world.cardwright(&["line", "check", "sim-8", "--keys", "bureau.store", "--simulate"]);
    assert_eq!(ended.code, NOT_READY, "{}{}", ended.stdout, ended.stderr);
    let run = world.run("job.cwf1", "sim-8", &[]);
    let said = run.stderr.strip_prefix("error: ").unwrap().trim_end();
    assert!(said.contains("bureau.store/audit: it is missing"), "{said}");
    assert!(ended.stdout.contains(&format!("FAULT  keys         key store: {said}")), "{}", ended.stdout);
}

#[test]
fn a_word_ends_with_the_connection_in_the_middle_of_a_job() {
    let mut ports = Ports::new(TWO_EMBOSSERS, &["stripe-1", "embosser-1", "embosser-2"]);
    assert_eq!(ports.test_cards("embosser-1\nembosser-2\n").0.code, 0);
    let ended = ports.made(&["run", "job.cwf1", "--limit", "4"]);
    assert_eq!(number(&job(&ports.world)["balance"], "good"), 4, "{}", ended.stderr);
    ports.on("");
    ports.makes_nothing(&["job", "resume", "J1"], "unproved");
}

#[test]
fn test_blanks_find_exchanged_machines_without_numbers() {
    let cases = [
        (TWO_EMBOSSERS, ["stripe-1", "embosser-1", "embosser-2"], EMBOSSERS, 2),
        (TWO_ENCODERS, ["stripe-1", "stripe-2", "embosser-1"], ["stripe-1", "stripe-2"], 1),
    ];
    for (modules, stations, pair, blanks) in cases {
        let mut ports = Ports::new(modules, &stations);
        let answers = format!("{}\n{}\n", pair[0], pair[1]);
        let (ended, findings) = ports.test_cards(&answers);
        assert_eq!(ended.code, 0, "{findings:?}");
        let right = fed(&ports.world);
        assert_eq!(right, 2);

        // A mark with another name takes the earlier proof back.
        let (ended, findings) = ports.test_cards(format!("{}\n{}\n", pair[1], pair[0]));
        assert_eq!(ended.code, NOT_READY);
        names_both(&findings, pair);
        ports.makes_nothing(&["run", "job.cwf1"], "unproved");

        let before = fed(&ports.world);
        ports.on(&format!("[[exchange]]\nstations = [{:?}, {:?}]\n", pair[0], pair[1]));
        let (ended, findings) = ports.test_cards(&answers);
        assert_eq!(ended.code, NOT_READY, "{}", ended.stderr);
        names_both(&findings, pair);
        assert_eq!(fed(&ports.world) - before, blanks, "{pair:?}");
        ports.counts_test_blanks();
    }
}

#[test]
fn printers_print_their_names_and_an_exchanged_one_is_found() {
    let mut ports = Ports::new(TWO_PRINTERS, &["stripe-1", "printer-1", "printer-2"]);
    ports.makes_nothing(&["run", "job.cwf1"], "unproved");
    let (ended, findings) = ports.test_cards("printer-1\nprinter-2\n");
    assert_eq!(ended.code, 0, "{findings:?}");
    assert!(ended.stderr.contains("stands on it, printed on the front?"), "{}", ended.stderr);
    let fronts: BTreeSet<_> =
        ports.world.dumps().iter().map(|dump| dump["graphics"]["front"].to_string()).collect();
    assert!(fronts.len() == 2 && !fronts.contains("null"), "{fronts:?}");
    ports.counts_test_blanks();
    let ended = ports.made(&["job", "resume", "J1"]);
    assert_eq!((ended.code, number(&job(&ports.world)["balance"], "good")), (0, u64::from(CARDS)));

    // The links for pictures stay where they are, so no other printer can print there.
    ports.on("[[exchange]]\nstations = [\"printer-1\", \"printer-2\"]\n");
    let (ended, findings) = ports.test_cards("");
    assert_eq!(ended.code, NOT_READY);
    names_both(&findings, PRINTERS);
    assert_eq!(tested(&ports.world), fed(&ports.world) - u64::from(CARDS));
}

#[test]
fn numbers_of_a_real_line_need_no_word() {
    let mut ports = Ports::new(TWO_EMBOSSERS, &["stripe-1", "embosser-1", "embosser-2"]);
    for station in EMBOSSERS {
        ports.profile(
            &format!("[link.{station}]\n"),
            &format!("[link.{station}]\nnumber = \"SIM-{station}\"\n"),
        );
    }
    ports.on("[[exchange]]\nstations = [\"embosser-1\", \"embosser-2\"]\n");
    let ended = ports.makes_nothing(&["run", "job.cwf1"], "miswired");
    assert!(ended.stderr.contains("number SIM-embosser-2, which is that of embosser-2"), "{}", ended.stderr);
    ports.on("");
    ports.makes_all(&["job", "resume", "J1"]);
    assert!(of_kind(&ports.world, "WORD").is_empty());
}

#[test]
fn a_test_needs_the_ledger_alone_and_a_line_without_faults() {
    let mut ports = Ports::new(TWO_EMBOSSERS, &["stripe-1", "embosser-1", "embosser-2"]);
    let by = ["line", "check", "line.toml", "--keys", "bureau.store", "--by", "Anna"];
    assert_eq!(ports.world.cardwright(&by).code, 2);
    let another = cardwright::ledger::Ledger::open(ports.world.path("cardwright.db")).unwrap();
    let cards = ["line", "check", "line.toml", "--keys", "bureau.store", "--cards"];
    let ended = ports.world.cardwright(&cards);
    assert!(ended.code == IN_USE && fed(&ports.world) == 0, "{} {}", ended.code, ended.stderr);
    drop(another);
    ports.profile("embosser-2.serial", "gone.serial");
    let (ended, findings) = ports.test_cards("");
    assert_eq!((ended.code, fed(&ports.world)), (NOT_READY, 0), "{}", ended.stderr);
    assert!(faults(&findings)[0].1.contains("mend the faults above first"), "{findings:?}");
    ports.off();
}

#[test]
fn a_test_that_ends_early_or_contradicts_itself_leaves_no_word() {
    let encoders = (TWO_ENCODERS, ["stripe-1", "stripe-2", "embosser-1"], "stripe-1\nstripe-2\n", "");
    let both = "embosser-2\nembosser-2\n";
    let embossers =
        (TWO_EMBOSSERS, ["stripe-1", "embosser-1", "embosser-2"], "embosser-1\nembosser-2\n", both);
    for (modules, stations, right, answers) in [encoders, embossers] {
        let ports = Ports::new(modules, &stations);
        let (ended, findings) = ports.test_cards(right);
        assert_eq!(ended.code, 0, "{findings:?}");
        let (ended, _) = ports.test_cards(answers);
        assert_eq!(ended.code, NOT_READY, "{}", ended.stderr);
        let how = |event: &Value| event["facts"]["how"].as_str().unwrap().to_owned();
        let hows: Vec<_> = of_kind(&ports.world, "WIRED").iter().map(how).collect();
        assert_eq!(hows, ["mark", "mark", "refuted", "refuted"]);
        ports.makes_nothing(&["run", "job.cwf1"], "unproved");
        ports.counts_test_blanks();
    }
}
