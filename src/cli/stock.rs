//! `cardwright stock`: blanks that people put into the hopper and take out of it, cards that they put into the vault, and
//! shifts; and how it all adds up.

use std::io::Write;

use serde::Serialize;

use super::common::{ByArg, Early, LedgerArg, SocketArg, json, on_stdout};
use crate::daemon::{policy::Ask, wire};
use crate::exit::{Exit, Failure};
use crate::ledger::{Change, Context, JobId, Ledger, LedgerEvent, Reader, ShiftView, StockView, rfc3339};
use crate::report::{self, events::EventLine, events::text};

/// Most test cards at once: each is an event of its own.
const TESTS_MAX: u32 = 1000;

/// Notes stock and shows it.
#[derive(Debug, clap::Args)]
pub struct StockArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    socket: SocketArg,
    /// One JSON document
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: StockVerb,
}

/// Which job, and how many.
#[derive(Debug, clap::Args)]
struct Blanks {
    /// Job, e.g. J1
    #[arg(value_name = "J")]
    job: JobId,
    /// How many
    #[arg(value_name = "N")]
    count: u32,
    #[command(flatten)]
    by: ByArg,
}

#[derive(Debug, clap::Subcommand)]
enum StockVerb {
    /// You put blanks into the hopper for a job; from the first time on its hopper is counted
    Issue(Blanks),
    /// You took unused blanks out of the hopper
    Return(Blanks),
    /// You put good cards into the vault
    Vault(Blanks),
    /// You used up blanks to set up the machines, without any record's data; issue them first, at most 1000 at a time
    Test(Blanks),
    /// A shift begins, and the one before it ends
    Shift {
        /// Its name, e.g. 2026-11-24-early
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        by: ByArg,
    },
    /// Show the stock of jobs, and of a shift
    Show {
        /// Of this job alone
        #[arg(long, value_name = "J")]
        job: Option<JobId>,
        /// Of this shift, not the last one
        #[arg(long, value_name = "NAME")]
        shift: Option<String>,
    },
}

/// Stock as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    jobs: &'a [StockView],
    shift: Option<&'a ShiftView>,
}

/// Does it.
pub fn run(args: StockArgs) -> Result<Exit, Failure> {
    if let Some(socket) = args.socket.daemon(&args.ledger)? {
        return super::remote::ask(socket, args.json, args.verb.question()?);
    }
    on_stdout(|out| execute(&args, out))
}

impl StockVerb {
    /// What is asked about a job's stock.
    fn about(&self) -> Option<(&Blanks, Ask)> {
        match self {
            Self::Issue(blanks) => Some((blanks, Ask::StockIssue)),
            Self::Return(blanks) => Some((blanks, Ask::StockReturn)),
            Self::Vault(blanks) => Some((blanks, Ask::StockVault)),
            Self::Test(blanks) => Some((blanks, Ask::StockTest)),
            Self::Shift { .. } | Self::Show { .. } => None,
        }
    }

    /// The same, as a daemon is asked.
    fn question(&self) -> Result<wire::Ask, Failure> {
        match self {
            Self::Show { job, shift } => {
                Ok(wire::Ask::ShowStock { job: job.map(|job| job.to_string()), shift: shift.clone() })
            }
            Self::Shift { name, by } => by.none().map(|()| wire::Ask::Shift { name: name.clone() }),
            Self::Issue(blanks) | Self::Return(blanks) | Self::Vault(blanks) | Self::Test(blanks) => {
                blanks.by.none()?;
                let what = self.about().map_or(Ask::Look, |(_, what)| what);
                Ok(wire::Ask::Stock { job: blanks.job.to_string(), count: blanks.count, what })
            }
        }
    }
}

pub(super) fn execute(args: &StockArgs, out: &mut dyn Write) -> Result<Exit, Early> {
    let reader = Reader::open(&args.ledger.ledger)?;
    match &args.verb {
        StockVerb::Show { job, shift } => show(&reader, *job, shift.as_deref(), args.json, out)?,
        verb => {
            drop(reader);
            // From here on alone: what an earlier process left under way is UNKNOWN now.
            let ledger = Ledger::open(&args.ledger.ledger)?;
            let done = match (verb, verb.about()) {
                (StockVerb::Shift { name, by }, _) => shift(&ledger, name, &by.actor(), args.json, out),
                (_, Some((Blanks { job, count, by }, what))) => {
                    change_stock(&ledger, what, *job, *count, &by.actor(), args.json, out)
                }
                (_, None) => Ok(()),
            };
            ledger.close()?;
            done?;
        }
    }
    Ok(Exit::Ok)
}

