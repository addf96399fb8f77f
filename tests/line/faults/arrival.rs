//! A program that is killed while a long file becomes a job.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{ended, ok};
use crate::support::World;

const RUN: &str = "run job.cwf1 --line sim-8 --keys bureau.store --ledger run.db --simulate --limit 0";

/// Number of records in the ledger, also of a job that has not arrived.
fn rows(world: &World) -> u32 {
    let ledger = Connection::open(world.path("run.db")).unwrap();
    ledger.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap_or(0)
}

/// No view and no audit shows the job, the next start takes it back, and the file is accepted then.
#[test]
fn a_kill_while_a_long_file_arrives_leaves_no_job() {
    let world = World::new();
    world.prepared("job", 30_000, 71);
    let mut command = world.command(Path::new(env!("CARGO_BIN_EXE_cardwright")));
    let mut killed =
        command.args(RUN.split(' ')).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !world.path("run.db").exists() || rows(&world) == 0 {
        assert!(Instant::now() < until, "no record arrives");
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let arrived = rows(&world);
    assert!((1..30_000).contains(&arrived), "{arrived} records");
    assert_eq!(ok(&world, "job list --json --ledger run.db").trim(), "[]");
    ok(&world, "audit verify --ledger run.db --keys bureau.store");

    ended(&world.cardwright(&RUN.split(' ').collect::<Vec<_>>()), 0, &[]);
    assert_eq!(rows(&world), 30_000);
    assert!(ok(&world, "job list --ledger run.db").contains("J1"));
    ok(&world, "audit verify --ledger run.db --keys bureau.store");
}
