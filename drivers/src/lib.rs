//! Drivers: how the readers and machines of a personalization line talk.
//!
//! A driver moves bytes and reports device condition; it knows no record, key, ledger or job. Codecs are generic over
//! the link ([`link::Link`], [`link::CardLink`]), so that the same codec runs on a serial port, on a PTY and on
//! `hwsim`. The wire formats stand in [`wire`], and `hwsim` uses nothing else of this crate.

pub mod embosser;
pub mod framed;
pub mod link;
pub mod msr605;
pub mod printer;
pub mod sim;
pub mod transport;
pub mod wire;
