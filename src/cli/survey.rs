//! `cardwright card ask`: asks cards that lie in the line how far they came.
//!
//! Not here: the questions (`bureau::survey`), the text of the answers (`render`).

use std::path::PathBuf;

use super::common::{ByArg, LedgerArg, SocketArg, keys_missing, store_path};
use super::pin::PinArg;
use super::remote;
use super::simulate::SimulateArgs;
use crate::bureau::{Bureau, KeyAccess, Outcome, Refusal};
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::request::{Action, Records};
use crate::signals::Signals;

/// Printed when a signal ends the program.
const STOPPED: &str = "stopped by the operator; no card was changed or moved";

/// Arguments about the line whose stations are asked.
#[derive(Debug, clap::Args)]
pub struct SurveyArgs {
    /// Ask at this station alone: one where a card was put into the reader by hand, say
    #[arg(long, value_name = "STATION")]
    station: Option<String>,
    /// Line profile: a shipped name or a .toml file
    #[arg(long)]
    line: Option<String>,
    /// The bureau's key store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
    keys: Option<PathBuf>,
    #[command(flatten)]
    simulate: SimulateArgs,
    #[command(flatten)]
    pin: PinArg,
    #[command(flatten)]
    by: ByArg,
}

impl SurveyArgs {
    pub(super) fn action(&self, job: JobId, records: &Records) -> Action {
        Action::SurveyCards { job, records: records.clone(), station: self.station.clone() }
    }

    /// Refuses these arguments: a daemon has its line and knows who asks.
    fn none(&self) -> Result<(), Failure> {
        self.by.none()?;
        if self.line.is_some() || self.simulate.simulate || self.pin.is_given() {
            let what = "operator: the daemon has its line and keys; leave them away";
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(())
    }
}

/// Has a daemon ask the cards, or opens the line here.
pub(super) fn carry_out(
    args: &SurveyArgs,
    socket: &SocketArg,
    ledger: &LedgerArg,
    job: JobId,
    records: &Records,
) -> Result<Outcome, Refusal> {
    let action = args.action(job, records);
    if let Some(socket) = socket.daemon(ledger)? {
        args.none()?;
        return remote::ask(socket, &action, &[]);
    }
    let missing = |what| Failure::new(Exit::Usage, format!("operator: {what}"));
    let line = args.line.as_deref();
    let line = line.ok_or_else(|| missing("name the line by --line, or ask a daemon by --socket"))?;
    let keys = args.keys.as_ref();
    let keys = keys.ok_or_else(keys_missing)?;
    let keys = KeyAccess { store: keys, pin: &|| args.pin.pin() };
    let signals = Signals::handle(STOPPED)?;
    let bureau = Bureau::open(line, keys, &ledger.ledger, &args.simulate.simulation(), &signals)?;
    let found = bureau.carry_out(&action, &args.by.actor(), Vec::new());
    let ended = bureau.close();
    let found = found?;
    ended.ledger?;
    ended.simulator?;
    Ok(found)
}
