//! The computed fields that a product's templates may name: the data of one card in the forms that chip,
//! stripe and print take.
//!
//! Secret fields (keys, the PIN block) may stand only in encrypted DGIs; `plan` enforces this. Not here:
//! where a field goes (the product profile), how the values of the input are checked (`columns`).

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::ClearBytes;
use super::columns::Column;
use super::input::Cardholder;
use super::keys::IssuerKeys;
use super::own_field::OwnField;
use super::template::{FieldValue, FieldValues};
use super::transliterate::{is_ascii_text, spelled};
use crate::crypto::payment::CardKeyMethod;
use crate::crypto::payment::digits::{bcd, compressed};
use crate::exit::{Exit, Failure};
use crate::hsm::store::KeyUsage;
use crate::hsm::{CardCodes, CardKeyRef, ValuePart};

/// A computed field of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "FIELDS documents each")]
pub enum CardField {
    Pan,
    Psn,
    Name,
    ExpiryDate,
    EffectiveDate,
    ServiceCode,
    Track2Chip,
    Track1Disc,
    UdkAc,
    UdkSmi,
    UdkSmc,
    KcvAc,
    KcvSmi,
    KcvSmc,
    Kdl,
    Kdu,
    KcvKdl,
    KcvKdu,
    ImkVersion,
    KmlVersion,
    PinBlock,
    PurseId,
    Balance,
    MaxBalance,
    Currency,
    CurrencyExponent,
    Member,
    Points,
    Offer,
    Track1,
    Track2,
    PanGrouped,
    PanNumberLine,
    PanLast4,
    PanDigits,
    NamePrinted,
    Title,
    Line2,
    ExpiryPrinted,
    ExpiryDigits,
    Cvv2,
    Own(OwnField),
    Aip,
    Afl,
    CaIndex,
    IssuerCertificate,
    IssuerRemainder,
    IssuerExponent,
    SignedData,
    CardCertificate,
    CardRemainder,
    CardExponent,
    RsaQinv,
    RsaDq,
    RsaDp,
    RsaQ,
    RsaP,
}

/// One field: name in templates, secrecy, keys that it takes, and its form.
pub struct FieldDefinition {
    /// The field.
    pub field: CardField,
    /// Its name in templates.
    pub name: &'static str,
    /// Whether it is a key or a PIN block, which may stand only in encrypted DGIs.
    pub secret: bool,
    /// The issuer keys from which it is computed.
    pub needs: &'static [KeyUsage],
    /// Form and source of the value, for people.
    pub help: &'static str,
}

