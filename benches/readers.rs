//! Cost of a station host: sessions of short commands through it compared with the bare `pcsc` crate, on one
//! reader and on sixteen of a real pcscd, whose cards answer at once.
//!
//! ```text
//! cargo bench --bench readers            medians of alternating rounds, and their ratio
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench that cannot measure stops, and its figures are small"
)]

#[path = "../tests/pcscd_support/mod.rs"]
mod pcscd_support;

use std::ffi::CString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use drivers::host::{HostReader, HostSpec, HostedDevice};
use drivers::link::{CardLink, CommandStep, Protocols, Reset, SessionLimits};
use pcscd_support::card::{ATR_T1, Card};
use pcscd_support::scene::{READERS_MAX, Scene};

/// Commands of a session.
const SESSION: usize = 40;
/// Sessions of a round.
const SESSIONS: usize = 5;
/// Rounds of each way; they alternate.
const ROUNDS: usize = 100;
const LONG: Duration = Duration::from_secs(30);
/// STORE DATA with 32 bytes.
const DATA: u8 = 32;

fn command() -> Vec<u8> {
    [&[0x84, 0xE2, 0x00, 0x00, DATA][..], &[0x5A; DATA as usize]].concat()
}

/// The bare loop, in its own process like a host; it does a round for each line that it reads.
struct Bare {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Bare {
    fn start(scene: &Scene, n: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["bare", &scene.name(n), &(n % 2).to_string()])
            .env("PCSCLITE_CSOCK_NAME", scene.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    /// Runs a round and returns its time.
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

/// Work of the process with the bare loop.
fn bare(name: &str, slot: &str) {
    let context = pcsc::Context::establish(pcsc::Scope::System).unwrap();
    let names = context.list_readers_owned().unwrap();
    let ours = |reader: &CString| {
        let reader = reader.to_str().unwrap();
        reader.starts_with(&format!("{name} ")) && reader.ends_with(&format!(" 0{slot}"))
    };
    let reader = names.into_iter().find(ours).unwrap();
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

/// Runs a round through the host and returns its time.
fn hosted(reader: &mut HostReader) -> Duration {
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    let command = command();
    let steps = [CommandStep { command: &command, go_on: &[] }; SESSION];
    let limits = SessionLimits { each: LONG, all: LONG };
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
    if let [_, role, name, slot] = &std::env::args().collect::<Vec<_>>()[..]
        && role == "bare"
    {
        return bare(name, slot);
    }
    for (readers, rounds) in [(1, ROUNDS), (READERS_MAX, ROUNDS / 5)] {
        compared(readers, rounds);
    }
}

/// Runs this many readers in parallel, each way in turn.
fn compared(readers: usize, rounds: usize) {
    let scene = Scene::start(readers);
    let card = |n| Card::new(ATR_T1, |_| vec![0x90, 0x00].into()).insert(&scene, n);
    let _cards: Vec<_> = (0..readers).map(card).collect();
    let mut bare: Vec<_> = (0..readers).map(|n| Bare::start(&scene, n)).collect();
    let mut hosts: Vec<_> = (0..readers)
        .map(|n| {
            HostReader::new(HostSpec {
                program: env!("CARGO_BIN_EXE_cardwright").into(),
                arguments: vec!["station-host".into()],
                pcscd: Some(scene.socket()),
                device: HostedDevice::Reader(scene.reader(n, Duration::from_secs(3))),
            })
        })
        .collect();
    let (mut alone, mut through, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let hosted = slowest(&mut hosts, hosted);
        let bare = slowest(&mut bare, Bare::round);
        // The first round warms up.
        if round > 0 {
            through.push(hosted);
            alone.push(bare);
            ratios.push(bare.as_secs_f64() / hosted.as_secs_f64());
        }
    }
    ratios.sort_by(f64::total_cmp);
    let rate = |time: Duration| (readers * SESSION * SESSIONS) as f64 / time.as_secs_f64();
    let (alone, through) = (rate(median(&mut alone)), rate(median(&mut through)));
    println!("{readers:>2} readers: bare pcsc       {alone:>8.0} APDU/s");
    let ratio = ratios[rounds / 2];
    println!(
        "{readers:>2} readers: station host    {through:>8.0} APDU/s    {ratio:.3} of it (median of rounds) [0.9]"
    );
}

/// Runs a round on all readers in parallel and returns the time of the slowest.
fn slowest<T: Send>(all: &mut [T], round: fn(&mut T) -> Duration) -> Duration {
    std::thread::scope(|scope| {
        let rounds: Vec<_> = all.iter_mut().map(|one| scope.spawn(move || round(one))).collect();
        rounds.into_iter().map(|round| round.join().unwrap()).max().unwrap()
    })
}
