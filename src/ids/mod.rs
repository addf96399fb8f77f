//! The identifiers of the trade as types: of a card, an application, a key or a piece of data.
//!
//! Not here: anything secret. Every one of these may appear in logs, events and the ledger. Their shapes
//! follow `src/manual/cwf1.md` and, for a DGI, EMV CPS 3.2.

mod card_names;
pub mod card_ref;

use std::fmt;

pub use card_names::CardNames;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a name was refused. It never quotes the value, which may hold cardholder data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The value is empty, and the field must not be.
    #[error("is empty")]
    Empty,
    /// The value is longer than its field allows.
    #[error("is longer than {0} characters")]
    TooLong(usize),
    /// A character outside the set of most names.
    #[error("holds a character that is not printable ASCII")]
    Character,
    /// A text that is no MIC.
    #[error("is not 1 to 7 of A-Z and 0-9")]
    Mic,
    /// A text that is no reference to a KMC.
    #[error(
        "is no KMC; one is written KMC_ID:VERSION, which is 12 hex digits, a colon and a number up to 255"
    )]
    Kmc,
    /// A character that is no hex digit.
    #[error("character {at} is no hex digit; {name} has hex digits only, no blanks and no wildcards")]
    HexDigit {
        /// Number of the character, from 1.
        at: usize,
        /// What the field holds, with its article.
        name: &'static str,
    },
    /// Another number of hex digits than the field has.
    #[error("has {found} hex digits; {name} has {}, two digits for each", bytes(*least, *most))]
    HexDigits {
        /// Number of digits.
        found: usize,
        /// What the field holds, with its article.
        name: &'static str,
        /// Fewest bytes.
        least: usize,
        /// Most bytes.
        most: usize,
    },
    /// A run of 12 or more digits: it could be an account number.
    #[error("holds 12 or more consecutive digits, which could be an account number")]
    LooksLikePan,
    /// An account number in groups, or as a whole.
    #[error("holds an account number; with the separators left out it has the digits of one")]
    HoldsPan,
    /// The value has another number of bytes than the field.
    #[error("has the wrong length")]
    Length,
}

fn bytes(least: usize, most: usize) -> String {
    if least == most { format!("{most} bytes") } else { format!("{least} to {most} bytes") }
}

/// Reads `least` to `most` bytes in hex. Errors call the text `name`, which includes its article.
pub fn hex_bytes(text: &str, name: &'static str, least: usize, most: usize) -> Result<Vec<u8>, NameError> {
    if let Some((place, _)) = (1..).zip(text.chars()).find(|(_, c)| !c.is_ascii_hexdigit()) {
        return Err(NameError::HexDigit { at: place, name });
    }
    let bytes = hex::decode(text).ok().filter(|bytes| (least..=most).contains(&bytes.len()));
    bytes.ok_or(NameError::HexDigits { found: text.len(), name, least, most })
}

/// Number of a job in one ledger, from 1; written `J1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "J{}", self.0)
    }
}

impl std::str::FromStr for JobId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix(['J', 'j']).unwrap_or(text);
        digits.parse().map(Self).map_err(|_| format!("{text:?} is no job; jobs are written J1, J2 ..."))
    }
}

impl From<JobId> for String {
    fn from(job: JobId) -> Self {
        job.to_string()
    }
}

/// Only `J1` is read here; [`std::str::FromStr`] also takes what a person may type.
impl TryFrom<String> for JobId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let job: Self = text.parse()?;
        if job.to_string() == text { Ok(job) } else { Err(format!("{text:?} is no job; this one is {job}")) }
    }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text and keeps it.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(&text)?;
                Ok(Self(text))
            }

            /// Checks bytes of a file and keeps them as text.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
                Self::new(std::str::from_utf8(bytes).map_err(|_| NameError::Character)?)
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

/// Printable ASCII, 1 to 255 characters: the strings of the CWF1 header (L1 fields).
fn header_text(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > 255 {
        return Err(NameError::TooLong(255));
    }
    if !text.bytes().all(|b| (0x20..=0x7E).contains(&b)) {
        return Err(NameError::Character);
    }
    Ok(())
}

text_name!(
    /// Name of an output file, unique for its issuer (`src/manual/cwf1.md` section 2). Printable ASCII,
    /// 1-255.
    FileId,
    header_text
);
text_name!(
    /// The issuer of a file; a KEK belongs to exactly one issuer. Printable ASCII, 1-255.
    IssuerId,
    header_text
);
text_name!(
    /// The name of a card product profile. Printable ASCII, 1-255.
    ProductName,
    header_text
);
text_name!(
    /// The only name of a card outside the HSM and the chip: 1-40 printable ASCII characters. A GUID, or a
    /// name without 12 or more consecutive digits. [`CardRef::check_accounts`] is for new ones: names that
    /// were accepted before stay readable.
    CardRef,
    |text| card_ref::check(text.as_bytes())
);

text_name!(
    /// Module identifier code: 1-7 characters A-Z 0-9 (`src/manual/cwf1.md` section 2).
    Mic,
    |text| {
        let fits = text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if fits && (1..=7).contains(&text.len()) { Ok(()) } else { Err(NameError::Mic) }
    }
);