/// Every field.
pub const FIELDS: &[FieldDefinition] = &[
    clear(CardField::Pan, "pan", "PAN, cn, padded with F to whole bytes (tag 5A)"),
    clear(CardField::Psn, "psn", "PAN sequence number, n 2 (tag 5F34)"),
    clear(CardField::Name, "name", "SURNAME/FIRST MIDDLE.TITLE, ASCII (tag 5F20)"),
    clear(CardField::ExpiryDate, "expiry_date", "YYMMDD, last day of the month, n 6 (tag 5F24)"),
    clear(CardField::EffectiveDate, "effective_date", "YYMMDD, first day of the month, n 6 (tag 5F25)"),
    clear(CardField::ServiceCode, "service_code", "service code, n 3 in 2 bytes (tag 5F30)"),
    made(CardField::Track2Chip, "track2_chip", &[KeyUsage::Cvk], "track 2 with iCVV, D and F pad (tag 57)"),
    made(CardField::Track1Disc, "track1_disc", &[KeyUsage::Cvk], "PVKI PVV iCVV, ASCII (tag 9F1F)"),
    secret(CardField::UdkAc, "udk_ac", &[KeyUsage::ImkAc], "application cryptogram key, 16 bytes"),
    secret(CardField::UdkSmi, "udk_smi", &[KeyUsage::ImkSmi], "secure messaging MAC key, 16 bytes"),
    secret(CardField::UdkSmc, "udk_smc", &[KeyUsage::ImkSmc], "secure messaging encipherment key, 16 bytes"),
    made(CardField::KcvAc, "kcv_ac", &[KeyUsage::ImkAc], "KCV of udk_ac, 3 bytes"),
    made(CardField::KcvSmi, "kcv_smi", &[KeyUsage::ImkSmi], "KCV of udk_smi, 3 bytes"),
    made(CardField::KcvSmc, "kcv_smc", &[KeyUsage::ImkSmc], "KCV of udk_smc, 3 bytes"),
    secret(CardField::Kdl, "kdl", &[KeyUsage::Kml], "purse load key, from KML and purse_id, 16 bytes"),
    secret(CardField::Kdu, "kdu", &[KeyUsage::Kmu], "purse update key, from KMU and purse_id, 16 bytes"),
    made(CardField::KcvKdl, "kcv_kdl", &[KeyUsage::Kml], "KCV of kdl, 3 bytes"),
    made(CardField::KcvKdu, "kcv_kdu", &[KeyUsage::Kmu], "KCV of kdu, 3 bytes"),
    made(CardField::ImkVersion, "imk_version", &[KeyUsage::ImkAc], "version of IMK-AC, 1 byte"),
    made(CardField::KmlVersion, "kml_version", &[KeyUsage::Kml], "version of KML, 1 byte"),
    secret(CardField::PinBlock, "pin_block", &[], "reference PIN, ISO 9564 format 1 in the file, 8 bytes"),
    clear(CardField::PurseId, "purse_id", "purse identifier, n 10 or n 16"),
    clear(CardField::Balance, "balance", "balance in minor units, n 12"),
    clear(CardField::MaxBalance, "max_balance", "maximum balance in minor units, n 12"),
    clear(CardField::Currency, "currency", "ISO 4217 numeric, n 3 in 2 bytes (tags 9F42, 9F51)"),
    clear(CardField::CurrencyExponent, "currency_exponent", "decimal places, n 1 (tag 9F44)"),
    clear(CardField::Member, "member", "loyalty member number, ASCII"),
    clear(CardField::Points, "points", "loyalty points, unsigned, 4 bytes"),
    clear(CardField::Offer, "offer", "loyalty text, ASCII"),
    made(
        CardField::Track1,
        "track1",
        &[KeyUsage::Cvk],
        "stripe track 1, sentinels included: PVKI PVV CVV at the end",
    ),
    made(
        CardField::Track2,
        "track2",
        &[KeyUsage::Cvk],
        "stripe track 2, sentinels included: PVKI PVV CVV at the end",
    ),
    clear(
        CardField::PanGrouped,
        "pan_grouped",
        "PAN in the groups of its scheme: 4-6-5 (15 digits), 4-6-4 (14), else groups of 4",
    ),
    clear(
        CardField::PanNumberLine,
        "pan_number_line",
        "as pan_grouped, but whole if the groups do not fit the 19 places of the number line",
    ),
    clear(CardField::PanLast4, "pan_last4", "last 4 digits of the PAN"),
    clear(CardField::PanDigits, "pan_digits", "PAN as text, for a track or print"),
    clear(CardField::NamePrinted, "name_printed", "the column, or TITLE FIRST MIDDLE SURNAME of name"),
    clear(CardField::Title, "title", "the column; without it a line or TLV of this field alone falls out"),
    clear(CardField::Line2, "line2", "the column; without it a line or TLV of this field alone falls out"),
    clear(CardField::ExpiryPrinted, "expiry_printed", "MM/YY"),
    clear(CardField::ExpiryDigits, "expiry_digits", "YYMM as text, for a track"),
    made(CardField::Cvv2, "cvv2", &[KeyUsage::Cvk], "CVV2, 3 digits"),
    clear(CardField::Aip, "aip", "application interchange profile, with the bits of the method (tag 82)"),
    clear(CardField::Afl, "afl", "application file locator of the card's records (tag 94)"),
    clear(CardField::CaIndex, "ca_index", "index of the certification authority's key, 1 byte (tag 8F)"),
    clear(CardField::IssuerCertificate, "issuer_certificate", "certificate of the issuer's key (tag 90)"),
    clear(
        CardField::IssuerRemainder,
        "issuer_remainder",
        "rest of the issuer's modulus (tag 92, which falls out without one)",
    ),
    clear(CardField::IssuerExponent, "issuer_exponent", "exponent of the issuer's key (tag 9F32)"),
    clear(CardField::SignedData, "signed_data", "signed static data (tag 93)"),
    clear(CardField::CardCertificate, "card_certificate", "certificate of the card's key (tag 9F46)"),
    clear(
        CardField::CardRemainder,
        "card_remainder",
        "rest of the card's modulus (tag 9F48, which falls out without one)",
    ),
    clear(CardField::CardExponent, "card_exponent", "exponent of the card's key (tag 9F47)"),
    secret(CardField::RsaQinv, "rsa_qinv", &[], "card's RSA key: q^-1 mod p (DGI 8201)"),
    secret(CardField::RsaDq, "rsa_dq", &[], "card's RSA key: d mod (q - 1) (DGI 8202)"),
    secret(CardField::RsaDp, "rsa_dp", &[], "card's RSA key: d mod (p - 1) (DGI 8203)"),
    secret(CardField::RsaQ, "rsa_q", &[], "card's RSA key: the smaller prime q (DGI 8204)"),
    secret(CardField::RsaP, "rsa_p", &[], "card's RSA key: the larger prime p (DGI 8205)"),
];

