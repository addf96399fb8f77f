//! A clear card of product multiapp, byte by byte where a standard fixes the bytes.

use super::super::input::CardholderReader;
use super::super::testing::{self, MASTER};
use super::*;
use crate::hsm::soft::issuer::ClearDgi;
use crate::ids::Dgi;
use crate::record::chip::EncType;
use crate::scp::SecLevel;

/// Product multiapp without RSA.
const PRODUCT: &str = include_str!("../../../tests/data/multiapp.toml");

/// With one master key for everything: that of the published vectors of pyemv and psec.
fn builder() -> CardBuilder {
    builder_of(&ProductProfile::from_toml(PRODUCT, "test").unwrap())
}

fn builder_of(product: &ProductProfile) -> CardBuilder {
    testing::builder(product, &mut testing::vectors()).map_err(|f| f.message).unwrap()
}

/// A card, and the clear values of its applications.
struct Built {
    order: OrderedCard,
    clear: Vec<Vec<ClearDgi>>,
}

const HEADER: &str = "card_ref,pan,psn,name,expiry,effective,service_code,pin,purse_id,member,stock,priority";
const FULL: &str = "C000001,4761739001010119,01,TEST/CARD,2212,2001,201,1234,1234567890,M42,WHITE-01,STD";

fn build(line: &str) -> Built {
    let (builder, mut hsm) = (builder(), testing::vectors());
    let text = format!("{HEADER}\n{line}\n");
    let holder =
        CardholderReader::new(text.as_bytes(), &builder.plan().input).unwrap().next().unwrap().unwrap();
    let order = testing::order(&builder, &holder, &mut hsm).map_err(|e| Failure::from(e).message).unwrap();
    Built { clear: testing::clear(&order, &hsm), order }
}

fn section(card: &OrderedCard, mic: &str) -> Option<String> {
    let section = card.sections.iter().find(|s| s.mic.as_str() == mic)?;
    Some(String::from_utf8_lossy(&section.data).into_owned())
}

fn dgi(card: &Built, aid: &str, dgi: u16) -> Option<String> {
    let place = card.order.applications.iter().position(|a| a.aid.to_string() == aid)?;
    card.clear[place].iter().find(|d| d.dgi == Dgi(dgi)).map(|d| hex::encode_upper(&*d.on_card()))
}

const PAYMENT: &str = "A0000000031010";
const PURSE: &str = "F043575055525345";
const LOYALTY: &str = "F043574C4F59414C";

#[test]
fn stripe_emboss_indent() {
    let card = build(FULL);
    assert_eq!(
        section(&card.order, "MAG").unwrap(),
        "~1%B4761739001010119^TEST/CARD^221220110949497?\r\n~2;4761739001010119=221220110949497?\r\n"
    );
    // 401;843 is the number line of the vendor's sample (a line `~EM%2;401;843;...`).
    assert_eq!(
        section(&card.order, "EMB").unwrap(),
        "~EM%2;401;843;4761 7390 0101 0119\r\n~EM%1;307;480;12/22\r\n~EM%1;307;328;CARD TEST\r\n"
    );
    assert_eq!(section(&card.order, "IND").unwrap(), "~EM%30;2400;1050;0119 014\r\n");
}

#[test]
fn graphics_and_fulfilment() {
    let card = build(FULL);
    assert_eq!(
        section(&card.order, "GFX").unwrap(),
        "\x01\0\0\0\x08multiapp\x02\0\0\0\x0C\x06expiry12/22\x02\0\0\0\x0E\x04nameCARD TEST\
         \x02\0\0\0\x1A\x06number4761 7390 0101 0119"
    );
    assert_eq!(section(&card.order, "FUL").unwrap(), "\x02\0\0\0\x08WHITE-01\x05\0\0\0\x03STD");
    assert!(section(&build("C1,4761739001010119,01,TEST/CARD,2212,2001,201,,,,,").order, "FUL").is_none());
}

