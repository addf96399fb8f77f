//! `cardwright audit`: an auditor's proofs about a ledger, and a copy of the ledger to keep elsewhere.
//!
//! Not here: the proof (`bureau::ledger_proof`), its text (`render`).

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use super::common::{Early, LedgerArg, SocketArg, on_stdout, store_path};
use super::next_step::Desk;
use super::{remote, render};
use crate::audit::{PublicKey, SealedDocument, SpoolKeyState};
use crate::bureau::key_host::{CallerRole, KeyHost};
use crate::bureau::{Outcome, ledger_proof};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::laws::rfc3339;
use crate::ledger::Reader;
use crate::report::progress::bar;
use crate::report::seal;
use crate::request::Action;

/// Proofs for the auditor.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    socket: SocketArg,
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AuditVerb {
    /// Prove that nothing in the ledger was edited, deleted, reordered or cut off, or say where
    ///
    /// Every column of every table is compared with the events, the events with their hashes, and the schema
    /// with the one that this program makes.
    ///
    /// Limits. Without --keys this does not find that everything after a checkpoint was cut off, or rewritten
    /// with its chain. Without --key as well, it does not find that the whole ledger was rewritten and signed
    /// by another key, or not signed. With --keys it does not find a change to events after the last
    /// signature by a person who recomputes the chain (`Not signed` gives the number of these events), nor
    /// that ledger and audit book were both put back to one moment: --against an `audit export` that was kept
    /// elsewhere finds that. It never finds an event that a person who can write the ledger's file appended,
    /// with its hash, after the last signature; nor a deleted last checkpoint, which the HSM gives again at the
    /// next start. Before that start, --keys finds it. --keys also reports one that is missing because the line
    /// was killed after the HSM signed and before the ledger was written. Some columns of jobs that an earlier version accepted have no proof: the
    /// verdict counts these jobs.
    Verify {
        /// Compare it with the notes of this key store's HSM
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        keys: Option<PathBuf>,
        /// The audit key that must have signed it, 64 hex digits
        #[arg(long, value_name = "HEX")]
        key: Option<PublicKey>,
        /// Compare it with an export that was kept elsewhere; may be given several times
        #[arg(long, value_name = "EXPORT")]
        against: Vec<PathBuf>,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Check a paper against its seal, which lies next to it as PAPER.sig
    Document {
        /// Report, return file or certificate of deletion
        paper: PathBuf,
        /// The audit key that must have signed it, 64 hex digits
        #[arg(long, value_name = "HEX")]
        key: Option<PublicKey>,
    },
    /// Write every event and every checkpoint, one JSON object a line
    Export,
}

/// Carries out a command of `cardwright audit`, on standard output.
pub fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    let daemon = match &args.verb {
        AuditVerb::Document { .. } => None,
        AuditVerb::Verify { .. } | AuditVerb::Export => args.socket.daemon(&args.ledger)?,
    };
    let ledger = &args.ledger.ledger;
    on_stdout(|out| match (&args.verb, daemon) {
        // The daemon has the ledger and the keys open.
        (AuditVerb::Verify { key, json, against, .. }, Some(daemon)) => {
            let exports = opened(against)?;
            let action = Action::VerifyLedger { key: *key, exports: exports.len() };
            let verdict = remote::ask(daemon, &action, &exports)?;
            render::show(&verdict, *json, Desk::Daemon, out)
        }
        (AuditVerb::Verify { keys, key, json, against }, None) => {
            verify(ledger, keys.as_ref(), (*key, opened(against)?), *json, out)
        }
        (AuditVerb::Document { paper, key }, _) => document(paper, *key, out),
        (AuditVerb::Export, Some(daemon)) => export_from(daemon, out),
        (AuditVerb::Export, None) => {
            let mut heard = HeardWriter { out, failed: None };
            let exported = ledger_proof::export(&Reader::open(ledger)?, &mut heard);
            match heard.failed {
                Some(error) => Err(error.into()),
                None => Ok(exported.map(|_| Exit::Ok)?),
            }
        }
    })
}