const fn clear(field: CardField, name: &'static str, help: &'static str) -> FieldDefinition {
    made(field, name, &[], help)
}

const fn made(
    field: CardField,
    name: &'static str,
    needs: &'static [KeyUsage],
    help: &'static str,
) -> FieldDefinition {
    FieldDefinition { field, name, secret: false, needs, help }
}

const fn secret(
    field: CardField,
    name: &'static str,
    needs: &'static [KeyUsage],
    help: &'static str,
) -> FieldDefinition {
    FieldDefinition { field, name, secret: true, needs, help }
}

/// The message about a name that neither a field nor one of the product's own has.
pub fn unknown(name: &str, own: &[OwnField]) -> String {
    let known: Vec<_> = FIELDS.iter().map(|d| d.name).chain(own.iter().map(OwnField::name)).collect();
    format!("no computed field {name:?}; there are {}", known.join(", "))
}

/// Returns the field with this name in the templates of a product with these own fields.
pub fn by_name(name: &str, own: &[OwnField]) -> Option<CardField> {
    let known = FIELDS.iter().find(|d| d.name == name).map(|d| d.field);
    known.or_else(|| own.iter().find(|own| own.name() == name).map(|own| CardField::Own(*own)))
}

impl CardField {
    fn definition(self) -> Option<&'static FieldDefinition> {
        FIELDS.iter().find(|d| d.field == self)
    }

    /// Returns the name of the field in templates.
    pub fn name(&self) -> &str {
        match self {
            Self::Own(own) => own.name(),
            known => known.definition().map_or("", |d| d.name),
        }
    }

    /// Whether the field may stand only in encrypted DGIs.
    pub fn secret(self) -> bool {
        !matches!(self, Self::Own(_)) && self.definition().is_none_or(|d| d.secret)
    }

    /// The columns without which the field has no value.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Pan | Self::PanGrouped | Self::PanNumberLine | Self::PanLast4 | Self::PanDigits => {
                &[Column::Pan]
            }
            Self::UdkAc | Self::UdkSmi | Self::UdkSmc | Self::KcvAc | Self::KcvSmi | Self::KcvSmc => {
                &[Column::Pan]
            }
            Self::Name => &[Column::Name],
            Self::ExpiryDate | Self::ExpiryPrinted | Self::ExpiryDigits => &[Column::Expiry],
            Self::EffectiveDate => &[Column::Effective],
            Self::ServiceCode => &[Column::ServiceCode],
            Self::Track2Chip | Self::Track1Disc | Self::Track2 | Self::Cvv2 => {
                &[Column::Pan, Column::Expiry, Column::ServiceCode]
            }
            Self::Track1 => &[Column::Pan, Column::Name, Column::Expiry, Column::ServiceCode],
            Self::Kdl | Self::Kdu | Self::KcvKdl | Self::KcvKdu | Self::PurseId => &[Column::PurseId],
            Self::PinBlock => &[Column::Pin],
            Self::Balance => &[Column::Balance],
            Self::MaxBalance => &[Column::MaxBalance],
            Self::Currency => &[Column::Currency],
            Self::CurrencyExponent => &[Column::CurrencyExponent],
            Self::Member => &[Column::Member],
            Self::Points => &[Column::Points],
            Self::Offer => &[Column::Offer],
            // The printed name comes from either of two columns, the others have one of their own or none.
            _ => &[],
        }
    }

    /// The column whose text the field is, if that may hold more than ASCII.
    pub fn text_column(self) -> Option<Column> {
        match self {
            Self::NamePrinted => Some(Column::NamePrinted),
            Self::Title => Some(Column::Title),
            Self::Line2 => Some(Column::Line2),
            Self::Own(own) => Some(Column::Own(own)).filter(|column| column.is_text()),
            _ => None,
        }
    }

    /// Whether the field belongs to the offline data authentication of an application.
    pub fn is_offline(self) -> bool {
        self >= Self::Aip
    }

    /// Whether a TLV or a line with this field alone falls out when there is no value.
    pub fn may_fall_out(self) -> bool {
        match self {
            Self::IssuerRemainder | Self::CardRemainder | Self::Title | Self::Line2 => true,
            Self::Own(own) => !own.is_required(),
            _ => false,
        }
    }

    /// The length of the field in bytes, if it is a number of a key: the only ones that stand in data whose length a profile
    /// must state.
    pub fn length(self) -> Option<usize> {
        matches!(self, Self::ImkVersion | Self::KmlVersion | Self::CaIndex).then_some(1)
    }

    /// Returns the text of the field on a made-up card; `None` for a field that is no text but bytes for the
    /// chip. A profile is tried with these texts before the first card.
    pub fn example(self) -> Option<&'static str> {
        Some(match self {
            Self::Name => "A/B",
            Self::Track1Disc => "00000000",
            Self::Member => "A1",
            Self::Offer => "A",
            Self::Track1 => "%B000000000000^A/B^000000000000000?",
            Self::Track2 => ";000000000000=000000000000000?",
            Self::PanGrouped | Self::PanNumberLine => "0000 0000 0000",
            Self::PanLast4 => "0000",
            Self::PanDigits => "000000000000",
            Self::NamePrinted => "B A",
            Self::Title | Self::Line2 => "A",
            Self::ExpiryPrinted => "00/00",
            Self::ExpiryDigits => "0000",
            Self::Own(own) => return own.example(),
            Self::Cvv2 => "000",
            Self::Pan
            | Self::Psn
            | Self::ExpiryDate
            | Self::EffectiveDate
            | Self::ServiceCode
            | Self::Track2Chip
            | Self::UdkAc
            | Self::UdkSmi
            | Self::UdkSmc
            | Self::KcvAc
            | Self::KcvSmi
            | Self::KcvSmc
            | Self::Kdl
            | Self::Kdu
            | Self::KcvKdl
            | Self::KcvKdu
            | Self::ImkVersion
            | Self::KmlVersion
            | Self::PinBlock
            | Self::PurseId
            | Self::Balance
            | Self::MaxBalance
            | Self::Currency
            | Self::CurrencyExponent
            | Self::Points
            | Self::Aip
            | Self::Afl
            | Self::CaIndex
            | Self::IssuerCertificate
            | Self::IssuerRemainder
            | Self::IssuerExponent
            | Self::SignedData
            | Self::CardCertificate
            | Self::CardRemainder
            | Self::CardExponent
            | Self::RsaQinv
            | Self::RsaDq
            | Self::RsaDp
            | Self::RsaQ
            | Self::RsaP => return None,
        })
    }

    /// Returns the issuer keys from which the field is computed.
    pub fn needs(self) -> &'static [KeyUsage] {
        self.definition().map_or(&[], |d| d.needs)
    }
}

