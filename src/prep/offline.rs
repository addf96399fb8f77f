//! Offline data authentication of one application: what its templates may name, and what the issuer's HSM signs.
//!
//! The plan of an application says by which method a terminal authenticates its cards; the certificate of the issuer's key
//! comes from the HSM. EMV 4.3 Book 2, clauses 5 and 6; Book 3, clause 10.3 and Annex C1 (AIP). Not here: the blocks (`emv`),
//! the signatures (`hsm`).

use std::collections::BTreeMap;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::fields::{CardField, FieldContent};
use super::issuer_desk::exponent_bytes;
use super::plan::OfflinePlan;
use crate::emv::{CertificateKind, FileLocator, MonthYear, static_data};
use crate::exit::{Exit, Failure};
use crate::hsm::{
    CardToCertify, IssuerCertificate, IssuerInfo, IssuerKeyInfo, OfflineToSign, RsaPart, SealedCardKey,
    ValuePart, WipedBytes,
};
use crate::ids::Dgi;

/// Largest modulus of issuers' and cards' keys in bits: with a larger one the certificate 9F46 fits no record.
pub const KEY_BITS_MAX: u16 = 1976;

/// How a terminal authenticates cards offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OfflineMethod {
    /// Static: signed static data.
    Sda,
    /// Dynamic: the card signs a number of the terminal.
    Dda,
    /// Combined: the card signs its application cryptogram too; such a card also does DDA.
    Cda,
}

impl OfflineMethod {
    /// The bits of the application interchange profile that say what the card supports.
    fn aip(self) -> [u8; 2] {
        match self {
            Self::Sda => [0x40, 0x00],
            Self::Dda => [0x20, 0x00],
            Self::Cda => [0x21, 0x00],
        }
    }

    /// The fields without which a terminal cannot authenticate a card. Remainders are among them because a key may need one;
    /// their tags fall out when it does not.
    pub fn fields(self) -> Vec<CardField> {
        let issuer = [
            CardField::CaIndex,
            CardField::IssuerCertificate,
            CardField::IssuerExponent,
            CardField::IssuerRemainder,
            CardField::Aip,
            CardField::Afl,
        ];
        let own: &[CardField] = match self {
            Self::Sda => &[CardField::SignedData],
            Self::Dda | Self::Cda => &[
                CardField::CardCertificate,
                CardField::CardExponent,
                CardField::CardRemainder,
                CardField::RsaQinv,
                CardField::RsaDq,
                CardField::RsaDp,
                CardField::RsaQ,
                CardField::RsaP,
            ],
        };
        [&issuer, own].concat()
    }
}

/// Size and public exponent of cards' key pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardKeySize {
    /// Size of the modulus in bits.
    pub bits: u16,
    /// Public exponent: 3 or 65537.
    pub exponent: u32,
}

/// The issuer's key for one application, with its certificate.
pub struct OfflineKey {
    key: IssuerKeyInfo,
    certificate: IssuerCertificate,
    expiry: MonthYear,
}

impl OfflineKey {
    /// The newest key of the issuer that has a certificate, or the one that the plan names. `today` is this month.
    pub fn of(
        info: &IssuerInfo,
        issuer: [u8; 4],
        plan: &OfflinePlan,
        today: MonthYear,
    ) -> Result<Self, Failure> {
        let fail = |exit, what: String| Err(Failure::new(exit, format!("key: {what}")));
        let fits = |key: &&IssuerKeyInfo| {
            key.name.issuer == issuer && plan.issuer_key.is_none_or(|version| key.name.version == version)
        };
        let certified =
            |key: &IssuerKeyInfo| key.certificate.clone().map(|certificate| (key.clone(), certificate));
        let newest =
            info.rsa.iter().filter(fits).filter_map(certified).max_by_key(|(key, _)| key.name.version);
        let Some((key, certificate)) = newest else {
            let what = "the product needs an RSA key of the issuer with a certificate, which the key store does not hold: \
                        make a key and get its certificate (cardwright-prep issuer-cert)";
            return fail(Exit::KeyUnknown, what.into());
        };
        let version = key.name.version;
        let Some(expiry) = MonthYear::from_bcd(certificate.expiry) else {
            return fail(
                Exit::KeyStore,
                format!("the certificate of RSA key {version} has no date of expiry"),
            );
        };
        if expiry < today {
            let what =
                format!("the certificate of RSA key {version} expired with {expiry}: import a new one");
            return fail(Exit::KeyMismatch, what);
        }
        if key.modulus.len() * 8 > usize::from(KEY_BITS_MAX) {
            let what = format!(
                "RSA key {version} has more than {KEY_BITS_MAX} bits, and its certificates fit no record"
            );
            return fail(Exit::KeyMismatch, what);
        }
        if plan.card_key.is_some_and(|card| usize::from(card.bits) > key.modulus.len() * 8) {
            let what =
                format!("cards' keys of the product are longer than RSA key {version}, which certifies them");
            return fail(Exit::KeyMismatch, what);
        }
        Ok(Self { key, certificate, expiry })
    }

