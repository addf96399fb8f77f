//! The reader reads everything that the writer writes; the writer refuses everything that the reader would refuse.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::super::testing::{KEKID, file, record};
use super::super::{Cwf1Reader, FileEnd, FileKind, Section};
use super::*;
use crate::exit::Exit;
use crate::ids::{CardRef, FileId, IssuerId, Kcv, KekId, Mic, ProductName};

fn read(bytes: &[u8]) -> (Header, Vec<Record>, FileEnd) {
    let mut reader = Cwf1Reader::open(bytes, FileLimits::default()).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record);
    }
    (reader.header().clone(), records, reader.finish().unwrap())
}

fn owned(sequence: u32, name: &str, sections: &[(&str, &[u8])]) -> Record {
    let section = |(mic, data): &(&str, &[u8])| Section {
        mic: Mic::new(*mic).unwrap(),
        data: Zeroizing::new(data.to_vec()),
    };
    Record {
        sequence,
        card_ref: CardRef::new(name).unwrap(),
        sections: sections.iter().map(section).collect(),
    }
}

fn header_of(records: u32) -> Header {
    Header {
        kind: FileKind::Finished,
        file_id: FileId::new("F-0001").unwrap(),
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        product: ProductName::new("multiapp").unwrap(),
        created: 1_767_225_600,
        records,
    }
}

fn key() -> TrailerKey {
    TrailerKey { kek: KekId(KEKID), tk_type: 0x40, kcv: Kcv([0xAA, 0xBB, 0xCC]) }
}

fn mac(_: Vec<u8>) -> Result<TrailerMac, FileError> {
    Ok(TrailerMac { wrapped_mac_key: vec![0x11; 24], mac: vec![0x22; 8] })
}

#[test]
fn the_writer_writes_the_bytes_put_together_by_hand() {
    let mut out = Vec::new();
    let mut writer = Cwf1Writer::new(&mut out, &header_of(2)).unwrap();
    writer.record(&owned(1, "CARD-1", &[("EMB", b"~EM%1;2;3;A\r\n"), ("CHP", b"x")])).unwrap();
    writer.record(&owned(2, "CARD-2", &[("MAG", b"")])).unwrap();
    let mut maced = Vec::new();
    let finished = writer
        .finish(key(), |body| {
            maced = [body.as_slice(), &[24], &[0x11; 24]].concat();
            mac(body)
        })
        .unwrap();
    let (digest, length) = (finished.digest, finished.length);
    let expected = file(&[
        record(1, "CARD-1", &[("EMB", b"~EM%1;2;3;A\r\n"), ("CHP", b"x")]),
        record(2, "CARD-2", &[("MAG", b"")]),
    ]);
    assert_eq!(out, expected);
    let end = read(&expected).2;
    assert_eq!((maced, digest, length), (end.body, end.digest, end.length));
}

