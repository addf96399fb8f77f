//! Proofs: the chain from the first event to the head, and the balances by counting rows.

use rusqlite::{Connection, OptionalExtension};

use super::chained::{ChainQueries, out_of_version};
use super::row;
use crate::laws::chain::{GENESIS, Hash};
use crate::laws::types::{Balance, JobId};
use crate::ledger::error::LedgerError;

/// The end of a chain that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Number of the last event; 0 in an empty ledger.
    pub n: u64,
    /// Hash of that event; zeros in an empty ledger.
    pub hash: [u8; 32],
}

/// [`verify_from`] the first event on.
pub fn verify_chain(connection: &Connection) -> Result<ChainHead, LedgerError> {
    verify_from(connection, 0, GENESIS)
}

/// Walks every event after one whose hash is known: numbers without a gap, every hash, no version 1 event after one
/// of version 2, and the head. A fault is [`LedgerError::Damaged`] and names the event. A complete rewrite of the
/// chain cannot be detected here; compare with a [`ChainHead`] stored elsewhere.
pub(super) fn verify_from(
    connection: &Connection,
    start: u64,
    hashed: Hash,
) -> Result<ChainHead, LedgerError> {
    // One transaction, so that events and head show one moment while a writer goes on.
    let moment = connection.unchecked_transaction()?;
    let head: Option<(u64, Hash)> = moment
        .query_row("SELECT n, hash FROM head", [], |r| Ok((row::number(r, 0)?, r.get(1)?)))
        .optional()?;
    if let Some(n) = out_of_version(&moment)? {
        return Err(LedgerError::Damaged(format!(
            "event {n} is of chain version 1 and follows one of version 2"
        )));
    }
    let mut queries = ChainQueries::new(&moment)?;
    let mut chain = queries.after(start, hashed)?;
    let mut scratch = Vec::with_capacity(512);
    while let Some(link) = chain.next()? {
        let n = link.n;
        if n != link.before + 1 {
            return Err(LedgerError::Damaged(format!("after event {} comes event {n}", link.before)));
        }
        if !link.is_as_hashed(&mut scratch)? {
            return Err(LedgerError::Damaged(format!(
                "event {n} is not what was hashed when it was written"
            )));
        }
    }
    let (n, hash) = chain.end();
    if head != Some((n, hash)) {
        return Err(LedgerError::Damaged(format!("the chain's head is not event {n}, the last one")));
    }
    Ok(ChainHead { n, hash })
}

/// Both balances of a job by counting its records, blanks and attempts.
pub(in crate::ledger) fn recount(connection: &Connection, job: JobId) -> Result<Balance, LedgerError> {
    Ok(connection
        .prepare_cached(
            "WITH r AS (SELECT state, count(*) AS c FROM record WHERE job = ?1 GROUP BY state), \
             b AS (SELECT coalesce(a.state, b.state || ' unbound') AS state, count(*) AS c FROM blank AS b \
                   LEFT JOIN attempt AS a ON a.job = b.job AND a.blank = b.number WHERE b.job = ?1 GROUP BY 1) \
             SELECT (SELECT coalesce(sum(c), 0) FROM r), \
             (SELECT coalesce(sum(c), 0) FROM r WHERE state = 'QUEUED'), \
             (SELECT coalesce(sum(c), 0) FROM r WHERE state = 'IN_FLIGHT'), \
             (SELECT coalesce(sum(c), 0) FROM r WHERE state = 'GOOD'), \
             (SELECT coalesce(sum(c), 0) FROM r WHERE state = 'REMAKE'), \
             (SELECT coalesce(sum(c), 0) FROM r WHERE state = 'UNKNOWN'), \
             (SELECT coalesce(sum(c), 0) FROM r WHERE state = 'CANCELLED'), \
             (SELECT coalesce(sum(c), 0) FROM b), \
             (SELECT coalesce(sum(c), 0) FROM b \
              WHERE state IN ('FED unbound', 'BOUND', 'PERSONALIZING', 'WRITTEN', 'VERIFIED')), \
             (SELECT coalesce(sum(c), 0) FROM b WHERE state IN ('STACKED', 'GOOD')), \
             (SELECT coalesce(sum(c), 0) FROM b WHERE state IN ('REJECTED unbound', 'REJECTED', 'DESTROYED')), \
             (SELECT coalesce(sum(c), 0) FROM b WHERE state = 'UNKNOWN'), \
             (SELECT coalesce(sum(c), 0) FROM b WHERE state = 'RETURNED unbound'), \
             (SELECT coalesce(sum(c), 0) FROM b WHERE state IN ('SAMPLE', 'TEST unbound'))",
        )?
        .query_row([job.0], |r| row::balance(r, 0))?)
}
