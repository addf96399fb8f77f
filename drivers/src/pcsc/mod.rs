//! Real card readers over PC/SC: one [`PcscReader`] for one reader, in a process that can be killed.
//!
//! | file | does |
//! |---|---|
//! | `select` | chooses a reader of those that PC/SC lists: by name or by USB path, never by its place in the
//! list |
//! | `usb` | finds where a USB path is plugged in, from sysfs |
//! | `trouble` | who is to blame for an error |
//! | `reader` | connect, reset, transmit, disconnect |
//!
//! Calls of PC/SC can block for ever and cannot be cancelled, so no function here has a time limit, except
//! the wait for a card. The parent keeps the limits and kills the process ([`crate::host`]). Written against
//! pcsc-lite 1.9.9.

mod reader;
mod select;
mod trouble;
mod usb;

pub use reader::PcscReader;
pub use select::{ReaderSelector, ReaderSpec};
