//! The HSM's verification of applications and Trailers: right ones, and more wrong ones.

use cardwright::hsm::{CHECK_LIMIT, Checker, DataFault, Hsm, HsmError, HsmRefusal, RecordToVerify};
use cardwright::ids::{Kcv, KekId};
use proptest::prelude::*;

use super::make;
use crate::file::{self, App, KEYS, Kek, SCOPE, Scope, app, asked, build, check_request, dgi, request};
use crate::raw;

fn keks() -> [Kek; 3] {
    [file::kek_tdes(), file::kek_aes128(), file::kek_aes256()]
}

/// The answer of a check of one application.
fn checked(request: &RecordToVerify) -> Result<(), HsmError> {
    make().check(&check_request(std::slice::from_ref(request)))?.remove(0)
}

/// The fault that the HSM finds in an application's data, whether it is to verify or only to check it.
fn fault(request: &RecordToVerify) -> DataFault {
    match make().verify_record(request) {
        Err(error) if checked(request) != Err(error.clone()) => panic!("checked otherwise: {error}"),
        Err(HsmError::Data { fault, .. }) => fault,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// The KEKs have minimum levels; this level satisfies all of them.
const MAC_ENC: u8 = 0x03;

#[test]
fn applications_of_every_suite_and_mode_are_verified() {
    for kek in keks() {
        for cmode in [0x10, 0x11, 0x12, 0x13] {
            let mut app = app(cmode, MAC_ENC);
            if kek.tk_type != raw::TDES && cmode < 0x12 {
                // AES cannot take these 8 bytes, which are no whole block.
                app.protected.retain(|d| *d != 0x8010);
                app.enc.retain(|(d, _)| *d != 0x8010);
            }
            let mut request = asked(&kek, &app);
            request.allow_ecb = true;
            let verified = make().verify_record(&request).unwrap_or_else(|e| panic!("{cmode:02X}: {e}"));
            assert_eq!(checked(&request), Ok(()), "{cmode:02X}");
            let prime = if cmode < 0x12 { 40 } else { 72 };
            assert_eq!(verified.applications[0].protected[..2], [(dgi(0x8000), 48), (dgi(0x8205), prime)]);
            if app.protected.len() == 3 {
                assert_eq!(verified.applications[0].protected[2], (dgi(0x8010), 8));
            }
            assert!(verified.applications[0].allow.iter().any(|kmc| kmc.to_string() == "FFFFFF476173:1"));
        }
    }
}

#[test]
fn no_flipped_bit_of_an_application_is_accepted() {
    for kek in keks() {
        let mut app = app(0x12, MAC_ENC);
        app.dgis.retain(|(d, _)| *d != 0x0202);
        let good = asked(&kek, &app);
        let mut hsm = make();
        hsm.verify_record(&good).unwrap();
        for place in 0..good.applications[0].bytes.len() {
            let mut bad = good.clone();
            bad.applications[0].bytes[place] ^= 1 << (place % 8);
            assert!(hsm.verify_record(&bad).is_err(), "byte {place}");
            assert!(checked(&bad).is_err(), "byte {place}");
        }
    }
}

#[test]
fn a_wrong_application_mac_is_a_mac_fault() {
    for kek in keks() {
        let mut request = asked(&kek, &app(0x12, MAC_ENC));
        *request.applications[0].bytes.last_mut().unwrap() ^= 1;
        assert_eq!(fault(&request), DataFault::Mac);
    }
}

#[test]
fn the_application_of_another_record_file_or_section_is_a_mac_fault() {
    let application = build(&file::kek_tdes(), &app(0x12, 1), &SCOPE);
    for other in [
        Scope { sequence: 8, ..SCOPE },
        Scope { card_ref: "CARD-8", ..SCOPE },
        Scope { file_id: "FILE-2", ..SCOPE },
        Scope { others: [0x0E; 32], ..SCOPE },
    ] {
        assert_eq!(fault(&request(application.clone(), &other)), DataFault::Mac);
    }
}

#[test]
fn two_records_with_exchanged_applications_are_both_mac_faults() {
    let second = Scope { sequence: 8, card_ref: "CARD-8", ..SCOPE };
    let one = build(&file::kek_tdes(), &app(0x12, 1), &SCOPE);
    let two = build(&file::kek_tdes(), &app(0x12, 1), &second);
    assert_eq!(fault(&request(two, &SCOPE)), DataFault::Mac);
    assert_eq!(fault(&request(one, &second)), DataFault::Mac);
}

#[test]
fn a_dgi_moved_from_another_card_is_a_mac_fault() {
    let kek = file::kek_tdes();
    let second = Scope { sequence: 8, card_ref: "CARD-8", ..SCOPE };
    let tkd = file::tk(&kek, b'D', &second, &app(0x12, 1).aid);
    let theirs = raw::cbc(raw::TDES, &tkd, &raw::pad(&file::key_set(), 8));
    let mut application = build(&kek, &app(0x12, 1), &SCOPE);
    let ours =
        raw::cbc(raw::TDES, &file::tk(&kek, b'D', &SCOPE, &app(0x12, 1).aid), &raw::pad(&file::key_set(), 8));
    let place = application.windows(ours.len()).position(|w| w == ours).unwrap();
    application[place..place + ours.len()].copy_from_slice(&theirs);
    assert_eq!(fault(&request(application, &SCOPE)), DataFault::Mac);
}

#[test]
fn a_mackey_replaced_by_other_ciphertext_of_the_file_is_a_mac_fault() {
    // The MAC is made with the right key over the replaced bytes, and the application is still refused.
    let kek = file::kek_tdes();
    let tkd = file::tk(&kek, b'D', &SCOPE, &app(0x12, 1).aid);
    let ciphertext = raw::cbc(raw::TDES, &tkd, &raw::pad(&file::key_set(), 8));
    // A MACkey that does not open might be taken for a key of zeros; no MAC under it is right either.
    for mac_key in [app(0x12, 1).mac_key, [0; 16]] {
        let app = App { forged_wrap: Some(ciphertext[..24].to_vec()), mac_key, ..app(0x12, 1) };
        assert_eq!(fault(&asked(&kek, &app)), DataFault::Mac);
    }
}

#[test]
fn a_mackey_that_is_weak_or_of_even_parity_is_a_mac_fault() {
    for bad in [
        "01010101010101010123456789ABCDEF",
        "0123456789ABCDEF0123456789ABCDEF",
        "0023456789ABCDEFFEDCBA9876543210",
    ] {
        let mac_key = hex::decode(bad).unwrap().try_into().unwrap();
        assert_eq!(
            fault(&asked(&file::kek_tdes(), &App { mac_key, ..app(0x12, 1) })),
            DataFault::Mac,
            "{bad}"
        );
    }
    // AES has no parity and no weak keys.
    let app = App { mac_key: [0; 16], ..app(0x12, MAC_ENC) };
    make().verify_record(&asked(&file::kek_aes256(), &app)).unwrap();
}

#[test]
fn an_unknown_kek_is_named() {
    let kek = Kek { id: [0x47, 0x61, 0x73, 0x99, 9], ..file::kek_tdes() };
    let error = make().verify_record(&asked(&kek, &app(0x12, 1))).unwrap_err();
    assert_eq!(error, HsmError::UnknownKek(KekId(kek.id)));
    assert!(error.to_string().contains("4761739909"));
}

#[test]
fn a_kek_of_another_type_or_issuer_is_refused() {
    let kek = Kek { tk_type: raw::AES128, ..file::kek_tdes() };
    let error = make().verify_record(&asked(&kek, &app(0x12, 1))).unwrap_err();
    assert_eq!(error, HsmError::KekMismatch(KekId(kek.id)));

    let scope = Scope { issuer_id: "OTHERBANK", ..SCOPE };
    let kek = file::kek_tdes();
    let error = make().verify_record(&request(build(&kek, &app(0x12, 1), &scope), &scope)).unwrap_err();
    assert_eq!(error, HsmError::KekIssuer(KekId(kek.id)));
}

#[test]
fn trailers_of_every_suite_are_verified() {
    for kek in keks() {
        make().verify_trailer(&file::trailer(&kek, "TESTBANK", "FILE-1")).unwrap();
    }
}

#[test]
fn a_wrong_trailer_is_refused() {
    let mut hsm = make();
    for kek in keks() {
        let good = file::trailer(&kek, "TESTBANK", "FILE-1");
        let id = KekId(kek.id);
        let mut bad = good.clone();
        bad.mac[0] ^= 1;
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::TrailerMac));
        for place in 0..good.body.len() {
            let mut bad = good.clone();
            bad.body[place] ^= 1;
            assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::TrailerMac), "byte {place}");
        }
        let mut bad = good.clone();
        bad.wrapped_mac_key[0] ^= 1;
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::TrailerMac));
        let mut bad = good.clone();
        bad.mac.truncate(4);
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::TrailerMac), "a short MAC");
        let mut bad = good.clone();
        bad.mac.clear();
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::TrailerMac), "no MAC");
        let bad = cardwright::hsm::TrailerRequest { kcv: Kcv([0; 3]), ..good.clone() };
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::KekMismatch(id)));
        let bad = cardwright::hsm::TrailerRequest { tk_type: 0x20, ..good.clone() };
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::KekMismatch(id)));
        let bad = cardwright::hsm::TrailerRequest { kek: KekId([9; 5]), ..good.clone() };
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::UnknownKek(KekId([9; 5]))));
        // The Trailer of another file, with its own right MAC.
        let other = file::trailer(&kek, "TESTBANK", "FILE-2");
        let bad = cardwright::hsm::TrailerRequest { file_id: good.file_id.clone(), ..other };
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::TrailerMac));
        // A right MAC over a body that names another wrapped key.
        let bad = file::trailer_stating(&kek, "TESTBANK", "FILE-1", (10, Some(&[7; 24])));
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::TrailerMac));
        let bad = file::trailer(&kek, "OTHERBANK", "FILE-1");
        assert_eq!(hsm.verify_trailer(&bad), Err(HsmError::KekIssuer(id)));
    }
}

