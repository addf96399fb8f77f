//! The issuer's side: builds applications and Trailers of CWF1 as `src/manual/cwf1.md` describes them.

use cardwright::hsm::{ApplicationToVerify, CheckRequest, RecordToVerify, TrailerRequest};
use cardwright::ids::{CardRef, Dgi, FileId, IssuerId, Kcv, KekId};
use sha2::{Digest, Sha256};

use crate::raw;

pub const KEYS: &str = r#"
[[key]]
label = "kek-tdes"
usage = "KEK"
type = "TDES2"
id = "47617399"
version = 1
value = "00112233445566778899AABBCCDDEEFF"
issuer_id = "TESTBANK"
allow = ["FFFFFF476173:1", "FFFFFF476174:2"]
min_seclev = "00"
wrap = "cwf1"

[[key]]
label = "kek-aes128"
usage = "KEK"
type = "AES128"
id = "47617399"
version = 2
value = "101112131415161718191A1B1C1D1E1F"
issuer_id = "TESTBANK"
allow = ["FFFFFF476173:1"]
min_seclev = "01"

[[key]]
label = "kek-aes256"
usage = "KEK"
type = "AES256"
id = "476173FF"
version = 254
value = "202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F"
issuer_id = "TESTBANK"
allow = ["FFFFFF476173:1"]
min_seclev = "03"

[[key]]
label = "kmc-1"
usage = "KMC"
type = "TDES2"
id = "FFFFFF476173"
version = 1
value = "404142434445464748494A4B4C4D4E4F"
kcv = "8BAF47"

[[key]]
label = "kmc-2"
usage = "KMC"
type = "TDES2"
id = "FFFFFF476174"
version = 2
value = "505152535455565758595A5B5C5D5E5F"

[[key]]
label = "kmc-not-allowed"
usage = "KMC"
type = "TDES2"
id = "FFFFFF476175"
version = 1
value = "606162636465666768696A6B6C6D6E6F"
"#;

/// kmc-1 of [`KEYS`] once more, with other bits of parity and under other names.
pub const OTHER_NAMES: &str = r#"
[[key]]
label = "kmc-1-version-2"
usage = "KMC"
type = "TDES2"
id = "FFFFFF476173"
version = 2
value = "414043424544474649484B4A4D4C4F4E"

[[key]]
label = "kmc-1-other-id"
usage = "KMC"
type = "TDES2"
id = "000000476173"
version = 1
value = "404142434445464748494A4B4C4D4E4F"
"#;

/// A KEK as the issuer knows it.
#[derive(Clone)]
pub struct Kek {
    pub id: [u8; 5],
    pub tk_type: u8,
    pub value: Vec<u8>,
}

pub fn kek_tdes() -> Kek {
    Kek {
        id: [0x47, 0x61, 0x73, 0x99, 1],
        tk_type: raw::TDES,
        value: hex::decode("00112233445566778899AABBCCDDEEFF").unwrap(),
    }
}

pub fn kek_aes128() -> Kek {
    Kek { id: [0x47, 0x61, 0x73, 0x99, 2], tk_type: raw::AES128, value: (0x10..0x20).collect() }
}

pub fn kek_aes256() -> Kek {
    Kek { id: [0x47, 0x61, 0x73, 0xFF, 254], tk_type: raw::AES256, value: (0x20..0x40).collect() }
}

/// The values of a file and a record that the keys of an application depend on.
#[derive(Clone)]
pub struct Scope {
    pub issuer_id: &'static str,
    pub file_id: &'static str,
    pub sequence: u32,
    pub card_ref: &'static str,
    pub others: [u8; 32],
}

pub const SCOPE: Scope =
    Scope { issuer_id: "TESTBANK", file_id: "FILE-1", sequence: 7, card_ref: "CARD-7", others: [0x0F; 32] };

/// A record of the file of [`SCOPE`].
pub fn scope_of(sequence: u32) -> Scope {
    Scope { sequence, card_ref: format!("CARD-{sequence}").leak(), ..SCOPE }
}

/// An application in clear, and how to write it.
#[derive(Clone)]
pub struct App {
    pub aid: Vec<u8>,
    pub cmode: u8,
    /// DGIs that are encrypted under the TK.
    pub protected: Vec<u16>,
    pub enc: Vec<(u16, u8)>,
    pub seclev: u8,
    /// DGIs with their values in clear, in file order.
    pub dgis: Vec<(u16, Vec<u8>)>,
    pub mac_key: [u8; 16],
    /// Bytes that replace the ciphertext of a DGI.
    pub forged: Vec<(u16, Vec<u8>)>,
    /// Values that are encrypted under TKd without padding, whatever CMODE says.
    pub raw_plain: Vec<(u16, Vec<u8>)>,
    /// Bytes that replace the wrapped MACkey before the MAC is made.
    pub forged_wrap: Option<Vec<u8>>,
}

pub fn key_set() -> Vec<u8> {
    (0u8..48).map(|i| i.wrapping_mul(37)).collect()
}

