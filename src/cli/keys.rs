//! `key init`, `upgrade`, `list`, `acts`, `recipient`, `check`: the key store, for `cardwright` (a bureau's) and
//! `cardwright-prep` (an issuer's). Never prints a key's value.

use std::io::Write;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use serde::Serialize;

use super::common::{json_text, store_path};
use crate::crypto::KcvMethod;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::store::{ActKind, CustodyAct, KeyStore, KeyUsage, SecretEntry, StoreSide, TakenOver};
use crate::ids::Kcv;
use crate::laws::rfc3339_seconds;
use crate::stdout;

/// Most bytes of a key list.
const MAX_LIST: u64 = 1 << 20;

/// The commands about a key store.
#[derive(Debug, clap::Subcommand)]
pub enum KeyCommand {
    /// Make a new store from a key list.
    Init {
        /// The keys are TEST keys, which everyone may know. Without it the command is refused: this version makes
        /// TEST stores only.
        #[arg(long)]
        test: bool,
        /// Key list (TOML).
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Store to make; an existing one is not replaced.
        #[arg(long, value_name = "STORE")]
        store: PathBuf,
    },
    /// Make a new store from a TEST store of an earlier version and the files beside it. End the line that uses it first: what
    /// that writes after this command is lost.
    Upgrade {
        /// The store of an earlier version; it stays as it is.
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// Store to make; an existing one is not replaced.
        #[arg(long, value_name = "STORE")]
        store: PathBuf,
    },
    /// List the keys: label, usage, type, id:version, KCV with its method, and how they came; then keys that were destroyed.
    List {
        /// Store to read.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
    },
    /// Print the recipient to which files for the owner of this store are sealed (age1...); its key is made the first time.
    Recipient {
        /// Store whose recipient it is.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
    },
    /// List what was done with the store, by whom and when.
    Acts {
        /// Store to read.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Check a store: owner, mode, digest, seal, every rule of its keys, the recipient's key, and a bureau's audit book.
    Check {
        /// Store to check.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
    },
}

/// Runs one of the key commands, printing to standard output. `side` is the side whose program runs.
pub fn run(command: &KeyCommand, side: StoreSide) -> Result<Exit, Failure> {
    let mut answer = Vec::new();
    let exit = run_to(command, side, &mut answer)?;
    stdout::print(&String::from_utf8_lossy(&answer)).map(|()| exit)
}

/// Does the work of [`run`], printing to `out`.
pub fn run_to(command: &KeyCommand, side: StoreSide, out: &mut impl Write) -> Result<Exit, Failure> {
    match command {
        KeyCommand::Init { test: false, .. } => {
            return Err(Failure::new(
                Exit::KeyStore,
                "key: this version makes TEST stores only: add --test, and use no LIVE key",
            ));
        }
        KeyCommand::Init { test: true, from, store } => {
            list(&KeyStore::create_test(&key_list(from)?, store, side)?, out)
        }
        KeyCommand::Upgrade { old, store } => {
            let (store, taken) = KeyStore::upgrade(old, store, side)?;
            list(&store, out).and_then(|()| taken_over(&taken, side, out))
        }
        KeyCommand::Acts { store, json } => {
            let store = KeyStore::open(store)?;
            out.write_all(acts(&store, *json)?.as_bytes())
        }
        KeyCommand::List { store } => list(&KeyStore::open(store)?, out),
        KeyCommand::Recipient { store } => {
            let recipient = KeyStore::recipient(store)?;
            writeln!(out, "{recipient}")
        }
        KeyCommand::Check { store } => {
            let store = KeyStore::open(store)?;
            store.check_companions()?;
            check(&store, side, out)
        }
    }
    .and_then(|()| out.flush())
    .map_err(|e| Failure::new(Exit::Io, format!("us: cannot print: {e}")))?;
    Ok(Exit::Ok)
}

fn key_list(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let fail = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("operator: key list {}: {}", path.display(), files::trouble(&e)))
    };
    files::read_text(path, MAX_LIST).map_err(fail)
}

