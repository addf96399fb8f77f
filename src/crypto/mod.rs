//! The cryptographic primitives of the field. Over the RustCrypto block ciphers: TDES and AES in ECB and CBC,
//! retail MAC, CMAC, KCVs and the key schedule of CWF1; what a payment card's issuer computes (`payment`); the blocks
//! in which partners send keys (`key_block`). Over OpenSSL: RSA key pairs. By itself: sharing of a secret.
//!
//! Not here: protocols (`scp`), key stores and custody (`hsm`). No I/O, no clock. ISO 9797-1 (MAC algorithm 3, padding method 2), NIST SP 800-38A/B, `src/manual/cwf1.md` (TK), GPCS
//! B.6 (KCV).

mod cwf1;
mod des;
pub mod key_block;
mod key_type;
pub mod payment;
pub mod rsa;
pub mod sharing;
mod symmetric;

pub use cwf1::{
    ApplicationScope, FileKind, NameCipher, Purpose, Suite, application_mac_input, mac_key_is_sound,
    trailer_mac_input, unwrap_mac_key, wrap_mac_key,
};
pub use des::{TdesKey, retail_mac, set_odd_parity, tdes_cbc_decrypt, tdes_cbc_encrypt};
pub use key_type::KeyType;
pub use symmetric::{CipherKey, CryptoError, KcvMethod, pad_80, unpad_80};
