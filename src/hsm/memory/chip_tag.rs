//! The tags of a chip: what its keys come from, in a form that shows nothing of it. Pure.
//!
//! ```text
//! mark        = the block "CARDWRIGHT KMC 1" under the KMC, by ECB
//! fingerprint = HMAC(journal key, "CWCK" | mark)
//! tag         = HMAC(journal key, "CWCT" | derivation u8 | fingerprint (32) | derivation input)[..16]
//! ```
//!
//! A chip has a tag for each derivation of this build that its KMC could have been used with. A KMC is its value here: under
//! another name, in the store or in a token, it makes the same tags.
//!
//! Not here: the set of all tags (`chips`), who asks (`audit_book`).

use super::mac::{MemoryKey, MemoryTag};
use crate::crypto::{KeyType, NameCipher};
use crate::ids::KeyData;
use crate::scp::KeyDerivation;

/// A KMC as chips are known by it: its cipher, and a block under it. A KMC in a token shows no more of its value.
pub struct KmcMark {
    kind: KeyType,
    block: [u8; 16],
}

/// The block.
const BLOCK: [u8; 16] = *b"CARDWRIGHT KMC 1";

impl KmcMark {
    /// The mark of a KMC of this type.
    pub fn of<C: NameCipher>(kind: KeyType, kmc: &C) -> Result<Self, C::Fault> {
        let mut block = BLOCK;
        kmc.encrypt_name(&mut block)?;
        Ok(Self { kind, block })
    }
}

/// The tags of the chip with this KEYDATA, whose keys come from this KMC. There is none if no derivation takes such a KMC.
pub fn chip_tags(key: &MemoryKey, kmc: &KmcMark, key_data: &KeyData) -> Vec<MemoryTag> {
    let fingerprint = key.mac(&[b"CWCK", &kmc.block]);
    let derivations = KeyDerivation::of_kmc(kmc.kind);
    let tag = |derivation: KeyDerivation| {
        key.tag(&[b"CWCT", &[derivation.code()], &fingerprint, derivation.input(key_data)])
    };
    derivations.map(tag).collect()
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    use super::*;
    use crate::crypto::CipherKey;

    fn hmac(parts: &[&[u8]]) -> Vec<u8> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&[7; 32]).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }

    #[test]
    fn a_tag_depends_on_the_kmc_s_value_and_the_bytes_that_derivation_uses() {
        let key = MemoryKey::of(&[7; 32]);
        let kmc = hex::decode("404142434445464748494A4B4C4D4E4F").unwrap();
        let tags = |kmc: &[u8], card: &str| {
            let kmc = CipherKey::tdes(kmc).unwrap();
            let mark = KmcMark::of(KeyType::Tdes2, &kmc).unwrap();
            chip_tags(&key, &mark, &KeyData::from_hex(card).unwrap())
        };
        let ours = tags(&kmc, "FFFFFF47617301020304");
        // The form of the head of this file, computed anew.
        let odd = hex::decode("404043434545464649494A4A4C4C4F4F").unwrap();
        // openssl enc -des-ede -nopad -K 4040..4F4F of "CARDWRIGHT KMC 1".
        let block = hex::decode("9AB53381F30567D43A23BC553AB8C37A").unwrap();
        let fingerprint = hmac(&[b"CWCK", &block]);
        let card = hex::decode("617301020304").unwrap();
        assert_eq!(ours.concat(), hmac(&[b"CWCT", &[1], &fingerprint, &card])[..16]);
        assert_eq!(tags(&odd, "FFFFFF47617301020304"), ours, "DES ignores parity");
        assert_eq!(tags(&kmc, "00000047617301020304"), ours, "bytes that derivation ignores");
        assert_ne!(tags(&kmc, "FFFFFF47617301020305"), ours);
        assert_ne!(tags(&[0x61; 16], "FFFFFF47617301020304"), ours);
        let aes = CipherKey::aes(&[7; 16]).unwrap();
        let aes = KmcMark::of(KeyType::Aes128, &aes).unwrap();
        let tags = chip_tags(&key, &aes, &KeyData([0; 10]));
        assert!(tags.is_empty(), "no derivation of this build takes it");
    }
}