fn list(store: &KeyStore, out: &mut impl Write) -> std::io::Result<()> {
    for key in store.entries() {
        writeln!(
            out,
            "{:<20}  {:<7}  {:<6}  {:<16}  {}  TEST  {}{}{}",
            key.label(),
            key.usage().to_string(),
            key.key_type().to_string(),
            format!("{}:{}", key.id(), key.version()),
            kcvs(&key.kcvs()),
            key.origin(),
            if key.odd_parity() { "" } else { "  parity was not odd (DES ignores it)" },
            key.doubt().map(|doubt| format!("  warning: {doubt}")).unwrap_or_default(),
        )?;
        if let Some(terms) = kek_terms(key) {
            writeln!(out, "{:<20}  {terms}", "")?;
        }
    }
    for gone in store.gone() {
        let (usage, id, version) = (gone.usage, &gone.id, gone.version);
        let day = rfc3339_seconds(gone.time);
        let day = day.get(..10).unwrap_or_default();
        writeln!(out, "gone  {usage} {id}:{version}  {}  {day}", kcvs(&[gone.kcv]))?;
    }
    Ok(())
}

/// What was taken over of an earlier store, and what becomes of that one.
fn taken_over(taken: &TakenOver, side: StoreSide, out: &mut impl Write) -> std::io::Result<()> {
    let names = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    writeln!(
        out,
        "taken over: {}; not there: {} (moved elsewhere? then remove the new store, put them beside the old one, and try again)",
        names(&taken.companions),
        names(&taken.missing)
    )?;
    let files: Vec<_> = taken.files.iter().map(|file| file.display().to_string()).collect();
    writeln!(out, "now remove: {}", files.join(", "))?;
    let why = match side {
        StoreSide::Bureau => {
            "both would sign with one audit key, and the key of a job that is deleted later would still be in the old one"
        }
        StoreSide::Issuer => "serial numbers of certificates would be used twice",
    };
    writeln!(out, "Never use both stores: {why}. What a line wrote to the old one meanwhile is lost")
}

/// `AES-GP A801BE  AES-CMAC 08793E`
fn kcvs(kcvs: &[(KcvMethod, Kcv)]) -> String {
    let each: Vec<_> = kcvs.iter().map(|(method, kcv)| format!("{method} {kcv}")).collect();
    each.join("  ")
}

/// Whose a KEK is, and where its secrets may go.
fn kek_terms(key: &SecretEntry) -> Option<String> {
    let rules = key.kek()?;
    let allow: Vec<_> = rules.allow.iter().map(ToString::to_string).collect();
    let allow = if allow.is_empty() { "no KMC".to_owned() } else { allow.join(" ") };
    let level = rules.min_seclev.byte();
    Some(format!("issuer {}, goes to {allow}, from level {level:02X}", rules.issuer_id.as_str()))
}

/// An act as other programs read it.
#[derive(Serialize)]
struct ShownAct<'a> {
    time: String,
    act: ActKind,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<KeyUsage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    kcvs: Vec<String>,
    by: &'a [String],
    note: &'a str,
}

impl<'a> From<&'a CustodyAct> for ShownAct<'a> {
    fn from(act: &'a CustodyAct) -> Self {
        Self {
            time: rfc3339_seconds(act.time),
            act: act.kind,
            label: &act.label,
            usage: act.usage,
            key: act.usage.map(|_| format!("{}:{}", act.id, act.version)),
            kcvs: act.kcvs.iter().map(|kcv| kcvs(&[*kcv])).collect(),
            by: &act.by,
            note: &act.note,
        }
    }
}

fn acts(store: &KeyStore, json: bool) -> Result<String, Failure> {
    let acts: Vec<ShownAct<'_>> = store.acts().iter().map(ShownAct::from).collect();
    if json {
        return json_text(&acts);
    }
    let mut text = String::new();
    for (act, line) in store.acts().iter().zip(acts) {
        let usage = act.usage.map(|usage| usage.to_string());
        let words = [
            line.time.as_str(),
            act.kind.name(),
            line.label,
            usage.as_deref().unwrap_or_default(),
            line.key.as_deref().unwrap_or_default(),
            &line.kcvs.join("  "),
            &if line.by.is_empty() { String::new() } else { format!("by {}", line.by.join(", ")) },
            line.note,
        ];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        text.push_str(&words.join("  "));
        text.push('\n');
    }
    Ok(text)
}

fn check(store: &KeyStore, side: StoreSide, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{} keys, {} store, TEST: every rule holds", store.entries().len(), store.side())?;
    if store.side() != side {
        writeln!(out, "note: this is the {side}'s program, the store is the {}'s", store.side())?;
    }
    Ok(())
}
