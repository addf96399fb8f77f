//! A job whose ledger an HSM follows: it binds the cards of prepared sessions, as a line does before it opens them.

use std::fs::File;
use std::path::Path;

use cardwright::hsm::{Auditor, CardAttempt, FileAdmission, TrailerRequest};
use cardwright::ids::{CardRef, KekId, KmcRef};
use cardwright::laws::{Change, ChipId, Context, JobProfiles};
use cardwright::ledger::{Ledger, NewJob};
use cardwright::record::{Cwf1Reader, FileLimits};
use tempfile::TempDir;

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
        let ledger = Ledger::open_audited(folder.path().join("l.db"), connect()).unwrap();
        let mut reader = Cwf1Reader::open(File::open(file).unwrap(), FileLimits::default()).unwrap();
        let header = reader.header().clone();
        while reader.next_record().unwrap().is_some() {}
        let end = reader.finish().unwrap();
        let digest = [7; 32];
        let trailer = TrailerRequest::of(&header, &end.trailer, &end.body);
        connect().admit(&FileAdmission { ledger: ledger.id(), digest, trailer }).unwrap();
        let new = NewJob {
            issuer_id: header.issuer_id,
            file_id: header.file_id,
            product: header.product,
            digest,
            kek: KekId([0x47, 0x61, 0x73, 0xFF, 1]),
            line: "sim-chip-8".into(),
            rejects_shredded: false,
            rejects_marked: false,
            profiles: JobProfiles::default(),
            simulated: true,
            test_keys: true,
            spool: "none".into(),
            spool_key: None,
            cards: (1..=header.records).map(|n| CardRef::new(format!("C{n:06}")).unwrap()).collect(),
            submitted_by: None,
        };
        let job = ledger.new_job(new).unwrap().job;
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
}
