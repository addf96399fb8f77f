//! `cardwright hsm check`, and lines, on PKCS#11 tokens of Debian.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod line;
mod scene;
#[allow(dead_code, unused_imports, reason = "a part of it is used here")]
#[path = "../line/support.rs"]
mod support;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../v1_store/mod.rs"]
mod v1_store;

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use scene::{Kind, LABEL, PIN, Scene};

/// The steps, in their order.
const STEPS: [&str; 11] = [
    "card keys (KDC) from the KMC",
    "session keys",
    "cryptograms",
    "C-MAC",
    "TK from a TDES KEK",
    "TK from an AES KEK",
    "unwrap under a TDES TK",
    "unwrap under an AES TK",
    "wrap under the session DEK",
    "MAC of a file",
    "checks of values, PIN blocks",
];

const NO_DERIVATION: &str = "on host  C_DeriveKey: MechanismInvalid";
const NO_UNWRAP: &str = "on host  C_UnwrapKey: MechanismInvalid";
const NO_WRAP: &str = "on host  C_WrapKey: MechanismInvalid";
const NO_MECHANISM: &str = "on host  PKCS#11 has no mechanism for it";
const READABLE: &str = "inside   the token shows the result to who asks";

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a token does with each step, as the program prints it.
fn table(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let text = said(output);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(rows.len(), STEPS.len(), "{text}");
    let row = |(row, step): (&&str, &str)| row.trim().strip_prefix(step).expect(row).trim().to_owned();
    rows.iter().zip(STEPS).map(row).collect()
}

#[test]
fn softhsm_derives_and_does_not_translate() {
    let scene = Scene::start(Kind::SoftHsm);
    let output = scene.check(&["--token", LABEL, "--pin-stdin"], PIN);
    assert_eq!(
        table(&output),
        [
            "inside",
            "inside",
            "inside",
            "inside",
            "inside",
            "inside",
            NO_UNWRAP,
            NO_UNWRAP,
            NO_WRAP,
            NO_MECHANISM,
            NO_MECHANISM
        ]
    );
    let text = said(&output);
    assert!(text.starts_with("token cardwright (SoftHSM project SoftHSM v2)\n"), "{text}");
    assert!(
        text.contains("\ninside: ") && text.contains("\non host: ") && !text.contains("\nrefused: "),
        "{text}"
    );
}

#[test]
fn opencryptoki_translates_and_does_not_derive() {
    let scene = Scene::start(Kind::OpenCryptoki);
    // Its label cannot be read (a time in a wrong form), so it is named by its slot, or is the only one.
    for words in [&["--slot", "3", "--pin-stdin"][..], &["--pin-stdin"]] {
        assert_eq!(
            table(&scene.check(words, PIN)),
            [
                NO_DERIVATION,
                NO_DERIVATION,
                "inside",
                NO_DERIVATION,
                NO_DERIVATION,
                NO_DERIVATION,
                READABLE,
                READABLE,
                "inside",
                NO_MECHANISM,
                NO_MECHANISM
            ]
        );
    }
}

#[test]
fn a_token_without_a_derivation_gives_keys_to_the_host() {
    let scene = Scene::start(Kind::SoftHsmWithoutDerivation);
    assert_eq!(
        table(&scene.check(&["--pin-stdin"], PIN)),
        [
            NO_DERIVATION,
            "inside",
            "inside",
            NO_DERIVATION,
            NO_DERIVATION,
            "inside",
            NO_UNWRAP,
            NO_UNWRAP,
            NO_WRAP,
            NO_MECHANISM,
            NO_MECHANISM
        ]
    );
}

#[test]
fn a_check_leaves_nothing_on_a_token() {
    for kind in [Kind::SoftHsm, Kind::OpenCryptoki] {
        let scene = Scene::start(kind);
        let before = scene.files();
        assert!(!before.is_empty());
        assert!(scene.check(&["--pin-stdin"], PIN).status.success());
        assert_eq!(scene.files(), before, "{kind:?}");
    }
}

#[test]
fn a_wrong_pin_is_refused_and_not_quoted() {
    for kind in [Kind::SoftHsm, Kind::OpenCryptoki] {
        let scene = Scene::start(kind);
        let wrong = scene.check(&["--pin-stdin"], "161803\n");
        let text = said(&wrong);
        assert_eq!(wrong.status.code(), Some(23), "{text}");
        assert!(text.contains("refuses the PIN") && !text.contains("161803"), "{text}");
        // It counted once: the right one still opens the token.
        assert!(scene.check(&["--pin-stdin"], PIN).status.success());
    }
}

