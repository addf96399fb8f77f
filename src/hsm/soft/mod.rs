//! The software HSM: keys of a store in this process's memory; KMCs and KEKs may lie in a token instead. It runs in the HSM
//! host only, never in the controller.
//!
//! ```text
//! check ──> yes or no
//! verify_record ──> handle ─────────┐
//! show: BOUND, CHIP ──> attempt ────┼── session: open the channel of the next application, wrap ──> APDUs
//! draw_challenge ──> RTERM ─────────┘                                       (the challenge ends here)
//! ```
//!
//! `key_work` uses keys, in the store or in a token. `verify` checks files, `secrets` opens and converts values, `session`
//! decides on a session, `personalize` wraps it, `stream` reads its commands again, `tables` holds verified records.
//! Connections share one state, except for the challenge and the spools that they made. Records end with the connection that
//! had them verified. Work is done outside the lock.

pub mod issuer;
mod key_work;
mod personalize;
mod secrets;
mod session;
mod stream;
mod tables;
mod verify;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::audit_book::{AuditBook, JobSpools};
use super::companion::CompanionSeal;
use super::error::locked;
use super::memory::{ConnectionNumber, KmcMark, MemoryKey, MemoryTag, chip_tags, record_name_hash};
use super::pkcs11::{TokenHome, TokenLink};
use super::recipient::RecipientKey;
use super::spool_keys::SpoolKeys;
use super::store::{KeyStore, SecretEntry, StoreSide};
use super::token_note::TokenNote;
use super::{
    Acknowledged, AuditInfo, Auditor, CHECK_LIMIT, CardSession, CardSessionRequest, CheckAnswers,
    CheckRequest, Checker, DocumentRequest, FileAdmission, FileReceiver, FollowedLedger, Following,
    HostedHsm, Hsm, HsmError, HsmInfo, HsmRefusal, Issuer, KekInfo, KmcInfo, Realm, RecordHandle,
    RecordToVerify, ShownEvents, TrailerRequest, Vault, VerifiedApplication, VerifiedRecord, WipedBytes,
};
use crate::audit::{DocumentKind, DocumentSeal, LedgerId, SpoolKeyState};
use crate::crypto::FileKind;
use crate::exit::{Exit, Failure};
use crate::ids::{KmcRef, SpoolKeyName};
use crate::laws::{ChipId, file_name_hash};
use crate::record::chip::SectionScratch;
use crate::record::envelope::WrappedFileKey;
use crate::scp::{HostChallenge, SecureChannel, SecureChannelSpec};
use key_work::{KeyShelf, OpenFault, asked_again};
use tables::VerifiedTable;

/// One connection to the software HSM.
pub struct SoftHsm {
    shared: Arc<SharedState>,
    number: ConnectionNumber,
    /// The host challenge that the next session of this connection must have used.
    challenge: Option<HostChallenge>,
    /// The spools whose keys this connection has made.
    made: Vec<SpoolKeyName>,
    /// Its access to the token, if keys of the store lie in one.
    token: Option<TokenLink>,
}

struct SharedState {
    store: KeyStore,
    book: AuditBook,
    spools: SpoolKeys,
    recipient: RecipientKey,
    tables: Mutex<VerifiedTable>,
    /// The mark of each KMC, from which the tags of its chips are made.
    kmcs: BTreeMap<KmcRef, KmcMark>,
    /// The token in which keys of the store lie.
    token: Option<Arc<TokenHome>>,
    /// Number of connections so far.
    connections: AtomicU64,
}

impl SharedState {
    fn tables(&self) -> Result<MutexGuard<'_, VerifiedTable>, HsmError> {
        locked(&self.tables)
    }
}

impl SoftHsm {
    /// An HSM over an open store, of which this process is the only host. An issuer's store is refused: its keys do not belong
    /// on a line.
    pub fn new(store: KeyStore) -> Result<Self, Failure> {
        Self::with_book(store, AuditBook::of_host, None)
    }

