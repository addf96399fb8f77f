//! The floor against a random world: stations take random times, cards fail, and stations go out of service,
//! come back, are waited for in vain or get stuck. In every case good cards leave in file order, no card is
//! lost, no place holds two cards, every card that can move does, and the run ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::profile::ProductProfile;
use crate::record::Record;

fn work(seq: u32) -> Arc<CardWork> {
    let product =
        ProductProfile::from_toml("name = 'plain'\ndescription = 'no chip'\nmin_suite = 'tdes'\n", "test")
            .unwrap();
    Arc::new(CardWork {
        handle: None,
        record: Record {
            sequence: seq,
            card_ref: crate::ids::CardRef::new(format!("C{seq}")).unwrap(),
            sections: Vec::new(),
        },
        applications: Vec::new(),
        product: Arc::new(product),
        agreed: None,
    })
}

/// State of the world, kept without asking the floor.
#[derive(Default)]
struct World {
    stations: BTreeMap<Place, Health>,
    /// Card that lies at a place.
    at: BTreeMap<Place, u32>,
    /// Places that an order is going to, with a card or without.
    ordered: BTreeSet<Place>,
    /// Cards that lie finished in their station, each with the stages that it still has to visit.
    lying: BTreeMap<u32, Vec<usize>>,
    /// Prepared records that were not fed, each with its stages.
    ready: BTreeMap<u32, Vec<usize>>,
    /// Buffer places in use.
    buffer: BTreeMap<u16, u32>,
    /// Stages that were waited for in vain.
    given_up: BTreeSet<usize>,
    /// Moves under way. For a collection: whether the card is lifted.
    under_way: Vec<(Move, bool)>,
    stacked: Vec<u32>,
    out: BTreeSet<u32>,
    /// Cards that a person wants thrown out.
    doomed: BTreeSet<u32>,
    /// The feeding of blanks has stopped.
    stopped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Works,
    Probed,
    Stuck,
}

/// Rates of failures, of 1000.
#[derive(Debug, Clone, Copy)]
struct Odds {
    card: u32,
    outage: u32,
    stuck: u32,
    kill: u32,
}

const FAIR: Odds = Odds { card: 0, outage: 0, stuck: 0, kill: 0 };

/// One line with its world.
struct Play<'a> {
    floor: Floor,
    world: World,
    routes: &'a [Vec<usize>],
    buffer: usize,
    odds: Odds,
    dice: &'a mut dyn FnMut(u32) -> u32,
}

/// Runs the records. The dice decide which move ends next, and which cards and stations fail.
fn play(
    stations: &[usize],
    buffer: u16,
    routes: &[Vec<usize>],
    dice: &mut dyn FnMut(u32) -> u32,
    odds: Odds,
) -> World {
    let mut world = World::default();
    for (stage, count) in stations.iter().enumerate() {
        world.stations.extend((0..*count).map(|station| (Place { stage, station }, Health::Works)));
    }
    let floor = Floor::new(stations, buffer);
    Play { floor, world, routes, buffer: usize::from(buffer), odds, dice }.run()
}

