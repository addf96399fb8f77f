//! The controller is killed in mid-card, and then the cards that lie in the readers are asked how far they
//! came. Their answers agree with the witness, nothing is written to them, and only a person decides about
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::profile::FAST;
use super::{Bureau, Lined};
use crate::books::{Witness, number, word};
use crate::pcscd_support::machines::Hwsim;
use crate::support::{Ended, lines};

const NOT_FOUND: i32 = 43;
const DENIED: i32 = 42;
/// Delay of the answer during which the controller dies, in ms: long enough for all three cards to be waiting
/// for theirs.
const LATE_MS: u32 = 15_000;

/// A line of chip stations alone; reader 4 is for cards that a person puts in.
fn bureau() -> Bureau {
    let line =
        Lined { stations: 4, machines: false, without_card: vec![4], sim: FAST.into(), ..Lined::default() };
    Bureau::new(&line)
}

fn ask(bureau: &Bureau, words: &str) -> Ended {
    let words: Vec<_> = words.split(' ').collect();
    let common = ["--line", "line.toml", "--keys", "bureau.store", "--by", "anna"];
    bureau.cardwright(&[&["card", "ask"], &words[..], &common].concat())
}

fn asked(bureau: &Bureau, words: &str) -> (i32, Value) {
    let ended = ask(bureau, &format!("{words} --json"));
    let said = serde_json::from_str(&ended.stdout);
    (ended.code, said.unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr)))
}