    /// The key, with its certificate.
    pub fn info(&self) -> &IssuerKeyInfo {
        &self.key
    }

    /// The values of the fields of an application with these records, each with whether it is static.
    pub fn values(
        &self,
        plan: &OfflinePlan,
        records: &[(Dgi, bool)],
        card: Option<&SealedCardKey>,
    ) -> Result<BTreeMap<CardField, FieldContent>, String> {
        let signer = self.key.modulus.len();
        let locator = FileLocator::of(records.iter().copied()).map_err(|fault| fault.to_string())?;
        let mut values = BTreeMap::from([
            (CardField::Aip, known(&plan.aip_with_method())),
            (CardField::Afl, known(locator.bytes())),
            (CardField::CaIndex, known(&[self.certificate.authority.index])),
            (CardField::IssuerCertificate, known(&self.certificate.certificate)),
            (CardField::IssuerExponent, known(exponent_bytes(self.key.exponent))),
            (CardField::SignedData, FieldContent::Made(ValuePart::SignedStaticData, signer)),
        ]);
        let mut remainder = |field, bytes: &[u8]| {
            if !bytes.is_empty() {
                values.insert(field, known(bytes));
            }
        };
        remainder(CardField::IssuerRemainder, &self.certificate.remainder);
        if let Some(card) = card {
            let inside = signer.saturating_sub(CertificateKind::Card.overhead());
            remainder(CardField::CardRemainder, card.modulus.get(inside..).unwrap_or_default());
            let half = card.modulus.len().div_ceil(2);
            let part = |part| FieldContent::Made(ValuePart::Rsa(part), half);
            values.extend([
                (CardField::CardCertificate, FieldContent::Made(ValuePart::CardCertificate, signer)),
                (
                    CardField::CardExponent,
                    known(exponent_bytes(plan.card_key.map_or(3, |size| size.exponent))),
                ),
                (CardField::RsaQinv, part(RsaPart::Qinv)),
                (CardField::RsaDq, part(RsaPart::Dq)),
                (CardField::RsaDp, part(RsaPart::Dp)),
                (CardField::RsaQ, part(RsaPart::Q)),
                (CardField::RsaP, part(RsaPart::P)),
            ]);
        }
        Ok(values)
    }

    /// The order to sign for a card with these static records, in the order of the locator.
    pub fn to_sign<'r>(
        &self,
        plan: &OfflinePlan,
        records: impl IntoIterator<Item = (Dgi, &'r [u8])>,
        subject: &CertifiedNumber<'_>,
        card: Option<SealedCardKey>,
    ) -> Result<OfflineToSign, String> {
        if subject.expiry > self.expiry {
            return Err(format!(
                "the card is valid longer than the certificate of the issuer's key, which expires with {}",
                self.expiry
            ));
        }
        let aip = plan.aip_with_method();
        let data = static_data(records, plan.sign_aip.then_some(&aip)).map_err(|fault| fault.to_string())?;
        let [_, serial @ ..] = subject.sequence.to_be_bytes();
        let card = card.map(|key| CardToCertify {
            key: key.sealed.into(),
            number: subject.number.as_bytes().into(),
            expiry: subject.expiry.bcd(),
            serial,
        });
        Ok(OfflineToSign {
            issuer_key: self.key.name,
            static_data: WipedBytes::from(data),
            code: plan.code,
            card,
        })
    }
}

/// What a card's certificate states.
pub struct CertifiedNumber<'a> {
    /// Account number, or the identifier of a purse: digits.
    pub number: &'a str,
    /// Last month of the card's validity.
    pub expiry: MonthYear,
    /// Number of the record; its certificate has the last three bytes as serial number.
    pub sequence: u32,
}

impl OfflinePlan {
    /// The application interchange profile with the bits of the method.
    fn aip_with_method(&self) -> [u8; 2] {
        let ([a, b], [c, d]) = (self.aip, self.method.aip());
        [a | c, b | d]
    }
}

fn known(bytes: &[u8]) -> FieldContent {
    FieldContent::Known(Zeroizing::new(bytes.to_vec()))
}