impl Play<'_> {
    fn run(mut self) -> World {
        let mut next = 1;
        for _ in 0..100_000 {
            while !self.world.stopped && (next as usize) <= self.routes.len() && self.floor.wants_more() {
                self.floor.asked(next);
                // The source answers at once in this world.
                let route = self.routes[next as usize - 1].clone();
                self.floor.ready(next, work(next), route.clone());
                self.world.ready.insert(next, route);
                next += 1;
            }
            while let Some(step) = self.floor.next_move(!self.world.stopped) {
                self.began(step);
            }
            self.nothing_else_can_move();
            let probed = self.places(Health::Probed);
            if self.world.under_way.is_empty() {
                let waits = !self.world.stopped && self.floor.ready_waits();
                if !self.floor.moving() && !waits {
                    return self.world;
                }
                assert!(!probed.is_empty(), "the line locked");
            }
            if self.chance(self.odds.kill) {
                self.kill();
                continue;
            }
            let total = self.world.under_way.len() + probed.len();
            let choice = self.roll(total);
            if choice < self.world.under_way.len() {
                let (step, lifted) = self.world.under_way.swap_remove(choice);
                self.ended(step, lifted);
            } else {
                self.probed(probed[choice - self.world.under_way.len()]);
            }
        }
        panic!("no end");
    }

    /// Has one of the fed cards thrown out, as a person would.
    fn kill(&mut self) {
        let cards: Vec<u32> = self.world.at.values().chain(self.world.buffer.values()).copied().collect();
        if cards.is_empty() {
            return;
        }
        let seq = cards[self.roll(cards.len())];
        let stacking = self.world.under_way.iter().any(|(m, _)| matches!(m, Move::Stack(s, _) if *s == seq));
        match self.floor.doom(seq, &"anna".into()) {
            Doom::Gone => assert!(stacking, "card {seq} is in the line"),
            Doom::Now(place) => self.throws_out(seq, place),
            Doom::Later => assert!(!stacking && !self.world.lying.contains_key(&seq)),
        }
        if !stacking {
            self.world.doomed.insert(seq);
        }
    }

    fn throws_out(&mut self, seq: u32, from: Place) {
        assert_eq!(self.world.at.get(&from), Some(&seq));
        self.world.lying.remove(&seq).expect("not done");
        self.world.under_way.push((Move::ThrowOut(seq, from), false));
    }

    fn roll(&mut self, n: usize) -> usize {
        (self.dice)(u32::try_from(n).unwrap()) as usize
    }

    fn chance(&mut self, of_1000: u32) -> bool {
        of_1000 > 0 && (self.dice)(1000) < of_1000
    }

    fn places(&self, health: Health) -> Vec<Place> {
        self.world.stations.iter().filter(|(_, h)| **h == health).map(|(p, _)| *p).collect()
    }

    fn up(&self, stage: usize) -> bool {
        self.world.stations.iter().any(|(p, h)| p.stage == stage && *h == Health::Works)
    }

    fn lost(&self, stage: usize) -> bool {
        let any = |health| self.world.stations.iter().any(|(p, h)| p.stage == stage && *h == health);
        !any(Health::Works) && (!any(Health::Probed) || self.world.given_up.contains(&stage))
    }

    fn has_free(&self, stage: usize) -> bool {
        self.world.stations.iter().any(|(p, health)| {
            p.stage == stage
                && *health == Health::Works
                && !self.world.at.contains_key(p)
                && !self.world.ordered.contains(p)
        })
    }

    /// Checks that an order is possible.
    fn began(&mut self, step: Move) {
        let world = &mut self.world;
        let mut free = |to: Place| {
            assert!(!world.at.contains_key(&to), "two cards at {to:?}");
            assert!(world.ordered.insert(to), "two orders at {to:?}");
            assert!(world.stations[&to] == Health::Works, "an order to {to:?}, which is out of service");
        };
        match step {
            Move::Feed(seq, to) => {
                free(to);
                let route = world.ready.remove(&seq).expect("not ready");
                assert!(!world.stopped);
                assert!(route.iter().all(|stage| self.up(*stage)), "fed for a module that is out");
            }
            Move::Take { seq, from, to } => {
                free(to);
                assert_eq!(world.at.get(&from), Some(&seq));
                world.lying.remove(&seq).expect("not done");
            }
            Move::ThrowOut(seq, from) => {
                assert_eq!(world.at.get(&from), Some(&seq));
                let wanted = world.lying.remove(&seq).expect("not done");
                assert!(self.lost(wanted[0]), "thrown out, but a station may come");
            }
            Move::Collect(seq, from, _) => {
                assert_eq!(world.at.get(&from), Some(&seq));
                assert_eq!(world.lying.remove(&seq), Some(vec![]));
            }
            Move::Stack(seq, slot) => {
                assert_eq!(world.buffer.get(&slot), Some(&seq));
                assert!(!world.doomed.contains(&seq), "stacked, but a person wants it thrown out");
            }
            Move::Discard(seq, slot) => {
                assert_eq!(world.buffer.get(&slot), Some(&seq));
                assert!(world.doomed.contains(&seq));
            }
        }
        let world = &mut self.world;
        world.under_way.push((step, false));
        let output = world
            .under_way
            .iter()
            .filter(|(m, _)| matches!(m, Move::Collect(..) | Move::Stack(..) | Move::Discard(..)));
        assert!(output.count() <= 1, "the output has two orders");
    }

    /// Checks that no possible move is left undone.
    fn nothing_else_can_move(&self) {
        let world = &self.world;
        let output_busy = world
            .under_way
            .iter()
            .any(|(m, _)| matches!(m, Move::Collect(..) | Move::Stack(..) | Move::Discard(..)));
        for (seq, wanted) in &world.lying {
            match wanted.first() {
                None => assert!(output_busy, "card {seq} could be collected"),
                Some(stage) => {
                    assert!(!self.has_free(*stage), "card {seq} could be taken");
                    assert!(!self.lost(*stage), "card {seq} waits for ever");
                }
            }
        }
        for (seq, route) in world.ready.iter().filter(|_| !world.stopped) {
            let passes = route.iter().all(|stage| self.up(*stage));
            assert!(!passes || !self.has_free(route[0]), "card {seq} could be fed");
        }
        let unfed = |seq: &u32| world.stopped && world.ready.contains_key(seq);
        let front = self.floor.cards.keys().find(|seq| !unfed(seq));
        let front_buffered = front.is_some_and(|seq| world.buffer.values().any(|s| s == seq));
        assert!(output_busy || !front_buffered, "card {front:?} could be stacked");
    }

    fn ended(&mut self, step: Move, lifted: bool) {
        match step {
            Move::Feed(seq, to) => {
                self.world.ordered.remove(&to);
                // The device does not answer before the binding: the record waits again.
                if self.chance(self.odds.outage) {
                    self.floor.unfeed(seq);
                    self.world.ready.insert(seq, self.routes[seq as usize - 1].clone());
                    self.goes_out(to);
                } else {
                    self.works(seq, to);
                }
            }
            Move::Take { seq, from, to } if !lifted => {
                if self.chance(self.odds.stuck) {
                    // The card was not taken: the previous station throws it out.
                    self.floor.not_taken(seq, from);
                    self.world.ordered.remove(&to);
                    self.world.under_way.push((Move::ThrowOut(seq, from), false));
                    return self.goes_out(to);
                }
                assert_eq!(self.world.at.remove(&from), Some(seq));
                self.floor.stations.free(from);
                self.world.under_way.push((step, true));
            }
            Move::Take { seq, to, .. } => {
                self.world.ordered.remove(&to);
                self.works(seq, to);
            }
            Move::ThrowOut(seq, from) => {
                self.world.at.insert(from, seq);
                self.rejected(seq, from);
            }
            Move::Collect(seq, from, _) if !lifted => {
                assert_eq!(self.world.at.remove(&from), Some(seq));
                assert_eq!(self.floor.lifted(seq), Some(from));
                self.floor.stations.free(from);
                self.world.under_way.push((step, true));
            }
            Move::Collect(seq, _, slot) => {
                assert!(self.world.buffer.insert(slot, seq).is_none(), "two cards in one buffer place");
                assert!(self.world.buffer.len() <= self.buffer);
                self.floor.parked(seq);
            }
            Move::Stack(seq, slot) => {
                self.world.buffer.remove(&slot);
                self.world.stacked.push(seq);
                self.floor.remove(seq);
                self.floor.output_free();
            }
            Move::Discard(seq, slot) => {
                self.world.buffer.remove(&slot);
                assert!(self.world.out.insert(seq), "out twice");
                self.floor.remove(seq);
                self.floor.output_free();
            }
        }
    }

    /// A module ends its work: the card is done, or out.
    fn works(&mut self, seq: u32, at: Place) {
        assert!(self.world.at.insert(at, seq).is_none());
        if self.chance(self.odds.card) || self.chance(self.odds.outage) {
            return self.rejected(seq, at);
        }
        self.floor.done(seq, at);
        let wanted = self.routes[seq as usize - 1].iter().skip_while(|stage| **stage <= at.stage);
        self.world.lying.insert(seq, wanted.copied().collect());
        if let Doom::Now(place) = self.floor.doomed(seq) {
            self.throws_out(seq, place);
        }
    }

    fn rejected(&mut self, seq: u32, at: Place) {
        self.world.at.remove(&at);
        self.floor.remove(seq);
        assert!(self.world.out.insert(seq), "out twice");
        if self.chance(self.odds.outage * 2) { self.goes_out(at) } else { self.floor.stations.free(at) }
    }

    fn goes_out(&mut self, at: Place) {
        let stuck = self.chance(self.odds.stuck * 5);
        if stuck {
            self.floor.stations.stuck(at);
        } else {
            self.floor.stations.out_of_service(at);
        }
        self.world.stations.insert(at, if stuck { Health::Stuck } else { Health::Probed });
        self.world.stopped |= self.lost(at.stage);
    }

    /// A probe is answered, shows that a person is needed, or comes too late for the line.
    fn probed(&mut self, at: Place) {
        match self.roll(10) {
            0 if !self.up(at.stage) => {
                self.floor.stations.give_up(at.stage);
                self.world.given_up.insert(at.stage);
                self.world.stopped = true;
            }
            1 if self.odds.stuck > 0 => {
                self.floor.stations.stuck(at);
                self.world.stations.insert(at, Health::Stuck);
                self.world.stopped |= self.lost(at.stage);
            }
            _ => {
                self.floor.stations.back(at);
                self.world.stations.insert(at, Health::Works);
                self.world.given_up.remove(&at.stage);
            }
        }
    }
}

