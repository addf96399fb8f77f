//! The lists on the manual's pages agree with the programs: keys of profiles, columns, fields, drivers,
//! faults, fields of papers.

use std::collections::BTreeSet;
use std::process::Command;

use cardwright::daemon::wire::{AnswerMessage, request};
use cardwright::laws::event::kinds::{KINDS, SHIFT, STOCK_ISSUED, STOCK_RETURNED, STOCK_VAULTED, TESTED};
use drivers::registry::DRIVERS;
use serde_json::Value;

use super::page::{Block, ParsedPage};
use super::{page_of, programs, repository, without_settings};

/// The events that record a person's acts with stock and shifts.
const NOTED: [u16; 5] = [STOCK_ISSUED, STOCK_RETURNED, STOCK_VAULTED, TESTED, SHIFT];

fn source(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

/// The keys of a TOML table: the public fields of its struct, under their names in TOML.
fn keys_of(source: &str, table: &str) -> Vec<String> {
    let (_, body) = source.split_once(&format!("pub struct {table} {{\n")).expect(table);
    let body = body.split("\n}\n").next().unwrap();
    let (mut keys, mut renamed, mut skipped) = (Vec::new(), None, false);
    for line in body.lines().map(str::trim) {
        if let Some((_, name)) = line.split_once("rename = \"") {
            renamed = name.split('"').next().map(str::to_owned);
        } else if line == "#[serde(skip)]" {
            // The program computes this field from the whole text, so it is no key.
            skipped = true;
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
            let name = renamed.take().unwrap_or_else(|| name.to_owned());
            if !std::mem::take(&mut skipped) {
                keys.push(name);
            }
        }
    }
    assert!(!keys.is_empty(), "{table} has no keys");
    keys
}

/// The fields of a struct of a source, as its JSON names them.
fn fields_of(source: &str, name: &str) -> Vec<String> {
    let (_, body) = source.split_once(&format!("pub struct {name} {{\n")).expect(name);
    let body = body.split("\n}\n").next().unwrap();
    let fields = body.lines().filter_map(|line| line.trim().split_once(": "));
    let fields: Vec<_> = fields.map(|(field, _)| field.to_owned()).collect();
    assert!(fields.len() > 20, "{name}: {fields:?}");
    fields
}

/// The names in a constant list of a source: the first string of each entry.
fn names_in(source: &str, list: &str, before: &str) -> Vec<String> {
    let (_, body) = source.split_once(list).expect(list);
    let body = body.split("\n];").next().unwrap();
    let names = body.split(before).skip(1).filter_map(|rest| rest.split('"').nth(1));
    let names: Vec<_> = names.map(str::to_owned).collect();
    assert!(!names.is_empty(), "{list} has no names");
    names
}

/// Whether a page has a word as code: between backticks, or as a key or table of TOML.
fn says_as_code(page: &ParsedPage, word: &str) -> bool {
    let is_table = |text: &str| {
        let names = text.trim_matches(['[', ']']).split('.');
        text.starts_with('[') && names.into_iter().any(|name| name == word)
    };
    let span = |span: &String| span == word || span.split(' ').next() == Some(word) || is_table(span);
    let toml = |block: &Block| match block {
        Block::Toml { text, .. } => text.lines().any(|line| {
            line.starts_with(&format!("{word} = ")) || is_table(line.split(' ').next().unwrap_or_default())
        }),
        _ => false,
    };
    page.spans.iter().any(span) || page.blocks.iter().any(toml)
}

/// Fails unless a page has each of these words as code.
fn says(page: &ParsedPage, words: impl IntoIterator<Item = String>) {
    let missing: Vec<_> = words.into_iter().filter(|word| !says_as_code(page, word)).collect();
    assert!(missing.is_empty(), "{} does not say {missing:?}", page.path);
}

#[test]
fn the_integrators_page_has_every_driver_and_every_fault() {
    let page = page_of("integrator");
    says(&page, DRIVERS.iter().map(|driver| driver.name.to_owned()));
    let faults = source("hwsim/src/faults/mod.rs");
    says(
        &page,
        names_in(&faults, "const KINDS: &[(FaultKind, &str, &[FaultParameter])] = &[", "(FaultKind::"),
    );
}

#[test]
fn the_issuers_page_has_every_column_field_and_table() {
    let page = page_of("issuer");
    let columns = source("src/prep/columns.rs");
    let columns = names_in(&columns, "pub const COLUMNS: &[ColumnDefinition] = &[", "Column::");
    assert!(columns.len() > 20, "{columns:?}");
    says(&page, columns);
    let fields = source("src/prep/fields/mod.rs");
    let fields = names_in(&fields, "pub const FIELDS: &[FieldDefinition] = &[", "CardField::");
    assert!(fields.len() > 30, "{fields:?}");
    says(&page, fields);
    let tables = source("src/prep/tables.rs");
    for table in [
        "PrepTables",
        "InputTable",
        "CounterTable",
        "OwnFieldTable",
        "StripeTable",
        "LineTable",
        "GraphicsTable",
        "ApplicationTable",
        "OfflineTable",
        "DataGroupTable",
    ] {
        says(&page, keys_of(&tables, table));
    }
}

/// The variants of an enum in a source file, spelled as in its JSON.
fn variants_of(source: &str, name: &str) -> Vec<String> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).expect(name);
    let body = body.split("\n}\n").next().unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let variants = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let variants: Vec<_> =
        variants.map(|line| kebab(line.split(|c: char| !c.is_alphanumeric()).next().unwrap())).collect();
    assert!(variants.len() > 3, "{name}: {variants:?}");
    variants
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(c.to_lowercase());
    }
    kebab
}

