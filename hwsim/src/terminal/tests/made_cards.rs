//! Cards of the issuer in `made`: each method passes, and each check of the standard fails where a card breaks
//! what it is for.

use std::sync::OnceLock;

use serde_json::json;
use sha1::{Digest, Sha1};

use super::made::{MadeCertificate, MadeKey, PAN, ScriptedCard, keys_of, optional, tlv};
use super::*;

/// Authority, issuer, card.
struct KeyLadder {
    authority: MadeKey,
    issuer: MadeKey,
    card: MadeKey,
}

impl KeyLadder {
    /// Keys of these sizes in bits.
    fn new(sizes: [u32; 3], exponent: u32) -> Self {
        let [authority, issuer, card] = sizes.map(|bits| MadeKey::new(bits, exponent));
        Self { authority, issuer, card }
    }

    /// Keys that several tests use; both lower ones have remainders.
    fn shared() -> &'static Self {
        static KEYS: OnceLock<KeyLadder> = OnceLock::new();
        KEYS.get_or_init(|| Self::new([1152, 1024, 896], 3))
    }
}

const DDOL: &str = "9F3704";
const CDOL_1: &str = "9F02069F03069F1A0295055F2A029A039C019F3704";

/// The marked record, without its template.
fn marked() -> Vec<u8> {
    [tlv("5A", &hex(PAN)), tlv("5F24", &hex("351231")), tlv("9F4A", &[0x82])].concat()
}

/// The records with the certificates of a card.
fn certified(keys: &KeyLadder, aip: &str, issuer: &MadeCertificate, card: &MadeCertificate) -> Vec<Vec<u8>> {
    let (certificate, remainder) = issuer.seal(&keys.authority, &keys.issuer, &[]);
    let issuer_companions =
        [tlv("8F", &[0x92]), tlv("9F32", &keys.issuer.exponent()), optional("92", &remainder)].concat();
    let static_data = [marked(), hex(aip)].concat();
    let (of_card, card_remainder) = card.seal(&keys.issuer, &keys.card, &static_data);
    let companions = [
        tlv("9F47", &keys.card.exponent()),
        optional("9F48", &card_remainder),
        tlv("9F49", &hex(DDOL)),
        tlv("8C", &hex(CDOL_1)),
    ];
    vec![tlv("90", &certificate), issuer_companions, tlv("9F46", &of_card), companions.concat()]
}

fn scripted(aip: &str, issuer: &MadeCertificate, card: &MadeCertificate) -> ScriptedCard {
    ScriptedCard::new(aip, &marked(), &certified(KeyLadder::shared(), aip, issuer, card))
}

fn run(card: &mut ScriptedCard) -> Result<AuthenticationMethod, AuthenticationFailure> {
    authenticate(card, &PAYMENT, &keys_of(&KeyLadder::shared().authority), &data())
}

/// A card with SDA whose signed data have this content, hashed with the static data.
fn with_static(content: &[u8], spoil: impl FnOnce(&mut [u8])) -> ScriptedCard {
    let keys = KeyLadder::shared();
    let mut card = scripted("4000", &MadeCertificate::issuer(), &MadeCertificate::card());
    let static_data = [marked(), hex("4000")].concat();
    let signed = keys.issuer.seal(&keys.issuer.filled(content), &static_data, spoil);
    card.records.insert((2, 3), tlv("70", &tlv("93", &signed)));
    card
}

#[test]
fn a_static_card_passes_and_every_change_fails_it() {
    let right = || with_static(&hex("0301DAC0"), |_| {});
    assert_eq!(run(&mut right()), Ok(AuthenticationMethod::Sda));
    let step = TerminalStep::SignedStaticData;
    for (at, value, fault) in [
        (3, 0xDB, StepFault::Hash), // the data authentication code
        (4, 0xC1, StepFault::Hash),
        (5, 0xBA, StepFault::Hash),
        (0, 0x4A, StepFault::Header),
        (1, 0x04, StepFault::Format),
        (2, 0x02, StepFault::HashAlgorithm),
        (127, 0xBD, StepFault::Trailer),
        (126, 0, StepFault::Hash),
    ] {
        fails(run(&mut with_static(&hex("0301DAC0"), |block| block[at] = value)), step, fault);
    }
    fails(run(&mut with_static(&hex("0301DAC0BA"), |_| {})), step, StepFault::Padding);
    // A changed record, and one that is longer.
    let mut other = right();
    other.records.insert((1, 1), tlv("70", &[marked(), tlv("5F34", &[1])].concat()));
    fails(run(&mut other), step, StepFault::Hash);
    let mut short = right();
    short.records.insert((2, 3), tlv("70", &tlv("93", &[1; 127])));
    fails(run(&mut short), step, StepFault::Length);
    let mut without = right();
    without.records.insert((2, 3), tlv("70", &[]));
    fails(run(&mut without), step, StepFault::Missing(0x93));
    let mut gone = right();
    gone.records.remove(&(2, 3));
    fails(run(&mut gone), TerminalStep::ReadRecord, StepFault::Status(0x6A83));
    let mut bare = right();
    bare.records.insert((2, 3), tlv("93", &[1; 128]));
    fails(run(&mut bare), TerminalStep::ReadRecord, StepFault::Malformed);
}

