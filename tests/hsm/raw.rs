//! Modes and MACs by hand over the raw block ciphers.

use aes::{Aes128, Aes256};
use cbc::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use cmac::{Cmac, Mac};
use des::{Des, TdesEde2};
use retail_mac::RetailMac;

/// TYPEtk of the three suites.
pub const TDES: u8 = 0x40;
pub const AES128: u8 = 0x41;
pub const AES256: u8 = 0x42;

pub fn block(tk_type: u8) -> usize {
    if tk_type == TDES { 8 } else { 16 }
}

fn one<C: BlockCipherEncrypt + KeyInit>(key: &[u8], data: &mut [u8]) {
    let mut block: Array<u8, C::BlockSize> = Array::try_from(&*data).unwrap();
    C::new_from_slice(key).unwrap().encrypt_block(&mut block);
    data.copy_from_slice(&block);
}

fn back<C: BlockCipherDecrypt + KeyInit>(key: &[u8], data: &mut [u8]) {
    let mut block: Array<u8, C::BlockSize> = Array::try_from(&*data).unwrap();
    C::new_from_slice(key).unwrap().decrypt_block(&mut block);
    data.copy_from_slice(&block);
}

fn encrypt_block(tk_type: u8, key: &[u8], data: &mut [u8]) {
    match tk_type {
        TDES => one::<TdesEde2>(key, data),
        AES128 => one::<Aes128>(key, data),
        _ => one::<Aes256>(key, data),
    }
}

/// ECB of whole blocks.
pub fn ecb(tk_type: u8, key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    out.chunks_mut(block(tk_type)).for_each(|b| encrypt_block(tk_type, key, b));
    out
}

/// CBC with zero IV of whole blocks.
pub fn cbc(tk_type: u8, key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut last = vec![0; block(tk_type)];
    let mut out = Vec::new();
    for chunk in data.chunks(block(tk_type)) {
        last.iter_mut().zip(chunk).for_each(|(l, c)| *l ^= c);
        encrypt_block(tk_type, key, &mut last);
        out.extend_from_slice(&last);
    }
    out
}

pub fn tdes_ecb_decrypt(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    out.chunks_mut(8).for_each(|b| back::<TdesEde2>(key, b));
    out
}

pub fn tdes_cbc_decrypt(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = tdes_ecb_decrypt(key, data);
    for place in 8..out.len() {
        out[place] ^= data[place - 8];
    }
    out
}

pub fn des(key: &[u8], data: &[u8; 8]) -> [u8; 8] {
    let mut out = *data;
    one::<Des>(key, &mut out);
    out
}

pub fn pad(data: &[u8], block: usize) -> Vec<u8> {
    let mut out = data.to_vec();
    out.push(0x80);
    while !out.len().is_multiple_of(block) {
        out.push(0);
    }
    out
}

/// ISO 9797-1 algorithm 3, padding 2, with an initial value: it goes into the first block.
pub fn retail(key: &[u8], iv: [u8; 8], message: &[u8]) -> [u8; 8] {
    let mut padded = pad(message, 8);
    padded.iter_mut().zip(iv).for_each(|(p, i)| *p ^= i);
    let mut mac = <RetailMac<Des> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(&padded);
    mac.finalize().into_bytes().into()
}

/// The MAC of a suite under a 16-byte key.
pub fn mac(tk_type: u8, key: &[u8], message: &[u8]) -> Vec<u8> {
    if tk_type == TDES {
        return retail(key, [0; 8], message).to_vec();
    }
    let mut mac = <Cmac<Aes128> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

pub fn odd_parity(key: &[u8]) -> Vec<u8> {
    key.iter().map(|b| if b.count_ones() % 2 == 1 { *b } else { *b ^ 1 }).collect()
}
