//! The chip section of `src/manual/cwf1.md` section 5: known layout, round trips, and one test for each
//! broken rule.

mod props;

use super::*;
use crate::record::testing::{ApplicationPieces, SectionPieces, dgi, dgis};
use crate::wiped::WipedBytes;

fn fault(section: &[u8]) -> ChipFault {
    ChipSection::parse(section).err().expect("the section was read").fault
}

/// The fault of a section with one application; both ways to read it must agree.
fn app_fault(app: &ApplicationPieces) -> ChipFault {
    let direct = ChipApplication::parse(&app.bytes()).err().expect("the application was read").fault;
    let mut chip = SectionPieces::new(&[]);
    chip.aids = vec![vec![1, 2]];
    chip.applications = vec![app.bytes()];
    assert_eq!(fault(&chip.bytes()), direct);
    direct
}

fn app(change: impl FnOnce(&mut ApplicationPieces)) -> ApplicationPieces {
    let mut app = ApplicationPieces::default();
    change(&mut app);
    app
}

fn parse(app: &ApplicationPieces) -> ChipApplication {
    ChipApplication::parse(&app.bytes()).unwrap()
}

fn value(text: &'static str) -> ChipFault {
    ChipFault::Value(text)
}

/// Every byte written out by hand from `src/manual/cwf1.md` section 5: one AES-128 application, one clear and
/// one secret DGI.
#[test]
fn known_layout_of_design_section_4() {
    let (wrapped, mac, secret) = ("88".repeat(32), "99".repeat(16), "77".repeat(16));
    let pdi = "0003010101 0000 0003820112 0000 0000 03 01"; // ORDER VERCNTL ENC RANDOM GROUP SECLEV UPDATEcplc: 18
    let raw = [
        "12 05A000000003 0B 01 4761739901 41 12 01 8201", // 3a.1, 18 bytes: AID; TK
        "0022 0447617399 001B 0019 0F01EF 0012",          // 3a.2, 34 bytes: IDowner; step, 25 bytes
        pdi,
        "0000",                        // Lpointer
        "0002 0101",                   // LOGDATA
        "001A EF18 010102CAFE 820110", // data, 24 bytes
        &secret,
        "30", // wrapped MACkey and MACINP, 48 bytes
        &wrapped,
        &mac,
    ]
    .concat()
    .replace(' ', "");
    let section =
        ["30322E32 0098 000C 0143 3030 00 01 05A000000003 0088".replace(' ', ""), raw.clone()].concat();
    let (raw, section) = (hex::decode(raw).unwrap(), hex::decode(section).unwrap());

    let chip = ChipSection::parse(&section).unwrap();
    assert_eq!(chip.crn.as_ref().unwrap().as_str(), "C");
    let [application] = &chip.applications[..] else { panic!() };
    assert_eq!(application.aid.to_string(), "A000000003");
    assert_eq!(application.kek.to_string(), "4761739901");
    assert_eq!((application.tk_type, application.cmode), (0x41, Cmode::CbcPadded));
    assert_eq!(application.protected, [Dgi(0x8201)]);
    let pdi = Pdi {
        order: vec![vec![Dgi(0x0101)]],
        version_control: vec![],
        enc: vec![(Dgi(0x8201), EncType::Pad)],
        group: vec![],
        level: SecLevel::MacEnc,
        update_cplc: 1,
    };
    assert_eq!(application.pdi, pdi);
    assert_eq!(application.log, [Dgi(0x0101)]);
    assert_eq!(application.value(Dgi(0x0101)), Some(&[0xCA, 0xFE][..]));
    assert_eq!(application.value(Dgi(0x8201)), Some(&[0x77; 16][..]));
    assert_eq!(application.wrapped_mac_key, [0x88; 32]);
    assert_eq!(application.mac, [0x99; 16]);
    assert_eq!(application.raw[..], raw[..]);
    // From the length byte of `L1 AID` to the last byte of the wrapped MACkey.
    let maced = &application.raw[application.maced.clone()];
    assert_eq!((maced[0], maced.last(), maced.len()), (0x05, Some(&0x88), raw.len() - 1 - 16));
    assert_eq!(chip.encode().unwrap()[..], section[..]);
}

