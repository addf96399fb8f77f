//! The framing of `src/manual/cwf1.md` section 2: known layout, round trips, and every way in which a file
//! can be wrong.

use std::io::Read;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::testing::{KEKID, close, element, file, front, header, l1, l4, record, trailer};
use super::*;
use crate::exit::{Exit, Failure};
use crate::ids::{CardRef, Kcv, KekId, Mic, NameError};

/// Reads to the end.
fn read(bytes: &[u8]) -> Result<(Header, Vec<Record>, FileEnd), FileError> {
    read_with(bytes, FileLimits::default())
}

fn read_with(bytes: impl Read, limits: FileLimits) -> Result<(Header, Vec<Record>, FileEnd), FileError> {
    let mut reader = Cwf1Reader::open(bytes, limits)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok((reader.header().clone(), records, reader.finish()?))
}

fn refused(bytes: &[u8]) -> FileError {
    match read(bytes) {
        Ok(_) => panic!("the file was read"),
        Err(error) => error,
    }
}

/// `matches!` on the fault of a file that must be refused, with its record and offset.
macro_rules! assert_refused {
    ($bytes:expr, $record:expr, $offset:expr, $fault:pat) => {
        let error = refused(&$bytes);
        assert!(matches!(error.fault, $fault), "{error:?}");
        assert_eq!((error.record, error.offset), ($record, $offset as u64), "{error}");
    };
}

fn two() -> Vec<Vec<u8>> {
    vec![
        record(1, "CARD-1", &[("EMB", b"~EM%1;2;3;A\r\n"), ("CHP", b"x")]),
        record(2, "CARD-2", &[("MAG", b"")]),
    ]
}

/// Offset of the first record's body in a file with [`header`].
fn first_body() -> usize {
    5 + header(1).len() + 5
}

/// Every byte written out by hand from `src/manual/cwf1.md` section 2.
#[test]
fn known_layout_of_design_section_3() {
    let mut bytes = hex::decode(concat!(
        "48",
        "00000018", // H, 24 bytes
        "43574631",
        "0001", // "CWF1", version
        "0146",
        "0154",
        "0150", // file_id F, issuer_id T, product P
        "0000000065920080",
        "00000001", // created, records
        "52",
        "00000016", // R, 22 bytes
        "00000001",
        "0143", // sequence, card_ref C
        "034D4147",
        "00000002",
        "AABB", // MAG
        "0141",
        "00000000", // MIC A, empty
    ))
    .unwrap();
    let digest = Sha256::digest(&bytes);
    bytes.extend(hex::decode("540000005F00000001").unwrap()); // T, 95 bytes; records
    bytes.extend(digest);
    bytes.extend(hex::decode("476173990142A1B2C320").unwrap()); // KEKID, TYPEtk, KCV, length of the wrapped key
    bytes.extend([0x11; 32]);
    bytes.push(0x10);
    bytes.extend([0x22; 16]);

    let (header, records, end) = read(&bytes).unwrap();
    assert_eq!(header.file_id.as_str(), "F");
    assert_eq!(header.issuer_id.as_str(), "T");
    assert_eq!(header.product.as_str(), "P");
    assert_eq!((header.created, header.records), (0x6592_0080, 1));
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].sequence, records[0].card_ref.as_str()), (1, "C"));
    assert_eq!(records[0].section("MAG"), Some(&[0xAA, 0xBB][..]));
    assert_eq!(records[0].section("A"), Some(&[][..]));
    let expected = Trailer {
        records: 1,
        digest: digest.into(),
        kek: KekId(KEKID),
        tk_type: 0x42,
        kcv: Kcv([0xA1, 0xB2, 0xC3]),
        wrapped_mac_key: vec![0x11; 32],
        mac: vec![0x22; 16],
    };
    assert_eq!(end.trailer, expected);
    // The MAC covers all of the body but L1 MAC.
    assert_eq!(end.body, bytes[61..bytes.len() - 17]);
    assert_eq!(end.digest, <[u8; 32]>::from(Sha256::digest(&bytes)));
    assert_eq!(end.length, bytes.len() as u64);
}

