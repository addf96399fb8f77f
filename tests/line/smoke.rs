//! The shortest way through the whole line.

use cardwright::exit::Exit;
use cardwright::profile::LINES;

use crate::support::{World, lines};

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

/// The blanks of the line speak T=0. Their answers come in pieces, or with lengths that 6Cxx names only
/// later (EMV Book 1, 9.3.1.2), and no card is lost.
#[test]
fn twelve_cards_are_made_however_a_t0_chip_gives_its_answers() {
    let world = World::new();
    world.prepared("job", 12, 1);
    let faults = "[[fault]]\nkind = \"answer-pieces\"\nevery = 2\n\n\
                  [[fault]]\nkind = \"answer-length\"\nevery = 3\n";
    std::fs::write(world.path("faults.toml"), faults).unwrap();
    let ended = world.run("job.cwf1", "sim-8", &["--faults", "faults.toml"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert!(world.dumps().iter().all(|d| d["fate"] == "stacked"));
    let struck = lines(&world.path("dumps/faults.jsonl"));
    let of = |kind: &str| struck.iter().filter(|fault| fault["kind"] == kind).count();
    assert_eq!((of("answer-pieces"), of("answer-length")), (6, 4));
}

/// An encoder that verifies its own work: it refuses blank 3, whose stripe is misread, and loses its
/// connection at blank 6.
#[test]
fn twelve_cards_get_their_stripe_from_an_mse_630() {
    let world = World::new();
    world.prepared("job", 12, 1);
    let (_, sim_8) = LINES.iter().find(|(name, _)| *name == "sim-8").unwrap();
    let stripe = "kind = \"stripe\"";
    let other = format!("{stripe}\ndriver = \"mse630\"\nread_back = false");
    std::fs::write(world.path("other.toml"), sim_8.replacen(stripe, &other, 1)).unwrap();
    let faults = "[[fault]]\nkind = \"stripe-misread\"\nblanks = [3]\n\n\
                  [[fault]]\nkind = \"close-stripe\"\nblanks = [6]\nms = 100\n";
    std::fs::write(world.path("faults.toml"), faults).unwrap();
    let ended = world.run("job.cwf1", "other.toml", &["--faults", "faults.toml"]);
    assert_eq!(ended.code, Exit::NotAllGood as i32, "{}{}", ended.stdout, ended.stderr);
    for dump in world.dumps() {
        let fate = if dump["n"] == 3 || dump["n"] == 6 { "rejected" } else { "stacked" };
        assert_eq!(dump["fate"], fate, "{}", dump["n"]);
        assert!(fate == "rejected" || dump["stripe"]["2"].is_string(), "{}", dump["n"]);
    }
}
