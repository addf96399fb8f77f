//! STORE DATA and SET STATUS: the accepted commands, and the status words of the refused ones.

use super::*;

/// Sends single DGIs to a fresh application, in order, and checks their status words: `(aid, [(DGI, value,
/// secret, SW)])`.
fn check(aid: &str, steps: &[(&str, &str, bool, u16)]) -> SimulatedCard {
    let mut card = card();
    let mut host = TestHost::open(&mut card, aid, 1);
    for (number, value, secret, answer) in steps {
        let before = card.chip_dump();
        assert_eq!(host.store(&mut card, number, value, *secret, false), *answer, "{aid} {number} {value}");
        assert_eq!(
            before == card.chip_dump(),
            *answer != 0x9000,
            "{aid} {number} {value}: refused is not stored"
        );
    }
    card
}

#[test]
fn every_level_loads_the_payment_application() {
    for level in [0, 1, 3] {
        let mut card = card();
        personalize_payment(&mut card, level);
        let (state, dgis) = dump(&card, PAYMENT);
        assert_eq!(state, "PERSONALIZED");
        let expected: serde_json::Map<_, _> =
            payment_dgis().into_iter().map(|(number, value, _)| (number.to_owned(), value.into())).collect();
        assert_eq!(dgis, serde_json::Value::from(expected));
        assert_eq!(card.writes(), 11);
    }
}

#[test]
fn dump_names_the_four_applications() {
    let empty = |aid| serde_json::json!({ "aid": aid, "state": "SELECTABLE", "dgis": {} });
    assert_eq!(
        card().chip_dump(),
        serde_json::json!({ "applications": [empty(PSE), empty(PAYMENT), empty(PURSE), empty(LOYALTY)] })
    );
}

#[test]
fn unknown_dgis_are_6a88() {
    for (aid, unknown) in [
        (PSE, &["9104", "8000", "A001", "3000"][..]),
        (PAYMENT, &["A001", "8020", "9103", "9020", "0062", "7F01", "00CF", "0100", "0200", "1F01"]),
        (PURSE, &["8000", "9000", "A001", "9010"]),
        (LOYALTY, &["8000", "8201", "9104"]),
    ] {
        for number in unknown {
            check(aid, &[(number, "0000000000000000", number.starts_with('8'), 0x6A88)]);
        }
    }
}

#[test]
fn records() {
    let deep = |levels: usize| {
        (0..levels).fold(String::new(), |inner, _| format!("70{:02X}{inner}", inner.len() / 2))
    };
    let (deep_8, deep_9) = (deep(8), deep(9));
    let record_254 = format!("7081FB5A81F8{}", "00".repeat(248));
    let record_255 = format!("7081FC5A81F9{}", "00".repeat(249));
    let raw_255 = "00".repeat(255);
    check(
        PSE,
        &[
            ("0101", "7000", false, 0x9000),
            ("0AFF", "70035A0112", false, 0x9000),
            ("0101", "70035A01", false, 0x6A80),
            ("0101", "70035A011200", false, 0x6A80),
            ("0101", "7003770112", false, 0x6A80),
            ("0101", "70035A0212", false, 0x6A80),
            ("0101", "70025F34", false, 0x6A80),
            ("0101", "70020000", false, 0x6A80),
            ("0101", "7002FF00", false, 0x6A80),
            ("0101", "70005A00", false, 0x6A80),
            ("0101", "70", false, 0x6A80),
            ("0101", "7080", false, 0x6A80),
            ("0101", "7083000000", false, 0x6A80),
            ("0101", "", false, 0x6A80),
            ("0101", "70069FFFFFFF7F00", false, 0x6A80),
            ("0102", &deep_8, false, 0x9000),
            ("0103", &deep_9, false, 0x6A80),
            ("0B01", "01", false, 0x9000),
            ("1EFF", "FFFF", false, 0x9000),
            ("0B02", "", false, 0x6A80),
            ("0101", RECORD, true, 0x6A80),
        ],
    );
    // Longer than one command with a C-MAC.
    let mut card = card();
    let mut host = TestHost::open(&mut card, PSE, 0);
    for (number, value, answer) in
        [("0104", &record_254, 0x9000), ("0105", &record_255, 0x6A80), ("0B03", &raw_255, 0x6A80)]
    {
        let all = dgi(number, value);
        let (head, tail) = all.split_at(200);
        assert_eq!(host.raw(&mut card, 0, head), 0x9000);
        assert_eq!(host.raw(&mut card, 0, tail), answer);
    }
}

