//! What an issuer's HSM signs for offline data authentication: certificates and static data. It builds every block itself, so
//! that its keys sign nothing else.
//!
//! EMV 4.3 Book 2, clauses 5 and 6; the formats are those of `emv`. Not here: where the keys are kept (`rsa_book`).

use super::malformed;
use super::rsa_book::{RsaBook, RsaEntries, authority_key, rsa_failed};
use crate::crypto::payment::digits::compressed;
use crate::crypto::rsa::{PublicExponent, RsaKeyPair, RsaPublicKey};
use crate::emv::{BlockFault, CertificateKind, KeyCertificate, MonthYear, SignedStaticData, request};
use crate::hsm::{
    AuthorityKey, AuthorityName, CardToCertify, CertificateToInstall, HsmError, IssuerCertificate,
    IssuerKeyInfo, IssuerKeyName, OfflineToSign, OwnCertificate, RsaPart,
};

/// Signed values of an application, and the card's key pair.
pub(super) struct SignedValues {
    pub(super) static_data: Option<Vec<u8>>,
    pub(super) card: Option<CertifiedCard>,
}

/// A card's key pair with its certificate.
pub(super) struct CertifiedCard {
    pub(super) certificate: Vec<u8>,
    pair: RsaKeyPair,
}

impl CertifiedCard {
    /// A part of the key pair.
    pub(super) fn part(&self, part: RsaPart) -> &[u8] {
        let parts = self.pair.parts();
        match part {
            RsaPart::Qinv => parts.qinv,
            RsaPart::Dq => parts.dq,
            RsaPart::Dp => parts.dp,
            RsaPart::Q => parts.q,
            RsaPart::P => parts.p,
        }
    }
}

fn unfit(fault: BlockFault) -> HsmError {
    HsmError::RsaKey(format!("a certificate cannot be made: {fault}"))
}

/// Signs what an application needs. `wants_static` says whether one of its DGIs holds signed static data.
pub(super) fn sign(
    book: &RsaBook,
    wanted: &OfflineToSign,
    wants_static: bool,
) -> Result<SignedValues, HsmError> {
    let entries = book.entries()?;
    let signer = &entries.key(wanted.issuer_key)?.signer;
    let length = signer.public().length();
    let static_data = wants_static.then(|| {
        let block =
            SignedStaticData { code: wanted.code }.block(length, &wanted.static_data).map_err(unfit)?;
        signer.sign(&block).map_err(rsa_failed)
    });
    let card = wanted.card.as_ref().map(|card| {
        let pair = entries.card_key(&card.key)?;
        let unsigned = card_certificate(card, pair.public(), book.serial(wanted.issuer_key)?)?;
        let block = unsigned.block(length, &wanted.static_data).map_err(unfit)?;
        let certificate = signer.sign(&block.block).map_err(rsa_failed)?;
        Ok::<_, HsmError>(CertifiedCard { certificate, pair })
    });
    Ok(SignedValues { static_data: static_data.transpose()?, card: card.transpose()? })
}

fn card_certificate(
    card: &CardToCertify,
    public: &RsaPublicKey,
    serial: [u8; 3],
) -> Result<KeyCertificate, HsmError> {
    let number =
        std::str::from_utf8(&card.number).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number =
        number.filter(|text| (1..=20).contains(&text.len())).ok_or_else(|| malformed("account number"))?;
    let mut subject = compressed(number).to_vec();
    subject.resize(10, 0xFF);
    Ok(KeyCertificate {
        kind: CertificateKind::Card,
        subject,
        expiry: MonthYear::from_bcd(card.expiry).ok_or_else(|| malformed("expiry"))?,
        serial,
        modulus: public.modulus().to_vec(),
        exponent: public.exponent().bytes().to_vec(),
    })
}

/// The request for the certificate of an issuer's key.
pub(super) fn request_certificate(entries: &RsaEntries, key: IssuerKeyName) -> Result<Vec<u8>, HsmError> {
    let signer = &entries.key(key)?.signer;
    let public = signer.public();
    let made = request::request_body(key.issuer, public.modulus(), public.exponent().bytes())
        .and_then(|body| Some((request::request_block(&body, public.length())?, body)));
    let (block, body) = made.ok_or_else(|| malformed("size of an RSA key"))?;
    let signature = signer.sign(&block).map_err(rsa_failed)?;
    request::request(&body, &signature).ok_or_else(|| malformed("size of an RSA key"))
}

