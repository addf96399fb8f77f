//! The signed papers of a closed job: they agree with the witness, and a change to them is noticed.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use serde_json::Value;

use crate::delivery::age;
use crate::support::{World, lines};

const CARDS: usize = 14;
const DENIED: i32 = 42;
const NOT_AS_WRITTEN: i32 = 45;
const NOT_ALL_GOOD: i32 = 4;
const WHOSE_SIGNATURE: i32 = 3;
const NO_KEY: i32 = 20;
const NOT_ITS_STORE: i32 = 22;

fn papers(world: &World, out: &str) -> (i32, String) {
    let ended = world.cardwright(&["job", "papers", "J1", "--keys", "bureau.store", "--out", out]);
    (ended.code, ended.stdout + &ended.stderr)
}

/// Each attempt that left the modules says in its event how often it asked the HSM: once to verify the record, once for each of the
/// four applications, and for a challenge where none was left over from the card before, or where it waited for its turn.
fn the_hsm_is_counted_by_card(world: &World, report: &Value) {
    let log = world.cardwright(&["log", "--json"]);
    let events: Vec<Value> = serde_json::from_str(&log.stdout).unwrap();
    let of = |event: &&Value| !event["hsm_calls"].is_null();
    let counted: Vec<_> = events.iter().filter(of).collect();
    // The one that was given up has an attempt too.
    assert_eq!(counted.len(), 15, "{counted:?}");
    for event in &counted {
        assert!(event["to"] == "WRITTEN" || event["to"] == "REJECTED", "{event}");
        let calls = event["hsm_calls"].as_u64().unwrap();
        assert!(calls >= 5 && event["hsm_ms"].as_f64() > Some(0.0), "{event}");
    }
    let calls: u64 = counted.iter().map(|event| event["hsm_calls"].as_u64().unwrap()).sum();
    let kinds =
        ["verify", "challenge", "session"].map(|kind| report["hsm_calls"][kind].as_u64().unwrap_or(0));
    assert_eq!(calls, kinds.iter().sum::<u64>(), "{}", report["hsm_calls"]);
    let each = &report["hsm_per_card"];
    assert_eq!((&each["cards"], each["calls"][0].as_u64() >= Some(5)), (&15.into(), true), "{each}");
    assert!(each["ms"][1].as_f64() >= each["ms"][0].as_f64(), "{each}");
    let ms = report["hsm_ms"].as_object().unwrap();
    assert!(
        ms.keys().any(|kind| kind == "session") && ms.values().all(|ms| ms.as_f64() > Some(0.0)),
        "{ms:?}"
    );
}

