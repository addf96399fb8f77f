//! The fields of one card, put together from the published vectors of pyemv and psec.

use super::super::input::{CardholderReader, Defaults};
use super::*;

const MASTER: &str = "0123456789ABCDEFFEDCBA9876543210";

/// Every master key is the one of the vectors; the PVK has index 1.
fn keys() -> IssuerKeys {
    let mut keys = IssuerKeys::default();
    for master in Master::ALL {
        keys.add(master, 1, TdesKey::new(hex::decode(MASTER).unwrap().try_into().unwrap()));
    }
    keys
}

fn card(line: &str) -> Cardholder {
    let text = format!(
        "card_ref,pan,psn,name,expiry,effective,service_code,pin,purse_id,balance,max_balance,currency,\
         currency_exponent,member,points,offer\n{line}\n"
    );
    let defaults = Defaults::new();
    CardholderReader::new(text.as_bytes(), &defaults).unwrap().next().unwrap().unwrap()
}

fn full() -> Cardholder {
    card("C1,4761739001010119,01,TEST/CARD,2212,2001,201,1234,1234567890,500,10000,978,2,M42,258,HELLO")
}

fn compute(card: &Cardholder, keys: &IssuerKeys, field: CardField) -> Option<Vec<u8>> {
    let values = CardValues::compute(&BTreeSet::from([field]), card, keys, Option14::A).unwrap();
    values.value(field).map(<[u8]>::to_vec)
}

fn hex_of(field: CardField) -> String {
    hex::encode_upper(compute(&full(), &keys(), field).unwrap())
}

fn text_of(card: &Cardholder, field: CardField) -> String {
    String::from_utf8(compute(card, &keys(), field).unwrap()).unwrap()
}

#[test]
fn chip_fields() {
    for (field, value) in [
        (CardField::Pan, "4761739001010119"),
        (CardField::Psn, "01"),
        (CardField::ExpiryDate, "221231"),
        (CardField::EffectiveDate, "200101"),
        (CardField::ServiceCode, "0201"),
        // iCVV 204, PVKI 1, PVV 0949 (psec).
        (CardField::Track2Chip, "4761739001010119D221220110949204"),
        (CardField::PurseId, "1234567890"),
        (CardField::Balance, "000000000500"),
        (CardField::MaxBalance, "000000010000"),
        (CardField::Currency, "0978"),
        (CardField::CurrencyExponent, "02"),
        (CardField::Points, "00000102"),
        (CardField::ImkVersion, "01"),
        (CardField::KmlVersion, "01"),
    ] {
        assert_eq!(hex_of(field), value, "{field:?}");
    }
    assert_eq!(text_of(&full(), CardField::Track1Disc), "10949204");
    assert_eq!(text_of(&full(), CardField::Name), "TEST/CARD");
    assert_eq!(text_of(&full(), CardField::Member), "M42");
    assert_eq!(text_of(&full(), CardField::Offer), "HELLO");
}

#[test]
fn derived_keys_and_check_values_pyemv() {
    for field in [CardField::UdkAc, CardField::UdkSmi, CardField::UdkSmc] {
        assert_eq!(hex_of(field), "80A89B585BBF64C2F12915BF578FABE0");
    }
    for field in [CardField::KcvAc, CardField::KcvSmi, CardField::KcvSmc] {
        assert_eq!(hex_of(field), "DEEE3D");
    }
    // Option A of EMV Book 2 A1.4 over purse_id 1234567890 and 00: `derive_icc_mk_a` of pyemv 1.5.0.
    for field in [CardField::Kdl, CardField::Kdu] {
        assert_eq!(hex_of(field), "D3DAE31C8AAD7FE9CD1FFE835D0137B5");
    }
    for field in [CardField::KcvKdl, CardField::KcvKdu] {
        assert_eq!(hex_of(field), "B28508");
    }
}

/// A load host knows the purse's identifier alone, so the keys of the purse come from nothing else: not from
/// PAN, PAN sequence number or the product's option.
#[test]
fn the_purse_keys_depend_on_the_purse_alone() {
    let of = |line: &str, option: Option14, field: CardField| {
        let values = CardValues::compute(&BTreeSet::from([field]), &card(line), &keys(), option).unwrap();
        values.value(field).map(<[u8]>::to_vec)
    };
    let line = |pan: &str, psn: &str, purse: &str| {
        format!("C1,{pan},{psn},TEST/CARD,2212,2001,201,1234,{purse},500,10000,978,2,M42,258,HELLO")
    };
    for field in [CardField::Kdl, CardField::Kdu, CardField::KcvKdl, CardField::KcvKdu] {
        let key = of(&line("4761739001010119", "01", "1234567890"), Option14::A, field);
        assert!(key.is_some());
        for option in [Option14::A, Option14::B] {
            assert_eq!(of(&line("4761739001010101128", "02", "1234567890"), option, field), key);
        }
        assert_ne!(of(&line("4761739001010119", "01", "1234567891"), Option14::A, field), key);
        assert_eq!(of(&line("4761739001010119", "01", ""), Option14::A, field), None);
    }
}

