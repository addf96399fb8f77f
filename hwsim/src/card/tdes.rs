//! DES and two-key triple DES as SCP02 and EMV CPS use them: ECB, CBC with zero IV, the two MACs, padding,
//! KCV.
//!
//! The card's own code, from GPCS B.1 and B.2 and ISO 9797-1; keys of TEST cards only.

use cbc::{Decryptor, Encryptor};
use cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit,
};
use des::{Des, TdesEde2};

/// A two-key triple DES key; its parity is not checked.
pub(super) type DoubleLengthKey = [u8; 16];
/// One DES block.
pub(super) type DesBlock = [u8; 8];

const ZERO: DesBlock = [0; 8];

/// ECB encryption of the whole blocks of `data`.
pub(super) fn ecb_encrypt(key: &DoubleLengthKey, data: &mut [u8]) {
    let cipher = TdesEde2::new(key.into());
    for block in data.as_chunks_mut::<8>().0 {
        cipher.encrypt_block(block.into());
    }
}

/// ECB decryption of the whole blocks of `data`.
pub(super) fn ecb_decrypt(key: &DoubleLengthKey, data: &mut [u8]) {
    let cipher = TdesEde2::new(key.into());
    for block in data.as_chunks_mut::<8>().0 {
        cipher.decrypt_block(block.into());
    }
}

/// CBC encryption of the whole blocks of `data`, IV zero.
pub(super) fn cbc_encrypt(key: &DoubleLengthKey, data: &mut [u8]) {
    let mut cipher = Encryptor::<TdesEde2>::new(key.into(), &ZERO.into());
    for block in data.as_chunks_mut::<8>().0 {
        cipher.encrypt_block(block.into());
    }
}

/// CBC decryption of the whole blocks of `data`, IV zero.
pub(super) fn cbc_decrypt(key: &DoubleLengthKey, data: &mut [u8]) {
    let mut cipher = Decryptor::<TdesEde2>::new(key.into(), &ZERO.into());
    for block in data.as_chunks_mut::<8>().0 {
        cipher.decrypt_block(block.into());
    }
}

/// Single DES with the left half of `key`: the encryption of the ICV.
pub(super) fn des_left(key: &DoubleLengthKey, mut block: DesBlock) -> DesBlock {
    let (left, _) = halves(key);
    Des::new(&left.into()).encrypt_block((&mut block).into());
    block
}

/// Full triple DES MAC, ICV zero, of `message` padded 80 00.. (GPCS B.1.2.1): the cryptograms.
pub(super) fn full_mac(key: &DoubleLengthKey, message: &[u8]) -> DesBlock {
    let mut padded = pad(message);
    cbc_encrypt(key, &mut padded);
    padded.last_chunk().copied().unwrap_or(ZERO)
}

/// Retail MAC of `message` padded 80 00.. (GPCS B.1.2.2, ISO 9797-1 algorithm 3): single DES CBC with the
/// left half, the last block finished with D of the right half and E of the left one.
pub(super) fn retail_mac(key: &DoubleLengthKey, icv: DesBlock, message: &[u8]) -> DesBlock {
    let (left, right) = halves(key);
    let (left, right) = (Des::new(&left.into()), Des::new(&right.into()));
    let mut state = icv;
    for block in pad(message).as_chunks::<8>().0 {
        for (s, b) in state.iter_mut().zip(block) {
            *s ^= b;
        }
        left.encrypt_block((&mut state).into());
    }
    right.decrypt_block((&mut state).into());
    left.encrypt_block((&mut state).into());
    state
}

/// Key check value: the first 3 bytes of E(8 x 00) (GPCS B.6).
pub(super) fn kcv(key: &DoubleLengthKey) -> [u8; 3] {
    let mut block = ZERO;
    ecb_encrypt(key, &mut block);
    let [a, b, c, ..] = block;
    [a, b, c]
}

/// `message` with 80 00.. to a whole number of blocks, one byte at least.
pub(super) fn pad(message: &[u8]) -> Vec<u8> {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(8), 0);
    padded
}

/// Returns the bytes before the padding 80 00.. ; `None` if these are no whole blocks with padding within the
/// last one.
pub(super) fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let end = padded.iter().rposition(|&b| b != 0)?;
    let (message, padding) = padded.split_at_checked(end)?;
    (padding.first() == Some(&0x80) && padding.len() <= 8 && padded.len().is_multiple_of(8))
        .then_some(message)
}

fn halves(key: &DoubleLengthKey) -> (DesBlock, DesBlock) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *key;
    ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p])
}
