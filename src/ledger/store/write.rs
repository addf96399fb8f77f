//! The writing side: one transaction per batch; rows and events of changes that the book allowed.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension, params};

use super::Store;
use super::row::{blank_name, signed};
use super::terms::Terms;
use crate::ids::KeyData;
use crate::ledger::book::{Attempt, Book, Effect};
use crate::ledger::chain;
use crate::ledger::error::LedgerError;
use crate::ledger::replay::{KMC_ID, SHIFT};
use crate::ledger::types::{Balance, Change, Context, Event, JobId, JobState, NewJob, RecordState};

impl Store {
    /// Begins a transaction (`BEGIN IMMEDIATE`: an upgrade from reading could fail with SQLITE_BUSY).
    pub(in crate::ledger) fn begin(&self) -> Result<(), LedgerError> {
        let begin = || self.connection.prepare_cached("BEGIN IMMEDIATE")?.raw_execute();
        begin()?;
        if self.in_place().is_err() {
            // Another program may have brought the WAL into the file and emptied it: then nothing is in it by its index either.
            self.connection.prepare_cached("ROLLBACK")?.raw_execute()?;
            let frames: i64 = self.connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |r| r.get(1))?;
            if frames == 0 {
                self.identity.emptied();
            }
            begin()?;
        }
        self.in_place()
    }

    /// Whether its files are still there and whole. For a writer that has nothing to write for a while.
    pub(in crate::ledger) fn look(&self) -> Result<(), LedgerError> {
        if self.in_place().is_ok() {
            return Ok(());
        }
        self.begin()?;
        self.connection.prepare_cached("ROLLBACK")?.raw_execute()?;
        Ok(())
    }

    /// Why nothing can be written: that its files are not there any more goes before what SQLite makes of that.
    pub(in crate::ledger) fn reason(&self, error: LedgerError) -> LedgerError {
        self.in_place().err().unwrap_or_else(|| error.of(&self.path))
    }

    fn in_place(&self) -> Result<(), LedgerError> {
        match self.identity.moved() {
            None => Ok(()),
            Some(path) => Err(LedgerError::Moved(path.to_owned())),
        }
    }

    /// Writes the head of the chain and commits: durable when it returns. If the file behind the WAL cannot be written, it is
    /// durable as well, but nothing more is to be written.
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

    /// Gives a transaction up. The ledger takes nothing more afterwards, so the head in memory does not matter.
    pub(in crate::ledger) fn abandon(&self) {
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            tracing::debug!(%error, "nothing to roll back");
        }
    }

    /// The job with this file, if there is one: same issuer and file_id, or same digest.
    pub(in crate::ledger) fn seen(&self, new: &NewJob) -> Result<Option<(JobId, JobState)>, LedgerError> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT id, state FROM job WHERE (issuer_id = ?1 AND file_id = ?2) OR digest = ?3 ORDER BY id",
            )?
            .query_row(params![new.issuer_id.as_str(), new.file_id.as_str(), new.digest], |r| {
                Ok((JobId(r.get(0)?), r.get(1)?))
            })
            .optional()?)
    }

    /// Writes a job, its records and its balance; no event.
    pub(in crate::ledger) fn insert_job(&mut self, new: &NewJob, book: &Book) -> Result<JobId, LedgerError> {
        let records = u32::try_from(new.cards.len()).unwrap_or(u32::MAX);
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
                signed(self.now()),
                records,
                JobState::Open,
                new.test_keys,
                new.spool_key.map(|key| key.0),
            ])?;
        let id = u32::try_from(self.connection.last_insert_rowid())
            .map_err(|_| LedgerError::Damaged("too many jobs".to_owned()))?;
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO record (job, seq, card_ref, state, released) VALUES (?1, ?2, ?3, ?4, 0)",
        )?;
        for (record, seq) in book.records.iter().zip(1u32..) {
            insert.execute(params![id, seq, &*record.card_ref, RecordState::Queued])?;
        }
        self.connection
            .prepare_cached("INSERT INTO balance VALUES (?1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)")?
            .execute([id])?;
        self.write_balance(JobId(id), &book.balance)?;
        Ok(JobId(id))
    }

    /// Where a record's card was last heard of: station and module.
    pub(in crate::ledger) fn last_station(
        &self,
        job: JobId,
        seq: u32,
    ) -> Result<(Option<String>, Option<String>), LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT station, module FROM event WHERE job = ?1 AND seq = ?2 AND station IS NOT NULL ORDER BY n DESC LIMIT 1",
        )?;
        let last = query.query_row(params![job.0, seq], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
        Ok(last.unwrap_or_default())
    }

    /// Sequences of a job whose card_ref stands in another file of its issuer.
    pub(in crate::ledger) fn seen_cards(&self, job: JobId) -> Result<Vec<u32>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT mine.seq FROM record AS mine WHERE mine.job = ?1 AND EXISTS (SELECT 1 FROM record AS other \
             JOIN job ON job.id = other.job WHERE other.card_ref = mine.card_ref AND other.job <> mine.job \
             AND job.issuer_id = (SELECT issuer_id FROM job WHERE id = ?1)) ORDER BY mine.seq",
        )?;
        let rows = query.query_map([job.0], |r| r.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes what an allowed change did, and its event. Durable after [`Store::commit`].
    pub(in crate::ledger) fn write(
        &mut self,
        job: JobId,
        book: &Book,
        change: &Change,
        effect: &Effect,
        context: Context,
    ) -> Result<Event, LedgerError> {
        let key_data = match change {
            Change::Bound { key_data, .. } | Change::RejectedUnbound { key_data, .. } => *key_data,
            _ => None,
        };
        if let (Some((number, _)), Some(state)) = (effect.blank, effect.blank_state) {
            self.execute(
                "INSERT INTO blank (job, number, key_data, state) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
                 SET key_data = excluded.key_data, state = excluded.state",
                params![job.0, number, key_data.map(|k| k.0), state],
            )?;
        }
        if let (Some(seq), Some((state, released))) = (effect.seq, effect.record) {
            self.execute(
                "UPDATE record SET state = ?3, released = ?4 WHERE job = ?1 AND seq = ?2",
                params![job.0, seq, state, released],
            )?;
        }
        let detail = match (change, effect.blank) {
            (Change::Verified { compared, .. }, _) if !compared.is_empty() => {
                Some(joined(context.detail, compared.clone()))
            }
            (Change::Bound { .. } | Change::RejectedUnbound { .. }, Some((number, Some(_)))) => {
                Some(joined(context.detail, told_blank(number, key_data)))
            }
            _ => context.detail,
        };
        if let (Some(seq), Some((number, attempt))) = (effect.seq, effect.attempt) {
            // What was compared is what the event says, word for word, so that it can be held against it.
            let verified = matches!(change, Change::Verified { .. });
            let compared = verified.then(|| detail.as_deref().unwrap_or_default());
            self.write_attempt(job, seq, number, &attempt, change, (effect.position, compared))?;
        }
        if effect.count.is_some() {
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
        if effect.deleted {
            self.execute("UPDATE job SET deleted = 1 WHERE id = ?1", params![job.0])?;
        }
        self.append(
            Event {
                n: 0,
                ts: 0,
                job: job.to_string(),
                seq: effect.seq,
                card_ref: effect.seq.and_then(|s| book.record(s)).map(|r| r.card_ref.to_string()),
                attempt: effect.attempt.map(|(number, _)| number),
                blank: effect.blank.map(|(number, csn)| blank_name(number, csn)),
                station: context.station,
                module: context.module,
                from: effect.from.map(str::to_owned),
                to: effect.to.to_owned(),
                reason: context.reason,
                detail,
                header: context.header,
                sw: context.sw.map(|sw| format!("{sw:04X}")),
                position: effect.position,
                ms: context.ms,
                actor: context.actor,
                simulated: book.simulated,
                count: effect.count,
            },
            Some(job),
        )
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
        if matches!(change, Change::Bound { .. }) {
            return self.execute(
                "INSERT INTO attempt (job, seq, number, blank, state, wrote) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![job.0, seq, number, attempt.blank, attempt.state, attempt.wrote],
            );
        }
        self.execute(
            "UPDATE attempt SET state = ?4, wrote = ?5, position = coalesce(?6, position), \
             compared = coalesce(?7, compared) WHERE job = ?1 AND seq = ?2 AND number = ?3",
            params![job.0, seq, number, attempt.state, attempt.wrote, position, compared],
        )
    }

    /// The event that says that a file became a job.
    pub(in crate::ledger) fn accepted(&mut self, job: JobId, book: &Book) -> Result<Event, LedgerError> {
        let terms = Terms::read(&self.connection, job)?.ok_or(LedgerError::NoJob(job))?;
        let detail = terms.sealed(self.id, &book.records);
        self.append(
            Event {
                n: 0,
                ts: 0,
                job: job.to_string(),
                seq: None,
                card_ref: None,
                attempt: None,
                blank: None,
                station: None,
                module: None,
                from: None,
                to: "ACCEPTED".to_owned(),
                reason: None,
                detail: Some(detail),
                header: None,
                sw: None,
                position: None,
                ms: None,
                actor: None,
                simulated: book.simulated,
                count: None,
            },
            Some(job),
        )
    }

    /// The event that says that a shift begins. Durable after [`Store::commit`].
    pub(in crate::ledger) fn shift(&mut self, name: &str, context: Context) -> Result<Event, LedgerError> {
        self.append(
            Event {
                n: 0,
                ts: 0,
                job: String::new(),
                seq: None,
                card_ref: None,
                attempt: None,
                blank: None,
                station: None,
                module: None,
                from: None,
                to: SHIFT.to_owned(),
                reason: None,
                detail: Some(name.to_owned()),
                header: None,
                sw: None,
                position: None,
                ms: None,
                actor: context.actor,
                simulated: false,
                count: None,
            },
            None,
        )
    }

    /// Whether there was a shift of this name.
    pub(in crate::ledger) fn had_shift(&self, name: &str) -> Result<bool, LedgerError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM event WHERE to_state = 'SHIFT' AND detail = ?1)";
        Ok(self.connection.prepare_cached(sql)?.query_row([name], |r| r.get(0))?)
    }

    /// Writes both balances as they are now.
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

    /// Numbers, dates and chains an event, and inserts it.
    fn append(&mut self, mut event: Event, job: Option<JobId>) -> Result<Event, LedgerError> {
        event.n = self.head.0 + 1;
        event.ts = self.now();
        let hash = chain::hash(&self.head.1, &event, &mut self.scratch);
        self.connection
            .prepare_cached(
                "INSERT INTO event (n, ts, job, seq, card_ref, attempt, blank, station, module, from_state, to_state, \
                 reason, detail, header, sw, position, ms, actor, simulated, hash, count) VALUES (?1, ?2, ?3, ?4, ?5, \
                 ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
            )?
            .execute(params![
                signed(event.n),
                signed(event.ts),
                job.map(|job| job.0),
                event.seq,
                event.card_ref,
                event.attempt,
                event.blank,
                event.station,
                event.module,
                event.from,
                event.to,
                event.reason,
                event.detail,
                event.header,
                event.sw,
                event.position,
                event.ms.map(signed),
                event.actor,
                event.simulated,
                hash,
                event.count,
            ])?;
        self.head = (event.n, hash);
        self.last_ts = event.ts;
        Ok(event)
    }

    /// Unix time in ms; never before the last event's, so that order and time agree when the clock is set back.
    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(self.last_ts)
    }

    fn execute(&self, sql: &str, params: &[&dyn ToSql]) -> Result<(), LedgerError> {
        self.connection.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }
}

/// What makes a chip known: beside the CSN by which the event names the blank, the rest of its KEYDATA and its number.
fn told_blank(number: u32, key_data: Option<KeyData>) -> String {
    let kmc = key_data.and_then(|chip| chip.0.first_chunk::<KMC_ID>().map(hex::encode_upper));
    kmc.map_or_else(|| format!("blank #{number}"), |kmc| format!("KMC_ID {kmc}, blank #{number}"))
}

fn joined(first: Option<String>, second: String) -> String {
    match first {
        Some(first) => format!("{first}; {second}"),
        None => second,
    }
}
