//! Header, Record and Trailer as values.

use zeroize::Zeroizing;

use crate::ids::{CardRef, FileId, IssuerId, Kcv, KekId, Mic, ProductName};

/// The first element of a file: `H`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Unique per issuer.
    pub file_id: FileId,
    /// Whose cards.
    pub issuer_id: IssuerId,
    /// Product profile.
    pub product: ProductName,
    /// Unix time in seconds.
    pub created: u64,
    /// Number of records, at least 1.
    pub records: u32,
}

/// One card: `R`. Holds cardholder data, so it has no `Debug`; zeroized when dropped.
pub struct Record {
    /// 1, 2, 3 ...
    pub sequence: u32,
    /// The card's only name outside HSM and chip.
    pub card_ref: CardRef,
    /// In file order; each MIC at most once.
    pub sections: Vec<Section>,
}

/// The data for one processing module.
pub struct Section {
    /// Which module.
    pub mic: Mic,
    /// Its data.
    pub data: Zeroizing<Vec<u8>>,
}

impl Record {
    /// The data of a MIC.
    pub fn section(&self, mic: &str) -> Option<&[u8]> {
        self.sections.iter().find(|s| s.mic.as_str() == mic).map(|s| s.data.as_slice())
    }
}

/// The last element: `T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Equal to the Header's and to the number of records seen.
    pub records: u32,
    /// SHA-256 of every byte before this element.
    pub digest: [u8; 32],
    /// KEK of the Trailer.
    pub kek: KekId,
    /// TYPEtk.
    pub tk_type: u8,
    /// KCV of that KEK.
    pub kcv: Kcv,
    /// Wrapped MAC key (24 or 32 bytes).
    pub wrapped_mac_key: Vec<u8>,
    /// MAC (8 or 16 bytes).
    pub mac: Vec<u8>,
}
