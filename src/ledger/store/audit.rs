//! The audit of a ledger, and its checkpoints.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::chained::{ChainLink, ChainQueries, out_of_version};
use super::terms::{TermsProof, TermsRow};
use super::verify::ChainHead;
use super::{LedgerStore, arrival, load, row, schema};
use crate::audit::{ChainPlace, Checkpoint, CheckpointLink, LedgerId, PublicKey, Signature};
use crate::hsm::{AuditInfo, SHOWN_BYTES, SHOWN_EVENTS};
use crate::ids::CardNames;
use crate::laws::chain::{GENESIS, Hash};
use crate::laws::event::{EventFact, LedgerEvent, codec};
use crate::laws::shifts::LineFollower;
use crate::laws::types::JobId;
use crate::ledger::audit::{Audit, AuditFinding, FindingPlace, KnownAgain};
use crate::ledger::error::LedgerError;
use crate::ledger::replay::JobReplay;
use crate::ledger::signing::PAUSE_MAX;

/// Most findings that an audit returns; more of them say nothing new.
const FINDINGS_MAX: usize = 1000;

/// How long a writer may take to store a checkpoint that the HSM has signed: if the answer of the HSM was lost, it waits
/// for that answer for some seconds, and asks again after a pause.
pub(super) const KEPT_WITHIN: Duration = PAUSE_MAX.saturating_add(Duration::from_secs(10));

/// Every table with rows of jobs.
const OF_JOBS: [&str; 5] = ["balance", "record", "blank", "attempt", "stock"];

impl LedgerStore {
    /// Name of the ledger.
    pub(in crate::ledger) fn id(&self) -> LedgerId {
        self.id
    }

    /// The end of the chain, for the HSM to sign.
    pub(in crate::ledger) fn place(&self) -> ChainPlace {
        let (n, hash) = self.head;
        ChainPlace { ledger: self.id, n, hash }
    }

    /// Number of the last event.
    pub(in crate::ledger) fn last_event(&self) -> u64 {
        self.head.0
    }

