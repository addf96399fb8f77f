//! `cardwright line check LINE`: prints in a technician's words whether a line can begin a job, before any
//! card is touched. `cardwright line ready STATION`: says that a station of a line at work is free again.
//!
//! Not here: the checks (`bureau::line::check`).

use std::io::{BufRead, Write};
use std::path::PathBuf;

use crossbeam_channel::{Receiver, bounded, never, select};
use serde::Serialize;

use super::common::{ByArg, LedgerArg, SocketArg, on_stdout, store_path};
use super::next_step::spelled;
use super::pin::PinArg;
use super::simulate::SimulateArgs;
use super::{foreground, render};
use crate::bureau::card_test::{self, TestPerson};
use crate::bureau::key_host::socket_directory;
use crate::bureau::line::check::{DISK, Finding, NextUse, check};
use crate::bureau::{Bureau, KeyAccess, Refusal};
use crate::exit::{Exit, Failure};
use crate::modules::LineProfile;
use crate::printable::one_line;
use crate::report::counted;
use crate::request::Action;
use crate::signals::Signals;
use crate::{stdout, threads};

/// `cardwright line ...`
#[derive(Debug, clap::Subcommand)]
pub enum LineCommand {
    /// Look at every part of a line before a job: links, readers, machines, keys, disk. No card is needed or
    /// touched, except with --cards.
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
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
    keys: PathBuf,
    /// Print the findings as one JSON document
    #[arg(long)]
    json: bool,
    /// Also send test blanks through the line, as many as the widest module has stations, and ask for the marks on them
    #[arg(long)]
    cards: bool,
    #[command(flatten)]
    by: ByArg,
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    simulate: SimulateArgs,
    #[command(flatten)]
    pin: PinArg,
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
    if !args.cards && args.by.by.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "operator: --by names the person who reads marks: add --cards",
        ));
    }
    let next = if args.cards { NextUse::TestBlanks } else { NextUse::Job };
    let pin = || args.pin.pin();
    let paths = (KeyAccess { store: &args.keys, pin: &pin }, args.ledger.ledger.as_path());
    let (line, mut findings) = check(&args.line, paths, &simulation, directory.path(), next)?;
    let mut stopped = false;
    if args.cards {
        let (found, ended) = test_cards(args, &findings, &signals)?;
        findings.extend(found);
        stopped = ended;
    }
    let exit = print(args, &line, &findings)?;
    Ok(if stopped { Exit::Stopped } else { exit })
}

/// Sends test blanks through a line that has no faults. A fault of the disk does not prevent that. Returns also whether a
/// signal has ended the test.
fn test_cards(
    args: &CheckArgs,
    found: &[Finding],
    signals: &Signals,
) -> Result<(Vec<Finding>, bool), Failure> {
    if found.iter().any(|finding| !finding.good && finding.place != DISK) {
        let what = "no test blank was fed: mend the faults above first".to_owned();
        return Ok((vec![Finding::new(card_test::LINE, card_test::CHECK, Err(what))], false));
    }
    let spelled = |refusal: Refusal| spelled(&refusal);
    let simulation = args.simulate.simulation();
    let keys = KeyAccess { store: &args.keys, pin: &|| args.pin.pin() };
    let bureau = Bureau::open(&args.line, keys, &args.ledger.ledger, &simulation, signals);
    let bureau = bureau.map_err(spelled)?;
    let mut person = AtTerminal { signals, stop: never(), stopped: false, lines: None };
    let found = bureau.test_cards(&args.by.actor(), &mut person);
    let ended = bureau.close();
    let mut found = found.map_err(spelled)?;
    // The person needs to read what was found, also if the end fails.
    found.extend(ended.ledger.err().map(|error| Finding::new("ledger", "end", Err(error.to_string()))));
    ended.simulator?;
    Ok((found, person.stopped))
}

/// The person at this program's terminal, who answers on standard input.
struct AtTerminal<'a> {
    signals: &'a Signals,
    /// Receives a message when a signal asks the program to stop.
    stop: Receiver<()>,
    stopped: bool,
    /// Lines of standard input, from the first question on.
    lines: Option<Receiver<Vec<u8>>>,
}

impl AtTerminal<'_> {
    /// Starts to read lines. A thread does that, so that a signal can end the wait for one.
    fn lines(&mut self) -> Option<Receiver<Vec<u8>>> {
        if self.lines.is_none() {
            let (say, lines) = bounded(0);
            let started = threads::start("answers", move || {
                for line in std::io::stdin().lock().split(b'\n') {
                    let Ok(line) = line else { return };
                    if say.send(line).is_err() {
                        return;
                    }
                }
            });
            self.lines = started.is_ok().then_some(lines);
        }
        self.lines.clone()
    }

    /// The next line of standard input; `None` if none will come.
    fn line(&mut self) -> Option<Vec<u8>> {
        let lines = self.lines()?;
        select! {
            recv(lines) -> line => line.ok(),
            recv(self.stop) -> _ => {
                self.stopped = true;
                None
            }
        }
    }
}

impl TestPerson for AtTerminal<'_> {
    fn begins(&mut self) {
        self.stop = self.signals.heard(1);
    }

    fn stops(&mut self) -> bool {
        self.stopped |= self.stop.try_recv().is_ok();
        self.stopped
    }

    fn answers(&mut self, question: &str) -> Option<String> {
        if self.stops() {
            return None;
        }
        // Standard output is for the findings. A question that cannot be shown gets no answer.
        writeln!(std::io::stderr(), "{question}").ok()?;
        loop {
            if let Ok(answer) = String::from_utf8(self.line()?) {
                return Some(answer);
            }
            // A key of another keyboard layout, or a terminal with another encoding, must not end the test.
            writeln!(std::io::stderr(), "The answer was not understood (it is not UTF-8). {question}")
                .ok()?;
        }
    }
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
