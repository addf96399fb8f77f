//! The elements of a file as values: Header, Record and Trailer (`src/manual/cwf1.md` section 2).

use zeroize::Zeroizing;

pub use crate::crypto::FileKind;
use crate::ids::{CardRef, FileId, IssuerId, Kcv, KekId, Mic, ProductName};

/// The first element of a file: `H`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whether the file is finished.
    pub kind: FileKind,
    /// Name of the file, unique for its issuer.
    pub file_id: FileId,
    /// The issuer of the cards.
    pub issuer_id: IssuerId,
    /// Name of the product profile.
    pub product: ProductName,
    /// When the file was made: Unix time in seconds.
    pub created: u64,
    /// Number of records, at least 1.
    pub records: u32,
}

/// One card: `R`. Holds cardholder data, so it has no `Debug`; zeroized when dropped.
pub struct Record {
    /// Number of the record in its file: 1, 2, 3 ...
    pub sequence: u32,
    /// The only name of the card outside HSM and chip.
    pub card_ref: CardRef,
    /// The sections in file order; each MIC stands at most once.
    pub sections: Vec<Section>,
}

/// The data for one processing module.
pub struct Section {
    /// The module that the data is for.
    pub mic: Mic,
    /// The data for that module.
    pub data: Zeroizing<Vec<u8>>,
}

impl Record {
    /// Returns the data of the section with this MIC.
    pub fn section(&self, mic: &str) -> Option<&[u8]> {
        self.sections.iter().find(|s| s.mic.as_str() == mic).map(|s| s.data.as_slice())
    }
}

/// The last element: `T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Number of records: the Header states it too, and the reader counts it.
    pub records: u32,
    /// SHA-256 of every byte before this element.
    pub digest: [u8; 32],
    /// The KEK from which the Trailer's keys are derived.
    pub kek: KekId,
    /// TYPEtk: the cipher family of that KEK.
    pub tk_type: u8,
    /// KCV of that KEK.
    pub kcv: Kcv,
    /// Wrapped MAC key (24 or 32 bytes).
    pub wrapped_mac_key: Vec<u8>,
    /// MAC (8 or 16 bytes).
    pub mac: Vec<u8>,
}
