//! The audit book of a store: the audit key, how far each ledger had come, and which file went into which ledger. It detects a
//! ledger that was restored from a backup, and a file given to a second ledger.
//!
//! The key's seed is in the companion file `audit`, the rest in the HSM's memory (`memory`). Earlier versions had all of it in
//! `audit`; a host takes that over when it opens the store, and then writes the second form.
//!
//! ```text
//! cardwright audit book 1               cardwright audit book 2
//! generation N                          seed HEX
//! seed HEX
//! head LEDGER N HASH                    for each ledger
//! file SHA-256 LEDGER                   for each accepted file: of "CWF1" | L1 issuer_id | L1 file_id, and of the file
//! ```
//!
//! Limit: an old ledger restored together with the store of that day hides the events between. Only copies of
//! checkpoints kept elsewhere (`audit export`) show them.
//!
//! Not here: what is signed (`crate::audit`), how it is remembered (`memory`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use hex::FromHex;
use zeroize::Zeroizing;

use super::companion::{CompanionFile, CompanionKind, CompanionSeal};
use super::error::locked;
use super::memory::{
    AttemptTable, ChipSet, ConnectionNumber, FIRST_EPOCH, FollowRefusal, FollowedEvents, LedgerFollowers,
    MemoryFault, MemoryHome, MemoryKeeper, MemoryKey, MemoryRecord, MemoryState, MemoryTag, ShownChips,
    unix_ms,
};
use super::{
    Acknowledged, AuditInfo, DocumentRequest, FileAdmission, FollowedLedger, Following, HsmError, HsmRefusal,
    SHOWN_BYTES, SHOWN_EVENTS, ShownEvents, WipedBytes,
};
use crate::audit::{
    AuditKey, ChainPlace, CheckpointLink, CountedJob, DocumentSeal, LedgerId, SealedDocument, SpoolKeyState,
};
use crate::exit::Failure;
use crate::ids::SpoolKeyName;
use crate::laws::{ChipId, ClosedJob, Followed, JobId, LAWS, file_name_hash};

const FIRST: &str = "cardwright audit book 1";
const SECOND: &str = "cardwright audit book 2";

/// The book as a host has it.
pub(super) struct AuditBook {
    stored: StoredAuditBook,
    key: Arc<AuditKey>,
    /// `None` in a host for callers that check, which changes nothing: it reads what the other host has written.
    memory: Option<MemoryKeeper>,
    followers: Arc<Mutex<LedgerFollowers>>,
    /// Attempts under way, each with the answer to its last session.
    attempts: Mutex<AttemptTable<Vec<WipedBytes>>>,
}

impl AuditBook {
    /// The book of the store with this seal, of which this process is the only host.
    pub(super) fn of_host(seal: &Arc<CompanionSeal>) -> Result<Self, Failure> {
        let stored = StoredAuditBook::of(seal);
        stored.take_over()?;
        let memory = Some(MemoryKeeper::start(stored.home.clone())?);
        let key = Arc::new(stored.read()?.key());
        Ok(Self { key, stored, memory, followers: Arc::default(), attempts: Mutex::default() })
    }

    /// The book of the store with this seal, to be read beside its host.
    pub(super) fn to_read(seal: &Arc<CompanionSeal>) -> Result<Self, Failure> {
        let stored = StoredAuditBook::of(seal);
        let key = Arc::new(stored.read()?.key());
        Ok(Self { key, stored, memory: None, followers: Arc::default(), attempts: Mutex::default() })
    }

    /// Returns the last event noted of a ledger, and the public audit key.
    pub(super) fn info(&self, ledger: LedgerId) -> Result<AuditInfo, HsmError> {
        let key = self.key.public();
        let of = move |state: &MemoryState| {
            // Of a ledger that has shown no event, nothing is known.
            let known = state.ledger(ledger).filter(|known| known.head().n > 0);
            let head = known.map(|known| known.head());
            let signed = known.and_then(|known| known.signed.map(|signed| signed.place).or(known.noted));
            AuditInfo { key, generation: state.generation(), head, signed }
        };
        match &self.memory {
            Some(memory) => memory.ask(move |memory| Ok(of(memory.state()))),
            None => Ok(of(&self.stored.state()?)),
        }
    }

