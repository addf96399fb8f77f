//! `cardwright card`: look at cards, and say what a person has seen or decided about them.

use std::io::Write;

use serde::Serialize;

use super::common::{ByArg, Early, LedgerArg, Selection, SocketArg, json, on_stdout};
use crate::daemon::{policy::Ask, wire};
use crate::exit::{Exit, Failure};
use crate::ledger::{CardView, Change, Context, JobId, Ledger, LedgerError, Reader, RecordState};
use crate::report::{self, events::EventLine, events::text};

/// Looks at cards and decides about them.
#[derive(Debug, clap::Args)]
pub struct CardArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    socket: SocketArg,
    /// One JSON document
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: CardVerb,
}

/// Which job and records.
#[derive(Debug, clap::Args)]
struct Which {
    /// Job, e.g. J1
    #[arg(value_name = "J")]
    job: JobId,
    /// Record: a sequence, a list such as 3,7-9, or `all` to which the command applies
    #[arg(value_name = "SEQ")]
    seq: Selection,
}

#[derive(Debug, clap::Subcommand)]
enum CardVerb {
    /// Show records with their attempts and everything that happened to them
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Say what you found of cards that are REJECTED or UNKNOWN
    #[command(group = clap::ArgGroup::new("found").required(true))]
    Resolve {
        #[command(flatten)]
        which: Which,
        /// You saw the card destroyed
        #[arg(long, group = "found")]
        destroyed: bool,
        /// You checked the UNKNOWN card: it is good and in hand
        #[arg(long, group = "found")]
        good: bool,
        #[command(flatten)]
        by: ByArg,
    },
    /// Have the card of a record, or `all` cards that lie in the line, say how far they came; you still decide
    Ask {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        ask: super::ask::AskArgs,
    },
    /// Let REMAKE records be made again
    Remake {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        by: ByArg,
    },
    /// Take good cards out for inspection; their records are made again once they are destroyed
    Sample {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        by: ByArg,
    },
    /// Have the daemon throw cards that are in the line out at their next step
    Kill {
        #[command(flatten)]
        which: Which,
    },
    /// Give QUEUED or REMAKE records up
    Cancel {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        by: ByArg,
    },
}

/// A record as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    card: &'a CardView,
    events: Vec<EventLine<'a>>,
}

impl<'a> From<&'a CardView> for Shown<'a> {
    fn from(card: &'a CardView) -> Self {
        Self { card, events: card.events.iter().map(EventLine::from).collect() }
    }
}

/// What a command did.
#[derive(Serialize)]
struct Outcome<'a> {
    job: String,
    changed: Vec<EventLine<'a>>,
    refused: &'a [Refused],
}

/// One record that the ledger did not let change.
#[derive(Serialize)]
struct Refused {
    seq: u32,
    why: String,
}

/// Does it.
pub fn run(args: CardArgs) -> Result<Exit, Failure> {
    if let Some(socket) = args.socket.daemon(&args.ledger)? {
        return super::remote::ask(socket, args.json, args.verb.question()?);
    }
    on_stdout(|out| execute(&args, out))
}

impl CardVerb {
    /// The same, as a daemon is asked.
    fn question(&self) -> Result<wire::Ask, Failure> {
        let words = |which: &Which| (which.job.to_string(), which.seq.to_string());
        let (which, what, by) = match self {
            Self::Show { which } => {
                let (job, seq) = words(which);
                return Ok(wire::Ask::ShowCards { job, seq });
            }
            Self::Ask { which, ask } => {
                ask.none()?;
                let (job, seq) = words(which);
                return Ok(wire::Ask::AskCards { job, seq, station: ask.station.clone() });
            }
            Self::Resolve { which, by, destroyed: true, .. } => (which, Ask::Destroyed, by),
            Self::Resolve { which, by, .. } => (which, Ask::FoundGood, by),
            Self::Remake { which, by } => (which, Ask::Remake, by),
            Self::Cancel { which, by } => (which, Ask::CancelCard, by),
            Self::Sample { which, by } => (which, Ask::Sample, by),
            Self::Kill { which } => {
                let (job, seq) = words(which);
                return Ok(wire::Ask::Cards { job, seq, what: Ask::Kill });
            }
        };
        by.none()?;
        let (job, seq) = words(which);
        Ok(wire::Ask::Cards { job, seq, what })
    }
}

