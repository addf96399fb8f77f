//! Every pair of parts that may disagree, and the forms in which a number stands there. Published test numbers alone.

use super::shown::card_ref;
use super::*;
use crate::ids::{CardRef, Dgi, KekId, NameError};
use crate::modules::testing::{self, checked};
use crate::record::Section;

/// Two test numbers of the card networks.
const NUMBER: &str = "4761739001010119";
const OTHER: &str = "6228000100001117";

fn emboss(number: &str) -> Vec<u8> {
    let grouped: Vec<_> = number.as_bytes().chunks(4).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("~EM%1;307;480;12/26\r\n~EM%2;401;843;{}\r\n~EM%1;307;328;A CARD\r\n", grouped.join(" ")).into()
}

fn stripe(one: &str, two: &str) -> Vec<u8> {
    format!("~1%B{one}^CARD/A^2612201?\r\n~2;{two}=2612201?\r\n").into()
}

/// A payment application with 57 and 5A in two records.
fn chip(aid: &str, track_2: &str, pan: &str) -> ApplicationWork {
    let record = |tag: &str, value: &str| {
        let value = if value.len().is_multiple_of(2) { value.to_owned() } else { format!("{value}F") };
        let value = hex::decode(format!("{tag}{:02X}{value}", value.len() / 2)).unwrap();
        [&[0x70, u8::try_from(value.len()).unwrap()][..], &value].concat()
    };
    let noise = hex::decode("8201").unwrap();
    checked(
        aid,
        &[
            (0x9104, &noise),
            (0x0101, &record("57", &format!("{track_2}D2612201"))),
            (0x0102, &noise),
            (0x0201, &record("5A", pan)),
        ],
    )
}

const VISA: &str = "A0000000031010";
const DEBIT: &str = "A0000000032010";

fn check(sections: &[(&str, &[u8])], chip: &[ApplicationWork]) -> Result<Option<&'static str>, String> {
    agreed(&testing::work(sections).record, chip).map_err(|fault| {
        assert_eq!((fault.blame, fault.reason.as_str()), (crate::modules::Blame::Data, "data"));
        let digits = fault.detail.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
        assert!(digits.unwrap_or(0) < 4 || fault.detail.contains("A00000000"), "quoted: {}", fault.detail);
        assert!(!fault.detail.contains(NUMBER) && !fault.detail.contains(OTHER));
        fault.detail
    })
}

#[test]
fn parts_that_agree_are_named_and_those_that_are_missing_are_not() {
    let (emb, mag) = (emboss(NUMBER), stripe(NUMBER, NUMBER));
    let (e, m) = (("EMB", emb.as_slice()), ("MAG", mag.as_slice()));
    let c = [chip(VISA, NUMBER, NUMBER)];
    assert_eq!(check(&[e, m], &c), Ok(Some("emboss = stripe = chip")));
    assert_eq!(check(&[e, m], &[]), Ok(Some("emboss = stripe")));
    assert_eq!(check(&[e], &c), Ok(Some("emboss = chip")));
    assert_eq!(check(&[m], &c), Ok(Some("stripe = chip")));
    for one in [&[e][..], &[m], &[]] {
        assert_eq!(check(one, &[]), Ok(None));
    }
    assert_eq!(check(&[], &c), Ok(None));
}

#[test]
fn every_disagreement_is_the_datas() {
    let (emb, mag) = (emboss(NUMBER), stripe(NUMBER, NUMBER));
    let (other_emb, other_mag) = (emboss(OTHER), stripe(OTHER, OTHER));
    let same = || [chip(VISA, NUMBER, NUMBER)];
    let told = |sections: &[(&str, &[u8])], chip: &[ApplicationWork]| check(sections, chip).unwrap_err();
    assert!(told(&[("EMB", &other_emb), ("MAG", &mag)], &same()).contains("embossed number is not"));
    assert!(told(&[("EMB", &other_emb), ("MAG", &mag)], &[]).contains("embossed number is not"));
    assert!(told(&[("EMB", &emb), ("MAG", &other_mag)], &same()).contains("embossed number is not"));
    assert!(told(&[("MAG", &stripe(OTHER, NUMBER))], &[]).contains("track 1"));
    assert!(told(&[("EMB", &other_emb)], &same()).contains("no application"));
    assert!(told(&[("MAG", &other_mag)], &same()).contains("no application"));
    let both: &[(&str, &[u8])] = &[("EMB", &emb), ("MAG", &mag)];
    assert!(told(both, &[chip(VISA, OTHER, OTHER)]).contains("no application"));
    assert!(told(both, &[chip(VISA, NUMBER, OTHER)]).contains(VISA));
    assert!(told(&[], &[chip(VISA, OTHER, NUMBER)]).contains("two different"));
    // One wrong digit, at every place.
    for at in 0..NUMBER.len() {
        let mut wrong = NUMBER.as_bytes().to_vec();
        wrong[at] = if wrong[at] == b'9' { b'0' } else { wrong[at] + 1 };
        let wrong = String::from_utf8(wrong).unwrap();
        assert!(check(&[("EMB", &emboss(&wrong)), ("MAG", &mag)], &[]).is_err());
    }
}

