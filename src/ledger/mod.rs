//! The ledger: the truth about every record and every blank, in SQLite. One writer thread, group commit,
//! `synchronous = FULL`; append-only and hash-chained.
//!
//! States and laws are those of DESIGN.md section 6 and are enforced here: an illegal change is refused, whoever asks.
//! The ledger holds no PAN and no secret: a card is a card_ref, a blank is a CSN.
//!
//! Not here: deciding what happens next (`pipeline`, operators), showing it (`report`).

pub mod types;

pub use types::*;