proptest! {
    // A failure prints its own input; no file is written next to the sources.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_fails_good_cards_leave_in_file_order_and_nothing_is_lost(
        stations in prop::collection::vec(1usize..5, 1..4),
        extra in 0u16..6,
        picks in prop::collection::vec(0u8..8, 1..60),
        seed in any::<u64>(),
        odds in prop_oneof![
            Just(FAIR),
            Just(Odds { card: 50, ..FAIR }),
            Just(Odds { card: 300, ..FAIR }),
            Just(Odds { card: 20, outage: 100, ..FAIR }),
            Just(Odds { card: 20, outage: 400, ..FAIR }),
            Just(Odds { card: 20, outage: 100, stuck: 20, kill: 0 }),
            Just(Odds { card: 0, outage: 300, stuck: 100, kill: 50 }),
            Just(Odds { kill: 200, ..FAIR }),
        ],
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
        let world = play(&stations, buffer, &routes, &mut dice, odds);
        prop_assert!(world.stacked.is_sorted(), "out of order: {:?}", world.stacked);
        prop_assert!(world.at.is_empty() && world.buffer.is_empty(), "cards left in the line");
        let stacked: BTreeSet<_> = world.stacked.iter().copied().collect();
        prop_assert_eq!(stacked.len(), world.stacked.len());
        prop_assert!(stacked.is_disjoint(&world.out));
        let never_fed = |seq: &u32| !stacked.contains(seq) && !world.out.contains(seq);
        let all = 1..=u32::try_from(picks.len()).unwrap();
        if !world.stopped {
            prop_assert_eq!(all.filter(never_fed).count(), 0);
        }
        prop_assert!(stacked.is_disjoint(&world.doomed), "a card was stacked that a person wants thrown out");
        if odds.card + odds.outage + odds.kill == 0 {
            prop_assert_eq!(stacked.len(), picks.len());
        }
    }
}

