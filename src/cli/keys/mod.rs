//! The key store, for `cardwright` (a bureau's) and `cardwright-prep` (an issuer's): `key init`, `upgrade`, `list`, `acts`,
//! `recipient`, `check`; acts of custody (`custody`), keys in components (`component`) and key blocks (`block`), backups (`copies`).
//! Never prints a key's value.
//!
//! An act is one command in one process, on a store that no line has open: no passphrase crosses a socket.

mod block;
mod component;
mod copies;
mod custody;
mod terms;

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use zeroize::Zeroizing;

use super::common::{json_text, store_path};
use crate::crypto::{KcvMethod, KeyType};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hardening::wipe_stack;
use crate::hsm::Realm;
use crate::hsm::store::{
    ActKind, CustodyAct, KeyStore, KeyUsage, LockedStore, NewCustodians, PendingKey, StoreSide, TakenOver,
};
use crate::ids::Kcv;
use crate::laws::rfc3339_seconds;
use crate::stdout;

use component::FirstTerms;
pub use terms::KeyRulesArgs;
use terms::NamedKey;

/// Most bytes of a key list.
const MAX_LIST: u64 = 1 << 20;

/// The commands about a key store.
#[derive(Debug, clap::Subcommand)]
pub enum KeyCommand {
    /// Make a new store: a TEST store from a key list, or a LIVE store without keys, which custodians open.
    #[command(group(clap::ArgGroup::new("realm").required(true).args(["test", "live"])))]
    Init {
        /// A TEST store of TEST keys, which everyone may know.
        #[arg(long, requires = "from")]
        test: bool,
        /// A LIVE store: each custodian chooses a passphrase at this terminal. No card is made with it yet.
        #[arg(long, requires_all = ["custodians", "threshold"])]
        live: bool,
        /// Key list (TOML) of a TEST store.
        #[arg(long, value_name = "FILE", conflicts_with = "live")]
        from: Option<PathBuf>,
        /// Names of the custodians of a LIVE store.
        #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "test")]
        custodians: Vec<String>,
        /// How many of them open it together.
        #[arg(long, value_name = "M", conflicts_with = "test")]
        threshold: Option<u8>,
        /// Store to make; an existing one is not replaced.
        #[arg(long, value_name = "STORE")]
        store: PathBuf,
    },
    /// Make a new store from a TEST store of an earlier version and the files beside it. End the line that uses it first:
    /// the new store has nothing that the line writes after this command.
    Upgrade {
        /// The store of an earlier version; it stays as it is.
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// Store to make; an existing one is not replaced.
        #[arg(long, value_name = "STORE")]
        store: PathBuf,
    },
    /// List the keys: label, usage, type, id:version, KCV with its method, and how they came; then keys that still lack components, and keys
    /// that were destroyed.
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
    /// Give the next component of a key: its custodian types it at this terminal. The first command also describes
    /// the key, and the last one stores it.
    Component {
        /// Label of the key.
        #[arg(value_name = "LABEL")]
        label: String,
        /// Usage of the key.
        #[arg(long, value_name = "USAGE", value_parser = terms::usage(), requires_all = ["key_type", "id", "version", "of", "kcv"])]
        usage: Option<KeyUsage>,
        /// Its type.
        #[arg(long = "type", value_name = "TYPE", value_parser = terms::key_type(), requires = "usage")]
        key_type: Option<KeyType>,
        /// Its identifier: KMC_ID, or the issuer identifier padded with F.
        #[arg(long, value_name = "ID", requires = "usage")]
        id: Option<String>,
        /// Its version.
        #[arg(long, value_name = "N", requires = "usage")]
        version: Option<u8>,
        /// How many components it has, 2 or 3.
        #[arg(long, value_name = "N", requires = "usage")]
        of: Option<u8>,
        /// KCV of the whole key, as its sender states it.
        #[arg(long, value_name = "KCV", value_parser = terms::kcv, requires = "usage")]
        kcv: Option<Kcv>,
        /// Whose it is, and where the secrets under a KEK may go.
        #[command(flatten)]
        rules: KeyRulesArgs,
        /// Forget the components that were given.
        #[arg(long, conflicts_with = "usage")]
        drop: bool,
        /// Store to change; no line may have it open.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
    },
    /// Store a key that a partner sent in a key block (TR-31 or X9.143, version B or D) under a ZMK of the store.
    ImportBlock {
        /// File with the key block.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Label of the ZMK that the block is under.
        #[arg(long, value_name = "LABEL")]
        zmk: String,
        /// Label of the key.
        #[arg(long, value_name = "LABEL")]
        label: String,
        /// Its usage.
        #[arg(long, value_name = "USAGE", value_parser = terms::usage())]
        usage: KeyUsage,
        /// Its type.
        #[arg(long = "type", value_name = "TYPE", value_parser = terms::key_type())]
        key_type: KeyType,
        /// Its identifier: KMC_ID, or the issuer identifier padded with F.
        #[arg(long, value_name = "ID")]
        id: String,
        /// Its version.
        #[arg(long, value_name = "N")]
        version: u8,
        /// Its KCV, which the sender states in a separate letter.
        #[arg(long, value_name = "KCV", value_parser = terms::kcv)]
        kcv: Kcv,
        /// Whose it is, and where the secrets under a KEK may go.
        #[command(flatten)]
        rules: KeyRulesArgs,
        /// Store to change; no line may have it open.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
    },
    /// Give a LIVE store new custodians and passphrases, all at once. Components of unfinished keys are dropped. Old backups still open with the
    /// old passphrases.
    Custodians {
        /// Names of the new custodians.
        #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
        new: Vec<String>,
        /// How many of them open it together.
        #[arg(long, value_name = "M")]
        threshold: u8,
        /// Store to change; no line may have it open.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
    },
    /// Destroy a key. Neither its identifier nor its value comes back into this store; backups keep it.
    Destroy {
        /// Its label.
        #[arg(value_name = "LABEL")]
        label: String,
        /// Store to change; no line may have it open.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
    },
    /// Copy a store into a new folder. A line may have it open; nobody is asked, because the copy is sealed as the store is.
    Backup {
        /// Folder to make.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        /// Store to copy.
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        store: PathBuf,
    },
    /// Make a store from a backup. Its custodians open it, and accept that it knows nothing of later changes.
    Restore {
        /// Folder of the backup; it stays as it is.
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
        /// Store to make; an existing one is not replaced.
        #[arg(long, value_name = "STORE")]
        store: PathBuf,
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
    let exit = run_to(command, side, &mut answer);
    // Values of keys were moved over it.
    wipe_stack();
    let exit = exit?;
    stdout::print(&String::from_utf8_lossy(&answer)).map(|()| exit)
}

/// Does the work of [`run`], printing to `out`.
pub fn run_to(command: &KeyCommand, side: StoreSide, out: &mut impl Write) -> Result<Exit, Failure> {
    out.write_all(answer(command, side)?.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Failure::new(Exit::Io, format!("us: cannot print: {e}")))?;
    Ok(Exit::Ok)
}

/// Carries a command out. Returns what it prints.
fn answer(command: &KeyCommand, side: StoreSide) -> Result<String, Failure> {
    match command {
        KeyCommand::Init { custodians, threshold: Some(threshold), store, .. } => {
            custody::init(store, side, NewCustodians::new(custodians, *threshold)?)
        }
        KeyCommand::Init { from, store, .. } => {
            // The parser requires one or the other.
            let from = from.as_deref().unwrap_or(Path::new(""));
            Ok(list_text(&KeyStore::create_test(&key_list(from)?, store, side)?))
        }
        KeyCommand::Upgrade { old, store } => {
            let (store, taken) = KeyStore::upgrade(old, store, side)?;
            Ok(list_text(&store) + &taken_over(&taken, side))
        }
        KeyCommand::Acts { store, json } => acts(custody::read(store, side)?.keys(), *json),
        KeyCommand::List { store } => Ok(list_text(custody::read(store, side)?.keys())),
        KeyCommand::Recipient { store } => Ok(recipient(store, side)? + "\n"),
        KeyCommand::Check { store } => {
            let open = custody::read(store, side)?;
            open.keys().check_companions()?;
            Ok(check(open.keys()))
        }
        KeyCommand::Custodians { new, threshold, store } => {
            custody::change(store, NewCustodians::new(new, *threshold)?, side)
        }
        KeyCommand::Destroy { label, store } => custody::destroy(store, label, side),
        KeyCommand::Component { label, drop: true, store, .. } => component::forget(store, label, side),
        KeyCommand::Component { label, store, .. } => {
            component::give(store, label, first_terms(command)?, side)
        }
        KeyCommand::ImportBlock { file, zmk, label, usage, key_type, id, version, kcv, rules, store } => {
            let key = NamedKey { label, usage: *usage, key_type: *key_type, id, version: *version };
            block::import((store, side), file, zmk, rules.terms(&key)?, *kcv)
        }
        KeyCommand::Backup { to, store } => copies::backup(store, to),
        KeyCommand::Restore { backup, store } => copies::restore(backup, store, side),
    }
}

/// The terms that a command states with the first component.
fn first_terms(command: &KeyCommand) -> Result<Option<FirstTerms>, Failure> {
    let KeyCommand::Component {
        label,
        usage: Some(usage),
        key_type: Some(key_type),
        id: Some(id),
        version: Some(version),
        of: Some(of),
        kcv: Some(kcv),
        rules,
        ..
    } = command
    else {
        return Ok(None);
    };
    let key = NamedKey { label, usage: *usage, key_type: *key_type, id, version: *version };
    Ok(Some((rules.terms(&key)?, *kcv, *of)))
}

/// The recipient of a store. Only making its key needs a TEST store alone.
fn recipient(store: &Path, side: StoreSide) -> Result<String, Failure> {
    let locked = LockedStore::to_read(store)?.of_side(side)?;
    if locked.realm() == Realm::Test {
        let known = locked.open_test()?.keys().known_recipient()?;
        if let Some(known) = known {
            return Ok(known);
        }
    } else {
        drop(locked);
    }
    custody::alone(store, side)?.recipient()
}

fn key_list(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let fail = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("operator: key list {}: {}", path.display(), files::trouble(&e)))
    };
    files::read_text(path, MAX_LIST).map_err(fail)
}

