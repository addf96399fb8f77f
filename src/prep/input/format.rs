//! How a source is written: CSV (RFC 4180) or JSON Lines (jsonlines.org), its delimiter, its encoding.
//!
//! Not here: reading it (`rows`, `json`), decoding (`decode`).

use std::path::Path;

use serde::Deserialize;

use crate::prep::tables::InputTable;

/// The kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A header line, then a card on each line.
    Csv,
    /// A JSON object on each line.
    Jsonl,
}

/// How the characters of a source are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TextEncoding {
    /// UTF-8, with or without a byte order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16, whose byte order mark says the order of bytes.
    #[serde(rename = "utf-16")]
    Utf16,
    /// UTF-16, low byte first.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, high byte first.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// ISO/IEC 8859-1: a byte is the character of that number; 80 to 9F are controls and no text.
    #[serde(rename = "iso-8859-1")]
    Latin1,
}

/// How a source is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFormat {
    /// CSV or JSON Lines.
    pub kind: SourceKind,
    /// The character between values of CSV.
    pub delimiter: u8,
    /// The encoding; without it UTF-8, or UTF-16 after its byte order mark.
    pub encoding: Option<TextEncoding>,
}

impl Default for SourceFormat {
    fn default() -> Self {
        Self { kind: SourceKind::Csv, delimiter: b',', encoding: None }
    }
}

impl SourceFormat {
    /// Reads the table of a profile.
    pub fn new(table: &InputTable) -> Result<Self, String> {
        let InputTable { format, delimiter, encoding } = *table;
        let kind = format.unwrap_or(SourceKind::Csv);
        if kind == SourceKind::Jsonl && delimiter.is_some() {
            return Err("delimiter belongs to format csv".into());
        }
        // No character that a value, a line end or a quotation mark has.
        let free =
            |c: &char| *c == '\t' || (c.is_ascii_punctuation() && !matches!(c, '"' | '\'' | '_' | '-' | '.'));
        let delimiter = delimiter.unwrap_or(',');
        match u8::try_from(delimiter).ok().filter(|_| free(&delimiter)) {
            Some(delimiter) => Ok(Self { kind, delimiter, encoding }),
            None => {
                Err("delimiter is one character, as , ; | or a tab (\\t), no quotation mark, letter, digit, \
                         blank, . - or _"
                    .into())
            }
        }
    }

    /// The format of a file: one whose name ends with `.jsonl` is JSON Lines.
    #[must_use]
    pub fn of_file(self, path: &Path) -> Self {
        match path.extension().is_some_and(|end| end.eq_ignore_ascii_case("jsonl")) {
            true => Self { kind: SourceKind::Jsonl, ..self },
            false => self,
        }
    }

    /// The encoding in words, for faults.
    pub(super) fn encoding_name(self) -> &'static str {
        match self.encoding {
            None | Some(TextEncoding::Utf8) => "UTF-8",
            Some(TextEncoding::Utf16) => "UTF-16 with a byte order mark",
            Some(TextEncoding::Utf16Le | TextEncoding::Utf16Be) => "UTF-16",
            Some(TextEncoding::Latin1) => "ISO 8859-1",
        }
    }
}
