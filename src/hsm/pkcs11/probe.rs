//! Tries each step of a session on a token, with known answers.
//!
//! A step is done inside if its result is the published one, or if a derived key encrypts as the published key does. It
//! is done on the host if the token gives the host the secret that the rest of the step needs. The software ciphers that
//! a token is compared with are themselves tested against publications (`crypto`).

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType};

use super::known::{self, KnownKeys};
use super::steps::{StepFinding, StepObstacle, StepPlace, TokenReport, TokenStep};
use super::token::{Token, TokenObject};
use crate::crypto::CipherKey;

/// Lengths of values that a session translates under a TDES TK: a PIN block, keys, parts of RSA keys.
const TDES_LENGTHS: [usize; 10] = [8, 16, 24, 32, 40, 48, 56, 64, 72, 80];
/// The same under an AES TK, whose block is longer.
const AES_LENGTHS: [usize; 5] = [16, 32, 48, 64, 80];

const TDES_ECB: Mechanism<'_> = Mechanism::Des3Ecb;
const TDES_CBC: Mechanism<'_> = Mechanism::Des3Cbc([0; 8]);
const AES_ECB: Mechanism<'_> = Mechanism::AesEcb;
const AES_CBC: Mechanism<'_> = Mechanism::AesCbc([0; 16]);

/// The result of trying a step. `Ok`: it was done right, and the flag says whether the token shows the result to its user.
type Tried = Result<bool, StepObstacle>;

/// Tries every step.
pub fn probe(token: &Token) -> TokenReport {
    let (label, maker) = token.names();
    let findings = vec![
        found(TokenStep::CardKeys, card_keys(token), || card_keys_for_host(token)),
        found(TokenStep::SessionKeys, session_keys(token), || session_keys_for_host(token)),
        found(TokenStep::Cryptogram, cryptograms(token), || session_keys_for_host(token)),
        found(TokenStep::CommandMac, command_macs(token), || session_keys_for_host(token)),
        found(TokenStep::TdesTransportKey, tdes_tk(token), || tdes_tk_for_host(token)),
        found(TokenStep::AesTransportKey, aes_tk(token), || aes_tk_for_host(token)),
        found(TokenStep::TdesUnwrap, tdes_unwrap(token), || {
            tdes_value_for_host(token).or_else(|_| tdes_tk_for_host(token))
        }),
        found(TokenStep::AesUnwrap, aes_unwrap(token), || {
            aes_value_for_host(token).or_else(|_| aes_tk_for_host(token))
        }),
        found(TokenStep::Wrap, wrap(token), || {
            encrypt_for_host(token).or_else(|_| session_keys_for_host(token))
        }),
        // Both need what a KEK encrypts, in the memory of the host.
        found(TokenStep::FileMac, Err(StepObstacle::NoMechanism), || by_kek_for_host(token)),
        found(TokenStep::ValueCheck, Err(StepObstacle::NoMechanism), || by_kek_for_host(token)),
    ];
    TokenReport { label, maker, findings }
}

/// The finding about a step, from its trial inside and, if that failed, its trial with the host.
pub(super) fn found(step: TokenStep, inside: Tried, on_host: impl FnOnce() -> Tried) -> StepFinding {
    match inside {
        Ok(readable) => StepFinding { step, place: StepPlace::Inside, obstacle: None, readable },
        Err(obstacle) => {
            let place = if on_host().is_ok() { StepPlace::OnHost } else { StepPlace::Refused };
            StepFinding { step, place, obstacle: Some(obstacle), readable: false }
        }
    }
}

fn right(is_right: bool) -> Result<(), StepObstacle> {
    if is_right { Ok(()) } else { Err(StepObstacle::WrongAnswer) }
}

/// A software key with a published value. All of them have a lawful length.
fn tdes(value: &[u8]) -> Result<CipherKey, StepObstacle> {
    CipherKey::tdes(value).map_err(|_| StepObstacle::WrongAnswer)
}

fn aes(value: &[u8]) -> Result<CipherKey, StepObstacle> {
    CipherKey::aes(value).map_err(|_| StepObstacle::WrongAnswer)
}

/// The data, encrypted by the software.
fn by_ecb(key: &CipherKey, data: &[u8]) -> Result<Vec<u8>, StepObstacle> {
    let mut data = data.to_vec();
    key.ecb_encrypt(&mut data).map_err(|_| StepObstacle::WrongAnswer)?;
    Ok(data)
}

fn by_cbc(key: &CipherKey, data: &[u8]) -> Result<Vec<u8>, StepObstacle> {
    let mut data = data.to_vec();
    key.cbc_encrypt(&mut data).map_err(|_| StepObstacle::WrongAnswer)?;
    Ok(data)
}

/// A value to translate.
fn value(length: usize) -> Vec<u8> {
    (0_u8..=u8::MAX).cycle().map(|byte| byte.wrapping_mul(7).wrapping_add(3)).take(length).collect()
}

