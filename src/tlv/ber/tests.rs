//! Objects by case, and random ones against the crate `iso7816-tlv`.

use iso7816_tlv::ber as oracle;
use proptest::prelude::*;

use super::*;

fn written(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, Tag(tag), value).unwrap();
    out
}

/// Lengths around every step of the coding; the expected heads are ISO 7816-4 5.2.2.2, Table 8.
#[test]
fn lengths_are_minimal_and_read_back() {
    for (length, head) in [
        (0, vec![0x00]),
        (126, vec![0x7E]),
        (127, vec![0x7F]),
        (128, vec![0x81, 0x80]),
        (255, vec![0x81, 0xFF]),
        (256, vec![0x82, 0x01, 0x00]),
        (65_535, vec![0x82, 0xFF, 0xFF]),
        (65_536, vec![0x83, 0x01, 0x00, 0x00]),
    ] {
        let value = vec![0x5A; length];
        let bytes = written(0x53, &value);
        assert_eq!(bytes[1..=head.len()], head, "{length}");
        assert_eq!(find(&bytes, Tag(0x53)).unwrap(), Some(value.as_slice()));
    }
}

#[test]
fn a_longer_form_than_needed_is_read_at_any_level() {
    let bytes = [0x70, 0x84, 0, 0, 0, 5, 0x5A, 0x82, 0x00, 0x01, 0x77];
    let outer = objects(&bytes).next().unwrap().unwrap();
    let inner = outer.children().unwrap().next().unwrap().unwrap();
    assert_eq!((inner.tag, inner.value), (Tag(0x5A), [0x77].as_slice()));
}

#[test]
fn malformed_objects_are_errors_and_end_the_iteration() {
    for (bytes, error) in [
        (&[0x5A][..], TlvError::Truncated),
        (&[0x5A, 0x02, 0x00], TlvError::Truncated),
        (&[0x5A, 0x82, 0x00], TlvError::Truncated),
        (&[0x9F], TlvError::Truncated),
        (&[0x5A, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x00], TlvError::Truncated),
        (&[0x70, 0x80, 0x5A, 0x00, 0x00, 0x00], TlvError::Indefinite),
        (&[0x5A, 0x85, 0, 0, 0, 0, 0], TlvError::Length),
        (&[0x9F, 0x80, 0x01, 0x00], TlvError::Tag),
        (&[0x9F, 0x81, 0x81, 0x81, 0x01, 0x00], TlvError::Tag),
    ] {
        let mut all = objects(bytes);
        assert_eq!(all.next().map(|r| r.err()), Some(Some(error)), "{bytes:02X?}");
        assert!(all.next().is_none());
    }
}

#[test]
fn zero_bytes_between_objects_are_skipped() {
    let tags: Vec<_> = objects(&[0, 0, 0x5A, 1, 0, 0, 0x9F, 0x38, 0, 0]).map(|o| o.unwrap().tag).collect();
    assert_eq!(tags, [Tag(0x5A), Tag(0x9F38)]);
}

#[test]
fn fifty_thousand_levels_end_at_the_depth_limit() {
    let bytes = [0x70, 0x84, 0x7F, 0xFF, 0xFF, 0xFF].repeat(50_000);
    assert_eq!(objects(&bytes).next().unwrap().err(), Some(TlvError::Truncated));
    let mut data = Vec::new();
    for _ in 0..20 {
        data = written(0x70, &data);
    }
    let mut level = objects(&data);
    let mut depth = 0;
    let error = loop {
        depth += 1;
        match level.next().unwrap().unwrap().children() {
            Ok(children) => level = children,
            Err(error) => break error,
        }
    };
    assert_eq!((depth, error), (MAX_DEPTH, TlvError::Depth));
}

#[test]
fn numbers_that_are_no_tag_are_not_written() {
    for tag in [0, 0x8010, 0x9F80, 0x5A5A, 0x9F, 0x9F81_8181] {
        assert_eq!(write(&mut Vec::new(), Tag(tag), &[]), Err(TlvError::Tag), "{tag:X}");
    }
}

fn tags() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0x5A),
        Just(0x57),
        Just(0x9F38),
        Just(0x5F2D),
        Just(0xC1),
        (0x1Fu32..0x7F).prop_map(|b| 0x9F00 | b),
        (0x81u32..=0xFF, 0u32..0x80).prop_map(|(a, b)| 0xDF_0000 | a << 8 | b),
    ]
}

proptest! {
    /// Against iso7816-tlv 0.4.4 where its known faults cannot bite: no value or template of 127 bytes (written
    /// with a length byte too many), minimal lengths, tags up to 3 bytes, no padding.
    #[test]
    fn as_iso7816_tlv_does(parts in prop::collection::vec((tags(), prop::collection::vec(any::<u8>(), 0..300)), 1..6)) {
        prop_assume!(parts.iter().all(|(_, v)| v.len() != 127));
        let children: Vec<_> = parts.iter().map(|(tag, value)| {
            let bytes: Vec<u8> = Tag(*tag).bytes().collect();
            let tag = oracle::Tag::try_from(hex::encode(bytes).as_str()).unwrap();
            oracle::Tlv::new(tag, oracle::Value::Primitive(value.clone())).unwrap()
        }).collect();
        let mut ours = Vec::new();
        for (tag, value) in &parts {
            write(&mut ours, Tag(*tag), value).unwrap();
        }
        prop_assume!(ours.len() != 127);
        let template = oracle::Tlv::new(oracle::Tag::try_from(0x70u8).unwrap(), oracle::Value::Constructed(children)).unwrap();
        let theirs = template.to_vec();
        prop_assert_eq!(&written(0x70, &ours), &theirs);
        let outer = objects(&theirs).next().unwrap().unwrap();
        let inner: Result<Vec<_>, _> = outer.children().unwrap().collect();
        let read: Vec<_> = inner.unwrap().iter().map(|o| (o.tag.0, o.value.to_vec())).collect();
        prop_assert_eq!(read, parts);
    }

    #[test]
    fn lengths_round_trip(near in prop::sample::select(vec![126usize, 127, 128, 255, 256, 65_535, 65_536]), filler: u8) {
        for tag in [0x53, 0xBF0C, 0xDF8116] {
            let value = vec![filler; near];
            let bytes = written(tag, &value);
            let object = objects(&bytes).next().unwrap().unwrap();
            prop_assert_eq!((object.tag.0, object.value), (tag, value.as_slice()));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fn walk(level: Objects<'_>) {
            for object in level.flatten() {
                if let Ok(children) = object.children() {
                    walk(children);
                }
            }
        }
        walk(objects(&bytes));
    }
}
