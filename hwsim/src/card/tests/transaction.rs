//! Transactions without signatures: stages, lengths of the terminal's values, cryptograms.

use super::super::{tdes, transaction};
use super::*;

const OPTIONS: &str = "80A8000002830000";

/// GENERATE AC with this P1 and the bytes 00, 01, 02 .. as values.
fn generate(p1: &str, length: usize) -> String {
    let values: String = (0..length).map(|byte| format!("{byte:02X}")).collect();
    format!("80AE{p1}00{length:02X}{values}00")
}

/// A personalized and selected card with other DGIs of the payment application in place of some, or besides
/// them.
fn payment_with(changes: &[(&'static str, &'static str)]) -> SimulatedCard {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PAYMENT, 0);
    let usual = payment_dgis().into_iter().filter(|(number, ..)| changes.iter().all(|(n, _)| n != number));
    let changed = changes.iter().filter(|(_, value)| !value.is_empty());
    let all: Vec<_> = changed.map(|(number, value)| (*number, *value, false)).chain(usual).collect();
    for (number, value, secret) in all {
        assert_eq!(host.store(&mut card, number, value, secret, number == "9000"), 0x9000, "{number}");
    }
    select(&mut card, PAYMENT);
    card
}

#[test]
fn get_processing_options_begins_a_transaction() {
    let mut card = payment();
    assert_eq!(send(&mut card, "80CA9F3600"), ("9F36020007".into(), 0x9000), "as personalized in 3000");
    assert_eq!(send(&mut card, "80CA9F1300"), ("9F13020000".into(), 0x9000));
    for (command, answer) in [
        ("80A8000102830000", 0x6A86),
        ("80A8010002830000", 0x6A86),
        ("80A80000", 0x6A80),
        ("80A8000002840000", 0x6A80),
        ("80A8000003830000", 0x6A80),
        ("80A80000018300", 0x6A80),
        ("80A8000003830100", 0x6700),
        ("00A8000002830000", 0x6D00),
    ] {
        assert_eq!(sw(&mut card, command), answer, "{command}");
    }
    assert_eq!(send(&mut card, "80CA9F3600").0, "9F36020007", "a refused command changes no counter");
    assert_eq!(send(&mut card, OPTIONS), ("770A82023C00940408010100".into(), 0x9000));
    assert_eq!(send(&mut card, "80CA9F3600").0, "9F36020008");
    assert_eq!(sw(&mut card, OPTIONS), 0x6985, "one transaction for each SELECT");
    select(&mut card, PAYMENT);
    assert_eq!(sw(&mut card, OPTIONS), 0x9000);
    assert_eq!(send(&mut card, "80CA9F3600").0, "9F36020009");
}

#[test]
fn values_of_the_pdol_have_its_length() {
    // PDOL: 9F1A 02, 95 05.
    let mut card = payment_with(&[("9102", "A50C500254459F38059F1A029505")]);
    for (command, answer) in [
        (OPTIONS, 0x6700),
        ("80A80000088306010203040506", 0x6700),
        ("80A800000A83080102030405060708", 0x6700),
        ("80A8000009830701020304050607", 0x9000),
    ] {
        assert_eq!(sw(&mut card, command), answer, "{command}");
    }
    // A list that ends inside an entry.
    let mut card = payment_with(&[("9102", "A50B500254459F38049F1A0295")]);
    assert_eq!(sw(&mut card, OPTIONS), 0x6985);
}

#[test]
fn an_atc_at_its_end_begins_no_transaction() {
    let mut card = payment_with(&[("3000", "9F3602FFFE")]);
    assert_eq!(sw(&mut card, OPTIONS), 0x9000);
    select(&mut card, PAYMENT);
    assert_eq!(sw(&mut card, OPTIONS), 0x6985);
    assert_eq!(send(&mut card, "80CA9F3600").0, "9F3602FFFF");
}