/// Records of SFI 11 to 30 are signed with tag and length.
#[test]
fn a_marked_record_of_a_high_file_is_signed_whole() {
    let keys = KeyLadder::shared();
    let extra = tlv("70", &tlv("5F34", &[1]));
    for (signed_as, expected) in [
        (&extra[..], Ok(AuthenticationMethod::Sda)),
        (&extra[2..], Err(StepFault::Hash.at(TerminalStep::SignedStaticData))),
    ] {
        let mut card = with_static(&hex("0301DAC0"), |_| {});
        card.options = tlv("80", &hex("4000080101015801010110010400"));
        card.records.insert((11, 1), extra.clone());
        let static_data = [marked(), signed_as.to_vec(), hex("4000")].concat();
        let signed = keys.issuer.seal(&keys.issuer.filled(&hex("0301DAC0")), &static_data, |_| {});
        card.records.insert((2, 3), tlv("70", &tlv("93", &signed)));
        assert_eq!(run(&mut card), expected);
    }
}

/// The ways in which both certificates can be wrong. The positions are those of the issuer's, from the end of
/// the subject on.
fn spoiled(right: fn() -> MadeCertificate) -> Vec<(MadeCertificate, StepFault)> {
    let spoil = |at, value| MadeCertificate { spoil: Some((at, value)), ..right() };
    let key_length = if right().format == 2 { 128 } else { 112 };
    vec![
        (spoil(0, 0x6B), StepFault::Header),
        (spoil(1, 0x09), StepFault::Format),
        (spoil(usize::MAX, 0xBD), StepFault::Trailer),
        (spoil(2, 0x12), StepFault::Hash),
        (MadeCertificate { expiry: [0x10, 0x26], ..right() }, StepFault::Expired),
        (MadeCertificate { expiry: [0x12, 0x99], ..right() }, StepFault::Expired),
        (MadeCertificate { expiry: [0x13, 0x35], ..right() }, StepFault::Date),
        (MadeCertificate { algorithms: [2, 1], ..right() }, StepFault::HashAlgorithm),
        (MadeCertificate { algorithms: [1, 2], ..right() }, StepFault::KeyAlgorithm),
        (MadeCertificate { lengths: Some([key_length, 2]), ..right() }, StepFault::Exponent),
        (MadeCertificate { lengths: Some([key_length - 1, 1]), ..right() }, StepFault::Remainder),
        (MadeCertificate { lengths: Some([200, 1]), ..right() }, StepFault::KeyLength),
    ]
}

#[test]
fn every_check_of_the_certificates_fails_a_card() {
    for (issuer, fault) in spoiled(MadeCertificate::issuer) {
        let result = run(&mut scripted("2000", &issuer, &MadeCertificate::card()));
        fails(result, TerminalStep::IssuerCertificate, fault);
    }
    for (card, fault) in spoiled(MadeCertificate::card) {
        let result = run(&mut scripted("2000", &MadeCertificate::issuer(), &card));
        fails(result, TerminalStep::CardCertificate, fault);
    }
    // An expiry in the month of the transaction still counts.
    let last = MadeCertificate { expiry: [0x11, 0x26], ..MadeCertificate::card() };
    let result = run(&mut scripted("2000", &MadeCertificate::issuer(), &last));
    assert_eq!(result.unwrap_err().step, TerminalStep::InternalAuthenticate);
}

