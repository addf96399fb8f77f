//! An application goes from one pass to the next with its secrets, and only as a whole.

use super::*;
use crate::crypto::payment::CardKeyMethod;
use crate::hsm::soft::issuer::SoftIssuer;
use crate::hsm::store::{KeyStore, KeyUsage, StoreSide};
use crate::hsm::{CardKeyRef, DgiToProtect, HsmRefusal, Issuer, MasterKeyRef, WipedBytes};
use crate::ids::{Aid, CardRef, FileId, IssuerId, KekId};
use crate::record::chip::{EncType, Pdi};
use crate::scp::SecLevel;

const SECRET: Dgi = Dgi(0x8000);
const PIN: Dgi = Dgi(0x8010);
const RECORD: Dgi = Dgi(0x0101);

fn hsm() -> SoftIssuer {
    let list = "[[key]]\nlabel = \"imk\"\nusage = \"IMK-AC\"\ntype = \"TDES2\"\nid = \"476173FF\"\nversion = 1\n\
                value = \"0123456789ABCDEFFEDCBA9876543210\"\n\
                [[key]]\nlabel = \"kek\"\nusage = \"KEK\"\ntype = \"AES128\"\nid = \"476173FF\"\nversion = 1\n\
                value = \"000102030405060708090A0B0C0D0E0F\"\nissuer_id = \"TESTBANK\"\n\
                allow = [\"FFFFFF476173:1\"]\n";
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::create_test(list, &folder.path().join("store"), StoreSide::Issuer);
    SoftIssuer::new(store.map_err(|f| f.message).unwrap()).map_err(|f| f.message).unwrap()
}

fn request(kind: FileKind, sequence: u32, application: ApplicationToProtect) -> ProtectRequest {
    let card = CardToProtect {
        sequence,
        card_ref: CardRef::new("C1").unwrap(),
        others: [u8::try_from(sequence).unwrap(); 32],
        pin: Some(b"4321".as_slice().into()),
        applications: vec![application],
    };
    ProtectRequest {
        kind,
        kek: KekId([0x47, 0x61, 0x73, 0xFF, 1]),
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        file_id: FileId::new("F-1").unwrap(),
        issuer: "476173FF".into(),
        cards: vec![card],
    }
}

/// An application with a clear record, a key and a PIN.
fn first() -> ApplicationToProtect {
    let number = WipedBytes::from("4761739001".as_bytes());
    let master = MasterKeyRef { usage: KeyUsage::ImkAc, version: 1 };
    let key = CardKeyRef { master, method: CardKeyMethod::A, number, psn: *b"00" };
    let group = |dgi, part| DgiToProtect { dgi, parts: vec![part] };
    ApplicationToProtect {
        aid: Aid::new(&[0xA0, 0, 0, 0, 3]).unwrap(),
        pdi: Pdi {
            order: Vec::new(),
            version_control: Vec::new(),
            enc: vec![(SECRET, EncType::AsIs), (PIN, EncType::PinBlock)],
            group: Vec::new(),
            level: SecLevel::from_byte(0x03).unwrap(),
            update_cplc: 0,
        },
        log: vec![RECORD],
        dgis: vec![
            group(RECORD, ValuePart::Clear(vec![0x70, 0x02, 0x50, 0x00].into())),
            group(SECRET, ValuePart::CardKey(key)),
            group(PIN, ValuePart::PinBlock),
        ],
        offline: None,
        earlier: None,
    }
}

/// The application after a pass, and the order that takes it over.
fn pass(hsm: &mut SoftIssuer, kind: FileKind) -> ApplicationToProtect {
    let raw = hsm.protect_cards(&request(kind, 1, first())).unwrap().remove(0).remove(0);
    let earlier = EarlierApplication { sequence: 1, others: [1; 32], application: raw };
    let mut order = first();
    order.dgis[1].parts = vec![ValuePart::Sealed];
    order.dgis[2].parts = vec![ValuePart::Sealed];
    ApplicationToProtect { earlier: Some(earlier), ..order }
}

/// The secrets of an application in a file.
fn opened(hsm: &SoftIssuer, kind: FileKind, sequence: u32, raw: &[u8]) -> Vec<Vec<u8>> {
    let application = ApplicationView::parse(raw, 0, &mut SectionScratch::default()).unwrap();
    let scope = ApplicationScope {
        kind,
        issuer_id: "TESTBANK",
        file_id: "F-1",
        sequence,
        card_ref: "C1",
        aid: application.aid,
    };
    let (entry, rules) = hsm.shared.store.kek(application.kek).unwrap();
    let others = [u8::try_from(sequence).unwrap(); 32];
    verify::application_mac(&application, &others, &scope, &WorkKey::Value(entry.key().unwrap())).unwrap();
    let tk = scope.derive(entry.key().unwrap(), rules.suite, Purpose::Data).unwrap();
    let tk = TransportKey::Value(tk);
    let secret = application.dgis().filter(|(dgi, _)| application.is_protected(*dgi));
    secret.map(|(dgi, value)| secrets::open(&tk, application.cmode, dgi, value).unwrap().to_vec()).collect()
}