#[test]
fn forms_of_clear_dgis() {
    check(
        PAYMENT,
        &[
            ("9102", "A50450025445", false, 0x9000),
            ("9102", "A500", false, 0x9000),
            ("9102", "6F04A5025000", false, 0x6A80),
            ("9102", "A5045003", false, 0x6A80),
            ("9104", "82023C00940408010100", false, 0x9000),
            ("9104", "940408010100", false, 0x6A80),
            ("9104", "82013C940408010100", false, 0x6A80),
            ("9104", "82023C009403080101", false, 0x6A80),
            ("9104", "82023C009400", false, 0x6A80),
            ("9104", "82023C009404080101", false, 0x6A80),
            ("9104", "82023C0094040801010050", false, 0x6A80),
            ("3000", "9F36020001", false, 0x9000),
            ("3001", "9F3602", false, 0x6A80),
            ("9010", "0303", false, 0x9000),
            ("9010", "9F17010303", false, 0x9000),
            ("9010", "0403", false, 0x6A80),
            ("9010", "0000", false, 0x6A80),
            ("9010", "0310", false, 0x6A80),
            ("9010", "030303", false, 0x6A80),
            ("7FFF", "", false, 0x9000),
        ],
    );
}

#[test]
fn keys_and_their_kcvs() {
    let short = &UDKS[..UDKS.len() - 16];
    check(
        PAYMENT,
        &[
            ("9000", UDK_KCVS, false, 0x9315),
            ("8000", UDKS, false, 0x6A80),
            ("8000", short, true, 0x6A80),
            ("8000", "", true, 0x6A80),
            ("8000", UDKS, true, 0x9000),
            ("9000", UDK_KCVS, true, 0x6A80),
            ("9000", "08D7B44915107B217E", false, 0x9315),
            ("9000", "08D7B4491510", false, 0x9315),
            ("9000", "08D7B44915107B217F00", false, 0x9315),
            ("9000", "4915107B217F08D7B4", false, 0x9315),
            ("9000", UDK_KCVS, false, 0x9000),
        ],
    );
    // KDL | KDU of the purse; the KCVs are those of the keys in the worked example.
    check(
        PURSE,
        &[
            ("9020", "08D7B4491510", false, 0x9315),
            ("8020", &UDKS[..64], true, 0x9000),
            ("9020", "08D7B4491511", false, 0x9315),
            ("9020", "08D7B4491510", false, 0x9000),
        ],
    );
    // An extended application's keys come after its A001.
    check(
        LOYALTY,
        &[
            ("8020", &UDKS[..64], true, 0x9580),
            ("A001", "", false, 0x9000),
            ("8020", &UDKS[..64], true, 0x9000),
        ],
    );
}

#[test]
fn keys_that_were_not_under_the_session_dek_show_in_their_kcvs() {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PAYMENT, 1);
    assert_eq!(host.raw(&mut card, 0x60, &dgi("8000", UDKS)), 0x9000);
    assert_eq!(host.store(&mut card, "9000", UDK_KCVS, false, false), 0x9315);
}

#[test]
fn reference_pin() {
    check(
        PAYMENT,
        &[
            ("8010", "241234FFFFFFFFFF", true, 0x9580),
            ("9010", "0303", false, 0x9000),
            ("8010", "241234FFFFFFFFFF", false, 0x6A80),
            ("8010", "141234FFFFFFFFFF", true, 0x6A80),
            ("8010", "041223C6FFEFEFEE", true, 0x6A80),
            ("8010", "231234FFFFFFFFFF", true, 0x6A80),
            ("8010", "2D1234567890123F", true, 0x6A80),
            ("8010", "24123AFFFFFFFFFF", true, 0x6A80),
            ("8010", "241234FFFFFFFFF0", true, 0x6A80),
            ("8010", "241234FFFFFFFFFF8000000000000000", true, 0x6A80),
            ("8010", "2C123456789012FF", true, 0x9000),
            ("8010", "241234FFFFFFFFFF", true, 0x9000),
        ],
    );
}

