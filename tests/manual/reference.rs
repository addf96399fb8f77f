//! The page of profiles shows every key of the parser and no other.
//!
//! The parser itself says which keys a table has: a table with one key too many is refused, and the error lists the right
//! ones. A table whose keys are names (of stations, columns, slots) takes any.

use std::collections::BTreeSet;

use cardwright::modules::LineProfile;
use cardwright::prep::tables::PrepFile;
use cardwright::profile::ProductProfile;
use hwsim::profile::SimTable;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::page::Block;
use super::page_of;

/// A key that no table has.
const FOREIGN: &str = "no_such_key";
/// The tables whose keys are names.
const NAMED: [&str; 7] = [
    "link",
    "attach",
    "prep.columns",
    "prep.defaults",
    "prep.fields",
    "prep.graphics.text",
    "prep.graphics.images",
];

/// The message of the parser about a table; `None` if it takes it.
type Refusal = fn(&Table) -> Option<String>;

fn refusal<T: DeserializeOwned>(table: &Table) -> Option<String> {
    toml::from_str::<T>(&toml::to_string(table).unwrap()).err().map(|error| error.message().to_owned())
}

/// The tables of a table, with their paths: itself, and all inside. Of a list of tables each is one.
fn tables(table: &Table, path: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut found = vec![(path.to_owned(), table.keys().cloned().collect())];
    for (key, value) in table {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        found.extend(inside(value, &inner));
    }
    found
}

fn inside(value: &Value, path: &str) -> Vec<(String, BTreeSet<String>)> {
    match value {
        Value::Table(table) => tables(table, path),
        Value::Array(list) => {
            list.iter().enumerate().flat_map(|(n, item)| inside(item, &format!("{path}.{n}"))).collect()
        }
        _ => vec![],
    }
}

/// The table at a path.
fn at<'t>(table: &'t mut Table, path: &str) -> &'t mut Table {
    let mut steps = path.split('.').filter(|step| !step.is_empty());
    let Some(first) = steps.next() else { return table };
    let found = steps.fold(&mut table[first], |value, step| match value {
        Value::Array(list) => &mut list[step.parse::<usize>().unwrap()],
        other => &mut other[step],
    });
    found.as_table_mut().unwrap()
}

/// The keys that the parser has for the table at a path; `None` if its keys are names.
fn keys(whole: &Table, path: &str, refusal: Refusal) -> Option<BTreeSet<String>> {
    let mut changed = whole.clone();
    at(&mut changed, path).insert(FOREIGN.to_owned(), Value::Boolean(true));
    let says = refusal(&changed).unwrap_or_default();
    let (_, expected) = says.split_once(&format!("unknown field `{FOREIGN}`, expected "))?;
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// The differences between a block of the page and the parser, below a path.
fn differences(whole: &Table, root: &str, refusal: Refusal) -> Vec<String> {
    let mut found: Vec<_> =
        refusal(whole).map(|says| format!("the parser refuses the block: {says}")).into_iter().collect();
    let mut compared = 0;
    for (path, shown) in tables(whole, "").into_iter().filter(|(path, _)| path.starts_with(root)) {
        match keys(whole, &path, refusal) {
            Some(keys) => {
                compared += 1;
                let missing: Vec<_> = keys.difference(&shown).collect();
                if !missing.is_empty() {
                    found.push(format!("[{path}] does not show {missing:?}"));
                }
            }
            None if NAMED.contains(&path.as_str()) => {}
            None => found.push(format!("the parser does not say which keys [{path}] has")),
        }
    }
    assert!(compared > 1, "[{root}] has no tables");
    found
}

/// The page's two blocks: a line and a product.
fn blocks() -> (Table, Table) {
    let blocks = page_of("profiles").blocks;
    let mut texts = blocks.iter().filter_map(|block| match block {
        Block::Toml { text, .. } => Some(text.parse::<Table>().unwrap()),
        _ => None,
    });
    (texts.next().unwrap(), texts.next().unwrap())
}

/// A block without one of its tables, which another parser reads.
fn without(mut table: Table, key: &str) -> (Table, Table) {
    let taken = table.remove(key).unwrap();
    (table, taken.as_table().unwrap().clone())
}

#[test]
fn the_page_of_profiles_shows_every_key_of_the_parser_and_no_other() {
    let (line, product) = blocks();
    let (line, sim) = without(line, "sim");
    let (bureaus, _) = without(product.clone(), "prep");
    let found = [
        differences(&line, "", refusal::<LineProfile>),
        differences(&sim, "", refusal::<SimTable>),
        // The tables of the other parser are for it what they are.
        differences(&bureaus, "", refusal::<ProductProfile>).into_iter().collect(),
        differences(&product, "prep", refusal::<PrepFile>),
    ]
    .concat();
    let left: Vec<_> = found
        .iter()
        // Read by a parser of its own, above.
        .filter(|found| {
            !["[] does not show [\"sim\"]", "[] does not show [\"prep\"]"].contains(&found.as_str())
        })
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_key_too_few_or_too_many_is_found() {
    let (_, product) = blocks();
    let mut fewer = product.clone();
    at(&mut fewer, "prep.application.0.dgi.0").remove("enc").unwrap();
    let found = differences(&fewer, "prep", refusal::<PrepFile>);
    assert_eq!(found, ["[prep.application.0.dgi.0] does not show [\"enc\"]"]);
    let mut more = product;
    at(&mut more, "prep.application.0.offline.card_key").insert("size".into(), Value::Integer(1));
    let found = differences(&more, "prep", refusal::<PrepFile>);
    assert!(found[0].contains("unknown field `size`"), "{found:?}");
}
