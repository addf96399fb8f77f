//! Acceptance: an issuer's output file becomes a job. A file that is refused is refused as a whole and leaves
//! nothing in the bureau.
//!
//! Not here: reading and copying the file (`record::accept`), its checks (`file_check`).

use std::fs::File;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::delivery::open_for_job;
use super::file_check::{ConnectKeys, FileCheck};
use super::opening::Bureau;
use super::refusal::Refusal;
use super::run_job::ReadyJob;
use super::spool_folder::spool_path;
use crate::actor::Actor;
use crate::exit::{Exit, Failure};
use crate::hsm::{Auditor, CallerRole, FileAdmission, Realm, SpoolKey};
use crate::ids::JobId;
use crate::inspect::{InspectionReport, SectionCounts};
use crate::laws::JobProfiles;
use crate::ledger::{Accepted, LedgerError, NewJob};
use crate::modules::LineProfile;
use crate::profile::ProductProfile;
use crate::record::envelope::DeliveredFile;
use crate::record::{
    AcceptanceChecks, AcceptedFile, FileError, FileLimits, Frame, Header, Sealer, Spool, Trailer, accept,
    check, open_input,
};
use crate::report::ProgressDisplay;
use crate::threads::giving_way;

/// A job that was accepted just now.
pub struct FreshJob {
    /// Its number.
    pub id: JobId,
    product: Arc<ProductProfile>,
    spool: PathBuf,
    digest: [u8; 32],
    key: SpoolKey,
}

impl FreshJob {
    /// Opens its spool, to make its cards. Its profiles are those of acceptance.
    pub fn ready(self) -> Result<ReadyJob, Refusal> {
        let Self { id, product, spool, digest, key } = self;
        Ok(ReadyJob { id, spool: Spool::open(&spool, &digest, Some(Box::new(key)))?, product })
    }
}

impl Bureau {
    /// Accepts a file, read from its beginning, as a job. Returns the job, and the records whose card_refs
    /// were in an earlier file of the issuer. The copy is sealed from its first byte: no cardholder data lies
    /// on the disk in the clear. All that needs no card is checked before. A job with a submitter waits for a release.
    pub fn accept(
        &self,
        mut file: File,
        submitted_by: Option<Actor>,
        shown: ProgressDisplay,
    ) -> Result<(FreshJob, Vec<u32>), Refusal> {
        // The descriptor shares its position in the file with the client's, and the client may have read from it.
        file.rewind().map_err(|e| Refusal::fault(Exit::Io, format!("file: it cannot be read: {e}")))?;
        let spool_path = spool_path(self.ledger.path())?;
        let connect = || self.connect(CallerRole::Check);
        let mut checks = FileCheck::new(&self.line, Some(&connect), shown);
        let ledger = self.ledger.reader()?.id()?;
        let file = open_for_job(file, Some(&mut connect()?))?;
        let mut key = SpoolKey::new(Box::new(self.connect_for_ledger()?), ledger)?;
        let accepted = match copied(file, &spool_path, &mut checks, &mut key) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                unused(key);
                return Err(refusal);
            }
        };
        let product =
            checks.product().ok_or_else(|| Failure::new(Exit::Bug, "us: accepted without a Header"))?;
        let new = NewJob {
            issuer_id: accepted.header.issuer_id.clone(),
            file_id: accepted.header.file_id.clone(),
            product: accepted.header.product.clone(),
            digest: accepted.digest,
            kek: accepted.trailer.kek,
            line: self.line.name.clone(),
            rejects_shredded: self.shredded(),
            rejects_marked: false,
            profiles: made_by(&self.line, &product),
            simulated: self.simulation.on,
            test_keys: self.realm == Realm::Test,
            spool: spool_path.display().to_string(),
            spool_key: Some(key.name()),
            cards: accepted.cards,
            submitted_by,
        };
        let trailer = checks.genuine_trailer();
        let trailer = trailer.ok_or_else(|| Failure::new(Exit::Bug, "us: accepted without a Trailer"))?;
        let admission = FileAdmission { ledger, digest: new.digest, trailer };
        let accepted_job = match self.enter(new, &admission) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                // A ledger that failed may hold the job, so its next opening decides about the copy.
                if refusal.exit() != Exit::Ledger {
                    // If the copy cannot be removed, it does no harm: its key is destroyed.
                    let _ = std::fs::remove_file(&spool_path);
                    unused(key);
                }
                return Err(refusal);
            }
        };
        let AcceptedFile { spool, digest, .. } = accepted;
        Ok((FreshJob { id: accepted_job.job, product, spool, digest, key }, accepted_job.seen_before))
    }

    /// Has the HSM admit the file for this ledger alone, then makes the job. After a crash the admission is repeated.
    fn enter(&self, new: NewJob, admission: &FileAdmission) -> Result<Accepted, Refusal> {
        self.connect_for_ledger()?.admit(admission)?;
        self.ledger.new_job(new).map_err(|error| self.seen(error))
    }

    fn seen(&self, error: LedgerError) -> Refusal {
        match error {
            LedgerError::Seen { job, open } => Refusal::FileSeen { job, open, line: self.named.clone() },
            other => other.into(),
        }
    }
}