/// The certificate of an issuer's key, not signed yet.
fn issuer_certificate(
    key: IssuerKeyName,
    public: &RsaPublicKey,
    expiry: MonthYear,
    serial: [u8; 3],
) -> KeyCertificate {
    KeyCertificate {
        kind: CertificateKind::Issuer,
        subject: key.issuer.to_vec(),
        expiry,
        serial,
        modulus: public.modulus().to_vec(),
        exponent: public.exponent().bytes().to_vec(),
    }
}

/// Checks a certificate that an authority sent, and keeps it.
pub(super) fn install(book: &RsaBook, request: &CertificateToInstall) -> Result<IssuerKeyInfo, HsmError> {
    let entries = book.entries()?;
    let public = entries.key(request.key)?.signer.public().clone();
    let refused = |what: &str| HsmError::Certificate(what.to_owned());
    let exponent = PublicExponent::new(request.authority.exponent).map_err(rsa_failed)?;
    let authority = RsaPublicKey::new(&request.authority.modulus, exponent).map_err(rsa_failed)?;
    let block = authority
        .recover(&request.certificate)
        .map_err(|_| refused("it is not as long as the authority's key"))?;
    let found = KeyCertificate::recovered(
        CertificateKind::Issuer,
        &block,
        &request.remainder,
        public.exponent().bytes(),
        &[],
    );
    let found = found.map_err(|fault| refused(&fault.to_string()))?;
    if found.modulus != public.modulus() {
        return Err(refused("it is of another key"));
    }
    if found.subject != request.key.issuer {
        return Err(refused("it is of another issuer identifier"));
    }
    let today = MonthYear::from_bcd(request.today).ok_or_else(|| malformed("date"))?;
    if found.expiry < today {
        return Err(refused(&format!("it expired with {}", found.expiry)));
    }
    let certificate = IssuerCertificate {
        authority: request.authority.name,
        certificate: request.certificate.clone(),
        remainder: request.remainder.clone(),
        expiry: found.expiry.bcd(),
        serial: found.serial,
    };
    book.keep(request.key, &certificate)
}

/// Whether an authority of the store itself has signed a key's certificate. Every byte under the signature is checked: another
/// authority may have the same name.
fn is_own(entries: &RsaEntries, key: &RsaPublicKey, kept: &IssuerCertificate) -> bool {
    let Ok(own) = entries.authority(kept.authority) else { return false };
    let Ok(block) = own.public().recover(&kept.certificate) else { return false };
    let exponent = key.exponent().bytes();
    KeyCertificate::recovered(CertificateKind::Issuer, &block, &kept.remainder, exponent, &[]).is_ok()
}

