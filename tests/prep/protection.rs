//! Reads a prepared file back, and opens its protection with an independent reader of `src/manual/cwf1.md`.

use std::fs::File;

use crate::clear_cards::{ClearCard, ClearCards};
use crate::prep_support::*;
use cardwright::prep::input;
use cardwright::record::chip::{ChipSection, Cmode, EncType};
use cardwright::record::{Cwf1Reader, FileLimits, Header, Record};

const KEKS: [(&str, &str); 3] = [("476173FF:1", "kek-1"), ("476173FF:2", "kek-2"), ("476173FF:3", "kek-3")];

struct Prepared {
    header: Header,
    records: Vec<Record>,
    trailer: cardwright::record::Trailer,
    bytes: Vec<u8>,
    clear: Vec<ClearCard>,
}

fn prepare(kek: &str) -> Prepared {
    let dir = tempfile::tempdir().unwrap();
    let store = issuer_store(dir.path());
    let output = dir.path().join("out.cwf");
    run(&data("cards-4.csv"), &store, &output).args(["--kek", kek]).assert().success();

    let bytes = std::fs::read(&output).unwrap();
    let mut reader = Cwf1Reader::open(bytes.as_slice(), FileLimits::default()).unwrap();
    let header = reader.header().clone();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record);
    }
    let trailer = reader.finish().unwrap().trailer;

    let mut cards = ClearCards::new(&store, &data("cards-4.csv"));
    let csv = File::open(data("cards-4.csv")).unwrap();
    let schema = cards.builder.plan().input.clone();
    let holders = input::CardholderReader::new(csv, &schema).unwrap();
    let clear = holders.map(|card| cards.card(&card.unwrap())).collect();
    Prepared { header, records, trailer, bytes, clear }
}

#[test]
fn every_application_opens_and_holds_its_input() {
    for (kek_id, label) in KEKS {
        let (kek, _) = listed("keys-bureau.toml", label);
        let prepared = prepare(kek_id);
        assert_eq!(prepared.records.len(), 4);
        let mut opened = 0;
        for (record, clear) in prepared.records.iter().zip(&prepared.clear) {
            let mut others = Vec::new();
            for section in record.sections.iter().filter(|s| s.mic.as_str() != "CHP") {
                others.push(u8::try_from(section.mic.as_str().len()).unwrap());
                others.extend_from_slice(section.mic.as_str().as_bytes());
                others.extend(u32::try_from(section.data.len()).unwrap().to_be_bytes());
                others.extend_from_slice(&section.data);
            }
            let chip = ChipSection::parse(record.section("CHP").unwrap()).unwrap();
            assert_eq!(chip.crn.as_ref(), Some(&record.card_ref));
            assert_eq!(chip.applications.len(), clear.applications.len());
            for (application, ordered) in chip.applications.iter().zip(&clear.applications) {
                let family = Family::of(application.tk_type);
                let scope = Scope {
                    issuer_id: "TESTBANK",
                    file_id: prepared.header.file_id.as_str(),
                    sequence: record.sequence,
                    card_ref: record.card_ref.as_str(),
                    aid: application.aid.as_bytes(),
                };
                assert_eq!(application.aid, ordered.aid);

                // MACINP covers the raw bytes from the length byte of L1 AID, the second byte, to the wrapped
                // MACkey.
                let key = scope.mac_key(family, &kek, &application.wrapped_mac_key, [b'M', b'X']);
                let end = application.raw.len() - application.mac.len();
                let mut message = b"CWF1A\x08TESTBANK".to_vec();
                message.push(u8::try_from(scope.file_id.len()).unwrap());
                message.extend(scope.file_id.as_bytes());
                message.extend(record.sequence.to_be_bytes());
                message.push(u8::try_from(scope.card_ref.len()).unwrap());
                message.extend(scope.card_ref.as_bytes());
                message.extend(<sha2::Sha256 as sha2::Digest>::digest(&others));
                message.extend_from_slice(&application.raw[1..end]);
                assert_eq!(mac(family, &key, &message), application.mac, "{kek_id} {}", application.aid);

                // Every value is compared; those that the TK names are first opened under TKd.
                assert_eq!(application.cmode, Cmode::CbcPadded);
                let tkd = scope.tk(family, &kek, b'D');
                assert_eq!(application.dgis.len(), ordered.dgis.len());
                for (got, wanted) in application.dgis.iter().zip(&ordered.dgis) {
                    assert_eq!(got.dgi, wanted.dgi);
                    let protected = application.protected.contains(&got.dgi);
                    assert_eq!(protected, wanted.enc.is_some());
                    assert_eq!(protected, application.pdi.enc.iter().any(|(dgi, _)| *dgi == got.dgi));
                    if !protected {
                        assert_eq!(got.value.as_slice(), wanted.value.as_slice(), "{}", got.dgi);
                        continue;
                    }
                    opened += 1;
                    let value = unpad(cbc_decrypt(family, &tkd, &got.value));
                    if wanted.enc == Some(EncType::PinBlock) {
                        // Format 1 has a random fill, so only control, length and PIN can be compared.
                        let digits = usize::from(value[0] & 0x0F);
                        assert_eq!((value.len(), value[0] >> 4), (8, 1));
                        let (block, card) =
                            (hex::encode_upper(&value), hex::encode_upper(&*wanted.on_card()));
                        assert_eq!(block[1..2 + digits], card[1..2 + digits]);
                        assert!(card.starts_with('2') && card[2 + digits..].bytes().all(|b| b == b'F'));
                    } else {
                        assert_eq!(value, **wanted.value, "{}", got.dgi);
                    }
                }
            }
        }
        // 8000 on each card, 8010 on the three with a PIN, 8020 on the three with a purse.
        assert_eq!(opened, 4 + 3 + 3, "{kek_id}");
    }
}

