//! Public key certificates of issuers and cards (EMV Book 2, tables 6 and 14; what is hashed: tables 2 and 7).
//!
//! ```text
//! subject (issuer identifier 4, PAN 10) | expiry MMYY | serial 3 | 01 | 01 | length of the key | length of its exponent
//!   | the key padded with BB, or its leftmost bytes
//! ```
//!
//! The rest of a longer key is the remainder, which stands outside the certificate. Not here: the signature.

use std::fmt;

use super::block::{BlockFault, FRAME, PAD, SHA_1, content, framed};

/// Public key algorithm indicator: RSA (Book 2, Annex B2.1).
const RSA: u8 = 0x01;

/// Whose key a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// An issuer's: signed by the certification authority, tag 90. The subject is the issuer identifier, the 3 to 8
    /// leftmost digits of the account numbers, padded with F.
    Issuer,
    /// A card's: signed by the issuer, tag 9F46. The subject is the account number, padded with F.
    Card,
}

impl CertificateKind {
    fn format(self) -> u8 {
        match self {
            Self::Issuer => 0x02,
            Self::Card => 0x04,
        }
    }

    /// Bytes of the subject.
    fn subject(self) -> usize {
        match self {
            Self::Issuer => 4,
            Self::Card => 10,
        }
    }

    /// Bytes of a certificate that hold no part of the key: 36 of an issuer's, 42 of a card's.
    pub fn overhead(self) -> usize {
        FRAME + self.subject() + 2 + 3 + 4
    }
}

/// A month until whose last day something is valid, coded MMYY (n 4). Years are those from 2000 to 2099.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MonthYear([u8; 2]);

impl MonthYear {
    /// December 2099.
    pub const LAST: Self = Self([0x12, 0x99]);

    /// Reads MMYY in BCD.
    pub fn from_bcd(bytes: [u8; 2]) -> Option<Self> {
        let decimal = bytes.iter().all(|byte| byte >> 4 <= 9 && byte & 0x0F <= 9);
        let month = matches!(bytes, [0x01..=0x09 | 0x10..=0x12, _]);
        (decimal && month).then_some(Self(bytes))
    }

    /// MMYY in BCD.
    pub fn bcd(self) -> [u8; 2] {
        self.0
    }

    /// For comparisons: year, then month.
    fn order(self) -> [u8; 2] {
        let [month, year] = self.0;
        [year, month]
    }
}

impl PartialOrd for MonthYear {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MonthYear {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl fmt::Display for MonthYear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [month, year] = self.0;
        write!(f, "{month:02X}/20{year:02X}")
    }
}

impl fmt::Debug for MonthYear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MonthYear({self})")
    }
}

/// What a certificate states. A card's subject is its account number, so there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyCertificate {
    /// Whose key it holds.
    pub kind: CertificateKind,
    /// Issuer identifier (4 bytes) or account number (10 bytes), digits padded with F.
    pub subject: Vec<u8>,
    /// Last month in which it is valid.
    pub expiry: MonthYear,
    /// Serial number, unique for the signer.
    pub serial: [u8; 3],
    /// Modulus of the key.
    pub modulus: Vec<u8>,
    /// Public exponent of the key: 03, or 01 00 01.
    pub exponent: Vec<u8>,
}

/// A certificate before it is signed.
pub struct CertifiedKey {
    /// The block to be signed, as long as the signer's modulus.
    pub block: Vec<u8>,
    /// The rest of the key (92, 9F48); empty if the certificate holds the whole key.
    pub remainder: Vec<u8>,
}

impl KeyCertificate {
    /// Makes the block for a signer with a modulus of `signer` bytes. A card's certificate also covers its static data.
    pub fn block(&self, signer: usize, static_data: &[u8]) -> Result<CertifiedKey, BlockFault> {
        let room = signer.checked_sub(self.kind.overhead()).ok_or(BlockFault::Length)?;
        let length = |part: &[u8]| u8::try_from(part.len()).map_err(|_| BlockFault::Length);
        if self.subject.len() != self.kind.subject() || !digits_then_f(&self.subject) {
            return Err(BlockFault::Field("the subject is not digits padded with F"));
        }
        // A key that is longer than its signer's cannot be recovered by a terminal (Book 2, clause 5.1).
        if self.modulus.is_empty() || self.modulus.len() > signer {
            return Err(BlockFault::Length);
        }
        let (inside, remainder) = self.modulus.split_at_checked(room).unwrap_or((&self.modulus, &[]));
        let mut fields = Vec::with_capacity(signer);
        fields.extend_from_slice(&self.subject);
        fields.extend_from_slice(&self.expiry.bcd());
        fields.extend_from_slice(&self.serial);
        fields.extend_from_slice(&[SHA_1, RSA, length(&self.modulus)?, length(&self.exponent)?]);
        let padded = fields.len() + room;
        fields.extend_from_slice(inside);
        fields.resize(padded, PAD);
        let block = framed(self.kind.format(), &fields, &[remainder, &self.exponent, static_data]);
        Ok(CertifiedKey { block, remainder: remainder.to_vec() })
    }

    /// Reads a recovered block. Every byte is checked: also the padding, which a terminal ignores.
    pub fn recovered(
        kind: CertificateKind,
        block: &[u8],
        remainder: &[u8],
        exponent: &[u8],
        static_data: &[u8],
    ) -> Result<Self, BlockFault> {
        let fields = content(kind.format(), block, &[remainder, exponent, static_data])?;
        let (subject, fields) = fields.split_at_checked(kind.subject()).ok_or(BlockFault::Length)?;
        let [a, b, s1, s2, s3, hash, algorithm, length, exponent_length, key @ ..] = fields else {
            return Err(BlockFault::Length);
        };
        if (*hash, *algorithm) != (SHA_1, RSA) {
            return Err(BlockFault::Algorithm);
        }
        if !digits_then_f(subject) {
            return Err(BlockFault::Field("the subject is not digits padded with F"));
        }
        let expiry = MonthYear::from_bcd([*a, *b]).ok_or(BlockFault::Field("the expiry is not MMYY"))?;
        let length = usize::from(*length);
        let inside = length.min(key.len());
        let (inside, padding) = key.split_at_checked(inside).ok_or(BlockFault::Length)?;
        if length != inside.len() + remainder.len() || usize::from(*exponent_length) != exponent.len() {
            return Err(BlockFault::Length);
        }
        if padding.iter().any(|byte| *byte != PAD) {
            return Err(BlockFault::Field("the padding is not BB"));
        }
        if !matches!(exponent, [0x03] | [0x01, 0x00, 0x01]) {
            return Err(BlockFault::Field("the exponent is neither 3 nor 65537"));
        }
        Ok(Self {
            kind,
            subject: subject.to_vec(),
            expiry,
            serial: [*s1, *s2, *s3],
            modulus: [inside, remainder].concat(),
            exponent: exponent.to_vec(),
        })
    }
}

/// Whether the nibbles are at least one digit, then F to the end.
fn digits_then_f(bytes: &[u8]) -> bool {
    let mut nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]).peekable();
    let begins = nibbles.peek().is_some_and(|first| *first <= 9);
    begins && nibbles.skip_while(|nibble| *nibble <= 9).all(|nibble| nibble == 0xF)
}