#[test]
fn a_file_of_another_kind_is_not_cwf1() {
    assert_refused!(b"PK\x03\x04 a zip file"[..], None, 0, FileFault::NotCwf1);
    assert_refused!(b"Hello, this is no card file"[..], None, 0, FileFault::NotCwf1);
    assert_refused!(front(b"CWF2 and so on", &[]), None, 0, FileFault::NotCwf1);
    assert_refused!(Vec::new(), None, 0, FileFault::Truncated);
}

#[test]
fn version_other_than_1() {
    let mut body = header(1);
    body[5] = 2;
    assert_refused!(front(&body, &[]), None, 9, FileFault::Version);
}

#[test]
fn header_that_announces_no_record() {
    assert_refused!(close(front(&header(0), &[]), 0), None, 5 + header(0).len() - 4, FileFault::NoRecords);
}

#[test]
fn header_with_bytes_behind_its_last_field() {
    let body = [header(1), vec![0]].concat();
    assert_refused!(front(&body, &two()), None, 5 + header(1).len(), FileFault::Leftover);
}

#[test]
fn header_names_empty_or_not_printable() {
    for (text, fault) in
        [(&b""[..], NameError::Empty), (b"a\x07", NameError::Character), (b"\xC3\xA4", NameError::Character)]
    {
        let body = [&b"CWF1\x00\x01"[..], &l1(text), &l1(b"T"), &l1(b"P"), &[0; 8], &[0, 0, 0, 1]].concat();
        let error = refused(&front(&body, &two()));
        assert!(
            matches!(error.fault, FileFault::Name { field: "file_id", fault: f } if f == fault),
            "{error}"
        );
    }
}

#[test]
fn truncated_at_every_byte() {
    let bytes = file(&two());
    for length in 0..bytes.len() {
        let error = refused(&bytes[..length]);
        assert!(matches!(error.fault, FileFault::Truncated), "{length}: {error}");
        assert_eq!(error.offset, length as u64, "{length}");
        assert_eq!(error.exit(), Exit::FileFormat);
    }
    assert!(read(&bytes).is_ok());
}

/// Flips every bit of the file. Before the Trailer, the digest or a rule catches it. In the Trailer a rule catches
/// it, or the flip changes the MAC or bytes that the MAC covers, which only keys can check.
#[test]
fn a_flipped_bit_at_every_place() {
    let bytes = file(&two());
    let (_, _, good) = read(&bytes).unwrap();
    let trailer_from = bytes.len() - (5 + trailer(2, &[0; 32]).len());
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            match read(&flipped) {
                Err(_) => {}
                Ok((_, _, end)) => {
                    assert!(place >= trailer_from + 5 + 36, "byte {place} bit {bit} goes unseen");
                    assert!(end.body != good.body || end.trailer.mac != good.trailer.mac);
                }
            }
        }
    }
}

#[test]
fn changed_data_with_right_framing_is_a_wrong_digest() {
    let mut bytes = file(&two());
    let at = first_body() + 4 + 7 + 4 + 4 + 5;
    assert_eq!(bytes[at], b';');
    bytes[at] = b',';
    let trailer_from = bytes.len() - trailer(2, &[0; 32]).len();
    assert_refused!(bytes, None, trailer_from + 4, FileFault::Digest);
    assert_eq!(refused(&bytes).exit(), Exit::FileDigest);
}

#[test]
fn gap_in_the_sequence() {
    let bytes = file(&[record(1, "A", &[("MAG", b"")]), record(3, "B", &[("MAG", b"")])]);
    let second = first_body() + record(1, "A", &[("MAG", b"")]).len() + 5;
    assert_refused!(bytes, Some(2), second, FileFault::Sequence { expected: 2, found: 3 });
}

#[test]
fn repeat_in_the_sequence() {
    let bytes = file(&[record(1, "A", &[("MAG", b"")]), record(1, "B", &[("MAG", b"")])]);
    assert!(matches!(refused(&bytes).fault, FileFault::Sequence { expected: 2, found: 1 }));
}

#[test]
fn sequence_that_begins_at_0() {
    assert_refused!(
        file(&[record(0, "A", &[("MAG", b"")])]),
        Some(1),
        first_body(),
        FileFault::Sequence { expected: 1, found: 0 }
    );
}

