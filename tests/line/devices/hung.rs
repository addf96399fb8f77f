//! A card that never answers: it is thrown out within its deadline plus 1 s, and the other stations go on.

use nix::sys::signal::{Signal, kill};

use super::profile::FAST;
use super::{Bureau, Lined};
use crate::books::{Witness, balanced, none, number, stacked, word};
use crate::expected;
use crate::pcscd_support::machines::Hwsim;

const CARDS: u32 = 200;
/// The limit of a command, in seconds.
const DEADLINE_S: f64 = 2.0;

/// A line whose cards take long enough for the hung stations to come back while there is work.
fn line() -> Lined {
    Lined { command_s: DEADLINE_S, sim: FAST.to_owned() + "chip_s = 0.4\n", ..Lined::default() }
}

#[test]
fn a_hung_card_is_rejected_in_time_and_the_other_stations_go_on() {
    let bureau = Bureau::new(&line());
    let world = &bureau.world;
    let expected = expected::prepared(world, "job", CARDS, 24);
    // The first card hangs before its binding, at INITIALIZE UPDATE, the other in the middle of its data.
    let faults = "[[fault]]\nkind = \"hang\"\nblanks = [5]\nafter = 1\n[[fault]]\nkind = \"hang\"\nblanks = [9]\nafter = 12\n";
    std::fs::write(world.path("faults.toml"), faults).unwrap();
    let machines = bureau.machines(&["--faults", "faults.toml", "--seed", "7"]);
    let ended = bureau.made(&["run", "job.cwf1"]);
    machines.off();
    // One record is still to be made again.
    assert_eq!(ended.code, 4, "{}{}", ended.stdout, ended.stderr);

    let events = world.events();
    let runs = [Witness::keep(world, 1)];
    assert_eq!(runs[0].faults.iter().filter(|f| f["kind"] == "hang").count(), 2);
    let rejected: Vec<_> = events.iter().filter(|e| e["to"] == "REJECTED").collect();
    assert_eq!(rejected.len(), 2, "{rejected:?}");
    for event in &rejected {
        assert_eq!(event["reason"], "timeout", "{event}");
        assert!(event["header"].is_string(), "which command: {event}");
        // The work before the card hung takes only milliseconds.
        let seconds = number(event, "ms") as f64 / 1000.0;
        assert!((DEADLINE_S..DEADLINE_S + 1.0).contains(&seconds), "{event}");
    }
    let stations: Vec<_> = rejected.iter().map(|e| word(e, "station")).collect();
    assert_ne!(stations[0], stations[1]);
    // Both readers worked again: their hosts were killed, and new hosts answered.
    for station in &stations {
        let last = events.iter().rposition(|e| e["station"] == **station && e["to"] == "BOUND");
        let out = events.iter().position(|e| e["station"] == **station && e["to"] == "REJECTED");
        assert!(last > out, "{station} did not come back\n{}", ended.stderr);
    }
    let made = stacked(&events, &runs[0]);
    none(&expected.differences(&made, 50));
    assert_eq!(made.len(), CARDS as usize - 1);
    let job = balanced(world, &runs);
    assert_eq!(
        (number(&job["balance"], "good"), number(&job["balance"], "remake")),
        (u64::from(CARDS) - 1, 1)
    );
}

/// SIGSTOP stops the process of a card that lies in a reader. That station gets no blank, because its reader
/// sees a card that no transport brought. All records are made at the other stations, and the reader answers
/// again when the process goes on.
#[test]
fn a_reader_with_a_card_that_hangs_costs_no_blank_and_heals() {
    const CARDS: u32 = 60;
    let bureau = Bureau::new(&Lined { without_card: vec![16], ..line() });
    let world = &bureau.world;
    let expected = expected::prepared(world, "job", CARDS, 25);
    let card = Hwsim::card(&bureau.scene, 15, &[]);
    let machines = bureau.machines(&["--seed", "9"]);
    let check = |good: bool| {
        let ended = bureau.cardwright(&["line", "check", "line.toml", "--keys", "bureau.store"]);
        assert_eq!(ended.code == 0, good, "{}{}", ended.stdout, ended.stderr);
        ended.stdout
    };
    check(true);
    kill(card.pid(), Signal::SIGSTOP).unwrap();
    let ended = bureau.made(&["run", "job.cwf1"]);
    kill(card.pid(), Signal::SIGCONT).unwrap();
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    check(true);
    machines.off();
    drop(card);

    let events = world.events();
    let there: Vec<_> = events.iter().filter(|e| e["station"] == "chip-16").collect();
    assert!(there.is_empty(), "{there:?}");
    assert!(ended.stderr.contains("chip-16"), "{}", ended.stderr);
    let runs = [Witness::keep(world, 1)];
    let made = stacked(&events, &runs[0]);
    none(&expected.differences(&made, 50));
    let job = balanced(world, &runs);
    assert_eq!(number(&job["balance"], "good"), u64::from(CARDS));
}
