//! The command lines of `cardwright`, `cardwrightd` and `cardwright-prep`: one file for each verb.
//!
//! Not here: the work of the verbs. Each calls one part of the program and prints its answer.

pub mod audit;
pub mod card;
pub mod check_return;
pub mod common;
pub mod counter;
pub mod daemon;
mod foreground;
pub mod hosts;
pub mod hsm;
pub mod inspect;
pub mod issuer_cert;
pub mod job;
pub mod keys;
pub mod line;
pub mod log;
pub mod manual;
mod next_step;
mod paper_files;
mod pin;
pub mod pool;
pub mod preview;
pub mod profile;
mod remote;
mod render;
pub mod run;
pub mod simulate;
pub mod stock;
mod suggested;
pub mod survey;
mod terminal;
#[cfg(test)]
mod tests;

use std::io::Write;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, Failure};
use crate::hardening::harden;
use crate::panics::{self, ends_well};
use crate::printable::one_line;

/// Runs a program to its end: prints a failure in one line, and returns its exit code.
pub fn end(program: impl FnOnce() -> Result<Exit, Failure>) -> std::process::ExitCode {
    let mut result = Err(Failure::new(
        Exit::Thread,
        "us: the program itself died, which is a bug: report it (its place stands in the log above); cards under way are \
         UNKNOWN at the next start",
    ));
    ends_well(|| result = harden().and_then(|()| program()));
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Standard error may be closed; the exit code reports the failure too.
            let _ = writeln!(std::io::stderr(), "error: {}", one_line(&failure.to_string()));
            failure.exit.into()
        }
    }
}

/// Sends logs and panics to stderr, filtered by `CARDWRIGHT_LOG` (default: warnings), as JSON with
/// `CARDWRIGHT_LOG_FORMAT=json`. A wrong value of either is logged as a warning. The text of a panic is not printed.
pub fn init_logs() {
    let wanted = std::env::var("CARDWRIGHT_LOG").unwrap_or_default();
    let filter = log_filter(&wanted);
    let wrong = filter.is_none();
    let filter = filter.unwrap_or_else(|| EnvFilter::new(LOG_LEVEL));
    let format = std::env::var("CARDWRIGHT_LOG_FORMAT").unwrap_or_default();
    let json = format == "json";
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogLine(std::io::stderr()))
        .with_ansi(false);
    // Tests initialize this more than once, which is no fault.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
    if wrong {
        tracing::warn!(
            "CARDWRIGHT_LOG is no valid filter: only warnings are logged; write off, error, warn, info, debug or trace, or \
             TARGET=LEVEL as cardwright=debug"
        );
    }
    if !matches!(format.as_str(), "" | "json" | "text") {
        tracing::warn!("CARDWRIGHT_LOG_FORMAT is neither json nor text: logs are text");
    }
    panics::quote_nothing();
}

/// Level of the log of parts for which `CARDWRIGHT_LOG` names none.
const LOG_LEVEL: &str = "warn";

/// Makes the filter for a value of `CARDWRIGHT_LOG`; `None` if it is wrong.
///
/// The crate tracing takes a bare word that is no level (`warning`) as the name of a part of a program, and logs that
/// part alone. A mistyped level would silence everything, so such a word is wrong here.
fn log_filter(wanted: &str) -> Option<EnvFilter> {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let fits = |directive: &str| match directive.rsplit_once('=') {
        // Spans and their fields are left to the crate's own check.
        _ if directive.contains(['[', ']', '{', '}']) => true,
        Some((part, level)) => !part.is_empty() && is_level(level),
        None => is_level(directive),
    };
    let mut directives: Vec<&str> = wanted.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    if !directives.iter().all(|directive| fits(directive)) {
        return None;
    }
    if !directives.iter().any(|directive| is_level(directive)) {
        directives.push(LOG_LEVEL);
    }
    EnvFilter::try_new(directives.join(",")).ok()
}

/// Writes each log entry as one line, so that a quoted text from outside cannot begin a line. Each entry arrives in one
/// piece.
struct LogLine<W>(W);

impl<W: Write> Write for LogLine<W> {
    fn write(&mut self, entry: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        let line = format!("{}\n", one_line(text.strip_suffix('\n').unwrap_or(&text)));
        self.0.write_all(line.as_bytes())?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