#[test]
fn the_application_that_the_faults_below_change_is_right() {
    let application = parse(&ApplicationPieces::default());
    assert_eq!(application.pdi.group, [[Dgi(0x0101), Dgi(0x0102)]]);
    assert!(application.has_secrets());
    let section = SectionPieces::new(&[ApplicationPieces::default(), app(|a| a.aid = vec![9])]).bytes();
    assert_eq!(ChipSection::parse(&section).unwrap().applications.len(), 2);
    assert!(ChipSection::parse(&SectionPieces::new(&[]).bytes()).unwrap().applications.is_empty());
}

#[test]
fn an_application_without_secrets_has_an_empty_tk_list() {
    let application = parse(&app(|a| {
        a.protected.clear();
        a.enc.clear();
    }));
    assert!(!application.has_secrets());
}

#[test]
fn vnl_other_than_02_2() {
    let chip = SectionPieces { vnl: b"02.1".to_vec(), ..SectionPieces::new(&[ApplicationPieces::default()]) };
    assert_eq!(fault(&chip.bytes()), value("VNL is not 02.2"));
}

#[test]
fn lengths_that_do_not_add_up() {
    let section = SectionPieces::new(&[ApplicationPieces::default()]).bytes();
    // One byte more or less than VNL's L2 says.
    assert_eq!(fault(&[section.clone(), vec![0]].concat()), ChipFault::Leftover("the chip section"));
    assert_eq!(fault(&section[..section.len() - 1]), ChipFault::Short);
    let chip = SectionPieces { tail: vec![0], ..SectionPieces::new(&[ApplicationPieces::default()]) };
    assert_eq!(fault(&chip.bytes()), ChipFault::Leftover("the chip section"));
    let chip = SectionPieces { tail: vec![0, 0], ..SectionPieces::new(&[ApplicationPieces::default()]) };
    assert_eq!(fault(&chip.bytes()), ChipFault::Leftover("the chip section"));
    assert_eq!(app_fault(&app(|a| a.tail = vec![0])), ChipFault::Leftover("the application"));
    assert_eq!(app_fault(&app(|a| a.pdi_tail = vec![0])), ChipFault::Leftover("the PDI"));
}

#[test]
fn truncated_at_every_byte() {
    let section = SectionPieces::new(&[ApplicationPieces::default(), app(|a| a.aid = vec![9])]).bytes();
    for length in 0..section.len() {
        assert!(ChipSection::parse(&section[..length]).is_err(), "{length}");
    }
    let raw = ApplicationPieces::default().bytes();
    for length in 0..raw.len() {
        assert!(ChipApplication::parse(&raw[..length]).is_err(), "{length}");
    }
}

#[test]
fn section_over_65535_bytes() {
    assert_eq!(fault(&vec![0; 65_536]), ChipFault::TooLong("the chip section"));
}

#[test]
fn statuscoll_other_than_00() {
    let chip =
        SectionPieces { status: b"01".to_vec(), ..SectionPieces::new(&[ApplicationPieces::default()]) };
    assert_eq!(fault(&chip.bytes()), value("STATUScoll is not \"00\""));
}

#[test]
fn numberpid_other_than_00() {
    let chip = SectionPieces {
        product_ids: vec![0x01, 0x01, 0xAA],
        ..SectionPieces::new(&[ApplicationPieces::default()])
    };
    assert_eq!(fault(&chip.bytes()), value("NUMBERpid is not 00"));
}

#[test]
fn crn_that_is_no_card_ref() {
    let chip = SectionPieces {
        crn: b"123456789012".to_vec(),
        ..SectionPieces::new(&[ApplicationPieces::default()])
    };
    assert!(matches!(fault(&chip.bytes()), ChipFault::Name("CRN", _)));
}

