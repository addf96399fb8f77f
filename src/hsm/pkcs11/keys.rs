//! What a key in a token makes: card keys, session keys and transport keys. They stay in the token if the plan says so, else
//! they come into the memory of the host.

use std::sync::Arc;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use zeroize::Zeroizing;

use super::home::OpenKeys;
use super::token::{Called, TokenObject};
use crate::crypto::{CipherKey, KeyType, Suite, TdesKey};
use crate::scp::{CardStaticKeys, TokenCardKeys, TokenKeyFault, TokenSessionKeys};

/// Block of TDES in bytes.
const BLOCK: usize = 8;

/// A key in a token, in the session of one connection.
pub struct TokenKey {
    open: Arc<OpenKeys>,
    place: usize,
}

impl TokenKey {
    pub(super) fn new(open: Arc<OpenKeys>, place: usize) -> Self {
        Self { open, place }
    }

    /// Encrypts whole blocks under the key by ECB, in place. The result lies in the memory of the host.
    pub fn encrypt(&self, data: &mut [u8]) -> Result<(), TokenKeyFault> {
        let (key_type, object) = self.open.key(self.place)?;
        encrypt(&self.open, object, &ecb(key_type), data)
    }

    /// The keys of a card: each is its data, encrypted under this KMC.
    pub fn card_keys(&self, data: &[[u8; 16]; 3]) -> Result<CardStaticKeys, TokenKeyFault> {
        if !self.open.plan.channel {
            let mut keys = Zeroizing::new(*data);
            self.encrypt(keys.as_flattened_mut())?;
            let [enc, mac, dek] = keys.each_mut().map(|key| CipherKey::Tdes(TdesKey::wiping(key)));
            return Ok(CardStaticKeys::new(enc, mac, dek));
        }
        let (_, kmc) = self.open.key(self.place)?;
        let derived = |data: &[u8; 16]| {
            self.of(self.open.token.derive_tdes_by_ecb(kmc, data, &[Attribute::Derive(true)]))
        };
        let [enc, mac, dek] = data;
        let keys = [derived(enc)?, derived(mac)?, derived(dek)?];
        Ok(CardStaticKeys::in_token(Box::new(CardKeysInside { open: Arc::clone(&self.open), keys })))
    }

    /// The TK with this name (SHA-256) under this KEK, if the token makes it inside.
    pub fn transport_key(
        &self,
        suite: Suite,
        name: &[u8; 32],
    ) -> Result<Option<TransportKeyInside>, TokenKeyFault> {
        let (_, kek) = self.open.key(self.place)?;
        let (token, plan) = (&self.open.token, &self.open.plan);
        let uses = [Attribute::Decrypt(true)];
        let (first, _) = name.split_at(16);
        let made = match suite {
            Suite::Tdes if plan.tdes_tk => {
                let first = first.try_into().unwrap_or(&[0; 16]);
                token.derive_tdes_by_ecb(kek, first, &uses)
            }
            Suite::Aes128 if plan.aes_tk => token.derive_aes_by_ecb(kek, first, &uses),
            Suite::Aes256 if plan.aes_tk => token.derive_aes_by_ecb(kek, name, &uses),
            Suite::Tdes | Suite::Aes128 | Suite::Aes256 => return Ok(None),
        };
        Ok(Some(TransportKeyInside { key: self.of(made)?, open: Arc::clone(&self.open), suite }))
    }

    fn of<T>(&self, called: Called<T>) -> Result<T, TokenKeyFault> {
        called.map_err(|refused| self.open.fault(&refused))
    }
}

/// ECB of a key of this type.
pub(super) fn ecb(key_type: KeyType) -> Mechanism<'static> {
    match key_type {
        KeyType::Tdes2 => Mechanism::Des3Ecb,
        KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => Mechanism::AesEcb,
    }
}

/// Encrypts in place.
fn encrypt(
    open: &OpenKeys,
    key: &TokenObject,
    how: &Mechanism<'_>,
    data: &mut [u8],
) -> Result<(), TokenKeyFault> {
    let encrypted = open.token.encrypt(key, how, data).map_err(|refused| open.fault(&refused))?;
    let encrypted = Zeroizing::new(encrypted);
    if encrypted.len() != data.len() {
        return Err(TokenKeyFault("token: it encrypts to another length".into()));
    }
    data.copy_from_slice(&encrypted);
    Ok(())
}

