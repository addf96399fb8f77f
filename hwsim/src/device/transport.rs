//! Card transport, one at each station and one at the output (`drivers::wire` section 5).
//!
//! Choices that the page leaves open: feeding or taking into a station where a card lies is '5'; into a full hand, a
//! buffer place that holds a card, or a full buffer, '6'; an unknown station, or data of the wrong length, '3'. 'S'
//! answers '1' where a jammed card lies, else '0', with the model's name.

use drivers::wire::status;

use super::frame::{Answer, Machine};
use crate::pace::Pace;
use crate::sync::lock;
use crate::world::{Move, Station, World};

/// Answer to 'S'.
const MODEL: &str = "hwsim transport SIMULATED";

/// The transport of one station.
pub struct AtStation<'a> {
    world: &'a World,
    station: &'a Station,
    pace: Pace,
}

impl<'a> AtStation<'a> {
    /// Of this station.
    pub fn new(world: &'a World, station: &'a Station) -> Self {
        Self { world, station, pace: Pace::new(world.speed) }
    }
}

impl Machine for AtStation<'_> {
    const COMMANDS: &'static [u8] = b"FTRS";

    fn run(&mut self, command: u8, data: &[u8]) -> Answer {
        let done = match (command, data) {
            (b'F', []) => self.world.feed(self.station, &mut self.pace),
            (b'T', name) => station_name(name)
                .and_then(|from| self.world.take_to_station(self.station, from, &mut self.pace)),
            (b'R', []) => self.world.reject(self.station, &mut self.pace),
            (b'S', []) => match self.station.slot().card() {
                Some(card) if lock(card).jammed => Err(status::JAM),
                _ => return Answer::model(MODEL),
            },
            _ => Err(status::BAD_DATA),
        };
        Answer::of(done)
    }
}

/// The transport at the output: hand, buffer and stackers.
pub struct AtOutput<'a> {
    world: &'a World,
    pace: Pace,
}

impl<'a> AtOutput<'a> {
    /// Of this line.
    pub fn new(world: &'a World) -> Self {
        Self { world, pace: Pace::new(world.speed) }
    }

    fn stack(&mut self, data: &[u8], remake: bool) -> Move {
        let (place, position) = data.split_first_chunk::<2>().ok_or(status::BAD_DATA)?;
        let position: &[u8; 4] = position.try_into().map_err(|_| status::BAD_DATA)?;
        self.world.stack(u16::from_be_bytes(*place), u32::from_be_bytes(*position), remake, &mut self.pace)
    }
}

impl Machine for AtOutput<'_> {
    const COMMANDS: &'static [u8] = b"TBKMS";

    fn run(&mut self, command: u8, data: &[u8]) -> Answer {
        let done = match (command, data) {
            (b'T', name) => station_name(name).and_then(|from| self.world.take_to_hand(from, &mut self.pace)),
            (b'B', [hi, lo]) => self.world.buffer(u16::from_be_bytes([*hi, *lo])),
            (b'K', data) => self.stack(data, false),
            (b'M', data) => self.stack(data, true),
            (b'S', []) => return Answer::model(MODEL),
            _ => Err(status::BAD_DATA),
        };
        Answer::of(done)
    }
}

fn station_name(data: &[u8]) -> Result<&str, u8> {
    std::str::from_utf8(data).map_err(|_| status::BAD_DATA)
}