#[test]
fn without_options_there_is_no_transaction() {
    let mut card = payment_with(&[("9104", "")]);
    assert_eq!(sw(&mut card, OPTIONS), 0x6985);
    assert_eq!(send(&mut card, "80CA9F3600").0, "9F36020007");
}

/// The cryptograms are retail MACs of 00, 01 .. | AIP | ATC under the session key of UDK-AC and the ATC, both
/// computed with `openssl enc` (3.0, -des-ede and -des-ede3-cbc).
#[test]
fn openssl_cryptograms() {
    let mut card = payment();
    assert_eq!(sw(&mut card, OPTIONS), 0x9000);
    let first = "77149F2701809F360200089F260863C2AC12CA98271D";
    assert_eq!(send(&mut card, &generate("80", 29)), (first.into(), 0x9000));
    let second = "77149F2701409F360200089F260837423A3ACA2E07D8";
    assert_eq!(send(&mut card, &generate("40", 31)), (second.into(), 0x9000));

    let mut card = payment_with(&[("3000", ""), ("3001", "9F100706010A03A00000")]);
    assert_eq!(sw(&mut card, OPTIONS), 0x9000);
    let first = "771E9F2701009F360200019F26083AB00F0B5E02C8969F100706010A03A00000";
    assert_eq!(send(&mut card, &generate("00", 29)), (first.into(), 0x9000));
}

/// Values of pyemv (PyPI), which gives its keys odd parity.
#[test]
fn pyemv_session_keys_and_cryptograms() {
    let cases = [
        (
            "ABE6798F1F62209B341CEF37737CC161",
            [0xCA, 0x89],
            "7A617FA86DA8ECBA4AAE1FEF25792FBA",
            "5A3A5B942AE1E26A26CC5BF6F989A3F066ECA29B4D2F0A665501927B2472330C5E",
            "E5756A6BE6C91830",
        ),
        (
            "25753DC8917FE53D5767A4985D89BA6E",
            [0x85, 0x39],
            "83D598EA4020A2F4B3AB58F7150B4A97",
            "BD556D71814D5DA119FEEAD1B76A2FC0324243C43525B3F1C18983B33507AEFC20",
            "BC7BCA1C5C87962F",
        ),
        (
            "F1D0D526137379432F8CAD51206D7002",
            [0x8F, 0x64],
            "868C8002FD0BA2254C7557154020FD89",
            "96A6D4FD9B322A2A3E3670476BA7AC4DAF9C0DAB6DD5F423752C6DC4583BEB719B",
            "CE866E64D976E27C",
        ),
        (
            "15EC49D549F7B934459DDC8F546DAB23",
            [0xBA, 0x8D],
            "9B3120C232E016020BC28A6DC1D57F2F",
            "BE2395AC2D00C48E1603A8DABDA8C33956D210E53514DCA61DC412AA8DAB1BE681",
            "AA270CE4A267C098",
        ),
    ];
    for (card_key, atc, session, data, cryptogram) in cases {
        let key = transaction::session_key(&TestHost::clear_key(card_key), atc);
        let without_parity = |key: Vec<u8>| key.into_iter().map(|byte| byte & 0xFE).collect::<Vec<_>>();
        assert_eq!(without_parity(key.to_vec()), without_parity(hex(session)));
        assert_eq!(tdes::retail_mac(&key, [0; 8], &hex(data)).to_vec(), hex(cryptogram));
    }
}

