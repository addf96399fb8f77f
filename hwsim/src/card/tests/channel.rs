//! The states of the channel, with right and wrong commands.

use super::super::{ChipCost, ForcedFault};
use super::*;

const UPDATE: &str = "8050000008010203040506070800";

fn sequence(card: &mut SimulatedCard) -> String {
    send(card, UPDATE).0[24..28].to_owned()
}

#[test]
fn key_version() {
    let mut card = card();
    for (kvn, answer) in [("00", 0x9000), ("01", 0x9000), ("02", 0x6A88), ("FF", 0x6A88)] {
        assert_eq!(sw(&mut card, &format!("8050{kvn}0008010203040506070800")), answer);
    }
    assert_eq!(sw(&mut card, "80500001080102030405060708"), 0x6A86);
    assert_eq!(sw(&mut card, "805000000701020304050607"), 0x6700);
    assert_eq!(sw(&mut card, "8050000000"), 0x6700);
}

#[test]
fn counter_advances_only_when_the_host_is_accepted() {
    let mut card = card();
    select(&mut card, PSE);
    assert_eq!(sequence(&mut card), "0000");
    for broken in [5, 13] {
        let (_, mut authenticate) = TestHost::begin(&mut card, 1);
        authenticate[broken] ^= 1;
        let answer = if broken == 5 { 0x6300 } else { 0x6982 };
        assert_eq!(split(card.transmit(&authenticate).unwrap()).1, answer);
        // The opening channel is gone, so even the right command comes too late.
        authenticate[broken] ^= 1;
        assert_eq!(split(card.transmit(&authenticate).unwrap()).1, 0x6985);
        assert_eq!(sequence(&mut card), "0000");
    }
    TestHost::open(&mut card, PSE, 1);
    assert_eq!(sequence(&mut card), "0001");
    card.power_off();
    card.power_on();
    // The counter belongs to the card, not to the application.
    select(&mut card, LOYALTY);
    assert_eq!(sequence(&mut card), "0001");
}

#[test]
fn counter_at_its_end_opens_nothing() {
    let mut card = card();
    card.sequence = 0xFFFE;
    TestHost::open(&mut card, PSE, 0);
    assert_eq!(sw(&mut card, UPDATE), 0x6985);
}

#[test]
fn without_pseudo_random_bit_the_challenge_is_new_each_time() {
    let mut card = SimulatedCard::new(blank(0x15));
    card.power_on();
    let (first, second) = (send(&mut card, UPDATE).0, send(&mut card, UPDATE).0);
    assert_eq!(first[..28], second[..28]);
    assert_ne!(first[28..40], second[28..40]);
}

#[test]
fn external_authenticate_wrong_forms() {
    for (at, value, answer) in [(2, 0x02, 0x6A86), (2, 0x13, 0x6A86), (3, 0x01, 0x6A86)] {
        let mut card = card();
        let (_, mut authenticate) = TestHost::begin(&mut card, 1);
        authenticate[at] = value;
        assert_eq!(split(card.transmit(&authenticate).unwrap()).1, answer);
    }
    let mut card = card();
    // EXTERNAL AUTHENTICATE without INITIALIZE UPDATE, and after another command.
    let (_, authenticate) = TestHost::begin(&mut card, 0);
    assert_eq!(sw(&mut card, "80CA9F7F00"), 0x9000);
    assert_eq!(split(card.transmit(&authenticate).unwrap()).1, 0x6985);
    // The level was changed on the way, but the C-MAC covers it.
    let (_, mut authenticate) = TestHost::begin(&mut card, 3);
    authenticate[2] = 0;
    assert_eq!(split(card.transmit(&authenticate).unwrap()).1, 0x6982);
    // Too short.
    TestHost::begin(&mut card, 0);
    assert_eq!(sw(&mut card, "8482000008" /* Lc without data */), 0x6700);
    TestHost::begin(&mut card, 0);
    assert_eq!(sw(&mut card, "84820000080102030405060708"), 0x6700);
}

#[test]
fn store_data_without_channel() {
    let mut card = card();
    select(&mut card, PSE);
    assert_eq!(sw(&mut card, "80E200000401010170"), 0x6982);
    assert_eq!(sw(&mut card, "84E200000C010101700000000000000000"), 0x6982);
    assert_eq!(sw(&mut card, &format!("80F040070E{PSE}")), 0x6982);
    assert_eq!(card.writes(), 0);
}