#[test]
fn repeated_card_ref() {
    let body = |sequence, name| record(sequence, name, &[("MAG", b"")]);
    let bytes = file(&[body(1, "A"), body(2, "B"), body(3, "C"), body(4, "B")]);
    let fourth = first_body() - 5 + 3 * (5 + body(1, "A").len());
    assert_refused!(bytes, Some(4), fourth, FileFault::CardRefTwice { first: 2 });
}

#[test]
fn card_ref_with_12_to_19_digits_is_refused_and_never_quoted() {
    for digits in 12..=19 {
        let number = &"4761739001010010123"[..digits];
        for name in [number.to_owned(), format!("X{number}Y")] {
            let error = refused(&file(&[record(1, &name, &[("MAG", b"")])]));
            assert!(matches!(
                error.fault,
                FileFault::Name { field: "card_ref", fault: NameError::LooksLikePan }
            ));
            let failure = Failure::from(error);
            assert!(!failure.message.contains("4761"), "{failure}");
            assert!(failure.message.contains("record 1"), "{failure}");
        }
    }
    // 11 digits in a row, and the last group of a GUID.
    for name in ["12345678901-12345678901", "550e8400-e29b-41d4-a716-446655440000"] {
        assert!(read(&file(&[record(1, name, &[("MAG", b"")])])).is_ok());
    }
}

#[test]
fn card_ref_empty_too_long_or_not_printable() {
    for (name, expected) in [
        (String::new(), NameError::Empty),
        ("x".repeat(41), NameError::TooLong(40)),
        ("a\u{1}".to_owned(), NameError::Character),
        ("caf\u{e9}".to_owned(), NameError::Character),
    ] {
        let error = refused(&file(&[record(1, &name, &[("MAG", b"")])]));
        assert_eq!(error.offset, first_body() as u64 + 5);
        assert!(matches!(error.fault, FileFault::Name { field: "card_ref", fault } if fault == expected));
    }
    assert!(read(&file(&[record(1, &"x".repeat(40), &[("MAG", b"")])])).is_ok());
}

#[test]
fn fewer_records_than_the_header_announces() {
    let records = two();
    let bytes = close(front(&header(3), &records), 2);
    let at = bytes.len() - (5 + trailer(2, &[0; 32]).len());
    assert_refused!(bytes, None, at, FileFault::Count { stated: 3, found: 2 });
}

#[test]
fn more_records_than_the_header_announces() {
    let records = two();
    let at = first_body() + records[0].len();
    assert_refused!(close(front(&header(1), &records), 2), None, at, FileFault::Element("the Trailer"));
}

#[test]
fn trailer_with_another_count() {
    let bytes = close(front(&header(2), &two()), 3);
    let at = bytes.len() - trailer(2, &[0; 32]).len();
    assert_refused!(bytes, None, at, FileFault::Count { stated: 3, found: 2 });
}

#[test]
fn bytes_after_the_trailer() {
    let bytes = file(&two());
    let longer = [bytes.clone(), vec![0x00]].concat();
    assert_refused!(longer, None, bytes.len(), FileFault::AfterTrailer);
    assert_refused!([bytes.clone(), bytes.clone()].concat(), None, bytes.len(), FileFault::AfterTrailer);
}

#[test]
fn unknown_element_type() {
    let bytes = [front(&header(1), &[]), element(b'X', &two()[0])].concat();
    assert_refused!(bytes, Some(1), first_body() - 5, FileFault::Element("a record"));
    let second_header = [front(&header(1), &[]), element(b'H', &header(1))].concat();
    assert_refused!(second_header, Some(1), first_body() - 5, FileFault::Element("a record"));
}

#[test]
fn mic_twice_in_a_record() {
    let body = record(1, "A", &[("MAG", b"1"), ("EMB", b"2"), ("MAG", b"3")]);
    // sequence, card_ref; two sections of 4 + 4 + 1; the second MAG's data begins 8 bytes later.
    let at = first_body() + 4 + 2 + 9 + 9 + 8;
    let bytes = file(&[body]);
    assert_refused!(bytes, Some(1), at, FileFault::MicTwice(_));
}

