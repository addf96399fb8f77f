//! The independent witness: a record of everything that happened to every piece of plastic, written without
//! the controller.
//!
//! In the directory of `--dump`:
//!
//! ```text
//! CSN.json       one object per blank that left the line (`SimulatedBlank::witness`), renamed into place
//! line.jsonl     {"n", "blank", "what": "fed" | "left", ...}: a card entered or left the line
//! faults.jsonl   {"n", "blank", "kind", "station"}: an injected fault took effect
//! ```
//!
//! Without `--dump` nothing is written. The objects show clear values, of simulated cards and TEST keys only.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::blank::{BlankFate, SimulatedBlank};
use crate::faults::FaultKind;
use crate::sync::lock;

/// Writes the dumps and journals, or nothing.
#[derive(Default)]
pub struct LineWitness {
    dump: Option<DumpDirectory>,
    failed: AtomicBool,
}

struct DumpDirectory {
    dir: PathBuf,
    line: Mutex<File>,
    faults: Mutex<File>,
}

impl LineWitness {
    /// Opens the directory and makes it if needed; with `None` the witness writes nothing.
    pub fn open(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else { return Ok(Self::default()) };
        std::fs::create_dir_all(dir).with_context(|| format!("dump directory {}", dir.display()))?;
        let journal = |name: &str| {
            let path = dir.join(name);
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
            file.map(Mutex::new).with_context(|| path.display().to_string())
        };
        let dump = DumpDirectory {
            dir: dir.to_owned(),
            line: journal("line.jsonl")?,
            faults: journal("faults.jsonl")?,
        };
        Ok(Self { dump: Some(dump), failed: AtomicBool::new(false) })
    }

    /// Whether something could not be written, so that the dump is not complete.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Records that a blank entered the line at `station`.
    pub fn fed(&self, blank: &SimulatedBlank, station: &str) {
        self.write(|dump| {
            let line = json!({ "n": blank.n, "blank": blank.csn(), "what": "fed", "station": station });
            append(&dump.line, &line)
        });
    }

    /// Records that a blank left the line: its object, then its line.
    pub fn left(&self, blank: &SimulatedBlank, fate: &BlankFate) {
        self.write(|dump| {
            let csn = blank.csn();
            let temporary = dump.dir.join(format!(".{csn}.tmp"));
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(blank.witness(fate).to_string().as_bytes())?;
            std::fs::rename(&temporary, dump.dir.join(format!("{csn}.json")))?;
            let line = json!({
                "n": blank.n,
                "blank": csn,
                "what": "left",
                "fate": fate.name(),
                "position": fate.position(),
                "stacker": fate.stacker(),
            });
            append(&dump.line, &line)
        });
    }

    /// Records that an injected fault took effect.
    pub fn struck(&self, blank: &SimulatedBlank, kind: FaultKind, station: &str) {
        self.write(|dump| {
            let line = json!({ "n": blank.n, "blank": blank.csn(), "kind": kind.name(), "station": station });
            append(&dump.faults, &line)
        });
    }

    fn write(&self, what: impl FnOnce(&DumpDirectory) -> std::io::Result<()>) {
        let Some(dump) = &self.dump else { return };
        if let Err(error) = what(dump) {
            tracing::error!(dir = %dump.dir.display(), %error, "the witness cannot write; the dump is not complete");
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

fn append(file: &Mutex<File>, line: &Value) -> std::io::Result<()> {
    lock(file).write_all(format!("{line}\n").as_bytes())
}
