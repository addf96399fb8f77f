//! Two cards whose keys and certificates others made with their own code: the payment applications of the
//! simulated card's tests, and the purses in `purses.json` with the authority of both.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

/// DGIs: number, whether it is secret, value.
type PublishedPayment = Vec<(String, bool, String)>;

/// DGIs: number, value.
type PublishedPurse = Vec<(String, String)>;

#[derive(Deserialize)]
struct PublishedCards {
    cards: Vec<PublishedPayment>,
}

#[derive(Deserialize)]
struct PublishedPurses {
    authority: Value,
    purses: Vec<PublishedPurse>,
}

fn purses() -> PublishedPurses {
    serde_json::from_str(include_str!("purses.json")).unwrap()
}

/// The authority's key as a file of keys.
pub(super) fn authority() -> Value {
    purses().authority
}

pub(super) fn keys() -> CertificationKeys {
    CertificationKeys::parse(&authority().to_string()).unwrap()
}

/// The `chip` objects of the two cards: application 0 pays, 1 is the purse.
pub(super) fn chips() -> Vec<Value> {
    let all: PublishedCards = serde_json::from_str(include_str!("../../card/tests/rsa_cards.json")).unwrap();
    let application = |aid: &[u8], dgis: PublishedPurse| {
        let dgis: serde_json::Map<_, _> = dgis.into_iter().map(|(dgi, value)| (dgi, value.into())).collect();
        json!({ "aid": hex::encode_upper(aid), "state": "PERSONALIZED", "dgis": dgis })
    };
    let chip = |(payment, mut purse): (PublishedPayment, PublishedPurse)| {
        let payment = payment.into_iter().map(|(dgi, _, value)| (dgi, value)).collect();
        // Keys that the chip needs and a terminal cannot see.
        purse.extend([("8020".into(), "00".repeat(32)), ("9020".into(), "00".repeat(6))]);
        json!({ "applications": [application(&PAYMENT, payment), application(&PURSE, purse)] })
    };
    all.cards.into_iter().zip(purses().purses).map(chip).collect()
}

fn pay(chip: &Value) -> Result<AuthenticationMethod, AuthenticationFailure> {
    authenticate(&mut simulated(chip), &PAYMENT, &keys(), &data())
}

fn purse(chip: &Value) -> Result<AuthenticationMethod, AuthenticationFailure> {
    authenticate_purse(&mut simulated(chip), &keys(), &data())
}

/// Changes one byte of a DGI.
pub(super) fn changed(chip: &Value, application: usize, dgi: &str, at: usize) -> Value {
    let mut chip = chip.clone();
    let value = &mut chip["applications"][application]["dgis"][dgi];
    let mut bytes = hex(value.as_str().unwrap());
    bytes[at] ^= 0x01;
    *value = hex::encode_upper(bytes).into();
    chip
}

fn set(chip: &mut Value, dgi: &str, value: &str) {
    chip["applications"][0]["dgis"][dgi] = value.into();
}

fn length(chip: &Value, application: usize, dgi: &str) -> usize {
    chip["applications"][application]["dgis"][dgi].as_str().unwrap().len() / 2
}

/// What a block shows that was opened with another key, or is another block.
fn opens_to_noise(failure: AuthenticationFailure, step: TerminalStep) -> bool {
    failure.step == step
        && matches!(
            failure.fault,
            StepFault::Trailer | StepFault::Header | StepFault::Format | StepFault::Hash
        )
}

#[test]
fn the_cards_authenticate_as_their_profile_says() {
    for chip in chips() {
        assert_eq!(pay(&chip), Ok(AuthenticationMethod::Dda));
        assert_eq!(purse(&chip), Ok(AuthenticationMethod::Certificates));
    }
}

