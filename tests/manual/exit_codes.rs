//! The manual's table of exit codes agrees with the programs.

use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../src/manual/exit-codes.md");
const EXIT: &str = include_str!("../../src/exit.rs");

/// The rows `| code | meaning | what to do |` of the manual's page, by code.
fn manual() -> BTreeMap<u8, &'static str> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let mut table = BTreeMap::new();
    for (code, meaning) in rows.filter(|(code, _)| *code != "code") {
        let twice = table.insert(code.parse().unwrap(), meaning);
        assert!(twice.is_none(), "{code} stands twice");
    }
    table
}

/// The variants `Name = code,` of the enum, each with the first line of its comment.
fn source() -> BTreeMap<u8, &'static str> {
    let (_, body) = EXIT.split_once("pub enum Exit {\n").unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let (mut table, mut comment) = (BTreeMap::new(), "");
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            comment = text;
        } else {
            let (name, code) = line.strip_suffix(',').unwrap().split_once(" = ").unwrap();
            assert!(name.chars().all(char::is_alphanumeric), "{line}");
            assert!(table.insert(code.parse().unwrap(), comment).is_none(), "{code} stands twice");
        }
    }
    table
}

#[test]
fn the_manual_lists_every_exit_code_and_no_other() {
    let (manual, source) = (manual(), source());
    assert!(source.len() > 20, "{source:?}");
    assert_eq!(manual.keys().collect::<Vec<_>>(), source.keys().collect::<Vec<_>>());
    assert!(manual.values().chain(source.values()).all(|meaning| !meaning.is_empty()));
}
