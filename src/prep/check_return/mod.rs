//! Reconciles the bureau's return file with the file that was sent: every record that was sent has one final state, and
//! nothing else stands there.
//!
//! ```text
//!                              RETURN.sig ─ report::seal ─► genuine
//! RETURN ─┬─ digest ──────────────────────────┘                │
//!         └─ received ─► lines ────────────────────────────────┴──► ReturnVerdict
//! FILE.cwf1 ─ record ─► SentFile ─┘
//! ```
//!
//! The return file is read once, so the signature covers exactly the lines that are reconciled, even if the file is replaced
//! meanwhile.
//!
//! Not here: the words of the verdict (`verdict`), cardholder data: both files name a card by its card_ref alone.

#[cfg(test)]
mod tests;
mod verdict;

use std::path::Path;

pub use self::verdict::{ReturnState, ReturnVerdict, UnmadeRecord};
use crate::audit::{DocumentKind, PublicKey};
use crate::exit::{Exit, Failure};
use crate::hsm::key_host::{CallerRole, KeyHost};
use crate::hsm::open_delivered;
use crate::ids::{CardNames, CardRef};
use crate::prep::hashed::HashedInput;
use crate::record::{Cwf1Reader, FileLimits, Header, open_input};
use crate::report::compared::{ReturnTotals, StatedJob};
use crate::report::return_file::{ReceivedEnd, ReceivedHeader, ReceivedLine, ReceivedRecord, ReturnFile};
use crate::report::seal;

/// The file that was sent: what a return file must agree with.
struct SentFile {
    header: Header,
    digest: [u8; 32],
    cards: CardNames,
}

impl SentFile {
    /// Reads a file and checks its structure and digest. The HSM opens a sealed file with these keys.
    fn read(path: &Path, keys: Option<&Path>) -> Result<Self, Failure> {
        let mut host = keys.map(|store| KeyHost::open(store, CallerRole::Check)).transpose()?;
        let file = open_delivered(open_input(path)?, host.as_mut().map(|host| &mut host.hsm))?;
        let mut reader = Cwf1Reader::open(file, FileLimits::default())?;
        let header = reader.header().clone();
        while reader.next_frame()?.is_some() {}
        let end = reader.finish()?;
        Ok(Self { header, digest: end.digest, cards: end.cards })
    }
}

/// Checks the signature of a return file, and reconciles it with the file that was sent. `key` is the bureau's audit
/// key; without it the verdict only names the key that signed. `keys` is the issuer's store, to whose recipient a sealed file
/// was sealed too.
pub fn check(
    paper: &Path,
    sent: &Path,
    keys: Option<&Path>,
    key: Option<PublicKey>,
) -> Result<ReturnVerdict, Failure> {
    check_open(paper, HashedInput::open(paper)?, (sent, keys), key)
}

/// Checks a return file that is open; its path is for the seal and for messages.
fn check_open(
    paper: &Path,
    mut input: HashedInput,
    sent: (&Path, Option<&Path>),
    key: Option<PublicKey>,
) -> Result<ReturnVerdict, Failure> {
    let reconciled = reconciled(paper, &mut input, sent);
    // The signature comes first: faults in a file that was not signed are not reported.
    let genuine = seal::check_digest(paper, &input.finish()?, key)?;
    if genuine.document != DocumentKind::ReturnFile {
        let what = format!(
            "operator: {}: it was signed as a paper of another kind: name the return file",
            paper.display()
        );
        return Err(Failure::new(Exit::AuditFailed, what));
    }
    let Reconciled { mut verdict, header, totals } = reconciled?;
    verdict.audit_key = genuine.key.to_string();
    verdict.key_was_named = key.is_some();
    match &genuine.sealed {
        Some(sealed) => {
            verdict.faults.extend(StatedJob::from(&header).differences(sealed));
            verdict.faults.extend(totals.differences(sealed.counted.as_ref()));
        }
        None if header.ledger != genuine.ledger.to_string() => {
            verdict.faults.push("its ledger is not the one that was signed".into());
        }
        None => {}
    }
    verdict.counted = genuine.sealed.is_some_and(|sealed| sealed.counted.is_some());
    Ok(verdict)
}

/// A return file that was reconciled with the sent file.
struct Reconciled {
    verdict: ReturnVerdict,
    /// Its first line.
    header: ReceivedHeader,
    /// What its lines add up to.
    totals: ReturnTotals,
}

