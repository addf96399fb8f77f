//! The tags of a chip: what its keys come from, in a form that shows nothing of it. Pure.
//!
//! ```text
//! fingerprint = HMAC(journal key, "CWCK" | value of the KMC)                                      TDES: with odd parity
//! tag         = HMAC(journal key, "CWCT" | derivation u8 | fingerprint (32) | derivation input)[..16]
//! ```
//!
//! A chip has a tag for each derivation of this build that its KMC could have been used with. A KMC is its value here: under
//! another name it makes the same tags.
//!
//! Not here: the set of all tags (`chips`), who asks (`audit_book`).

use zeroize::Zeroizing;

use super::mac::{MemoryKey, MemoryTag};
use crate::crypto::{CipherKey, KeyType, set_odd_parity};
use crate::ids::KeyData;
use crate::scp::KeyDerivation;

/// The tags of the chip with this KEYDATA, whose keys come from this KMC. There is none if no derivation takes such a KMC.
pub fn chip_tags(key: &MemoryKey, kmc: (&CipherKey, KeyType), key_data: &KeyData) -> Vec<MemoryTag> {
    let (kmc, kind) = kmc;
    let mut value = Zeroizing::new(kmc.expose().to_vec());
    if matches!(kmc, CipherKey::Tdes(_)) {
        set_odd_parity(&mut value);
    }
    let fingerprint = key.mac(&[b"CWCK", &value]);
    let derivations = KeyDerivation::of_kmc(kind);
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
            chip_tags(&key, (&kmc, KeyType::Tdes2), &KeyData::from_hex(card).unwrap())
        };
        let ours = tags(&kmc, "FFFFFF47617301020304");
        // The form of the head of this file, computed anew.
        let odd = hex::decode("404043434545464649494A4A4C4C4F4F").unwrap();
        let fingerprint = hmac(&[b"CWCK", &odd]);
        let card = hex::decode("617301020304").unwrap();
        assert_eq!(ours.concat(), hmac(&[b"CWCT", &[1], &fingerprint, &card])[..16]);
        assert_eq!(tags(&odd, "FFFFFF47617301020304"), ours, "DES ignores parity");
        assert_eq!(tags(&kmc, "00000047617301020304"), ours, "bytes that derivation ignores");
        assert_ne!(tags(&kmc, "FFFFFF47617301020305"), ours);
        assert_ne!(tags(&[0x61; 16], "FFFFFF47617301020304"), ours);
        let aes = CipherKey::aes(&[7; 16]).unwrap();
        let tags = chip_tags(&key, (&aes, KeyType::Aes128), &KeyData([0; 10]));
        assert!(tags.is_empty(), "no derivation of this build takes it");
    }
}
