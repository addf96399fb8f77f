//! `cardwright audit`: what an auditor can prove about a ledger, and a copy of it to keep elsewhere.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::common::{Early, LedgerArg, SocketArg, json, on_stdout};
use super::remote;
use crate::audit::PublicKey;
use crate::daemon::wire;
use crate::exit::{Exit, Failure};
use crate::hsm::{AuditInfo, Auditor};
use crate::ledger::{Reader, audit};
use crate::report::{events::write_exported, progress::bar};

/// Events read at a time.
const PAGE: u32 = 1000;

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
    /// Every column of every table is held against the events, these against their hashes, and the schema against the one
    /// that this program makes.
    ///
    /// What cannot be found. Without --keys: that all behind a checkpoint was cut off, or made anew, chain and all. Without
    /// --key as well: that the whole was made anew, and signed by another key or by nobody. With --keys: a change of what
    /// came after the last signature by one who computes the chain anew (`Not signed` says how much), and that ledger and
    /// audit book were both put back from one moment (keep `audit export` elsewhere). Never: a checkpoint that was deleted
    /// before the last one, which signs all that it signed, and a last one that was deleted once a start has signed again.
    /// Until then it is found with --keys; it is missing, too, when the line was killed between signing and writing, until
    /// it is started again. Of jobs that an earlier version accepted, some columns have no proof: the verdict counts them.
    Verify {
        /// Hold it against what the HSM of this key store has noted
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE")]
        keys: Option<PathBuf>,
        /// The audit key that must have signed it, 64 hex digits
        #[arg(long, value_name = "HEX")]
        key: Option<PublicKey>,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Check a paper against its seal, which lies beside it as PAPER.sig
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

/// Does it, on standard output.
pub fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    if let (AuditVerb::Verify { key, json, .. }, Some(socket)) =
        (&args.verb, args.socket.daemon(&args.ledger)?)
    {
        // It has the ledger and the keys.
        return remote::ask(socket, *json, wire::Ask::Audit { key: key.map(|key| key.to_string()) });
    }
    if let (AuditVerb::Export, Some(socket)) = (&args.verb, &args.socket.socket)
        && !args.ledger.is_named()
    {
        let what = format!(
            "operator: an export is read from the ledger's file: name it by --ledger and leave the daemon at {} out of it \
             (CARDWRIGHT_SOCKET)",
            socket.display()
        );
        return Err(Failure::new(Exit::Usage, what));
    }
    on_stdout(|out| match &args.verb {
        AuditVerb::Verify { keys, key, json } => {
            let known = keys.as_ref().map(|keys| ask(keys, args)).transpose()?;
            verify(&Reader::open_as_it_is(&args.ledger.ledger)?, known.as_ref(), *key, *json, out)
        }
        AuditVerb::Document { paper, key } => Ok(super::papers::check(paper, *key, out)?),
        AuditVerb::Export => export(&Reader::open(&args.ledger.ledger)?, out),
    })
}

/// What the HSM knows of the ledger.
fn ask(keys: &std::path::Path, args: &AuditArgs) -> Result<AuditInfo, Failure> {
    let ledger = Reader::open_as_it_is(&args.ledger.ledger)?.id()?;
    Ok(super::Keys::open(keys)?.hsm.audit(ledger)?)
}

/// The outcome as JSON.
#[derive(Serialize)]
struct Verdict<'a> {
    ledger: String,
    events: u64,
    hash: String,
    jobs: usize,
    /// Accepted by an earlier version, without a seal.
    jobs_unsealed: usize,
    checkpoints: usize,
    signed_to: u64,
    audit_key: Option<String>,
    hsm_asked: bool,
    findings: &'a [audit::AuditFinding],
}