/// Checks and copies a file in a thread of the lowest priority, so that it does not slow down the cards of a job.
fn copied(
    file: DeliveredFile<File>,
    spool: &Path,
    checks: &mut FileCheck<'_>,
    key: &mut SpoolKey,
) -> Result<AcceptedFile, Refusal> {
    let read = || accept(file, spool, FileLimits::default(), checks, key);
    giving_way("acceptance", read).map_err(Failure::from)?.map_err(Into::into)
}

/// Makes every check of acceptance on a line, without a ledger, and returns the report of the file. Without keys it
/// leaves out the checks that need them.
pub fn would_accept(
    path: &Path,
    line: &LineProfile,
    connect: Option<ConnectKeys<'_>>,
    shown: ProgressDisplay,
) -> Result<InspectionReport, Failure> {
    let own: Vec<_> =
        line.modules.iter().flat_map(|module| &module.mics).chain(&line.ignore).cloned().collect();
    let counts = SectionCounts::new(&own);
    let mut checks = CountedCheck { check: FileCheck::new(line, connect, shown), counts, fault: None };
    let file = open_for_job(open_input(path)?, connect.map(|connect| connect()).transpose()?.as_mut())?;
    let checked = check(file, FileLimits::default(), &mut checks)?;
    let CountedCheck { check, counts, fault, .. } = checks;
    fault.map_or(Ok(()), Err)?;
    let applications = connect.map(|_| check.applications());
    Ok(InspectionReport::accepted(path, &checked, &counts, &line.name, applications))
}

/// Counts the records of a file on their way to its checks.
struct CountedCheck<'a> {
    check: FileCheck<'a>,
    counts: SectionCounts,
    /// Why a record could not be counted. The checks find this fault too, and their error is reported.
    fault: Option<Failure>,
}

impl AcceptanceChecks for CountedCheck<'_> {
    fn header(&mut self, header: &Header) -> Result<(), Failure> {
        self.check.header(header)
    }

    fn record(&mut self, frame: &Frame<'_>) -> bool {
        if let (None, Some(header)) = (&self.fault, self.check.file_header()) {
            self.fault = self.counts.count(frame, header.product.as_str()).err();
        }
        self.check.record(frame)
    }

    fn records(&mut self) -> Result<(), FileError> {
        self.check.records()
    }

    fn trailer(&mut self, header: &Header, trailer: &Trailer, body: &[u8]) -> Result<(), Failure> {
        self.check.trailer(header, trailer, body)
    }
}

/// Destroys the key of a copy that did not become a job. If that fails now, it is repeated when the ledger is
/// opened next.
fn unused(key: SpoolKey) {
    if let Err(error) = key.abandon() {
        tracing::warn!(%error, "the key of a refused file stays");
    }
}

/// The digests of the profiles by which the job's cards are made, for the ledger.
fn made_by(line: &LineProfile, product: &ProductProfile) -> JobProfiles {
    JobProfiles {
        line_digest: line.digest,
        product_digest: product.digest,
        chip_program: product.chip_program,
        plan_ms: None,
    }
}
