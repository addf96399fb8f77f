//! What a device sees of the card at its station, and over which connection it says so: the facts from which
//! a line proves that the device at a station is the one that its profile names.
//!
//! Not here: the proof itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::link::LinkError;

/// Most comings and goings of cards between two looks at one connection.
const STEPS_MAX: u16 = 16;
/// Major device numbers of pseudo-terminals.
const TERMINALS: std::ops::RangeInclusive<u64> = 136..=143;

/// A connection to a device, as far as the system can tell it from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConnection {
    /// The device's node in the system, with the service that has it.
    pub node: String,
    /// Number of times that a card came or went since the service has the reader, modulo 2^16 as PC/SC counts.
    /// Zero where the system does not count.
    pub count: u16,
}

impl DeviceConnection {
    /// A connection through a node that counts nothing.
    pub fn through(node: &str) -> Self {
        Self { node: node.to_owned(), count: 0 }
    }

    /// Whether this may be the connection that was seen earlier, at most a few cards ago. A reader that was
    /// plugged in again, or whose service was started again, begins to count anew.
    pub fn continues(&self, earlier: &Self) -> bool {
        let steps = self.count.wrapping_sub(earlier.count);
        !self.node.is_empty() && self.node == earlier.node && steps <= STEPS_MAX
    }
}

/// A card, as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardPresence {
    /// No card.
    Empty,
    /// A card that gave no ATR; a reader without a switch reports its empty place in this way.
    Mute,
    /// A card that gave an ATR.
    Card,
}

/// A reader's answer to a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderSighting {
    /// The card.
    pub presence: CardPresence,
    /// The connection over which the reader says so.
    pub connection: DeviceConnection,
}

/// What a look waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookFor {
    /// Nothing: the look ends at once.
    Anything,
    /// The reader sees no card.
    NoCard,
    /// The reader sees a card.
    Card,
}

impl LookFor {
    /// Whether the look ends with this.
    pub fn is_met(self, presence: CardPresence) -> bool {
        match self {
            Self::Anything => true,
            Self::NoCard => presence == CardPresence::Empty,
            Self::Card => presence != CardPresence::Empty,
        }
    }
}

/// The device node at a path: its file system, number and device. A device that is plugged in again gets a new
/// one. A pseudo-terminal's number is used again at once, so its time counts as well.
pub(crate) fn node_at(path: &Path) -> Result<String, LinkError> {
    let found = fs::metadata(path).map_err(|e| LinkError::Io(format!("{}: {e}", path.display())))?;
    let node = format!("{}:{}:{}", found.dev(), found.ino(), found.rdev());
    if TERMINALS.contains(&nix::sys::stat::major(found.rdev())) {
        return Ok(format!("{node}:{}.{:09}", found.ctime(), found.ctime_nsec()));
    }
    Ok(node)
}

/// The process at the other end of a socket, with the time of its start: a number is used again.
pub(crate) fn process(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold anything; the start is the 20th field after it.
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    format!("{pid}@{}", started.unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(node: &str, count: u16) -> DeviceConnection {
        DeviceConnection { node: node.into(), count }
    }

    #[test]
    fn a_connection_goes_on_while_its_node_stays_and_its_count_goes_on() {
        assert!(at("a", 4).continues(&at("a", 4)));
        assert!(at("a", 5).continues(&at("a", 4)));
        assert!(at("a", 1).continues(&at("a", u16::MAX)));
        assert!(!at("a", 3).continues(&at("a", 4)));
        assert!(!at("a", 0).continues(&at("a", 40_000)));
        assert!(!at("b", 5).continues(&at("a", 4)));
        // Where nothing names the connection, nothing continues it.
        assert!(!at("", 0).continues(&at("", 0)));
    }

    #[test]
    fn a_node_that_is_made_again_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("port");
        fs::write(&path, "").unwrap();
        let first = node_at(&path).unwrap();
        assert_eq!(node_at(&path).unwrap(), first);
        fs::rename(&path, directory.path().join("old")).unwrap();
        fs::write(&path, "").unwrap();
        assert_ne!(node_at(&path).unwrap(), first);
        assert!(node_at(&directory.path().join("none")).is_err());
    }

    #[test]
    fn a_process_is_named_with_its_start() {
        let own = i32::try_from(std::process::id()).unwrap();
        let named = process(own);
        assert_eq!(process(own), named);
        assert!(named.starts_with(&format!("{own}@")) && !named.ends_with('?'), "{named}");
    }
}