pub(super) fn verify(
    reader: &Reader,
    known: Option<&AuditInfo>,
    pinned: Option<PublicKey>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<Exit, Early> {
    let bar = bar(reader.last_event().unwrap_or_default(), "events");
    let mut audit = reader.audit(known, |n| bar.set_position(n))?;
    bar.finish_and_clear();
    if let Some(behind) = reader.behind() {
        audit
            .findings
            .push(audit::AuditFinding { at: audit::FindingPlace::Ledger, what: behind.to_string() });
    }
    if let Some(pinned) = pinned
        && audit.key != Some(pinned)
    {
        let signed = audit.key.map_or("nobody".to_owned(), |key| key.to_string());
        let what = format!("signed by {signed}, not by the audit key {pinned}");
        audit.findings.push(audit::AuditFinding { at: audit::FindingPlace::Ledger, what });
    }
    let exit = if audit.findings.is_empty() { Exit::Ok } else { Exit::AuditFailed };
    if as_json {
        let verdict = Verdict {
            ledger: audit.ledger.to_string(),
            events: audit.head.n,
            hash: hex::encode_upper(audit.head.hash),
            jobs: audit.jobs,
            jobs_unsealed: audit.unsealed,
            checkpoints: audit.checkpoints,
            signed_to: audit.signed_to,
            audit_key: audit.key.map(|key| key.to_string()),
            hsm_asked: known.is_some(),
            findings: &audit.findings,
        };
        json(out, &verdict)?;
        return Ok(exit);
    }
    writeln!(out, "Ledger       {}, {} jobs", audit.ledger, audit.jobs)?;
    writeln!(out, "Events       {}, hash {}", audit.head.n, hex::encode_upper(audit.head.hash))?;
    let key = audit.key.map_or("none".to_owned(), |key| key.to_string());
    writeln!(
        out,
        "Checkpoints  {}, the last at event {}, audit key {key}",
        audit.checkpoints, audit.signed_to
    )?;
    if audit.signed_to < audit.head.n {
        writeln!(out, "Not signed   {} events after the last checkpoint", audit.head.n - audit.signed_to)?;
    }
    if audit.unsealed > 0 {
        writeln!(
            out,
            "Not proved   of {} jobs, accepted by an earlier version: spool, time of acceptance, whose card_ref a record that was \
             never bound has, KMC_IDs, and, where their first event does not tell, whether rejects are shredded and keys are TEST",
            audit.unsealed
        )?;
    }
    if known.is_none() {
        let whose = if pinned.is_none() {
            " and whose key signed it (or --key with a key kept elsewhere)"
        } else {
            ""
        };
        writeln!(out, "Not asked    whether it is whole{whose}: give --keys")?;
    }
    for finding in &audit.findings {
        writeln!(out, "WRONG        {finding}")?;
    }
    if exit == Exit::Ok {
        writeln!(out, "Verified     chain, signatures, and that all states are what the events add up to")?;
    }
    Ok(exit)
}

/// A line of an export beside the events.
#[derive(Serialize)]
struct Signed {
    checkpoint: u64,
    ledger: String,
    hash: String,
    generation: u64,
    audit_key: String,
    signature: String,
}

fn export(reader: &Reader, out: &mut dyn Write) -> Result<Exit, Early> {
    let mut checkpoints = reader.checkpoints()?.into_iter().peekable();
    let mut after = 0;
    loop {
        let events = reader.events(None, after, PAGE)?;
        if events.is_empty() {
            return Ok(Exit::Ok);
        }
        for event in &events {
            after = event.n;
            write_exported(event, out)?;
            out.write_all(b"\n")?;
            while let Some(signed) = checkpoints.next_if(|c| c.place.n <= after) {
                let line = Signed {
                    checkpoint: signed.place.n,
                    ledger: signed.place.ledger.to_string(),
                    hash: hex::encode_upper(signed.place.hash),
                    generation: signed.generation,
                    audit_key: signed.key.to_string(),
                    signature: hex::encode_upper(signed.signature.to_bytes()),
                };
                serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            }
        }
    }
}
