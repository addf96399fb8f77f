//! The machines' ends of the links: the device at each connection, byte by byte as `drivers::wire` specifies.
//!
//! A connection is a power cycle: settings and buffers of a machine start empty with it. Work on a card stays
//! with the card.

pub mod embosser;
pub mod frame;
mod head;
pub mod link;
pub mod mse630;
pub mod msr605;
pub mod printer;
pub mod pty;
pub mod reader;
pub mod transport;
pub mod vpcd;

use std::io;

use link::MachineLink;

use crate::profile::MachineKind;
use crate::world::{SimulatedLine, SimulatedStation};

/// Driver name of a stripe module whose encoder is no MSR605.
const MSE630: &str = "mse630";

/// Serves the machine of a station until the link ends, or the machine closes it; does nothing at a station
/// without one.
pub fn machine<L: MachineLink>(
    link: &L,
    world: &SimulatedLine,
    station: Option<&SimulatedStation>,
) -> io::Result<()> {
    let Some(station) = station else { return Ok(()) };
    let instant = world.speed == 0.0;
    match station.kind {
        MachineKind::Stripe if station.driver.as_deref() == Some(MSE630) => {
            mse630::serve(link, world, station)
        }
        MachineKind::Stripe => msr605::serve(link, world, station),
        MachineKind::Printer => {
            frame::serve(link, &mut printer::SimulatedPrinter::new(world, station), instant, frame::QUIET)
        }
        MachineKind::Embosser => {
            frame::serve(link, &mut embosser::SimulatedEmbosser::new(world, station), instant, frame::QUIET)
        }
        MachineKind::Chip | MachineKind::Fulfilment => Ok(()),
    }
}

/// Serves the card transport of a station.
pub fn transport<L: MachineLink>(
    link: &L,
    world: &SimulatedLine,
    station: Option<&SimulatedStation>,
) -> io::Result<()> {
    let Some(station) = station else { return Ok(()) };
    let mut machine = transport::StationTransport::new(world, station);
    frame::serve(link, &mut machine, world.speed == 0.0, frame::QUIET)
}

/// Serves the transport of the output.
pub fn output<L: MachineLink>(link: &L, world: &SimulatedLine) -> io::Result<()> {
    frame::serve(link, &mut transport::OutputTransport::new(world), world.speed == 0.0, frame::QUIET)
}
