//! Tests of the whole ledger: laws against a model, durability, crashes, the chain. All names are synthetic.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

mod arrivals;
mod audit;
mod chain;
mod crash;
mod events;
pub(crate) mod model;
mod signing;
mod store;

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::ids::{CardNames, CardRef, FileId, IssuerId, KekId, KeyData, KmcRef, ProductName};
use crate::laws::*;
use crate::reason::ReasonWord;

/// A file of `cards` records; `name` makes file_id, digest and card_refs.
pub(crate) fn file(name: &str, cards: u32) -> NewJob {
    let mut digest = [0u8; 32];
    digest[..name.len()].copy_from_slice(name.as_bytes());
    NewJob {
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        file_id: FileId::new(name).unwrap(),
        product: ProductName::new("multiapp").unwrap(),
        digest,
        kek: KekId([0x47, 0x61, 0x73, 0x99, 0x01]),
        line: "sim-8".to_owned(),
        rejects_shredded: false,
        rejects_marked: false,
        profiles: JobProfiles::default(),
        simulated: true,
        test_keys: true,
        spool: format!("/spool/{name}"),
        spool_key: None,
        cards: (1..=cards).map(|n| CardRef::new(format!("{name}-{n}")).unwrap()).collect(),
        submitted_by: None,
    }
}

/// card_refs in this order.
fn names<const N: usize>(texts: [&str; N]) -> CardNames {
    texts.into_iter().map(|text| CardRef::new(text).unwrap()).collect()
}

fn chip(n: u8) -> Option<ChipId> {
    let key_data = KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 0, 0, 0, n]);
    Some(ChipId::globalplatform(key_data, Some(KmcRef { id: key_data.kmc_id(), version: 1 })))
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Records a change and waits for the answer.
pub(crate) fn say(ledger: &Ledger, job: JobId, change: Change) -> Result<LedgerEvent, LedgerError> {
    ledger.record(job, change, Context::default()).wait()
}

/// Records several changes, all of which must be allowed.
pub(crate) fn all(ledger: &Ledger, job: JobId, changes: impl IntoIterator<Item = Change>) {
    let tickets: Vec<_> = changes.into_iter().map(|c| ledger.record(job, c, Context::default())).collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

/// Feeds the blank and binds the record to it.
pub(crate) fn bind(seq: u32, blank: u32) -> [Change; 2] {
    [Change::Fed { blank }, Change::Bound { seq, blank, chip: None }]
}

/// Takes the record from BOUND to VERIFIED.
pub(crate) fn make(seq: u32) -> [Change; 3] {
    [
        Change::Attempt { seq, to: AttemptState::Personalizing },
        Change::Attempt { seq, to: AttemptState::Written },
        Change::Verified { seq, compared: "stripe read-back".to_owned() },
    ]
}

/// Copies database and WAL while the ledger may be open, as a power cut would leave them.
fn copy_as_it_is(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    let wal = |p: &Path| p.with_extension("db-wal");
    if wal(from).exists() {
        std::fs::copy(wal(from), wal(to)).unwrap();
    }
}

/// Checks everything that must hold at every instant.
fn sound(reader: &Reader) {
    reader.verify_chain().unwrap();
    for job in reader.jobs().unwrap() {
        assert_eq!(job.balance, reader.recount(job.job).unwrap(), "{}", job.job);
        assert_eq!((job.balance.records_off(), job.balance.blanks_off()), (0, 0), "{:?}", job.balance);
        assert_eq!(u64::from(job.records), job.balance.records);
    }
}

/// Runs SQL on the file directly, past the ledger.
pub(crate) fn tamper(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}
