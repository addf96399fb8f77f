//! Tests of the moves, and of the witness's record of them.

use std::path::Path;

use drivers::wire::status::{BAD_DATA, FAILED, JAM, NO_CARD};
use serde_json::Value;

use super::*;
use crate::blank::EmbossedLine;
use crate::profile::StripeCoercivity;
use crate::stripe::TrackContent;
use crate::testing::{feed, look, world, world_with_dump};

fn now() -> LinkPace {
    LinkPace::new(0.0)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_card_goes_through_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let world = world_with_dump("", Some(dir.path()));
    let chip = feed(&world, "chip-3");
    let csn = look(chip, |blank| blank.csn());
    let stripe = world.station("stripe-1").unwrap();
    world.lift_to_station(stripe, "chip-3").unwrap();
    assert!(stripe.slot().card().is_none(), "on its way");
    world.arrive(stripe, &mut now()).unwrap();
    assert!(chip.slot().card().is_none());
    look(stripe, |blank| {
        assert_eq!(blank.csn(), csn);
        blank.stripe.put(StripeCoercivity::Hico, [None, Some(TrackContent::Text(b";1?".to_vec())), None]);
        blank.emboss.push(EmbossedLine { font: 2, x: 401, y: 843, text: "4761".into() });
        blank.front = Some([0xAB; 32]);
        blank.worked_on();
    });
    world.lift_to_hand("stripe-1").unwrap();
    world.buffer(7, &mut now()).unwrap();
    assert!(!dir.path().join(format!("{csn}.json")).exists());
    world.stack(7, 12, false, &mut now()).unwrap();

    let text = std::fs::read_to_string(dir.path().join(format!("{csn}.json"))).unwrap();
    let object: Value = serde_json::from_str(&text).unwrap();
    let keydata = object["keydata"].as_str().unwrap();
    assert!(keydata.len() == 20 && keydata.ends_with(&csn));
    // Every key of the witness's object, except for the chip, which the card describes.
    assert_eq!(
        object,
        serde_json::json!({
            "simulated": true, "n": 1, "blank": csn, "keydata": keydata,
            "fate": "stacked", "position": 12, "stacker": "good",
            "stripe": { "1": null, "2": ";1?", "3": null },
            "emboss": [ { "font": 2, "x": 401, "y": 843, "text": "4761" } ],
            "graphics": { "front": "AB".repeat(32), "back": null },
            "chip": object["chip"], "writes": 1,
        })
    );
    assert!(object["chip"]["applications"].is_array());
    assert_eq!(
        lines(&dir.path().join("line.jsonl")),
        [
            serde_json::json!({ "n": 1, "blank": csn, "what": "fed", "station": "chip-3" }),
            serde_json::json!({ "n": 1, "blank": csn, "what": "left", "fate": "stacked", "position": 12,
                                "stacker": "good" }),
        ]
    );
    world.switch_off();
    assert_eq!(lines(&dir.path().join("line.jsonl")).len(), 2, "it had left");
}

#[test]
fn moves_that_cannot_be() {
    let world = world("");
    let chip = feed(&world, "chip-1");
    let other = world.station("chip-2").unwrap();
    assert_eq!(world.feed(chip, &mut now()), Err(FAILED), "occupied");
    assert_eq!(world.lift_to_station(other, "chip-3"), Err(NO_CARD));
    assert_eq!(world.lift_to_station(other, "laser-1"), Err(BAD_DATA));
    assert_eq!(world.lift_to_station(other, "chip-2"), Err(BAD_DATA));
    assert_eq!(world.reject(other, &mut now()), Err(NO_CARD));
    feed(&world, "chip-2");
    assert_eq!(world.lift_to_station(other, "chip-1"), Err(FAILED), "occupied");
    assert_eq!(world.buffer(0, &mut now()), Err(NO_CARD));
    world.lift_to_hand("chip-1").unwrap();
    assert_eq!(world.lift_to_hand("chip-2"), Err(FAILED));
    assert!(other.slot().card().is_some(), "it still lies there");
    world.buffer(0, &mut now()).unwrap();
    world.lift_to_hand("chip-2").unwrap();
    assert_eq!(world.buffer(0, &mut now()), Err(FAILED));
    assert_eq!(world.stack(1, 1, false, &mut now()), Err(NO_CARD));
    world.stack(0, 1, false, &mut now()).unwrap();
    assert_eq!(world.stack(0, 1, false, &mut now()), Err(NO_CARD));
    world.buffer(0, &mut now()).unwrap();
    assert_eq!(world.arrive(world.station("chip-7").unwrap(), &mut now()), Err(NO_CARD), "none on its way");
    // A refused move does not leave a place reserved.
    feed(&world, "chip-1");
    let third = world.station("chip-3").unwrap();
    world.lift_to_station(third, "chip-1").unwrap();
    assert_eq!(world.lift_to_station(other, "chip-3"), Err(NO_CARD), "not yet there");
    assert_eq!(world.feed(third, &mut now()), Err(FAILED), "one is on its way");
    // A card on its way can be thrown out.
    world.reject(third, &mut now()).unwrap();
    assert_eq!(world.arrive(third, &mut now()), Err(NO_CARD));
}

