//! Plans against expectations worked by hand from EMV CPS 4.3.4, and properties over random applications.

use proptest::prelude::*;

use super::*;
use crate::chip::status::CommandPhase;
use crate::hsm::{DataPart, VerifiedApplication};
use crate::ids::{Aid, Dgi, KekId};
use crate::profile::product::{self, Finalize};
use crate::record::chip::{ChipApplication, Cmode, DgiValue, EncType, Pdi};
use crate::scp::{SecLevel, SecureChannel, SecureChannelSpec};
use crate::wiped::WipedBytes;

fn aid() -> Aid {
    Aid::new(&[0xA0, 0, 0, 0, 3, 0x10, 0x10]).unwrap()
}

fn channel() -> SecureChannel {
    SecureChannel::new(SecureChannelSpec { protocol: 2, parameter: 0x55, key_version: 0 }).unwrap()
}

fn product(pack: bool) -> product::ApplicationProfile {
    product::ApplicationProfile {
        aid: aid(),
        name: "test".into(),
        pack,
        finalize: Finalize::LastStoreData,
        pass_through: vec![],
        read_back: vec![],
        fci: None,
    }
}

/// An application of clear DGIs.
fn application(level: SecLevel, dgis: &[(u16, usize)]) -> ChipApplication {
    ChipApplication {
        aid: aid(),
        kek: KekId([0x47, 0x61, 0x73, 0x99, 1]),
        tk_type: 0x40,
        cmode: Cmode::Cbc,
        protected: vec![],
        pdi: Pdi {
            order: vec![],
            version_control: vec![],
            enc: vec![],
            group: vec![],
            level,
            update_cplc: 0,
        },
        log: vec![],
        dgis: dgis
            .iter()
            .map(|(dgi, n)| DgiValue {
                dgi: Dgi(*dgi),
                value: WipedBytes::from((0..=250u8).cycle().take(*n).collect::<Vec<_>>()),
            })
            .collect(),
        wrapped_mac_key: vec![],
        mac: vec![],
        raw: WipedBytes::from(vec![]),
        maced: 0..0,
    }
}

fn protect(application: &mut ChipApplication, dgi: u16, enc: EncType) {
    application.protected.push(Dgi(dgi));
    application.pdi.enc.push((Dgi(dgi), enc));
}

fn verified(protected: &[(u16, u16)]) -> VerifiedApplication {
    VerifiedApplication { protected: protected.iter().map(|(d, n)| (Dgi(*d), *n)).collect(), allow: vec![] }
}

/// Length of a command's data field.
fn length(step: &PlanStep) -> usize {
    step.command
        .data
        .iter()
        .map(|part| match part {
            DataPart::Clear(bytes) => bytes.len(),
            DataPart::Protected { from, to, .. } => usize::from(*to - *from),
        })
        .sum()
}

/// P1 P2 and data, protected parts as `<8000 0..48>`.
fn shown(step: &PlanStep) -> String {
    let data: String = step
        .command
        .data
        .iter()
        .map(|part| match part {
            DataPart::Clear(bytes) => hex::encode_upper(bytes.as_slice()),
            DataPart::Protected { dgi, from, to } => format!("<{dgi} {from}..{to}>"),
        })
        .collect();
    let c = &step.command;
    format!("{:02X}{:02X}{:02X} {data}", c.ins, c.p1, c.p2)
}

fn all_shown(plan: &ChipPlan) -> Vec<String> {
    plan.steps.iter().map(shown).collect()
}

/// The worked session of `scp`: four STORE DATA, the secret ones opened by the HSM.
fn worked_example(level: SecLevel) -> (ChipApplication, VerifiedApplication) {
    let mut a = application(level, &[(0x0101, 0), (0x8000, 48), (0x8205, 40), (0x9000, 0)]);
    a.dgis[0].value = WipedBytes::from(hex::decode("700E5A0847617390010101195F340101").unwrap());
    a.dgis[3].value = WipedBytes::from(hex::decode("08D7B44915107B217F").unwrap());
    protect(&mut a, 0x8000, EncType::AsIs);
    protect(&mut a, 0x8205, EncType::Pad);
    (a, verified(&[(0x8000, 48), (0x8205, 40)]))
}

