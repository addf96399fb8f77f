//! The known columns of the preparation's input and the rules for their values; a product adds its own (`own_field`).
//!
//! A failed check names the rule and never repeats the value, which is cardholder data. Not here: rules
//! between columns (`input`).

use super::own_field::OwnField;
use crate::ids::card_ref::luhn_holds;
use crate::printable::is_hidden;

/// A column of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// The only name of the card outside chip and HSM.
    CardRef,
    /// Primary account number.
    Pan,
    /// PAN sequence number.
    Psn,
    /// Cardholder name, as the track has it.
    Name,
    /// Cardholder name for print and embossing.
    NamePrinted,
    /// Title for print and embossing.
    Title,
    /// Second line for print and embossing.
    Line2,
    /// Last month of validity.
    Expiry,
    /// First month of validity.
    Effective,
    /// Service code of the stripe.
    ServiceCode,
    /// Reference PIN.
    Pin,
    /// Purse: identifier of the IEP.
    PurseId,
    /// Purse: balance in minor units.
    Balance,
    /// Purse: maximum balance in minor units.
    MaxBalance,
    /// Currency.
    Currency,
    /// Decimal places of the currency.
    CurrencyExponent,
    /// Loyalty: member number.
    Member,
    /// Loyalty: points.
    Points,
    /// Loyalty: free text on the chip.
    Offer,
    /// Fulfilment: plastic stock code.
    Stock,
    /// Fulfilment: carrier.
    Carrier,
    /// Fulfilment: ship group.
    ShipGroup,
    /// Fulfilment: priority.
    Priority,
    /// Fulfilment: cards that go together.
    Group,
    /// Graphics: file of the cardholder's photo.
    Photo,
    /// A field of the product's own.
    Own(OwnField),
}

/// One column: its name in the header line, and the shape of its values.
pub struct ColumnDefinition {
    /// The column.
    pub column: Column,
    /// Its name in the header line.
    pub name: &'static str,
    /// Checks a value that is not empty; the error says which rule it breaks.
    pub check: fn(&str) -> Result<(), &'static str>,
    /// Shape and unit of the values, for `--help`.
    pub help: &'static str,
}

/// Digits of a purse's identifier that begins with the issuer identifier.
pub const LONG_PURSE_ID: usize = 16;

/// Every column, in the order in which `sample` writes them. The header may have any order.
pub const COLUMNS: &[ColumnDefinition] = &[
    column(
        Column::CardRef,
        "card_ref",
        card_ref,
        "1-40 printable ASCII characters, unique in the file; a GUID, or no 12 digits in a row; no account number",
    ),
    column(Column::Pan, "pan", pan, "12-19 digits, Luhn check digit last"),
    column(Column::Psn, "psn", psn, "2 digits, 00 if left out; pan and psn together unique in the file"),
    column(Column::Name, "name", name, "SURNAME/FIRST MIDDLE.TITLE, 2-26 of A-Z 0-9 . - ' ( ) blank"),
    column(
        Column::NamePrinted,
        "name_printed",
        printed,
        "1-64 characters; the name for print and embossing [default: TITLE FIRST MIDDLE SURNAME of name]",
    ),
    column(Column::Title, "title", printed, "1-64 characters: a title for print and embossing"),
    column(Column::Line2, "line2", printed, "1-64 characters: a second line for print and embossing"),
    column(Column::Expiry, "expiry", year_month, "YYMM (20YY), last month of validity"),
    column(Column::Effective, "effective", year_month, "YYMM (20YY), first month of validity"),
    column(Column::ServiceCode, "service_code", service_code, "3 digits"),
    column(Column::Pin, "pin", pin, "4-12 digits; without one the card has no offline PIN"),
    column(
        Column::PurseId,
        "purse_id",
        purse_id,
        "10 digits, or 16 that begin with the issuer identifier; without one the card has no purse",
    ),
    column(Column::Balance, "balance", amount, "up to 12 digits, minor units, at most max_balance"),
    column(Column::MaxBalance, "max_balance", amount, "up to 12 digits, minor units"),
    column(Column::Currency, "currency", currency, "3 digits, ISO 4217 numeric"),
    column(Column::CurrencyExponent, "currency_exponent", exponent, "1 digit: decimal places"),
    column(Column::Member, "member", member, "1-16 of A-Z 0-9; without one the card has no loyalty"),
    column(Column::Points, "points", points, "0-4294967295"),
    column(Column::Offer, "offer", text, "1-64 printable ASCII characters"),
    column(Column::Stock, "stock", text, "1-64 printable ASCII characters"),
    column(Column::Carrier, "carrier", text, "1-64 printable ASCII characters"),
    column(Column::ShipGroup, "ship_group", text, "1-64 printable ASCII characters"),
    column(Column::Priority, "priority", text, "1-64 printable ASCII characters"),
    column(Column::Group, "group", text, "1-64 printable ASCII characters: cards that go together"),
    column(
        Column::Photo,
        "photo",
        path,
        "file of a PNG or JPEG photo, relative to the input's folder and not above it; at most 1 MiB",
    ),
];

const fn column(
    column: Column,
    name: &'static str,
    check: fn(&str) -> Result<(), &'static str>,
    help: &'static str,
) -> ColumnDefinition {
    ColumnDefinition { column, name, check, help }
}

/// Returns the column with this name in the header.
pub fn by_name(name: &str) -> Option<&'static ColumnDefinition> {
    COLUMNS.iter().find(|d| d.name == name)
}

