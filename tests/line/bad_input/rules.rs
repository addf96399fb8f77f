//! Chip sections that contradict themselves, and files that ask for things that line and product do not have.
//! Every MAC of these files is right: an issuer's mistake is caught as well as damage.

use cardwright::exit::Exit;

use super::chip::{Application, Chip, ENC, GROUP, LOYALTY, ORDER, PAYMENT, VERSION_CONTROL};
use super::file::File;
use super::{Bureau, Ends, pieces};

fn sealed(change: impl FnOnce(&mut File)) -> Vec<u8> {
    let mut file = pieces();
    change(&mut file);
    file.sealed()
}

/// A file in which the payment application of record 2 has this change, and a right MAC.
fn payment(change: impl FnOnce(&mut Application)) -> Vec<u8> {
    sealed(|file| file.change_chip(1, |chip| change(chip.application(PAYMENT))))
}

fn malformed(cases: Vec<(Vec<u8>, &'static str)>) {
    let bureau = Bureau::new();
    for (bytes, says) in cases {
        let place = "file: record 2, byte ";
        bureau.refuses(&bytes, Ends::alike(Exit::FileFormat), &[place, says, "ask the issuer"]);
    }
    bureau.still_accepts_the_good_file();
}

#[test]
fn a_dgi_in_order_but_not_in_the_data() {
    malformed(vec![
        (
            payment(|a| a.lists[ORDER].extend([1, 0x0F, 0x0F])),
            "ORDER names DGI 0F0F, which is not in the data",
        ),
        (payment(|a| a.dgis.retain(|(dgi, _)| *dgi != 0x9000)), "DGI 9000, which is not in the data"),
        (payment(|a| a.lists[ORDER].extend([1, 0x80, 0x00])), "DGI 8000 stands twice in ORDER"),
        (payment(|a| a.lists[ORDER].push(0)), "ORDER has an empty group"),
        (payment(|a| a.lists[ORDER].push(9)), "a length points beyond the field that holds it"),
    ]);
}

#[test]
fn other_lists_that_name_absent_dgis() {
    malformed(vec![
        (payment(|a| a.lists[VERSION_CONTROL].extend([0x0F, 0x0F])), "VERCNTL names DGI 0F0F"),
        (payment(|a| a.lists[GROUP].extend([1, 0x0F, 0x0F])), "GROUP names DGI 0F0F"),
        (payment(|a| a.log.extend([0x0F, 0x0F])), "LOGDATA names DGI 0F0F"),
        (payment(|a| a.log.extend([0x80, 0x00])), "LOGDATA names the secret DGI 8000"),
        (payment(|a| a.protected.push(0x0F0F)), "the TK's list names DGI 0F0F"),
        (payment(|a| a.lists[ENC].extend([0x0F, 0x0F, 0x11])), "ENC names DGI 0F0F"),
        (payment(|a| a.dgis.push(a.dgis[0].clone())), "DGI 0101 stands twice in the data"),
    ]);
}

#[test]
fn a_dgi_under_the_tk_but_not_in_enc() {
    malformed(vec![
        (payment(|a| a.lists[ENC].truncate(0)), "is under the TK but not in ENC"),
        (payment(|a| a.protected.push(0x0101)), "DGI 0101 is under the TK but not in ENC"),
    ]);
}

/// The product lists the DGIs that may pass through. So `inspect` without keys cannot judge this, and with
/// keys the HSM does.
#[test]
fn a_dgi_in_enc_without_a_tk() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileFormat, inspect: [Exit::StructureOnly, Exit::RecordData] };
    let open = payment(|a| a.lists[ENC].extend([0x02, 0x01, 0x11]));
    let says = ["file: ", "DGI 0201 is in ENC but not under the TK", "record 2, byte ", "ask the issuer"];
    bureau.refuses(&open, ends, &says);
    let stripped = payment(|a| a.protected.clear());
    bureau.refuses(&stripped, ends, &["is in ENC but not under the TK", "record 2, byte ", "ask the issuer"]);
    bureau.still_accepts_the_good_file();
}

#[test]
fn overflowing_length_in_the_chip_section() {
    let short = "a length points beyond the field that holds it";
    let at = |place: usize, value: u8| sealed(|file| file.records[1].section("CHP")[place] = value);
    // VNL 4, L2 of the rest, L2 of the card's data, L1 CRN.
    malformed(vec![
        (at(4, 0xFF), short),
        (at(6, 0xFF), short),
        (at(8, 0xFF), short),
        (sealed(|file| file.records[1].section("CHP").resize(65_536, 0)), "is too long"),
        (sealed(|file| file.records[1].section("CHP").push(0)), "holds bytes after its last field"),
        (sealed(|file| file.records[1].section("CHP").clear()), short),
    ]);
}

