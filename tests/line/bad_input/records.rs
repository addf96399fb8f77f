//! Records with wrong data in a file with right seals, as if the issuer had made the mistake: the file is refused as a
//! whole before the first card, and inspection lists every wrong record.

use std::collections::BTreeSet;

use cardwright::exit::Exit;
use serde_json::Value;

use super::chip::{Application, Chip, LOYALTY, PAYMENT, PURSE};
use super::file::File;
use super::{Bureau, CARDS, Ends, pieces, prepare};

/// The file is refused at the first of the wrong records; these records and no others are listed.
fn refuses(wrong: &[u32], change: impl FnOnce(&mut File)) {
    let mut file = pieces();
    change(&mut file);
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::RecordData, inspect: [Exit::StructureOnly, Exit::RecordData] };
    let place = format!("(record {}, byte ", wrong[0]);
    let says = ["file: application ", &place, "nothing of this file is used", "ask the issuer"];
    bureau.refuses(&file.sealed(), ends, &says);
    let world = &bureau.world;
    let inspected = world.cardwright(&["inspect", "bad.cwf1", "--keys", "bureau.store", "--json"]);
    let inspected: Value = serde_json::from_str(&inspected.stdout).unwrap();
    let listed = inspected["faults"].as_array().unwrap().iter().map(|f| f["record"].as_u64().unwrap() as u32);
    assert_eq!(listed.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), wrong);
    bureau.still_accepts_the_good_file();
}

/// An application of record `seq`.
fn of(file: &File, seq: u32, aid: &str) -> Application {
    let mut file: File = File::clone(file);
    file.forge_chip(seq as usize - 1, |chip| chip.application(aid).clone())
}

fn forge(file: &mut File, seq: u32, change: impl FnOnce(&mut Chip)) {
    file.forge_chip(seq as usize - 1, change);
}

#[test]
fn wrong_application_mac() {
    refuses(&[2], |file| forge(file, 2, |chip| chip.application(PAYMENT).mac[15] ^= 1));
    // The fault is in the last application, after three right ones.
    refuses(&[2], |file| forge(file, 2, |chip| chip.application(LOYALTY).mac[0] ^= 0x80));
}

#[test]
fn the_last_or_the_first_record_is_wrong() {
    refuses(&[1], |file| forge(file, 1, |chip| chip.application(PURSE).mac[3] ^= 1));
    refuses(&[3], |file| forge(file, 3, |chip| chip.application(PURSE).mac[3] ^= 1));
}

#[test]
fn a_changed_value_in_clear_or_under_the_tk() {
    refuses(&[2], |file| forge(file, 2, |chip| chip.application(PURSE).value(0x0101)[12] ^= 1));
    refuses(&[2], |file| forge(file, 2, |chip| chip.application(PAYMENT).value(0x8000)[0] ^= 1));
    refuses(&[2], |file| forge(file, 2, |chip| chip.application(PAYMENT).level = 0));
}

#[test]
fn two_records_applications_exchanged() {
    refuses(&[2, 3], |file| {
        let (second, third) = (of(file, 2, PAYMENT), of(file, 3, PAYMENT));
        forge(file, 2, |chip| *chip.application(PAYMENT) = third);
        forge(file, 3, |chip| *chip.application(PAYMENT) = second);
    });
}

#[test]
fn two_records_chip_sections_exchanged() {
    let exchange = |file: &mut File| {
        let second = file.records[1].section("CHP").clone();
        let third = std::mem::replace(file.records[2].section("CHP"), second);
        *file.records[1].section("CHP") = third;
    };
    refuses(&[2, 3], |file| {
        exchange(file);
        for seq in [2, 3] {
            let card_ref = file.records[seq - 1].card_ref.clone();
            forge(file, seq as u32, |chip| chip.crn = card_ref.into_bytes());
        }
    });
    refuses(&[2, 3], |file| {
        exchange(file);
        forge(file, 2, |chip| chip.crn.clear());
        forge(file, 3, |chip| chip.crn.clear());
    });
}