#[test]
fn the_subjects_of_the_certificates_are_those_of_the_card() {
    for subject in ["476174FF", "47FFFFFF", "FFFFFFFF", "47617390", "4761739A", "4F6173FF"] {
        let issuer = MadeCertificate { subject: subject.into(), ..MadeCertificate::issuer() };
        let result = run(&mut scripted("2000", &issuer, &MadeCertificate::card()));
        if subject == "47617390" {
            // Eight digits of the number.
            assert_eq!(result.unwrap_err().step, TerminalStep::InternalAuthenticate);
        } else {
            fails(result, TerminalStep::IssuerCertificate, StepFault::IssuerIdentifier);
        }
    }
    for subject in
        ["4761739001010118FFFF", "47617390010101190FFF", "476173900101011FFFFF", "A761739001010119FFFF"]
    {
        let card = MadeCertificate { subject: subject.into(), ..MadeCertificate::card() };
        let result = run(&mut scripted("2000", &MadeCertificate::issuer(), &card));
        fails(result, TerminalStep::CardCertificate, StepFault::Pan);
    }
}

#[test]
fn a_key_that_needs_no_remainder_is_padded_and_has_none() {
    let keys = KeyLadder::new([1152, 848, 512], 65537);
    let chain = |filler, remainder: &[u8]| {
        let issuer = MadeCertificate { filler, ..MadeCertificate::issuer() };
        let mut records = certified(&keys, "2000", &issuer, &MadeCertificate::card());
        records[1].extend(optional("92", remainder));
        let mut card = ScriptedCard::new("2000", &marked(), &records);
        authenticate(&mut card, &PAYMENT, &keys_of(&keys.authority), &data())
    };
    // No signer: the chain is right where INTERNAL AUTHENTICATE is reached.
    assert_eq!(chain(0xBB, &[]).unwrap_err().step, TerminalStep::InternalAuthenticate);
    fails(chain(0x00, &[]), TerminalStep::IssuerCertificate, StepFault::Padding);
    fails(chain(0xBB, &[1]), TerminalStep::IssuerCertificate, StepFault::Hash);
    // A remainder that the hash knows, of a key that is whole without it.
    let mut records = certified(&keys, "2000", &MadeCertificate::issuer(), &MadeCertificate::card());
    let content = [hex("02476173FF123500000101016A03"), keys.issuer.modulus()].concat();
    let content = keys.authority.filled(&content);
    let certificate = keys.authority.seal(&content, &[&[1], &keys.issuer.exponent()[..]].concat(), |_| {});
    records[0] = tlv("90", &certificate);
    records[1].extend(tlv("92", &[1]));
    let mut card = ScriptedCard::new("2000", &marked(), &records);
    let result = authenticate(&mut card, &PAYMENT, &keys_of(&keys.authority), &data());
    fails(result, TerminalStep::IssuerCertificate, StepFault::Remainder);
}

/// A card with DDA that answers with these signed data, hashed with the terminal's.
fn dynamic_card(content: &'static str, format_1: bool, spoil: Option<(usize, u8)>) -> ScriptedCard {
    let keys = KeyLadder::shared();
    let mut card = scripted("2000", &MadeCertificate::issuer(), &MadeCertificate::card());
    card.signer = Some(Box::new(move |values| {
        let signed = keys.card.seal(&keys.card.filled(&hex(content)), values, |block| {
            if let Some((at, value)) = spoil {
                block[at] = value;
            }
        });
        if format_1 { tlv("80", &signed) } else { tlv("77", &tlv("9F4B", &signed)) }
    }));
    card
}

#[test]
fn every_check_of_a_dynamic_signature_fails_a_card() {
    let right = "050109080102030405060708";
    for format_1 in [true, false] {
        assert_eq!(run(&mut dynamic_card(right, format_1, None)), Ok(AuthenticationMethod::Dda));
    }
    // Two bytes of number, and data of the card after it.
    assert_eq!(run(&mut dynamic_card("050105020102AAAA", true, None)), Ok(AuthenticationMethod::Dda));
    let step = TerminalStep::SignedDynamicData;
    for (at, value, fault) in [
        (0, 0x6B, StepFault::Header),
        (1, 0x03, StepFault::Format),
        (2, 0x02, StepFault::HashAlgorithm),
        (4, 0x07, StepFault::Hash),
        (111, 0, StepFault::Trailer),
    ] {
        fails(run(&mut dynamic_card(right, false, Some((at, value)))), step, fault);
    }
    for (content, fault) in [
        ("0501050101AAAAAA", StepFault::DynamicData),
        ("05010A09010203040506070809", StepFault::DynamicData),
        ("05010508010203AA", StepFault::DynamicData),
        ("050100", StepFault::DynamicData),
        ("0501FF08", StepFault::DynamicData),
        ("05010908010203040506070800", StepFault::Padding),
    ] {
        let result = run(&mut dynamic_card(content, false, None));
        fails(result, step, fault);
    }
    let mut other = dynamic_card(right, false, None);
    let sign = other.signer.take().unwrap();
    other.signer = Some(Box::new(move |values| sign(&[values, &[0]].concat())));
    fails(run(&mut other), step, StepFault::Hash);
    for answer in [tlv("80", &[1; 111]), tlv("77", &tlv("9F4B", &[1; 113]))] {
        let mut card = dynamic_card(right, false, None);
        card.signer = Some(Box::new(move |_| answer.clone()));
        fails(run(&mut card), step, StepFault::Length);
    }
    let mut unsigned = dynamic_card(right, false, None);
    unsigned.signer = Some(Box::new(|_| tlv("77", &tlv("9F27", &[0x80]))));
    fails(run(&mut unsigned), TerminalStep::InternalAuthenticate, StepFault::Missing(0x9F4B));
}

