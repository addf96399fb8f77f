//! How the device of a station shows that it stands at that station: it sees no card, then the one that the
//! station's transport brings.
//!
//! Not here: the order of these questions and their consequences, which are the pipeline's.

use std::time::Duration;

use drivers::presence::DeviceConnection;

use super::Fault;

/// Longest time in which a device notices that a card has come or gone. Slow readers take 4 s.
pub const LATE_TIME: Duration = Duration::from_secs(6);

/// The sight of a device that notices cards: a reader, or an encoder with a sensor.
pub trait CardSight {
    /// The connection to the device.
    fn connection(&mut self) -> Result<DeviceConnection, Fault>;

    /// Whether the device goes on to see no card for this time. An encoder reports only a card that comes after
    /// it was armed, so it need not be waited for.
    fn stays_empty(&mut self, time: Duration) -> Result<bool, Fault>;

    /// Makes sure that the device sees no card, and arms it for the next one. Returns false if it sees one.
    fn expect(&mut self) -> Result<bool, Fault>;

    /// Waits until the device sees the card that was brought. Returns whether it saw it in time, and over which
    /// connection. An encoder that was not armed is not asked, and returns true.
    fn comes(&mut self, wait: Duration) -> Result<(bool, DeviceConnection), Fault>;

    /// Whether the device sees a card now.
    fn sees(&mut self) -> Result<bool, Fault>;
}
