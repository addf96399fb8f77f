//! The terms of a job, which must not change: its row compared with the event by which a file became the job.
//!
//! In chain version 2 the terms are fields of the event. In version 1, which is frozen, they stand in its detail. The
//! detail ends in a seal in hex, which the first events lacked:
//!
//! ```text
//! SHA-256("CWJ1" | ledger (16) | L4 detail before the seal | simulated u8 | L4 spool | accepted u64 | records u32
//!         | { L4 card_ref }*)
//! ```
//!
//! Integers are big-endian, `L4 x` is a length of four bytes and then x in UTF-8, simulated is 00 or 01, accepted as
//! in the job's row, card_refs in the order of their sequences.

use rusqlite::{Connection, OptionalExtension, Row};
use sha2::{Digest, Sha256};

use crate::audit::LedgerId;
use crate::ids::{CardNames, KekId, SpoolKeyName};
use crate::laws::CardsDigest;
use crate::laws::book::LAWS;
use crate::laws::event::{AcceptedTerms, EventFact, JobProfiles, LedgerEvent};
use crate::laws::types::JobId;
use crate::ledger::error::LedgerError;
use crate::ledger::new_job::NewJob;

/// The text before the seal.
const SEAL: &str = ", sealed ";

/// Whether an event proves the terms of a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TermsProof {
    /// Event and row agree.
    Whole,
    /// They agree, but the event has no seal: an earlier version wrote it.
    Unsealed,
    /// They differ.
    Differs,
}

/// The terms of a job, as its row has them.
#[derive(PartialEq, Eq)]
pub(super) struct TermsRow {
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

impl TermsRow {
    /// Reads the terms from a job's row; `None` if there is no such job.
    pub(super) fn read(connection: &Connection, job: JobId) -> Result<Option<Self>, LedgerError> {
        let mut query = connection.prepare_cached(
            "SELECT issuer_id, file_id, product, records, line, kek, digest, spool_key, rejects_shredded, test_keys, \
             simulated, spool, accepted FROM job WHERE id = ?1",
        )?;
        Ok(query.query_row([job.0], Self::row).optional()?)
    }

    /// The terms of a new job, whose row must have them.
    pub(super) fn of(new: &NewJob, records: usize, accepted: u64) -> Self {
        Self {
            issuer: new.issuer_id.to_string(),
            file: new.file_id.to_string(),
            product: new.product.to_string(),
            records: u64::try_from(records).unwrap_or(u64::MAX),
            line: new.line.clone(),
            kek: new.kek,
            digest: new.digest,
            spool_key: new.spool_key,
            rejects_shredded: new.rejects_shredded,
            test_keys: new.test_keys,
            simulated: new.simulated,
            spool: new.spool.clone(),
            accepted,
        }
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

    /// The fields of the event; the parameters add those that the row does not have.
    pub(super) fn accepted(
        &self,
        cards: &CardNames,
        profiles: JobProfiles,
        rejects_marked: bool,
    ) -> AcceptedTerms {
        AcceptedTerms {
            issuer: self.issuer.clone(),
            file_id: self.file.clone(),
            product: self.product.clone(),
            records: u32::try_from(self.records).unwrap_or(u32::MAX),
            line: self.line.clone(),
            kek: self.kek,
            digest: self.digest,
            spool: self.spool.clone(),
            spool_key: self.spool_key,
            rejects_shredded: self.rejects_shredded,
            rejects_marked,
            test_keys: self.test_keys,
            cards: cards_digest(cards),
            profiles,
            laws: LAWS,
        }
    }

    /// Time at which the job was accepted, Unix in ms.
    pub(super) fn accepted_at(&self) -> u64 {
        self.accepted
    }

    /// Compares the terms with the event by which the job was accepted. `cards` are the card_refs of the job's records, in order.
    pub(super) fn proof(&self, event: &LedgerEvent, ledger: LedgerId, cards: &CardNames) -> TermsProof {
        let EventFact::Accepted(terms) = &event.fact else { return TermsProof::Differs };
        let Some(terms) = terms else {
            let detail = event.context.detail.as_deref().unwrap_or_default();
            return self.version_one_proof(detail, ledger, cards);
        };
        // Fields that the row does not have are taken from the event.
        let own = self.accepted(cards, terms.profiles, terms.rejects_marked);
        let same = AcceptedTerms { laws: terms.laws, ..own } == **terms;
        if same && self.accepted == event.ts && self.simulated == event.simulated {
            TermsProof::Whole
        } else {
            TermsProof::Differs
        }
    }

    fn seal(&self, ledger: LedgerId, cards: &CardNames) -> String {
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
        sha.update(count(cards.len()));
        cards.iter().for_each(|card_ref| text(&mut sha, card_ref));
        hex::encode_upper(sha.finalize())
    }

    /// Detail of a version 1 event, without the seal.
    fn text(&self) -> String {
        let key = self.spool_key.map(|key| format!(", spool key {key}")).unwrap_or_default();
        let rejects = if self.rejects_shredded { "shredded" } else { "binned" };
        let keys = if self.test_keys { "TEST" } else { "LIVE" };
        format!("{}{key}, rejects {rejects}, {keys} keys", self.old_text())
    }

    /// Detail of a version 1 event before schema 4, when no spool was sealed.
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

    /// Compares the terms with the detail of a version 1 event.
    fn version_one_proof(&self, detail: &str, ledger: LedgerId, cards: &CardNames) -> TermsProof {
        let text = self.text();
        if let Some(seal) = detail.strip_prefix(&text).and_then(|rest| rest.strip_prefix(SEAL)) {
            let whole = seal == self.seal(ledger, cards);
            return if whole { TermsProof::Whole } else { TermsProof::Differs };
        }
        let bare = detail == text || self.spool_key.is_none() && detail == self.old_text();
        if bare { TermsProof::Unsealed } else { TermsProof::Differs }
    }
}

/// The digest over these card_refs.
fn cards_digest(cards: &CardNames) -> [u8; 32] {
    let mut digest = CardsDigest::default();
    cards.iter().for_each(|card_ref| digest.add(card_ref));
    digest.finish()
}
