//! The writing side: one transaction per batch; rows and events of changes that the book allowed.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rusqlite::params;
use rusqlite::types::ToSql;

use super::LedgerStore;
use super::events::{self, EventFilter};
use super::row::signed;
use super::terms::TermsRow;
use crate::laws::book::{Attempt, ChangeEffect, JobBook};
use crate::laws::chain::hash_version_two;
use crate::laws::event::{ChainVersion, EVENT_MAX, EventFact, LedgerEvent, StateName, codec};
use crate::laws::fact::fact_of;
use crate::laws::time::rfc3339;
use crate::laws::types::{Balance, Change, Context, JobId};
use crate::ledger::error::LedgerError;
use crate::ledger::new_job::NewJob;

/// A step of the clock that is reported, in ms: services that keep the clock right make smaller ones.
const CLOCK_SET: u64 = 60_000;
/// A step back of the clock that events do not show, in ms, so that their times stay in order when the clock is corrected.
const CLOCK_CORRECTED: u64 = 60_000;

impl LedgerStore {
    /// Begins a transaction (`BEGIN IMMEDIATE`: an upgrade from reading could fail with SQLITE_BUSY).
    pub(in crate::ledger) fn begin(&self) -> Result<(), LedgerError> {
        let begin = || self.connection.prepare_cached("BEGIN IMMEDIATE")?.raw_execute();
        begin()?;
        if self.in_place().is_err() {
            // Another program may have checkpointed and emptied the WAL. SQLite's index shows an empty WAL then, and
            // a shorter file is no damage.
            self.connection.prepare_cached("ROLLBACK")?.raw_execute()?;
            let frames: i64 = self.connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |r| r.get(1))?;
            if frames == 0 {
                self.identity.emptied();
            }
            begin()?;
        }
        self.in_place()
    }

    /// Checks that the ledger's files are in place and whole, for a writer that has had nothing to write for a while.
    pub(in crate::ledger) fn look(&self) -> Result<(), LedgerError> {
        if self.in_place().is_ok() {
            return Ok(());
        }
        // Repeats the check with a transaction, because another program may have emptied the WAL.
        self.begin()?;
        self.connection.prepare_cached("ROLLBACK")?.raw_execute()?;
        Ok(())
    }

    /// The error to report for a failed write: a missing file goes before SQLite's message about it.
    pub(in crate::ledger) fn reason(&self, error: LedgerError) -> LedgerError {
        self.in_place().err().unwrap_or_else(|| error.of(&self.path))
    }

    fn in_place(&self) -> Result<(), LedgerError> {
        match self.identity.moved() {
            None => Ok(()),
            Some(path) => Err(LedgerError::Moved(path.to_owned())),
        }
    }

    /// Writes the head of the chain and commits: durable on return. If the checkpoint of the WAL into the file fails,
    /// the commit is durable all the same, but nothing more may be written.
    pub(in crate::ledger) fn commit(&self) -> Result<(), LedgerError> {
        let (n, hash) = &self.head;
        self.connection
            .prepare_cached("UPDATE head SET n = ?1, hash = ?2")?
            .execute(params![signed(*n), hash])?;
        self.connection.prepare_cached("COMMIT")?.raw_execute()?;
        self.in_place()?;
        self.lock.note(self.id, *n);
        self.shorten_wal()
    }

    /// Rolls a transaction back. The ledger accepts no more changes afterwards, so the head in memory does not
    /// matter.
    pub(in crate::ledger) fn abandon(&self) {
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::debug!(%error, "nothing to roll back");
        }
    }

    /// Station and module in the last event of a record's card that names a station.
    pub(in crate::ledger) fn last_station(
        &self,
        job: JobId,
        seq: u32,
    ) -> Result<(Option<String>, Option<String>), LedgerError> {
        let has_station = |event: &LedgerEvent| event.context.station.is_some();
        let last = events::last(&self.connection, EventFilter::Card(job, seq), has_station)?;
        Ok(last.map(|event| (event.context.station, event.context.module)).unwrap_or_default())
    }

    /// Writes the effect of an allowed change, and its event. Durable after [`LedgerStore::commit`].
    pub(in crate::ledger) fn write(
        &mut self,
        job: JobId,
        book: &JobBook,
        change: &Change,
        effect: &ChangeEffect,
        context: Context,
    ) -> Result<LedgerEvent, LedgerError> {
        self.write_blank(job, effect)?;
        if let (Some(seq), Some((state, released))) = (effect.seq, effect.record) {
            self.execute(
                "UPDATE record SET state = ?3, released = ?4 WHERE job = ?1 AND seq = ?2",
                params![job.0, seq, state, released],
            )?;
        }
        if let (Some(seq), Some((number, attempt))) = (effect.seq, effect.attempt) {
            let compared = match change {
                Change::Verified { compared, .. } => Some(compared.as_str()),
                _ => None,
            };
            self.write_attempt(job, seq, number, &attempt, change, (effect.position, compared))?;
        }
        if effect.stock {
            let stock = &book.stock;
            self.execute(
                "INSERT INTO stock (job, issued, returned, vaulted) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
                 SET issued = excluded.issued, returned = excluded.returned, vaulted = excluded.vaulted",
                params![job.0, signed(stock.issued), signed(stock.returned), signed(stock.vaulted)],
            )?;
        }
        if let Some(state) = effect.job {
            self.execute("UPDATE job SET state = ?2 WHERE id = ?1", params![job.0, state])?;
        }
        if effect.deleting {
            self.execute("UPDATE job SET deleting = 1 WHERE id = ?1", params![job.0])?;
        }
        if effect.deleted {
            self.execute("UPDATE job SET deleted = 1 WHERE id = ?1", params![job.0])?;
        }
        let card_ref = effect.seq.and_then(|seq| book.records.card_ref(seq));
        let fact = fact_of(change, effect, card_ref)
            .ok_or_else(|| LedgerError::Damaged(format!("{job}: no event can record this change")))?;
        self.append(Some(job), book.simulated, effect.from, fact, context)
    }

    fn write_blank(&self, job: JobId, effect: &ChangeEffect) -> Result<(), LedgerError> {
        let Some((number, _)) = effect.blank else { return Ok(()) };
        let key_data = effect.chip.and_then(|chip| chip.key_data()).map(|key_data| key_data.0);
        let chip = effect.chip.map(|chip| chip.to_bytes());
        match (effect.blank_state, &chip) {
            // A new blank, or a new state of a known one.
            (Some(state), _) => self.execute(
                "INSERT INTO blank (job, number, key_data, state, chip) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE \
                 SET key_data = excluded.key_data, state = excluded.state, chip = excluded.chip",
                params![job.0, number, key_data, state, chip],
            ),
            // Only its chip became known; it stays BOUND.
            (None, Some(_)) => self.execute(
                "UPDATE blank SET key_data = ?3, chip = ?4 WHERE job = ?1 AND number = ?2",
                params![job.0, number, key_data, chip],
            ),
            (None, None) => Ok(()),
        }
    }

    fn write_attempt(
        &mut self,
        job: JobId,
        seq: u32,
        number: u32,
        attempt: &Attempt,
        change: &Change,
        (position, compared): (Option<u32>, Option<&str>),
    ) -> Result<(), LedgerError> {
        match change {
            Change::Bound { .. } => self.execute(
                "INSERT INTO attempt (job, seq, number, blank, state, wrote) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![job.0, seq, number, attempt.blank, attempt.state, attempt.wrote],
            ),
            // They change no column of the attempt.
            Change::ChipFound { .. } | Change::ValueGiven { .. } => Ok(()),
            _ => self.execute(
                "UPDATE attempt SET state = ?4, wrote = ?5, position = coalesce(?6, position), \
                 compared = coalesce(?7, compared) WHERE job = ?1 AND seq = ?2 AND number = ?3",
                params![job.0, seq, number, attempt.state, attempt.wrote, position, compared],
            ),
        }
    }

    /// Appends the event by which a file became a job.
    pub(in crate::ledger) fn accepted(
        &mut self,
        job: JobId,
        new: &NewJob,
        book: &JobBook,
    ) -> Result<LedgerEvent, LedgerError> {
        let row = TermsRow::read(&self.connection, job)?.ok_or(LedgerError::NoJob(job))?;
        let ts = row.accepted_at();
        // The row was open to other programs since its first piece. The event must have what the HSM has admitted.
        let terms = TermsRow::of(new, book.records.len(), ts);
        if row != terms {
            return Err(super::arrival::changed(job));
        }
        let terms = terms.accepted(book.records.names(), new.profiles, new.rejects_marked);
        let fact = EventFact::Accepted(Some(Box::new(terms)));
        // With the time in the job's row, because an audit compares the two.
        self.append_at(ts, Some(job), book.simulated, None, fact, Context::default())
    }

    /// Appends an event about no job. Durable after [`LedgerStore::commit`].
    pub(in crate::ledger) fn of_no_job(
        &mut self,
        fact: EventFact,
        context: Context,
    ) -> Result<LedgerEvent, LedgerError> {
        self.append(None, false, None, fact, context)
    }

    /// Whether there was a shift of this name.
    pub(in crate::ledger) fn had_shift(&self, name: &str) -> Result<bool, LedgerError> {
        let is_it =
            |event: &LedgerEvent| matches!(&event.fact, EventFact::ShiftBegun { name: was } if was == name);
        Ok(events::last(&self.connection, EventFilter::Shifts, is_it)?.is_some())
    }

    /// Writes both balances of a job to its row.
    pub(in crate::ledger) fn write_balance(&self, job: JobId, balance: &Balance) -> Result<(), LedgerError> {
        let b = balance;
        self.execute(
            "UPDATE balance SET records = ?2, queued = ?3, in_flight = ?4, good = ?5, remake = ?6, unknown = ?7, \
             cancelled = ?8, blanks_fed = ?9, blanks_in_line = ?10, blanks_good = ?11, blanks_rejected = ?12, \
             blanks_unknown = ?13, blanks_returned = ?14, blanks_sample = ?15 WHERE job = ?1",
            params![
                job.0,
                signed(b.records),
                signed(b.queued),
                signed(b.in_flight),
                signed(b.good),
                signed(b.remake),
                signed(b.unknown),
                signed(b.cancelled),
                signed(b.blanks_fed),
                signed(b.blanks_in_line),
                signed(b.blanks_good),
                signed(b.blanks_rejected),
                signed(b.blanks_unknown),
                signed(b.blanks_returned),
                signed(b.blanks_sample),
            ],
        )
    }

    /// Appends an event: gives it its number, time and hash, and inserts it.
    fn append(
        &mut self,
        job: Option<JobId>,
        simulated: bool,
        from: Option<StateName>,
        fact: EventFact,
        context: Context,
    ) -> Result<LedgerEvent, LedgerError> {
        let ts = self.now();
        self.append_at(ts, job, simulated, from, fact, context)
    }

    fn append_at(
        &mut self,
        ts: u64,
        job: Option<JobId>,
        simulated: bool,
        from: Option<StateName>,
        fact: EventFact,
        context: Context,
    ) -> Result<LedgerEvent, LedgerError> {
        let (n, chain) = (self.head.0 + 1, ChainVersion::Two);
        let event = LedgerEvent { n, ts, job, simulated, chain, from, fact, context, unknown: Vec::new() };
        self.scratch.clear();
        codec::encode(&event, &mut self.scratch);
        if self.scratch.len() > EVENT_MAX {
            return Err(LedgerError::Damaged(format!("event {n} would be longer than {EVENT_MAX} bytes")));
        }
        let hash = hash_version_two(&self.head.1, self.id, &self.scratch);
        self.connection
            .prepare_cached(
                "INSERT INTO event_v2 (n, job, seq, kind, body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                signed(n),
                job.map(|job| job.0),
                event.seq(),
                event.kind(),
                self.scratch,
                hash
            ])?;
        self.head = (n, hash);
        self.last_ts = ts;
        Ok(event)
    }

    /// The time of the next event, Unix in ms: what the system's clock shows, so that a clock that was wrong once does
    /// not make all later times wrong. Only a small correction of the clock is not seen here: then the time waits.
    pub(super) fn now(&mut self) -> u64 {
        let (now, since) = (clock(), self.clock.1.elapsed());
        let expected = self.clock.0.saturating_add(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        if now.abs_diff(expected) > CLOCK_SET {
            tracing::warn!(
                "the system's clock was set from {} to {}, or the machine slept; events have the new time, and their order is \
                 that of their numbers",
                rfc3339(expected),
                rfc3339(now)
            );
        }
        self.clock = (now, Instant::now());
        if now.saturating_add(CLOCK_CORRECTED) < self.last_ts {
            tracing::warn!(
                after = self.head.0,
                "the system's clock shows {}, which is before the last event, of {}: check the clock",
                rfc3339(now),
                rfc3339(self.last_ts)
            );
            return now;
        }
        now.max(self.last_ts)
    }

    fn execute(&self, sql: &str, params: &[&dyn ToSql]) -> Result<(), LedgerError> {
        self.connection.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }
}

/// What the system's clock shows: Unix time in ms, 0 for a time before 1970.
pub(super) fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
