//! Helpers that several unit tests share: a line that takes no time, and a client's end of a link.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::blank::SimulatedBlank;
use crate::faults::FaultPlan;
use crate::pace::LinkPace;
use crate::profile::SimLineProfile;
use crate::sync::lock;
use crate::witness::LineWitness;
use crate::world::{SimulatedLine, SimulatedStation};

/// The line `sim-8` without waiting, with these faults.
pub fn world(faults: &str) -> SimulatedLine {
    world_with_dump(faults, None)
}

/// The line `sim-8` without waiting, with these faults and a witness.
pub fn world_with_dump(faults: &str, dir: Option<&std::path::Path>) -> SimulatedLine {
    let faults = FaultPlan::from_toml(faults, 1).unwrap();
    SimulatedLine::new(
        SimLineProfile::load("sim-8").unwrap(),
        1,
        faults,
        0.0,
        LineWitness::open(dir).unwrap(),
    )
    .unwrap()
}

/// Feeds a blank into the station of this name.
pub fn feed<'a>(world: &'a SimulatedLine, station: &str) -> &'a SimulatedStation {
    let station = world.station(station).unwrap();
    world.feed(station, &mut LinkPace::new(0.0)).unwrap();
    station
}

/// Reads or changes the card that lies in a station.
pub fn look<T>(station: &SimulatedStation, at: impl FnOnce(&mut SimulatedBlank) -> T) -> T {
    at(&mut lock(station.slot().card().unwrap()))
}

/// Serves one end of a pair of streams in a thread, while `client` uses the other.
pub fn link<T>(
    serve: impl FnOnce(&UnixStream) -> std::io::Result<()> + Send,
    client: impl FnOnce(&mut LinkClient) -> T,
) -> T {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || serve(&far));
        let hang_up = HangUpOnDrop(&near);
        let result = client(&mut LinkClient(&near));
        drop(hang_up);
        let end = server.join().unwrap();
        assert!(end.is_ok() || end.unwrap_err().kind() == std::io::ErrorKind::BrokenPipe);
        result
    })
}

/// Ends the link however the client ends, so that a failed test does not wait for its server.
struct HangUpOnDrop<'a>(&'a UnixStream);

impl Drop for HangUpOnDrop<'_> {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

/// A client that sends and expects bytes.
pub struct LinkClient<'a>(pub &'a UnixStream);

impl LinkClient<'_> {
    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Receives this many bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Expects exactly these bytes next.
    #[track_caller]
    pub fn expect(&mut self, bytes: &[u8]) {
        assert_eq!(hex::encode(self.take(bytes.len())), hex::encode(bytes));
    }

    /// Expects that no byte comes for a while.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        self.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut byte = [0];
        let got = self.0.read(&mut byte);
        self.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(got.is_err(), "{got:?} {byte:02x?}");
    }

    /// Sends a framed command and returns status and data of its answer; panics if the machine does not
    /// accept it.
    #[track_caller]
    pub fn command(&mut self, command: u8, data: &[u8]) -> (u8, Vec<u8>) {
        self.send(&frame(&[&[command], data].concat()));
        self.expect(&[0x06]);
        let answer = self.answer();
        self.send(&[0x06]);
        assert_eq!(answer[0], command);
        (answer[1], answer[2..].to_vec())
    }

    /// Reads a frame: command, status, data.
    pub fn answer(&mut self) -> Vec<u8> {
        self.expect(&[0x02]);
        let mut wire = Vec::new();
        let mut body = Vec::new();
        loop {
            let byte = self.take(1)[0];
            wire.push(byte);
            match byte {
                0x03 => break,
                0x10 => {
                    let escaped = self.take(1)[0];
                    wire.push(escaped);
                    body.push(escaped ^ 0x40);
                }
                _ => body.push(byte),
            }
        }
        let bcc = self.take(1)[0];
        assert_eq!(bcc, wire.iter().fold(0, |a, b| a ^ b));
        body
    }
}

/// A frame around command and data, written from the wire page without the machine's code.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for byte in body {
        match byte {
            0x02 | 0x03 | 0x06 | 0x10 | 0x15 => wire.extend([0x10, byte ^ 0x40]),
            _ => wire.push(*byte),
        }
    }
    wire.push(0x03);
    let bcc = wire.iter().fold(0, |a, b| a ^ b);
    [&[0x02][..], &wire, &[bcc]].concat()
}
