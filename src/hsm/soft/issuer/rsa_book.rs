//! The RSA keys of an issuer's store, in one file in it (`companion`), `rsa`:
//!
//! ```text
//! cardwright RSA keys 1
//! seal HEX                                         the key under which the key pairs below and those of cards are sealed
//! key ISSUER VERSION SEALED
//! certificate ISSUER VERSION RID INDEX EXPIRY SERIAL CERTIFICATE REMAINDER      the last one of a key counts
//! authority RID INDEX SEALED                       a test authority's key pair
//! serials ISSUER VERSION COUNT                     serial numbers that this key's certificates of cards may have by now
//! ```
//!
//! Bytes are in hex; an empty remainder is `-`. A key pair is sealed by AES-256-GCM: nonce 12 | ciphertext | tag 16, with its
//! purpose and its modulus as associated data, so that it opens as nothing else. A key is never replaced: cards hold its
//! certificates.
//!
//! A certificate's serial number is unique for the key that signs it (EMV Book 2, table 14): a counter from 1, of which each
//! process takes some ahead. The count is on disk before a number is used; numbers that a process took and did not use are
//! left out.
//!
//! Not here: what is signed (`offline`).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use crate::crypto::rsa::{KeyPairGenerator, PublicExponent, RsaError, RsaKeyPair, RsaPublicKey, RsaSigner};
use crate::hardening::LockedBox;
use crate::hsm::companion::{CompanionFile, CompanionKind, CompanionSeal};
use crate::hsm::error::locked;
use crate::hsm::soft::fill_random;
use crate::hsm::{
    AuthorityKey, AuthorityName, HsmError, IssuerCertificate, IssuerKeyInfo, IssuerKeyName, NewIssuerKey,
    SealedCardKey,
};

const FIRST: &str = "cardwright RSA keys 1";
/// Bytes of the nonce.
const NONCE: usize = 12;
/// Size of a test authority's modulus in bits: the largest of EMV.
const AUTHORITY_BITS: usize = 1984;
/// Serial numbers that a process takes at once: a sync of the disk for each certificate would take longer than the
/// certificate.
const SERIALS: u32 = 256;
/// Largest serial number: 3 bytes.
const SERIAL_MAX: u32 = 0x00FF_FFFF;

/// The RSA keys of a store.
pub(super) struct RsaBook {
    kept: CompanionFile,
    /// The keys in use. A key signs thousands of certificates, and opening it takes as long as a signature.
    open: Mutex<Option<Arc<RsaEntries>>>,
    /// Serial numbers that this process has taken and not used yet, by key.
    serials: Mutex<BTreeMap<IssuerKeyName, RangeInclusive<u32>>>,
}

/// What the file holds, opened.
pub(super) struct RsaEntries {
    seal: LockedBox<[u8; 32]>,
    keys: BTreeMap<IssuerKeyName, IssuerEntry>,
    authorities: BTreeMap<AuthorityName, RsaSigner>,
    /// The lines of the file after the first two.
    lines: Vec<String>,
}

/// A key of the issuer.
pub(super) struct IssuerEntry {
    pub(super) signer: RsaSigner,
    pub(super) certificate: Option<IssuerCertificate>,
    /// Serial numbers that were taken.
    serials: u32,
}

/// What a sealed key pair is for.
#[derive(Clone, Copy)]
enum SealedAs {
    Issuer,
    Authority,
    Card,
}

impl SealedAs {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Issuer => b"CWRSA issuer",
            Self::Authority => b"CWRSA authority",
            Self::Card => b"CWRSA card",
        }
    }
}

pub(super) fn rsa_failed(error: RsaError) -> HsmError {
    match error {
        RsaError::Size(_) | RsaError::Exponent => HsmError::RsaKey(error.to_string()),
        other => HsmError::Host(other.to_string()),
    }
}

/// Random numbers for a key pair.
fn random(bytes: &mut [u8]) -> Result<(), RsaError> {
    getrandom::fill(bytes).map_err(|_| RsaError::Random)
}

/// Makes key pairs.
pub(super) fn generator(bits: usize, exponent: u32) -> Result<KeyPairGenerator, HsmError> {
    let exponent = PublicExponent::new(exponent).map_err(rsa_failed)?;
    KeyPairGenerator::new(bits, exponent).map_err(rsa_failed)
}