#[test]
fn the_buffer_has_the_profiles_number_of_places() {
    let world = world("");
    for place in 0..=32u16 {
        feed(&world, "chip-1");
        world.lift_to_hand("chip-1").unwrap();
        assert_eq!(world.buffer(1000 + place, &mut now()), if place < 32 { Ok(()) } else { Err(FAILED) });
    }
}

#[test]
fn left_remade_and_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let world = world_with_dump("", Some(dir.path()));
    for station in ["chip-1", "chip-2", "chip-3", "chip-4"] {
        feed(&world, station);
    }
    world.reject(world.station("chip-2").unwrap(), &mut now()).unwrap();
    world.lift_to_hand("chip-3").unwrap();
    world.buffer(3, &mut now()).unwrap();
    world.lift_to_hand("chip-4").unwrap();
    world.stack(3, 1, true, &mut now()).unwrap();
    world.switch_off();
    world.switch_off();
    let chip = world.station("chip-5").unwrap();
    assert!(world.feed(chip, &mut now()).is_err(), "switched off");
    world.reject(world.station("chip-1").unwrap(), &mut now()).unwrap();

    let left: Vec<Value> =
        lines(&dir.path().join("line.jsonl")).into_iter().filter(|l| l["what"] == "left").collect();
    let fates: BTreeMap<u64, (&str, &Value)> = left
        .iter()
        .map(|l| (l["n"].as_u64().unwrap(), (l["fate"].as_str().unwrap(), &l["stacker"])))
        .collect();
    assert_eq!(left.len(), 4);
    assert_eq!(fates[&1], ("left", &Value::Null));
    assert_eq!(fates[&2], ("rejected", &Value::Null));
    assert_eq!(fates[&3], ("stacked", &Value::from("remake")));
    assert_eq!(fates[&4], ("left", &Value::Null), "in the output's hand");
    let objects = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".json"));
    assert_eq!(objects.count(), 4);
}

#[test]
fn jams_in_feed_and_transfer() {
    let dir = tempfile::tempdir().unwrap();
    let faults =
        "[[fault]]\nkind = \"feed-jam\"\nblanks = [1]\n[[fault]]\nkind = \"jam-transfer\"\nblanks = [2, 3]";
    let world = world_with_dump(faults, Some(dir.path()));
    let chip = world.station("chip-1").unwrap();
    let stripe = world.station("stripe-1").unwrap();
    assert_eq!(world.feed(chip, &mut now()), Err(JAM));
    assert_eq!(world.feed(chip, &mut now()), Err(JAM), "still in the way, and no other blank was drawn");
    assert_eq!(world.lift_to_station(stripe, "chip-1"), Err(JAM));
    world.reject(chip, &mut now()).unwrap();
    world.feed(chip, &mut now()).unwrap();
    assert_eq!(world.lift_to_station(stripe, "chip-1"), Err(JAM));
    assert_eq!(world.lift_to_hand("chip-1"), Err(JAM));
    assert_eq!(world.reject(stripe, &mut now()), Err(NO_CARD), "it lies where it lay");
    world.reject(chip, &mut now()).unwrap();
    // A fault that takes no effect is not recorded: blank 3 is never taken.
    world.feed(chip, &mut now()).unwrap();
    world.reject(chip, &mut now()).unwrap();
    let noted = lines(&dir.path().join("faults.jsonl"));
    let noted: Vec<_> =
        noted.iter().map(|f| (f["n"].as_u64().unwrap(), f["kind"].as_str().unwrap())).collect();
    assert_eq!(noted, [(1, "feed-jam"), (2, "jam-transfer")]);
}

