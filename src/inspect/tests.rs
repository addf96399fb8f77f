//! `inspect` over files made by hand, with an HSM that really checks MACs (AES-256; the KEK below, 00 01 02 .., is no
//! published TEST key).

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::*;
use crate::crypto::{
    ApplicationScope, CipherKey, FileKind, Purpose, Suite, application_mac_input, trailer_mac_input,
    unwrap_mac_key, wrap_mac_key,
};
use crate::exit::Exit;
use crate::hsm::{
    CardSession, CardSessionRequest, CheckAnswers, CheckRequest, CheckedApplication, Checker, DataFault,
    FileReceiver, Hsm, HsmError, HsmInfo, RecordHandle, RecordToVerify, TrailerRequest, VerifiedRecord,
};
use crate::ids::{CardRef, FileId, IssuerId, Kcv, KekId, Mic};
use crate::record::chip::{ChipApplication, ChipSection};
use crate::record::testing::{ApplicationPieces, KEKID, SectionPieces, file, record};
use crate::record::{Cwf1Writer, Header, Record, Section, TrailerKey, TrailerMac, others_digest};
use crate::scp::{HostChallenge, SecureChannelSpec};

const SUITE: Suite = Suite::Aes256;
const MAC_KEY: [u8; 16] = [0x5A; 16];

fn kek() -> CipherKey {
    SUITE.key(&std::array::from_fn::<u8, 32, _>(|n| n as u8)).unwrap()
}

/// The MAC of `input` in a scope, under a wrapped MAC key; `None` if the key does not unwrap.
fn mac(
    scope: &ApplicationScope<'_>,
    wrap: Purpose,
    blind: Purpose,
    wrapped: &[u8],
    input: &[u8],
) -> Option<Vec<u8>> {
    let tk = scope.derive(&kek(), SUITE, wrap).unwrap();
    let key = unwrap_mac_key(&tk, SUITE, wrapped)?;
    Some(scope.blinded(&kek(), SUITE, blind, &key).unwrap().mac(input))
}

fn wrapped(scope: &ApplicationScope<'_>, purpose: Purpose) -> Vec<u8> {
    wrap_mac_key(&scope.derive(&kek(), SUITE, purpose).unwrap(), SUITE, &MAC_KEY).unwrap()
}

/// An HSM that checks as `src/manual/cwf1.md` specifies and has a single KEK.
#[derive(Default)]
struct TestKeys {
    unknown: bool,
    most: usize,
}

impl Hsm for TestKeys {
    fn info(&mut self) -> Result<HsmInfo, HsmError> {
        unreachable!()
    }

    fn verify_trailer(&mut self, r: &TrailerRequest) -> Result<(), HsmError> {
        assert!(r.body.ends_with(&r.wrapped_mac_key));
        let scope = ApplicationScope::trailer(FileKind::Finished, r.issuer_id.as_str(), r.file_id.as_str());
        let input = trailer_mac_input(FileKind::Finished, &r.body);
        let mac = mac(&scope, Purpose::TrailerKey, Purpose::TrailerBlind, &r.wrapped_mac_key, &input);
        if mac.as_ref() == Some(&r.mac) { Ok(()) } else { Err(HsmError::TrailerMac) }
    }

    fn verify_record(&mut self, _: &RecordToVerify) -> Result<VerifiedRecord, HsmError> {
        unreachable!("inspection keeps no handle")
    }

    fn draw_challenge(&mut self, _: SecureChannelSpec) -> Result<HostChallenge, HsmError> {
        unreachable!()
    }

    fn session(&mut self, _: &CardSessionRequest) -> Result<CardSession, HsmError> {
        unreachable!()
    }

    fn release(&mut self, _: &[RecordHandle]) -> Result<(), HsmError> {
        unreachable!()
    }
}

impl FileReceiver for TestKeys {}

