//! The chain of keys: certification authority, issuer, card (EMV Book 2, 5.2, 5.3 and 6.4).

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use super::data::{CalendarMonth, TerminalData};
use super::failure::{AuthenticationFailure, StepFault, TerminalStep};
use super::recovery::{OpeningKey, SignedBlock, array, check_filler};
use super::tlv::{CardObjects, take};

/// Keys of certification authorities, as a terminal keeps them.
pub struct CertificationKeys(Vec<CertificationKey>);

struct CertificationKey {
    rid: [u8; 5],
    index: u8,
    key: OpeningKey,
}

/// One object, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeyFile {
    One(KeyEntry),
    Several(Vec<KeyEntry>),
}

/// A key in the file: hex.
#[derive(Deserialize)]
struct KeyEntry {
    rid: String,
    index: String,
    modulus: String,
    exponent: String,
}

impl CertificationKeys {
    /// Parses `{"rid", "index", "modulus", "exponent"}` in hex, one object or a list.
    pub fn parse(text: &str) -> Result<Self> {
        let entries = match serde_json::from_str(text) {
            Ok(KeyFile::One(entry)) => vec![entry],
            Ok(KeyFile::Several(entries)) => entries,
            Err(error) if error.is_data() => {
                return Err(anyhow!("a key needs rid, index, modulus and exponent, each as a text in hex"));
            }
            Err(error) => return Err(error.into()),
        };
        let mut keys: Vec<CertificationKey> = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            let key = entry.key().with_context(|| format!("key {}", n + 1))?;
            let twice = keys.iter().any(|other| (other.rid, other.index) == (key.rid, key.index));
            ensure!(!twice, "key {} has the RID and index of an earlier one", n + 1);
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// The key of an application: the RID is the first five bytes of its AID.
    pub(super) fn of_application(
        &self,
        aid: &[u8],
        index: &[u8],
    ) -> Result<&OpeningKey, AuthenticationFailure> {
        self.find(|key| aid.starts_with(&key.rid) && index == [key.index])
    }

    /// The one key of this index, for an application whose AID has no registered provider.
    pub(super) fn of_index(&self, index: &[u8]) -> Result<&OpeningKey, AuthenticationFailure> {
        self.find(|key| index == [key.index])
    }

    fn find(&self, wanted: impl Fn(&CertificationKey) -> bool) -> Result<&OpeningKey, AuthenticationFailure> {
        let mut found = self.0.iter().filter(|key| wanted(key));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(&only.key),
            _ => Err(StepFault::UnknownKey.at(TerminalStep::CertificationKey)),
        }
    }
}

impl KeyEntry {
    fn key(&self) -> Result<CertificationKey> {
        let bytes = |name: &str, text: &str| hex::decode(text).with_context(|| format!("{name} is not hex"));
        let rid = bytes("rid", &self.rid)?.try_into().ok().context("rid has not 5 bytes")?;
        let [index] = bytes("index", &self.index)?.try_into().ok().context("index has not 1 byte")?;
        let key = OpeningKey::new(&bytes("modulus", &self.modulus)?, &bytes("exponent", &self.exponent)?)?;
        Ok(CertificationKey { rid, index, key })
    }
}

/// Decimal digits of a number that is padded with F.
fn digits(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut digits: Vec<u8> = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect();
    while digits.last() == Some(&15) {
        digits.pop();
    }
    digits.iter().all(|digit| *digit <= 9).then_some(digits)
}

/// The fields that both certificates have after their subject (EMV Book 2, tables 6 and 14).
struct CertificateFields<'a> {
    expiry: [u8; 2],
    hash_algorithm: u8,
    key_algorithm: u8,
    key_length: usize,
    exponent_length: usize,
    /// The key or its leftmost part, with padding.
    key: &'a [u8],
}