#[test]
fn mic_outside_its_rules() {
    for mic in ["", "emb", "EM B", "TOOLONG8", "\u{c4}"] {
        let error = refused(&file(&[record(1, "A", &[(mic, b"")])]));
        assert!(matches!(error.fault, FileFault::Name { field: "MIC", .. }), "{mic}: {error}");
    }
    assert!(read(&file(&[record(1, "A", &[("X123456", b"")])])).is_ok());
}

#[test]
fn record_without_a_section() {
    assert_refused!(file(&[record(1, "A", &[])]), Some(1), first_body() + 6, FileFault::NoSections);
}

#[test]
fn section_longer_than_its_record() {
    for length in [4u32, 0x7FFF_FFFF, u32::MAX] {
        let mut body = record(1, "A", &[("MAG", b"abc")]);
        let at = body.len() - 7;
        body[at..at + 4].copy_from_slice(&length.to_be_bytes());
        assert_refused!(file(&[body]), Some(1), first_body() + at + 4, FileFault::Field);
    }
}

#[test]
fn record_with_bytes_behind_its_last_section() {
    let body = [record(1, "A", &[("MAG", b"abc")]), vec![0x05, b'M']].concat();
    assert!(matches!(refused(&file(&[body])).fault, FileFault::Field));
}

#[test]
fn element_over_the_limit_is_refused_before_it_is_read() {
    let limit = 16 * 1024 * 1024;
    for length in [limit + 1, u32::MAX] {
        let bytes = [front(&header(1), &[]), vec![b'R'], length.to_be_bytes().to_vec()].concat();
        let at = first_body() - 4;
        assert_refused!(bytes, Some(1), at, FileFault::TooLong { .. });
    }
    // At the limit it is only cut short.
    let bytes = [front(&header(1), &[]), vec![b'R'], limit.to_be_bytes().to_vec()].concat();
    assert!(matches!(refused(&bytes).fault, FileFault::Truncated));
    let bytes = file(&[record(1, "A", &[("GFX", &[0; 1000])])]);
    assert!(read_with(&bytes[..], FileLimits { body: 1013 }).is_err());
    assert!(read_with(&bytes[..], FileLimits { body: 1014 }).is_ok());
}

#[test]
fn trailer_key_fields_outside_their_rules() {
    let records = two();
    let good = front(&header(2), &records);
    let digest = Sha256::digest(&good);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = trailer(2, &digest);
        change(&mut body);
        refused(&[good.clone(), element(b'T', &body)].concat()).fault
    };
    assert!(matches!(with(&|b| b[40] = 0x00), FileFault::KekId));
    assert!(matches!(with(&|b| b[36] = 0xA1), FileFault::KekId));
    assert!(matches!(with(&|b| b[41] = 0x20), FileFault::TkType));
    assert!(matches!(with(&|b| b[41] = 0x42), FileFault::SuiteLength("the wrapped MAC key")));
    assert!(matches!(
        with(&|b| {
            let at = b.len() - 9;
            b[at] = 4;
            b.truncate(at + 5);
        }),
        FileFault::SuiteLength("the MAC")
    ));
    assert!(matches!(with(&|b| b.push(0)), FileFault::Leftover));
    assert!(matches!(with(&|b| b.truncate(30)), FileFault::Field));
}

#[test]
fn after_an_error_the_reader_gives_only_errors() {
    let bytes = file(&[record(2, "A", &[("MAG", b"")])]);
    let mut reader = Cwf1Reader::open(&bytes[..], FileLimits::default()).unwrap();
    assert!(reader.next_frame().is_err());
    assert!(matches!(reader.next_frame().err().unwrap().fault, FileFault::Broken));
    assert!(reader.finish().is_err());
}

#[test]
fn finish_before_the_last_record_is_an_error() {
    let bytes = file(&two());
    let mut reader = Cwf1Reader::open(&bytes[..], FileLimits::default()).unwrap();
    assert!(reader.next_frame().unwrap().is_some());
    assert!(matches!(reader.finish().err().unwrap().fault, FileFault::Broken));
}