#[test]
fn each_key_field_has_its_own_master() {
    for (field, master) in [
        (CardField::UdkAc, Master::Ac),
        (CardField::UdkSmi, Master::Smi),
        (CardField::UdkSmc, Master::Smc),
        (CardField::Kdl, Master::Kml),
        (CardField::Kdu, Master::Kmu),
        (CardField::KcvAc, Master::Ac),
        (CardField::KcvSmi, Master::Smi),
        (CardField::KcvSmc, Master::Smc),
        (CardField::KcvKdl, Master::Kml),
        (CardField::KcvKdu, Master::Kmu),
    ] {
        let mut other = keys();
        other.add(master, 2, TdesKey::new([0x5D; 16]));
        for wanted in FIELDS.iter().filter(|d| d.field == field || d.name.starts_with("udk")) {
            let differs = compute(&full(), &other, wanted.field) != compute(&full(), &keys(), wanted.field);
            assert_eq!(differs, wanted.needs == [master], "{} under another {master:?}", wanted.name);
        }
    }
}

#[test]
fn stripe_and_plastic() {
    let card = full();
    for (field, value) in [
        // CVV 497, CVV2 014 (psec); track layout of ISO/IEC 7813.
        (CardField::Track1, "%B4761739001010119^TEST/CARD^221220110949497?"),
        (CardField::Track2, ";4761739001010119=221220110949497?"),
        (CardField::Cvv2, "014"),
        (CardField::PanGrouped, "4761 7390 0101 0119"),
        (CardField::PanNumberLine, "4761 7390 0101 0119"),
        (CardField::PanLast4, "0119"),
        (CardField::NamePrinted, "CARD TEST"),
        (CardField::ExpiryPrinted, "12/22"),
    ] {
        assert_eq!(text_of(&card, field), value);
    }
}

#[test]
fn a_long_pan_fits_the_number_line_and_the_tracks() {
    let card =
        card("C1,4761739001010101128,01,ABCDEFGHIJKLMNOPQRSTUVWX/Y,2212,2001,201,123456789012,,,,,,,,");
    assert_eq!(text_of(&card, CardField::PanNumberLine), "4761739001010101128");
    assert!(text_of(&card, CardField::Track1).len() < 79);
    assert!(text_of(&card, CardField::Track2).len() < 40);
    let pan = compute(&card, &keys(), CardField::Pan).unwrap();
    assert_eq!(hex::encode_upper(pan), "4761739001010101128F");
}

/// The groups in which American Express and Diners Club emboss (their published test numbers), and the 19
/// places of the number line of ISO/IEC 7811-3.
#[test]
fn account_numbers_stand_in_the_groups_of_their_scheme() {
    // Without their check digits, so that this file holds no account number.
    for (body, grouped, number_line) in [
        ("37828224631000", "3782 822463 1000", "3782 822463 1000"),
        ("3056930902590", "3056 930902 590", "3056 930902 590"),
        ("67677000000000", "6767 700000 0000", "6767 700000 0000"),
        ("476173900101011", "4761 7390 0101 011", "4761 7390 0101 011"),
        ("476173900101010112", "4761 7390 0101 0101 12", "476173900101010112"),
        ("422222222222", "4222 2222 2222 ", "4222 2222 2222 "),
        ("50180000000", "5018 0000 000", "5018 0000 000"),
    ] {
        let check = char::from(super::super::digits::luhn_digit(body.bytes()));
        let card = card(&format!("C1,{body}{check},01,TEST/CARD,2212,2001,201,,,,,,,,,"));
        assert_eq!(text_of(&card, CardField::PanGrouped), format!("{grouped}{check}"));
        let line = text_of(&card, CardField::PanNumberLine);
        assert_eq!(line, format!("{number_line}{check}"));
        assert!(line.len() <= 19);
    }
}

