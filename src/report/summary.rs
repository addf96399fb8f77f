//! The report of a job: the contents of the ledger, and the measurements of a run. It is written as JSON for
//! programs.
//!
//! Not here: its text for people (`summary_text`).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::TokenPart;
use crate::laws::{Balance, JobId, JobState, Law};
use crate::ledger::{Gap, JobView, LedgerError, Reader, RejectView, Remade, StockView};

/// The measurements of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunStats {
    /// Cards that left the line in this run, good or not.
    pub cards: u64,
    /// Time from the first card to the last.
    pub elapsed: Duration,
    /// Calls to the HSM.
    pub hsm_calls: u64,
    /// Applications whose personalization was begun.
    pub applications: u64,
    /// Commands sent to chips.
    pub commands: u64,
    /// What a token did, if keys lie in one.
    pub token: Option<TokenPart>,
    /// CPU time of the run's processes.
    pub cpu: CpuTimes,
    /// Figures of each station, by its name.
    pub stations: BTreeMap<String, StationStats>,
}

/// User and system CPU time of each process of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// The controller, including acceptance and ledger.
    pub controller: Duration,
    /// The HSM host.
    pub hsm_host: Duration,
    /// `hwsim`, which is test equipment and not part of the line.
    pub simulator: Duration,
}

/// The figures of one station in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationStats {
    /// Module of the station.
    pub module: String,
    /// Cards that the station worked on.
    pub cards: u64,
    /// Cards that it began and did not finish.
    pub faults: u64,
    /// Working time in milliseconds.
    pub busy_ms: u64,
    /// Number of times that it went out of service.
    pub outages: u64,
    /// Time out of service in milliseconds.
    pub out_ms: u64,
}

/// The paths of ledger and outputs, as a report names them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPaths {
    /// The ledger. Empty in a close-out, which names the ledger by its identifier.
    #[serde(default, skip_serializing_if = "is_nowhere")]
    pub ledger: PathBuf,
    /// The event stream, if it was written.
    pub events: Option<PathBuf>,
    /// The dumps of the simulated line, if they were requested.
    pub dumps: Option<PathBuf>,
    /// This report, if it was saved.
    pub report: Option<PathBuf>,
}

fn is_nowhere(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// The figures of a run as a report shows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFigures {
    /// Cards that left the line, good or not.
    pub cards: u64,
    /// Time from the first card to the last, in seconds.
    pub elapsed: f64,
    /// Cards that left the line, for an hour.
    pub cards_per_hour: f64,
    /// Calls to the HSM.
    pub hsm_calls: u64,
    /// Calls to the HSM for each card.
    pub hsm_calls_per_card: f64,
    /// Applications whose personalization was begun.
    pub applications: u64,
    /// Calls to the HSM for each application.
    pub hsm_calls_per_application: f64,
    /// What a token did inside, and what the memory of the host saw, if keys lie in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenPart>,
    /// Commands sent to chips.
    pub commands: u64,
    /// Commands for each card.
    pub commands_per_card: f64,
    /// User and system CPU seconds of the controller.
    pub cpu_controller_s: f64,
    /// User and system CPU seconds of the HSM host.
    pub cpu_hsm_host_s: f64,
    /// User and system CPU seconds of `hwsim`, which is test equipment.
    pub cpu_simulator_s: f64,
    /// Sums over the stations of each module.
    pub modules: BTreeMap<String, StationStats>,
    /// Figures of each station, by its name.
    pub stations: BTreeMap<String, StationStats>,
}

/// The report of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The line was simulated: no card of this report is real.
    pub simulated: bool,
    /// The job and both balances.
    pub job: JobView,
    /// Records minus their outcomes; another value than 0 means that a record is lost.
    pub records_off: i64,
    /// Blanks fed minus the blanks at every place; another value than 0 means that a blank is lost.
    pub blanks_off: i64,
    /// The stock of the job, if blanks were issued to it.
    pub stock: Option<StockView>,
    /// The figures of the run, if the report is about one.
    pub run: Option<RunFigures>,
    /// Blanks that were rejected or lost, in the order of time.
    pub rejects: Vec<RejectView>,
    /// Cards that were stacked at a later attempt.
    pub remakes: Vec<Remade>,
    /// Records whose card is missing at its place in the stack, which has no free positions.
    pub gaps: Vec<Gap>,
    /// The paths of ledger and outputs.
    #[serde(flatten)]
    pub places: ReportPaths,
}

/// A report with the next step for a person, as it is saved and printed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SummaryWithNext<'a> {
    /// The report.
    #[serde(flatten)]
    pub summary: &'a Summary,
    /// The next step of a person, in words; `None` if the job is closed.
    pub next: Option<&'a str>,
}

