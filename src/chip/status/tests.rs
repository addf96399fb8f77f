//! Each status word in each phase: what stops a session, and its words for the operator.

use super::*;

const PHASES: [CommandPhase; 8] = [
    CommandPhase::Select,
    CommandPhase::InitializeUpdate,
    CommandPhase::ExternalAuthenticate,
    CommandPhase::StoreData { may_refuse: false },
    CommandPhase::StoreData { may_refuse: true },
    CommandPhase::SetStatus,
    CommandPhase::ReadRecord,
    CommandPhase::GetData,
];

#[test]
fn only_9000_is_done_and_6a88_is_tolerated_only_under_version_control() {
    for phase in PHASES {
        for sw in 0..=u16::MAX {
            let expected_tolerated = sw == 0x6A88 && phase == CommandPhase::StoreData { may_refuse: true };
            match judge(phase, sw) {
                StatusVerdict::Done => assert_eq!(sw, 0x9000),
                StatusVerdict::Tolerated => assert!(expected_tolerated, "{sw:04X} {phase:?}"),
                StatusVerdict::Reject { reason, detail } => {
                    assert!(sw != 0x9000 && !expected_tolerated);
                    assert_eq!(reason.as_str(), format!("sw-{sw:04X}"));
                    assert!(detail.contains(&format!("{sw:04X} to {}", phase.command())));
                }
            }
        }
    }
}

#[test]
fn every_status_word_of_the_field_has_words_of_its_own() {
    // Status words of EMV CPS 4 and GPCS 11, command by command.
    let known = [
        (CommandPhase::StoreData { may_refuse: false }, 0x6A88),
        (CommandPhase::InitializeUpdate, 0x6A88),
        (CommandPhase::StoreData { may_refuse: true }, 0x6A86),
        (CommandPhase::StoreData { may_refuse: false }, 0x6A80),
        (CommandPhase::StoreData { may_refuse: false }, 0x6A84),
        (CommandPhase::StoreData { may_refuse: false }, 0x6985),
        (CommandPhase::ExternalAuthenticate, 0x6982),
        (CommandPhase::StoreData { may_refuse: false }, 0x6982),
        (CommandPhase::ExternalAuthenticate, 0x6300),
        (CommandPhase::StoreData { may_refuse: false }, 0x9315),
        (CommandPhase::StoreData { may_refuse: false }, 0x9580),
        (CommandPhase::StoreData { may_refuse: false }, 0x6B00),
        (CommandPhase::Select, 0x6999),
        (CommandPhase::Select, 0x6A82),
    ];
    for (phase, sw) in known {
        let StatusVerdict::Reject { detail, .. } = judge(phase, sw) else { panic!("{sw:04X}") };
        assert!(!detail.contains("unexpected"), "{sw:04X}");
    }
    // The same word means other things elsewhere.
    assert!(!rejected(CommandPhase::Select, 0x6300).contains("cryptogram"));
}

fn rejected(phase: CommandPhase, sw: u16) -> String {
    let StatusVerdict::Reject { detail, .. } = judge(phase, sw) else { panic!("{sw:04X}") };
    detail
}

/// ISO/IEC 7816-4, table of warnings and errors: every word that it lists, and what it says.
#[test]
fn the_words_of_iso_7816_4_mean_what_it_says() {
    for (sw, says) in [
        (0x6281, "corrupted"),
        (0x6282, "ends"),
        (0x6285, "terminated"),
        (0x6400, "unchanged"),
        (0x6500, "changed"),
        (0x6581, "memory failure"),
        (0x6600, "security issue"),
        (0x6700, "wrong length"),
        (0x6881, "logical channel"),
        (0x6882, "secure messaging"),
        (0x6883, "chain"),
        (0x6884, "chaining"),
        (0x6981, "structure of the file"),
        (0x6984, "reference data"),
        (0x6986, "not allowed"),
        (0x6987, "missing"),
        (0x6988, "wrong"),
        (0x6A81, "function"),
        (0x6A84, "memory"),
        (0x6A85, "length"),
        (0x6A87, "P1 and P2"),
        (0x6A89, "exists"),
        (0x6A8A, "exists"),
        (0x6B00, "P1 or P2"),
        (0x6D00, "instruction"),
        (0x6E00, "class"),
        (0x6F00, "no reason"),
        (0x63C2, "tries left"),
    ] {
        for phase in [CommandPhase::GetData, CommandPhase::StoreData { may_refuse: false }] {
            let detail = rejected(phase, sw);
            assert!(detail.contains(says), "{sw:04X}: {detail}");
        }
    }
    assert!(STANDARD.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, each once");
}

/// 6985 is "conditions of use not satisfied": a STORE DATA of a blank gets it where the order of its DGIs is not the
/// applet's. It does not prove that the card is no blank.
#[test]
fn conditions_not_satisfied_name_the_order_and_do_not_accuse_the_card() {
    for may_refuse in [false, true] {
        let detail = rejected(CommandPhase::StoreData { may_refuse }, 0x6985);
        assert!(detail.contains("not satisfied") && detail.contains("order of DGIs"), "{detail}");
        assert!(!detail.contains("is no blank"), "{detail}");
    }
    for phase in PHASES {
        assert!(!rejected(phase, 0x6985).contains("is no blank"), "{phase:?}");
        assert!(rejected(phase, 0x6581).contains("memory failure"), "{phase:?}");
    }
}

#[test]
fn only_words_of_no_standard_are_unexpected() {
    for sw in 0..=u16::MAX {
        let known = matches!(sw.to_be_bytes(), [0x61..=0x6C | 0x91..=0x9F, _])
            || [0x6D00, 0x6E00, 0x6F00].contains(&sw);
        let phase = CommandPhase::GetData;
        if let StatusVerdict::Reject { detail, .. } = judge(phase, sw) {
            assert_eq!(detail.contains("unexpected"), !known, "{sw:04X}");
        }
    }
}