/// A payment application: clear records, three keys, a CRT part, a PIN block.
pub fn app(cmode: u8, seclev: u8) -> App {
    // CMODE 10 and 11 take whole blocks only, so the issuer pads the values that need padding.
    let padded = cmode == 0x12 || cmode == 0x13;
    let prime: Vec<u8> = (0..if padded { 64 } else { 32 }).collect();
    let pin = hex::decode("141234A1B2C3D4E5").unwrap();
    App {
        aid: hex::decode("A0000000031010").unwrap(),
        cmode,
        protected: vec![0x8000, 0x8205, 0x8010],
        enc: vec![(0x8000, 0x11), (0x8205, 0x12), (0x8010, 0x22)],
        seclev,
        dgis: vec![
            (0x0101, hex::decode("700E5A0847617390010101195F340101").unwrap()),
            (0x8000, key_set()),
            (0x0202, (0..600u16).map(|i| i as u8).collect()),
            (0x8205, prime),
            (0x9010, vec![3, 3]),
            (0x8010, pin),
            (0x9000, vec![9; 9]),
        ],
        mac_key: hex::decode("0123456789ABCDEFFEDCBA9876543210").unwrap().try_into().unwrap(),
        forged: vec![],
        raw_plain: vec![],
        forged_wrap: None,
    }
}

