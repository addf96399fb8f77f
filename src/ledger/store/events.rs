//! Reads events: version 1 from its columns, version 2 from its bytes, and both as one sequence.

use rusqlite::{Connection, Row, ToSql};

use super::row::{flag, number, optional_number, signed};
use crate::laws::event::version_one::VersionOneRow;
use crate::laws::event::{LedgerEvent, codec};
use crate::laws::types::JobId;
use crate::ledger::error::LedgerError;

/// Columns of [`version_one`], in its order.
pub(super) const VERSION_ONE: &str = "n, ts, job, seq, card_ref, attempt, blank, station, module, from_state, to_state, \
                                      reason, detail, header, sw, position, ms, actor, simulated, count";

/// A row of version 1, from the columns [`VERSION_ONE`].
pub(super) fn version_one(row: &Row<'_>) -> rusqlite::Result<VersionOneRow> {
    Ok(VersionOneRow {
        n: number(row, 0)?,
        ts: number(row, 1)?,
        job: row.get::<_, Option<u32>>(2)?.map(|job| JobId(job).to_string()).unwrap_or_default(),
        seq: row.get(3)?,
        card_ref: row.get(4)?,
        attempt: row.get(5)?,
        blank: row.get(6)?,
        station: row.get(7)?,
        module: row.get(8)?,
        from: row.get(9)?,
        to: row.get(10)?,
        reason: row.get(11)?,
        detail: row.get(12)?,
        header: row.get(13)?,
        sw: row.get(14)?,
        position: row.get(15)?,
        ms: optional_number(row, 16)?,
        actor: row.get(17)?,
        simulated: flag(row, 18)?,
        count: row.get(19)?,
    })
}

/// The event of a version 2 row, whose bytes are in `column`.
pub(super) fn version_two(row: &Row<'_>, column: usize) -> Result<LedgerEvent, LedgerError> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|error| LedgerError::Damaged(error.to_string()))?;
    codec::decode(bytes).map_err(|fault| {
        let n = codec::number_in(bytes).map(|n| format!(" {n}")).unwrap_or_default();
        LedgerError::Damaged(format!("event{n} cannot be decoded: {fault}"))
    })
}

/// A step in a job's life, by the event that records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobMark {
    /// It was held.
    Held,
    /// It was closed.
    Closed,
    /// Its data is about to be deleted.
    Deleting,
    /// Its data was deleted.
    Deleted,
}

/// Which events are read. The SQL conditions are spelled exactly like those of the indexes; otherwise SQLite would not
/// use the indexes.
#[derive(Clone, Copy)]
pub(super) enum EventFilter {
    /// All events.
    All,
    /// All events of a job.
    Job(JobId),
    /// All events of a record of a job.
    Card(JobId, u32),
    /// Events of a job by which cards and blanks were rejected, lost or taken out as samples.
    Faults(JobId),
    /// Events about a job as a whole: from ACCEPTED to RAN.
    Life(JobId),
    /// Like [`Self::Life`], of one kind.
    Mark(JobId, JobMark),
    /// Beginnings of shifts.
    Shifts,
    /// What machines say about their supplies.
    Supplies,
    /// Proofs of the wiring.
    Wiring,
    /// Events of the jobs whose stock is counted, of all or of one.
    Stock(Option<JobId>),
}

impl EventFilter {
    /// Conditions on version 1 and on version 2, whose parameters begin at 3.
    fn conditions(self) -> (&'static str, &'static str) {
        const ONE_LIFE: &str =
            "job = ?3 AND seq IS NULL AND to_state IN ('HELD', 'OPEN', 'CLOSED', 'DELETED', 'RAN')";
        match self {
            Self::All => ("1", "1"),
            Self::Job(_) => ("job = ?3", "job = ?3"),
            Self::Card(..) => ("job = ?3 AND seq = ?4", "job = ?3 AND seq = ?4"),
            Self::Faults(_) => (
                "job = ?3 AND to_state IN ('REJECTED', 'UNKNOWN', 'SAMPLE')",
                "job = ?3 AND kind >= 64 AND kind < 80",
            ),
            Self::Life(_) => (ONE_LIFE, "job = ?3 AND kind < 16"),
            Self::Mark(_, JobMark::Held) => (
                "job = ?3 AND seq IS NULL AND to_state IN ('HELD', 'OPEN', 'CLOSED', 'DELETED', 'RAN') AND to_state = 'HELD'",
                "job = ?3 AND kind < 16 AND kind = 2",
            ),
            Self::Mark(_, JobMark::Closed) => (
                "job = ?3 AND seq IS NULL AND to_state IN ('HELD', 'OPEN', 'CLOSED', 'DELETED', 'RAN') AND to_state = 'CLOSED'",
                "job = ?3 AND kind < 16 AND kind = 4",
            ),
            // Version 1 has no such event, but the parameter must be named because it is bound.
            Self::Mark(_, JobMark::Deleting) => ("job = ?3 AND 0", "job = ?3 AND kind < 16 AND kind = 5"),
            Self::Mark(_, JobMark::Deleted) => (
                "job = ?3 AND seq IS NULL AND to_state IN ('HELD', 'OPEN', 'CLOSED', 'DELETED', 'RAN') AND to_state = 'DELETED'",
                "job = ?3 AND kind < 16 AND kind = 6",
            ),
            Self::Shifts => ("to_state = 'SHIFT'", "kind = 96"),
            Self::Supplies => ("0", "kind = 32769"),
            Self::Wiring => ("0", "kind = 98"),
            Self::Stock(None) => ("job IN (SELECT job FROM stock)", "job IN (SELECT job FROM stock)"),
            Self::Stock(Some(_)) => {
                ("job IN (SELECT job FROM stock) AND job = ?3", "job IN (SELECT job FROM stock) AND job = ?3")
            }
        }
    }