#[test]
fn crt_parts_come_padded() {
    let bare_64 = "55".repeat(64);
    let padded_72 = format!("{bare_64}8000000000000000");
    let double = format!("{bare_64}80000000000000000000000000000000");
    for aid in [PAYMENT, PURSE] {
        check(
            aid,
            &[
                ("8201", &bare_64, true, 0x6A80),
                ("8201", &padded_72, true, 0x9000),
                ("8201", &double, true, 0x6A80),
                ("8202", CRT_PADDED, false, 0x6A80),
                ("8202", "8000000000000000", true, 0x6A80),
                ("8202", "0000000000000000", true, 0x6A80),
                ("8202", "", true, 0x6A80),
                ("8205", "55555555555555555555555555555580", true, 0x9000),
            ],
        );
    }
    // The value is no whole number of blocks under the DEK.
    let mut card = card();
    let mut host = TestHost::open(&mut card, PAYMENT, 1);
    assert_eq!(host.raw(&mut card, 0x60, &dgi("8201", "0011223344556677FF")), 0x6A80);
}

#[test]
fn block_counter() {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PSE, 1);
    host.block = 1;
    assert_eq!(host.store(&mut card, "0101", "7000", false, false), 0x6A86);
    host.block = 0;
    assert_eq!(host.store(&mut card, "0101", "7000", false, false), 0x9000);
    host.block = 0;
    assert_eq!(host.store(&mut card, "0101", "7000", false, false), 0x6A86);
    // A command that is refused for its data has used up its number, which VERCNTL relies on.
    host.block = 1;
    assert_eq!(host.store(&mut card, "9104", "00", false, false), 0x6A88);
    // FF wraps to 00.
    for _ in 2..=0x101 {
        assert_eq!(host.store(&mut card, "0101", "7000", false, false), 0x9000);
    }
    assert_eq!(host.block, 2);
}

#[test]
fn p1() {
    for (p1, answer) in [
        (0x00, 0x9000),
        (0x08, 0x9000),
        (0x01, 0x9000),
        (0x20, 0x6A86),
        (0x40, 0x6A86),
        (0x10, 0x6A86),
        (0x18, 0x6A86),
    ]
    .into_iter()
    .chain([(0x02, 0x6A86), (0x04, 0x6A86)])
    {
        let mut card = card();
        let mut host = TestHost::open(&mut card, PSE, 1);
        assert_eq!(host.raw(&mut card, p1, &dgi("0101", "7000")), answer, "P1 {p1:02X}");
    }
}

#[test]
fn several_dgis_share_a_command_all_or_none() {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PSE, 3);
    let both = dgi("0101", "7000") + &dgi("9104", "00");
    assert_eq!(host.raw(&mut card, 0, &both), 0x6A88);
    assert_eq!(dump(&card, PSE).1, serde_json::json!({}));
    assert_eq!(
        host.raw(&mut card, 0, &(dgi("0101", "7000") + &dgi("0102", "7000") + &dgi("7FFF", ""))),
        0x9000
    );
    assert_eq!(dump(&card, PSE).1, serde_json::json!({ "0101": "7000", "0102": "7000", "7FFF": "" }));
    // Each secret value has its own chain.
    let mut host = TestHost::open(&mut card, PAYMENT, 3);
    let secret = dgi("8205", &host.secret(CRT_PADDED)) + &dgi("8000", &host.secret(UDKS));
    assert_eq!(host.raw(&mut card, 0x60, &secret), 0x9000);
    assert_eq!(dump(&card, PAYMENT).1, serde_json::json!({ "8205": CRT_PADDED, "8000": UDKS }));
}

#[test]
fn long_dgis_go_on_without_a_header() {
    let value = "C5".repeat(0x01AF);
    let stream = dgi("A001", &value) + &dgi("0101", "7000");
    assert!(stream.starts_with("A001FF01AF"));
    for (level, size) in [(0, 255), (1, 247), (3, 239), (1, 5), (1, 100)] {
        let mut card = card();
        let mut host = TestHost::open(&mut card, LOYALTY, level);
        for part in stream.as_bytes().chunks(size * 2) {
            assert_eq!(host.raw(&mut card, 0, std::str::from_utf8(part).unwrap()), 0x9000);
        }
        assert_eq!(dump(&card, LOYALTY).1, serde_json::json!({ "A001": value, "0101": "7000" }));
    }
    // A secret value, cut in the middle of a block.
    let mut card = card();
    let mut host = TestHost::open(&mut card, PAYMENT, 1);
    let stream = dgi("8000", &host.secret(UDKS));
    let (head, tail) = stream.split_at(31 * 2);
    assert_eq!(host.raw(&mut card, 0x60, head), 0x9000);
    assert_eq!(host.raw(&mut card, 0x60, tail), 0x9000);
    assert_eq!(dump(&card, PAYMENT).1, serde_json::json!({ "8000": UDKS }));
}

