//! The conformance suite, run over every driver of the registry and over readers, with several kinds of other
//! end.
//!
//! | file | other end of the link |
//! |---|---|
//! | here | `hwsim` in this process, over its socket |
//! | `ports` | `hwsim` on pseudo-terminals and TCP, each link in a station host |
//! | `readers` | `hwsim card` in a virtual reader of a real pcscd, in a station host |
//! | `bench` | real machines and readers, which a file lists |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bench;
#[path = "../pcscd_support/mod.rs"]
mod pcscd_support;
mod ports;
mod readers;

use std::path::PathBuf;
use std::time::Duration;

use drivers::conformance::{self, CardUnderTest, ChipUnderTest, ConformanceFinding, ReaderSuite};
use drivers::host::{HostLink, HostSpec, HostedDevice};
use drivers::link::{ByteLink, LinkError, Protocols};
use drivers::registry::{BoxLink, DRIVERS, Driver, LinkRole};
use drivers::sim::{SimDevice, SimLink, SimReader};
use drivers::stripe::{Recording, WriteCoercivity};
use drivers::transport::Transport;
use hwsim::faults::FaultPlan;
use hwsim::server::LineServer;
use hwsim::witness::LineWitness;
use hwsim::world::SimulatedLine;

const SIM_8: &str = include_str!("../../profiles/lines/sim-8.toml");

/// The simulated card: its stripe has the `coercivity` of [`SIM_8`].
const PLASTIC: CardUnderTest =
    CardUnderTest::Spoil(Recording { coercivity: WriteCoercivity::Hi, leading_zeros: None, density: None });

/// An application of every simulated card.
const PAYMENT: &[u8] = b"\xA0\x00\x00\x00\x03\x10\x10";

/// Longer than any exchange takes on a loaded machine.
const LONG: Duration = Duration::from_secs(20);

/// A simulated line without waiting.
struct Simulated {
    server: LineServer,
    _directory: tempfile::TempDir,
}

/// The shipped line sim-8 with these changes.
fn line(changes: &[(&str, &str)]) -> Simulated {
    let text = changes.iter().fold(SIM_8.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let line = hwsim::profile::SimLineProfile::from_toml(&text).unwrap();
    let faults = FaultPlan::from_toml("", 1).unwrap();
    let world = SimulatedLine::new(line, 1, faults, 0.0, LineWitness::open(None).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start(world, &directory.path().join("hwsim.sock")).unwrap();
    Simulated { server, _directory: directory }
}

impl Simulated {
    fn link(&self, station: &str, device: SimDevice) -> BoxLink {
        Box::new(SimLink::connect(self.server.path(), station, device).unwrap())
    }

    fn feed(&self, station: &str) {
        Transport::new(self.link(station, SimDevice::Transport)).feed().unwrap();
    }
}

/// Fails unless every finding is good.
fn hold(what: &str, findings: &[ConformanceFinding]) {
    assert!(!findings.is_empty(), "{what}: nothing was checked");
    let wrong = findings.iter().filter_map(|f| f.outcome.as_ref().err().map(|why| (f.check, why)));
    let wrong: Vec<String> = wrong.map(|(check, why)| format!("{check}: {why}")).collect();
    assert!(wrong.is_empty(), "{what}: {} of {}\n{}", wrong.len(), findings.len(), wrong.join("\n"));
}

fn driver(name: &str) -> &'static Driver {
    DRIVERS.iter().find(|driver| driver.name == name).unwrap()
}

/// Puts a device into the real station host program, as the controller would.
fn hosted(device: HostedDevice, pcscd: Option<PathBuf>) -> HostSpec {
    let program = env!("CARGO_BIN_EXE_cardwright").into();
    HostSpec { program, arguments: vec!["station-host".into()], pcscd, device }
}

/// Opens a byte link to a device.
fn link(device: HostedDevice) -> Result<BoxLink, LinkError> {
    let mut link = HostLink::new(hosted(device, None));
    link.reopen(LONG)?;
    Ok(Box::new(link))
}

/// Runs a driver against its machine in `hwsim`, first without a card and then with one.
fn simulated(name: &str) {
    let driver = driver(name);
    let kind = format!("kind = \"{}\"", driver.family());
    let line = line(&[(&kind, &format!("{kind}\ndriver = \"{name}\""))]);
    let station = format!("{}-1", driver.family());
    let device = |wire| match wire {
        LinkRole::Serial => SimDevice::Machine,
        LinkRole::Stream => SimDevice::Stream,
    };
    let open = |wire| SimLink::connect(line.server.path(), &station, device(wire));
    let mut machine = driver.open(|wire| open(wire).map(|link| Box::new(link) as Box<dyn ByteLink>)).unwrap();
    hold(name, &conformance::machine(driver, &mut machine, CardUnderTest::None));
    line.feed(&station);
    hold(name, &conformance::machine(driver, &mut machine, PLASTIC));
}

/// Fails until a new driver gets its test here.
#[test]
fn every_driver_of_the_registry_is_tested() {
    let names: Vec<&str> = DRIVERS.iter().map(|driver| driver.name).collect();
    assert_eq!(names, ["msr605", "mse630", "card-printer", "embosser"]);
}

#[test]
fn msr605() {
    simulated("msr605");
}

#[test]
fn mse630() {
    simulated("mse630");
}

#[test]
fn card_printer() {
    simulated("card-printer");
}

#[test]
fn embosser() {
    simulated("embosser");
}

#[test]
fn reader() {
    let line = line(&[]);
    let mut reader = SimReader::connect(line.server.path(), "chip-1").unwrap();
    hold("reader", &conformance::reader(&mut reader, &ReaderSuite { timeout: LONG, card: None }));
    line.feed("chip-1");
    let card = Some(ChipUnderTest { protocols: Protocols::ANY, aid: PAYMENT, extended: true });
    hold("reader", &conformance::reader(&mut reader, &ReaderSuite { timeout: LONG, card }));
}
