//! Reads stock: of jobs from the tables, and of shifts by counting the events between the beginning of one shift and
//! that of the next.

use rusqlite::{Connection, OptionalExtension};

use super::events::{self, EventFilter};
use super::{load, row};
use crate::laws::event::{EventFact, LedgerEvent, StateName};
use crate::laws::types::{AttemptState, Balance, JobId};
use crate::ledger::error::LedgerError;
use crate::ledger::views::{OnHand, ShiftView, StockView};

/// A shift: when it began, and the time and event at which the next one began.
struct Span {
    name: String,
    by: Option<String>,
    begun: u64,
    ended: Option<u64>,
    first: u64,
    last: Option<u64>,
}

/// Counts of the blanks and cards that moved between two events.
#[derive(Default)]
struct Flow {
    issued: i64,
    returned: i64,
    vaulted: i64,
    fed: i64,
    given_back: i64,
    good: i64,
    rejected: i64,
    unknown: i64,
    sample: i64,
}

impl Flow {
    /// Blanks that became good, rejected, unknown or sample.
    fn used(&self) -> i64 {
        self.good + self.rejected + self.unknown + self.sample
    }

    /// Blanks on hand after these events, if there were none before.
    fn leaves(&self) -> OnHand {
        let hopper = self.issued - self.returned - self.fed + self.given_back;
        OnHand { hopper, in_line: self.fed - self.given_back - self.used() }
    }

    /// Adds an event to the counts.
    fn add(&mut self, event: &LedgerEvent) {
        match &event.fact {
            EventFact::StockIssued { count } => self.issued += i64::from(*count),
            EventFact::StockReturned { count } => self.returned += i64::from(*count),
            EventFact::StockVaulted { count } => self.vaulted += i64::from(*count),
            EventFact::Fed { .. } => self.fed += 1,
            EventFact::Returned { .. } => self.given_back += 1,
            EventFact::Tested { .. } => {
                self.fed += 1;
                self.sample += 1;
            }
            EventFact::BlankRejected { .. } => self.rejected += 1,
            EventFact::Stacked { .. } => self.good += 1,
            EventFact::Moved { to, .. } => self.moved(event.from, *to),
            _ => {}
        }
    }

    fn moved(&mut self, from: Option<StateName>, to: AttemptState) {
        match (from, to) {
            (_, AttemptState::Rejected) => self.rejected += 1,
            (_, AttemptState::Unknown) => self.unknown += 1,
            (Some(StateName::AttemptUnknown), AttemptState::Good) => {
                self.unknown -= 1;
                self.good += 1;
            }
            (Some(StateName::AttemptUnknown), AttemptState::Destroyed) => {
                self.unknown -= 1;
                self.rejected += 1;
            }
            (Some(StateName::AttemptSample), AttemptState::Destroyed) => {
                self.sample -= 1;
                self.rejected += 1;
            }
            (_, AttemptState::Sample) => {
                self.good -= 1;
                self.sample += 1;
            }
            _ => {}
        }
    }
}

/// The stock of a job.
pub(super) fn of_job(connection: &Connection, job: JobId) -> Result<StockView, LedgerError> {
    let sql = format!("SELECT {} FROM balance WHERE job = ?1", row::BALANCE);
    let balance: Option<Balance> =
        connection.prepare_cached(&sql)?.query_row([job.0], |r| row::balance(r, 0)).optional()?;
    let balance = balance.ok_or(LedgerError::NoJob(job))?;
    let stock = load::stock(connection, job)?;
    Ok(StockView {
        job,
        counted: stock.is_counted(),
        stock,
        fed: balance.blanks_fed.saturating_sub(balance.blanks_returned),
        hopper: stock.hopper(&balance),
        in_line: balance.blanks_in_line,
        good: balance.blanks_good,
        rejected: balance.blanks_rejected,
        unknown: balance.blanks_unknown,
        sample: balance.blanks_sample,
    })
}

/// The stock of all jobs to which blanks were issued, oldest first.
pub(super) fn of_jobs(connection: &Connection) -> Result<Vec<StockView>, LedgerError> {
    let mut query = connection.prepare_cached("SELECT job FROM stock ORDER BY job")?;
    let jobs = query.query_map([], |r| Ok(JobId(r.get(0)?)))?.collect::<Result<Vec<_>, _>>()?;
    jobs.into_iter().map(|job| of_job(connection, job)).collect()
}

/// The shift of that name, or the last one; of one job, or of all jobs whose stock is counted.
pub(super) fn of_shift(
    connection: &Connection,
    name: Option<&str>,
    job: Option<JobId>,
) -> Result<Option<ShiftView>, LedgerError> {
    // One transaction, so that events and tables show one moment while a writer goes on.
    let moment = connection.unchecked_transaction()?;
    let Some(span) = span(&moment, name)? else { return Ok(None) };
    let opening = flow(&moment, 0, Some(span.first), job)?.leaves();
    let during = flow(&moment, span.first, span.last, job)?;
    let closing = match span.last {
        Some(last) => flow(&moment, 0, Some(last), job)?.leaves(),
        None => on_hand(&moment, job)?,
    };
    let off = opening.sum() + during.issued - during.used() - during.returned - closing.sum();
    Ok(Some(ShiftView {
        shift: span.name,
        by: span.by,
        begun: span.begun,
        ended: span.ended,
        opening,
        issued: during.issued,
        good: during.good,
        rejected: during.rejected,
        unknown: during.unknown,
        sample: during.sample,
        returned: during.returned,
        vaulted: during.vaulted,
        closing,
        off,
    }))
}

fn span(connection: &Connection, name: Option<&str>) -> Result<Option<Span>, LedgerError> {
    let (mut found, mut next) = (None::<Span>, None);
    // Without a name every shift replaces the one found before, so the last one remains.
    for event in events::all(connection, EventFilter::Shifts)? {
        let EventFact::ShiftBegun { name: is } = event.fact else { continue };
        if name.is_none_or(|name| name == is) {
            found = Some(Span {
                name: is,
                by: event.context.decided_by().map(|by| by.to_string()),
                begun: event.ts,
                ended: None,
                first: event.n,
                last: None,
            });
            next = None;
        } else if found.is_some() {
            next = next.or(Some((event.ts, event.n)));
        }
    }
    let (ended, last) = next.unzip();
    Ok(found.map(|span| Span { ended, last, ..span }))
}

/// Counts the events after number `after`, up to and including `to`.
fn flow(
    connection: &Connection,
    after: u64,
    to: Option<u64>,
    job: Option<JobId>,
) -> Result<Flow, LedgerError> {
    let mut flow = Flow::default();
    events::each(connection, EventFilter::Stock(job), (after, None), |event| {
        let in_time = to.is_none_or(|to| event.n <= to);
        if in_time {
            flow.add(&event);
        }
        Ok(in_time)
    })?;
    Ok(flow)
}

/// Blanks in hoppers and line now, by the tables.
fn on_hand(connection: &Connection, job: Option<JobId>) -> Result<OnHand, LedgerError> {
    let mut sum = OnHand::default();
    for stock in of_jobs(connection)?.iter().filter(|stock| job.is_none_or(|job| job == stock.job)) {
        sum.hopper += stock.hopper;
        sum.in_line += i64::try_from(stock.in_line).unwrap_or(i64::MAX);
    }
    Ok(sum)
}
