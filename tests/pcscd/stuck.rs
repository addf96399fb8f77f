//! Cards and readers that do not answer, and the programs that hold them.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use drivers::link::{CardError, CardLink, CommandStep, LinkError, Protocols, Reset, SessionLimits};

use crate::bystander::Bystander;
use crate::pcscd_support::card::{ATR_T0, ATR_T1, Act, Card};
use crate::pcscd_support::scene::Scene;
use crate::{LONG, station, waiting};

/// A limit that is certain to pass, and the time that ending a host may add to it.
const SHORT: Duration = Duration::from_millis(400);
const GRACE: Duration = Duration::from_secs(1);
const COMMAND: &[u8] = &[0x80, 0xE2, 0, 0, 0];

/// Answers until the command with that P1 comes, and freezes at it.
fn freezing() -> Card {
    Card::new(ATR_T1, |command| match command[2] {
        0xFF => Act::Freeze(vec![0x90, 0x00]),
        _ => Act::Answer(vec![0x90, 0x00]),
    })
}

/// Probes the reader until it answers, as the thread of a station out of service does.
fn heal(reader: &mut dyn CardLink) {
    let until = Instant::now() + LONG;
    loop {
        match reader.probe(Duration::from_secs(2)) {
            Ok(()) => return,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

#[test]
fn a_card_that_stands_still_costs_its_own_reader_only_and_heals() {
    let scene = Scene::start(4);
    let stopped = freezing().insert(&scene, 0);
    // One of the other cards is served by the same driver instance.
    let _others = [1, 2].map(|n| Card::echo(ATR_T1).insert(&scene, n));
    let mut reader = station(&scene, 0);
    let mut others = [1, 2].map(|n| station(&scene, n));
    for reader in others.iter_mut().chain([&mut reader]) {
        reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    }
    let first = reader.pid().unwrap();

    let commands = [&[0x80, 0xE2, 1, 0, 0][..], &[0x80, 0xE2, 0xFF, 0, 0], COMMAND];
    let steps = commands.map(|command| CommandStep { command, go_on: &[] });
    let mut responses = Vec::new();
    let begun = Instant::now();
    let outcome = reader.transmit_all(&steps, SessionLimits { each: SHORT, all: LONG }, &mut responses);
    assert_eq!((outcome, responses.len()), (Err(CardError::Reader(LinkError::Timeout(SHORT))), 1));
    assert!(begun.elapsed() < SHORT + GRACE, "{:?}", begun.elapsed());
    assert!(!Path::new(&format!("/proc/{first}")).exists(), "the host was not reaped");
    assert_eq!(reader.pid(), None);
    assert_eq!(reader.transmit(COMMAND, SHORT), Err(CardError::Reader(LinkError::Closed)));
    stopped.await_frozen();

    // The other readers are not affected.
    let begun = Instant::now();
    for other in &mut others {
        for _ in 0..50 {
            assert_eq!(other.transmit(COMMAND, LONG).unwrap(), [0x90, 0x00]);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    // The killed host's connection holds the reader until the card goes on.
    for _ in 0..2 {
        let outcome = reader.probe(SHORT);
        assert!(
            matches!(outcome, Err(CardError::Held | CardError::Reader(LinkError::Timeout(_)))),
            "{outcome:?}"
        );
    }
    stopped.thaw();
    heal(&mut reader);
    assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), ATR_T1);
    assert_eq!(reader.transmit(COMMAND, LONG).unwrap(), [0x90, 0x00]);
    assert_ne!(reader.pid(), Some(first));
    // The commands after the one that hung were never sent.
    let sent: Vec<u8> = stopped.seen().commands.iter().map(|command| command[2]).collect();
    assert_eq!(sent, [1, 0xFF, 0]);
}

/// A card that always has more to fetch ends at the command's limit if it is slow, and at the count of
/// commands if it is fast.
#[test]
fn a_card_that_always_has_more_to_fetch_ends() {
    let scene = Scene::start(1);
    let mut reader = station(&scene, 0);
    let endless = |pause: Duration| {
        Card::new(ATR_T0, move |_| {
            thread::sleep(pause);
            Act::Answer(vec![0xAA, 0x61, 0x01])
        })
    };
    let fast = endless(Duration::ZERO).insert(&scene, 0);
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    assert_eq!(reader.transmit(COMMAND, LONG).unwrap(), [0x61, 0x01]);
    assert!(fast.seen().commands.len() < 50);
    reader.power_off(LONG).unwrap();
    drop(fast);
    let _slow = endless(SHORT / 4).insert(&scene, 0);
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    let begun = Instant::now();
    let outcome = reader.transmit(COMMAND, SHORT);
    assert_eq!(outcome, Err(CardError::Reader(LinkError::Timeout(SHORT))));
    assert!(begun.elapsed() < SHORT + GRACE, "{:?}", begun.elapsed());
}

#[test]
fn a_reset_that_hangs_ends_at_the_limit() {
    let scene = Scene::start(2);
    let card = Card::echo(ATR_T1).insert(&scene, 0);
    let mut reader = station(&scene, 0);
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    card.freeze();
    let begun = Instant::now();
    let outcome = reader.power_on(Reset::Cold, Protocols::ANY, SHORT);
    assert_eq!(outcome, Err(CardError::Reader(LinkError::Timeout(SHORT))));
    assert!(begun.elapsed() < SHORT + GRACE, "{:?}", begun.elapsed());
    card.thaw();
    heal(&mut reader);
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
}

#[test]
fn a_reader_of_another_program_is_held_and_free_when_that_ends() {
    let scene = Scene::start(1);
    let _card = Card::echo(ATR_T1).insert(&scene, 0);
    for how in ["exclusive", "shared", "transaction"] {
        let other = Bystander::start(&scene, 0, how);
        let mut reader = waiting(&scene, 0, SHORT);
        let begun = Instant::now();
        let outcome = reader.power_on(Reset::Cold, Protocols::ANY, GRACE);
        // pcscd makes a connect wait for the end of a transaction.
        let transaction =
            how == "transaction" && outcome == Err(CardError::Reader(LinkError::Timeout(GRACE)));
        assert!(transaction || outcome == Err(CardError::Held), "{how}: {outcome:?}");
        assert!(begun.elapsed() < GRACE + GRACE, "{how}: {:?}", begun.elapsed());
        drop(other);
        heal(&mut reader);
        assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), ATR_T1, "{how}");
    }
}

#[test]
fn a_reader_taken_between_two_cards_is_waited_for_as_the_card_is() {
    let scene = Scene::start(1);
    let mut reader = station(&scene, 0);
    let first = Card::echo(ATR_T1).insert(&scene, 0);
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    reader.power_off(LONG).unwrap();
    drop(first);
    let _second = Card::echo(ATR_T0).insert(&scene, 0);
    for how in ["exclusive", "shared"] {
        let other = Bystander::start(&scene, 0, how);
        thread::scope(|scope| {
            let atr = scope.spawn(|| reader.power_on(Reset::Cold, Protocols::ANY, LONG));
            thread::sleep(GRACE);
            assert!(!atr.is_finished(), "{how}");
            drop(other);
            assert_eq!(atr.join().unwrap().unwrap(), ATR_T0, "{how}");
        });
        // Once the reader is ours, no other program can take it.
        assert_eq!(reader.transmit(COMMAND, LONG).unwrap(), [0x90, 0x00]);
        reader.power_off(LONG).unwrap();
    }
}

#[test]
fn a_reader_of_ours_is_held_for_a_second_station() {
    let scene = Scene::start(1);
    let _card = Card::echo(ATR_T1).insert(&scene, 0);
    let mut first = station(&scene, 0);
    first.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    let mut second = station(&scene, 0);
    assert_eq!(second.power_on(Reset::Cold, Protocols::ANY, LONG), Err(CardError::Held));
    assert_eq!(first.transmit(COMMAND, LONG).unwrap(), [0x90, 0x00]);
    first.power_off(LONG).unwrap();
    assert_eq!(second.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), ATR_T1);
}

#[test]
fn a_host_ends_with_its_controller_even_during_a_call() {
    let scene = Scene::start(1);
    let card = freezing().insert(&scene, 0);
    let mut reader = station(&scene, 0);
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    let host = reader.pid().unwrap();
    // The thread that owns the link ends while the host hangs in a command, and drops the link.
    let hung = thread::spawn(move || reader.transmit(&[0x80, 0xE2, 0xFF, 0, 0], SHORT));
    card.await_frozen();
    assert!(hung.join().unwrap().is_err());
    assert!(!Path::new(&format!("/proc/{host}")).exists());
}
