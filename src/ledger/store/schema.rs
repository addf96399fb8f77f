//! Compares the schema of a ledger with the one that the migrations make. An added or missing trigger, index or table
//! changes what is written and read, and no row shows it.
//!
//! The tables that `ANALYZE` makes change no answer and are ignored.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rusqlite::Connection;

use super::open::MIGRATIONS;
use crate::ledger::error::LedgerError;

/// Kind and name of each object, with its table and its SQL.
type SchemaObjects = BTreeMap<(String, String), (String, Option<String>)>;

/// The objects that the first `version` migrations make. They are made once, because every opening of a ledger needs them.
fn made(version: usize) -> rusqlite::Result<&'static SchemaObjects> {
    static MADE: [OnceLock<SchemaObjects>; MIGRATIONS.len() + 1] =
        [const { OnceLock::new() }; MIGRATIONS.len() + 1];
    // A ledger of a later version is refused before.
    let [.., newest] = &MADE;
    let known = MADE.get(version).unwrap_or(newest);
    if let Some(objects) = known.get() {
        return Ok(objects);
    }
    let connection = Connection::open_in_memory()?;
    MIGRATIONS.iter().take(version).try_for_each(|sql| connection.execute_batch(sql))?;
    let objects = objects(&connection)?;
    Ok(known.get_or_init(|| objects))
}

fn objects(connection: &Connection) -> rusqlite::Result<SchemaObjects> {
    let mut query = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema \
         WHERE NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4'))",
    )?;
    let rows = query.query_map([], |r| Ok(((r.get(0)?, r.get(1)?), (r.get(2)?, r.get(3)?))))?;
    rows.collect()
}

/// Refuses a ledger to read in which a view or a virtual table stands in the place of a table: it can have any rows,
/// without an end. Other changes bring no such rows, and an audit names them.
pub(super) fn check_tables(connection: &Connection) -> Result<(), LedgerError> {
    let found = objects(connection)?;
    for (kind, name) in made(MIGRATIONS.len())?.keys().filter(|(kind, _)| kind == "table") {
        let sql = found.get(&(kind.clone(), name.clone())).map(|(_, sql)| sql.as_deref().unwrap_or_default());
        if sql.is_none_or(|sql| sql.trim_start().to_ascii_uppercase().starts_with("CREATE VIRTUAL")) {
            let what = format!(
                "another program has changed its schema: {name} is no table; restore it from a backup"
            );
            return Err(LedgerError::Damaged(what));
        }
    }
    Ok(())
}

/// Differences of a ledger with the newest schema, one line for each object.
pub(super) fn differences(connection: &Connection) -> Result<Vec<String>, LedgerError> {
    differences_of(connection, MIGRATIONS.len())
}

fn differences_of(connection: &Connection, version: usize) -> Result<Vec<String>, LedgerError> {
    let (ours, mut found) = (made(version)?, objects(connection)?);
    let mut differences = Vec::new();
    for ((kind, name), object) in ours {
        match found.remove(&(kind.clone(), name.clone())) {
            None => differences.push(format!("the {kind} {name} is missing")),
            Some(is) if is != *object => {
                differences.push(format!("the {kind} {name} is not the one that this program makes"));
            }
            Some(_) => {}
        }
    }
    let foreign =
        found.into_keys().map(|(kind, name)| format!("the {kind} {name} does not belong to this program"));
    differences.extend(foreign);
    Ok(differences)
}

/// Refuses a ledger whose schema differs from what its version has. Called before the migrations, because a foreign
/// trigger would take part in them.
pub(super) fn check(connection: &Connection, version: u32) -> Result<(), LedgerError> {
    match differences_of(connection, usize::try_from(version).unwrap_or(usize::MAX))?.first() {
        None => Ok(()),
        Some(first) => Err(LedgerError::Damaged(format!(
            "another program has changed its schema: {first}; an audit names every change"
        ))),
    }
}