#[test]
fn a_secured_select_needs_its_mac_and_a_refused_update_ends_the_channel() {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PAYMENT, 1);
    assert_eq!(sw(&mut card, &format!("04A404000F{PAYMENT}0000000000000000")), 0x6982);
    assert_eq!(host.store(&mut card, "0101", RECORD, false, false), 0x6982);
    let mut host = TestHost::open(&mut card, PAYMENT, 1);
    assert_eq!(sw(&mut card, "8050070008010203040506070800"), 0x6A88);
    assert_eq!(host.store(&mut card, "0101", RECORD, false, false), 0x6982);
}

type Spoil = fn(&mut Vec<u8>);

#[test]
fn wrong_missing_and_replayed_mac_end_the_channel() {
    for level in [1, 3] {
        let spoils: [(&str, Spoil); 5] = [
            ("MAC", |c| *c.last_mut().unwrap() ^= 1),
            ("data", |c| c[6] ^= 1),
            ("P1", |c| c[2] ^= 0x08),
            ("cut", |c| {
                c.truncate(9);
                c[4] = 4;
            }),
            ("block cut off", |c| {
                c.drain(5..13);
                c[4] -= 8;
            }),
        ];
        for (what, spoil) in spoils {
            let mut card = card();
            let mut host = TestHost::open(&mut card, PAYMENT, level);
            let command = host.wrap(0xE2, 0, 0, &dgi("0101", RECORD));
            let mut bad = command.clone();
            spoil(&mut bad);
            assert_eq!(split(card.transmit(&bad).unwrap()).1, 0x6982, "{what}");
            assert_eq!(split(card.transmit(&command).unwrap()).1, 0x6982, "{what}: closed");
            assert_eq!(card.writes(), 0);
        }
        // A replayed command.
        let mut card = card();
        let mut host = TestHost::open(&mut card, PAYMENT, level);
        let command = host.wrap(0xE2, 0, 0, &dgi("0101", RECORD));
        assert_eq!(split(card.transmit(&command).unwrap()).1, 0x9000);
        assert_eq!(split(card.transmit(&command).unwrap()).1, 0x6982);
        // A command without a MAC.
        let mut host = TestHost::open(&mut card, PAYMENT, level);
        assert_eq!(sw(&mut card, "80E200001301011070"), 0x6700, "malformed is no command");
        assert_eq!(sw(&mut card, &format!("80E2000013{}", dgi("0101", RECORD))), 0x6982);
        assert_eq!(host.store(&mut card, "0101", RECORD, false, false), 0x6982);
    }
}

#[test]
fn level_00_takes_no_secure_messaging() {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PAYMENT, 0);
    host.level = 1;
    assert_eq!(host.store(&mut card, "0101", RECORD, false, false), 0x6882);
}

#[test]
fn select_and_reset_end_the_channel_a_failed_select_does_not() {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PAYMENT, 1);
    assert_eq!(sw(&mut card, "00A4040007A0000000041010"), 0x6A82);
    assert_eq!(host.store(&mut card, "0101", RECORD, false, false), 0x9000);
    select(&mut card, PAYMENT);
    assert_eq!(host.store(&mut card, "3000", "9F36020001", false, false), 0x6982);
    let mut host = TestHost::open(&mut card, PAYMENT, 1);
    card.power_on();
    // The refusal comes before a SELECT, which would end the channel by itself.
    assert_eq!(host.store(&mut card, "3000", "9F36020001", false, false), 0x6982);
    select(&mut card, PAYMENT);
    assert_eq!(host.store(&mut card, "3000", "9F36020001", false, false), 0x6982);
    // Stored values stay, and a new channel counts from 00 again.
    assert_eq!(dump(&card, PAYMENT).1, serde_json::json!({ "0101": RECORD }));
    let mut host = TestHost::open(&mut card, PAYMENT, 3);
    assert_eq!(host.store(&mut card, "3000", "9F36020001", false, false), 0x9000);
}

#[test]
fn security_domain() {
    let mut card = card();
    let fci = "6F108408A000000003000000A5049F6501FF";
    assert_eq!(send(&mut card, "00A4040000"), (fci.into(), 0x9000));
    assert_eq!(send(&mut card, "00A4040008A000000003000000"), (fci.into(), 0x9000));
    assert_eq!(send(&mut card, "80CA00CF00"), ("CF0AFFFFFF47617301020304".into(), 0x9000));
    let (cplc, _) = send(&mut card, "80CA9F7F00");
    assert_eq!((cplc.len() / 2, &cplc[..6], &cplc[30..38]), (45, "9F7F2A", "01020304"));
    assert_eq!(sw(&mut card, "80CA006600"), 0x6A88);
    for no_command in ["00B2010C00", "80A80000028300", "80E200000401010170", "80F0400700"] {
        assert_eq!(sw(&mut card, no_command), 0x6D00);
    }
}