#[test]
fn crn_is_empty_or_the_card_ref() {
    let mine = CardRef::new("CARD-1").unwrap();
    for (crn, right) in [(&b""[..], true), (b"CARD-1", true), (b"CARD-2", false)] {
        let chip = SectionPieces { crn: crn.to_vec(), ..SectionPieces::new(&[ApplicationPieces::default()]) };
        let chip = ChipSection::parse(&chip.bytes()).unwrap();
        assert_eq!(chip.check_crn(&mine).is_ok(), right);
    }
}

#[test]
fn aids_of_the_list_are_those_of_the_applications_in_order() {
    let (one, two) = (ApplicationPieces::default(), app(|a| a.aid = vec![9]));
    let mut chip = SectionPieces::new(&[one.clone(), two.clone()]);
    chip.aids.reverse();
    assert_eq!(fault(&chip.bytes()), ChipFault::AidOrder);
    let mut chip = SectionPieces::new(&[one.clone(), two]);
    chip.aids.pop();
    assert_eq!(fault(&chip.bytes()), ChipFault::Leftover("the chip section"));
    let mut chip = SectionPieces::new(&[one]);
    chip.aids.push(vec![9]);
    assert_eq!(fault(&chip.bytes()), ChipFault::Short);
}

#[test]
fn aid_twice_empty_or_too_long() {
    let chip = SectionPieces::new(&[ApplicationPieces::default(), ApplicationPieces::default()]);
    assert_eq!(fault(&chip.bytes()), ChipFault::AidTwice);
    for aid in [vec![], vec![1; 17]] {
        let app = app(|a| a.aid = aid);
        assert!(matches!(app_fault(&app), ChipFault::Name("AID", _)));
        assert!(matches!(fault(&SectionPieces::new(&[app]).bytes()), ChipFault::Name("AID", _)));
    }
    // Equal but for zeros in front.
    let chip = SectionPieces::new(&[app(|a| a.aid = vec![9]), app(|a| a.aid = vec![0, 9])]);
    assert!(ChipSection::parse(&chip.bytes()).is_ok());
}

#[test]
fn tk_fields_outside_their_values() {
    assert_eq!(app_fault(&app(|a| a.tk_version = 2)), value("the TK's version is not 01"));
    assert_eq!(app_fault(&app(|a| a.tk_type = 0x20)), value("the TYPEtk is not known"));
    assert_eq!(app_fault(&app(|a| a.cmode = 0x14)), value("the CMODE is not known"));
    for kek in [[0x47, 0x61, 0x73, 0x99, 0x00], [0x47, 0xA1, 0x73, 0x99, 0x01], [0xFF; 5]] {
        assert_eq!(app_fault(&app(|a| a.kek = kek.to_vec())), value("the TKID is malformed"));
    }
    assert_eq!(app_fault(&app(|a| a.kek = vec![])), value("the TKID is malformed"));
}

#[test]
fn two_tks() {
    let second = [&[0x47, 0x61, 0x73, 0x99, 0x01][..], &[0x40, 0x10, 0x00]].concat();
    let fault = app_fault(&app(|a| a.tk_tail = second));
    assert_eq!(fault, ChipFault::Leftover("the TK's data (one TK only)"));
}

#[test]
fn idowner_other_than_the_keks() {
    let expected = value("IDowner is not the issuer identifier of the TKID");
    assert_eq!(app_fault(&app(|a| a.owner[3] = 0x98)), expected);
    assert_eq!(app_fault(&app(|a| a.owner.clear())), expected);
    assert_eq!(app_fault(&app(|a| a.owner.push(1))), expected);
}