impl RsaBook {
    pub(super) fn of(seal: &Arc<CompanionSeal>) -> Self {
        let kept = CompanionFile::in_store(seal, CompanionKind::Rsa);
        Self { kept, open: Mutex::default(), serials: Mutex::default() }
    }

    /// The keys as they are now; `None` if there never was one.
    pub(super) fn known(&self) -> Result<Option<Arc<RsaEntries>>, HsmError> {
        let mut open = self.open()?;
        if let Some(entries) = &*open {
            return Ok(Some(Arc::clone(entries)));
        }
        let Some(text) = self.kept.read()? else { return Ok(None) };
        let entries = RsaEntries::from_text(&text).ok_or_else(|| self.kept.damaged())?;
        Ok(Some(Arc::clone(open.insert(Arc::new(entries)))))
    }

    /// The keys as they are now. Makes the file if there is none.
    pub(super) fn entries(&self) -> Result<Arc<RsaEntries>, HsmError> {
        if let Some(entries) = self.known()? {
            return Ok(entries);
        }
        let lock = self.kept.lock()?;
        if self.kept.read()?.is_none() {
            self.kept.write(RsaEntries::new()?.to_text())?;
        }
        drop(lock);
        self.known()?.ok_or_else(|| self.kept.damaged())
    }

    /// Adds a line to the file, which other processes may have changed meanwhile; `make` gets the keys as they are.
    fn add(
        &self,
        make: impl FnOnce(&RsaEntries) -> Result<String, HsmError>,
    ) -> Result<Arc<RsaEntries>, HsmError> {
        self.change(|entries| {
            let line = make(entries)?;
            entries.lines.push(line);
            Ok(())
        })
    }

    /// Changes the lines of the file.
    fn change(
        &self,
        change: impl FnOnce(&mut RsaEntries) -> Result<(), HsmError>,
    ) -> Result<Arc<RsaEntries>, HsmError> {
        self.entries()?;
        let mut open = self.open()?;
        let _lock = self.kept.lock()?;
        let text = self.kept.read()?.ok_or_else(|| self.kept.damaged())?;
        let mut entries = RsaEntries::from_text(&text).ok_or_else(|| self.kept.damaged())?;
        change(&mut entries)?;
        let text = entries.to_text();
        // Read again, so that a line that could not be read back is never written.
        let entries = RsaEntries::from_text(&text).ok_or_else(|| self.kept.damaged())?;
        self.kept.write(text)?;
        Ok(Arc::clone(open.insert(Arc::new(entries))))
    }

    /// Makes a key pair of an issuer with the next version.
    pub(super) fn make(&self, request: &NewIssuerKey) -> Result<IssuerKeyInfo, HsmError> {
        let pair =
            generator(request.bits.into(), request.exponent)?.generate(&mut random).map_err(rsa_failed)?;
        let mut name = IssuerKeyName { issuer: request.issuer, version: 0 };
        let entries = self.add(|entries| {
            let used =
                entries.keys.keys().filter(|key| key.issuer == name.issuer).map(|key| key.version).max();
            name.version = used
                .unwrap_or(0)
                .checked_add(1)
                .ok_or_else(|| HsmError::RsaKey("an issuer identifier has at most 255 RSA keys".into()))?;
            let sealed = hex::encode_upper(entries.seal(SealedAs::Issuer, &pair)?);
            Ok(format!("key {} {} {sealed}", hex::encode_upper(name.issuer), name.version))
        })?;
        entries.info(name)
    }

    /// Keeps a certificate with its key.
    pub(super) fn keep(
        &self,
        key: IssuerKeyName,
        certificate: &IssuerCertificate,
    ) -> Result<IssuerKeyInfo, HsmError> {
        let hex = |bytes: &[u8]| if bytes.is_empty() { "-".to_owned() } else { hex::encode_upper(bytes) };
        let IssuerCertificate { authority, certificate, remainder, expiry, serial } = certificate;
        let line = [
            "certificate".to_owned(),
            hex(&key.issuer),
            key.version.to_string(),
            hex(&authority.rid),
            hex(&[authority.index]),
            hex(expiry),
            hex(serial),
            hex(certificate),
            hex(remainder),
        ];
        self.add(|_| Ok(line.join(" ")))?.info(key)
    }