pub(super) fn execute(args: &CardArgs, out: &mut dyn Write) -> Result<Exit, Early> {
    let reader = Reader::open(&args.ledger.ledger)?;
    let (which, by, what) = match &args.verb {
        CardVerb::Show { which } => return show(&reader, which.job, &which.seq, args.json, out),
        CardVerb::Ask { which, ask } => {
            return super::ask::execute(ask, which.job, &which.seq, &args.ledger, args.json, out);
        }
        CardVerb::Resolve { which, by, destroyed: true, .. } => (which, by, Ask::Destroyed),
        CardVerb::Resolve { which, by, .. } => (which, by, Ask::FoundGood),
        CardVerb::Remake { which, by } => (which, by, Ask::Remake),
        CardVerb::Cancel { which, by } => (which, by, Ask::CancelCard),
        CardVerb::Sample { which, by } => (which, by, Ask::Sample),
        CardVerb::Kill { .. } => {
            let what = "operator: only a daemon does this: name it by --socket or CARDWRIGHT_SOCKET";
            return Err(Failure::new(Exit::Usage, what).into());
        }
    };
    reader.job(which.job)?;
    drop(reader);
    // From here on alone: what an earlier process left under way is UNKNOWN now.
    let ledger = Ledger::open(&args.ledger.ledger)?;
    let done = decide(&ledger, which.job, &which.seq, what, &by.actor(), args.json, out);
    ledger.close()?;
    done
}

