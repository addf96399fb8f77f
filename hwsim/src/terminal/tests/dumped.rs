//! The cards of a dump.

use std::path::Path;

use serde_json::{Value, json};

use super::batch::DumpAuthentication;
use super::published::{authority, changed, chips};
use super::*;

fn write(folder: &Path, name: &str, value: &Value) {
    std::fs::write(folder.join(name), value.to_string()).unwrap();
}

fn object(chip: &Value, fate: &str) -> Value {
    json!({ "simulated": true, "keydata": "FFFFFF47617301020304", "fate": fate, "chip": chip })
}

/// A dump with these objects, and what the terminal prints for it; then whether all authenticate.
fn run(aid: &[u8], objects: &[(&str, Value)]) -> (String, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    std::fs::create_dir(&dump).unwrap();
    std::fs::write(dump.join("line.jsonl"), "{").unwrap();
    std::fs::write(dump.join(".00000009.json"), "{").unwrap();
    write(folder.path(), "ca.json", &authority());
    for (name, value) in objects {
        write(&dump, name, value);
    }
    let job = DumpAuthentication {
        dump,
        authority: folder.path().join("ca.json"),
        aid: aid.to_vec(),
        date: Some([0x26, 0x11, 0x29]),
    };
    let mut out = Vec::new();
    let ended = job.run(&mut out);
    (String::from_utf8(out).unwrap(), ended.err().map(|error| format!("{error:#}")))
}

#[test]
fn the_good_cards_of_a_dump_authenticate() {
    let [first, second] = &chips()[..] else { panic!() };
    let good = [
        ("00000001.json", object(first, "stacked")),
        ("00000002.json", object(second, "stacked")),
        ("00000003.json", object(&changed(first, 0, "0202", 9), "rejected")),
    ];
    assert_eq!(run(&PAYMENT, &good), ("2 of 2 authenticate (DDA)\n".into(), None));
    assert_eq!(run(&PURSE, &good), ("2 of 2 authenticate (certificates)\n".into(), None));
}

#[test]
fn a_card_that_fails_is_named_with_its_step() {
    let [first, second] = &chips()[..] else { panic!() };
    let (printed, error) = run(
        &PAYMENT,
        &[
            ("00000001.json", object(first, "stacked")),
            ("00000002.json", object(&changed(second, 0, "0203", 12), "stacked")),
            ("00000003.json", object(&json!({ "applications": [{}] }), "stacked")),
        ],
    );
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "00000002: ICC certificate: the hash differs");
    assert!(lines[1].starts_with("00000003: "), "{printed}");
    assert_eq!(lines[2..], ["1 of 3 authenticate (DDA)"]);
    assert_eq!(error.unwrap(), "2 of 3 cards do not authenticate");
}

#[test]
fn a_dump_without_a_good_card_is_an_error() {
    let (printed, error) = run(&PAYMENT, &[("00000001.json", object(&chips()[0], "left"))]);
    assert_eq!(printed, "0 of 0 authenticate\n");
    assert!(error.unwrap().ends_with("was stacked, so none was authenticated"));
    let (_, error) = run(&PAYMENT, &[("00000001.json", json!({}))]);
    assert!(error.unwrap().contains("00000001.json"));
}