fn list_text(store: &KeyStore) -> String {
    let realm = match store.realm() {
        Realm::Test => "TEST",
        Realm::Live => "LIVE",
    };
    let mut text = String::new();
    for key in store.entries() {
        let _ = writeln!(
            text,
            "{:<20}  {:<7}  {:<6}  {:<16}  {}  {realm}  {}{}{}",
            key.label(),
            key.usage().to_string(),
            key.key_type().to_string(),
            format!("{}:{}", key.id(), key.version()),
            kcvs(&key.kcvs()),
            key.origin(),
            if key.odd_parity() { "" } else { "  parity was not odd (DES ignores it)" },
            key.doubt().map(|doubt| format!("  warning: {doubt}")).unwrap_or_default(),
        );
        if let Some(rules) = terms::rules(key.terms()) {
            let _ = writeln!(text, "{:<20}  {rules}", "");
        }
    }
    for key in store.pending() {
        let _ = writeln!(text, "{:<20}  {}", key.terms().label, missing(key));
    }
    for gone in store.gone() {
        let (usage, id, version) = (gone.usage, &gone.id, gone.version);
        let day = rfc3339_seconds(gone.time);
        let day = day.get(..10).unwrap_or_default();
        let _ = writeln!(text, "gone  {usage} {id}:{version}  {}  {day}", kcvs(&[gone.kcv]));
    }
    text
}

