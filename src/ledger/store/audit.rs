//! The auditor's walk through a ledger, and its signed places.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::terms::{Terms, Told};
use super::verify::Head;
use super::{Store, load, row, schema};
use crate::audit::{ChainPlace, Checkpoint, LedgerId, PublicKey, Signature};
use crate::hsm::AuditInfo;
use crate::ids::KeyData;
use crate::ledger::audit::{Audit, Finding, Where};
use crate::ledger::chain::{GENESIS, Hash, hash};
use crate::ledger::error::LedgerError;
use crate::ledger::replay::{Replay, Shifts};
use crate::ledger::types::{Event, JobId};

/// Findings that are told; more of them say nothing new.
const FINDINGS_MAX: usize = 1000;

/// How long a writer may take to keep what the HSM has signed.
const KEPT_WITHIN: Duration = Duration::from_secs(1);

/// Every table with rows of jobs.
const OF_JOBS: [&str; 5] = ["balance", "record", "blank", "attempt", "stock"];

impl Store {
    /// Name of the ledger.
    pub(in crate::ledger) fn id(&self) -> LedgerId {
        self.id
    }

    /// Its end.
    pub(in crate::ledger) fn place(&self) -> ChainPlace {
        let (n, hash) = self.head;
        ChainPlace { ledger: self.id, n, hash }
    }

    /// Number of the last event.
    pub(in crate::ledger) fn last_event(&self) -> u64 {
        self.head.0
    }

    /// Keeps a signed place; durable after [`Store::commit`].
    pub(in crate::ledger) fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        // One place may be signed again after a crash between signing and keeping.
        self.connection
            .prepare_cached(
                "INSERT INTO checkpoint (n, hash, generation, key, signature, ts) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                row::signed(checkpoint.place.n),
                checkpoint.place.hash,
                row::signed(checkpoint.generation),
                checkpoint.key.0,
                checkpoint.signature.to_bytes(),
                row::signed(self.last_ts),
            ])?;
        Ok(())
    }

    /// Number of the last event that was signed; 0 if none was.
    pub(in crate::ledger) fn signed_to(&self) -> Result<u64, LedgerError> {
        Ok(last(&self.connection, self.id)?.map_or(0, |c| c.place.n))
    }

    /// Holds the ledger against what the HSM knows of it, and verifies the chain from the last signed place on.
    pub(in crate::ledger) fn agrees(&self, known: &AuditInfo) -> Result<(), LedgerError> {
        let id = self.id;
        let last = last(&self.connection, id)?;
        if let Some(finding) = against(&self.connection, id, last.as_ref(), known)? {
            return Err(LedgerError::Damaged(finding.to_string()));
        }
        let start = match &last {
            None => (0, GENESIS),
            Some(last) if last.is_genuine() => (last.place.n, last.place.hash),
            Some(last) => {
                let n = last.place.n;
                return Err(LedgerError::Damaged(format!(
                    "the signature of the checkpoint at event {n} is wrong"
                )));
            }
        };
        if start.0 > 0 && hash_at(&self.connection, start.0)? != Some(start.1) {
            return Err(LedgerError::Damaged(format!("event {} is not the one that was signed", start.0)));
        }
        super::verify::verify_from(&self.connection, start.0, start.1).map(drop)
    }
}

/// What a job's tables show that its events do not add up to, and which of its events are not as they were hashed; empty if
/// all is as it should be.
pub(super) fn of_job(connection: &Connection, job: JobId) -> Result<Vec<Finding>, LedgerError> {
    let moment = connection.unchecked_transaction()?;
    let (id, mut found) = (id(&moment)?, Findings(Vec::new()));
    let Some(mut replay) = replays(&moment, Some(job), &mut found)?.remove(&job) else {
        return Err(LedgerError::NoJob(job));
    };
    let mut query = moment.prepare(&format!("SELECT {}, hash FROM event ORDER BY n", row::EVENT))?;
    let mut rows = query.query([])?;
    let (mut previous, mut scratch) = (GENESIS, Vec::with_capacity(512));
    while let Some(row) = rows.next()? {
        let stored: Hash = row.get(20)?;
        if row.get::<_, Option<u32>>(2)? == Some(job.0) {
            let event = row::event(row)?;
            if hash(&previous, &event, &mut scratch) != stored {
                found.at(Where::Event(event.n), NOT_AS_HASHED);
            }
            accepted(&moment, id, &event, (job, &replay), &mut found)?;
            if let Err(what) = replay.follow(&event) {
                found.at(Where::Event(event.n), what);
            }
        }
        previous = stored;
    }
    tables(&moment, job, &replay, &mut found)?;
    Ok(found.0)
}

const NOT_AS_HASHED: &str = "it, or the one before it, is not what was hashed when it was written";

