//! Magnetic stripe encoders: the trait that a line needs of any of them, and the data that they write.
//!
//! Not here: how a model does it ([`msr605`], [`mse630`]), the right content of a track, comparing, and
//! deciding which stripes count as blank. An encoder that lacks an ability answers
//! [`DeviceError::Unsupported`] and sends nothing; its entry in [`crate::registry`] declares its abilities.

pub mod mse630;
pub mod msr605;
#[cfg(test)]
mod tests;
mod tracks;

use std::time::Duration;

pub use self::tracks::{RawTracks, T1_MAX, Tracks};
use crate::error::DeviceError;
use crate::identity::MachineIdentity;
use crate::presence::DeviceConnection;

/// An encoder at a station, with at most one card under its head.
pub trait StripeEncoder: Send {
    /// Writes the stripe of the card with this recording.
    fn write(&mut self, tracks: &Tracks, how: &Recording) -> Result<(), DeviceError>;

    /// Reads the stripe of the card.
    fn read(&mut self) -> Result<Tracks, DeviceError> {
        Err(DeviceError::Unsupported("it does not read"))
    }

    /// Erases tracks of the card; at least one.
    fn erase(&mut self, _tracks: &[TrackNumber], _how: &Recording) -> Result<(), DeviceError> {
        Err(DeviceError::Unsupported("it does not erase"))
    }

    /// Writes bits, packed by `bits` (5 to 8) per character of each track.
    fn write_raw(
        &mut self,
        _tracks: &RawTracks,
        _bits: [u8; 3],
        _how: &Recording,
    ) -> Result<(), DeviceError> {
        Err(DeviceError::Unsupported("it does not write bits"))
    }

    /// Reads the bits of the stripe, packed by `bits` (5 to 8) per character of each track.
    fn read_raw(&mut self, _bits: [u8; 3]) -> Result<RawTracks, DeviceError> {
        Err(DeviceError::Unsupported("it does not read bits"))
    }

    /// Sets how it records, without a card.
    fn set(&mut self, how: &Recording) -> Result<(), DeviceError>;

    /// Asks for its recording settings.
    fn settings(&mut self) -> Result<Recording, DeviceError> {
        Err(DeviceError::Unsupported("it does not report its settings"))
    }

    /// Its sensor, if it can be asked whether a card has come.
    fn sensor(&mut self) -> Option<&mut dyn CardSensor> {
        None
    }

    /// Asks whether it answers; returns model and firmware, as far as the machine names them.
    fn ready(&mut self) -> Result<String, DeviceError>;

    /// Its identity, which distinguishes it from other machines of its model; `None` if it notices cards.
    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        None
    }

    /// Drops the connection and makes a new one, within `timeout`; work under way is forgotten.
    fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError>;
}

/// The sensor of an encoder, which notices that a card comes.
pub trait CardSensor {
    /// The connection to the encoder.
    fn connection(&self) -> DeviceConnection;

    /// Arms the sensor; false if it sees a card already. It stays armed until a card comes or the encoder gets
    /// another command.
    fn arm(&mut self) -> Result<bool, DeviceError>;

    /// Waits until the armed sensor sees a card, or the time is over; returns whether it saw one.
    fn sees(&mut self, wait: Duration) -> Result<bool, DeviceError>;
}

/// Settings for writing a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    /// Coercivity of the plastic.
    pub coercivity: WriteCoercivity,
    /// Clocking zeros; `None` leaves the machine's own.
    pub leading_zeros: Option<LeadingZeros>,
    /// Densities of tracks 1, 2 and 3; `None` leaves the machine's own.
    pub density: Option<[Density; 3]>,
}

impl Recording {
    /// Settings for plastic of this coercivity; the rest is the machine's own.
    pub fn on(coercivity: WriteCoercivity) -> Self {
        Self { coercivity, leading_zeros: None, density: None }
    }
}

/// Clocking zeros, each one bit long, before the start sentinel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeadingZeros {
    /// For tracks 1 and 3.
    pub t13: u8,
    /// For track 2.
    pub t2: u8,
}

/// Strength of the field that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCoercivity {
    /// 2750 to 4000 Oe (ISO 7811-6).
    Hi,
    /// 300 Oe (ISO 7811-2).
    Lo,
}

/// A track by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrackNumber {
    /// Track 1, IATA.
    T1,
    /// Track 2, ABA.
    T2,
    /// Track 3, THRIFT.
    T3,
}

/// Recording density.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Density {
    /// 75 bit/inch.
    Bpi75,
    /// 210 bit/inch.
    Bpi210,
}
