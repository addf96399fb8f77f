//! Tests of the reader: the controller's view of faulty cards, and the witness's record.

use std::time::Instant;

use super::*;
use crate::faults::FaultPlan;
use crate::profile::SimLineProfile;
use crate::testing::{feed, look, world};
use crate::witness::LineWitness;

const SELECT: &[u8] = &[0x00, 0xA4, 0x04, 0x00, 0x00];
/// GET DATA of KEYDATA with the right Le, which a card of T=0 answers at once.
const KEY_DATA: &[u8] = &[0x80, 0xCA, 0x00, 0xCF, 0x0C];

fn now() -> LinkPace {
    LinkPace::new(0.0)
}

fn power_on(world: &SimulatedLine, station: &SimulatedStation) -> ContactsReply {
    ChipContacts::new(world, station).power_on()
}

fn kind(reply: ContactsReply) -> u8 {
    let ContactsReply::Said(kind, _) = reply else { panic!("no answer") };
    kind
}

fn transmit(world: &SimulatedLine, station: &SimulatedStation, command: &[u8]) -> ContactsReply {
    ChipContacts::new(world, station).transmit(command)
}

#[test]
fn a_pulled_card_stays_away_in_transmit_and_reset() {
    let world = world("[[fault]]\nkind = \"card-pulled\"\nevery = 1\nafter = 1");
    let station = feed(&world, "chip-1");
    assert_eq!(kind(power_on(&world, station)), reader::ATR);
    assert_eq!(kind(transmit(&world, station, SELECT)), reader::RESPONSE);
    // After its last APDU the card is missing at a reset as well as at the next command.
    assert_eq!(power_on(&world, station), failed(reader::NO_CARD));
    look(station, |blank| assert!(!blank.strike(FaultKind::CardPulled), "noted"));
    assert_eq!(transmit(&world, station, SELECT), failed(reader::REMOVED));
    assert_eq!(power_on(&world, station), failed(reader::NO_CARD));
    world.reject(station, &mut now()).unwrap();
}

#[test]
fn a_mute_card_is_noted_at_reset() {
    let world = world("[[fault]]\nkind = \"mute\"\nevery = 1");
    let station = feed(&world, "chip-1");
    look(station, |blank| assert!(blank.fault(FaultKind::Mute).is_some()));
    assert_eq!(power_on(&world, station), failed(reader::MUTE));
    assert_eq!(transmit(&world, station, SELECT), failed(reader::REMOVED));
    look(station, |blank| assert!(!blank.strike(FaultKind::Mute), "noted"));
}

#[test]
fn a_blank_that_jammed_in_the_feed_touches_no_contact() {
    let world = world("[[fault]]\nkind = \"feed-jam\"\nevery = 1");
    let station = world.station("chip-1").unwrap();
    assert!(world.feed(station, &mut now()).is_err());
    assert_eq!(power_on(&world, station), failed(reader::NO_CARD));
}

#[test]
fn power_is_lost_on_the_way_to_another_station() {
    let world = world("");
    let station = feed(&world, "chip-1");
    assert_eq!(kind(power_on(&world, station)), reader::ATR);
    let other = world.station("chip-2").unwrap();
    world.lift_to_station(other, "chip-1").unwrap();
    world.arrive(other, &mut now()).unwrap();
    assert_eq!(transmit(&world, other, SELECT), failed(reader::REMOVED));
    assert_eq!(kind(power_on(&world, other)), reader::ATR);
    assert_eq!(kind(transmit(&world, other, SELECT)), reader::RESPONSE);
    ChipContacts::new(&world, other).power_off();
    assert_eq!(transmit(&world, other, SELECT), failed(reader::REMOVED));
}