    /// A connection begins to follow a ledger. A ledger becomes known by its first connection.
    pub(super) fn follow(
        &self,
        request: Following,
        connection: ConnectionNumber,
    ) -> Result<FollowedLedger, HsmError> {
        let (ledger, key, time) = (request.ledger, self.key.public(), unix_ms());
        let followers = Arc::clone(&self.followers);
        if request.laws != LAWS {
            return Err(FollowRefusal::OtherLaws { known: LAWS, shown: request.laws }.into());
        }
        let followed = self.keeper()?.ask(move |memory| {
            let mut followers = locked(&followers)?;
            if let Some(signed) = &request.signed {
                if signed.key != key || !signed.is_genuine() || signed.place.ledger != ledger {
                    return Err(FollowRefusal::OtherStore.into());
                }
                if let Some((known, shown)) = memory.state().forgot(signed) {
                    memory.note(&MemoryRecord::StoreBehind { ledger, known, shown })?;
                }
            }
            FollowRefusal::of_old_store(memory.state())?;
            if memory.state().ledger(ledger).is_none() {
                let (epoch, by) = (FIRST_EPOCH, Vec::new());
                memory.note(&MemoryRecord::LedgerKnown { ledger, epoch, noted: None, by })?;
            }
            let place = followers.follow(memory.state(), ledger, connection, request.last)?;
            let known = memory.state().ledger(ledger).ok_or(FollowRefusal::Unknown)?;
            let (generation, head, signed) = (memory.state().generation(), known.head(), known.signed);
            Ok(FollowedLedger { key, generation, place, head, signed, time: time.max(memory.state().time()) })
        });
        if matches!(followed, Err(HsmError::NotFollowed(FollowRefusal::StoreBehind { .. }))) {
            // It may have forgotten their chips.
            locked(&self.attempts)?.stop();
        }
        followed
    }

