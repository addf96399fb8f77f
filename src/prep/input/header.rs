//! The header line of the input: which column stands where.

use super::{InputError, InputPlace, InputSchema, RejectedLine};
use crate::prep::columns::Column;

/// Longest name of an unknown column that a message shows.
const NAME_MAX: usize = 40;

/// Returns the columns in the order of the header, or all its faults.
pub(super) fn columns(
    names: &csv::StringRecord,
    place: &InputPlace,
    schema: &InputSchema,
) -> Result<Vec<Column>, RejectedLine> {
    let known = || schema.columns().iter().map(|known| known.name.as_str());
    let is_header = names.iter().any(|name| known().any(|known| known.eq_ignore_ascii_case(name)));
    let (mut found, mut unknown, mut twice) = (Vec::new(), Vec::new(), Vec::new());
    for (number, name) in (1..).zip(names) {
        match schema.by_name(name) {
            None => unknown.push(called(number, Some(name).filter(|_| is_header))),
            Some(column) if found.contains(&column) => twice.push(format!("`{name}`")),
            Some(column) => found.push(column),
        }
    }
    // Of several sources together, every required column must be in one.
    let missing = if place.file.is_none() { schema.missing(&found) } else { Vec::new() };
    let missing: Vec<String> = missing.into_iter().map(|name| format!("`{name}`")).collect();
    let known = known().collect::<Vec<_>>().join(", ");
    let mut faults = Vec::new();
    let mut fault = |columns: &[String], one: String, more: String| {
        let what = match columns {
            [] => return,
            [column] => format!("column {column} {one}"),
            all => format!("columns {} {more}", all.join(", ")),
        };
        faults.push(InputError::Line { place: place.clone(), what });
    };
    let unknown_name = |verb: &str| format!("{verb}; known are {known}");
    fault(&unknown, unknown_name("has an unknown name"), unknown_name("have unknown names"));
    fault(&twice, "stands twice".into(), "stand twice".into());
    fault(&missing, "is missing".into(), "are missing".into());
    if faults.is_empty() { Ok(found) } else { Err(RejectedLine { card_ref: None, faults }) }
}

/// Returns the number of an unknown column, and its name if that can be no cardholder's data: a file without
/// its header line has a card in its place.
fn called(number: usize, name: Option<&str>) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let is_name = |name: &&str| {
        (1..=NAME_MAX).contains(&name.len())
            && name.bytes().all(plain)
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && !name.as_bytes().windows(4).any(|run| run.iter().all(u8::is_ascii_digit))
    };
    name.filter(is_name).map_or_else(|| number.to_string(), |name| format!("{number} `{name}`"))
}
