//! The computed fields that a product's templates may name: what the issuer knows of one card, in the form in which
//! chip, stripe and print take it.
//!
//! Secret ones (keys, the PIN block) may stand only in DGIs that are encrypted; `profile` sees to that. Not here:
//! where a field goes (the product profile), how the values are checked (`columns`).

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::columns::Column;
use super::digits::{bcd, compressed};
use super::emv::{Option14, card_key};
use super::input::Cardholder;
use super::keys::{IssuerKeys, Master};
use super::template::Values;
use super::{pin, verification};
use crate::crypto::{CipherKey, CryptoError, TdesKey};
use crate::exit::{Exit, Failure};

/// A computed field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "FIELDS documents each")]
pub enum Field {
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
    PanLast4,
    NamePrinted,
    ExpiryPrinted,
    Cvv2,
}

/// One field: name in templates, secrecy, keys that it takes, and its form.
pub struct Definition {
    /// Which.
    pub field: Field,
    /// In templates.
    pub name: &'static str,
    /// Keys and PIN blocks: only in encrypted DGIs.
    pub secret: bool,
    /// Issuer keys without which it cannot be computed.
    pub needs: &'static [Master],
    /// Form and source, for people.
    pub help: &'static str,
}

/// Every field.
pub const FIELDS: &[Definition] = &[
    clear(Field::Pan, "pan", "PAN, cn, padded with F to whole bytes (tag 5A)"),
    clear(Field::Psn, "psn", "PAN sequence number, n 2 (tag 5F34)"),
    clear(Field::Name, "name", "SURNAME/FIRST, ASCII (tag 5F20)"),
    clear(Field::ExpiryDate, "expiry_date", "YYMMDD, last day of the month, n 6 (tag 5F24)"),
    clear(Field::EffectiveDate, "effective_date", "YYMMDD, first day of the month, n 6 (tag 5F25)"),
    clear(Field::ServiceCode, "service_code", "service code, n 3 in 2 bytes (tag 5F30)"),
    made(Field::Track2Chip, "track2_chip", &[Master::Cvk], "track 2 with iCVV, D and F pad (tag 57)"),
    made(Field::Track1Disc, "track1_disc", &[Master::Cvk], "PVKI PVV iCVV, ASCII (tag 9F1F)"),
    secret(Field::UdkAc, "udk_ac", &[Master::Ac], "application cryptogram key, 16 bytes"),
    secret(Field::UdkSmi, "udk_smi", &[Master::Smi], "secure messaging MAC key, 16 bytes"),
    secret(Field::UdkSmc, "udk_smc", &[Master::Smc], "secure messaging encipherment key, 16 bytes"),
    made(Field::KcvAc, "kcv_ac", &[Master::Ac], "KCV of udk_ac, 3 bytes"),
    made(Field::KcvSmi, "kcv_smi", &[Master::Smi], "KCV of udk_smi, 3 bytes"),
    made(Field::KcvSmc, "kcv_smc", &[Master::Smc], "KCV of udk_smc, 3 bytes"),
    secret(Field::Kdl, "kdl", &[Master::Kml], "purse load key, 16 bytes"),
    secret(Field::Kdu, "kdu", &[Master::Kmu], "purse update key, 16 bytes"),
    made(Field::KcvKdl, "kcv_kdl", &[Master::Kml], "KCV of kdl, 3 bytes"),
    made(Field::KcvKdu, "kcv_kdu", &[Master::Kmu], "KCV of kdu, 3 bytes"),
    made(Field::ImkVersion, "imk_version", &[Master::Ac], "version of IMK-AC, 1 byte"),
    made(Field::KmlVersion, "kml_version", &[Master::Kml], "version of KML, 1 byte"),
    secret(Field::PinBlock, "pin_block", &[], "reference PIN, ISO 9564 format 1 in the file, 8 bytes"),
    clear(Field::PurseId, "purse_id", "purse identifier, n 10"),
    clear(Field::Balance, "balance", "balance in minor units, n 12"),
    clear(Field::MaxBalance, "max_balance", "maximum balance in minor units, n 12"),
    clear(Field::Currency, "currency", "ISO 4217 numeric, n 3 in 2 bytes (tags 9F42, 9F51)"),
    clear(Field::CurrencyExponent, "currency_exponent", "decimal places, n 1 (tag 9F44)"),
    clear(Field::Member, "member", "loyalty member number, ASCII"),
    clear(Field::Points, "points", "loyalty points, unsigned, 4 bytes"),
    clear(Field::Offer, "offer", "loyalty text, ASCII"),
    made(
        Field::Track1,
        "track1",
        &[Master::Cvk],
        "stripe track 1, sentinels included: PVKI PVV CVV at the end",
    ),
    made(
        Field::Track2,
        "track2",
        &[Master::Cvk],
        "stripe track 2, sentinels included: PVKI PVV CVV at the end",
    ),
    clear(Field::PanGrouped, "pan_grouped", "PAN in groups of 4 with blanks, whole if over 19 characters"),
    clear(Field::PanLast4, "pan_last4", "last 4 digits of the PAN"),
    clear(Field::NamePrinted, "name_printed", "FIRST SURNAME"),
    clear(Field::ExpiryPrinted, "expiry_printed", "MM/YY"),
    made(Field::Cvv2, "cvv2", &[Master::Cvk], "CVV2, 3 digits"),
];