/// The value of one field.
pub enum FieldContent {
    /// Known bytes.
    Known(ClearBytes),
    /// Made inside the issuer's HSM, with this many bytes.
    Made(ValuePart, usize),
}

/// The values of one card as chip and stripe take them; wiped when dropped.
pub struct CardValues {
    /// In the order of the fields.
    values: Vec<(CardField, FieldContent)>,
    /// Texts that hold more than ASCII, as they were written.
    written: BTreeMap<CardField, ClearBytes>,
}

impl FieldValues for CardValues {
    fn value(&self, field: CardField) -> Option<FieldValue<'_>> {
        let place = self.values.binary_search_by_key(&field, |(known, _)| *known).ok()?;
        self.values.get(place).map(|(_, content)| content.as_field())
    }
}

/// The values of one card as plastic takes them: UTF-8.
pub struct PrintedValues<'a>(&'a CardValues);

impl FieldValues for PrintedValues<'_> {
    fn value(&self, field: CardField) -> Option<FieldValue<'_>> {
        let written = self.0.written.get(&field).map(|text| FieldValue::Bytes(text));
        written.or_else(|| self.0.value(field))
    }
}

impl FieldContent {
    /// The value for a template.
    pub(super) fn as_field(&self) -> FieldValue<'_> {
        match self {
            Self::Known(bytes) => FieldValue::Bytes(bytes),
            Self::Made(part, length) => FieldValue::Made(part, *length),
        }
    }
}