    /// The attempts under way.
    pub(super) fn attempts(&self) -> Result<MutexGuard<'_, AttemptTable<Vec<WipedBytes>>>, HsmError> {
        locked(&self.attempts)
    }

    /// A connection shows the next events of the ledger that it follows. `tags` returns the tags of a chip, none if the
    /// store does not have its KMC. The bindings are durable when this returns, and may open sessions. Returns the keys of the spools
    /// whose jobs are DELETING from now on, too.
    pub(super) fn show(
        &self,
        shown: ShownEvents,
        connection: ConnectionNumber,
        tags: impl Fn(&MemoryKey, &ChipId) -> Vec<MemoryTag> + Send + 'static,
    ) -> Result<(Acknowledged, Vec<SpoolKeyName>), HsmError> {
        let ledger = shown.after.ledger;
        let remembered = self.remembered(shown, connection, tags);
        let mut attempts = locked(&self.attempts)?;
        match remembered {
            Ok((now, chips, deleting)) => {
                Ok((Acknowledged { barred: chips.applied(ledger, &mut attempts), ..now }, deleting))
            }
            Err(error) => {
                match error {
                    HsmError::NotFollowed(FollowRefusal::Stopped { .. }) => attempts.ledger_stopped(ledger),
                    HsmError::NotFollowed(FollowRefusal::StoreBehind { .. }) => attempts.stop(),
                    _ => {}
                }
                Err(error)
            }
        }
    }

    fn remembered(
        &self,
        shown: ShownEvents,
        connection: ConnectionNumber,
        tags: impl Fn(&MemoryKey, &ChipId) -> Vec<MemoryTag> + Send + 'static,
    ) -> Result<(Acknowledged, ShownChips, Vec<SpoolKeyName>), HsmError> {
        let (key, followers, now) = (Arc::clone(&self.key), Arc::clone(&self.followers), unix_ms());
        let of_chips = self.stored.home.key.clone();
        let bytes: usize = shown.events.iter().map(Vec::len).sum();
        if shown.events.len() > SHOWN_EVENTS || bytes > SHOWN_BYTES {
            return Err(HsmRefusal::ShownTooMuch.into());
        }
        self.keeper()?.ask(move |memory| {
            locked(&followers)?.may_show(memory.state(), &shown.after, connection)?;
            let (ledger, time) = (shown.after.ledger, now.max(memory.state().time()));
            let mut chips = ShownChips::default();
            let found = |followed: &FollowedEvents, seen: &ChipSet| {
                chips = ShownChips::of(followed, shown.after.n, seen, |chip| tags(&of_chips, chip));
                chips.new_tags()
            };
            let followed = memory.show(ledger, shown.after.n, shown.events, time, found)?;
            if let Some(why) = followed.breach {
                return Err(FollowRefusal::Stopped { n: followed.place.n.saturating_add(1), why }.into());
            }
            let known = memory.state().ledger(ledger).ok_or(FollowRefusal::Unknown)?;
            chips.complete(known, |file| memory.state().ledger_of(file) == Some(ledger));
            // What an earlier version signed is signed again when all of it was shown.
            let signs = shown.sign && followed.place.n > 0 && known.head() == followed.place;
            let again = known.signed.filter(|last| last.place == followed.place && last.link.is_some());
            let signed = match again {
                _ if !signs => None,
                // The last one is given again when it is asked for again.
                Some(last) => Some(last),
                None => {
                    let before = known.signed.map_or([0; 32], |last| last.digest());
                    let link = CheckpointLink { epoch: known.epoch, time, before };
                    let generation = memory.state().generation().saturating_add(1);
                    let checkpoint = key.checkpoint(followed.place, generation, Some(link));
                    memory.note(&MemoryRecord::Checkpoint(checkpoint))?;
                    Some(checkpoint)
                }
            };
            let deleting = followed.effects.iter().filter_map(|effect| match effect {
                Followed::Deleting { spool_key, .. } => *spool_key,
                _ => None,
            });
            let now = Acknowledged { place: followed.place, signed, barred: Vec::new() };
            Ok((now, chips, deleting.collect()))
        })
    }

    /// A connection ended.
    pub(super) fn ended(&self, connection: ConnectionNumber) {
        if let Ok(mut followers) = self.followers.lock() {
            followers.ended(connection);
        }
    }

    /// Notes that a file, whose Trailer is genuine, goes into a ledger. Refuses a file that went into another ledger. A file may be
    /// noted again for its own ledger.
    pub(super) fn admit(&self, file: &FileAdmission) -> Result<(), HsmError> {
        let name = file_name_hash(file.trailer.issuer_id.as_str(), file.trailer.file_id.as_str());
        let records = file.trailer.records().ok_or(HsmRefusal::TrailerTooShort)?;
        self.note([name, file.digest], records, file.ledger)
    }

    fn note(&self, names: [[u8; 32]; 2], records: u32, ledger: LedgerId) -> Result<(), HsmError> {
        let [name, digest] = names;
        self.keeper()?.ask(move |memory| {
            let state = memory.state();
            FollowRefusal::of_old_store(state)?;
            if let Some(other) = state.file_elsewhere(names, ledger) {
                return Err(HsmError::FileElsewhere(other));
            }
            if state.may_be_old_job(names, ledger) {
                return Err(HsmError::FileElsewhere(ledger));
            }
            if !state.is_admitted(names, records, ledger) {
                memory.note(&MemoryRecord::Admitted { name, digest, ledger, records: Some(records) })?;
            }
            Ok(())
        })
    }

    /// What was counted of a job, which must be CLOSED.
    pub(super) fn closed(&self, ledger: LedgerId, job: JobId) -> Result<ClosedLedgerJob, HsmError> {
        let now = unix_ms();
        self.keeper()?.ask(move |memory| {
            let state = memory.state();
            FollowRefusal::of_old_store(state)?;
            let known = state.ledger(ledger).ok_or(HsmError::NotClosed(job))?;
            // Until the place is shown that an earlier version signed, its events prove nothing.
            let shown = known.head() == known.book.place();
            let closed = known.book.closed(job).filter(|_| shown);
            // Of jobs of an earlier version nothing can be counted: only a ledger that such a version signed has any.
            let earlier = shown && known.noted.is_some() && known.book.is_unsealed(job);
            if closed.is_none() && !earlier {
                return Err(HsmError::NotClosed(job));
            }
            let (head, epoch, time) = (known.head(), known.epoch, now.max(state.time()));
            Ok(ClosedLedgerJob { head, epoch, time, job: closed })
        })
    }

    /// Seals a document of a closed job, of which the spool's key has this fate.
    pub(super) fn seal(
        &self,
        request: &DocumentRequest,
        closed: &ClosedLedgerJob,
        spool_key: SpoolKeyState,
    ) -> DocumentSeal {
        let DocumentRequest { kind, job, text, .. } = *request;
        let ClosedLedgerJob { head, epoch, time, job: counted } = *closed;
        let counted = counted.as_ref().map(counted_job);
        self.key.seal(SealedDocument { kind, head, epoch, job, time, spool_key, counted, text })
    }

    /// Whether everything is shown now, at this place, that a ledger had when its program started on this connection. Returns it once.
    pub(super) fn is_all_shown(
        &self,
        shown: &ChainPlace,
        connection: ConnectionNumber,
    ) -> Result<bool, HsmError> {
        Ok(locked(&self.followers)?.is_all_shown(shown, connection))
    }

    /// The keys of the spools of a ledger's jobs.
    pub(super) fn spools(&self, ledger: LedgerId) -> Result<JobSpools, HsmError> {
        self.keeper()?.ask(move |memory| {
            let mut spools = JobSpools { keys: BTreeMap::new(), all: false };
            let Some(known) = memory.state().ledger(ledger) else { return Ok(spools) };
            // Until the place is shown that an earlier version signed, its events prove nothing.
            if known.head() == known.book.place() {
                spools.keys.extend(known.book.spool_keys());
                spools.all = !known.book.has_unsealed();
            }
            Ok(spools)
        })
    }

    /// Whether a job of any ledger has this key of a spool.
    pub(super) fn is_of_a_job(&self, key: SpoolKeyName) -> Result<bool, HsmError> {
        self.keeper()?.ask(move |memory| Ok(memory.state().is_of_a_job(key)))
    }

    fn keeper(&self) -> Result<&MemoryKeeper, HsmError> {
        self.memory.as_ref().ok_or_else(|| HsmError::Unsupported("changes in a host that only checks".into()))
    }
}

