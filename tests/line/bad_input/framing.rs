//! Faults that a reader finds without keys and profiles: framing, counts, sequence, names.

use cardwright::exit::Exit;

use super::file::{File, element, elements, l1, l4};
use super::{Bureau, CARDS, Ends, good, pieces};
use crate::support::World;

/// Each case is refused for its format with these words, and the good file is accepted afterwards.
fn refused(cases: &[(Vec<u8>, &[&str])]) {
    let bureau = Bureau::new();
    for (bytes, says) in cases {
        let says = [&["file: ", "; nothing of this file is used: ask the issuer"], *says].concat();
        bureau.refuses(bytes, Ends::alike(Exit::FileFormat), &says);
    }
    bureau.still_accepts_the_good_file();
}

/// A sealed copy of the good file with this change.
fn changed(change: impl FnOnce(&mut File)) -> Vec<u8> {
    let mut file = pieces();
    change(&mut file);
    file.sealed()
}

/// A sealed copy of the good file with a change to the bytes before the Trailer.
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let file = pieces();
    let mut front = file.front();
    change(&mut front);
    file.closed(&front)
}

/// The offset in the good file at which record `n` (from 1) begins, or the Trailer.
fn start(element: usize) -> usize {
    elements(&good().bytes)[element].start
}

const TRAILER: usize = CARDS as usize + 1;

#[test]
fn truncated_file() {
    let bytes = &good().bytes;
    let cut = |at: usize| bytes[..at].to_vec();
    let (second, trailer) = (start(2), start(TRAILER));
    let place = |at: usize| format!("byte {at}: the file is cut short");
    let short = |record: &str, at: usize| [record.to_owned(), place(at)];
    let cases = [
        (cut(0), short("", 0)),
        (cut(3), short("", 3)),
        (cut(start(1) - 1), short("", start(1) - 1)),
        (cut(second), short("record 2, ", second)),
        (cut(second + 4), short("record 2, ", second + 4)),
        (cut(second + 500), short("record 2, ", second + 500)),
        (cut(trailer), short("", trailer)),
        (cut(trailer + 20), short("", trailer + 20)),
        (cut(bytes.len() - 1), short("", bytes.len() - 1)),
    ];
    let says: Vec<[&str; 2]> = cases.iter().map(|(_, says)| says.each_ref().map(String::as_str)).collect();
    refused(
        &cases.iter().zip(&says).map(|((bytes, _), says)| (bytes.clone(), &says[..])).collect::<Vec<_>>(),
    );
}

#[test]
fn not_a_cwf1_file() {
    let magic = damaged(|front| front[5] = b'X');
    let version = damaged(|front| front[10] = 2);
    refused(&[
        (b"card_ref,pan\r\nC1,4761730000000011\r\n".to_vec(), &["this is not a CWF1 file"]),
        (magic, &["this is not a CWF1 file"]),
        (version, &["byte 9: the CWF1 version is not 1"]),
    ]);
}

#[test]
fn gap_or_repeat_in_the_sequence() {
    let numbered = |sequences: [u32; 3]| {
        changed(|file| {
            for (record, sequence) in file.records.iter_mut().zip(sequences) {
                record.sequence = sequence;
            }
        })
    };
    let dropped = changed(|file| {
        file.records.remove(1);
        (file.announced, file.trailer.records) = (2, 2);
    });
    let doubled = changed(|file| {
        let copy = file.records[0].clone();
        file.records.insert(1, copy);
        (file.announced, file.trailer.records) = (4, 4);
    });
    refused(&[
        (numbered([1, 3, 4]), &["record 2, ", "the sequence number is 3 where 2 belongs"]),
        (numbered([1, 1, 2]), &["record 2, ", "the sequence number is 1 where 2 belongs"]),
        (numbered([0, 1, 2]), &["record 1, ", "the sequence number is 0 where 1 belongs"]),
        (numbered([2, 3, 4]), &["record 1, ", "the sequence number is 2 where 1 belongs"]),
        (numbered([1, 3, 2]), &["record 2, ", "the sequence number is 3 where 2 belongs"]),
        (numbered([1, 2, u32::MAX]), &["record 3, ", "the sequence number is 4294967295 where 3 belongs"]),
        (dropped, &["record 2, ", "the sequence number is 3 where 2 belongs"]),
        (doubled, &["record 2, ", "the sequence number is 1 where 2 belongs"]),
    ]);
}

