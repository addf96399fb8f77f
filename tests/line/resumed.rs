//! A job goes on only on its own line and with the ledger in which it was accepted.

use crate::support::World;

#[test]
fn a_job_does_not_go_on_on_another_line() {
    let world = World::new();
    world.prepared("job", 4, 3);
    assert_eq!(world.run("job.cwf1", "sim-8", &["--limit", "2"]).code, 0);
    let other = world.resume("sim-chip-8", &[]);
    assert_eq!(other.code, 42, "{}", other.stderr);
    assert!(other.stderr.contains("--line sim-8"), "{}", other.stderr);
    // A copy of its line whose rejects are shredded: new attempts would follow other laws.
    let text = include_str!("../../profiles/lines/sim-8.toml")
        .replace("rejects = \"bin\"", "rejects = \"shredded\"");
    std::fs::write(world.path("own.toml"), text).unwrap();
    assert_eq!(world.resume("own.toml", &[]).code, 42);
    assert_eq!(world.resume("sim-8", &[]).code, 0);
    assert_eq!(world.dumps().len(), 4);
}

#[test]
fn an_emptied_or_missing_ledger_is_not_begun_anew_next_to_its_spool() {
    let world = World::new();
    world.prepared("job", 2, 3);
    assert_eq!(world.run("job.cwf1", "sim-8", &[]).code, 0);
    let ledger = world.path("cardwright.db");
    for name in ["cardwright.db-wal", "cardwright.db-shm"] {
        let _ = std::fs::remove_file(world.path(name));
    }
    std::fs::write(&ledger, b"").unwrap();
    let empty = world.run("job.cwf1", "sim-8", &[]);
    assert_eq!(empty.code, 40, "{}", empty.stderr);
    std::fs::remove_file(&ledger).unwrap();
    let missing = world.run("job.cwf1", "sim-8", &[]);
    assert_eq!(missing.code, 40, "{}", missing.stderr);
    assert!(missing.stderr.contains("spool"), "{}", missing.stderr);
    assert_eq!(world.dumps().len(), 2, "cards were made again");
}
