//! Carries a request out in this process, on a ledger that no daemon has open.
//!
//! Not here: requests that need the line (`run`, `survey`).

use std::path::{Path, PathBuf};

use super::common::{ByArg, LedgerArg, SocketArg, keys_missing};
use super::remote;
use crate::bureau::key_host::{CallerRole, KeyHost};
use crate::bureau::ledger_desk::LedgerDesk;
use crate::bureau::{Outcome, Refusal, views};
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::ledger::{Ledger, Reader};
use crate::request::Action;

/// Has a daemon carry an action out if one is named, else carries it out here, without keys.
pub(super) fn carry_out(
    socket: &SocketArg,
    ledger: &LedgerArg,
    by: Option<&ByArg>,
    action: &Action,
) -> Result<Outcome, Refusal> {
    match socket.daemon(ledger)? {
        Some(socket) => {
            by.map_or(Ok(()), ByArg::none)?;
            remote::ask(socket, action, &[])
        }
        None => here(&ledger.ledger, by, action),
    }
}

/// Closes a job on a ledger's file. The HSM signs the closing, so the keys are needed. Without keys, only a law that
/// forbids the closing is reported.
pub(super) fn close_job(
    path: &Path,
    job: JobId,
    keys: Option<&PathBuf>,
    by: &ByArg,
) -> Result<Outcome, Refusal> {
    Reader::open(path)?.job(job)?;
    let Some(store) = keys else {
        let ledger = Ledger::open(path)?;
        let may = ledger.may_close(job);
        ledger.close()?;
        may?;
        let what = format!(
            "operator: {job} can be closed, but the HSM must sign that: name the key store by --keys or CARDWRIGHT_KEYS"
        );
        return Err(Refusal::fault(Exit::Usage, what));
    };
    let keys = KeyHost::open(store, CallerRole::Ledger)?;
    let ledger = Ledger::open_audited(path, Box::new(keys.auditor()?))?;
    let connect = || keys.connect();
    let desk = LedgerDesk { ledger: &ledger, connect: &connect };
    let done = desk.carry_out(&Action::CloseJob { job }, &by.actor(), Vec::new());
    // If the HSM does not sign the ledger's end, that is an error.
    ledger.close()?;
    done
}

/// Carries an action out on a ledger's file, without keys.
fn here(path: &Path, by: Option<&ByArg>, action: &Action) -> Result<Outcome, Refusal> {
    let reader = Reader::open(path)?;
    if let Some(shown) = views::show(&reader, path, action)? {
        return Ok(shown);
    }
    // The ledger is not opened for writing if there is no such job.
    action.job().map(|job| reader.job(job)).transpose()?;
    let Some(by) = by else { return Err(Refusal::OnlyDaemon) };
    drop(reader);
    // Opening the ledger for writing takes it for this process alone. Cards that an earlier process left
    // under way become UNKNOWN.
    let ledger = Ledger::open(path)?;
    let done = LedgerDesk { ledger: &ledger, connect: &|| Err(keys_missing()) }.carry_out(
        action,
        &by.actor(),
        Vec::new(),
    );
    ledger.close()?;
    done
}

/// Starts an HSM host for the key store, if one is named, for what is about a ledger.
pub(super) fn key_host(store: Option<&PathBuf>) -> Result<KeyHost, Failure> {
    KeyHost::open(store.ok_or_else(keys_missing)?, CallerRole::Ledger)
}