impl<'a> CertificateFields<'a> {
    fn parse(mut rest: &'a [u8]) -> Result<Self, StepFault> {
        let expiry = array(&mut rest)?;
        let _serial: [u8; 3] = array(&mut rest)?;
        let [hash_algorithm, key_algorithm, key_length, exponent_length] = array(&mut rest)?;
        Ok(Self {
            expiry,
            hash_algorithm,
            key_algorithm,
            key_length: key_length.into(),
            exponent_length: exponent_length.into(),
            key: rest,
        })
    }

    fn check_expiry(&self, data: &TerminalData) -> Result<(), StepFault> {
        let [month, year] = self.expiry;
        let expiry = CalendarMonth::from_bcd(year, month)?;
        if data.is_before_end_of(expiry) { Ok(()) } else { Err(StepFault::Expired) }
    }

    /// The certified key, put together with its remainder. It is not longer than the key of its signer.
    fn whole_key(
        &self,
        remainder: Option<&[u8]>,
        exponent: &[u8],
        signer: &OpeningKey,
    ) -> Result<OpeningKey, StepFault> {
        if self.key_algorithm != 1 {
            return Err(StepFault::KeyAlgorithm);
        }
        if self.key_length > signer.length() {
            return Err(StepFault::KeyLength);
        }
        if exponent.len() != self.exponent_length {
            return Err(StepFault::Exponent);
        }
        let outside = self.key_length.saturating_sub(self.key.len());
        // An object without need, even an empty one, is an error of the card's preparation.
        if remainder.map_or(0, <[u8]>::len) != outside || (outside == 0 && remainder.is_some()) {
            return Err(StepFault::Remainder);
        }
        let mut rest = self.key;
        let inside = take(&mut rest, self.key_length - outside)?;
        check_filler(rest)?;
        OpeningKey::new(&[inside, remainder.unwrap_or_default()].concat(), exponent)
    }
}

/// Opens the issuer's certificate with the authority's key; returns the issuer's key. `subject` is the PAN, or
/// the number that stands for it.
pub(super) fn issuer_key(
    authority: &OpeningKey,
    objects: &CardObjects,
    subject: &[u8],
    data: &TerminalData,
) -> Result<OpeningKey, StepFault> {
    let (certificate, exponent) = (objects.get(0x90)?, objects.get(0x9F32)?);
    let remainder = objects.find(0x92);
    let block: SignedBlock = authority.open(certificate, 2)?;
    let mut rest = block.content();
    let identifier: [u8; 4] = array(&mut rest)?;
    let fields = CertificateFields::parse(rest)?;
    block.check_hash(fields.hash_algorithm, &[remainder.unwrap_or_default(), exponent])?;
    let identifier = digits(&identifier).filter(|digits| (3..=8).contains(&digits.len()));
    let subject = digits(subject).ok_or(StepFault::Pan)?;
    if !identifier.is_some_and(|identifier| subject.starts_with(&identifier)) {
        return Err(StepFault::IssuerIdentifier);
    }
    fields.check_expiry(data)?;
    fields.whole_key(remainder, exponent, authority)
}

/// Opens the card's certificate with the issuer's key; returns the card's key.
pub(super) fn card_key(
    issuer: &OpeningKey,
    objects: &CardObjects,
    subject: &[u8],
    static_data: &[u8],
    data: &TerminalData,
) -> Result<OpeningKey, StepFault> {
    let (certificate, exponent) = (objects.get(0x9F46)?, objects.get(0x9F47)?);
    let remainder = objects.find(0x9F48);
    let block: SignedBlock = issuer.open(certificate, 4)?;
    let mut rest = block.content();
    let number: [u8; 10] = array(&mut rest)?;
    let fields = CertificateFields::parse(rest)?;
    block.check_hash(fields.hash_algorithm, &[remainder.unwrap_or_default(), exponent, static_data])?;
    if digits(&number).is_none_or(|number| digits(subject) != Some(number)) {
        return Err(StepFault::Pan);
    }
    fields.check_expiry(data)?;
    fields.whole_key(remainder, exponent, issuer)
}