#[test]
fn a_list_without_the_unpredictable_number_fails() {
    for (aip, from, to, step) in [
        ("2000", "9F49039F3704", "9F49039F3703", TerminalStep::InternalAuthenticate),
        ("0100", "9C019F3704", "9C019F3604", TerminalStep::GenerateAc),
    ] {
        let mut card = scripted(aip, &MadeCertificate::issuer(), &MadeCertificate::card());
        let record = card.records.get_mut(&(2, 4)).unwrap();
        *record = hex(&hex::encode_upper(&*record).replacen(from, to, 1));
        fails(run(&mut card), step, StepFault::NoUnpredictableNumber);
    }
    // Without a DDOL, the terminal sends the unpredictable number alone.
    let mut card = dynamic_card("050109080102030405060708", false, None);
    let record = card.records.get_mut(&(2, 4)).unwrap();
    *record = hex(&hex::encode_upper(&*record).replacen("9F49039F3704", "5F3401015000", 1));
    let sign = card.signer.take().unwrap();
    card.signer = Some(Box::new(move |values| {
        assert_eq!(values.len(), 4);
        sign(values)
    }));
    assert_eq!(run(&mut card), Ok(AuthenticationMethod::Dda));
}

/// What a card with CDA does otherwise than it should.
#[derive(Clone, Copy, Default)]
struct CombinedChange {
    /// The cryptogram information in the answer, in place of 80.
    information: Option<u8>,
    /// The number's length in the signature, in place of 8.
    number: Option<u8>,
    /// Bytes of the ICC dynamic data that are left out at their end.
    cut: u8,
    /// The hash is over other data of the transaction.
    other_transaction: bool,
    /// The signature is over another unpredictable number.
    other_number: bool,
    /// The answer has an object that the hash does not know.
    more: bool,
    /// Position and value of a byte of the block.
    spoil: Option<(usize, u8)>,
}

fn combined_card(change: CombinedChange) -> ScriptedCard {
    let keys = KeyLadder::shared();
    let mut card = scripted("0100", &MadeCertificate::issuer(), &MadeCertificate::card());
    card.signer = Some(Box::new(move |values| {
        let before = [tlv("9F27", &[change.information.unwrap_or(0x80)]), tlv("9F36", &[0, 1])].concat();
        let after = tlv("9F10", &hex("06010A03A00000"));
        let mut transaction = [values, &before, &after].concat();
        if change.other_transaction {
            transaction[0] ^= 1;
        }
        let mut dynamic = vec![change.number.unwrap_or(8)];
        dynamic.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x80]);
        dynamic.extend([0xAC; 8]);
        dynamic.extend(Sha1::digest(&transaction));
        dynamic.truncate(dynamic.len() - usize::from(change.cut));
        let content = [&[5, 1, u8::try_from(dynamic.len()).unwrap()], &dynamic[..]].concat();
        let mut number = values[values.len() - 4..].to_vec();
        number[0] ^= u8::from(change.other_number);
        let signed = keys.card.seal(&keys.card.filled(&content), &number, |block| {
            if let Some((at, value)) = change.spoil {
                block[at] = value;
            }
        });
        let more = if change.more { tlv("9F7C", &[1]) } else { vec![] };
        tlv("77", &[before, tlv("9F4B", &signed), after, more].concat())
    }));
    card
}

