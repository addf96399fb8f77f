//! What a station host costs: a session of short commands through it against the bare `pcsc` crate, on one reader of a
//! real pcscd whose card answers at once.
//!
//! ```text
//! cargo bench --bench readers            medians of alternating rounds, and their ratio
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/pcscd_support/mod.rs"]
mod pcscd_support;

use std::ffi::CString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use drivers::host::{Device, HostReader, HostSpec};
use drivers::link::{CardLink, Limits, Protocols, Reset, Step};
use pcscd_support::card::{ATR_T1, Card};
use pcscd_support::scene::Scene;

/// Commands of a session.
const SESSION: usize = 40;
/// Sessions of a round.
const SESSIONS: usize = 5;
/// Rounds of each way, alternating.
const ROUNDS: usize = 100;
const LONG: Duration = Duration::from_secs(30);
/// STORE DATA with 32 bytes.
const DATA: u8 = 32;

fn command() -> Vec<u8> {
    [&[0x84, 0xE2, 0x00, 0x00, DATA][..], &[0x5A; DATA as usize]].concat()
}

/// The bare loop, in a process of its own as a host is, which does a round for each line that it reads.
struct Bare {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Bare {
    fn start(scene: &Scene) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["bare", &scene.name(0)])
            .env("PCSCLITE_CSOCK_NAME", scene.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    /// Time of a round.
    fn round(&mut self) -> Duration {
        writeln!(self.input, "round").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        Duration::from_nanos(line.trim().parse().unwrap())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What that process does.
fn bare(name: &str) {
    let context = pcsc::Context::establish(pcsc::Scope::System).unwrap();
    let reader = CString::new(format!("{name} 00 00")).unwrap();
    let command = command();
    let mut buffer = vec![0; pcsc::MAX_BUFFER_SIZE_EXTENDED];
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        let card = context.connect(&reader, pcsc::ShareMode::Exclusive, pcsc::Protocols::ANY).unwrap();
        let begun = Instant::now();
        for _ in 0..SESSION * SESSIONS {
            assert!(card.transmit(&command, &mut buffer).unwrap() == [0x90, 0x00]);
        }
        let time = begun.elapsed();
        assert!(card.disconnect(pcsc::Disposition::LeaveCard).is_ok());
        println!("{}", time.as_nanos());
    }
}

/// A round through the host.
fn hosted(reader: &mut HostReader) -> Duration {
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    let command = command();
    let steps = [Step { command: &command, go_on: &[] }; SESSION];
    let limits = Limits { each: LONG, all: LONG };
    let begun = Instant::now();
    for _ in 0..SESSIONS {
        let mut responses = Vec::with_capacity(SESSION);
        reader.transmit_all(&steps, limits, &mut responses).unwrap();
        assert_eq!(responses.len(), SESSION);
    }
    let time = begun.elapsed();
    reader.power_off(LONG).unwrap();
    time
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    if let [_, role, name] = &std::env::args().collect::<Vec<_>>()[..]
        && role == "bare"
    {
        return bare(name);
    }
    let scene = Scene::start(1);
    let _card = Card::new(ATR_T1, |_| vec![0x90, 0x00].into()).insert(&scene, 0);
    let mut bare = Bare::start(&scene);
    let mut reader = HostReader::new(HostSpec {
        program: env!("CARGO_BIN_EXE_cardwright").into(),
        arguments: vec!["station-host".into()],
        pcscd: Some(scene.socket()),
        device: Device::Reader(scene.reader(0, Duration::from_secs(3))),
    });
    let (mut alone, mut through) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let times = (hosted(&mut reader), bare.round());
        // The first one warms up.
        if round > 0 {
            through.push(times.0);
            alone.push(times.1);
        }
    }
    let rate = |time: Duration| (SESSION * SESSIONS) as f64 / time.as_secs_f64();
    let (alone, through) = (rate(median(&mut alone)), rate(median(&mut through)));
    println!("bare pcsc       {alone:>8.0} APDU/s");
    println!("station host    {through:>8.0} APDU/s    {:.2} of it", through / alone);
}
