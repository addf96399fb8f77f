//! `cardwright line check LINE`: prints in a technician's words whether a line can begin a job, before any
//! card is touched. `cardwright line ready STATION`: says that a station of a line at work is free again.
//!
//! Not here: the checks (`bureau::line::check`).

use std::path::PathBuf;

use serde::Serialize;

use super::common::{LedgerArg, SocketArg, on_stdout};
use super::simulate::SimulateArgs;
use super::{foreground, render};
use crate::bureau::key_host::socket_directory;
use crate::bureau::line::check::{Finding, check};
use crate::exit::{Exit, Failure};
use crate::modules::LineProfile;
use crate::printable::one_line;
use crate::report::counted;
use crate::request::Action;
use crate::signals::Signals;
use crate::stdout;

/// `cardwright line ...`
#[derive(Debug, clap::Subcommand)]
pub enum LineCommand {
    /// Look at every part of a line before a job: links, readers, machines, keys, disk. No card is needed or
    /// touched.
    Check(CheckArgs),
    /// You have freed a station, of a jam for example: a daemon's line proves it anew, and goes on with it
    Ready(ReadyArgs),
}

/// `cardwright line ready`.
#[derive(Debug, clap::Args)]
pub struct ReadyArgs {
    /// Name of the station, e.g. chip-3
    #[arg(value_name = "STATION")]
    station: String,
    #[command(flatten)]
    socket: SocketArg,
    #[command(flatten)]
    ledger: LedgerArg,
}

/// `cardwright line check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Line profile: a shipped name or a .toml file
    line: String,
    /// The bureau's key store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE")]
    keys: PathBuf,
    /// Print the findings as one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    simulate: SimulateArgs,
}

/// The output of `--json`.
#[derive(Serialize)]
struct Document<'a> {
    line: &'a str,
    simulated: bool,
    good: bool,
    findings: &'a [Finding],
}

/// Carries out a command of `cardwright line`.
pub fn run(command: &LineCommand) -> Result<Exit, Failure> {
    match command {
        LineCommand::Check(args) => look(args),
        LineCommand::Ready(args) => ready(args),
    }
}

fn ready(args: &ReadyArgs) -> Result<Exit, Failure> {
    on_stdout(|out| {
        let action = Action::ProveStation { station: args.station.clone() };
        let outcome = foreground::carry_out(&args.socket, &args.ledger, None, &action)?;
        render::show(&outcome, false, args.socket.desk(), out)
    })
}

fn look(args: &CheckArgs) -> Result<Exit, Failure> {
    let signals = Signals::handle("stopped by the operator; no card was touched")?;
    let directory = signals.directory(socket_directory)?;
    let simulation = args.simulate.simulation();
    let (line, findings) = check(&args.line, &args.keys, &args.ledger.ledger, &simulation, directory.path())?;
    print(args, &line, &findings)
}

/// One line for each place that passed all checks, and one for each fault.
fn told(findings: &[Finding]) -> String {
    let mut text = String::new();
    for of_place in findings.chunk_by(|a, b| a.place == b.place) {
        let Some(place) = of_place.first().map(|finding| one_line(&finding.place)) else { continue };
        let faults: Vec<_> = of_place.iter().filter(|f| !f.good).collect();
        if faults.is_empty() {
            let says: Vec<_> = of_place.iter().map(|f| f.says.as_str()).filter(|s| !s.is_empty()).collect();
            text += &format!(
                "ok     {place:<12} {}  {}",
                counted(of_place.len(), "check"),
                one_line(&says.join(", "))
            );
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for Finding { check, says, .. } in faults {
            let says = one_line(says);
            text += &format!("FAULT  {place:<12} {check}: {says}\n");
        }
    }
    text
}

fn print(args: &CheckArgs, line: &LineProfile, findings: &[Finding]) -> Result<Exit, Failure> {
    let bad = findings.iter().filter(|f| !f.good).count();
    let mut text = String::new();
    if args.json {
        let simulated = args.simulate.simulate;
        let document = Document { line: &line.name, simulated, good: bad == 0, findings };
        text = serde_json::to_string_pretty(&document)
            .map_err(|e| Failure::new(Exit::Bug, format!("us: the findings are no JSON: {e}")))?;
        text.push('\n');
    } else {
        text += &told(findings);
        text += &match bad {
            0 => format!("line {}: ready, {} checks\n", line.name, findings.len()),
            1 => format!("line {}: NOT ready, 1 fault of {} checks\n", line.name, findings.len()),
            n => format!("line {}: NOT ready, {n} faults of {} checks\n", line.name, findings.len()),
        };
    }
    stdout::print(&text)?;
    Ok(if bad == 0 { Exit::Ok } else { Exit::LineNotReady })
}
