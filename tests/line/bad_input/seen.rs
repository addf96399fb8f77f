//! A file that was accepted before, under its own name or another.

use cardwright::exit::Exit;
use sha2::{Digest, Sha256};

use super::{Bureau, CARDS, one_message, pieces};

#[test]
fn a_file_accepted_before() {
    let bureau = Bureau::new();
    let world = &bureau.world;
    bureau.still_accepts_the_good_file();
    let refused = |bytes: &[u8]| {
        std::fs::write(world.path("again.cwf1"), bytes).unwrap();
        let message = one_message(&world.run("again.cwf1", "sim-8", &[]), Exit::FileSeen);
        assert!(message.contains("J1") && message.contains("cardwright job report J1"), "{message}");
        assert_eq!(world.dumps().len(), CARDS as usize, "a card was made");
        let jobs = world.cardwright(&["job", "list", "--json"]).stdout;
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&jobs).unwrap().len(), 1);
        assert_eq!(std::fs::read_dir(world.path("cardwright.db.spool")).unwrap().count(), 1);
    };
    refused(&pieces().bytes());
    // A different file with the file_id of the first.
    let mut file = pieces();
    file.created += 1;
    refused(&file.sealed());
    file.records.truncate(1);
    file.renumber();
    refused(&file.sealed());
}

#[test]
fn a_file_whose_job_is_open() {
    let bureau = Bureau::new();
    let world = &bureau.world;
    let ended = world.run("good.cwf1", "sim-chip-8", &["--limit", "1"]);
    assert_eq!((ended.code, world.dumps().len()), (Exit::Ok as i32, 1), "{}", ended.stderr);
    let again = world.run("good.cwf1", "sim-chip-8", &[]);
    assert_eq!((again.code, world.dumps().len()), (Exit::JobOpen as i32, 1), "{}", again.stderr);
    assert!(again.stderr.contains("cardwright job resume J1 "), "{}", again.stderr);
    // Another file with the file_id of the first: to resume J1 would make the data of the first.
    let mut other = pieces();
    other.created += 1;
    std::fs::write(world.path("other.cwf1"), other.sealed()).unwrap();
    let message = one_message(&world.run("other.cwf1", "sim-chip-8", &[]), Exit::FileSeen);
    assert!(message.contains("not the file of J1") && !message.contains("resume"), "{message}");
    let digests = ["good.cwf1", "other.cwf1"]
        .map(|name| hex::encode_upper(Sha256::digest(std::fs::read(world.path(name)).unwrap())));
    assert!(digests.iter().all(|digest| message.contains(digest.as_str())), "{message}");
    assert_eq!(world.resume("sim-chip-8", &[]).code, 0);
    assert_eq!(world.dumps().len(), CARDS as usize);
}

#[test]
fn cards_of_an_earlier_file_hold_the_job() {
    let bureau = Bureau::new();
    let world = &bureau.world;
    bureau.still_accepts_the_good_file();
    std::fs::write(world.path("other.cwf1"), super::prepare(CARDS, 6).bytes).unwrap();
    let ended = world.run("other.cwf1", "sim-chip-8", &[]);
    let message = one_message(&ended, Exit::Held);
    assert!(message.contains("3 of its card_refs") && message.contains("job resume J2"), "{message}");
    assert_eq!(world.dumps().len(), CARDS as usize, "a card was made");
}
