//! The walk over any cutting of a session's data.

use proptest::prelude::*;

use super::*;

fn values() -> Vec<(Dgi, ExpectedValue)> {
    let clear =
        |n: u16, value: &[u8]| (Dgi(n), ExpectedValue::Clear(value.len(), Sha256::digest(value).into()));
    vec![
        clear(0x0101, &[7; 20]),
        (Dgi(0x8000), ExpectedValue::Protected(Zeroizing::new((0..48).collect()))),
        clear(0x0102, &[]),
        clear(0x0103, &[8; 300]),
    ]
}

/// The session's bytes: value, and whether it belongs into an encrypted command (headers fit either).
fn bytes() -> Vec<(u8, Option<bool>)> {
    let mut out = Vec::new();
    let mut add = |header: &[u8], value: &[u8], encrypted| {
        out.extend(header.iter().map(|b| (*b, None)));
        out.extend(value.iter().map(|b| (*b, Some(encrypted))));
    };
    add(&[0x01, 0x01, 20], &[7; 20], false);
    add(&[0x80, 0x00, 48], &(0..48).collect::<Vec<u8>>(), true);
    add(&[0x01, 0x02, 0], &[], false);
    add(&[0x01, 0x03, 0xFF, 0x01, 0x2C], &[8; 300], false);
    out
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_bytes(cuts in prop::collection::vec(1usize..60, 1..200)) {
        let values = values();
        let mut stream = CommandStream::new(&values);
        let all = bytes();
        let mut sent = Vec::new();
        let mut rest = all.as_slice();
        let mut cuts = cuts.into_iter().cycle();
        let mut offset = 0;
        while !rest.is_empty() {
            // A command ends before a byte that belongs into the other kind.
            let kind = rest.iter().take(8).find_map(|(_, kind)| *kind).unwrap_or(false);
            let length = rest.iter().take(cuts.next().unwrap()).take_while(|(_, k)| k.is_none_or(|k| k == kind)).count();
            if length == 0 {
                continue;
            }
            let mut parts = Vec::new();
            for (byte, its) in &rest[..length] {
                if *its == Some(true) {
                    parts.push(DataPart::Protected { dgi: Dgi(0x8000), from: offset, to: offset + 1 });
                    offset += 1;
                } else {
                    parts.push(DataPart::Clear(vec![*byte].into()));
                }
            }
            sent.extend_from_slice(&stream.command(kind, &parts).unwrap());
            rest = &rest[length..];
        }
        prop_assert!(stream.at_rest());
        prop_assert_eq!(sent, all.iter().map(|(b, _)| *b).collect::<Vec<_>>());
    }

    #[test]
    fn rubbish_never_panics_and_never_begins_a_foreign_dgi(
        bytes in prop::collection::vec(any::<u8>(), 1..40), encrypted: bool
    ) {
        let values = values();
        let mut stream = CommandStream::new(&values);
        let result = stream.command(encrypted, &[DataPart::Clear(bytes.clone().into())]);
        let header = if bytes.get(2) == Some(&0xFF) { 5 } else { 3 };
        if result.is_ok() && bytes.len() >= header {
            let dgi = u16::from_be_bytes([bytes[0], bytes[1]]);
            prop_assert!([0x0101, 0x8000, 0x0102, 0x0103].contains(&dgi));
        }
    }
}

#[test]
fn more_than_255_bytes_are_refused_before_they_pile_up() {
    let values = values();
    let mut stream = CommandStream::new(&values);
    let mut data = vec![0x01, 0x03, 0xFF, 0x01, 0x2C];
    data.extend([8; 251]);
    assert!(stream.command(false, &[DataPart::Clear(data.into())]).is_err());
}