impl CardValues {
    /// Computes the fields that the product uses, with the verification values of the card if any of them needs these. A
    /// field for which the input has no data is left out.
    pub fn compute(
        used: &BTreeSet<CardField>,
        card: &Cardholder,
        codes: Option<&CardCodes>,
        keys: &IssuerKeys,
        method: CardKeyMethod,
    ) -> Result<Self, Failure> {
        let source = FieldSource { card, codes, keys, method };
        let mut values = Self { values: Vec::with_capacity(used.len()), written: BTreeMap::new() };
        for field in used {
            if let Some(value) = source.value(*field)? {
                values.add(*field, value);
            }
        }
        Ok(values)
    }

    /// Adds the value of the next field. Fields come in order, because `value` searches by bisection. The input has refused text that a medium of its field cannot take, so what has no spelling in ASCII
    /// goes to none that needs one.
    fn add(&mut self, field: CardField, value: FieldContent) {
        let FieldContent::Known(bytes) = value else {
            self.values.push((field, value));
            return;
        };
        if field.text_column().is_none() || bytes.is_ascii() {
            self.values.push((field, FieldContent::Known(bytes)));
            return;
        }
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        if let Some(ascii) = spelled(text, is_ascii_text) {
            self.values.push((field, FieldContent::Known(self::bytes(&ascii))));
        }
        self.written.insert(field, bytes);
    }

    /// The values as plastic takes them.
    pub fn printed(&self) -> PrintedValues<'_> {
        PrintedValues(self)
    }
}

/// All that a field is computed from.
struct FieldSource<'a> {
    card: &'a Cardholder,
    codes: Option<&'a CardCodes>,
    keys: &'a IssuerKeys,
    method: CardKeyMethod,
}

