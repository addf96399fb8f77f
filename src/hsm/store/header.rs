//! The file `keys` of a store, version 2, but for its body. Integers are big-endian; `L1` is a length of 1 byte, then bytes.
//!
//! ```text
//! header  "CWKS" | version u16 = 2 | realm u8 'T' 'L' | side u8 'B' 'I' | store id (16) | generation u64 (from 1)
//!         | written u64 (Unix s) | custody id (16) | m u8 | n u8
//!         | 'T': m = n = 0, master key (32) in the clear
//!         | 'L': n times { L1 name | salt (16) | share (32) sealed | tag (16) }; 2 <= m <= n <= 9, each name once
//! body    seed (16) | length u32 | ciphertext | tag (16)       sealed under the master key ([`seal`](super::seal))
//! end     SHA-256 (32) of all before
//! ```
//!
//! The digest tells damage (restore it) from a change on purpose (find out who). A TEST store protects nothing: whoever reads
//! its file has its master key.
//!
//! Not here: the body (`body`), the file itself (`folder`).

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::entry::StoreSide;
use super::seal::SealKey;
use crate::exit::{Exit, Failure};
use crate::record::cursor::{FieldCursor, ShortInput};

const MAGIC: &[u8; 4] = b"CWKS";
/// The format that this version reads and writes.
const VERSION: u16 = 2;
/// Bytes of a TEST store's header.
const TEST_HEADER: usize = 4 + 2 + 1 + 1 + 16 + 8 + 8 + 16 + 2 + SealKey::LENGTH;
const DIGEST: usize = 32;
/// Most custodians of a LIVE store.
const CUSTODIANS_MAX: u8 = 9;
/// Most characters of a custodian's name.
const NAME_MAX: usize = 32;
/// Words that stand in messages where a custodian's name may stand.
const NO_NAMES: [&[u8]; 2] = [b"line", b"signal"];
/// Separates the keys of bodies from other keys under the master key.
const BODY: &[u8] = b"CWKS2 body";

/// Why a store's file is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatFault {
    /// Cut short, or its digest is wrong.
    #[error("it is damaged: put keys and seen of one backup back, and leave the other files")]
    Damaged,
    /// The digest is right, but a field or the seal is wrong.
    #[error(
        "it was changed after it was written: put keys and seen of one backup back, leave the other files, and find out who can \
         write it"
    )]
    Changed,
    /// Authentic, but a code in it has no meaning here.
    #[error("it holds what this version does not know: install the version that wrote it")]
    Unknown,
    /// Written by a newer program.
    #[error("it is of a newer version ({0}): install the version that wrote it")]
    Newer(u16),
    /// Keys of real cards.
    #[error("it is LIVE: this version makes no cards with LIVE keys; name a TEST store")]
    Live,
    /// A key in it breaks a rule.
    #[error("{}", .0.message)]
    Key(Failure),
}

impl From<ShortInput> for FormatFault {
    fn from(_: ShortInput) -> Self {
        Self::Changed
    }
}

impl FormatFault {
    /// The failure, for the store at this path.
    pub(super) fn at(self, path: &std::path::Path) -> Failure {
        let exit = if let Self::Key(failure) = &self { failure.exit } else { Exit::KeyStore };
        Failure::new(exit, format!("key store {}: {self}", path.display()))
    }
}

/// The header of a TEST store.
pub(super) struct StoreHeader {
    pub(super) side: StoreSide,
    /// Drawn when the store is made; its companions carry it.
    pub(super) id: [u8; 16],
    /// Rises with each change.
    pub(super) generation: u64,
    /// Unix time of this change in seconds.
    pub(super) written: u64,
    /// Drawn when custodians are set, so that the shares of one custody fit no other.
    custody: [u8; 16],
    master: SealKey,
}

