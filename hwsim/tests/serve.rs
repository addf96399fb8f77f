//! `hwsim serve` from outside: a hand-written client over the socket, against the library and against the
//! program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hwsim::faults::FaultPlan;
use hwsim::profile::SimLineProfile;
use hwsim::server::LineServer;
use hwsim::witness::LineWitness;
use hwsim::world::SimulatedLine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A connection to one device.
struct MachineLink(UnixStream);

impl MachineLink {
    fn dial(socket: &Path, hello: &str) -> (Self, Value) {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The hello is sent in one piece, because a server that refuses its length closes the socket before
        // it reads the body.
        let length = u32::try_from(hello.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], hello.as_bytes()].concat()).unwrap();
        let mut link = Self(stream);
        let length: [u8; 4] = link.take(4).try_into().unwrap();
        let answer = link.take(u32::from_be_bytes(length) as usize);
        let answer = serde_json::from_slice(&answer).unwrap();
        (link, answer)
    }

    fn open(socket: &Path, station: &str, device: &str) -> Self {
        let hello = format!("{{\"station\": \"{station}\", \"device\": \"{device}\"}}");
        let (link, answer) = Self::dial(socket, &hello);
        assert_eq!(answer, serde_json::json!({ "simulated": true, "wiring": 0 }), "{hello}");
        link
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Sends a framed command; returns the status.
    fn command(&mut self, body: &[u8]) -> char {
        let mut wire = vec![];
        for byte in body {
            match byte {
                0x02 | 0x03 | 0x06 | 0x10 | 0x15 => wire.extend([0x10, byte ^ 0x40]),
                _ => wire.push(*byte),
            }
        }
        wire.push(0x03);
        wire.push(wire.iter().fold(0, |a, b| a ^ b));
        self.0.write_all(&[&[0x02], &wire[..]].concat()).unwrap();
        assert_eq!(self.take(1), [0x06]);
        assert_eq!(self.take(2), [0x02, body[0]]);
        let status = self.take(1)[0];
        while self.take(1) != [0x03] {}
        self.take(1);
        self.0.write_all(&[0x06]).unwrap();
        status.into()
    }

    /// Makes an exchange with a reader.
    fn exchange(&mut self, kind: u8, body: &[u8]) -> (u8, Vec<u8>) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&[kind][..], &length, body].concat()).unwrap();
        let kind = self.take(1)[0];
        let length: [u8; 4] = self.take(4).try_into().unwrap();
        (kind, self.take(u32::from_be_bytes(length) as usize))
    }

    /// Whether the connection is closed and nothing more comes.
    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

fn world(faults: &str, speed: f64, dump: &Path) -> SimulatedLine {
    let faults = FaultPlan::from_toml(faults, 3).unwrap();
    SimulatedLine::new(
        SimLineProfile::load("sim-8").unwrap(),
        3,
        faults,
        speed,
        LineWitness::open(Some(dump)).unwrap(),
    )
    .unwrap()
}

