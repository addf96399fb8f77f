//! Exchanges with good cards and with bad ones.

use std::time::{Duration, Instant};

use drivers::link::{CardError, CardLink, CommandStep, Protocols, Reset, SessionLimits};

use crate::pcscd_support::card::{ATR_NONE, ATR_T0, ATR_T1, Act, Card};
use crate::pcscd_support::scene::Scene;
use crate::{LONG, station, waiting};

const T0: Protocols = Protocols { t0: true, t1: false };
const T1: Protocols = Protocols { t0: false, t1: true };
const LIMITS: SessionLimits = SessionLimits { each: LONG, all: LONG };

#[test]
fn an_atr_comes_for_each_protocol_and_the_other_one_is_refused() {
    let scene = Scene::start(2);
    let _cards = [Card::echo(ATR_T0).insert(&scene, 0), Card::echo(ATR_T1).insert(&scene, 1)];
    for (n, atr, own, other) in [(0, ATR_T0, T0, T1), (1, ATR_T1, T1, T0)] {
        let mut reader = station(&scene, n);
        for protocols in [own, Protocols::ANY, own] {
            assert_eq!(reader.power_on(Reset::Cold, protocols, LONG).unwrap(), atr);
            assert_eq!(reader.transmit(&[0, 1, 2, 3, 1, 9], LONG).unwrap(), [9, 0x90, 0x00]);
        }
        assert_eq!(reader.power_on(Reset::Cold, other, LONG), Err(CardError::Protocol));
        assert_eq!(reader.transmit(&[0, 1, 2, 3], LONG), Err(CardError::Removed));
        // After a refusal the reader still works.
        assert_eq!(reader.power_on(Reset::Cold, own, LONG).unwrap(), atr);
        reader.power_off(LONG).unwrap();
        assert!(reader.opened().starts_with(&scene.name(n)));
    }
}

/// SELECT of the PSE, a command of case 4, with Le and without.
const SELECT: &str = "00A404000E315041592E5359532E444446303100";
const SELECT_TPDU: &str = "00A404000E315041592E5359532E4444463031";

/// A card that gives these answers in turn, whatever it is asked.
fn scripted(atr: &[u8], answers: &[&str]) -> Card {
    let mut answers: Vec<_> = answers.iter().rev().map(|answer| hex::decode(answer).unwrap()).collect();
    Card::new(atr, move |_| Act::Answer(answers.pop().unwrap_or_else(|| vec![0x6F, 0x00])))
}

/// ISO/IEC 7816-3, 12.2 and EMV Book 1, 9.3.1.2: a card of T=0 gets no Le after data, and what it withholds
/// is fetched in every order. A card of T=1 gets the APDU as it is.
#[test]
fn a_card_gets_the_commands_of_its_protocol() {
    // TD1 offers T=0, TD2 T=1: pcscd chooses T=1.
    let both = &[0x3B, 0x80, 0x80, 0x01, 0x01];
    let get_data = "80CA00CF00";
    let scene = Scene::start(1);
    let mut reader = station(&scene, 0);
    for (atr, command, answers, seen, whole) in [
        (ATR_T0, SELECT, &["6102", "AABB9000"][..], &[SELECT_TPDU, "00C0000002"][..], "AABB9000"),
        (
            ATR_T0,
            SELECT,
            &["6100", "6C02", "AABB9000"],
            &[SELECT_TPDU, "00C0000000", "00C0000002"],
            "AABB9000",
        ),
        (
            ATR_T0,
            SELECT,
            &["6101", "AA6101", "BB9000"],
            &[SELECT_TPDU, "00C0000001", "00C0000001"],
            "AABB9000",
        ),
        (ATR_T0, SELECT, &["6A82"], &[SELECT_TPDU], "6A82"),
        (ATR_T0, SELECT, &["6C10"], &[SELECT_TPDU], "6C10"),
        (ATR_T0, get_data, &["6C02", "AABB9000"], &[get_data, "80CA00CF02"], "AABB9000"),
        (
            ATR_T0,
            get_data,
            &["6C01", "AA6101", "BB9000"],
            &[get_data, "80CA00CF01", "00C0000001"],
            "AABB9000",
        ),
        (ATR_T0, "00FE0000", &["6D00"], &["00FE000000"], "6D00"),
        (ATR_T1, SELECT, &["AABB9000"], &[SELECT], "AABB9000"),
        (ATR_T1, SELECT, &["6102", "AABB9000"], &[SELECT, "00C0000002"], "AABB9000"),
        (ATR_T1, "00FE0000", &["6D00"], &["00FE0000"], "6D00"),
        (both, SELECT, &["AABB9000"], &[SELECT], "AABB9000"),
    ] {
        let card = scripted(atr, answers).insert(&scene, 0);
        assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), atr);
        let answer = reader.transmit(&hex::decode(command).unwrap(), LONG).unwrap();
        assert_eq!(hex::encode_upper(answer), whole, "{command} {answers:?}");
        let commands: Vec<_> = card.seen().commands.iter().map(hex::encode_upper).collect();
        assert_eq!(commands, seen, "{answers:?}");
        reader.power_off(LONG).unwrap();
    }
}