    /// The serial number of the next certificate that a key signs.
    pub(super) fn serial(&self, key: IssuerKeyName) -> Result<[u8; 3], HsmError> {
        let mut serials = locked(&self.serials)?;
        let number = match serials.get_mut(&key).and_then(Iterator::next) {
            Some(number) => number,
            None => {
                let mut taken = self.take_serials(key)?;
                let number = taken.next().ok_or_else(|| no_serial(key))?;
                serials.insert(key, taken);
                number
            }
        };
        let [_, serial @ ..] = number.to_be_bytes();
        Ok(serial)
    }

    /// Takes the next serial numbers of a key, durably.
    fn take_serials(&self, key: IssuerKeyName) -> Result<RangeInclusive<u32>, HsmError> {
        let (mut first, mut last) = (0, 0);
        self.change(|entries| {
            let taken = entries.key(key)?.serials;
            (first, last) = (taken + 1, taken.saturating_add(SERIALS).min(SERIAL_MAX));
            if first > last {
                return Err(no_serial(key));
            }
            let name = format!("serials {} {} ", hex::encode_upper(key.issuer), key.version);
            entries.lines.retain(|line| !line.starts_with(&name));
            entries.lines.push(format!("{name}{last}"));
            Ok(())
        })?;
        Ok(first..=last)
    }

    /// Makes the key pair of a test authority, unless there is one.
    pub(super) fn authority(&self, name: AuthorityName) -> Result<Arc<RsaEntries>, HsmError> {
        let entries = self.entries()?;
        if entries.authorities.contains_key(&name) {
            return Ok(entries);
        }
        let pair = generator(AUTHORITY_BITS, 3)?.generate(&mut random).map_err(rsa_failed)?;
        self.add(|entries| {
            let sealed = hex::encode_upper(entries.seal(SealedAs::Authority, &pair)?);
            Ok(format!(
                "authority {} {} {sealed}",
                hex::encode_upper(name.rid),
                hex::encode_upper([name.index])
            ))
        })
    }

    fn open(&self) -> Result<MutexGuard<'_, Option<Arc<RsaEntries>>>, HsmError> {
        locked(&self.open)
    }
}

/// A key that has given every serial number.
fn no_serial(key: IssuerKeyName) -> HsmError {
    let IssuerKeyName { issuer, version } = key;
    HsmError::RsaKey(format!(
        "RSA key {version} of issuer {} has used all of its {SERIAL_MAX} serial numbers: make a new key with issuer-cert new",
        hex::encode_upper(issuer)
    ))
}

impl RsaEntries {
    fn new() -> Result<Self, HsmError> {
        let mut seal = LockedBox::zeros();
        fill_random(&mut *seal)?;
        Ok(Self { seal, keys: BTreeMap::new(), authorities: BTreeMap::new(), lines: Vec::new() })
    }

    /// A key of the issuer.
    pub(super) fn key(&self, name: IssuerKeyName) -> Result<&IssuerEntry, HsmError> {
        self.keys.get(&name).ok_or(HsmError::UnknownIssuerKey(name))
    }

    /// A test authority's key.
    pub(super) fn authority(&self, name: AuthorityName) -> Result<&RsaSigner, HsmError> {
        self.authorities.get(&name).ok_or_else(|| HsmError::Host("the test authority is not there".into()))
    }

    /// Every key of the issuer, without its private part.
    pub(super) fn infos(&self) -> Result<Vec<IssuerKeyInfo>, HsmError> {
        self.keys.keys().map(|name| self.info(*name)).collect()
    }

    pub(super) fn info(&self, name: IssuerKeyName) -> Result<IssuerKeyInfo, HsmError> {
        let entry = self.key(name)?;
        let public = entry.signer.public();
        Ok(IssuerKeyInfo {
            name,
            modulus: public.modulus().to_vec(),
            exponent: public.exponent().value(),
            certificate: entry.certificate.clone(),
        })
    }

    /// Makes a card's key pair and seals it.
    pub(super) fn make_card_key(&self, generator: &KeyPairGenerator) -> Result<SealedCardKey, HsmError> {
        let pair = generator.generate(&mut random).map_err(rsa_failed)?;
        Ok(SealedCardKey {
            sealed: self.seal(SealedAs::Card, &pair)?,
            modulus: pair.public().modulus().to_vec(),
        })
    }

    /// Opens a card's key pair.
    pub(super) fn card_key(&self, sealed: &[u8]) -> Result<RsaKeyPair, HsmError> {
        let wrong = || {
            HsmError::RsaKey("a card's key pair of the pool was sealed by another store, or changed".into())
        };
        self.unseal(SealedAs::Card, sealed).ok_or_else(wrong)
    }

