//! Keys of a channel that lie in a token: the channel asks the token for their results, never for the keys.
//!
//! A protocol whose keys may lie in a token says here what it needs of them. Not here: how a token does it (`hsm::pkcs11`).

/// A token failed to use a key. The text is for people, and holds no data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenKeyFault(pub String);

/// The static keys of one card, in a token.
pub trait TokenCardKeys: Send {
    /// Derives TDES session keys: each is its two blocks, encrypted by CBC with zero IV under K_ENC, K_MAC or K_DEK.
    fn tdes_session(&self, data: &[[u8; 16]; 3]) -> Result<Box<dyn TokenSessionKeys>, TokenKeyFault>;
}

/// TDES session keys in a token: S-ENC, S-MAC and DEK.
pub trait TokenSessionKeys: Send {
    /// CBC under S-ENC with zero IV, in place. `data` is whole blocks.
    fn encrypt(&self, data: &mut [u8]) -> Result<(), TokenKeyFault>;
    /// The retail MAC under S-MAC (ISO 9797-1 algorithm 3, padding method 2).
    fn mac(&self, iv: &[u8; 8], message: &[u8]) -> Result<[u8; 8], TokenKeyFault>;
    /// Single DES under the left half of S-MAC, in place.
    fn encrypt_left(&self, block: &mut [u8; 8]) -> Result<(), TokenKeyFault>;
    /// ECB under the DEK, in place. `data` is whole blocks.
    fn encrypt_secret(&self, data: &mut [u8]) -> Result<(), TokenKeyFault>;
}