#[test]
fn the_wires_page_has_every_action_outcome_and_refusal_and_its_messages_are_real() {
    let page = page_of("daemon-wire");
    let asked = source("src/request.rs");
    for name in ["Action", "CardDecision", "StockMove", "PaperName"] {
        says(&page, variants_of(&asked, name));
    }
    says(&page, variants_of(&source("src/bureau/outcome.rs"), "Outcome"));
    says(&page, variants_of(&source("src/bureau/refusal.rs"), "Refusal"));
    // An event in an answer, of an act that was noted, say, has the fields and words of `log --json`.
    says(&page, fields_of(&source("src/report/events.rs"), "EventLine"));
    says(&page, KINDS.iter().filter(|kind| NOTED.contains(&kind.code)).map(|kind| kind.word.to_owned()));
    let blocks = page.blocks.iter().filter_map(|block| match block {
        Block::Json(text) => Some(json(text)),
        _ => None,
    });
    let (mut requests, mut answers) = (0, 0);
    for message in blocks.flatten() {
        if message.get("request").is_some() {
            requests += 1;
            assert!(request(message.to_string().as_bytes()).is_ok(), "{message}");
        } else {
            answers += 1;
            let answer: AnswerMessage = serde_json::from_value(message.clone()).unwrap();
            assert!(answer.done.is_some() != answer.refused.is_some(), "{message}");
        }
    }
    assert!(requests > 0 && answers > 1);
}

#[test]
fn the_ledgers_page_has_every_field_of_an_events_facts_and_of_an_exported_checkpoint() {
    let page = page_of("ledger-events");
    let events = source("src/report/events.rs");
    let (_, body) = events.split_once("enum FactLine {\n").unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let fields = body.lines().filter_map(|line| line.strip_prefix("        ")?.split_once(": "));
    let fields: Vec<_> = fields.map(|(field, _)| field.to_owned()).collect();
    assert!(fields.len() > 20, "{fields:?}");
    says(&page, fields);
    let proof = source("src/bureau/ledger_proof.rs");
    let (_, body) = proof.split_once("struct ExportedCheckpoint {\n").unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let lines = body.lines().filter(|line| !line.trim().starts_with('#'));
    let fields: BTreeSet<_> = lines.map(|line| line.trim().split(':').next().unwrap()).collect();
    let shown = page.blocks.iter().find_map(|block| match block {
        Block::Json(text) => Some(json(text)),
        _ => None,
    });
    assert_eq!(keys(&shown.unwrap()[0]), fields.into_iter().map(str::to_owned).collect());
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn papers_have_the_fields_that_their_page_lists() {
    let world = tempfile::tempdir().unwrap();
    let run = |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        let mut command = Command::new(programs().join(words[0]));
        without_settings(&mut command);
        let ended = command.args(&words[1..]).current_dir(world.path()).output().unwrap();
        assert!(ended.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    for side in ["issuer", "bureau"] {
        let list = repository().join(format!("tests/data/keys-{side}.toml"));
        let program = if side == "issuer" { "cardwright-prep" } else { "cardwright" };
        run(&format!("{program} key init --test --from {} --store {side}.store", list.display()));
    }
    run("cardwright-prep sample --count 1 --output a.csv");
    std::fs::copy(repository().join("tests/data/multiapp.toml"), world.path().join("plain.toml")).unwrap();
    run("cardwright-prep run --input a.csv --product plain.toml --keys issuer.store --output a.cwf1");
    run("cardwright run a.cwf1 --line sim-8 --keys bureau.store --simulate --speed 0");
    run("cardwright job delete J1 --keys bureau.store --out papers");
    let paper = |name: &str| std::fs::read_to_string(world.path().join("papers").join(name)).unwrap();

    let page = page_of("return-file");
    let shown = page.blocks.iter().find_map(|block| match block {
        Block::Json(text) => Some(json(text)),
        _ => None,
    });
    let (shown, written) = (shown.unwrap(), json(&paper("J1-return.jsonl")));
    assert_eq!(shown.len(), written.len());
    for (shown, written) in shown.iter().zip(&written) {
        assert_eq!(keys(shown), keys(written));
    }
    assert_eq!(keys(&shown[1]["fulfilment"]), keys(&written[1]["fulfilment"]));
    let seal: Value = serde_json::from_str(&paper("J1-return.jsonl.sig")).unwrap();
    let certificate: Value = serde_json::from_str(&paper("J1-certificate.json")).unwrap();
    let of = [keys(&written[0]), keys(&written[1]), keys(&seal), keys(&certificate)];
    for word in of.iter().flatten() {
        assert!(page.spans.contains(word), "{} does not say {word}", page.path);
    }
}