/// The keys of the spools of a ledger's jobs.
pub(super) struct JobSpools {
    /// Each with whether the deletion of its job has begun.
    pub(super) keys: BTreeMap<SpoolKeyName, bool>,
    /// Whether every job states its key.
    pub(super) all: bool,
}

/// A closed job, and where its ledger stands.
#[derive(Clone, Copy)]
pub(super) struct ClosedLedgerJob {
    head: ChainPlace,
    epoch: u32,
    time: u64,
    /// `None` if an earlier version accepted it: its terms are not known.
    pub(super) job: Option<ClosedJob>,
}

fn counted_job(job: &ClosedJob) -> CountedJob {
    let ClosedJob { file, name, simulated, test_keys, balance, outcomes, cards, .. } = *job;
    CountedJob {
        file,
        name,
        simulated,
        test_keys,
        records: balance.records,
        good: balance.good,
        cancelled: balance.cancelled,
        blanks_fed: balance.blanks_fed,
        blanks_good: balance.blanks_good,
        blanks_rejected: balance.blanks_rejected,
        blanks_returned: balance.blanks_returned,
        blanks_sample: balance.blanks_sample,
        outcomes,
        cards,
        unproved: None,
    }
}

impl From<FollowRefusal> for HsmError {
    fn from(refusal: FollowRefusal) -> Self {
        Self::NotFollowed(refusal)
    }
}

impl From<MemoryFault> for HsmError {
    fn from(fault: MemoryFault) -> Self {
        Self::Book(fault.to_string())
    }
}

/// The book as it lies in the store.
pub(super) struct StoredAuditBook {
    file: CompanionFile,
    home: MemoryHome,
}

/// The lines of the file.
struct AuditLines {
    seed: Zeroizing<[u8; 32]>,
    /// What an earlier version noted there.
    earlier: Option<MemoryState>,
}

impl StoredAuditBook {
    /// The book of the store with this seal.
    pub(super) fn of(seal: &Arc<CompanionSeal>) -> Self {
        Self { file: CompanionFile::in_store(seal, CompanionKind::Audit), home: seal.memory() }
    }

