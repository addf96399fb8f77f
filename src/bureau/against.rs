//! Compares a ledger with an export of it that was kept elsewhere. Both the ledger and the key store can be put back to one moment, or
//! be written anew with a stolen audit key: nothing inside them shows that, and a kept export does.
//!
//! The export is data from outside: its lines are bounded, and a message quotes none. Not here: writing an export, and the proof
//! of the ledger itself (`ledger_proof`).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use hex::FromHex;
use serde::{Deserialize, Serialize};

use super::ledger_proof::VerdictFinding;
use super::refusal::Refusal;
use crate::audit::{ChainPlace, Checkpoint, CheckpointLink, LedgerId, PublicKey, Signature};
use crate::exit::Exit;
use crate::files;
use crate::laws::unix_ms;
use crate::ledger::{LedgerError, Reader};

/// Longest line in bytes: the bytes of an event in hex, its fields, and some room.
const LINE_MAX: u64 = 256 << 10;
/// Most findings about one export; more of them say nothing new.
const FINDINGS_MAX: usize = 100;

const ANOTHER: &str = "the ledger has another event of this number: it was written anew";

/// An export that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedExport {
    /// Number of its last event.
    pub events: u64,
    /// Number of its checkpoints.
    pub checkpoints: u64,
}

/// A line of an event, or of a checkpoint.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeptLine {
    Checkpoint(KeptCheckpoint),
    /// Of chain version 1 without its bytes: the next checkpoint holds it.
    Event {
        n: u64,
        body: Option<String>,
    },
}

#[derive(Deserialize)]
struct KeptCheckpoint {
    checkpoint: u64,
    ledger: String,
    hash: String,
    generation: u64,
    epoch: Option<u32>,
    time: Option<String>,
    before: Option<String>,
    audit_key: String,
    signature: String,
}

impl KeptCheckpoint {
    fn read(&self) -> Option<Checkpoint> {
        let link = match (self.epoch, &self.time, &self.before) {
            (Some(epoch), Some(time), Some(before)) => {
                let time = unix_ms(time)?;
                Some(CheckpointLink { epoch, time, before: <_>::from_hex(before).ok()? })
            }
            (None, None, None) => None,
            _ => return None,
        };
        let (ledger, hash) = (LedgerId(<_>::from_hex(&self.ledger).ok()?), <_>::from_hex(&self.hash).ok()?);
        Some(Checkpoint {
            place: ChainPlace { ledger, n: self.checkpoint, hash },
            generation: self.generation,
            link,
            key: PublicKey(<_>::from_hex(&self.audit_key).ok()?),
            signature: Signature::from_bytes(<_>::from_hex(&self.signature).ok()?),
        })
    }
}

/// What was found so far.
struct Comparison<'a> {
    reader: &'a Reader,
    ledger: LedgerId,
    /// The checkpoints of the ledger, by number of their event.
    signed: Vec<Checkpoint>,
    /// Number of the ledger's last event.
    last: u64,
    /// The last checkpoint of the export.
    before: Option<Checkpoint>,
    compared: ComparedExport,
    /// Whether it was found that the ledger ends before the export does.
    ends: bool,
    found: Vec<VerdictFinding>,
}

/// Compares a ledger with the `number`th export. Returns what differs.
pub fn compare(
    reader: &Reader,
    number: usize,
    export: File,
) -> Result<(ComparedExport, Vec<VerdictFinding>), Refusal> {
    let mut comparison = Comparison {
        reader,
        ledger: reader.id()?,
        signed: reader.checkpoints()?,
        last: reader.last_event()?,
        before: None,
        compared: ComparedExport { events: 0, checkpoints: 0 },
        ends: false,
        found: Vec::new(),
    };
    let mut input = BufReader::new(export);
    let (mut line, mut bytes) = (0u64, Vec::new());
    loop {
        line += 1;
        bytes.clear();
        let read = (&mut input).take(LINE_MAX).read_until(b'\n', &mut bytes);
        read.map_err(|e| {
            Refusal::fault(Exit::Io, format!("operator: export {number}: {}", files::trouble(&e)))
        })?;
        if bytes.is_empty() {
            break;
        }
        let Some(kept) = bytes.strip_suffix(b"\n").and_then(|text| serde_json::from_slice(text).ok()) else {
            let what = format!(
                "operator: export {number}, line {line}: it is no line of an export, or was cut short: name a file that `audit \
                 export` wrote"
            );
            return Err(Refusal::fault(Exit::Usage, what));
        };
        let at = format!("export {number}, line {line}");
        match kept {
            KeptLine::Event { n, body } => comparison.event(&at, n, body.as_deref())?,
            KeptLine::Checkpoint(kept) => comparison.checkpoint(&at, &kept)?,
        }
    }
    if comparison.compared.events == 0 {
        let what = format!("operator: export {number} has no event: name a file that `audit export` wrote");
        return Err(Refusal::fault(Exit::Usage, what));
    }
    Ok((comparison.compared, comparison.found))
}

impl Comparison<'_> {
    fn find(&mut self, at: &str, what: &str) {
        if self.found.len() < FINDINGS_MAX {
            self.found.push(VerdictFinding { at: at.to_owned(), what: what.to_owned() });
        }
    }

    /// Compares an event.
    fn event(&mut self, at: &str, n: u64, body: Option<&str>) -> Result<(), LedgerError> {
        if n != self.compared.events.saturating_add(1) {
            self.find(at, "its number is not the next one: the export was changed");
        }
        self.compared.events = n;
        if self.is_past_the_end(at, n) {
            return Ok(());
        }
        let kept = body.map(|body| Vec::from_hex(body).unwrap_or_default());
        if self.reader.body_at(n)? != kept {
            self.find(at, ANOTHER);
        }
        Ok(())
    }

    /// Whether the ledger has no event of this number.
    fn is_past_the_end(&mut self, at: &str, n: u64) -> bool {
        if n > self.last && !std::mem::replace(&mut self.ends, true) {
            self.find(at, "the ledger ends before this event: it was put back from a backup, or cut off");
        }
        n > self.last
    }

    /// Compares a checkpoint: it is genuine, follows the one before, signs an event of the ledger, and is in the ledger.
    fn checkpoint(&mut self, at: &str, kept: &KeptCheckpoint) -> Result<(), LedgerError> {
        self.compared.checkpoints += 1;
        let Some(kept) = kept.read().filter(Checkpoint::is_genuine) else {
            self.find(at, "its signature is wrong: the export was changed");
            return Ok(());
        };
        if kept.place.ledger != self.ledger {
            self.find(at, "it is of another ledger");
            return Ok(());
        }
        if let Some(breach) = kept.breach(self.before.as_ref()) {
            self.find(at, breach);
        }
        self.before = Some(kept);
        if self.is_past_the_end(at, kept.place.n) {
            return Ok(());
        }
        if self.reader.hash_at(kept.place.n)? != Some(kept.place.hash) {
            self.find(at, ANOTHER);
        }
        if self.signed.last().is_some_and(|last| last.key != kept.key) {
            self.find(at, "another audit key signed it than the ledger now");
        } else if !self.has(&kept) {
            self.find(at, "the ledger does not have this checkpoint any more");
        }
        Ok(())
    }

    fn has(&self, kept: &Checkpoint) -> bool {
        let place = self.signed.binary_search_by_key(&kept.place.n, |signed| signed.place.n);
        place.ok().and_then(|place| self.signed.get(place)) == Some(kept)
    }
}