/// Compares a key of the token with the published one, by what they encrypt.
fn same_key(token: &Token, key: &TokenObject, ecb: &Mechanism<'_>, published: &CipherKey) -> Tried {
    let block = vec![0x5A; published.block()];
    right(token.encrypt(key, ecb, &block)? == by_ecb(published, &block)?)?;
    Ok(token.shows(key))
}

fn card_keys(token: &Token) -> Tried {
    let kmc = token.import(KeyType::DES2, &known::KMC, &[Attribute::Derive(true)])?;
    let mut readable = false;
    for keys in [known::ENC, known::MAC, known::DEK] {
        let key = token.derive_tdes_by_ecb(&kmc, &keys.card_data(), &[Attribute::Encrypt(true)])?;
        readable |= same_key(token, &key, &TDES_ECB, &tdes(&keys.card)?)?;
    }
    Ok(readable)
}

/// The KMC stays in the token, and the host gets the keys of the card.
fn card_keys_for_host(token: &Token) -> Tried {
    let kmc = token.import(KeyType::DES2, &known::KMC, &[Attribute::Encrypt(true)])?;
    for keys in [known::ENC, known::MAC, known::DEK] {
        right(token.encrypt(&kmc, &TDES_ECB, &keys.card_data())? == keys.card)?;
    }
    Ok(false)
}

fn card_key(token: &Token, keys: &KnownKeys, usage: Attribute) -> Result<TokenObject, StepObstacle> {
    Ok(token.import(KeyType::DES2, &keys.card, &[usage])?)
}

fn session_keys(token: &Token) -> Tried {
    let mut readable = false;
    for keys in [known::ENC, known::MAC, known::DEK] {
        let base = card_key(token, &keys, Attribute::Derive(true))?;
        let key = token.derive_tdes_by_cbc(&base, &keys.session_data(), &[Attribute::Encrypt(true)])?;
        readable |= same_key(token, &key, &TDES_ECB, &tdes(&keys.session)?)?;
    }
    Ok(readable)
}

fn session_keys_for_host(token: &Token) -> Tried {
    for keys in [known::ENC, known::MAC, known::DEK] {
        let base = card_key(token, &keys, Attribute::Encrypt(true))?;
        right(token.encrypt(&base, &TDES_CBC, &keys.session_data())? == keys.session)?;
    }
    Ok(false)
}

fn cryptograms(token: &Token) -> Tried {
    let key = token.import(KeyType::DES2, &known::ENC.session, &[Attribute::Encrypt(true)])?;
    for (data, cryptogram) in [known::CARD_CRYPTOGRAM, known::HOST_CRYPTOGRAM] {
        right(token.encrypt(&key, &TDES_CBC, &data)?.ends_with(&cryptogram))?;
    }
    Ok(false)
}

/// The retail MAC: DES under the left half of the key up to the last block, TDES for that. Both keys are derived inside.
fn command_macs(token: &Token) -> Tried {
    let base = card_key(token, &known::MAC, Attribute::Derive(true))?;
    let uses = [Attribute::Encrypt(true)];
    let whole = token.derive_tdes_by_cbc(&base, &known::MAC.session_data(), &uses)?;
    let left = token.derive_tdes_by_ecb(&base, &known::MAC.left_data(), &uses)?;
    let mut chain = [0; 8];
    for (padded, mac) in known::COMMANDS {
        let (first, last) = padded.split_at(8);
        let state = token.encrypt(&left, &Mechanism::Des3Cbc(chain), first)?;
        let state = state.try_into().map_err(|_| StepObstacle::WrongAnswer)?;
        right(token.encrypt(&whole, &Mechanism::Des3Cbc(state), last)? == mac)?;
        let encrypted = token.encrypt(&left, &TDES_ECB, &mac)?;
        chain = encrypted.try_into().map_err(|_| StepObstacle::WrongAnswer)?;
    }
    Ok(token.shows(&whole) || token.shows(&left))
}

fn tdes_tk(token: &Token) -> Tried {
    let (kek, name, tk) = known::TDES_KEK;
    let kek = token.import(KeyType::DES2, &kek, &[Attribute::Derive(true)])?;
    let derived = token.derive_tdes_by_ecb(&kek, &name, &[Attribute::Encrypt(true)])?;
    same_key(token, &derived, &TDES_ECB, &tdes(&tk)?)
}

fn tdes_tk_for_host(token: &Token) -> Tried {
    let (kek, name, tk) = known::TDES_KEK;
    let kek = token.import(KeyType::DES2, &kek, &[Attribute::Encrypt(true)])?;
    right(token.encrypt(&kek, &TDES_ECB, &name)? == tk)?;
    Ok(false)
}