    /// Makes the book of a new store, with a new audit key.
    pub(super) fn make(&self) -> Result<(), HsmError> {
        let mut seed = Zeroizing::new([0; 32]);
        let drawn = getrandom::fill(&mut *seed);
        drawn.map_err(|_| HsmError::Book("the system gives no random numbers".into()))?;
        self.home.make(&MemoryState::default())?;
        self.file.write(AuditLines { seed, earlier: None }.to_text())
    }

    /// Checks that the book is whole and can be read.
    pub(super) fn check(&self) -> Result<(), HsmError> {
        self.state().map(drop)
    }

    /// How far each ledger had come.
    pub(super) fn places(&self) -> Result<Vec<ChainPlace>, HsmError> {
        Ok(self.state()?.heads().collect())
    }

    /// The whole book in its first form, for tests.
    pub(super) fn text(&self) -> Result<Zeroizing<String>, HsmError> {
        let (lines, state) = (self.read()?, self.state()?);
        let seed = Zeroizing::new(hex::encode_upper(lines.seed.as_slice()));
        let mut text = Zeroizing::new(String::new());
        // Writing to a String does not fail.
        let _ = writeln!(text, "{FIRST}\ngeneration {}\nseed {}", state.generation(), &**seed);
        for place in state.heads() {
            let _ = writeln!(text, "head {} {} {}", place.ledger, place.n, hex::encode_upper(place.hash));
        }
        for (file, ledger) in state.files() {
            let _ = writeln!(text, "file {} {ledger}", hex::encode_upper(file));
        }
        Ok(text)
    }

    /// Takes over what an earlier version noted in the file. A process that is killed before the memory is whole begins anew; one
    /// that is killed before the file has its second form only writes that.
    pub(super) fn take_over(&self) -> Result<(), HsmError> {
        let AuditLines { seed, earlier: Some(earlier) } = self.read()? else { return Ok(()) };
        if self.home.view()?.is_none() {
            self.home.make(&earlier)?;
        }
        self.file.write(AuditLines { seed, earlier: None }.to_text())
    }

    /// What is remembered.
    fn state(&self) -> Result<MemoryState, HsmError> {
        let lines = self.read()?;
        let folder = self.home.folder.display();
        let missing = || HsmError::Book(format!("{folder}/memory-0: {MISSING}"));
        self.home.view()?.or(lines.earlier).ok_or_else(missing)
    }

    fn read(&self) -> Result<AuditLines, HsmError> {
        let missing = || HsmError::Book(format!("{}: {MISSING}", self.file.path().display()));
        let text = self.file.read()?.ok_or_else(missing)?;
        AuditLines::from_text(&text).ok_or_else(|| self.file.damaged())
    }
}

const MISSING: &str = "it is missing; `key init` made it with the store: restore it from a backup of the same day as the \
                       ledger's. A copy of a store without it is no store to work with";

impl AuditLines {
    fn key(&self) -> AuditKey {
        AuditKey::from_seed(&self.seed)
    }

    /// In the second form.
    fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(128));
        let seed = Zeroizing::new(hex::encode_upper(self.seed.as_slice()));
        // Writing to a String does not fail.
        let _ = writeln!(text, "{SECOND}\nseed {}", &**seed);
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let generation = match lines.next()? {
            FIRST => Some(lines.next()?.strip_prefix("generation ")?.parse().ok()?),
            SECOND => None,
            _ => return None,
        };
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(lines.next()?.strip_prefix("seed ")?, &mut *seed).ok()?;
        let Some(generation) = generation else {
            return lines.next().is_none().then_some(Self { seed, earlier: None });
        };
        let (mut heads, mut files) = (Vec::new(), BTreeMap::new());
        for line in lines {
            let mut words = line.split(' ');
            match (words.next()?, words.next()?, words.next()?, words.next()) {
                ("head", ledger, n, Some(hash)) => heads.push(ChainPlace {
                    ledger: LedgerId(<_>::from_hex(ledger).ok()?),
                    n: n.parse().ok()?,
                    hash: <_>::from_hex(hash).ok()?,
                }),
                ("file", file, ledger, None) => {
                    files.insert(<_>::from_hex(file).ok()?, LedgerId(<_>::from_hex(ledger).ok()?));
                }
                _ => return None,
            }
        }
        Some(Self { seed, earlier: Some(MemoryState::of_book(generation, heads, files)) })
    }
}

#[cfg(test)]
mod tests;
