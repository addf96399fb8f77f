//! The recipes of `src/ARCHITECTURE.md` ("How to add"): each lists the places that a new thing touches. The
//! tests compare the list with the places that name an existing thing of that kind.

use std::collections::BTreeSet;

use crate::sources::{Source, places, repository};

type Places = BTreeSet<String>;

/// The places that a recipe lists: the words in backquotes after "which are".
fn listed(architecture: &str, recipe: &str) -> Places {
    let title = format!("- **{recipe}**");
    let start = architecture.find(&title).unwrap_or_else(|| panic!("no recipe for {recipe}"));
    let text = &architecture[start + title.len()..];
    let text = text.split("\n- **").next().unwrap();
    let list = text.split_once("which are").unwrap_or_else(|| panic!("{recipe} lists no places")).1;
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn paths<'a>(sources: impl Iterator<Item = &'a Source>) -> Places {
    sources.map(|s| s.path.clone()).collect()
}

/// The text of the map.
fn architecture(sources: &[Source]) -> &str {
    &sources.iter().find(|s| s.path == "src/ARCHITECTURE.md").expect("the map").text
}

/// The code and data that name SCP02, its own files among them. The simulated card is left out: other people
/// write it.
fn of_the_channel(sources: &[Source]) -> Places {
    let is_own = |s: &Source| s.path.starts_with("src/scp/scp02");
    let in_code = |s: &Source| {
        s.path.starts_with("src/")
            && !(places(&s.live, "scp02").is_empty() && places(&s.live, "Scp02").is_empty())
    };
    let in_data = |s: &Source| s.path.starts_with("profiles/products/") && s.text.contains("scp = \"02\"");
    paths(sources.iter().filter(|s| is_own(s) || in_code(s) || in_data(s)))
}

/// Whether a file is one of the software HSM's own, apart from its `mod.rs`.
/// Where the software HSMs of a bureau and of an issuer implement their operations.
const SIDES: [&str; 2] = ["src/hsm/soft/mod.rs", "src/hsm/soft/issuer/mod.rs"];

fn is_inside_the_hsm(s: &Source) -> bool {
    s.path.starts_with("src/hsm/soft/") && !SIDES.contains(&s.path.as_str())
}

/// The code that names the software HSM, and the folder that runs the suite on it. Its own files are left out.
fn of_the_hsm(sources: &[Source]) -> Places {
    let names = |s: &Source, words: &[&str]| words.iter().any(|word| !places(&s.code, word).is_empty());
    let in_code = |s: &Source| {
        let live = |word: &str| !places(&s.live, word).is_empty();
        s.path.starts_with("src/") && !is_inside_the_hsm(s) && (live("SoftHsm") || live("mod soft"))
    };
    let in_suite =
        |s: &Source| s.path.starts_with("tests/hsm/") && names(s, &["mod software", "pub fn make"]);
    paths(sources.iter().filter(|s| in_code(s) || in_suite(s)))
}

/// A line of the table of operations.
struct TableLine {
    /// `fn name(&mut self, first argument`, as an HSM implements it.
    method: String,
    /// Types of arguments that are messages.
    requests: Vec<String>,
}

fn operations(sources: &[Source]) -> Vec<TableLine> {
    let file = |path: &str| sources.iter().find(|s| s.path == path).expect("a file of the HSM");
    let (table, messages) =
        (file("src/hsm/operations.rs"), ["src/hsm/messages.rs", "src/hsm/issuing.rs"].map(file));
    let is_message = |word: &&str| {
        messages.iter().any(|file| !places(&file.live, &format!("pub struct {word}")).is_empty())
    };
    let lines = table.code.split("fn ").skip(1).filter_map(|line| {
        let (name, rest) = line.split_once('(')?;
        let arguments = rest.split(')').next()?.trim();
        // A function with `self` is a method, not a line of the table.
        if !places(arguments, "self").is_empty() {
            return None;
        }
        let first = arguments.split(':').next().filter(|first| !first.is_empty());
        let first = first.map(|first| format!(", {first}")).unwrap_or_default();
        let words = arguments.split(|c: char| !c.is_alphanumeric() && c != '_');
        let requests =
            words.filter(|w| w.ends_with("Request")).filter(is_message).map(str::to_owned).collect();
        Some(TableLine { method: format!("fn {name}(&mut self{first}"), requests })
    });
    lines.collect()
}

