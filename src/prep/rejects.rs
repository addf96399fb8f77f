//! The list of an input's rejected lines: all of them in a file next to the output, the first on the terminal.
//!
//! ```text
//! line,column,card_ref,fault          column and card_ref are empty where there is none to show
//! ```
//!
//! It holds no value of a line but the card_ref, and that only if it is valid and shows no other value.

use std::path::{Path, PathBuf};

use super::input::{InputError, RejectedLine};
use super::output::write_whole;
use crate::exit::{Exit, Failure};
use crate::output_path::{OutputKind, check_replaceable};
use crate::printable::one_line;
use crate::sibling_path::sibling_path;

/// Most faults that the terminal shows.
const SHOWN: usize = 20;

/// Returns the path of the list for an output.
pub fn path(output: &Path) -> PathBuf {
    sibling_path(output, ".rejects.csv")
}

/// Removes the list of an earlier, refused input, so that none lies next to a good output.
pub fn remove_earlier(output: &Path) {
    let path = path(output);
    let is_list = std::fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() > 0)
        && check_replaceable(&path, OutputKind::Rejects).is_ok();
    if is_list {
        // If it stays, its time of change still shows that it is older than the output.
        let _ = std::fs::remove_file(&path);
    }
}

/// Writes the list and returns the failure with which the program ends. `rejected` returns one rejected line
/// after the other; if it returns none, the failure is `otherwise`.
pub fn list(
    output: &Path,
    mut rejected: impl Iterator<Item = Result<RejectedLine, Failure>>,
    otherwise: Failure,
) -> Failure {
    let path = path(output);
    let mut faults = Faults::default();
    let written = check_replaceable(&path, OutputKind::Rejects).and_then(|()| {
        write_whole(&path, |out| write(csv::Writer::from_writer(out), &mut rejected, &mut faults))
    });
    if written.is_err() && faults.count < SHOWN {
        // The first faults go to the terminal in any case.
        let _ = write(csv::Writer::from_writer(std::io::sink()), &mut rejected, &mut faults);
    }
    let mut lines = faults.shown;
    match (written, faults.count) {
        (Ok(()), 0) => {
            remove_earlier(output);
            return otherwise;
        }
        (Ok(()), count) => {
            let more = count.saturating_sub(lines.len());
            if more > 0 {
                lines.push(format!("and {more} more"));
            }
            lines.push(one_line(&format!("all faults are listed in {}", path.display())).into_owned());
        }
        (Err(failure), _) => {
            let text = format!("the faults are not listed in {}: {failure}", path.display());
            lines.push(one_line(&text).into_owned());
        }
    }
    lines.push("nothing else was written; correct the input and start again".into());
    Failure::new(Exit::Input, lines.join("\n"))
}

/// The faults so far.
#[derive(Default)]
struct Faults {
    count: usize,
    /// The first ones, as the terminal shows them.
    shown: Vec<String>,
}

fn write<W: std::io::Write>(
    mut out: csv::Writer<W>,
    rejected: impl Iterator<Item = Result<RejectedLine, Failure>>,
    faults: &mut Faults,
) -> Result<(), Failure> {
    let fail = |e: csv::Error| Failure::new(Exit::Io, format!("output: {e}"));
    out.write_record(["line", "column", "card_ref", "fault"]).map_err(fail)?;
    for line in rejected {
        let RejectedLine { card_ref, faults: found } = line?;
        let card_ref = card_ref.as_ref().map_or("", |name| name.as_str());
        for fault in &found {
            let (line, column, what) = match fault {
                InputError::Value { place, column, what } => {
                    (place.line.to_string(), column.as_str(), what.clone())
                }
                InputError::Line { place, what } => (place.line.to_string(), "", what.clone()),
                InputError::RowTooLong { place } => {
                    (place.line.to_string(), "", InputError::TOO_LONG.to_owned())
                }
                InputError::Io(_) => (String::new(), "", fault.to_string()),
            };
            out.write_record([line.as_str(), column, card_ref, what.as_str()]).map_err(fail)?;
            if faults.shown.len() < SHOWN {
                faults.shown.push(fault.to_string());
            }
            faults.count += 1;
        }
    }
    out.flush().map_err(|e| fail(e.into()))
}
