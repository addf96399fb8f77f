//! All SQL of the ledger: schema, writing, loading, reading, verifying. Knows rows, not laws (`book`).
//!
//! One writing connection, held exclusively: WAL, `synchronous = FULL` read back after it was set (with NORMAL the
//! last commits are lost when the power fails), foreign keys on. Readers have connections of their own.

mod arrival;
mod audit;
mod chained;
mod events;
mod identity;
mod load;
mod lock;
mod open;
mod passed;
mod read;
mod row;
mod schema;
mod stock;
mod terms;
mod verify;
mod write;

pub use events::JobMark;
#[cfg(test)]
pub(super) use events::version_one_at as version_one;
pub use lock::is_held as is_in_use;
pub use passed::UNSEEN_MAX;
pub use read::Reader;
pub(super) use verify::recount;
pub use verify::{ChainHead, verify_chain};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Instant;

use rusqlite::Connection;

use crate::audit::LedgerId;
use crate::laws::chain::Hash;

/// The writing side. Fields are dropped in order: the connection before the lock.
pub(super) struct LedgerStore {
    connection: Connection,
    path: PathBuf,
    id: LedgerId,
    /// Number and hash of the last event.
    head: (u64, Hash),
    /// Time of the last event, Unix in ms.
    last_ts: u64,
    /// Time that the system's clock showed last, and when that was by the clock that nobody sets.
    clock: (u64, Instant),
    scratch: Vec<u8>,
    /// Pages in the WAL after the last commit.
    wal_pages: Arc<AtomicI32>,
    /// Number of pages at which a commit also checkpoints the WAL.
    wal_most: i32,
    identity: identity::Identity,
    lock: lock::Lock,
}
