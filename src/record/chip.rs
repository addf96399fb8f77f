//! The chip section (FIG 5C, 5D in the EMV CPS layout; DESIGN.md section 4).
//!
//! Values under the TK stay ciphertext here; only the HSM opens them. Clear values are cardholder data: no `Debug`.

use zeroize::Zeroizing;

use crate::ids::{Aid, CardRef, Dgi, KekId, SecLevel};

/// The CHP section of a record.
pub struct ChipSection {
    /// CRN, if present: equal to the record's card_ref.
    pub crn: Option<CardRef>,
    /// In file order.
    pub applications: Vec<Application>,
}

/// One application.
pub struct Application {
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
    /// How many leading bytes of `raw` the MAC covers: from the length byte of `L1 AID` is `raw[1..]`.
    pub maced: std::ops::Range<usize>,
}

/// A DGI with its value.
#[derive(Clone)]
pub struct DgiValue {
    /// Which.
    pub dgi: Dgi,
    /// Clear or ciphertext, as `Application::protected` says.
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

impl Application {
    /// Whether the application has secret values.
    pub fn has_secrets(&self) -> bool {
        !self.protected.is_empty() || !self.pdi.enc.is_empty()
    }

    /// The value of a DGI.
    pub fn value(&self, dgi: Dgi) -> Option<&[u8]> {
        self.dgis.iter().find(|d| d.dgi == dgi).map(|d| d.value.as_slice())
    }
}
