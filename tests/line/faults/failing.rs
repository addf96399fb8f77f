//! A disk that fails: ext4 on a device that does not take some blocks. The writer hears of it when he syncs, once.

use super::mounts::{Disk, Kind};
use super::{LEDGER, accounted, ended, settled};
use crate::books::Witness;
use crate::support::World;

const CARDS: u32 = 70;

#[test]
fn a_sync_that_fails_stops_the_line_and_is_not_tried_again() {
    let mut world = World::new();
    world.prepared("job", CARDS, 32);
    let disk = Disk::mount(&mut world, Kind::Failing);
    world.set("CARDWRIGHT_LEDGER", "small/cardwright.db");
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2", "--seed", "1"]).code, 0);
    let mut runs = vec![Witness::keep(&world, 0)];
    for (run, kib) in (1..).zip([0, 16, 60, 120, 200]) {
        disk.leave(kib);
        let stopped = world.resume("sim-8", &["--seed", &(run + 1).to_string()]);
        ended(&stopped, LEDGER, &["small/cardwright.db", "its disk does not do what it is told"]);
        if world.path("dumps").exists() {
            runs.push(Witness::keep(&world, run));
        }
        disk.free();
        settled(&world, runs.last().unwrap());
    }
    assert_eq!(world.resume("sim-8", &["--seed", "90"]).code, 0);
    runs.push(Witness::keep(&world, 90));
    accounted(&world, &runs, u64::from(CARDS));
}