#[test]
fn unknown_mic() {
    let bureau = Bureau::new();
    let added = sealed(|file| file.records[1].sections.push(("PIN2".into(), b"x".to_vec())));
    let says = ["file: ", "MIC PIN2 has no module on line sim-8", "record 2, byte ", "ask the issuer"];
    bureau.refuses(&added, Ends::alike(Exit::FileProfile), &says);
    bureau.still_accepts_the_good_file();
}

#[test]
fn a_mic_without_a_module_on_this_line() {
    let bureau = Bureau::new();
    let line = include_str!("../../../profiles/lines/sim-chip-8.toml").replace("\"GFX\", ", "");
    std::fs::write(bureau.world.path("no-printer.toml"), line).unwrap();
    let ended = bureau.world.run("good.cwf1", "no-printer.toml", &[]);
    let message = super::one_message(&ended, Exit::FileProfile);
    assert!(message.contains("MIC GFX has no module on line sim-chip-8"), "{message}");
    bureau.untouched();
    bureau.still_accepts_the_good_file();
}

#[test]
fn an_application_that_the_product_does_not_have() {
    let bureau = Bureau::new();
    let foreign = hex::decode("A0000000041010").unwrap();
    let renamed = sealed(|file| {
        file.forge_chip(1, |chip: &mut Chip| {
            let place = chip.aids.iter().position(|aid| hex::encode_upper(aid) == PAYMENT).unwrap();
            chip.aids[place].clone_from(&foreign);
            chip.application(PAYMENT).aid.clone_from(&foreign);
        });
    });
    let ends = Ends { run: Exit::FileProfile, inspect: [Exit::StructureOnly, Exit::FileProfile] };
    let says = [
        "file: ",
        "application A0000000041010: product multiapp does not have it",
        "record 2, byte ",
        "ask the issuer",
    ];
    bureau.refuses(&renamed, ends, &says);
    bureau.still_accepts_the_good_file();
}

#[test]
fn a_card_of_another_product_than_the_file() {
    let bureau = Bureau::new();
    let renamed = sealed(|file| {
        file.records[1].section("FUL").splice(0..0, *b"\x01\x00\x00\x00\x08otherapp");
    });
    let ends = Ends { run: Exit::FileProfile, inspect: [Exit::StructureOnly, Exit::FileProfile] };
    bureau.refuses(&renamed, ends, &["file: FUL names another product than the Header", "record 2, byte "]);
    bureau.still_accepts_the_good_file();
}

#[test]
fn a_section_that_its_machine_cannot_take() {
    let bureau = Bureau::new();
    // Only acceptance knows the limits of the line's machines; `inspect` knows neither line nor machine.
    let ends = Ends { run: Exit::FileFormat, inspect: [Exit::StructureOnly, Exit::RecordData] };
    for mic in ["MAG", "EMB", "GFX"] {
        let says = ["file: ", &format!("section {mic}: "), "record 2, byte ", "ask the issuer"];
        bureau.refuses(&sealed(|f| f.records[1].section(mic).truncate(20)), ends, &says);
    }
    bureau.still_accepts_the_good_file();
}

/// An encoder would write nothing for such a track (ISO/IEC 7811-6), and the card would count as good.
#[test]
fn a_track_with_nothing_between_its_sentinels() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileFormat, inspect: [Exit::StructureOnly, Exit::RecordData] };
    for tracks in ["~1%?\r\n", "~2;?\r\n", "~1%A?\r\n~2;?\r\n"] {
        let empty = sealed(|f| *f.records[1].section("MAG") = tracks.as_bytes().to_vec());
        let says = ["file: section MAG: line ", "nothing stands between the sentinels", "record 2, byte "];
        bureau.refuses(&empty, ends, &says);
    }
    bureau.still_accepts_the_good_file();
}

#[test]
fn an_application_without_data_or_with_one_too_long_for_its_group() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileProfile, inspect: [Exit::StructureOnly, Exit::Ok] };
    let loyalty = |change: fn(&mut Application)| {
        sealed(|file| file.change_chip(1, |chip| change(chip.application(LOYALTY))))
    };
    let empty = loyalty(|a| {
        a.dgis.clear();
        a.log.clear();
    });
    bureau.refuses(&empty, ends, &["the application has no DGI", "record 2, byte ", "ask the issuer"]);
    let long = loyalty(|a| {
        a.value(0xA001).resize(1_000, b'x');
        a.lists[GROUP] = vec![2, 0x01, 0x01, 0xA0, 0x01];
    });
    bureau.refuses(&long, ends, &["the GROUP of DGI 0101 needs ", "record 2, byte ", "ask the issuer"]);
    bureau.still_accepts_the_good_file();
}

