//! Loading: the working state of a job from its rows.

use rusqlite::{Connection, OptionalExtension};

use super::LedgerStore;
use super::row::{blank_chip, flag};
use crate::ids::CardNames;
use crate::laws::book::{Attempt, JobBook};
use crate::laws::records::{JobRecords, RecordLife};
use crate::laws::types::{AttemptState, Balance, JobId, RecordState, Stock};
use crate::ledger::error::LedgerError;

impl LedgerStore {
    /// Jobs in which something was under way when an earlier process ended.
    pub(in crate::ledger) fn interrupted(&self) -> Result<Vec<JobId>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT job FROM balance WHERE in_flight > 0 OR blanks_in_line > 0 ORDER BY job",
        )?;
        let rows = query.query_map([], |r| Ok(JobId(r.get(0)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The working state of a job.
    pub(in crate::ledger) fn load(&self, job: JobId) -> Result<Option<JobBook>, LedgerError> {
        load(&self.connection, job)
    }
}

/// The working state of a job.
fn load(connection: &Connection, job: JobId) -> Result<Option<JobBook>, LedgerError> {
    load_with(connection, job, cards(connection, job)?)
}

/// The working state of a job with these card_refs. A caller that needs no card_refs passes an empty list.
pub(super) fn load_with(
    connection: &Connection,
    job: JobId,
    names: CardNames,
) -> Result<Option<JobBook>, LedgerError> {
    let header = connection
        .prepare_cached(
            "SELECT rejects_shredded, simulated, state, deleted, deleting FROM job WHERE id = ?1 AND EXISTS \
             (SELECT 1 FROM balance WHERE job = id)",
        )?
        .query_row([job.0], |r| Ok((flag(r, 0)?, flag(r, 1)?, r.get(2)?, flag(r, 3)?, flag(r, 4)?)))
        .optional()?;
    let Some((rejects_shredded, simulated, state, deleted, deleting)) = header else { return Ok(None) };
    let mut query =
        connection.prepare_cached("SELECT state, released FROM record WHERE job = ?1 ORDER BY seq")?;
    let mut rows = query.query([job.0])?;
    let mut lives = Vec::with_capacity(names.len());
    while let Some(row) = rows.next()? {
        lives.push(RecordLife { state: row.get(0)?, released: flag(row, 1)? });
    }
    let mut book = JobBook::new(JobRecords::new(names, lives), rejects_shredded, simulated);
    book.state = state;
    (book.deleted, book.deleting) = (deleted, deleting);
    load_blanks(connection, job, &mut book)?;
    load_attempts(connection, job, &mut book)?;
    book.balance = balance(connection, job, &book)?;
    book.stock = stock(connection, job)?;
    Ok(Some(book))
}

/// Both balances, summed over the loaded book: a count by the database takes as long as loading.
fn balance(connection: &Connection, job: JobId, book: &JobBook) -> Result<Balance, LedgerError> {
    use AttemptState::{
        Bound, Destroyed, Good, Personalizing, Rejected, Sample, Stacked, Unknown, Verified, Written,
    };
    let mut sum = Balance::default();
    for (seq, record) in book.records.lives() {
        sum.records += 1;
        *match record.state {
            RecordState::Queued => &mut sum.queued,
            RecordState::InFlight => &mut sum.in_flight,
            RecordState::Good => &mut sum.good,
            RecordState::Remake => &mut sum.remake,
            RecordState::Unknown => &mut sum.unknown,
            RecordState::Cancelled => &mut sum.cancelled,
        } += 1;
        for attempt in book.records.attempts_of(seq) {
            sum.blanks_fed += 1;
            *match attempt.state {
                Bound | Personalizing | Written | Verified => &mut sum.blanks_in_line,
                Stacked | Good => &mut sum.blanks_good,
                Rejected | Destroyed => &mut sum.blanks_rejected,
                Unknown => &mut sum.blanks_unknown,
                Sample => &mut sum.blanks_sample,
            } += 1;
        }
    }
    let mut query = connection.prepare_cached(
        "SELECT state, count(*) FROM blank WHERE job = ?1 AND state <> 'BOUND' GROUP BY state",
    )?;
    let mut rows = query.query([job.0])?;
    while let Some(row) = rows.next()? {
        let count = super::row::number(row, 1)?;
        sum.blanks_fed += count;
        *match row.get_ref(0)?.as_str().unwrap_or_default() {
            "FED" => &mut sum.blanks_in_line,
            "REJECTED" => &mut sum.blanks_rejected,
            "RETURNED" => &mut sum.blanks_returned,
            "TEST" => &mut sum.blanks_sample,
            other => return Err(LedgerError::Damaged(format!("{job}: a blank is {other:?}"))),
        } += count;
    }
    Ok(sum)
}

/// The stock of a job.
pub(super) fn stock(connection: &Connection, job: JobId) -> Result<Stock, LedgerError> {
    let mut query =
        connection.prepare_cached("SELECT issued, returned, vaulted FROM stock WHERE job = ?1")?;
    let stock = query.query_row([job.0], |r| {
        Ok(Stock {
            issued: super::row::number(r, 0)?,
            returned: super::row::number(r, 1)?,
            vaulted: super::row::number(r, 2)?,
        })
    });
    Ok(stock.optional()?.unwrap_or_default())
}

/// The card_refs of a job's records, by sequence.
pub(super) fn cards(connection: &Connection, job: JobId) -> Result<CardNames, LedgerError> {
    let mut query =
        connection.prepare_cached("SELECT card_ref, seq FROM record WHERE job = ?1 ORDER BY seq")?;
    let mut rows = query.query([job.0])?;
    let mut names = CardNames::default();
    while let Some(row) = rows.next()? {
        let (before, seq): (_, i64) = (names.len(), row.get(1)?);
        if usize::try_from(seq).ok() != Some(before + 1) {
            return Err(LedgerError::Damaged(format!("{job}: after {before} records comes record {seq}")));
        }
        let card_ref = row.get_ref(0)?.as_str().map_err(|e| LedgerError::Damaged(e.to_string()))?;
        let too_long = |e| LedgerError::Damaged(format!("{job} record {seq}: its card_ref {e}"));
        names.push(card_ref).map_err(too_long)?;
    }
    Ok(names)
}

fn load_blanks(connection: &Connection, job: JobId, book: &mut JobBook) -> Result<(), LedgerError> {
    let mut query = connection
        .prepare_cached("SELECT number FROM blank WHERE job = ?1 AND state = 'FED' ORDER BY number")?;
    for number in query.query_map([job.0], |r| r.get(0))? {
        book.in_line.insert(number?);
    }
    (book.last_blank, book.last_position) = connection
        .prepare_cached(
            "SELECT coalesce((SELECT max(number) FROM blank WHERE job = ?1), 0), \
             coalesce((SELECT max(position) FROM attempt WHERE job = ?1 AND position IS NOT NULL), 0)",
        )?
        .query_row([job.0], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(())
}

fn load_attempts(connection: &Connection, job: JobId, book: &mut JobBook) -> Result<(), LedgerError> {
    let mut query = connection.prepare_cached(
        "SELECT a.seq, a.blank, a.state, a.wrote, a.number, b.key_data, b.chip FROM attempt AS a JOIN blank AS b ON b.job = a.job \
         AND b.number = a.blank WHERE a.job = ?1 ORDER BY a.seq, a.number",
    )?;
    let mut rows = query.query([job.0])?;
    while let Some(row) = rows.next()? {
        let seq: u32 = row.get(0)?;
        let chip = blank_chip(row, 5)?.known();
        book.chips.extend(chip.map(|chip| chip.identity));
        let label = chip.map(|chip| chip.label());
        let attempt = Attempt { blank: row.get(1)?, label, state: row.get(2)?, wrote: flag(row, 3)? };
        if book.records.life(seq).is_none() {
            return Err(LedgerError::Damaged(format!("{job}: an attempt without a record")));
        }
        let number: i64 = row.get(4)?;
        if i64::from(book.records.attempt(seq, attempt)) != number {
            return Err(LedgerError::Damaged(format!(
                "{job} record {seq}: an attempt has the number {number}"
            )));
        }
    }
    Ok(())
}
