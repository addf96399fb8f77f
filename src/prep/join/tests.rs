//! The join against a plain model: lists of rows that are searched from front to back.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::prep::input::InputPlace;
use crate::prep::testing::schema;

/// A row in short: its card_ref, if it has one, and a value.
type ShortRow = (Option<String>, String);

fn row(source: usize, line: usize, (name, value): &ShortRow, column: Column) -> SourceRow {
    let file = Some(format!("source {source}").into());
    let mut row = SourceRow::at(InputPlace { file, line: line as u64 });
    let name = name.iter().map(|name| (Column::CardRef, Zeroizing::new(name.clone())));
    row.values.extend(name.chain([(column, Zeroizing::new(value.clone()))]));
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
    let mut join = Join::read(sources, &schema, room).map_err(|f| f.message).unwrap();
    let completed = first.iter().enumerate().map(|(line, short)| {
        let completed = join.complete(row(0, line, short, Column::Stock)).unwrap();
        let others = completed.others.iter().map(|other| {
            let (column, value) = other.values.iter().find(|(c, _)| **c != Column::CardRef).unwrap();
            assert!(COLUMNS.contains(column));
            (other.place.file.as_deref().unwrap().to_owned(), other.place.line, value.to_string())
        });
        others.collect()
    });
    let completed = completed.collect();
    let used_up = join.is_used_up();
    let faults: Vec<_> = std::iter::from_fn(|| join.next_rejected())
        .map(|fault| place(&fault.map_err(|f| f.message).unwrap()))
        .collect();
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
            if rows[..line].iter().any(|(before, _)| before.as_ref() == Some(name)) {
                fault("stands in an earlier line too");
            } else if !first.iter().any(|(card, _)| card.as_ref() == Some(name)) {
                fault("belongs to no card of the first input");
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
fn rows_of_one_hash_are_told_apart_by_their_card_ref() {
    // A random key makes no collision in a test, so the index gets one by hand.
    let mut index = RowIndex::default();
    let place = |source, offset| RowPlace { source, offset };
    for (hash, place) in [(7, place(1, 90)), (7, place(0, 50)), (9, place(0, 10)), (7, place(0, 20))] {
        index.add(hash, place).unwrap();
    }
    index.sort();
    let found: Vec<_> = index.with(7).map(|number| index.place(number).unwrap()).collect();
    assert_eq!(found, [place(0, 20), place(0, 50), place(1, 90)]);
    assert_eq!(index.alike(), [(place(0, 20), place(0, 50))], "of one source only");
    assert_eq!(index.with(8).count(), 0);
    index.mark(1);
    assert_eq!(index.take_unused(), [place(0, 10), place(0, 20), place(1, 90)]);
    assert!(index.add(1, place(0, 1 << 56)).is_none(), "an offset that does not fit");
}

#[test]
fn a_fault_of_reading_is_listed_before_rows_without_a_card() {
    let schema = schema();
    let at = InputPlace { file: Some("source 1".into()), line: 3 };
    let broken = InputError::Line { place: at, what: "is no line of a CSV file".into() };
    let rows = [Ok(row(1, 2, &(Some("C1".into()), "x".into()), Column::Offer)), Err(broken.clone().into())];
    let room = tempfile::tempfile().unwrap();
    let mut join = Join::read([rows.into_iter()], &schema, room).map_err(|f| f.message).unwrap();
    let faults: Vec<_> = std::iter::from_fn(|| join.next_rejected())
        .map(|fault| fault.map_err(|f| f.message).unwrap())
        .collect();
    assert_eq!(faults[0].faults, [broken]);
    assert_eq!(place(&faults[1]).2, "belongs to no card of the first input");
}
