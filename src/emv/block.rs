//! The frame of every signed block: `6A | format | content | SHA-1 (20) | BC`, as long as the signer's modulus (EMV Book 2,
//! Annex A2.1: signatures with message recovery after ISO/IEC 9796-2).
//!
//! Not here: the content (`certificate`, `static_data`).

use sha1::{Digest, Sha1};

const HEADER: u8 = 0x6A;
const TRAILER: u8 = 0xBC;
/// Hash algorithm indicator: SHA-1 (Book 2, Annex B2.1), the only one for RSA.
pub(super) const SHA_1: u8 = 0x01;
/// Bytes of a SHA-1.
const HASH: usize = 20;
/// Fills what the content leaves free.
pub(super) const PAD: u8 = 0xBB;
/// Bytes of a block that are no content: header, format, hash, trailer.
pub(super) const FRAME: usize = 2 + HASH + 1;

/// Why a block is not of its format. It quotes nothing of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// The key, or a remainder, does not fit the length of the block.
    #[error("a length does not fit the signer's key")]
    Length,
    /// Another key signed it, or it was changed.
    #[error("it was signed under another key, or it was changed")]
    Frame,
    /// Header and trailer are right, and the format byte is another.
    #[error("it is of format {0:02X}")]
    Format(u8),
    /// The algorithm indicators are not SHA-1 and RSA.
    #[error("it names algorithms other than SHA-1 and RSA")]
    Algorithm,
    /// The hash is another.
    #[error(
        "its hash is not that of its data: a field, the remainder, the exponent or the static data was changed"
    )]
    Hash,
    /// A field has a value that its format does not allow.
    #[error("{0}")]
    Field(&'static str),
}

/// Frames a content. The hash covers format, content and `beside`, the data that stand outside the block.
pub(super) fn framed(format: u8, content: &[u8], beside: &[&[u8]]) -> Vec<u8> {
    let mut block = Vec::with_capacity(content.len() + FRAME);
    block.extend_from_slice(&[HEADER, format]);
    block.extend_from_slice(content);
    let hash = hash(format, content, beside);
    block.extend_from_slice(&hash);
    block.push(TRAILER);
    block
}

/// Checks the frame of a recovered block and returns its content.
pub(super) fn content<'b>(format: u8, block: &'b [u8], beside: &[&[u8]]) -> Result<&'b [u8], BlockFault> {
    let [HEADER, found, rest @ .., TRAILER] = block else { return Err(BlockFault::Frame) };
    if *found != format {
        return Err(BlockFault::Format(*found));
    }
    let (content, stated) = rest.split_last_chunk::<HASH>().ok_or(BlockFault::Length)?;
    if hash(format, content, beside) != *stated {
        return Err(BlockFault::Hash);
    }
    Ok(content)
}

fn hash(format: u8, content: &[u8], beside: &[&[u8]]) -> [u8; HASH] {
    let mut hash = Sha1::new_with_prefix([format]);
    hash.update(content);
    beside.iter().for_each(|data| hash.update(data));
    hash.finalize().into()
}