/// The name field of ISO/IEC 7813: surname, `/`, first name, blank, middle name, `.`, title.
#[test]
fn the_printed_name_begins_with_the_title() {
    for (name, printed) in [
        ("SMITH/JOHN Q.MR", "MR JOHN Q SMITH"),
        ("SMITH/JOHN.DR", "DR JOHN SMITH"),
        ("SMITH/.DR", "DR SMITH"),
        ("SMITH/J.P.MR", "MR J.P SMITH"),
        ("SMITH/JOHN Q.PH.D.", "PH.D. JOHN Q SMITH"),
        ("SMITH/JOHN. MR", "JOHN. MR SMITH"),
        ("SMITH /JOHN Q .DR MED ", "DR MED JOHN Q SMITH"),
        // Periods of initials and abbreviations announce no title.
        ("KIM/PAUL J.", "PAUL J. KIM"),
        ("KIM/J.P.", "J.P. KIM"),
        ("ST.JOHN/MARY", "MARY ST.JOHN"),
        ("KIM/ANNE ST. CLAIR", "ANNE ST. CLAIR KIM"),
        ("KIM/", "KIM"),
        ("KIM/.", ". KIM"),
    ] {
        let card = card(&format!("C1,4761739001010119,01,{name},2212,2001,201,,,,,,,,,"));
        assert_eq!(text_of(&card, CardField::NamePrinted), printed, "{name}");
        assert!(printed.len() <= 27, "the name line of ISO/IEC 7811-3 has 27 places");
        // Chip and stripe keep the field as it is.
        assert_eq!(text_of(&card, CardField::Name), name);
    }
}

#[test]
fn without_pin_or_pvk_there_is_no_pvv() {
    let no_pin = card("C1,4761739001010119,01,TEST/,2212,2001,201,,,,,,,,,");
    assert_eq!(text_of(&no_pin, CardField::Track2), ";4761739001010119=221220100000497?");
    assert_eq!(text_of(&no_pin, CardField::NamePrinted), "TEST");
    let mut no_pvk = IssuerKeys::default();
    no_pvk.add(Master::Cvk, 1, TdesKey::new(hex::decode(MASTER).unwrap().try_into().unwrap()));
    assert_eq!(compute(&full(), &no_pvk, CardField::Track2).unwrap(), b";4761739001010119=221220100000497?");
}

#[test]
fn fields_that_the_card_lacks_have_no_value() {
    let bare = card("C1,4761739001010119,,TEST/,2212,2001,201,,,,,,,,,");
    for field in [
        CardField::PinBlock,
        CardField::PurseId,
        CardField::Balance,
        CardField::MaxBalance,
        CardField::Currency,
        CardField::CurrencyExponent,
        CardField::Member,
        CardField::Points,
        CardField::Offer,
    ] {
        assert_eq!(compute(&bare, &keys(), field), None, "{field:?}");
    }
    assert_eq!(compute(&bare, &keys(), CardField::Psn), Some(vec![0]));
}

#[test]
fn pin_blocks_are_format_1_and_never_alike() {
    let blocks: BTreeSet<_> =
        (0..20).map(|_| compute(&full(), &keys(), CardField::PinBlock).unwrap()).collect();
    assert_eq!(blocks.len(), 20);
    assert!(blocks.iter().all(|b| b[..3] == [0x14, 0x12, 0x34]));
}

#[test]
fn last_days() {
    for (month, day) in [("2301", 31), ("2302", 28), ("2402", 29), ("0002", 29), ("2304", 30), ("2312", 31)] {
        assert_eq!(last_day(month), day, "{month}");
    }
}

#[test]
fn a_missing_key_is_named() {
    let card = full();
    let used = BTreeSet::from([CardField::Kdu]);
    let failure = CardValues::compute(&used, &card, &IssuerKeys::default(), Option14::A).err().unwrap();
    assert_eq!(failure.exit, Exit::KeyUnknown);
    assert!(failure.message.contains("KMU"));
}

#[test]
fn every_field_is_listed_once() {
    let names: BTreeSet<_> = FIELDS.iter().map(|d| d.name).collect();
    let fields: BTreeSet<_> = FIELDS.iter().map(|d| d.field).collect();
    assert_eq!((names.len(), fields.len()), (FIELDS.len(), FIELDS.len()));
    let secret: Vec<_> = FIELDS.iter().filter(|d| d.secret).map(|d| d.name).collect();
    assert_eq!(secret, ["udk_ac", "udk_smi", "udk_smc", "kdl", "kdu", "pin_block"]);
}
