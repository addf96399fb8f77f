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
    /// By the certificates alone, in an application that no payment terminal asks: it has neither AIP nor AFL.
    Certificates,
}

impl OfflineMethod {
    /// The bits of the application interchange profile that say what the card supports.
    fn aip(self) -> [u8; 2] {
        match self {
            Self::Sda => [0x40, 0x00],
            Self::Dda => [0x20, 0x00],
            Self::Cda => [0x21, 0x00],
            Self::Certificates => [0x00, 0x00],
        }
    }

    /// Whether a payment terminal authenticates cards by it: they tell the terminal so by their AIP.
    pub fn has_profile(self) -> bool {
        self != Self::Certificates
    }

    /// Whether each card has a key pair.
    pub fn has_card_key(self) -> bool {
        self != Self::Sda
    }

    /// The fields without which a terminal cannot authenticate a card. Remainders are among them because a key may need one;
    /// their tags fall out when it does not.
    pub fn fields(self) -> Vec<CardField> {
        let issuer = [
            CardField::CaIndex,
            CardField::IssuerCertificate,
            CardField::IssuerExponent,
            CardField::IssuerRemainder,
        ];
        let profile: &[CardField] = if self.has_profile() { &[CardField::Aip, CardField::Afl] } else { &[] };
        let own: &[CardField] = match self {
            Self::Sda => &[CardField::SignedData],
            Self::Dda | Self::Cda | Self::Certificates => &[
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
        [&issuer, profile, own].concat()
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

impl CardKeySize {
    /// Returns zeros in place of a key pair, for a card that is built but not written: no pool loses a pair.
    pub fn stand_in(self) -> Result<SealedCardKey, Failure> {
        Ok(SealedCardKey { modulus: vec![0; usize::from(self.bits / 8)], sealed: Vec::new() })
    }
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
        let identifier = hex::encode_upper(self.key.name.issuer);
        let identifier = identifier.trim_end_matches('F');
        if !subject.number.starts_with(identifier) {
            // A terminal compares them (EMV Book 2, clause 5.3).
            return Err(format!(
                "{} does not begin with {identifier}, the issuer identifier of the certificate of the issuer's key, so no \
                 terminal would take the card",
                plan.number.name()
            ));
        }
        let aip = plan.aip_with_method();
        let data = static_data(records, plan.sign_aip.then_some(&aip)).map_err(|fault| fault.to_string())?;
        let card = card.map(|key| CardToCertify {
            key: key.sealed.into(),
            number: subject.number.as_bytes().into(),
            expiry: subject.expiry.bcd(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::{AuthorityName, IssuerKeyName};
    use crate::prep::columns::Column;

    fn month(year: u8) -> MonthYear {
        MonthYear::from_bcd([0x12, year]).unwrap()
    }

    /// A key of issuer 476173 with a certificate until 12/2030.
    fn key() -> OfflineKey {
        let certificate = IssuerCertificate {
            authority: AuthorityName { rid: [0xA0, 0, 0, 0, 3], index: 0xF1 },
            certificate: vec![1; 144],
            remainder: Vec::new(),
            expiry: [0x12, 0x30],
            serial: [0, 0, 1],
        };
        let name = IssuerKeyName { issuer: [0x47, 0x61, 0x73, 0xFF], version: 1 };
        let key = IssuerKeyInfo { name, modulus: vec![0xC3; 128], exponent: 3, certificate: None };
        OfflineKey { key, certificate, expiry: month(0x30) }
    }

    fn signed(number: Column, subject: &str, year: u8) -> Result<OfflineToSign, String> {
        let plan = OfflinePlan {
            method: OfflineMethod::Certificates,
            aip: [0; 2],
            sign_aip: false,
            issuer_key: None,
            card_key: Some(CardKeySize { bits: 1024, exponent: 3 }),
            code: [0; 2],
            number,
        };
        let card = SealedCardKey { modulus: vec![0xC3; 128], sealed: vec![9; 8] };
        let subject = CertifiedNumber { number: subject, expiry: month(year) };
        key().to_sign(&plan, [(Dgi(0x0101), [0x70, 0].as_slice())], &subject, Some(card))
    }

    /// A terminal refuses a number outside the issuer identifier of the issuer's certificate (EMV Book 2, clause 5.3).
    #[test]
    fn a_number_of_another_issuer_is_refused() {
        let fault = |number, subject: &str| signed(number, subject, 0x30).err().unwrap_or_default();
        assert_eq!(fault(Column::Pan, "476173000000"), "");
        for subject in ["476174000000", "047617300000", "47617", "0000000001", ""] {
            let says = fault(Column::Pan, subject);
            assert!(says.starts_with("pan does not begin with 476173, "), "{says}");
            assert!(!says.contains("0000"), "the number is quoted: {says}");
        }
        assert!(fault(Column::PurseId, "0000000001").starts_with("purse_id does not begin with 476173, "));
    }

    #[test]
    fn a_card_that_outlives_the_issuers_certificate_is_refused() {
        assert!(signed(Column::Pan, "476173000000", 0x30).is_ok());
        let says = signed(Column::Pan, "476173000000", 0x31).err().unwrap();
        assert!(says.contains("which expires with 12/2030"), "{says}");
    }
}
