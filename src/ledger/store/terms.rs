//! What the event says by which a file became a job: all that must not change about the job, so that its row and its
//! records' names can be held against it.
//!
//! At its end stands the seal, hex, which events of earlier versions do not have:
//!
//! ```text
//! SHA-256("CWJ1" | ledger (16) | L4 detail before the seal | simulated u8 | L4 spool | accepted u64 | records u32
//!         | { L4 card_ref }*)
//! ```
//!
//! Integers are big-endian, `L4 x` is a length of four bytes and then x in UTF-8, simulated is 00 or 01, accepted as in the
//! job's row, card_refs in the order of their sequences.

use rusqlite::{Connection, OptionalExtension, Row};
use sha2::{Digest, Sha256};

use crate::audit::LedgerId;
use crate::ids::{KekId, SpoolKeyName};
use crate::ledger::book::Record;
use crate::ledger::error::LedgerError;
use crate::ledger::types::JobId;

/// What stands before the seal.
const SEAL: &str = ", sealed ";

/// How far an event's detail tells what a job is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// All of it.
    Sealed,
    /// It has no seal: an earlier version wrote it.
    Bare,
    /// Something else.
    Otherwise,
}

/// See the module.
pub(super) struct Terms {
    issuer: String,
    file: String,
    product: String,
    records: u64,
    line: String,
    kek: KekId,
    digest: [u8; 32],
    spool_key: Option<SpoolKeyName>,
    rejects_shredded: bool,
    test_keys: bool,
    simulated: bool,
    spool: String,
    accepted: u64,
}

impl Terms {
    /// As they stand in the job's row.
    pub(super) fn read(connection: &Connection, job: JobId) -> Result<Option<Self>, LedgerError> {
        let mut query = connection.prepare_cached(
            "SELECT issuer_id, file_id, product, records, line, kek, digest, spool_key, rejects_shredded, test_keys, \
             simulated, spool, accepted FROM job WHERE id = ?1",
        )?;
        Ok(query.query_row([job.0], Self::row).optional()?)
    }

    fn row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            issuer: row.get(0)?,
            file: row.get(1)?,
            product: row.get(2)?,
            records: super::row::number(row, 3)?,
            line: row.get(4)?,
            kek: KekId(row.get(5)?),
            digest: row.get(6)?,
            spool_key: row.get::<_, Option<[u8; 16]>>(7)?.map(SpoolKeyName),
            rejects_shredded: super::row::flag(row, 8)?,
            test_keys: super::row::flag(row, 9)?,
            simulated: super::row::flag(row, 10)?,
            spool: row.get(11)?,
            accepted: super::row::number(row, 12)?,
        })
    }

    /// The event's detail.
    pub(super) fn sealed(&self, ledger: LedgerId, records: &[Record]) -> String {
        format!("{}{SEAL}{}", self.text(), self.seal(ledger, records))
    }

    fn seal(&self, ledger: LedgerId, records: &[Record]) -> String {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        let mut sha = Sha256::new().chain_update("CWJ1").chain_update(ledger.0);
        let text = |sha: &mut Sha256, text: &str| {
            sha.update(count(text.len()));
            sha.update(text);
        };
        text(&mut sha, &self.text());
        sha.update([u8::from(self.simulated)]);
        text(&mut sha, &self.spool);
        sha.update(self.accepted.to_be_bytes());
        sha.update(count(records.len()));
        records.iter().for_each(|record| text(&mut sha, &record.card_ref));
        hex::encode_upper(sha.finalize())
    }

    /// Without the seal.
    fn text(&self) -> String {
        let key = self.spool_key.map(|key| format!(", spool key {key}")).unwrap_or_default();
        let rejects = if self.rejects_shredded { "shredded" } else { "binned" };
        let keys = if self.test_keys { "TEST" } else { "LIVE" };
        format!("{}{key}, rejects {rejects}, {keys} keys", self.old_text())
    }

    /// The same before schema 4, when no spool was sealed.
    fn old_text(&self) -> String {
        format!(
            "issuer {}, file {}, product {}, {} records, line {}, KEK {}, SHA-256 {}",
            self.issuer,
            self.file,
            self.product,
            self.records,
            self.line,
            self.kek,
            hex::encode_upper(self.digest)
        )
    }

    /// Whether an event's detail tells these, of records of these names.
    pub(super) fn told(&self, detail: &str, ledger: LedgerId, records: &[Record]) -> Told {
        let text = self.text();
        if let Some(seal) = detail.strip_prefix(&text).and_then(|rest| rest.strip_prefix(SEAL)) {
            return if seal == self.seal(ledger, records) { Told::Sealed } else { Told::Otherwise };
        }
        let bare = detail == text || self.spool_key.is_none() && detail == self.old_text();
        if bare { Told::Bare } else { Told::Otherwise }
    }
}
