//! The rules for each DGI (CPS; EMV Book 3): secret or clear, its form, and the DGI that must come before it.
//!
//! Not here: which application takes which DGI (`application`).

use std::collections::BTreeMap;

use super::apdu::CardStatusWord;
use super::ber;
use super::tdes::{self, DoubleLengthKey};

/// DGIs by number, as the card holds them.
pub(super) type StoredDgis = BTreeMap<u16, Vec<u8>>;

/// Longest record, in bytes (EMV Book 1, 10.2: the most that READ RECORD returns).
const MAX_RECORD: usize = 254;
/// Highest and lowest number of a record DGI: record 01 of SFI 1 to record FF of SFI 30.
const RECORDS: std::ops::RangeInclusive<u16> = 0x0101..=0x1EFF;

/// One row of the table of DGIs.
pub(super) struct DgiRule {
    from: u16,
    to: u16,
    /// Whether it is sent under the session DEK (P1 b7b6 = 11), and only so.
    pub(super) secret: bool,
    form: DgiForm,
    /// A DGI that must be there already, if the application takes it at all.
    after: Option<u16>,
}

/// Form of a value, in clear.
enum DgiForm {
    /// A record of SFI 1-10: one complete template 70.
    Template70,
    /// A record of SFI 11-30.
    RawRecord,
    /// Data objects.
    Objects,
    /// GPO data: objects 82 (AIP, 2 bytes) and 94 (AFL, 4 bytes per entry).
    GpoData,
    /// One complete template A5.
    TemplateA5,
    /// Two-key triple DES keys, 16 bytes each.
    Keys,
    /// A KCV of 3 bytes for each key of that DGI, in its order.
    KcvsOf(u16),
    /// ISO 9564 format 2 PIN block.
    PinBlock,
    /// Try counter and limit, as two bytes or as 9F17 01 counter, limit.
    PinTries,
    /// Data, then always 80 00.. to whole blocks.
    Padded,
    /// Any bytes.
    Free,
}

const fn clear(from: u16, to: u16, form: DgiForm) -> DgiRule {
    DgiRule { from, to, secret: false, form, after: None }
}

const fn secret(from: u16, to: u16, form: DgiForm, after: Option<u16>) -> DgiRule {
    DgiRule { from, to, secret: true, form, after }
}

const RULES: &[DgiRule] = &[
    clear(0x0101, 0x0AFF, DgiForm::Template70),
    clear(0x0B01, 0x1EFF, DgiForm::RawRecord),
    clear(0x3000, 0x3001, DgiForm::Objects),
    clear(0x7FFF, 0x7FFF, DgiForm::Free),
    secret(0x8000, 0x8000, DgiForm::Keys, None),
    secret(0x8010, 0x8010, DgiForm::PinBlock, Some(0x9010)),
    secret(0x8020, 0x8020, DgiForm::Keys, Some(0xA001)),
    secret(0x8201, 0x8205, DgiForm::Padded, None),
    clear(0x9000, 0x9000, DgiForm::KcvsOf(0x8000)),
    clear(0x9010, 0x9010, DgiForm::PinTries),
    clear(0x9020, 0x9020, DgiForm::KcvsOf(0x8020)),
    clear(0x9102, 0x9102, DgiForm::TemplateA5),
    clear(0x9104, 0x9104, DgiForm::GpoData),
    clear(0xA001, 0xA001, DgiForm::Free),
];

/// Whether this is the number of a record, which every application takes.
pub(super) fn is_record(dgi: u16) -> bool {
    RECORDS.contains(&dgi) && dgi & 0xFF != 0
}

/// The rule for a DGI.
pub(super) fn rule(dgi: u16) -> Option<&'static DgiRule> {
    RULES.iter().find(|r| (r.from..=r.to).contains(&dgi))
}

impl DgiRule {
    /// Checks a value in clear against its form, and against the DGIs that an application with `accepts` has
    /// already.
    pub(super) fn check(
        &self,
        value: &[u8],
        have: &StoredDgis,
        accepts: &[u16],
    ) -> Result<(), CardStatusWord> {
        if self.after.is_some_and(|first| accepts.contains(&first) && !have.contains_key(&first)) {
            return Err(CardStatusWord::ORDER);
        }
        let right = match self.form {
            DgiForm::Template70 => value.len() <= MAX_RECORD && ber::is_template(0x70, value),
            DgiForm::RawRecord => (1..=MAX_RECORD).contains(&value.len()),
            DgiForm::Objects => ber::is_valid(value),
            DgiForm::GpoData => is_gpo_data(value),
            DgiForm::TemplateA5 => ber::is_template(0xA5, value),
            DgiForm::Keys => !value.is_empty() && value.len().is_multiple_of(16),
            DgiForm::KcvsOf(keys) => return check_kcvs(have.get(&keys), value),
            DgiForm::PinBlock => is_format_2(value),
            DgiForm::PinTries => tries(value).is_some(),
            DgiForm::Padded => tdes::unpad(value).is_some_and(|part| !part.is_empty()),
            DgiForm::Free => true,
        };
        if right { Ok(()) } else { Err(CardStatusWord::DATA) }
    }
}

/// The value of 9010 as (counter, limit): counter within limit, limit 1 to 15.
pub(super) fn tries(value: &[u8]) -> Option<(u8, u8)> {
    let (counter, limit) = match *value {
        [counter, limit] | [0x9F, 0x17, 0x01, counter, limit] => (counter, limit),
        _ => return None,
    };
    ((1..=0x0F).contains(&limit) && counter <= limit).then_some((counter, limit))
}

fn check_kcvs(keys: Option<&Vec<u8>>, kcvs: &[u8]) -> Result<(), CardStatusWord> {
    let keys = keys.ok_or(CardStatusWord::KCV)?;
    let expected: Vec<u8> =
        keys.as_chunks::<16>().0.iter().flat_map(|key: &DoubleLengthKey| tdes::kcv(key)).collect();
    if expected == kcvs { Ok(()) } else { Err(CardStatusWord::KCV) }
}

/// Whether this is a PIN block `2N`, N = 4 to 12 digits, F to the end of 8 bytes.
fn is_format_2(block: &[u8]) -> bool {
    let digits: Vec<u8> = block.iter().flat_map(|b| [b >> 4, b & 0x0F]).collect();
    let Some((&[control, length], rest)) = digits.split_first_chunk() else { return false };
    let Some((pin, fill)) = rest.split_at_checked(length.into()) else { return false };
    block.len() == 8
        && control == 2
        && (4..=12).contains(&length)
        && pin.iter().all(|&d| d <= 9)
        && fill.iter().all(|&d| d == 0x0F)
}

fn is_gpo_data(value: &[u8]) -> bool {
    let afl = ber::find(0x94, value).is_some_and(|afl| !afl.is_empty() && afl.len().is_multiple_of(4));
    ber::is_valid(value) && ber::find(0x82, value).is_some_and(|aip| aip.len() == 2) && afl
}
