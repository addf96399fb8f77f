//! The values to search for: every key, PIN, clear DGI and account of a job. They come from the key lists,
//! the issuer's output file and the blanks' KEYDATA, opened and derived here with raw ciphers
//! (`src/manual/cwf1.md`; GPCS E.4; EMV CPS key derivation).
//!
//! Keys are searched in pieces of 8 bytes and DGIs in pieces of 16, so that a part is found too. Two things
//! are not searched: the digits of a PIN shorter than 8 (its PIN blocks are searched), and data that more
//! than half of the cards share.

use std::collections::HashMap;

use cardwright::record::chip::{ChipApplication, ChipSection};
use cardwright::record::{Cwf1Reader, FileLimits, Header, Record, Trailer};

use super::search::{Kind, Needle, Value};
use crate::prep_support::{Family, Scope, cbc_decrypt, ecb_encrypt, unpad};

/// Shortest PIN whose digits are searched.
const PIN_DIGITS: usize = 8;

/// Sequence counters of a blank in one job: one channel for each application, and a few more.
const COUNTERS: u16 = 8;

/// Needles of one kind with one name: a value in pieces of this size.
fn pieces(kind: Kind, name: &str, value: &[u8], size: usize) -> Vec<Needle> {
    // A last piece that is too short is extended backwards.
    let starts = (0..value.len()).step_by(size).map(|at| at.min(value.len().saturating_sub(size)));
    let piece = |at: usize| &value[at..value.len().min(at + size)];
    starts.map(|at| needle(kind, format!("{name} [{at}..]"), Value::Bytes(piece(at).to_vec()))).collect()
}

fn needle(kind: Kind, name: String, value: Value) -> Needle {
    Needle { name, kind, value }
}

/// The needles of a key.
pub fn key(kind: Kind, name: &str, value: &[u8]) -> Vec<Needle> {
    pieces(kind, name, value, 8)
}

/// The keys of a key list: label and value.
pub fn listed(path: &str) -> Vec<(String, Vec<u8>)> {
    let list: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let keys = list["key"].as_array().unwrap().iter();
    let text = |key: &toml::Value, field| key[field].as_str().unwrap().to_owned();
    keys.map(|key| (text(key, "label"), hex::decode(text(key, "value")).unwrap())).collect()
}

/// Every key of the lists.
pub fn masters(lists: &[&str]) -> Vec<Needle> {
    let keys = lists.iter().flat_map(|list| listed(list));
    keys.flat_map(|(label, value)| key(Kind::Master, &label, &value)).collect()
}

/// The keys of the spools, from the file in which the HSM host keeps them.
pub fn spool_keys(text: &str) -> Vec<Needle> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("key "));
    let keys: Vec<_> = lines.map(|line| hex::decode(line.rsplit(' ').next().unwrap()).unwrap()).collect();
    assert!(!keys.is_empty());
    keys.iter().flat_map(|value| key(Kind::File, "spool key", value)).collect()
}

/// An output file, read whole.
pub struct OutputFile {
    pub header: Header,
    pub records: Vec<Record>,
    pub trailer: Trailer,
}

impl OutputFile {
    pub fn read(bytes: &[u8]) -> Self {
        let mut reader = Cwf1Reader::open(bytes, FileLimits::default()).unwrap();
        let header = reader.header().clone();
        let mut records = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            records.push(record);
        }
        Self { header, records, trailer: reader.finish().unwrap().trailer }
    }

    /// The scope of the Trailer's keys.
    pub fn scope(&self) -> Scope<'_> {
        let (issuer_id, file_id) = (self.header.issuer_id.as_str(), self.header.file_id.as_str());
        Scope { issuer_id, file_id, sequence: 0, card_ref: "", aid: &[] }
    }

    /// All values in the file, opened with its KEK.
    pub fn needles(&self, kek: &[u8]) -> Vec<Needle> {
        let family = Family::of(self.trailer.tk_type);
        let mut needles =
            protection(family, kek, &self.scope(), "Trailer", b"TU", &self.trailer.wrapped_mac_key);
        let mut clear = Vec::new();
        for record in &self.records {
            needles.extend(plastic(record));
            let chip = ChipSection::parse(record.section("CHP").unwrap()).unwrap();
            for application in &chip.applications {
                needles.extend(self.application(kek, record, application, &mut clear));
            }
        }
        // A value that many cards share identifies none of them.
        let mut cards: HashMap<Value, usize> = HashMap::new();
        clear.iter().for_each(|n| *cards.entry(n.value.clone()).or_default() += 1);
        needles.extend(clear.into_iter().filter(|n| cards[&n.value] * 2 <= self.records.len()));
        needles
    }

    fn application(
        &self,
        kek: &[u8],
        record: &Record,
        application: &ChipApplication,
        clear: &mut Vec<Needle>,
    ) -> Vec<Needle> {
        let family = Family::of(application.tk_type);
        let (card_ref, aid) = (record.card_ref.as_str(), application.aid.as_bytes());
        let scope = Scope { sequence: record.sequence, card_ref, aid, ..self.scope() };
        let name = format!("{card_ref} {}", application.aid);
        let mut needles = protection(family, kek, &scope, &name, b"MX", &application.wrapped_mac_key);
        let tkd = scope.tk(family, kek, b'D');
        needles.extend(key(Kind::File, &format!("{name} TKd"), &tkd));
        for dgi in &application.dgis {
            let name = format!("{name} DGI {}", dgi.dgi);
            if !application.protected.contains(&dgi.dgi) {
                if dgi.value.len() >= 6 {
                    clear.extend(pieces(Kind::Holder, &name, &dgi.value, 16));
                }
                continue;
            }
            let value = unpad(cbc_decrypt(family, &tkd, &dgi.value));
            if dgi.dgi.0 == 0x8010 {
                needles.extend(pin(&name, &value));
            } else {
                needles.extend(key(Kind::Secret, &name, &value));
            }
        }
        needles
    }
}