const fn clear(field: Field, name: &'static str, help: &'static str) -> Definition {
    made(field, name, &[], help)
}

const fn made(field: Field, name: &'static str, needs: &'static [Master], help: &'static str) -> Definition {
    Definition { field, name, secret: false, needs, help }
}

const fn secret(
    field: Field,
    name: &'static str,
    needs: &'static [Master],
    help: &'static str,
) -> Definition {
    Definition { field, name, secret: true, needs, help }
}

/// The field with this name in templates.
pub fn by_name(name: &str) -> Option<Field> {
    FIELDS.iter().find(|d| d.name == name).map(|d| d.field)
}

impl Field {
    fn definition(self) -> Option<&'static Definition> {
        FIELDS.iter().find(|d| d.field == self)
    }

    /// Its name in templates.
    pub fn name(self) -> &'static str {
        self.definition().map_or("", |d| d.name)
    }

    /// Whether it may stand in encrypted DGIs only.
    pub fn secret(self) -> bool {
        self.definition().is_none_or(|d| d.secret)
    }

    /// Issuer keys without which it cannot be computed.
    pub fn needs(self) -> &'static [Master] {
        self.definition().map_or(&[], |d| d.needs)
    }
}

/// The values of one card; wiped when dropped.
pub struct CardValues(BTreeMap<Field, Zeroizing<Vec<u8>>>);

impl Values for CardValues {
    fn value(&self, field: Field) -> Option<&[u8]> {
        self.0.get(&field).map(|v| v.as_slice())
    }
}

impl CardValues {
    /// Computes the fields that the product uses. A field for which the card has no data is left out.
    pub fn compute(
        used: &BTreeSet<Field>,
        card: &Cardholder,
        keys: &IssuerKeys,
        option: Option14,
    ) -> Result<Self, Failure> {
        let source = Source { card, keys, option };
        let mut values = BTreeMap::new();
        for field in used {
            if let Some(value) = source.compute(*field)? {
                values.insert(*field, value);
            }
        }
        Ok(Self(values))
    }
}

struct Source<'a> {
    card: &'a Cardholder,
    keys: &'a IssuerKeys,
    option: Option14,
}

type Bytes = Zeroizing<Vec<u8>>;