    fn parameters(self) -> Vec<u32> {
        match self {
            Self::All | Self::Shifts | Self::Supplies | Self::Wiring | Self::Stock(None) => vec![],
            Self::Card(job, seq) => vec![job.0, seq],
            Self::Job(job)
            | Self::Faults(job)
            | Self::Life(job)
            | Self::Mark(job, _)
            | Self::Stock(Some(job)) => vec![job.0],
        }
    }
}

/// Calls `each` with the events after number `after`, in order, at most `limit`, until it returns false.
pub(super) fn each(
    connection: &Connection,
    filter: EventFilter,
    (after, limit): (u64, Option<u32>),
    mut each: impl FnMut(LedgerEvent) -> Result<bool, LedgerError>,
) -> Result<(), LedgerError> {
    let (one, two) = filter.conditions();
    let mut left = limit.map_or(-1, i64::from);
    let (after, parameters) = (signed(after), filter.parameters());
    for (columns, table, condition) in [(VERSION_ONE, "event", one), ("body", "event_v2", two)] {
        let sql = format!("SELECT {columns} FROM {table} WHERE n > ?1 AND {condition} ORDER BY n LIMIT ?2");
        let mut query = connection.prepare_cached(&sql)?;
        let mut bound: Vec<&dyn ToSql> = vec![&after, &left];
        bound.extend(parameters.iter().map(|parameter| -> &dyn ToSql { parameter }));
        let mut rows = query.query(bound.as_slice())?;
        let mut given = 0;
        while let Some(row) = rows.next()? {
            let event = if table == "event" { typed(version_one(row)?)? } else { version_two(row, 0)? };
            given += 1;
            if !each(event)? {
                return Ok(());
            }
        }
        left = if left < 0 { left } else { left - given };
    }
    Ok(())
}

/// All events that a filter selects, in order.
pub(super) fn all(connection: &Connection, filter: EventFilter) -> Result<Vec<LedgerEvent>, LedgerError> {
    let mut events = Vec::new();
    each(connection, filter, (0, None), |event| {
        events.push(event);
        Ok(true)
    })?;
    Ok(events)
}

/// The last event that a filter selects and `suits` accepts.
pub(super) fn last(
    connection: &Connection,
    filter: EventFilter,
    suits: impl Fn(&LedgerEvent) -> bool,
) -> Result<Option<LedgerEvent>, LedgerError> {
    let (one, two) = filter.conditions();
    // `each` and this share the conditions, so both bind the first two parameters.
    let (after, limit, parameters) = (0i64, -1i64, filter.parameters());
    for (columns, table, condition) in [("body", "event_v2", two), (VERSION_ONE, "event", one)] {
        let sql =
            format!("SELECT {columns} FROM {table} WHERE n > ?1 AND {condition} ORDER BY n DESC LIMIT ?2");
        let mut query = connection.prepare_cached(&sql)?;
        let mut bound: Vec<&dyn ToSql> = vec![&after, &limit];
        bound.extend(parameters.iter().map(|parameter| -> &dyn ToSql { parameter }));
        let mut rows = query.query(bound.as_slice())?;
        while let Some(row) = rows.next()? {
            let event = if table == "event" { typed(version_one(row)?)? } else { version_two(row, 0)? };
            if suits(&event) {
                return Ok(Some(event));
            }
        }
    }
    Ok(None)
}

fn typed(row: VersionOneRow) -> Result<LedgerEvent, LedgerError> {
    let n = row.n;
    row.typed().map_err(|what| LedgerError::Damaged(format!("event {n} cannot be decoded: {what}")))
}

/// The version 1 event of a number.
#[cfg(test)]
pub(in crate::ledger) fn version_one_at(connection: &Connection, n: i64) -> VersionOneRow {
    connection.query_row(&format!("SELECT {VERSION_ONE} FROM event WHERE n = ?1"), [n], version_one).unwrap()
}
