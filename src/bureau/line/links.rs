//! The links of a station: to `hwsim` on a simulated line, to station hosts with readers and serial ports on
//! a real one. Part of the composition root.
//!
//! Not here: which driver works over a link (`stations`).

use std::path::PathBuf;
use std::time::Duration;

use drivers::host::{HostLink, HostReader, HostSpec, HostedDevice};
use drivers::link::{ByteLink, CardLink, LinkError};
use drivers::pcsc::{ReaderSelector, ReaderSpec};
use drivers::registry::{Capability, Driver};
use drivers::sim::{SimDevice, SimLink, SimReader};

use crate::exit::{Exit, Failure};
use crate::modules::LineProfile;
use crate::profile::line;

/// Time for a station host to start and open its device. A serial port takes milliseconds; a reader that
/// wakes up takes a second.
const OPEN_TIME: Duration = Duration::from_secs(5);
/// How long a power-on waits for a card that was just moved into the reader, in milliseconds: pcscd looks for
/// changes every 0.4 s, and must first notice that the last card has gone. The chip module gives a power-on
/// more time than this.
const CARD_WAIT_MS: u16 = 2_500;
/// Bits per second of a transport's serial link.
const TRANSPORT_BAUD: u32 = 115_200;

/// Opens links by the name of their station.
pub trait Links: Sync {
    /// Opens the link to the chip reader.
    fn reader(&self, station: &str) -> Result<Box<dyn CardLink>, Failure>;
    /// Opens the link to the machine, at its driver's bits per second unless the profile says otherwise.
    fn machine(&self, station: &str, baud: u32) -> Result<Box<dyn ByteLink>, Failure>;
    /// Opens the printer's link for images.
    fn stream(&self, station: &str) -> Result<Box<dyn ByteLink>, Failure>;
    /// Opens the link to the card transport.
    fn transport(&self, station: &str) -> Result<Box<dyn ByteLink>, Failure>;
    /// The serial number that the machine of the station must have.
    fn number(&self, station: &str, driver: &Driver) -> MachineNumber;
}

/// The serial number that a station expects of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineNumber {
    /// This number.
    Is(String),
    /// No number is needed, because the simulator puts the machine at its station.
    Needless,
    /// The line profile gives none.
    Unknown,
}

/// Links to `hwsim`.
pub struct Simulated {
    /// Socket where `hwsim` listens.
    pub socket: PathBuf,
}

impl Simulated {
    fn link(&self, station: &str, device: SimDevice) -> Result<Box<dyn ByteLink>, Failure> {
        Ok(Box::new(SimLink::connect(&self.socket, station, device).map_err(|e| refused(station, &e))?))
    }
}

impl Links for Simulated {
    fn reader(&self, station: &str) -> Result<Box<dyn CardLink>, Failure> {
        Ok(Box::new(SimReader::connect(&self.socket, station).map_err(|e| refused(station, &e))?))
    }

    fn machine(&self, station: &str, _: u32) -> Result<Box<dyn ByteLink>, Failure> {
        self.link(station, SimDevice::Machine)
    }

    fn stream(&self, station: &str) -> Result<Box<dyn ByteLink>, Failure> {
        self.link(station, SimDevice::Stream)
    }

    fn transport(&self, station: &str) -> Result<Box<dyn ByteLink>, Failure> {
        self.link(station, SimDevice::Transport)
    }

    fn number(&self, station: &str, driver: &Driver) -> MachineNumber {
        match driver.can(Capability::Number) {
            true => MachineNumber::Is(format!("SIM-{station}")),
            false => MachineNumber::Needless,
        }
    }
}

/// Links to real devices, each in its own station host.
pub struct Real<'a> {
    line: &'a LineProfile,
    program: PathBuf,
}

impl<'a> Real<'a> {
    /// Links of a line whose profile names the device of each link.
    pub fn new(line: &'a LineProfile) -> Result<Self, Failure> {
        Ok(Self { line, program: crate::hsm::key_host::own_program()? })
    }

    fn given(&self, station: &str) -> Result<&line::StationLink, Failure> {
        self.line.link.get(station).ok_or_else(|| lacks(station, "entry"))
    }

    fn spec(&self, device: HostedDevice) -> HostSpec {
        HostSpec {
            program: self.program.clone(),
            arguments: vec!["station-host".into()],
            pcscd: None,
            device,
        }
    }

    fn link(&self, station: &str, device: HostedDevice) -> Result<Box<dyn ByteLink>, Failure> {
        let mut link = HostLink::new(self.spec(device));
        link.reopen(OPEN_TIME).map_err(|e: LinkError| refused(station, &e))?;
        Ok(Box::new(link))
    }

    fn serial(&self, station: &str, path: Option<&String>, baud: u32) -> Result<Box<dyn ByteLink>, Failure> {
        let path = path.ok_or_else(|| lacks(station, "serial device"))?.clone();
        self.link(station, HostedDevice::Serial { path, baud })
    }
}

impl Links for Real<'_> {
    fn reader(&self, station: &str) -> Result<Box<dyn CardLink>, Failure> {
        let given = self.given(station)?;
        let by = match (&given.reader, &given.usb) {
            (Some(name), _) => ReaderSelector::Name(name.clone()),
            (None, Some(path)) => ReaderSelector::Usb(path.clone()),
            (None, None) => return Err(lacks(station, "reader")),
        };
        let reader = ReaderSpec { by, slot: given.slot, wait_ms: CARD_WAIT_MS };
        let pcscd = given.pcscd.as_ref().map(PathBuf::from);
        let mut reader = HostReader::new(HostSpec { pcscd, ..self.spec(HostedDevice::Reader(reader)) });
        reader.reopen(OPEN_TIME).map_err(|e| refused(station, &e))?;
        Ok(Box::new(reader))
    }

    fn machine(&self, station: &str, baud: u32) -> Result<Box<dyn ByteLink>, Failure> {
        let given = self.given(station)?;
        self.serial(station, given.serial.as_ref(), given.baud.unwrap_or(baud))
    }

    fn stream(&self, station: &str) -> Result<Box<dyn ByteLink>, Failure> {
        let address = self.given(station)?.stream.clone().ok_or_else(|| lacks(station, "stream"))?;
        let whole = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !whole {
            let what = format!("link.{station}.stream: {address:?} is no address; write HOST:PORT");
            return Err(Failure::new(Exit::Profile, what));
        }
        self.link(station, HostedDevice::Tcp { address })
    }

    fn transport(&self, station: &str) -> Result<Box<dyn ByteLink>, Failure> {
        self.serial(station, self.given(station)?.transport.as_ref(), TRANSPORT_BAUD)
    }

    fn number(&self, station: &str, _: &Driver) -> MachineNumber {
        let number = self.line.link.get(station).and_then(|link| link.number.clone());
        number.map_or(MachineNumber::Unknown, MachineNumber::Is)
    }
}

fn lacks(station: &str, what: &str) -> Failure {
    Failure::new(Exit::Profile, format!("profile: link.{station} has no {what}: add it to the line profile"))
}

fn refused(station: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Device,
        format!(
            "device: station {station} cannot be reached: {error}; check power and cable, and its [link] in the line profile"
        ),
    )
}