#[test]
fn a_changed_byte_of_a_certificate_fails_it() {
    for chip in chips() {
        for (dgi, step) in
            [("0202", TerminalStep::CardCertificate), ("0301", TerminalStep::IssuerCertificate)]
        {
            // The certificate begins after 70 81 xx and its tag and length of 4 bytes (9F46) or 3 (90).
            let start = if dgi == "0202" { 7 } else { 6 };
            for at in (start..length(&chip, 0, dgi)).step_by(9) {
                let failure = pay(&changed(&chip, 0, dgi, at)).unwrap_err();
                assert!(opens_to_noise(failure, step), "{dgi} byte {at}: {failure}");
            }
        }
        for (dgi, start, step) in
            [("0202", 7, TerminalStep::CardCertificate), ("0201", 6, TerminalStep::IssuerCertificate)]
        {
            for at in (start..length(&chip, 1, dgi)).step_by(9) {
                let failure = purse(&changed(&chip, 1, dgi, at)).unwrap_err();
                assert!(opens_to_noise(failure, step), "{dgi} byte {at}: {failure}");
            }
        }
    }
}

#[test]
fn a_changed_remainder_exponent_or_index_fails() {
    let [first, second] = &chips()[..] else { panic!() };
    let hash = StepFault::Hash;
    // 70 17, 9F47 01 03, 9F48 0A ..; with exponent 65537 the object has two bytes more.
    fails(pay(&changed(first, 0, "0203", 5)), TerminalStep::CardCertificate, hash);
    for at in 9..19 {
        fails(pay(&changed(first, 0, "0203", at)), TerminalStep::CardCertificate, hash);
        fails(pay(&changed(second, 0, "0203", at + 2)), TerminalStep::CardCertificate, hash);
    }
    // 70 07, 8F 01 F1, 9F32 01 03.
    fails(pay(&changed(first, 0, "0302", 8)), TerminalStep::IssuerCertificate, hash);
    fails(pay(&changed(first, 0, "0302", 4)), TerminalStep::CertificationKey, StepFault::UnknownKey);
    // 70 1A, 8F 01 F1, 9F32 01 03, 9F47 03 010001, 9F48 0A ...
    fails(purse(&changed(first, 1, "0203", 4)), TerminalStep::CertificationKey, StepFault::UnknownKey);
    fails(purse(&changed(first, 1, "0203", 8)), TerminalStep::IssuerCertificate, hash);
    fails(purse(&changed(first, 1, "0203", 12)), TerminalStep::CardCertificate, hash);
    fails(purse(&changed(first, 1, "0203", 18)), TerminalStep::CardCertificate, hash);
}

#[test]
fn every_changed_byte_of_the_static_records_fails() {
    use TerminalStep::{CardCertificate, IssuerCertificate, ReadRecord, StaticData};
    for chip in chips() {
        for at in 0..length(&chip, 0, "0201") {
            let failure = pay(&changed(&chip, 0, "0201", at)).unwrap_err();
            let steps = [ReadRecord, StaticData, IssuerCertificate, CardCertificate];
            assert!(steps.contains(&failure.step), "byte {at}: {failure}");
        }
        for at in 0..length(&chip, 1, "0101") {
            let failure = purse(&changed(&chip, 1, "0101", at)).unwrap_err();
            let steps = [ReadRecord, IssuerCertificate, CardCertificate];
            assert!(steps.contains(&failure.step), "byte {at}: {failure}");
        }
        // 5A begins at byte 2: its first digits, and its last ones.
        fails(pay(&changed(&chip, 0, "0201", 4)), IssuerCertificate, StepFault::IssuerIdentifier);
        fails(pay(&changed(&chip, 0, "0201", 11)), CardCertificate, StepFault::Hash);
        // 9F4A 01 82 stands last.
        fails(pay(&changed(&chip, 0, "0201", 87)), StaticData, StepFault::TagList);
    }
}

/// No signature covers a record that the AFL does not mark; a preparation that wants it covered marks it.
#[test]
fn records_that_the_afl_does_not_mark_are_not_covered() {
    for chip in chips() {
        let last = length(&chip, 0, "0101") - 1;
        assert_eq!(pay(&changed(&chip, 0, "0101", last)), Ok(AuthenticationMethod::Dda));
        fails(pay(&changed(&chip, 0, "0101", 0)), TerminalStep::ReadRecord, StepFault::Malformed);
        fails(pay(&changed(&chip, 0, "0101", 1)), TerminalStep::ReadRecord, StepFault::Malformed);
    }
}

