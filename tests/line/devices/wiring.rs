//! Readers and serial ports that are exchanged: a real pcscd and real ports report what the proof asks for.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::check::exchanged;
use super::profile::OwnPcscd;
use super::{Bureau, Lined};
use crate::books::{Witness, job, none, number, stacked};
use crate::expected;
use crate::pcscd_support::scene::Scene;

const CARDS: u32 = 30;

/// Three readers and two encoders.
fn lined() -> Lined {
    Lined { stations: 3, encoders: 2, ..Lined::default() }
}

/// Fails if a GOOD card has other data than ordered. Returns the job and the dumps.
fn no_wrong_card_is_good(bureau: &Bureau, expected: &expected::Expected) -> (Value, Witness) {
    let witness = Witness::keep(&bureau.world, 1);
    witness.holds(&bureau.world);
    none(&expected.differences(&stacked(&bureau.world.events(), &witness), 5));
    (job(&bureau.world), witness)
}

#[test]
fn readers_and_ports_exchanged_before_the_start_are_named() {
    let links = [
        (
            "reader = \"Cardwright Test 0\"\nslot = 0",
            "reader = \"Cardwright Test 1\"\nslot = 0",
            ["chip-1", "chip-3"],
        ),
        ("/stripe-1.serial", "/stripe-2.serial", ["stripe-1", "stripe-2"]),
    ];
    for (one, other, stations) in links {
        let bureau = Bureau::new(&lined());
        let expected = expected::prepared(&bureau.world, "job", CARDS, 61);
        let path = bureau.world.path("line.toml");
        let right = std::fs::read_to_string(&path).unwrap();
        let machines = bureau.machines(&["--seed", "7"]);
        std::fs::write(&path, exchanged(&right, one, other)).unwrap();
        let ended = bureau.made(&["run", "job.cwf1"]);
        machines.off();
        let (job, witness) = no_wrong_card_is_good(&bureau, &expected);
        assert!(stations.iter().all(|s| ended.stderr.contains(s)), "{}", ended.stderr);
        assert!(ended.stderr.contains("miswired"), "{}", ended.stderr);
        let lost = u64::from(stations[0].starts_with("stripe"));
        assert_eq!(number(&job["balance"], "blanks_rejected"), lost, "{job}");
        assert!(witness.fate("rejected").all(|dump| dump["stripe"]["2"].is_null()));
    }
}

/// Starts the job. Returns when its first five cards are good.
fn begun(bureau: &Bureau) -> Child {
    let path = bureau.world.path("events.jsonl");
    let mut run = bureau.job().stderr(Stdio::piped()).spawn().unwrap();
    let good = || std::fs::read_to_string(&path).unwrap_or_default().matches("\"STACKED\"").count();
    while good() < 5 && run.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    run
}

/// pcscd ends, and comes back with two readers exchanged, as after USB cables were pulled and put back.
#[test]
fn readers_exchanged_while_the_line_runs_make_no_wrong_card() {
    let mut bureau = Bureau::new(&lined());
    let expected = expected::prepared(&bureau.world, "job", CARDS, 62);
    let machines = bureau.machines(&["--seed", "8"]);
    let run = begun(&bureau);
    bureau.scene.kill_pcscd();
    bureau.scene.rename(0, "Cardwright Test 1");
    bureau.scene.rename(1, "Cardwright Test 0");
    bureau.scene.plug(&[0, 1]);
    bureau.scene.start_pcscd();
    let ended = run.wait_with_output().unwrap();
    machines.off();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let (job, _) = no_wrong_card_is_good(&bureau, &expected);
    let count = |name: &str| number(&job["balance"], name);
    assert!(count("good") >= 5 && count("good") < u64::from(CARDS), "{job}\n{said}");
    // A reader is accused by the card that it does not see, or by the one of the other that it sees.
    let accused = |station: &str| {
        let of =
            |line: &&str| line.contains(&format!("station={station}")) && line.contains("needs a person");
        said.lines().filter(of).count() > 0
    };
    assert!(accused("chip-1") && accused("chip-3"), "{said}");
    // The three cards that lay in the readers, and for each station one blank that found no reader.
    assert!(count("blanks_rejected") <= 6 && count("unknown") == 0, "{job}\n{said}");
}

/// Each reader has its own pcscd. Two of them end in mid-run and come back, the later one first.
fn plugged_anew(exchanged: bool, seed: u64) -> (Bureau, Value, String) {
    let scene = Scene::start(2);
    let mut own: Vec<Scene> = (0..3).map(|n| scene.another(n)).collect();
    let own_pcscd = (1..).zip(&own).map(|(n, scene)| (n, OwnPcscd::of(scene))).collect();
    let bureau = Bureau::on(scene, &Lined { own_pcscd, ..lined() });
    let expected = expected::prepared(&bureau.world, "job", CARDS, seed);
    let machines = bureau.machines(&["--seed", "8"]);
    let run = begun(&bureau);
    let [first, second, ..] = &mut own[..] else { unreachable!("three were started") };
    first.kill_pcscd();
    second.kill_pcscd();
    if exchanged {
        first.exchange(second);
    }
    second.start_pcscd();
    first.start_pcscd();
    let ended = run.wait_with_output().unwrap();
    machines.off();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let (job, _) = no_wrong_card_is_good(&bureau, &expected);
    assert_eq!(number(&job["balance"], "unknown"), 0, "{job}\n{said}");
    (bureau, job, said)
}

#[test]
fn readers_with_their_own_pcscd_come_back_in_another_order() {
    let (_bureau, job, said) = plugged_anew(false, 63);
    let count = |name: &str| number(&job["balance"], name);
    assert!(!said.contains("miswired"), "{said}");
    // All but the cards that lay in the two readers.
    assert!(count("good") >= u64::from(CARDS) - 2 && count("queued") == 0, "{job}\n{said}");
}

#[test]
fn readers_with_their_own_pcscd_that_come_back_exchanged_make_no_wrong_card() {
    let (_bureau, job, said) = plugged_anew(true, 64);
    let count = |name: &str| number(&job["balance"], name);
    assert!(said.contains("station=chip-1") && said.contains("station=chip-2"), "{said}");
    assert!(said.contains("needs a person"), "{said}");
    // The third station makes the rest.
    assert!(count("good") >= u64::from(CARDS) - 4, "{job}\n{said}");
}
