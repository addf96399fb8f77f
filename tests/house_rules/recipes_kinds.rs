//! The recipe of `src/ARCHITECTURE.md` for a MIC or module kind lists the places that one kind touches. This test
//! compares the list with the files that name the embosser.

use std::collections::BTreeSet;

use crate::sources::{Source, repository};

/// The recipe's title.
const RECIPE: &str = "- **a MIC or module kind**";

/// The embosser's MICs and its word in line profiles.
const STRINGS: [&str; 3] = ["EMB", "IND", "embosser"];

/// The files that the recipe lists: those in backquotes after "which are".
fn listed(architecture: &str) -> BTreeSet<String> {
    let recipe = architecture.split_once(RECIPE).expect("the recipe").1.split("\n- **").next().unwrap();
    let list = recipe.split_once("which are").expect("the recipe's list of places").1;
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The controller's files whose code, tests left out, names the embosser or has its words as strings.
fn naming(sources: &[Source]) -> BTreeSet<String> {
    let names = |s: &&Source| {
        s.live.to_lowercase().contains("emboss")
            || s.live_strings().any(|(_, text)| STRINGS.contains(&text.trim_end_matches('"')))
    };
    let controller = sources.iter().filter(|s| s.path.starts_with("src/"));
    controller.filter(names).map(|s| s.path.clone()).collect()
}

#[test]
fn a_module_kind_touches_the_places_that_its_recipe_lists() {
    let mut sources = repository();
    let architecture = sources.iter().find(|s| s.path == "src/ARCHITECTURE.md").expect("the map");
    let listed = listed(&architecture.text);
    assert_eq!(naming(&sources), listed);
    for text in ["fn a(kind: Kind) { kind == Kind::Embosser; }", "const A: &str = \"IND\";"] {
        sources.push(Source::new("src/profile/a.rs", text));
        assert!(naming(&sources).contains("src/profile/a.rs"), "{text}");
        sources.pop();
    }
    sources.push(Source::new(
        "src/profile/a.rs",
        "// The embosser.\n#[cfg(test)]\nmod tests { const A: &str = \"IND\"; }",
    ));
    assert_eq!(naming(&sources), listed, "comments and tests are no places");
}