#[test]
fn ecb_is_only_for_products_that_allow_it() {
    for cmode in [0x11, 0x13] {
        let mut request = asked(&file::kek_tdes(), &app(cmode, 1));
        assert_eq!(fault(&request), DataFault::Protection(dgi(0x8000)));
        request.allow_ecb = true;
        make().verify_record(&request).unwrap();
    }
}

#[test]
fn a_dgi_under_the_tk_without_enc_is_inconsistent() {
    let mut app = app(0x12, 1);
    app.enc.retain(|(d, _)| *d != 0x8205);
    // The rules of the chip section may find the fault first.
    let fault = fault(&asked(&file::kek_tdes(), &app));
    assert!(matches!(fault, DataFault::Malformed(_) | DataFault::Protection(_)), "{fault}");
    assert!(fault.to_string().contains("8205"));
}

#[test]
fn a_dgi_in_enc_without_the_tk_needs_the_products_pass_through() {
    let mut app = app(0x12, 1);
    app.protected.retain(|d| *d != 0x8000);
    let mut request = asked(&file::kek_tdes(), &app);
    assert_eq!(fault(&request), DataFault::Protection(dgi(0x8000)));
    request.applications[0].pass_through = vec![dgi(0x8000)];
    let verified = make().verify_record(&request).unwrap();
    assert!(!verified.applications[0].protected.iter().any(|(d, _)| *d == dgi(0x8000)));

    // The product's pass-through is enough: ENC need not list the DGI.
    let mut silent = app.clone();
    silent.enc.remove(0);
    let mut request = asked(&file::kek_tdes(), &silent);
    request.applications[0].pass_through = vec![dgi(0x8000)];
    make().verify_record(&request).unwrap();

    // A value that stays encrypted cannot be padded or converted here, and the card wants whole blocks.
    for enc in [0x12, 0x22] {
        let mut app = app.clone();
        app.enc[0].1 = enc;
        let mut request = asked(&file::kek_tdes(), &app);
        request.applications[0].pass_through = vec![dgi(0x8000)];
        assert_eq!(fault(&request), DataFault::Protection(dgi(0x8000)));
    }
    app.dgis[1].1.pop();
    let mut request = asked(&file::kek_tdes(), &app);
    request.applications[0].pass_through = vec![dgi(0x8000)];
    assert_eq!(fault(&request), DataFault::Padding(dgi(0x8000)));
}

