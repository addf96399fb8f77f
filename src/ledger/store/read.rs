//! The reading side: views of durable data, from a read-only connection of its own. Each read is short and sees one
//! moment; a reader never waits for the writer, and the writer never for a reader.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::events::{self, EventFilter, JobMark};
use super::row::{self, blank_chip};
use crate::actor::NOT_PEOPLE;
use crate::audit::{Checkpoint, LedgerId};
use crate::ids::{KekId, KeyData, SpoolKeyName};
use crate::laws::Law;
use crate::laws::event::{AcceptedTerms, BlankSubject, EventFact, LedgerEvent, RunCounts};
use crate::laws::types::{AttemptState, Balance, Context, HsmUse, JobId, JobState, RecordState};
use crate::ledger::audit::{Audit, AuditFinding, KnownAgain};
use crate::ledger::error::LedgerError;
use crate::ledger::handle::WANTED;
use crate::ledger::views::{
    AttemptView, CardView, Gap, Holder, JobPhase, JobView, RejectView, Remade, ShiftView, StackView,
    StationCount, StockView,
};
use crate::printable::one_line;
use crate::reason::ReasonWord;

/// Reads a ledger. One per thread.
pub struct Reader {
    pub(super) connection: Connection,
    /// Where the ledger is.
    path: PathBuf,
    /// The error for a truncated ledger, if it is one.
    behind: Option<LedgerError>,
}

const JOB: &str = "id, state, simulated, issuer_id, file_id, product, job.records, digest, kek, line, \
                   rejects_shredded, spool, accepted, test_keys, spool_key, deleted, deleting";

/// Events that are looked through for what a machine wants.
const WANTS_EVENTS: u64 = 10_000;

