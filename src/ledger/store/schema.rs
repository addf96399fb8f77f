//! The schema of a ledger against the one that the migrations make: a trigger, an index or a table more or less changes what
//! is written and read, without any row that tells.
//!
//! What SQLite keeps of `ANALYZE` changes no answer and is let be.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::open::MIGRATIONS;
use crate::ledger::error::LedgerError;

/// Kind and name of an object, to its table and the text that made it.
type SchemaObjects = BTreeMap<(String, String), (String, Option<String>)>;

/// What so many migrations make.
fn made(version: usize) -> rusqlite::Result<SchemaObjects> {
    let connection = Connection::open_in_memory()?;
    MIGRATIONS.iter().take(version).try_for_each(|sql| connection.execute_batch(sql))?;
    objects(&connection)
}

fn objects(connection: &Connection) -> rusqlite::Result<SchemaObjects> {
    let mut query = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema \
         WHERE NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4'))",
    )?;
    let rows = query.query_map([], |r| Ok(((r.get(0)?, r.get(1)?), (r.get(2)?, r.get(3)?))))?;
    rows.collect()
}

/// How a ledger that is up to date differs, a line for each object.
pub(super) fn differences(connection: &Connection) -> Result<Vec<String>, LedgerError> {
    differences_of(connection, MIGRATIONS.len())
}

fn differences_of(connection: &Connection, version: usize) -> Result<Vec<String>, LedgerError> {
    let (ours, mut found) = (made(version)?, objects(connection)?);
    let mut differences = Vec::new();
    for ((kind, name), object) in &ours {
        match found.remove(&(kind.clone(), name.clone())) {
            None => differences.push(format!("the {kind} {name} is missing")),
            Some(is) if is != *object => {
                differences.push(format!("the {kind} {name} is not the one that this program makes"));
            }
            Some(_) => {}
        }
    }
    let foreign =
        found.into_keys().map(|(kind, name)| format!("the {kind} {name} is none of this program's"));
    differences.extend(foreign);
    Ok(differences)
}

/// Refuses one that differs from what its version makes: before it is brought up to date, for a foreign trigger would have its
/// say in that.
pub(super) fn check(connection: &Connection, version: u32) -> Result<(), LedgerError> {
    match differences_of(connection, usize::try_from(version).unwrap_or(usize::MAX))?.first() {
        None => Ok(()),
        Some(first) => Err(LedgerError::Damaged(format!(
            "somebody else has changed its schema: {first}; an audit names every change"
        ))),
    }
}