#[test]
fn step_fields_outside_their_values() {
    assert_eq!(app_fault(&app(|a| a.act = 0x0E)), value("ACT is not 0F"));
    assert_eq!(app_fault(&app(|a| a.req = 0x00)), value("REQ is not 01"));
    assert_eq!(app_fault(&app(|a| a.tag = 0xEE)), value("TAG is not EF"));
    assert_eq!(app_fault(&app(|a| a.pointer = vec![0, 1])), value("Lpointer is not 0000"));
    assert_eq!(app_fault(&app(|a| a.random = vec![1])), value("RANDOM is not empty"));
    assert_eq!(app_fault(&app(|a| a.seclev = 0x02)), value("the SECLEV is not known"));
    assert_eq!(app_fault(&app(|a| a.cplc = 0x02)), value("UPDATEcplc is neither 00 nor 01"));
}

#[test]
fn two_steps() {
    let fault = app_fault(&app(|a| a.more_steps = vec![0, 0]));
    assert_eq!(fault, ChipFault::Leftover("the list of steps (one step only)"));
}

#[test]
fn data_tag_and_length() {
    assert_eq!(app_fault(&app(|a| a.ef = 0xEE)), value("the data's tag is not EF"));
    let length = ApplicationPieces::default().data.len();
    assert!((0x100..0x1_0000).contains(&length));
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    let long = vec![0x83, 0, high, low];
    assert_eq!(app_fault(&app(|a| a.ber = Some(long))), ChipFault::NotMinimal("the data"));
    assert_eq!(app_fault(&app(|a| a.ber = Some(vec![0x80]))), value("the data's length is malformed"));
    let less = vec![0x82, high, low - 1];
    assert_eq!(app_fault(&app(|a| a.ber = Some(less))), ChipFault::Leftover("the data"));
    let more = vec![0x82, high, low + 1];
    assert_eq!(app_fault(&app(|a| a.ber = Some(more))), ChipFault::Short);
}

#[test]
fn dgi_length_not_minimal_or_too_long() {
    let extra = |bytes: &[u8]| app(|a| a.data.extend_from_slice(bytes));
    let not_minimal = [0x02, 0x01, 0xFF, 0x00, 0x01, 0xAA];
    assert_eq!(app_fault(&extra(&not_minimal)), ChipFault::NotMinimal("the data"));
    assert_eq!(app_fault(&extra(&[0x02, 0x01, 0x02, 0xAA])), ChipFault::Short);
    assert_eq!(app_fault(&extra(&[0x02])), ChipFault::Short);
}

#[test]
fn dgi_twice_in_the_data() {
    let app = app(|a| a.data.extend(dgi(0x0101, &[1])));
    assert_eq!(app_fault(&app), ChipFault::Twice(DgiList::Data, Dgi(0x0101)));
}

#[test]
fn dgi_twice_in_any_one_list() {
    let twice =
        |list, dgi, app: ApplicationPieces| assert_eq!(app_fault(&app), ChipFault::Twice(list, Dgi(dgi)));
    twice(DgiList::Tk, 0x8000, app(|a| a.protected.push(0x8000)));
    twice(DgiList::VersionControl, 0x9102, app(|a| a.vercntl.extend(dgis(&[0x9102]))));
    twice(DgiList::Enc, 0x8000, app(|a| a.enc.extend([0x80, 0x00, 0x12])));
    twice(DgiList::Log, 0x9102, app(|a| a.log.extend(dgis(&[0x9102]))));
    twice(DgiList::Order, 0x0101, app(|a| a.order.extend([1, 0x01, 0x01])));
    twice(DgiList::Group, 0x0101, app(|a| a.group.extend([1, 0x01, 0x01])));
}