#[test]
fn worked_cps_example_of_standards_1_9() {
    for level in [SecLevel::Authenticated, SecLevel::Mac, SecLevel::MacEnc] {
        let (a, v) = worked_example(level);
        let plan = plan(&a, &v, &product(false), &channel()).unwrap();
        // Headers, P1, P2 and clear bytes as printed there at level 00.
        assert_eq!(
            all_shown(&plan),
            [
                "E20000 010110700E5A0847617390010101195F340101",
                "E26001 800030<8000 0..48>",
                "E26002 820528<8205 0..40>",
                "E28003 90000908D7B44915107B217F",
            ]
        );
        // Lc as printed: 13 33 2B 0C without, 1B 3B 33 14 with C-MAC, 20 40 38 18 with encryption too.
        let lc: Vec<usize> = plan
            .steps
            .iter()
            .map(|s| match level {
                SecLevel::Authenticated => length(s),
                SecLevel::Mac => length(s) + 8,
                SecLevel::MacEnc => (length(s) / 8 + 1) * 8 + 8,
                _ => panic!(),
            })
            .collect();
        let printed = match level {
            SecLevel::Authenticated => [0x13, 0x33, 0x2B, 0x0C],
            SecLevel::Mac => [0x1B, 0x3B, 0x33, 0x14],
            SecLevel::MacEnc => [0x20, 0x40, 0x38, 0x18],
            _ => panic!(),
        };
        assert_eq!(lc, printed);
    }
}

#[test]
fn packing_joins_neighbours_of_one_secrecy() {
    let (a, v) = worked_example(SecLevel::Mac);
    let plan = plan(&a, &v, &product(true), &channel()).unwrap();
    assert_eq!(
        all_shown(&plan),
        [
            "E20000 010110700E5A0847617390010101195F340101",
            "E26001 800030<8000 0..48>820528<8205 0..40>",
            "E28002 90000908D7B44915107B217F",
        ]
    );
    assert_eq!(plan.steps[1].ends, [(Dgi(0x8000), 48), (Dgi(0x8205), 40)]);
    assert_eq!(fewest_commands(&a, &v, &product(true), &channel()), 2);
}

#[test]
fn a_secret_last_dgi_makes_p1_e0() {
    let mut a = application(SecLevel::Mac, &[(0x0101, 3), (0x8000, 48)]);
    protect(&mut a, 0x8000, EncType::AsIs);
    let plan = plan(&a, &verified(&[(0x8000, 48)]), &product(true), &channel()).unwrap();
    assert_eq!(all_shown(&plan), ["E20000 010103000102", "E2E001 800030<8000 0..48>"]);
}

#[test]
fn limits_by_level_are_255_247_239() {
    for (level, limit) in [(SecLevel::Authenticated, 255), (SecLevel::Mac, 247), (SecLevel::MacEnc, 239)] {
        // A value of limit - 3 fills a command; one byte more needs a second one with that byte.
        let header = 3;
        let fits = plan(
            &application(level, &[(0x0101, limit - header)]),
            &verified(&[]),
            &product(false),
            &channel(),
        )
        .unwrap();
        assert_eq!(fits.steps.iter().map(length).collect::<Vec<_>>(), [limit]);
        let cut = plan(
            &application(level, &[(0x0101, limit - header + 1)]),
            &verified(&[]),
            &product(false),
            &channel(),
        )
        .unwrap();
        assert_eq!(cut.steps.iter().map(length).collect::<Vec<_>>(), [limit, 1]);
    }
    // Level 00: 252 bytes have a one-byte length (255 in all); from 255 on the length is FF hi lo.
    let plan = plan(
        &application(SecLevel::Authenticated, &[(0x0101, 431)]),
        &verified(&[]),
        &product(true),
        &channel(),
    )
    .unwrap();
    assert!(shown(&plan.steps[0]).starts_with("E20000 0101FF01AF00010203"));
    assert_eq!(plan.steps.iter().map(length).collect::<Vec<_>>(), [255, 431 + 5 - 255]);
    assert_eq!(plan.steps[0].ends, []);
    assert_eq!(plan.steps[1].ends, [(Dgi(0x0101), 431)]);
    assert_eq!(plan.steps[1].command.p1, 0x80);
}

