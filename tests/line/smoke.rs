//! The shortest way through everything.

use crate::support::World;

#[test]
fn twelve_cards_go_from_a_csv_to_the_stacker() {
    let world = World::new();
    world.prepared("job", 12, 1);
    let ended = world.run("job.cwf1", "sim-8", &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let dumps = world.dumps();
    assert_eq!(dumps.len(), 12);
    assert!(dumps.iter().all(|d| d["fate"] == "stacked" && d["simulated"] == true));
}
