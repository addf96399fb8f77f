//! Card printers: the trait that a line needs of any of them.
//!
//! Not here: how a model does it ([`framed`]), drawing. A printer that lacks an ability answers
//! [`DeviceError::Unsupported`] and sends nothing.

pub mod framed;

use std::time::Duration;

use crate::error::DeviceError;
use crate::identity::MachineIdentity;

/// A card printer at a station, with at most one card in it.
pub trait CardPrinter: Send {
    /// Prints the card in the station. A side is the bytes of a PNG, or `None` to leave it as it is; at least
    /// one is given.
    fn print(&mut self, front: Option<&[u8]>, back: Option<&[u8]>) -> Result<(), DeviceError>;

    /// Asks whether it could print now; returns the model, as far as the machine names it.
    fn ready(&mut self) -> Result<String, DeviceError>;

    /// Its identity, which distinguishes it from other machines of its model; `None` if it notices cards.
    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        None
    }

    /// Drops the connections and makes new ones, each within `timeout`; work under way is forgotten.
    fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError>;
}
