//! `cardwright card ask`: what cards that lie in the line say of themselves, in words and as JSON.
//!
//! Not here: asking them (`bureau::survey`).

use std::io::Write;
use std::path::PathBuf;

use super::common::{ByArg, Early, LedgerArg, Selection, json};
use super::simulate::SimulateArgs;
use crate::bureau::opening::Shop;
use crate::bureau::survey::{Found, Station};
use crate::exit::{Exit, Failure};
use crate::ledger::JobId;
use crate::modules::{Life, Read, Told};
use crate::report;
use crate::signals::Signals;

/// Said when a signal ends the program.
const STOPPED: &str = "stopped by the operator; no card was changed or moved";
/// Word of a station without a card.
const NO_CARD: &str = "no-card";

/// The line whose stations are asked.
#[derive(Debug, clap::Args)]
pub struct AskArgs {
    /// Ask at this station alone: one where a card was put into the reader by hand, say
    #[arg(long, value_name = "STATION")]
    pub station: Option<String>,
    /// Line profile: a shipped name or a .toml file
    #[arg(long)]
    line: Option<String>,
    /// The bureau's key store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    simulate: SimulateArgs,
    #[command(flatten)]
    by: ByArg,
}

impl AskArgs {
    /// A daemon has its line and knows who asks.
    pub fn none(&self) -> Result<(), Failure> {
        self.by.none()?;
        match self.line.is_some() || self.simulate.simulate {
            true => {
                Err(Failure::new(Exit::Usage, "operator: the daemon has its line and keys; leave them away"))
            }
            false => Ok(()),
        }
    }
}

/// Asks in the foreground.
pub fn execute(
    args: &AskArgs,
    job: JobId,
    which: &Selection,
    ledger: &LedgerArg,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<Exit, Early> {
    let missing = |what| Failure::new(Exit::Usage, format!("operator: {what}"));
    let line = args.line.as_deref();
    let line = line.ok_or_else(|| missing("name the line by --line, or ask a daemon by --socket"))?;
    let keys = args.keys.as_ref();
    let keys = keys.ok_or_else(|| missing("name the key store by --keys or CARDWRIGHT_KEYS"))?;
    let seq = one_or_all(which)?;
    let signals = Signals::handle(STOPPED)?;
    let shop = Shop::open(line, keys, &ledger.ledger, &args.simulate.simulation(), &signals)?;
    let found = shop.ask(job, seq, args.station.as_deref(), &args.by.actor());
    let ended = shop.close();
    let found = found?;
    ended.ledger?;
    ended.simulator?;
    tell(&found, as_json, out)
}

/// The record that is asked about; `None` for all.
pub fn one_or_all(which: &Selection) -> Result<Option<u32>, Failure> {
    match which {
        Selection::One(seq) => Ok(Some(*seq)),
        Selection::All => Ok(None),
        Selection::Some(_) => {
            Err(Failure::new(Exit::Usage, "operator: ask about one record, or about `all` cards in the line"))
        }
    }
}

/// Tells what was found.
pub fn tell(found: &Found, as_json: bool, out: &mut dyn Write) -> Result<Exit, Early> {
    if as_json {
        json(out, found)?;
    } else {
        print(found, out)?;
    }
    let met = |s: &Station| s.asked_for || (found.seq.is_none() && s.blank.is_some());
    Ok(if found.stations.iter().any(met) { Exit::Ok } else { Exit::NotFound })
}

fn print(found: &Found, out: &mut dyn Write) -> std::io::Result<()> {
    if let Some(mark) = report::mark(&found.view) {
        writeln!(out, "*** {mark} ***")?;
    }
    let (empty, others): (Vec<_>, Vec<_>) = found.stations.iter().partition(|s| s.verdict == NO_CARD);
    for station in others {
        let blank = station.blank.as_ref().map(|blank| format!("blank {blank}, ")).unwrap_or_default();
        let whose = match &station.card {
            Some(card) if station.asked_for => {
                format!("record {}, attempt {}, {}: ", card.seq, card.attempt, card.state)
            }
            _ => String::new(),
        };
        writeln!(out, "{}: {blank}{whose}{}", station.station, station.says)?;
        station.applications.iter().try_for_each(|told| writeln!(out, "  {}", application(told)))?;
    }
    if !empty.is_empty() {
        let names: Vec<_> = empty.iter().map(|s| s.station.as_str()).collect();
        writeln!(out, "no card: {}", names.join(", "))?;
    }
    let not_asked = found.not_asked.join(", ");
    match found.seq {
        Some(seq) if !found.stations.iter().any(|s| s.asked_for) => writeln!(
            out,
            "the card of record {seq} was not found; look for it in {not_asked}, and in bin and stacker; put it into a chip \
             reader by hand and ask again with --station"
        ),
        _ => writeln!(
            out,
            "not asked, though cards may lie there: {not_asked}; put such a card into a chip reader by hand and ask again \
             with --station"
        ),
    }
}

/// One application in words.
fn application(told: &Told) -> String {
    let life = match told.life {
        Life::Personalized => "answers as personalized",
        Life::NotPersonalized => "answers as not personalized",
        Life::Untold => "can be selected",
        Life::Declined => "cannot be selected",
    };
    let records = told.records.iter().map(|record| {
        let reads = match record.reads {
            Read::Equal => "equal".to_owned(),
            Read::Differs => "DIFFERS".to_owned(),
            Read::NotReadable => format!("not readable ({})", record.sw.as_deref().unwrap_or("?")),
        };
        format!("; {} {reads}", record.dgi)
    });
    format!("{}: {life}{}", told.name, records.collect::<String>())
}
