//! The fields of one card, put together from the published vectors of pyemv and psec.

use super::super::input::CardholderReader;
use super::super::testing::{self, MASTER};
use super::*;
use crate::hsm::soft::issuer::SoftIssuer;
use crate::hsm::{ApplicationToProtect, CardToProtect, CodesRequest, DgiToProtect, Issuer};
use crate::ids::{Aid, CardRef, Dgi};
use crate::prep::order::CardBuilder;
use crate::record::chip::{EncType, Pdi};
use crate::scp::SecLevel;

/// Every master key is the one of the vectors; the PVK has index 1.
fn keys() -> SoftIssuer {
    testing::vectors()
}

fn card(line: &str) -> Cardholder {
    let text = format!(
        "card_ref,pan,psn,name,expiry,effective,service_code,pin,purse_id,balance,max_balance,currency,\
         currency_exponent,member,points,offer\n{line}\n"
    );
    let schema = testing::schema();
    CardholderReader::new(text.as_bytes(), &schema).unwrap().next().unwrap().unwrap()
}

fn full() -> Cardholder {
    card("C1,4761739001010119,01,TEST/CARD,2212,2001,201,1234,1234567890,500,10000,978,2,M42,258,HELLO")
}

fn compute(card: &Cardholder, hsm: &SoftIssuer, field: CardField) -> Option<Vec<u8>> {
    compute_by(card, hsm, field, CardKeyMethod::A)
}

/// The value of a field; what the HSM makes, it makes in a DGI of its own.
fn compute_by(
    card: &Cardholder,
    hsm: &SoftIssuer,
    field: CardField,
    method: CardKeyMethod,
) -> Option<Vec<u8>> {
    let mut hsm = crate::hsm::HostedHsm::connect(hsm);
    let keys = testing::keys(&mut hsm);
    let codes = keys.find(KeyUsage::Cvk).map(|cvk| {
        let pvk = keys.find(KeyUsage::Pvk).map(|pvk| pvk.name);
        let cards = vec![CardBuilder::for_codes(card)];
        let request = CodesRequest { issuer: testing::ISSUER.into(), cvk: cvk.name, pvk, cards };
        hsm.card_codes(&request).unwrap().remove(0)
    });
    let values = CardValues::compute(&BTreeSet::from([field]), card, codes.as_ref(), &keys, method);
    let values = values.map_err(|f| f.message).unwrap();
    let (part, length) = match values.value(field)? {
        FieldValue::Bytes(bytes) => return Some(bytes.to_vec()),
        FieldValue::Made(part, length) => (part.clone(), length),
    };
    let dgi = Dgi(0x8000);
    let enc = if field == CardField::PinBlock { EncType::PinBlock } else { EncType::AsIs };
    let lists = || Vec::new();
    let pdi = Pdi {
        order: lists(),
        version_control: Vec::new(),
        enc: vec![(dgi, enc)],
        group: lists(),
        level: SecLevel::Mac,
        update_cplc: 0,
    };
    let application = ApplicationToProtect {
        aid: Aid::new(&[0xA0, 0, 0, 0, 3]).unwrap(),
        pdi,
        log: Vec::new(),
        dgis: vec![DgiToProtect { dgi, parts: vec![part] }],
        offline: None,
        earlier: None,
    };
    let card = CardToProtect {
        sequence: 1,
        card_ref: CardRef::new("C1").unwrap(),
        others: [0; 32],
        pin: card.get(Column::Pin).map(|pin| pin.as_bytes().into()),
        applications: vec![application],
    };
    let value = hsm.clear(testing::ISSUER, &card).unwrap().remove(0).remove(0).value;
    assert_eq!(value.len(), length, "{field:?}");
    Some(value.to_vec())
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
    let hsm = keys();
    let of = |line: &str, method, field: CardField| compute_by(&card(line), &hsm, field, method);
    let line = |pan: &str, psn: &str, purse: &str| {
        format!("C1,{pan},{psn},TEST/CARD,2212,2001,201,1234,{purse},500,10000,978,2,M42,258,HELLO")
    };
    for field in [CardField::Kdl, CardField::Kdu, CardField::KcvKdl, CardField::KcvKdu] {
        let key = of(&line("4761739001010119", "01", "1234567890"), CardKeyMethod::A, field);
        assert!(key.is_some());
        for option in [CardKeyMethod::A, CardKeyMethod::B] {
            assert_eq!(of(&line("4761739001010101128", "02", "1234567890"), option, field), key);
        }
        assert_ne!(of(&line("4761739001010119", "01", "1234567891"), CardKeyMethod::A, field), key);
        assert_eq!(of(&line("4761739001010119", "01", ""), CardKeyMethod::A, field), None);
    }
}

#[test]
fn each_key_field_has_its_own_master() {
    const OTHER: &str = "5D5D5D5D5D5D5D5D3B3B3B3B3B3B3B3B";
    for (field, master) in [
        (CardField::UdkAc, KeyUsage::ImkAc),
        (CardField::UdkSmi, KeyUsage::ImkSmi),
        (CardField::UdkSmc, KeyUsage::ImkSmc),
        (CardField::Kdl, KeyUsage::Kml),
        (CardField::Kdu, KeyUsage::Kmu),
        (CardField::KcvAc, KeyUsage::ImkAc),
        (CardField::KcvSmi, KeyUsage::ImkSmi),
        (CardField::KcvSmc, KeyUsage::ImkSmc),
        (CardField::KcvKdl, KeyUsage::Kml),
        (CardField::KcvKdu, KeyUsage::Kmu),
    ] {
        let mut list: Vec<_> = KeyUsage::MASTERS.iter().map(|usage| (*usage, 1, MASTER)).collect();
        // The highest version counts.
        list.push((master, 2, OTHER));
        let other = testing::hsm(&list);
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
        let check = char::from(crate::crypto::payment::digits::luhn_digit(body.bytes()));
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
    let no_pvk = testing::hsm(&[(KeyUsage::Cvk, 1, MASTER)]);
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
    let failure =
        CardValues::compute(&used, &card, None, &IssuerKeys::default(), CardKeyMethod::A).err().unwrap();
    assert_eq!(failure.exit, Exit::KeyUnknown);
    assert!(failure.message.contains("KMU"));
}

#[test]
fn every_field_is_listed_once() {
    let names: BTreeSet<_> = FIELDS.iter().map(|d| d.name).collect();
    let fields: BTreeSet<_> = FIELDS.iter().map(|d| d.field).collect();
    assert_eq!((names.len(), fields.len()), (FIELDS.len(), FIELDS.len()));
    let secret: Vec<_> = FIELDS.iter().filter(|d| d.secret).map(|d| d.name).collect();
    let keys = ["udk_ac", "udk_smi", "udk_smc", "kdl", "kdu", "pin_block"];
    let rsa = ["rsa_qinv", "rsa_dq", "rsa_dp", "rsa_q", "rsa_p"];
    assert_eq!(secret, [&keys[..], &rsa].concat());
}