/// Writes and reads a name as hex digits where people read the format, and in few bytes where they do not: messages to
/// HSM and station hosts carry many.
macro_rules! text_or_binary {
    ($name:ident, |$value:ident| $binary:expr, $from_binary:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    return serializer.collect_str(self);
                }
                let $value = self;
                $binary.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    return Self::try_from(String::deserialize(deserializer)?).map_err(D::Error::custom);
                }
                let from_binary = $from_binary;
                from_binary(Deserialize::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

macro_rules! hex_name {
    ($(#[$doc:meta])* $name:ident, $bytes:expr, $called:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $bytes]);

        text_or_binary!($name, |name| name.0, |bytes: [u8; $bytes]| Ok::<_, NameError>(Self(bytes)));

        impl $name {
            /// Reads exactly as many hex digits as the field has.
            pub fn from_hex(text: &str) -> Result<Self, NameError> {
                let bytes = hex_bytes(text, $called, $bytes, $bytes)?;
                Ok(Self(bytes.try_into().map_err(|_| NameError::Length)?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode_upper(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::from_hex(&text)
            }
        }
    };
}

hex_name!(
    /// KEYDATA, 10 bytes: KMC_ID (6) then CSN (4). INITIALIZE UPDATE response bytes 0-9 (GPCS Table E-8).
    KeyData,
    10,
    "KEYDATA"
);
hex_name!(
    /// Chip serial number, 4 bytes: the name of a blank in events, ledger and dumps.
    Csn,
    4,
    "a CSN"
);
hex_name!(
    /// KEKID: issuer identifier (4 bytes, first 8 digits of the IIN, BCD, right-padded with F), then the
    /// version (01-FE). `src/manual/cwf1.md` section 3.
    KekId,
    5,
    "a KEKID"
);
hex_name!(
    /// Key check value, 3 bytes. TDES: E(8 × 00). AES: E(16 × 01) (GPCS B.6).
    Kcv,
    3,
    "a KCV"
);

impl KekId {
    /// Returns the digits of the issuer identifier, without the F that fill it up.
    pub fn issuer_digits(&self) -> String {
        let Self([issuer @ .., _]) = self;
        hex::encode_upper(issuer).chars().take_while(char::is_ascii_digit).collect()
    }
}

impl KeyData {
    /// Returns the supplier's KMC_ID, bytes 0-5.
    pub fn kmc_id(&self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.0;
        [a, b, c, d, e, f]
    }

    /// Returns the chip serial number, bytes 6-9.
    pub fn csn(&self) -> Csn {
        let [.., a, b, c, d] = self.0;
        Csn([a, b, c, d])
    }
}

/// A supplier's master key: KMC_ID and key version number. Written `FFFFFF476173:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KmcRef {
    /// KMC_ID, the first six bytes of KEYDATA.
    pub id: [u8; 6],
    /// Key version number, byte 10 of the INITIALIZE UPDATE response.
    pub version: u8,
}

impl KmcRef {
    /// Reads `12 hex digits:decimal version`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (id, version) = text.split_once(':').ok_or(NameError::Kmc)?;
        let mut bytes = [0; 6];
        hex::decode_to_slice(id, &mut bytes).map_err(|_| NameError::Kmc)?;
        Ok(Self { id: bytes, version: version.parse().map_err(|_| NameError::Kmc)? })
    }
}

impl fmt::Display for KmcRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", hex::encode_upper(self.id), self.version)
    }
}

impl TryFrom<String> for KmcRef {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<KmcRef> for String {
    fn from(kmc: KmcRef) -> String {
        kmc.to_string()
    }
}

/// Data grouping identifier, two bytes (EMV CPS 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dgi(pub u16);

text_or_binary!(Dgi, |dgi| dgi.0, |number: u16| Ok::<_, NameError>(Self(number)));

impl Dgi {
    /// Returns SFI and record number if the DGI names a record: 0101 to 1EFF (EMV CPS 3.2; EMV Book 3,
    /// 5.3.2.2).
    pub fn record(self) -> Option<(u8, u8)> {
        let [sfi, record] = self.0.to_be_bytes();
        ((1..=30).contains(&sfi) && record != 0).then_some((sfi, record))
    }
}

impl fmt::Display for Dgi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Debug for Dgi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dgi({self})")
    }
}

impl TryFrom<String> for Dgi {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let bytes = hex_bytes(&text, "a DGI", 2, 2)?;
        Ok(Self(bytes.try_into().map(u16::from_be_bytes).map_err(|_| NameError::Length)?))
    }
}

/// Application identifier: 1-16 bytes (ISO 7816-4 asks for 5-16, CWF1 only for one that is not empty).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aid(Vec<u8>);

text_or_binary!(Aid, |aid| aid.0.as_slice(), |bytes: Vec<u8>| Self::new(&bytes));

impl Aid {
    /// Most bytes.
    const MAX: usize = 16;

    /// Checks the length of the bytes and keeps them.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes.len() {
            0 => Err(NameError::Empty),
            1..=Self::MAX => Ok(Self(bytes.to_vec())),
            _ => Err(NameError::TooLong(Self::MAX)),
        }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Aid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(&self.0))
    }
}

impl fmt::Debug for Aid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aid({self})")
    }
}

impl TryFrom<String> for Aid {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        hex_bytes(&text, "an AID", 1, Self::MAX).map(Self)
    }
}

/// Name of the key of one spool in the HSM: 16 random bytes, drawn with the key. It is written in groups of 8
/// hex digits, which cannot be mistaken for an account number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpoolKeyName(pub [u8; 16]);

impl fmt::Display for SpoolKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (group, between) in self.0.chunks(4).zip(["", "-", "-", "-"]) {
            write!(f, "{between}{}", hex::encode_upper(group))?;
        }
        Ok(())
    }
}

impl std::str::FromStr for SpoolKeyName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut name = [0; 16];
        hex::decode_to_slice(text.replace('-', ""), &mut name).map_err(|_| NameError::Character)?;
        Ok(Self(name))
    }
}

impl TryFrom<String> for SpoolKeyName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<SpoolKeyName> for String {
    fn from(name: SpoolKeyName) -> String {
        name.to_string()
    }
}