#[test]
fn of_several_payment_applications_one_has_the_number_of_the_plastic() {
    let (emb, mag) = (emboss(NUMBER), stripe(NUMBER, NUMBER));
    let both: &[(&str, &[u8])] = &[("EMB", &emb), ("MAG", &mag)];
    let two = [chip(DEBIT, OTHER, OTHER), chip(VISA, NUMBER, NUMBER)];
    assert_eq!(check(both, &two), Ok(Some("emboss = stripe = chip")));
    let two = [chip(DEBIT, OTHER, OTHER), chip(VISA, OTHER, OTHER)];
    assert!(check(both, &two).is_err());
}

#[test]
fn numbers_of_any_length_and_parts_without_one() {
    // 13, 15, 17 and 19 digits: filled up with F in the chip.
    for digits in [13, 15, 17, 19] {
        let number = &"7".repeat(digits);
        let (emb, mag) = (emboss(number), stripe(number, number));
        let c = [chip(VISA, number, number)];
        assert_eq!(check(&[("EMB", &emb), ("MAG", &mag)], &c), Ok(Some("emboss = stripe = chip")));
    }
    // No account number: dates, a member's name, a stripe of another kind, a protected record.
    let emb: &[u8] = b"~EM%1;307;480;12/26\r\n~EM%1;307;328;A CARD\r\n";
    let mag: &[u8] = b"~1%MEMBER 12^X?\r\n~2;123456789012?\r\n";
    let mut secret = chip(VISA, NUMBER, NUMBER);
    secret.application.protected = vec![Dgi(0x0101), Dgi(0x0201)];
    assert_eq!(check(&[("EMB", emb), ("MAG", mag)], &[secret]), Ok(None));
    assert_eq!(check(&[("EMB", emb), ("MAG", &stripe(NUMBER, NUMBER))], &[]), Ok(None));
}

/// A record with this name of the card.
fn named(card_ref: &str, sections: &[(&str, &[u8])]) -> Record {
    let record = testing::work(sections).record;
    let sections = record.sections.into_iter();
    let sections = sections.map(|s| Section { mic: s.mic, data: s.data }).collect();
    Record { sequence: 1, card_ref: CardRef::new(card_ref).unwrap(), sections }
}

/// An account number in groups passed as a card_ref, which logs, events and reports show.
#[test]
fn a_card_ref_holds_no_account_number_that_its_record_shows() {
    let grouped = "4761-7390-0101-0119";
    let (emb, mag) = (emboss(NUMBER), stripe(NUMBER, NUMBER));
    let ind = format!("~EM%30;2400;1050;{NUMBER} 014\r\n").replace("19 014", "19/014");
    let third = format!("~3;01{NUMBER}=2612?\r\n");
    let field = [&[6][..], b"number4761 7390 0101 0119"].concat();
    let length = u32::try_from(field.len()).unwrap().to_be_bytes();
    let gfx = [&b"\x01\0\0\0\x01t\x02"[..], &length, &field].concat();
    let one: &[u8] = b"~1%B4761 7390 0101 0119^CARD/A^2612201?\r\n";
    for section in [
        ("EMB", emb.as_slice()),
        ("IND", ind.as_bytes()),
        ("MAG", &mag),
        ("MAG", one),
        ("MAG", third.as_bytes()),
        ("GFX", &gfx),
    ] {
        let found = |name: &str| card_ref(&named(name, &[section]), &[]);
        assert_eq!(found(grouped), Err(NameError::HoldsPan), "{}", section.0);
        assert_eq!(found("6228-0001-0000-1117"), Ok(()), "{}", section.0);
        assert_eq!(found("C000001"), Ok(()));
    }
    let chip = |number: &str| vec![chip(VISA, number, number).application];
    assert_eq!(card_ref(&named(grouped, &[]), &chip(NUMBER)), Err(NameError::HoldsPan));
    // Another number, but one that the issuer of the KEK could have given out.
    let of = |kek: &str| {
        let mut applications = chip(OTHER);
        applications[0].kek = KekId::from_hex(kek).unwrap();
        card_ref(&named(grouped, &[]), &applications)
    };
    assert_eq!(of("476173FF01"), Err(NameError::HoldsPan));
    assert_eq!(of("476174FF01"), Ok(()));
    assert_eq!(card_ref(&named("550e8400-e29b-41d4-a716-446655440000", &[]), &chip(NUMBER)), Ok(()));
}

/// The return file is read by many, and a name in a shipping field went into it.
#[test]
fn a_name_in_fulfilment_data_is_withheld_from_papers() {
    let track_1 = b"~1%B4761739001010119^VAN DYK/MIA LEA.DR^2612201?\r\n".as_slice();
    let shown = |text: &str, name: (&str, &[u8])| {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        let data = [&[0x03][..], &length, text.as_bytes()].concat();
        let record = named("C1", &[("FUL", &data), name]);
        fulfilment_without_name(&record).carrier.unwrap()
    };
    for held in ["VAN DYK/MIA", "Mia van Dyk", "DR. MIA LEA VAN-DYK", "to: van dyk, mia; 12 High Street"] {
        assert_eq!(shown(held, ("MAG", track_1)), "(withheld: the cardholder's name)", "{held}");
    }
    for free in ["CR-A", "MIA", "VAN DYK", "DYK MIA", "VANDYKMIA", "LEA VAN DYK", "VAN DYKE MIA"] {
        assert_eq!(shown(free, ("MAG", track_1)), free);
    }
    let company = b"~1%B4761739001010119^GOLD/^2612201?\r\n".as_slice();
    assert_eq!(shown("GOLD", ("MAG", company)), "(withheld: the cardholder's name)");
    assert_eq!(shown("GOLD-02", ("MAG", company)), "GOLD-02");
}
