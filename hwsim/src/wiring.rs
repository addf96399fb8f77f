//! How the devices of the line are connected, and what its readers see, where that is not as it should be. In
//! the faults file:
//!
//! ```toml
//! [[exchange]]
//! stations = ["chip-1", "chip-2"]  # the devices of these two, but not their transports, have changed places
//! after = 20                       # when so many blanks were fed; default 0: from the start
//! [[sight]]
//! station = "chip-1"               # the reader at this place
//! late_ms = 400                    # sees a card so much later; --speed does not divide it
//! always = true                    # always sees a card
//! ```
//!
//! A device that changes its place is away for a moment: its links end, and those that are made again have
//! another `wiring` in their hello. The serial number of an embosser or a printer is `SIM-` and the name of its place,
//! so after an exchange a link reaches a machine with the other place's number.
//!
//! Not here: virtual readers and pictures, which stay where they are.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::device::link::MachineLink;

/// Interval at which a link looks whether its device has moved.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Two devices that have changed places.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceExchange {
    stations: [String; 2],
    #[serde(default)]
    after: u64,
}

/// What is wrong with the sight of a reader.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderSight {
    station: String,
    #[serde(default)]
    late_ms: u32,
    #[serde(default)]
    always: bool,
}

/// The wiring of a line, as its faults file gives it.
#[derive(Debug, Default)]
pub struct LineWiring {
    exchanges: Vec<DeviceExchange>,
    sights: BTreeMap<String, ReaderSight>,
    /// Blanks that were fed.
    fed: AtomicU64,
}

impl LineWiring {
    /// Takes the entries of the faults file.
    pub fn new(exchanges: Vec<DeviceExchange>, sights: Vec<ReaderSight>) -> Result<Self> {
        for DeviceExchange { stations: [a, b], .. } in &exchanges {
            ensure!(a != b, "exchange: {a} cannot change places with itself");
        }
        let count = sights.len();
        let sights: BTreeMap<_, _> = sights.into_iter().map(|sight| (sight.station.clone(), sight)).collect();
        ensure!(sights.len() == count, "sight: a station has two entries");
        Ok(Self { exchanges, sights, fed: AtomicU64::new(0) })
    }

    /// Every station that an entry names, to be looked for in the line.
    pub fn stations(&self) -> impl Iterator<Item = &str> {
        let exchanged = self.exchanges.iter().flat_map(|exchange| &exchange.stations);
        exchanged.chain(self.sights.keys()).map(String::as_str)
    }

    /// Counts a blank that was fed.
    pub fn fed(&self) {
        self.fed.fetch_add(1, Ordering::SeqCst);
    }

    /// How often the device of this station has changed its place so far. A link that is older is cut.
    pub fn moves(&self, station: &str) -> usize {
        self.way(station).0
    }

    /// Whether devices will change their places while the line runs.
    fn changes(&self) -> bool {
        self.exchanges.iter().any(|exchange| exchange.after > 0)
    }

    /// The place where the device of this station stands now.
    pub fn place_of<'a>(&'a self, station: &'a str) -> &'a str {
        self.way(station).1
    }

    /// The device that stands at this place now.
    pub fn linked<'a>(&'a self, place: &'a str) -> LinkedDevice<'a> {
        let all = self.exchanges.iter().flat_map(|exchange| &exchange.stations);
        let device = all.map(String::as_str).find(|station| self.place_of(station) == place).unwrap_or(place);
        LinkedDevice { wiring: self, device, moves: self.moves(device) }
    }

    /// How often the device of a station has moved, and where it stands.
    fn way<'a>(&'a self, station: &'a str) -> (usize, &'a str) {
        let fed = self.fed.load(Ordering::SeqCst);
        let mut way = (0, station);
        for DeviceExchange { stations: [a, b], after } in &self.exchanges {
            let (moves, at) = way;
            if *after <= fed && (at == a || at == b) {
                way = (moves + 1, if at == a { b } else { a });
            }
        }
        way
    }

    /// How much later the reader at this place sees a card.
    pub fn lateness(&self, place: &str) -> Duration {
        self.sights.get(place).map_or(Duration::ZERO, |sight| Duration::from_millis(sight.late_ms.into()))
    }

    /// Whether the reader at this place always sees a card.
    pub fn always_sees(&self, place: &str) -> bool {
        self.sights.get(place).is_some_and(|sight| sight.always)
    }
}

/// The device on a link, and how often it had moved when the link was made.
pub struct LinkedDevice<'a> {
    wiring: &'a LineWiring,
    /// The station that it belongs to.
    device: &'a str,
    moves: usize,
}

impl LinkedDevice<'_> {
    /// Whether the device has changed its place since then. Its link is cut in that case.
    pub fn has_moved(&self) -> bool {
        self.wiring.moves(self.device) != self.moves
    }

    /// Waits for bytes on the link. Returns true if the device has changed its place before any came.
    pub fn is_cut(&self, link: &impl MachineLink) -> io::Result<bool> {
        while self.wiring.changes() && !link.stirs_within(LOOK_AGAIN)? {
            if self.has_moved() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A machine's link that ends when its device has changed its place.
pub struct MovableLink<'a, L> {
    link: &'a L,
    device: LinkedDevice<'a>,
}

impl<'a, L> MovableLink<'a, L> {
    /// The link of the device.
    pub fn new(link: &'a L, device: LinkedDevice<'a>) -> Self {
        Self { link, device }
    }
}

impl<L: MachineLink> MachineLink for MovableLink<'_, L> {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // Bytes that come after the exchange are not for this device, so they are not taken either.
        if self.device.has_moved() || self.device.is_cut(self.link)? {
            return Ok(0);
        }
        self.link.receive(buffer)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.link.send(bytes)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.link.descriptor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(a: &str, b: &str, after: u64) -> DeviceExchange {
        DeviceExchange { stations: [a.into(), b.into()], after }
    }

    #[test]
    fn devices_change_places_when_so_many_blanks_were_fed() {
        let exchanges = vec![exchange("a", "b", 0), exchange("b", "c", 2)];
        let wiring = LineWiring::new(exchanges, Vec::new()).unwrap();
        let stations = ["a", "b", "c", "d"];
        let places = |wiring: &LineWiring| stations.map(|s| wiring.place_of(s).to_owned());
        let moves = |wiring: &LineWiring| stations.map(|s| wiring.moves(s));
        assert_eq!((places(&wiring), moves(&wiring)), (["b", "a", "c", "d"].map(String::from), [1, 1, 0, 0]));
        wiring.fed();
        assert_eq!(moves(&wiring), [1, 1, 0, 0]);
        wiring.fed();
        assert_eq!((places(&wiring), moves(&wiring)), (["c", "a", "b", "d"].map(String::from), [2, 1, 1, 0]));
        assert_eq!(stations.map(|place| wiring.linked(place).device.to_owned()), ["b", "c", "a", "d"]);
        assert!(wiring.changes());
    }

    #[test]
    fn wrong_entries_are_refused() {
        assert!(LineWiring::new(vec![exchange("a", "a", 0)], Vec::new()).is_err());
        let sight = || ReaderSight { station: "a".into(), late_ms: 1, always: false };
        assert!(LineWiring::new(Vec::new(), vec![sight(), sight()]).is_err());
    }
}
