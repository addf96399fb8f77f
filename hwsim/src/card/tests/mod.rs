//! The card against published vectors, a hand-written host, a terminal, and wrong inputs.

mod channel;
mod host;
mod hostile;
mod loading;
mod restore;
mod signing;
mod terminal;
mod transaction;
mod vectors;

use super::{BlankSpec, SimulatedCard};
use host::TestHost;

/// KMC of the published test vectors (GPPro `TestPlaintextKeys`).
const KMC: [u8; 16] = *b"@ABCDEFGHIJKLMNO";
/// T=1: a test sees answers whole. T=0 has tests of its own, in `t0`.
const ATR: &str = "3BE000008131204535";

const PSE: &str = "315041592E5359532E4444463031";
const PAYMENT: &str = "A0000000031010";
const PURSE: &str = "F043575055525345";
const LOYALTY: &str = "F043574C4F59414C";

/// DGIs of the worked example of CPS personalization in `vectors.rs`; the KCVs are those of the keys there.
const RECORD: &str = "700E5A0847617390010101195F340101";
/// CDOL1 of 29 bytes, CDOL2 of 31 bytes.
const CDOLS: &str = "70308C159F02069F03069F1A0295055F2A029A039C019F3704\
                     8D178A029F02069F03069F1A0295055F2A029A039C019F3704";
const UDKS: &str =
    "0123456789ABCDEFFEDCBA987654321011223344556677888877665544332211A1A2A3A4A5A6A7A8B1B2B3B4B5B6B7B8";
const UDK_KCVS: &str = "08D7B44915107B217F";
const CRT_PADDED: &str = "00112233445566778899AABBCCDDEEFF0102030405060708090A0B0C0D0E0F1011800000000000\
                          00";

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn blank(scp02_i: u8) -> BlankSpec {
    let key_data = *hex("FFFFFF47617301020304").first_chunk().unwrap();
    BlankSpec { key_data, version: 1, kmc: KMC, scp02_i, atr: hex(ATR), seed: 7 }
}

/// A powered card.
fn card() -> SimulatedCard {
    let mut card = SimulatedCard::new(blank(0x55));
    assert_eq!(card.power_on(), Some(hex(ATR)));
    card
}

/// A powered card of the worked example: i = 15, sequence 0001, card challenge 112233445566.
fn example_card() -> SimulatedCard {
    let mut card = SimulatedCard::new(blank(0x15));
    card.sequence = 1;
    card.fixed_challenge = Some([0x11, 0x22, 0x33, 0x44, 0x55, 0x66]);
    card.power_on();
    card
}

/// Sends a command in hex; returns data and status word of the answer, the data in hex.
fn send(card: &mut SimulatedCard, apdu: &str) -> (String, u16) {
    split(card.transmit(&hex(apdu)).unwrap())
}

fn split(answer: Vec<u8>) -> (String, u16) {
    let (data, sw) = answer.split_last_chunk::<2>().unwrap();
    (hex::encode_upper(data), u16::from_be_bytes(*sw))
}

fn sw(card: &mut SimulatedCard, apdu: &str) -> u16 {
    send(card, apdu).1
}

fn select(card: &mut SimulatedCard, aid: &str) {
    assert_eq!(sw(card, &format!("00A40400{:02X}{aid}00", aid.len() / 2)), 0x9000);
}

/// DGI, length and value in hex.
fn dgi(number: &str, value: &str) -> String {
    match value.len() / 2 {
        n @ 0..0xFF => format!("{number}{n:02X}{value}"),
        n => format!("{number}FF{n:04X}{value}"),
    }
}

/// The state and the DGIs of one application in the dump.
fn dump(card: &SimulatedCard, aid: &str) -> (String, serde_json::Value) {
    let dump = card.chip_dump();
    let all = dump["applications"].as_array().unwrap();
    let one = all.iter().find(|a| a["aid"] == aid).unwrap();
    (one["state"].as_str().unwrap().to_owned(), one["dgis"].clone())
}

/// Personalizes the payment application at a level, one DGI per command.
fn personalize_payment(card: &mut SimulatedCard, level: u8) {
    let mut host = TestHost::open(card, PAYMENT, level);
    for (number, value, secret) in payment_dgis() {
        assert_eq!(host.store(card, number, value, secret, number == "9000"), 0x9000, "{number}");
    }
}

/// A card with a PERSONALIZED payment application, which is selected.
fn payment() -> SimulatedCard {
    let mut card = card();
    personalize_payment(&mut card, 3);
    card.power_on();
    select(&mut card, PAYMENT);
    card
}

fn payment_dgis() -> Vec<(&'static str, &'static str, bool)> {
    vec![
        ("0101", RECORD, false),
        ("0204", CDOLS, false),
        ("0B01", "FACE", false),
        ("3000", "9F36020007", false),
        ("9102", "A50450025445", false),
        ("9104", "82023C00940408010100", false),
        ("9010", "0303", false),
        ("8010", "241234FFFFFFFFFF", true),
        ("8000", UDKS, true),
        ("8205", CRT_PADDED, true),
        ("9000", UDK_KCVS, false),
    ]
}
