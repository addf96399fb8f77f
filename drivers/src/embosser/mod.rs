//! Embossers, also for indent print: the trait that a line needs of any of them.
//!
//! Not here: how a model does it ([`framed`]), fonts and positions: the record brings complete lines.

pub mod framed;

use std::time::Duration;

use crate::error::DeviceError;
use crate::identity::MachineIdentity;
use crate::wire::FRAME_DATA_MAX;

/// Longest line of a record, in bytes without CR LF: every embosser takes it. A line goes to the machine in one frame.
pub const LINE_MAX: usize = FRAME_DATA_MAX - 2;

/// An embosser at a station, with at most one card in it.
pub trait CardEmbosser: Send {
    /// Embosses the card in the station. Each line is complete, `~EM%font;x;y;text`, without CR LF, in
    /// characters of ISO 8859-1.
    fn emboss(&mut self, lines: &[String]) -> Result<(), DeviceError>;

    /// Asks whether it could emboss now; returns the model, as far as the machine names it.
    fn ready(&mut self) -> Result<String, DeviceError>;

    /// Its identity, which distinguishes it from other machines of its model; `None` if it notices cards.
    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        None
    }

    /// Drops the connection and makes a new one, within `timeout`; work under way is forgotten.
    fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError>;
}
