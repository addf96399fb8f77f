//! The form of a key block: its text, cut into fields. Nothing here is believed: the MAC comes later (`open`).

use std::fmt;

use super::options::OptionalBlocks;
use super::{FormFault, KeyBlock, KeyBlockFault};

/// More than the longest lawful block of a key with every optional block that is taken: bounds the work.
const LONGEST: usize = 1024;

/// Bytes of the encrypted part: at least a length and 8 bytes of key, padded; at most what no key needs.
const PAYLOAD: std::ops::RangeInclusive<usize> = 16..=256;

/// Versions of key blocks that open here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockVersion {
    /// Under a TDES key.
    B,
    /// Under an AES key.
    D,
}

impl BlockVersion {
    /// Block of the cipher in bytes, which the MAC has as well. Also the multiple that the number of characters is.
    pub(super) fn block(self) -> usize {
        match self {
            Self::B => 8,
            Self::D => 16,
        }
    }
}

impl fmt::Display for BlockVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::B => "B",
            Self::D => "D",
        })
    }
}

/// What a sender says of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    /// Version of the block.
    pub version: BlockVersion,
    /// What the key is for: two of A-Z 0-9, such as K0.
    pub usage: String,
    /// Cipher of the key, such as T (TDES) or A (AES).
    pub algorithm: char,
    /// What the key may do, such as B (both), D (decrypt), X (derive), N (all).
    pub mode: char,
    /// Version of the key: 00 if it has none.
    pub key_version: String,
    /// E, N or S.
    pub exportability: char,
    /// What else is said.
    pub options: OptionalBlocks,
}

/// Takes fields from the front of a text.
pub(super) struct Fields<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Fields<'t> {
    /// The place of the next character, counted from 1.
    pub(super) fn place(&self) -> usize {
        self.at + 1
    }

    /// A fault at the next character.
    pub(super) fn fault(&self, fault: FormFault) -> KeyBlockFault {
        KeyBlockFault::Form { place: self.place(), fault }
    }

    /// The next `length` characters, if there are as many and each is allowed.
    pub(super) fn take(
        &mut self,
        length: usize,
        name: &'static str,
        allowed: fn(u8) -> bool,
    ) -> Result<&'t str, KeyBlockFault> {
        let end = self.at.saturating_add(length);
        let field = self.text.get(self.at..end).filter(|field| field.bytes().all(allowed));
        let field = field.ok_or_else(|| self.fault(FormFault::Field(name)))?;
        self.at = end;
        Ok(field)
    }

    fn take_char(&mut self, name: &'static str, allowed: fn(u8) -> bool) -> Result<char, KeyBlockFault> {
        let fault = self.fault(FormFault::Field(name));
        self.take(1, name, allowed)?.chars().next().ok_or(fault)
    }

    fn take_number(&mut self, length: usize, name: &'static str) -> Result<usize, KeyBlockFault> {
        let fault = self.fault(FormFault::Field(name));
        self.take(length, name, |c| c.is_ascii_digit())?.parse().map_err(|_| fault)
    }
}

/// Upper-case letters and digits: codes of the standard.
pub(super) fn code(c: u8) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

/// Lower-case digits are not taken: outside the header they are not under the MAC, and one block would have two texts.
pub(super) fn upper_hex(c: u8) -> bool {
    c.is_ascii_digit() || (b'A'..=b'F').contains(&c)
}

/// Printable ASCII.
pub(super) fn printable(c: u8) -> bool {
    (0x20..=0x7E).contains(&c)
}

impl KeyBlock {
    /// Cuts a text into fields and checks its form. One end of line is dropped.
    pub fn read(text: &str) -> Result<Self, KeyBlockFault> {
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if !(1..=LONGEST).contains(&text.len()) {
            return Err(KeyBlockFault::Form { place: 1, fault: FormFault::Size });
        }
        if let Some(at) = text.bytes().position(|c| !printable(c)) {
            return Err(KeyBlockFault::Form { place: at + 1, fault: FormFault::Character });
        }
        let mut fields = Fields { text, at: 0 };
        let header = header(&mut fields)?;
        let block = header.version.block();
        if !fields.at.is_multiple_of(block) {
            return Err(fields.fault(FormFault::NotWhole("the header")));
        }
        let header_text = text.get(..fields.at).unwrap_or_default().to_owned();
        let payload_hex = text.len().saturating_sub(fields.at + 2 * block);
        if !payload_hex.is_multiple_of(2 * block) || !PAYLOAD.contains(&(payload_hex / 2)) {
            return Err(fields.fault(FormFault::NotWhole("the encrypted key")));
        }
        let payload = hex_bytes(&mut fields, payload_hex, "hex of the encrypted key")?;
        let mac = hex_bytes(&mut fields, 2 * block, "hex of the MAC")?;
        Ok(Self { header, header_text, payload, mac })
    }
}

fn hex_bytes(fields: &mut Fields<'_>, digits: usize, name: &'static str) -> Result<Vec<u8>, KeyBlockFault> {
    let fault = fields.fault(FormFault::Field(name));
    hex::decode(fields.take(digits, name, upper_hex)?).map_err(|_| fault)
}

fn header(fields: &mut Fields<'_>) -> Result<BlockHeader, KeyBlockFault> {
    let unknown = fields.fault(FormFault::Version);
    let version = match fields.take_char("version", printable)? {
        'B' => BlockVersion::B,
        'D' => BlockVersion::D,
        old @ ('A' | 'C') => return Err(KeyBlockFault::Old(old)),
        _ => return Err(unknown),
    };
    let other_length = fields.fault(FormFault::Length);
    let not_whole = fields.fault(FormFault::NotWhole("the text"));
    if fields.take_number(4, "length of four digits")? != fields.text.len() {
        return Err(other_length);
    }
    if !fields.text.len().is_multiple_of(version.block()) {
        return Err(not_whole);
    }
    let usage = fields.take(2, "usage", code)?.to_owned();
    let algorithm = fields.take_char("algorithm", code)?;
    let mode = fields.take_char("mode", code)?;
    let key_version = fields.take(2, "key version", |c| c.is_ascii_alphanumeric())?.to_owned();
    let exportability = fields.take_char("exportability (E, N, S)", |c| b"ENS".contains(&c))?;
    let count = fields.take_number(2, "number of optional blocks")?;
    // X9.143: 0 for storage or exchange, 1 for storage alone, 2 for exchange alone. TR-31 has 0 here.
    if fields.take_char("context (0, 1, 2)", |c| b"012".contains(&c))? == '1' {
        return Err(KeyBlockFault::ForStorage);
    }
    fields.take(1, "0, which is reserved", |c| c == b'0')?;
    let options = OptionalBlocks::read(fields, count)?;
    Ok(BlockHeader { version, usage, algorithm, mode, key_version, exportability, options })
}
