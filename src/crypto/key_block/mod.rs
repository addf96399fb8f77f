//! Key blocks: the form in which a partner sends a key, under a key that both have (KBPK, a ZMK here).
//!
//! TR-31:2018 and ANSI X9.143:2021, versions B (KBPK of TDES) and D (KBPK of AES), both with keys derived from the KBPK.
//! Opens them, and makes none. Not here: what a block may become in a key store. Narrower than the standards: no
//! version A and C (old binding), no long form of an optional block, no optional block that may restrict the key, upper
//! case alone, at most 1,024 characters, no keys of three-key TDES.
//!
//! ```text
//! version | length 4 | usage 2 | algorithm | mode | key version 2 | exportability | optional blocks 2 | context | 0
//! { id 2 | length 2 | data }*                       characters; the MAC is over all of them as they stand
//! encrypted { bits of the key 2 | key | padding } | MAC           in hex
//! ```
//!
//! [`KeyBlock::read`] checks the form and believes nothing. Only an [`OpenedBlock`], whose MAC is right, shows what the block
//! says.

mod header;
mod open;
mod options;

use crate::crypto::{CipherKey, KeyType};

pub use header::{BlockHeader, BlockVersion};
pub use options::{OptionalBlocks, StatedKcv};

/// A key block whose form is right. Its MAC is not checked yet, so it shows only what is needed to find the KBPK.
pub struct KeyBlock {
    header: BlockHeader,
    /// The header with its optional blocks, as it stands: the MAC is over it.
    header_text: String,
    payload: Vec<u8>,
    mac: Vec<u8>,
}

/// A key block whose MAC is right: its sender wrote all that it says.
pub struct OpenedBlock {
    /// What the sender says of the key.
    pub header: BlockHeader,
    /// The key.
    pub key: CipherKey,
    /// Cipher and length of the key.
    pub key_type: KeyType,
}

/// Why a text is not a key block, or a key block does not open. Never says anything about the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyBlockFault {
    /// The form is wrong at this character, counted from 1.
    #[error("key block, character {place}: {fault}: ask the sender for a new block")]
    Form {
        /// The character, counted from 1.
        place: usize,
        /// What is wrong there.
        fault: FormFault,
    },
    /// Versions A and C, whose keys are variants of the KBPK.
    #[error("key block of version {0}, an old binding: ask the sender for version B (TDES) or D (AES)")]
    Old(char),
    /// An optional block that may restrict the key; this program would not keep to it.
    #[error(
        "key block, character {place}: optional block {id} may restrict the key: ask the sender for a block without it"
    )]
    Restricting {
        /// The character, counted from 1.
        place: usize,
        /// Name of the optional block.
        id: String,
    },
    /// The sender wrapped the key for his own storage (context 1).
    #[error("the key block is for its sender's own storage: ask the sender for one for exchange")]
    ForStorage,
    /// Version B is under TDES, version D under AES.
    #[error(
        "a key block of version {0} is under a {1} key, and this is no {1} key: take the KBPK that the sender named"
    )]
    WrongKbpkType(BlockVersion, &'static str),
    /// The MAC is wrong.
    #[error(
        "the MAC is wrong: the key block was changed, or is under another key: compare the KCV of the KBPK with its sender"
    )]
    Mac,
    /// The block holds a key of another algorithm than TDES and AES.
    #[error("the block holds a key of algorithm {0}: ask the sender for T (TDES) or A (AES)")]
    Algorithm(char),
    /// A TDES key of 24 bytes.
    #[error("the block holds a three-key TDES key: ask the sender for two-key TDES or AES")]
    ThreeKey,
    /// A DES key of 8 bytes.
    #[error("the block holds a single DES key: ask the sender for two-key TDES or AES")]
    SingleDes,
    /// The length of the key fits neither its algorithm nor the block.
    #[error("the length of the key in the block is wrong: ask the sender for a new block")]
    KeyLength,
    /// The block states a KCV of its key, and the key has another.
    #[error("the KCV that the block states (KC) is not that of its key: ask the sender for a new block")]
    KcvOfKey,
    /// The block states a KCV of its KBPK, and the KBPK has another.
    #[error(
        "the KCV that the block states of its KBPK (KP) is not that of this key: ask the sender for a new block"
    )]
    KcvOfKbpk,
}

/// What is wrong with the form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormFault {
    /// There is no text, or too much of it.
    #[error("a key block has 1 to 1024 characters")]
    Size,
    /// A character that no key block holds.
    #[error("it is no printable ASCII character")]
    Character,
    /// The first character is not A to D.
    #[error("this version of key blocks is unknown")]
    Version,
    /// The stated length is not that of the text.
    #[error("the stated length is not that of the text")]
    Length,
    /// Whole blocks of the cipher are needed here.
    #[error("{0} is not a whole number of blocks")]
    NotWhole(&'static str),
    /// A field does not hold what it may hold, or the text ends in it.
    #[error("expected {0}")]
    Field(&'static str),
    /// An optional block of more than 255 characters.
    #[error("optional block {0} has the long form of length, which is not taken")]
    LongForm(String),
    /// An optional block that stands twice.
    #[error("optional block {0} stands twice")]
    Twice(String),
    /// An optional block that holds hex, and this holds none.
    #[error("optional block {0} holds no hex")]
    NoHex(String),
    /// A stated KCV is a method, 00 or 01, and 2 to 16 bytes.
    #[error("optional block {0} holds no method 00 or 01 with a KCV of 2 to 16 bytes")]
    NoKcv(String),
    /// Padding stands last.
    #[error("optional block PB stands before another")]
    PaddingFirst,
}

#[cfg(test)]
mod tests;