    /// As [`Self::new`], for a store with keys in a token.
    pub fn with_token(store: KeyStore, token: TokenHome) -> Result<Self, Failure> {
        TokenNote::of(store.companions()).keep(&token.part())?;
        Self::with_book(store, AuditBook::of_host, Some(Arc::new(token)))
    }

    /// An HSM over an open store beside its host. It notes nothing: for callers that check.
    pub fn for_checks(store: KeyStore) -> Result<Self, Failure> {
        Self::with_book(store, AuditBook::to_read, None)
    }

    fn with_book(
        store: KeyStore,
        book: impl FnOnce(&Arc<CompanionSeal>) -> Result<AuditBook, Failure>,
        token: Option<Arc<TokenHome>>,
    ) -> Result<Self, Failure> {
        if store.side() != StoreSide::Bureau {
            return Err(Failure::new(
                Exit::KeyStore,
                "key: this is an issuer's key store; a line needs a bureau's",
            ));
        }
        let kmcs = marks(&store, token.as_ref().map(TokenHome::link).as_ref())?;
        let (book, spools) = (book(store.companions())?, SpoolKeys::of(store.companions()));
        let recipient = RecipientKey::of(store.companions());
        let (tables, connections) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self::connection(&Arc::new(SharedState {
            store,
            book,
            spools,
            recipient,
            tables,
            kmcs,
            token,
            connections,
        })))
    }

    fn connection(shared: &Arc<SharedState>) -> Self {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let token = shared.token.as_ref().map(TokenHome::link);
        Self { shared: Arc::clone(shared), number, challenge: None, made: Vec::new(), token }
    }

    /// Destroys keys that the jobs of a ledger do not need any more: a host that was killed between DELETING and the destruction does
    /// so here. Once all of the ledger was shown, also the keys of which no job was made. A fault does not stop the ledger: what it has
    /// shown is remembered, and the next connection tries again.
    fn settle_spools(&self, ledger: LedgerId, all_shown: bool) {
        let spools = self.shared.book.spools(ledger);
        let settled = spools
            .and_then(|JobSpools { keys, all }| self.shared.spools.settle(ledger, &keys, all && all_shown));
        if let Err(error) = settled {
            tracing::warn!(%error, "keys of spools that nobody needs are not destroyed yet");
        }
    }

    fn keys(&self) -> KeyShelf<'_> {
        KeyShelf { store: &self.shared.store, token: self.token.as_ref() }
    }
}

/// The marks of the KMCs of a store. A host for checks has no token, and needs none of it.
fn marks(store: &KeyStore, token: Option<&TokenLink>) -> Result<BTreeMap<KmcRef, KmcMark>, HsmError> {
    let used = |entry: &&SecretEntry| token.is_some() || entry.token_object().is_none();
    let mark = |entry: &SecretEntry| {
        let Some(kmc) = entry.kmc() else { return Ok(None) };
        let mark = KmcMark::of(entry.key_type(), &KeyShelf { store, token }.work(entry)?);
        Ok(Some((kmc, mark.map_err(OpenFault::into_hsm)?)))
    };
    store.entries().iter().filter(used).filter_map(|entry| mark(entry).transpose()).collect()
}

/// The tags of a chip under the KMC that it names; none if it names no KMC of this store.
fn tags_of(kmcs: &BTreeMap<KmcRef, KmcMark>, key: &MemoryKey, chip: &ChipId) -> Vec<MemoryTag> {
    let named = chip.key_data().zip(chip.kmc().and_then(|kmc| kmcs.get(&kmc)));
    named.map_or_else(Vec::new, |(key_data, kmc)| chip_tags(key, kmc, &key_data))
}

impl Drop for SoftHsm {
    fn drop(&mut self) {
        self.shared.book.ended(self.number);
        // A table that is lost serves nobody any more.
        if let Ok(mut tables) = self.shared.tables() {
            tables.end(self.number);
        }
    }
}

impl HostedHsm for SoftHsm {
    type Connection = Self;

    fn realm(&self) -> Realm {
        self.shared.store.realm()
    }

    fn connect(&self) -> Self {
        Self::connection(&self.shared)
    }
}

fn fill_random(bytes: &mut [u8]) -> Result<(), HsmError> {
    getrandom::fill(bytes).map_err(|_| HsmError::Host("the system gives no random numbers".into()))
}

