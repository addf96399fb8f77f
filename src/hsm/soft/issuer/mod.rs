//! The software HSM of an issuer: master keys in this process's memory. It runs in an HSM host, never in the preparation.
//!
//! `values` makes card keys, PIN blocks and codes; `offline` signs certificates and static data, with the keys of `rsa_book`;
//! `protect` encrypts and MACs applications and the Trailer; `earlier` opens applications of an unfinished file for it. Not here: what is on a card (`prep`), a bureau's operations
//! (`soft`).

mod earlier;
mod offline;
mod protect;
mod rsa_book;
mod values;

use std::sync::Arc;

use crate::crypto::FileKind;
use crate::exit::{Exit, Failure};
use crate::hsm::recipient::RecipientKey;
use crate::hsm::soft::key_work::KeyShelf;
use crate::hsm::soft::verify;
use crate::hsm::store::{KeyStore, KeyUsage, StoreSide};
use crate::hsm::{
    Auditor, AuthorityKey, CardCodes, CardToProtect, CertificateToInstall, Checker, CodesRequest,
    FileReceiver, HostedHsm, Hsm, HsmError, HsmRefusal, Issuer, IssuerInfo, IssuerKeyInfo, IssuerKeyName,
    MasterKeyInfo, NewCardKeys, NewIssuerKey, OwnCertificate, ProtectRequest, ProtectedCard, Realm,
    SealedCardKey, TrailerEnd, TrailerRequest, TrailerToProtect, Vault, WipedBytes,
};
use crate::record::envelope::WrappedFileKey;

use rsa_book::RsaBook;
pub use values::ClearDgi;

/// One connection to the software HSM of an issuer.
pub struct SoftIssuer {
    shared: Arc<IssuerState>,
}

struct IssuerState {
    store: KeyStore,
    rsa: RsaBook,
    recipient: RecipientKey,
}

impl SoftIssuer {
    /// An HSM over an open store. A bureau's store is refused: it has no master keys.
    pub fn new(store: KeyStore) -> Result<Self, Failure> {
        if store.side() != StoreSide::Issuer {
            let what = "key: this is a bureau's key store; preparation needs the issuer's own (cardwright-prep key init)";
            return Err(Failure::new(Exit::KeyStore, what));
        }
        let (rsa, recipient) = (RsaBook::of(store.companions()), RecipientKey::of(store.companions()));
        Ok(Self { shared: Arc::new(IssuerState { store, rsa, recipient }) })
    }
}

impl SoftIssuer {
    /// The values of a card's applications in the clear, each application's in file order: what the bureau's machines will
    /// write. For tests that compare cards with their orders; no operation returns them.
    pub fn clear(&self, issuer: &str, card: &CardToProtect) -> Result<Vec<Vec<ClearDgi>>, HsmError> {
        let mut values = values::ValueMaker::new(&self.shared, issuer, card);
        card.applications.iter().map(|application| values.clear(application, None)).collect()
    }
}

impl HostedHsm for SoftIssuer {
    type Connection = Self;

    fn realm(&self) -> Realm {
        self.shared.store.realm()
    }

    fn connect(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl Hsm for SoftIssuer {}
impl Auditor for SoftIssuer {}
impl Vault for SoftIssuer {}
impl Checker for SoftIssuer {}

/// An issuer reads its own sealed files again.
impl FileReceiver for SoftIssuer {
    fn unwrap_file_key(&mut self, wrapped: &[WrappedFileKey]) -> Result<WipedBytes, HsmError> {
        self.shared.recipient.unwrap(wrapped)
    }
}

impl Issuer for SoftIssuer {
    fn issuer_keys(&mut self) -> Result<IssuerInfo, HsmError> {
        let masters = self.shared.store.entries().iter().filter(|entry| entry.usage().is_master());
        let masters = masters.map(|entry| MasterKeyInfo {
            label: entry.label().to_owned(),
            usage: entry.usage(),
            issuer: entry.id().to_owned(),
            version: entry.version(),
            key_type: entry.key_type(),
            kcv: entry.kcv(),
        });
        Ok(IssuerInfo {
            realm: self.shared.store.realm(),
            keks: super::keks(&self.shared.store),
            masters: masters.collect(),
            rsa: self.shared.rsa.known()?.map_or_else(|| Ok(Vec::new()), |entries| entries.infos())?,
        })
    }

    fn card_codes(&mut self, request: &CodesRequest) -> Result<Vec<CardCodes>, HsmError> {
        values::codes(&self.shared.store, request)
    }

    fn protect_cards(&mut self, request: &ProtectRequest) -> Result<Vec<ProtectedCard>, HsmError> {
        protect::cards(&self.shared, request)
    }

    fn protect_trailer(&mut self, request: &TrailerToProtect) -> Result<TrailerEnd, HsmError> {
        protect::trailer(&self.shared.store, request)
    }

    fn make_issuer_key(&mut self, request: &NewIssuerKey) -> Result<IssuerKeyInfo, HsmError> {
        self.shared.rsa.make(request)
    }

    fn request_certificate(&mut self, key: IssuerKeyName) -> Result<Vec<u8>, HsmError> {
        offline::request_certificate(&*self.shared.rsa.entries()?, key)
    }

    fn install_certificate(&mut self, request: &CertificateToInstall) -> Result<IssuerKeyInfo, HsmError> {
        offline::install(&self.shared.rsa, request)
    }

    fn certify_own(&mut self, request: &OwnCertificate) -> Result<AuthorityKey, HsmError> {
        offline::certify_own(&self.shared.rsa, request)
    }

    fn make_card_keys(&mut self, request: &NewCardKeys) -> Result<Vec<SealedCardKey>, HsmError> {
        let (entries, generator) =
            (self.shared.rsa.entries()?, rsa_book::generator(request.bits.into(), request.exponent)?);
        (0..request.count).map(|_| entries.make_card_key(&generator)).collect()
    }

    fn verify_unfinished(&mut self, request: &TrailerRequest) -> Result<(), HsmError> {
        verify::trailer(KeyShelf { store: &self.shared.store, token: None }, FileKind::Unfinished, request)
    }

    fn check_card_key(&mut self, key: &SealedCardKey) -> Result<(), HsmError> {
        match self.shared.rsa.known()? {
            Some(entries) => entries.card_key(&key.sealed).map(drop),
            None => Err(HsmError::RsaKey("this store has sealed no key pair of a card".into())),
        }
    }
}

/// Whether a usage is one of a master key from which card keys are derived.
fn derives(usage: KeyUsage) -> bool {
    use KeyUsage::{ImkAc, ImkSmc, ImkSmi, Kml, Kmu};
    matches!(usage, ImkAc | ImkSmi | ImkSmc | Kml | Kmu)
}

/// The refusal of a value that the caller had to check.
fn malformed(what: &str) -> HsmError {
    HsmRefusal::Malformed(what.to_owned()).into()
}