fn verify(
    ledger: &Path,
    keys: Option<&PathBuf>,
    (key, exports): (Option<PublicKey>, Vec<File>),
    json: bool,
    out: &mut dyn Write,
) -> Result<Exit, Early> {
    let reader = Reader::open_as_it_is(ledger)?;
    // A line may have the store open meanwhile, and go on.
    let mut host = keys.map(|store| KeyHost::open(store, CallerRole::Check)).transpose()?;
    let ledger_id = reader.id()?;
    let known = host.as_mut().map(|host| move || host.known(ledger_id));
    let bar = bar(reader.last_event().unwrap_or_default(), "events");
    let mut verdict = ledger_proof::verify(&reader, known, key, |n| bar.set_position(n))?;
    bar.finish_and_clear();
    verdict.compare(&reader, exports)?;
    render::show(&Outcome::Verdict(verdict), json, Desk::Here, out)
}

/// Opens the exports of `--against`.
fn opened(exports: &[PathBuf]) -> Result<Vec<File>, Failure> {
    let open = |path: &PathBuf| {
        File::open(path).map_err(|e| {
            Failure::new(Exit::Io, format!("operator: {}: {}", path.display(), files::trouble(&e)))
        })
    };
    exports.iter().map(open).collect()
}

fn document(paper: &Path, key: Option<PublicKey>, out: &mut dyn Write) -> Result<Exit, Early> {
    let found = seal::check(paper, key)?;
    let whose = if key.is_some() { "" } else { "; compare this key with the bureau's" };
    writeln!(out, "{}: genuine, audit key {}{whose}", paper.display(), found.key)?;
    match &found.sealed {
        None => writeln!(out, "signed by an earlier version: the HSM signed the text, and counted nothing")?,
        Some(sealed) => show_sealed(sealed, seal::is_page(paper), out)?,
    }
    let counted = found.sealed.is_some_and(|sealed| sealed.counted.is_some());
    Ok(if counted { Exit::Ok } else { Exit::StructureOnly })
}

/// Prints the figures of a seal.
fn show_sealed(sealed: &SealedDocument, is_page: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let SealedDocument { head, epoch, job, time, spool_key, counted, .. } = sealed;
    writeln!(
        out,
        "the HSM signed it at {}, when it had seen event {} of ledger {}, epoch {epoch}",
        rfc3339(*time),
        head.n,
        head.ledger
    )?;
    let key = match spool_key {
        SpoolKeyState::None => "has none",
        SpoolKeyState::There => "has one",
        SpoolKeyState::Destroyed => "destroyed it",
        SpoolKeyState::Missing => "lost it",
    };
    writeln!(out, "key of the spool of {job}: the HSM {key}")?;
    let Some(c) = counted else {
        return writeln!(out, "an earlier version accepted {job}: the HSM has not counted it");
    };
    writeln!(out, "the HSM counted {} records = {} good + {} cancelled", c.records, c.good, c.cancelled)?;
    writeln!(
        out,
        "the HSM counted {} blanks fed = {} good + {} rejected + {} given back + {} sample",
        c.blanks_fed, c.blanks_good, c.blanks_rejected, c.blanks_returned, c.blanks_sample
    )?;
    if let Some(unproved) = c.unproved {
        writeln!(out, "destructions that no person proved to the HSM: {unproved}")?;
    }
    if is_page {
        writeln!(out, "its text was not compared with these figures: compare them")?;
    }
    Ok(())
}

/// The daemon writes into a temporary file of this program, because standard output may be no regular file.
fn export_from(daemon: &Path, out: &mut dyn Write) -> Result<Exit, Early> {
    let failed = |e: std::io::Error| Failure::new(Exit::Io, format!("no file for the export: {e}"));
    let mut file = tempfile::tempfile().map_err(failed)?;
    remote::ask(daemon, &Action::ExportLedger {}, &[file.try_clone().map_err(failed)?])?;
    file.rewind().map_err(failed)?;
    std::io::copy(&mut file, out)?;
    Ok(Exit::Ok)
}

/// Keeps the error of standard output, because an export returns only its text.
struct HeardWriter<'a> {
    out: &'a mut dyn Write,
    failed: Option<std::io::Error>,
}

impl HeardWriter<'_> {
    fn heard<T>(&mut self, result: std::io::Result<T>) -> std::io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

impl Write for HeardWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let result = self.out.write(bytes);
        self.heard(result)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let result = self.out.flush();
        self.heard(result)
    }
}
