//! A product's own fields: `[prep.fields.NAME]`, each a column of the input and a field of templates.
//!
//! | form | value in the input | in a template |
//! |---|---|---|
//! | `text` | characters | the text |
//! | `digits` | digits | the digits as text |
//! | `bcd` | digits | two to a byte, zeros before them up to `max` digits; for the chip alone |
//! | `hex` | two hex digits a byte | the bytes; for the chip alone |
//!
//! Not here: the known columns (`columns`), where a text may go (`input::schema`).

use serde::Deserialize;
use zeroize::Zeroizing;

use super::ClearBytes;
use super::columns::printable;
use super::tables::OwnFieldTable;
use crate::crypto::payment::digits::bcd;

/// Longest name.
const NAME_MAX: usize = 24;

/// Longest value: a record of a chip has 254 bytes.
const VALUE_MAX: u8 = 250;

/// The form of an own field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnForm {
    /// Characters.
    Text,
    /// Digits as text.
    Digits,
    /// Digits, two to a byte on the chip.
    Bcd,
    /// Bytes, two hex digits each.
    Hex,
}

/// A field that a product defines for itself. The name stands in the value, so that it can be copied as freely as a known
/// column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnField {
    /// Filled up with zeros.
    name: [u8; NAME_MAX],
    form: OwnForm,
    min: u8,
    max: u8,
    required: bool,
}

impl OwnField {
    /// Reads a table of the profile.
    pub fn new(name: &str, table: &OwnFieldTable) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let good = name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_lowercase());
        let mut own = [0; NAME_MAX];
        match own.get_mut(..name.len()).filter(|_| good) {
            Some(place) => place.copy_from_slice(name.as_bytes()),
            None => return Err(format!("a name is 1 to {NAME_MAX} of a-z 0-9 _ and begins with a-z")),
        }
        let OwnFieldTable { form, min, max, required, default: _ } = *table;
        if !(1..=VALUE_MAX).contains(&max) || !(1..=max).contains(&min) {
            return Err(format!("max is 1 to {VALUE_MAX}, min 1 to max"));
        }
        Ok(Self { name: own, form, min, max, required })
    }

    /// Its name, in templates and in the header.
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|b| *b == 0).unwrap_or(NAME_MAX);
        self.name.get(..end).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// Whether every card must have it.
    pub fn is_required(self) -> bool {
        self.required
    }

    /// Most digits, if it is a number.
    pub fn digits(self) -> Option<usize> {
        matches!(self.form, OwnForm::Digits | OwnForm::Bcd).then_some(usize::from(self.max))
    }

    /// Whether it may hold more than ASCII.
    pub fn is_text(self) -> bool {
        self.form == OwnForm::Text
    }

    /// Checks a value that is not empty; the error says which rule it breaks.
    pub fn check(self, text: &str) -> Result<(), String> {
        let Self { form, min, max, .. } = self;
        let (good, length, unit) = match form {
            OwnForm::Text => (text.chars().all(printable), text.chars().count(), "printable characters"),
            OwnForm::Digits | OwnForm::Bcd => {
                (text.bytes().all(|b| b.is_ascii_digit()), text.len(), "digits")
            }
            OwnForm::Hex => (hex::decode(text).map(Zeroizing::new).is_ok(), text.len() / 2, "bytes in hex"),
        };
        if good && (usize::from(min)..=usize::from(max)).contains(&length) {
            return Ok(());
        }
        Err(if min == max { format!("is not {max} {unit}") } else { format!("is not {min} to {max} {unit}") })
    }

    /// The bytes of a checked value.
    pub fn value(self, text: &str) -> ClearBytes {
        match self.form {
            OwnForm::Text | OwnForm::Digits => Zeroizing::new(text.as_bytes().to_vec()),
            OwnForm::Bcd => {
                let width = usize::from(self.max).next_multiple_of(2);
                bcd(&Zeroizing::new(format!("{text:0>width$}")))
            }
            OwnForm::Hex => Zeroizing::new(hex::decode(text).unwrap_or_default()),
        }
    }

    /// A value in an input of a made-up card.
    pub fn sample(self) -> String {
        let unit = match self.form {
            OwnForm::Text => "A",
            OwnForm::Digits | OwnForm::Bcd => "0",
            OwnForm::Hex => "00",
        };
        unit.repeat(usize::from(self.min))
    }

    /// The text of a made-up card; `None` for bytes.
    pub fn example(self) -> Option<&'static str> {
        match self.form {
            OwnForm::Text => Some("A"),
            OwnForm::Digits => Some("0"),
            OwnForm::Bcd | OwnForm::Hex => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(form: OwnForm, min: u8, max: u8) -> Result<OwnField, String> {
        OwnField::new("shelf_1", &OwnFieldTable { form, min, max, required: false, default: None })
    }

    #[test]
    fn values_have_their_form_and_length() {
        for (form, min, max, good, bad) in [
            (OwnForm::Text, 1, 3, vec!["A", "Äöü"], vec!["ABCD", "A\n", "A\u{202E}"]),
            (OwnForm::Digits, 2, 3, vec!["01", "999"], vec!["1", "1234", "1A", "١٢"]),
            (OwnForm::Bcd, 1, 5, vec!["1", "12345"], vec!["123456", "-1"]),
            (OwnForm::Hex, 1, 2, vec!["0a", "0A0B"], vec!["0", "0A0", "0A0B0C", "0G", " A"]),
        ] {
            let field = own(form, min, max).unwrap();
            good.iter().for_each(|text| assert_eq!(field.check(text), Ok(()), "{form:?} {text}"));
            for text in bad {
                let fault = field.check(text).unwrap_err();
                assert!(fault.starts_with("is not ") && !fault.contains(text), "{form:?}: {fault}");
            }
        }
        assert_eq!(own(OwnForm::Digits, 4, 4).unwrap().check("1").unwrap_err(), "is not 4 digits");
    }

    #[test]
    fn bytes_for_the_chip() {
        assert_eq!(*own(OwnForm::Bcd, 1, 5).unwrap().value("123"), [0x00, 0x01, 0x23]);
        assert_eq!(*own(OwnForm::Hex, 1, 2).unwrap().value("0aFF"), [0x0A, 0xFF]);
        assert_eq!(*own(OwnForm::Digits, 1, 2).unwrap().value("07"), *b"07");
    }

    #[test]
    fn wrong_definitions() {
        assert!(own(OwnForm::Text, 0, 3).is_err() && own(OwnForm::Text, 4, 3).is_err());
        assert!(own(OwnForm::Text, 1, 251).is_err() && own(OwnForm::Text, 1, 0).is_err());
        for name in ["", "1a", "A", "a-b", "_a", "ä", &"a".repeat(25)] {
            let table = OwnFieldTable { form: OwnForm::Text, min: 1, max: 3, required: false, default: None };
            assert!(OwnField::new(name, &table).is_err(), "{name}");
        }
        assert_eq!(own(OwnForm::Text, 1, 3).unwrap().name(), "shelf_1");
    }
}
