//! The seal of a paper, which lies next to it as `<paper>.sig`. It shows whether the paper is unchanged since
//! it was signed, and what the HSM had counted then; the paper itself names its subject. The bureau, its auditor and the issuer check a paper here.
//!
//! Not here: making the signature (`bureau::papers`).

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use hex::FromHex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::closeout::title;
use super::compared;
use crate::audit::{
    ChainPlace, CountedJob, DocumentKind, DocumentSeal, LedgerId, PublicKey, SealedDocument, Signature,
    SpoolKeyState, is_genuine_first_form,
};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::ids::JobId;
use crate::laws::{rfc3339, unix_ms};
use crate::sibling_path::sibling_path;

/// Bytes at the beginning of a paper that name its job.
const HEAD: u64 = 4096;

/// The file of a seal, as `src/manual/return-file.md` specifies it: the fields of a [`DocumentSeal`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSeal {
    seal: String,
    document: DocumentKind,
    ledger: String,
    epoch: u32,
    event: u64,
    event_hash: String,
    job: JobId,
    time: String,
    spool_key: SpoolKeyState,
    counted: Option<CountedJob>,
    sha256: String,
    audit_key: String,
    signature: String,
}

/// Name of the form of a seal.
const FORM: &str = "CWAD2";

/// The file of a seal in its first form, which says nothing of the job.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstSeal {
    document: DocumentKind,
    ledger: String,
    sha256: String,
    audit_key: String,
    signature: String,
}

impl From<&DocumentSeal> for StoredSeal {
    fn from(seal: &DocumentSeal) -> Self {
        let hex = |bytes: &[u8]| hex::encode_upper(bytes);
        let SealedDocument { kind, head, epoch, job, time, spool_key, counted, text } = seal.document;
        Self {
            seal: FORM.to_owned(),
            document: kind,
            ledger: head.ledger.to_string(),
            epoch,
            event: head.n,
            event_hash: hex(&head.hash),
            job,
            time: rfc3339(time),
            spool_key,
            counted,
            sha256: hex(&text),
            audit_key: seal.key.to_string(),
            signature: hex(&seal.signature.to_bytes()),
        }
    }
}

impl StoredSeal {
    fn read(&self) -> Option<DocumentSeal> {
        let ledger = LedgerId(<_>::from_hex(&self.ledger).ok()?);
        let document = SealedDocument {
            kind: self.document,
            head: ChainPlace { ledger, n: self.event, hash: <_>::from_hex(&self.event_hash).ok()? },
            epoch: self.epoch,
            job: self.job,
            time: unix_ms(&self.time)?,
            spool_key: self.spool_key,
            counted: self.counted,
            text: <_>::from_hex(&self.sha256).ok()?,
        };
        let (key, signature) = key_and_signature(&self.audit_key, &self.signature)?;
        (self.seal == FORM).then_some(DocumentSeal { document, key, signature })
    }
}

fn key_and_signature(key: &str, signature: &str) -> Option<(PublicKey, Signature)> {
    let signature = Signature::from_bytes(<_>::from_hex(signature).ok()?);
    Some((PublicKey(<_>::from_hex(key).ok()?), signature))
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
    /// What the seal says; `None` in the first form, which signs the text alone.
    pub sealed: Option<SealedDocument>,
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
    let found = read(&seal, digest).ok_or_else(|| fail(&"its seal does not read"))?;
    found.ok_or_else(|| fail(&"it is not what was signed"))
}

/// Reads a seal in either form; an inner `None` if it does not belong to this digest.
fn read(seal: &[u8], digest: &[u8; 32]) -> Option<Option<Genuine>> {
    if let Ok(stored) = serde_json::from_slice::<StoredSeal>(seal) {
        let seal = stored.read()?;
        let SealedDocument { kind: document, head, text, .. } = seal.document;
        let fits = text == *digest && seal.is_genuine();
        let (ledger, sealed) = (head.ledger, Some(seal.document));
        return Some(fits.then_some(Genuine { document, ledger, key: seal.key, sealed }));
    }
    let first: FirstSeal = serde_json::from_slice(seal).ok()?;
    let ledger = LedgerId(<_>::from_hex(&first.ledger).ok()?);
    let (key, signature) = key_and_signature(&first.audit_key, &first.signature)?;
    let text = <[u8; 32]>::from_hex(&first.sha256).ok()?;
    let fits = text == *digest && is_genuine_first_form(first.document, ledger, digest, key, signature);
    Some(fits.then_some(Genuine { document: first.document, ledger, key, sealed: None }))
}

/// Checks that a paper fits its seal, that `key` has signed it if one is named, and that its text says what the HSM has counted. A
/// page in HTML is not read.
pub fn check(paper: &Path, key: Option<PublicKey>) -> Result<Genuine, Failure> {
    let found = by(key, paper, genuine(paper)?)?;
    match differences(paper, &found)?.first() {
        None => Ok(found),
        Some(first) => {
            let what = format!(
                "{}: it was signed, but it does not say what the HSM has counted: {first}; keep it with its .sig, and ask the \
                 bureau's auditor",
                paper.display()
            );
            Err(Failure::new(Exit::AuditFailed, what))
        }
    }
}

/// Where a paper says something else than the HSM has counted. Of a page, only the title is compared.
fn differences(paper: &Path, found: &Genuine) -> Result<Vec<String>, Failure> {
    let open = || File::open(paper).map(BufReader::new).map_err(|e| io(paper, &e));
    let Some(sealed) = &found.sealed else { return Ok(Vec::new()) };
    let name = || paper.display().to_string();
    Ok(match found.document {
        DocumentKind::Report if is_page(paper) => {
            let named = head(open()?).map_err(|e| io(paper, &e))?.contains(&title(sealed.job));
            let other = (!named).then(|| "it is a page of another job".to_owned());
            other.into_iter().collect()
        }
        DocumentKind::Report => compared::report(open()?, sealed),
        DocumentKind::ReturnFile => match compared::return_file(name(), open()?, sealed) {
            Err(Failure { exit: Exit::NotReconciled, message }) => vec![message],
            compared => compared?,
        },
        DocumentKind::Certificate => compared::certificate(open()?, sealed),
    })
}

/// Whether a paper is a page for people, whatever its name.
pub fn is_page(paper: &Path) -> bool {
    let begin = File::open(paper).and_then(head);
    begin.is_ok_and(|begin| begin.starts_with("<!doctype html>"))
}

/// The beginning of a paper.
fn head(file: impl Read) -> std::io::Result<String> {
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).into_owned())
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
    if let Some(sealed) = is.sealed.filter(|sealed| sealed.job != whose.job) {
        return Err(wrong(&format!("it is of {}, by its seal", sealed.job)));
    }
    if let Some(first) = differences(paper, &is)?.first() {
        return Err(wrong(first));
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
    if is_page(paper) {
        let named = head(file).map_err(|e| e.to_string())?.contains(&title(job));
        return Ok((if named { job.to_string() } else { "another job".to_owned() }, None));
    }
    let mut texts = serde_json::Deserializer::from_reader(BufReader::new(file)).into_iter::<Says>();
    let says =
        texts.next().ok_or("it is empty")?.map_err(|e| format!("it does not say of which job: {e}"))?;
    let of = says.job.as_str().or_else(|| says.job.get("job")?.as_str());
    Ok((of.unwrap_or("no job").to_owned(), says.fulfilment_data))
}
