//! How the device of a station shows that it stands at that station: it sees no card, then the one that the
//! station's transport brings.
//!
//! Not here: the order of these questions and their consequences, which are the pipeline's.

use std::time::Duration;

use drivers::presence::DeviceConnection;

use super::{Blame, Fault};
use crate::reason::ReasonWord;

/// Longest time in which a device notices that a card has come or gone. Slow readers take 4 s.
pub const LATE_TIME: Duration = Duration::from_secs(6);

/// A device sees a card that its transport did not bring.
pub fn stray_card(station: &str) -> Fault {
    let detail = format!(
        "device: the device of {station} sees a card, but its transport brought none: look for a card that was left \
         there, and check whether its cable leads to another station"
    );
    Fault::new(Blame::Device, ReasonWord::StrayCard, detail)
}

/// No device sees `what` the transport brought: a card or a blank.
pub fn unseen(what: &str, station: &str) -> Fault {
    let detail = format!(
        "device: no device sees the {what} that the transport brought into {station}: look whether it lies there, and \
         check the device, its cable and its entry in the line profile"
    );
    Fault::new(Blame::Device, ReasonWord::NoCard, detail)
}

/// The card of a station is at the device of another one; `found` says which card, and where.
pub fn exchanged(found: &str) -> Fault {
    let detail = format!(
        "device: {found}: their cables are exchanged, or the line profile names the wrong devices; correct that before the \
         next run"
    );
    Fault::new(Blame::Device, ReasonWord::Miswired, detail)
}

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