fn json_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn feed_take_personalize_stack_and_reject() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let dump = dir.path().join("dump");
    let faults = "[[fault]]\nkind = \"mute\"\nblanks = [2]\n[[fault]]\nkind = \"wrong-atr\"\nblanks = [3]\n\
                  [[fault]]\nkind = \"card-pulled\"\nblanks = [4]\nafter = 1";
    let server = LineServer::start(world(faults, 0.0, &dump), &socket).unwrap();
    let open = |station, device| MachineLink::open(&socket, station, device);
    let (mut feeder, mut reader) = (open("chip-1", "transport"), open("chip-1", "reader"));

    assert_eq!(reader.exchange(1, &[0, 3]), (0xFF, vec![1]), "no card");
    assert_eq!(reader.exchange(2, &[0, 0xA4, 4, 0]), (0xFF, vec![3]));
    assert_eq!(reader.exchange(3, &[]), (0x83, vec![]));
    assert_eq!(feeder.command(b"F"), '0');
    assert_eq!(reader.exchange(2, &[0, 0xA4, 4, 0]), (0xFF, vec![3]), "no power");
    let (kind, atr) = reader.exchange(1, &[0, 3]);
    assert_eq!((kind, hex::encode_upper(atr).as_str()), (0x81, "3B751300005443415244"));
    // The card answers a SELECT with at least two status bytes.
    let (kind, response) = reader.exchange(2, &[0x00, 0xA4, 0x04, 0x00, 0x00]);
    assert!(kind == 0x82 && response.len() >= 2);
    assert_eq!(reader.exchange(3, &[]).0, 0x83);

    let (mut at_stripe, mut stripe) = (open("stripe-1", "transport"), open("stripe-1", "machine"));
    assert_eq!(at_stripe.command(b"Tchip-1"), '0');
    assert_eq!(at_stripe.command(b"A"), '0');
    assert_eq!(reader.exchange(1, &[0, 3]), (0xFF, vec![1]));
    stripe.0.write_all(b"\x1bw\x1bs\x1b\x01\x1b\x0212=34\x1b\x03\x3f\x1c").unwrap();
    assert_eq!(stripe.take(2), b"\x1b0");
    let (mut at_embosser, mut embosser) = (open("embosser-1", "transport"), open("embosser-1", "machine"));
    assert_eq!(embosser.command(b"L~EM%2;401;843;1234\r\n"), '0');
    assert_eq!(embosser.command(b"E"), '2', "no card yet");
    assert_eq!(at_embosser.command(b"Tstripe-1"), '0');
    assert_eq!(embosser.command(b"E"), '2', "on its way");
    assert_eq!(at_embosser.command(b"A"), '0');
    assert_eq!(embosser.command(b"E"), '0');
    assert_eq!(embosser.command(b"L~EM%2;401;843;1234"), '3');
    assert_eq!(embosser.command(b"C"), '0');
    assert_eq!(embosser.command(b"E"), '3', "empty buffer");
    let mut output = open("output", "transport");
    assert_eq!(output.command(b"B\x00\x02"), '2');
    assert_eq!(output.command(b"Tembosser-1"), '0');
    assert_eq!(output.command(b"B\x00\x02"), '0');
    assert_eq!(output.command(b"K\x00\x02\x00\x00\x00"), '3', "short");
    assert_eq!(output.command(b"K\x00\x02\x00\x00\x00\x01"), '0');

    // A mute card, one with a wrong ATR, a pulled one: all go into the bin.
    assert_eq!(feeder.command(b"F"), '0');
    assert_eq!(reader.exchange(1, &[0, 3]), (0xFF, vec![2]));
    assert_eq!(feeder.command(b"R"), '0');
    assert_eq!(feeder.command(b"F"), '0');
    assert_ne!(hex::encode_upper(reader.exchange(1, &[0, 3]).1), "3B751300005443415244");
    assert_eq!(feeder.command(b"R"), '0');
    assert_eq!(feeder.command(b"F"), '0');
    assert_eq!(reader.exchange(1, &[0, 3]).0, 0x81);
    assert_eq!(reader.exchange(2, &[0x00, 0xA4, 0x04, 0x00, 0x00]).0, 0x82);
    assert_eq!(reader.exchange(2, &[0x00, 0xA4, 0x04, 0x00, 0x00]), (0xFF, vec![3]));
    assert_eq!(reader.exchange(1, &[0, 3]), (0xFF, vec![1]));
    assert_eq!(feeder.command(b"R"), '0');
    assert_eq!(feeder.command(b"R"), '2');
    assert!(server.stop());

    let faults = json_lines(&dump.join("faults.jsonl"));
    let kinds: Vec<_> =
        faults.iter().map(|f| (f["n"].as_u64().unwrap(), f["kind"].as_str().unwrap())).collect();
    assert_eq!(kinds, [(2, "mute"), (3, "wrong-atr"), (4, "card-pulled")]);
    assert!(faults.iter().all(|f| f["station"] == "chip-1"));
    let line = json_lines(&dump.join("line.jsonl"));
    assert_eq!(line.len(), 8);
    let first = line[0]["blank"].as_str().unwrap();
    let object: Value =
        serde_json::from_str(&std::fs::read_to_string(dump.join(format!("{first}.json"))).unwrap()).unwrap();
    assert_eq!(object["stripe"]["2"], ";12=34?");
    assert_eq!(object["emboss"][0]["text"], "1234");
    assert_eq!(object["writes"], 2);
}