#[test]
fn padding_that_is_not_80_00_is_a_padding_fault() {
    for plain in [vec![0; 48], vec![1; 48], [vec![1; 40], vec![0x80, 0, 0, 0, 0, 0, 0, 1]].concat()] {
        for cmode in [0x12, 0x13] {
            let app = App { raw_plain: vec![(0x8000, plain.clone())], ..app(cmode, 1) };
            let mut request = asked(&file::kek_tdes(), &app);
            request.allow_ecb = true;
            assert_eq!(fault(&request), DataFault::Padding(dgi(0x8000)));
        }
    }
}

#[test]
fn values_that_are_no_whole_blocks_are_padding_faults() {
    let kek = file::kek_tdes();
    // Whole blocks of the file's cipher.
    for cmode in [0x10, 0x12] {
        let app = App { forged: vec![(0x8000, vec![7; 47])], ..app(cmode, 1) };
        assert_eq!(fault(&asked(&kek, &app)), DataFault::Padding(dgi(0x8000)));
    }
    // Whole blocks of the card's cipher: the value is unpadded under CMODE 12, but ENC 11 takes it as it is.
    let mut bad = app(0x12, 1);
    bad.dgis[1].1.pop();
    assert_eq!(fault(&asked(&kek, &bad)), DataFault::Padding(dgi(0x8000)));
    // 48 bytes are whole blocks of 16. A PIN block of 8 bytes is padded, but 8 bytes under ENC 11 are not.
    let mut request = asked(&kek, &app(0x12, 1));
    request.card_block = 16;
    let verified = make().verify_record(&request).unwrap();
    assert_eq!(verified.applications[0].protected, [(dgi(0x8000), 48), (dgi(0x8205), 80), (dgi(0x8010), 16)]);
    let mut as_it_is = app(0x12, 1);
    as_it_is.enc[2].1 = 0x11;
    let mut request = asked(&kek, &as_it_is);
    request.card_block = 16;
    assert_eq!(fault(&request), DataFault::Padding(dgi(0x8010)));
    request.card_block = 12;
    assert!(matches!(make().verify_record(&request), Err(HsmError::Unsupported(_))));
}

