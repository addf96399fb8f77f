//! The chip section (FIG 5C, 5D in the EMV CPS layout; `src/manual/cwf1.md` section 5). Values under the TK
//! stay ciphertext here; only the HSM opens them. Clear values are cardholder data, so their types have no
//! `Debug`. [`walk`] checks a section and borrows from it; [`ChipSection::parse`] checks it and copies. The
//! coding is canonical: a section that parses encodes to identical bytes. Not here: files of other writers
//! (`wrap = "cps"`).

mod encode;
mod error;
mod rules;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "tests build files from small numbers")]
mod tests;
mod view;

use serde::{Deserialize, Serialize};

use crate::wiped::WipedBytes;

pub use encode::chip_section;
pub use error::{ChipError, ChipFault, DgiList};
pub use rules::SectionScratch;
pub use view::{ApplicationView, walk};

use crate::ids::{Aid, CardRef, Dgi, KekId};
use crate::panics::contained;
use crate::scp::SecLevel;

/// The CHP section of a record.
pub struct ChipSection {
    /// CRN, if the section has one; it equals the card_ref of the record.
    pub crn: Option<CardRef>,
    /// The applications in file order.
    pub applications: Vec<ChipApplication>,
}

/// One application of a chip section.
pub struct ChipApplication {
    /// AID of the application.
    pub aid: Aid,
    /// TKID: the KEK from which the TK is derived.
    pub kek: KekId,
    /// TYPEtk: the cipher family of the KEK.
    pub tk_type: u8,
    /// CMODE: how the protected values are encrypted.
    pub cmode: Cmode,
    /// DGIs encrypted under TKd, in the order listed.
    pub protected: Vec<Dgi>,
    /// Processing instructions.
    pub pdi: Pdi,
    /// LOGDATA: the DGIs that are logged.
    pub log: Vec<Dgi>,
    /// The data in file order; protected values are ciphertext.
    pub dgis: Vec<DgiValue>,
    /// The MACkey, wrapped under TKm.
    pub wrapped_mac_key: Vec<u8>,
    /// MACINP: the MAC of the application.
    pub mac: Vec<u8>,
    /// The bytes of the file from the length byte of `L1 { L1 AID ..` to the last byte of the MAC.
    pub raw: WipedBytes,
    /// The bytes of `raw` that the MAC covers: from the length byte of `L1 AID` (`raw[0]` is the length byte
    /// around it) to the last byte of the wrapped MACkey, so `1..raw.len() - mac.len()`.
    pub maced: std::ops::Range<usize>,
}

/// A DGI with its value.
#[derive(Clone)]
pub struct DgiValue {
    /// The DGI.
    pub dgi: Dgi,
    /// The value; ciphertext if [`ChipApplication::protected`] lists the DGI.
    pub value: WipedBytes,
}

/// CMODE: how values under the TK are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cmode {
    /// 10: CBC, zero IV, the value is a multiple of the block.
    Cbc,
    /// 11: ECB, the value is a multiple of the block.
    Ecb,
    /// 12: CBC, the value is padded 80 00.. first.
    CbcPadded,
    /// 13: ECB, the value is padded 80 00.. first.
    EcbPadded,
}

/// Processing instructions of the one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pdi {
    /// ORDER: groups of DGIs that are sent in this order.
    pub order: Vec<Vec<Dgi>>,
    /// VERCNTL: DGIs that the card may refuse with 6A88.
    pub version_control: Vec<Dgi>,
    /// ENC: DGIs that are sent under the session DEK.
    pub enc: Vec<(Dgi, EncType)>,
    /// GROUP: each group is sent in one STORE DATA.
    pub group: Vec<Vec<Dgi>>,
    /// SECLEV: P1 of EXTERNAL AUTHENTICATE.
    pub level: SecLevel,
    /// UPDATEcplc: 00, or 01 (the product says how).
    pub update_cplc: u8,
}