#[test]
fn a_slow_first_card_holds_the_others_in_the_buffer_and_then_all_leave_in_order() {
    let routes = vec![vec![0]; 6];
    // Always end the newest move first: card 1 is the last to be done.
    let mut dice = |n: u32| n - 1;
    let world = play(&[3], 6, &routes, &mut dice, FAIR);
    assert_eq!(world.stacked, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn collecting_comes_first_until_buffer_places_run_short() {
    let mut floor = Floor::new(&[4], 4);
    for seq in 1..=4 {
        floor.asked(seq);
        floor.ready(seq, work(seq), vec![0]);
        assert!(matches!(floor.next_move(true), Some(Move::Feed(..))));
    }
    let place = |station| Place { stage: 0, station };
    let collects = |floor: &mut Floor, seq| {
        assert!(matches!(floor.next_move(true), Some(Move::Collect(s, ..)) if s == seq));
        assert_eq!(floor.lifted(seq), Some(place(seq as usize - 1)));
        floor.parked(seq);
    };
    floor.done(1, place(0));
    floor.done(2, place(1));
    collects(&mut floor, 1);
    collects(&mut floor, 2);
    floor.done(3, place(2));
    floor.done(4, place(3));
    // Two of four places are left, then one: now the stacker comes first.
    collects(&mut floor, 3);
    assert!(matches!(floor.next_move(true), Some(Move::Stack(1, _))));
}

#[test]
fn a_machine_that_wants_supplies_is_waited_for_and_its_module_is_never_lost() {
    let mut floor = Floor::new(&[1, 2], 4);
    let (chip, one, two) =
        (Place { stage: 0, station: 0 }, Place { stage: 1, station: 0 }, Place { stage: 1, station: 1 });
    for seq in 1..=4 {
        floor.asked(seq);
        floor.ready(seq, work(seq), vec![0, 1]);
    }
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, chip)));
    floor.done(1, chip);
    assert_eq!(floor.next_move(true), Some(Move::Take { seq: 1, from: chip, to: one }));
    floor.stations.free(chip);
    // The other station goes on.
    floor.stations.wants(one);
    assert_eq!((floor.stations.service(1), floor.stations.waits(one)), (Service::Up, true));
    assert_eq!(floor.next_move(true), Some(Move::Feed(2, chip)));
    floor.done(2, chip);
    assert_eq!(floor.next_move(true), Some(Move::Take { seq: 2, from: chip, to: two }));
    floor.stations.free(chip);
    floor.remove(2);
    floor.stations.out_of_service(two);
    assert_eq!((floor.stations.service(1), floor.stations.wants_supplies(1)), (Service::Awaited, true));
    // No blank is fed that would have to wait, and giving up does not lose the module.
    assert_eq!(floor.next_move(true), None);
    floor.stations.give_up(1);
    assert_eq!(floor.stations.service(1), Service::Awaited);
    // Silent machines are lost when they are given up, with the card of the one that waits.
    floor.stations.silent(one);
    assert_eq!(floor.stations.service(1), Service::Lost);
    floor.stations.wants(one);
    floor.stations.supplied(one);
    assert_eq!(floor.stations.service(1), Service::Up);
    floor.done(1, one);
    assert_eq!(floor.next_move(true), Some(Move::Collect(1, one, 0)));
    // A machine that is out of service may want supplies as well.
    floor.stations.wants(two);
    assert!(floor.stations.wants_supplies(1) && !floor.stations.waits(two));
    floor.stations.silent(two);
    floor.stations.back(two);
    assert!(!floor.stations.wants_supplies(1));
}