impl Source<'_> {
    fn compute(&self, field: Field) -> Result<Option<Bytes>, Failure> {
        let card = self.card;
        let (pan, expiry) = (card.required(Column::Pan), card.required(Column::Expiry));
        let number =
            |column, width: usize| card.get(column).map(|v| bcd(&Zeroizing::new(format!("{v:0>width$}"))));
        let text = |column| card.get(column).map(|v| Zeroizing::new(v.as_bytes().to_vec()));
        Ok(match field {
            Field::Pan => Some(compressed(pan)),
            Field::Psn => number(Column::Psn, 2),
            Field::Name => text(Column::Name),
            Field::ExpiryDate => Some(date(expiry, last_day(expiry))),
            Field::EffectiveDate => Some(date(card.required(Column::Effective), 1)),
            Field::ServiceCode => number(Column::ServiceCode, 4),
            Field::Track2Chip => Some(compressed(&self.track2_content("999")?)),
            Field::Track1Disc => Some(bytes(&self.discretionary("999")?)),
            Field::UdkAc => Some(exposed(&self.derived(Master::Ac)?)),
            Field::UdkSmi => Some(exposed(&self.derived(Master::Smi)?)),
            Field::UdkSmc => Some(exposed(&self.derived(Master::Smc)?)),
            Field::Kdl => Some(exposed(&self.derived(Master::Kml)?)),
            Field::Kdu => Some(exposed(&self.derived(Master::Kmu)?)),
            Field::KcvAc => Some(self.kcv(Master::Ac)?),
            Field::KcvSmi => Some(self.kcv(Master::Smi)?),
            Field::KcvSmc => Some(self.kcv(Master::Smc)?),
            Field::KcvKdl => Some(self.kcv(Master::Kml)?),
            Field::KcvKdu => Some(self.kcv(Master::Kmu)?),
            Field::ImkVersion => Some(Zeroizing::new(vec![self.keys.get(Master::Ac)?.version])),
            Field::KmlVersion => Some(Zeroizing::new(vec![self.keys.get(Master::Kml)?.version])),
            Field::PinBlock => match card.get(Column::Pin) {
                Some(digits) => {
                    let mut random = Zeroizing::new([0u8; 8]);
                    super::fill_random(&mut *random)?;
                    Some(Zeroizing::new(pin::format_1(digits, &random).map_err(|e| bug(&e))?.to_vec()))
                }
                None => None,
            },
            Field::PurseId => number(Column::PurseId, 10),
            Field::Balance => number(Column::Balance, 12),
            Field::MaxBalance => number(Column::MaxBalance, 12),
            Field::Currency => number(Column::Currency, 4),
            Field::CurrencyExponent => number(Column::CurrencyExponent, 2),
            Field::Member => text(Column::Member),
            Field::Points => {
                let points = card.get(Column::Points).and_then(|v| v.parse::<u32>().ok());
                points.map(|v| Zeroizing::new(v.to_be_bytes().to_vec()))
            }
            Field::Offer => text(Column::Offer),
            Field::Track1 => {
                let (name, service) = (card.required(Column::Name), card.required(Column::ServiceCode));
                let disc = self.discretionary(service)?;
                Some(joined(&["%B", pan, "^", name, "^", expiry, service, &disc, "?"]))
            }
            Field::Track2 => {
                let content = self.track2_content(card.required(Column::ServiceCode))?;
                Some(joined(&[";", &content, "?"]))
            }
            Field::PanGrouped => Some(grouped(pan)),
            Field::PanLast4 => pan.len().checked_sub(4).and_then(|from| pan.get(from..)).map(bytes),
            Field::NamePrinted => {
                let (surname, first) = card.required(Column::Name).split_once('/').unwrap_or_default();
                let (surname, first) = (surname.trim(), first.trim());
                Some(if first.is_empty() { bytes(surname) } else { joined(&[first, " ", surname]) })
            }
            Field::ExpiryPrinted => {
                let (year, month) = expiry.split_at_checked(2).unwrap_or_default();
                Some(joined(&[month, "/", year]))
            }
            Field::Cvv2 => {
                let (year, month) = expiry.split_at_checked(2).unwrap_or_default();
                Some(bytes(&self.cvv(&joined_text(&[month, year]), "000")?))
            }
        })
    }

    fn cvv(&self, expiry: &str, service: &str) -> Result<Zeroizing<String>, Failure> {
        let cvk = &self.keys.get(Master::Cvk)?.key;
        verification::cvv(cvk, self.card.required(Column::Pan), expiry, service).map_err(|e| bug(&e))
    }

    /// PVKI, PVV and CVV (chip: iCVV, `service` = 999). Without a PVK or a PIN, PVKI and PVV are zeros.
    fn discretionary(&self, service: &str) -> Result<Zeroizing<String>, Failure> {
        let cvv = self.cvv(self.card.required(Column::Expiry), service)?;
        let pvv = match (self.keys.find(Master::Pvk), self.card.get(Column::Pin)) {
            (Some(pvk), Some(pin)) => {
                let pan = self.card.required(Column::Pan);
                let pvv = verification::pvv(&pvk.key, pan, pvk.version, pin).map_err(|e| bug(&e))?;
                joined_text(&[&pvk.version.to_string(), &pvv])
            }
            _ => Zeroizing::new("00000".into()),
        };
        Ok(joined_text(&[&pvv, &cvv]))
    }

    /// Track 2 between the sentinels. `cvv_service`: the card's service code, or 999 for the chip's iCVV.
    fn track2_content(&self, cvv_service: &str) -> Result<Zeroizing<String>, Failure> {
        let card = self.card;
        let disc = self.discretionary(cvv_service)?;
        let (pan, expiry) = (card.required(Column::Pan), card.required(Column::Expiry));
        Ok(joined_text(&[pan, "=", expiry, card.required(Column::ServiceCode), &disc]))
    }

    fn derived(&self, master: Master) -> Result<TdesKey, Failure> {
        let key = &self.keys.get(master)?.key;
        let card = self.card;
        card_key(key, self.option, card.required(Column::Pan), card.required(Column::Psn))
            .map_err(|e| bug(&e))
    }

    fn kcv(&self, master: Master) -> Result<Bytes, Failure> {
        Ok(Zeroizing::new(CipherKey::Tdes(self.derived(master)?).kcv().0.to_vec()))
    }
}

fn bug(error: &CryptoError) -> Failure {
    Failure::new(Exit::Bug, format!("us: a checked card could not be computed: {error}"))
}

fn exposed(key: &TdesKey) -> Bytes {
    Zeroizing::new(key.expose().to_vec())
}

fn bytes(text: &str) -> Bytes {
    Zeroizing::new(text.as_bytes().to_vec())
}

fn joined(parts: &[&str]) -> Bytes {
    Zeroizing::new(parts.concat().into_bytes())
}

fn joined_text(parts: &[&str]) -> Zeroizing<String> {
    Zeroizing::new(parts.concat())
}

/// YYMM and a day as n 6.
fn date(year_month: &str, day: u8) -> Bytes {
    bcd(&format!("{year_month}{day:02}"))
}

/// Last day of a month, YYMM of 2000-2099: every fourth year is a leap year.
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

/// Groups of 4; the number line has 19 positions (standards.md 6.1), so a longer PAN goes without blanks.
fn grouped(pan: &str) -> Bytes {
    let groups: Vec<&[u8]> = pan.as_bytes().chunks(4).collect();
    let spaced = Zeroizing::new(groups.join(&b' '));
    if spaced.len() <= 19 { spaced } else { bytes(pan) }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