fn l1(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn l2(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn names(dgis: &[u16]) -> Vec<u8> {
    dgis.iter().flat_map(|d| d.to_be_bytes()).collect()
}

/// The TK of one purpose and scope (`src/manual/cwf1.md`).
pub fn tk(kek: &Kek, purpose: u8, scope: &Scope, aid: &[u8]) -> Vec<u8> {
    let mut text = b"CWF1".to_vec();
    text.push(purpose);
    text.extend(l1(scope.issuer_id.as_bytes()));
    text.extend(l1(scope.file_id.as_bytes()));
    text.extend(scope.sequence.to_be_bytes());
    text.extend(l1(scope.card_ref.as_bytes()));
    text.extend(l1(aid));
    let length = if kek.tk_type == raw::AES256 { 32 } else { 16 };
    let key = raw::ecb(kek.tk_type, &kek.value, &Sha256::digest(&text)[..length]);
    if kek.tk_type == raw::TDES { raw::odd_parity(&key) } else { key }
}

/// The key that makes the MAC.
fn blinded(kek: &Kek, mac_key: &[u8; 16], tk: &[u8]) -> Vec<u8> {
    let key: Vec<u8> = mac_key.iter().zip(tk).map(|(a, b)| a ^ b).collect();
    if kek.tk_type == raw::TDES { raw::odd_parity(&key) } else { key }
}

fn wrap_mac_key(kek: &Kek, mac_key: &[u8; 16], tk: &[u8]) -> Vec<u8> {
    let mut block = mac_key.to_vec();
    block.push(0x80);
    block.resize(if kek.tk_type == raw::TDES { 24 } else { 32 }, 0);
    raw::cbc(kek.tk_type, tk, &block)
}

/// The bytes of an application from the length byte of 3a.1 to the last byte of the MAC.
pub fn build(kek: &Kek, app: &App, scope: &Scope) -> Vec<u8> {
    let tkd = tk(kek, b'D', scope, &app.aid);
    let block = raw::block(kek.tk_type);
    let mut data = Vec::new();
    for (dgi, value) in &app.dgis {
        let plain = match app.raw_plain.iter().find(|(d, _)| d == dgi) {
            Some((_, plain)) => plain.clone(),
            None if app.cmode == 0x12 || app.cmode == 0x13 => raw::pad(value, block),
            None => value.clone(),
        };
        let written = match app.forged.iter().find(|(d, _)| d == dgi) {
            Some((_, forged)) => forged.clone(),
            None if !app.protected.contains(dgi) => value.clone(),
            None if app.cmode == 0x10 || app.cmode == 0x12 => raw::cbc(kek.tk_type, &tkd, &plain),
            None => raw::ecb(kek.tk_type, &tkd, &plain),
        };
        data.extend(dgi.to_be_bytes());
        if written.len() < 0xFF {
            data.push(written.len() as u8);
        } else {
            data.push(0xFF);
            data.extend(u16::try_from(written.len()).unwrap().to_be_bytes());
        }
        data.extend(written);
    }
    let ber = match data.len() {
        n @ 0..=0x7F => vec![n as u8],
        n @ 0x80..=0xFF => vec![0x81, n as u8],
        n => vec![0x82, (n >> 8) as u8, n as u8],
    };
    let mut tkdata = vec![0x01];
    tkdata.extend(kek.id);
    tkdata.extend([kek.tk_type, app.cmode, app.protected.len() as u8]);
    tkdata.extend(names(&app.protected));
    let enc: Vec<u8> = app.enc.iter().flat_map(|(d, t)| [(d >> 8) as u8, *d as u8, *t]).collect();
    let pdi = [l2(&[]), l2(&[]), l2(&enc), l2(&[]), l2(&[]), vec![app.seclev, 0]].concat();
    let step = [vec![0x0F, 0x01, 0xEF], l2(&pdi), vec![0, 0]].concat();
    let mut out = l1(&[l1(&app.aid), l1(&tkdata)].concat());
    out.extend(l2(&[l1(&kek.id[..4]), l2(&l2(&step))].concat()));
    out.extend(l2(&[]));
    out.extend(l2(&[vec![0xEF], ber, data].concat()));
    let wrapped = match &app.forged_wrap {
        Some(forged) => forged.clone(),
        None => wrap_mac_key(kek, &app.mac_key, &tk(kek, b'M', scope, &app.aid)),
    };
    out.push(u8::try_from(wrapped.len() + block).unwrap());
    out.extend(&wrapped);

    let mut input = b"CWF1A".to_vec();
    input.extend(l1(scope.issuer_id.as_bytes()));
    input.extend(l1(scope.file_id.as_bytes()));
    input.extend(scope.sequence.to_be_bytes());
    input.extend(l1(scope.card_ref.as_bytes()));
    input.extend(scope.others);
    input.extend(&out[1..]);
    let key = blinded(kek, &app.mac_key, &tk(kek, b'X', scope, &app.aid));
    out.extend(raw::mac(kek.tk_type, &key, &input));
    out
}

/// The controller's question about an application, with the rules of a plain product.
pub fn request(application: Vec<u8>, scope: &Scope) -> RecordToVerify {
    RecordToVerify {
        issuer_id: IssuerId::new(scope.issuer_id).unwrap(),
        file_id: FileId::new(scope.file_id).unwrap(),
        sequence: scope.sequence,
        card_ref: CardRef::new(scope.card_ref).unwrap(),
        others: scope.others,
        card_block: 8,
        allow_ecb: false,
        applications: vec![ApplicationToVerify { bytes: application.into(), pass_through: vec![] }],
    }
}

/// The controller's question about a record with these applications.
pub fn record(kek: &Kek, apps: &[App], scope: &Scope) -> RecordToVerify {
    let applications = apps.iter().flat_map(|app| request(build(kek, app, scope), scope).applications);
    RecordToVerify { applications: applications.collect(), ..request(Vec::new(), scope) }
}

/// The controller's question whether these applications are right, in one message.
pub fn check_request(requests: &[RecordToVerify]) -> CheckRequest {
    let first = &requests[0];
    let (issuer_id, file_id) = (first.issuer_id.clone(), first.file_id.clone());
    let mut all = CheckRequest::new(issuer_id, file_id, first.card_block, first.allow_ecb);
    for request in requests {
        let record = (request.sequence, request.card_ref.clone(), request.others);
        let each = request.applications.iter();
        all.add(record, each.map(|one| (one.bytes.as_slice(), one.pass_through.clone())));
    }
    all
}

/// Builds an application and makes the controller's question about it.
pub fn asked(kek: &Kek, app: &App) -> RecordToVerify {
    request(build(kek, app, &SCOPE), &SCOPE)
}

/// A Trailer of a file of ten records.
pub fn trailer(kek: &Kek, issuer_id: &'static str, file_id: &'static str) -> TrailerRequest {
    trailer_stating(kek, issuer_id, file_id, (10, None))
}

/// A Trailer of a file of this many records; its body may state another wrapped key than the one that its MAC was made with.
pub fn trailer_stating(
    kek: &Kek,
    issuer_id: &'static str,
    file_id: &'static str,
    (records, stated): (u32, Option<&[u8]>),
) -> TrailerRequest {
    let mac_key = hex::decode("FEDCBA98765432100123456789ABCDEF").unwrap().try_into().unwrap();
    let scope = Scope { issuer_id, file_id, sequence: 0, card_ref: "", others: [0; 32] };
    let wrapped = wrap_mac_key(kek, &mac_key, &tk(kek, b'T', &scope, &[]));
    let kcv = match kek.tk_type {
        raw::TDES => raw::ecb(kek.tk_type, &kek.value, &[0; 8]),
        _ => raw::ecb(kek.tk_type, &kek.value, &[1; 16]),
    };
    let mut body = records.to_be_bytes().to_vec();
    body.extend([0xD1; 32]);
    body.extend(kek.id);
    body.push(kek.tk_type);
    body.extend(&kcv[..3]);
    body.extend(l1(stated.unwrap_or(&wrapped)));
    let key = blinded(kek, &mac_key, &tk(kek, b'U', &scope, &[]));
    let mac = raw::mac(kek.tk_type, &key, &[b"CWF1T", body.as_slice()].concat());
    TrailerRequest {
        issuer_id: IssuerId::new(issuer_id).unwrap(),
        file_id: FileId::new(file_id).unwrap(),
        kek: KekId(kek.id),
        tk_type: kek.tk_type,
        kcv: Kcv(kcv[..3].try_into().unwrap()),
        body,
        wrapped_mac_key: wrapped,
        mac,
    }
}

pub fn dgi(number: u16) -> Dgi {
    Dgi(number)
}
