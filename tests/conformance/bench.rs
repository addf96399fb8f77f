//! Real machines and readers on the bench, each in a station host.
//!
//! A TOML file lists them; the variable CARDWRIGHT_DEVICES names the file. Without it the test reports that
//! no devices are listed and passes.
//!
//! ```toml
//! [[device]]
//! name = "printer on the bench"     # for people
//! driver = "card-printer"           # a name of drivers::registry
//! serial = "/dev/ttyUSB0"
//! baud = 9600                       # optional: the driver's own
//! stream = "printer.local:9100"     # printers: host:port for the images
//! spoil = "hico"                    # optional: a card of this coercivity lies in it and may be spoilt
//!
//! [[reader]]
//! name = "reader on the bench"      # for people
//! by = { usb = "1-4.2" }            # or { name = "..." }, without the two numbers of pcscd
//! slot = 0                          # optional: 0
//! pcscd = "/run/pcscd/pcscd.comm"   # optional: the system's
//! aid = "A0000000031010"            # optional: an application of the card in it, which is not changed
//! extended = true                   # optional: false; the card takes commands of extended length
//! ```

use std::path::PathBuf;

use drivers::conformance::{self, CardUnderTest, ChipUnderTest, ReaderSuite};
use drivers::host::{HostReader, HostedDevice};
use drivers::link::Protocols;
use drivers::pcsc::{ReaderSelector, ReaderSpec};
use drivers::registry::LinkRole;
use drivers::stripe::{Recording, WriteCoercivity};
use serde::Deserialize;

use crate::{LONG, driver, hold, hosted, link};

/// The file that CARDWRIGHT_DEVICES names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bench {
    #[serde(default)]
    device: Vec<Machine>,
    #[serde(default)]
    reader: Vec<Reader>,
}

/// A real machine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    name: String,
    driver: String,
    serial: String,
    baud: Option<u32>,
    stream: Option<String>,
    spoil: Option<Plastic>,
}

/// A real reader.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reader {
    name: String,
    by: ReaderSelector,
    #[serde(default)]
    slot: u8,
    pcscd: Option<PathBuf>,
    aid: Option<String>,
    #[serde(default)]
    extended: bool,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Plastic {
    Hico,
    Loco,
}

impl Machine {
    fn hold(&self) {
        let driver = driver(&self.driver);
        let opened = driver.open(|wire| {
            let device = match wire {
                LinkRole::Serial => {
                    HostedDevice::Serial { path: self.serial.clone(), baud: self.baud.unwrap_or(driver.baud) }
                }
                LinkRole::Stream => {
                    let none = || format!("{}: its driver needs a stream", self.name);
                    HostedDevice::Tcp { address: self.stream.clone().ok_or_else(none)? }
                }
            };
            link(device).map_err(|error| format!("{}: {error}", self.name))
        });
        let card = self.spoil.map_or(CardUnderTest::None, |plastic| {
            CardUnderTest::Spoil(Recording::on(match plastic {
                Plastic::Hico => WriteCoercivity::Hi,
                Plastic::Loco => WriteCoercivity::Lo,
            }))
        });
        hold(&self.name, &conformance::machine(driver, &mut opened.unwrap(), card));
    }
}

impl Reader {
    fn hold(&self) {
        let spec = ReaderSpec { by: self.by.clone(), slot: self.slot, wait_ms: 0 };
        let mut reader = HostReader::new(hosted(HostedDevice::Reader(spec), self.pcscd.clone()));
        let aid = self.aid.as_deref().map(|aid| hex::decode(aid).unwrap());
        let card = aid.as_deref().map(|aid| ChipUnderTest {
            protocols: Protocols::ANY,
            aid,
            extended: self.extended,
        });
        hold(&self.name, &conformance::reader(&mut reader, &ReaderSuite { timeout: LONG, card }));
    }
}

#[test]
fn machines_on_the_bench() {
    let Some(path) = std::env::var_os("CARDWRIGHT_DEVICES") else {
        println!("no real machines are listed: CARDWRIGHT_DEVICES names no file");
        return;
    };
    let bench: Bench = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    bench.device.iter().for_each(Machine::hold);
    bench.reader.iter().for_each(Reader::hold);
}

/// The example file in this module's comment.
#[test]
fn the_example_of_the_file_is_right() {
    let lines = include_str!("bench.rs").lines().map_while(|line| line.strip_prefix("//!"));
    let toml = lines.skip_while(|line| *line != " ```toml").skip(1).take_while(|line| *line != " ```");
    let bench: Bench = toml::from_str(&toml.collect::<Vec<_>>().join("\n")).unwrap();
    let (machine, reader) = (&bench.device[0], &bench.reader[0]);
    assert_eq!(driver(&machine.driver).wires().contains(&LinkRole::Stream), machine.stream.is_some());
    assert!(hex::decode(reader.aid.as_ref().unwrap()).is_ok() && matches!(reader.by, ReaderSelector::Usb(_)));
}
