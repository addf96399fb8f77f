//! Card transport, one at each station and one at the output (`drivers::wire` section 5).
//!
//! Choices that the wire page leaves open: feeding or taking into a station where a card lies is '5'; into a
//! full hand, a buffer place that holds a card, or a full buffer, '5' too; an unknown station, or data of the
//! wrong length, '3'. 'S' answers '1' where a jammed card lies. While a cover is open, every command is '7'.
//! 'R' at the output takes the hand's card
//! first, then the buffer's in order.

use drivers::wire::status;

use super::frame::{FramedMachine, MachineAnswer};
use crate::faults::DamagedMachine;
use crate::pace::LinkPace;
use crate::profile::OUTPUT;
use crate::sync::lock;
use crate::world::{SimulatedLine, SimulatedStation, TransportMove};

/// Model in the answer to 'S'.
const MODEL: &str = "hwsim transport SIMULATED";

/// The transport of one station.
pub struct StationTransport<'a> {
    world: &'a SimulatedLine,
    station: &'a SimulatedStation,
    pace: LinkPace,
}

impl<'a> StationTransport<'a> {
    /// Makes the transport of this station.
    pub fn new(world: &'a SimulatedLine, station: &'a SimulatedStation) -> Self {
        Self { world, station, pace: LinkPace::new(world.speed) }
    }
}

impl FramedMachine for StationTransport<'_> {
    const COMMANDS: &'static [u8] = b"FTARS";

    fn run(&mut self, command: u8, data: &[u8]) -> Option<MachineAnswer> {
        if let Err(wanted) = self.station.transport_wants.refuses() {
            return Some(MachineAnswer::status(wanted));
        }
        let done = match (command, data) {
            (b'F', []) => self.world.feed(self.station, &mut self.pace),
            (b'T', name) => {
                station_name(name).and_then(|from| self.world.lift_to_station(self.station, from))
            }
            (b'A', []) => self.world.arrive(self.station, &mut self.pace),
            (b'R', []) => self.world.reject(self.station, &mut self.pace),
            (b'S', []) => match self.station.slot().card() {
                Some(card) if lock(card).jammed => Err(status::JAM),
                _ => match self.world.hopper_wants.refuses() {
                    Ok(()) => return Some(standing_at(&self.station.name)),
                    wanted => wanted,
                },
            },
            _ => Err(status::BAD_DATA),
        };
        Some(MachineAnswer::of(done))
    }

    fn damage(&mut self, frame: &mut [u8]) {
        self.world.damage(DamagedMachine::Transport, self.station, frame);
    }
}

/// The transport at the output: hand, buffer and stackers.
pub struct OutputTransport<'a> {
    world: &'a SimulatedLine,
    pace: LinkPace,
}

impl<'a> OutputTransport<'a> {
    /// Makes the output's transport of this line.
    pub fn new(world: &'a SimulatedLine) -> Self {
        Self { world, pace: LinkPace::new(world.speed) }
    }

    fn stack(&mut self, data: &[u8], remake: bool) -> TransportMove {
        let (place, position) = data.split_first_chunk::<2>().ok_or(status::BAD_DATA)?;
        let position: &[u8; 4] = position.try_into().map_err(|_| status::BAD_DATA)?;
        self.world.stack(u16::from_be_bytes(*place), u32::from_be_bytes(*position), remake, &mut self.pace)
    }
}

impl FramedMachine for OutputTransport<'_> {
    const COMMANDS: &'static [u8] = b"TBKMRS";

    fn run(&mut self, command: u8, data: &[u8]) -> Option<MachineAnswer> {
        if let Err(wanted) = self.world.output_wants.refuses() {
            return Some(MachineAnswer::status(wanted));
        }
        let done = match (command, data) {
            (b'T', name) => station_name(name).and_then(|from| self.world.lift_to_hand(from)),
            (b'B', [hi, lo]) => self.world.buffer(u16::from_be_bytes([*hi, *lo]), &mut self.pace),
            (b'K', data) => self.stack(data, false),
            (b'M', data) => self.stack(data, true),
            (b'R', []) => self.world.reject_at_output(&mut self.pace),
            (b'R', [hi, lo]) => self.world.discard(u16::from_be_bytes([*hi, *lo]), &mut self.pace),
            (b'S', []) => match self.world.stacker_wants.refuses() {
                Ok(()) => return Some(standing_at(OUTPUT)),
                wanted => wanted,
            },
            _ => Err(status::BAD_DATA),
        };
        Some(MachineAnswer::of(done))
    }
}

/// The answer to 'S': the station of this transport, and its model.
fn standing_at(place: &str) -> MachineAnswer {
    MachineAnswer::model(&format!("{place} {MODEL}"))
}