/// Has the ledger note what a person says of cards, and tells what became of it.
pub(super) fn decide(
    ledger: &Ledger,
    job: JobId,
    which: &Selection,
    what: Ask,
    actor: &str,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<Exit, Early> {
    if (what, which) == (Ask::FoundGood, &Selection::All) {
        // Each is looked at: a chip that came as far as the next one may lack what its stripe has.
        let why = "operator: cards are found good one by one; name the records that were looked at, as 3,7-9";
        return Err(Failure::new(Exit::Usage, why).into());
    }
    let reader = ledger.reader()?;
    let sequences = match which.sequences(reader.job(job)?.records) {
        Some(sequences) => sequences,
        None => applicable(&reader, job, what)?,
    };
    let tickets: Vec<_> = sequences
        .into_iter()
        .filter_map(|seq| Some((seq, change(what, seq)?)))
        .map(|(seq, change)| (seq, ledger.record(job, change, Context::by(actor))))
        .collect();
    let (mut changed, mut refused, mut first) = (Vec::new(), Vec::new(), None);
    for (seq, ticket) in tickets {
        match ticket.wait() {
            Ok(event) => changed.push(event),
            Err(error @ LedgerError::Denied { .. }) => {
                refused.push(Refused { seq, why: error.to_string() });
                first.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if as_json {
        let lines = changed.iter().map(EventLine::from).collect();
        json(out, &Outcome { job: job.to_string(), changed: lines, refused: &refused })?;
    } else {
        changed.iter().try_for_each(|event| writeln!(out, "{}", text(event)))?;
        if let Some(next) = next(what, job, changed.is_empty(), refused.is_empty()) {
            writeln!(out, "{next}")?;
        }
    }
    match first {
        None => Ok(Exit::Ok),
        Some(error) => Err(all_refusals(error, &refused).into()),
    }
}

/// The records that `all` means.
pub(super) fn applicable(reader: &Reader, job: JobId, what: Ask) -> Result<Vec<u32>, LedgerError> {
    match what {
        Ask::FoundGood => reader.in_state(job, RecordState::Unknown),
        Ask::Destroyed => reader.to_destroy(job),
        Ask::Remake => reader.unreleased(job),
        Ask::Kill => reader.in_state(job, RecordState::InFlight),
        Ask::Sample => reader.in_state(job, RecordState::Good),
        Ask::CancelCard => {
            let mut both = reader.in_state(job, RecordState::Queued)?;
            both.extend(reader.in_state(job, RecordState::Remake)?);
            both.sort_unstable();
            Ok(both)
        }
        _ => reader.all(job),
    }
}

fn change(what: Ask, seq: u32) -> Option<Change> {
    match what {
        Ask::FoundGood => Some(Change::FoundGood { seq }),
        Ask::Destroyed => Some(Change::Destroyed { seq }),
        Ask::Remake => Some(Change::RemakeReleased { seq }),
        Ask::CancelCard => Some(Change::Cancelled { seq }),
        Ask::Sample => Some(Change::Sampled { seq }),
        _ => None,
    }
}

/// What a person does next.
fn next(what: Ask, job: JobId, none_changed: bool, none_refused: bool) -> Option<String> {
    match what {
        _ if none_changed && none_refused => {
            Some(format!("nothing to do in {job}; cardwright job show {job}"))
        }
        _ if none_changed => None,
        Ask::Remake => Some(format!("next: cardwright job resume {job}")),
        Ask::Sample => {
            Some(format!("next, when it was looked at: cardwright card resolve {job} SEQ --destroyed"))
        }
        Ask::Destroyed => {
            let remake = format!("next: cardwright card remake {job} all (or card cancel)");
            Some(format!("{remake}, then cardwright job resume {job}"))
        }
        _ => Some(format!("next: cardwright job report {job}")),
    }
}

/// One message for all that was refused: the first law, and how many more.
fn all_refusals(first: LedgerError, refused: &[Refused]) -> Failure {
    let mut failure = Failure::from(first);
    if refused.len() > 1 {
        let others: Vec<_> = refused.iter().skip(1).take(20).map(|r| r.seq.to_string()).collect();
        let more = if refused.len() > 21 { " ..." } else { "" };
        failure.message = format!("{}; also refused: records {}{more}", failure.message, others.join(", "));
    }
    failure
}

/// Shows cards.
pub(super) fn show(
    reader: &Reader,
    job: JobId,
    which: &Selection,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<Exit, Early> {
    let view = reader.job(job)?;
    let sequences = match which.sequences(view.records) {
        Some(sequences) => sequences,
        None => reader.all(job)?,
    };
    let cards = sequences.into_iter().map(|seq| reader.card(job, seq)).collect::<Result<Vec<_>, _>>()?;
    match (as_json, which, cards.as_slice()) {
        (true, Selection::One(_), [card]) => json(out, &Shown::from(card))?,
        (true, _, cards) => json(out, &cards.iter().map(Shown::from).collect::<Vec<_>>())?,
        (false, _, cards) => {
            if let Some(mark) = report::mark(&view) {
                writeln!(out, "*** {mark} ***")?;
            }
            for card in cards {
                print(card, out)?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn print(card: &CardView, out: &mut dyn Write) -> std::io::Result<()> {
    let released = if card.released { ", released" } else { "" };
    writeln!(out, "{} record {} {}: {}{released}", card.job, card.seq, card.card_ref, card.state)?;
    for attempt in &card.attempts {
        let position = attempt.position.map(|p| format!(", position {p}")).unwrap_or_default();
        let compared = attempt.compared.as_ref().map(|c| format!(", compared: {c}")).unwrap_or_default();
        writeln!(
            out,
            "  attempt {}: {}, blank {} (#{}){position}{compared}",
            attempt.attempt, attempt.state, attempt.blank, attempt.blank_number
        )?;
    }
    for event in &card.events {
        writeln!(out, "  {}", text(event))?;
    }
    Ok(())
}
