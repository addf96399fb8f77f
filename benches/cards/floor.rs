//! The floor: only the block operations that the commands of a card need, on one thread with the raw block
//! ciphers. No parsing, no copying, no checks, no sockets, no disk.
//!
//! For each application: TKs for the MACkey, its blinding and, if there are protected values, the data
//! (SHA-256 of the scope, two AES blocks under the KEK); unwrapping the MACkey; AES-CMAC over the bytes that
//! the MAC covers; decryption of the protected values; K_ENC, K_MAC, K_DEK from the KMC; three session keys;
//! both cryptograms; EXTERNAL AUTHENTICATE; for each command the ICV, the C-MAC over the plain data and the
//! encryption; encryption of the secrets under the DEK. The key schedules of KEK and KMC exist already; all
//! others are made.

use std::hint::black_box;

use aes::{Aes128, Aes256};
use cardwright::hsm::{DataPart, VerifiedApplication};
use cardwright::profile::ProductProfile;
use cbc::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit,
    KeyIvInit, block_padding::NoPadding,
};
use cmac::{Cmac, Mac};
use des::{Des, TdesEde2};
use sha2::{Digest, Sha256};

use crate::session::Session;

/// Lengths that one application needs, in bytes.
struct Need {
    /// The scope from which a TK is derived.
    scope: usize,
    /// The bytes that the MAC covers.
    maced: usize,
    /// Ciphertext under the TK.
    under_tk: Vec<usize>,
    /// Secrets under the DEK.
    under_dek: Vec<usize>,
    /// Data of each command.
    commands: Vec<usize>,
}

/// Block operations of a card.
#[derive(Default)]
pub struct Blocks {
    pub tdes: usize,
    pub des: usize,
    pub aes: usize,
    /// Key schedules of all ciphers.
    pub schedules: usize,
    pub sha256: usize,
}

/// The floor for some cards.
pub struct Floor {
    kek: Aes256,
    kmc: TdesEde2,
    cards: Vec<Vec<Need>>,
    data: Vec<u8>,
}

/// Data of any value: ciphers take all bytes at one speed.
const ANY: [u8; 64] = [0x5A; 64];

impl Floor {
    pub fn new() -> Self {
        Self {
            kek: Aes256::new((&[1; 32]).into()),
            kmc: TdesEde2::new((&[2; 16]).into()),
            cards: Vec::new(),
            data: vec![0x3C; 1 << 16],
        }
    }

    /// Adds a card, with the HSM's answers to its verifications.
    pub fn add(&mut self, session: &Session, verified: &[VerifiedApplication], product: &ProductProfile) {
        let request = &session.record;
        let needs = verified.iter().enumerate().map(|(number, verified)| {
            let application = &session.applications[number];
            let names = [request.issuer_id.as_str(), request.file_id.as_str(), request.card_ref.as_str()]
                .map(str::len);
            let names = names.iter().map(|n| n + 1).sum::<usize>() + 4;
            let protected = application.dgis.iter().filter(|d| application.protected.contains(&d.dgi));
            let steps = session.steps(number, verified, product);
            let part = |part: &DataPart| match part {
                DataPart::Clear(bytes) => bytes.len(),
                DataPart::Protected { from, to, .. } => usize::from(to - from),
            };
            Need {
                scope: 5 + names + 1 + application.aid.as_bytes().len(),
                maced: 5 + names + 32 + application.maced.len(),
                under_tk: protected.map(|d| d.value.len()).collect(),
                under_dek: verified.protected.iter().map(|(_, length)| usize::from(*length)).collect(),
                commands: steps.iter().map(|s| s.command.data.iter().map(part).sum()).collect(),
            }
        });
        self.cards.push(needs.collect());
    }

    pub fn cards(&self) -> usize {
        self.cards.len()
    }

    /// Block operations of the first card, counted as [`Self::run`] does them.
    pub fn blocks(&self) -> Blocks {
        let mut b = Blocks::default();
        for need in &self.cards[0] {
            let keys = if need.under_tk.is_empty() { 2 } else { 3 };
            b.sha256 += keys * (need.scope + 9).div_ceil(64);
            // TKs, MACkey, CMAC with its subkeys, protected values.
            b.aes += 2 * keys + 2 + 1 + need.maced.div_ceil(16) + need.under_tk.iter().sum::<usize>() / 16;
            // KDC, session keys, cryptograms, secrets, commands.
            b.tdes += 6 + 6 + 6 + need.under_dek.iter().sum::<usize>() / 8;
            b.tdes += need.commands.iter().map(|data| data / 8 + 1).sum::<usize>();
            // EXTERNAL AUTHENTICATE; ICV and C-MAC, with the two last operations of each.
            b.des += 2 + 2;
            b.des += need.commands.iter().map(|data| 1 + (5 + data) / 8 + 1 + 2).sum::<usize>();
            // TKm, TKd, MACkey; KDC; session keys, of which the one for MACs has two single schedules.
            b.schedules += keys + 3 + 4;
        }
        b
    }