fn station_name(data: &[u8]) -> Result<&str, u8> {
    std::str::from_utf8(data).map_err(|_| status::BAD_DATA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::frame::{QUIET, serve};
    use crate::testing::{LinkClient, feed, link, look, world, world_with_dump};

    fn at<T>(world: &SimulatedLine, station: &str, client: impl FnOnce(&mut LinkClient) -> T) -> T {
        let mut transport = StationTransport::new(world, world.station(station).unwrap());
        link(|stream| serve(stream, &mut transport, true, QUIET), client)
    }

    fn at_output<T>(world: &SimulatedLine, client: impl FnOnce(&mut LinkClient) -> T) -> T {
        let mut transport = OutputTransport::new(world);
        link(|stream| serve(stream, &mut transport, true, QUIET), client)
    }

    #[test]
    fn a_station_feeds_takes_and_rejects() {
        let world = world("[[fault]]\nkind = \"feed-jam\"\nblanks = [2]");
        at(&world, "chip-1", |client| {
            assert_eq!(client.command(b'S', b""), (b'0', b"chip-1 hwsim transport SIMULATED".to_vec()));
            assert_eq!(client.command(b'F', b"").0, b'0');
            assert_eq!(client.command(b'F', b"").0, b'5', "occupied");
            assert_eq!(client.command(b'F', b"x").0, b'3');
            assert_eq!(client.command(b'R', b"x").0, b'3');
            assert_eq!(client.command(b'R', b"").0, b'0');
            assert_eq!(client.command(b'R', b"").0, b'2');
            assert_eq!(client.command(b'F', b"").0, b'1');
            assert_eq!(client.command(b'S', b"").0, b'1', "a jammed card lies here");
            assert_eq!(client.command(b'R', b"").0, b'0');
            assert_eq!(client.command(b'S', b"").0, b'0');
            assert_eq!(client.command(b'F', b"").0, b'0');
        });
        at(&world, "stripe-1", |client| {
            for bad in [&b""[..], b"chip-99", b"chip-1 ", b"stripe-1", b"\xFF"] {
                assert_eq!(client.command(b'T', bad).0, b'3');
            }
            assert_eq!(client.command(b'T', b"chip-2").0, b'2');
            assert_eq!(client.command(b'A', b"").0, b'2');
            assert_eq!(client.command(b'T', b"chip-1").0, b'0');
            assert_eq!(client.command(b'A', b"").0, b'0');
            assert_eq!(client.command(b'A', b"x").0, b'3');
        });
        look(world.station("stripe-1").unwrap(), |blank| assert_eq!(blank.n, 3));
    }

    /// Places and positions are big-endian, and the two stackers are separate.
    #[test]
    fn the_output_stacks_at_the_requested_place() {
        let dir = tempfile::tempdir().unwrap();
        let world = world_with_dump("", Some(dir.path()));
        feed(&world, "chip-1");
        feed(&world, "chip-2");
        at_output(&world, |client| {
            assert_eq!(client.command(b'S', b""), (b'0', b"output hwsim transport SIMULATED".to_vec()));
            assert_eq!(client.command(b'B', b"\x01\x02").0, b'2');
            assert_eq!(client.command(b'T', b"chip-1").0, b'0');
            assert_eq!(client.command(b'B', b"\x01").0, b'3');
            assert_eq!(client.command(b'B', b"\x01\x02").0, b'0');
            assert_eq!(client.command(b'T', b"chip-2").0, b'0');
            assert_eq!(client.command(b'B', b"\x01\x02").0, b'5', "taken");
            assert_eq!(client.command(b'B', b"\x02\x01").0, b'0');
            assert_eq!(client.command(b'K', b"\x02\x02\0\0\0\x01").0, b'2', "nothing there");
            assert_eq!(client.command(b'K', b"\x01\x02\0\0\0").0, b'3');
            assert_eq!(client.command(b'M', b"\x01\x02\0\0\0\x01\0").0, b'3');
            assert_eq!(client.command(b'K', b"\x01\x02\0\x01\x02\x03").0, b'0');
            assert_eq!(client.command(b'M', b"\x02\x01\0\0\0\x01").0, b'0');
        });
        feed(&world, "chip-1");
        feed(&world, "chip-2");
        at_output(&world, |client| {
            assert_eq!(client.command(b'R', b"").0, b'2', "nothing there");
            assert_eq!(client.command(b'R', b"x").0, b'3');
            assert_eq!(client.command(b'T', b"chip-1").0, b'0');
            assert_eq!(client.command(b'B', b"\0\x07").0, b'0');
            assert_eq!(client.command(b'T', b"chip-2").0, b'0');
            // Takes only the card of that place, then any card.
            for (place, status) in
                [(&b"\0\x08"[..], b'2'), (b"\0\x07", b'0'), (b"\0\x07", b'2'), (b"", b'0'), (b"", b'2')]
            {
                assert_eq!(client.command(b'R', place).0, status);
            }
        });
        let line = std::fs::read_to_string(dir.path().join("line.jsonl")).unwrap();
        let left = |line: &serde_json::Value| line["what"] == "left";
        let left: Vec<serde_json::Value> =
            line.lines().map(|line| serde_json::from_str(line).unwrap()).filter(left).collect();
        assert_eq!((&left[0]["position"], &left[0]["stacker"]), (&0x01_0203.into(), &"good".into()));
        assert_eq!((&left[1]["position"], &left[1]["stacker"]), (&1.into(), &"remake".into()));
        assert!(left.len() == 4 && left[2..].iter().all(|line| line["fate"] == "rejected"));
    }
}