#[test]
fn a_length_of_254_and_255_changes_the_form() {
    let short = plan(
        &application(SecLevel::Authenticated, &[(0x0101, 254)]),
        &verified(&[]),
        &product(false),
        &channel(),
    )
    .unwrap();
    assert!(shown(&short.steps[0]).starts_with("E20000 0101FE00"));
    let long = plan(
        &application(SecLevel::Authenticated, &[(0x0101, 255)]),
        &verified(&[]),
        &product(false),
        &channel(),
    )
    .unwrap();
    assert!(shown(&long.steps[0]).starts_with("E20000 0101FF00FF00"));
}

#[test]
fn a_long_secret_dgi_is_cut_and_every_piece_says_encrypted() {
    let mut a = application(SecLevel::Mac, &[(0x8101, 512), (0x9000, 3)]);
    protect(&mut a, 0x8101, EncType::AsIs);
    let plan = plan(&a, &verified(&[(0x8101, 512)]), &product(true), &channel()).unwrap();
    assert_eq!(
        all_shown(&plan),
        [
            "E26000 8101FF0200<8101 0..242>",
            "E26001 <8101 242..489>",
            "E26002 <8101 489..512>",
            "E28003 900003000102",
        ]
    );
}

#[test]
fn the_block_counter_wraps_after_ff() {
    let dgis: Vec<_> = (0..300u16).map(|i| (0x0101 + i, 1)).collect();
    let plan = plan(&application(SecLevel::Mac, &dgis), &verified(&[]), &product(false), &channel()).unwrap();
    let p2: Vec<u8> = plan.steps.iter().map(|s| s.command.p2).collect();
    assert_eq!((p2[0], p2[255], p2[256], p2[299]), (0x00, 0xFF, 0x00, 0x2B));
}

#[test]
fn set_status_follows_instead_of_the_last_bit() {
    let mut p = product(true);
    p.finalize = Finalize::SetStatus;
    let plan = plan(&application(SecLevel::Mac, &[(0x0101, 1)]), &verified(&[]), &p, &channel()).unwrap();
    assert_eq!(all_shown(&plan), ["E20000 01010100", "F04007 A0000000031010"]);
    assert_eq!(plan.steps[1].phase, CommandPhase::SetStatus);
}

#[test]
fn version_controlled_dgis_stand_alone_and_only_they_may_be_refused() {
    let mut a = application(SecLevel::Mac, &[(1, 4), (2, 4), (3, 4), (4, 4)]);
    a.pdi.version_control = vec![Dgi(2)];
    let made = plan(&a, &verified(&[]), &product(true), &channel()).unwrap();
    let ends: Vec<_> =
        made.steps.iter().map(|s| s.ends.iter().map(|(d, _)| d.0).collect::<Vec<_>>()).collect();
    assert_eq!(ends, [vec![1], vec![2], vec![3, 4]]);
    let refusable: Vec<_> =
        made.steps.iter().map(|s| s.phase == CommandPhase::StoreData { may_refuse: true }).collect();
    assert_eq!(refusable, [false, true, false]);
    // The last one completes the card: refused, the card is not personalized.
    a.pdi.version_control = vec![Dgi(4)];
    let made = plan(&a, &verified(&[]), &product(true), &channel()).unwrap();
    assert_eq!(made.steps[1].phase, CommandPhase::StoreData { may_refuse: false });
    // It must fit one command.
    let mut long = application(SecLevel::Mac, &[(1, 245)]);
    long.pdi.version_control = vec![Dgi(1)];
    let error = PlanError::VersionControlLength { dgi: Dgi(1), length: 248, limit: 247 };
    assert_eq!(plan(&long, &verified(&[]), &product(true), &channel()).err(), Some(error));
    assert!(check(&long, &product(true), &channel()).unwrap_err().contains("0001"));
}