/// The KEKs of a store, without their values.
fn keks(store: &KeyStore) -> Vec<KekInfo> {
    let keks = store.entries().iter().filter_map(|entry| {
        entry.kek().map(|rules| KekInfo {
            label: entry.label().to_owned(),
            id: rules.id,
            tk_type: rules.suite.tk_type(),
            kcv: entry.kcv(),
            issuer_id: rules.issuer_id.clone(),
            allow: rules.allow.clone(),
            min_seclev: rules.min_seclev,
        })
    });
    keks.collect()
}

/// A challenge of the channel's length.
fn new_challenge(channel: &SecureChannel) -> Result<HostChallenge, HsmError> {
    let mut bytes = vec![0; channel.challenge_length()];
    fill_random(&mut bytes)?;
    Ok(HostChallenge::new(bytes))
}

/// The channel, if this build speaks it.
fn supported(spec: SecureChannelSpec) -> Result<SecureChannel, HsmError> {
    SecureChannel::new(spec).map_err(|unsupported| HsmError::Unsupported(unsupported.to_string()))
}

impl Hsm for SoftHsm {
    fn info(&mut self) -> Result<HsmInfo, HsmError> {
        let entries = self.shared.store.entries();
        let kmcs = entries.iter().filter_map(|entry| {
            entry.kmc().map(|kmc| KmcInfo {
                label: entry.label().to_owned(),
                kmc,
                key_type: entry.key_type(),
                kcv: entry.kcv(),
            })
        });
        Ok(HsmInfo {
            realm: self.realm(),
            keks: keks(&self.shared.store),
            kmcs: kmcs.collect(),
            token: match &self.token {
                Some(token) => Some(token.part()),
                None => TokenNote::of(self.shared.store.companions()).read()?,
            },
            out_of_reach: entries
                .iter()
                .find(|entry| self.token.is_none() && entry.token_object().is_some())
                .map(|entry| entry.label().to_owned()),
        })
    }

    fn verify_trailer(&mut self, request: &TrailerRequest) -> Result<(), HsmError> {
        asked_again(|| verify::trailer(self.keys(), FileKind::Finished, request))
    }

    fn verify_record(&mut self, record: &RecordToVerify) -> Result<VerifiedRecord, HsmError> {
        // A step has a number from 1 to 255.
        if record.applications.is_empty() || u8::try_from(record.applications.len()).is_err() {
            return Err(HsmRefusal::Applications.into());
        }
        let prepared = asked_again(|| {
            let subjects = verify::applications(record);
            subjects.map(|subject| verify::application(self.keys(), &subject)).collect::<Result<Vec<_>, _>>()
        })?;
        let applications = prepared
            .iter()
            .map(|one| Ok(VerifiedApplication { protected: one.protected()?, allow: one.allow.clone() }))
            .collect::<Result<_, HsmError>>()?;
        let mut handle = RecordHandle([0; 16]);
        fill_random(&mut handle.0)?;
        let file = file_name_hash(record.issuer_id.as_str(), record.file_id.as_str());
        let name = record_name_hash(&file, record.card_ref.as_str());
        self.shared.tables()?.insert(self.number, handle, (name, record.sequence), prepared)?;
        Ok(VerifiedRecord { handle, applications })
    }

    fn draw_challenge(&mut self, channel: SecureChannelSpec) -> Result<HostChallenge, HsmError> {
        // The old challenge ends here, even if drawing a new one fails.
        self.challenge = None;
        let challenge = new_challenge(&supported(channel)?)?;
        Ok(self.challenge.insert(challenge).clone())
    }

    fn session(&mut self, request: &CardSessionRequest) -> Result<CardSession, HsmError> {
        let alive = self.challenge.take();
        let channel = supported(request.channel)?;
        // Drawn first, because the answer must carry it: without it nothing may be used up.
        let next_challenge = new_challenge(&channel)?;
        let apdus = session::apdus(&self.shared, self.keys(), alive.as_ref(), &channel, request)?;
        self.challenge = Some(next_challenge.clone());
        Ok(CardSession { apdus, next_challenge })
    }

