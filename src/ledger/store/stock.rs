//! Stock as it is read: of jobs, and of shifts, whose figures are counted from the events between one shift's beginning
//! and the next one's.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{load, row};
use crate::ledger::book::{STOCK_ISSUED, STOCK_RETURNED, STOCK_VAULTED};
use crate::ledger::error::LedgerError;
use crate::ledger::types::{Balance, JobId};
use crate::ledger::views::{OnHand, ShiftView, StockView};

/// When a shift began, and the last event of it.
struct Span {
    name: String,
    by: Option<String>,
    begun: u64,
    ended: Option<u64>,
    first: u64,
    last: Option<u64>,
}

/// What happened to blanks between two events.
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
    /// Blanks that became something.
    fn used(&self) -> i64 {
        self.good + self.rejected + self.unknown + self.sample
    }

    /// What lies there after it, where nothing lay before.
    fn leaves(&self) -> OnHand {
        let hopper = self.issued - self.returned - self.fed + self.given_back;
        OnHand { hopper, in_line: self.fed - self.given_back - self.used() }
    }

    /// Counts an event that happened so often.
    fn add(&mut self, from: Option<&str>, to: &str, times: i64, blanks: i64) {
        match (from, to) {
            (_, STOCK_ISSUED) => self.issued += blanks,
            (_, STOCK_RETURNED) => self.returned += blanks,
            (_, STOCK_VAULTED) => self.vaulted += blanks,
            (_, "FED") => self.fed += times,
            (_, "RETURNED") => self.given_back += times,
            (_, "TEST") => {
                self.fed += times;
                self.sample += times;
            }
            (_, "STACKED") => self.good += times,
            (_, "REJECTED") => self.rejected += times,
            (_, "UNKNOWN") => self.unknown += times,
            (Some("UNKNOWN"), "GOOD") => {
                self.unknown -= times;
                self.good += times;
            }
            (Some("UNKNOWN"), "DESTROYED") => {
                self.unknown -= times;
                self.rejected += times;
            }
            (Some("SAMPLE"), "DESTROYED") => {
                self.sample -= times;
                self.rejected += times;
            }
            (_, "SAMPLE") => {
                self.good -= times;
                self.sample += times;
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

/// The stock of all jobs to which somebody issued any, oldest first.
pub(super) fn of_jobs(connection: &Connection) -> Result<Vec<StockView>, LedgerError> {
    let mut query = connection.prepare_cached("SELECT job FROM stock ORDER BY job")?;
    let jobs = query.query_map([], |r| Ok(JobId(r.get(0)?)))?.collect::<Result<Vec<_>, _>>()?;
    jobs.into_iter().map(|job| of_job(connection, job)).collect()
}

/// A shift, by its name or the last one; of one job or of all whose stock is counted.
pub(super) fn of_shift(
    connection: &Connection,
    name: Option<&str>,
    job: Option<JobId>,
) -> Result<Option<ShiftView>, LedgerError> {
    // One transaction, so that events and tables are of one moment while a writer goes on.
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
    let mut query = connection.prepare_cached(
        "SELECT s.n, s.ts, s.detail, s.actor, e.n, e.ts FROM event AS s LEFT JOIN event AS e ON e.n = \
         (SELECT min(n) FROM event WHERE to_state = 'SHIFT' AND n > s.n) \
         WHERE s.to_state = 'SHIFT' AND (?1 IS NULL OR s.detail = ?1) ORDER BY s.n DESC LIMIT 1",
    )?;
    let optional = |r: &Row<'_>, index| match r.get::<_, Option<i64>>(index)? {
        Some(_) => row::number(r, index).map(Some),
        None => Ok(None),
    };
    let span = query.query_row([name], |r| {
        Ok(Span {
            first: row::number(r, 0)?,
            begun: row::number(r, 1)?,
            name: r.get(2)?,
            by: r.get(3)?,
            last: optional(r, 4)?,
            ended: optional(r, 5)?,
        })
    });
    Ok(span.optional()?)
}

/// Of the events behind the first number up to the last.
fn flow(
    connection: &Connection,
    after: u64,
    to: Option<u64>,
    job: Option<JobId>,
) -> Result<Flow, LedgerError> {
    let mut query = connection.prepare_cached(
        "SELECT from_state, to_state, count(*), coalesce(sum(count), 0) FROM event WHERE n > ?1 \
         AND (?2 IS NULL OR n <= ?2) AND job IN (SELECT job FROM stock) AND (?3 IS NULL OR job = ?3) GROUP BY 1, 2",
    )?;
    let mut rows = query.query(params![row::signed(after), to.map(row::signed), job.map(|job| job.0)])?;
    let mut flow = Flow::default();
    while let Some(row) = rows.next()? {
        let from: Option<String> = row.get(0)?;
        let to: String = row.get(1)?;
        flow.add(from.as_deref(), &to, row.get(2)?, row.get(3)?);
    }
    Ok(flow)
}

/// What lies in hoppers and line by the tables, now.
fn on_hand(connection: &Connection, job: Option<JobId>) -> Result<OnHand, LedgerError> {
    let mut sum = OnHand::default();
    for stock in of_jobs(connection)?.iter().filter(|stock| job.is_none_or(|job| job == stock.job)) {
        sum.hopper += stock.hopper;
        sum.in_line += i64::try_from(stock.in_line).unwrap_or(i64::MAX);
    }
    Ok(sum)
}
