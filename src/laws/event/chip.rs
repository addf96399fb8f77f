//! The identity of a chip in the ledger: its kind, its bytes, and the proof of them. Pure.

use serde::{Deserialize, Serialize};

use crate::ids::{KeyData, KmcRef};

/// Longest id of a chip, and longest proof, in bytes.
pub const CHIP_BYTES: usize = 32;

/// Longest label of a blank, in bytes.
const LABEL_BYTES: usize = 10;

/// Bytes of KEYDATA before the CSN.
const KMC_ID: usize = 6;

/// At most `N` bytes; hex in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShortBytes<const N: usize> {
    /// The bytes after `length` are zero, so that derived equality works.
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> ShortBytes<N> {
    /// `None` if `from` has more than `N` bytes.
    pub fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; N];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { bytes, length: u8::try_from(from.len()).ok()? })
    }

    /// The bytes, without the padding.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl<const N: usize> std::fmt::Display for ShortBytes<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode_upper(self.as_slice()))
    }
}

impl<const N: usize> std::fmt::Debug for ShortBytes<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> TryFrom<String> for ShortBytes<N> {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = hex::decode(text).map_err(|_| "no hex digits")?;
        Self::new(&bytes).ok_or("too many bytes")
    }
}

impl<const N: usize> From<ShortBytes<N>> for String {
    fn from(bytes: ShortBytes<N>) -> Self {
        bytes.to_string()
    }
}

/// The name of a blank once its chip is known: the CSN, or the end of the chip's id.
pub type BlankLabel = ShortBytes<LABEL_BYTES>;

/// The kind and bytes of a chip. Two chips are equal if both are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChipIdentity {
    /// [`ChipId::GLOBALPLATFORM`], a UID, an ICCID, or a future kind.
    pub kind: u8,
    /// 1 to 32 bytes.
    pub bytes: ShortBytes<CHIP_BYTES>,
}

/// A chip and the proof of its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChipId {
    /// The chip.
    pub identity: ChipIdentity,
    /// [`ChipId::NO_PROOF`], [`ChipId::CRYPTOGRAM`], or a future proof.
    pub proof_kind: u8,
    /// For a cryptogram: KMC_ID and key version.
    pub proof: ShortBytes<CHIP_BYTES>,
}

impl ChipId {
    /// Kind of a GlobalPlatform chip, whose bytes are KEYDATA.
    pub const GLOBALPLATFORM: u8 = 1;
    /// Nothing proves the bytes.
    pub const NO_PROOF: u8 = 0;
    /// The card's cryptogram, under the KMC that `proof` names.
    pub const CRYPTOGRAM: u8 = 1;

    /// A GlobalPlatform chip, with its KMC and key version if the chip returned them.
    pub fn globalplatform(key_data: KeyData, kmc: Option<KmcRef>) -> Self {
        let bytes = ShortBytes::new(&key_data.0).unwrap_or(ShortBytes { bytes: [0; CHIP_BYTES], length: 0 });
        let mut proof = ShortBytes { bytes: [0; CHIP_BYTES], length: 0 };
        if let Some(kmc) = kmc {
            let named = kmc.id.into_iter().chain([kmc.version]);
            proof.bytes.iter_mut().zip(named).for_each(|(to, from)| *to = from);
            proof.length = 7;
        }
        let proof_kind = if kmc.is_some() { Self::CRYPTOGRAM } else { Self::NO_PROOF };
        Self { identity: ChipIdentity { kind: Self::GLOBALPLATFORM, bytes }, proof_kind, proof }
    }

    /// A chip from its parts; `None` if they do not have the form that `src/manual/ledger-events.md` states.
    pub fn new(kind: u8, bytes: &[u8], proof_kind: u8, proof: &[u8]) -> Option<Self> {
        let identity = ChipIdentity { kind, bytes: ShortBytes::new(bytes).filter(|_| !bytes.is_empty())? };
        let sound = match (kind, proof_kind) {
            (Self::GLOBALPLATFORM, _) if bytes.len() != 10 => false,
            (_, Self::NO_PROOF) => proof.is_empty(),
            (_, Self::CRYPTOGRAM) => kind == Self::GLOBALPLATFORM && proof.len() == 7,
            _ => true,
        };
        (sound && kind > 0).then_some(Self { identity, proof_kind, proof: ShortBytes::new(proof)? })
    }