/// Chip faults are noted in the exchange in which they show, and not before.
#[test]
fn a_fault_is_noted_in_the_exchange_that_shows_it() {
    let init: &[u8] = &[0x80, 0x50, 0x01, 0x00];
    let store: &[u8] = &[0x84, 0xE2, 0x00, 0x00];
    let cases: &[(&str, &[u8], &[u8], bool)] = &[
        ("kind = \"unknown-kmc\"", init, &[0x01, 0x90, 0x00], true),
        ("kind = \"unknown-kmc\"", init, &[0x6A, 0x88], false),
        ("kind = \"unknown-kmc\"", SELECT, &[0x90, 0x00], false),
        ("kind = \"wrong-cryptogram\"", init, &[0x01, 0x90, 0x00], true),
        ("kind = \"status\"\nsw = \"6A84\"", store, &[0x6A, 0x84], true),
        ("kind = \"chip-corrupt\"", &[0x00, 0xB2, 0x01, 0x0C], &[0x70, 0x00, 0x90, 0x00], true),
        ("kind = \"chip-corrupt\"", store, &[0x90, 0x00], false),
        ("kind = \"status\"\nsw = \"6A84\"", store, &[0x90, 0x00], false),
        ("kind = \"status\"\nsw = \"6A84\"", init, &[0x6A, 0x84], false),
        ("kind = \"jam-stripe\"", store, &[0x6A, 0x84], false),
    ];
    for (fault, command, response, noted) in cases {
        let world = world(&format!("[[fault]]\n{fault}\nevery = 1"));
        let station = feed(&world, "chip-1");
        look(station, |blank| {
            let kinds = [
                FaultKind::UnknownKmc,
                FaultKind::WrongCryptogram,
                FaultKind::Status,
                FaultKind::ChipCorrupt,
                FaultKind::JamStripe,
            ];
            ChipContacts::new(&world, station).note(blank, command, response);
            let left = kinds.into_iter().any(|kind| blank.strike(kind));
            assert_eq!(left, !noted, "{fault} {command:02X?}");
        });
    }
}

/// A reset takes the time of the ATR's characters at 9622 baud. A command takes its characters at TA1 13 (10
/// x 12 etu and 7 x 12 etu) and the 2 ms of the card's operating system.
#[test]
fn exchanges_take_their_time() {
    let line = SimLineProfile::load("sim-8").unwrap();
    let world = SimulatedLine::new(line, 1, FaultPlan::default(), 1.0, LineWitness::default()).unwrap();
    let station = feed(&world, "chip-1");
    let mut contacts = ChipContacts::new(&world, station);
    let start = Instant::now();
    for _ in 0..10 {
        contacts.power_on();
        for _ in 0..5 {
            contacts.transmit(&[0x80, 0xFE, 0x00, 0x00]);
        }
    }
    let took = start.elapsed().as_secs_f64();
    let expected = 10.0 * (120.0 / 9622.0 + 5.0 * (84.0 / 38490.0 + 0.002));
    assert!((expected - 0.002..expected + 0.15).contains(&took), "{took} {expected}");
}

/// A card takes as long as its profile says, from the reset to the power off.
#[test]
fn chip_work_takes_its_time_at_least() {
    let mut line = SimLineProfile::load("sim-8").unwrap();
    line.sim.chip_s = 0.2;
    let world = SimulatedLine::new(line, 1, FaultPlan::default(), 1.0, LineWitness::default()).unwrap();
    let station = feed(&world, "chip-1");
    let mut contacts = ChipContacts::new(&world, station);
    let start = Instant::now();
    assert_eq!(kind(contacts.power_on()), reader::ATR);
    contacts.transmit(SELECT);
    contacts.power_off();
    let took = start.elapsed().as_secs_f64();
    assert!((0.19..0.5).contains(&took), "{took}");
    contacts.power_off();
    assert!(start.elapsed().as_secs_f64() < took + 0.15, "it has no power any more");
}

#[test]
fn a_card_hangs_in_one_station_and_stays_there_until_it_is_thrown_out() {
    let world = world("[[fault]]\nkind = \"hang\"\nblanks = [1]\nafter = 2");
    let station = feed(&world, "chip-1");
    power_on(&world, station);
    assert_eq!(kind(transmit(&world, station, SELECT)), reader::RESPONSE);
    assert_eq!(kind(transmit(&world, station, SELECT)), reader::RESPONSE);
    assert_eq!(transmit(&world, station, SELECT), ContactsReply::Never);
    assert_eq!(power_on(&world, station), ContactsReply::Never);
    look(station, |blank| assert!(!blank.strike(FaultKind::Hang), "noted"));
    let other = world.station("chip-2").unwrap();
    world.lift_to_station(other, "chip-1").unwrap();
    world.arrive(other, &mut now()).unwrap();
    assert_eq!(kind(power_on(&world, other)), reader::ATR);
    assert_eq!(kind(transmit(&world, other, SELECT)), reader::RESPONSE);
}

/// On the link of a hanging card: the answers before the hang arrive, the connection stays, and the links of
/// the transport and of other stations go on.
#[test]
fn a_hanging_card_answers_nothing_on_its_link() {
    let world = world("[[fault]]\nkind = \"hang\"\nevery = 1\nafter = 1");
    let station = feed(&world, "chip-1");
    crate::testing::link(
        |stream| serve(stream, &world, station),
        |client| {
            client.send(&[1, 0, 0, 0, 2, 0, 3]);
            assert_eq!(client.take(5)[0], reader::ATR);
            client.take(10);
            client.send(&[&[4, 0, 0, 0, 16], &[0, 0, 5][..], KEY_DATA, &[0, 0, 5], KEY_DATA].concat());
            let header = client.take(5);
            assert_eq!(header[0], reader::RESPONSE);
            client.take(header[4].into());
            client.expect_silence();
            client.send(&[5, 0, 0, 0, 0]);
            client.expect_silence();
            world.reject(station, &mut now()).unwrap();
        },
    );
}

