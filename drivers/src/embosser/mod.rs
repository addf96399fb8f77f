//! Embossers, also for indent print: what a line asks of any of them.
//!
//! Not here: how a model does it ([`framed`]), fonts and positions: the record brings complete lines.

pub mod framed;

use std::time::Duration;

use crate::error::DeviceError;

/// An embosser at a station, with at most one card in it.
pub trait CardEmbosser: Send {
    /// Embosses the card in the station. Each line is complete, `~EM%font;x;y;text`, without CR LF; its characters are
    /// those of ISO 8859-1.
    fn emboss(&mut self, lines: &[String]) -> Result<(), DeviceError>;

    /// Whether it could emboss now; gives the model as far as it tells it.
    fn ready(&mut self) -> Result<String, DeviceError>;

    /// Gives the connection up and makes a new one, within `timeout`; what was under way is forgotten.
    fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError>;
}