/// Reconciles a return file with the sent file, which `keys` opens if it is sealed.
fn reconciled(
    paper: &Path,
    input: &mut HashedInput,
    (sent, keys): (&Path, Option<&Path>),
) -> Result<Reconciled, Failure> {
    let file = SentFile::read(sent, keys)?;
    let mut received = ReturnFile::begin(paper.display().to_string(), input)?;
    let mut verdict = begun(paper, sent, &file, &received.header);
    verdict.faults = differences(&file, &received.header);
    let seen = vec![false; file.cards.len()];
    let mut tally = ReturnTally { file: &file, seen, totals: ReturnTotals::default(), verdict };
    while let Some(line) = received.next()? {
        match line {
            ReceivedLine::Record(record) => tally.record(&record),
            ReceivedLine::End(end) => {
                tally.end(&end, received.next()?.is_some());
                return Ok(tally.finished(received.header));
            }
        }
    }
    tally.verdict.faults.push("it has no end line: it was cut short".into());
    Ok(tally.finished(received.header))
}

/// The verdict before the first record.
fn begun(paper: &Path, sent: &Path, file: &SentFile, header: &ReceivedHeader) -> ReturnVerdict {
    ReturnVerdict {
        return_file: paper.display().to_string(),
        sent: sent.display().to_string(),
        simulated: header.simulated,
        test_keys: header.test_keys,
        file_id: file.header.file_id.to_string(),
        issuer_id: file.header.issuer_id.to_string(),
        product: file.header.product.to_string(),
        sha256: hex::encode(file.digest),
        job: header.job.clone(),
        closed: header.closed.clone(),
        records: file.header.records,
        ..ReturnVerdict::default()
    }
}

/// Where the header of the return file names another file than the one that was sent.
fn differences(file: &SentFile, header: &ReceivedHeader) -> Vec<String> {
    let digest = hex::decode(&header.sha256).is_ok_and(|digest| digest == file.digest);
    [
        ("file_id", header.file_id == file.header.file_id.as_str()),
        ("issuer_id", header.issuer_id == file.header.issuer_id.as_str()),
        ("product", header.product == file.header.product.as_str()),
        ("sha256", digest),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(field, _)| format!("its {field} is not that of the file that was sent"))
    .collect()
}

/// What was found so far.
struct ReturnTally<'a> {
    file: &'a SentFile,
    /// The records that had a line.
    seen: Vec<bool>,
    totals: ReturnTotals,
    verdict: ReturnVerdict,
}

impl ReturnTally<'_> {
    fn record(&mut self, line: &ReceivedRecord) {
        self.totals.add(line);
        let index = line.seq.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let sent = index.and_then(|index| self.file.cards.get(index)).filter(|name| *name == line.card_ref);
        let seen = index.and_then(|index| self.seen.get_mut(index));
        let made = line.attempts > 0 && line.blank.is_some();
        let outcome = line.outcome.as_str();
        let repeated = sent.zip(seen).map(|(_, seen)| std::mem::replace(seen, true));
        let state = match (repeated, outcome) {
            (None, _) => ReturnState::Unknown,
            (Some(true), _) => ReturnState::Repeated,
            (Some(false), "GOOD") if made => {
                self.verdict.good += 1;
                self.verdict.remade += u32::from(line.attempts > 1);
                return;
            }
            (Some(false), "CANCELLED") => ReturnState::Cancelled,
            (Some(false), _) => ReturnState::NotFinal,
        };
        self.verdict.add(line.seq, &line.card_ref, state);
    }

    /// Compares the end line with the lines before it.
    fn end(&mut self, end: &ReceivedEnd, more: bool) {
        if !self.totals.are_counted_by(end) {
            self.verdict.faults.push("its end line counts other records than it has".into());
        }
        if more {
            self.verdict.faults.push("something stands after its end line".into());
        }
    }

    /// Adds the records without a line.
    fn finished(mut self, header: ReceivedHeader) -> Reconciled {
        for ((seq, name), seen) in (1..).zip(self.file.cards.iter()).zip(&self.seen) {
            if !seen {
                self.verdict.add(seq, name, ReturnState::Missing);
            }
        }
        Reconciled { verdict: self.verdict, header, totals: self.totals }
    }
}

/// A card_ref as it may be shown: what is none could be anything.
fn shown(card_ref: &str) -> Option<String> {
    CardRef::new(card_ref).ok().map(|name| name.to_string())
}