/// AES-128 and AES-256.
fn aes_tk(token: &Token) -> Tried {
    let (kek, name, tk) = known::AES_KEK;
    let kek = token.import(KeyType::AES, kek.as_flattened(), &[Attribute::Derive(true)])?;
    let mut readable = false;
    for blocks in [1, 2] {
        let part = |value: &[[u8; 16]; 2]| {
            value.as_flattened().iter().copied().take(16 * blocks).collect::<Vec<_>>()
        };
        let derived = token.derive_aes_by_ecb(&kek, &part(&name), &[Attribute::Encrypt(true)])?;
        readable |= same_key(token, &derived, &AES_ECB, &aes(&part(&tk))?)?;
    }
    Ok(readable)
}

/// A KEK of either cipher gives a TK to the host.
fn by_kek_for_host(token: &Token) -> Tried {
    aes_tk_for_host(token).or_else(|_| tdes_tk_for_host(token))
}

fn aes_tk_for_host(token: &Token) -> Tried {
    let (kek, name, tk) = known::AES_KEK;
    let kek = token.import(KeyType::AES, kek.as_flattened(), &[Attribute::Encrypt(true)])?;
    right(token.encrypt(&kek, &AES_ECB, name.as_flattened())? == tk.as_flattened())?;
    Ok(false)
}

/// Unwraps a value, and compares what it is when it is wrapped under the session's DEK.
fn translated(token: &Token, tk: &TokenObject, how: &Mechanism<'_>, wrapped: &[u8], clear: &[u8]) -> Tried {
    let dek = token.import(KeyType::DES2, &known::DEK.session, &[Attribute::Wrap(true)])?;
    let object = token.unwrap(tk, how, wrapped)?;
    right(token.wrap(&dek, &TDES_ECB, &object)? == by_ecb(&tdes(&known::DEK.session)?, clear)?)?;
    Ok(token.shows(&object))
}

/// Values of a file are under CBC, or under ECB where the product allows it.
fn tdes_unwrap(token: &Token) -> Tried {
    let tk = token.import(KeyType::DES2, &known::TDES_KEK.2, &[Attribute::Unwrap(true)])?;
    let software = tdes(&known::TDES_KEK.2)?;
    let mut readable = false;
    for clear in TDES_LENGTHS.map(value) {
        readable |= translated(token, &tk, &TDES_CBC, &by_cbc(&software, &clear)?, &clear)?;
        readable |= translated(token, &tk, &TDES_ECB, &by_ecb(&software, &clear)?, &clear)?;
    }
    Ok(readable)
}

/// The TK stays in the token, and the host gets the clear value.
fn tdes_value_for_host(token: &Token) -> Tried {
    let tk = token.import(KeyType::DES2, &known::TDES_KEK.2, &[Attribute::Decrypt(true)])?;
    let clear = value(48);
    let wrapped = by_cbc(&tdes(&known::TDES_KEK.2)?, &clear)?;
    right(*token.decrypt(&tk, &TDES_CBC, &wrapped)? == clear)?;
    Ok(false)
}

fn aes_unwrap(token: &Token) -> Tried {
    let tk = known::AES_KEK.2;
    let software = aes(tk.as_flattened())?;
    let tk = token.import(KeyType::AES, tk.as_flattened(), &[Attribute::Unwrap(true)])?;
    let mut readable = false;
    for clear in AES_LENGTHS.map(value) {
        readable |= translated(token, &tk, &AES_CBC, &by_cbc(&software, &clear)?, &clear)?;
        readable |= translated(token, &tk, &AES_ECB, &by_ecb(&software, &clear)?, &clear)?;
    }
    Ok(readable)
}

fn aes_value_for_host(token: &Token) -> Tried {
    let tk = known::AES_KEK.2;
    let clear = value(48);
    let wrapped = by_cbc(&aes(tk.as_flattened())?, &clear)?;
    let tk = token.import(KeyType::AES, tk.as_flattened(), &[Attribute::Decrypt(true)])?;
    right(*token.decrypt(&tk, &AES_CBC, &wrapped)? == clear)?;
    Ok(false)
}

fn wrap(token: &Token) -> Tried {
    let dek = token.import(KeyType::DES2, &known::DEK.session, &[Attribute::Wrap(true)])?;
    let software = tdes(&known::DEK.session)?;
    let (clear, wrapped) = known::SECRET;
    right(token.wrap(&dek, &TDES_ECB, &token.import_value(&clear)?)? == wrapped)?;
    for clear in TDES_LENGTHS.map(value) {
        let object = token.import_value(&clear)?;
        right(token.wrap(&dek, &TDES_ECB, &object)? == by_ecb(&software, &clear)?)?;
    }
    Ok(false)
}

/// The DEK stays in the token, which gets the clear value from the host.
fn encrypt_for_host(token: &Token) -> Tried {
    let dek = token.import(KeyType::DES2, &known::DEK.session, &[Attribute::Encrypt(true)])?;
    let (clear, wrapped) = known::SECRET;
    right(token.encrypt(&dek, &TDES_ECB, &clear)? == wrapped)?;
    Ok(false)
}