#[test]
fn a_locked_pin_is_named() {
    let scene = Scene::start(Kind::OpenCryptoki);
    let locked = (0..20).any(|_| said(&scene.check(&["--pin-stdin"], "161803\n")).contains("is locked"));
    assert!(locked);
    let text = said(&scene.check(&["--pin-stdin"], PIN));
    assert!(text.contains("the PIN of token in slot 3 is locked"), "{text}");
}

#[test]
fn without_a_pin_nothing_is_tried() {
    let scene = Scene::start(Kind::SoftHsm);
    let empty = scene.check(&["--pin-stdin"], "\n");
    assert_eq!(empty.status.code(), Some(50), "{}", said(&empty));
    // A session of its own has no terminal.
    let mut command = scene.command("setsid");
    command.args([
        "--wait",
        env!("CARGO_BIN_EXE_cardwright"),
        "hsm",
        "check",
        "--module",
        Kind::SoftHsm.module(),
    ]);
    let none = command.output().unwrap();
    assert_eq!(none.status.code(), Some(50), "{}", said(&none));
    assert!(said(&none).contains("--pin-stdin"), "{}", said(&none));
}

#[test]
fn a_pin_that_is_typed_is_not_shown() {
    let scene = Scene::start(Kind::SoftHsm);
    let check = format!("{} hsm check --module {}", env!("CARGO_BIN_EXE_cardwright"), Kind::SoftHsm.module());
    // `script` has a terminal of its own for the program, and prints all that appears on it.
    let mut command = scene.command("script");
    command.args(["--quiet", "--return", "--command", &check, "/dev/null"]);
    let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut byte = [0];
    while !shown.ends_with(b"PIN of the token: ") {
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.extend(byte);
    }
    writeln!(keys, "{PIN}").unwrap();
    screen.read_to_end(&mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert!(script.wait().unwrap().success() && shown.contains("inside"), "{shown}");
    assert!(!shown.contains(PIN), "{shown}");
}

#[test]
fn another_token_or_module_is_refused_by_name() {
    let scene = Scene::start(Kind::SoftHsm);
    let other = scene.check(&["--token", "vault", "--pin-stdin"], PIN);
    let text = said(&other);
    assert_eq!(other.status.code(), Some(23), "{text}");
    assert!(text.contains("no token vault") && text.contains("cardwright in slot"), "{text}");
    assert_eq!(scene.check(&["--slot", "7", "--pin-stdin"], PIN).status.code(), Some(23));
    assert_eq!(scene.check(&["--slot", "7", "--token", "a", "--pin-stdin"], PIN).status.code(), Some(2));
    let plain = std::env::temp_dir().join("no-such-module.so");
    for module in ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/etc/passwd", plain.to_str().unwrap()] {
        let output = Command::new(env!("CARGO_BIN_EXE_cardwright"))
            .args(["hsm", "check", "--pin-stdin", "--module", module])
            .output()
            .unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(23), "{text}");
        assert!(text.contains(module), "{text}");
    }
}

#[test]
fn two_tokens_of_one_label_are_told_apart_by_their_slot() {
    let scene = Scene::start(Kind::SoftHsm);
    let words = ["--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "31415926"];
    let made = scene.command("softhsm2-util").args(words).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let both = scene.check(&["--token", LABEL, "--pin-stdin"], PIN);
    let text = said(&both);
    assert_eq!(both.status.code(), Some(23), "{text}");
    let slots: Vec<&str> =
        text.split("in slot ").skip(1).map(|rest| rest.split([',', ':']).next().unwrap()).collect();
    assert_eq!(slots.len(), 2, "{text}");
    for slot in slots {
        assert!(scene.check(&["--slot", slot, "--pin-stdin"], PIN).status.success());
    }
}

#[test]
fn without_its_daemon_opencryptoki_is_no_module() {
    let scene = Scene::start(Kind::SoftHsm);
    // This scene's /run has no pkcsslotd.
    let output = scene
        .command(env!("CARGO_BIN_EXE_cardwright"))
        .args(["hsm", "check", "--pin-stdin", "--module", Kind::OpenCryptoki.module()])
        .output()
        .unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(23), "{text}");
    assert!(text.contains("the service that it needs"), "{text}");
}
