//! Secure channels to a card, host side: bytes in, bytes out. No I/O, no clock, no random numbers: challenges come in.
//!
//! [`derive`] makes a card's static keys from the supplier's master key, [`scp02`] the session and its messages.
//! Not here: which commands a card needs (`chip`), where keys live and what may be encrypted (`hsm`).

pub mod derive;
pub mod scp02;