#[test]
fn papers_report_the_fate_of_every_record_and_are_signed() {
    let world = World::new();
    world.prepared("job", 14, 60);
    std::fs::write(world.path("faults.toml"), "[[fault]]\nkind = \"stripe-misread\"\nblanks = [3, 5]\n")
        .unwrap();
    assert_eq!(world.run("job.cwf1", "sim-8", &["--faults", "faults.toml", "--seed", "1"]).code, 4);
    assert_eq!(papers(&world, "early").0, DENIED, "an open job has no papers");
    for words in [["resolve", "--destroyed"], ["remake", ""]] {
        let mut args = vec!["card", words[0], "J1", "all"];
        args.extend(words[1..].iter().filter(|w| !w.is_empty()));
        assert_eq!(world.cardwright(&args).code, 0, "{words:?}");
    }
    let made_again = world.cardwright(&["card", "show", "J1", "all", "--json"]);
    let made_again: Vec<Value> = serde_json::from_str(&made_again.stdout).unwrap();
    let twice = |card: &&Value| card["attempts"].as_array().unwrap().len() == 1 && card["state"] == "REMAKE";
    let seq = |card: &Value| card["seq"].as_u64().unwrap();
    // One record is made again, one given up.
    let bad: Vec<u64> = made_again.iter().filter(twice).map(seq).collect();
    assert_eq!(bad.len(), 2);
    assert_eq!(world.cardwright(&["card", "cancel", "J1", &bad[1].to_string()]).code, 0);
    let first: Vec<Value> = world.dumps();
    std::fs::rename(world.path("dumps"), world.path("dumps-1")).unwrap();
    assert_eq!(world.resume("sim-8", &["--seed", "2"]).code, 0);
    let dumps: Vec<Value> =
        first.into_iter().chain(world.dumps()).filter(|d| d["fate"] == "stacked").collect();

    // As if a daemon had been killed while it wrote papers: a part of one, and a complete one next to it.
    let lies = |name: &str| world.path("papers").join(name);
    std::fs::create_dir(world.path("papers")).unwrap();
    let begun = ["J1-return.jsonl.part", "J1-report.json.part"];
    begun.iter().for_each(|name| std::fs::write(lies(name), "begun").unwrap());
    std::fs::write(lies("J1-report.html"), "complete").unwrap();
    assert_eq!(papers(&world, "papers").0, 50, "nothing is written over");
    assert!(!begun.iter().any(|name| lies(name).exists()));
    std::fs::remove_file(lies("J1-report.html")).unwrap();
    begun.iter().for_each(|name| std::fs::write(lies(name), "begun").unwrap());
    let (code, said) = papers(&world, "papers");
    assert_eq!(code, 0, "{said}");
    assert!(!begun.iter().any(|name| lies(name).exists()));
    let readers = |name: &str| {
        let about = std::fs::metadata(world.path(name)).unwrap();
        (about.permissions().mode() & 0o777, about.gid())
    };
    assert_eq!(readers("papers/J1-return.jsonl").0, 0o600);
    // A folder for one group alone.
    const GROUP: u32 = 4711;
    std::fs::create_dir(world.path("shared")).unwrap();
    chown(world.path("shared"), None, Some(GROUP)).unwrap();
    std::fs::set_permissions(world.path("shared"), Permissions::from_mode(0o750)).unwrap();
    assert_eq!(papers(&world, "shared").0, 0);
    assert_eq!(
        ["J1-return.jsonl", "J1-return.jsonl.sig"].map(|n| readers(&format!("shared/{n}"))),
        [(0o640, GROUP); 2]
    );
    let returned = lines(&world.path("papers/J1-return.jsonl"));
    assert_eq!(returned.len(), CARDS + 2);
    assert_eq!(
        (&returned[0]["return"], &returned[0]["simulated"]),
        (&Value::from("CWR1"), &Value::from(true))
    );
    let end = &returned[CARDS + 1];
    assert_eq!((end["good"].as_u64(), end["cancelled"].as_u64()), (Some(13), Some(1)));
    for (record, n) in returned[1..=CARDS].iter().zip(1..) {
        assert_eq!(record["seq"], n);
        let dump = dumps.iter().find(|d| d["blank"] == record["blank"]);
        let given_up = n == bad[1];
        assert_eq!(record["outcome"], if given_up { "CANCELLED" } else { "GOOD" });
        assert_eq!(record["attempts"], if n == bad[0] { 2 } else { 1 });
        // Positions are counted on in the second run; hwsim begins at 1 again in each run.
        assert_eq!(dump.is_none() && record["position"].is_null(), given_up, "{record}");
    }
    let key = {
        let audit = world.cardwright(&["audit", "verify", "--keys", "bureau.store"]);
        audit.stdout.split("audit key ").nth(1).unwrap()[..64].to_owned()
    };
    let report: Value =
        serde_json::from_slice(&std::fs::read(world.path("papers/J1-report.json")).unwrap()).unwrap();
    assert_eq!(report["ledger"].as_str().unwrap().len(), 32);
    // Work of both runs: fourteen cards, and the one that was made again.
    let worked = |module: &str| {
        let stations =
            report["worked"].as_object().unwrap().iter().filter(|(name, _)| name.starts_with(module));
        stations.map(|(_, cards)| cards.as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((worked("chip/"), worked("stripe/")), (15, 15), "{}", report["worked"]);
    assert!(report["hsm_calls"].as_object().unwrap().values().all(|calls| calls.as_u64() > Some(0)));
    the_hsm_is_counted_by_card(&world, &report);
    // The HSM counted by itself what the papers say.
    let told = world.cardwright(&["audit", "document", "papers/J1-report.html"]).stdout;
    for says in ["14 records = 13 good + 1 cancelled", "15 blanks fed = 13 good + 2 rejected", "compare them"]
    {
        assert!(told.contains(says), "{says}: {told}");
    }
    for name in ["J1-report.json", "J1-report.html", "J1-return.jsonl"] {
        let path = world.path("papers").join(name);
        let paper = path.to_str().unwrap();
        let check = |more: &[&str]| world.cardwright(&[&["audit", "document", paper], more].concat()).code;
        assert_eq!((check(&[]), check(&["--key", &key])), (0, 0), "{name}");
        assert_eq!(check(&["--key", &"0".repeat(64)]), NOT_AS_WRITTEN, "{name}");
        let good = std::fs::read(&path).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(check(&[]), NOT_AS_WRITTEN, "{name}: byte {at}");
        }
        std::fs::write(&path, &good).unwrap();
    }
    // The issuer reconciles the return file with what it sent.
    let reconciled_with = |sent: &str, more: &[&str]| {
        let words = ["check-return", "papers/J1-return.jsonl", "--sent", sent];
        world.prep(&[&words, more].concat())
    };
    let reconciled = |more: &[&str]| reconciled_with("job.cwf1", more);
    let said = reconciled(&["--audit-key", &key]);
    assert_eq!(said.code, NOT_ALL_GOOD, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("GOOD       13, 1 of them remade"), "{}", said.stdout);
    assert!(said.stdout.contains("SIMULATED") && said.stdout.contains("Every record is accounted for"));
    assert_eq!(reconciled(&[]).code, WHOSE_SIGNATURE);
    // Sealed, it is read by the issuer alone, to whose recipient it was sealed too.
    let own = world.prep(&["key", "recipient", "--store", "issuer.store"]).stdout;
    let [sealed, bare] = ["job.age", "job.cwf1"].map(|name| world.path(name).display().to_string());
    age("age", &["-r", own.trim(), "-o", &sealed, &bare]);
    let again = reconciled_with("job.age", &["--keys", "issuer.store", "--audit-key", &key]);
    assert_eq!(again.stdout, said.stdout.replace("job.cwf1", "job.age"), "{}", again.stderr);
    assert_eq!(reconciled_with("job.age", &["--audit-key", &key]).code, NO_KEY);
    assert_eq!(reconciled_with("job.age", &["--keys", "bureau.store"]).code, NOT_ITS_STORE);
    assert_eq!(reconciled(&["--audit-key", &"0".repeat(64)]).code, NOT_AS_WRITTEN);
    let listed: Value = serde_json::from_str(&reconciled(&["--json"]).stdout).unwrap();
    assert_eq!(
        (&listed["not_good"][0]["seq"], &listed["cancelled"]),
        (&Value::from(bad[1]), &Value::from(1))
    );
    // An existing paper is not replaced.
    assert_eq!(papers(&world, "papers").0, 50);
}