/// Changes an application of an earlier pass.
type EarlierChange = fn(&mut EarlierApplication);

#[test]
fn secrets_go_on_as_they_are_under_other_keys() {
    let mut hsm = hsm();
    let order = pass(&mut hsm, FileKind::Unfinished);
    let before = order.earlier.as_ref().unwrap().application.clone();
    let secrets = opened(&hsm, FileKind::Unfinished, 1, &before);
    assert!(secrets[1].starts_with(&[0x14, 0x43, 0x21]), "the PIN in format 1");
    for (kind, sequence) in [(FileKind::Finished, 1), (FileKind::Finished, 7), (FileKind::Unfinished, 7)] {
        let raw = hsm.protect_cards(&request(kind, sequence, order.clone())).unwrap().remove(0).remove(0);
        assert_eq!(opened(&hsm, kind, sequence, &raw), secrets, "{kind:?} {sequence}");
        let value = |raw: &[u8]| {
            let application = ApplicationView::parse(raw, 0, &mut SectionScratch::default()).unwrap();
            application.dgis().find(|(dgi, _)| *dgi == SECRET).unwrap().1.to_vec()
        };
        assert_ne!(value(&raw), value(&before), "{kind:?} {sequence}");
    }
}

type Change = fn(&mut ApplicationToProtect);

#[test]
fn an_application_goes_on_whole_or_not_at_all() {
    let mut hsm = hsm();
    let order = pass(&mut hsm, FileKind::Unfinished);
    let changes: [(&str, Change); 12] = [
        ("a secret becomes clear", |a| a.pdi.enc.truncate(1)),
        ("another type of ENC", |a| a.pdi.enc[1].1 = EncType::AsIs),
        ("a lower level", |a| a.pdi.level = SecLevel::from_byte(0x01).unwrap()),
        ("another order", |a| a.pdi.order = vec![vec![PIN, SECRET]]),
        ("a secret is logged", |a| a.log.push(SECRET)),
        ("another AID", |a| a.aid = Aid::new(&[0xA0, 0, 0, 0, 4]).unwrap()),
        ("another clear value", |a| a.dgis[0].parts = vec![ValuePart::Clear(vec![0x70, 0].into())]),
        ("a clear value is called a secret", |a| a.dgis[0].parts = vec![ValuePart::Sealed]),
        ("a secret twice", |a| a.dgis[1].parts = vec![ValuePart::Sealed, ValuePart::Sealed]),
        ("a secret of another DGI", |a| a.dgis[1].dgi = Dgi(0x8001)),
        ("two secrets change places", |a| a.dgis.swap(1, 2)),
        ("a DGI less", |a| drop(a.dgis.pop())),
    ];
    for (name, change) in changes {
        let mut changed = order.clone();
        change(&mut changed);
        assert!(hsm.protect_cards(&request(FileKind::Finished, 1, changed)).is_err(), "{name}");
    }
    assert!(hsm.protect_cards(&request(FileKind::Finished, 1, order)).is_ok());
}

#[test]
fn only_the_application_of_this_card_in_an_unfinished_file_is_opened() {
    let mut hsm = hsm();
    let wrong_mac = |hsm: &mut SoftIssuer, request: ProtectRequest, name: &str| {
        let answer = hsm.protect_cards(&request);
        assert!(matches!(answer, Err(HsmError::Data { fault: DataFault::Mac, .. })), "{name}");
    };
    let finished = pass(&mut hsm, FileKind::Finished);
    wrong_mac(&mut hsm, request(FileKind::Finished, 1, finished), "of a finished file");
    let order = pass(&mut hsm, FileKind::Unfinished);
    let changes: [(&str, EarlierChange); 3] = [
        ("of another record", |e| e.sequence = 2),
        ("with other sections", |e| e.others[0] ^= 1),
        ("changed", |e| *e.application.last_mut().unwrap() ^= 1),
    ];
    for (name, change) in changes {
        let mut changed = order.clone();
        change(changed.earlier.as_mut().unwrap());
        wrong_mac(&mut hsm, request(FileKind::Finished, 1, changed), name);
    }
    let mut other_card = request(FileKind::Finished, 1, order.clone());
    other_card.cards[0].card_ref = CardRef::new("C2").unwrap();
    wrong_mac(&mut hsm, other_card, "of another card");
    let mut other_file = request(FileKind::Finished, 1, order.clone());
    other_file.file_id = FileId::new("F-2").unwrap();
    wrong_mac(&mut hsm, other_file, "of another file");
    let sealed_alone = ApplicationToProtect { earlier: None, ..order };
    let refused = hsm.protect_cards(&request(FileKind::Finished, 1, sealed_alone));
    assert!(matches!(refused, Err(HsmError::Refused(HsmRefusal::SecretInClear(SECRET)))));
}