/// The places in `src/hsm` that spell an operation or its request. The software HSM's own folder is left out.
fn of_an_operation(sources: &[Source], line: &TableLine) -> Places {
    let spells = |s: &Source| {
        let word = |word: &str| !places(&s.live, word).is_empty();
        word(&line.method) || line.requests.iter().any(|request| word(&format!("pub struct {request}")))
    };
    let shared = |s: &&Source| s.path.starts_with("src/hsm/") && !is_inside_the_hsm(s);
    let mut found = paths(sources.iter().filter(shared).filter(|s| spells(s)));
    found.insert("src/hsm/operations.rs".to_owned());
    found
}

/// The code that names the action which begins a shift, or its kind.
fn of_the_command(sources: &[Source]) -> Places {
    let names =
        |s: &Source| ["BeginShift", "ActionKind::Shift"].iter().any(|word| !places(&s.live, word).is_empty());
    paths(sources.iter().filter(|s| s.path.starts_with("src/") && names(s)))
}

#[test]
fn a_list_is_read_from_its_recipe_alone() {
    let text = "- **a**: x `no` which are `src/a.rs`,\n  `b`.\n- **b**: which are `c`.\n";
    assert_eq!(listed(text, "a"), ["b", "src/a.rs"].map(str::to_owned).into());
    assert_eq!(listed(text, "b"), ["c".to_owned()].into());
}

#[test]
fn a_secure_channel_touches_the_places_of_its_recipe() {
    let mut sources = repository();
    assert_eq!(of_the_channel(&sources), listed(architecture(&sources), "a secure channel"));
    sources.push(Source::new("src/modules/a.rs", "use crate::scp::scp02::Session;"));
    assert!(of_the_channel(&sources).contains("src/modules/a.rs"));
}

#[test]
fn an_hsm_touches_the_places_of_its_recipe() {
    let mut sources = repository();
    assert_eq!(of_the_hsm(&sources), listed(architecture(&sources), "an HSM"));
    sources.push(Source::new("src/hsm/a.rs", "fn a(hsm: &SoftHsm) {}"));
    assert!(of_the_hsm(&sources).contains("src/hsm/a.rs"));
}

#[test]
fn an_hsm_operation_is_spelled_where_its_recipe_lists() {
    let mut sources = repository();
    let list = listed(architecture(&sources), "an HSM operation");
    let operations = operations(&sources);
    assert!(operations.len() > 10);
    let mut spelled = Places::new();
    for line in &operations {
        let places = of_an_operation(&sources, line);
        assert!(places.is_subset(&list) && places.len() <= 3, "{}: {places:?}", line.method);
        assert!(SIDES.iter().any(|side| places.contains(*side)), "{}: {places:?}", line.method);
        spelled.extend(places);
    }
    assert_eq!(spelled, list, "the list names no place too many");
    let stray = format!("impl A {{ {}) {{}} }}", operations[0].method);
    sources.push(Source::new("src/hsm/client.rs", &stray));
    assert!(!of_an_operation(&sources, &operations[0]).is_subset(&list));
}

#[test]
fn an_operator_command_touches_the_places_of_its_recipe() {
    let mut sources = repository();
    // The kind is defined in `src/request.rs` as `Shift`, and named as `ActionKind::Shift` elsewhere.
    assert_eq!(of_the_command(&sources), listed(architecture(&sources), "an operator command"));
    sources.push(Source::new("src/ledger/a.rs", "fn a() { b(Action::BeginShift) }"));
    assert!(of_the_command(&sources).contains("src/ledger/a.rs"));
}
