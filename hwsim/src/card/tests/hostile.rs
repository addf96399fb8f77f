//! Arbitrary bytes: the card always answers, never panics, and a refused command changes nothing.

use proptest::prelude::*;

use super::*;

/// Commands with a likely header and any body, so that more than the parser is reached.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let header = (
        prop::sample::select(vec![0x00, 0x80, 0x84, 0x04, 0xFF]),
        prop::sample::select(vec![0xA4, 0x50, 0x82, 0xE2, 0xF0, 0xCA, 0xB2, 0xA8, 0x88, 0xAE, 0x20, 0x00]),
        any::<[u8; 2]>(),
    );
    let body = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        (header.clone(), body.clone()).prop_map(|((cla, ins, [p1, p2]), body)| [
            &[cla, ins, p1, p2],
            &body[..]
        ]
        .concat()),
        (header, body).prop_map(|((cla, ins, [p1, p2]), body)| {
            let length = u8::try_from(body.len() % 256).unwrap();
            [&[cla, ins, p1, p2, length], &body[..usize::from(length)]].concat()
        }),
    ]
}

/// DGIs whose numbers and lengths are mostly right.
fn dgis() -> impl Strategy<Value = Vec<u8>> {
    let numbers =
        vec![0x0101_u16, 0x0B01, 0x3000, 0x7FFF, 0x8000, 0x8010, 0x8201, 0x9000, 0x9010, 0x9102, 0x9104];
    let one = (prop::sample::select(numbers), prop::collection::vec(any::<u8>(), 0..40), -1..=1_i16);
    prop::collection::vec(one, 0..4).prop_map(|all| {
        let one = |(number, value, off): (u16, Vec<u8>, i16)| {
            let length = u8::try_from(value.len()).unwrap().saturating_add_signed(i8::try_from(off).unwrap());
            [&number.to_be_bytes()[..], &[length], &value].concat()
        };
        all.into_iter().flat_map(one).collect()
    })
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(commands in prop::collection::vec(command(), 1..12)) {
        let mut card = card();
        select(&mut card, PAYMENT);
        let empty = card.chip_dump();
        for command in commands {
            let answer = card.transmit(&command);
            prop_assert!(answer.is_some_and(|a| a.len() >= 2));
            // Random bytes never contain the right host cryptogram.
            prop_assert_eq!(card.chip_dump(), empty.clone());
            prop_assert_eq!(card.writes(), 0);
        }
    }

    #[test]
    fn any_bytes_in_a_channel(level in prop::sample::select(vec![1_u8, 3]), commands in prop::collection::vec(command(), 1..6)) {
        let mut card = card();
        TestHost::open(&mut card, PAYMENT, level);
        for command in commands {
            card.transmit(&command).unwrap();
            prop_assert_eq!(card.writes(), 0);
        }
    }

    #[test]
    fn any_data_in_store_data(
        level in prop::sample::select(vec![0_u8, 1, 3]),
        commands in prop::collection::vec((any::<u8>(), dgis()), 1..12),
    ) {
        let mut card = card();
        let mut host = TestHost::open(&mut card, PAYMENT, level);
        for (p1, data) in commands {
            let (before, writes) = (card.chip_dump(), card.writes());
            let p1 = p1 & 0x69;
            let answer = host.raw(&mut card, p1, &hex::encode(data));
            if answer != 0x9000 {
                prop_assert_eq!(card.chip_dump(), before);
            }
            prop_assert_eq!(card.writes(), writes + u64::from(answer == 0x9000));
        }
    }

    #[test]
    fn payment_records_read_back(value in prop::collection::vec(any::<u8>(), 0..120), sfi in 1..=10_u8, record in 1..=255_u8) {
        let mut card = card();
        let mut host = TestHost::open(&mut card, PAYMENT, 3);
        let length = value.len();
        let template = format!("70{:02X}5A{length:02X}{}", length + 2, hex::encode_upper(&value));
        prop_assert_eq!(host.store(&mut card, &format!("{sfi:02X}{record:02X}"), &template, false, false), 0x9000);
        for (number, value, secret) in
            [("0101", if (sfi, record) == (1, 1) { &template } else { RECORD }, false), ("8000", UDKS, true), ("9000", UDK_KCVS, false)]
        {
            prop_assert_eq!(host.store(&mut card, number, value, secret, number == "9000"), 0x9000);
        }
        let read = format!("00B2{record:02X}{:02X}00", sfi << 3 | 4);
        prop_assert_eq!(send(&mut card, &read), (template, 0x9000));
    }
}