#[test]
fn the_trailer_mac_holds() {
    for (kek_id, label) in KEKS {
        let (kek, _) = listed("keys-bureau.toml", label);
        let prepared = prepare(kek_id);
        let trailer = &prepared.trailer;
        let family = Family::of(trailer.tk_type);
        let scope = Scope {
            issuer_id: "TESTBANK",
            file_id: prepared.header.file_id.as_str(),
            sequence: 0,
            card_ref: "",
            aid: &[],
        };
        let key = scope.mac_key(family, &kek, &trailer.wrapped_mac_key, [b'T', b'U']);
        // The body stands at the end of the file; the MAC is its last field, after one byte of length.
        let body = 4 + 32 + 5 + 1 + 3 + 1 + trailer.wrapped_mac_key.len();
        let start = prepared.bytes.len() - body - 1 - trailer.mac.len();
        let message = [b"CWF1T", &prepared.bytes[start..start + body]].concat();
        assert_eq!(mac(family, &key, &message), trailer.mac, "{kek_id}");
        assert_eq!(prepared.bytes[start - 5], b'T');

        let zeros = if family == Family::Tdes { vec![0; 8] } else { vec![1; 16] };
        assert_eq!(trailer.kcv.0, ecb_encrypt(family, &kek, &zeros)[..3]);
    }
}

#[test]
fn known_values_of_the_first_card_pyemv() {
    // EMV Book 2, A1.4, option A: PAN 4761739001010119, PSN 01 under the published IMK.
    let (kek, _) = listed("keys-bureau.toml", "kek-1");
    let prepared = prepare("476173FF:1");
    let chip = ChipSection::parse(prepared.records[0].section("CHP").unwrap()).unwrap();
    let payment = chip.applications.iter().find(|a| a.aid.to_string() == "A0000000031010").unwrap();
    let scope = Scope {
        issuer_id: "TESTBANK",
        file_id: prepared.header.file_id.as_str(),
        sequence: 1,
        card_ref: "C000001",
        aid: payment.aid.as_bytes(),
    };
    let tkd = scope.tk(Family::Aes256, &kek, b'D');
    let open = |number: u16| {
        let dgi = cardwright::ids::Dgi(number);
        hex::encode_upper(unpad(cbc_decrypt(Family::Aes256, &tkd, payment.value(dgi).unwrap())))
    };
    assert!(open(0x8000).starts_with("80A89B585BBF64C2F12915BF578FABE0"));
    assert_eq!(open(0x8000).len(), 96);
    assert!(open(0x8010).starts_with("141234"));
    let kcvs = hex::encode_upper(payment.value(cardwright::ids::Dgi(0x9000)).unwrap());
    assert!(kcvs.starts_with("DEEE3D") && kcvs.len() == 18);
}

