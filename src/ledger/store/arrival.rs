//! The rows of a new job that arrives: its records are written in pieces, so that cards are bound meanwhile.
//!
//! A job exists as soon as it has a row in `balance`, which is written together with its first event and its last
//! records. If the process ends before, the job is incomplete: no view shows it, and the next start deletes it.
//!
//! Not here: the order of the pieces (`arrivals`), the events.

use rusqlite::{Connection, OptionalExtension, params};

use super::LedgerStore;
use super::row::signed;
use crate::ids::{IssuerId, JobId};
use crate::laws::types::{Balance, JobState, RecordState};
use crate::ledger::error::LedgerError;
use crate::ledger::new_job::NewJob;

/// An incomplete job. Its number follows that of the last complete job, because jobs arrive one after the other. It has a
/// record, because its row is written with its first records, and nothing else.
const INCOMPLETE: &str = "SELECT id FROM job WHERE id = 1 + coalesce((SELECT max(job) FROM balance), 0) \
                          AND EXISTS (SELECT 1 FROM record WHERE job = id) \
                          AND NOT EXISTS (SELECT 1 FROM event_v2 WHERE job = id AND kind < 16) \
                          AND NOT EXISTS (SELECT 1 FROM event WHERE job = id) \
                          AND NOT EXISTS (SELECT 1 FROM blank WHERE job = id) \
                          AND NOT EXISTS (SELECT 1 FROM stock WHERE job = id)";

/// The incomplete job, if there is one.
fn incomplete(connection: &Connection) -> Result<Option<JobId>, LedgerError> {
    let job = connection.prepare_cached(INCOMPLETE)?.query_row([], |r| Ok(JobId(r.get(0)?)));
    Ok(job.optional()?)
}

/// The incomplete job as a writer leaves it: open, fewer records than the file has, all of them waiting and in order.
/// Another program has made any other.
pub(super) fn arriving(connection: &Connection) -> Result<Option<JobId>, LedgerError> {
    let Some(job) = incomplete(connection)? else { return Ok(None) };
    let as_left = connection.prepare_cached(
        "SELECT state = 'OPEN' AND deleted = 0 AND deleting = 0 AND (SELECT count(*) < job.records AND min(seq) = 1 AND \
         max(seq) = count(*) AND min(state = 'QUEUED' AND released = 0) FROM record WHERE job = ?1) FROM job WHERE id = ?1",
    )?
    .query_row([job.0], |r| r.get::<_, bool>(0))?;
    Ok(as_left.then_some(job))
}

impl LedgerStore {
    /// Deletes the rows of an incomplete job.
    pub(in crate::ledger) fn take_back(&self) -> Result<(), LedgerError> {
        let Some(job) = incomplete(&self.connection)? else { return Ok(()) };
        let file: String =
            self.connection.query_row("SELECT file_id FROM job WHERE id = ?1", [job.0], |r| r.get(0))?;
        tracing::warn!(
            "the program ended while it accepted the file {file}, which is no job yet: submit it again"
        );
        self.connection.execute("DELETE FROM record WHERE job = ?1", [job.0])?;
        self.connection.execute("DELETE FROM job WHERE id = ?1", [job.0])?;
        Ok(())
    }

    /// Refuses a file with the digest of a job's file, or with its issuer and file_id.
    pub(in crate::ledger) fn refuse_seen(&self, new: &NewJob) -> Result<(), LedgerError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT id, state, digest, EXISTS (SELECT 1 FROM balance WHERE job = id) FROM job \
                 WHERE (issuer_id = ?1 AND file_id = ?2) OR digest = ?3 ORDER BY digest = ?3 DESC, id",
            )?
            .query_row(params![new.issuer_id.as_str(), new.file_id.as_str(), new.digest], |r| {
                Ok((JobId(r.get(0)?), r.get::<_, JobState>(1)?, r.get::<_, [u8; 32]>(2)?, r.get(3)?))
            })
            .optional()?;
        match found {
            None => Ok(()),
            Some((job, _, _, false)) => Err(changed(job)),
            Some((job, state, accepted, true)) if accepted == new.digest => {
                Err(LedgerError::Seen { job, open: state != JobState::Closed })
            }
            Some((job, _, accepted, true)) => Err(LedgerError::FileIdTaken {
                job,
                file_id: new.file_id.to_string(),
                accepted,
                digest: new.digest,
            }),
        }
    }

    /// Writes the row of a new job with this number of records.
    pub(in crate::ledger) fn insert_job(&mut self, new: &NewJob, records: u32) -> Result<JobId, LedgerError> {
        let now = self.now();
        self.connection
            .prepare_cached(
                "INSERT INTO job (issuer_id, file_id, product, digest, kek, line, rejects_shredded, simulated, spool, \
                 accepted, records, state, test_keys, spool_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
                 ?13, ?14)",
            )?
            .execute(params![
                new.issuer_id.as_str(),
                new.file_id.as_str(),
                new.product.as_str(),
                new.digest,
                new.kek.0,
                new.line,
                new.rejects_shredded,
                new.simulated,
                new.spool,
                signed(now),
                records,
                JobState::Open,
                new.test_keys,
                new.spool_key.map(|key| key.0),
            ])?;
        let id = u32::try_from(self.connection.last_insert_rowid())
            .map_err(|_| LedgerError::Damaged("too many jobs".to_owned()))?;
        Ok(JobId(id))
    }

    /// Writes the next records of a new job. Returns the sequences of those whose card_ref also occurs in another file of
    /// the issuer.
    pub(in crate::ledger) fn insert_records<'a>(
        &self,
        job: JobId,
        issuer: &IssuerId,
        records: impl Iterator<Item = (u32, &'a str)>,
    ) -> Result<Vec<u32>, LedgerError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO record (job, seq, card_ref, state, released) VALUES (?1, ?2, ?3, ?4, 0)",
        )?;
        let mut seen = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM record AS other JOIN job ON job.id = other.job WHERE other.card_ref = ?2 \
             AND other.job <> ?1 AND job.issuer_id = ?3)",
        )?;
        let mut seen_before = Vec::new();
        for (seq, card_ref) in records {
            insert.execute(params![job.0, seq, card_ref, RecordState::Queued])?;
            if seen.query_row(params![job.0, card_ref, issuer.as_str()], |r| r.get(0))? {
                seen_before.push(seq);
            }
        }
        Ok(seen_before)
    }

    /// Completes a job whose records are written. Its first event comes in the same transaction.
    pub(in crate::ledger) fn complete_job(
        &mut self,
        job: JobId,
        balance: &Balance,
    ) -> Result<(), LedgerError> {
        let now = signed(self.now());
        self.connection
            .prepare_cached("UPDATE job SET accepted = ?2 WHERE id = ?1")?
            .execute(params![job.0, now])?;
        // The zeros are only placeholders: `write_balance` sets every column.
        self.connection
            .prepare_cached("INSERT INTO balance VALUES (?1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)")?
            .execute([job.0])?;
        self.write_balance(job, balance)
    }
}

/// The error for a job that another program has changed while it arrived.
pub(super) fn changed(job: JobId) -> LedgerError {
    LedgerError::Damaged(format!("another program has changed {job} while its file was accepted"))
}
