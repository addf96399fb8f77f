//! Tests of the faults file.

use super::*;

fn hits(text: &str, blanks: u64) -> Vec<u64> {
    let mut faults = FaultPlan::from_toml(text, 42).unwrap();
    (1..=blanks).filter(|n| !faults.of(*n).is_empty()).collect()
}

#[test]
fn the_rules_select_their_blanks() {
    assert_eq!(hits("[[fault]]\nkind = \"mute\"\nevery = 4", 12), [4, 8, 12]);
    assert_eq!(hits("[[fault]]\nkind = \"mute\"\nevery = 4\noffset = 1", 12), [1, 5, 9]);
    assert_eq!(hits("[[fault]]\nkind = \"mute\"\nevery = 1", 3), [1, 2, 3]);
    assert_eq!(hits("[[fault]]\nkind = \"mute\"\nblanks = [7, 2]", 12), [2, 7]);
    assert_eq!(hits("[[fault]]\nkind = \"mute\"\nevery = 2\nlimit = 2", 12), [2, 4]);
    assert!(hits("", 12).is_empty());
}

#[test]
fn probability_is_repeatable_and_about_right() {
    let text = "[[fault]]\nkind = \"mute\"\nprobability = 0.1";
    let hit = hits(text, 10_000);
    assert!((800..1200).contains(&hit.len()), "{}", hit.len());
    assert_eq!(hit, hits(text, 10_000));
    assert!(hits("[[fault]]\nkind = \"mute\"\nprobability = 0.0", 1000).is_empty());
    assert_eq!(hits("[[fault]]\nkind = \"mute\"\nprobability = 1.0", 1000).len(), 1000);
    // Two rules with equal probabilities select different blanks.
    let two = format!("{text}\n[[fault]]\nkind = \"wrong-atr\"\nprobability = 0.1");
    assert!(hits(&two, 10_000).len() > hit.len() * 3 / 2);
}

#[test]
fn parameters_and_defaults() {
    let text = "[[fault]]\nkind = \"status\"\nsw = \"6A84\"\nevery = 1\n[[fault]]\nkind = \"card-pulled\"\nevery = 1";
    let given = FaultPlan::from_toml(text, 0).unwrap().of(1);
    let plain = InjectedFault {
        kind: FaultKind::Mute,
        sw: 0,
        store_data: 3,
        after: 7,
        ms: 1000,
        seconds: None,
        device: None,
        times: 1,
        bytes: 16,
    };
    assert_eq!(
        given,
        [
            InjectedFault { kind: FaultKind::Status, sw: 0x6A84, ..plain },
            InjectedFault { kind: FaultKind::CardPulled, ..plain },
        ]
    );
}

#[test]
fn the_speed_divides_the_seconds_of_a_machine_and_no_milliseconds() {
    let lasts = |text: &str, speed| {
        let text = format!("[[fault]]\nkind = \"foil-out\"\nevery = 1\n{text}");
        FaultPlan::from_toml(&text, 0).unwrap().of(1)[0].lasts(speed)
    };
    assert_eq!(lasts("seconds = 600", 100.0), Duration::from_secs(6));
    assert_eq!(lasts("seconds = 600", 0.0), Duration::ZERO);
    assert_eq!(lasts("ms = 600", 100.0), Duration::from_millis(600));
    assert_eq!(lasts("", 0.0), Duration::from_secs(1));
}

#[test]
fn one_kind_once_per_blank() {
    let text = "[[fault]]\nkind = \"mute\"\nevery = 2\n[[fault]]\nkind = \"mute\"\nevery = 3";
    let mut faults = FaultPlan::from_toml(text, 0).unwrap();
    assert_eq!(faults.of(6).len(), 1);
}

#[test]
fn every_kind_has_its_name() {
    for (kind, name, may) in KINDS.iter().filter(|(kind, ..)| *kind != FaultKind::KillController) {
        let needed = may.iter().map(|parameter| match parameter {
            Sw => "sw = \"6A84\"\n",
            OfDevice => "device = \"printer\"\n",
            _ => "",
        });
        let text = format!("[[fault]]\nkind = \"{name}\"\nevery = 1\n{}", needed.collect::<String>());
        let given = FaultPlan::from_toml(&text, 0).unwrap().of(1);
        assert_eq!((given[0].kind, given[0].kind.name()), (*kind, *name));
    }
}

#[test]
fn the_controller_dies_once_and_no_blank_is_struck() {
    let text = "[[fault]]\nkind = \"kill-controller\"\nafter = 12";
    let mut faults = FaultPlan::from_toml(text, 0).unwrap();
    assert_eq!(faults.controller_dies_after(), Some(12));
    assert!((1..=20).all(|n| faults.of(n).is_empty()));
    assert_eq!(FaultPlan::from_toml("", 0).unwrap().controller_dies_after(), None);
}

#[test]
fn bad_rules_are_refused() {
    let cases = [
        ("kind = \"mute\"", "exactly one"),
        ("kind = \"mute\"\nevery = 2\nblanks = [1]", "exactly one"),
        ("kind = \"mute\"\nevery = 0", "at least 1"),
        ("kind = \"mute\"\nevery = 2\noffset = 2", "greater than offset"),
        ("kind = \"mute\"\nblanks = [1]\noffset = 2", "offset belongs"),
        ("kind = \"mute\"\nblanks = [0]", "from 1"),
        ("kind = \"mute\"\nprobability = 1.5", "from 0 to 1"),
        ("kind = \"mute\"\nprobability = nan", "from 0 to 1"),
        ("kind = \"mute\"\nevery = 2\nsw = \"6A84\"", "sw belongs"),
        ("kind = \"mute\"\nevery = 2\nafter = 3", "after belongs"),
        ("kind = \"mute\"\nevery = 2\nstore_data = 3", "store_data belongs"),
        ("kind = \"status\"\nevery = 2", "this kind needs"),
        ("kind = \"status\"\nevery = 2\nsw = \"6A\"", "4 hex digits"),
        ("kind = \"status\"\nevery = 2\nsw = \"6A84\"\nstore_data = 0", "from 1"),
        ("kind = \"hang\"\nevery = 2\nms = 5", "ms belongs"),
        ("kind = \"frame-corrupt\"\nevery = 2", "device is missing"),
        ("kind = \"frame-corrupt\"\nevery = 2\ndevice = \"laser\"", "laser"),
        ("kind = \"kill-controller\"\nevery = 2", "given to no blank"),
        ("kind = \"late\"\nevery = 2\ntimes = 2", "times belongs"),
        ("kind = \"mute\"\nevery = 2\nbytes = 8", "bytes belongs"),
        ("kind = \"answer-pieces\"\nevery = 2\nbytes = 0", "at least 1"),
        ("kind = \"answer-pieces\"\nevery = 2\nbytes = 256", "256"),
        ("kind = \"ribbon-out\"\nevery = 2\nms = 5\nseconds = 5", "either ms or seconds"),
        ("kind = \"close-printer\"\nevery = 2\nseconds = 5", "seconds belongs"),
        ("kind = \"cover-open\"\nevery = 2", "device is missing"),
        ("kind = \"mutes\"\nevery = 2", "mutes"),
        ("kind = \"mute\"\nevery = 2\nsometimes = true", "sometimes"),
    ];
    for (text, said) in cases {
        let error = format!("{:#}", FaultPlan::from_toml(&format!("[[fault]]\n{text}"), 0).unwrap_err());
        assert!(error.contains(said), "{text}: {error}");
    }
}