#[test]
fn generate_ac_wrong_forms() {
    let mut card = payment();
    assert_eq!(sw(&mut card, &generate("80", 29)), 0x6985, "no GET PROCESSING OPTIONS yet");
    assert_eq!(sw(&mut card, OPTIONS), 0x9000);
    for p1 in ["C0", "D0", "81", "A0", "88", "01", "20"] {
        assert_eq!(sw(&mut card, &generate(p1, 29)), 0x6A86, "{p1}");
    }
    assert_eq!(sw(&mut card, &generate("80", 29).replacen("AE8000", "AE8001", 1)), 0x6A86);
    for length in [1, 28, 30, 31] {
        assert_eq!(sw(&mut card, &generate("80", length)), 0x6700, "{length}");
    }
    assert_eq!(sw(&mut card, "80AE800000"), 0x6700);
    assert_eq!(sw(&mut card, &generate("80", 29).replacen("80AE", "00AE", 1)), 0x6D00);
    // Refused commands have changed nothing.
    assert_eq!(sw(&mut card, &generate("80", 29)), 0x9000);
}

#[test]
fn at_most_two_cryptograms_and_no_second_arqc() {
    for (first, second, third) in [
        ("80", Some(("40", 0x9000)), 0x6985),
        ("80", Some(("00", 0x9000)), 0x6985),
        ("40", None, 0x6985),
        ("00", None, 0x6985),
    ] {
        let mut card = payment();
        assert_eq!(sw(&mut card, OPTIONS), 0x9000);
        assert_eq!(sw(&mut card, &generate(first, 29)), 0x9000);
        if let Some((kind, answer)) = second {
            assert_eq!(sw(&mut card, &generate("80", 31)), 0x6985, "an ARQC comes first or never");
            assert_eq!(sw(&mut card, &generate(kind, 29)), 0x6700, "CDOL2 is longer");
            assert_eq!(sw(&mut card, &generate(kind, 31)), answer);
        }
        for kind in ["80", "40", "00"] {
            assert_eq!(sw(&mut card, &generate(kind, 31)), third);
            assert_eq!(sw(&mut card, &generate(kind, 29)), third);
        }
        assert_eq!(sw(&mut card, OPTIONS), 0x6985);
        select(&mut card, PAYMENT);
        assert_eq!(sw(&mut card, &generate("80", 29)), 0x6985, "SELECT starts anew");
        assert_eq!(sw(&mut card, OPTIONS), 0x9000);
        assert_eq!(sw(&mut card, &generate("80", 29)), 0x9000);
    }
}

#[test]
fn power_off_ends_a_transaction() {
    let mut card = payment();
    assert_eq!(sw(&mut card, OPTIONS), 0x9000);
    card.power_on();
    select(&mut card, PAYMENT);
    assert_eq!(sw(&mut card, &generate("80", 29)), 0x6985);
}

#[test]
fn a_card_without_its_lists_gives_no_cryptogram() {
    for record in ["", "700A8C049F0206958D029A03"] {
        let mut card = payment_with(&[("0204", record)]);
        assert_eq!(sw(&mut card, OPTIONS), 0x9000);
        assert_eq!(sw(&mut card, &generate("80", 29)), 0x6985, "{record}");
    }
    // CDOL1 alone: the first cryptogram, but no second.
    let mut card = payment_with(&[("0204", "70058C039F3704")]);
    assert_eq!(sw(&mut card, OPTIONS), 0x9000);
    assert_eq!(sw(&mut card, &generate("80", 4)), 0x9000);
    assert_eq!(sw(&mut card, &generate("40", 4)), 0x6985);
}

#[test]
fn what_the_interchange_profile_does_not_offer_is_refused() {
    // AIP 1C00: neither DDA nor CDA; the key is of no use.
    let mut card = payment_with(&[("9104", "82021C00940408010100")]);
    assert_eq!(sw(&mut card, "00880000040102030400"), 0x6985, "no transaction yet");
    assert_eq!(sw(&mut card, OPTIONS), 0x9000);
    assert_eq!(sw(&mut card, "00880000040102030400"), 0x6985);
    for p1 in ["90", "50"] {
        assert_eq!(sw(&mut card, &generate(p1, 29)), 0x6985);
    }
    assert_eq!(sw(&mut card, &generate("10", 29)), 0x9000, "an AAC is never signed");
}