impl Summary {
    /// Reads a job from the ledger; `run` has the measurements of a run, if there was one. The rows are
    /// counted too: a balance that differs from their count is [`LedgerError::Damaged`].
    pub fn build(
        reader: &Reader,
        job: JobId,
        run: Option<RunStats>,
        places: ReportPaths,
    ) -> Result<Self, LedgerError> {
        let view = reader.job(job)?;
        let stack = reader.stack(job)?;
        let rejects = reader.rejects(job)?;
        let stock = Some(reader.stock(job)?).filter(|stock| stock.counted);
        if reader.recount(job)? != view.balance && reader.balance(job)? == view.balance {
            return Err(LedgerError::Damaged(format!(
                "{job}: the stored balance differs from a count of its rows"
            )));
        }
        Ok(Self {
            simulated: view.simulated,
            records_off: off(view.balance.records_off()),
            blanks_off: off(view.balance.blanks_off()),
            stock,
            run: run.map(RunFigures::from),
            rejects,
            remakes: stack.remakes,
            gaps: stack.gaps,
            job: view,
            places,
        })
    }

    /// Returns the reason why the job cannot be closed; `None` for a job that is COMPLETE or CLOSED.
    pub fn stands_against(&self) -> Option<Law> {
        let Balance { queued, in_flight, remake, unknown, blanks_in_line: blanks, .. } = self.job.balance;
        let rejects = self.rejects.iter().filter(|r| r.to_destroy).count();
        let rejects = u64::try_from(rejects).unwrap_or(u64::MAX);
        let hopper = self.stock.as_ref().map_or(0, |stock| stock.hopper);
        let nothing = [queued, in_flight, remake, unknown, blanks, rejects] == [0; 6] && hopper == 0;
        let closed = self.job.state == JobState::Closed;
        (!nothing && !closed).then_some(Law::Closing {
            queued,
            in_flight,
            remake,
            unknown,
            rejects,
            blanks,
            hopper,
        })
    }

    /// Writes the report as JSON; `next` is the next step of a person.
    pub fn save(&self, next: Option<&str>, path: &Path) -> Result<(), Failure> {
        let failure = |e: std::io::Error| {
            Failure::new(Exit::Io, format!("report {}: {}", path.display(), files::trouble(&e)))
        };
        let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(failure)?);
        serde_json::to_writer_pretty(&mut file, &SummaryWithNext { summary: self, next })
            .map_err(|e| failure(e.into()))?;
        file.write_all(b"\n").and_then(|()| file.flush()).map_err(failure)
    }
}

impl From<RunStats> for RunFigures {
    fn from(stats: RunStats) -> Self {
        let mut modules: BTreeMap<String, StationStats> = BTreeMap::new();
        for station in stats.stations.values() {
            let module = modules.entry(station.module.clone()).or_default();
            module.module.clone_from(&station.module);
            module.cards += station.cards;
            module.faults += station.faults;
            module.busy_ms += station.busy_ms;
            module.outages += station.outages;
            module.out_ms += station.out_ms;
        }
        let elapsed = stats.elapsed.as_secs_f64();
        Self {
            cards: stats.cards,
            elapsed: rounded(elapsed),
            cards_per_hour: rounded(ratio(stats.cards, elapsed) * 3600.0),
            hsm_calls: stats.hsm_calls,
            hsm_calls_per_card: rounded(ratio(stats.hsm_calls, float(stats.cards))),
            applications: stats.applications,
            hsm_calls_per_application: rounded(ratio(stats.hsm_calls, float(stats.applications))),
            token: stats.token,
            commands: stats.commands,
            commands_per_card: rounded(ratio(stats.commands, float(stats.cards))),
            cpu_controller_s: rounded(stats.cpu.controller.as_secs_f64()),
            cpu_hsm_host_s: rounded(stats.cpu.hsm_host.as_secs_f64()),
            cpu_simulator_s: rounded(stats.cpu.simulator.as_secs_f64()),
            modules,
            stations: stats.stations,
        }
    }
}