/// The protocol is the one in use, not the first that the ATR offers.
#[test]
fn a_card_of_two_protocols_is_served_in_the_allowed_one() {
    let scene = Scene::start(1);
    let card = Card::echo(&[0x3B, 0x80, 0x80, 0x01, 0x01]).insert(&scene, 0);
    let mut reader = station(&scene, 0);
    for (protocols, seen) in [(T1, SELECT), (T0, SELECT_TPDU), (Protocols::ANY, SELECT)] {
        reader.power_on(Reset::Cold, protocols, LONG).unwrap();
        reader.transmit(&hex::decode(SELECT).unwrap(), LONG).unwrap();
        assert_eq!(hex::encode_upper(card.seen().commands.last().unwrap()), seen, "{protocols:?}");
    }
}

/// A session of T=0 goes on after an answer that had to be fetched.
#[test]
fn a_session_goes_on_after_a_fetched_answer() {
    let scene = Scene::start(1);
    let card =
        scripted(ATR_T0, &["6101", "AA9000", "9000", "6C01", "BB9000", "6101", "6A88", "9000", "6A80"]);
    let card = card.insert(&scene, 0);
    let mut reader = station(&scene, 0);
    reader.power_on(Reset::Cold, T0, LONG).unwrap();
    let commands =
        [SELECT, "84E2000001AA", "00B2010C00", SELECT, "84E2000001BB", "84E2000001CC", "84E2000001DD"];
    let commands = commands.map(|command| hex::decode(command).unwrap());
    let steps: Vec<_> = commands.iter().map(|command| CommandStep { command, go_on: &[0x6A88] }).collect();
    let mut responses = Vec::new();
    reader.transmit_all(&steps, LIMITS, &mut responses).unwrap();
    let responses: Vec<_> = responses.iter().map(hex::encode_upper).collect();
    assert_eq!(responses, ["AA9000", "9000", "BB9000", "6A88", "9000", "6A80"]);
    assert_eq!(card.seen().commands.len(), 9, "nothing after the stop");
}

#[test]
fn long_commands_and_answers_pass() {
    let scene = Scene::start(1);
    let card = Card::new(ATR_T1, |command| {
        let data = command.get(7..).unwrap_or_default();
        Act::Answer([data, &[0x90, 0x00]].concat())
    })
    .insert(&scene, 0);
    let mut reader = station(&scene, 0);
    reader.power_on(Reset::Cold, T1, LONG).unwrap();
    for length in [1_u16, 255, 256, 1_100, 4_000, 32_000, 65_000] {
        let data: Vec<u8> = (0..length).map(|n| n.to_be_bytes()[1]).collect();
        let command = [&[0x80, 0xE2, 0, 0, 0][..], &length.to_be_bytes(), &data].concat();
        let answer = reader.transmit(&command, LONG).unwrap();
        assert!(answer.ends_with(&[0x90, 0x00]) && answer[..answer.len() - 2] == data, "{length}");
        assert_eq!(card.seen().commands.last().unwrap(), &command);
    }
}

#[test]
fn a_card_notices_which_reset_it_gets() {
    let scene = Scene::start(1);
    let card = Card::echo(ATR_T1).insert(&scene, 0);
    let mut reader = station(&scene, 0);
    reader.power_on(Reset::Cold, T1, LONG).unwrap();
    let first = card.seen();
    reader.power_on(Reset::Warm, T1, LONG).unwrap();
    let second = card.seen();
    assert_eq!((second.powered, second.resets), (first.powered, first.resets + 1));
    reader.power_on(Reset::Cold, T1, LONG).unwrap();
    let third = card.seen();
    assert_eq!((third.powered, third.resets), (second.powered + 1, second.resets));
}

#[test]
fn a_card_without_an_answer_to_reset_is_mute_and_the_next_one_is_not() {
    let scene = Scene::start(1);
    let mut reader = station(&scene, 0);
    // A card without an ATR, one with a garbled ATR, and another without an ATR after a good card.
    for atr in [ATR_NONE, &[0x00, 0xFF, 0x3B], ATR_NONE] {
        let card = Card::echo(atr).insert(&scene, 0);
        assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG), Err(CardError::Mute), "{atr:02X?}");
        reader.probe(LONG).unwrap();
        reader.power_off(LONG).unwrap();
        drop(card);
        let _card = Card::echo(ATR_T1).insert(&scene, 0);
        assert_eq!(reader.power_on(Reset::Cold, Protocols::ANY, LONG).unwrap(), ATR_T1, "{atr:02X?}");
        assert_eq!(reader.transmit(&[0, 1, 2, 3], LONG).unwrap(), [0x90, 0x00]);
        reader.power_off(LONG).unwrap();
    }
}

