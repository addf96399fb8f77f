//! Drivers: the protocols of the readers and machines of a personalization line.
//!
//! A driver moves bytes and reports device condition; it knows no record, key, ledger or job. Codecs are
//! generic over the link ([`link::ByteLink`], [`link::CardLink`]), so one codec serves a serial port, a PTY
//! and `hwsim`. The wire formats stand in [`wire`], and `hwsim` uses nothing else of this crate.
//!
//! | layer | modules |
//! |---|---|
//! | links | [`link`] (traits), [`presence`] (what a device sees of a card), [`serial`] (a serial port), [`sim`] (`hwsim`), [`exchange`] (a reader over a byte link) |
//! | cards | `apdu` (from a command APDU to its whole response, over T=0 and T=1) |
//! | real readers | [`pcsc`] (one reader of PC/SC), [`host`] (a process for each reader or machine) |
//! | codecs | [`framed`] (STX frames); the encoders under [`stripe`] have their own |
//! | machines | a trait for each family, and its drivers: [`stripe`], [`printer`], [`embosser`]; [`transport`] |
//! | identity | [`identity`]: which machine of its model a driver may write with |
//! | registry | [`registry`]: every driver by name, with its abilities; [`conformance`]: checks that it has
//! them |

mod apdu;
mod atr;
pub mod conformance;
pub mod embosser;
mod error;
pub mod exchange;
pub mod framed;
pub mod host;
pub mod identity;
pub mod link;
pub mod pcsc;
mod port;
pub mod presence;
pub mod printer;
pub mod registry;
pub mod serial;
pub mod sim;
mod stream;
pub mod stripe;
#[cfg(test)]
mod testing;
pub mod transport;
mod usb_port;
pub mod wire;

pub use error::{Condition, DeviceError, FramePassage};