#[test]
fn two_records_chip_sections_exchanged_with_their_crn() {
    let mut file = pieces();
    let second = file.records[1].section("CHP").clone();
    let third = std::mem::replace(file.records[2].section("CHP"), second);
    *file.records[1].section("CHP") = third;
    let says = &["file: record 2, byte ", "the CRN is not the card_ref of the record", "ask the issuer"];
    let bureau = Bureau::new();
    bureau.refuses(&file.sealed(), Ends::alike(Exit::FileFormat), says);
    bureau.still_accepts_the_good_file();
}

#[test]
fn two_records_card_refs_exchanged() {
    refuses(&[1, 3], |file| {
        let first = file.records[0].card_ref.clone();
        let third = std::mem::replace(&mut file.records[2].card_ref, first);
        file.records[0].card_ref = third;
        for seq in [1, 3] {
            let card_ref = file.records[seq - 1].card_ref.clone();
            forge(file, seq as u32, |chip| chip.crn = card_ref.into_bytes());
        }
    });
}

#[test]
fn two_records_exchanged_and_renumbered() {
    refuses(&[1, 2], |file| {
        file.records.swap(0, 1);
        file.renumber();
    });
}

/// A chip belongs to the plastic of its own record.
#[test]
fn two_records_plastic_exchanged() {
    for mic in ["EMB", "MAG", "GFX", "FUL"] {
        let differ = pieces().records[0].section(mic) != pieces().records[2].section(mic);
        refuses(&[1, 3], |file| {
            let first = file.records[0].section(mic).clone();
            let third = std::mem::replace(file.records[2].section(mic), first);
            *file.records[0].section(mic) = third;
            if !differ {
                // Both records have the same text here, so exchanging it would change nothing: change a byte
                // instead.
                let at = |data: &mut Vec<u8>| *data.last_mut().unwrap() ^= 1;
                at(file.records[0].section(mic));
                at(file.records[2].section(mic));
            }
        });
    }
}

#[test]
fn a_section_taken_away() {
    refuses(&[2], |file| file.records[1].sections.retain(|(mic, _)| mic != "EMB"));
}

#[test]
fn a_dgi_moved_between_cards() {
    // Three values under the keys of the other card, and one in clear.
    for (aid, dgi) in [(PAYMENT, 0x8000), (PURSE, 0x8020), (PAYMENT, 0x8010), (PURSE, 0x0101)] {
        refuses(&[2], |file| {
            let value = of(file, 3, aid).value(dgi).clone();
            forge(file, 2, |chip| *chip.application(aid).value(dgi) = value);
        });
    }
}

#[test]
fn a_wrapped_mackey_replaced_by_other_ciphertext_of_the_file() {
    refuses(&[2], |file| {
        let ciphertext = of(file, 2, PAYMENT).value(0x8000)[..32].to_vec();
        forge(file, 2, |chip| chip.application(PAYMENT).wrapped = ciphertext);
    });
    // The card's key of another application, another card's key of the same application, and the Trailer's
    // key.
    refuses(&[2], |file| {
        let wrapped = of(file, 2, PURSE).wrapped;
        forge(file, 2, |chip| chip.application(PAYMENT).wrapped = wrapped);
    });
    refuses(&[2], |file| {
        let other = of(file, 3, PAYMENT);
        forge(file, 2, |chip| {
            let application = chip.application(PAYMENT);
            (application.wrapped, application.mac) = (other.wrapped, other.mac);
        });
    });
    refuses(&[2], |file| {
        let wrapped = file.trailer.wrapped.clone();
        forge(file, 2, |chip| chip.application(PAYMENT).wrapped = wrapped);
    });
}

#[test]
fn an_application_of_another_file_of_the_issuer() {
    // The cardholders are the same, so the card_refs and sequences are the same too.
    let other = File::split(&prepare(CARDS, 5).bytes);
    assert_ne!(other.file_id, pieces().file_id);
    let application = of(&other, 2, PAYMENT);
    refuses(&[2], |file| forge(file, 2, |chip| *chip.application(PAYMENT) = application));
    refuses(&[2], |file| {
        file.records[1] = other.records[1].clone();
    });
}
