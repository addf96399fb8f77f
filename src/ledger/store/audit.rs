//! The auditor's walk through a ledger, and its signed places.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::terms::Terms;
use super::verify::Head;
use super::{Store, load, row};
use crate::audit::{Checkpoint, LedgerId, Place, PublicKey, Signature};
use crate::hsm::AuditInfo;
use crate::ledger::audit::{Audit, Finding, Where};
use crate::ledger::chain::{GENESIS, Hash, hash};
use crate::ledger::error::LedgerError;
use crate::ledger::replay::{Replay, Shifts};
use crate::ledger::types::{Event, JobId};

/// Findings that are told; more of them say nothing new.
const FINDINGS_MAX: usize = 1000;

impl Store {
    /// Name of the ledger.
    pub(in crate::ledger) fn id(&self) -> LedgerId {
        self.id
    }

    /// Its end.
    pub(in crate::ledger) fn place(&self) -> Place {
        let (n, hash) = self.head;
        Place { ledger: self.id, n, hash }
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
    let mut found = Findings(Vec::new());
    let Some(mut replay) = replays(&moment, Some(job))?.remove(&job) else {
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
            accepted(&moment, &event, Some(job), &mut found)?;
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

/// Whether a job's row is what was accepted, if this event tells.
fn accepted(
    connection: &Connection,
    event: &Event,
    job: Option<JobId>,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let Some(job) = job.filter(|_| event.to == "ACCEPTED") else { return Ok(()) };
    // A row that is missing is told where it is looked for.
    let Some(terms) = Terms::read(connection, job)? else { return Ok(()) };
    if !event.detail.as_deref().is_some_and(|detail| terms.are(detail)) {
        found.at(Where::Table, format!("{job}: it is not the job that was accepted: see event {}", event.n));
    }
    Ok(())
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
            place: Place { ledger: id, n: row::number(r, 0)?, hash: r.get(1)? },
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
    let signed = checkpoints(&moment, id, "ORDER BY n")?;
    let mut waiting = signed.iter().peekable();
    let (mut jobs, mut shifts) = (replays(&moment, None)?, Shifts::default());
    let mut query = moment.prepare(&format!("SELECT {}, hash FROM event ORDER BY n", row::EVENT))?;
    let mut rows = query.query([])?;
    let (mut n, mut previous, mut scratch) = (0u64, GENESIS, Vec::with_capacity(512));
    while let Some(row) = rows.next()? {
        let number = row::number(row, 0)?;
        if number != n + 1 {
            found.at(Where::Event(n + 1), "it is missing");
        }
        n = number;
        seen(n);
        let stored: Hash = row.get(20)?;
        match row::event(row) {
            Err(error) => found.at(Where::Event(n), format!("it does not read: {error}")),
            Ok(event) => {
                if hash(&previous, &event, &mut scratch) != stored {
                    found.at(Where::Event(n), NOT_AS_HASHED);
                }
                let of_job = row.get::<_, Option<u32>>(2)?;
                accepted(&moment, &event, of_job.map(JobId), &mut found)?;
                let followed = match of_job {
                    None => Some(shifts.follow(&event)),
                    Some(job) => jobs.get_mut(&JobId(job)).map(|job| job.follow(&event)),
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
    let head: Option<(u64, Hash)> = moment
        .query_row("SELECT n, hash FROM head", [], |r| Ok((row::number(r, 0)?, r.get(1)?)))
        .optional()?;
    if head != Some((n, previous)) {
        found.at(Where::Ledger, format!("its head is not event {n}, the last one"));
    }
    if let Some(known) = known
        && let Some(finding) = against(&moment, id, signed.last(), known)?
    {
        found.0.push(finding);
    }
    for (job, replay) in &jobs {
        tables(&moment, *job, replay, &mut found)?;
    }
    Ok(Audit {
        ledger: id,
        head: Head { n, hash: previous },
        jobs: jobs.len(),
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

/// Every job, or one, as it was accepted.
fn replays(connection: &Connection, only: Option<JobId>) -> Result<BTreeMap<JobId, Replay>, LedgerError> {
    let sql = "SELECT id, rejects_shredded, simulated FROM job WHERE ?1 IS NULL OR id = ?1";
    let mut query = connection.prepare(sql)?;
    let mut jobs = BTreeMap::new();
    let mut rows = query.query([only.map(|job| job.0)])?;
    while let Some(row) = rows.next()? {
        let job = JobId(row.get(0)?);
        let records = load::queued(connection, job)?;
        jobs.insert(job, Replay::new(job, records, row.get(1)?, row.get(2)?));
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
    let mut query = connection
        .prepare_cached("SELECT seq, number, position FROM attempt WHERE job = ?1 ORDER BY seq, number")?;
    let mut rows = query.query([job.0])?;
    while let Some(row) = rows.next()? {
        let (seq, attempt): (u32, u32) = (row.get(0)?, row.get(1)?);
        if row.get::<_, Option<u32>>(2)? != replay.position(seq, attempt) {
            found.at(
                at,
                format!(
                    "{job} record {seq} attempt {attempt}: its stack position is not what its events tell"
                ),
            );
        }
    }
    Ok(())
}
