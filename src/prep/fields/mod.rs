//! The computed fields that a product's templates may name: the data of one card in the forms that chip,
//! stripe and print take.
//!
//! Secret fields (keys, the PIN block) may stand only in encrypted DGIs; `plan` enforces this. Not here:
//! where a field goes (the product profile), how the values of the input are checked (`columns`).

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::columns::Column;
use super::digits::{bcd, compressed};
use super::emv::{Option14, card_key};
use super::input::Cardholder;
use super::keys::{IssuerKeys, Master};
use super::template::FieldValues;
use super::{ClearBytes, pin, verification};
use crate::crypto::{CipherKey, CryptoError, TdesKey};
use crate::exit::{Exit, Failure};

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
    NamePrinted,
    ExpiryPrinted,
    Cvv2,
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
    pub needs: &'static [Master],
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
    made(CardField::Track2Chip, "track2_chip", &[Master::Cvk], "track 2 with iCVV, D and F pad (tag 57)"),
    made(CardField::Track1Disc, "track1_disc", &[Master::Cvk], "PVKI PVV iCVV, ASCII (tag 9F1F)"),
    secret(CardField::UdkAc, "udk_ac", &[Master::Ac], "application cryptogram key, 16 bytes"),
    secret(CardField::UdkSmi, "udk_smi", &[Master::Smi], "secure messaging MAC key, 16 bytes"),
    secret(CardField::UdkSmc, "udk_smc", &[Master::Smc], "secure messaging encipherment key, 16 bytes"),
    made(CardField::KcvAc, "kcv_ac", &[Master::Ac], "KCV of udk_ac, 3 bytes"),
    made(CardField::KcvSmi, "kcv_smi", &[Master::Smi], "KCV of udk_smi, 3 bytes"),
    made(CardField::KcvSmc, "kcv_smc", &[Master::Smc], "KCV of udk_smc, 3 bytes"),
    secret(CardField::Kdl, "kdl", &[Master::Kml], "purse load key, from KML and purse_id, 16 bytes"),
    secret(CardField::Kdu, "kdu", &[Master::Kmu], "purse update key, from KMU and purse_id, 16 bytes"),
    made(CardField::KcvKdl, "kcv_kdl", &[Master::Kml], "KCV of kdl, 3 bytes"),
    made(CardField::KcvKdu, "kcv_kdu", &[Master::Kmu], "KCV of kdu, 3 bytes"),
    made(CardField::ImkVersion, "imk_version", &[Master::Ac], "version of IMK-AC, 1 byte"),
    made(CardField::KmlVersion, "kml_version", &[Master::Kml], "version of KML, 1 byte"),
    secret(CardField::PinBlock, "pin_block", &[], "reference PIN, ISO 9564 format 1 in the file, 8 bytes"),
    clear(CardField::PurseId, "purse_id", "purse identifier, n 10"),
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
        &[Master::Cvk],
        "stripe track 1, sentinels included: PVKI PVV CVV at the end",
    ),
    made(
        CardField::Track2,
        "track2",
        &[Master::Cvk],
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
    clear(CardField::NamePrinted, "name_printed", "TITLE FIRST MIDDLE SURNAME"),
    clear(CardField::ExpiryPrinted, "expiry_printed", "MM/YY"),
    made(CardField::Cvv2, "cvv2", &[Master::Cvk], "CVV2, 3 digits"),
];

const fn clear(field: CardField, name: &'static str, help: &'static str) -> FieldDefinition {
    made(field, name, &[], help)
}

const fn made(
    field: CardField,
    name: &'static str,
    needs: &'static [Master],
    help: &'static str,
) -> FieldDefinition {
    FieldDefinition { field, name, secret: false, needs, help }
}

const fn secret(
    field: CardField,
    name: &'static str,
    needs: &'static [Master],
    help: &'static str,
) -> FieldDefinition {
    FieldDefinition { field, name, secret: true, needs, help }
}

/// The message about a name that no field has.
pub fn unknown(name: &str) -> String {
    let known: Vec<_> = FIELDS.iter().map(|d| d.name).collect();
    format!("no computed field {name:?}; there are {}", known.join(", "))
}

/// Returns the field with this name in templates.
pub fn by_name(name: &str) -> Option<CardField> {
    FIELDS.iter().find(|d| d.name == name).map(|d| d.field)
}

