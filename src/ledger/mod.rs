//! The ledger: the truth about every record and every blank, in SQLite. One writer thread, group commit,
//! `synchronous = FULL`; append-only and hash-chained.
//!
//! States and laws are those of `src/manual/ledger-events.md`. They are enforced here: an illegal change is refused,
//! no matter who asks for it.
//! The ledger holds no PAN and no secret: a card is a card_ref, a blank is a CSN.
//!
//! ```text
//! Ledger::record ─▶ bounded channel ─▶ writer: book (laws) ─▶ store (rows, chain) ─▶ COMMIT ─▶ Ticket, subscribers
//!                                                                                 └─▶ Reader (own connections)
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `types`, `views` | input and output |
//! | `book`, `records` | a job's working state and the laws; its records in little memory; pure |
//! | `replay`, `audit` | rebuilds state from events and compares it with the tables; the result of an audit |
//! | `event` | typed events; the bytes of both chain versions; pure |
//! | `fact` | the event of a change, and the change of an event; pure |
//! | `chain` | the hash of an event; pure |
//! | `store` | all SQL: schema and migrations, writing, loading, reading, verifying, stock |
//! | `writer`, `gather`, `handle` | the writer thread, how much it commits at a time, and the callers' handles |
//! | `arrivals` | new jobs, whose records are written in pieces |
//! | `time` | time as text |
//! | `law`, `error` | why a change is refused, and the next command for the operator |
//!
//! Not here: deciding what happens next (`pipeline`, operators), showing it (`report`).

mod arrivals;
pub mod audit;
mod book;
mod chain;
mod error;
pub mod event;
mod fact;
mod gather;
mod handle;
mod law;
mod names;
mod records;
mod replay;
mod signing;
mod store;
mod time;
pub mod types;
mod views;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use error::LedgerError;
pub use event::{
    BlankLabel, CardValue, ChipId, DataFate, EventFact, JobProfiles, KeyFate, LedgerEvent, RunCounts,
    SpoolFate, StateName,
};
pub use handle::{Ledger, Ticket, WANTED};
pub use law::Law;
pub use replay::{SHIFT_SPACES, shift_name_fault};
pub use store::{ChainHead, JobMark, Reader, UNSEEN_MAX, is_in_use, verify_chain};
pub use time::{rfc3339, rfc3339_seconds};
pub use types::*;
pub use views::*;