/// Starts the run, and kills it when this many answers are late.
fn killed_when_late(bureau: &Bureau, file: &str, kind: &str, cards: usize) {
    let mut run = bureau
        .scene
        .command(env!("CARGO_BIN_EXE_cardwright"))
        .args(["run", file, "--line", "line.toml", "--keys", "bureau.store"])
        .current_dir(bureau.world.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let struck =
        || lines(&bureau.world.path("dumps/faults.jsonl")).iter().filter(|f| f["kind"] == kind).count();
    while struck() < cards {
        let ended = run.try_wait().unwrap();
        assert!(Instant::now() < until && ended.is_none(), "{} answers are late, {ended:?}", struck());
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    run.wait().unwrap();
}

/// Every field of the cardholders that is too long to appear by chance.
fn cardholders(csv: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(csv).unwrap();
    let fields = text.lines().skip(1).flat_map(|line| line.split(','));
    fields.filter(|f| f.len() >= 9).flat_map(|f| [f.to_owned(), hex::encode_upper(f)]).collect()
}

#[test]
fn cards_answer_whether_their_chips_are_blank_partly_written_or_done() {
    let bureau = bureau();
    let world = &bureau.world;
    // The commands and changes that a card takes without a fault.
    world.prepared("whole", 1, 41);
    let machines = bureau.machines(&["--seed", "1"]);
    let ended = bureau.made(&["run", "whole.cwf1", "--ledger", "whole.db"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    machines.off();
    let commands = number(&world.report()["run"], "commands");
    let whole = Witness::keep(world, 1);
    let writes = number(whole.fate("stacked").next().unwrap(), "writes");

    world.prepared("job", 3, 42);
    // The card that has not proved its keys comes last: cards of its KMC would wait for it.
    let after = [commands / 2, commands - 2, 2];
    let late = after.iter().zip(1..).map(|(after, blank)| {
        format!("[[fault]]\nkind = \"late\"\nblanks = [{blank}]\nafter = {after}\nms = {LATE_MS}\n")
    });
    std::fs::write(world.path("faults.toml"), late.collect::<String>()).unwrap();
    let machines = bureau.machines(&["--seed", "2", "--faults", "faults.toml"]);
    killed_when_late(&bureau, "job.cwf1", "late", 3);

    // All cards that lie there, in one pass. A reader is busy until the late answer is out.
    let (until, mut said_so) = (Instant::now() + Duration::from_secs(60), 0);
    let (code, all) = loop {
        let (code, all) = asked(&bureau, "J1 all");
        let stations = all["stations"].as_array().unwrap();
        said_so += stations.iter().filter(|s| s["asked_for"] == true).count();
        if stations.iter().all(|s| s["verdict"] != "reader-held") || Instant::now() > until {
            break (code, all);
        }
    };
    assert_eq!(code, 0, "{all}");
    assert_eq!(all["unproved"], serde_json::json!(["chip-1", "chip-2", "chip-3"]), "{all}");
    let stations = all["stations"].as_array().unwrap();
    let at: BTreeMap<_, _> = stations.iter().map(|s| (word(s, "station"), s)).collect();
    assert_eq!(word(at["chip-4"], "verdict"), "no-card");
    let met: Vec<_> = stations.iter().filter(|s| s["asked_for"] == true).collect();
    let said: BTreeSet<_> = met.iter().map(|s| word(s, "verdict")).collect();
    let three = ["as-ordered", "not-personalized", "partly"].map(String::from);
    assert_eq!((met.len(), said), (3, BTreeSet::from(three)), "{all}");

    // One record, at whichever station its card lies; then the same record at a station where another card
    // lies.
    let whose = |verdict: &str| met.iter().find(|s| s["verdict"] == verdict).unwrap();
    let ordered = whose("as-ordered");
    let (seq, elsewhere) = (number(&ordered["card"], "seq"), word(whose("partly"), "station"));
    let one = ask(&bureau, &format!("J1 {seq}"));
    assert_eq!(one.code, 0, "{}{}", one.stdout, one.stderr);
    assert!(one.stdout.contains(&format!("`cardwright card resolve J1 {seq} --good` if")), "{}", one.stdout);
    assert!(
        one.stdout.contains("payment: answers as personalized; 0101 equal; 0201 equal"),
        "{}",
        one.stdout
    );
    assert!(one.stdout.contains("not proved: chip-1, chip-2, chip-3; such a reader"), "{}", one.stdout);
    assert!(one.stdout.contains("no card: chip-4") && one.stdout.contains("TEST KEYS"), "{}", one.stdout);
    let other = ask(&bureau, &format!("J1 {seq} --station {elsewhere}"));
    assert_eq!(other.code, NOT_FOUND, "{}{}", other.stdout, other.stderr);
    let of = number(&whose("partly")["card"], "seq");
    assert!(
        other.stdout.contains(&format!("another card: it belongs to record {of} of J1")),
        "{}",
        other.stdout
    );

    // An empty reader; then cards that a person puts in: a blank, a mute card, one of another make.
    let none = ask(&bureau, &format!("J1 {seq} --station chip-4"));
    assert_eq!(none.code, NOT_FOUND);
    assert!(none.stdout.contains("was not found; look for it in output"), "{}", none.stdout);
    std::fs::write(world.path("mute.toml"), "[[fault]]\nkind = \"mute\"\nblanks = [1]\n").unwrap();
    let mute = world.path("mute.toml").display().to_string();
    for (more, verdict) in
        [(&[][..], "unknown-card"), (&["--faults", &mute], "mute"), (&["--atr", "3B00"], "wrong-atr")]
    {
        let card = Hwsim::card(&bureau.scene, 3, more);
        let end = Instant::now() + Duration::from_secs(20);
        // pcscd needs a moment to notice that one card is gone and another is there.
        let met = loop {
            let (_, said) = asked(&bureau, "J1 all --station chip-4");
            let met = word(&said["stations"][0], "verdict");
            if met == verdict || Instant::now() > end {
                break met;
            }
        };
        assert_eq!(met, verdict);
        drop(card);
    }
    let wrong = ask(&bureau, "J1 1 --station printer-1");
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert_eq!(ask(&bureau, "J1 9").code, NOT_FOUND);
    assert_eq!(ask(&bureau, "J1 1 --ledger whole.db").code, DENIED, "a closed job");

    // Nothing was decided; the answers are in the ledger for all to read, and no cardholder's data are in
    // them.
    let job: Value =
        serde_json::from_str(&world.cardwright(&["job", "show", "J1", "--json"]).stdout).unwrap();
    assert_eq!(number(&job["balance"], "unknown"), 3, "{job}");
    let log = world.cardwright(&["log", "--job", "J1", "--json"]).stdout;
    let events: Vec<Value> = serde_json::from_str(&log).unwrap();
    let noted: Vec<_> = events.iter().filter(|e| e["to"] == "ASKED").collect();
    // The question about one record alone is noted too.
    assert_eq!(noted.len(), said_so + 1, "{noted:?}");
    let anna = format!("anna (uid {})", nix::unistd::geteuid());
    assert!(noted.iter().all(|e| e["actor"] == *anna && e["seq"].is_number() && e["from"].is_null()));
    let audit = world.cardwright(&["audit", "verify", "--keys", "bureau.store"]);
    assert_eq!(audit.code, 0, "{}{}", audit.stdout, audit.stderr);
    for needle in cardholders(&world.path("job.csv")) {
        let told = [&one.stdout, &other.stdout, &all.to_string(), &log];
        assert!(told.iter().all(|text| !text.contains(&needle)), "a cardholder's data is told");
    }

    // The plastic agrees with the answers, and the questions did not change it: each card was changed only by
    // the commands before the kill.
    machines.off();
    let witness = Witness::keep(world, 2);
    for station in met {
        let dump = witness.dumps.iter().find(|d| d["blank"] == station["blank"]).unwrap();
        assert_eq!(dump["fate"], "left");
        let states = dump["chip"]["applications"].as_array().unwrap();
        let done = states.iter().filter(|a| a["state"] == "PERSONALIZED").count();
        let wrote = number(dump, "writes");
        let (verdict, as_it_was) = match done {
            0 => ("not-personalized", wrote == 0),
            4 => ("as-ordered", wrote == writes),
            _ => ("partly", 0 < wrote && wrote < writes),
        };
        assert!(station["verdict"] == verdict && as_it_was, "{station} {states:?} {wrote} of {writes}");
    }
}

/// A card under the stripe encoder cannot be asked for its chip, but its stripe can be read and names its
/// record.
#[test]
fn a_card_under_the_stripe_encoder_is_known_by_its_stripe() {
    let bureau = Bureau::new(&Lined { stations: 2, ..Lined::default() });
    let world = &bureau.world;
    world.prepared("job", 1, 43);
    let late = "[[fault]]\nkind = \"late-stripe\"\nblanks = [1]\nms = 4000\n";
    std::fs::write(world.path("faults.toml"), late).unwrap();
    let machines = bureau.machines(&["--seed", "3", "--faults", "faults.toml"]);
    // Without a look at the blank stripe, the encoder's first job is to write it, and that answer is late.
    let path = world.path("line.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let hico = "coercivity = \"hico\"";
    std::fs::write(&path, text.replacen(hico, &format!("{hico}\nread_back = false"), 1)).unwrap();
    killed_when_late(&bureau, "job.cwf1", "late-stripe", 1);
    std::fs::write(&path, text).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    // The encoder answers again when its late answer is out.
    let said = loop {
        let (_, said) = asked(&bureau, "J1 all --station stripe-1");
        if said["stations"][0]["asked_for"] == true || Instant::now() > end {
            break said;
        }
    };
    let station = &said["stations"][0];
    assert_eq!(
        (&station["verdict"], &station["card"]["seq"]),
        (&"stripe-as-ordered".into(), &1.into()),
        "{said}"
    );
    for needle in cardholders(&world.path("job.csv")) {
        assert!(!said.to_string().contains(&needle), "a cardholder's data is told");
    }
    machines.off();
    let witness = Witness::keep(world, 1);
    let left: Vec<_> = witness.fate("left").collect();
    assert_eq!(left.len(), 1);
    assert!(left[0]["stripe"]["2"].is_string(), "the stripe is gone");
}
