//! `cardwright line check LINE`: whether a line can begin a job, told in a technician's words before any card is touched.
//!
//! Profile, links, every reader and machine (the conformance suite's checks that need no card), the key store and the
//! disk of the ledger. Not here: what a device must do (`drivers::conformance`), opening links (`links`).

mod disk;
mod places;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::common::LedgerArg;
use super::links::{Real, Simulated};
use super::shop::allowed;
use super::signals::Signals;
use super::simulator::{SimulateArgs, Simulator};
use crate::exit::{Exit, Failure};
use crate::hsm::Hsm;
use crate::hsm::client::{HostProcess, HsmClient};
use crate::profile::Line;

/// `cardwright line ...`
#[derive(Debug, clap::Subcommand)]
pub enum LineCommand {
    /// Look at every part of a line before a job: links, readers, machines, keys, disk. No card is needed or touched.
    Check(CheckArgs),
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

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Station, `keys`, `disk` or `profile`.
    place: String,
    /// What was looked at.
    check: String,
    /// Whether it is as it should be.
    good: bool,
    /// What was found, if there is more to say than that; where it is not good, what is wrong and what to do.
    says: String,
}

impl Finding {
    fn new(place: &str, check: &str, found: Result<(), String>) -> Self {
        Self::saying(place, check, found.map(|()| String::new()))
    }

    /// With something to say where it is good, too.
    fn saying(place: &str, check: &str, found: Result<String, String>) -> Self {
        let good = found.is_ok();
        Self { place: place.into(), check: check.into(), good, says: found.unwrap_or_else(|what| what) }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    line: &'a str,
    simulated: bool,
    good: bool,
    findings: &'a [Finding],
}

/// Does it.
pub fn run(command: &LineCommand) -> Result<Exit, Failure> {
    let LineCommand::Check(args) = command;
    let (text, origin) = Line::source(&args.line)?;
    let line = Line::from_toml(&text, &origin)?;
    let signals = Signals::handle("stopped by the operator; no card was touched")?;
    let directory = signals.directory()?;

    let mut findings = vec![keys(&line, args, directory.path())];
    findings.push(Finding::saying("disk", "ledger", disk::look(&args.ledger.ledger)));
    findings.extend(shared(&line));
    if args.simulate.simulate {
        Simulator::check(&text, &origin, &args.simulate, directory.path())?;
        let simulator = Simulator::start(&text, &args.simulate, directory.path())?;
        let links = Simulated { socket: simulator.socket().to_owned() };
        findings.extend(places::look(&line, &links));
        simulator.end()?;
    } else {
        let missing = line.missing_links();
        if missing.is_empty() {
            findings.extend(places::look(&line, &Real::new(&line)?));
        }
        if line.link.is_empty() && line.sim.is_some() {
            let what =
                "it names no devices, but can be simulated: add --simulate, or its [link] tables".to_owned();
            findings.push(Finding::new("profile", "links", Err(what)));
        }
        findings.extend(missing.into_iter().map(|what| Finding::new("profile", "links", Err(what))));
    }
    print(args, &line, &findings)
}

fn keys(line: &Line, args: &CheckArgs, directory: &Path) -> Finding {
    let look = || -> Result<String, Failure> {
        let socket = directory.join("hsm.sock");
        let _host = HostProcess::start(&super::own_program()?, &args.keys, &socket)?;
        let mut client = HsmClient::connect(&socket)?;
        if !args.simulate.simulate {
            allowed(line, client.realm())?;
        }
        let info = client.info()?;
        if info.keks.is_empty() || info.kmcs.is_empty() {
            let what =
                format!("{} KEKs and {} KMCs: import what the job needs", info.keks.len(), info.kmcs.len());
            return Err(Failure::new(Exit::KeyStore, what));
        }
        Ok(format!("{} KEKs, {} KMCs", info.keks.len(), info.kmcs.len()))
    };
    Finding::saying("keys", "key store", look().map_err(|failure| failure.message))
}

/// One device cannot serve two stations.
fn shared(line: &Line) -> Vec<Finding> {
    let mut users: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (station, link) in &line.link {
        let reader = link.reader.as_ref().or(link.usb.as_ref());
        let reader = reader.map(|reader| {
            let pcscd = link.pcscd.as_deref().unwrap_or("the system's pcscd");
            format!("reader {reader:?}, slot {}, of {pcscd}", link.slot)
        });
        let ports = [&link.serial, &link.transport].into_iter().flatten().map(|path| format!("port {path}"));
        for device in reader.into_iter().chain(ports) {
            users.entry(device).or_default().push(station);
        }
    }
    let twice = users.into_iter().filter(|(_, stations)| stations.len() > 1);
    twice
        .map(|(device, stations)| {
            let what = format!("{device} is named for {}: correct the profile", stations.join(" and "));
            Finding::new("profile", "links", Err(what))
        })
        .collect()
}

/// One line for each place where all is well, and one for each fault.
fn told(findings: &[Finding]) -> String {
    let mut text = String::new();
    for of_place in findings.chunk_by(|a, b| a.place == b.place) {
        let Some(Finding { place, .. }) = of_place.first() else { continue };
        let faults: Vec<_> = of_place.iter().filter(|f| !f.good).collect();
        if faults.is_empty() {
            let says: Vec<_> = of_place.iter().map(|f| f.says.as_str()).filter(|s| !s.is_empty()).collect();
            text += &format!("ok     {place:<12} {} checks  {}", of_place.len(), says.join(", "));
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for Finding { check, says, .. } in faults {
            text += &format!("FAULT  {place:<12} {check}: {says}\n");
        }
    }
    text
}

fn print(args: &CheckArgs, line: &Line, findings: &[Finding]) -> Result<Exit, Failure> {
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
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|e| Failure::new(Exit::Io, format!("standard output: {e}")))?;
    Ok(if bad == 0 { Exit::Ok } else { Exit::LineNotReady })
}