#[test]
fn enc_22_takes_only_a_format_1_pin_block() {
    for bad in ["241234FFFFFFFFFF", "131234FFFFFFFFFF", "14123AFFFFFFFFFF", "141234FFFFFFFF"] {
        let mut app = app(0x12, 1);
        app.dgis[5].1 = hex::decode(bad).unwrap();
        assert_eq!(fault(&asked(&file::kek_tdes(), &app)), DataFault::PinBlock(dgi(0x8010)), "{bad}");
    }
}

#[test]
fn an_enc_type_or_cmode_that_does_not_exist_is_refused() {
    for enc in [0x00, 0x10, 0x13, 0x21, 0x23] {
        let mut app = app(0x12, 1);
        app.enc[0].1 = enc;
        assert!(matches!(
            fault(&asked(&file::kek_tdes(), &app)),
            DataFault::Malformed(_) | DataFault::Protection(_)
        ));
    }
    for cmode in [0x00, 0x01, 0x14, 0x20] {
        assert!(matches!(fault(&asked(&file::kek_tdes(), &app(cmode, 1))), DataFault::Malformed(_)));
    }
}

#[test]
fn a_level_below_the_keks_minimum_is_refused_for_secrets_only() {
    for (kek, seclev, good) in [
        (file::kek_tdes(), 0, true),
        (file::kek_aes128(), 0, false),
        (file::kek_aes128(), 1, true),
        (file::kek_aes256(), 1, false),
        (file::kek_aes256(), 3, true),
    ] {
        let request = asked(&kek, &app(0x12, seclev));
        if good {
            make().verify_record(&request).unwrap();
        } else {
            assert_eq!(fault(&request), DataFault::LevelBelowMinimum(format!("{seclev:02X}")));
        }
        let mut open = app(0x12, seclev);
        open.protected.clear();
        open.enc.clear();
        make().verify_record(&asked(&kek, &open)).unwrap();
    }
}

