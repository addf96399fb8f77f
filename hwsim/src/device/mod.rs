//! The machines' ends of the links: what stands behind each connection, byte by byte as `drivers::wire` says.
//!
//! A connection is a power cycle: settings and buffers of a machine begin empty with it. What a machine does to a card
//! stays with the card.

pub mod embosser;
pub mod frame;
pub mod link;
pub mod msr605;
pub mod printer;
pub mod reader;
pub mod transport;
