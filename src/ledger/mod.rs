//! The ledger: the truth about every record and every blank, in SQLite. One writer thread, group commit,
//! `synchronous = FULL`; append-only and hash-chained.
//!
//! The laws (`laws`) are enforced here: an illegal change is refused, no matter who asks for it.
//! The ledger holds no PAN and no secret: a card is a card_ref, a blank is a CSN.
//!
//! ```text
//! Ledger::record ─▶ bounded channel ─▶ writer: book (laws) ─▶ store (rows, chain) ─▶ COMMIT ─▶ Ticket, subscribers
//!                                                                                 └─▶ Reader (own connections)
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `new_job`, `views` | input and output |
//! | `replay`, `audit` | compares the state that the events make with the tables; the result of an audit |
//! | `store` | all SQL: schema and migrations, writing, loading, reading, verifying, stock |
//! | `writer`, `gather`, `handle` | the writer thread, how much it commits at a time, and the callers' handles |
//! | `arrivals` | new jobs, whose records are written in pieces |
//! | `error` | why the ledger refuses, and the next command for the operator |
//!
//! Not here: the laws and the events (`laws`), deciding what happens next (`pipeline`, operators), showing it (`report`).

mod arrivals;
pub mod audit;
mod error;
mod gather;
mod handle;
mod new_job;
mod replay;
mod signing;
mod store;
mod views;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use error::LedgerError;
pub use handle::{Ledger, Ticket, WANTED};
pub use new_job::{Accepted, NewJob};
pub use store::{ChainHead, JobMark, Reader, UNSEEN_MAX, is_in_use, verify_chain};
pub use views::*;
