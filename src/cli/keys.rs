//! `key init`, `key list`, `key recipient`, `key check`: the key store, for `cardwright` (a bureau's) and `cardwright-prep`
//! (an issuer's). Never prints a key's value.

use std::io::Write;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::common::store_path;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::FileReceiver;
use crate::hsm::key_host::KeyHost;
use crate::hsm::store::{KeyStore, StoreSide};
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
    /// List the keys: label, usage, type, id:version, KCV.
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
    /// Check a store: owner, mode, digest, every rule of its keys; next to it the recipient's key, and a bureau's audit book.
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
        KeyCommand::List { store } => list(&KeyStore::open(store)?, out),
        KeyCommand::Recipient { store } => {
            let recipient = KeyHost::open(store)?.hsm.recipient()?;
            writeln!(out, "{recipient}")
        }
        KeyCommand::Check { store } => {
            let store = KeyStore::open(store)?;
            store.check_beside()?;
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
            "{:<20}  {:<7}  {:<6}  {:<16}  {}  TEST{}{}",
            key.label(),
            key.usage().to_string(),
            key.key_type().to_string(),
            format!("{}:{}", key.id(), key.version()),
            key.kcv(),
            if key.odd_parity() { "" } else { "  parity is not odd (DES ignores it)" },
            key.doubt().map(|doubt| format!("  warning: {doubt}")).unwrap_or_default(),
        )?;
    }
    Ok(())
}

fn check(store: &KeyStore, side: StoreSide, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{} keys, {} store, TEST: every rule holds", store.entries().len(), store.side())?;
    if store.side() != side {
        writeln!(out, "note: this is the {side}'s program, the store is the {}'s", store.side())?;
    }
    Ok(())
}
