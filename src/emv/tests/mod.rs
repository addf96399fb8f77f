//! Certificates that an independent issuer made (RSA by pycryptodome, formats after EMV Book 2), made again byte by byte.

use proptest::prelude::*;

use super::*;
use crate::crypto::rsa::{PublicExponent, RsaPublicKey};
use crate::ids::Dgi;
use crate::tlv;

/// Values of the first card of `aes-all` of that issuer: keys in hex, DGIs as the card gets them.
const VALUES: &str = include_str!("aes-all.txt");

fn value(name: &str) -> Vec<u8> {
    let line = VALUES.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    hex::decode(line.unwrap()).unwrap()
}

/// The value of a tag in a record 70.
fn tag(record: &str, wanted: &str) -> Vec<u8> {
    let record = value(record);
    let inside = tlv::find(&record, tlv::Tag(0x70)).unwrap().unwrap();
    let wanted = tlv::Tag(u32::from_str_radix(wanted, 16).unwrap());
    tlv::find(inside, wanted).unwrap().unwrap_or_default().to_vec()
}

fn key(modulus: &str) -> RsaPublicKey {
    RsaPublicKey::new(&value(modulus), PublicExponent::Three).unwrap()
}

/// The block of a certificate of the payment application or the purse, and what stands outside it.
struct CardVector {
    block: Vec<u8>,
    remainder: Vec<u8>,
    exponent: Vec<u8>,
    static_data: Vec<u8>,
}

fn card(application: &str) -> CardVector {
    let name = |dgi: &str| format!("{application}_{dgi}");
    // The payment card signs record 0201 and its AIP, the purse its record 0101.
    let static_data = match application {
        "payment" => static_data([(Dgi(0x0201), value("payment_0201").as_slice())], Some(&[0x3C, 0x00])),
        _ => static_data([(Dgi(0x0101), value("purse_0101").as_slice())], None),
    };
    CardVector {
        block: key("issuer_modulus").recover(&tag(&name("0202"), "9F46")).unwrap(),
        remainder: tag(&name("0203"), "9F48"),
        exponent: tag(&name("0203"), "9F47"),
        static_data: static_data.unwrap(),
    }
}

#[test]
fn an_issuer_certificate_of_another_issuer() {
    let block = key("ca_modulus").recover(&tag("payment_0301", "90")).unwrap();
    let read = KeyCertificate::recovered(CertificateKind::Issuer, &block, &[], &[3], &[]).unwrap();
    assert_eq!(read.modulus, value("issuer_modulus"));
    assert_eq!(
        (hex::encode_upper(&read.subject), read.expiry.to_string()),
        ("476173FF".into(), "12/2035".into())
    );
    let made = read.block(248, &[]).unwrap();
    assert_eq!((made.block, made.remainder), (block, Vec::new()));
}

#[test]
fn card_certificates_of_another_issuer() {
    for (application, record) in [("payment", "0201"), ("purse", "0101")] {
        let CardVector { block, remainder, exponent, static_data } = card(application);
        let read =
            KeyCertificate::recovered(CertificateKind::Card, &block, &remainder, &exponent, &static_data)
                .unwrap();
        let number = match application {
            "payment" => tag(&format!("{application}_{record}"), "5A"),
            _ => tag(&format!("{application}_{record}"), "DF0C"),
        };
        assert_eq!(read.subject, [number.as_slice(), &[0xFF; 2]].concat());
        assert_eq!(read.modulus.len(), 144);
        let made = read.block(176, &static_data).unwrap();
        assert_eq!((made.block, made.remainder), (block, remainder), "{application}");
    }
}

#[test]
fn the_locator_of_another_issuer() {
    // 9104 = 82 02 AIP | 94 0C AFL: of the records 0201 to 0204 the first is static.
    let profile = value("payment_9104");
    let records =
        [0x0101, 0x0201, 0x0202, 0x0203, 0x0204, 0x0301, 0x0302].map(|dgi| (Dgi(dgi), dgi == 0x0201));
    assert_eq!(FileLocator::of(records).unwrap().bytes(), &profile[6..]);
}

#[test]
fn locators() {
    for (records, entries) in [
        (&[(0x0101, true), (0x0102, true), (0x0103, false)][..], "08010302"),
        (&[(0x0101, false), (0x0102, true)], "0801010008020201"),
        (&[(0x0103, true), (0x0101, true)], "0801010108030301"),
        (&[(0x1E01, true), (0x0A05, false)], "5005050 0F0010101"),
        (&[], ""),
    ] {
        let records = records.iter().map(|(dgi, is_static)| (Dgi(*dgi), *is_static));
        assert_eq!(hex::encode_upper(FileLocator::of(records).unwrap().bytes()), entries.replace(' ', ""));
    }
    let fault = |records: &[u16]| FileLocator::of(records.iter().map(|dgi| (Dgi(*dgi), false))).unwrap_err();
    assert_eq!(fault(&[0x1F01]), LocatorFault::NoRecord(Dgi(0x1F01)));
    assert_eq!(fault(&[0x0100]), LocatorFault::NoRecord(Dgi(0x0100)));
    assert_eq!(fault(&[0x0101, 0x0101]), LocatorFault::Twice(Dgi(0x0101)));
    let many: Vec<_> = (0..64).map(|n| 0x0101 + n * 2).collect();
    assert_eq!(fault(&many), LocatorFault::TooLong);
}

