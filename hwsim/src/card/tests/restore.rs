//! A chip that is put back from a dump.

use serde_json::json;

use super::*;
use crate::blank::{BlankFate, SimulatedBlank};
use crate::dump::DumpedChip;
use crate::profile::{BlankSupply, SimLineProfile, StripeCoercivity};

/// A dump's object with the parts that are read.
fn dumped(card: &SimulatedCard) -> String {
    json!({ "simulated": true, "n": 4, "keydata": "FFFFFF47617301020304", "chip": card.chip_dump() })
        .to_string()
}

fn supply() -> BlankSupply {
    SimLineProfile::load("sim-8").unwrap().sim.blanks[0].clone()
}

#[test]
fn every_application_stands_as_it_was() {
    let mut card = payment();
    let mut host = TestHost::open(&mut card, LOYALTY, 1);
    assert_eq!(host.store(&mut card, "A001", "0102", false, false), 0x9000);
    let chip = DumpedChip::parse(&dumped(&card)).unwrap();
    let supply = supply();
    assert!(chip.is_from(&supply));
    let mut again = chip.card(&supply, 5).unwrap();
    assert_eq!(again.chip_dump(), card.chip_dump());
    assert_eq!(again.transmit(&hex("00A4040000")), None, "no power yet");
    assert_eq!(again.power_on(), Some(supply.atr.clone()));
    assert_eq!(again.power_on().map(hex::encode_upper).as_deref(), Some("3B751300005443415244"));
    let mut again = SimulatedCard::new(blank(0x55));
    again.restore(&card.chip_dump()).unwrap();
    assert_eq!(again.power_on(), Some(hex(ATR)));
    select(&mut again, PAYMENT);
    select(&mut card, PAYMENT);
    for command in [
        "00B2010C00",
        "80CA9F3600",
        "80CA9F1700",
        "80A8000002830000",
        "0020008008241234FFFFFFFFFF",
        "80AE80001D000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C00",
    ] {
        assert_eq!(send(&mut again, command), send(&mut card, command), "{command}");
    }
    // The application that was not finished takes its other DGIs.
    let mut host = TestHost::open(&mut again, LOYALTY, 1);
    assert_eq!(host.store(&mut again, "0101", "7000", false, false), 0x9000);
    assert_eq!(host.store(&mut again, "9102", "A500", false, true), 0x9000);
    let mut host = TestHost::open(&mut again, PAYMENT, 1);
    assert_eq!(host.store(&mut again, "0101", RECORD, false, false), 0x6985, "PERSONALIZED");
}

#[test]
fn the_object_of_the_witness_is_read() {
    let mut plastic = SimulatedBlank::new(1, blank(0x55), StripeCoercivity::Hico, vec![]);
    plastic.chip.restore(&payment().chip_dump()).unwrap();
    let chip = DumpedChip::parse(&plastic.witness(&BlankFate::Left).to_string()).unwrap();
    assert_eq!(chip.key_data, plastic.keydata);
    assert_eq!(chip.card(&supply(), 1).unwrap().chip_dump(), plastic.chip.chip_dump());
}

#[test]
fn a_wrong_bit_comes_back_too() {
    let mut corrupt = card();
    corrupt.force(crate::card::ForcedFault::Corrupt);
    personalize_payment(&mut corrupt, 3);
    let mut again = card();
    again.restore(&corrupt.chip_dump()).unwrap();
    assert_eq!(again.chip_dump(), corrupt.chip_dump());
    assert_eq!(again.transmit(&hex("00A4040000")), None, "restoring takes the power off");
}

#[test]
fn a_dump_that_no_card_can_be_is_refused() {
    let object = dumped(&payment());
    for (from, to, said) in [
        ("\"simulated\":true", "\"simulated\":false", "simulated card"),
        (",\"simulated\":true", "", "simulated"),
        ("FFFFFF47617301020304", "FFFFFF476173010203", "keydata"),
        ("FFFFFF47617301020304", "FFFFFF4761730102030X", "keydata"),
        ("{", "", "line 1"),
    ] {
        let bad = object.replacen(from, to, 1);
        assert_ne!(bad, object);
        let error = format!("{:#}", DumpedChip::parse(&bad).err().unwrap());
        assert!(error.contains(said), "{from}: {error}");
    }
    for (from, to, said) in [
        ("\"aid\":\"A0000000031010\"", "\"aid\":\"A0000000041010\"", "A0000000041010"),
        ("\"aid\":\"F043574C4F59414C\"", "\"aid\":\"F043575055525345\"", "twice"),
        ("\"PERSONALIZED\"", "\"BLOCKED\"", "BLOCKED"),
        ("\"0B01\":\"FACE\"", "\"A001\":\"FACE\"", "no DGI A001"),
        ("\"0B01\":\"FACE\"", "\"0b01\":\"FACE\"", "no DGI 0b01"),
        ("\"0B01\":\"FACE\"", "\"+B01\":\"FACE\"", "no DGI +B01"),
        ("\"0B01\":\"FACE\"", "\"0B01\":\"FAC\"", "not hex"),
        ("\"0B01\":\"FACE\"", "\"0B01\":7", "invalid type"),
        ("\"8000\":", "\"8010\":", "PERSONALIZED without"),
        ("\"applications\":", "\"application\":", "application"),
    ] {
        let bad = object.replacen(from, to, 1);
        assert_ne!(bad, object, "{from}");
        let chip = DumpedChip::parse(&bad).unwrap();
        let error = format!("{:#}", chip.card(&supply(), 1).err().unwrap());
        assert!(error.contains(said), "{to}: {error}");
    }
    // An error changes nothing.
    let mut card = payment();
    let before = card.chip_dump();
    assert!(card.restore(&json!({ "applications": [{ "aid": "00" }] })).is_err());
    assert_eq!(card.chip_dump(), before);
    assert_eq!(sw(&mut card, "80A8000002830000"), 0x9000);
}