#[test]
fn hello_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let server = LineServer::start(world("", 0.0, dir.path()), &socket).unwrap();
    let cases = [
        ("{\"station\": \"chip-9\", \"device\": \"reader\"}", "no station"),
        ("{\"station\": \"chip-1\", \"device\": \"machine\"}", "no such device"),
        ("{\"station\": \"stripe-1\", \"device\": \"reader\"}", "no such device"),
        ("{\"station\": \"stripe-1\", \"device\": \"stream\"}", "no such device"),
        ("{\"station\": \"output\", \"device\": \"machine\"}", "no station"),
        ("{\"station\": \"chip-1\", \"device\": \"laser\"}", "laser"),
        ("{\"station\": \"chip-1\"}", "device"),
        ("{}x", "hello"),
        ("", "hello"),
    ];
    for (hello, said) in cases {
        let (mut link, answer) = MachineLink::dial(&socket, hello);
        assert!(answer["error"].as_str().unwrap().contains(said), "{hello}: {answer}");
        assert!(link.is_closed());
    }
    let (mut link, answer) = MachineLink::dial(&socket, &" ".repeat(5000));
    assert!(answer["error"].as_str().unwrap().contains("too long"));
    drop(link.take(0));
    // A malformed request ends that reader's connection and nothing else.
    let mut reader = MachineLink::open(&socket, "chip-1", "reader");
    for bad in [&[9, 0, 0, 0, 0][..], &[1, 0, 0, 0, 1, 7], &[2, 0, 1, 0, 9]] {
        reader.0.write_all(bad).unwrap();
        assert!(reader.is_closed());
        reader = MachineLink::open(&socket, "chip-1", "reader");
    }
    assert_eq!(reader.exchange(1, &[0, 3]), (0xFF, vec![1]));
    assert!(server.stop());
    assert!(!socket.exists());
}

/// At speed 10 a feed of 0.3 s takes 0.03 s, and eight stations feed at the same time.
#[test]
fn stations_work_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let _server = LineServer::start(world("", 1.0, dir.path()), &socket).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for n in 1..=8 {
            let socket = &socket;
            scope.spawn(move || {
                let mut feeder = MachineLink::open(socket, &format!("chip-{n}"), "transport");
                assert_eq!(feeder.command(b"F"), '0');
            });
        }
    });
    let took = start.elapsed().as_secs_f64();
    assert!((0.3..1.2).contains(&took), "{took}"); // one after the other would be 2.4 s
}

/// Starts the program on a directory; returns its socket.
fn program(dir: &Path, more: &[&str]) -> (Child, std::path::PathBuf) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hwsim"))
        .args(["serve", "--line", "sim-8", "--speed", "0", "--seed", "5", "--dump"])
        .arg(dir)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let socket = line.trim_end().strip_prefix("hwsim SIMULATED listening on ").expect("ready line").into();
    (child, socket)
}

fn fates(dump: &Path) -> BTreeMap<u64, String> {
    let mut fates = BTreeMap::new();
    for entry in std::fs::read_dir(dump).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            let object: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            fates.insert(object["n"].as_u64().unwrap(), object["fate"].as_str().unwrap().to_owned());
        }
    }
    fates
}

#[test]
fn sigterm_leaves_the_cards_in_the_line() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, socket) = program(dir.path(), &[]);
        let mut one = MachineLink::open(&socket, "chip-1", "transport");
        let mut two = MachineLink::open(&socket, "chip-2", "transport");
        assert_eq!([one.command(b"F"), two.command(b"F"), one.command(b"R"), one.command(b"F")], ['0'; 4]);
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        assert!(child.wait().unwrap().success());
        let expected = BTreeMap::from([(1, "rejected".into()), (2, "left".into()), (3, "left".into())]);
        assert_eq!(fates(dir.path()), expected);
        assert!(!socket.exists() && !socket.parent().unwrap().exists());
    }
}

#[test]
fn the_end_of_standard_input_ends_it_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, socket) = program(dir.path(), &["--until-stdin-closes"]);
    let mut one = MachineLink::open(&socket, "chip-1", "transport");
    assert_eq!(one.command(b"F"), '0');
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(fates(dir.path()), BTreeMap::from([(1, "left".into())]));

    // Without the option it goes on.
    let dir = tempfile::tempdir().unwrap();
    let (mut child, socket) = program(dir.path(), &[]);
    drop(child.stdin.take());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(MachineLink::open(&socket, "chip-1", "transport").command(b"F"), '0');
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_program_refuses_bad_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    let faults = dir.path().join("f.toml");
    std::fs::write(&taken, "").unwrap();
    std::fs::write(&faults, "[[fault]]\nkind = \"mute\"").unwrap();
    let (taken, faults) = (taken.to_str().unwrap(), faults.to_str().unwrap());
    let cases: &[(&[&str], &str)] = &[
        (&["--line", "nowhere"], "no shipped line"),
        (&["--line", "nowhere.toml"], "nowhere.toml"),
        (&["--line", "sim-8", "--speed=-1"], "--speed"),
        (&["--line", "sim-8", "--speed", "nan"], "--speed"),
        (&["--line", "sim-8", "--socket", taken], "exists"),
        (&["--line", "sim-8", "--faults", faults], "exactly one of every"),
    ];
    for (arguments, said) in cases {
        let out = Command::new(env!("CARGO_BIN_EXE_hwsim")).arg("serve").args(*arguments).output().unwrap();
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && error.contains(said), "{arguments:?}: {error}");
        assert!(out.stdout.is_empty());
    }
}