/// The keys that protect an application or the Trailer: the key that wraps, the one that blinds, the MACkey
/// itself and the one that makes the MAC.
fn protection(
    family: Family,
    kek: &[u8],
    scope: &Scope<'_>,
    name: &str,
    [wrap, blind]: &[u8; 2],
    wrapped: &[u8],
) -> Vec<Needle> {
    let (wrapping, blinding) = (scope.tk(family, kek, *wrap), scope.tk(family, kek, *blind));
    let mac_key = &cbc_decrypt(family, &wrapping, wrapped)[..16];
    let macs = scope.mac_key(family, kek, wrapped, [*wrap, *blind]);
    let keys = [("TKm", &wrapping[..]), ("TKx", &blinding), ("MACkey", mac_key), ("blinded MACkey", &macs)];
    keys.iter().flat_map(|(what, value)| key(Kind::File, &format!("{name} {what}"), value)).collect()
}

/// A PIN: format 1 as in the file, format 2 as on the card, and its digits if they are long enough.
fn pin(name: &str, format_1: &[u8]) -> Vec<Needle> {
    let block = hex::encode(format_1);
    let digits = &block[2..2 + usize::from(format_1[0] & 0x0F)];
    let format_2 = format!("2{:X}{digits}{}", digits.len(), "F".repeat(14 - digits.len()));
    let format_2 = hex::decode(format_2).unwrap();
    let mut needles = vec![
        needle(Kind::File, format!("{name} format 1"), Value::Bytes(format_1.to_vec())),
        needle(Kind::Secret, format!("{name} format 2"), Value::Bytes(format_2)),
    ];
    if digits.len() >= PIN_DIGITS {
        needles.push(needle(Kind::Secret, format!("{name} PIN"), Value::Digits(digits.to_owned())));
    }
    needles
}

/// Stripe, embossing and indent print.
fn plastic(record: &Record) -> Vec<Needle> {
    let lines = |mic: &str| {
        let text = String::from_utf8_lossy(record.section(mic).unwrap()).into_owned();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let named = |what: &str, value| needle(Kind::Holder, format!("{} {what}", record.card_ref), value);
    let tracks = lines("MAG");
    let (one, two) = (&tracks[0][2..], &tracks[1][2..]);
    let (pan, behind) = two.trim_matches([';', '?']).split_once('=').unwrap();
    let name = one.split('^').nth(1).unwrap();
    let printed = lines("EMB")[2].rsplit(';').next().unwrap().to_owned();
    let indent = lines("IND")[0].rsplit(';').next().unwrap().to_owned();
    vec![
        named("PAN", Value::Digits(pan.to_owned())),
        named("track 1", Value::Text(one.to_owned())),
        named("track 2", Value::Text(two.to_owned())),
        named("track 2 behind the PAN", Value::Digits(behind.to_owned())),
        named("name", Value::Text(name.trim().to_owned())),
        named("printed name", Value::Text(printed)),
        named("CVV2 line", Value::Text(indent)),
    ]
}

/// K_ENC, K_MAC, K_DEK of a blank (EMV CPS).
pub fn card_keys(kmc: &[u8], key_data: &[u8]) -> [Vec<u8>; 3] {
    let half = |kind: u8, n: u8| [&key_data[4..], &[kind, n]].concat();
    [1, 2, 3].map(|n| ecb_encrypt(Family::Tdes, kmc, &[half(0xF0, n), half(0x0F, n)].concat()))
}

/// SKU of a card key: CBC with zero IV of the constant, the sequence counter and 00 x 12 (GPCS E.4.1).
pub fn session_key(card_key: &[u8], constant: [u8; 2], counter: u16) -> Vec<u8> {
    let counter = counter.to_be_bytes();
    let first =
        ecb_encrypt(Family::Tdes, card_key, &[constant[0], constant[1], counter[0], counter[1], 0, 0, 0, 0]);
    let second = ecb_encrypt(Family::Tdes, card_key, &first);
    [first, second].concat()
}

/// The keys of a blank under every KMC, and those of its first channels.
pub fn blank(kmcs: &[Vec<u8>], key_data: &[u8]) -> Vec<Needle> {
    let name = hex::encode_upper(key_data);
    let mut needles = Vec::new();
    for kmc in kmcs {
        let keys = card_keys(kmc, key_data);
        for (card_key, what) in keys.iter().zip(["K_ENC", "K_MAC", "K_DEK"]) {
            needles.extend(key(Kind::Blank, &format!("{name} {what}"), card_key));
        }
        let sessions =
            [(0, [0x01, 0x82], "SKU_ENC"), (1, [0x01, 0x01], "SKU_MAC"), (2, [0x01, 0x81], "SKU_DEK")];
        for (which, constant, what) in sessions {
            for counter in 0..COUNTERS {
                let session = session_key(&keys[which], constant, counter);
                needles.extend(key(Kind::Blank, &format!("{name} {what} {counter}"), &session));
            }
        }
    }
    needles
}