/// The type of an ENC entry: what is done to a value before it is encrypted under the session DEK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncType {
    /// 11: nothing; the value is a multiple of the card's block.
    AsIs,
    /// 12: the value is padded 80 00...
    Pad,
    /// 22: a PIN block is converted from ISO 9564 format 1 to format 2.
    PinBlock,
}

impl Cmode {
    /// Reads a CMODE byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x10 => Some(Self::Cbc),
            0x11 => Some(Self::Ecb),
            0x12 => Some(Self::CbcPadded),
            0x13 => Some(Self::EcbPadded),
            _ => None,
        }
    }

    /// Returns the CMODE byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Cbc => 0x10,
            Self::Ecb => 0x11,
            Self::CbcPadded => 0x12,
            Self::EcbPadded => 0x13,
        }
    }
}

impl EncType {
    /// Reads an ENC type byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x11 => Some(Self::AsIs),
            0x12 => Some(Self::Pad),
            0x22 => Some(Self::PinBlock),
            _ => None,
        }
    }

    /// Returns the ENC type byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::AsIs => 0x11,
            Self::Pad => 0x12,
            Self::PinBlock => 0x22,
        }
    }
}

impl ChipSection {
    /// Reads and checks the data of a CHP section. Two checks need the record or the product and are apart:
    /// [`Self::check_crn`], [`ChipApplication::check_protection`].
    pub fn parse(data: &[u8]) -> Result<Self, ChipError> {
        contained(|| Self::read(data)).unwrap_or(Err(ChipError { at: 0, fault: ChipFault::Unreadable }))
    }

    fn read(data: &[u8]) -> Result<Self, ChipError> {
        let mut applications = Vec::new();
        let crn = walk(data, &mut SectionScratch::default(), |application| {
            applications.push(application.to_application()?);
            Ok(())
        })?;
        let crn = match crn {
            [] => None,
            bytes => Some(view::name(view::CRN_AT, "CRN", CardRef::from_bytes(bytes))?),
        };
        Ok(Self { crn, applications })
    }

    /// Checks that the CRN, if there is one, is the card_ref of the record.
    pub fn check_crn(&self, card_ref: &CardRef) -> Result<(), ChipError> {
        check_crn(self.crn.as_ref().map_or(&[], |crn| crn.as_str().as_bytes()), card_ref.as_str())
    }
}

/// Checks the CRN that [`walk`] returns, as [`ChipSection::check_crn`] does.
pub fn check_crn(crn: &[u8], card_ref: &str) -> Result<(), ChipError> {
    if crn.is_empty() || crn == card_ref.as_bytes() {
        Ok(())
    } else {
        Err(ChipError { at: view::CRN_AT, fault: ChipFault::Crn })
    }
}

impl ChipApplication {
    /// Reads and checks an application from exactly the bytes of [`Self::raw`].
    pub fn parse(raw: &[u8]) -> Result<Self, ChipError> {
        ApplicationView::parse(raw, 0, &mut SectionScratch::default())?.to_application()
    }

    /// Checks that every DGI in ENC is under the TK or is one that the product passes through (its value is
    /// encrypted under a key that the card knows). [`Self::parse`] checks the reverse. The error has the
    /// offset of the application's start.
    pub fn check_protection(&self, pass_through: &[Dgi]) -> Result<(), ChipError> {
        let open = self
            .pdi
            .enc
            .iter()
            .map(|(dgi, _)| *dgi)
            .find(|dgi| !self.protected.contains(dgi) && !pass_through.contains(dgi));
        match open {
            Some(dgi) => Err(ChipError { at: 0, fault: ChipFault::NotUnderTk(dgi) }),
            None => Ok(()),
        }
    }

    /// Whether the application has secret values.
    pub fn has_secrets(&self) -> bool {
        !self.protected.is_empty() || !self.pdi.enc.is_empty()
    }

    /// Returns the value of a DGI.
    pub fn value(&self, dgi: Dgi) -> Option<&[u8]> {
        self.dgis.iter().find(|d| d.dgi == dgi).map(|d| d.value.as_slice())
    }
}
