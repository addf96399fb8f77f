//! Names: the name of a type has one meaning in the whole tree, so that a search for it finds that type.

use std::collections::{BTreeMap, BTreeSet};

use crate::hold;
use crate::sources::{Source, repository, tokens};

/// Names that may stand in several files, and why.
const SHARED: &[(&str, &str)] = &[];

/// Names that stand in several files by mistake: none at present. This list only shrinks.
const TO_RENAME: &[&str] = &[];

/// The crates that share one vocabulary.
const CRATES: [&str; 3] = ["src/", "drivers/src/", "hwsim/src/"];

/// The types that code defines: structs, enums, unions, traits, and type names outside of traits and
/// implementations.
fn defined(source: &Source) -> BTreeSet<&str> {
    let tokens = tokens(&source.live);
    let mut depth = 0usize;
    let mut names = BTreeSet::new();
    for (at, (_, token)) in tokens.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            "struct" | "enum" | "union" | "trait" | "type" if *token != "type" || depth == 0 => {
                let name = tokens.get(at + 1).map(|(_, name)| *name);
                names.extend(name.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())));
            }
            _ => {}
        }
    }
    names
}

/// Every name with the files that define it.
fn places(sources: &[Source]) -> BTreeMap<&str, Vec<&str>> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in sources.iter().filter(|s| s.is_rust() && s.within(&CRATES)) {
        for name in defined(source) {
            places.entry(name).or_default().push(&source.path);
        }
    }
    places
}

fn in_several_files(sources: &[Source], known: &[&str]) -> Vec<String> {
    let places = places(sources);
    let several = |name: &str| places.get(name).is_some_and(|files| files.len() > 1);
    let new = places.iter().filter(|(name, files)| files.len() > 1 && !known.contains(name));
    let new =
        new.map(|(name, files)| format!("`{name}` is a type in {}: rename all but one", files.join(", ")));
    let old = known.iter().filter(|name| !several(name));
    let old = old.map(|name| format!("`{name}` stands in one file now: take it off the list in names.rs"));
    new.chain(old).collect()
}

#[test]
fn a_type_name_stands_in_one_file() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let bad = [
        source("src/a.rs", "struct Line;"),
        source("hwsim/src/b.rs", "pub(crate) enum Line<T> { A }"),
        source("drivers/src/c.rs", "type Line = u8;\n#[cfg(test)]\nmod tests { struct Card; }"),
        source("src/d.rs", "impl A for B { type Card = u8; }\nstruct Card;"),
    ];
    let found = in_several_files(&bad, &[]);
    assert_eq!(found, ["`Line` is a type in src/a.rs, hwsim/src/b.rs, drivers/src/c.rs: rename all but one"]);
    assert!(in_several_files(&bad, &["Line"]).is_empty());
    assert_eq!(in_several_files(&bad, &["Line", "Card"]).len(), 1, "a name that is listed in vain");
    let known: Vec<&str> = SHARED.iter().map(|(name, _)| *name).chain(TO_RENAME.iter().copied()).collect();
    hold(&in_several_files(&repository(), &known));
}