    /// Does the block operations of every card.
    pub fn run(&mut self) {
        let Self { kek, kmc, cards, data } = self;
        for need in cards.iter().flatten() {
            application(kek, kmc, need, data);
        }
    }
}

fn application(kek: &Aes256, kmc: &TdesEde2, need: &Need, data: &mut [u8]) {
    // Protection of the file.
    let tk = || {
        let mut key: [u8; 32] = Sha256::digest(&black_box(&ANY)[..need.scope.min(64)]).into();
        let (blocks, _) = key.as_chunks_mut::<16>();
        blocks.iter_mut().for_each(|b| kek.encrypt_block(b.into()));
        key
    };
    let mut mac_key = [7; 32];
    decrypt(&tk(), &mut mac_key);
    let blind = tk();
    let mut blinded = [0; 16];
    for (to, (a, b)) in blinded.iter_mut().zip(mac_key.iter().zip(blind)) {
        *to = a ^ b;
    }
    let mut mac = <Cmac<Aes128> as KeyInit>::new((&blinded).into());
    mac.update(&data[..need.maced]);
    black_box(mac.finalize());
    if !need.under_tk.is_empty() {
        let key = tk();
        need.under_tk.iter().for_each(|length| decrypt(&key, &mut data[..*length]));
    }

    // The secure channel.
    let derived = |under: &TdesEde2| {
        let mut key = [9; 16];
        let (blocks, _) = key.as_chunks_mut::<8>();
        blocks.iter_mut().for_each(|b| under.encrypt_block(b.into()));
        key
    };
    let [k_enc, k_mac, k_dek] = [(); 3].map(|()| TdesEde2::new((&derived(kmc)).into()));
    let session = |key: &TdesEde2| {
        let mut data = [1; 16];
        tdes_cbc(key, &mut data);
        data
    };
    let enc = TdesEde2::new((&session(&k_enc)).into());
    let dek = TdesEde2::new((&session(&k_dek)).into());
    let mac = session(&k_mac);
    let (left, right) = mac.split_at(8);
    let (left, right) = (Des::new_from_slice(left).unwrap(), Des::new_from_slice(right).unwrap());
    for _ in ["card", "host"] {
        tdes_cbc(&enc, &mut data[..24]);
    }
    let mut icv = retail(&left, &right, [0; 8], &data[..13]);

    // The commands of the card.
    for length in &need.under_dek {
        let (blocks, _) = data[..*length].as_chunks_mut::<8>();
        blocks.iter_mut().for_each(|b| dek.encrypt_block(b.into()));
    }
    for length in &need.commands {
        left.encrypt_block((&mut icv).into());
        icv = retail(&left, &right, icv, &data[..5 + length]);
        tdes_cbc(&enc, &mut data[..(length / 8 + 1) * 8]);
    }
    black_box(icv);
}

fn decrypt(key: &[u8; 32], data: &mut [u8]) {
    cbc::Decryptor::<Aes256>::new(key.into(), (&[0; 16]).into()).decrypt_padded::<NoPadding>(data).unwrap();
}

fn tdes_cbc(key: &TdesEde2, data: &mut [u8]) {
    let length = data.len();
    cbc::Encryptor::inner_iv_init(key, (&[0; 8]).into()).encrypt_padded::<NoPadding>(data, length).unwrap();
}

/// Single-DES CBC with padding 80 00.., then the last block decrypted with the right half and encrypted with
/// the left half.
fn retail(left: &Des, right: &Des, mut state: [u8; 8], data: &[u8]) -> [u8; 8] {
    let (blocks, rest) = data.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    for block in blocks.iter().chain([&last]) {
        state.iter_mut().zip(block).for_each(|(s, b)| *s ^= b);
        left.encrypt_block((&mut state).into());
    }
    right.decrypt_block((&mut state).into());
    left.encrypt_block((&mut state).into());
    state
}