#[test]
fn a_changed_profile_or_file_locator_fails() {
    for chip in chips() {
        // 82 02 3C00, 94 0C 08010100 10010401 18010200.
        let mut weaker = chip.clone();
        for (aip, step, fault) in [
            ("3D00", TerminalStep::CardCertificate, StepFault::Hash),
            ("7C00", TerminalStep::CardCertificate, StepFault::Hash),
            ("3C01", TerminalStep::CardCertificate, StepFault::Hash),
            ("5C00", TerminalStep::SignedStaticData, StepFault::Missing(0x93)),
            ("1C00", TerminalStep::Method, StepFault::NoMethod),
        ] {
            set(&mut weaker, "9104", &format!("8202{aip}940C080101001001040118010200"));
            fails(pay(&weaker), step, fault);
        }
        for (locator, step, fault) in [
            ("080101001001040018010200", TerminalStep::CardCertificate, StepFault::Hash),
            ("080101011001040118010200", TerminalStep::CardCertificate, StepFault::Hash),
            ("080101001001040218010200", TerminalStep::CardCertificate, StepFault::Hash),
            ("080101001001050118010200", TerminalStep::ReadRecord, StepFault::Status(0x6A83)),
            ("080101001001040120010200", TerminalStep::ReadRecord, StepFault::Status(0x6A82)),
            ("080101001001040110010100", TerminalStep::ReadRecord, StepFault::Twice(0x5A)),
            ("080101001001040118010100", TerminalStep::ReadRecord, StepFault::Missing(0x8F)),
            ("080101001001040518010200", TerminalStep::ProcessingOptions, StepFault::FileLocator),
            ("080101001003020118010200", TerminalStep::ProcessingOptions, StepFault::FileLocator),
            ("080101001000040118010200", TerminalStep::ProcessingOptions, StepFault::FileLocator),
            ("080101001101040118010200", TerminalStep::ProcessingOptions, StepFault::FileLocator),
            ("080101000001040118010200", TerminalStep::ProcessingOptions, StepFault::FileLocator),
            ("08010100F801040118010200", TerminalStep::ProcessingOptions, StepFault::FileLocator),
        ] {
            let mut other = chip.clone();
            set(&mut other, "9104", &format!("82023C00940C{locator}"));
            fails(pay(&other), step, fault);
        }
        let mut cut = chip.clone();
        set(&mut cut, "9104", "82023C0094050801010010");
        fails(pay(&cut), TerminalStep::ProcessingOptions, StepFault::FileLocator);
    }
}

#[test]
fn a_card_with_a_changed_private_key_signs_nothing() {
    for chip in chips() {
        for part in ["8201", "8202", "8203", "8204", "8205"] {
            let wrong = changed(&chip, 0, part, 20);
            fails(pay(&wrong), TerminalStep::InternalAuthenticate, StepFault::Status(0x6F00));
        }
    }
}

/// Each card with the private key of the other signs well, but not with the certified key.
#[test]
fn the_private_key_of_another_card_fails() {
    let chips = chips();
    for (own, other) in [(0, 1), (1, 0)] {
        let mut chip = chips[own].clone();
        for part in ["8201", "8202", "8203", "8204", "8205"] {
            chip["applications"][0]["dgis"][part] = chips[other]["applications"][0]["dgis"][part].clone();
        }
        let failure = pay(&chip).unwrap_err();
        assert_eq!(failure.step, TerminalStep::SignedDynamicData);
    }
}