impl FieldSource<'_> {
    fn value(&self, field: CardField) -> Result<Option<FieldContent>, Failure> {
        use KeyUsage::{ImkAc, ImkSmc, ImkSmi, Kml, Kmu};
        Ok(match field {
            CardField::UdkAc => self.card_key(ImkAc)?,
            CardField::UdkSmi => self.card_key(ImkSmi)?,
            CardField::UdkSmc => self.card_key(ImkSmc)?,
            CardField::KcvAc => self.card_key(ImkAc)?.map(check_value),
            CardField::KcvSmi => self.card_key(ImkSmi)?.map(check_value),
            CardField::KcvSmc => self.card_key(ImkSmc)?.map(check_value),
            CardField::Kdl => self.purse_key(Kml)?,
            CardField::Kdu => self.purse_key(Kmu)?,
            CardField::KcvKdl => self.purse_key(Kml)?.map(check_value),
            CardField::KcvKdu => self.purse_key(Kmu)?.map(check_value),
            CardField::PinBlock => {
                self.card.get(Column::Pin).map(|_| FieldContent::Made(ValuePart::PinBlock, 8))
            }
            known => self.known(known)?.map(FieldContent::Known),
        })
    }

    /// A field whose bytes the preparation knows; `None` also for one that the HSM makes, or that depends on the application
    /// (`offline`).
    fn known(&self, field: CardField) -> Result<Option<ClearBytes>, Failure> {
        let card = self.card;
        let number =
            |column, width: usize| card.get(column).map(|v| bcd(&Zeroizing::new(format!("{v:0>width$}"))));
        let text = |column| card.get(column).map(bytes);
        let (pan, expiry) = (card.get(Column::Pan), card.get(Column::Expiry));
        // A card without the data of a field has no value for it.
        if field.columns().iter().any(|column| card.get(*column).is_none()) {
            return Ok(None);
        }
        Ok(match field {
            CardField::Pan => pan.map(compressed),
            CardField::Psn => number(Column::Psn, 2),
            CardField::Name => text(Column::Name),
            CardField::ExpiryDate => expiry.map(|expiry| date(expiry, last_day(expiry))),
            CardField::EffectiveDate => card.get(Column::Effective).map(|effective| date(effective, 1)),
            CardField::ServiceCode => number(Column::ServiceCode, 4),
            CardField::Track2Chip => Some(compressed(&self.track2_content(&self.codes()?.icvv)?)),
            CardField::Track1Disc => Some(bytes(&self.discretionary(&self.codes()?.icvv)?)),
            CardField::ImkVersion => Some(self.version(KeyUsage::ImkAc)?),
            CardField::KmlVersion => Some(self.version(KeyUsage::Kml)?),
            CardField::PurseId => number(Column::PurseId, 10),
            CardField::Balance => number(Column::Balance, 12),
            CardField::MaxBalance => number(Column::MaxBalance, 12),
            CardField::Currency => number(Column::Currency, 4),
            CardField::CurrencyExponent => number(Column::CurrencyExponent, 2),
            CardField::Member => text(Column::Member),
            CardField::Points => {
                let points = card.get(Column::Points).and_then(|v| v.parse::<u32>().ok());
                points.map(|v| Zeroizing::new(v.to_be_bytes().to_vec()))
            }
            CardField::Offer => text(Column::Offer),
            CardField::Track1 => Some(self.track1()?),
            CardField::Track2 => {
                let content = self.track2_content(&self.codes()?.cvv)?;
                Some(joined(&[";", &content, "?"]))
            }
            CardField::PanGrouped => pan.map(grouped),
            CardField::PanNumberLine => pan.map(number_line),
            CardField::PanLast4 => pan.and_then(last_4),
            CardField::PanDigits => text(Column::Pan),
            CardField::NamePrinted => text(Column::NamePrinted),
            CardField::Title => text(Column::Title),
            CardField::Line2 => text(Column::Line2),
            CardField::ExpiryPrinted => expiry.map(month_and_year),
            CardField::ExpiryDigits => text(Column::Expiry),
            CardField::Own(own) => card.get(Column::Own(own)).map(|text| own.value(text)),
            CardField::Cvv2 => Some(Zeroizing::new(self.codes()?.cvv2.to_vec())),
            _ => None,
        })
    }

    /// Returns track 1 in format B, sentinels included (ISO/IEC 7813).
    fn track1(&self) -> Result<ClearBytes, Failure> {
        let text = |column| self.card.required(column);
        let service = text(Column::ServiceCode);
        let discretionary = self.discretionary(&self.codes()?.cvv)?;
        let (pan, name, expiry) = (text(Column::Pan), text(Column::Name), text(Column::Expiry));
        Ok(joined(&["%B", pan, "^", name, "^", expiry, service, &discretionary, "?"]))
    }

    fn codes(&self) -> Result<&CardCodes, Failure> {
        let missing = || Failure::new(Exit::Bug, "us: a card was built without its verification values");
        self.codes.ok_or_else(missing)
    }

    /// Returns PVKI, PVV and this CVV (for the chip the iCVV). Without a PVK or a PIN, PVKI and PVV are zeros.
    fn discretionary(&self, cvv: &[u8]) -> Result<Zeroizing<String>, Failure> {
        let text = |digits: &[u8]| Zeroizing::new(String::from_utf8_lossy(digits).into_owned());
        let pvv = match (self.keys.find(KeyUsage::Pvk), &self.codes()?.pvv) {
            (Some(pvk), Some(pvv)) => joined_text(&[&pvk.name.version.to_string(), &text(pvv)]),
            _ => Zeroizing::new("00000".into()),
        };
        Ok(joined_text(&[&pvv, &text(cvv)]))
    }

    /// Returns track 2 between the sentinels, with this CVV.
    fn track2_content(&self, cvv: &[u8]) -> Result<Zeroizing<String>, Failure> {
        let card = self.card;
        let disc = self.discretionary(cvv)?;
        let (pan, expiry) = (card.required(Column::Pan), card.required(Column::Expiry));
        Ok(joined_text(&[pan, "=", expiry, card.required(Column::ServiceCode), &disc]))
    }

    fn version(&self, usage: KeyUsage) -> Result<ClearBytes, Failure> {
        Ok(Zeroizing::new(vec![self.keys.get(usage)?.name.version]))
    }

    /// `None` if the card has no account number.
    fn card_key(&self, usage: KeyUsage) -> Result<Option<FieldContent>, Failure> {
        let Some(pan) = self.card.get(Column::Pan) else { return Ok(None) };
        self.derived(usage, self.method, pan, self.card.required(Column::Psn)).map(Some)
    }

    /// A key of the purse comes by option A from the purse's identifier and the sequence number 00: a load
    /// host knows neither PAN nor PAN sequence number. `None` if the card has no purse.
    fn purse_key(&self, usage: KeyUsage) -> Result<Option<FieldContent>, Failure> {
        let Some(purse) = self.card.get(Column::PurseId) else { return Ok(None) };
        self.derived(usage, CardKeyMethod::A, purse, "00").map(Some)
    }

    fn derived(
        &self,
        usage: KeyUsage,
        method: CardKeyMethod,
        number: &str,
        psn: &str,
    ) -> Result<FieldContent, Failure> {
        let master = self.keys.get(usage)?;
        let psn = psn.as_bytes().try_into().unwrap_or([b'0'; 2]);
        let key = CardKeyRef { master: master.name, method, number: number.as_bytes().into(), psn };
        Ok(FieldContent::Made(ValuePart::CardKey(key), master.length))
    }
}