/// Whether a job's row and the names of its records are what was accepted, if this event tells; and whether it has no seal.
fn accepted(
    connection: &Connection,
    ledger: LedgerId,
    event: &Event,
    (job, replay): (JobId, &Replay),
    found: &mut Findings,
) -> Result<bool, LedgerError> {
    if event.to != "ACCEPTED" {
        return Ok(false);
    }
    // A row that is missing is told where it is looked for.
    let Some(terms) = Terms::read(connection, job)? else { return Ok(false) };
    let told = event.detail.as_deref().map(|detail| terms.told(detail, ledger, replay.records()));
    if told.is_none_or(|told| told == Told::Otherwise) {
        found.at(Where::Table, format!("{job}: it is not the job that was accepted: see event {}", event.n));
    }
    Ok(told == Some(Told::Bare))
}

/// What the HSM knows against what the ledger shows.
fn against(
    connection: &Connection,
    id: LedgerId,
    last: Option<&Checkpoint>,
    known: &AuditInfo,
) -> Result<Option<Finding>, LedgerError> {
    let says = |what: String| Ok(Some(Finding { at: Where::Ledger, what }));
    if let Some(last) = last {
        if last.key != known.key {
            return says(format!(
                "its last checkpoint was signed by the audit key {}, and the key store's is {}: it is the ledger of another \
                 key store, or the audit book beside the store was lost",
                last.key, known.key
            ));
        }
        if last.generation > known.generation {
            return says(format!(
                "its last checkpoint is of generation {}, and the audit book beside the key store of {}: the book was put \
                 back from a backup",
                last.generation, known.generation
            ));
        }
    }
    let Some(head) = known.head.filter(|head| head.ledger == id) else {
        return match last {
            Some(_) => says("the audit book beside the key store has forgotten it".into()),
            None => Ok(None),
        };
    };
    if hash_at(connection, head.n)? != Some(head.hash) {
        return says(format!(
            "the HSM has noted event {}, which is not there any more or another one: the ledger was put back from a \
             backup, or changed; find the newer one and keep both for the auditor",
            head.n
        ));
    }
    Ok(None)
}

pub(super) fn id(connection: &Connection) -> Result<LedgerId, LedgerError> {
    Ok(connection.prepare_cached("SELECT id FROM ledger")?.query_row([], |r| Ok(LedgerId(r.get(0)?)))?)
}

fn hash_at(connection: &Connection, n: u64) -> Result<Option<Hash>, LedgerError> {
    Ok(connection
        .prepare_cached("SELECT hash FROM event WHERE n = ?1")?
        .query_row([row::signed(n)], |r| r.get(0))
        .optional()?)
}

fn last(connection: &Connection, id: LedgerId) -> Result<Option<Checkpoint>, LedgerError> {
    Ok(checkpoints(connection, id, "ORDER BY n DESC LIMIT 1")?.pop())
}