#[test]
fn an_empty_reader_is_reported_in_time_and_a_card_that_comes_is_taken() {
    let scene = Scene::start(1);
    let mut reader = waiting(&scene, 0, Duration::from_millis(700));
    reader.reopen(LONG).unwrap();
    reader.probe(LONG).unwrap();
    let begun = Instant::now();
    assert_eq!(reader.power_on(Reset::Cold, T1, LONG), Err(CardError::Absent));
    assert!(begun.elapsed() >= Duration::from_millis(700) && begun.elapsed() < Duration::from_secs(4));
    let mut reader = station(&scene, 0);
    std::thread::scope(|scope| {
        let atr = scope.spawn(|| reader.power_on(Reset::Cold, T1, LONG));
        std::thread::sleep(Duration::from_millis(300));
        let card = Card::echo(ATR_T1).insert(&scene, 0);
        assert_eq!(atr.join().unwrap().unwrap(), ATR_T1);
        drop(card);
    });
}

#[test]
fn a_card_pulled_between_any_two_commands_is_reported() {
    let scene = Scene::start(1);
    let mut reader = station(&scene, 0);
    const COMMANDS: usize = 5;
    for last in 0..COMMANDS {
        let mut left = last;
        let card = Card::new(ATR_T1, move |_| match left.checked_sub(1) {
            Some(less) => {
                left = less;
                Act::Answer(vec![0x90, 0x00])
            }
            None => Act::Leave,
        })
        .insert(&scene, 0);
        reader.power_on(Reset::Cold, T1, LONG).unwrap();
        let command = [0x80, 0xE2, 0, 0, 0];
        let steps = [CommandStep { command: &command, go_on: &[] }; COMMANDS];
        let mut responses = Vec::new();
        let outcome = reader.transmit_all(&steps, LIMITS, &mut responses);
        assert_eq!((outcome, responses.len()), (Err(CardError::Removed), last));
        assert_eq!(reader.transmit(&command, LONG), Err(CardError::Removed));
        drop(card);
    }
}

#[test]
fn after_a_change_of_cards_the_atr_is_that_of_the_new_one() {
    let scene = Scene::start(1);
    let mut reader = station(&scene, 0);
    let mut atrs = [ATR_T0, ATR_T1, &[0x3B, 0x02, 0x14, 0x50]].into_iter().cycle();
    // With the power switched off first and without, fast and slow.
    for (off, pause) in [(true, 0), (false, 0), (true, 600), (false, 600), (true, 0), (false, 0)] {
        let atr = atrs.next().unwrap();
        let card = Card::echo(atr).insert(&scene, 0);
        let outcome = reader.power_on(Reset::Cold, Protocols::ANY, LONG);
        assert_eq!(outcome.as_deref(), Ok(atr), "{off} {pause}");
        assert_eq!(reader.transmit(&[0, 1, 2, 3], LONG).unwrap(), [0x90, 0x00]);
        if off {
            reader.power_off(LONG).unwrap();
        }
        drop(card);
        std::thread::sleep(Duration::from_millis(pause));
    }
}

#[test]
fn nothing_after_a_stop_reaches_the_card() {
    let scene = Scene::start(1);
    let card = Card::new(ATR_T1, |command| match command[2] {
        1 => Act::Answer(vec![1, 2, 3, 0x90, 0x00]),
        2 => Act::Answer(vec![0x6A, 0x88]),
        3 => Act::Answer(vec![0x63, 0x10]),
        _ => Act::Answer(vec![0x69, 0x85]),
    })
    .insert(&scene, 0);
    let mut reader = station(&scene, 0);
    reader.power_on(Reset::Cold, T1, LONG).unwrap();
    let commands: Vec<[u8; 5]> = (0..6).map(|n| [0x80, 0xE2, n, 0, 0]).collect();
    let run = |reader: &mut dyn CardLink, order: &[(usize, &[u16])]| {
        let steps: Vec<CommandStep<'_>> =
            order.iter().map(|(n, go_on)| CommandStep { command: &commands[*n], go_on }).collect();
        let before = card.seen().commands.len();
        let mut responses = Vec::new();
        reader.transmit_all(&steps, LIMITS, &mut responses).unwrap();
        let seen: Vec<u8> = card.seen().commands[before..].iter().map(|c| c[2]).collect();
        assert_eq!(seen.len(), responses.len());
        seen
    };
    assert_eq!(run(&mut reader, &[(1, &[]), (1, &[]), (5, &[]), (1, &[])]), [1, 1, 5]);
    assert_eq!(run(&mut reader, &[(1, &[]), (2, &[]), (1, &[])]), [1, 2]);
    assert_eq!(run(&mut reader, &[(2, &[0x6A88]), (1, &[]), (3, &[0x6A88]), (1, &[])]), [2, 1, 3]);
    assert_eq!(run(&mut reader, &[(3, &[0x6A88, 0x6310]), (2, &[0x6310, 0x6A88]), (1, &[])]), [3, 2, 1]);
    assert_eq!(run(&mut reader, &[(5, &[]), (1, &[])]), [5]);
}