#[test]
fn one_answer_comes_late() {
    let world = world("[[fault]]\nkind = \"late\"\nevery = 1\nafter = 1\nms = 150");
    let station = feed(&world, "chip-1");
    power_on(&world, station);
    let took: Vec<bool> = (0..3)
        .map(|_| {
            let start = Instant::now();
            transmit(&world, station, SELECT);
            start.elapsed().as_millis() >= 150
        })
        .collect();
    assert_eq!(took, [false, true, false]);
}

#[test]
fn wrong_answers_to_reset() {
    for (fault, expected, noted) in [
        ("garbled-atr", "3BFF1300005443415244", FaultKind::GarbledAtr),
        ("wrong-protocol", "3BE000008131204535", FaultKind::WrongProtocol),
    ] {
        let world = world(&format!("[[fault]]\nkind = \"{fault}\"\nevery = 1"));
        let station = feed(&world, "chip-1");
        let ContactsReply::Said(reader::ATR, atr) = power_on(&world, station) else { panic!("no ATR") };
        assert_eq!(hex::encode_upper(atr), expected);
        look(station, |blank| assert!(!blank.strike(noted), "noted"));
    }
}

/// The answers of a reader with a card of T=1 to these requests, until the other end hangs up; `None` if the
/// reader ended the connection.
fn served(requests: &[u8]) -> Option<Vec<u8>> {
    served_by("[[fault]]\nkind = \"wrong-protocol\"\nevery = 1", requests)
}

fn served_by(faults: &str, requests: &[u8]) -> Option<Vec<u8>> {
    let world = world(faults);
    let station = feed(&world, "chip-1");
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut ends = &ours;
    ends.write_all(requests).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    serve(&theirs, &world, station).ok()?;
    drop(theirs);
    let mut said = Vec::new();
    ends.read_to_end(&mut said).unwrap();
    Some(said)
}

#[test]
fn several_commands_are_answered_until_one_is_not_done() {
    const POWER_ON: &[u8] = &[1, 0, 0, 0, 2, 0, 3];
    const DONE: &[u8] = &[0x82, 0, 0, 0, 2, 0x90, 0x00];
    let select: Vec<u8> = [&[0x00, 0xA4, 0x04, 0x00, 0x07], &b"\xA0\0\0\0\x03\x10\x10"[..], &[0x00]].concat();
    let several = |commands: &[&[u8]]| {
        let body: Vec<u8> =
            commands.iter().flat_map(|c| [&[0, 0, u8::try_from(c.len()).unwrap()], *c].concat()).collect();
        [POWER_ON, &[4, 0, 0, 0, u8::try_from(body.len()).unwrap()], &body].concat()
    };
    let alone =
        served(&[POWER_ON, &[2, 0, 0, 0, u8::try_from(select.len()).unwrap()], &select].concat()).unwrap();
    let (atr, response) = alone.split_at(5 + usize::from(alone[4]));
    let done = response.ends_with(&[0x90, 0x00]);
    assert!(done || response.len() > DONE.len(), "{response:02X?}");
    let unknown: &[u8] = &[0x00, 0xA4, 0x04, 0x00, 0x05, 1, 2, 3, 4, 5, 0x00];
    let refused = served(&several(&[unknown])).unwrap()[atr.len()..].to_vec();
    assert_eq!(refused[..5], [0x82, 0, 0, 0, 2]);
    assert_ne!(refused[5..], [0x90, 0x00]);

    let said = served(&several(&[&select, &select, unknown, &select])).unwrap();
    assert_eq!(said, [atr, response, response, &refused].concat(), "nothing behind the refused one");
    let said = served(&several(&[unknown, &select])).unwrap();
    assert_eq!(said, [atr, &refused].concat());

    // The card has no power, so it counts as removed.
    assert_eq!(served(&several(&[&select])[7..]).unwrap(), [0xFF, 0, 0, 0, 1, 3]);
    // Bodies that are no requests.
    for body in [&[][..], &[0], &[0, 0], &[0, 0, 2, 1], &[0, 0, 1, 7, 0], &[0xFF, 0xFF], &[1, 0x6A]] {
        assert_eq!(
            served(&[&[4, 0, 0, 0, u8::try_from(body.len()).unwrap()], body].concat()),
            None,
            "{body:02X?}"
        );
    }
}

