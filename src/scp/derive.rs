//! From the supplier's master key (KMC) to the static keys of one card (KDC): EMV CPS 1.1 derivation.
//!
//! Which derivation a card needs is a property of the product, not of the KMC (standards.md 2.6).

use crate::crypto::TdesKey;
use crate::ids::KeyData;

/// The static keys of one card. Zeroized when dropped.
pub struct CardKeys {
    pub(super) enc: TdesKey,
    pub(super) mac: TdesKey,
    pub(super) dek: TdesKey,
}

impl CardKeys {
    /// Keys that are known as such: K_ENC, K_MAC, K_DEK.
    pub fn new(enc: TdesKey, mac: TdesKey, dek: TdesKey) -> Self {
        Self { enc, mac, dek }
    }

    /// EMV CPS: `D6` = KEYDATA bytes 4-9; K_n = E3(KMC)[D6 F0 n | D6 0F n], n = 01 ENC, 02 MAC, 03 DEK.
    pub fn emv_cps(kmc: &TdesKey, key_data: &KeyData) -> Self {
        let [_, _, _, _, a, b, c, d, e, f] = key_data.0;
        let key = |n: u8| {
            let mut bytes = [a, b, c, d, e, f, 0xF0, n, a, b, c, d, e, f, 0x0F, n];
            // Two whole blocks always encrypt.
            let _ = kmc.ecb_encrypt(&mut bytes);
            TdesKey::wiping(&mut bytes)
        };
        Self { enc: key(1), mac: key(2), dek: key(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CipherKey;

    fn kmc() -> TdesKey {
        TdesKey::new(hex::decode("404142434445464748494A4B4C4D4E4F").unwrap().try_into().unwrap())
    }

    fn hex_of(key: &TdesKey) -> String {
        hex::encode_upper(key.expose())
    }

    fn kcv_of(key: TdesKey) -> String {
        CipherKey::Tdes(key).kcv().to_string()
    }

    #[test]
    fn gppro_test_plaintext_keys_emv() {
        let keys = CardKeys::emv_cps(&kmc(), &KeyData::from_hex("00010203040506070809").unwrap());
        assert_eq!(hex_of(&keys.enc), "0EF59FCBF8019B62E62AF6EA20B8BF25");
        assert_eq!(hex_of(&keys.mac), "3E383EB6F2762B88155F76BDFED05A02");
        assert_eq!(hex_of(&keys.dek), "64021E43C0C7D264A1C7C6D01E1C8761");
        assert_eq!(kcv_of(keys.enc), "C33013");
        assert_eq!(kcv_of(keys.mac), "6F4CA6");
        assert_eq!(kcv_of(keys.dek), "BB8179");
    }

    #[test]
    fn worked_cps_example_card_keys() {
        // standards.md 1.9.
        let keys = CardKeys::emv_cps(&kmc(), &KeyData::from_hex("FFFFFF47617301020304").unwrap());
        assert_eq!(hex_of(&keys.enc), "517CAD22550926FC753F7B343FF30330");
        assert_eq!(hex_of(&keys.mac), "37234FFD211ABB23923BF8241F69A833");
        assert_eq!(hex_of(&keys.dek), "2015EEEEC2DA62A19A32179AD4B66DD1");
        assert_eq!(kcv_of(keys.enc), "B32035");
        assert_eq!(kcv_of(keys.mac), "1C9011");
        assert_eq!(kcv_of(keys.dek), "F3973E");
    }
}
