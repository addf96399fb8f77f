//! The chip section (FIG 5C, 5D in the EMV CPS layout; DESIGN.md section 4).
//!
//! Values under the TK stay ciphertext here; only the HSM opens them. Clear values are cardholder data: no `Debug`.
//! [`walk`] checks a section and borrows; [`ChipSection::parse`] is the same with copies. The coding is canonical:
//! what parses, encodes to the same bytes. Not here: files of other writers (`wrap = "cps"`).

mod encode;
mod error;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod props;
mod rules;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests;
mod view;

use zeroize::Zeroizing;

pub use error::{ChipError, ChipFault, DgiList};
pub use rules::SectionScratch;
pub use view::{ApplicationView, walk};

use crate::ids::{Aid, CardRef, Dgi, KekId, SecLevel};

/// The CHP section of a record.
pub struct ChipSection {
    /// CRN, if present: equal to the record's card_ref.
    pub crn: Option<CardRef>,
    /// In file order.
    pub applications: Vec<ChipApplication>,
}

/// One application.
pub struct ChipApplication {
    /// Its AID.
    pub aid: Aid,
    /// TKID.
    pub kek: KekId,
    /// TYPEtk.
    pub tk_type: u8,
    /// CMODE of the protected values.
    pub cmode: Cmode,
    /// DGIs encrypted under TKd, in the order listed.
    pub protected: Vec<Dgi>,
    /// Processing instructions.
    pub pdi: Pdi,
    /// LOGDATA.
    pub log: Vec<Dgi>,
    /// Data in file order; protected ones as ciphertext.
    pub dgis: Vec<DgiValue>,
    /// MACkey under TKm.
    pub wrapped_mac_key: Vec<u8>,
    /// MACINP.
    pub mac: Vec<u8>,
    /// The bytes from the length byte of `L1 { L1 AID ..` to the last byte of the MAC, as they stand in the file.
    pub raw: Zeroizing<Vec<u8>>,
    /// The bytes of `raw` that the MAC covers: from the length byte of `L1 AID` (`raw[0]` is the length byte around
    /// it) to the last byte of the wrapped MACkey, so `1..raw.len() - mac.len()`.
    pub maced: std::ops::Range<usize>,
}

/// A DGI with its value.
#[derive(Clone)]
pub struct DgiValue {
    /// Which.
    pub dgi: Dgi,
    /// Clear or ciphertext, as `ChipApplication::protected` says.
    pub value: Zeroizing<Vec<u8>>,
}

/// CMODE: how values under the TK are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cmode {
    /// 10: CBC, zero IV, the value is a multiple of the block.
    Cbc,
    /// 11: ECB, as 10.
    Ecb,
    /// 12: CBC, padded 80 00.. before.
    CbcPadded,
    /// 13: ECB, padded.
    EcbPadded,
}

/// Processing instructions of the one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdi {
    /// Groups to be sent in that order.
    pub order: Vec<Vec<Dgi>>,
    /// May be refused with 6A88.
    pub version_control: Vec<Dgi>,
    /// To be sent under the session DEK.
    pub enc: Vec<(Dgi, EncType)>,
    /// Share one STORE DATA each.
    pub group: Vec<Vec<Dgi>>,
    /// P1 of EXTERNAL AUTHENTICATE.
    pub level: SecLevel,
    /// UPDATEcplc: 00, or 01 (the product says how).
    pub update_cplc: u8,
}

/// ENC types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncType {
    /// 11: as it is, a multiple of the card's block.
    AsIs,
    /// 12: padded 80 00.. first.
    Pad,
    /// 22: PIN block, ISO 9564 format 1 to format 2.
    PinBlock,
}

impl Cmode {
    /// From its byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x10 => Some(Self::Cbc),
            0x11 => Some(Self::Ecb),
            0x12 => Some(Self::CbcPadded),
            0x13 => Some(Self::EcbPadded),
            _ => None,
        }
    }

    /// Its byte.
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
    /// From its byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x11 => Some(Self::AsIs),
            0x12 => Some(Self::Pad),
            0x22 => Some(Self::PinBlock),
            _ => None,
        }
    }

    /// Its byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::AsIs => 0x11,
            Self::Pad => 0x12,
            Self::PinBlock => 0x22,
        }
    }
}

impl ChipSection {
    /// Reads and checks the data of a CHP section. What needs the record or the product is checked apart:
    /// [`Self::check_crn`], [`ChipApplication::check_protection`].
    pub fn parse(data: &[u8]) -> Result<Self, ChipError> {
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

    /// A CRN, if there is one, is the record's card_ref.
    pub fn check_crn(&self, card_ref: &CardRef) -> Result<(), ChipError> {
        check_crn(self.crn.as_ref().map_or(&[], |crn| crn.as_str().as_bytes()), card_ref.as_str())
    }
}

/// [`ChipSection::check_crn`] for the CRN that [`walk`] gives.
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

    /// A DGI that is in ENC but not under the TK must be one that the product passes through, secret already under a
    /// key known to the card. The reverse is checked by [`Self::parse`]. The error stands at the application's start.
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

    /// The value of a DGI.
    pub fn value(&self, dgi: Dgi) -> Option<&[u8]> {
        self.dgis.iter().find(|d| d.dgi == dgi).map(|d| d.value.as_slice())
    }
}