#[test]
fn a_changed_key_of_the_authority_fails() {
    let chip = &chips()[0];
    for at in (1..247).step_by(20) {
        let mut file = authority();
        let mut modulus = hex(file["modulus"].as_str().unwrap());
        modulus[at] ^= 2;
        file["modulus"] = hex::encode(modulus).into();
        let keys = CertificationKeys::parse(&file.to_string()).unwrap();
        let failure = authenticate(&mut simulated(chip), &PAYMENT, &keys, &data()).unwrap_err();
        assert!(opens_to_noise(failure, TerminalStep::IssuerCertificate), "byte {at}: {failure}");
    }
    let mut shorter = authority();
    shorter["modulus"] = format!("{}01", &"C1".repeat(246)).into();
    let keys = CertificationKeys::parse(&shorter.to_string()).unwrap();
    let result = authenticate(&mut simulated(chip), &PAYMENT, &keys, &data());
    fails(result, TerminalStep::IssuerCertificate, StepFault::Length);
}

#[test]
fn keys_are_found_by_provider_and_index() {
    let chip = &chips()[0];
    let unknown = |file: &Value| {
        let keys = CertificationKeys::parse(&file.to_string()).unwrap();
        authenticate(&mut simulated(chip), &PAYMENT, &keys, &data())
    };
    let mut foreign = authority();
    foreign["rid"] = "A000000004".into();
    fails(unknown(&foreign), TerminalStep::CertificationKey, StepFault::UnknownKey);
    let mut other = authority();
    other["index"] = "F2".into();
    fails(unknown(&other), TerminalStep::CertificationKey, StepFault::UnknownKey);
    assert_eq!(unknown(&json!([other, foreign, authority()])), Ok(AuthenticationMethod::Dda));
    // The purse has no registered provider: two keys of its index are one too many.
    let two = CertificationKeys::parse(&json!([foreign, authority()]).to_string()).unwrap();
    let result = authenticate_purse(&mut simulated(chip), &two, &data());
    fails(result, TerminalStep::CertificationKey, StepFault::UnknownKey);
}

#[test]
fn certificates_end_with_their_month() {
    for chip in chips() {
        let on = |date| {
            let data = TerminalData::on(date).unwrap();
            let paid = authenticate(&mut simulated(&chip), &PAYMENT, &keys(), &data);
            (paid, authenticate_purse(&mut simulated(&chip), &keys(), &data))
        };
        let (paid, purse) = on([0x35, 0x12, 0x31]);
        assert!(paid.is_ok() && purse.is_ok());
        let (paid, purse) = on([0x36, 0x01, 0x01]);
        fails(paid, TerminalStep::IssuerCertificate, StepFault::Expired);
        fails(purse, TerminalStep::IssuerCertificate, StepFault::Expired);
    }
}

#[test]
fn a_card_that_is_not_there_or_not_personalized_fails() {
    let chip = &chips()[0];
    let mut card = simulated(chip);
    card.power_off();
    fails(authenticate(&mut card, &PAYMENT, &keys(), &data()), TerminalStep::Select, StepFault::NoAnswer);
    let result = authenticate(&mut simulated(chip), &PAYMENT[..6], &keys(), &data());
    fails(result, TerminalStep::Select, StepFault::Status(0x6A82));
    let mut blank = chip.clone();
    blank["applications"][0]["state"] = "SELECTABLE".into();
    assert_eq!(pay(&blank).unwrap_err().step, TerminalStep::ProcessingOptions);
}

#[test]
fn files_of_keys_are_checked() {
    for (change, said) in [
        (json!({ "rid": "A0000000" }), "rid has not 5 bytes"),
        (json!({ "rid": "A00000000X" }), "rid is not hex"),
        (json!({ "index": "F1F1" }), "index has not 1 byte"),
        (json!({ "exponent": "05" }), "exponent"),
        (json!({ "modulus": "00C1" }), "modulus"),
        (json!({ "modulus": "C1".repeat(249) }), "length"),
        (json!({ "modulus": 7 }), "each as a text in hex"),
    ] {
        let mut file = authority();
        file.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = CertificationKeys::parse(&file.to_string()).err().unwrap();
        assert!(format!("{error:#}").contains(said), "{error:#}");
    }
    let twice = json!([authority(), authority()]).to_string();
    assert!(CertificationKeys::parse(&twice).is_err());
    assert!(CertificationKeys::parse("[").is_err());
}
