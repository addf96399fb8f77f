//! The software HSM: keys of a store in this process's memory. It runs in the HSM host only, never in the daemon.
//!
//! ```text
//! verify ──> handle ──┐
//!                     ├── personalize ──> APDUs      (handle and channel end here, whatever the outcome)
//! open ────> channel ─┘
//! ```
//!
//! `verify` checks files, `secrets` opens and converts values, `stream` reads a session's commands again, `tables` holds
//! what is open. Clones share one state: one clone per connection and thread. Work is done outside the lock.

mod personalize;
mod secrets;
mod stream;
mod tables;
mod verify;

use std::sync::{Arc, Mutex, MutexGuard};

use super::book::Book;
use super::spools::Spools;
use super::store::{Side, Store};
use super::{
    Admission, AuditInfo, Auditor, Channel, Derivation, Handle, Hsm, HsmError, HsmInfo, KekInfo, KmcInfo,
    OpenRequest, Opened, PersonalizeRequest, Personalized, Realm, TrailerRequest, Vault, Verified,
    VerifyRequest,
};
use crate::audit::{ChainPlace, Checkpoint, DocumentKind, LedgerId, Signature};
use crate::crypto::CipherKey;
use crate::exit::{Exit, Failure};
use crate::ids::{KmcRef, SpoolKeyName};
use crate::scp::derive::CardKeys;
use crate::scp::scp02::InitializeUpdate;
use tables::Tables;

/// SCP02 "i" parameters that this HSM speaks.
const SCP02_I: [u8; 2] = [0x15, 0x55];

/// One connection to the software HSM.
#[derive(Clone)]
pub struct SoftHsm {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    book: Book,
    spools: Spools,
    tables: Mutex<Tables>,
}

impl SoftHsm {
    /// An HSM over an open store. An issuer's store is refused: its keys do not belong on a line.
    pub fn new(store: Store) -> Result<Self, Failure> {
        let (book, spools) = (Book::beside(store.path()), Spools::beside(store.path()));
        if store.side() != Side::Bureau {
            return Err(Failure::new(
                Exit::KeyStore,
                "key: this is an issuer's key store; a line needs a bureau's, with KEK and KMC only",
            ));
        }
        Ok(Self { shared: Arc::new(Shared { store, book, spools, tables: Mutex::default() }) })
    }

    /// TEST or LIVE.
    pub fn realm(&self) -> Realm {
        self.shared.store.realm()
    }

    fn tables(&self) -> Result<MutexGuard<'_, Tables>, HsmError> {
        // A thread that panicked inside may have left anything behind: fail closed.
        self.shared.tables.lock().map_err(|_| HsmError::Host("a thread of it failed; restart it".into()))
    }
}

/// A name for a handle or channel that cannot be guessed.
fn random_name() -> Result<[u8; 16], HsmError> {
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(|_| HsmError::Host("the system gives no random numbers".into()))?;
    Ok(name)
}

impl Hsm for SoftHsm {
    fn info(&mut self) -> Result<HsmInfo, HsmError> {
        let entries = self.shared.store.entries();
        let keks = entries.iter().filter_map(|entry| {
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
        let kmcs = entries.iter().filter_map(|entry| {
            entry.kmc().map(|kmc| KmcInfo { label: entry.label().to_owned(), kmc, kcv: entry.kcv() })
        });
        Ok(HsmInfo { realm: self.realm(), keks: keks.collect(), kmcs: kmcs.collect() })
    }

    fn verify_trailer(&mut self, request: &TrailerRequest) -> Result<(), HsmError> {
        verify::trailer(&self.shared.store, request)
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<Verified, HsmError> {
        let prepared = verify::application(&self.shared.store, request)?;
        let handle = Handle(random_name()?);
        let verified = Verified { handle, protected: prepared.protected()?, allow: prepared.allow.clone() };
        self.tables()?.insert(handle, prepared)?;
        Ok(verified)
    }

    fn open(&mut self, request: &OpenRequest) -> Result<Opened, HsmError> {
        if !SCP02_I.contains(&request.scp02_i) {
            return Err(HsmError::Unsupported(format!("SCP02 with i = {:02X}", request.scp02_i)));
        }
        let response =
            InitializeUpdate::parse(&request.response).map_err(|e| HsmError::Response(e.to_string()))?;
        let key_data = response.key_data;
        let kmc = KmcRef { id: key_data.kmc_id(), version: response.key_version };
        let entry = self.shared.store.kmc(kmc).ok_or(HsmError::UnknownKmc(kmc))?;
        let CipherKey::Tdes(master) = entry.key() else {
            return Err(HsmError::Unsupported(format!("SCP02 under an {} KMC", entry.key_type())));
        };
        let keys = match request.derivation {
            Derivation::EmvCps => CardKeys::emv_cps(master, &key_data),
        };
        let verified = keys
            .initialize_update(&response, request.host_challenge)
            .verify()
            .map_err(|_| HsmError::CardCryptogram(kmc))?;
        let channel = Channel(random_name()?);
        self.tables()?.insert_channel(channel, tables::OpenChannel { kmc, verified });
        Ok(Opened { channel, key_data, kmc })
    }

    fn personalize(&mut self, request: &PersonalizeRequest) -> Result<Personalized, HsmError> {
        let (prepared, channel) = {
            let mut tables = self.tables()?;
            // Both end, whatever becomes of the other.
            (tables.use_up(request.handle), tables.take_channel(request.channel))
        };
        personalize::run(prepared?, channel?, request)
    }

    fn release(&mut self, handles: &[Handle]) -> Result<(), HsmError> {
        self.tables()?.release(handles);
        Ok(())
    }
}

impl Auditor for SoftHsm {
    fn audit(&mut self, ledger: LedgerId) -> Result<AuditInfo, HsmError> {
        self.shared.book.info(ledger)
    }

    fn checkpoint(&mut self, place: ChainPlace) -> Result<Checkpoint, HsmError> {
        self.shared.book.checkpoint(place)
    }

    fn admit(&mut self, file: &Admission) -> Result<(), HsmError> {
        self.shared.book.admit(file)
    }

    fn sign(
        &mut self,
        kind: DocumentKind,
        ledger: LedgerId,
        digest: [u8; 32],
    ) -> Result<Signature, HsmError> {
        self.shared.book.sign(kind, ledger, &digest)
    }
}

impl Vault for SoftHsm {
    fn new_spool(&mut self, ledger: LedgerId) -> Result<SpoolKeyName, HsmError> {
        self.shared.spools.make(ledger)
    }

    fn seal(&mut self, spool: SpoolKeyName, first: u64, clear: &[u8]) -> Result<Vec<u8>, HsmError> {
        self.shared.spools.seal(spool, first, clear)
    }

    fn unseal(&mut self, spool: SpoolKeyName, first: u64, sealed: &[u8]) -> Result<Vec<u8>, HsmError> {
        self.shared.spools.unseal(spool, first, sealed)
    }

    fn destroy_spool(&mut self, spool: SpoolKeyName) -> Result<(), HsmError> {
        self.shared.spools.destroy(spool)
    }

    fn keep_spools(&mut self, ledger: LedgerId, spools: &[SpoolKeyName]) -> Result<(), HsmError> {
        self.shared.spools.keep(ledger, spools)
    }
}