    fn release(&mut self, handles: &[RecordHandle]) -> Result<(), HsmError> {
        self.shared.tables()?.release(self.number, handles);
        Ok(())
    }
}

impl Issuer for SoftHsm {}

impl Auditor for SoftHsm {
    fn audit(&mut self, ledger: LedgerId) -> Result<AuditInfo, HsmError> {
        self.shared.book.info(ledger)
    }

    fn follow(&mut self, request: &Following) -> Result<FollowedLedger, HsmError> {
        let followed = self.shared.book.follow(request.clone(), self.number)?;
        let all_shown = self.shared.book.is_all_shown(&followed.place, self.number)?;
        self.settle_spools(request.ledger, all_shown);
        Ok(followed)
    }

    fn show(&mut self, events: &ShownEvents) -> Result<Acknowledged, HsmError> {
        let shared = Arc::clone(&self.shared);
        let tags = move |key: &MemoryKey, chip: &ChipId| tags_of(&shared.kmcs, key, chip);
        let (now, deleting) = self.shared.book.show(events.clone(), self.number, tags)?;
        self.shared.spools.end(now.place.ledger, &deleting);
        if self.shared.book.is_all_shown(&now.place, self.number)? {
            self.settle_spools(now.place.ledger, true);
        }
        Ok(now)
    }

    fn admit(&mut self, file: &FileAdmission) -> Result<(), HsmError> {
        asked_again(|| verify::trailer(self.keys(), FileKind::Finished, &file.trailer))?;
        self.shared.book.admit(file)
    }

    fn seal_document(&mut self, request: &DocumentRequest) -> Result<DocumentSeal, HsmError> {
        let closed = self.shared.book.closed(request.ledger, request.job)?;
        let key = closed.job.and_then(|job| job.spool_key);
        let key = key.map_or(Ok(SpoolKeyState::None), |key| self.shared.spools.state(request.ledger, key))?;
        let kept = key == SpoolKeyState::There || closed.job.is_some_and(|job| !job.deleted);
        if request.kind == DocumentKind::Certificate && kept {
            return Err(HsmError::NotDeleted(request.job));
        }
        Ok(self.shared.book.seal(request, &closed, key))
    }
}

impl Checker for SoftHsm {
    fn check(&mut self, request: &CheckRequest) -> Result<CheckAnswers, HsmError> {
        if request.count() > CHECK_LIMIT {
            return Err(HsmRefusal::CheckTooLong(CHECK_LIMIT).into());
        }
        let mut scratch = SectionScratch::default();
        let subjects = verify::subjects(request);
        Ok(subjects.map(|subject| verify::check(self.keys(), &subject, &mut scratch)).collect())
    }
}

impl FileReceiver for SoftHsm {
    fn unwrap_file_key(&mut self, wrapped: &[WrappedFileKey]) -> Result<WipedBytes, HsmError> {
        self.shared.recipient.unwrap(wrapped)
    }
}

impl Vault for SoftHsm {
    fn new_spool(&mut self, ledger: LedgerId) -> Result<SpoolKeyName, HsmError> {
        let name = self.shared.spools.make(ledger)?;
        self.made.push(name);
        Ok(name)
    }

    fn seal(&mut self, spool: SpoolKeyName, first: u64, clear: &[u8]) -> Result<WipedBytes, HsmError> {
        self.shared.spools.seal(spool, first, clear).map(WipedBytes::from)
    }

    fn unseal(&mut self, spool: SpoolKeyName, first: u64, sealed: &[u8]) -> Result<WipedBytes, HsmError> {
        self.shared.spools.unseal(spool, first, sealed).map(WipedBytes::from)
    }

    fn abandon_spool(&mut self, spool: SpoolKeyName) -> Result<(), HsmError> {
        if !self.made.contains(&spool) {
            return Err(HsmRefusal::ForeignSpool.into());
        }
        if self.shared.book.is_of_a_job(spool)? {
            return Err(HsmRefusal::SpoolOfJob.into());
        }
        self.shared.spools.abandon(spool)
    }
}