impl Checker for TestKeys {
    fn check(&mut self, request: &CheckRequest) -> Result<CheckAnswers, HsmError> {
        self.most = self.most.max(request.count());
        Ok(request.applications().map(|application| self.one(request, &application)).collect())
    }
}

impl TestKeys {
    fn one(&self, r: &CheckRequest, checked: &CheckedApplication<'_>) -> Result<(), HsmError> {
        let CheckedApplication { record, application, .. } = checked;
        let application = ChipApplication::parse(application).unwrap();
        if self.unknown {
            return Err(HsmError::UnknownKek(application.kek));
        }
        let scope = ApplicationScope {
            kind: FileKind::Finished,
            issuer_id: r.issuer_id.as_str(),
            file_id: r.file_id.as_str(),
            sequence: record.sequence,
            card_ref: record.card_ref.as_str(),
            aid: application.aid.as_bytes(),
        };
        let maced = &application.raw[application.maced.clone()];
        let input = application_mac_input(&scope, &record.others, maced).unwrap();
        let mac = mac(&scope, Purpose::MacKey, Purpose::Blind, &application.wrapped_mac_key, &input);
        if mac.as_ref() != Some(&application.mac) {
            return Err(HsmError::Data { aid: application.aid.to_string(), fault: DataFault::Mac });
        }
        Ok(())
    }
}

fn header(records: u32) -> Header {
    Header {
        kind: FileKind::Finished,
        file_id: FileId::new("F-0001").unwrap(),
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        product: ProductName::new("multiapp").unwrap(),
        created: 1_767_225_600,
        records,
    }
}

/// A file with right MACs: `count` cards with stripe and one application, under our writer.
fn sealed(count: u32) -> Vec<u8> {
    let header = header(count);
    let mut out = Vec::new();
    let mut writer = Cwf1Writer::new(&mut out, &header).unwrap();
    for sequence in 1..=count {
        let card_ref = CardRef::new(format!("CARD-{sequence}")).unwrap();
        let section =
            |mic: &str, data: Vec<u8>| Section { mic: Mic::new(mic).unwrap(), data: Zeroizing::new(data) };
        let mut record = Record { sequence, card_ref, sections: vec![section("MAG", b"%B\r\n".to_vec())] };
        let scope = ApplicationScope {
            kind: FileKind::Finished,
            issuer_id: header.issuer_id.as_str(),
            file_id: header.file_id.as_str(),
            sequence,
            card_ref: record.card_ref.as_str(),
            aid: &ApplicationPieces::default().aid,
        };
        let wrapped = wrapped(&scope, Purpose::MacKey);
        let raw = ApplicationPieces {
            tk_type: 0x42,
            wrapped: wrapped.clone(),
            mac: vec![0; 16],
            ..ApplicationPieces::default()
        }
        .bytes();
        let mut application = ChipApplication::parse(&raw).unwrap();
        let maced = &application.raw[application.maced.clone()];
        let input = application_mac_input(&scope, &others_digest(&record), maced).unwrap();
        application.mac = mac(&scope, Purpose::MacKey, Purpose::Blind, &wrapped, &input).unwrap();
        let chip = ChipSection { crn: Some(record.card_ref.clone()), applications: vec![application] };
        record.sections.push(section("CHP", chip.encode().unwrap().to_vec()));
        writer.record(&record).unwrap();
    }
    let scope =
        ApplicationScope::trailer(FileKind::Finished, header.issuer_id.as_str(), header.file_id.as_str());
    let wrapped_mac_key = wrapped(&scope, Purpose::TrailerKey);
    let key = TrailerKey { kek: KekId(KEKID), tk_type: 0x42, kcv: Kcv([1, 2, 3]) };
    let finished = writer.finish(key, |mut body| {
        body.push(u8::try_from(wrapped_mac_key.len()).unwrap());
        body.extend_from_slice(&wrapped_mac_key);
        let input = trailer_mac_input(FileKind::Finished, &body);
        let mac = mac(&scope, Purpose::TrailerKey, Purpose::TrailerBlind, &wrapped_mac_key, &input);
        Ok::<_, FileError>(TrailerMac { wrapped_mac_key, mac: mac.unwrap() })
    });
    finished.unwrap();
    out
}

