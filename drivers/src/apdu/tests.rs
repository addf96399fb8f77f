//! Command TPDUs as ISO/IEC 7816-3, 12.2 makes them from APDUs, and the sequences of EMV Book 1, 9.3.1.2 and
//! annex A, by hand.

use super::*;
use Protocol::{T0, T1};

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// Plays a card that gives these responses in turn; returns the commands sent and the whole response.
fn play(protocol: Protocol, apdu: &str, responses: &[&str]) -> (Vec<String>, String) {
    let apdu = hex(apdu);
    let mut exchange = ApduExchange::new(protocol, &apdu);
    let mut sent = Vec::new();
    let mut responses = responses.iter();
    while let Some(command) = exchange.pending() {
        sent.push(hex::encode_upper(command));
        let response = responses.next().expect("more is sent than the card expects");
        exchange.answer(&hex(response));
    }
    assert_eq!(responses.next(), None, "less is sent than the card expects: {sent:?}");
    (sent, hex::encode_upper(exchange.take_response()))
}

/// SELECT of the PSE, and INITIALIZE UPDATE: commands of case 4.
const SELECT: &str = "00A404000E315041592E5359532E444446303100";
const SELECT_TPDU: &str = "00A404000E315041592E5359532E4444463031";
const INITIALIZE: &str = "8050000008010203040506070800";
const INITIALIZE_TPDU: &str = "80500000080102030405060708";
/// GET DATA of KEYDATA, a command of case 2.
const GET_DATA: &str = "80CA00CF00";

/// ISO/IEC 7816-3, 12.2: case, command APDU, command TPDU of T=0.
#[test]
fn command_tpdus_of_t0() {
    let data = |n: usize| "5A".repeat(n);
    for (case, apdu, tpdu) in [
        ("1", "84FE0102".to_owned(), "84FE010200".to_owned()),
        ("2", "00B2010C00".into(), "00B2010C00".into()),
        ("2", "00B2010CFF".into(), "00B2010CFF".into()),
        ("3", "84E28000010A".into(), "84E28000010A".into()),
        ("3, longest", format!("84E28000FF{}", data(255)), format!("84E28000FF{}", data(255))),
        ("4", SELECT.into(), SELECT_TPDU.into()),
        ("4", INITIALIZE.into(), INITIALIZE_TPDU.into()),
        ("4, Le 1C", INITIALIZE_TPDU.to_owned() + "1C", INITIALIZE_TPDU.into()),
        ("4, Le as Lc", "00A40400010101".into(), "00A404000101".into()),
        ("4, longest", format!("80CA0000FF{}00", data(255)), format!("80CA0000FF{}", data(255))),
        ("2E", "80CA00CF00000C".into(), "80CA00CF0C".into()),
        ("2E, 256", "80CA00CF000100".into(), "80CA00CF00".into()),
        ("2E, 65536", "80CA00CF000000".into(), "80CA00CF00".into()),
        ("3E", "84E280000000010A".into(), "84E28000010A".into()),
        ("4E", "00A4040000000211220000".into(), "00A40400021122".into()),
        ("4E, longest", format!("00A404000000FF{}0100", data(255)), format!("00A40400FF{}", data(255))),
    ] {
        assert_eq!(play(T0, &apdu, &["9000"]), (vec![tpdu], "9000".into()), "case {case}");
    }
}

/// What T=0 cannot carry, or is no command, is not cut to a form that a card would carry out.
#[test]
fn other_bytes_are_not_made_a_command() {
    let long = "5A".repeat(256);
    for bytes in [
        "".to_owned(),
        "00A404".into(),
        "00A40400021100220033".into(),
        "00A4040002".to_owned() + "11",
        "00A404000011".into(),
        "00A4040000000211".into(),
        "00A40400000002112233".into(),
        "00A4040000000000".into(),
        "00A40400000000112233".into(),
        format!("84E28000000100{long}"),
        format!("84E28000000100{long}0000"),
    ] {
        assert_eq!(play(T0, &bytes, &["6700"]).0, [bytes.as_str()], "{bytes}");
        assert_eq!(play(T1, &bytes, &["6700"]).0, [bytes.as_str()], "{bytes}");
    }
}

