//! Shared by the preparation's tests: the program, its TEST keys, and a reader that opens CWF1 protection.
//! The reader is written from `src/manual/cwf1.md` with the raw `des`, `aes` and `cmac` crates, without
//! `src/crypto`.

#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};

use aes::{Aes128, Aes256};
use assert_cmd::Command;
use cbc::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use cmac::{Cmac, Mac};
use des::{Des, TdesEde2};
use sha2::{Digest, Sha256};

/// A file of `tests/data`.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The program `cardwright-prep`.
pub fn program() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("cardwright-prep"))
}

/// Makes an issuer's TEST store in `dir`.
pub fn issuer_store(dir: &Path) -> PathBuf {
    let store = dir.join("issuer.keys");
    program()
        .args(["key", "init", "--test", "--from"])
        .arg(data("keys-issuer.toml"))
        .arg("--store")
        .arg(&store)
        .assert()
        .success();
    store
}

/// `cardwright-prep run` with product multiapp without RSA, and all options that the tests share.
pub fn run(input: &Path, store: &Path, output: &Path) -> Command {
    let mut command = program();
    // The account of the published vectors has expired.
    command
        .args(["run", "--allow", "expired:published test vectors", "--product"])
        .arg(data("multiapp.toml"));
    command.arg("--input").arg(input);
    command.arg("--keys").arg(store).arg("--output").arg(output);
    command
}

/// A key of a key list in `tests/data`: value in bytes and TYPE.
pub fn listed(list: &str, label: &str) -> (Vec<u8>, String) {
    let table: toml::Table = std::fs::read_to_string(data(list)).unwrap().parse().unwrap();
    let keys = table["key"].as_array().unwrap();
    let key = keys.iter().find(|k| k["label"].as_str() == Some(label)).unwrap();
    (hex::decode(key["value"].as_str().unwrap()).unwrap(), key["type"].as_str().unwrap().to_owned())
}

/// The block cipher of a TYPEtk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Tdes,
    Aes128,
    Aes256,
}

impl Family {
    pub fn of(tk_type: u8) -> Self {
        match tk_type {
            0x40 => Self::Tdes,
            0x41 => Self::Aes128,
            0x42 => Self::Aes256,
            other => panic!("TYPEtk {other:02X}"),
        }
    }

    pub fn block(self) -> usize {
        if self == Self::Tdes { 8 } else { 16 }
    }

    fn key_length(self) -> usize {
        if self == Self::Aes256 { 32 } else { 16 }
    }
}

fn each<C: KeyInit + cipher::BlockSizeUser>(
    key: &[u8],
    data: &[u8],
    apply: impl Fn(&C, &mut Array<u8, C::BlockSize>),
) -> Vec<u8> {
    let cipher = C::new_from_slice(key).unwrap();
    let mut out = Vec::new();
    for chunk in data.chunks(C::block_size()) {
        let mut block = Array::try_from(chunk).unwrap();
        apply(&cipher, &mut block);
        out.extend_from_slice(&block);
    }
    out
}

pub fn ecb_encrypt(family: Family, key: &[u8], data: &[u8]) -> Vec<u8> {
    match family {
        Family::Tdes => each::<TdesEde2>(key, data, |c, b| c.encrypt_block(b)),
        Family::Aes128 => each::<Aes128>(key, data, |c, b| c.encrypt_block(b)),
        Family::Aes256 => each::<Aes256>(key, data, |c, b| c.encrypt_block(b)),
    }
}

/// CBC decryption with a zero IV.
pub fn cbc_decrypt(family: Family, key: &[u8], data: &[u8]) -> Vec<u8> {
    let plain = match family {
        Family::Tdes => each::<TdesEde2>(key, data, |c, b| c.decrypt_block(b)),
        Family::Aes128 => each::<Aes128>(key, data, |c, b| c.decrypt_block(b)),
        Family::Aes256 => each::<Aes256>(key, data, |c, b| c.decrypt_block(b)),
    };
    let before = [vec![0; family.block()], data.to_vec()].concat();
    plain.iter().zip(&before).map(|(p, c)| p ^ c).collect()
}

