//! `cardwright log`: prints every event in the ledger, in order.

use std::io::Write;
use std::time::Duration;

use super::common::{Early, LedgerArg, SocketArg, on_stdout};
use super::remote;
use crate::bureau::{Outcome, Refusal, views};
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::ledger::Reader;
use crate::report::events::EventLine;
use crate::request::Action;

/// How often `--follow` looks for new events.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `cardwright log`.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    socket: SocketArg,
    /// Only this job
    #[arg(long, value_name = "J")]
    job: Option<JobId>,
    /// Then print each new event
    #[arg(long)]
    follow: bool,
    /// One JSON array; with --follow one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Prints the events on standard output.
pub fn run(args: &LogArgs) -> Result<Exit, Failure> {
    on_stdout(|out| show(args, out))
}

pub(super) fn show(args: &LogArgs, out: &mut dyn Write) -> Result<Exit, Early> {
    let action = |after| Action::ReadLog { job: args.job, after };
    match args.socket.daemon(&args.ledger)? {
        Some(socket) => pages(args, out, |after| events(remote::ask(socket, &action(after), &[])?)),
        None => {
            let path = &args.ledger.ledger;
            let reader = Reader::open(path)?;
            pages(args, out, |after| {
                let shown = views::show(&reader, path, &action(after))?;
                shown.map_or(Ok(Vec::new()), events)
            })
        }
    }
}

fn events(outcome: Outcome) -> Result<Vec<EventLine>, Early> {
    match outcome {
        Outcome::Log(events) => Ok(events),
        _ => Err(Refusal::fault(Exit::Daemon, "daemon: it answers something else than was asked").into()),
    }
}

/// Prints the events that `page` returns after an event's number, until it returns none.
fn pages(
    args: &LogArgs,
    out: &mut dyn Write,
    page: impl Fn(u64) -> Result<Vec<EventLine>, Early>,
) -> Result<Exit, Early> {
    let array = args.json && !args.follow;
    if array {
        out.write_all(b"[")?;
    }
    let (mut after, mut first) = (0, true);
    loop {
        let events = page(after)?;
        for event in &events {
            after = event.number();
            match (args.json, array, std::mem::take(&mut first)) {
                (true, true, true) => out.write_all(b"\n")?,
                (true, true, false) => out.write_all(b",\n")?,
                _ => {}
            }
            one(event, args.json, out)?;
            if !array {
                out.write_all(b"\n")?;
            }
        }
        if !events.is_empty() {
            continue;
        }
        if !args.follow {
            break;
        }
        out.flush()?;
        std::thread::sleep(LOOK);
    }
    if array {
        out.write_all(b"\n]\n")?;
    }
    Ok(Exit::Ok)
}

fn one(event: &EventLine, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json { Ok(serde_json::to_writer(out, event)?) } else { out.write_all(event.text().as_bytes()) }
}