/// Rounds to three decimals: JSON would get sixteen digits, which look like an account number.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn off(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Returns a count as a number to divide by; exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// Returns `count` for each unit of `per`, and 0 if `per` is 0.
fn ratio(count: u64, per: f64) -> f64 {
    if per > 0.0 { float(count) / per } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::{Change, Context};
    use crate::ledger::tests::{all, bind, directory, file, make};
    use crate::ledger::{Ledger, NewJob};

    fn stats() -> RunStats {
        let station = |module: &str, cards, faults| StationStats {
            module: module.to_owned(),
            cards,
            faults,
            busy_ms: 100 * cards,
            outages: faults,
            out_ms: 250 * faults,
        };
        RunStats {
            cards: 4,
            elapsed: Duration::from_secs(8),
            token: None,
            hsm_calls: 24,
            applications: 12,
            commands: 90,
            cpu: CpuTimes {
                controller: Duration::from_millis(20),
                hsm_host: Duration::from_millis(30),
                simulator: Duration::from_secs(9),
            },
            stations: BTreeMap::from([
                ("chip-1".to_owned(), station("chip", 3, 1)),
                ("chip-2".to_owned(), station("chip", 2, 0)),
                ("stripe-1".to_owned(), station("stripe", 4, 0)),
            ]),
        }
    }

    #[test]
    fn a_report_tells_what_became_of_everything() {
        let directory = directory();
        let path = directory.path().join("l.db");
        let ledger = Ledger::open(&path).unwrap();
        let job = ledger.new_job(NewJob { simulated: false, ..file("F", 3) }).unwrap().job;
        all(
            &ledger,
            job,
            bind(1, 1).into_iter().chain(make(1)).chain([Change::Stacked { seq: 1, position: 1 }]),
        );
        all(&ledger, job, bind(2, 2).into_iter().chain(make(2)));
        let context = Context {
            station: Some("stripe-1".to_owned()),
            reason: Some("stripe-read-back".into()),
            ..Context::default()
        };
        ledger.record(job, Change::Rejected { seq: 2 }, context).wait().unwrap();
        all(&ledger, job, [Change::Fed { blank: 3 }, Change::Returned { blank: 3 }]);
        let reader = ledger.reader().unwrap();
        let places =
            ReportPaths { ledger: path.clone(), dumps: Some("dumps".into()), ..ReportPaths::default() };
        let summary = Summary::build(&reader, job, Some(stats()), places).unwrap();
        let next = Some("destroy it");
        let text = SummaryWithNext { summary: &summary, next }.to_string();
        for part in [
            "Records   3 = 1 queued + 0 in flight + 1 good + 1 remake + 0 unknown + 0 cancelled (off 0)",
            "Blanks    3 fed = 0 in line + 1 good + 1 rejected + 0 unknown + 1 given back + 0 sample (off 0)",
            "4 cards, good or not, in 8.0 s\n",
            "24 calls, 6.00 per card, 2.00 per application (12 applications)",
            "Commands  90 to the chips, rejected cards included\n",
            "CPU       controller 0.02 s, HSM host 0.03 s, 12.50 ms per card",
            "chip: 5 cards, 1 fault, busy 500 ms, 1 time out of service, 250 ms\n",
            "stripe-1: 4 cards, 0 faults, busy 400 ms\n",
            "record 2 F-2, attempt 1, blank #2, stripe-1: stripe-read-back; REJECTED, to be destroyed",
            "record 2 F-2, REMAKE, its place is after position 1",
            "Dumps     dumps",
            "Next      destroy it",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert!(!text.contains("SIMULATED"));
        let saved = directory.path().join("report.json");
        assert!(matches!(
            summary.stands_against(),
            Some(Law::Closing { queued: 1, remake: 1, rejects: 1, .. })
        ));
        summary.save(next, &saved).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(saved).unwrap()).unwrap();
        assert_eq!(json["job"]["balance"]["blanks_fed"], 3);
        assert_eq!(json["run"]["modules"]["chip"]["cards"], 5);
        assert_eq!(json["run"]["stations"]["chip-1"]["outages"], 1);
        assert_eq!(json["run"]["modules"]["chip"]["out_ms"], 250);
        assert_eq!((&json["run"]["cpu_hsm_host_s"], &json["run"]["commands"]), (&0.03.into(), &90.into()));
        assert_eq!((&json["records_off"], &json["simulated"]), (&0.into(), &false.into()));
        assert_eq!(summary.save(next, Path::new("/no/such/directory/r")).unwrap_err().exit, Exit::Io);
    }

    #[test]
    fn nothing_done_divides_by_nothing() {
        let figures = RunFigures::from(RunStats::default());
        assert_eq!(
            (figures.cards_per_hour, figures.hsm_calls_per_card, figures.hsm_calls_per_application),
            (0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn a_balance_that_was_tampered_with_is_no_report() {
        let directory = directory();
        let path = directory.path().join("l.db");
        let ledger = Ledger::open(&path).unwrap();
        let job = ledger.new_job(file("F", 3)).unwrap().job;
        let reader = ledger.reader().unwrap();
        let summary = Summary::build(&reader, job, None, ReportPaths::default()).unwrap();
        assert!(SummaryWithNext { summary: &summary, next: None }.to_string().contains("SIMULATED"));
        crate::ledger::tests::tamper(&path, "UPDATE balance SET good = 1, queued = 2");
        let damaged = Summary::build(&reader, job, None, ReportPaths::default());
        assert!(matches!(damaged, Err(LedgerError::Damaged(_))));
    }
}