/// ISO/IEC 7816-3, 12.2, on the simulated link: the shipped cards offer T=0 alone.
#[test]
fn a_t0_card_wants_command_tpdus() {
    let select = [&[0x00, 0xA4, 0x04, 0x00, 0x07][..], b"\xA0\0\0\0\x03\x10\x10"].concat();
    let request = |command: &[u8]| [&[2, 0, 0, 0, u8::try_from(command.len()).unwrap()], command].concat();
    let answers = |faults: &str, commands: &[&[u8]]| {
        let requests: Vec<u8> = commands.iter().flat_map(|command| request(command)).collect();
        let said = served_by(faults, &[&[1, 0, 0, 0, 2, 0, 3][..], &requests].concat()).unwrap();
        let mut rest = &said[5 + usize::from(said[4])..];
        let mut answers = Vec::new();
        while let [_, _, _, _, length, more @ ..] = rest {
            let (answer, later) = more.split_at(usize::from(*length));
            answers.push(hex::encode_upper(answer));
            rest = later;
        }
        answers
    };
    let fetch = |le: u8| [0x00, 0xC0, 0x00, 0x00, le];
    let with_le = [&select[..], &[0x00]].concat();
    assert_eq!(answers("", &[&with_le, &fetch(0x0D)]), ["6700", "6985"]);
    let fci = "6F0B8407A0000000031010A500";
    let (all, two, five, six) = (&fetch(0x0D), &fetch(2), &fetch(5), &fetch(6));
    let last = |at: usize| format!("{}9000", &fci[at..]);
    assert_eq!(answers("", &[&select, all]), ["610D".to_owned(), last(0)]);
    assert_eq!(answers("", &[&select, &fetch(0), all]), ["610D".to_owned(), "6C0D".into(), last(0)]);
    assert_eq!(answers("", &[&select, two, &fetch(0x0B)])[1..], ["6F0B610B".to_owned(), last(4)]);
    let key_data = [[0x80, 0xCA, 0x00, 0xCF, 0x00], [0x80, 0xCA, 0x00, 0xCF, 0x0C]];
    let [wrong, right] = &key_data;
    let got = answers("", &[wrong, wrong, right]);
    assert_eq!(got[..2], ["6C0C", "6C0C"]);
    assert!(got[2].starts_with("CF0A") && got[2].ends_with("9000"), "{got:?}");

    let pieces = "[[fault]]\nkind = \"answer-pieces\"\nevery = 1\nbytes = 5";
    let got = answers(pieces, &[&select, six, five, five, &fetch(3)]);
    assert_eq!(got, ["6105", "6C05", "6F0B8407A06105", "00000003106103", "10A5009000"]);
    let got = answers(pieces, &[wrong, &[0x80, 0xCA, 0x00, 0xCF, 0x05], five, two]);
    assert_eq!((got[0].as_str(), got[1].len(), &got[1][10..], &got[2][10..]), ("6C05", 14, "6105", "6102"));
    let hidden = "[[fault]]\nkind = \"answer-length\"\nevery = 1";
    assert_eq!(answers(hidden, &[&select, &fetch(0), all]), ["6100".to_owned(), "6C0D".into(), last(0)]);
}

/// The faults are counted in APDUs: GET RESPONSE and the command that comes again are parts of one.
#[test]
fn a_fetched_answer_is_one_apdu() {
    let world = world("[[fault]]\nkind = \"card-pulled\"\nevery = 1\nafter = 2");
    let station = feed(&world, "chip-1");
    power_on(&world, station);
    for (command, answer) in [
        (&[0x80, 0xCA, 0x00, 0xCF, 0x00][..], 2),
        (&[0x80, 0xCA, 0x00, 0xCF, 0x0C], 14),
        (&[0x00, 0xA4, 0x04, 0x00, 0x07, 0xA0, 0, 0, 0, 3, 0x10, 0x10], 2),
        (&[0x00, 0xC0, 0x00, 0x00, 0x05], 7),
        (&[0x00, 0xC0, 0x00, 0x00, 0x08], 10),
    ] {
        let ContactsReply::Said(reader::RESPONSE, said) = transmit(&world, station, command) else {
            panic!("gone at {command:02X?}")
        };
        assert_eq!(said.len(), answer, "{command:02X?}");
    }
    assert_eq!(transmit(&world, station, SELECT), failed(reader::REMOVED));
}