#[test]
fn a_station_without_blanks_takes_cards_and_feeds_none() {
    let mut floor = Floor::new(&[2, 1], 4);
    let place = |stage, station| Place { stage, station };
    for (seq, route) in [(1, vec![0, 1]), (2, vec![1]), (3, vec![0])] {
        floor.asked(seq);
        floor.ready(seq, work(seq), route);
    }
    floor.stations.has_blanks(place(1, 0), false);
    floor.stations.has_blanks(place(0, 0), false);
    assert!(floor.stations.lacks_blanks());
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, place(0, 1))));
    assert_eq!(floor.next_move(true), None);
    floor.done(1, place(0, 1));
    assert_eq!(floor.next_move(true), Some(Move::Take { seq: 1, from: place(0, 1), to: place(1, 0) }));
    floor.done(1, place(1, 0));
    floor.stations.free(place(0, 1));
    floor.stations.has_blanks(place(0, 1), false);
    assert!(matches!(floor.next_move(true), Some(Move::Collect(..))));
    assert_eq!(floor.next_move(true), None);
    floor.stations.has_blanks(place(0, 0), true);
    assert_eq!(floor.next_move(true), Some(Move::Feed(3, place(0, 0))));
}

#[test]
fn a_card_with_which_the_output_waits_can_be_kept_and_thrown_out() {
    let mut floor = Floor::new(&[1], 1);
    let chip = Place { stage: 0, station: 0 };
    floor.asked(1);
    floor.ready(1, work(1), vec![0]);
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, chip)));
    floor.done(1, chip);
    assert_eq!(floor.next_move(true), Some(Move::Collect(1, chip, 0)));
    floor.output_waits(true);
    assert!(floor.waits_at_output(1) && !floor.kept(1));
    floor.output_waits(false);
    assert_eq!(floor.next_move(true), Some(Move::Collect(1, chip, 0)));
    floor.lifted(1);
    floor.stations.free(chip);
    floor.parked(1);
    assert_eq!(floor.next_move(true), Some(Move::Stack(1, 0)));
    assert_eq!(floor.doom(1, &"anna".into()), Doom::Gone);
    floor.output_waits(true);
    assert_eq!(floor.doom(1, &"anna".into()), Doom::Later);
    assert!(floor.waits_at_output(1) && floor.kept(1));
    floor.output_waits(false);
    assert_eq!(floor.next_move(true), Some(Move::Discard(1, 0)));
}