/// What was taken over of an earlier store, and what becomes of that one.
fn taken_over(taken: &TakenOver, side: StoreSide) -> String {
    let names = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let files: Vec<_> = taken.files.iter().map(|file| file.display().to_string()).collect();
    let why = match side {
        StoreSide::Bureau => {
            "both would sign with one audit key, and the key of a job that is deleted later would still be in the old one"
        }
        StoreSide::Issuer => "serial numbers of certificates would be used twice",
    };
    format!(
        "taken over: {}; not there: {} (moved elsewhere? then remove the new store, put them beside the old one, and try again)\n\
         now remove: {}\n\
         Never use both stores: {why}. The new one has nothing that a line wrote to the old one meanwhile\n",
        names(&taken.companions),
        names(&taken.missing),
        files.join(", ")
    )
}

/// `AES-GP A801BE  AES-CMAC 08793E`
fn kcvs(kcvs: &[(KcvMethod, Kcv)]) -> String {
    let each: Vec<_> = kcvs.iter().map(|(method, kcv)| format!("{method} {kcv}")).collect();
    each.join("  ")
}

/// `component 3 of 3 is missing`
fn missing(key: &PendingKey) -> String {
    let (next, wanted) = (key.next(), key.wanted());
    match wanted.saturating_sub(next) {
        0 => format!("component {next} of {wanted} is missing"),
        _ => format!("components {next} and {wanted} of {wanted} are missing"),
    }
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

fn check(store: &KeyStore) -> String {
    let realm = match store.realm() {
        Realm::Test => "TEST",
        Realm::Live => "LIVE",
    };
    format!("{} keys, {} store, {realm}: every rule holds\n", store.entries().len(), store.side())
}