impl CardField {
    fn definition(self) -> Option<&'static FieldDefinition> {
        FIELDS.iter().find(|d| d.field == self)
    }

    /// Returns the name of the field in templates.
    pub fn name(self) -> &'static str {
        self.definition().map_or("", |d| d.name)
    }

    /// Whether the field may stand only in encrypted DGIs.
    pub fn secret(self) -> bool {
        self.definition().is_none_or(|d| d.secret)
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
            Self::NamePrinted => "B A",
            Self::ExpiryPrinted => "00/00",
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
            | Self::Points => return None,
        })
    }

    /// Returns the issuer keys from which the field is computed.
    pub fn needs(self) -> &'static [Master] {
        self.definition().map_or(&[], |d| d.needs)
    }
}

/// The values of one card; wiped when dropped.
pub struct CardValues(BTreeMap<CardField, Zeroizing<Vec<u8>>>);

impl FieldValues for CardValues {
    fn value(&self, field: CardField) -> Option<&[u8]> {
        self.0.get(&field).map(|v| v.as_slice())
    }
}

impl CardValues {
    /// Computes the fields that the product uses. A field for which the input has no data is left out.
    pub fn compute(
        used: &BTreeSet<CardField>,
        card: &Cardholder,
        keys: &IssuerKeys,
        option: Option14,
    ) -> Result<Self, Failure> {
        let source = FieldSource { card, keys, option };
        let mut values = BTreeMap::new();
        for field in used {
            if let Some(value) = source.compute(*field)? {
                values.insert(*field, value);
            }
        }
        Ok(Self(values))
    }
}

/// All that a field is computed from.
struct FieldSource<'a> {
    card: &'a Cardholder,
    keys: &'a IssuerKeys,
    option: Option14,
}

impl FieldSource<'_> {
    fn compute(&self, field: CardField) -> Result<Option<ClearBytes>, Failure> {
        let card = self.card;
        let (pan, expiry) = (card.required(Column::Pan), card.required(Column::Expiry));
        let number =
            |column, width: usize| card.get(column).map(|v| bcd(&Zeroizing::new(format!("{v:0>width$}"))));
        let text = |column| card.get(column).map(|v| Zeroizing::new(v.as_bytes().to_vec()));
        Ok(match field {
            CardField::Pan => Some(compressed(pan)),
            CardField::Psn => number(Column::Psn, 2),
            CardField::Name => text(Column::Name),
            CardField::ExpiryDate => Some(date(expiry, last_day(expiry))),
            CardField::EffectiveDate => Some(date(card.required(Column::Effective), 1)),
            CardField::ServiceCode => number(Column::ServiceCode, 4),
            CardField::Track2Chip => Some(compressed(&self.track2_content("999")?)),
            CardField::Track1Disc => Some(bytes(&self.discretionary("999")?)),
            CardField::UdkAc => Some(exposed(&self.derived(Master::Ac)?)),
            CardField::UdkSmi => Some(exposed(&self.derived(Master::Smi)?)),
            CardField::UdkSmc => Some(exposed(&self.derived(Master::Smc)?)),
            CardField::Kdl => self.purse_key(Master::Kml)?.map(|key| exposed(&key)),
            CardField::Kdu => self.purse_key(Master::Kmu)?.map(|key| exposed(&key)),
            CardField::KcvAc => Some(kcv(self.derived(Master::Ac)?)),
            CardField::KcvSmi => Some(kcv(self.derived(Master::Smi)?)),
            CardField::KcvSmc => Some(kcv(self.derived(Master::Smc)?)),
            CardField::KcvKdl => self.purse_key(Master::Kml)?.map(kcv),
            CardField::KcvKdu => self.purse_key(Master::Kmu)?.map(kcv),
            CardField::ImkVersion => Some(Zeroizing::new(vec![self.keys.get(Master::Ac)?.version])),
            CardField::KmlVersion => Some(Zeroizing::new(vec![self.keys.get(Master::Kml)?.version])),
            CardField::PinBlock => self.pin_block()?,
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
                let content = self.track2_content(card.required(Column::ServiceCode))?;
                Some(joined(&[";", &content, "?"]))
            }
            CardField::PanGrouped => Some(grouped(pan)),
            CardField::PanNumberLine => Some(number_line(pan)),
            CardField::PanLast4 => pan.len().checked_sub(4).and_then(|from| pan.get(from..)).map(bytes),
            CardField::NamePrinted => Some(name_printed(card.required(Column::Name))),
            CardField::ExpiryPrinted => {
                let (year, month) = expiry.split_at_checked(2).unwrap_or_default();
                Some(joined(&[month, "/", year]))
            }
            CardField::Cvv2 => {
                let (year, month) = expiry.split_at_checked(2).unwrap_or_default();
                Some(bytes(&self.cvv(&joined_text(&[month, year]), "000")?))
            }
        })
    }

    /// Returns the PIN block in format 1 with a fresh random fill; `None` if the card has no PIN.
    fn pin_block(&self) -> Result<Option<ClearBytes>, Failure> {
        let Some(digits) = self.card.get(Column::Pin) else { return Ok(None) };
        let mut random = Zeroizing::new([0u8; 8]);
        super::fill_random(&mut *random)?;
        let block = pin::format_1(digits, &random).map_err(|e| bug(&e))?;
        Ok(Some(Zeroizing::new(block.to_vec())))
    }

    /// Returns track 1 in format B, sentinels included (ISO/IEC 7813).
    fn track1(&self) -> Result<ClearBytes, Failure> {
        let text = |column| self.card.required(column);
        let service = text(Column::ServiceCode);
        let discretionary = self.discretionary(service)?;
        let (pan, name, expiry) = (text(Column::Pan), text(Column::Name), text(Column::Expiry));
        Ok(joined(&["%B", pan, "^", name, "^", expiry, service, &discretionary, "?"]))
    }

    fn cvv(&self, expiry: &str, service: &str) -> Result<Zeroizing<String>, Failure> {
        let cvk = &self.keys.get(Master::Cvk)?.key;
        verification::cvv(cvk, self.card.required(Column::Pan), expiry, service).map_err(|e| bug(&e))
    }

    /// Returns PVKI, PVV and CVV (for the chip iCVV, with `service` 999). Without a PVK or a PIN, PVKI and
    /// PVV are zeros.
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

    /// Returns track 2 between the sentinels. `cvv_service` is the card's service code, or 999 for the iCVV
    /// of the chip.
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

    /// Derives a key of the purse by option A from the purse's identifier and the sequence number 00: a load
    /// host knows neither PAN nor PAN sequence number. `None` if the card has no purse.
    fn purse_key(&self, master: Master) -> Result<Option<TdesKey>, Failure> {
        let Some(purse) = self.card.get(Column::PurseId) else { return Ok(None) };
        let key = &self.keys.get(master)?.key;
        card_key(key, Option14::A, purse, "00").map(Some).map_err(|e| bug(&e))
    }
}