/// A transfer waits while the machine of its station works; other stations do not wait.
#[test]
fn a_working_station_does_not_let_go() {
    let world = world("");
    let chip = feed(&world, "chip-1");
    feed(&world, "chip-2");
    let working = chip.slot();
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| world.lift_to_station(world.station("stripe-1").unwrap(), "chip-1"));
        world.lift_to_hand("chip-2").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert!(!taking.is_finished());
        drop(working);
        assert_eq!(taking.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_dump_that_cannot_be_written_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let world = world_with_dump("", Some(dir.path()));
    let chip = feed(&world, "chip-1");
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(!world.witness_has_failed());
    world.reject(chip, &mut now()).unwrap();
    assert!(world.witness_has_failed());
}

/// A continuous line at speed 1. Its times are long enough that a busy computer does not exceed them by
/// itself.
fn continuous() -> SimulatedLine {
    let mut line = SimLineProfile::load("sim-8").unwrap();
    line.sim.continuous = true;
    (line.sim.feed_s, line.sim.transfer_s, line.sim.stack_s) = (0.6, 0.5, 0.5);
    SimulatedLine::new(line, 1, FaultPlan::default(), 1.0, LineWitness::default()).unwrap()
}

/// Seconds that something takes.
fn seconds(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_secs_f64()
}

#[test]
fn moves_of_a_continuous_machine_overlap_with_its_work() {
    let world = continuous();
    let (chip, stripe) = (world.station("chip-1").unwrap(), world.station("stripe-1").unwrap());
    let pace = &mut LinkPace::new(1.0);
    assert!(seconds(|| world.feed(chip, pace).unwrap()) < 0.3, "the first blank waits already");
    let began = Instant::now();
    std::thread::sleep(std::time::Duration::from_millis(520));
    world.lift_to_station(stripe, "chip-1").unwrap();
    assert!(seconds(|| world.arrive(stripe, pace).unwrap()) < 0.3, "it lay there long enough");
    world.feed(chip, pace).unwrap();
    let took = began.elapsed().as_secs_f64();
    assert!((0.55..0.95).contains(&took), "0.6 s from the last feed, not from now: {took}");
    look(stripe, |blank| blank.worked_on());
    world.lift_to_hand("stripe-1").unwrap();
    let took = seconds(|| world.buffer(0, pace).unwrap());
    assert!((0.4..0.8).contains(&took), "{took}");
    assert!(seconds(|| world.stack(0, 1, false, pace).unwrap()) < 0.3, "nothing was stacked before");
    world.lift_to_hand("chip-1").unwrap();
    world.buffer(0, pace).unwrap();
    let took = seconds(|| world.stack(0, 2, false, pace).unwrap());
    assert!((0.2..0.8).contains(&took), "the stacker moves: {took}");
}

#[test]
fn a_transfer_takes_its_time_between_lifting_and_arrival() {
    let mut line = SimLineProfile::load("sim-8").unwrap();
    line.sim.transfer_s = 0.5;
    let world = SimulatedLine::new(line, 1, FaultPlan::default(), 1.0, LineWitness::default()).unwrap();
    feed(&world, "chip-1");
    let stripe = world.station("stripe-1").unwrap();
    let pace = &mut LinkPace::new(1.0);
    assert!(seconds(|| world.lift_to_station(stripe, "chip-1").unwrap()) < 0.2);
    assert!(world.station("chip-1").unwrap().slot().card().is_none(), "free at once");
    let took = seconds(|| world.arrive(stripe, pace).unwrap());
    assert!((0.25..0.9).contains(&took), "{took}");
}
