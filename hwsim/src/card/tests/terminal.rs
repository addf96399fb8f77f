//! Reads a personalized card as a terminal does.

use super::*;

#[test]
fn before_personalization_only_a_minimal_fci() {
    let mut card = card();
    let fci = "6F0B8407A0000000031010A500";
    assert_eq!(send(&mut card, "00A4040007A000000003101000"), (fci.into(), 0x9000));
    let mut host = TestHost::open(&mut card, PAYMENT, 0);
    assert_eq!(host.store(&mut card, "9102", "A50450025445", false, false), 0x9000);
    assert_eq!(host.store(&mut card, "0101", RECORD, false, false), 0x9000);
    assert_eq!(send(&mut card, "00A4040007A0000000031010"), (fci.into(), 0x9000));
    for command in [
        "00B2010C00",
        "80A80000028300",
        "80CA9F3600",
        "0020008008241234FFFFFFFFFF",
        "00880000040102030400",
        "80AE80000100",
    ] {
        assert_eq!(send(&mut card, command), (String::new(), 0x6985), "{command}");
    }
}

#[test]
fn select_and_records() {
    let mut card = payment();
    assert_eq!(
        send(&mut card, "00A4040007A000000003101000"),
        ("6F0F8407A0000000031010A50450025445".into(), 0x9000)
    );
    assert_eq!(send(&mut card, "00B2010C00"), (RECORD.into(), 0x9000));
    assert_eq!(send(&mut card, "00B2015C00"), ("FACE".into(), 0x9000));
    for (command, answer) in [
        ("00B2020C00", 0x6A83),
        ("00B2011400", 0x6A83),
        ("00B2011C00", 0x6A82),
        ("00B2000C00", 0x6A86),
        ("00B2010800", 0x6A86),
        ("00B2010400", 0x6A86),
        ("00B201FC00", 0x6A86),
        ("80B2010C00", 0x6D00),
    ] {
        assert_eq!(sw(&mut card, command), answer, "{command}");
    }
    for (aid, answer) in [("A00000000310", 0x6A82), ("A000000003101000", 0x6A82)] {
        assert_eq!(sw(&mut card, &format!("00A40400{:02X}{aid}", aid.len() / 2)), answer);
    }
    assert_eq!(sw(&mut card, "00A4000007A0000000031010"), 0x6A86);
}

#[test]
fn a_corrupt_record_differs_in_its_last_bit_from_personalization_on() {
    let mut card = card();
    card.force(crate::card::ForcedFault::Corrupt);
    personalize_payment(&mut card, 3);
    card.power_on();
    select(&mut card, PAYMENT);
    let mut wrong = hex(RECORD);
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(send(&mut card, "00B2010C00"), (hex::encode_upper(wrong), 0x9000));
    assert_eq!(send(&mut card, "00B2015C00"), ("FACE".into(), 0x9000));
}

#[test]
fn verify_counts_tries() {
    let mut card = payment();
    let (right, wrong) = ("0020008008241234FFFFFFFFFF", "0020008008241235FFFFFFFFFF");
    let tries = |card: &mut SimulatedCard| send(card, "80CA9F1700").0;
    assert_eq!(tries(&mut card), "9F170103");
    assert_eq!(sw(&mut card, wrong), 0x63C2);
    assert_eq!(sw(&mut card, right), 0x9000);
    assert_eq!(tries(&mut card), "9F170103");
    assert_eq!(sw(&mut card, "0020008108241234FFFFFFFFFF"), 0x6A86);
    assert_eq!(sw(&mut card, "002000800424123400"), 0x6700);
    for answer in [0x63C2, 0x63C1, 0x63C0, 0x6983] {
        assert_eq!(sw(&mut card, wrong), answer);
        card.power_on();
        select(&mut card, PAYMENT);
    }
    assert_eq!(sw(&mut card, right), 0x6983);
    assert_eq!(tries(&mut card), "9F170100");
}

#[test]
fn purse_and_loyalty_and_pse_read_back() {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PURSE, 3);
    let purse = "700BDF030400001000DF070109";
    for (number, value, secret) in
        [("0101", purse, false), ("8020", &UDKS[..64], true), ("9020", "08D7B4491510", false)]
    {
        assert_eq!(host.store(&mut card, number, value, secret, number == "9020"), 0x9000);
    }
    assert_eq!(send(&mut card, "00B2010C00"), (purse.into(), 0x9000));
    for command in ["80A8000002830000", "00880000040102030400", "80AE80000100", "0020008008241234FFFFFFFFFF"]
    {
        assert_eq!(sw(&mut card, command), 0x6D00, "no payment application");
    }
    let mut host = TestHost::open(&mut card, PSE, 1);
    // Each in one STORE DATA, as in the personalization of a real PSE.
    assert_eq!(
        host.raw(&mut card, 0, "01011C701A61184F07A0000000041010500A4D617374657263617264870101"),
        0x9000
    );
    assert_eq!(host.raw(&mut card, 0x80, "91020EA50C8801015F2D02656E9F110101"), 0x9000);
    assert_eq!(
        send(&mut card, &format!("00A404000E{PSE}00")).0,
        format!("6F1E840E{PSE}A50C8801015F2D02656E9F110101")
    );
    assert_eq!(send(&mut card, "00B2010C00").0, "701A61184F07A0000000041010500A4D617374657263617264870101");
}

#[test]
fn secret_dgis_cannot_be_read() {
    let mut card = payment();
    let secrets = [&UDKS[..32], &UDKS[32..64], &UDKS[64..], "241234", &CRT_PADDED[..32]];
    for (cla, ins) in [(0x00, 0xB2), (0x00, 0xCA), (0x80, 0xCA), (0x00, 0xB0)] {
        for p1p2 in 0..=u16::MAX {
            let [p1, p2] = p1p2.to_be_bytes();
            let (data, _) = split(card.transmit(&[cla, ins, p1, p2, 0]).unwrap());
            assert!(!secrets.iter().any(|s| data.contains(s)), "{ins:02X} {p1p2:04X}");
        }
    }
}