#[test]
fn every_check_of_a_combined_signature_fails_a_card() {
    let right = CombinedChange::default();
    assert_eq!(run(&mut combined_card(right)), Ok(AuthenticationMethod::Cda));
    let signature = TerminalStep::SignedDynamicData;
    for (change, step, fault) in [
        (CombinedChange { information: Some(0x40), ..right }, signature, StepFault::CryptogramInformation),
        (CombinedChange { information: Some(0x00), ..right }, TerminalStep::GenerateAc, StepFault::Refused),
        (CombinedChange { number: Some(1), ..right }, signature, StepFault::DynamicData),
        (CombinedChange { number: Some(9), ..right }, signature, StepFault::DynamicData),
        (CombinedChange { cut: 1, ..right }, signature, StepFault::DynamicData),
        (CombinedChange { other_transaction: true, ..right }, signature, StepFault::TransactionHash),
        (CombinedChange { other_number: true, ..right }, signature, StepFault::Hash),
        (CombinedChange { more: true, ..right }, signature, StepFault::TransactionHash),
        (CombinedChange { spoil: Some((0, 0x60)), ..right }, signature, StepFault::Header),
        (CombinedChange { spoil: Some((1, 0x04)), ..right }, signature, StepFault::Format),
        (CombinedChange { spoil: Some((2, 0x02)), ..right }, signature, StepFault::HashAlgorithm),
        (CombinedChange { spoil: Some((20, 0xAD)), ..right }, signature, StepFault::Hash),
        (CombinedChange { spoil: Some((111, 0x00)), ..right }, signature, StepFault::Trailer),
    ] {
        fails(run(&mut combined_card(change)), step, fault);
    }
    // Cryptograms without a signature, in both formats.
    for (answer, fault) in [
        ("8012800001ACACACACACACACAC06010A03A00000", StepFault::Missing(0x9F4B)),
        ("8012000001ACACACACACACACAC06010A03A00000", StepFault::Refused),
        ("77149F2701809F360200019F2608ACACACACACACACAC", StepFault::Missing(0x9F4B)),
        ("77079F2701809F3600", StepFault::Malformed),
        ("77059F36020001", StepFault::Missing(0x9F27)),
    ] {
        let mut card = combined_card(right);
        card.signer = Some(Box::new(move |_| hex(answer)));
        fails(run(&mut card), TerminalStep::GenerateAc, fault);
    }
}

/// The `chip` object of a card that signs with its key by itself.
fn chip(keys: &KeyLadder, aip: &str, pdol: &str) -> serde_json::Value {
    let records = certified(keys, aip, &MadeCertificate::issuer(), &MadeCertificate::card());
    let text = |bytes: Vec<u8>| serde_json::Value::from(hex::encode_upper(bytes));
    let mut dgis = serde_json::Map::new();
    dgis.insert("0101".into(), text(tlv("70", &marked())));
    for (number, record) in records.iter().enumerate() {
        dgis.insert(format!("020{}", number + 1), text(tlv("70", record)));
    }
    dgis.insert("8000".into(), "11".repeat(48).into());
    dgis.insert("9000".into(), "00".repeat(9).into());
    dgis.insert("9102".into(), text(tlv("A5", &optional("9F38", &hex(pdol)))));
    dgis.insert("9104".into(), format!("8202{aip}94080801010110010400").into());
    dgis.extend(keys.card.constants().into_iter().map(|(dgi, value)| (dgi.into(), value.into())));
    json!({ "applications":
        [{ "aid": hex::encode_upper(PAYMENT), "state": "PERSONALIZED", "dgis": dgis }] })
}

#[test]
fn chains_of_every_size_and_both_exponents_pass() {
    for (sizes, exponent) in [
        ([1152, 1024, 1024], 3),
        ([1152, 1024, 1024], 65537),
        ([1408, 1152, 1024], 3),
        ([1984, 1408, 1152], 65537),
        ([1984, 1408, 1408], 3),
        ([1984, 1976, 1408], 65537),
        ([1984, 1976, 1976], 3),
        ([1984, 1976, 1976], 65537),
    ] {
        let keys = KeyLadder::new(sizes, exponent);
        let authority = keys_of(&keys.authority);
        let mut methods = vec![("2000", AuthenticationMethod::Dda)];
        // The answer with a signature of 247 bytes and a cryptogram is too long for the card.
        if sizes[2] < 1976 {
            methods.push(("2100", AuthenticationMethod::Cda));
        }
        for (aip, method) in methods {
            for pdol in ["", "9F1A029F3704DF01039F3303"] {
                let mut card = simulated(&chip(&keys, aip, pdol));
                let result = authenticate(&mut card, &PAYMENT, &authority, &data());
                assert_eq!(result, Ok(method), "{sizes:?} {exponent} {pdol}");
            }
        }
    }
}
