//! The names of a row's values: the header line of CSV, the keys of a JSON object.

use super::{InputError, InputPlace, InputSchema, RejectedLine};
use crate::prep::columns::Column;

/// Longest name of an unknown column that a message shows.
const NAME_MAX: usize = 40;

/// Returns the columns in the order of a header line, or all its faults.
pub(super) fn columns(
    names: &[&str],
    place: &InputPlace,
    schema: &InputSchema,
) -> Result<Vec<Column>, RejectedLine> {
    let mut names = Names::of(names, schema);
    // Of several sources together, every required column must be in one.
    if place.file.is_none() {
        names.missing = schema.missing(&names.found).into_iter().map(|name| format!("`{name}`")).collect();
    }
    names.checked(place, schema)
}

/// Returns the columns in the order of an object's keys, or all their faults.
pub(super) fn keys(
    names: &[&str],
    place: &InputPlace,
    schema: &InputSchema,
) -> Result<Vec<Column>, RejectedLine> {
    Names::of(names, schema).checked(place, schema)
}

/// Names, sorted by what is wrong with them.
struct Names {
    found: Vec<Column>,
    unknown: Vec<String>,
    twice: Vec<String>,
    missing: Vec<String>,
}

impl Names {
    fn of(names: &[&str], schema: &InputSchema) -> Self {
        let known = |name: &&str| schema.columns().iter().any(|known| known.name.eq_ignore_ascii_case(name));
        let are_names = names.iter().any(known);
        let mut sorted =
            Self { found: Vec::new(), unknown: Vec::new(), twice: Vec::new(), missing: Vec::new() };
        for (number, name) in (1..).zip(names) {
            match schema.by_name(name) {
                None => sorted.unknown.push(called(number, Some(*name).filter(|_| are_names))),
                Some(column) if sorted.found.contains(&column) => sorted.twice.push(format!("`{name}`")),
                Some(column) => sorted.found.push(column),
            }
        }
        sorted
    }

    fn checked(self, place: &InputPlace, schema: &InputSchema) -> Result<Vec<Column>, RejectedLine> {
        let mut faults = Vec::new();
        let mut fault = |columns: &[String], one: &str, more: &str, end: String| {
            let what = match columns {
                [] => return,
                [column] => format!("column {column} {one}{end}"),
                all => format!("columns {} {more}{end}", all.join(", ")),
            };
            faults.push(InputError::Line { place: place.clone(), what });
        };
        if !self.unknown.is_empty() {
            let known: Vec<_> = schema.columns().iter().map(|known| known.name.as_str()).collect();
            let mut end = format!("; known are {}", known.join(", "));
            if self.found.is_empty() {
                end.push_str(
                    "; no column name is known: check the delimiter and the encoding in [prep.input], or name the columns in [prep.columns]",
                );
            }
            fault(&self.unknown, "has an unknown name", "have unknown names", end);
        }
        fault(&self.twice, "stands twice", "stand twice", String::new());
        fault(&self.missing, "is missing", "are missing", String::new());
        if faults.is_empty() { Ok(self.found) } else { Err(RejectedLine { card_ref: None, faults }) }
    }
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