#[test]
fn while_a_module_is_awaited_its_cards_wait_and_no_blank_is_fed_for_it() {
    let mut floor = Floor::new(&[2, 1], 4);
    let (chip, printer) = (Place { stage: 0, station: 0 }, Place { stage: 1, station: 0 });
    for (seq, route) in [(1, vec![0, 1]), (2, vec![0, 1]), (3, vec![0])] {
        floor.asked(seq);
        floor.ready(seq, work(seq), route);
    }
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, chip)));
    floor.stations.occupy(printer);
    floor.stations.out_of_service(printer);
    // The third card does not need the printer.
    assert_eq!(floor.next_move(true), Some(Move::Feed(3, Place { stage: 0, station: 1 })));
    floor.done(1, chip);
    assert_eq!(floor.next_move(true), None);
    assert_eq!(floor.stations.service(1), Service::Awaited);
    floor.stations.back(printer);
    assert_eq!(floor.next_move(true), Some(Move::Take { seq: 1, from: chip, to: printer }));
    // The line waited in vain.
    floor.not_taken(1, chip);
    floor.remove(1);
    floor.stations.out_of_service(printer);
    floor.stations.free(chip);
    assert_eq!(floor.next_move(true), None);
    assert!(floor.ready_waits());
    floor.stations.give_up(1);
    assert_eq!(floor.stations.service(1), Service::Lost);
    floor.stations.back(printer);
    assert_eq!(floor.next_move(true), Some(Move::Feed(2, chip)));
}

/// A floor of readers at stage 0 and encoders at stage 1, none of them proved, with these records.
fn unproved(readers: usize, encoders: usize, records: u32) -> Floor {
    let mut floor = Floor::new(&[readers, encoders], 8);
    for (stage, kind, count) in [(0, "chip", readers), (1, "stripe", encoders)] {
        (0..count).for_each(|station| floor.stations.sees_cards(Place { stage, station }, kind, false));
    }
    for seq in 1..=records {
        floor.asked(seq);
        floor.ready(seq, work(seq), vec![0, 1]);
    }
    floor
}