#[test]
fn signed_static_data_as_book_2_lays_it_out() {
    let data = b"static";
    let block = SignedStaticData { code: [0xDA, 0xC0] }.block(128, data).unwrap();
    assert_eq!(block.len(), 128);
    assert_eq!(block[..5], [0x6A, 0x03, 0x01, 0xDA, 0xC0]);
    assert!(block[5..107].iter().all(|byte| *byte == 0xBB));
    assert_eq!(SignedStaticData::recovered(&block, data), Ok(SignedStaticData { code: [0xDA, 0xC0] }));
    assert_eq!(SignedStaticData::recovered(&block, b"other"), Err(BlockFault::Hash));
    assert_eq!(SignedStaticData { code: [0; 2] }.block(25, data), Err(BlockFault::Length));
}

#[test]
fn months() {
    assert_eq!(MonthYear::from_bcd([0x13, 0x25]), None);
    assert_eq!(MonthYear::from_bcd([0x00, 0x25]), None);
    assert_eq!(MonthYear::from_bcd([0x0A, 0x25]), None);
    assert_eq!(MonthYear::from_bcd([0x01, 0xA5]), None);
    let month = |month, year| MonthYear::from_bcd([month, year]).unwrap();
    assert!(month(0x12, 0x25) < month(0x01, 0x26) && month(0x01, 0x26) < MonthYear::LAST);
}

#[test]
fn keys_that_do_not_fit() {
    let fits = |kind, modulus: usize, signer| {
        let certificate = KeyCertificate {
            kind,
            subject: if kind == CertificateKind::Issuer { vec![0x47; 4] } else { vec![0x47; 10] },
            expiry: MonthYear::LAST,
            serial: [1, 2, 3],
            modulus: vec![0xC1; modulus],
            exponent: vec![3],
        };
        certificate.block(signer, &[]).map(|made| (made.block.len(), made.remainder.len()))
    };
    assert_eq!(fits(CertificateKind::Issuer, 212, 248), Ok((248, 0)));
    assert_eq!(fits(CertificateKind::Issuer, 213, 248), Ok((248, 1)));
    assert_eq!(fits(CertificateKind::Issuer, 248, 248), Ok((248, 36)));
    assert_eq!(fits(CertificateKind::Card, 205, 247), Ok((247, 0)));
    assert_eq!(fits(CertificateKind::Card, 247, 247), Ok((247, 42)));
    assert_eq!(fits(CertificateKind::Card, 248, 247), Err(BlockFault::Length));
    assert_eq!(fits(CertificateKind::Card, 128, 41), Err(BlockFault::Length));
}

proptest! {
    /// One changed byte of a block, of the remainder, of the exponent or of the static data is found.
    #[test]
    fn a_changed_byte_is_found(part in 0usize..4, place: prop::sample::Index, bit in 0u8..8) {
        let CardVector { mut block, mut remainder, mut exponent, mut static_data } = card("payment");
        let changed = [&mut block, &mut remainder, &mut exponent, &mut static_data][part].as_mut_slice();
        let place = place.index(changed.len());
        changed[place] ^= 1 << bit;
        let read = KeyCertificate::recovered(CertificateKind::Card, &block, &remainder, &exponent, &static_data);
        prop_assert!(read.is_err());
    }

    #[test]
    fn no_bytes_panic(block in prop::collection::vec(any::<u8>(), 0..260), outside in prop::collection::vec(any::<u8>(), 0..60)) {
        for kind in [CertificateKind::Issuer, CertificateKind::Card] {
            let _ = KeyCertificate::recovered(kind, &block, &outside, &[3], &outside);
        }
        let _ = SignedStaticData::recovered(&block, &outside);
        let _ = request::read_request(&block);
        let _ = request::read_answer(&block);
    }
}

#[test]
fn requests_and_answers_read_back() {
    let body = request::request_body([0x47, 0x61, 0x73, 0xFF], &[0xC1; 176], &[3]).unwrap();
    let bytes = request::request(&body, &[0x11; 176]).unwrap();
    let read = request::read_request(&bytes).unwrap();
    assert_eq!((read.body, read.issuer), (body.as_slice(), [0x47, 0x61, 0x73, 0xFF]));
    assert_eq!((read.modulus, read.exponent, read.signature), (&[0xC1; 176][..], &[3][..], &[0x11; 176][..]));
    assert_eq!(request::read_request(&bytes[..bytes.len() - 1]), Err(request::ExchangeFault::Length));
    assert_eq!(request::read_answer(&bytes), Err(request::ExchangeFault::Kind));

    let answer = request::AuthorityAnswer {
        rid: [0xA0, 0, 0, 0, 3],
        index: 0xF1,
        modulus: &[0xC1; 248],
        exponent: &[3],
        certificate: &[0x22; 248],
        remainder: &[],
    };
    let bytes = request::answer(&answer).unwrap();
    assert_eq!(request::read_answer(&bytes), Ok(answer));
    assert_eq!(request::read_answer(&[bytes.as_slice(), &[0]].concat()), Err(request::ExchangeFault::Length));
}