#[test]
fn a_photo_lies_beside_the_input() {
    const PHOTO: &[u8] = include_bytes!("../../picture/samples/baseline.jpg");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c1.jpg"), PHOTO).unwrap();
    let builder = builder().with_photos_next_to(&folder.path().join("cards.csv"));
    let build = |photo: &str| {
        let text = format!("{HEADER},photo\n{FULL},{photo}\n");
        let holder =
            CardholderReader::new(text.as_bytes(), &builder.plan().input).unwrap().next().unwrap().unwrap();
        let built = testing::order(&builder, &holder, &mut testing::vectors());
        built.map_err(Failure::from).map_err(|f| (f.exit, f.message))
    };
    let image = |card: &OrderedCard| {
        let section = card.sections.iter().find(|s| s.mic.as_str() == "GFX").unwrap();
        let graphics = crate::modules::sections::graphics(&section.data).unwrap();
        graphics.images.iter().map(|(slot, image)| ((*slot).to_owned(), image.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(image(&build("c1.jpg").ok().unwrap()), [("photo".to_owned(), PHOTO.to_vec())]);
    assert!(image(&build("").ok().unwrap()).is_empty());
    let (exit, message) = build("c2.jpg").err().unwrap();
    assert_eq!(exit, Exit::Input);
    assert!(message.starts_with("input: line 2, column photo: the file cannot be read"), "{message}");
}

/// What only the card shows: an offer in lower case, which track 1 cannot hold (ISO/IEC 7811-6), or a track that
/// gets too long. The bureau would refuse the whole file for it.
#[test]
fn a_track_that_a_card_cannot_have_is_named_with_its_line() {
    for (track, offer, what) in [
        ("track1 = \"'%B' offer '?'\"", "Coffee", "stripe.track1: character 4 is outside the track's set"),
        ("track1 = \"'%B' offer '?'\"", "%", "stripe.track1: character 3 is outside the track's set"),
        ("track1 = \"'%B' offer name '?'\"", &"X".repeat(64), "stripe.track1: longer than 79 characters"),
    ] {
        let product = PRODUCT.replace("track1 = \"track1\"", track);
        let product = ProductProfile::from_toml(&product, "test").unwrap();
        let builder = builder_of(&product);
        let text = format!("{HEADER},offer\n{},{offer}\n", FULL.replace("TEST/CARD", "ABCDEFGHIJKL/MNO"));
        let holder = CardholderReader::new(text.as_bytes(), &builder.plan().input).unwrap().next();
        let built = testing::order(&builder, &holder.unwrap().unwrap(), &mut testing::vectors());
        let failure = Failure::from(built.err().unwrap());
        assert_eq!(failure.exit, Exit::Input);
        assert!(failure.message.starts_with(&format!("input: line 2: {what}")), "{}", failure.message);
        assert!(!failure.message.contains(offer) || offer == "%", "{}", failure.message);
    }
}

#[test]
fn applications_levels_and_order() {
    let card = build(FULL);
    let all: Vec<_> = card.order.applications.iter().map(|a| (a.aid.to_string(), a.pdi.level)).collect();
    assert_eq!(
        all,
        [
            ("315041592E5359532E4444463031".to_owned(), SecLevel::Mac),
            (PAYMENT.to_owned(), SecLevel::MacEnc),
            (PURSE.to_owned(), SecLevel::MacEnc),
            (LOYALTY.to_owned(), SecLevel::Mac),
        ]
    );
    let payment = &card.order.applications[1];
    assert_eq!(payment.pdi.order, [vec![Dgi(0x8000), Dgi(0x9000)], vec![Dgi(0x9010), Dgi(0x8010)]]);
    assert_eq!(payment.pdi.enc, [(Dgi(0x8010), EncType::PinBlock), (Dgi(0x8000), EncType::AsIs)]);
    assert_eq!(card.order.applications[2].pdi.order, [vec![Dgi(0x8020), Dgi(0x9020)]]);
    for plain in [0, 3] {
        assert!(card.order.applications[plain].pdi.enc.is_empty());
    }
}

#[test]
fn payment_dgis() {
    let card = build(FULL);
    let get = |number| dgi(&card, PAYMENT, number).unwrap();
    // 57 of 16 bytes, 9F1F of 8, 5F20 of 9.
    assert_eq!(
        get(0x0101),
        "702957104761739001010119D2212201109492049F1F0831303934393230345F2009544553542F43415244"
    );
    let key = "80A89B585BBF64C2F12915BF578FABE0";
    assert_eq!(get(0x8000), key.repeat(3));
    assert_eq!(get(0x9000), "DEEE3DDEEE3DDEEE3D");
    assert_eq!(get(0x9010), "0303");
    assert_eq!(get(0x8010), "241234FFFFFFFFFF");
    assert_eq!(get(0x9104), "82021C00940C080101001001010010040400");
    // 10 + 6 + 6 + 4 + 5 + 22 + 8 + 8 + 8 + 5 = 82 bytes in the template.
    assert!(get(0x0201).starts_with("70525A0847617390010101195F24032212315F25032001015F34010"));
    assert!(get(0x9102).starts_with("A5"));
}

#[test]
fn purse_dgis() {
    let card = build(FULL);
    // 15 TLVs: 45 bytes of tags and lengths, 40 of values.
    assert_eq!(
        dgi(&card, PURSE, 0x0101).unwrap(),
        "7055DF010101DF02027800DF0306000000000000DF0406000000050000DF050400476173DF060102DF07020978DF0803200101\
         DF0903221231DF0A03221231DF0C051234567890DF0D0101DF0E0101DF0F0101DF100100"
    );
    // `derive_icc_mk_a` of pyemv 1.5.0 over 1234567890 and 00.
    assert_eq!(dgi(&card, PURSE, 0x8020).unwrap(), "D3DAE31C8AAD7FE9CD1FFE835D0137B5".repeat(2));
    assert_eq!(dgi(&card, PURSE, 0x9020).unwrap(), "B28508B28508");
}

#[test]
fn loyalty_dgis() {
    let card = build(FULL);
    assert_eq!(
        dgi(&card, LOYALTY, 0x0101).unwrap(),
        "7019DF20034D3432DF2109544553542F43415244DF220400000000"
    );
    assert!(!dgi(&card, LOYALTY, 0xA001).unwrap().is_empty());
}

#[test]
fn what_a_card_lacks_falls_out() {
    let card = build("C1,4761739001010119,01,TEST/CARD,2212,2001,201,,,,,");
    assert_eq!(card.order.applications.len(), 2);
    for missing in [0x8010, 0x9010] {
        assert!(dgi(&card, PAYMENT, missing).is_none());
    }
    assert_eq!(card.order.applications[1].pdi.order, [vec![Dgi(0x8000), Dgi(0x9000)]]);
    assert_eq!(card.order.applications[1].pdi.enc, [(Dgi(0x8000), EncType::AsIs)]);
}

#[test]
fn every_list_names_only_dgis_that_the_card_has() {
    for line in [FULL, "C1,4761739001010119,01,TEST/CARD,2212,2001,201,,,,,"] {
        for application in build(line).order.applications {
            let lists = [
                application.pdi.order.concat(),
                application.pdi.group.concat(),
                application.pdi.version_control.clone(),
                application.log.clone(),
            ];
            for named in lists.concat() {
                assert!(application.dgis.iter().any(|d| d.dgi == named), "{named}");
            }
        }
    }
}

#[test]
fn a_missing_key_stops_before_the_first_card() {
    for missing in KeyUsage::MASTERS.into_iter().filter(|usage| *usage != KeyUsage::Pvk) {
        let some: Vec<_> =
            KeyUsage::MASTERS.iter().filter(|usage| **usage != missing).map(|u| (*u, 1, MASTER)).collect();
        let product = ProductProfile::from_toml(PRODUCT, "test").unwrap();
        let failure = testing::builder(&product, &mut testing::hsm(&some)).err().unwrap();
        assert_eq!(failure.exit, Exit::KeyUnknown);
        assert!(failure.message.contains(&missing.to_string()));
    }
}

#[test]
fn padding_is_part_of_what_the_card_holds() {
    let value = zeroize::Zeroizing::new(vec![0x11; 64]);
    let padded = ClearDgi { dgi: Dgi(0x8201), value, enc: Some(EncType::Pad) };
    assert_eq!(padded.on_card()[64..], [0x80, 0, 0, 0, 0, 0, 0, 0]);
}