#[test]
fn dgi_that_is_named_but_not_in_the_data() {
    let missing =
        |list, app: ApplicationPieces| assert_eq!(app_fault(&app), ChipFault::NotInData(list, Dgi(0x0777)));
    let named = dgis(&[0x0777]);
    missing(DgiList::Tk, app(|a| a.protected.push(0x0777)));
    missing(DgiList::VersionControl, app(|a| a.vercntl.extend(&named)));
    missing(DgiList::Enc, app(|a| a.enc.extend([&named[..], &[0x11]].concat())));
    missing(DgiList::Log, app(|a| a.log.extend(&named)));
    missing(DgiList::Order, app(|a| a.order.extend([&[1], &named[..]].concat())));
    missing(DgiList::Group, app(|a| a.group.extend([&[1], &named[..]].concat())));
}

#[test]
fn lists_cut_inside_an_entry() {
    assert_eq!(app_fault(&app(|a| a.vercntl.push(0))), ChipFault::Leftover("VERCNTL"));
    assert_eq!(app_fault(&app(|a| a.enc.push(0))), ChipFault::Leftover("ENC"));
    assert_eq!(app_fault(&app(|a| a.log.push(0))), ChipFault::Leftover("LOGDATA"));
    assert_eq!(app_fault(&app(|a| a.order.push(1))), ChipFault::Short);
    assert_eq!(app_fault(&app(|a| a.group.extend([2, 0x91, 0x02]))), ChipFault::Short);
}

#[test]
fn empty_groups() {
    assert_eq!(app_fault(&app(|a| a.order.push(0))), ChipFault::EmptyGroup(DgiList::Order));
    assert_eq!(app_fault(&app(|a| a.group.push(0))), ChipFault::EmptyGroup(DgiList::Group));
}

#[test]
fn enc_type_that_is_not_known() {
    assert_eq!(app_fault(&app(|a| a.enc[2] = 0x13)), value("an ENC type is not known"));
}

#[test]
fn dgi_under_the_tk_but_not_in_enc() {
    let app = app(|a| a.enc.truncate(3));
    assert_eq!(app_fault(&app), ChipFault::NotInEnc(Dgi(0x8010)));
}

#[test]
fn dgi_in_enc_but_not_under_the_tk_only_if_passed_through() {
    let application = parse(&app(|a| a.protected.truncate(1)));
    let open = application.check_protection(&[]).unwrap_err().fault;
    assert_eq!(open, ChipFault::NotUnderTk(Dgi(0x8010)));
    assert!(application.check_protection(&[Dgi(0x8000)]).is_err());
    assert!(application.check_protection(&[Dgi(0x8010)]).is_ok());
    assert!(parse(&ApplicationPieces::default()).check_protection(&[]).is_ok());
}

#[test]
fn group_of_clear_and_secret_dgis() {
    let with = |group: &[u16]| {
        app(|a| {
            a.order.clear();
            a.group = [&[group.len() as u8], &dgis(group)[..]].concat();
        })
    };
    assert_eq!(app_fault(&with(&[0x0101, 0x8000])), ChipFault::MixedGroup(Dgi(0x0101)));
    assert_eq!(app_fault(&with(&[0x8000, 0x8010, 0x9102])), ChipFault::MixedGroup(Dgi(0x8000)));
    parse(&with(&[0x8000, 0x8010]));
    parse(&with(&[0x0101, 0x9102]));
}

#[test]
fn group_that_order_splits() {
    let with = |order: &[u16]| app(|a| a.order = [&[order.len() as u8], &dgis(order)[..]].concat());
    let split = with(&[0x0102, 0x9102, 0x0101]);
    assert_eq!(app_fault(&split), ChipFault::SplitGroup(Dgi(0x0101)));
    parse(&with(&[0x9102, 0x0102, 0x0101]));
    parse(&with(&[0x0102, 0x0101, 0x9102]));
    parse(&with(&[0x0102, 0x9102]));
}

#[test]
fn logdata_that_names_a_secret_dgi() {
    let under_tk = app(|a| a.log = dgis(&[0x0101, 0x8000]));
    assert_eq!(app_fault(&under_tk), ChipFault::SecretLogged(Dgi(0x8000)));
    let passed_through = app(|a| {
        a.protected.truncate(1);
        a.log = dgis(&[0x8010]);
    });
    assert_eq!(app_fault(&passed_through), ChipFault::SecretLogged(Dgi(0x8010)));
}

