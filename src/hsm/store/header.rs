//! The file `keys` of a store, version 2, but for its body. Integers are big-endian; `L1` is a length of 1 byte, then bytes.
//!
//! ```text
//! header  "CWKS" | version u16 = 2 | realm u8 'T' 'L' | side u8 'B' 'I' | store id (16) | generation u64 (from 1)
//!         | written u64 (Unix s) | custody id (16) | m u8 | n u8
//!         | 'T': m = n = 0, master key (32) in the clear
//!         | 'L': n times { L1 name | salt (16) | share (32) sealed | tag (16) } ([`custodians`](super::custodians))
//! body    seed (16) | length u32 | ciphertext | tag (16)       sealed under the master key ([`seal`](super::seal))
//! end     SHA-256 (32) of all before
//! ```
//!
//! A wrong digest shows damage; a right digest with a wrong field or seal shows a change on purpose. A TEST store protects
//! nothing: its file has its master key in the clear. A LIVE store's master key is stored nowhere: m custodians give it together.
//!
//! Not here: the body (`body`), the file itself (`folder`).

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::custodians::Custody;
use super::entry::StoreSide;
use super::rules::StoreRules;
use super::seal::SealKey;
use crate::exit::{Exit, Failure};
use crate::hsm::Realm;
use crate::record::cursor::{FieldCursor, ShortInput};

const MAGIC: &[u8; 4] = b"CWKS";
/// The format that this version reads and writes.
const VERSION: u16 = 2;
/// Bytes of magic and version.
const BEFORE: usize = 4 + 2;
/// Most bytes of a header.
const HEADER_MAX: usize = 1 << 10;
const DIGEST: usize = 32;
/// Separates the keys of bodies from other keys under the master key.
const BODY: &[u8] = b"CWKS2 body";

/// Why a store's file is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatFault {
    /// Cut short, or its digest is wrong.
    #[error(
        "it is damaged: restore a backup to another folder, put the keys and seen of that store here, and leave the other files"
    )]
    Damaged,
    /// The digest is right, but a field or the seal is wrong.
    #[error(
        "it was changed after it was written: find out who can write it, restore a backup to another folder, put the keys and seen \
         of that store here, and leave the other files"
    )]
    Changed,
    /// Authentic, but a code in it has no meaning here.
    #[error("it holds what this version does not know: install the version that wrote it")]
    Unknown,
    /// Written by a newer program.
    #[error("it is of a newer version ({0}): install the version that wrote it")]
    Newer(u16),
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

/// The header of a store, but for a TEST store's master key.
pub(super) struct StoreHeader {
    pub(super) side: StoreSide,
    /// Drawn when the store is made; its companions carry it.
    pub(super) id: [u8; 16],
    /// Rises with each change.
    pub(super) generation: u64,
    /// Unix time of this change in seconds.
    pub(super) written: u64,
    /// Who opens it.
    pub(super) custody: Custody,
}

/// The file `keys` whose digest is right, before its body is opened.
pub(super) struct SealedFile {
    pub(super) header: StoreHeader,
    /// A TEST store's master key.
    pub(super) master: Option<SealKey>,
    /// Bytes of the header.
    length: usize,
    content: Zeroizing<Vec<u8>>,
}

impl SealedFile {
    /// Reads the file `keys`.
    pub(super) fn read(file: &[u8]) -> Result<Self, FormatFault> {
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
        let fields = &mut FieldCursor::new(content.get(BEFORE..).unwrap_or_default(), BEFORE);
        let (header, master) = StoreHeader::read(fields)?;
        let length = fields.at();
        Ok(Self { header, master, length, content: Zeroizing::new(content.to_vec()) })
    }

    /// Opens the body.
    pub(super) fn open(&self, master: &SealKey) -> Result<Zeroizing<Vec<u8>>, FormatFault> {
        master.open(BODY, self.length, &self.content).ok_or(FormatFault::Changed)
    }
}

impl StoreHeader {
    /// A new store's, before its first change.
    pub(super) fn draw(side: StoreSide, id: [u8; 16], custody: Custody) -> Self {
        Self { side, id, generation: 0, written: 0, custody }
    }

    /// TEST or LIVE.
    pub(super) fn realm(&self) -> Realm {
        self.custody.realm()
    }

    /// What the store asks of its keys.
    pub(super) fn rules(&self) -> StoreRules {
        StoreRules { realm: self.realm(), side: self.side }
    }

    /// Seals a body behind this header: the file `keys`.
    pub(super) fn seal(&self, master: &SealKey, body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        // All of it has room from the start, so that growing leaves no copy of a TEST store's master key behind.
        let mut head = Zeroizing::new(Vec::with_capacity(HEADER_MAX));
        let side = match self.side {
            StoreSide::Bureau => b'B',
            StoreSide::Issuer => b'I',
        };
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_be_bytes());
        head.extend_from_slice(&[self.realm().code(), side]);
        head.extend_from_slice(&self.id);
        head.extend_from_slice(&self.generation.to_be_bytes());
        head.extend_from_slice(&self.written.to_be_bytes());
        self.custody.write(&mut head)?;
        if self.realm() == Realm::Test {
            head.extend_from_slice(master.expose());
        }
        let mut file = Zeroizing::new(master.seal(BODY, &head, body, DIGEST)?);
        let digest = Sha256::digest(&file);
        file.extend_from_slice(&digest);
        Some(file)
    }

    /// Reads the fields after the version, and the master key of a TEST store.
    fn read(fields: &mut FieldCursor<'_>) -> Result<(Self, Option<SealKey>), FormatFault> {
        let [realm, side] = fields.array()?;
        let side = match side {
            b'B' => StoreSide::Bureau,
            b'I' => StoreSide::Issuer,
            _ => return Err(FormatFault::Changed),
        };
        let realm = Realm::of_code(realm).ok_or(FormatFault::Changed)?;
        let id = fields.array()?;
        let (generation, written) = (fields.u64()?, fields.u64()?);
        let custody = Custody::read(fields)?;
        if generation == 0 || custody.realm() != realm {
            return Err(FormatFault::Changed);
        }
        let master = match realm {
            Realm::Test => Some(SealKey::of(&Zeroizing::new(fields.array::<{ SealKey::LENGTH }>()?))),
            Realm::Live => None,
        };
        Ok((Self { side, id, generation, written, custody }, master))
    }
}