/// The change that is asked for; none for test cards, of which each is one.
pub(super) fn change(what: Ask, count: u32) -> Option<Change> {
    match what {
        Ask::StockIssue => Some(Change::StockIssued { count }),
        Ask::StockReturn => Some(Change::StockReturned { count }),
        Ask::StockVault => Some(Change::StockVaulted { count }),
        _ => None,
    }
}

/// Has the ledger note what a person did with a job's stock, and tells what became of it.
pub(super) fn change_stock(
    ledger: &Ledger,
    what: Ask,
    job: JobId,
    count: u32,
    actor: &str,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Early> {
    let changes = match change(what, count) {
        Some(change) => vec![change],
        None if (1..=TESTS_MAX).contains(&count) => {
            let reader = ledger.reader()?;
            let (stock, first) = (reader.stock(job)?, reader.next_blank(job)?);
            if !stock.counted && first == 1 {
                // Afterwards none could be issued any more: stock is counted from the first blank on.
                let what = format!(
                    "operator: refused: nobody issued blanks to {job} yet; say first how many lie in the hopper: cardwright \
                     stock issue {job} N"
                );
                return Err(Failure::new(Exit::Denied, what).into());
            }
            if stock.counted && stock.hopper < i64::from(count) {
                // All of them or none.
                let what = format!(
                    "operator: refused: {count} blanks, and by the book there are {} in the hopper",
                    stock.hopper
                );
                return Err(Failure::new(Exit::Denied, what).into());
            }
            (first..).zip(0..count).map(|(blank, _)| Change::Tested { blank }).collect()
        }
        None => {
            let what = format!("operator: {count} test cards: 1 to {TESTS_MAX} are noted at a time");
            return Err(Failure::new(Exit::Usage, what).into());
        }
    };
    let tickets = ledger.record_together(job, changes, &Context::by(actor));
    let events = tickets.into_iter().map(crate::ledger::Ticket::wait).collect::<Result<Vec<_>, _>>()?;
    tell(&events, as_json, out)
}

/// Has a shift begin.
pub(super) fn shift(
    ledger: &Ledger,
    name: &str,
    actor: &str,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Early> {
    let event = ledger.shift(name, Context::by(actor))?;
    tell(&[event], as_json, out)
}

fn tell(events: &[LedgerEvent], as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    if as_json {
        return json(out, &events.iter().map(EventLine::from).collect::<Vec<_>>());
    }
    Ok(events.iter().try_for_each(|event| writeln!(out, "{}", text(event)))?)
}

/// Shows stock.
pub(super) fn show(
    reader: &Reader,
    job: Option<JobId>,
    shift: Option<&str>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Early> {
    let jobs = match job {
        Some(job) => vec![reader.stock(job)?],
        None => reader.stocks()?,
    };
    let view = reader.shift(shift, job)?;
    if let (None, Some(name)) = (&view, shift) {
        return Err(Failure::new(Exit::NotFound, format!("operator: there was no shift {name:?}")).into());
    }
    if as_json {
        return json(out, &Shown { jobs: &jobs, shift: view.as_ref() });
    }
    for stock in &jobs {
        writeln!(out, "{}", stock.job)?;
        if !stock.counted {
            writeln!(out, "Stock     not counted: nobody issued blanks")?;
            continue;
        }
        let mut line = String::new();
        report::summary::write_stock(stock, &mut line).map_err(std::io::Error::other)?;
        write!(out, "{line}")?;
        writeln!(
            out,
            "          fed = {} in line + {} good + {} rejected + {} unknown + {} sample",
            stock.in_line, stock.good, stock.rejected, stock.unknown, stock.sample
        )?;
    }
    if let Some(shift) = &view {
        print(shift, out)?;
    }
    Ok(())
}

fn print(shift: &ShiftView, out: &mut dyn Write) -> std::io::Result<()> {
    let by = shift.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let end = shift.ended.map_or_else(|| "now".to_owned(), rfc3339);
    writeln!(out, "Shift     {} from {}{by} to {end}", shift.shift, rfc3339(shift.begun))?;
    writeln!(
        out,
        "          {} at its beginning + {} issued = {} good + {} rejected + {} unknown + {} sample + {} returned + {} at \
         its end (off {}); {} vaulted",
        shift.opening.sum(),
        shift.issued,
        shift.good,
        shift.rejected,
        shift.unknown,
        shift.sample,
        shift.returned,
        shift.closing.sum(),
        shift.off,
        shift.vaulted
    )
}