#[test]
fn waiting_applications_are_bounded_and_release_makes_room() {
    let mut hsm = make();
    let mut small = app(0x12, 1);
    small.dgis.truncate(1);
    small.protected.clear();
    small.enc.clear();
    let asked = |sequence| {
        let scope = Scope { sequence, ..SCOPE };
        let mut record = request(build(&file::kek_tdes(), &small, &scope), &scope);
        record.applications = vec![record.applications[0].clone(); 64];
        record
    };
    let mut handles = Vec::new();
    let full = loop {
        match hsm.verify_record(&asked(handles.len() as u32 + 1)) {
            Ok(verified) => handles.push(verified.handle),
            Err(error) => break error,
        }
        assert!(handles.len() < 1_000);
    };
    assert_eq!(full, HsmError::Refused(HsmRefusal::TooMany(64 * handles.len())));
    hsm.release(&handles[..1]).unwrap();
    hsm.release(&handles[..1]).unwrap();
    // A call verifies all of its applications or none: with a wrong last one it takes no room.
    let mut wrong = asked(1);
    *wrong.applications[63].bytes.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        let fault = hsm.verify_record(&wrong).unwrap_err();
        assert!(matches!(fault, HsmError::Data { fault: DataFault::Mac, .. }));
    }
    // A record has one handle: verified again, it takes no more room.
    for _ in 0..2 {
        hsm.verify_record(&asked(1)).unwrap();
    }
    assert!(hsm.verify_record(&asked(1_000)).is_err());
}

/// Acceptance and inspection check any number of applications; the records that a run has verified keep their room.
#[test]
fn a_check_leaves_no_handle_and_takes_no_room() {
    let mut hsm = make();
    let good = asked(&file::kek_tdes(), &app(0x12, 1));
    let batch = check_request(&vec![good.clone(); 256]);
    for _ in 0..20 {
        assert!(hsm.check(&batch).unwrap().iter().all(Result::is_ok));
    }
    let handle = hsm.verify_record(&good).unwrap().handle;
    hsm.release(&[handle]).unwrap();
}

#[test]
fn each_application_of_a_check_has_its_own_answer() {
    let good = asked(&file::kek_tdes(), &app(0x12, 1));
    let mut wrong = good.clone();
    *wrong.applications[0].bytes.last_mut().unwrap() ^= 1;
    let unknown = asked(&Kek { id: [0x47, 0x61, 0x73, 0x99, 9], ..file::kek_tdes() }, &app(0x12, 1));
    let rubbish = request(vec![7; 40], &SCOPE);
    let answers =
        make().check(&check_request(&[good.clone(), wrong, unknown, good.clone(), rubbish])).unwrap();
    assert_eq!((&answers[0], &answers[3]), (&Ok(()), &Ok(())));
    assert!(matches!(answers[1], Err(HsmError::Data { fault: DataFault::Mac, .. })));
    assert_eq!(answers[2], Err(HsmError::UnknownKek(KekId([0x47, 0x61, 0x73, 0x99, 9]))));
    assert!(matches!(answers[4], Err(HsmError::Data { fault: DataFault::Malformed(_), .. })));
}

#[test]
fn a_check_of_too_many_applications_is_refused_whole() {
    let small = request(vec![7; 8], &SCOPE);
    let many = |count: usize| make().check(&check_request(&vec![small.clone(); count]));
    assert_eq!(many(CHECK_LIMIT).unwrap().len(), CHECK_LIMIT);
    assert_eq!(many(CHECK_LIMIT + 1), Err(HsmError::Refused(HsmRefusal::CheckTooLong(CHECK_LIMIT))));
}

#[test]
fn info_shows_references_and_kcvs() {
    let info = make().info().unwrap();
    assert_eq!(info.keks.len(), 3);
    assert_eq!(info.keks[0].id.to_string(), "4761739901");
    assert_eq!(info.keks[2].tk_type, 0x42);
    assert_eq!(info.kmcs[0].kcv.to_string(), "8BAF47");
    let json = serde_json::to_string(&info).unwrap().to_uppercase();
    for value in KEYS.lines().filter_map(|l| l.strip_prefix("value = ")) {
        assert!(!json.contains(value.trim_matches('"')));
    }
}

proptest! {
    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(make().verify_record(&request(bytes, &SCOPE)).is_err());
    }

    #[test]
    fn a_cut_application_is_refused(end in 0usize..700) {
        let mut asked = asked(&file::kek_tdes(), &app(0x12, 1));
        asked.applications[0].bytes.truncate(end);
        prop_assert!(make().verify_record(&asked).is_err());
    }
}
