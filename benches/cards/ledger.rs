//! Cost of a card in the ledger alone: the changes of a good card, on disk, with eight cards under way.

use std::path::Path;
use std::time::Duration;

use cardwright::ids::{CardRef, FileId, IssuerId, KekId, ProductName};
use cardwright::laws::{AttemptState, Change, ChipId, Context, JobId, JobProfiles};
use cardwright::ledger::{Ledger, NewJob, Ticket};

use crate::support::{cpu_of_self, key_data};

/// Cards under way: the count of stations of `sim-chip-8`.
const UNDER_WAY: usize = 8;
/// Digest of every file.
pub const DIGEST: [u8; 32] = [7; 32];
/// FED, BOUND, PERSONALIZING, WRITTEN, VERIFIED, STACKED.
pub const EVENTS: usize = 6;

/// Makes a job with this many records in a new ledger.
pub fn job(path: &Path, cards: u32) -> (Ledger, JobId) {
    let ledger = Ledger::open(path).unwrap();
    let issuer = IssuerId::new("TESTBANK").unwrap();
    let names = (issuer, FileId::new("BENCH").unwrap(), ProductName::new("multiapp").unwrap());
    let job = ledger.new_job(new_job(names, cards)).unwrap().job;
    (ledger, job)
}

/// A job with this many records, C000001 and so on, of a file with these names and [`DIGEST`].
pub fn new_job((issuer_id, file_id, product): (IssuerId, FileId, ProductName), cards: u32) -> NewJob {
    NewJob {
        issuer_id,
        file_id,
        product,
        digest: DIGEST,
        kek: KekId([0x47, 0x61, 0x73, 0xFF, 1]),
        line: "sim-chip-8".into(),
        rejects_shredded: false,
        rejects_marked: false,
        profiles: JobProfiles::default(),
        simulated: true,
        test_keys: true,
        spool: "none".into(),
        spool_key: None,
        cards: (1..=cards).map(|n| CardRef::new(format!("C{n:06}")).unwrap()).collect(),
        submitted_by: None,
    }
}

/// CPU time of recording this many good cards in a ledger; the job has one record more.
pub fn cards(path: &Path, cards: u32) -> Duration {
    let (ledger, job) = job(path, cards + 1);
    let before = cpu_of_self();
    let record = |change| ledger.record(job, change, context());
    let all: Vec<u32> = (1..=cards).collect();
    for under_way in all.chunks(UNDER_WAY) {
        let mut later: Vec<Ticket> = under_way.iter().map(|n| record(Change::Fed { blank: *n })).collect();
        // A station waits only for its own binding; all eight bindings reach the disk together.
        let bound: Vec<_> = under_way.iter().map(|n| record(bound(*n))).collect();
        bound.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
        for n in under_way {
            later.extend(made(*n).map(record));
        }
        later.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    }
    let used = cpu_of_self() - before;
    ledger.close().unwrap();
    used
}

/// The binding of record `n` to blank `n`.
pub fn bound(n: u32) -> Change {
    Change::Bound { seq: n, blank: n, chip: Some(ChipId::globalplatform(key_data(n), None)) }
}

/// The changes of a good card after its binding.
pub fn made(seq: u32) -> [Change; 4] {
    [
        Change::Attempt { seq, to: AttemptState::Personalizing },
        Change::Attempt { seq, to: AttemptState::Written },
        Change::Verified { seq, compared: "device status".into() },
        Change::Stacked { seq, position: seq },
    ]
}

/// The context that the dispatcher sends with a change.
pub fn context() -> Context {
    let text = |text: &str| Some(text.to_owned());
    Context {
        station: text("chip-1"),
        module: text("chip"),
        actor: text("line"),
        ms: Some(1),
        ..Context::default()
    }
}
