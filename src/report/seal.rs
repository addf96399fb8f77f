//! The seal of a paper, which lies next to it as `<paper>.sig`. It shows whether the paper is unchanged since
//! it was signed; the paper itself names its subject. The bureau, its auditor and the issuer check a paper here.
//!
//! Not here: making the signature (`bureau::papers`).

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use hex::FromHex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::closeout::title;
use crate::audit::{DocumentKind, LedgerId, PublicKey, Signature, is_genuine};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::ids::JobId;
use crate::sibling_path::sibling_path;

/// Bytes at the beginning of a paper that name its job.
const HEAD: u64 = 4096;

/// The content of a seal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    document: DocumentKind,
    ledger: String,
    sha256: String,
    audit_key: String,
    signature: String,
}

impl Seal {
    /// Makes the seal of a paper with this digest.
    pub fn new(
        document: DocumentKind,
        ledger: LedgerId,
        digest: [u8; 32],
        key: PublicKey,
        signature: Signature,
    ) -> Self {
        Self {
            document,
            ledger: ledger.to_string(),
            sha256: hex::encode_upper(digest),
            audit_key: key.to_string(),
            signature: hex::encode_upper(signature.to_bytes()),
        }
    }
}

/// The path of a paper's seal.
pub fn sealed(paper: &Path) -> PathBuf {
    sibling_path(paper, ".sig")
}

/// A paper that fits its seal.
pub struct Genuine {
    /// Its kind.
    pub document: DocumentKind,
    /// The ledger that it is about.
    pub ledger: LedgerId,
    /// Key that signed it.
    pub key: PublicKey,
}

/// Checks that a paper fits its seal, by any key.
fn genuine(paper: &Path) -> Result<Genuine, Failure> {
    let digest = digest(paper).map_err(|e| io(paper, &e))?;
    genuine_digest(paper, &digest)
}

fn io(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {}", path.display(), files::trouble(error)))
}

/// Checks that a paper with this digest fits the seal that lies next to its path.
fn genuine_digest(paper: &Path, digest: &[u8; 32]) -> Result<Genuine, Failure> {
    let fail = |what: &dyn std::fmt::Display| {
        Failure::new(Exit::AuditFailed, format!("{}: {what}", paper.display()))
    };
    let beside = sealed(paper);
    let seal = std::fs::read(&beside).map_err(|e| {
        let what = format!(
            "its seal {}: {}; the seal must lie next to the document",
            beside.display(),
            files::trouble(&e)
        );
        Failure::new(Exit::Io, format!("{}: {what}", paper.display()))
    })?;
    let seal: Seal = serde_json::from_slice(&seal).map_err(|e| fail(&format!("its seal: {e}")))?;
    let unreadable = |_: hex::FromHexError| fail(&"its seal does not read");
    let ledger = LedgerId(<_>::from_hex(&seal.ledger).map_err(unreadable)?);
    let key = PublicKey(<_>::from_hex(&seal.audit_key).map_err(unreadable)?);
    let signature = Signature::from_bytes(<_>::from_hex(&seal.signature).map_err(unreadable)?);
    if <[u8; 32]>::from_hex(&seal.sha256) != Ok(*digest)
        || !is_genuine(seal.document, ledger, digest, key, signature)
    {
        return Err(fail(&"it is not what was signed"));
    }
    Ok(Genuine { document: seal.document, ledger, key })
}

/// Checks that a paper fits its seal, and that `key` has signed it if one is named.
pub fn check(paper: &Path, key: Option<PublicKey>) -> Result<Genuine, Failure> {
    by(key, paper, genuine(paper)?)
}

/// Checks as [`check`] does a paper that the caller has read, and that has this digest.
pub fn check_digest(paper: &Path, digest: &[u8; 32], key: Option<PublicKey>) -> Result<Genuine, Failure> {
    by(key, paper, genuine_digest(paper, digest)?)
}

fn by(key: Option<PublicKey>, paper: &Path, found: Genuine) -> Result<Genuine, Failure> {
    if key.is_some_and(|key| key != found.key) {
        let what = format!("{}: it was signed by another audit key, {}", paper.display(), found.key);
        return Err(Failure::new(Exit::AuditFailed, what));
    }
    Ok(found)
}

fn digest(paper: &Path) -> std::io::Result<[u8; 32]> {
    let (mut file, mut hash) = (BufReader::new(File::open(paper)?), Sha256::new());
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hash.finalize().into());
        }
        hash.update(bytes);
        let read = bytes.len();
        file.consume(read);
    }
}

/// The job, the ledger and the key to which a paper must belong.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The job.
    pub job: JobId,
    /// The ledger, if it is known.
    pub ledger: Option<LedgerId>,
    /// The key that signed it, if it is known.
    pub key: Option<PublicKey>,
}

/// A paper's JSON about itself, at its beginning: a report has the whole view of its job, the others only the
/// number.
#[derive(Deserialize)]
struct Says {
    job: serde_json::Value,
    fulfilment_data: Option<String>,
}

/// A paper that is genuine and belongs to the expected job.
pub struct Ours {
    /// The state of the fulfilment data by a return file or report; `None` for files from before there was
    /// such a field.
    pub fulfilment_data: Option<String>,
}

/// The paper at this place; `None` if no file is there. The error names another file that is there instead.
pub fn look(paper: &Path, kind: DocumentKind, whose: Whose) -> Result<Option<Ours>, Failure> {
    let wrong = |what: &dyn std::fmt::Display| {
        let what = format!(
            "operator: {} lies where a paper of {} is to be, and is none: {what}; move it away with its .sig, or name \
             another directory by --out",
            paper.display(),
            whose.job
        );
        Failure::new(Exit::Io, what)
    };
    match std::fs::symlink_metadata(paper) {
        Ok(about) if about.is_file() => {}
        Ok(_) => return Err(wrong(&"it is no file")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error)),
    }
    let is = genuine(paper).map_err(|failure| wrong(&failure))?;
    if is.document != kind {
        return Err(wrong(&"it was signed as a paper of another kind"));
    }
    if let Some(ledger) = whose.ledger.filter(|ledger| *ledger != is.ledger) {
        return Err(wrong(&format!("it is of the ledger {}, and this one is {ledger}", is.ledger)));
    }
    if let Some(key) = whose.key.filter(|key| *key != is.key) {
        return Err(wrong(&format!(
            "it was signed by the audit key {}, and the key store's is {key}",
            is.key
        )));
    }
    let (job, fulfilment_data) = says(paper, whose.job).map_err(|what| wrong(&what))?;
    if job != whose.job.to_string() {
        return Err(wrong(&format!("it is of {job}")));
    }
    Ok(Some(Ours { fulfilment_data }))
}

/// The number of the job that a paper names, and its state of the fulfilment data.
fn says(paper: &Path, job: JobId) -> Result<(String, Option<String>), String> {
    let file = File::open(paper).map_err(|e| e.to_string())?;
    if paper.extension().is_some_and(|e| e == "html") {
        let mut head = Vec::new();
        file.take(HEAD).read_to_end(&mut head).map_err(|e| e.to_string())?;
        let named = String::from_utf8_lossy(&head).contains(&title(job));
        return Ok((if named { job.to_string() } else { "another job".to_owned() }, None));
    }
    let mut texts = serde_json::Deserializer::from_reader(BufReader::new(file)).into_iter::<Says>();
    let says =
        texts.next().ok_or("it is empty")?.map_err(|e| format!("it does not say of which job: {e}"))?;
    let of = says.job.as_str().or_else(|| says.job.get("job")?.as_str());
    Ok((of.unwrap_or("no job").to_owned(), says.fulfilment_data))
}
