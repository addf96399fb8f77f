//! The file of a TEST store: a line with format and side, a line with a digest, then the key list as given.
//!
//! ```text
//! cardwright key store 1 TEST bureau
//! SHA-256 in hex of the line above (without its end) and everything below the digest's line
//! [[key]] ...
//! ```
//!
//! The digest finds damage, not tampering: nothing secret depends on a TEST store. The file belongs to the user who
//! opens it and no other user may read it, so that habits learnt with TEST keys suit LIVE keys.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::entry::StoreSide;
use crate::exit::{Exit, Failure};
use crate::files;

/// The beginning of the first line.
const MAGIC: &str = "cardwright key store ";
/// The one format so far. A reader refuses any other.
const VERSION: &str = "1";
/// Most bytes of a store: some thousand keys.
const MAX_STORE: u64 = 1 << 20;

fn first_line(side: StoreSide) -> String {
    format!("{MAGIC}{VERSION} TEST {side}")
}

fn digest(first: &str, list: &str) -> String {
    hex::encode(Sha256::new().chain_update(first).chain_update(list).finalize())
}

fn io(path: &Path, what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("key store {}: {what}: {}", path.display(), files::trouble(error)))
}

fn refuse(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::KeyStore, format!("key store {}: {what}", path.display()))
}

/// Writes a new store, mode 0600, to disk.
pub(super) fn create(path: &Path, side: StoreSide, list: &str) -> Result<(), Failure> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(refuse(
                path,
                "exists already and is not replaced; name another, or remove it yourself",
            ));
        }
        Err(error) => return Err(io(path, "cannot be created", &error)),
    };
    let first = first_line(side);
    let head = format!("{first}\n{}\n", digest(&first, list));
    let written = file
        .write_all(head.as_bytes())
        .and_then(|()| file.write_all(list.as_bytes()))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a store is of no use; a failure to remove it changes nothing, the digest refuses it.
        let _ = std::fs::remove_file(path);
        return Err(io(path, "cannot be written", &error));
    }
    Ok(())
}

/// Refuses a folder in which another user could replace the store or remove the HSM's own files. A missing folder is
/// reported when the store is opened.
pub(super) fn check_folder(path: &Path) -> Result<(), Failure> {
    match files::check_folder_of(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(refuse(path, &error.to_string())),
        _ => Ok(()),
    }
}

/// Reads a store; returns its side and key list.
pub(super) fn read(path: &Path) -> Result<(StoreSide, Zeroizing<String>), Failure> {
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(Failure::new(
            Exit::KeyStore,
            format!("key store {}: is no regular file", path.display()),
        ));
    }
    check_folder(path)?;
    let file = File::open(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            let what = format!("key store {}: there is no such file; `key init` makes one", path.display());
            Failure::new(Exit::Io, what)
        }
        _ => io(path, "cannot be opened", &e),
    })?;
    let meta = file.metadata().map_err(|e| io(path, "cannot be read", &e))?;
    if !meta.is_file() {
        return Err(refuse(path, "is not a file"));
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(refuse(path, "belongs to another user"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(refuse(path, "is open to group or others; make it mode 0600 (chmod 600)"));
    }
    if meta.len() > MAX_STORE {
        return Err(refuse(path, "is too large for a key store"));
    }
    let mut text = files::whole_text(file, meta.len()).map_err(|e| match e.kind() {
        ErrorKind::InvalidData => refuse(path, "is no key store"),
        _ => io(path, "cannot be read", &e),
    })?;
    let (side, start) = check(&text).map_err(|what| refuse(path, what))?;
    text.drain(..start);
    Ok((side, text))
}

/// The side, and the offset of the key list.
fn check(text: &str) -> Result<(StoreSide, usize), &'static str> {
    const DAMAGED: &str = "is damaged (wrong digest); make it again from the key list";
    let (first, rest) = text.split_once('\n').ok_or("is no key store")?;
    let words: Vec<&str> = first.strip_prefix(MAGIC).ok_or("is no key store")?.split(' ').collect();
    let [version, realm, side] = words.as_slice() else { return Err("is no key store") };
    if *version != VERSION {
        return Err("has a version that this program does not read");
    }
    match *realm {
        "TEST" => {}
        "LIVE" => {
            return Err(
                "is LIVE: this version opens TEST stores only, because LIVE keys need custody (components, two people)",
            );
        }
        _ => return Err("is neither TEST nor LIVE"),
    }
    let side = match *side {
        "bureau" => StoreSide::Bureau,
        "issuer" => StoreSide::Issuer,
        _ => return Err("belongs to neither bureau nor issuer"),
    };
    let (stated, list) = rest.split_once('\n').ok_or(DAMAGED)?;
    if stated != digest(first, list) {
        return Err(DAMAGED);
    }
    Ok((side, text.len() - list.len()))
}