impl Column {
    /// Returns the name of the column, which a product may rename in its files.
    pub fn name(&self) -> &str {
        match self {
            Self::Own(own) => own.name(),
            known => COLUMNS.iter().find(|d| d.column == *known).map_or("", |d| d.name),
        }
    }

    /// Whether its values are text that may hold more than ASCII.
    pub fn is_text(self) -> bool {
        match self {
            Self::NamePrinted | Self::Title | Self::Line2 => true,
            Self::Own(own) => own.is_text(),
            _ => false,
        }
    }

    /// Whether a product may give one value to all cards that have none.
    pub fn may_have_default(self) -> bool {
        !matches!(self, Self::CardRef | Self::Pan | Self::Pin | Self::PurseId)
    }
}

/// Checks a value that is not empty by the rule of its column; the error says which rule it breaks.
pub fn check(column: Column, text: &str) -> Result<(), String> {
    if let Column::Own(own) = column {
        return own.check(text);
    }
    let definition = COLUMNS.iter().find(|d| d.column == column);
    definition.map_or(Err("is unknown"), |d| (d.check)(text)).map_err(str::to_owned)
}

/// Whether a character can be printed.
pub fn printable(c: char) -> bool {
    !is_hidden(c) && c != char::REPLACEMENT_CHARACTER
}

fn only(good: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if good { Ok(()) } else { Err(otherwise) }
}

fn digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn card_ref(text: &str) -> Result<(), &'static str> {
    use crate::ids::{CardRef, NameError};
    CardRef::new(text).map(|_| ()).map_err(|e| match e {
        NameError::LooksLikePan => "holds 12 or more consecutive digits, which could be an account number",
        NameError::TooLong(_) => "has more than 40 characters",
        _ => "holds a character that is not printable ASCII",
    })
}

fn pan(text: &str) -> Result<(), &'static str> {
    only(digits(text, 12..=19), "is not 12 to 19 digits")?;
    only(luhn_holds(text), "has a wrong check digit (Luhn)")
}

fn psn(text: &str) -> Result<(), &'static str> {
    only(digits(text, 2..=2), "is not 2 digits")
}

/// Characters of track 1 that stripe, embossing and chip all accept: no sentinels, no separators, none that
/// ISO/IEC 7811-2 reserves for hardware control, no `<` and `>`. One `/` divides surname and first name.
fn name(text: &str) -> Result<(), &'static str> {
    only((2..=26).contains(&text.len()), "is not 2 to 26 characters")?;
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b" .-'()/".contains(&b);
    only(text.bytes().all(allowed), "holds a character outside A-Z 0-9 . - ' ( ) / and blank")?;
    match text.split_once('/') {
        Some((surname, first)) if !surname.trim().is_empty() => {
            only(!first.contains('/'), "holds more than one / between surname and first name")
        }
        _ => Err("is not SURNAME/FIRST"),
    }
}

fn year_month(text: &str) -> Result<(), &'static str> {
    only(digits(text, 4..=4), "is not YYMM")?;
    let month = text.get(2..).unwrap_or_default();
    only(("01"..="12").contains(&month), "has a month outside 01-12")
}

fn service_code(text: &str) -> Result<(), &'static str> {
    only(digits(text, 3..=3), "is not 3 digits")
}

fn pin(text: &str) -> Result<(), &'static str> {
    only(digits(text, 4..=12), "is not 4 to 12 digits")
}

fn purse_id(text: &str) -> Result<(), &'static str> {
    let long = LONG_PURSE_ID..=LONG_PURSE_ID;
    only(digits(text, 10..=10) || digits(text, long), "is not 10 or 16 digits")
}

fn amount(text: &str) -> Result<(), &'static str> {
    only(digits(text, 1..=12), "is not 1 to 12 digits")
}

fn currency(text: &str) -> Result<(), &'static str> {
    only(digits(text, 3..=3), "is not 3 digits")
}

fn exponent(text: &str) -> Result<(), &'static str> {
    only(digits(text, 1..=1), "is not 1 digit")
}

fn member(text: &str) -> Result<(), &'static str> {
    let fits = text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    only(fits && text.len() <= 16, "is not 1 to 16 of A-Z 0-9")
}

fn points(text: &str) -> Result<(), &'static str> {
    only(digits(text, 1..=10) && text.parse::<u32>().is_ok(), "is not a number from 0 to 4294967295")
}

fn text(text: &str) -> Result<(), &'static str> {
    let fits = text.bytes().all(|b| (0x20..=0x7E).contains(&b));
    only(fits && text.len() <= 64, "is not 1 to 64 printable ASCII characters")
}

fn printed(text: &str) -> Result<(), &'static str> {
    only(text.chars().all(printable) && text.chars().count() <= 64, "is not 1 to 64 printable characters")
}

/// A path of a file in the folder of the input or below it, without characters that differ between systems.
fn path(text: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/ ".contains(&b);
    only(text.len() <= 255 && text.bytes().all(plain), "is not 1 to 255 of A-Z a-z 0-9 . _ - / and blank")?;
    let inside = text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    only(inside, "is not a path in the folder of the input or below")
}

/// Returns the list of columns as text for `--help`.
pub fn help() -> String {
    let lines = COLUMNS.iter().map(|d| format!("  {:<18} {}\n", d.name, d.help));
    let body: String = lines.collect();
    format!(
        "Columns of the input, in any order, named in its first line. A card needs card_ref and what its product uses; \
         a product may rename columns and add its own:\n{body}"
    )
}
