//! The machines' ends of the links: what stands behind each connection, byte by byte as `drivers::wire` says.
//!
//! A connection is a power cycle: settings and buffers of a machine begin empty with it. What a machine does to a card
//! stays with the card.

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

use link::Link;

use crate::profile::Kind;
use crate::world::{Station, World};

/// Driver of a stripe module whose encoder is no MSR605.
const MSE630: &str = "mse630";

/// Serves the machine of a station until the link ends, or the machine closes it; nothing at a station without one.
pub fn machine<L: Link>(link: &L, world: &World, station: Option<&Station>) -> io::Result<()> {
    let Some(station) = station else { return Ok(()) };
    let instant = world.speed == 0.0;
    match station.kind {
        Kind::Stripe if station.driver.as_deref() == Some(MSE630) => mse630::serve(link, world, station),
        Kind::Stripe => msr605::serve(link, world, station),
        Kind::Printer => {
            frame::serve(link, &mut printer::Printer::new(world, station), instant, frame::QUIET)
        }
        Kind::Embosser => {
            frame::serve(link, &mut embosser::Embosser::new(world, station), instant, frame::QUIET)
        }
        Kind::Chip | Kind::Fulfilment => Ok(()),
    }
}

/// Serves the card transport of a station.
pub fn transport<L: Link>(link: &L, world: &World, station: Option<&Station>) -> io::Result<()> {
    let Some(station) = station else { return Ok(()) };
    let mut machine = transport::AtStation::new(world, station);
    frame::serve(link, &mut machine, world.speed == 0.0, frame::QUIET)
}

/// Serves the transport of the output.
pub fn output<L: Link>(link: &L, world: &World) -> io::Result<()> {
    frame::serve(link, &mut transport::AtOutput::new(world), world.speed == 0.0, frame::QUIET)
}
