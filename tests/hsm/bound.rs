//! A ledger that an HSM follows, with one job of ten records. It binds blanks to records as a line does.

use std::collections::BTreeMap;

use cardwright::hsm::memory::AttemptBar;
use cardwright::hsm::{Auditor, CardAttempt, FileAdmission};
use cardwright::ids::{CardRef, FileId, IssuerId, KekId, KeyData, KmcRef, ProductName};
use cardwright::laws::{AttemptState, Change, ChipId, Context, JobId, JobProfiles};
use cardwright::ledger::{Ledger, LedgerError, NewJob};
use tempfile::TempDir;

use crate::card::Card;
use crate::file::{self, kek_tdes};

/// Records of the job, CARD-1 to CARD-10: the Trailer states so many.
const RECORDS: u32 = 10;

pub struct BoundJob {
    ledger: Ledger,
    job: JobId,
    blank: u32,
    attempts: BTreeMap<u32, u32>,
    _folder: TempDir,
}

/// The chip of a card.
pub fn chip_of(card: &Card) -> ChipId {
    let key_data = KeyData(card.key_data);
    let kmc = KmcRef { id: key_data.kmc_id(), version: card.version };
    ChipId::globalplatform(key_data, Some(kmc))
}

pub fn new_job(file_id: &str, digest: u8) -> NewJob {
    NewJob {
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        file_id: FileId::new(file_id).unwrap(),
        product: ProductName::new("multiapp").unwrap(),
        digest: [digest; 32],
        kek: KekId(kek_tdes().id),
        line: "sim-8".to_owned(),
        rejects_shredded: true,
        rejects_marked: false,
        profiles: JobProfiles::default(),
        simulated: true,
        test_keys: true,
        spool: "none".to_owned(),
        spool_key: None,
        cards: (1..=RECORDS).map(|n| CardRef::new(format!("CARD-{n}")).unwrap()).collect(),
        submitted_by: None,
    }
}

impl BoundJob {
    /// Of the file of [`file::SCOPE`]. `connect` makes connections of a ledger's role.
    pub fn new(connect: &dyn Fn() -> Box<dyn Auditor>) -> Self {
        Self::of_file(connect, "FILE-1", 1)
    }

    pub fn of_file(connect: &dyn Fn() -> Box<dyn Auditor>, file_id: &'static str, digest: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open_audited(folder.path().join("l.db"), connect()).unwrap();
        let trailer = file::trailer(&kek_tdes(), "TESTBANK", file_id);
        connect().admit(&FileAdmission { ledger: ledger.id(), digest: [digest; 32], trailer }).unwrap();
        let job = ledger.new_job(new_job(file_id, digest)).unwrap().job;
        Self { ledger, job, blank: 0, attempts: BTreeMap::new(), _folder: folder }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn record(&self, change: Change) -> Result<(), LedgerError> {
        self.ledger.record(self.job, change, Context::default()).wait().map(drop)
    }

    fn begun(&mut self, seq: u32, chip: Option<ChipId>) -> (CardAttempt, Result<(), LedgerError>) {
        self.blank += 1;
        self.record(Change::Fed { blank: self.blank }).unwrap();
        let bound = self.record(Change::Bound { seq, blank: self.blank, chip });
        let attempt = self.attempts.entry(seq).or_default();
        *attempt += 1;
        (CardAttempt { ledger: self.ledger.id(), job: self.job, seq, attempt: *attempt }, bound)
    }

    /// Binds a record to a blank with this chip.
    pub fn bind(&mut self, seq: u32, chip: &Card) -> CardAttempt {
        let (card, bound) = self.begun(seq, Some(chip_of(chip)));
        bound.unwrap();
        card
    }

    /// Binds a record to a blank to which the HSM gives no session.
    pub fn bind_barred(&mut self, seq: u32, chip: &Card) -> (CardAttempt, AttemptBar) {
        let (card, bound) = self.begun(seq, Some(chip_of(chip)));
        (card, barred(bound))
    }

    /// Binds a record to a blank, whatever the HSM makes of it.
    pub fn bind_any(&mut self, seq: u32, chip: &Card) -> CardAttempt {
        self.begun(seq, Some(chip_of(chip))).0
    }

    /// Binds a record to a blank whose chip is not known yet.
    pub fn bind_unseen(&mut self, seq: u32) -> CardAttempt {
        let (card, bound) = self.begun(seq, None);
        bound.unwrap();
        card
    }

    pub fn found(&self, seq: u32, chip: &Card) -> Result<(), LedgerError> {
        self.record(Change::ChipFound { seq, chip: chip_of(chip) })
    }

    pub fn personalizing(&self, seq: u32) {
        self.record(Change::Attempt { seq, to: AttemptState::Personalizing }).unwrap();
    }

    /// The card is thrown out and shredded; its record may be made again.
    pub fn throw_out(&self, seq: u32) {
        self.record(Change::Rejected { seq }).unwrap();
        self.record(Change::RemakeReleased { seq }).unwrap();
    }
}

/// Why the HSM gives the attempt no session.
pub fn barred(bound: Result<(), LedgerError>) -> AttemptBar {
    match bound {
        Err(LedgerError::Barred { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}