fn odd(key: Vec<u8>) -> Vec<u8> {
    key.into_iter().map(|b| if b.count_ones() % 2 == 1 { b } else { b ^ 1 }).collect()
}

fn l1(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

/// The values on which a TK depends.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub issuer_id: &'a str,
    pub file_id: &'a str,
    pub sequence: u32,
    pub card_ref: &'a str,
    pub aid: &'a [u8],
}

impl Scope<'_> {
    /// TK = leading bytes of ECB(KEK) of SHA-256("CWF1" | purpose | L1 issuer_id | L1 file_id | sequence | L1
    /// card_ref | L1 AID).
    pub fn tk(&self, family: Family, kek: &[u8], purpose: u8) -> Vec<u8> {
        self.tk_of(b"CWF1", family, kek, purpose)
    }

    /// The same for a file whose Header begins with other bytes.
    pub fn tk_of(&self, magic: &[u8; 4], family: Family, kek: &[u8], purpose: u8) -> Vec<u8> {
        let text = [
            magic.to_vec(),
            vec![purpose],
            l1(self.issuer_id.as_bytes()),
            l1(self.file_id.as_bytes()),
            self.sequence.to_be_bytes().to_vec(),
            l1(self.card_ref.as_bytes()),
            l1(self.aid),
        ]
        .concat();
        let mut tk = ecb_encrypt(family, kek, &Sha256::digest(&text));
        tk.truncate(family.key_length());
        if family == Family::Tdes { odd(tk) } else { tk }
    }

    /// The key that makes the MAC, from the wrapped MACkey. Checks every byte after the key.
    pub fn mac_key(&self, family: Family, kek: &[u8], wrapped: &[u8], purposes: [u8; 2]) -> Vec<u8> {
        let opened = cbc_decrypt(family, &self.tk(family, kek, purposes[0]), wrapped);
        let (key, rest) = opened.split_at(16);
        assert_eq!(wrapped.len(), if family == Family::Tdes { 24 } else { 32 });
        assert_eq!(rest[0], 0x80);
        assert!(rest[1..].iter().all(|b| *b == 0));
        let blind = self.tk(family, kek, purposes[1]);
        let mixed: Vec<u8> = key.iter().zip(&blind).map(|(a, b)| a ^ b).collect();
        if family == Family::Tdes {
            assert!(key.iter().all(|b| b.count_ones() % 2 == 1), "odd parity");
            assert_ne!(key[..8], key[8..]);
            odd(mixed)
        } else {
            mixed
        }
    }
}

/// ISO 9797-1 algorithm 3, padding 2 (TDES), or AES-CMAC under a 16-byte key.
pub fn mac(family: Family, key: &[u8], message: &[u8]) -> Vec<u8> {
    if family != Family::Tdes {
        let mut mac = <Cmac<Aes128> as KeyInit>::new_from_slice(key).unwrap();
        mac.update(message);
        return mac.finalize().into_bytes().to_vec();
    }
    let (left, right) = (Des::new_from_slice(&key[..8]).unwrap(), Des::new_from_slice(&key[8..]).unwrap());
    let mut padded = [message, &[0x80]].concat();
    while padded.len() % 8 != 0 {
        padded.push(0);
    }
    let mut state = [0u8; 8];
    for chunk in padded.chunks(8) {
        for (s, b) in state.iter_mut().zip(chunk) {
            *s ^= b;
        }
        left.encrypt_block((&mut state).into());
    }
    right.decrypt_block((&mut state).into());
    left.encrypt_block((&mut state).into());
    state.to_vec()
}

/// Removes the padding 80 00.. at the end.
pub fn unpad(mut value: Vec<u8>) -> Vec<u8> {
    let zeros = value.iter().rev().take_while(|b| **b == 0).count();
    value.truncate(value.len() - zeros);
    assert_eq!(value.pop(), Some(0x80), "padding");
    value
}