#[test]
fn nothing_repeats_between_two_files_of_one_input() {
    let (one, two) = (prepare("476173FF:1"), prepare("476173FF:1"));
    assert_ne!(one.header.file_id, two.header.file_id);
    for (a, b) in one.records.iter().zip(&two.records) {
        let (a, b) = (a.section("CHP").unwrap(), b.section("CHP").unwrap());
        let (a, b) = (ChipSection::parse(a).unwrap(), ChipSection::parse(b).unwrap());
        for (a, b) in a.applications.iter().zip(&b.applications) {
            assert_ne!(a.wrapped_mac_key, b.wrapped_mac_key);
            assert_ne!(a.mac, b.mac);
            for dgi in &a.protected {
                assert_ne!(a.value(*dgi), b.value(*dgi), "{dgi}");
            }
        }
    }
}

#[test]
fn every_mac_key_is_fresh() {
    for (kek_id, label) in KEKS {
        let (kek, _) = listed("keys-bureau.toml", label);
        let prepared = prepare(kek_id);
        let mut keys = std::collections::BTreeSet::new();
        let mut count = 0;
        for record in &prepared.records {
            let chip = ChipSection::parse(record.section("CHP").unwrap()).unwrap();
            for application in &chip.applications {
                let scope = Scope {
                    issuer_id: "TESTBANK",
                    file_id: prepared.header.file_id.as_str(),
                    sequence: record.sequence,
                    card_ref: record.card_ref.as_str(),
                    aid: application.aid.as_bytes(),
                };
                let family = Family::of(application.tk_type);
                let opened = cbc_decrypt(family, &scope.tk(family, &kek, b'M'), &application.wrapped_mac_key);
                keys.insert(opened[..16].to_vec());
                count += 1;
            }
        }
        assert_eq!(keys.len(), count);
    }
}

#[test]
fn no_secret_in_the_file() {
    let mut secrets: Vec<(String, Vec<u8>)> = Vec::new();
    for list in ["keys-issuer.toml", "keys-bureau.toml"] {
        for label in ["kek-1", "kek-2", "kek-3", "imk-ac", "imk-smi", "imk-smc", "kml", "kmu", "cvk", "pvk"] {
            if list == "keys-issuer.toml" || label.starts_with("kek") {
                secrets.push((label.to_owned(), listed(list, label).0));
            }
        }
    }
    for (kek_id, _) in KEKS {
        let prepared = prepare(kek_id);
        let mut secrets = secrets.clone();
        for card in &prepared.clear {
            for dgi in card.applications.iter().flat_map(|a| &a.dgis).filter(|d| d.enc.is_some()) {
                let name = format!("{} DGI {}", card.card_ref, dgi.dgi);
                secrets.push((name.clone(), dgi.on_card().to_vec()));
                if dgi.enc == Some(EncType::AsIs) {
                    // Each key of a DGI is searched alone, because another key may stand before or after it.
                    secrets.extend(dgi.value.chunks(16).map(|key| (name.clone(), key.to_vec())));
                }
            }
        }
        // PINs as text and packed, whole and after a PIN block's head.
        for pin in ["123456789012", "987654"] {
            secrets.push((format!("PIN of {}", pin.len()), pin.as_bytes().to_vec()));
        }
        secrets.push(("packed PIN".into(), hex::decode("123456789012").unwrap()));
        for (name, secret) in &secrets {
            assert!(secret.len() >= 6);
            let found = prepared.bytes.windows(secret.len()).any(|w| w == secret.as_slice());
            assert!(!found, "{name} stands in the file of {kek_id}");
        }
        // The search would find a secret: it finds a check value of the same card.
        let kcv = hex::decode("DEEE3D").unwrap();
        assert!(prepared.bytes.windows(3).any(|w| w == kcv));
    }
}
