//! The laws of card accountability: what may happen to a record and a blank, as the events of a ledger record it.
//! Pure: no I/O, no clock, no keys. The ledger writes by them, its audit reads by them, and the HSM follows a ledger by
//! them.
//!
//! States and laws are those of `src/manual/ledger-events.md`. An illegal change is refused, no matter who asks for it.
//!
//! | file | holds |
//! |---|---|
//! | `types`, `names` | changes with their context; states and balances; the names of states |
//! | `book`, `records` | a job's working state and the laws; its records in little memory |
//! | `event` | typed events; the bytes of both chain versions |
//! | `fact` | the event of a change, and the change of an event |
//! | `follow` | rebuilds a job's state from its events |
//! | `ledger_book`, `undo` | follows a whole ledger, event by event, each completely or not at all |
//! | `outcomes` | digests over the records of a closed job |
//! | `chain` | the hash of an event |
//! | `shifts` | names of shifts |
//! | `law` | why a change is refused |
//! | `time` | time as text |
//!
//! Not here: rows and the order of writing (`ledger`), deciding what happens next (`pipeline`, operators).

pub(crate) mod book;
pub(crate) mod chain;
pub mod event;
pub(crate) mod fact;
pub(crate) mod follow;
mod law;
mod ledger_book;
mod names;
mod outcomes;
pub(crate) mod records;
pub(crate) mod shifts;
pub(crate) mod time;
pub(crate) mod types;
mod undo;

#[cfg(test)]
mod tests;

pub use book::LAWS;
pub use event::codec::EventFault;
pub use event::{
    BlankLabel, CardValue, ChipId, DataFate, EventFact, JobProfiles, KeyFate, LedgerEvent, RunCounts,
    SpoolFate, StateName,
};
pub use follow::FollowFault;
pub use law::Law;
pub use ledger_book::{Breach, ClosedJob, Followed, FollowedCard, LedgerBook, file_name_hash};
pub use outcomes::{CardsDigest, OutcomesDigest};
pub use shifts::{SHIFT_SPACES, shift_name_fault};
pub use time::{rfc3339, rfc3339_seconds, unix_ms};
pub use types::*;