#[test]
fn faults() {
    let mut card = SimulatedCard::new(blank(0x55));
    assert_eq!(card.transmit(&hex("00A4040000")), None, "no power");
    card.force(ForcedFault::RemoveAfter(2));
    card.power_on();
    assert_eq!(sw(&mut card, "00A4040000"), 0x9000);
    assert_eq!(sw(&mut card, "00A4040000"), 0x9000);
    assert_eq!(card.transmit(&hex("00A4040000")), None);
    assert_eq!(card.power_on(), None);
    assert_eq!(card.transmit(&hex("00A4040000")), None);

    let mut card = SimulatedCard::new(blank(0x55));
    card.power_on();
    card.power_off();
    assert_eq!(card.transmit(&hex("00A4040000")), None);

    let mut card = SimulatedCard::new(blank(0x55));
    card.force(ForcedFault::Deaf);
    assert_eq!(card.power_on(), None);
    assert_eq!(card.transmit(&hex("00A4040000")), None);

    let mut right = example_card();
    let mut wrong = example_card();
    wrong.force(ForcedFault::WrongCryptogram);
    let (right, wrong) = (send(&mut right, UPDATE).0, send(&mut wrong, UPDATE).0);
    assert_eq!(right[..40], wrong[..40]);
    assert_ne!(right[40..], wrong[40..]);
}

/// A card that counts channels for each application: the second application begins at 0000 again, with the session keys that the
/// first one had.
#[test]
fn a_card_counts_its_channels_or_those_of_each_application() {
    for (each, counters) in [(false, ["0000", "0001", "0002"]), (true, ["0000", "0000", "0001"])] {
        let mut card = card();
        if each {
            card.force(ForcedFault::CounterPerApplication);
        }
        for (aid, counter) in [PSE, PAYMENT, PSE].into_iter().zip(counters) {
            card.transmit(&hex(&format!("00A40400{:02X}{aid}", aid.len() / 2)));
            let (answer, _) = send(&mut card, UPDATE);
            assert_eq!(answer[24..28], *counter, "{aid}");
            let mut host = TestHost::open(&mut card, aid, 1);
            host.store(&mut card, "9102", "A500", false, false);
        }
    }
}

#[test]
fn refused_store_data_is_counted_over_the_card_and_not_stored() {
    for level in [0, 1, 3] {
        let mut card = card();
        card.force(ForcedFault::Status { store_data: 3, sw: 0x6A88 });
        let mut host = TestHost::open(&mut card, PSE, level);
        assert_eq!(host.store(&mut card, "0101", "7000", false, false), 0x9000);
        assert_eq!(host.store(&mut card, "9102", "A500", false, true), 0x9000);
        let mut host = TestHost::open(&mut card, PAYMENT, level);
        assert_eq!(host.store(&mut card, "0101", RECORD, false, false), 0x6A88);
        // The channel and the block counter go on.
        assert_eq!(host.store(&mut card, "0201", RECORD, false, false), 0x9000);
        assert_eq!(dump(&card, PAYMENT).1, serde_json::json!({ "0201": RECORD }));
        assert_eq!(card.writes(), 3);
        // A refusal inside a long DGI loses all of the DGI.
        card.force(ForcedFault::Status { store_data: 6, sw: 0x6581 });
        assert_eq!(host.raw(&mut card, 0, "0B0103AA"), 0x9000);
        assert_eq!(host.raw(&mut card, 0, "BBCC"), 0x6581);
        assert_eq!(host.store(&mut card, "0B02", "DD", false, false), 0x9000);
        assert_eq!(dump(&card, PAYMENT).1, serde_json::json!({ "0201": RECORD, "0B02": "DD" }));
    }
}

#[test]
fn cost() {
    let mut card = card();
    let mut host = TestHost::open(&mut card, PAYMENT, 0);
    // SELECT 13 in, 6F0B..A500 13 + 2 out; INITIALIZE UPDATE 14, 30; EXTERNAL AUTHENTICATE 21, 2; counter 1
    // page.
    assert_eq!(
        card.take_cost(),
        ChipCost { commands: 3, bytes_in: 13 + 14 + 21, bytes_out: 15 + 30 + 2, pages: 1, channels: 1 }
    );
    let value = "00".repeat(61);
    assert_eq!(host.store(&mut card, "0B01", &value, false, false), 0x9000);
    // 61 + 4 bytes: two pages of 64.
    let cost = ChipCost { commands: 1, bytes_in: 5 + 3 + 61, bytes_out: 2, pages: 2, channels: 0 };
    assert_eq!(card.take_cost(), cost);
    assert_eq!(card.take_cost(), ChipCost::default());
}
