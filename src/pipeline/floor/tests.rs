//! The floor against a random world: stations take random times, cards and stations fail at random, and whatever
//! happens, good cards leave in file order, nothing is lost, no place holds two cards and the line never locks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::profile::Product;
use crate::record::Record;

fn work(seq: u32) -> Arc<Work> {
    let product =
        Product::from_toml("name = 'plain'\ndescription = 'no chip'\nmin_suite = 'tdes'\n", "test").unwrap();
    Arc::new(Work {
        record: Record {
            sequence: seq,
            card_ref: crate::ids::CardRef::new(format!("C{seq}")).unwrap(),
            sections: Vec::new(),
        },
        applications: Vec::new(),
        product: Arc::new(product),
    })
}

/// What the world knows by itself, without asking the floor.
#[derive(Default)]
struct World {
    /// Card that physically lies at a place.
    at: BTreeMap<Place, u32>,
    /// Buffer places in use.
    buffer: BTreeMap<u16, u32>,
    /// Moves under way.
    under_way: Vec<Move>,
    stacked: Vec<u32>,
    out: BTreeSet<u32>,
}

/// Runs `cards` records; `dice` says which move ends next, which cards fail and which stations die.
fn play(
    stations: &[usize],
    buffer: u16,
    routes: &[Vec<usize>],
    dice: &mut impl FnMut(u32) -> u32,
    fail: u32,
) -> World {
    let cards = u32::try_from(routes.len()).unwrap();
    let mut floor = Floor::new(stations, buffer);
    let mut world = World::default();
    let mut next = 1;
    let mut stopped = false;
    for _ in 0..100_000 {
        while !stopped && next <= cards && floor.wants_more() {
            floor.asked(next);
            // The source answers at once here.
            floor.ready(next, work(next), routes[next as usize - 1].clone());
            next += 1;
        }
        while let Some(step) = floor.next_move(!stopped) {
            match step {
                Move::Feed(_, to) => assert!(!world.at.contains_key(&to), "two cards at {to:?}"),
                Move::Take { seq, from, to } => {
                    assert_eq!(world.at.get(&from), Some(&seq));
                    assert!(!world.at.contains_key(&to), "two cards at {to:?}");
                }
                Move::ThrowOut(seq, from) | Move::Collect(seq, from, _) => {
                    assert_eq!(world.at.get(&from), Some(&seq));
                }
                Move::Stack(seq, slot) => assert_eq!(world.buffer.get(&slot), Some(&seq)),
            }
            world.under_way.push(step);
        }
        if world.under_way.is_empty() {
            assert!(!floor.moving(), "the line locked");
            return world;
        }
        let choice = dice(u32::try_from(world.under_way.len()).unwrap()) as usize;
        match world.under_way.swap_remove(choice) {
            Move::Feed(seq, to) => {
                world.at.insert(to, seq);
                finish(&mut floor, &mut world, seq, to, dice(1000) < fail);
            }
            Move::Take { seq, from, to } => {
                world.at.remove(&from);
                floor.free(from);
                world.at.insert(to, seq);
                finish(&mut floor, &mut world, seq, to, dice(1000) < fail);
                if dice(1000) < fail / 10 {
                    floor.out_of_service(from);
                    stopped |= !floor.in_service(from.stage);
                }
            }
            Move::ThrowOut(seq, from) => {
                world.at.remove(&from);
                floor.free(from);
                floor.remove(seq);
                world.out.insert(seq);
            }
            Move::Collect(seq, from, slot) => {
                world.at.remove(&from);
                floor.free(from);
                assert!(world.buffer.insert(slot, seq).is_none(), "two cards in one buffer place");
                assert!(world.buffer.len() <= usize::from(buffer));
                floor.card_mut(seq).unwrap().at = Where::Buffered(slot);
                floor.output_free();
            }
            Move::Stack(seq, slot) => {
                world.buffer.remove(&slot);
                world.stacked.push(seq);
                floor.remove(seq);
                floor.output_free();
            }
        }
    }
    panic!("no end");
}

fn finish(floor: &mut Floor, world: &mut World, seq: u32, at: Place, fails: bool) {
    if fails {
        world.at.remove(&at);
        floor.free(at);
        floor.remove(seq);
        world.out.insert(seq);
    } else {
        let card = floor.card_mut(seq).unwrap();
        card.leg += 1;
        card.at = Where::Waiting(at);
    }
}

proptest! {
    // A failure prints its own input; nothing is written beside the sources.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn good_cards_leave_in_file_order_and_nothing_is_lost(
        stations in prop::collection::vec(1usize..5, 1..4),
        extra in 0u16..6,
        picks in prop::collection::vec(0u8..8, 1..60),
        seed in any::<u64>(),
        fail in prop_oneof![Just(0u32), Just(50), Just(300)],
    ) {
        let total: usize = stations.iter().sum();
        let buffer = u16::try_from(total).unwrap() + extra;
        // Each card visits a non-empty subset of the stages, in line order.
        let routes: Vec<Vec<usize>> = picks
            .iter()
            .map(|pick| {
                let route: Vec<usize> = (0..stations.len()).filter(|s| pick >> s & 1 == 1).collect();
                if route.is_empty() { vec![0] } else { route }
            })
            .collect();
        let mut state = seed | 1;
        let mut dice = |n: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u32::try_from(state % u64::from(n)).unwrap()
        };
        let world = play(&stations, buffer, &routes, &mut dice, fail);
        prop_assert!(world.stacked.is_sorted(), "out of order: {:?}", world.stacked);
        prop_assert!(world.at.is_empty() && world.buffer.is_empty(), "cards left in the line");
        let stacked: BTreeSet<_> = world.stacked.iter().copied().collect();
        prop_assert_eq!(stacked.len(), world.stacked.len());
        prop_assert!(stacked.is_disjoint(&world.out));
        if fail == 0 {
            prop_assert_eq!(stacked.len(), picks.len());
        }
    }
}

#[test]
fn a_slow_first_card_holds_the_others_in_the_buffer_and_then_all_leave_in_order() {
    let routes = vec![vec![0]; 6];
    // Always end the newest move first: card 1 is the last to be done.
    let mut dice = |n: u32| if n == 1000 { 999 } else { n - 1 };
    let world = play(&[3], 6, &routes, &mut dice, 0);
    assert_eq!(world.stacked, [1, 2, 3, 4, 5, 6]);
}