#[test]
fn groups_share_one_command_even_without_packing() {
    let mut a = application(SecLevel::Mac, &[(1, 4), (2, 4), (3, 4)]);
    a.pdi.group = vec![vec![Dgi(3), Dgi(1)]];
    let made = plan(&a, &verified(&[]), &product(false), &channel()).unwrap();
    let ends: Vec<_> =
        made.steps.iter().map(|s| s.ends.iter().map(|(d, _)| d.0).collect::<Vec<_>>()).collect();
    assert_eq!(ends, [vec![1, 3], vec![2]]);
}

#[test]
fn groups_that_cannot_travel_together_are_errors() {
    let fail = |a: &ChipApplication, v: &VerifiedApplication| plan(a, v, &product(true), &channel()).err();
    let mut a = application(SecLevel::Mac, &[(1, 121), (2, 121), (3, 8)]);
    a.pdi.group = vec![vec![Dgi(1), Dgi(2)]];
    assert_eq!(
        fail(&a, &verified(&[])),
        Some(PlanError::GroupLength { dgi: Dgi(1), length: 248, limit: 247 })
    );
    assert!(check(&a, &product(true), &channel()).is_err());
    a.pdi.group = vec![vec![Dgi(1), Dgi(3)]];
    assert_eq!(fail(&a, &verified(&[])), None);
    protect(&mut a, 3, EncType::AsIs);
    assert_eq!(fail(&a, &verified(&[(3, 8)])), Some(PlanError::GroupMixed(Dgi(1))));
    let mut a = application(SecLevel::Mac, &[(1, 4), (2, 4)]);
    a.pdi.group = vec![vec![Dgi(1), Dgi(2)]];
    a.pdi.version_control = vec![Dgi(2)];
    assert_eq!(fail(&a, &verified(&[])), Some(PlanError::GroupVersionControl(Dgi(2))));
    // A group of one that is too long for one command is no group.
    let mut a = application(SecLevel::MacEnc, &[(1, 300)]);
    a.pdi.group = vec![vec![Dgi(1)]];
    assert!(matches!(fail(&a, &verified(&[])), Some(PlanError::GroupLength { .. })));
}

#[test]
fn passed_through_values_go_as_they_are_in_a_command_that_says_encrypted() {
    let mut p = product(true);
    p.pass_through = vec![Dgi(0x8201)];
    // In ENC or not, it is not under the transport key.
    for in_enc in [false, true] {
        let mut a = application(SecLevel::Mac, &[(0x0101, 2), (0x8201, 2), (0x9000, 2)]);
        if in_enc {
            a.pdi.enc.push((Dgi(0x8201), EncType::AsIs));
        }
        let made = plan(&a, &verified(&[]), &p, &channel()).unwrap();
        assert_eq!(all_shown(&made), ["E20000 0101020001", "E26001 8201020001", "E28002 9000020001"]);
        assert_eq!(fewest_commands(&a, &verified(&[]), &p, &channel()), 2);
    }
}