#[test]
fn one_station_of_a_kind_proves_itself_at_a_time_and_one_card_goes_first() {
    let (reader, encoder) = (|station| Place { stage: 0, station }, |station| Place { stage: 1, station });
    let mut floor = unproved(3, 2, 6);
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, reader(0))));
    assert!(floor.stations.is_unproved(reader(0)));
    assert_eq!(floor.next_move(true), None, "another reader is being proved");
    floor.stations.arrived(reader(0));
    floor.stations.proved(reader(0));
    // No encoder is proved, so one card goes to them alone.
    assert_eq!(floor.next_move(true), None);
    floor.done(1, reader(0));
    assert_eq!(floor.next_move(true), Some(Move::Take { seq: 1, from: reader(0), to: encoder(0) }));
    floor.stations.free(reader(0));
    floor.stations.arrived(encoder(0));
    floor.stations.proved(encoder(0));
    // Unproved ones first, one after the other.
    assert_eq!(floor.next_move(true), Some(Move::Feed(2, reader(1))));
    // The proved reader works on meanwhile.
    assert_eq!(floor.next_move(true), Some(Move::Feed(3, reader(0))));
    assert_eq!(floor.next_move(true), None);
    floor.stations.arrived(reader(1));
    floor.stations.proved(reader(1));
    assert_eq!(floor.next_move(true), None, "the blank for the proved reader is still on its way");
    floor.stations.arrived(reader(0));
    assert_eq!(floor.next_move(true), Some(Move::Feed(4, reader(2))));
}

#[test]
fn nothing_is_proved_while_a_card_may_still_come_to_another_station() {
    let reader = |station| Place { stage: 0, station };
    let mut floor = unproved(2, 1, 2);
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, reader(0))));
    // Its transport does not answer: a blank may have been fed or not.
    floor.stations.arrived(reader(0));
    floor.unfeed(1);
    floor.stations.out_of_service(reader(0));
    floor.stations.is_unclear(reader(0), true);
    assert_eq!(floor.next_move(true), None);
    // The other station is in service, but a line that waited for it would wait for ever.
    assert_eq!(floor.stations.late_card_for(0), Some(reader(0)));
    assert_eq!(floor.stations.service(0), Service::Awaited);
    floor.stations.give_up(0);
    assert_eq!(floor.stations.service(0), Service::Lost);
    floor.stations.back(reader(0));
    floor.stations.is_unclear(reader(0), false);
    assert_eq!((floor.stations.late_card_for(0), floor.stations.service(0)), (None, Service::Up));
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, reader(0))));
    // A later outage is waited for anew.
    floor.stations.out_of_service(reader(0));
    floor.stations.stuck(reader(1));
    assert_eq!(floor.stations.service(0), Service::Awaited);
}

#[test]
fn a_station_that_is_proved_goes_on_while_a_late_card_keeps_others_from_their_proof() {
    let reader = |station| Place { stage: 0, station };
    let mut floor = unproved(3, 1, 2);
    floor.stations.proved(reader(2));
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, reader(0))));
    floor.stations.arrived(reader(0));
    floor.unfeed(1);
    floor.stations.out_of_service(reader(0));
    floor.stations.is_unclear(reader(0), true);
    assert_eq!((floor.stations.late_card_for(0), floor.stations.service(0)), (None, Service::Up));
    assert_eq!(floor.next_move(true), Some(Move::Feed(1, reader(2))));
    // It goes out of service too: only the station that cannot be proved is left.
    floor.stations.out_of_service(reader(2));
    assert_eq!(
        (floor.stations.late_card_for(0), floor.stations.service(0)),
        (Some(reader(0)), Service::Awaited)
    );
}

#[test]
fn three_orders_without_a_proof_need_a_person_and_a_new_connection_begins_anew() {
    let place = Place { stage: 0, station: 0 };
    let mut floor = unproved(1, 1, 1);
    assert!(!floor.stations.proof_failed(place));
    floor.stations.proved(place);
    assert!(!floor.stations.proof_failed(place), "a proved station has nothing to prove");
    floor.stations.unproved(place);
    for failed in [false, false, true] {
        assert_eq!(floor.stations.proof_failed(place), failed);
        floor.stations.unproved(place);
    }
}

#[test]
fn cards_wait_for_a_module_whose_stations_are_exchanged() {
    let mut floor = unproved(1, 2, 2);
    let (first, second) = (Place { stage: 1, station: 0 }, Place { stage: 1, station: 1 });
    assert_eq!(floor.stations.suspects(first), [second]);
    floor.stations.miswired(first);
    assert_eq!(floor.stations.service(1), Service::Up);
    floor.stations.miswired(second);
    assert_eq!(floor.stations.service(1), Service::Awaited);
    floor.stations.give_up(1);
    assert_eq!(floor.stations.service(1), Service::Lost);
}