/// A source that returns one byte at a time, and an interruption before each.
struct Drip<'a>(&'a [u8], bool);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn short_and_interrupted_reads_change_nothing() {
    let bytes = file(&two());
    let (_, records, end) = read_with(Drip(&bytes, false), FileLimits::default()).unwrap();
    assert_eq!((records.len(), end.digest), (2, read(&bytes).unwrap().2.digest));
}

#[test]
fn a_failing_read_is_io() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
    }
    let error = read_with(Fails, FileLimits::default()).err().unwrap();
    assert_eq!(error.exit(), Exit::Io);
}

/// 200 MB of records pass through the buffer that the first of them needed.
#[test]
fn memory_does_not_grow_with_the_file() {
    let data = vec![0x5A; 100_000];
    let records: Vec<_> = (1..=20).map(|n| record(n, &format!("C{n}"), &[("GFX", &data)])).collect();
    let bytes = file(&records);
    let mut reader = Cwf1Reader::open(&bytes[..], FileLimits::default()).unwrap();
    while reader.next_frame().unwrap().is_some() {
        assert_eq!(reader.room(), 256 * 1024);
    }
    // A length that promises 16 MiB, with nothing after it, gets no memory.
    let bytes = [front(&header(1), &[]), vec![b'R'], (16u32 << 20).to_be_bytes().to_vec()].concat();
    let mut reader = Cwf1Reader::open(&bytes[..], FileLimits::default()).unwrap();
    assert!(reader.next_frame().is_err());
    assert_eq!(reader.room(), 256 * 1024);
}

#[test]
fn element_larger_than_the_buffer() {
    let data: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let bytes = file(&[
        record(1, "A", &[("EMB", b"x")]),
        record(2, "B", &[("GFX", &data)]),
        record(3, "C", &[("EMB", b"y")]),
    ]);
    let (_, records, _) = read(&bytes).unwrap();
    assert_eq!(records[1].section("GFX"), Some(&data[..]));
    assert_eq!(records[2].section("EMB"), Some(&b"y"[..]));
}

#[test]
fn others_digest_is_over_all_but_chp_in_file_order() {
    let bytes = file(&[record(1, "A", &[("MAG", b"m"), ("CHP", b"secret"), ("EMB", b"ee")])]);
    let mut reader = Cwf1Reader::open(&bytes[..], FileLimits::default()).unwrap();
    let frame = reader.next_frame().unwrap().unwrap();
    let expected = Sha256::digest([l1(b"MAG"), l4(b"m"), l1(b"EMB"), l4(b"ee")].concat());
    assert_eq!(frame.others_digest()[..], expected[..]);
    assert_eq!(others_digest(&frame.to_record().unwrap())[..], expected[..]);
}

#[test]
fn sections_know_where_they_stand() {
    let bytes = file(&two());
    let mut reader = Cwf1Reader::open(&bytes[..], FileLimits::default()).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        for section in frame.sections() {
            let at = section.offset as usize;
            assert_eq!(&bytes[at..at + section.data.len()], section.data);
        }
    }
}

proptest! {
    /// The fast check of a MIC and the type agree.
    #[test]
    fn a_mic_is_a_mic(text in "[A-Za-z0-9 -]{0,9}") {
        let fits = Mic::new(text.as_str()).is_ok();
        prop_assert_eq!(read(&file(&[record(1, "A", &[(&text, b"")])])).is_ok(), fits);
    }

    /// The fast check of a card_ref and the type agree.
    #[test]
    fn a_card_ref_is_a_card_ref(text in "(([0-9]{0,13}[ -~\\x7f]?){1,4})|([0-9a-f]{8}(-[0-9]{4}){3}-[0-9]{12})") {
        let fits = CardRef::new(text.as_str()).is_ok();
        prop_assert_eq!(read(&file(&[record(1, &text, &[("MAG", b"")])])).is_ok(), fits);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).is_err());
        let mut begun = front(&header(1), &[]);
        begun.extend(element(b'R', &bytes));
        prop_assert!(read(&begun).is_err());
        let mut ended = front(&header(2), &two());
        ended.extend(element(b'T', &bytes));
        prop_assert!(read(&ended).is_err());
    }
}
