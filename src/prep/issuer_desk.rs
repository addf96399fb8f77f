//! The issuer's RSA keys and their certificates: what `issuer-cert` does.
//!
//! Not here: keys at rest and signatures (`hsm`), the formats (`emv`), words and prints (`cli`).

use std::path::Path;

use sha1::{Digest, Sha1};

use super::today::this_month;
use crate::crypto::rsa::PublicExponent;
use crate::emv::MonthYear;
use crate::emv::request::{AuthorityAnswer, read_answer};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::{CallerRole, KeyHost};
pub use crate::hsm::{AuthorityKey, AuthorityName, IssuerKeyInfo, IssuerKeyName};
use crate::hsm::{CertificateToInstall, Issuer, NewIssuerKey, OwnCertificate};

/// Most bytes of an authority's answer: two moduli and some names.
const MAX_ANSWER: u64 = 4096;

/// The issuer's HSM, while a command needs it.
pub struct IssuerDesk(KeyHost);

impl IssuerDesk {
    /// Starts the HSM host of a key store.
    pub fn open(store: &Path) -> Result<Self, Failure> {
        KeyHost::open(store, CallerRole::Issuer).map(Self)
    }

    /// Every RSA key of the issuer.
    pub fn keys(&mut self) -> Result<Vec<IssuerKeyInfo>, Failure> {
        Ok(self.0.hsm.issuer_keys()?.rsa)
    }

    /// Makes a key with the next version.
    pub fn make(&mut self, issuer: [u8; 4], bits: u16, exponent: u32) -> Result<IssuerKeyInfo, Failure> {
        Ok(self.0.hsm.make_issuer_key(&NewIssuerKey { issuer, bits, exponent })?)
    }

    /// The request for a certificate of a key.
    pub fn request(&mut self, key: IssuerKeyName) -> Result<Vec<u8>, Failure> {
        Ok(self.0.hsm.request_certificate(key)?)
    }

    /// Certifies a key by the store's own test authority. Refuses a key that another authority has certified. Returns the
    /// authority's public key.
    pub fn certify(
        &mut self,
        key: IssuerKeyName,
        authority: AuthorityName,
        expiry: MonthYear,
    ) -> Result<AuthorityKey, Failure> {
        Ok(self.0.hsm.certify_own(&OwnCertificate { key, authority, expiry: expiry.bcd() })?)
    }

    /// Keeps the certificate that an authority has sent. Returns the key and the checksum of the authority's key.
    pub fn import(&mut self, key: IssuerKeyName, path: &Path) -> Result<(IssuerKeyInfo, String), Failure> {
        let fail =
            |what: String| Failure::new(Exit::Io, format!("operator: answer {}: {what}", path.display()));
        let bytes = files::read_bytes(path, MAX_ANSWER).map_err(|e| fail(files::trouble(&e)))?;
        let answer =
            read_answer(&bytes).map_err(|fault| fail(format!("{fault}; ask the certification authority")))?;
        let AuthorityAnswer { rid, index, modulus, exponent, certificate, remainder } = answer;
        let exponent = exponent.iter().fold(0u32, |number, byte| number.wrapping_shl(8) | u32::from(*byte));
        let authority =
            AuthorityKey { name: AuthorityName { rid, index }, modulus: modulus.to_vec(), exponent };
        let checksum = checksum(&authority);
        let request = CertificateToInstall {
            key,
            authority,
            certificate: certificate.to_vec(),
            remainder: remainder.to_vec(),
            today: this_month().bcd(),
        };
        Ok((self.0.hsm.install_certificate(&request)?, checksum))
    }

    /// Opens one more connection.
    pub fn connect(&self) -> Result<HsmClient, Failure> {
        self.0.connect()
    }
}

/// The checksum of an authority's key (EMV Book 2, Annex B2.1, table 26): SHA-1 of RID, index, modulus and exponent.
pub fn checksum(key: &AuthorityKey) -> String {
    let mut hash = Sha1::new_with_prefix(key.name.rid);
    hash.update([key.name.index]);
    hash.update(&key.modulus);
    hash.update(exponent_bytes(key.exponent));
    hex::encode_upper(hash.finalize())
}

/// An issuer's RSA key as people write it: `issuer identifier:version`, as `476173:1`.
pub fn issuer_key_name(name: IssuerKeyName) -> String {
    format!("{}:{}", hex::encode_upper(name.issuer).trim_end_matches('F'), name.version)
}

/// A public exponent without zeros in front.
pub fn exponent_bytes(exponent: u32) -> &'static [u8] {
    // The HSM and the product's rules take no other exponents.
    PublicExponent::new(exponent).map_or(&[], PublicExponent::bytes)
}
