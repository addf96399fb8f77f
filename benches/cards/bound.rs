//! A job whose ledger an HSM follows: it binds the cards of prepared sessions, as a line does before it opens them.

use std::fs::File;
use std::path::Path;

use cardwright::hsm::{Auditor, CardAttempt, FileAdmission, TrailerRequest};
use cardwright::ids::KmcRef;
use cardwright::laws::{Change, ChipId, Context, JobId};
use cardwright::ledger::Ledger;
use cardwright::record::{Cwf1Reader, FileLimits};
use tempfile::TempDir;

use crate::ledger::{DIGEST, new_job};
use crate::support::key_data;

/// Attempts under way; the ledger is open.
pub struct BoundCards {
    pub attempts: Vec<CardAttempt>,
    _ledger: Ledger,
    _folder: TempDir,
}

impl BoundCards {
    /// Binds the first `count` records of a file to blanks of KMC FFFFFF476173:1. `connect` makes connections of a ledger's role
    /// to an HSM that has not seen the file.
    pub fn new(file: &Path, count: u32, connect: &dyn Fn() -> Box<dyn Auditor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, job) = Self::admitted(file, &folder.path().join("l.db"), connect);
        let record = |change| ledger.record(job, change, Context::default());
        let kmc = |id| KmcRef { id, version: 1 };
        let chip = |n| ChipId::globalplatform(key_data(n), Some(kmc(key_data(n).kmc_id())));
        let (fed, bound): (Vec<_>, Vec<_>) = (1..=count)
            .map(|n| {
                let bound = Change::Bound { seq: n, blank: n, chip: Some(chip(n)) };
                (record(Change::Fed { blank: n }), record(bound))
            })
            .unzip();
        fed.into_iter().chain(bound).for_each(|ticket| drop(ticket.wait().unwrap()));
        let attempt = |seq| CardAttempt { ledger: ledger.id(), job, seq, attempt: 1 };
        Self { attempts: (1..=count).map(attempt).collect(), _ledger: ledger, _folder: folder }
    }

    /// A new ledger with a file as its job, which the HSM follows.
    pub fn admitted(file: &Path, path: &Path, connect: &dyn Fn() -> Box<dyn Auditor>) -> (Ledger, JobId) {
        let ledger = Ledger::open_audited(path, connect()).unwrap();
        let mut reader = Cwf1Reader::open(File::open(file).unwrap(), FileLimits::default()).unwrap();
        let header = reader.header().clone();
        while reader.next_record().unwrap().is_some() {}
        let end = reader.finish().unwrap();
        let trailer = TrailerRequest::of(&header, &end.trailer, &end.body);
        connect().admit(&FileAdmission { ledger: ledger.id(), digest: DIGEST, trailer }).unwrap();
        let new = new_job((header.issuer_id, header.file_id, header.product), header.records);
        let job = ledger.new_job(new).unwrap().job;
        (ledger, job)
    }
}