#[test]
fn repeated_card_ref() {
    let named = changed(|file| file.records[2].card_ref = file.records[0].card_ref.clone());
    let whole = changed(|file| {
        let copy = file.records[1].clone();
        file.records.push(copy);
        file.renumber();
    });
    // A CRN repeats the card_ref, so with CRNs the file is refused for a wrong CRN. Without one, it is
    // refused for the repeated card_ref.
    let without_crn = changed(|file| {
        file.records[2].card_ref = file.records[0].card_ref.clone();
        file.forge_chip(2, |chip| chip.crn.clear());
    });
    refused(&[
        (named, &["record 3, ", "the CRN is not the card_ref of the record"]),
        (without_crn, &["record 3, ", "the card_ref is that of record 1 already"]),
        (whole, &["record 4, ", "the card_ref is that of record 2 already"]),
    ]);
}

#[test]
fn a_card_ref_with_12_to_19_digits_in_a_row() {
    let digits = "4761730123456789016";
    let named = |name: String| {
        changed(|file| {
            file.records[1].card_ref.clone_from(&name);
            file.forge_chip(1, |chip| chip.crn = name.into_bytes());
        })
    };
    let says =
        &["record 2, ", "card_ref holds 12 or more consecutive digits, which could be an account number"];
    let mut cases: Vec<(Vec<u8>, &[&str])> =
        (12..=19).map(|n| (named(digits[..n].to_owned()), &says[..])).collect();
    cases.push((named(format!("C-{}-1", &digits[..16])), says));
    refused(&cases);

    // 11 digits in a row are allowed.
    let bureau = Bureau::new();
    std::fs::write(bureau.world.path("eleven.cwf1"), named(format!("{0}-{0}", &digits[..11]))).unwrap();
    assert_eq!(bureau.world.cardwright(&["inspect", "eleven.cwf1"]).code, Exit::StructureOnly as i32);
}

/// A name is in every log, event and report: no account number, in groups or in the shape of a GUID, neither
/// the record's nor one that could be the issuer's (476173).
#[test]
fn a_card_ref_that_is_an_account_number_in_groups() {
    let named = |name: String| {
        changed(|file| {
            file.records[1].card_ref.clone_from(&name);
            file.forge_chip(1, |chip| chip.crn = name.into_bytes());
        })
    };
    let account = {
        let file = pieces();
        let stripe =
            String::from_utf8(file.records[1].sections.iter().find(|s| s.0 == "MAG").unwrap().1.clone());
        stripe.unwrap().split_once('B').unwrap().1[..16].to_owned()
    };
    let grouped =
        |number: &str, by: &str| [&number[..4], &number[4..8], &number[8..12], &number[12..]].join(by);
    let hidden = format!("{}-{}-{}-a716-446655440000", &account[..8], &account[8..12], &account[12..]);
    let bureau = Bureau::new();
    let ends = Ends::alike(Exit::FileFormat);
    for name in [
        grouped(&account, "-"),
        grouped(&account, " "),
        format!("C/{}/7", grouped(&account, ".")),
        hidden,
        grouped("4761739001010119", "-"),
    ] {
        bureau.refuses(&named(name), ends, &["card_ref holds an account number", "record 2, byte "]);
    }
}