fn checkpoints(connection: &Connection, id: LedgerId, which: &str) -> Result<Vec<Checkpoint>, LedgerError> {
    let sql = format!("SELECT n, hash, generation, key, signature FROM checkpoint {which}");
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map([], |r| {
        Ok(Checkpoint {
            place: ChainPlace { ledger: id, n: row::number(r, 0)?, hash: r.get(1)? },
            generation: row::number(r, 2)?,
            key: PublicKey(r.get(3)?),
            signature: Signature::from_bytes(r.get(4)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All signed places, in order.
pub(super) fn all_checkpoints(connection: &Connection) -> Result<Vec<Checkpoint>, LedgerError> {
    checkpoints(connection, id(connection)?, "ORDER BY n")
}

/// Everything that can be proved about a ledger. `seen` is told the number of each event.
pub(super) fn audit(
    connection: &Connection,
    known: Option<&AuditInfo>,
    mut seen: impl FnMut(u64),
) -> Result<Audit, LedgerError> {
    // One transaction, so that all is of one moment while a writer goes on.
    let moment = connection.unchecked_transaction()?;
    let id = id(&moment)?;
    let mut found = Findings(Vec::new());
    schema::differences(&moment)?.into_iter().for_each(|what| found.at(Where::Schema, what));
    let signed =
        found.read(checkpoints(&moment, id, "ORDER BY n"), || "checkpoints".into()).unwrap_or_default();
    let mut waiting = signed.iter().peekable();
    let (mut jobs, mut shifts) = (replays(&moment, None, &mut found)?, Shifts::default());
    let mut query = moment.prepare(&format!("SELECT {}, hash FROM event ORDER BY n", row::EVENT))?;
    let mut rows = query.query([])?;
    let (mut n, mut previous, mut scratch) = (0u64, GENESIS, Vec::with_capacity(512));
    let mut unsealed = 0;
    while let Some(row) = rows.next()? {
        let Ok(number) = row::number(row, 0) else {
            found.at(Where::Ledger, "an event has a number that is none");
            continue;
        };
        if number != n + 1 {
            found.at(Where::Event(n + 1), "it is missing");
        }
        n = number;
        seen(n);
        let stored: Hash = row.get(20).unwrap_or_default();
        match row::event(row) {
            Err(error) => found.at(Where::Event(n), format!("it does not read: {error}")),
            Ok(event) => {
                if hash(&previous, &event, &mut scratch) != stored {
                    found.at(Where::Event(n), NOT_AS_HASHED);
                }
                let followed = match row.get::<_, Option<u32>>(2)?.map(JobId) {
                    None => Some(shifts.follow(&event)),
                    Some(job) => jobs.get_mut(&job).map(|replay| {
                        let bare = accepted(&moment, id, &event, (job, replay), &mut found);
                        unsealed += usize::from(found.read(bare, || job.to_string()).unwrap_or_default());
                        replay.follow(&event)
                    }),
                };
                match followed {
                    None => found.at(Where::Event(n), "its job is missing"),
                    Some(Err(what)) => found.at(Where::Event(n), what),
                    Some(Ok(())) => {}
                }
            }
        }
        previous = stored;
        while let Some(checkpoint) = waiting.next_if(|c| c.place.n <= n) {
            if checkpoint.place.n != n || checkpoint.place.hash != stored {
                found.at(
                    Where::Checkpoint(checkpoint.place.n),
                    "the event that it signs is another one or missing",
                );
            }
        }
    }
    for checkpoint in waiting {
        found.at(Where::Checkpoint(checkpoint.place.n), "the ledger ends before the event that it signs");
    }
    signatures(&signed, &mut found);
    times(&moment, &mut found)?;
    let head = moment.query_row("SELECT n, hash FROM head", [], |r| Ok((row::number(r, 0)?, r.get(1)?)));
    if head.ok() != Some((n, previous)) {
        found.at(Where::Ledger, format!("its head is not event {n}, the last one"));
    }
    for (job, replay) in &jobs {
        let read = tables(&moment, *job, replay, &mut found);
        found.read(read, || job.to_string());
    }
    of_no_job(&moment, &jobs, &mut found)?;
    let differs = known.map(|known| against(&moment, id, signed.last(), known)).transpose()?.flatten();
    drop(rows);
    drop(query);
    drop(moment);
    match differs {
        Some(finding) => found.0.push(finding),
        None => missing(
            connection,
            known.and_then(|known| known.head).filter(|head| head.ledger == id),
            &mut found,
        )?,
    }
    Ok(Audit {
        ledger: id,
        head: Head { n, hash: previous },
        jobs: jobs.len(),
        unsealed,
        checkpoints: signed.len(),
        signed_to: signed.last().map_or(0, |c| c.place.n),
        key: signed.last().map(|c| c.key),
        findings: found.0,
    })
}

struct Findings(Vec<Finding>);

impl Findings {
    fn at(&mut self, at: Where, what: impl Into<String>) {
        if self.0.len() < FINDINGS_MAX {
            self.0.push(Finding { at, what: what.into() });
        }
    }

    /// What was read; that it does not read is a finding.
    fn read<T>(&mut self, result: Result<T, LedgerError>, what: impl FnOnce() -> String) -> Option<T> {
        result.map_err(|error| self.at(Where::Table, format!("{} does not read: {error}", what()))).ok()
    }
}

/// Each by itself, and all in their order.
fn signatures(signed: &[Checkpoint], found: &mut Findings) {
    let mut before: Option<&Checkpoint> = None;
    for checkpoint in signed {
        let at = Where::Checkpoint(checkpoint.place.n);
        if !checkpoint.is_genuine() {
            found.at(at, "its signature is wrong");
        }
        if let Some(before) = before {
            if before.key != checkpoint.key {
                found.at(at, "another audit key signed it than the one before");
            }
            if before.generation >= checkpoint.generation {
                found.at(at, "its generation is not above that of the one before");
            }
        }
        before = Some(checkpoint);
    }
}

/// The last place that the HSM signed, which the ledger has not. While a writer goes on, it keeps it a moment later.
fn missing(
    connection: &Connection,
    head: Option<ChainPlace>,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let Some(head) = head else { return Ok(()) };
    let mut query = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM checkpoint WHERE n >= ?1)")?;
    let until = Instant::now() + KEPT_WITHIN;
    while !query.query_row([row::signed(head.n)], |r| r.get(0))? {
        if Instant::now() >= until {
            found.at(
                Where::Checkpoint(head.n),
                "the HSM has signed this event, and the ledger has neither that checkpoint nor a later one: it was deleted, or \
                 the line was killed between the two; in that case a start of the line with these keys signs it again",
            );
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A checkpoint has the time of the event that it signs.
fn times(connection: &Connection, found: &mut Findings) -> Result<(), LedgerError> {
    let sql = "SELECT c.n FROM checkpoint AS c JOIN event AS e ON e.n = c.n WHERE c.ts <> e.ts ORDER BY c.n";
    let mut query = connection.prepare(sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok(n) = row::number(row, 0) {
            found.at(Where::Checkpoint(n), "its time is not that of its event");
        }
    }
    Ok(())
}

/// Rows of jobs that are not there.
fn of_no_job(
    connection: &Connection,
    jobs: &BTreeMap<JobId, Replay>,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    for table in OF_JOBS {
        let mut query = connection.prepare(&format!("SELECT min(job) FROM {table} WHERE job > ?1"))?;
        let mut next = |after: i64| query.query_row([after], |r| r.get::<_, Option<i64>>(0));
        let mut after = i64::MIN;
        while let Some(job) = next(after)? {
            if !u32::try_from(job).is_ok_and(|job| jobs.contains_key(&JobId(job))) {
                found.at(Where::Table, format!("{table}: rows of a job {job}, which is missing"));
            }
            after = job;
        }
    }
    Ok(())
}

/// Every job, or one, as it was accepted.
fn replays(
    connection: &Connection,
    only: Option<JobId>,
    found: &mut Findings,
) -> Result<BTreeMap<JobId, Replay>, LedgerError> {
    let sql = "SELECT id, rejects_shredded FROM job WHERE ?1 IS NULL OR id = ?1";
    let mut query = connection.prepare(sql)?;
    let mut jobs = BTreeMap::new();
    let mut rows = query.query([only.map(|job| job.0)])?;
    while let Some(row) = rows.next()? {
        let Ok(job) = row.get(0).map(JobId) else {
            found.at(Where::Table, "job: a number that is none");
            continue;
        };
        let records = found.read(load::queued(connection, job), || job.to_string()).unwrap_or_default();
        // Anything but yes and no is told where the whole row is read.
        jobs.insert(job, Replay::new(job, records, row.get(1)?));
    }
    Ok(jobs)
}

/// A job's tables against its events.
fn tables(
    connection: &Connection,
    job: JobId,
    replay: &Replay,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let at = Where::Table;
    match load::load(connection, job) {
        Ok(Some(book)) => replay.differences(&book).into_iter().for_each(|what| found.at(at, what)),
        Ok(None) => found.at(at, format!("{job} is missing")),
        Err(error) => found.at(at, format!("{job} does not read: {error}")),
    }
    let sql = format!("SELECT {} FROM balance WHERE job = ?1", row::BALANCE);
    let kept = connection.prepare_cached(&sql)?.query_row([job.0], |r| row::balance(r, 0)).optional()?;
    if kept != Some(super::recount(connection, job)?) {
        found.at(at, format!("{job}: the balances kept are not what its rows add up to"));
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM stock WHERE job = ?1)";
    let counted: bool = connection.prepare_cached(sql)?.query_row([job.0], |r| r.get(0))?;
    if counted != load::stock(connection, job)?.is_counted() {
        found.at(at, format!("{job}: it has a row of stock, and none was issued"));
    }
    blanks(connection, job, replay, found)?;
    let sql = "SELECT seq, number, position, compared FROM attempt WHERE job = ?1 ORDER BY seq, number";
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query([job.0])?;
    while let Some(row) = rows.next()? {
        let (seq, attempt): (u32, u32) = (row.get(0)?, row.get(1)?);
        let told = replay.made(seq, attempt);
        let mut differs = |what: &str| {
            found.at(at, format!("{job} record {seq} attempt {attempt}: {what} is not what its events tell"));
        };
        if row.get::<_, Option<u32>>(2)? != told.position {
            differs("its stack position");
        }
        if row.get_ref(3)?.as_str_or_null().ok() != Some(told.compared.as_deref()) {
            differs("what was compared");
        }
    }
    Ok(())
}

/// A job's blanks, each against its events.
fn blanks(
    connection: &Connection,
    job: JobId,
    replay: &Replay,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let sql = "SELECT number, state, key_data FROM blank WHERE job = ?1 ORDER BY number";
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query([job.0])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        if !replay.is_blank(number, row.get(1)?, row.get::<_, Option<[u8; 10]>>(2)?.map(KeyData)) {
            found.at(Where::Table, format!("{job} blank {number}: it is not what its events tell"));
        }
        count += 1;
    }
    if count != replay.blanks() {
        let what = format!("{job} has {} blanks by its events, {count} in the table", replay.blanks());
        found.at(Where::Table, what);
    }
    Ok(())
}