/// CMODE is in the clear: such a file was accepted, and its records were cancelled one by one.
#[test]
fn ecb_where_the_product_does_not_allow_it() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileProfile, inspect: [Exit::StructureOnly, Exit::RecordData] };
    for cmode in [0x11, 0x13] {
        let ecb = payment(|a| a.tk[7] = cmode);
        let what = format!("CMODE {cmode:02X} is ECB, which product multiapp does not allow (allow_ecb)");
        let says = ["file: application A0000000031010: ", &what, "(record 2, byte ", "ask the issuer"];
        bureau.refuses(&ecb, ends, &says);
    }
    bureau.still_accepts_the_good_file();
}

/// The product says nothing of how 9F66 is sent.
#[test]
fn update_cplc_that_no_product_carries_out() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileProfile, inspect: [Exit::StructureOnly, Exit::Ok] };
    let asks = payment(|a| a.update_cplc = 1);
    bureau.refuses(&asks, ends, &["UPDATEcplc is not supported", "(record 2, byte ", "ask the issuer"]);
    bureau.still_accepts_the_good_file();
}

/// The structure of the picture is right, so only decoding shows that it is broken. The printer is the last station
/// that would look at it, when the chip holds live keys.
#[test]
fn a_photo_that_is_broken_inside() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileFormat, inspect: [Exit::StructureOnly, Exit::RecordData] };
    let photo = include_bytes!("../../../src/picture/samples/baseline.jpg");
    let mut broken = photo.to_vec();
    let table = photo.windows(2).position(|w| w == [0xFF, 0xC4]).unwrap();
    broken[table + 5..table + 21].fill(0xFF);
    let image = |data: &[u8]| {
        let value = [&super::file::l1(b"photo")[..], data].concat();
        [vec![3], super::file::l4(&value)].concat()
    };
    let with = |data: &[u8]| sealed(|file| file.records[1].section("GFX").extend(image(data)));
    let says = ["file: section GFX: image photo is a broken JPEG", "(record 2, byte ", "ask the issuer"];
    bureau.refuses(&with(&broken), ends, &says);
    let cut = ["file: section GFX: image photo is a JPEG that is cut short", "(record 2, byte "];
    bureau.refuses(&with(&photo[..500]), ends, &cut);
    bureau.still_accepts_the_good_file();
}

/// The text is as long as the template allows, but too wide for the card.
#[test]
fn a_text_that_does_not_fit_on_the_card() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileFormat, inspect: [Exit::StructureOnly, Exit::RecordData] };
    let wide = sealed(|file| {
        let section = file.records[1].section("GFX");
        let place = section.windows(5).position(|w| w == b"\x04name").unwrap();
        let length: [u8; 4] = section[place - 4..place].try_into().unwrap();
        let end = place + u32::from_be_bytes(length) as usize;
        let value = [&b"\x04name"[..], &[b'W'; 40]].concat();
        section.splice(place - 4..end, super::file::l4(&value));
    });
    let says = ["file: section GFX: a text does not fit on the card", "(record 2, byte ", "ask the issuer"];
    bureau.refuses(&wide, ends, &says);
    bureau.still_accepts_the_good_file();
}

/// No station would work on such a record, and it was found when its turn came.
#[test]
fn a_record_without_a_section_for_any_station() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::FileProfile, inspect: [Exit::StructureOnly, Exit::Ok] };
    let empty = sealed(|file| file.records[1].sections.retain(|(mic, _)| mic == "FUL"));
    let says = ["file: the record has no section for any station of line sim-8", "(record 2, byte "];
    bureau.refuses(&empty, ends, &says);
    bureau.still_accepts_the_good_file();
}

/// Record 1 is wrong for the HSM, records 2 and 3 for rules that are checked without it.
#[test]
fn the_fault_that_stands_first_in_the_file_is_reported() {
    let bureau = Bureau::new();
    let ends = Ends { run: Exit::RecordData, inspect: [Exit::StructureOnly, Exit::RecordData] };
    let mut file = pieces();
    file.forge_chip(0, |chip| chip.application(PAYMENT).mac[0] ^= 1);
    file.change_chip(1, |chip| chip.application(PAYMENT).tk[7] = 0x11);
    file.records[2].section("MAG").truncate(10);
    let says = ["the application MAC is wrong", "(record 1, byte ", "ask the issuer"];
    bureau.refuses(&file.sealed(), ends, &says);
    bureau.still_accepts_the_good_file();
}