/// Places of the number line (ISO/IEC 7811-3, 7 per inch): 16 digits in groups of 4 fill it.
const NUMBER_LINE: usize = 19;

fn kcv(key: TdesKey) -> ClearBytes {
    Zeroizing::new(CipherKey::Tdes(key).kcv().0.to_vec())
}

fn bug(error: &CryptoError) -> Failure {
    Failure::new(Exit::Bug, format!("us: a checked card could not be computed: {error}"))
}

fn exposed(key: &TdesKey) -> ClearBytes {
    Zeroizing::new(key.expose().to_vec())
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

/// Turns the name field of ISO/IEC 7813, `SURNAME/FIRST MIDDLE.TITLE`, into `TITLE FIRST MIDDLE SURNAME`.
fn name_printed(name: &str) -> ClearBytes {
    let (surname, given) = name.split_once('/').unwrap_or_default();
    let (given, title) = title_apart(given);
    let parts: Vec<&str> =
        [title, given, surname].into_iter().map(str::trim).filter(|part| !part.is_empty()).collect();
    Zeroizing::new(parts.join(" ").into_bytes())
}

/// Splits `FIRST MIDDLE.TITLE` at the period that announces the title. A period after an initial (`J. P.`,
/// `J.P.`) announces none: a title follows its period directly and has at least two characters before the
/// next one.
fn title_apart(given: &str) -> (&str, &str) {
    let announces = |(at, _): &(usize, &str)| {
        let after = given.get(at + 1..).unwrap_or_default();
        let word = after.split('.').next().unwrap_or_default();
        word.len() >= 2 && !word.starts_with(' ')
    };
    let Some((at, _)) = given.match_indices('.').find(announces) else { return (given, "") };
    (given.get(..at).unwrap_or_default(), given.get(at + 1..).unwrap_or_default())
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