#[test]
fn each_kind_is_read_only_where_it_belongs() {
    for kind in FileKind::ALL {
        let mut out = Vec::new();
        let mut writer = Cwf1Writer::new(&mut out, &Header { kind, ..header_of(1) }).unwrap();
        writer.record(&owned(1, "CARD-1", &[("MAG", b"")])).unwrap();
        writer.finish(key(), mac).unwrap();
        let limits = FileLimits::default();
        let opened = [
            Cwf1Reader::open(out.as_slice(), limits),
            Cwf1Reader::open_unfinished(out.as_slice(), limits),
            Cwf1Reader::open_any(out.as_slice(), limits),
        ];
        let right = [kind == FileKind::Finished, kind == FileKind::Unfinished, true];
        for (reader, right) in opened.into_iter().zip(right) {
            match reader {
                Ok(reader) => assert!(right && reader.header().kind == kind),
                Err(error) => {
                    assert!(!right && error.exit() == Exit::Input);
                    let words = if kind == FileKind::Finished { "finished" } else { "unfinished" };
                    assert!(error.to_string().contains(&format!("this file is {words}:")), "{error}");
                }
            }
        }
        // Nothing but the two words is a kind.
        for bad in [*b"CWFV", *b"CWF2", *b"cwfu", *b"CWF\0"] {
            out[5..9].copy_from_slice(&bad);
            let error = Cwf1Reader::open_any(out.as_slice(), limits).err().unwrap();
            assert!(matches!(error.fault, FileFault::NotCwf1));
        }
    }
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let start = |count| Cwf1Writer::new(Vec::new(), &header_of(count)).unwrap();
    assert!(Cwf1Writer::new(Vec::new(), &header_of(0)).is_err());

    let fault = |record: Record| start(1).record(&record).unwrap_err().fault;
    assert!(matches!(fault(owned(2, "A", &[("MAG", b"")])), FileFault::Sequence { expected: 1, found: 2 }));
    assert!(matches!(fault(owned(1, "A", &[])), FileFault::NoSections));
    assert!(matches!(fault(owned(1, "A", &[("MAG", b""), ("MAG", b"")])), FileFault::MicTwice(_)));
    assert!(matches!(fault(owned(1, "A", &[("GFX", &vec![0; 16 << 20])])), FileFault::TooLong { .. }));

    let mut writer = start(1);
    writer.record(&owned(1, "A", &[("MAG", b"")])).unwrap();
    assert!(matches!(
        writer.record(&owned(2, "B", &[("MAG", b"")])).unwrap_err().fault,
        FileFault::Count { stated: 1, found: 2 }
    ));
    assert!(matches!(
        start(1).finish(key(), mac).err().unwrap().fault,
        FileFault::Count { stated: 1, found: 0 }
    ));

    let mut writer = start(2);
    writer.record(&owned(1, "A", &[("MAG", b"")])).unwrap();
    writer.record(&owned(2, "A", &[("MAG", b"")])).unwrap();
    assert!(matches!(writer.finish(key(), mac).err().unwrap().fault, FileFault::CardRefTwice { first: 1 }));

    let mut writer = start(1);
    writer.record(&owned(1, "A", &[("MAG", b"")])).unwrap();
    let wrong =
        |_: Vec<u8>| Ok::<_, FileError>(TrailerMac { wrapped_mac_key: vec![0x11; 24], mac: vec![0; 4] });
    assert!(matches!(writer.finish(key(), wrong).err().unwrap().fault, FileFault::SuiteLength("the MAC")));
}

fn names() -> impl Strategy<Value = String> {
    "[ -~]{1,40}".prop_filter("a card_ref", |name| CardRef::new(name.as_str()).is_ok())
}

fn sections() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    prop::collection::btree_map("[A-Z0-9]{1,7}", prop::collection::vec(any::<u8>(), 0..200), 1..24)
        .prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn round_trip(cards in prop::collection::btree_map(names(), sections(), 1..6)) {
        let mut out = Vec::new();
        let mut writer = Cwf1Writer::new(&mut out, &header_of(cards.len() as u32)).unwrap();
        for (sequence, (name, sections)) in (1..).zip(&cards) {
            let sections: Vec<_> = sections.iter().map(|(m, d)| (m.as_str(), d.as_slice())).collect();
            writer.record(&owned(sequence, name, &sections)).unwrap();
        }
        let trailer = writer.finish(key(), mac).unwrap().trailer;
        let (header, records, end) = read(&out);
        prop_assert_eq!(header, header_of(cards.len() as u32));
        prop_assert_eq!(end.trailer, trailer);
        let back: Vec<_> = records.iter().map(|r| {
            let sections = r.sections.iter().map(|s| (s.mic.as_str().to_owned(), s.data.to_vec())).collect::<Vec<_>>();
            (r.card_ref.as_str().to_owned(), sections)
        }).collect();
        prop_assert_eq!(back, cards.into_iter().collect::<Vec<_>>());
    }
}
