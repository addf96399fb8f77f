//! Real card readers over PC/SC: one [`PcscReader`] for one reader, in a process that can be killed.
//!
//! | file | does |
//! |---|---|
//! | `select` | which of the readers that PC/SC lists is meant: by name or by USB path, never by its place in the list |
//! | `usb` | where a USB path is plugged in, from sysfs |
//! | `atr` | whether an answer to reset is one |
//! | `reader` | connect, reset, transmit, disconnect |
//!
//! Calls of PC/SC can block for ever and cannot be cancelled: nothing here has a time limit of its own but the wait for
//! a card. The limit is the parent's, which kills the process ([`crate::host`]). Written against pcsc-lite 1.9.9.

mod atr;
mod reader;
mod select;
mod usb;

pub use reader::PcscReader;
pub use select::{ReaderSelector, ReaderSpec};
