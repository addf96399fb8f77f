//! What the event says by which a file became a job: all that must not change about the job, so that its row can be held
//! against it.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::ids::{KekId, SpoolKeyName};
use crate::ledger::error::LedgerError;
use crate::ledger::types::{JobId, NewJob};

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
}

impl Terms {
    /// Of a new job.
    pub(super) fn of(new: &NewJob) -> Self {
        Self {
            issuer: new.issuer_id.to_string(),
            file: new.file_id.to_string(),
            product: new.product.to_string(),
            records: u64::try_from(new.cards.len()).unwrap_or(u64::MAX),
            line: new.line.clone(),
            kek: new.kek,
            digest: new.digest,
            spool_key: new.spool_key,
            rejects_shredded: new.rejects_shredded,
            test_keys: new.test_keys,
        }
    }

    /// As they stand in the job's row.
    pub(super) fn read(connection: &Connection, job: JobId) -> Result<Option<Self>, LedgerError> {
        let mut query = connection.prepare_cached(
            "SELECT issuer_id, file_id, product, records, line, kek, digest, spool_key, rejects_shredded, test_keys \
             FROM job WHERE id = ?1",
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
            rejects_shredded: row.get(8)?,
            test_keys: row.get(9)?,
        })
    }

    /// The event's detail.
    pub(super) fn text(&self) -> String {
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

    /// Whether an event's detail tells these.
    pub(super) fn are(&self, detail: &str) -> bool {
        detail == self.text() || self.spool_key.is_none() && detail == self.old_text()
    }
}