    /// KEYDATA of a GlobalPlatform chip; `None` for any other chip.
    pub fn key_data(&self) -> Option<KeyData> {
        let known = self.identity.kind == Self::GLOBALPLATFORM;
        self.identity.bytes.as_slice().try_into().ok().filter(|_| known).map(KeyData)
    }

    /// The KMC and key version under which the chip proves itself.
    pub fn kmc(&self) -> Option<KmcRef> {
        let (id, rest) = self.proof.as_slice().split_first_chunk::<KMC_ID>()?;
        let [version] = *rest else { return None };
        (self.proof_kind == Self::CRYPTOGRAM).then_some(KmcRef { id: *id, version })
    }

    /// Label of a blank with this chip: the CSN, or the last 10 bytes of the id.
    pub fn label(&self) -> BlankLabel {
        let bytes = self.identity.bytes.as_slice();
        let skipped = match self.key_data() {
            Some(_) => KMC_ID,
            None => bytes.len().saturating_sub(LABEL_BYTES),
        };
        BlankLabel::new(bytes.get(skipped..).unwrap_or_default())
            .unwrap_or(ShortBytes { bytes: [0; LABEL_BYTES], length: 0 })
    }

    /// The bytes for an event and for the table of blanks: kind, length, id, kind of the proof, length, proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (id, proof) = (self.identity.bytes.as_slice(), self.proof.as_slice());
        let mut out = Vec::with_capacity(4 + id.len() + proof.len());
        out.extend([self.identity.kind, self.identity.bytes.length]);
        out.extend(id);
        out.extend([self.proof_kind, self.proof.length]);
        out.extend(proof);
        out
    }

    /// Reads those bytes. `None` if they are malformed, or if any are left over.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (id, rest) = rest.split_at_checked(usize::from(length))?;
        let (&proof_kind, rest) = rest.split_first()?;
        let (&length, proof) = rest.split_first()?;
        (proof.len() == usize::from(length)).then(|| Self::new(kind, id, proof_kind, proof))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_reads_as_it_was_written() {
        let key_data = KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 1, 2, 3, 4]);
        let kmc = KmcRef { id: key_data.kmc_id(), version: 2 };
        for kmc in [None, Some(kmc)] {
            let chip = ChipId::globalplatform(key_data, kmc);
            assert_eq!(ChipId::from_bytes(&chip.to_bytes()), Some(chip));
            assert_eq!(
                (chip.key_data(), chip.kmc(), chip.label().to_string()),
                (Some(key_data), kmc, "01020304".into())
            );
        }
        let uid = ChipId::new(2, &[4, 1, 2, 3, 4, 5, 6], 0, &[]).unwrap();
        assert_eq!((uid.key_data(), uid.label().to_string()), (None, "04010203040506".into()));
        let long = ChipId::new(9, &[7; 32], 5, &[8; 32]).unwrap();
        assert_eq!(ChipId::from_bytes(&long.to_bytes()), Some(long));
    }

    #[test]
    fn what_is_no_chip_is_refused() {
        for (kind, id, proof_kind, proof) in [
            (1, 9, 0, 0),
            (1, 11, 0, 0),
            (1, 10, 0, 1),
            (1, 10, 1, 6),
            (0, 10, 0, 0),
            (2, 0, 0, 0),
            (2, 33, 0, 0),
            (2, 4, 1, 7),
            (2, 4, 3, 33),
        ] {
            assert_eq!(
                ChipId::new(kind, &vec![0; id], proof_kind, &vec![0; proof]),
                None,
                "{kind} {id} {proof}"
            );
        }
        let chip = ChipId::new(2, &[1; 4], 0, &[]).unwrap().to_bytes();
        for cut in 0..chip.len() {
            assert_eq!(ChipId::from_bytes(&chip[..cut]), None);
        }
        assert_eq!(ChipId::from_bytes(&[&chip[..], &[0]].concat()), None);
    }
}
