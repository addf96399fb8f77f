//! The join against a plain model: lists of rows that are searched from front to back.

use proptest::prelude::*;

use super::*;
use crate::prep::input::InputPlace;
use crate::prep::testing::schema;

/// A row in short: its card_ref, if it has one, and a value.
type ShortRow = (Option<String>, String);

fn row(source: usize, line: usize, (name, value): &ShortRow, column: Column) -> SourceRow {
    let file = Some(format!("source {source}").into());
    let mut row = SourceRow::at(InputPlace { file, line: line as u64 });
    name.iter().for_each(|name| row.values.insert(Column::CardRef, name));
    row.values.insert(column, value);
    row
}

fn place(fault: &RejectedLine) -> (String, u64, String) {
    match fault.faults.as_slice() {
        [InputError::Value { place, column, what }] if column == "card_ref" => {
            (place.file.as_deref().unwrap().to_owned(), place.line, what.clone())
        }
        other => panic!("{other:?}"),
    }
}

const COLUMNS: [Column; 3] = [Column::Member, Column::Offer, Column::Points];

/// What the join gives: for each row of the first source the others' values, and the faults.
type Joined = (Vec<Vec<(String, u64, String)>>, Vec<(String, u64, String)>);

fn joined(first: &[ShortRow], others: &[Vec<ShortRow>]) -> Joined {
    let schema = schema();
    let sources = others.iter().enumerate().map(|(source, rows)| {
        let rows = rows.iter().enumerate();
        rows.map(move |(line, short)| Ok(row(source + 1, line, short, COLUMNS[source])))
    });
    let room = tempfile::tempfile().unwrap();
    let rows = || first.iter().enumerate().map(|(line, short)| row(0, line, short, Column::Stock));
    let mut join = Join::read(rows().map(Ok), sources, &schema, room).map_err(|f| f.message).unwrap();
    // A reading that ends early leaves nothing behind for the next.
    rows().take(3).for_each(|row| drop(join.complete(row).unwrap()));
    join.begin();
    let completed = rows().map(|row| {
        let completed = join.complete(row).unwrap();
        let others = completed.others.iter().map(|other| {
            let (column, value) = other.values.iter().find(|(c, _)| *c != Column::CardRef).unwrap();
            assert!(COLUMNS.contains(&column));
            (other.place.file.as_deref().unwrap().to_owned(), other.place.line, value.to_string())
        });
        others.collect()
    });
    let completed = completed.collect();
    let used_up = join.is_used_up();
    let faults: Vec<_> = std::iter::from_fn(|| join.next_rejected()).map(|fault| place(&fault)).collect();
    assert_eq!(used_up, faults.is_empty());
    (completed, faults)
}

fn expected(first: &[ShortRow], others: &[Vec<ShortRow>]) -> Joined {
    let named = |source: usize| format!("source {}", source + 1);
    let completed = first.iter().map(|(name, _)| {
        let others = others.iter().enumerate().flat_map(|(source, rows)| {
            // A repeated row is a fault, and no card gets it.
            let mut same = rows.iter().enumerate().filter(|(_, (other, _))| name.is_some() && other == name);
            same.next().map(move |(line, (_, value))| (named(source), line as u64, value.clone()))
        });
        others.collect()
    });
    let mut faults = Vec::new();
    for (source, rows) in others.iter().enumerate() {
        for (line, (name, _)) in rows.iter().enumerate() {
            let mut fault = |what: &str| faults.push((named(source), line as u64, what.to_owned()));
            let Some(name) = name else {
                fault("is empty");
                continue;
            };
            if !first.iter().any(|(card, _)| card.as_ref() == Some(name)) {
                fault("belongs to no card of the first input");
            } else if rows[..line].iter().any(|(before, _)| before.as_ref() == Some(name)) {
                fault("stands in an earlier line too");
            }
        }
    }
    (completed.collect(), faults)
}

fn rows() -> impl Strategy<Value = Vec<ShortRow>> {
    let name = proptest::option::weighted(0.9, (0u8..12).prop_map(|n| format!("C{n}")));
    proptest::collection::vec((name, "[ -~]{1,40}"), 0..16)
}

proptest! {
    #[test]
    fn it_finds_what_a_search_finds(first in rows(), others in proptest::collection::vec(rows(), 1..4)) {
        let (completed, mut faults) = joined(&first, &others);
        let (expected, mut expected_faults) = expected(&first, &others);
        prop_assert_eq!(completed, expected);
        faults.sort();
        expected_faults.sort();
        prop_assert_eq!(faults, expected_faults);
    }
}

#[test]
fn a_first_source_that_changes_gets_no_rows_of_another_card() {
    let schema = schema();
    let card = |name: &str| row(0, 1, &(Some(name.into()), "x".into()), Column::Stock);
    let other = row(1, 2, &(Some("C1".into()), "y".into()), Column::Offer);
    let room = tempfile::tempfile().unwrap();
    let first = ["C1", "C2"].map(|name| Ok(card(name))).into_iter();
    let mut join =
        Join::read(first, [[Ok(other)].into_iter()], &schema, room).map_err(|f| f.message).unwrap();
    assert_eq!(join.complete(card("C1")).unwrap().others.len(), 1);
    assert_eq!(join.complete(card("C2")).unwrap().others.len(), 0);
    join.begin();
    let fault = join.complete(card("C2")).err().unwrap().faults.remove(0);
    assert!(matches!(fault, InputError::Io(_)), "{fault}");
}

#[test]
fn a_fault_of_reading_is_listed_before_rows_without_a_card() {
    let schema = schema();
    let at = InputPlace { file: Some("source 1".into()), line: 3 };
    let broken = InputError::Line { place: at, what: "is no line of a CSV file".into() };
    let rows = [Ok(row(1, 2, &(Some("C1".into()), "x".into()), Column::Offer)), Err(broken.clone().into())];
    let room = tempfile::tempfile().unwrap();
    let none = std::iter::empty();
    let mut join = Join::read(none, [rows.into_iter()], &schema, room).map_err(|f| f.message).unwrap();
    let faults: Vec<_> = std::iter::from_fn(|| join.next_rejected()).collect();
    assert_eq!(faults[0].faults, [broken]);
    assert_eq!(place(&faults[1]).2, "belongs to no card of the first input");
}