/// Places of the number line (ISO/IEC 7811-3, 7 per inch): 16 digits in groups of 4 fill it.
const NUMBER_LINE: usize = 19;

/// The check value of a card key.
fn check_value(value: FieldContent) -> FieldContent {
    match value {
        FieldContent::Made(ValuePart::CardKey(key), _) => FieldContent::Made(ValuePart::CheckValue(key), 3),
        other => other,
    }
}

fn bytes(text: &str) -> ClearBytes {
    Zeroizing::new(text.as_bytes().to_vec())
}

fn joined(parts: &[&str]) -> ClearBytes {
    Zeroizing::new(parts.concat().into_bytes())
}

fn joined_text(parts: &[&str]) -> Zeroizing<String> {
    Zeroizing::new(parts.concat())
}

fn last_4(pan: &str) -> Option<ClearBytes> {
    pan.len().checked_sub(4).and_then(|from| pan.get(from..)).map(bytes)
}

/// Returns YYMM as MM/YY.
fn month_and_year(expiry: &str) -> ClearBytes {
    let (year, month) = expiry.split_at_checked(2).unwrap_or_default();
    joined(&[month, "/", year])
}

/// Returns YYMM and a day as n 6.
fn date(year_month: &str, day: u8) -> ClearBytes {
    bcd(&format!("{year_month}{day:02}"))
}

/// Returns the last day of a month. YYMM means 2000 to 2099, where every fourth year is a leap year.
fn last_day(year_month: &str) -> u8 {
    let (year, month) = year_month.split_at_checked(2).unwrap_or_default();
    let leap = year.parse::<u8>().is_ok_and(|y| y.is_multiple_of(4));
    match month {
        "02" if leap => 29,
        "02" => 28,
        "04" | "06" | "09" | "11" => 30,
        _ => 31,
    }
}

/// Returns a PAN in groups, if the number line has room for them, else whole.
fn number_line(pan: &str) -> ClearBytes {
    let spaced = grouped(pan);
    if spaced.len() <= NUMBER_LINE { spaced } else { bytes(pan) }
}

/// Returns a PAN in the groups of its scheme: American Express (15 digits) 4-6-5, Diners
/// Club (14 digits) 4-6-4, the others in groups of 4.
fn grouped(pan: &str) -> ClearBytes {
    let groups: &[usize] = match pan.len() {
        15 => &[4, 6, 5],
        14 => &[4, 6, 4],
        _ => &[4, 4, 4, 4, 4],
    };
    let mut spaced = Zeroizing::new(Vec::with_capacity(pan.len() + groups.len()));
    let mut rest = pan.as_bytes();
    for length in groups {
        let (group, after) = rest.split_at(rest.len().min(*length));
        if !spaced.is_empty() && !group.is_empty() {
            spaced.push(b' ');
        }
        spaced.extend_from_slice(group);
        rest = after;
    }
    spaced
}

#[cfg(test)]
mod tests;