impl Reader {
    /// Opens a ledger for reading; also while another process writes to it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let reader = Self::open_as_it_is(path)?;
        match reader.behind {
            Some(behind) => Err(behind),
            None => Ok(reader),
        }
    }

    /// Like [`Self::open`], but accepts a truncated ledger; [`Self::behind`] then says how much is missing.
    pub fn open_as_it_is(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let (connection, behind, path) = super::open::open_reader(path.as_ref())?;
        Ok(Self { connection, path, behind })
    }

    /// The error for a truncated ledger, if the file next to it notes a later event than the last one here.
    pub fn behind(&self) -> Option<&LedgerError> {
        self.behind.as_ref()
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> Result<Vec<JobView>, LedgerError> {
        let sql =
            format!("SELECT {JOB}, {} FROM job JOIN balance ON job = id ORDER BY id", balance_columns());
        let mut query = self.connection.prepare_cached(&sql)?;
        let rows = query.query_map([], job_view)?;
        rows.map(|view| self.with_phase(view?)).collect()
    }

    /// Adds values that are not in the job's row: the phases COMPLETE and STOPPING, and why the job is HELD.
    fn with_phase(&self, mut view: JobView) -> Result<JobView, LedgerError> {
        if self.is_complete(&view)? {
            view.phase = JobPhase::Complete;
        }
        if view.state == JobState::Open && self.is_stopping(view.job)? {
            view.phase = JobPhase::Stopping;
        }
        if view.state == JobState::Open && super::lock::is_held(&self.path) {
            view.wants = self.wants()?;
        }
        if view.state != JobState::Held {
            return Ok(view);
        }
        let held = self.last_mark(view.job, JobMark::Held)?.map(|event| event.context).unwrap_or_default();
        Ok(JobView { held_for: held.reason, held_detail: shown(held.detail), ..view })
    }

    /// One job.
    pub fn job(&self, job: JobId) -> Result<JobView, LedgerError> {
        let sql =
            format!("SELECT {JOB}, {} FROM job JOIN balance ON job = id WHERE id = ?1", balance_columns());
        let view = self.connection.prepare_cached(&sql)?.query_row([job.0], job_view).optional()?;
        self.with_phase(view.ok_or(LedgerError::NoJob(job))?)
    }

    /// Whether a hold of an OPEN job waits for the cards that are under way. It waits for nothing if the line was killed: then
    /// no process has the ledger open for writing.
    fn is_stopping(&self, job: JobId) -> Result<bool, LedgerError> {
        let last = events::last(&self.connection, EventFilter::Life(job), |_| true)?;
        Ok(last.is_some_and(|event| event.fact == EventFact::HoldAsked) && super::lock::is_held(&self.path))
    }

    /// What wants something of a person by the last events: the line says it once, when it begins, so an older one
    /// is not found.
    fn wants(&self) -> Result<Vec<String>, LedgerError> {
        let last: Option<i64> =
            self.connection.prepare_cached("SELECT max(n) FROM event_v2")?.query_row([], |r| r.get(0))?;
        let after = u64::try_from(last.unwrap_or(0)).unwrap_or(0).saturating_sub(WANTS_EVENTS);
        let mut wants: Vec<String> = Vec::new();
        events::each(&self.connection, EventFilter::Supplies, (after, None), |event| {
            if let EventFact::SupplyTold { station, state, .. } = event.fact {
                wants.retain(|other| *other != station);
                if state == WANTED {
                    wants.push(station);
                }
            }
            Ok(true)
        })?;
        Ok(wants)
    }

    /// The connections for which the last proofs of these stations hold, by station. A station is left out if it has no
    /// proof, or if its last one was taken back. Reads backwards from the last event until it has met every station.
    pub fn wired(&self, stations: &BTreeSet<String>) -> Result<BTreeMap<String, String>, LedgerError> {
        let last = RefCell::new(BTreeMap::new());
        let all_met = |event: &LedgerEvent| {
            let mut last = last.borrow_mut();
            // One that takes a proof back names no device.
            if let EventFact::WiringProved { station, device, .. } = &event.fact
                && stations.contains(station)
            {
                last.entry(station.clone()).or_insert_with(|| device.clone());
            }
            last.len() == stations.len()
        };
        events::last(&self.connection, EventFilter::Wiring, all_met)?;
        Ok(last.into_inner().into_iter().filter_map(|(station, device)| Some((station, device?))).collect())
    }

    /// Whether nothing prevents closing a job that is not CLOSED. For display: the laws decide when it is closed.
    fn is_complete(&self, view: &JobView) -> Result<bool, LedgerError> {
        let Balance { queued, in_flight, remake, unknown, blanks_in_line, .. } = view.balance;
        let open = [queued, in_flight, remake, unknown, blanks_in_line].iter().any(|count| *count > 0);
        if view.state == JobState::Closed || open {
            return Ok(false);
        }
        Ok(self.to_destroy(view.job)?.is_empty() && self.stock(view.job)?.hopper == 0)
    }

    /// Both balances of a job, as kept with every change.
    pub fn balance(&self, job: JobId) -> Result<Balance, LedgerError> {
        let sql = format!("SELECT {} FROM balance WHERE job = ?1", row::BALANCE);
        let balance =
            self.connection.prepare_cached(&sql)?.query_row([job.0], |r| row::balance(r, 0)).optional()?;
        balance.ok_or(LedgerError::NoJob(job))
    }

    /// Both balances of a job, by counting its records, blanks and attempts; equal to [`Reader::balance`], or the
    /// ledger is damaged.
    pub fn recount(&self, job: JobId) -> Result<Balance, LedgerError> {
        super::recount(&self.connection, job)
    }

    /// A record with its attempts and events.
    pub fn card(&self, job: JobId, seq: u32) -> Result<CardView, LedgerError> {
        let record = self
            .connection
            .prepare_cached(
                "SELECT card_ref, state, released FROM record WHERE job = ?1 AND seq = ?2 \
                 AND EXISTS (SELECT 1 FROM balance WHERE job = ?1)",
            )?
            .query_row(params![job.0, seq], |r| Ok((text(r, 0)?, r.get(1)?, r.get(2)?)))
            .optional()?;
        let Some((card_ref, state, released)) = record else {
            self.job(job)?;
            return Err(LedgerError::Denied { job, seq: Some(seq), law: Law::NoRecord });
        };
        let mut attempts = self.connection.prepare_cached(
            "SELECT a.number, a.state, a.blank, b.key_data, b.chip, a.wrote, a.position, a.compared FROM attempt AS a \
             JOIN blank AS b ON b.job = a.job AND b.number = a.blank WHERE a.job = ?1 AND a.seq = ?2 ORDER BY 1",
        )?;
        let attempts = attempts.query_map(params![job.0, seq], attempt_view)?.collect::<Result<_, _>>()?;
        let events = events::all(&self.connection, EventFilter::Card(job, seq))?;
        Ok(CardView { job, seq, card_ref, state, released, attempts, events })
    }

    /// The attempt that a chip was last bound to.
    pub fn holder(&self, chip: &KeyData) -> Result<Option<Holder>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT a.job, a.seq, a.number, a.state FROM blank AS b JOIN attempt AS a ON a.job = b.job AND \
             a.blank = b.number WHERE b.key_data = ?1 ORDER BY a.job DESC LIMIT 1",
        )?;
        let holder = |r: &Row<'_>| {
            Ok(Holder { job: JobId(r.get(0)?), seq: r.get(1)?, attempt: r.get(2)?, state: r.get(3)? })
        };
        Ok(query.query_row([chip.0], holder).optional()?)
    }

    /// Sequences to be made next, in file order: QUEUED, and REMAKE that a person released.
    pub fn pending(&self, job: JobId) -> Result<Vec<u32>, LedgerError> {
        self.sequences(
            job,
            "SELECT seq FROM record WHERE job = ?1 AND (state = 'QUEUED' OR (state = 'REMAKE' AND released)) \
             ORDER BY seq",
        )
    }

    /// Why a job is HELD: the reason of the last hold.
    pub fn held_for(&self, job: JobId) -> Result<Option<ReasonWord>, LedgerError> {
        let held = self.last_mark(job, JobMark::Held)?;
        Ok(held.and_then(|event| event.context.reason))
    }

    /// The last event of a kind in a job's life.
    pub fn last_mark(&self, job: JobId, mark: JobMark) -> Result<Option<LedgerEvent>, LedgerError> {
        events::last(&self.connection, EventFilter::Mark(job, mark), |_| true)
    }

    /// The sum of the counts of a job's runs.
    pub fn run_counts(&self, job: JobId) -> Result<RunCounts, LedgerError> {
        let mut sum = RunCounts::default();
        events::each(&self.connection, EventFilter::Life(job), (0, None), |event| {
            if let EventFact::Ran(counts) = &event.fact {
                sum.add(counts);
            }
            Ok(true)
        })?;
        Ok(sum)
    }

    /// What each attempt of a job asked of the HSM, as far as the events tell.
    pub fn hsm_uses(&self, job: JobId) -> Result<Vec<HsmUse>, LedgerError> {
        let mut uses = Vec::new();
        events::each(&self.connection, EventFilter::Job(job), (0, None), |event| {
            uses.extend(event.context.hsm);
            Ok(true)
        })?;
        Ok(uses)
    }

    /// The terms under which a job was accepted; `None` for a job of chain version 1.
    pub fn terms(&self, job: JobId) -> Result<Option<AcceptedTerms>, LedgerError> {
        let mut found = None;
        events::each(&self.connection, EventFilter::Life(job), (0, None), |event| {
            found = event.fact.terms().cloned();
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// Time of a job's first and last event, Unix in ms. The first is the later one if the clock was set back.
    pub fn span(&self, job: JobId) -> Result<(u64, u64), LedgerError> {
        let mut first = None;
        events::each(&self.connection, EventFilter::Job(job), (0, Some(1)), |event| {
            first = first.or(Some(event.ts));
            Ok(false)
        })?;
        let last = events::last(&self.connection, EventFilter::Job(job), |_| true)?.map(|event| event.ts);
        first.zip(last).ok_or(LedgerError::NoJob(job))
    }

    /// The names of the people who decided something about a job, sorted.
    pub fn people(&self, job: JobId) -> Result<Vec<String>, LedgerError> {
        let mut people = BTreeSet::new();
        events::each(&self.connection, EventFilter::Job(job), (0, None), |event| {
            let Context { actor, first_person, .. } = event.context;
            people
                .extend(actor.into_iter().chain(first_person).filter(|name| !NOT_PEOPLE.contains(&&**name)));
            Ok(true)
        })?;
        Ok(people.into_iter().collect())
    }

    /// KMC_IDs of the chips that were bound in a job, hex.
    pub fn kmcs(&self, job: JobId) -> Result<Vec<String>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT DISTINCT hex(substr(key_data, 1, 6)) FROM blank WHERE job = ?1 AND key_data IS NOT NULL \
             AND state = 'BOUND' ORDER BY 1",
        )?;
        let rows = query.query_map([job.0], |r| r.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Number of events of each kind at each station of a job.
    pub fn station_counts(&self, job: JobId) -> Result<Vec<StationCount>, LedgerError> {
        let mut counts: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        events::each(&self.connection, EventFilter::Job(job), (0, None), |event| {
            let reached = event.to_word();
            if let Some(station) = event.context.station {
                *counts.entry((event.context.module.unwrap_or_default(), station, reached)).or_default() += 1;
            }
            Ok(true)
        })?;
        let count = |((module, station, reached), cards)| StationCount { module, station, reached, cards };
        Ok(counts.into_iter().map(count).collect())
    }

    /// Sequences of records in a state, in file order.
    pub fn in_state(&self, job: JobId, state: RecordState) -> Result<Vec<u32>, LedgerError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT seq FROM record WHERE job = ?1 AND state = ?2 ORDER BY seq")?;
        let rows = query.query_map(params![job.0, state], |r| r.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every sequence, in file order.
    pub fn all(&self, job: JobId) -> Result<Vec<u32>, LedgerError> {
        self.sequences(job, "SELECT seq FROM record WHERE job = ?1 ORDER BY seq")
    }

    /// Sequences of the attempts that are REJECTED, UNKNOWN or SAMPLE, one for each such attempt, in file order. A
    /// person must see these cards destroyed.
    pub fn to_destroy(&self, job: JobId) -> Result<Vec<u32>, LedgerError> {
        self.sequences(
            job,
            "SELECT seq FROM attempt WHERE job = ?1 AND state IN ('REJECTED', 'UNKNOWN', 'SAMPLE') ORDER BY seq, number",
        )
    }

    /// Sequences of REMAKE records that are not released yet, in file order.
    pub fn unreleased(&self, job: JobId) -> Result<Vec<u32>, LedgerError> {
        self.sequences(
            job,
            "SELECT seq FROM record WHERE job = ?1 AND state = 'REMAKE' AND NOT released ORDER BY seq",
        )
    }

    /// Blanks that were thrown out, lost or taken out as samples, bound or not, in the order of time.
    pub fn rejects(&self, job: JobId) -> Result<Vec<RejectView>, LedgerError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT state, wrote FROM attempt WHERE job = ?1 AND seq = ?2 AND number = ?3")?;
        let mut views = Vec::new();
        events::each(&self.connection, EventFilter::Faults(job), (0, None), |event| {
            // The event has the state of that time; the attempt may have changed since.
            let now: Option<(AttemptState, bool)> = match (event.seq(), event.attempt()) {
                (Some(seq), Some(attempt)) => query
                    .query_row(params![job.0, seq, attempt], |r| Ok((r.get(0)?, r.get(1)?)))
                    .optional()?,
                _ => None,
            };
            views.push(RejectView {
                seq: event.seq(),
                card_ref: shown(event.card_ref().map(str::to_owned)),
                attempt: event.attempt(),
                blank: event.fact.blank().map(|blank| blank.to_string()),
                state: now.map(|(state, _)| state),
                to_destroy: now.is_some_and(|(state, wrote)| {
                    state == AttemptState::Rejected && wrote || state == AttemptState::Sample
                }),
                detail: shown(event.detail_text()),
                station: shown(event.context.station),
                module: shown(event.context.module),
                reason: shown(event.context.reason.map(String::from)),
                header: shown(event.context.header),
                sw: event.context.sw.map(|sw| format!("{sw:04X}")),
                ts: event.ts,
            });
            Ok(true)
        })?;
        Ok(views)
    }

    /// The differences between the stack and the file: gaps, and remakes listed apart.
    pub fn stack(&self, job: JobId) -> Result<StackView, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT r.seq, r.card_ref, r.state, a.number, a.state, a.position FROM record AS r LEFT JOIN attempt AS a \
             ON a.job = r.job AND a.seq = r.seq WHERE r.job = ?1 ORDER BY r.seq, a.number",
        )?;
        let mut rows = query.query([job.0])?;
        let (mut view, mut before) = (StackView::default(), 0);
        while let Some(row) = rows.next()? {
            let (seq, card_ref, state): (u32, String, RecordState) =
                (row.get(0)?, text(row, 1)?, row.get(2)?);
            let attempt: Option<(u32, AttemptState)> = match row.get(3)? {
                Some(number) => Some((number, row.get(4)?)),
                None => None,
            };
            match (attempt, row.get::<_, Option<u32>>(5)?) {
                // The first card left the stack again.
                (Some((1, attempt)), Some(position)) if left_the_line(attempt) => {
                    view.gaps.push(Gap { seq, card_ref, state, after_position: before });
                    before = position;
                }
                (Some((1, _)), Some(position)) => before = position,
                // A later card left the stack again; the first one's gap is listed already.
                (Some((_, attempt)), Some(_)) if left_the_line(attempt) => {}
                (Some((attempt, _)), Some(position)) => {
                    view.remakes.push(Remade { seq, card_ref, attempt, position });
                }
                // The first card never reached the stack.
                (Some((1, attempt)), None) if left_the_line(attempt) => {
                    view.gaps.push(Gap { seq, card_ref, state, after_position: before });
                }
                // Cancelled before a card was begun.
                (None, _) if state == RecordState::Cancelled => {
                    view.gaps.push(Gap { seq, card_ref, state, after_position: before });
                }
                _ => {}
            }
        }
        view.remakes.sort_by_key(|r| r.position);
        Ok(view)
    }

    /// Events after number `after`, of one job or of all, in order, at most `limit`.
    pub fn events(
        &self,
        job: Option<JobId>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<LedgerEvent>, LedgerError> {
        let filter = job.map_or(EventFilter::All, EventFilter::Job);
        let mut found = Vec::new();
        events::each(&self.connection, filter, (after, Some(limit)), |event| {
            found.push(event);
            Ok(true)
        })?;
        Ok(found)
    }

    /// Number of the last event; 0 in an empty ledger.
    pub fn last_event(&self) -> Result<u64, LedgerError> {
        Ok(self.connection.query_row("SELECT n FROM head", [], |r| row::number(r, 0))?)
    }

    /// Number that the next blank of a job gets.
    pub fn next_blank(&self, job: JobId) -> Result<u32, LedgerError> {
        self.next(job, "SELECT coalesce(max(number), 0) + 1 FROM blank WHERE job = ?1")
    }

    /// Stack position that the next good card of a job gets.
    pub fn next_position(&self, job: JobId) -> Result<u32, LedgerError> {
        self.next(
            job,
            "SELECT coalesce(max(position), 0) + 1 FROM attempt WHERE job = ?1 AND position IS NOT NULL",
        )
    }

    /// The stock of a job.
    pub fn stock(&self, job: JobId) -> Result<StockView, LedgerError> {
        super::stock::of_job(&self.connection, job)
    }

    /// The stock of all jobs to which blanks were issued, oldest first.
    pub fn stocks(&self) -> Result<Vec<StockView>, LedgerError> {
        super::stock::of_jobs(&self.connection)
    }

    /// The shift of that name, or the last one; of one job, or of all jobs whose stock is counted.
    pub fn shift(&self, name: Option<&str>, job: Option<JobId>) -> Result<Option<ShiftView>, LedgerError> {
        super::stock::of_shift(&self.connection, name, job)
    }

    /// Walks the whole chain; see [`super::verify_chain`].
    pub fn verify_chain(&self) -> Result<super::ChainHead, LedgerError> {
        super::verify_chain(&self.connection)
    }

    /// Proves everything that can be proved: the chain, the signatures, the tables against the events, and with
    /// `known` the ledger against the HSM's record of it. That is asked for again if it differs, because a line may have gone
    /// on. Calls `seen` with the number of each event.
    pub fn audit(&self, known: Option<KnownAgain<'_>>, seen: impl FnMut(u64)) -> Result<Audit, LedgerError> {
        let writes = super::lock::is_held(&self.path);
        let patience = if writes { super::audit::KEPT_WITHIN } else { Duration::ZERO };
        super::audit::audit(&self.connection, known, patience, seen)
    }

    /// The card_ref of a record.
    pub fn card_ref(&self, job: JobId, seq: u32) -> Result<String, LedgerError> {
        let mut query =
            self.connection.prepare_cached("SELECT card_ref FROM record WHERE job = ?1 AND seq = ?2")?;
        let found = query.query_row(params![job.0, seq], |r| text(r, 0)).optional()?;
        found.ok_or(LedgerError::Denied { job, seq: Some(seq), law: Law::NoRecord })
    }

    /// Contradictions between a job's tables and its events; empty unless the ledger was changed from outside.
    pub fn replayed(&self, job: JobId) -> Result<Vec<AuditFinding>, LedgerError> {
        super::audit::of_job(&self.connection, job)
    }

    /// Name of the ledger.
    pub fn id(&self) -> Result<LedgerId, LedgerError> {
        super::audit::id(&self.connection)
    }

    /// Whether the HSM has signed the last event of this kind of a job.
    pub fn is_signed(&self, job: JobId, mark: JobMark) -> Result<bool, LedgerError> {
        let signed = super::audit::last(&self.connection, self.id()?)?.map_or(0, |last| last.place.n);
        Ok(self.last_mark(job, mark)?.is_some_and(|event| event.n <= signed))
    }

    /// Bytes of an event of chain version 2; `None` if there is no event of this number in that version.
    pub fn body_at(&self, n: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut query = self.connection.prepare_cached("SELECT body FROM event_v2 WHERE n = ?1")?;
        Ok(query.query_row([row::signed(n)], |r| r.get(0)).optional()?)
    }

    /// Hash of an event; `None` if there is no event of this number.
    pub fn hash_at(&self, n: u64) -> Result<Option<[u8; 32]>, LedgerError> {
        super::audit::hash_at(&self.connection, n)
    }

    /// All checkpoints, in order.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, LedgerError> {
        super::audit::all_checkpoints(&self.connection)
    }

    fn next(&self, job: JobId, sql: &str) -> Result<u32, LedgerError> {
        Ok(self.connection.prepare_cached(sql)?.query_row([job.0], |r| r.get(0))?)
    }

    fn sequences(&self, job: JobId, sql: &str) -> Result<Vec<u32>, LedgerError> {
        let mut query = self.connection.prepare_cached(sql)?;
        let rows = query.query_map([job.0], |r| r.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Whether an attempt in this state has no place in the stack, or has lost it.
fn left_the_line(state: AttemptState) -> bool {
    matches!(
        state,
        AttemptState::Rejected
            | AttemptState::Unknown
            | AttemptState::Destroyed
            | AttemptState::Good
            | AttemptState::Sample
    )
}

/// The columns of a balance in a join with `job`, which also has a column `records`.
fn balance_columns() -> String {
    row::BALANCE.replacen("records", "balance.records", 1)
}

/// A text of the ledger for a view: another program may have written anything there.
fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    let text: String = row.get(index)?;
    Ok(one_line(&text).into_owned())
}

/// A text of an event for a view.
fn shown(text: Option<String>) -> Option<String> {
    text.map(|text| one_line(&text).into_owned())
}

fn job_view(row: &Row<'_>) -> rusqlite::Result<JobView> {
    let state: JobState = row.get(1)?;
    Ok(JobView {
        job: JobId(row.get(0)?),
        state,
        phase: state.into(),
        held_for: None,
        held_detail: None,
        wants: Vec::new(),
        simulated: row.get(2)?,
        issuer_id: text(row, 3)?,
        file_id: text(row, 4)?,
        product: text(row, 5)?,
        records: row.get(6)?,
        digest: hex::encode_upper(row.get::<_, [u8; 32]>(7)?),
        kek: KekId(row.get(8)?).to_string(),
        line: text(row, 9)?,
        rejects_shredded: row.get(10)?,
        spool: row.get(11)?,
        accepted: row::number(row, 12)?,
        test_keys: row.get(13)?,
        spool_key: row.get::<_, Option<[u8; 16]>>(14)?.map(SpoolKeyName),
        deleted: row.get(15)?,
        deleting: row.get(16)?,
        second_person: Vec::new(),
        balance: row::balance(row, 17)?,
    })
}

fn attempt_view(row: &Row<'_>) -> rusqlite::Result<AttemptView> {
    let (number, chip) = (row.get(2)?, blank_chip(row, 3)?.known());
    let label = chip.map(|chip| chip.label());
    Ok(AttemptView {
        attempt: row.get(0)?,
        state: row.get(1)?,
        blank_number: number,
        blank: BlankSubject { number: Some(number), label }.to_string(),
        key_data: chip.and_then(|chip| chip.key_data()).map(|key_data| hex::encode_upper(key_data.0)),
        wrote: row.get(5)?,
        position: row.get(6)?,
        compared: shown(row.get(7)?),
    })
}