#[test]
fn protection_must_be_consistent() {
    let refuse = |a: &ChipApplication| {
        assert!(check(a, &product(true), &channel()).is_err());
        plan(a, &verified(&[(0x8000, 48)]), &product(true), &channel()).err()
    };
    let mut a = application(SecLevel::Mac, &[(0x8000, 48)]);
    a.protected = vec![Dgi(0x8000)];
    assert_eq!(refuse(&a), Some(PlanError::Protection(Dgi(0x8000))));
    let mut a = application(SecLevel::Mac, &[(0x8000, 48)]);
    a.pdi.enc = vec![(Dgi(0x8000), EncType::AsIs)];
    assert_eq!(refuse(&a), Some(PlanError::Protection(Dgi(0x8000))));
    let mut a = application(SecLevel::Mac, &[(1, 1)]);
    protect(&mut a, 0x8000, EncType::AsIs);
    assert_eq!(refuse(&a), Some(PlanError::Absent(Dgi(0x8000))));
    let mut a = application(SecLevel::Mac, &[(1, 1)]);
    a.pdi.version_control = vec![Dgi(2)];
    assert_eq!(refuse(&a), Some(PlanError::Absent(Dgi(2))));
    assert_eq!(refuse(&application(SecLevel::Mac, &[(1, 1), (1, 1)])), Some(PlanError::Twice(Dgi(1))));
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let refuse = |a: &ChipApplication| plan(a, &verified(&[]), &product(true), &channel()).err();
    assert_eq!(refuse(&application(SecLevel::Mac, &[])), Some(PlanError::Empty));
    let mut a = application(SecLevel::Mac, &[(1, 1)]);
    a.pdi.update_cplc = 1;
    assert_eq!(refuse(&a), Some(PlanError::Unsupported("UPDATEcplc")));
    assert!(check(&a, &product(true), &channel()).unwrap_err().starts_with("application A0000000031010: "));
    let mut a = application(SecLevel::Mac, &[(0x8000, 48)]);
    protect(&mut a, 0x8000, EncType::AsIs);
    assert_eq!(refuse(&a), Some(PlanError::NoLength(Dgi(0x8000))));
    assert!(refuse(&application(SecLevel::Mac, &[(1, 65_536)])).is_some());
    assert_eq!(refuse(&application(SecLevel::Mac, &[(1, 65_535)])), None);
}

#[test]
fn acceptance_refuses_only_what_can_never_fit() {
    // Two ciphertexts of 120 bytes, padded under the TK: 112 to 119 bytes inside, so 112 on the card at least:
    // 2 × 115 fits 239.
    let mut a = application(SecLevel::MacEnc, &[(0x8201, 120), (0x8202, 120)]);
    a.cmode = Cmode::CbcPadded;
    protect(&mut a, 0x8201, EncType::AsIs);
    protect(&mut a, 0x8202, EncType::AsIs);
    a.pdi.group = vec![vec![Dgi(0x8201), Dgi(0x8202)]];
    assert_eq!(check(&a, &product(true), &channel()), Ok(()));
    // Unpadded they are 120 each: 2 × 123 does not.
    a.cmode = Cmode::Cbc;
    assert!(check(&a, &product(true), &channel()).is_err());
}

/// What a random application is made of: (length, kind) of each DGI, level, packing, seed of the ORDER lists.
type Recipe = (Vec<(usize, u8)>, usize, bool, u64);

fn recipes() -> impl Strategy<Value = Recipe> {
    let dgi = (prop_oneof![0usize..30, 230usize..260, 300usize..800], 0u8..10);
    (proptest::collection::vec(dgi, 1..25), 0usize..3, any::<bool>(), any::<u64>())
}

/// Lengths around the limits, some secret, some refusable, ORDER lists.
fn build((dgis, level, pack, seed): Recipe) -> (ChipApplication, VerifiedApplication, bool) {
    let level = [SecLevel::Authenticated, SecLevel::Mac, SecLevel::MacEnc][level];
    let numbered: Vec<(u16, usize)> = (0x0100u16..).zip(&dgis).map(|(dgi, (n, _))| (dgi, *n)).collect();
    let mut a = application(level, &numbered);
    let mut lengths = vec![];
    for ((dgi, n), (_, kind)) in numbered.iter().zip(&dgis) {
        if *kind < 4 {
            protect(&mut a, *dgi, EncType::Pad);
            lengths.push((*dgi, u16::try_from(*n / 8 * 8 + 8).unwrap()));
        } else if *kind == 4 && *n < 200 {
            a.pdi.version_control.push(Dgi(*dgi));
        }
    }
    // A few ORDER pairs and triples, far apart and backwards, every DGI at most once.
    let mut free: Vec<Dgi> = a.dgis.iter().map(|d| d.dgi).collect();
    let mut state = seed;
    let mut pick = |free: &mut Vec<Dgi>| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        free.remove((state >> 33) as usize % free.len())
    };
    while free.len() > 5 {
        let list = (0..2 + free.len() % 2).map(|_| pick(&mut free)).collect();
        a.pdi.order.push(list);
    }
    (a, verified(&lengths), pack)
}

