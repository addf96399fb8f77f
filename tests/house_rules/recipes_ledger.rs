//! "How to add a ledger event" in `src/ARCHITECTURE.md` names exactly the places that an event needs. The
//! test compares it with the places of the event that it gives as its example.

use std::collections::BTreeSet;

use crate::sources::{Source, repository};

/// The recipe's example.
const FACT: &str = "ValueGiven";
/// Its code in the table of kinds.
const KIND: &str = "VALUE";
/// The file that holds the recipe.
const MAP: &str = "src/ARCHITECTURE.md";
const BEGIN: &str = "- **a ledger event**";

/// Paths of Rust files that the recipe names.
fn named(map: &str) -> BTreeSet<String> {
    let recipe = map.split(BEGIN).nth(1).unwrap_or_default();
    let end = recipe.find("\n- **").unwrap_or(recipe.len());
    let parts = recipe[..end].split('`');
    parts.filter(|part| part.starts_with("src/") && part.ends_with(".rs")).map(str::to_owned).collect()
}

/// Files whose code names the example.
fn places(sources: &[Source]) -> BTreeSet<String> {
    let names = |source: &&Source| {
        let words = |word: &str| {
            let mut parts = source.code.split(|c: char| !c.is_alphanumeric() && c != '_');
            parts.any(|part| part == word)
        };
        let in_ledger = ["src/laws/", "src/ledger/"].iter().any(|folder| source.path.starts_with(folder));
        source.path.starts_with("src/") && (words(FACT) || in_ledger && words(KIND))
    };
    sources.iter().filter(names).map(|source| source.path.clone()).collect()
}

fn differences(sources: &[Source]) -> Vec<String> {
    let map = sources.iter().find(|source| source.path == MAP).map_or("", |source| &source.text);
    let (named, places) = (named(map), places(sources));
    let missing = places.difference(&named).map(|path| format!("{MAP}: the recipe does not name {path}"));
    let stale = named.difference(&places).map(|path| format!("{MAP}: {path} does not need the event"));
    missing.chain(stale).collect()
}

#[test]
fn the_recipe_of_a_ledger_event_names_its_places() {
    let recipe = format!("{BEGIN}: `src/a.rs`, then `src/ledger/b.rs`.\n- **else**: `src/c.rs`.");
    let source = |path, text: &str| Source::new(path, text);
    let right = [
        source(MAP, &recipe),
        source("src/a.rs", "enum A { ValueGiven }"),
        source("src/ledger/b.rs", "const VALUE: u16 = 1; // ValueGiven"),
        source("src/c.rs", "// ValueGiven\nfn values_given() {}"),
    ];
    assert_eq!(differences(&right), [""; 0]);
    let (missing, stale) = (source("src/c.rs", "A::ValueGiven"), source("src/ledger/b.rs", "fn b() {}"));
    let [map, a, b, c] = right;
    assert_eq!(differences(&[map, a, b, missing]).len(), 1);
    let again = [source(MAP, &recipe), source("src/a.rs", "ValueGiven"), stale, c];
    assert_eq!(differences(&again).len(), 1);
    crate::hold(&differences(&repository()));
}