#[test]
fn cut_dgis() {
    let start = "A001FF01AFC5C5C5";
    let cases: [(&[(u8, &str)], u16); 9] = [
        (&[(0, "A0")], 0x6A80),
        (&[(0, "A001")], 0x6A80),
        (&[(0, "A001FF")], 0x6A80),
        (&[(0, "A001FF01")], 0x6A80),
        (&[(0, "A001FF00FE")], 0x6A80),
        (&[(0, "")], 0x6A80),
        (&[(0, start), (0x60, "C5")], 0x6A80),
        (&[(0, start), (0x80, "C5")], 0x6A80),
        (&[(0, start), (0x00, "")], 0x6A80),
    ];
    for (commands, answer) in cases {
        let mut card = card();
        let mut host = TestHost::open(&mut card, LOYALTY, 1);
        let (last, before) = commands.split_last().unwrap();
        for (p1, data) in before {
            assert_eq!(host.raw(&mut card, *p1, data), 0x9000);
        }
        assert_eq!(host.raw(&mut card, last.0, last.1), answer, "{commands:?}");
        // The incomplete DGI is gone: the next command starts with a header.
        assert_eq!(host.raw(&mut card, 0, &dgi("0101", "7000")), 0x9000, "{commands:?}");
        assert_eq!(dump(&card, LOYALTY), ("SELECTABLE".into(), serde_json::json!({ "0101": "7000" })));
    }
}

#[test]
fn memory() {
    let mut card = card();
    card.set_memory(300);
    let mut host = TestHost::open(&mut card, LOYALTY, 1);
    assert_eq!(host.raw(&mut card, 0, "A001FF0129"), 0x6A84, "297 + 4");
    assert_eq!(host.store(&mut card, "A001", &"00".repeat(196), false, false), 0x9000);
    assert_eq!(host.store(&mut card, "0101", "7000", false, false), 0x9000);
    assert_eq!(host.store(&mut card, "0B01", &"00".repeat(91), false, false), 0x6A84);
    // A DGI that is sent again replaces the old one.
    assert_eq!(host.store(&mut card, "A001", &"11".repeat(196), false, false), 0x9000);
    assert_eq!(host.store(&mut card, "0B01", &"00".repeat(50), false, false), 0x9000);
    // The applications share the memory: 254 + 6 bytes are taken.
    let mut host = TestHost::open(&mut card, PSE, 1);
    assert_eq!(host.store(&mut card, "0B01", &"00".repeat(37), false, false), 0x6A84);
    assert_eq!(host.store(&mut card, "0B01", &"00".repeat(36), false, false), 0x9000);
}

#[test]
fn extended_length_store_data() {
    let mut card = card();
    TestHost::open(&mut card, LOYALTY, 0);
    let data = dgi("A001", &"AB".repeat(600));
    assert_eq!(sw(&mut card, &format!("80E20000 00{:04X}{data}", data.len() / 2).replace(' ', "")), 0x9000);
    assert_eq!(dump(&card, LOYALTY).1["A001"], "AB".repeat(600));
    assert_eq!(sw(&mut card, "80E20001000002A001"), 0x6A80);
    for malformed in [
        "80E2000100000000",
        "80E20001000000",
        "80E20001000003A001",
        "80E20001000002A00100",
        "00200080000008241234FFFFFFFFFF",
    ] {
        assert_eq!(sw(&mut card, malformed), 0x6700, "{malformed}");
    }
    assert_eq!(
        sw(&mut card, &format!("00A40400 0000{:02X}{LOYALTY}0000", LOYALTY.len() / 2).replace(' ', "")),
        0x9000
    );
}

/// Every DGI that an application needs, in an order that it accepts.
fn needed(aid: &str) -> Vec<(&'static str, &'static str, bool)> {
    match aid {
        PSE => vec![("0101", "7000", false), ("9102", "A500", false)],
        PAYMENT => vec![("0101", "7000", false), ("8000", UDKS, true), ("9000", UDK_KCVS, false)],
        PURSE => vec![("0101", "7000", false), ("8020", &UDKS[..64], true), ("9020", "08D7B4491510", false)],
        _ => vec![("0101", "7000", false), ("9102", "A500", false), ("A001", "01", false)],
    }
}