#[test]
fn wrapped_key_and_mac_have_the_lengths_of_the_suite() {
    for (tk_type, wrapped, mac) in [(0x40, 24, 8), (0x41, 32, 16), (0x42, 32, 16)] {
        let with = |wrapped, mac| {
            app(|a| {
                a.tk_type = tk_type;
                a.wrapped = vec![1; wrapped];
                a.mac = vec![2; mac];
            })
        };
        let application = parse(&with(wrapped, mac));
        assert_eq!((application.wrapped_mac_key.len(), application.mac.len()), (wrapped, mac));
        assert_eq!(app_fault(&with(wrapped, mac + 1)), ChipFault::Leftover("MACdata"));
        for (w, m) in [(wrapped, mac - 1), (wrapped, 0), (16, 4), (0, 0)] {
            assert_eq!(app_fault(&with(w, m)), ChipFault::Short);
        }
    }
}

#[test]
fn a_fault_says_where_and_quotes_no_value() {
    let bad = app(|a| a.seclev = 0x5C);
    let section = SectionPieces::new(&[bad]).bytes();
    let error = ChipSection::parse(&section).err().unwrap();
    assert_eq!(section[error.at], 0x5C);
    assert!(!error.to_string().contains("5C"), "{error}");
    assert!(!error.to_string().contains("92"), "{error}");
}

#[test]
fn ten_thousand_dgis_take_no_square_of_time() {
    let count = 10_000u16;
    let data: Vec<u8> = (0..count).flat_map(|n| dgi(n, &[])).collect();
    let list: Vec<u16> = (0..count).rev().collect();
    let app = app(|a| {
        a.data = data;
        a.protected.clear();
        a.enc.clear();
        a.order.clear();
        a.group.clear();
        a.vercntl = dgis(&list);
        a.log.clear();
    });
    let start = std::time::Instant::now();
    assert_eq!(parse(&app).dgis.len(), 10_000);
    assert!(start.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn encode_refuses_what_parse_would() {
    let with = |change: &dyn Fn(&mut ChipApplication)| {
        let mut application = parse(&ApplicationPieces::default());
        change(&mut application);
        application.encode().expect_err("it was encoded").fault
    };
    assert_eq!(with(&|a| a.protected = vec![Dgi(0x0777)]), ChipFault::NotInData(DgiList::Tk, Dgi(0x0777)));
    assert_eq!(with(&|a| a.mac.clear()), ChipFault::Short);
    assert_eq!(with(&|a| a.tk_type = 0x43), value("the TYPEtk is not known"));
    assert_eq!(with(&|a| a.pdi.update_cplc = 2), value("UPDATEcplc is neither 00 nor 01"));
    assert_eq!(with(&|a| a.pdi.order = vec![vec![]]), ChipFault::EmptyGroup(DgiList::Order));
    assert_eq!(with(&|a| a.protected = vec![Dgi(1); 256]), ChipFault::TooLong("the TK's data"));
    assert_eq!(
        with(&|a| a.dgis[0].value = WipedBytes::from(vec![0; 65_536])),
        ChipFault::TooLong("the data")
    );
    assert_eq!(with(&|a| a.wrapped_mac_key = vec![0; 300]), ChipFault::TooLong("MACdata"));

    let big = |n: u16| {
        let mut application = parse(&ApplicationPieces::default());
        application.aid = Aid::new(&n.to_be_bytes()).unwrap();
        application.dgis[0].value = WipedBytes::from(vec![0; 40_000]);
        application
    };
    assert!(ChipSection { crn: None, applications: vec![big(1)] }.encode().is_ok());
    let error = ChipSection { crn: None, applications: vec![big(1), big(2)] }.encode().err().unwrap();
    assert_eq!(error.fault, ChipFault::TooLong("the chip section"));
}