impl StoreHeader {
    /// A new store's, before its first change.
    pub(super) fn draw(side: StoreSide) -> Result<Self, getrandom::Error> {
        let (mut id, mut custody) = ([0; 16], [0; 16]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut custody)?;
        Ok(Self { side, id, generation: 0, written: 0, custody, master: SealKey::draw()? })
    }

    /// Reads the file `keys`. Returns the header and the body.
    pub(super) fn open(file: &[u8]) -> Result<(Self, Zeroizing<Vec<u8>>), FormatFault> {
        let begins = file.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk());
        match begins.map(|version| u16::from_be_bytes(*version)) {
            Some(version) if version > VERSION => return Err(FormatFault::Newer(version)),
            Some(VERSION) => {}
            _ => return Err(FormatFault::Damaged),
        }
        let (content, digest) = file.split_last_chunk::<DIGEST>().ok_or(FormatFault::Damaged)?;
        if Sha256::digest(content).as_slice() != digest {
            return Err(FormatFault::Damaged);
        }
        let header = Self::read(&mut FieldCursor::new(content.get(6..).unwrap_or_default(), 6))?;
        let body = header.master.open(BODY, TEST_HEADER, content).ok_or(FormatFault::Changed)?;
        Ok((header, body))
    }

    /// Seals a body behind this header: the file `keys`.
    pub(super) fn seal(&self, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut head = Zeroizing::new(Vec::with_capacity(TEST_HEADER));
        let side = match self.side {
            StoreSide::Bureau => b'B',
            StoreSide::Issuer => b'I',
        };
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_be_bytes());
        head.extend_from_slice(&[b'T', side]);
        head.extend_from_slice(&self.id);
        head.extend_from_slice(&self.generation.to_be_bytes());
        head.extend_from_slice(&self.written.to_be_bytes());
        head.extend_from_slice(&self.custody);
        head.extend_from_slice(&[0, 0]);
        head.extend_from_slice(self.master.expose());
        let mut file = Zeroizing::new(self.master.seal(BODY, &head, body, DIGEST)?);
        let digest = Sha256::digest(&file);
        file.extend_from_slice(&digest);
        Some(file)
    }

    /// Reads the fields after the version.
    fn read(fields: &mut FieldCursor<'_>) -> Result<Self, FormatFault> {
        let [realm, side] = fields.array()?;
        let side = match side {
            b'B' => StoreSide::Bureau,
            b'I' => StoreSide::Issuer,
            _ => return Err(FormatFault::Changed),
        };
        let id = fields.array()?;
        let (generation, written) = (fields.u64()?, fields.u64()?);
        let custody = fields.array()?;
        let [threshold, count] = fields.array()?;
        match realm {
            _ if generation == 0 => Err(FormatFault::Changed),
            b'T' if (threshold, count) == (0, 0) => {
                let master = Zeroizing::new(fields.array::<{ SealKey::LENGTH }>()?);
                Ok(Self { side, id, generation, written, custody, master: SealKey::of(&master) })
            }
            b'L' if are_custodians(fields, threshold, count)? => Err(FormatFault::Live),
            _ => Err(FormatFault::Changed),
        }
    }
}

/// Whether these are the custodians of a LIVE store, each with a name of its own and a share.
fn are_custodians(fields: &mut FieldCursor<'_>, threshold: u8, count: u8) -> Result<bool, ShortInput> {
    let mut names: Vec<&[u8]> = Vec::new();
    for _ in 0..count {
        let name = fields.l1()?.bytes;
        // Salt, share, tag.
        fields.take(16 + 32 + 16)?;
        if !is_name(name) || names.contains(&name) {
            return Ok(false);
        }
        names.push(name);
    }
    Ok((2..=count).contains(&threshold) && count <= CUSTODIANS_MAX)
}

fn is_name(name: &[u8]) -> bool {
    let rest = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(byte);
    name.first().is_some_and(u8::is_ascii_lowercase)
        && name.iter().all(rest)
        && name.len() <= NAME_MAX
        && !NO_NAMES.contains(&name)
}
