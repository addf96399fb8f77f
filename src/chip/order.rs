//! The order in which the DGIs of an application go to the card, and the DGIs that share a command: ORDER and GROUP of
//! the processing instructions (EMV CPS 4.3.4).
//!
//! ORDER groups are sent in their order; DGIs not named keep file order; a group stands where its first member stands.
//! A GROUP stands where its earliest member stands, or as much later as ORDER asks.

use std::collections::{BTreeMap, BTreeSet};

use super::PlanError;
use crate::ids::Dgi;

/// The sequence of units: each is one DGI, or the members of a GROUP. Every DGI of `file` stands in exactly one.
///
/// `file` has every DGI once; a DGI that is not in it, one named twice in ORDER or in GROUP, or lists that contradict
/// each other, are errors.
pub(super) fn units(
    file: &[Dgi],
    order: &[Vec<Dgi>],
    group: &[Vec<Dgi>],
) -> Result<Vec<Vec<Dgi>>, PlanError> {
    let known: BTreeSet<Dgi> = file.iter().copied().collect();
    check_list(&known, order)?;
    check_list(&known, group)?;
    let sequence = sequence(file, order);
    let place: BTreeMap<Dgi, usize> = sequence.iter().enumerate().map(|(i, d)| (*d, i)).collect();

    let grouped: BTreeSet<Dgi> = group.iter().flatten().copied().collect();
    let mut units: Vec<Vec<Dgi>> = group.iter().filter(|g| !g.is_empty()).cloned().collect();
    for unit in &mut units {
        unit.sort_by_key(|d| place.get(d));
    }
    units.extend(sequence.iter().filter(|d| !grouped.contains(d)).map(|d| vec![*d]));
    units.sort_by_key(|unit| unit.first().and_then(|d| place.get(d)));
    in_order(units, order)
}

/// Sends always the earliest unit that ORDER does not hold back.
fn in_order(units: Vec<Vec<Dgi>>, order: &[Vec<Dgi>]) -> Result<Vec<Vec<Dgi>>, PlanError> {
    let unit_of: BTreeMap<Dgi, usize> =
        units.iter().enumerate().flat_map(|(i, unit)| unit.iter().map(move |d| (*d, i))).collect();
    let mut edges: BTreeSet<(usize, usize)> = BTreeSet::new();
    for list in order {
        for (before, after) in list.iter().zip(list.iter().skip(1)) {
            if let (Some(before), Some(after)) = (unit_of.get(before), unit_of.get(after))
                && before != after
            {
                edges.insert((*before, *after));
            }
        }
    }
    let mut held_by: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, after) in &edges {
        *held_by.entry(*after).or_default() += 1;
    }
    let mut ready: BTreeSet<usize> = (0..units.len()).filter(|i| !held_by.contains_key(i)).collect();
    let mut sent = Vec::with_capacity(units.len());
    while let Some(next) = ready.pop_first() {
        sent.extend(units.get(next).cloned());
        for (_, after) in edges.range((next, 0)..=(next, usize::MAX)) {
            if let Some(count) = held_by.get_mut(after) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(*after);
                }
            }
        }
    }
    // What is left waits in a circle.
    if sent.len() == units.len() { Ok(sent) } else { Err(PlanError::OrderAgainstGroup) }
}

/// File order with every ORDER group at the place of its first member.
fn sequence(file: &[Dgi], order: &[Vec<Dgi>]) -> Vec<Dgi> {
    let list_of: BTreeMap<Dgi, &Vec<Dgi>> =
        order.iter().flat_map(|list| list.iter().map(move |d| (*d, list))).collect();
    let mut sequence = Vec::with_capacity(file.len());
    for dgi in file {
        match list_of.get(dgi) {
            Some(list) if list.first() == Some(dgi) => sequence.extend_from_slice(list),
            Some(_) => {}
            None => sequence.push(*dgi),
        }
    }
    sequence
}

/// Every DGI named is in the file, and none twice.
fn check_list(known: &BTreeSet<Dgi>, lists: &[Vec<Dgi>]) -> Result<(), PlanError> {
    let mut seen = BTreeSet::new();
    for dgi in lists.iter().flatten() {
        if !known.contains(dgi) {
            return Err(PlanError::Absent(*dgi));
        }
        if !seen.insert(*dgi) {
            return Err(PlanError::Twice(*dgi));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dgis(numbers: &[u16]) -> Vec<Dgi> {
        numbers.iter().map(|n| Dgi(*n)).collect()
    }

    fn run(file: &[u16], order: &[&[u16]], group: &[&[u16]]) -> Result<Vec<Vec<u16>>, PlanError> {
        let order: Vec<_> = order.iter().map(|l| dgis(l)).collect();
        let group: Vec<_> = group.iter().map(|l| dgis(l)).collect();
        let units = units(&dgis(file), &order, &group)?;
        Ok(units.into_iter().map(|u| u.into_iter().map(|d| d.0).collect()).collect())
    }

    #[test]
    fn without_lists_file_order_stays() {
        assert_eq!(run(&[3, 1, 2], &[], &[]).unwrap(), [[3], [1], [2]]);
    }

    #[test]
    fn an_order_group_stands_where_its_first_member_stands() {
        assert_eq!(run(&[1, 2, 3, 4], &[&[2, 4]], &[]).unwrap(), [[1], [2], [4], [3]]);
        assert_eq!(run(&[1, 2, 3, 4], &[&[3, 1]], &[]).unwrap(), [[2], [3], [1], [4]]);
        assert_eq!(run(&[1, 2, 3, 4], &[&[4, 1], &[3, 2]], &[]).unwrap(), [[3], [2], [4], [1]]);
    }

    #[test]
    fn a_group_stands_at_its_earliest_member_unless_order_holds_it_back() {
        assert_eq!(run(&[1, 2, 3], &[], &[&[3, 1]]).unwrap(), [vec![1, 3], vec![2]]);
        // 3 must come after 2: the group waits.
        assert_eq!(run(&[1, 2, 3], &[&[2, 3]], &[&[1, 3]]).unwrap(), [vec![2], vec![1, 3]]);
        // Inside a group, ORDER rules too.
        assert_eq!(run(&[1, 2, 3], &[&[3, 1]], &[&[1, 3]]).unwrap(), [vec![2], vec![3, 1]]);
    }

    #[test]
    fn contradictions_and_foreign_dgis_are_errors() {
        assert_eq!(run(&[1, 2, 3], &[&[1, 2, 3]], &[&[1, 3]]), Err(PlanError::OrderAgainstGroup));
        assert_eq!(
            run(&[1, 2, 3, 4], &[&[1, 3], &[4, 2]], &[&[1, 2], &[3, 4]]),
            Err(PlanError::OrderAgainstGroup)
        );
        assert_eq!(run(&[1, 2], &[&[1, 9]], &[]), Err(PlanError::Absent(Dgi(9))));
        assert_eq!(run(&[1, 2], &[], &[&[9]]), Err(PlanError::Absent(Dgi(9))));
        assert_eq!(run(&[1, 2], &[&[1, 2], &[2]], &[]), Err(PlanError::Twice(Dgi(2))));
        assert_eq!(run(&[1, 2], &[], &[&[1, 1]]), Err(PlanError::Twice(Dgi(1))));
    }
}