/// A TK in the token.
pub struct TransportKeyInside {
    open: Arc<OpenKeys>,
    key: TokenObject,
    suite: Suite,
}

impl TransportKeyInside {
    /// Decrypts a value into the memory of the host, by CBC with zero IV or by ECB.
    pub fn decrypt(&self, cbc: bool, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, TokenKeyFault> {
        let how = match (self.suite, cbc) {
            (Suite::Tdes, true) => Mechanism::Des3Cbc([0; 8]),
            (Suite::Tdes, false) => Mechanism::Des3Ecb,
            (Suite::Aes128 | Suite::Aes256, true) => Mechanism::AesCbc([0; 16]),
            (Suite::Aes128 | Suite::Aes256, false) => Mechanism::AesEcb,
        };
        let clear =
            self.open.token.decrypt(&self.key, &how, data).map_err(|refused| self.open.fault(&refused))?;
        // Some tokens cut long values, without an error.
        if clear.len() == data.len() {
            Ok(clear)
        } else {
            Err(TokenKeyFault("token: it decrypts to another length".into()))
        }
    }

    /// Block of its cipher in bytes.
    pub fn block(&self) -> usize {
        self.suite.block()
    }
}

/// K_ENC, K_MAC and K_DEK of a card in the token.
struct CardKeysInside {
    open: Arc<OpenKeys>,
    keys: [TokenObject; 3],
}

impl TokenCardKeys for CardKeysInside {
    fn tdes_session(&self, data: &[[u8; 16]; 3]) -> Result<Box<dyn TokenSessionKeys>, TokenKeyFault> {
        let [enc, mac, dek] = &self.keys;
        let [for_enc, for_mac, for_dek] = data;
        let fault = |refused| self.open.fault(&refused);
        let (token, uses) = (&self.open.token, [Attribute::Encrypt(true)]);
        let derived = |base, data| token.derive_tdes_by_cbc(base, data, &uses).map_err(fault);
        // A key with the left half of S-MAC twice: TDES under it is single DES under that half. Many tokens have no
        // mechanism for single DES.
        let [a, b, c, d, e, f, g, h, ..] = *for_mac;
        let left = [a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h];
        Ok(Box::new(SessionKeysInside {
            enc: derived(enc, for_enc)?,
            mac: derived(mac, for_mac)?,
            mac_left: token.derive_tdes_by_ecb(mac, &left, &uses).map_err(fault)?,
            dek: derived(dek, for_dek)?,
            open: Arc::clone(&self.open),
        }))
    }
}

/// The keys of a session in the token.
struct SessionKeysInside {
    open: Arc<OpenKeys>,
    enc: TokenObject,
    mac: TokenObject,
    mac_left: TokenObject,
    dek: TokenObject,
}

impl TokenSessionKeys for SessionKeysInside {
    fn encrypt(&self, data: &mut [u8]) -> Result<(), TokenKeyFault> {
        encrypt(&self.open, &self.enc, &Mechanism::Des3Cbc([0; BLOCK]), data)
    }

    /// DES under the left half of the key up to the last block, TDES for that.
    fn mac(&self, iv: &[u8; 8], message: &[u8]) -> Result<[u8; 8], TokenKeyFault> {
        let mut padded = Zeroizing::new(Vec::with_capacity(message.len() + BLOCK));
        padded.extend_from_slice(message);
        crate::crypto::pad_80(&mut padded, BLOCK);
        let end = padded.len().saturating_sub(BLOCK);
        let (before, last) = padded.split_at_mut(end);
        let mut state = *iv;
        if !before.is_empty() {
            encrypt(&self.open, &self.mac_left, &Mechanism::Des3Cbc(state), before)?;
            if let Some(end) = before.last_chunk() {
                state = *end;
            }
        }
        encrypt(&self.open, &self.mac, &Mechanism::Des3Cbc(state), last)?;
        (&*last).try_into().map_err(|_| TokenKeyFault("us: a MAC of another length".into()))
    }

    fn encrypt_left(&self, block: &mut [u8; 8]) -> Result<(), TokenKeyFault> {
        encrypt(&self.open, &self.mac_left, &Mechanism::Des3Ecb, block)
    }

    fn encrypt_secret(&self, data: &mut [u8]) -> Result<(), TokenKeyFault> {
        encrypt(&self.open, &self.dek, &Mechanism::Des3Ecb, data)
    }
}
