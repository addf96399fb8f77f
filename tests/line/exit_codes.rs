//! The table of exit codes that operators read is the one that the programs use.

use std::collections::BTreeMap;

const README: &str = include_str!("../../README.md");
const EXIT: &str = include_str!("../../src/exit.rs");

/// `| code | meaning |` under the heading, by code.
fn readme() -> BTreeMap<u8, &'static str> {
    let (_, section) = README.split_once("## Exit codes\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows =
        section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let mut table = BTreeMap::new();
    for (code, meaning) in rows.filter(|(code, _)| *code != "code") {
        let twice = table.insert(code.parse().unwrap(), meaning);
        assert!(twice.is_none(), "{code} stands twice");
    }
    table
}

/// `Name = code,` of the enum, with the first line of the comment before it.
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
fn the_readme_lists_every_exit_code_and_no_other() {
    let (readme, source) = (readme(), source());
    assert!(source.len() > 20, "{source:?}");
    assert_eq!(readme.keys().collect::<Vec<_>>(), source.keys().collect::<Vec<_>>());
    assert!(readme.values().chain(source.values()).all(|meaning| !meaning.is_empty()));
}