/// Certifies an issuer's key by the store's own test authority, and keeps the certificate. One of another authority is not
/// replaced.
pub(super) fn certify_own(book: &RsaBook, request: &OwnCertificate) -> Result<AuthorityKey, HsmError> {
    let entries = book.entries()?;
    let public = entries.key(request.key)?.signer.public().clone();
    if let Some(kept) = entries.info(request.key)?.certificate
        && !is_own(&entries, &public, &kept)
    {
        let AuthorityName { rid, index } = kept.authority;
        let authority = format!("{} {index:02X}", hex::encode_upper(rid));
        let what = format!(
            "it would replace that of authority {authority}: make another key (cardwright-prep issuer-cert new)"
        );
        return Err(HsmError::Certificate(what));
    }
    let entries = book.authority(request.authority)?;
    let signer = entries.authority(request.authority)?;
    let expiry = MonthYear::from_bcd(request.expiry).ok_or_else(|| malformed("expiry"))?;
    let mut serial = [0; 3];
    crate::hsm::soft::fill_random(&mut serial)?;
    let unsigned = issuer_certificate(request.key, &public, expiry, serial);
    let block = unsigned.block(signer.public().length(), &[]).map_err(unfit)?;
    let certificate = IssuerCertificate {
        authority: request.authority,
        certificate: signer.sign(&block.block).map_err(rsa_failed)?,
        remainder: block.remainder,
        expiry: request.expiry,
        serial,
    };
    let authority = authority_key(request.authority, signer.public());
    book.keep(request.key, &certificate)?;
    Ok(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rsa::{RsaError, RsaSigner};
    use crate::hsm::NewIssuerKey;
    use crate::hsm::companion::tests::seal;
    use crate::hsm::soft::issuer::rsa_book::generator;

    const ISSUER: [u8; 4] = [0x47, 0x61, 0x73, 0xFF];
    const OWN: AuthorityName = AuthorityName { rid: [0xA0, 0, 0, 0, 3], index: 0xFE };

    /// The key book of a new store with one key of an issuer.
    struct Desk {
        book: RsaBook,
        key: IssuerKeyName,
        _folder: tempfile::TempDir,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let book = RsaBook::of(&seal(folder.path(), 1));
            let key = book.make(&NewIssuerKey { issuer: ISSUER, bits: 1024, exponent: 3 }).unwrap().name;
            Self { book, key, _folder: folder }
        }

        fn certify(&self, expiry: [u8; 2]) -> Result<AuthorityKey, HsmError> {
            certify_own(&self.book, &OwnCertificate { key: self.key, authority: OWN, expiry })
        }

        fn kept(&self) -> Option<IssuerCertificate> {
            self.book.entries().unwrap().info(self.key).unwrap().certificate
        }

        fn public(&self) -> RsaPublicKey {
            self.book.entries().unwrap().key(self.key).unwrap().signer.public().clone()
        }

        /// Imports a certificate that another authority has signed.
        fn import(&self, signer: &RsaSigner, name: AuthorityName) {
            let unsigned = issuer_certificate(
                self.key,
                &self.public(),
                MonthYear::from_bcd([0x12, 0x49]).unwrap(),
                [1, 2, 3],
            );
            let made = unsigned.block(signer.public().length(), &[]).unwrap();
            let request = CertificateToInstall {
                key: self.key,
                authority: authority_key(name, signer.public()),
                certificate: signer.sign(&made.block).unwrap(),
                remainder: made.remainder,
                today: [0x01, 0x26],
            };
            install(&self.book, &request).unwrap();
        }

        /// The store refuses to certify with its own authority, and keeps the certificate that it had.
        fn is_refused(&self) {
            let before = self.kept();
            let refused = self.certify([0x12, 0x50]);
            assert!(matches!(&refused, Err(HsmError::Certificate(what)) if what.contains("would replace")));
            assert!(before.is_some() && self.kept() == before);
        }
    }

    fn signer(bits: usize) -> RsaSigner {
        let mut random = |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|_| RsaError::Random);
        RsaSigner::new(&generator(bits, 3).unwrap().generate(&mut random).unwrap()).unwrap()
    }

    #[test]
    fn a_certificate_of_the_stores_own_authority_is_made_and_replaced() {
        let desk = Desk::new();
        assert!(desk.kept().is_none());
        for expiry in [[0x12, 0x30], [0x12, 0x49], [0x01, 0x31]] {
            let authority = desk.certify(expiry).unwrap();
            let kept = desk.kept().unwrap();
            let authority = RsaPublicKey::new(&authority.modulus, PublicExponent::Three).unwrap();
            let block = authority.recover(&kept.certificate).unwrap();
            let issuer = CertificateKind::Issuer;
            let found = KeyCertificate::recovered(issuer, &block, &kept.remainder, &[3], &[]).unwrap();
            assert_eq!((found.expiry.bcd(), kept.expiry), (expiry, expiry));
            assert!(found.modulus == desk.public().modulus() && found.subject == ISSUER);
        }
    }

    #[test]
    fn a_certificate_of_another_authority_is_never_replaced() {
        let other = signer(1984);
        // The store has no authority of this name; then it has one, of the same name as the other.
        let desk = Desk::new();
        desk.import(&other, OWN);
        desk.is_refused();
        let desk = Desk::new();
        desk.certify([0x12, 0x30]).unwrap();
        for name in [OWN, AuthorityName { index: 0x99, ..OWN }] {
            desk.import(&other, name);
            desk.is_refused();
        }
    }

    /// The first and the last byte are those of every certificate; a foreign one may come to have them too.
    #[test]
    fn a_certificate_is_own_by_all_of_its_bytes() {
        let desk = Desk::new();
        desk.certify([0x12, 0x30]).unwrap();
        let own = desk.kept().unwrap();
        let entries = desk.book.entries().unwrap();
        let authority = entries.authority(OWN).unwrap();
        let block = authority.public().recover(&own.certificate).unwrap();
        for place in [1, 8, 60, block.len() - 2] {
            let mut changed = block.clone();
            changed[place] ^= 1;
            let certificate = authority.sign(&changed).unwrap();
            desk.book.keep(desk.key, &IssuerCertificate { certificate, ..own.clone() }).unwrap();
            desk.is_refused();
        }
        desk.book.keep(desk.key, &own).unwrap();
        desk.certify([0x12, 0x31]).unwrap();
    }
}
