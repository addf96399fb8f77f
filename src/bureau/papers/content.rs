//! Writes the text and the seal of each paper of a closed job into open files.
//!
//! Not here: the places of these files (`folder`), the content of a close-out (`report::closeout`).

use std::fs::File;
use std::io::{BufWriter, Write};

use sha2::{Digest, Sha256};

use crate::audit::{LedgerId, PublicKey};
use crate::bureau::refusal::Refusal;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::client::HsmClient;
use crate::hsm::{Auditor, DocumentRequest};
use crate::ids::JobId;
use crate::ledger::Reader;
use crate::modules::crosscheck::fulfilment_without_name;
use crate::modules::sections::FulfilmentSection;
use crate::record::Spool;
use crate::report::closeout::{CloseOut, write_return};
use crate::report::seal::StoredSeal;
use crate::request::PaperName;

/// Writes the text of a paper.
pub type Text<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<(), Refusal>;

/// Has the papers of a job sealed.
pub struct PaperSigner<'a> {
    /// A connection to the HSM.
    pub hsm: &'a mut HsmClient,
    /// The ledger that the papers are about.
    pub ledger: LedgerId,
    /// The job that the papers are about.
    pub job: JobId,
    /// The HSM's audit key.
    pub key: PublicKey,
}

impl<'a> PaperSigner<'a> {
    /// A signer for the papers of a job.
    pub fn new(hsm: &'a mut HsmClient, ledger: LedgerId, job: JobId) -> Result<Self, Refusal> {
        let key = hsm.audit(ledger)?.key;
        Ok(Self { hsm, ledger, job, key })
    }

    /// Writes a paper's text and its seal. Both are durable when this returns. `shown` names the paper in
    /// messages.
    pub fn write(
        &mut self,
        name: PaperName,
        text: Text<'_>,
        shown: &str,
        (paper, mut seal): (&File, &File),
    ) -> Result<(), Refusal> {
        let failed =
            |e: std::io::Error| Refusal::fault(Exit::Io, format!("papers: {shown}: {}", files::trouble(&e)));
        let mut hashing = HashingWriter { file: BufWriter::new(paper), hash: Sha256::new(), shown };
        text(&mut hashing)?;
        hashing.flush().map_err(|e| Refusal::fault(Exit::Io, format!("papers: {e}")))?;
        paper.sync_all().map_err(failed)?;
        let text: [u8; 32] = hashing.hash.finalize().into();
        let request = DocumentRequest { kind: name.kind(), ledger: self.ledger, job: self.job, text };
        let sealed = self.hsm.seal_document(&request)?;
        let sealed = serde_json::to_string_pretty(&StoredSeal::from(&sealed))
            .map_err(|e| Failure::new(Exit::Bug, e.to_string()))?;
        seal.write_all(sealed.as_bytes()).and_then(|()| seal.sync_all()).map_err(failed)
    }
}

/// Calls `keep` with the text of each of a job's papers. Without a spool the return file has no fulfilment
/// data, and says so.
pub fn each_paper(
    reader: &Reader,
    close_out: &CloseOut,
    ledger: LedgerId,
    spool: &mut Option<Spool>,
    mut keep: impl FnMut(PaperName, Text<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let io = |e: std::io::Error| Failure::new(Exit::Io, format!("papers: {e}"));
    keep(PaperName::ReportJson, &mut |out| {
        let written = serde_json::to_writer_pretty(out, close_out).map_err(std::io::Error::from);
        Ok(written.map_err(io)?)
    })?;
    keep(PaperName::ReportHtml, &mut |out| Ok(out.write_all(close_out.html().as_bytes()).map_err(io)?))?;
    keep(PaperName::ReturnFile, &mut |out| {
        let of_record = |seq| {
            let Some(spool) = &mut *spool else { return Ok(FulfilmentSection::default()) };
            Ok(fulfilment_without_name(&spool.read(seq)?))
        };
        Ok(write_return(reader, close_out, ledger, of_record, out)?)
    })
}

/// Hashes the bytes that it writes to a file. Its errors name the file.
struct HashingWriter<'a> {
    file: BufWriter<&'a File>,
    hash: Sha256,
    shown: &'a str,
}

impl HashingWriter<'_> {
    fn named(&self, error: &std::io::Error) -> std::io::Error {
        std::io::Error::new(error.kind(), format!("{}: {error}", self.shown))
    }
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes).map_err(|e| self.named(&e))?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush().map_err(|e| self.named(&e))
    }
}
