//! Readers by name, several pcscd, a pcscd that is restarted.

use std::thread;
use std::time::Duration;

use drivers::link::{CardError, CardLink, LinkError, Protocols, Reset};
use drivers::pcsc::{ReaderSelector, ReaderSpec};

use crate::pcscd_support::card::{ATR_T0, ATR_T1, Act, Card};
use crate::pcscd_support::scene::{READERS_MAX, Scene};
use crate::{LONG, WAIT, by, station};

/// ATRs that tell sixteen readers apart.
fn atr(n: usize) -> Vec<u8> {
    vec![0x3B, 0x02, 0x14, u8::try_from(n).unwrap()]
}

#[test]
fn sixteen_readers_keep_their_stations_in_any_order_of_plugging() {
    let mut scene = Scene::start(READERS_MAX);
    let mut stations: Vec<_> = (0..READERS_MAX).map(|n| station(&scene, n)).collect();
    let cards = |scene: &Scene| -> Vec<_> {
        (0..READERS_MAX).map(|n| Card::echo(&atr(n)).insert(scene, n)).collect()
    };
    let mut inserted = cards(&scene);
    for order in [[0, 1, 2, 3, 4, 5, 6, 7], [7, 3, 5, 0, 1, 6, 2, 4]] {
        scene.kill_pcscd();
        scene.plug(&order);
        scene.start_pcscd();
        inserted.clear();
        inserted = cards(&scene);
        for (n, station) in stations.iter_mut().enumerate() {
            station.reopen(LONG).unwrap();
            assert_eq!(station.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), atr(n), "{n}");
        }
    }
}

#[test]
fn a_name_that_is_not_there_is_reported_with_those_that_are() {
    let scene = Scene::start(2);
    for spec in [
        ReaderSpec { by: ReaderSelector::Name("Omni 9".into()), slot: 0, wait_ms: 0 },
        ReaderSpec { by: ReaderSelector::Name(scene.name(0)), slot: 2, wait_ms: 0 },
        ReaderSpec { by: ReaderSelector::Name(scene.name(0) + " 00 00"), slot: 0, wait_ms: 0 },
        // A reader on the network has no place on USB.
        ReaderSpec { by: ReaderSelector::Usb("1-99".into()), slot: 0, wait_ms: 0 },
    ] {
        let name = matches!(spec.by, ReaderSelector::Name(_));
        let mut reader = by(&scene, spec);
        let Err(CardError::NoReader(text)) = reader.reopen(LONG) else { panic!("opened") };
        assert_eq!(text.contains(&format!("{:?} slot 1", scene.name(0))), name, "{text}");
        assert!(matches!(reader.probe(LONG), Err(CardError::NoReader(_))));
    }
}

#[test]
fn neither_of_two_readers_with_one_name_is_used() {
    let mut scene = Scene::start(4);
    scene.kill_pcscd();
    scene.rename(1, &scene.name(0));
    scene.plug(&[0, 1]);
    scene.start_pcscd();
    let mut reader = station(&scene, 0);
    let Err(CardError::NoReader(text)) = reader.reopen(LONG) else { panic!("opened") };
    assert!(text.contains("2 readers") && text.contains("USB path"), "{text}");
}

#[test]
fn a_pcscd_that_is_restarted_is_found_again() {
    let mut scene = Scene::start(1);
    let card = Card::echo(ATR_T1).insert(&scene, 0);
    let mut reader = station(&scene, 0);
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    reader.transmit(&[0, 1, 2, 3], LONG).unwrap();
    let host = reader.pid();
    // The restart comes in the middle of a card.
    scene.kill_pcscd();
    assert!(matches!(reader.transmit(&[0, 1, 2, 3], LONG), Err(CardError::Reader(LinkError::Io(_)))));
    assert_eq!(reader.transmit(&[0, 1, 2, 3], LONG), Err(CardError::Removed));
    let Err(CardError::Reader(LinkError::Io(text))) = reader.probe(LONG) else { panic!("no pcscd") };
    assert!(text.contains("PC/SC"), "{text}");
    drop(card);
    scene.start_pcscd();
    let _card = Card::echo(ATR_T0).insert(&scene, 0);
    // The same host serves the reader again; a new host is not needed.
    assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), ATR_T0);
    assert_eq!(reader.transmit(&[0, 1, 2, 3], LONG).unwrap(), [0x90, 0x00]);
    assert_eq!(reader.pid(), host);
}

