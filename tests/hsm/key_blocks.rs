//! Key blocks of TR-31:2018, versions B and D, made with the raw ciphers: what a partner sends.

use aes::{Aes128, Aes256};
use cbc::cipher::KeyInit;
use cmac::{Cmac, Mac};
use des::TdesEde2;

use crate::raw;

fn cmac(version: char, key: &[u8], message: &[u8]) -> Vec<u8> {
    fn of<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }
    match (version, key.len()) {
        ('B', _) => of::<Cmac<TdesEde2>>(key, message),
        (_, 16) => of::<Cmac<Aes128>>(key, message),
        _ => of::<Cmac<Aes256>>(key, message),
    }
}

/// The cipher of a KBPK, as `raw` names it.
fn cipher(version: char, key: &[u8]) -> u8 {
    match (version, key.len()) {
        ('B', _) => raw::TDES,
        (_, 16) => raw::AES128,
        _ => raw::AES256,
    }
}

fn derived(version: char, kbpk: &[u8], what: u8) -> Vec<u8> {
    let (algorithm, bits) = match (version, kbpk.len()) {
        ('B', _) => (0, [0, 0x80]),
        (_, 16) => (2, [0, 0x80]),
        _ => (4, [1, 0]),
    };
    let mut key = Vec::new();
    for counter in [1, 2] {
        key.extend(cmac(version, kbpk, &[counter, 0, what, 0, 0, algorithm, bits[0], bits[1]]));
    }
    key.truncate(kbpk.len());
    key
}

/// A block with a key. `said` is usage, algorithm, mode, key version and exportability, such as `K0TB00N`.
pub fn made(version: char, kbpk: &[u8], said: &str, key: &[u8]) -> String {
    let kind = cipher(version, kbpk);
    let size = raw::block(kind);
    let mut payload = u16::try_from(8 * key.len()).unwrap().to_be_bytes().to_vec();
    payload.extend_from_slice(key);
    payload.resize(payload.len().next_multiple_of(size), 0x5A);
    let length = 16 + 2 * payload.len() + 2 * size;
    let header = format!("{version}{length:04}{said}0000");
    let mac = cmac(version, &derived(version, kbpk, 1), &[header.as_bytes(), &payload].concat());
    // The IV is the MAC.
    payload.iter_mut().zip(&mac).for_each(|(byte, mac)| *byte ^= mac);
    let sealed = raw::cbc(kind, &derived(version, kbpk, 0), &payload);
    format!("{header}{}{}", hex::encode_upper(sealed), hex::encode_upper(mac))
}

#[test]
fn the_derivation_is_that_of_tr31_2018() {
    // Keys of A.7.2.2 and A.7.4, as openemv's `tr31` derives them.
    let derived =
        |version, kbpk: &str, what| hex::encode_upper(derived(version, &hex::decode(kbpk).unwrap(), what));
    let tdes = "DD7515F2BFC17F85CE48F3CA25CB21F6";
    assert_eq!(derived('B', tdes, 0), "698832F8778A7CFCBC79559DAB07B88A");
    assert_eq!(derived('B', tdes, 1), "DD6CEEC1782D8453671BF8358AF9DB47");
    let aes = "88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6";
    assert_eq!(derived('D', aes, 0), "396C9382A6E2E66A088774E1D6E46541F5EAD67D7204F8DD0D7AE8FDA334D3AC");
    assert_eq!(derived('D', aes, 1), "4EF24317696213840451890756757E573E0673483888F9B7F9B7517827F95022");
}
