//! From the supplier's master key (KMC) to the static keys of one card (KDC).
//!
//! The derivation is a property of the product, not of the KMC: suppliers use several with one key.
//! EMV CPS 1.1, section 4.1 (`EmvCps`).

use serde::{Deserialize, Serialize};

use super::token_keys::TokenCardKeys;
use crate::crypto::{CipherKey, KeyType, TdesKey};
use crate::ids::KeyData;

/// How card keys come from a KMC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyDerivation {
    /// EMV CPS: the six least significant bytes of KEYDATA.
    EmvCps,
}

impl KeyDerivation {
    /// Every derivation of this build.
    const ALL: [Self; 1] = [Self::EmvCps];

    /// Its number where it is written down.
    pub fn code(self) -> u8 {
        match self {
            Self::EmvCps => 1,
        }
    }

    /// The bytes of KEYDATA from which it makes card keys. Two cards of one KMC with equal bytes have equal keys.
    pub fn input(self, key_data: &KeyData) -> &[u8] {
        match self {
            Self::EmvCps => emv_cps_input(key_data),
        }
    }

    /// The derivations that are defined for a KMC of this type.
    pub fn of_kmc(kmc: KeyType) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |derivation| derivation.takes(kmc))
    }

    /// Whether the derivation is defined for a KMC of this type.
    pub(super) fn takes(self, kmc: KeyType) -> bool {
        match self {
            Self::EmvCps => kmc == KeyType::Tdes2,
        }
    }

    /// The data that the KMC encrypts by ECB to make K_ENC, K_MAC and K_DEK. EMV CPS: D6 F0 n | D6 0F n, where D6 is bytes 4-9 of
    /// KEYDATA, and n is 01 (ENC), 02 (MAC) or 03 (DEK).
    pub fn data(self, key_data: &KeyData) -> [[u8; 16]; 3] {
        match self {
            Self::EmvCps => {
                let [a, b, c, d, e, f] = *emv_cps_input(key_data);
                [1, 2, 3].map(|n| [a, b, c, d, e, f, 0xF0, n, a, b, c, d, e, f, 0x0F, n])
            }
        }
    }

    /// Whether any derivation of this build is defined for a KMC of this type.
    pub fn any_takes(kmc: KeyType) -> bool {
        Self::of_kmc(kmc).next().is_some()
    }
}

/// EMV CPS: bytes 4-9 of KEYDATA.
fn emv_cps_input(key_data: &KeyData) -> &[u8; 6] {
    let [_, _, _, _, input @ ..] = &key_data.0;
    input
}

/// The secret static keys of one card: K_ENC, K_MAC, K_DEK. Those in memory are zeroized when dropped.
pub struct CardStaticKeys(StaticKeys);

/// Where the keys of a card lie.
pub(super) enum StaticKeys {
    Memory { enc: CipherKey, mac: CipherKey, dek: CipherKey },
    Token(Box<dyn TokenCardKeys>),
}

impl CardStaticKeys {
    /// Keys that are known as such: K_ENC, K_MAC, K_DEK.
    pub fn new(enc: CipherKey, mac: CipherKey, dek: CipherKey) -> Self {
        Self(StaticKeys::Memory { enc, mac, dek })
    }

    /// Keys that a token has derived, and keeps.
    pub fn in_token(keys: Box<dyn TokenCardKeys>) -> Self {
        Self(StaticKeys::Token(keys))
    }

    /// Derives them; `None` if the derivation is not defined for the KMC's cipher.
    pub fn derive(derivation: KeyDerivation, kmc: &CipherKey, key_data: &KeyData) -> Option<Self> {
        match kmc {
            CipherKey::Tdes(kmc) => Some(Self::emv_cps(kmc, derivation.data(key_data))),
            CipherKey::Aes128(_) | CipherKey::Aes192(_) | CipherKey::Aes256(_) => None,
        }
    }

    /// Each is its data, encrypted by ECB under the KMC.
    fn emv_cps(kmc: &TdesKey, data: [[u8; 16]; 3]) -> Self {
        let [enc, mac, dek] = data.map(|mut data| {
            // Two whole blocks always encrypt.
            let _ = kmc.ecb_encrypt(&mut data);
            CipherKey::Tdes(TdesKey::wiping(&mut data))
        });
        Self::new(enc, mac, dek)
    }

    /// Where they lie.
    pub(super) fn place(&self) -> &StaticKeys {
        &self.0
    }

    /// The keys, if they are all TDES and in memory.
    pub(super) fn tdes(&self) -> Option<[&TdesKey; 3]> {
        match &self.0 {
            StaticKeys::Memory {
                enc: CipherKey::Tdes(enc),
                mac: CipherKey::Tdes(mac),
                dek: CipherKey::Tdes(dek),
            } => Some([enc, mac, dek]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kmc() -> TdesKey {
        TdesKey::new(hex::decode("404142434445464748494A4B4C4D4E4F").unwrap().try_into().unwrap())
    }

    fn hex_of(key: &CipherKey) -> String {
        let CipherKey::Tdes(key) = key else { panic!() };
        hex::encode_upper(key.expose())
    }

    fn keys_of(key_data: &str) -> [CipherKey; 3] {
        let data = KeyDerivation::EmvCps.data(&KeyData::from_hex(key_data).unwrap());
        match CardStaticKeys::emv_cps(&kmc(), data).0 {
            StaticKeys::Memory { enc, mac, dek } => [enc, mac, dek],
            StaticKeys::Token(_) => panic!(),
        }
    }

    fn kcv_of(key: CipherKey) -> String {
        key.kcv().to_string()
    }

    #[test]
    fn cards_that_differ_in_no_byte_of_the_input_have_the_same_keys() {
        let card = KeyData::from_hex("FFFFFF47617301020304").unwrap();
        let input = KeyDerivation::EmvCps.input(&card);
        assert_eq!(hex::encode_upper(input), "617301020304");
        for byte in 0..10 {
            let mut other = card;
            other.0[byte] ^= 1;
            let same = KeyDerivation::EmvCps.input(&other) == input;
            let keys = |card: &KeyData| keys_of(&hex::encode(card.0)).map(|key| hex_of(&key));
            assert_eq!((same, keys(&other) == keys(&card)), (byte < 4, byte < 4), "byte {byte}");
        }
    }

    #[test]
    fn gppro_test_plaintext_keys_emv() {
        let [enc, mac, dek] = keys_of("00010203040506070809");
        assert_eq!(hex_of(&enc), "0EF59FCBF8019B62E62AF6EA20B8BF25");
        assert_eq!(hex_of(&mac), "3E383EB6F2762B88155F76BDFED05A02");
        assert_eq!(hex_of(&dek), "64021E43C0C7D264A1C7C6D01E1C8761");
        assert_eq!(kcv_of(enc), "C33013");
        assert_eq!(kcv_of(mac), "6F4CA6");
        assert_eq!(kcv_of(dek), "BB8179");
    }

    #[test]
    fn worked_cps_example_card_keys() {
        // The keys of the worked example in `scp02/tests.rs`.
        let [enc, mac, dek] = keys_of("FFFFFF47617301020304");
        assert_eq!(hex_of(&enc), "517CAD22550926FC753F7B343FF30330");
        assert_eq!(hex_of(&mac), "37234FFD211ABB23923BF8241F69A833");
        assert_eq!(hex_of(&dek), "2015EEEEC2DA62A19A32179AD4B66DD1");
        assert_eq!(kcv_of(enc), "B32035");
        assert_eq!(kcv_of(mac), "1C9011");
        assert_eq!(kcv_of(dek), "F3973E");
    }
}
