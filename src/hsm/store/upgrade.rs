//! Stores of version 1: a file with a key list, and the HSM's own files beside it. Their only use is to become a folder.
//!
//! ```text
//! S              "cardwright key store 1 TEST bureau"; SHA-256 in hex of this line (without its end) and all below the
//!                digest; the key list
//! S-audit S-spools S-recipient S-rsa      the text of the companion, with " TEST" behind its first line; SHA-256 in hex of it
//! ```
//!
//! Not here: stores of this version (`folder`), the texts (`companion`).

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::entry::StoreSide;
use super::folder::{self, refuse};
use super::lines;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::companion::CompanionKind;
use crate::sibling_path::sibling_path;

/// The beginning of the first line.
const MAGIC: &str = "cardwright key store ";
/// Most bytes of a store.
const MAX_STORE: u64 = 1 << 20;

/// A store of version 1.
pub(super) struct EarlierStore {
    pub(super) side: StoreSide,
    /// The key list.
    pub(super) list: Zeroizing<String>,
    /// The texts of the files beside it.
    pub(super) companions: Vec<(CompanionKind, Zeroizing<String>)>,
    /// The store and every file beside it, locks too.
    files: Vec<PathBuf>,
}

/// What was taken over of a store of version 1.
#[derive(Debug)]
pub struct TakenOver {
    /// The files beside it, by the end of their names.
    pub companions: Vec<&'static str>,
    /// The files that such a store may have, and this one had not.
    pub missing: Vec<&'static str>,
    /// All that is to be removed now.
    pub files: Vec<PathBuf>,
}

impl EarlierStore {
    /// What is taken over of it.
    pub(super) fn taken_over(&self) -> TakenOver {
        let has = |kind: &CompanionKind| self.companions.iter().any(|(taken, _)| taken == kind);
        let others = match self.side {
            StoreSide::Bureau => CompanionKind::Rsa,
            StoreSide::Issuer => CompanionKind::Audit,
        };
        let missing = CompanionKind::ALL
            .into_iter()
            .filter(|kind| !has(kind) && ![others, CompanionKind::Token].contains(kind));
        TakenOver {
            companions: self.companions.iter().map(|(kind, _)| kind.name()).collect(),
            missing: missing.map(CompanionKind::name).collect(),
            files: self.files.clone(),
        }
    }
}

impl TakenOver {
    /// The note of the act.
    pub(super) fn note(&self) -> String {
        let names = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("with {}; not there: {}", names(&self.companions), names(&self.missing))
    }
}

/// What a file is that stands where the folder of a store must.
pub(super) fn instead_of_folder(path: &Path) -> String {
    match files::read_private(path, MAX_STORE) {
        Ok(Some(bytes)) if bytes.starts_with(MAGIC.as_bytes()) => {
            "it is of an earlier version: take its keys over into a new store with `key upgrade`".into()
        }
        Ok(_) => "it is no folder, so it is no key store".into(),
        Err(error) => format!("it is no folder: {}", files::trouble(&error)),
    }
}

/// Reads a store of version 1 and the files beside it.
pub(super) fn read(path: &Path) -> Result<EarlierStore, Failure> {
    if path.is_dir() {
        return Err(refuse(path, "it is a folder: a store of this version already"));
    }
    // While they are held, a line that still runs changes no file between two that are read.
    let _locks = locks(path)?;
    let text = text_of(path, MAX_STORE)?.ok_or_else(|| {
        Failure::new(Exit::Io, format!("key store {}: there is no such file: check the path", path.display()))
    })?;
    let (side, list) = check(&text).map_err(|what| refuse(path, what))?;
    let list = Zeroizing::new(list.to_owned());
    let mut companions = Vec::new();
    let mut files = vec![path.to_owned()];
    for kind in CompanionKind::ALL {
        let beside = beside(path, kind);
        let lock = sibling_path(&beside, "-lock");
        files.extend([&beside, &lock].into_iter().filter(|file| file.symlink_metadata().is_ok()).cloned());
        if let Some(text) = text_of(&beside, kind.most())? {
            let text = lines::covered(&text).and_then(companion_text).ok_or_else(|| {
                refuse(&beside, "it is damaged; restore it from a backup of the same day as the ledger's")
            })?;
            companions.push((kind, text));
        }
    }
    if side == StoreSide::Bureau && !companions.iter().any(|(kind, _)| *kind == CompanionKind::Audit) {
        let what =
            "its audit book, the file with -audit behind its name, is missing: restore it from a backup";
        return Err(refuse(path, what));
    }
    Ok(EarlierStore { side, list, companions, files })
}

/// The text of a companion of this version.
fn companion_text(text: &str) -> Option<Zeroizing<String>> {
    let (first, rest) = text.split_once('\n')?;
    let mut of_today = Zeroizing::new(String::with_capacity(text.len()));
    for part in [first.strip_suffix(" TEST")?, "\n", rest] {
        of_today.push_str(part);
    }
    Some(of_today)
}

fn beside(path: &Path, kind: CompanionKind) -> PathBuf {
    sibling_path(path, &format!("-{}", kind.name()))
}

/// Locks the files beside a store against its programs. A program makes the lock before it changes the file.
fn locks(path: &Path) -> Result<Vec<Flock<File>>, Failure> {
    let mut held = Vec::new();
    for kind in CompanionKind::ALL {
        let lock = sibling_path(&beside(path, kind), "-lock");
        if lock.symlink_metadata().is_ok() {
            let file = files::open_private(&lock).map_err(|e| trouble(&lock, &e))?;
            held.push(
                Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| trouble(&lock, &e.into()))?,
            );
        }
    }
    Ok(held)
}

/// The failure for a file that the system does not give, or that is refused.
fn trouble(path: &Path, error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(_) => folder::io(path, "cannot be read", error),
        None => refuse(path, &error.to_string()),
    }
}

fn text_of(path: &Path, most: u64) -> Result<Option<Zeroizing<String>>, Failure> {
    let bytes = files::read_private(path, most).map_err(|e| trouble(path, &e))?;
    let Some(mut bytes) = bytes else { return Ok(None) };
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(refuse(path, "it is no text of a key store"))
        }
    }
}

/// The side, and the key list.
fn check(text: &str) -> Result<(StoreSide, &str), &'static str> {
    const DAMAGED: &str = "it is damaged (wrong digest): restore it from a backup";
    let (first, rest) = text.split_once('\n').ok_or("it is no key store")?;
    let side = match first.strip_prefix(MAGIC).ok_or("it is no key store")? {
        "1 TEST bureau" => StoreSide::Bureau,
        "1 TEST issuer" => StoreSide::Issuer,
        _ => return Err("it is no TEST store of version 1"),
    };
    let (stated, list) = rest.split_once('\n').ok_or(DAMAGED)?;
    let digest = Sha256::new().chain_update(first).chain_update(list).finalize();
    if stated == hex::encode(digest) { Ok((side, list)) } else { Err(DAMAGED) }
}
