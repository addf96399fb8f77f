//! Secrets stay where they belong. A job with every fault runs with all logs on; then all output and all
//! files are searched for every key, PIN, clear DGI, account and name, in every form. The search proves
//! itself: it finds the content of the cards in the dumps, and every leak that is planted.

mod complaints;
mod forms;
mod memory;
mod needles;
mod pages;
mod planted;
mod process;
mod scene;
mod search;
mod wire;

pub use process::child_with;
use scene::{CARDS, Evidence, FAULTS, Scene};
use search::{Kind, Needle, Search, account_numbers};

/// At most this many leaks are shown; more would not help.
const SHOWN: usize = 40;

/// All forbidden values that were found: their name, place and form.
fn leaks(search: &Search, evidence: &[Evidence]) -> Vec<String> {
    let mut leaks = Vec::new();
    for Evidence { name, bytes, of_cardholders } in evidence {
        for (needle, form) in search.find(bytes) {
            let Needle { name: needle, kind, .. } = &search.needles[needle];
            if !of_cardholders || *kind != Kind::Holder {
                leaks.push(format!("{name}: {needle} as {form}"));
            }
        }
        for at in account_numbers(bytes).into_iter().filter(|_| !of_cardholders) {
            let around = String::from_utf8_lossy(&bytes[at.saturating_sub(20)..bytes.len().min(at + 25)]);
            leaks.push(format!("{name}: digits that could be an account number: {around}"));
        }
        if bytes.windows(8).any(|w| w == b"panicked") {
            leaks.push(format!("{name}: a panic"));
        }
    }
    leaks
}

/// The dumps, in which the search must find the content of the cards.
fn dumped(scene: &Scene) -> Vec<u8> {
    scene.world.dumps().iter().flat_map(|dump| dump.to_string().into_bytes()).collect()
}

/// The search for a scene's needles. Fails unless it finds in the dumps all that the cards hold.
fn prepared(scene: &Scene) -> Search {
    let search = Search::new(scene.needles());
    let found = search.find(&dumped(scene));
    for (place, needle) in search.needles.iter().enumerate() {
        let on_card = matches!(needle.kind, Kind::Secret | Kind::Holder);
        assert!(!on_card || found.contains_key(&place), "{} is in no dump", needle.name);
    }
    search
}

fn no_leaks(search: &Search, evidence: &[Evidence]) {
    let leaks = leaks(search, evidence);
    assert!(leaks.is_empty(), "{} leaks\n{}", leaks.len(), leaks[..leaks.len().min(SHOWN)].join("\n"));
}

fn nothing_leaks(format: &str, seed: u32) {
    let mut scene = Scene::new(format);
    scene.prepare(CARDS, seed);
    scene.job();
    complaints::of_the_line(&mut scene);
    assert_eq!(scene.struck(), FAULTS.len(), "every fault");
    assert!(std::fs::read_dir(scene.world.path("tmp")).unwrap().next().is_none(), "left behind");

    let search = prepared(&scene);
    let evidence = scene.evidence();
    for part in [
        "events.jsonl",
        "report.json",
        "cardwright.db",
        "cardwright.db-lock",
        "standard error of cardwright run",
    ] {
        assert!(evidence.iter().any(|e| e.name.starts_with(part) && !e.bytes.is_empty()), "{part}");
    }
    no_leaks(&search, &evidence);
    planted::all_are_found(&search, &evidence);
}

#[test]
fn nothing_leaks_from_a_job_with_every_fault_logged_as_text() {
    nothing_leaks("text", 11);
}

#[test]
fn nothing_leaks_from_a_job_with_every_fault_logged_as_json() {
    nothing_leaks("json", 12);
}

#[test]
fn nothing_leaks_from_complaints_about_input() {
    let mut scene = Scene::new("text");
    scene.prepare(8, 13);
    scene.plain_job();
    complaints::of_input(&mut scene);
    no_leaks(&prepared(&scene), &scene.evidence());
}