#[test]
fn the_last_command_needs_everything_there() {
    for aid in [PSE, PAYMENT, PURSE, LOYALTY] {
        for leave_out in 0..needed(aid).len() {
            let mut card = card();
            let mut host = TestHost::open(&mut card, aid, 1);
            let mut dgis = needed(aid);
            let (number, value, secret) = dgis.remove(leave_out);
            // KCVs cannot come without their keys.
            dgis.retain(|(n, ..)| !(number.starts_with("80") && n.starts_with("90")));
            for (number, value, secret) in dgis {
                assert_eq!(host.store(&mut card, number, value, secret, false), 0x9000);
            }
            let status = host.wrap(0xF0, 0x40, 0x07, aid);
            assert_eq!(split(card.transmit(&status).unwrap()).1, 0x6A86, "{aid} without {number}");
            assert_eq!(host.store(&mut card, "7FFF", "", false, true), 0x6A86, "{aid} without {number}");
            assert_eq!(dump(&card, aid).0, "SELECTABLE");
            // With the missing DGI added, personalization ends, unless its KCVs are missing too.
            let answer = if number.starts_with("80") { 0x6A86 } else { 0x9000 };
            assert_eq!(host.store(&mut card, number, value, secret, true), answer, "{aid} {number}");
        }
    }
}

#[test]
fn after_the_end_nothing_is_taken() {
    for by_status in [false, true] {
        for aid in [PSE, PAYMENT, PURSE, LOYALTY] {
            let mut card = card();
            let mut host = TestHost::open(&mut card, aid, 3);
            for (number, value, secret) in needed(aid) {
                assert_eq!(host.store(&mut card, number, value, secret, false), 0x9000);
            }
            let writes = card.writes();
            let ended = if by_status {
                let status = host.wrap(0xF0, 0x40, 0x07, aid);
                split(card.transmit(&status).unwrap()).1
            } else {
                host.raw(&mut card, 0x80, "")
            };
            assert_eq!((ended, dump(&card, aid).0.as_str()), (0x9000, "PERSONALIZED"));
            assert_eq!(card.writes(), writes + 1);
            let end = card.chip_dump();
            // The channel is closed, and a new one does not help.
            assert_eq!(host.store(&mut card, "0101", "7000", false, false), 0x6982);
            assert_eq!(sw(&mut card, "80E20000050101027000"), 0x6985);
            let mut host = TestHost::open(&mut card, aid, 3);
            assert_eq!(host.store(&mut card, "0101", "7000", false, false), 0x6985);
            let status = host.wrap(0xF0, 0x40, 0x07, aid);
            assert_eq!(split(card.transmit(&status).unwrap()).1, 0x6985);
            assert_eq!(card.chip_dump(), end);
            // The other applications are unchanged.
            for other in [PSE, PAYMENT, PURSE, LOYALTY].into_iter().filter(|o| *o != aid) {
                assert_eq!(dump(&card, other).0, "SELECTABLE");
            }
        }
    }
}

#[test]
fn set_status_wrong_forms() {
    for (p1, p2, data, answer) in [
        (0x40, 0x0F, LOYALTY, 0x6A86),
        (0x80, 0x07, LOYALTY, 0x6A86),
        (0x40, 0x07, PURSE, 0x6A88),
        (0x40, 0x07, "", 0x6A88),
    ] {
        let mut card = card();
        let mut host = TestHost::open(&mut card, LOYALTY, 1);
        for (number, value, secret) in needed(LOYALTY) {
            assert_eq!(host.store(&mut card, number, value, secret, false), 0x9000);
        }
        let status = host.wrap(0xF0, p1, p2, data);
        assert_eq!(split(card.transmit(&status).unwrap()).1, answer);
        // The command comes inside an unfinished DGI.
        assert_eq!(host.raw(&mut card, 0, "A001020A"), 0x9000);
        let status = host.wrap(0xF0, 0x40, 0x07, LOYALTY);
        assert_eq!(split(card.transmit(&status).unwrap()).1, 0x6985);
        assert_eq!(dump(&card, LOYALTY).0, "SELECTABLE");
    }
}
