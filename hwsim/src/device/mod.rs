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
use crate::wiring::MovableLink;
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
    let movable = &MovableLink::new(link, world.wiring.linked(&station.name));
    match station.kind {
        MachineKind::Stripe if station.driver.as_deref() == Some(MSE630) => {
            mse630::serve(movable, world, station)
        }
        // It may wait for a card, so it looks itself whether it has moved.
        MachineKind::Stripe => msr605::serve(link, world, station),
        MachineKind::Printer => {
            frame::serve(movable, &mut printer::SimulatedPrinter::new(world, station), instant, frame::QUIET)
        }
        MachineKind::Embosser => frame::serve(
            movable,
            &mut embosser::SimulatedEmbosser::new(world, station),
            instant,
            frame::QUIET,
        ),
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

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};

    use super::*;
    use crate::testing::{LinkClient, feed, link, world};

    /// The number in a machine's answer to 'S'.
    fn number(client: &mut LinkClient<'_>) -> String {
        let (_, answer) = client.command(b'S', b"");
        let answer = String::from_utf8(answer).unwrap();
        answer.split_once("no.").unwrap().1.to_owned()
    }

    #[test]
    fn a_machine_that_changes_its_place_is_cut_and_its_link_then_reaches_the_other_place() {
        for (own, other) in [("embosser-1", "printer-1"), ("printer-1", "embosser-1")] {
            let world = world(&format!("[[exchange]]\nstations = [{own:?}, {other:?}]\nafter = 1\n"));
            let served = |stream: &_| machine(stream, &world, world.device_of(own));
            link(served, |client| {
                assert_eq!(number(client), format!("SIM-{own}"));
                feed(&world, "chip-1");
                // A reset if the machine has not read all when it is cut.
                let read = client.0.read(&mut [0]);
                let cut = read.map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |count| count == 0);
                assert!(cut, "the link of {own} is not cut");
            });
            link(served, |client| assert_eq!(number(client), format!("SIM-{other}")));
        }
    }
}
