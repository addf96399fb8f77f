//! The floors of `src`: which folders each folder may import. Imports go down, so there is no circle.
//!
//! `cargo test --test house_rules arrows -- --nocapture` draws the arrows as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::hold;
use crate::sources::{Source, repository, tokens};

/// The floors, from the ground up: a folder (or a file of `src`) imports only from floors below its own. Add
/// a new folder here first.
const FLOORS: &[&[&str]] = &[
    &[
        "ids",
        "exit",
        "actor",
        "arguments",
        "printable",
        "sibling_path",
        "manual",
        "panics",
        "reason",
        "version",
        "build",
    ],
    &["hardening"],
    &["wiped", "audit"],
    &["tlv", "crypto", "output_path", "request", "threads", "picture", "stdout", "files", "toml_text"],
    &["scp", "emv"],
    &["record", "laws"],
    &["hsm"],
    &["profile"],
    &["chip", "ledger"],
    &["modules"],
    &["report"],
    &["pipeline"],
    &["prep", "inspect", "signals"],
    &["bureau"],
    &["daemon"],
    &["cli"],
    &["bin"],
];

/// Imports that go up or along in spite of the rule: from, to, and the plan for them. This list only shrinks.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// For each pair of importing and imported folder, the files that import.
type Arrows<'a> = BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>;

/// The folder of `src` that a file is in, or the file itself.
fn folder(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/").filter(|inner| inner.ends_with(".rs"))?;
    let first = inner.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first)).filter(|name| *name != "lib")
}

/// The modules of the root package that the code names: `crate::a`, `crate::{a, b::c}`, in the programs
/// `cardwright::a`.
fn imports(source: &Source) -> BTreeSet<&str> {
    let tokens: Vec<&str> = tokens(&source.live).into_iter().map(|(_, token)| token).collect();
    let mut found = BTreeSet::new();
    for (at, window) in tokens.windows(3).enumerate() {
        let &["crate" | "cardwright", "::", first] = window else { continue };
        if first != "{" {
            found.insert(first);
            continue;
        }
        let mut depth = 0usize;
        let mut begins = false;
        for token in &tokens[at + 2..] {
            match *token {
                "{" => {
                    depth += 1;
                    begins = depth == 1;
                }
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                "," => begins = depth == 1,
                name => {
                    if begins {
                        found.insert(name);
                    }
                    begins = false;
                }
            }
        }
    }
    found
}

fn arrows(sources: &[Source]) -> Arrows<'_> {
    let folders: BTreeSet<&str> = sources.iter().filter_map(|s| folder(&s.path)).collect();
    let mut arrows = Arrows::new();
    for source in sources {
        let Some(from) = folder(&source.path) else { continue };
        for to in imports(source).into_iter().filter(|to| *to != from && folders.contains(to)) {
            arrows.entry((from, to)).or_default().insert(&source.path);
        }
    }
    arrows
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn upward(sources: &[Source], exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let names: BTreeSet<&str> = sources.iter().filter_map(|s| folder(&s.path)).collect();
    let homeless = names.iter().filter(|name| floor(name).is_none());
    let mut findings: Vec<String> =
        homeless.map(|name| format!("src/{name} stands on no floor of arrows.rs")).collect();
    let arrows = arrows(sources);
    let up: Vec<_> = arrows.iter().filter(|((from, to), _)| floor(from) <= floor(to)).collect();
    let is = |(from, to): &(&str, &str), (a, b, _): &(&str, &str, &str)| from == a && to == b;
    for (arrow, files) in &up {
        if !exceptions.iter().any(|exception| is(arrow, exception)) {
            let files: Vec<&str> = files.iter().copied().collect();
            findings.push(format!("`{}` imports `{}` above it: {}", arrow.0, arrow.1, files.join(", ")));
        }
    }
    let idle = exceptions.iter().filter(|exception| !up.iter().any(|(arrow, _)| is(arrow, exception)));
    findings
        .extend(idle.map(|(from, to, _)| format!("`{from}` does not import `{to}`: take it off the list")));
    findings
}

/// One line for each folder, from the top floor down: its imports, each with the number of files that import
/// it.
fn drawn(sources: &[Source]) -> String {
    let arrows = arrows(sources);
    let names: BTreeSet<&str> = sources.iter().filter_map(|s| folder(&s.path)).collect();
    let mut text = format!("{} folders and files, {} arrows; ^ goes up\n", names.len(), arrows.len());
    for (number, floor_names) in FLOORS.iter().enumerate().rev() {
        for name in floor_names.iter().filter(|name| names.contains(*name)) {
            let _ = write!(text, "{number:>3} {name:<9} ->");
            for ((_, to), files) in arrows.iter().filter(|((from, _), _)| from == name) {
                let mark = if floor(to) >= Some(number) { "^" } else { "" };
                let _ = write!(text, " {mark}{to}({})", files.len());
            }
            text.push('\n');
        }
    }
    text
}

#[test]
fn arrows_between_folders_go_down() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let ground = source("src/ids.rs", "pub struct Aid;");
    let higher = source("src/record/mod.rs", "use crate::{exit, ids::Aid, tlv::{ber, dgi}};");
    let tlv = source("src/tlv/mod.rs", "use crate::ids;\n#[cfg(test)]\nuse crate::record;");
    let program = source("src/bin/cardwright.rs", "use cardwright::record;");
    let good = [ground, higher, tlv, program];
    hold(&upward(&good, &[]));
    let found: Vec<_> = arrows(&good).into_keys().collect();
    assert_eq!(found, [("bin", "record"), ("record", "ids"), ("record", "tlv"), ("tlv", "ids")]);
    assert_eq!(upward(&good, &[("tlv", "record", "")]).len(), 1, "an exception in vain");
    for text in
        ["use crate::record;", "fn a() { crate::record::b() }", "use crate::{ids::A, record::{C, D}};"]
    {
        let bad = [source("src/tlv/mod.rs", text), source("src/record/mod.rs", "")];
        assert_eq!(upward(&bad, &[]).len(), 1, "{text}");
        hold(&upward(&bad, &[("tlv", "record", "")]));
    }
    let along = [source("src/tlv/mod.rs", "use crate::crypto;"), source("src/crypto/mod.rs", "")];
    assert_eq!(upward(&along, &[]).len(), 1, "two of one floor");
    assert_eq!(upward(&[source("src/attic/mod.rs", "")], &[]).len(), 1, "a folder without a floor");
}

#[test]
#[allow(clippy::print_stdout, reason = "draws the arrows on request")]
fn arrows_of_the_repository_go_down() {
    let sources = repository();
    println!("{}", drawn(&sources));
    hold(&upward(&sources, EXCEPTIONS));
}