/// A byte that only the HSM knows: of which DGI, and which one.
type Reference = (Dgi, u16);

proptest! {
    #[test]
    fn every_dgi_goes_once_whole_in_order_and_never_mixed(recipe in recipes()) {
        let (a, v, pack) = build(recipe);
        let plan = plan(&a, &v, &product(pack), &channel()).unwrap();
        let limit = match a.pdi.level { SecLevel::Authenticated => 255, SecLevel::Mac => 247, SecLevel::MacEnc => 239, _ => panic!() };

        // Read the commands as a card would: one byte stream, protected bytes marked.
        let mut stream: Vec<(Option<Reference>, u8, bool)> = vec![];
        for (i, step) in plan.steps.iter().enumerate() {
            let secret = step.command.p1 & 0x60 == 0x60;
            prop_assert!(length(step) <= limit && length(step) > 0);
            prop_assert_eq!(step.command.p1 & 0x9F, if i + 1 == plan.steps.len() { 0x80 } else { 0 });
            prop_assert_eq!(step.command.p2 as usize, i % 256);
            for part in &step.command.data {
                match part {
                    DataPart::Clear(bytes) => stream.extend(bytes.iter().map(|b| (None, *b, secret))),
                    DataPart::Protected { dgi, from, to } => {
                        prop_assert!(secret);
                        stream.extend((*from..*to).map(|at| (Some((*dgi, at)), 0, secret)));
                    }
                }
            }
        }
        let mut sent = vec![];
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let dgi = Dgi(u16::from_be_bytes([rest[0].1, rest[1].1]));
            let (n, header) = match rest[2].1 {
                0xFF => (usize::from(u16::from_be_bytes([rest[3].1, rest[4].1])), 5),
                n => (usize::from(n), 3),
            };
            let value = &rest[header..header + n];
            let file = a.value(dgi).unwrap();
            let under_tk = a.protected.contains(&dgi);
            for (at, (protected, byte, secret)) in value.iter().enumerate() {
                prop_assert_eq!(*secret, under_tk);
                match protected {
                    Some(reference) => prop_assert_eq!(*reference, (dgi, u16::try_from(at).unwrap())),
                    None => prop_assert_eq!(*byte, file[at]),
                }
            }
            prop_assert_eq!(n, v.protected.iter().find(|(d, _)| *d == dgi).map_or(file.len(), |(_, n)| *n as usize));
            sent.push(dgi);
            rest = &rest[header + n..];
        }
        // Every DGI exactly once; each reported as ended once, in order.
        let ended: Vec<Dgi> = plan.steps.iter().flat_map(|s| s.ends.iter().map(|(d, _)| *d)).collect();
        prop_assert_eq!(&ended, &sent);
        let mut sorted = sent.clone();
        sorted.sort();
        prop_assert_eq!(sorted, a.dgis.iter().map(|d| d.dgi).collect::<Vec<_>>());
        // ORDER: consecutive, as listed. The rest in file order.
        let at = |d: &Dgi| sent.iter().position(|s| s == d).unwrap();
        for list in &a.pdi.order {
            prop_assert!(list.windows(2).all(|w| at(&w[0]) + 1 == at(&w[1])));
        }
        let unnamed: Vec<usize> =
            a.dgis.iter().filter(|d| !a.pdi.order.iter().any(|l| l.contains(&d.dgi))).map(|d| at(&d.dgi)).collect();
        prop_assert!(unnamed.is_sorted());
        // VERCNTL alone; without packing every command ends at most one DGI.
        for step in &plan.steps {
            let alone = step.ends.iter().any(|(d, _)| a.pdi.version_control.contains(d));
            prop_assert!(step.ends.len() <= 1 || (pack && !alone));
        }
        prop_assert!(plan.steps.len() >= fewest_commands(&a, &v, &product(pack), &channel()));
        prop_assert_eq!(check(&a, &product(pack), &channel()), Ok(()));
    }
}