fn stored(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("in.cwf");
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn of(bytes: &[u8], keys: Option<&mut TestKeys>) -> Result<InspectionReport, Failure> {
    let (_directory, path) = stored(bytes);
    inspect(&path, keys.map(|keys| keys as &mut dyn FileKeys))
}

fn exit(result: Result<InspectionReport, Failure>) -> Exit {
    match result {
        Ok(report) => report.exit(),
        Err(failure) => failure.exit,
    }
}

#[test]
fn without_keys_structure_and_digest_only() {
    let report = of(&sealed(3), None).unwrap();
    assert_eq!(report.exit(), Exit::StructureOnly);
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(json["trailer"]["mac"], "not checked");
    assert_eq!(json["verified"], false);
    assert!(report.text().contains("not checked: no keys were given"));
}

#[test]
fn with_keys_every_mac_is_verified_in_messages_of_bounded_length() {
    let bytes = sealed(600);
    let mut keys = TestKeys::default();
    let report = of(&bytes, Some(&mut keys)).unwrap();
    assert_eq!(report.exit(), Exit::Ok);
    assert!((2..=256).contains(&keys.most), "{}", keys.most);
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!(json["sha256"], hex::encode_upper(Sha256::digest(&bytes)));
    assert_eq!(json["size"], bytes.len());
    assert_eq!((&json["file_id"], &json["issuer_id"]), (&"F-0001".into(), &"TESTBANK".into()));
    assert_eq!(json["created"], "2026-01-01T00:00:00Z");
    assert_eq!(json["records"], 600);
    assert_eq!(json["mics"], serde_json::json!({ "CHP": 600, "MAG": 600 }));
    assert_eq!(json["applications"], serde_json::json!([{ "aid": "A0000000031010", "records": 600 }]));
    assert_eq!(json["products"], serde_json::json!({ "multiapp": 600 }));
    assert_eq!(
        json["keys"],
        serde_json::json!([{ "kek": "4761739901", "tk_type": "42", "applications": 600 }])
    );
    assert_eq!((&json["trailer"]["mac"], &json["verified"]), (&"verified".into(), &true.into()));
    let text = report.text();
    assert!(text.contains("all 600 verified") && text.contains("AES-256"), "{text}");
}

/// A changed stripe with a corrected digest: only the application's MAC, which binds the stripe, is wrong.
#[test]
fn a_wrong_application_mac_is_listed_and_has_its_own_exit() {
    let good = sealed(3);
    let report = with_front(&good, |front| {
        let at = front.windows(2).rposition(|window| window == b"%B").unwrap();
        front[at + 1] = b'C';
    });
    let report = of(&report, Some(&mut TestKeys::default())).unwrap();
    assert_eq!(report.exit(), Exit::RecordData);
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!((&json["applications_failed"], &json["applications_verified"]), (&1.into(), &2.into()));
    assert_eq!((&json["faults"][0]["record"], &json["faults"][0]["card_ref"]), (&3.into(), &"CARD-3".into()));
    assert!(report.text().contains("WRONG: record 3 (card CARD-3)"));
}

/// Changes what stands before the Trailer and writes a Trailer whose digest and MAC are right for it.
fn with_front(good: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let trailer = 5 + 4 + 32 + 5 + 1 + 3 + 33 + 17;
    let (front, trailer) = good.split_at(good.len() - trailer);
    let (mut front, mut trailer) = (front.to_vec(), trailer.to_vec());
    change(&mut front);
    trailer[9..41].copy_from_slice(&Sha256::digest(&front));
    let body = &trailer[5..trailer.len() - 17];
    let scope = ApplicationScope::trailer(FileKind::Finished, "TESTBANK", "F-0001");
    let wrapped = wrapped(&scope, Purpose::TrailerKey);
    let new = mac(
        &scope,
        Purpose::TrailerKey,
        Purpose::TrailerBlind,
        &wrapped,
        &trailer_mac_input(FileKind::Finished, body),
    )
    .unwrap();
    let at = trailer.len() - 16;
    trailer[at..].copy_from_slice(&new);
    [front, trailer].concat()
}

#[test]
fn a_wrong_trailer_mac_refuses_the_file() {
    let mut bytes = sealed(2);
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(exit(of(&bytes, Some(&mut TestKeys::default()))), Exit::FileMac);
    assert_eq!(exit(of(&bytes, None)), Exit::StructureOnly);
}

#[test]
fn an_unknown_kek_ends_with_the_record_named() {
    let failure = of(&sealed(1), Some(&mut TestKeys { unknown: true, ..TestKeys::default() })).err().unwrap();
    assert_eq!(failure.exit, Exit::KeyUnknown);
    assert!(failure.message.contains("record 1") && failure.message.contains("4761739901"), "{failure}");
}

#[test]
fn every_refusal_has_its_exit() {
    let right = record(1, "A", &[("MAG", b"")]);
    let mut changed = file(std::slice::from_ref(&right));
    changed[15] ^= 1;
    for (bytes, expected) in [
        (b"no card file".to_vec(), Exit::FileFormat),
        (file(&[record(2, "A", &[("MAG", b"")])]), Exit::FileFormat),
        (file(&[record(1, "A", &[("CHP", b"02.2")])]), Exit::FileFormat),
        (file(&[record(1, "A", &[("FUL", &[1, 0, 0, 0, 9])])]), Exit::FileFormat),
        (changed, Exit::FileDigest),
        (file(&[record(1, "A", &[("LAS", b"")])]), Exit::FileProfile),
        (file(&[right]), Exit::StructureOnly),
    ] {
        assert_eq!(exit(of(&bytes, None)), expected);
    }
    assert_eq!(exit(inspect(Path::new("/nonexistent/file"), None)), Exit::Io);
}

#[test]
fn an_unknown_mic_is_named() {
    let failure = of(&file(&[record(1, "A", &[("LASER", b"")])]), None).err().unwrap();
    assert!(failure.message.contains("record 1") && failure.message.contains("LASER"), "{failure}");
}

#[test]
fn a_crn_of_another_card_is_refused() {
    let chip =
        SectionPieces { crn: b"B".to_vec(), ..SectionPieces::new(&[ApplicationPieces::default()]) }.bytes();
    let failure = of(&file(&[record(1, "A", &[("CHP", &chip)])]), None).err().unwrap();
    assert!(failure.message.contains("CRN"), "{failure}");
}

#[test]
fn the_product_of_a_card_is_that_of_its_ful_section() {
    let ful = [&[2, 0, 0, 0, 1, b'S', 1, 0, 0, 0, 4][..], b"gold"].concat();
    let bytes = file(&[record(1, "A", &[("FUL", &ful)]), record(2, "B", &[("MAG", b"")])]);
    let json: serde_json::Value = serde_json::from_str(&of(&bytes, None).unwrap().json().unwrap()).unwrap();
    assert_eq!(json["products"], serde_json::json!({ "gold": 1, "multiapp": 1 }));
}

/// The product's name comes from the file: with an application to verify, it must not become a path.
#[test]
fn a_product_that_is_not_shipped_cannot_be_verified() {
    for name in ["gold", "/etc/passwd.toml"] {
        let ful = [&[1, 0, 0, 0, name.len() as u8][..], name.as_bytes()].concat();
        let chip = SectionPieces::new(&[ApplicationPieces::default()]).bytes();
        let bytes = file(&[record(1, "A", &[("FUL", &ful), ("CHP", &chip)])]);
        assert_eq!(exit(of(&bytes, Some(&mut TestKeys::default()))), Exit::FileProfile);
        assert_eq!(exit(of(&bytes, None)), Exit::StructureOnly);
    }
}
