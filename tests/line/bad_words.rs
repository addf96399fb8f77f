//! Wrong words on the command line: the message names the argument, quotes the word, and states what is allowed.

use std::process::Command;

use cardwright::exit::Exit;

use crate::support::{Ended, World};

const USAGE: i32 = Exit::Usage as i32;
const PROFILE: i32 = Exit::Profile as i32;
const KEY_UNKNOWN: i32 = Exit::KeyUnknown as i32;

fn says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, code, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
}

#[test]
fn a_wrong_argument_of_the_bureau_says_what_is_allowed() {
    let world = World::new();
    let run = ["run", "f.cwf1", "--simulate", "--keys", "bureau.store"];
    let with = |more: &[&'static str]| [&run[..], more].concat();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["job", "show", "X1"], USAGE, &["'X1'", "<J>", "jobs are written J1, J2"]),
        (&["log", "--job", "1x"], USAGE, &["'1x'", "--job <J>", "jobs are written J1, J2"]),
        (&["card", "show", "J1", "3-"], USAGE, &["'3-'", "<SEQ>", "write 7, or 3,7-9, or all"]),
        (&["card", "remake", "J1", "0"], USAGE, &["'0'", "<SEQ>", "write 7, or 3,7-9, or all"]),
        (
            &["card", "remake", "J1", "1", "--by", "a, b"],
            USAGE,
            &["'a, b'", "--by <NAME>", "1 to 40 letters, digits"],
        ),
        (
            &["audit", "verify", "--key", "00"],
            USAGE,
            &["'00'", "--key <HEX>", "64 hex digits; this text has 2 characters"],
        ),
        (&["stock", "issue", "J1", "many"], USAGE, &["'many'", "<N>", "whole number from 0 to 4294967295"]),
        (
            &with(&["--line", "sim-8", "--limit", "all"]),
            USAGE,
            &["'all'", "--limit <N>", "whole number from 0"],
        ),
        (
            &with(&["--line", "sim-8", "--seed", "x"]),
            USAGE,
            &["'x'", "--seed <SEED>", "from 0 to 18446744073709551615"],
        ),
        (
            &with(&["--line", "sim-8", "--speed", "fast"]),
            USAGE,
            &["'fast'", "--speed <SPEED>", "such as 0.5 or 20"],
        ),
        (
            &with(&["--line", "sim-8", "--speed=-1"]),
            USAGE,
            &["'-1'", "--speed <SPEED>", "number of at least 0"],
        ),
        (
            &with(&["--line", "sim-8", "--speed", "nan"]),
            USAGE,
            &["'nan'", "--speed <SPEED>", "number of at least 0"],
        ),
        (&with(&["--line", "sim-9"]), PROFILE, &["no line profile \"sim-9\"", "there are sim-8, sim-64"]),
        (
            &["line", "check", "sim-9", "--keys", "bureau.store"],
            PROFILE,
            &["\"sim-9\"", "there are sim-8, sim-64"],
        ),
        (&["job", "stop", "J1"], USAGE, &["'stop'"]),
        (&["manual", "operators"], USAGE, &["\"operators\"", "its pages are "]),
    ];
    for (args, code, words) in cases {
        says(&world.cardwright(args), *code, words);
    }
    // The message lists the user's own profiles too.
    std::fs::create_dir_all(world.path("own/lines")).unwrap();
    std::fs::write(world.path("own/lines/ours.toml"), "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardwright"));
    command
        .args(with(&["--line", "our"]))
        .current_dir(world.path(""))
        .env("CARDWRIGHT_PROFILES", world.path("own"));
    says(&command.output().unwrap().into(), PROFILE, &["no line profile \"our\"; there are ours, sim-8"]);
}

#[test]
fn a_wrong_argument_of_the_preparation_says_what_is_allowed() {
    let world = World::new();
    world.prepared("good", 1, 1);
    let run = ["run", "--input", "good.csv", "--keys", "issuer.store", "--output", "other.cwf1", "--product"];
    let with = |more: &[&'static str]| [&run[..], more].concat();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &["sample", "--count", "0", "--output", "x.csv"],
            USAGE,
            &["'0'", "--count <COUNT>", "whole number from 1 to "],
        ),
        (
            &["sample", "--count", "ten", "--output", "x.csv"],
            USAGE,
            &["'ten'", "--count <COUNT>", "from 1 to "],
        ),
        (&with(&["multiap"]), PROFILE, &["no product profile \"multiap\"", "there are multiapp"]),
        (
            &with(&["plain.toml", "--created", "now"]),
            USAGE,
            &["'now'", "--created <UNIX SECONDS>", "whole number from 0"],
        ),
        (
            &with(&["plain.toml", "--kek", "476173FF"]),
            KEY_UNKNOWN,
            &["no KEK \"476173FF\"", "476173FF:", "(ISSUER:VERSION)"],
        ),
    ];
    for (args, code, words) in cases {
        says(&world.prep(args), *code, words);
    }
}

#[test]
fn an_empty_variable_is_blamed_by_its_name() {
    for name in ["CARDWRIGHT_SOCKET", "CARDWRIGHT_LEDGER"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardwright"));
        let ended: Ended = command.args(["job", "list"]).env(name, "").output().unwrap().into();
        says(&ended, USAGE, &[&format!("it is empty: name a path, or unset the variable {name}")]);
    }
}

#[test]
fn a_log_filter_that_is_wrong_is_reported() {
    for (name, value, word) in [
        ("CARDWRIGHT_LOG", "a=b=c", "CARDWRIGHT_LOG is no valid filter"),
        ("CARDWRIGHT_LOG", "warning", "write off, error, warn"),
        ("CARDWRIGHT_LOG_FORMAT", "xml", "neither json nor text"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardwright"));
        let ended: Ended = command.arg("manual").env(name, value).output().unwrap().into();
        assert_eq!(ended.code, 0);
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    }
}
