//! The rejected lines of an input: their list in a file next to the output, the first faults on the terminal, and the rows
//! of rejected cards as they stood (`rows`).
//!
//! ```text
//! file,line,column,card_ref,fault     column and card_ref are empty where there is none to show
//! ```
//!
//! The list holds no value of a line but the card_ref, and that only if it is valid and shows no other value.

mod lines;
mod rows;

use std::path::{Path, PathBuf};

pub use self::rows::{RejectSource, RejectedRows, check_no_rows};
use super::input::{InputPlace, RejectedLine};
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

/// The faults of an input.
pub struct RejectList {
    path: PathBuf,
    faults: Faults,
    /// Whether all faults were found and stand in the file.
    written: Result<(), Failure>,
}

/// Writes the list of an output. `input` is the source of lines that name none; `rejected` returns one rejected line after
/// the other.
pub fn list(
    output: &Path,
    input: &Path,
    mut rejected: impl Iterator<Item = Result<RejectedLine, Failure>>,
) -> RejectList {
    let (path, input) = (path(output), input.display().to_string());
    let mut faults = Faults::default();
    let check = || check_replaceable(&path, OutputKind::Rejects);
    let written = write_whole(&path, check, |out| {
        write(csv::Writer::from_writer(out), &input, &mut rejected, &mut faults)
    });
    if written.is_err() && faults.count < SHOWN {
        // The first faults go to the terminal in any case.
        let _ = write(csv::Writer::from_writer(std::io::sink()), &input, &mut rejected, &mut faults);
    }
    if written.is_ok() && faults.count == 0 {
        remove_earlier(output);
    }
    RejectList { path, faults, written }
}

impl RejectList {
    /// Whether every line was looked at, and none has a fault.
    pub fn is_empty(&self) -> bool {
        self.written.is_ok() && self.faults.count == 0
    }

    /// Whether every line was looked at, and all faults are listed.
    pub fn is_whole(&self) -> bool {
        self.written.is_ok()
    }

    /// Whether a fault may hide the rows behind it.
    pub fn is_cut(&self) -> bool {
        self.faults.is_cut
    }

    /// Where rows with faults begin.
    pub fn places(&self) -> &[InputPlace] {
        &self.faults.places
    }

    /// The failure with which the program ends: the first faults, where all of them are, and these lines.
    pub fn failure(self, exit: Exit, last: impl IntoIterator<Item = String>) -> Failure {
        let Self { path, faults: Faults { count, shown: mut lines, .. }, written } = self;
        match written {
            Ok(()) => {
                let more = count.saturating_sub(lines.len());
                if more > 0 {
                    lines.push(format!("and {more} more"));
                }
                lines.push(one_line(&format!("all faults are listed in {}", path.display())).into_owned());
            }
            Err(failure) => {
                let text = format!("the faults are not listed in {}: {failure}", path.display());
                lines.push(one_line(&text).into_owned());
            }
        }
        lines.extend(last.into_iter().map(|line| one_line(&line).into_owned()));
        Failure::new(exit, lines.join("\n"))
    }
}

/// The faults so far.
#[derive(Default)]
struct Faults {
    count: usize,
    /// The first ones, as the terminal shows them.
    shown: Vec<String>,
    /// Where the rows of all of them begin.
    places: Vec<InputPlace>,
    /// Whether one of them may hide rows.
    is_cut: bool,
}

fn write<W: std::io::Write>(
    mut out: csv::Writer<W>,
    input: &str,
    rejected: impl Iterator<Item = Result<RejectedLine, Failure>>,
    faults: &mut Faults,
) -> Result<(), Failure> {
    let fail = |e: csv::Error| Failure::new(Exit::Io, format!("output: {e}"));
    out.write_record(["file", "line", "column", "card_ref", "fault"]).map_err(fail)?;
    for line in rejected {
        let RejectedLine { card_ref, faults: found } = line?;
        let card_ref = card_ref.as_ref().map_or("", |name| name.as_str());
        for fault in &found {
            let place = fault.place();
            let file = place.and_then(|place| place.file.as_deref()).unwrap_or(input);
            let line = place.map_or_else(String::new, |place| place.line.to_string());
            out.write_record([file, &line, fault.column(), card_ref, &fault.what()]).map_err(fail)?;
            if faults.shown.len() < SHOWN {
                faults.shown.push(fault.to_string());
            }
            faults.count += 1;
            faults.is_cut |= fault.hides_rows();
            faults.places.extend(place.filter(|place| faults.places.last() != Some(place)).cloned());
        }
    }
    out.flush().map_err(|e| fail(e.into()))
}