/// pcscd ends while a card has a command, and while one is reset: the service is to blame, and no card.
#[test]
fn a_pcscd_that_ends_during_a_call_is_blamed_and_not_the_card() {
    let mut scene = Scene::start(1);
    let mut reader = station(&scene, 0);
    for reset in [false, true] {
        let card = Card::new(ATR_T1, |_| Act::Freeze(vec![0x90, 0x00])).insert(&scene, 0);
        reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
        if reset {
            card.freeze();
        }
        let outcome = thread::scope(|scope| {
            let call = scope.spawn(|| match reset {
                false => reader.transmit(&[0, 1, 2, 3], LONG),
                true => reader.power_on(Reset::Cold, Protocols::ANY, LONG),
            });
            card.await_frozen();
            thread::sleep(Duration::from_millis(200));
            scene.kill_pcscd();
            call.join().unwrap()
        });
        let Err(CardError::Reader(LinkError::Io(text))) = outcome else { panic!("{reset}: {outcome:?}") };
        assert!(text.contains("PC/SC") && (reset || text.contains("ended during a call")), "{text}");
        drop(card);
        scene.start_pcscd();
    }
}

/// pcscd is back before anybody looks: the old connection is of no use, and the card is not to blame.
#[test]
fn a_pcscd_that_is_restarted_during_a_call_is_blamed_as_well() {
    let mut scene = Scene::start(1);
    let mut reader = station(&scene, 0);
    let card = Card::new(ATR_T1, |_| Act::Freeze(vec![0x90, 0x00])).insert(&scene, 0);
    reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap();
    let outcome = thread::scope(|scope| {
        let call = scope.spawn(|| reader.transmit(&[0, 1, 2, 3], LONG));
        card.await_frozen();
        scene.kill_pcscd();
        scene.start_pcscd();
        call.join().unwrap()
    });
    let Err(CardError::Reader(LinkError::Io(text))) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains("ended during a call"), "{text}");
    drop(card);
    let _card = Card::echo(ATR_T0).insert(&scene, 0);
    assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), ATR_T0);
}

#[test]
fn a_missing_pcscd_is_reported_and_a_later_one_is_found() {
    let mut scene = Scene::start(1);
    scene.kill_pcscd();
    let mut reader = station(&scene, 0);
    assert!(matches!(reader.reopen(LONG), Err(CardError::Reader(LinkError::Io(_)))));
    assert_eq!(reader.pid(), None);
    scene.start_pcscd();
    let _card = Card::echo(ATR_T0).insert(&scene, 0);
    assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), ATR_T0);
}

#[test]
fn two_pcscd_serve_readers_of_one_name_at_the_same_time() {
    let scenes = [Scene::start(1), Scene::start(1)];
    let _cards =
        [ATR_T0, ATR_T1].iter().zip(&scenes).map(|(atr, s)| Card::echo(atr).insert(s, 0)).collect::<Vec<_>>();
    let mut readers = scenes.each_ref().map(|scene| by(scene, scene.reader(0, WAIT)));
    for _ in 0..2 {
        for (reader, atr) in readers.iter_mut().zip([ATR_T0, ATR_T1]) {
            assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), atr);
        }
        for reader in &mut readers {
            assert_eq!(reader.transmit(&[0, 1, 2, 3], LONG).unwrap(), [0x90, 0x00]);
        }
    }
}