/// EMV Book 1, 9.3.1.2: 61xx and 6Cxx in the orders that a card may give them, over T=0.
#[test]
fn answers_are_fetched_in_every_order() {
    for (apdu, responses, sent, whole) in [
        // Case 4: 61xx, the usual one.
        (INITIALIZE, &["6102", "AABB9000"][..], &[INITIALIZE_TPDU, "00C0000002"][..], "AABB9000"),
        // 6Cxx to GET RESPONSE: the same header with xx.
        (SELECT, &["6100", "6C03", "AABBCC9000"], &[SELECT_TPDU, "00C0000000", "00C0000003"], "AABBCC9000"),
        // In pieces.
        (
            SELECT,
            &["6102", "AABB6101", "CC6102", "DDEE9000"],
            &[SELECT_TPDU, "00C0000002", "00C0000001", "00C0000002"],
            "AABBCCDDEE9000",
        ),
        // In pieces, the last of which has another length than was announced.
        (
            SELECT,
            &["6102", "AABB6100", "6C01", "CC9000"],
            &[SELECT_TPDU, "00C0000002", "00C0000000", "00C0000001"],
            "AABBCC9000",
        ),
        // Case 2: 6Cxx, the usual one; then 61xx; then 6Cxx again.
        (GET_DATA, &["6C02", "AABB9000"], &[GET_DATA, "80CA00CF02"], "AABB9000"),
        (GET_DATA, &["6C02", "AABB6101", "CC9000"], &[GET_DATA, "80CA00CF02", "00C0000001"], "AABBCC9000"),
        (
            GET_DATA,
            &["6C02", "6102", "6C01", "AA9000"],
            &[GET_DATA, "80CA00CF02", "00C0000002", "00C0000001"],
            "AA9000",
        ),
        (GET_DATA, &["6102", "AABB9000"], &[GET_DATA, "00C0000002"], "AABB9000"),
        (GET_DATA, &["6C03", "6C02", "AABB9000"], &[GET_DATA, "80CA00CF03", "80CA00CF02"], "AABB9000"),
        // Data of 256 bytes: xx = 00.
        (GET_DATA, &["6C00"], &[GET_DATA], "6C00"),
        // A status word other than 9000 at the end.
        (SELECT, &["6102", "AABB6283"], &[SELECT_TPDU, "00C0000002"], "AABB6283"),
        (SELECT, &["6102", "6F00"], &[SELECT_TPDU, "00C0000002"], "6F00"),
        (SELECT, &["6A82"], &[SELECT_TPDU], "6A82"),
        // Case 3: STORE DATA with a response (P1 b1).
        ("80E2810001AA", &["6101", "BB9000"], &["80E2810001AA", "00C0000001"], "BB9000"),
    ] {
        let (sent, whole) = (sent.iter().map(|s| (*s).to_owned()).collect(), whole.to_owned());
        assert_eq!(play(T0, apdu, responses), (sent, whole), "{responses:?}");
    }
}

/// 6Cxx names a wrong Le. Where no Le was sent, another P3 would be another Lc: the command could be carried
/// out with other data, and a wrapped one would break the chain of its MACs.
#[test]
fn a_wrong_le_is_not_corrected_where_there_is_none() {
    let store = "84E200001B010110700E5A0847617390010101195F3401014A17288F44815ECC";
    for apdu in [store, SELECT, INITIALIZE, "84FE0102"] {
        let (sent, whole) = play(T0, apdu, &["6C1C"]);
        assert_eq!((sent.len(), whole.as_str()), (1, "6C1C"), "{apdu}");
    }
    for apdu in [store, "84FE0102"] {
        assert_eq!(play(T1, apdu, &["6C1C"]), (vec![apdu.to_owned()], "6C1C".into()));
    }
    // The Le that the card asks for was already sent.
    assert_eq!(play(T0, "80CA00CF0C", &["6C0C"]).0.len(), 1);
    assert_eq!(
        play(T0, SELECT, &["6103", "6C03"]),
        (vec![SELECT_TPDU.into(), "00C0000003".into()], "6C03".into())
    );
}

#[test]
fn over_t1_a_command_keeps_its_le() {
    assert_eq!(play(T1, SELECT, &["AABB9000"]), (vec![SELECT.into()], "AABB9000".into()));
    assert_eq!(play(T1, "84FE0102", &["9000"]).0, ["84FE0102"]);
    let extended = "00A4040000000211220000";
    assert_eq!(play(T1, extended, &["9000"]).0, [extended]);
    // Case 4: a wrong Le is that of the whole command. 61xx is followed as over T=0.
    let corrected = INITIALIZE_TPDU.to_owned() + "1C";
    assert_eq!(play(T1, INITIALIZE, &["6C1C", "AA9000"]).0, [INITIALIZE.to_owned(), corrected]);
    let (sent, whole) = play(T1, SELECT, &["AA6101", "6C02", "BBCC9000"]);
    assert_eq!(sent, [SELECT, "00C0000001", "00C0000002"]);
    assert_eq!(whole, "AABBCC9000");
}

/// A card without an end costs a bounded number of commands, and gives no data that could pass for an answer.
#[test]
fn the_following_ends() {
    for (first, then) in [
        (&["61FF"][..], &["AA61FF"][..]),
        (&["6100"], &["6100"]),
        (&["6101"], &["6C02", "6C01"]),
        (&["6101"], &["6C02", "AABB6101"]),
    ] {
        let apdu = hex(SELECT);
        let mut exchange = ApduExchange::new(T0, &apdu);
        let mut sent = 0;
        let mut answers = first.iter().chain(then.iter().cycle());
        while exchange.pending().is_some() {
            sent += 1;
            assert!(sent < 100, "no end");
            exchange.answer(&hex(answers.next().unwrap()));
        }
        assert_eq!(sent, 1 + FOLLOWING_MAX, "{then:?}");
        assert_eq!(exchange.take_response().len(), 2);
    }
    // Over T=1 a part can be long.
    let apdu = hex(SELECT);
    let mut exchange = ApduExchange::new(T1, &apdu);
    exchange.answer(&[vec![0; 65_000], hex("6100")].concat());
    exchange.answer(&[vec![0; 65_000], hex("6100")].concat());
    assert_eq!(exchange.pending(), None);
    assert_eq!(exchange.take_response(), hex("6100"));
}

#[test]
fn bytes_without_a_status_word_stay_recognizable() {
    for nothing in ["", "90"] {
        assert_eq!(play(T0, SELECT, &[nothing]).1, nothing);
        assert_eq!(play(T0, SELECT, &["6102", "AABB6101", nothing]).1, nothing);
    }
}
