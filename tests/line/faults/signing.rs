//! Storms of signing: the HSM host is stopped, finds no room for its audit book, or is killed, while the line is
//! idle and while it makes cards. Meanwhile no card is bound without a signature for long; afterwards nothing is owed,
//! or the line says why it stands. `STORM=full` makes each fault last for a minute.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::mounts::{Disk, Kind};
use super::{Daemon, job, ok};
use crate::books::{number, word};
use crate::secrets::child_with;
use crate::support::World;

/// Longest time for the line to go on after a fault is over.
const PATIENCE: Duration = Duration::from_secs(90);
/// The longest time that an event may be owed while a card is bound, and the time to notice it.
const OWED: Duration = Duration::from_secs(12);

/// A line that binds cards does so more often, but for the 5 s in which the ledger waits for a host that hangs.
const STILL: Duration = Duration::from_secs(7);

/// How long a fault lasts.
fn length() -> Duration {
    let full = std::env::var("STORM").is_ok_and(|storm| storm == "full");
    Duration::from_secs(if full { 60 } else { 16 })
}

fn shown(world: &World) -> Value {
    serde_json::from_str(&ok(world, "job show J1 --json --socket d.sock")).unwrap()
}

fn wait_for(world: &World, what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "{what}: {}", shown(world));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until the HSM has signed every event.
fn nothing_is_owed(world: &World) {
    wait_for(world, "events stay unsigned", || {
        !ok(world, "audit verify --socket d.sock").contains("Not signed")
    });
}

fn bound(world: &World) -> usize {
    let log: Vec<Value> = serde_json::from_str(&ok(world, "log --json")).unwrap();
    log.iter().filter(|event| event["to"] == "BOUND" && !event["seq"].is_null()).count()
}

/// A daemon whose HSM host is struck while it is idle and in mid-run of so many cards.
fn storm(world: &World, keys: &str, cards: u32, strike: impl Fn(u32), heal: impl Fn(u32)) {
    world.prepared("job", cards, 51);
    let daemon = Daemon::start_with(world, "sim-8", keys, "4", "1");
    let host = child_with(daemon.id(), "hsm-host").unwrap();
    ok(world, "job submit job.cwf1 --socket d.sock");
    nothing_is_owed(world);

    strike(host);
    ok(world, "card cancel J1 60 --socket d.sock");
    std::thread::sleep(length());
    heal(host);
    nothing_is_owed(world);

    ok(world, "job release J1 --socket d.sock");
    wait_for(world, "no card", || number(&shown(world)["balance"], "good") > 2);
    strike(host);
    // A full disk may have room for some signatures more, in the last block of the journal.
    let mut before = 0;
    wait_for(world, "cards are bound while too much is owed", || {
        before = bound(world);
        std::thread::sleep(STILL);
        bound(world) == before
    });
    assert!(before < usize::try_from(cards).unwrap(), "too few cards to see it");
    std::thread::sleep(length().saturating_sub(OWED));
    assert_eq!(bound(world), before, "cards are bound while too much is owed");
    heal(host);
    let stands = || shown(world)["phase"] == "COMPLETE" || shown(world)["state"] == "HELD";
    wait_for(world, "neither done nor held", stands);
    nothing_is_owed(world);
    if shown(world)["state"] == "HELD" {
        let why = word(&shown(world), "held_detail");
        assert!(why.contains("HSM") || why.contains("sign"), "{}", shown(world));
        ok(world, "job release J1 --socket d.sock");
    }
    // Cards whose HSM hung were rejected, some of them after the job was held.
    let ends = || {
        if number(&shown(world)["balance"], "remake") > 0 {
            for said in ["card resolve J1 all --destroyed", "card remake J1 all", "job resume J1"] {
                let words = format!("{said} --socket d.sock");
                world.cardwright(&words.split(' ').collect::<Vec<_>>());
            }
        }
        shown(world)["phase"] == "COMPLETE"
    };
    wait_for(world, "the job's end", ends);
    ok(world, "job close J1 --socket d.sock");
    ok(world, "job papers J1 --socket d.sock --out papers");
    nothing_is_owed(world);
    daemon.drains();
    let balance = &job(world)["balance"];
    assert_eq!(number(balance, "good") + number(balance, "cancelled"), u64::from(cards), "{balance}");
    let dumps = world.dumps();
    let stacked = dumps.iter().filter(|dump| dump["fate"] == "stacked").count();
    assert_eq!(u64::try_from(stacked).unwrap(), number(balance, "good"));
}

#[test]
fn the_hsm_host_is_stopped() {
    let world = World::new();
    let to = |signal| move |host: u32| kill(Pid::from_raw(host.cast_signed()), signal).unwrap();
    storm(&world, "bureau.store", 60, to(Signal::SIGSTOP), to(Signal::SIGCONT));
}

#[test]
fn the_disk_of_the_key_store_is_full() {
    let mut world = World::new();
    let disk = Disk::mount(&mut world, Kind::Small);
    world.new_store("small/bureau.store");
    storm(&world, "small/bureau.store", 160, |_| disk.fill(), |_| disk.free());
}

#[test]
fn the_hsm_host_is_killed() {
    let world = World::new();
    world.prepared("job", 60, 52);
    let kill_host = |daemon: &Daemon<'_>| {
        let host = child_with(daemon.id(), "hsm-host").unwrap();
        kill(Pid::from_raw(host.cast_signed()), Signal::SIGKILL).unwrap();
    };
    let mut daemon = Daemon::start(&world, "4", "1");
    ok(&world, "job submit job.cwf1 --socket d.sock");
    kill_host(&daemon);
    // Idle, it notices with the next request.
    world.cardwright(&["card", "cancel", "J1", "60", "--socket", "d.sock"]);
    let (_, said) = daemon.ends();
    assert!(said.contains("HSM"), "{said}");

    daemon = Daemon::start(&world, "4", "2");
    nothing_is_owed(&world);
    ok(&world, "job release J1 --socket d.sock");
    wait_for(&world, "no card", || number(&shown(&world)["balance"], "good") > 2);
    kill_host(&daemon);
    let (_, said) = daemon.ends();
    assert!(said.contains("HSM"), "{said}");

    daemon = Daemon::start(&world, "40", "3");
    nothing_is_owed(&world);
    assert_eq!(shown(&world)["state"], "HELD");
    assert_eq!(number(&shown(&world)["balance"], "in_flight"), 0);
    daemon.drains();
}
