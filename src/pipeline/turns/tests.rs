//! The turns, by cases and in a random world in which stations feed, wait, fail and finish.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn at(station: usize) -> Place {
    Place { stage: 0, station }
}

fn kmc(version: u8) -> KmcRef {
    KmcRef { id: [0xFF; 6], version }
}

const FIRST: Leave = Leave::Given { first: true };
const OTHER: Leave = Leave::Given { first: false };

fn words(turns: &mut KeyTurns) -> Vec<(usize, Word)> {
    std::iter::from_fn(|| turns.next_word()).map(|(place, word)| (place.station, word)).collect()
}

#[test]
fn the_first_blank_is_fed_alone_until_a_proof() {
    let mut turns = KeyTurns::new();
    assert!(!turns.one_is_alone());
    turns.fed(7);
    assert!(turns.one_is_alone());
    // Another record's end means nothing; that of the record gives the next blank the turn.
    turns.gone(8);
    assert!(turns.one_is_alone());
    turns.gone(7);
    assert!(!turns.one_is_alone());
    turns.fed(8);
    assert!(turns.one_is_alone());
    assert_eq!(turns.asks(at(0), kmc(1)), FIRST);
    turns.proved(at(0));
    assert!(!turns.one_is_alone());
    turns.fed(9);
    assert!(!turns.one_is_alone());
    // A line that has no chip station for it proves nothing, and does not wait for ever.
    let mut turns = KeyTurns::new();
    turns.fed(1);
    turns.finished(1);
    turns.fed(2);
    assert!(!turns.one_is_alone());
}

#[test]
fn others_of_a_kmc_wait_for_the_proof_and_other_kmcs_have_turns_of_their_own() {
    let mut turns = KeyTurns::new();
    assert_eq!(turns.asks(at(0), kmc(1)), FIRST);
    assert_eq!(turns.asks(at(1), kmc(1)), Leave::Later);
    assert_eq!(turns.asks(at(2), kmc(2)), FIRST);
    assert_eq!(turns.asks(at(3), kmc(1)), Leave::Later);
    assert!(turns.waits(at(1)) && !turns.waits(at(0)));
    turns.proved(at(0));
    assert_eq!(words(&mut turns), [(1, Word::AskAnew), (3, Word::AskAnew)]);
    assert_eq!(turns.asks(at(1), kmc(1)), OTHER);
    assert_eq!(turns.asks(at(3), kmc(1)), OTHER);
    assert_eq!(turns.asks(at(4), kmc(2)), Leave::Later);
}

#[test]
fn a_first_card_that_is_out_for_another_reason_gives_the_turn_to_the_next() {
    let mut turns = KeyTurns::new();
    assert_eq!(turns.asks(at(0), kmc(1)), FIRST);
    for station in 1..4 {
        assert_eq!(turns.asks(at(station), kmc(1)), Leave::Later);
    }
    turns.left(at(2));
    turns.left(at(0));
    assert_eq!(words(&mut turns), [(1, Word::AskAnew)]);
    assert_eq!(turns.asks(at(1), kmc(1)), FIRST);
    // Its chip is another one now: the turn of the first KMC goes on.
    assert_eq!(turns.asks(at(1), kmc(2)), FIRST);
    assert_eq!(words(&mut turns), [(3, Word::AskAnew)]);
    turns.left(at(3));
    assert_eq!(turns.asks(at(5), kmc(1)), FIRST);
}

#[test]
fn a_wrong_cryptogram_of_the_first_is_a_doubt_at_once_and_nothing_else_is_tried() {
    let mut turns = KeyTurns::new();
    assert_eq!(turns.asks(at(0), kmc(1)), FIRST);
    turns.proved(at(0));
    assert_eq!(turns.asks(at(1), kmc(2)), FIRST);
    assert_eq!(turns.asks(at(2), kmc(2)), Leave::Later);
    assert_eq!(turns.asks(at(3), kmc(3)), FIRST);
    assert_eq!(turns.asks(at(4), kmc(3)), Leave::Later);
    assert_eq!(turns.wrong(kmc(2)), Some(Doubt::First));
    assert_eq!(words(&mut turns), [(2, Word::Never)]);
    assert_eq!(turns.asks(at(5), kmc(2)), Leave::Never);
    assert_eq!(turns.asks(at(5), kmc(4)), Leave::Never);
    // What was proved goes on. What is tried goes on, and those that wait for it may.
    assert_eq!(turns.asks(at(5), kmc(1)), OTHER);
    turns.proved(at(3));
    assert_eq!(words(&mut turns), [(4, Word::AskAnew)]);
    // A turn that would have to be given anew is not.
    let mut turns = KeyTurns::new();
    for version in [1, 2] {
        assert_eq!(turns.asks(at(usize::from(version)), kmc(version)), FIRST);
    }
    assert_eq!(turns.asks(at(3), kmc(2)), Leave::Later);
    assert_eq!(turns.wrong(kmc(1)), Some(Doubt::First));
    turns.left(at(2));
    assert_eq!(words(&mut turns), [(3, Word::Never)]);
}

