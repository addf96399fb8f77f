//! `cardwright log`: every change that the ledger holds, in order.

use std::io::Write;
use std::time::Duration;

use super::common::{Early, LedgerArg, SocketArg, on_stdout};
use super::remote;
use crate::daemon::wire;
use crate::exit::{Exit, Failure};
use crate::ledger::{JobId, LedgerEvent, Reader};
use crate::report::events::{text, write_json};

/// Events read at a time: short reads let the writer checkpoint.
pub(super) const PAGE: u32 = 1000;

/// How often `--follow` looks for more.
const LOOK: Duration = Duration::from_millis(200);

/// Shows the events of a ledger.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    socket: SocketArg,
    /// Only this job
    #[arg(long, value_name = "J")]
    job: Option<JobId>,
    /// Go on with what happens from now on
    #[arg(long)]
    follow: bool,
    /// One JSON array; with --follow one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Shows them on standard output.
pub fn run(args: LogArgs) -> Result<Exit, Failure> {
    on_stdout(|out| show(&args, out))
}

pub(super) fn show(args: &LogArgs, out: &mut dyn Write) -> Result<Exit, Early> {
    let Some(socket) = args.socket.daemon(&args.ledger)? else {
        let reader = Reader::open(&args.ledger.ledger)?;
        if let Some(job) = args.job {
            reader.job(job)?;
        }
        return pages(args, out, |after| Ok(reader.events(args.job, after, PAGE)?));
    };
    pages(args, out, |after| {
        let job = args.job.map(|job| job.to_string());
        let page = remote::text(socket, wire::Ask::Log { job, after })?;
        let nonsense = |_| Failure::new(Exit::Daemon, "daemon: it answers nonsense").into();
        serde_json::from_str(&page).map_err(nonsense)
    })
}

/// Shows what `page` gives behind the event of a number, until it gives nothing.
fn pages(
    args: &LogArgs,
    out: &mut dyn Write,
    page: impl Fn(u64) -> Result<Vec<LedgerEvent>, Early>,
) -> Result<Exit, Early> {
    let array = args.json && !args.follow;
    if array {
        out.write_all(b"[")?;
    }
    let (mut after, mut first) = (0, true);
    loop {
        let events = page(after)?;
        for event in &events {
            after = event.n;
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

fn one(event: &LedgerEvent, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json { write_json(event, out) } else { out.write_all(text(event).as_bytes()) }
}