/// 1 in 250 GUIDs has 12 digits in a row by chance, and an issuer that names its cards by GUIDs had its files
/// refused.
#[test]
fn guids_are_names_of_cards_from_the_csv_to_the_ledger() {
    let world = World::new();
    let made = world.prep(&["sample", "--count", "3", "--output", "guids.csv"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let guids = [
        "550e8400-e29b-41d4-a716-446655440000",
        "550E8400E29B41D4A716446655440001",
        "00000000-0000-4000-8000-00000000000a",
    ];
    let mut csv = std::fs::read_to_string(world.path("guids.csv")).unwrap();
    for (n, guid) in (1..).zip(guids) {
        csv = csv.replace(&format!("C{n:06},"), &format!("{guid},"));
    }
    std::fs::write(world.path("guids.csv"), csv).unwrap();
    let files = ["--input", "guids.csv", "--output", "guids.cwf1", "--product", "plain.toml"];
    let made = world.prep(&[&["run", "--keys", "issuer.store", "--kek", "476173FF:1"], &files[..]].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert_eq!(world.cardwright(&["inspect", "guids.cwf1", "--keys", "bureau.store"]).code, 0);
    let ended = world.run("guids.cwf1", "sim-chip-8", &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let card = world.cardwright(&["card", "show", "J1", "1", "--json"]);
    assert!(card.stdout.contains(guids[0]), "{}", card.stdout);
    assert_eq!(world.cardwright(&["audit", "verify", "--keys", "bureau.store"]).code, 0);
}

#[test]
fn wrong_count() {
    let more = changed(|file| file.announced = 4);
    let fewer = changed(|file| file.announced = 2);
    let none = changed(|file| file.announced = 0);
    let trailer = changed(|file| file.trailer.records = 4);
    let both = changed(|file| (file.announced, file.trailer.records) = (4, 4));
    let empty = changed(|file| {
        file.records.clear();
        file.renumber();
    });
    refused(&[
        (more, &["4 records are announced, 3 are there"]),
        (fewer, &["something else stands where the Trailer belongs"]),
        (none, &["the file has no record"]),
        (trailer, &["4 records are announced, 3 are there"]),
        (both, &["4 records are announced, 3 are there"]),
        (empty, &["the file has no record"]),
    ]);
}

#[test]
fn bytes_after_the_trailer() {
    let good = &good().bytes;
    let end = format!("byte {}: bytes follow the Trailer", good.len());
    let after = |more: &[u8]| [good, more].concat();
    refused(&[
        (after(&[0]), &[&end]),
        (after(b"\n"), &[&end]),
        (after(&good[start(TRAILER)..]), &[&end]),
        (after(good), &[&end]),
    ]);
}

#[test]
fn unknown_element() {
    let second = start(2);
    let inserted = |kind: u8, at: usize| {
        damaged(|front| {
            front.splice(at..at, element(kind, b"\x00\x00"));
        })
    };
    let place = format!("byte {second}: something else stands where a record belongs");
    let retyped = damaged(|front| front[second] = b'Q');
    let header_twice = damaged(|front| {
        let header = front[..start(1)].to_vec();
        front.splice(start(1)..start(1), header);
    });
    let before_the_trailer = inserted(b'X', start(TRAILER));
    refused(&[
        (inserted(b'X', second), &["record 2, ", &place]),
        (inserted(0x00, second), &["record 2, ", &place]),
        (inserted(b'r', second), &["record 2, ", &place]),
        (retyped, &["record 2, ", &place]),
        (header_twice, &["record 1, ", "something else stands where a record belongs"]),
        (before_the_trailer, &["something else stands where the Trailer belongs"]),
        (damaged(|front| front[0] = b'X'), &["byte 0: this is not a CWF1 file"]),
    ]);
}

#[test]
fn mic_twice_or_malformed() {
    let added = |mic: &str| {
        changed(|file| {
            let data = file.records[1].section("MAG").clone();
            file.records[1].sections.push((mic.to_owned(), data));
        })
    };
    let second = |text: &'static str| ["record 2, ", text];
    let set = second("MIC is not 1 to 7 of A-Z and 0-9");
    refused(&[
        (added("MAG"), &second("the MIC MAG stands twice")),
        (added("CHP"), &second("the MIC CHP stands twice")),
        (added("mag"), &set),
        (added("M G"), &set),
        (added("MAG\n"), &set),
        (added(""), &set),
        (added("ABCDEFGH"), &second("MIC is not 1 to 7 of A-Z and 0-9")),
        (changed(|file| file.records[1].sections.clear()), &second("the record has no section")),
    ]);
}

#[test]
fn oversized_or_overflowing_length() {
    let second = start(2);
    let length =
        |at: usize, value: u32| damaged(|front| front[at..at + 4].copy_from_slice(&value.to_be_bytes()));
    let limit = 16 * 1024 * 1024;
    // The data are as long as the field says, so only the limit is broken.
    let really = changed(|file| file.records[1].section("GFX").resize(limit, 0));
    let claimed = format!("byte {}: the element has 4294967295 bytes; the limit is {limit}", second + 1);
    let over = format!("byte {}: the element has {} bytes; the limit is {limit}", second + 1, limit + 1);
    let beyond = ["record 2, ", "a length points beyond the end of its element"];
    // sequence u32, then L1 card_ref, L1 MIC, L4 data.
    let card_ref = second + 5 + 4;
    let mic = card_ref + 1 + usize::from(good().bytes[card_ref]);
    let data = mic + 1 + usize::from(good().bytes[mic]);
    let one = |at: usize, value: u8| damaged(|front| front[at] = value);
    let cut_header = damaged(|front| front[11] = 0xFF);
    refused(&[
        (length(second + 1, u32::MAX), &["record 2, ", &claimed]),
        (length(second + 1, limit as u32 + 1), &["record 2, ", &over]),
        (length(second + 1, limit as u32), &["record 2, ", "the file is cut short"]),
        (length(second + 1, 0), &beyond),
        (really, &["record 2, ", "; the limit is 16777216"]),
        (length(data, u32::MAX), &beyond),
        (length(data, 0x7FFF_FFFF), &beyond),
        (length(data, 0x8000_0000), &beyond),
        (one(card_ref, 0xFF), &["record 2, ", "card_ref "]),
        (one(mic, 0xFF), &["record 2, ", "MIC "]),
        (length(1, u32::MAX), &["byte 1: the element has 4294967295 bytes"]),
        (cut_header, &["a length points beyond the end of its element"]),
    ]);
}

#[test]
fn trailer_of_wrong_lengths() {
    let trailer = |change: fn(&mut File)| {
        let mut file = pieces();
        change(&mut file);
        file.bytes()
    };
    let tail = |body: Vec<u8>| [pieces().front(), element(b'T', &body)].concat();
    let short = [CARDS.to_be_bytes().to_vec(), vec![0; 32]].concat();
    let kek = [short.clone(), vec![0x47, 0x61, 0x73, 0xFF, 1, 0x42, 0, 0, 0], l1(&[0; 32]), l1(&[0; 16])];
    refused(&[
        (trailer(|f| f.trailer.wrapped.truncate(24)), &["the wrapped MAC key does not have the length"]),
        (trailer(|f| f.trailer.mac.truncate(8)), &["the MAC does not have the length"]),
        (trailer(|f| f.trailer.mac.clear()), &["the MAC does not have the length"]),
        (trailer(|f| f.trailer.tk_type = 0x40), &["does not have the length"]),
        (trailer(|f| f.trailer.tk_type = 0x99), &["the TYPEtk is not known"]),
        (trailer(|f| f.trailer.kek[0] = 0xAA), &["the KEKID is malformed"]),
        (trailer(|f| f.trailer.kek[4] = 0), &["the KEKID is malformed"]),
        (tail(short), &["a length points beyond the end of its element"]),
        (tail([kek.concat(), vec![0]].concat()), &["the element holds bytes after its last field"]),
        (tail(l4(&[])), &["a length points beyond the end of its element"]),
    ]);
}