#[test]
fn of_proved_keys_two_wrong_cryptograms_in_a_row_are_a_doubt() {
    let mut turns = KeyTurns::new();
    for version in [1, 2] {
        assert_eq!(turns.asks(at(usize::from(version)), kmc(version)), FIRST);
        turns.proved(at(usize::from(version)));
    }
    assert_eq!(turns.wrong(kmc(1)), None);
    // Cards of other keys prove nothing about these.
    turns.good(at(2), kmc(2));
    assert_eq!(turns.wrong(kmc(1)), Some(Doubt::InARow(2)));
    assert_eq!(turns.asks(at(3), kmc(1)), Leave::Never);
    assert_eq!(turns.asks(at(3), kmc(2)), OTHER);

    let mut turns = KeyTurns::new();
    assert_eq!(turns.asks(at(1), kmc(1)), FIRST);
    turns.proved(at(1));
    for _ in 0..5 {
        assert_eq!(turns.wrong(kmc(1)), None);
        turns.good(at(1), kmc(1));
    }
}

/// What a station of the random world does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Waits(KmcRef),
    Opens(KmcRef),
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Keys of version 0 are right. Of each wrong KMC at most one chip is opened, of a right one none waits
    /// for ever, and a station that waits has somebody to wait for.
    #[test]
    fn of_wrong_keys_one_chip_is_opened_and_nobody_waits_for_nothing(
        steps in prop::collection::vec((0usize..6, 0u8..4, 0u8..8), 1..120),
        wrong in prop::collection::btree_set(1u8..4, 0..3),
    ) {
        let mut turns = KeyTurns::new();
        let mut world: BTreeMap<usize, At> = BTreeMap::new();
        let mut opened: BTreeMap<KmcRef, u32> = BTreeMap::new();
        let mut proved: BTreeSet<KmcRef> = BTreeSet::new();
        for (station, version, what) in steps {
            match world.get(&station).copied() {
                None => ask(&mut turns, &mut world, station, kmc(version)),
                // A person takes the card away, or the station dies.
                Some(At::Waits(_)) if what == 0 => {
                    world.remove(&station);
                    turns.left(at(station));
                }
                Some(At::Waits(_)) => {}
                // The card fails before it answers.
                Some(At::Opens(_)) if what == 0 => {
                    world.remove(&station);
                    turns.left(at(station));
                }
                Some(At::Opens(kmc)) => {
                    world.remove(&station);
                    *opened.entry(kmc).or_default() += 1;
                    if wrong.contains(&kmc.version) {
                        prop_assert_eq!(turns.wrong(kmc), Some(Doubt::First));
                    } else {
                        proved.insert(kmc);
                        turns.good(at(station), kmc);
                    }
                    turns.left(at(station));
                }
            }
            while let Some((place, word)) = turns.next_word() {
                let was = world.remove(&place.station);
                let Some(At::Waits(kmc)) = was else { panic!("a word to {place:?}, which does {was:?}") };
                match word {
                    Word::Never => prop_assert!(!proved.contains(&kmc)),
                    Word::AskAnew => ask(&mut turns, &mut world, place.station, kmc),
                }
            }
            for (station, does) in &world {
                let At::Waits(kmc) = does else { continue };
                prop_assert!(turns.waits(at(*station)));
                let first = world.values().filter(|other| **other == At::Opens(*kmc)).count();
                prop_assert_eq!(first, 1, "{} waits for {} cards", station, first);
            }
        }
        for (kmc, count) in opened {
            prop_assert!(!wrong.contains(&kmc.version) || count == 1, "{} chips of {}", count, kmc);
        }
    }
}

fn ask(turns: &mut KeyTurns, world: &mut BTreeMap<usize, At>, station: usize, kmc: KmcRef) {
    match turns.asks(at(station), kmc) {
        Leave::Given { .. } => drop(world.insert(station, At::Opens(kmc))),
        Leave::Later => drop(world.insert(station, At::Waits(kmc))),
        Leave::Never => drop(world.remove(&station)),
    }
}
