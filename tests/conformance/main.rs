//! The conformance suite over every driver of the registry on simulated machines, over a simulated reader, and over real
//! machines that lie on the bench.
//!
//! The real ones stand in a TOML file that the variable CARDWRIGHT_DEVICES names; without it the test says that none are
//! listed.
//!
//! ```toml
//! [[device]]
//! name = "encoder on the bench"     # for people
//! driver = "msr605"                 # a name of drivers::registry
//! serial = "/dev/ttyUSB0"
//! baud = 9600                       # optional: the driver's own
//! spoil = "hico"                    # optional: a card of this coercivity lies in it and may be spoilt
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use drivers::conformance::{self, Card, Chip, Finding, ReaderSuite};
use drivers::link::{Link, Protocols};
use drivers::registry::{BoxLink, DRIVERS, Driver, Wire};
use drivers::serial::SerialLink;
use drivers::sim::{Device, SimLink, SimReader};
use drivers::stripe::{Coercivity, Recording};
use drivers::transport::Transport;
use hwsim::faults::Faults;
use hwsim::server::Server;
use hwsim::witness::Witness;
use hwsim::world::World;
use serde::Deserialize;

const SIM_8: &str = include_str!("../../profiles/lines/sim-8.toml");

/// Its plastic: `coercivity` of [`SIM_8`].
const PLASTIC: Card =
    Card::Spoil(Recording { coercivity: Coercivity::Hi, leading_zeros: None, density: None });

/// A simulated line without waiting.
struct Simulated {
    server: Server,
    _directory: tempfile::TempDir,
}

/// Shipped line sim-8 with this change.
fn line(from: &str, to: &str) -> Simulated {
    assert!(SIM_8.contains(from), "{from}");
    let line = hwsim::profile::Line::from_toml(&SIM_8.replacen(from, to, 1)).unwrap();
    let faults = Faults::from_toml("", 1).unwrap();
    let world = World::new(line, 1, faults, 0.0, Witness::open(None).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(world, &directory.path().join("hwsim.sock")).unwrap();
    Simulated { server, _directory: directory }
}

impl Simulated {
    fn link(&self, station: &str, device: Device) -> BoxLink {
        Box::new(SimLink::connect(self.server.path(), station, device).unwrap())
    }

    fn feed(&self, station: &str) {
        Transport::new(self.link(station, Device::Transport)).feed().unwrap();
    }
}

/// Each finding is good.
fn hold(what: &str, findings: &[Finding]) {
    assert!(!findings.is_empty(), "{what}: nothing was checked");
    let wrong = findings.iter().filter_map(|f| f.outcome.as_ref().err().map(|why| (f.check, why)));
    let wrong: Vec<String> = wrong.map(|(check, why)| format!("{check}: {why}")).collect();
    assert!(wrong.is_empty(), "{what}: {} of {}\n{}", wrong.len(), findings.len(), wrong.join("\n"));
}

fn driver(name: &str) -> &'static Driver {
    DRIVERS.iter().find(|driver| driver.name == name).unwrap()
}

/// A driver against its machine in `hwsim`, first without a card and then with one.
fn simulated(name: &str) {
    let driver = driver(name);
    let kind = format!("kind = \"{}\"", driver.family());
    let line = line(&kind, &format!("{kind}\ndriver = \"{name}\""));
    let station = format!("{}-1", driver.family());
    let device = |wire| match wire {
        Wire::Serial => Device::Machine,
        Wire::Stream => Device::Stream,
    };
    let open = |wire| SimLink::connect(line.server.path(), &station, device(wire));
    let mut machine = driver.open(|wire| open(wire).map(|link| Box::new(link) as Box<dyn Link>)).unwrap();
    hold(name, &conformance::machine(driver, &mut machine, Card::None));
    line.feed(&station);
    hold(name, &conformance::machine(driver, &mut machine, PLASTIC));
}

/// A new driver gets its test here.
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
    let line = line("name", "name");
    let mut reader = SimReader::connect(line.server.path(), "chip-1").unwrap();
    let timeout = Duration::from_secs(5);
    hold("reader", &conformance::reader(&mut reader, &ReaderSuite { timeout, card: None }));
    line.feed("chip-1");
    // The payment application. The simulated card takes extended length in STORE DATA alone.
    let aid = b"\xA0\x00\x00\x00\x03\x10\x10";
    let card = Some(Chip { protocols: Protocols::ANY, aid, extended: false });
    hold("reader", &conformance::reader(&mut reader, &ReaderSuite { timeout, card }));
}

/// The file that CARDWRIGHT_DEVICES names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bench {
    device: Vec<Listed>,
}

/// A real machine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    driver: String,
    serial: String,
    baud: Option<u32>,
    spoil: Option<Plastic>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Plastic {
    Hico,
    Loco,
}

#[test]
fn machines_on_the_bench() {
    let Some(path) = std::env::var_os("CARDWRIGHT_DEVICES") else {
        println!("no real machines are listed: CARDWRIGHT_DEVICES names no file");
        return;
    };
    let bench: Bench = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for listed in bench.device {
        let driver = driver(&listed.driver);
        let opened = driver.open(|wire| match wire {
            Wire::Serial => SerialLink::open(&listed.serial, listed.baud.unwrap_or(driver.baud))
                .map(|link| Box::new(link) as BoxLink)
                .map_err(|error| error.to_string()),
            Wire::Stream => Err(format!("{}: this test opens serial links only", listed.name)),
        });
        let card = listed.spoil.map_or(Card::None, |plastic| {
            Card::Spoil(Recording::on(match plastic {
                Plastic::Hico => Coercivity::Hi,
                Plastic::Loco => Coercivity::Lo,
            }))
        });
        hold(&listed.name, &conformance::machine(driver, &mut opened.unwrap(), card));
    }
}
