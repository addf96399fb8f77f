//! The look of the repository: its top level, the opening and length of files, no unfinished code.

use std::fs;

use crate::sources::{Source, named, repository};
use crate::{every, finds, hold};

/// Everything on the top level except dot-files and `target`, which belongs to the build and is not
/// committed.
const TOP_LEVEL: [&str; 16] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "benches",
    "clippy.toml",
    "deny.toml",
    "drivers",
    "hwsim",
    "profiles",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "src",
    "target",
    "tests",
];

/// The longest source file, in lines.
const LINES_MAX: usize = 800;

fn top_level(names: &[String]) -> Vec<String> {
    let stray = names.iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()));
    stray.map(|name| format!("{name}: not a name of the top level")).collect()
}

#[test]
fn the_top_level_holds_only_what_the_design_names() {
    assert_eq!(top_level(&["notes.txt".into(), "src".into(), ".ci".into()]).len(), 1);
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let names: Vec<String> =
        fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    hold(&top_level(&names));
}

fn opens_with_its_purpose(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        let good = !s.is_rust() || s.text.starts_with("//! ");
        if good { vec![] } else { vec![s.finding(0, "does not open with `//!`")] }
    })
}

#[test]
fn every_source_file_opens_with_its_purpose() {
    finds(
        opens_with_its_purpose,
        &[("src/a.rs", "fn a() {}"), ("tests/a.rs", "#![allow(x)]\n//! A."), ("src/b.rs", "")],
        &[("src/a.rs", "//! A.\nfn a() {}"), ("a.toml", "[a]")],
    );
    hold(&opens_with_its_purpose(&repository()));
}

fn small(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        let lines = s.text.lines().count();
        let good = !s.is_rust() || lines <= LINES_MAX;
        if good { vec![] } else { vec![format!("{}: {lines} lines, more than {LINES_MAX}", s.path)] }
    })
}

#[test]
fn no_source_file_is_too_long() {
    finds(
        small,
        &[("src/a.rs", &"x\n".repeat(801))],
        &[("src/a.rs", &"x\n".repeat(800)), ("a.csv", &"x\n".repeat(999))],
    );
    hold(&small(&repository()));
}

fn unfinished(sources: &[Source]) -> Vec<String> {
    every(sources, |s| named(s, &s.code, &["todo!", "unimplemented!", "#[ignore"], "is unfinished work"))
}

#[test]
fn nothing_is_left_unfinished_or_ignored() {
    finds(
        unfinished,
        &[
            ("src/a.rs", "fn a() { todo!() }"),
            ("hwsim/src/a.rs", "fn a() { std::unimplemented!(\"x\") }"),
            ("tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}"),
        ],
        &[("src/a.rs", "// todo!()\nconst A: &str = \"todo!()\"; fn todo() {} /* #[ignore] */")],
    );
    hold(&unfinished(&repository()));
}
