//! `cardwright job papers J`: the signed papers of a closed job; `cardwright audit document`: whether a paper is genuine.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hex::FromHex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::shop::spool_of;
use crate::audit::{Document, LedgerId, PublicKey, Signature, is_genuine};
use crate::exit::{Exit, Failure};
use crate::hsm::Auditor;
use crate::ledger::{JobId, Reader};
use crate::modules::sections::fulfilment;
use crate::report::closeout::{CloseOut, write_return};

/// What lies beside a paper, as `<paper>.sig`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    document: Document,
    ledger: String,
    sha256: String,
    audit_key: String,
    signature: String,
}

/// Writes the papers of a job into a directory, each with its signature beside it; all of them or none.
pub(super) fn write(
    ledger: &Path,
    job: JobId,
    keys: &Path,
    directory: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut made = Vec::new();
    written(ledger, job, keys, directory, out, &mut made).inspect_err(|_| {
        for paper in &made {
            // One that stays is refused the next time, with its name.
            let _ = std::fs::remove_file(paper);
        }
    })
}

fn written(
    ledger: &Path,
    job: JobId,
    keys: &Path,
    directory: &Path,
    out: &mut dyn Write,
    made: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let reader = Reader::open(ledger)?;
    let close_out = CloseOut::build(&reader, job)?;
    let view = &close_out.summary.job;
    let mut spool = spool_of(view)?;
    let mut keys = super::Keys::open(keys)?;
    let hsm = &mut keys.hsm;
    let failed = |path: &Path, e: std::io::Error| Failure::new(Exit::Io, format!("{}: {e}", path.display()));
    std::fs::create_dir_all(directory).map_err(|e| failed(directory, e))?;
    let id = reader.id()?;
    let mut paper = |name: &str, kind, write: &mut dyn FnMut(&mut dyn Write) -> Result<(), Failure>| {
        let path = directory.join(format!("{job}-{name}"));
        let mut file = Hashed { file: BufWriter::new(create(&path)?), hash: Sha256::new() };
        made.push(path.clone());
        write(&mut file)?;
        file.flush().and_then(|()| file.file.get_ref().sync_all()).map_err(|e| failed(&path, e))?;
        let digest: [u8; 32] = file.hash.finalize().into();
        let (signature, key) = (hsm.sign(kind, id, digest)?, hsm.audit(id)?.key);
        let seal = Seal {
            document: kind,
            ledger: id.to_string(),
            sha256: hex::encode_upper(digest),
            audit_key: key.to_string(),
            signature: hex::encode_upper(signature.to_bytes()),
        };
        let beside = sealed(&path);
        let text = serde_json::to_string_pretty(&seal).map_err(|e| Failure::new(Exit::Bug, e.to_string()))?;
        let mut seal = create(&beside)?;
        made.push(beside.clone());
        seal.write_all(text.as_bytes()).and_then(|()| seal.sync_all()).map_err(|e| failed(&beside, e))?;
        writeln!(out, "{}", path.display()).map_err(|e| failed(&path, e))
    };
    let io = |e: std::io::Error| Failure::new(Exit::Io, format!("papers: {e}"));
    paper("report.json", Document::Report, &mut |out| {
        serde_json::to_writer_pretty(&mut *out, &close_out).map_err(std::io::Error::from).map_err(io)
    })?;
    paper("report.html", Document::Report, &mut |out| {
        out.write_all(close_out.html().as_bytes()).map_err(io)
    })?;
    paper("return.jsonl", Document::ReturnFile, &mut |out| {
        let of_record = |seq| {
            let record = spool.read(seq)?;
            // It was right when it was accepted.
            Ok(record.section("FUL").and_then(|data| fulfilment(data).ok()).unwrap_or_default())
        };
        write_return(&reader, &close_out, id, of_record, out)
    })
}

/// Whether a paper is what was signed, by this key if one is named.
pub(super) fn check(paper: &Path, key: Option<PublicKey>, out: &mut dyn Write) -> Result<Exit, Failure> {
    let fail = |what: &dyn std::fmt::Display| {
        Failure::new(Exit::AuditFailed, format!("{}: {what}", paper.display()))
    };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| Failure::new(Exit::Io, format!("{}: {e}", path.display())))
    };
    let seal: Seal =
        serde_json::from_slice(&read(&sealed(paper))?).map_err(|e| fail(&format!("its seal: {e}")))?;
    let digest: [u8; 32] = Sha256::digest(read(paper)?).into();
    let unreadable = |_: hex::FromHexError| fail(&"its seal does not read");
    let ledger = LedgerId(<_>::from_hex(&seal.ledger).map_err(unreadable)?);
    let signed_by = PublicKey(<_>::from_hex(&seal.audit_key).map_err(unreadable)?);
    let signature = Signature::from_bytes(<_>::from_hex(&seal.signature).map_err(unreadable)?);
    if key.is_some_and(|key| key != signed_by) {
        return Err(fail(&format!("it was signed by another audit key, {signed_by}")));
    }
    if <[u8; 32]>::from_hex(&seal.sha256) != Ok(digest)
        || !is_genuine(seal.document, ledger, &digest, signed_by, signature)
    {
        return Err(fail(&"it is not what was signed"));
    }
    let whose = if key.is_some() { "" } else { "; compare this key with the bureau's" };
    writeln!(out, "{}: genuine, audit key {signed_by}{whose}", paper.display()).map_err(|e| fail(&e))?;
    Ok(Exit::Ok)
}

fn sealed(paper: &Path) -> PathBuf {
    let mut name = paper.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn create(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::Io, format!("{}: exists already; name another directory", path.display()))
        }
        _ => Failure::new(Exit::Io, format!("{}: {e}", path.display())),
    })
}

/// Hashes what goes into a file.
struct Hashed {
    file: BufWriter<File>,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