    fn cipher(&self) -> Option<Aes256Gcm> {
        Aes256Gcm::new_from_slice(&*self.seal).ok()
    }

    fn seal(&self, purpose: SealedAs, pair: &RsaKeyPair) -> Result<Vec<u8>, HsmError> {
        let mut nonce = [0; NONCE];
        fill_random(&mut nonce)?;
        let mut sealed = pair.encode();
        let tag = self.cipher().and_then(|cipher| {
            let place = InOutBuf::from(sealed.as_mut_slice());
            cipher.encrypt_inout_detached(&nonce.into(), purpose.label(), place).ok()
        });
        let tag = tag.ok_or_else(|| HsmError::Host("a key pair could not be sealed".into()))?;
        Ok([nonce.as_slice(), &sealed, &tag].concat())
    }

    fn unseal(&self, purpose: SealedAs, sealed: &[u8]) -> Option<RsaKeyPair> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let (sealed, tag) = sealed.split_last_chunk::<16>()?;
        let mut clear = Zeroizing::new(sealed.to_vec());
        let place = InOutBuf::from(clear.as_mut_slice());
        let cipher = self.cipher()?;
        cipher.decrypt_inout_detached(&(*nonce).into(), purpose.label(), place, &(*tag).into()).ok()?;
        RsaKeyPair::decode(&clear).ok()
    }

    fn to_text(&self) -> Zeroizing<String> {
        let seal = Zeroizing::new(hex::encode_upper(*self.seal));
        let mut text = Zeroizing::new(format!("{FIRST}\nseal {}\n", seal.as_str()));
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads the file's lines; `None` if one of them cannot be read.
    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST) {
            return None;
        }
        let mut seal = LockedBox::zeros();
        hex::decode_to_slice(lines.next()?.strip_prefix("seal ")?, &mut *seal).ok()?;
        let mut entries =
            Self { seal, keys: BTreeMap::new(), authorities: BTreeMap::new(), lines: Vec::new() };
        for line in lines {
            entries.read(line)?;
            entries.lines.push(line.to_owned());
        }
        Some(entries)
    }

    fn read(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let words: Vec<&str> = words.collect();
        let version = |text: &str| text.parse::<u8>().ok().filter(|version| *version > 0);
        match (kind, words.as_slice()) {
            ("key", [issuer, number, sealed]) => {
                let name = IssuerKeyName { issuer: fixed(issuer)?, version: version(number)? };
                let pair = self.unseal(SealedAs::Issuer, &hex::decode(sealed).ok()?)?;
                let entry =
                    IssuerEntry { signer: RsaSigner::new(&pair).ok()?, certificate: None, serials: 0 };
                self.keys.insert(name, entry).is_none().then_some(())
            }
            ("authority", [rid, index, sealed]) => {
                let name = authority_name(rid, index)?;
                let pair = self.unseal(SealedAs::Authority, &hex::decode(sealed).ok()?)?;
                self.authorities.insert(name, RsaSigner::new(&pair).ok()?).is_none().then_some(())
            }
            ("certificate", [issuer, number, rid, index, expiry, serial, certificate, remainder]) => {
                let name = IssuerKeyName { issuer: fixed(issuer)?, version: version(number)? };
                let remainder = if *remainder == "-" { Vec::new() } else { hex::decode(remainder).ok()? };
                self.keys.get_mut(&name)?.certificate = Some(IssuerCertificate {
                    authority: authority_name(rid, index)?,
                    certificate: hex::decode(certificate).ok()?,
                    remainder,
                    expiry: fixed(expiry)?,
                    serial: fixed(serial)?,
                });
                Some(())
            }
            ("serials", [issuer, number, count]) => {
                let name = IssuerKeyName { issuer: fixed(issuer)?, version: version(number)? };
                self.keys.get_mut(&name)?.serials =
                    count.parse().ok().filter(|count| *count <= SERIAL_MAX)?;
                Some(())
            }
            _ => None,
        }
    }
}

fn authority_name(rid: &str, index: &str) -> Option<AuthorityName> {
    let [index] = fixed::<1>(index)?;
    Some(AuthorityName { rid: fixed(rid)?, index })
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// A public key of an authority.
pub(super) fn authority_key(name: AuthorityName, public: &RsaPublicKey) -> AuthorityKey {
    AuthorityKey { name, modulus: public.modulus().to_vec(), exponent: public.exponent().value() }
}