    /// Stores a checkpoint; durable after [`LedgerStore::commit`].
    pub(in crate::ledger) fn keep(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        // The HSM gives the last one again when it is asked again.
        self.connection
            .prepare_cached(
                "INSERT INTO checkpoint (n, hash, generation, key, signature, ts, epoch, time, before) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                row::signed(checkpoint.place.n),
                checkpoint.place.hash,
                row::signed(checkpoint.generation),
                checkpoint.key.0,
                checkpoint.signature.to_bytes(),
                row::signed(self.time_of(checkpoint.place.n)?),
                checkpoint.link.map(|link| link.epoch),
                checkpoint.link.map(|link| row::signed(link.time)),
                checkpoint.link.map(|link| link.before),
            ])?;
        Ok(())
    }

    /// Time of an event, Unix in ms.
    fn time_of(&self, n: u64) -> Result<u64, LedgerError> {
        if n == self.head.0 {
            return Ok(self.last_ts);
        }
        let lost = || LedgerError::Damaged(format!("event {n} was signed, but is missing"));
        let body: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT body FROM event_v2 WHERE n = ?1")?
            .query_row([row::signed(n)], |r| r.get(0))
            .optional()?;
        match body {
            Some(body) => Ok(codec::decode(&body).map_err(|_| lost())?.ts),
            None => {
                let mut query = self.connection.prepare_cached("SELECT ts FROM event WHERE n = ?1")?;
                query.query_row([row::signed(n)], |r| row::number(r, 0)).optional()?.ok_or_else(lost)
            }
        }
    }

    /// Number of the last event that was signed; 0 if none was.
    pub(in crate::ledger) fn signed_to(&self) -> Result<u64, LedgerError> {
        Ok(last(&self.connection, self.id)?.map_or(0, |c| c.place.n))
    }

    /// Whether the ledger has this event; every ledger has the place before the first one.
    pub(in crate::ledger) fn has(&self, place: &ChainPlace) -> Result<bool, LedgerError> {
        let hash = if place.n == 0 { Some(GENESIS) } else { hash_at(&self.connection, place.n)? };
        Ok(place.ledger == self.id && hash == Some(place.hash))
    }

    /// The last signature.
    pub(in crate::ledger) fn last_signed(&self) -> Result<Option<Checkpoint>, LedgerError> {
        last(&self.connection, self.id)
    }

    /// The bytes of the next events after this one, as many as an HSM takes at once.
    pub(in crate::ledger) fn events_after(&self, place: &ChainPlace) -> Result<Vec<Vec<u8>>, LedgerError> {
        let mut queries = ChainQueries::new(&self.connection)?;
        let mut chain = queries.after(place.n, place.hash)?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while events.len() < SHOWN_EVENTS {
            let Some(link) = chain.next()? else { break };
            let event = link.bytes()?;
            bytes += event.len();
            if bytes > SHOWN_BYTES {
                break;
            }
            events.push(event);
        }
        Ok(events)
    }

    /// Compares the ledger with the HSM's record of it, and verifies the chain from the last checkpoint on.
    pub(in crate::ledger) fn agrees(&self, known: &AuditInfo) -> Result<(), LedgerError> {
        let id = self.id;
        let last = last(&self.connection, id)?;
        if let Some(finding) = against(&self.connection, id, last.as_ref(), known, &mut || Ok(*known))? {
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

/// Contradictions between a job's tables and its events, and events of the job that do not fit their hashes; empty if
/// there are none.
pub(super) fn of_job(connection: &Connection, job: JobId) -> Result<Vec<AuditFinding>, LedgerError> {
    let moment = connection.unchecked_transaction()?;
    let (id, mut found) = (id(&moment)?, Findings(Vec::new()));
    let Some(mut replay) = replays(&moment, (Some(job), None), &mut found)?.remove(&job) else {
        return Err(LedgerError::NoJob(job));
    };
    versions(&moment, &mut found)?;
    let mut queries = ChainQueries::new(&moment)?;
    let (mut chain, mut scratch) = (queries.after(0, GENESIS)?, Vec::with_capacity(512));
    while let Some(link) = chain.next()? {
        if link.job().ok().flatten() != Some(job) {
            continue;
        }
        if let Some(event) = read_link(&link, &mut scratch, &mut found)? {
            is_accepted(&moment, id, &event, (job, &replay), &mut found)?;
            if let Err(what) = replay.follow(&event) {
                found.at(FindingPlace::Event(event.n), what.to_string());
            }
        }
    }
    tables(&moment, job, &replay, &mut found)?;
    Ok(found.0)
}

const NOT_AS_HASHED: &str = "it, or the one before it, is not what was hashed when it was written";

/// Reports a version 1 event that follows one of version 2: the version of the chain only rises.
fn versions(connection: &Connection, found: &mut Findings) -> Result<(), LedgerError> {
    if let Some(n) = out_of_version(connection)? {
        found.at(FindingPlace::Event(n), "it is of chain version 1 and follows one of version 2");
    }
    Ok(())
}

/// Decodes an event of the chain, if it can be read. Reports a wrong hash, and columns that differ from the event's
/// bytes.
fn read_link(
    link: &ChainLink<'_>,
    scratch: &mut Vec<u8>,
    found: &mut Findings,
) -> Result<Option<LedgerEvent>, LedgerError> {
    let at = FindingPlace::Event(link.n);
    // An error means columns of version 1 that cannot be read; they are reported with the event below.
    if !link.is_as_hashed(scratch).unwrap_or(true) {
        found.at(at, NOT_AS_HASHED);
    }
    match link.event() {
        Err(what) => {
            found.at(at, format!("it cannot be decoded: {what}"));
            Ok(None)
        }
        Ok(event) => {
            if !link.has_its_copies(&event) {
                found.at(at, "a column of its row differs from its bytes");
            }
            Ok(Some(event))
        }
    }
}

/// If the event is the one that accepted the job, reports a row or card_refs that differ from it. Returns whether the
/// event has no seal.
fn is_accepted(
    connection: &Connection,
    ledger: LedgerId,
    event: &LedgerEvent,
    (job, replay): (JobId, &JobReplay),
    found: &mut Findings,
) -> Result<bool, LedgerError> {
    if !matches!(event.fact, EventFact::Accepted(_)) {
        return Ok(false);
    }
    // `walk` and `tables` report a missing row.
    let Some(terms) = TermsRow::read(connection, job)? else { return Ok(false) };
    let proof = terms.proof(event, ledger, replay.cards());
    if proof == TermsProof::Differs {
        found.at(
            FindingPlace::Table,
            format!("{job}: it is not the job that was accepted: see event {}", event.n),
        );
    }
    Ok(proof == TermsProof::Unsealed)
}

/// The first contradiction between the HSM's record and the ledger, if there is one.
fn against(
    connection: &Connection,
    id: LedgerId,
    last: Option<&Checkpoint>,
    known: &AuditInfo,
    again: KnownAgain<'_>,
) -> Result<Option<AuditFinding>, LedgerError> {
    let says = |what: String| Ok(Some(AuditFinding { at: FindingPlace::Ledger, what }));
    if let Some(last) = last {
        if last.key != known.key {
            return says(format!(
                "its last checkpoint was signed by the audit key {}, and the key store's is {}: it is the ledger of another \
                 key store, or the audit book in the store was lost",
                last.key, known.key
            ));
        }
        let behind = |known: &AuditInfo| {
            let head = known.head.filter(|head| head.ledger == id).map_or(0, |head| head.n);
            last.generation > known.generation || last.place.n > head
        };
        if behind(known) {
            // A line may have gone on since.
            let now = again()?;
            if last.generation > now.generation {
                return says(format!(
                    "its last checkpoint is of generation {}, and the audit book of the key store of {}: the book was put \
                     back from a backup",
                    last.generation, now.generation
                ));
            }
            if known.head.is_some() && behind(&now) {
                return says(format!(
                    "the key store has signed event {}, and its audit book does not remember it: the book was put back from a \
                     backup",
                    last.place.n
                ));
            }
        }
    }
    // Without an entry in the book, the ledger must have no checkpoint either.
    let Some(head) = known.head.filter(|head| head.ledger == id) else {
        return match last {
            Some(_) => says("the audit book of the key store has no entry for it".into()),
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

pub(super) fn hash_at(connection: &Connection, n: u64) -> Result<Option<Hash>, LedgerError> {
    Ok(connection
        .prepare_cached(
            "SELECT hash FROM event WHERE n = ?1 UNION ALL SELECT hash FROM event_v2 WHERE n = ?1",
        )?
        .query_row([row::signed(n)], |r| r.get(0))
        .optional()?)
}

pub(super) fn last(connection: &Connection, id: LedgerId) -> Result<Option<Checkpoint>, LedgerError> {
    Ok(checkpoints(connection, id, "ORDER BY n DESC LIMIT 1")?.pop())
}

fn checkpoints(connection: &Connection, id: LedgerId, which: &str) -> Result<Vec<Checkpoint>, LedgerError> {
    let sql =
        format!("SELECT n, hash, generation, key, signature, epoch, time, before FROM checkpoint {which}");
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map([], |r| {
        let link = match (r.get(5)?, r.get::<_, Option<i64>>(6)?, r.get(7)?) {
            (None, None, None) => None,
            // A row that has one of them and lacks another has no signature that fits.
            (epoch, _, before) => Some(CheckpointLink {
                epoch: epoch.unwrap_or_default(),
                time: row::number(r, 6)?,
                before: before.unwrap_or_default(),
            }),
        };
        Ok(Checkpoint {
            link,
            place: ChainPlace { ledger: id, n: row::number(r, 0)?, hash: r.get(1)? },
            generation: row::number(r, 2)?,
            key: PublicKey(r.get(3)?),
            signature: Signature::from_bytes(r.get(4)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All checkpoints, in order.
pub(super) fn all_checkpoints(connection: &Connection) -> Result<Vec<Checkpoint>, LedgerError> {
    checkpoints(connection, id(connection)?, "ORDER BY n")
}

/// Audits a whole ledger. Waits up to `patience` for a running writer to store a checkpoint. Calls `seen` with the number of each event.
pub(super) fn audit(
    connection: &Connection,
    mut known: Option<KnownAgain<'_>>,
    patience: Duration,
    seen: impl FnMut(u64),
) -> Result<Audit, LedgerError> {
    let before = known.as_mut().map(|known| known()).transpose()?;
    // One transaction, so that all reads see one moment while a writer goes on.
    let moment = connection.unchecked_transaction()?;
    let id = id(&moment)?;
    let mut found = Findings(Vec::new());
    schema::differences(&moment)?.into_iter().for_each(|what| found.at(FindingPlace::Schema, what));
    let signed =
        found.read(checkpoints(&moment, id, "ORDER BY n"), || "checkpoints".into()).unwrap_or_default();
    versions(&moment, &mut found)?;
    let arriving = arrival::arriving(&moment)?;
    let jobs = replays(&moment, (None, arriving), &mut found)?;
    let walked = walk(&moment, id, (&signed, jobs), &mut found, seen)?;
    signatures(&signed, &mut found);
    let head = moment.query_row("SELECT n, hash FROM head", [], |r| Ok((row::number(r, 0)?, r.get(1)?)));
    let (n, hash) = walked.end;
    if head.ok() != Some((n, hash)) {
        found.at(FindingPlace::Ledger, format!("its head is not event {n}, the last one"));
    }
    for (job, replay) in &walked.jobs {
        let read = tables(&moment, *job, replay, &mut found);
        found.read(read, || job.to_string());
    }
    of_no_job(&moment, &walked.jobs, arriving, &mut found)?;
    let differs = match (&before, known) {
        (Some(before), Some(again)) => against(&moment, id, signed.last(), before, again)?,
        _ => None,
    };
    // `missing` waits for a writer, and reads what it writes meanwhile.
    drop(moment);
    match differs {
        Some(finding) => found.0.push(finding),
        None => missing(
            connection,
            before.and_then(|known| known.signed).filter(|signed| signed.ledger == id),
            patience,
            &mut found,
        )?,
    }
    Ok(Audit {
        ledger: id,
        head: ChainHead { n, hash },
        jobs: walked.jobs.len(),
        unsealed: walked.unsealed,
        notes: walked.notes,
        checkpoints: signed.len(),
        signed_to: signed.last().map_or(0, |c| c.place.n),
        key: signed.last().map(|c| c.key),
        findings: found.0,
    })
}

/// The result of [`walk`].
struct Walked {
    jobs: BTreeMap<JobId, JobReplay>,
    unsealed: usize,
    notes: u64,
    end: (u64, Hash),
}

/// Checks every event: its number, its hash, its change, and the checkpoint that signs it.
fn walk(
    moment: &Connection,
    id: LedgerId,
    (signed, mut jobs): (&[Checkpoint], BTreeMap<JobId, JobReplay>),
    found: &mut Findings,
    mut seen: impl FnMut(u64),
) -> Result<Walked, LedgerError> {
    let mut waiting = signed.iter().peekable();
    let times = checkpoint_times(moment)?;
    let mut line = LineFollower::default();
    let mut queries = ChainQueries::new(moment)?;
    let (mut chain, mut scratch) = (queries.after(0, GENESIS)?, Vec::with_capacity(512));
    let (mut unsealed, mut notes) = (0, 0);
    while let Some(link) = chain.next()? {
        let n = link.n;
        if n == 0 {
            found.at(FindingPlace::Ledger, "an event has an impossible number");
            continue;
        }
        if n != link.before + 1 {
            found.at(FindingPlace::Event(link.before + 1), "it is missing");
        }
        seen(n);
        let event = read_link(&link, &mut scratch, found)?;
        if let Some(event) = &event {
            let followed = match link.job() {
                // The column cannot be read; `read_link` has reported that.
                Err(_) => Some(Ok(())),
                Ok(None) => Some(line.follow(event)),
                Ok(Some(job)) => jobs.get_mut(&job).map(|replay| {
                    let bare = is_accepted(moment, id, event, (job, replay), found);
                    unsealed += usize::from(found.read(bare, || job.to_string()).unwrap_or_default());
                    replay.follow(event)
                }),
            };
            match followed {
                None => found.at(FindingPlace::Event(n), "its job is missing"),
                Some(Err(what)) => found.at(FindingPlace::Event(n), what.to_string()),
                Some(Ok(())) => {}
            }
            notes += u64::from(matches!(event.fact, EventFact::Unknown { .. }));
        }
        while let Some(checkpoint) = waiting.next_if(|c| c.place.n <= n) {
            let at = FindingPlace::Checkpoint(checkpoint.place.n);
            if checkpoint.place.n != n || checkpoint.place.hash != link.stored {
                found.at(at, "the event that it signs is another one or missing");
            } else if event.as_ref().is_some_and(|event| times.get(&n) != Some(&event.ts)) {
                found.at(at, "its time is not that of its event");
            }
        }
    }
    for checkpoint in waiting {
        found.at(
            FindingPlace::Checkpoint(checkpoint.place.n),
            "the ledger ends before the event that it signs",
        );
    }
    let end = chain.end();
    Ok(Walked { jobs, unsealed, notes, end })
}

/// The time of each checkpoint, by the number of its event. It must be the event's time.
fn checkpoint_times(connection: &Connection) -> Result<BTreeMap<u64, u64>, LedgerError> {
    let mut query = connection.prepare("SELECT n, ts FROM checkpoint")?;
    let mut rows = query.query([])?;
    let mut times = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if let (Ok(n), Ok(ts)) = (row::number(row, 0), row::number(row, 1)) {
            times.insert(n, ts);
        }
    }
    Ok(times)
}

struct Findings(Vec<AuditFinding>);

impl Findings {
    fn at(&mut self, at: FindingPlace, what: impl Into<String>) {
        if self.0.len() < FINDINGS_MAX {
            self.0.push(AuditFinding { at, what: what.into() });
        }
    }

    /// The value that was read; an error becomes a finding.
    fn read<T>(&mut self, result: Result<T, LedgerError>, what: impl FnOnce() -> String) -> Option<T> {
        result
            .map_err(|error| self.at(FindingPlace::Table, format!("{} cannot be read: {error}", what())))
            .ok()
    }
}

/// Checks each signature by itself, and that each checkpoint follows the one before.
fn signatures(signed: &[Checkpoint], found: &mut Findings) {
    let mut before: Option<&Checkpoint> = None;
    for checkpoint in signed {
        let at = FindingPlace::Checkpoint(checkpoint.place.n);
        if !checkpoint.is_genuine() {
            found.at(at, "its signature is wrong");
        }
        if let Some(breach) = checkpoint.breach(before) {
            found.at(at, breach);
        }
        before = Some(checkpoint);
    }
}

/// Reports a checkpoint that the HSM signed and the ledger still lacks after `patience`.
fn missing(
    connection: &Connection,
    head: Option<ChainPlace>,
    patience: Duration,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let Some(head) = head else { return Ok(()) };
    let mut query = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM checkpoint WHERE n >= ?1)")?;
    let until = Instant::now() + patience;
    while !query.query_row([row::signed(head.n)], |r| r.get(0))? {
        if Instant::now() >= until {
            found.at(
                FindingPlace::Checkpoint(head.n),
                "the HSM has signed this event, and the ledger has neither that checkpoint nor a later one: it was deleted, or \
                 the line was killed between the two; in that case a start of the line with these keys signs it again",
            );
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Reports rows of jobs that do not exist.
fn of_no_job(
    connection: &Connection,
    jobs: &BTreeMap<JobId, JobReplay>,
    arriving: Option<JobId>,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    for table in OF_JOBS {
        let mut query = connection.prepare(&format!("SELECT min(job) FROM {table} WHERE job > ?1"))?;
        let mut next = |after: i64| query.query_row([after], |r| r.get::<_, Option<i64>>(0));
        let mut after = i64::MIN;
        while let Some(job) = next(after)? {
            let job_id = u32::try_from(job).ok().map(JobId);
            let records = table == "record" && job_id.is_some() && job_id == arriving;
            if !records && !job_id.is_some_and(|job| jobs.contains_key(&job)) {
                found.at(FindingPlace::Table, format!("{table}: rows of a job {job}, which is missing"));
            }
            after = job;
        }
    }
    Ok(())
}

/// Every job but the one that arrives, or only one job, as it was accepted: before any event.
fn replays(
    connection: &Connection,
    (only, arriving): (Option<JobId>, Option<JobId>),
    found: &mut Findings,
) -> Result<BTreeMap<JobId, JobReplay>, LedgerError> {
    let sql = "SELECT id, rejects_shredded FROM job WHERE ?1 IS NULL OR id = ?1";
    let mut query = connection.prepare(sql)?;
    let mut jobs = BTreeMap::new();
    let mut rows = query.query([only.map(|job| job.0)])?;
    while let Some(row) = rows.next()? {
        let Ok(job) = row.get(0).map(JobId) else {
            found.at(FindingPlace::Table, "job: a row has an impossible number");
            continue;
        };
        if Some(job) == arriving {
            continue;
        }
        let cards = found.read(load::cards(connection, job), || job.to_string()).unwrap_or_default();
        // Any value but 0 and 1 is reported where the whole row is read.
        jobs.insert(job, JobReplay::new(job, cards, row.get(1)?));
    }
    Ok(jobs)
}

/// Compares a job's tables with its events.
fn tables(
    connection: &Connection,
    job: JobId,
    replay: &JobReplay,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let at = FindingPlace::Table;
    match load::load_with(connection, job, CardNames::default()) {
        Ok(Some(book)) => replay.differences(&book).into_iter().for_each(|what| found.at(at, what)),
        Ok(None) => {
            found.at(at, format!("{job} has no balance"));
            return Ok(());
        }
        Err(error) => found.at(at, format!("{job} cannot be read: {error}")),
    }
    let sql = format!("SELECT {} FROM balance WHERE job = ?1", row::BALANCE);
    let kept = connection.prepare_cached(&sql)?.query_row([job.0], |r| row::balance(r, 0)).optional()?;
    if kept != Some(super::recount(connection, job)?) {
        found.at(at, format!("{job}: the stored balances differ from a count of its rows"));
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM stock WHERE job = ?1)";
    let counted: bool = connection.prepare_cached(sql)?.query_row([job.0], |r| r.get(0))?;
    if counted != load::stock(connection, job)?.is_counted() {
        found.at(at, format!("{job}: it has a row of stock, but no blanks were issued"));
    }
    blanks(connection, job, replay, found)?;
    let sql = "SELECT seq, number, position, compared FROM attempt WHERE job = ?1 ORDER BY seq, number";
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query([job.0])?;
    while let Some(row) = rows.next()? {
        let (seq, attempt): (u32, u32) = (row.get(0)?, row.get(1)?);
        let told = replay.made(seq, attempt);
        let mut differs = |what: &str| {
            found.at(at, format!("{job} record {seq} attempt {attempt}: {what} differs from its events"));
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

/// Compares a job's blanks with its events.
fn blanks(
    connection: &Connection,
    job: JobId,
    replay: &JobReplay,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let sql = "SELECT number, state, key_data, chip FROM blank WHERE job = ?1 ORDER BY number";
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query([job.0])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        if !replay.is_blank(number, row.get(1)?, &row::blank_chip(row, 2)?) {
            found.at(FindingPlace::Table, format!("{job} blank {number}: it differs from its events"));
        }
        count += 1;
    }
    if count != replay.blanks() {
        let what = format!("{job} has {} blanks by its events, {count} in the table", replay.blanks());
        found.at(FindingPlace::Table, what);
    }
    Ok(())
}
