//! A line whose keys lie in a token: SoftHSM2 with host crypto makes cards; without it, and on a wrong token, no line opens.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scene::{Kind, LABEL, PIN, Scene};
use crate::support::{BUREAU_KEYS, Ended, World, compile};

const CARDS: u32 = 24;
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

fn good(ended: &Ended) {
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

/// A world with a token of SoftHSM2 that holds the bureau's keys, and a line that uses it.
struct TokenWorld(World);

impl TokenWorld {
    /// `faults` are those of the objects in the token.
    fn new(faults: &[&str]) -> Self {
        let mut world = World::new();
        std::fs::create_dir(world.path("tokens")).unwrap();
        let tokens = world.path("tokens");
        let settings = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        world.write("softhsm2.conf", &settings);
        world.set("SOFTHSM2_CONF", "softhsm2.conf");
        let made = ["--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "31415926"];
        good(&world.program(Path::new("softhsm2-util"), &made));
        world.write("pin", PIN);
        private(&world.path("pin"));
        let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
        let load =
            ["token-keys", "--module", MODULE, "--token", LABEL, "--pin-file", "pin", "--from", BUREAU_KEYS];
        let loaded = world.program(&hwsim, &[&load[..], faults].concat());
        good(&loaded);
        world.write("keys.toml", &loaded.stdout);
        let made = Self(world);
        made.new_store("token.store");
        made.line("line.toml", "host_crypto = \"allowed\"");
        made
    }

    fn new_store(&self, name: &str) {
        good(&self.0.cardwright(&["key", "init", "--test", "--from", "keys.toml", "--store", name]));
    }

    /// Writes a line with this token, and these lines more in its table.
    fn line(&self, name: &str, more: &str) {
        self.line_through(MODULE, &[], (name, more));
    }

    /// Writes `faulty.toml`, a line with this token behind the module of `faulty.c`, whose faults stand in files of `shim`.
    fn faulty_line(&self) {
        std::fs::create_dir(self.0.path("shim")).unwrap();
        compile("tokens/faulty.c", &self.0.path("shim"));
        let module = self.0.path("shim/faulty.so").display().to_string();
        self.line_through(&module, &["shim"], ("faulty.toml", "host_crypto = \"allowed\""));
    }

    fn line_through(&self, module: &str, folders: &[&str], (name, more): (&str, &str)) {
        let (_, shipped) = cardwright::profile::LINES.iter().find(|(name, _)| *name == "sim-8").unwrap();
        let folders = folders.iter().chain(&["tokens"]).map(|folder| self.0.path(folder));
        let needs: String = folders.map(|folder| format!("\"{}\", ", folder.display())).collect();
        let table = format!(
            "\n[hsm]\nmodule = \"{module}\"\ntoken = \"{LABEL}\"\nneeds = [{needs}\"/dev/urandom\"]\n{more}\n"
        );
        self.0.write(name, &format!("{shipped}{table}"));
    }

    /// Makes cards on the faulty line while the token is started anew again and again. Returns the end, and how often it was.
    fn run_with_restarts(&self, file: &str) -> (Ended, u32) {
        let mut command: Command = self.0.command(Path::new(env!("CARGO_BIN_EXE_cardwright")));
        command.args(Self::words(file, "faulty.toml")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = command.spawn().unwrap();
        let mut restarts = 0;
        while run.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(700));
            if self.0.path("dumps").exists() {
                restarts += 1;
                // Whole at once: the module reads it at any time.
                self.0.write("shim/next", &restarts.to_string());
                std::fs::rename(self.0.path("shim/next"), self.0.path("shim/restarts")).unwrap();
            }
        }
        (Ended::from(run.wait_with_output().unwrap()), restarts)
    }

    /// The words of a run on a line with the token.
    fn words<'a>(file: &'a str, line: &'a str) -> [&'a str; 17] {
        [
            "run",
            file,
            "--line",
            line,
            "--keys",
            "token.store",
            "--ledger",
            "token.db",
            "--simulate",
            "--speed",
            "0",
            "--dump",
            "dumps",
            "--report",
            "report.json",
            "--pin-file",
            "pin",
        ]
    }

    fn run(&self, file: &str, line: &str) -> Ended {
        self.0.cardwright(&Self::words(file, line))
    }
}

fn private(path: &Path) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// The applications of each chip, in the order of the stack.
fn chips(world: &World) -> Vec<Value> {
    let mut dumps = world.dumps();
    dumps.sort_by_key(|dump| dump["position"].as_u64());
    dumps.iter().map(|dump| dump["chip"]["applications"].clone()).collect()
}

#[test]
fn cards_made_through_softhsm_are_those_of_the_software_and_authenticate() {
    let world = TokenWorld::new(&[]);
    let prep = |words: &str| good(&world.0.prep(&words.split(' ').collect::<Vec<_>>()));
    prep("issuer-cert new --keys issuer.store --issuer 476173");
    prep("issuer-cert self --keys issuer.store --key 476173:1 --expiry 12/2049 --authority ca.json");
    prep(&format!("sample --count {CARDS} --output job.csv"));
    prep("run --input job.csv --product payment-sda --keys issuer.store --kek 476173FF:1 --output job.cwf1");
    good(&world.run("job.cwf1", "line.toml"));
    let report = world.0.report();
    let named = |list: &str| report["run"]["token"][list].as_array().unwrap().clone();
    assert!(named("inside").contains(&"card keys (KDC) from the KMC".into()), "{report}");
    assert!(named("on_host").contains(&"wrap under the session DEK".into()), "{report}");
    let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
    good(&world.0.program(&hwsim, &["terminal", "--dump", "dumps", "--authority", "ca.json"]));
    let by_token = chips(&world.0);
    assert_eq!(by_token.len(), CARDS as usize);

    std::fs::remove_dir_all(world.0.path("dumps")).unwrap();
    good(&world.0.run("job.cwf1", "sim-8", &[]));
    assert_eq!(chips(&world.0), by_token);

    let line = ["line.toml", "--keys", "token.store", "--ledger", "token.db", "--pin-file", "pin"];
    let checked = world.0.cardwright(&[&["line", "check"][..], &line, &["--simulate"]].concat());
    assert!(checked.stdout.contains("3 KEKs, 3 KMCs"), "{}{}", checked.stdout, checked.stderr);

    // Papers are made without the token, and say it too.
    let papers = ["job", "papers", "J1", "--out", "papers", "--keys", "token.store", "--ledger", "token.db"];
    good(&world.0.cardwright(&papers));
    let found = std::fs::read_dir(world.0.path("papers")).unwrap().map(|entry| entry.unwrap().path());
    let closeouts: Vec<String> = found
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter(|text| text.contains("wrap under"))
        .collect();
    assert_eq!(closeouts.len(), 2, "HTML and JSON");
}

#[test]
fn without_host_crypto_no_line_opens_on_softhsm() {
    let world = TokenWorld::new(&[]);
    world.line("strict.toml", "");
    world.0.prepared("job", 1, 1);
    let refused = world.run("job.cwf1", "strict.toml");
    assert_eq!(refused.code, 23, "{}", refused.stderr);
    for word in ["host_crypto", "wrap under the session DEK", "checks of values"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    assert!(!world.0.path("token.db").exists(), "nothing was accepted");
}

/// openCryptoki derives nothing, so the host gets card keys and transport keys; the KMCs and KEKs stay in the token.
#[test]
fn opencryptoki_needs_host_crypto_and_then_makes_cards() {
    let world = World::new();
    let scene = Scene::start(Kind::OpenCryptoki);
    world.write("pin", PIN);
    private(&world.path("pin"));
    let path = |name: &str| world.path(name).display().to_string();
    let inside = |program: &Path, words: &[&str]| {
        let mut command = scene.command(program);
        command.env("TMPDIR", world.path(""));
        Ended::from(command.args(words).output().unwrap())
    };
    let cardwright = Path::new(env!("CARGO_BIN_EXE_cardwright"));
    let module = Kind::OpenCryptoki.module();
    let pin = path("pin");
    let load = ["token-keys", "--module", module, "--slot", "3", "--pin-file", &pin, "--from", BUREAU_KEYS];
    let loaded = inside(&cardwright.with_file_name("hwsim"), &load);
    good(&loaded);
    world.write("keys.toml", &loaded.stdout);
    good(&world.cardwright(&["key", "init", "--test", "--from", "keys.toml", "--store", "token.store"]));
    world.prepared("job", 4, 1);
    let run = |more: &str| {
        let (_, shipped) = cardwright::profile::LINES.iter().find(|(name, _)| *name == "sim-8").unwrap();
        let needs = "[\"/run\", \"/dev/shm\", \"/var/lib/opencryptoki\", \"/var/lock\"]";
        let table =
            format!("\n[hsm]\nmodule = \"{module}\"\nslot = 3\nsockets = true\nneeds = {needs}\n{more}\n");
        world.write("line.toml", &format!("{shipped}{table}"));
        let words = [
            "run",
            &path("job.cwf1"),
            "--line",
            &path("line.toml"),
            "--keys",
            &path("token.store"),
            "--ledger",
            &path("l.db"),
            "--simulate",
            "--speed",
            "0",
            "--report",
            &path("report.json"),
            "--pin-file",
            &pin,
        ];
        inside(cardwright, &words)
    };
    let refused = run("");
    assert_eq!(refused.code, 23, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("host_crypto") && refused.stderr.contains("card keys"),
        "{}",
        refused.stderr
    );
    good(&run("host_crypto = \"allowed\""));
    let report = world.report();
    assert_eq!(report["run"]["token"]["inside"], serde_json::json!([]), "{report}");
    assert_eq!(report["job"]["balance"]["good"], 4, "{report}");
}

#[test]
fn an_object_that_is_not_the_key_of_the_store_is_refused() {
    for (faults, list, why) in [
        (&["--extractable"][..], None, "it could leave the token"),
        (&["--twice"], None, "there are several"),
        (&[], Some(("kcv = \"0AB377\"", "kcv = \"0AB378\"")), "its KCV is not the one"),
        (&[], Some(("token = \"kek-1\"", "token = \"kek-9\"")), "there is none"),
    ] {
        let world = TokenWorld::new(faults);
        if let Some((right, wrong)) = list {
            let text = std::fs::read_to_string(world.0.path("keys.toml")).unwrap();
            assert!(text.contains(right), "{text}");
            world.0.write("keys.toml", &text.replace(right, wrong));
            std::fs::remove_dir_all(world.0.path("token.store")).unwrap();
            world.new_store("token.store");
        }
        world.0.prepared("job", 1, 1);
        let refused = world.run("job.cwf1", "line.toml");
        assert_eq!(refused.code, 23, "{why}: {}", refused.stderr);
        assert!(refused.stderr.contains(why), "{why}: {}", refused.stderr);
    }
}

#[test]
fn a_wrong_pin_opens_no_line_and_is_not_shown() {
    let world = TokenWorld::new(&[]);
    world.0.prepared("job", 1, 1);
    world.0.write("pin", "161803");
    let refused = world.run("job.cwf1", "line.toml");
    assert_eq!(refused.code, 23, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("refuses the PIN") && !refused.stderr.contains("161803"),
        "{}",
        refused.stderr
    );
    std::fs::set_permissions(world.0.path("pin"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    let open = world.run("job.cwf1", "line.toml");
    assert_eq!(open.code, 50, "{}", open.stderr);
    assert!(open.stderr.contains("0600"), "{}", open.stderr);
}

#[test]
fn keys_in_a_token_are_of_no_use_to_a_line_without_it() {
    let world = TokenWorld::new(&[]);
    world.0.prepared("job", 1, 1);
    let refused = world.run("job.cwf1", "sim-8");
    assert_eq!(refused.code, 20, "{}", refused.stderr);
    assert!(refused.stderr.contains("lies in a token"), "{}", refused.stderr);
}

/// The files of the token are moved away while cards are made, and put back.
#[test]
fn a_token_that_is_gone_in_mid_run_loses_no_card() {
    let world = TokenWorld::new(&[]);
    world.0.prepared("job", 200, 1);
    let words = TokenWorld::words("job.cwf1", "line.toml").map(|word| if word == "0" { "4" } else { word });
    let mut command: Command = world.0.command(Path::new(env!("CARGO_BIN_EXE_cardwright")));
    let run = command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while std::fs::read_dir(world.0.path("dumps")).map_or(0, Iterator::count) < 8 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no card leaves the line");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::rename(world.0.path("tokens"), world.0.path("away")).unwrap();
    let held = Ended::from(run.wait_with_output().unwrap());
    std::fs::rename(world.0.path("away"), world.0.path("tokens")).unwrap();
    assert_eq!(held.code, 23, "{}{}", held.stdout, held.stderr);
    assert!(held.stderr.contains("the token of the HSM failed"), "{}", held.stderr);
    let balance = |report: &Value, state: &str| report["job"]["balance"][state].as_u64().unwrap();
    let report = world.0.report();
    assert_eq!(balance(&report, "unknown"), 0, "{report}");
    assert!(balance(&report, "remake") <= 8, "the cards in chip stations: {report}");
    let mut words = TokenWorld::words("job.cwf1", "line.toml").to_vec();
    words.splice(..2, ["job", "resume", "J1"]);
    world.0.cardwright(&words);
    let report = world.0.report();
    assert_eq!(balance(&report, "good") + balance(&report, "remake"), 200, "{report}");
    assert_eq!((balance(&report, "unknown"), report["records_off"].as_i64()), (0, Some(0)), "{report}");
}

/// Each session of the token dies, and the next request opens another: no card is rejected for it.
#[test]
fn a_token_that_is_started_anew_costs_no_card() {
    for most in [None, Some(1)] {
        let world = TokenWorld::new(&[]);
        world.faulty_line();
        if let Some(most) = most {
            // The token has one session for all connections: the dead one has to end before the next begins.
            world.0.write("shim/sessions", &format!("{most}"));
        }
        world.0.prepared("job", 200, 1);
        let (ended, restarts) = world.run_with_restarts("job.cwf1");
        good(&ended);
        assert!(restarts > 1, "{restarts} restarts");
        let report = world.0.report();
        assert_eq!(report["job"]["balance"]["good"], 200, "{report}");
        assert_eq!(report["rejects"], serde_json::json!([]), "{report}");
    }
}

#[test]
fn a_token_with_few_sessions_serves_every_station() {
    let world = TokenWorld::new(&[]);
    world.faulty_line();
    world.0.prepared("job", CARDS, 1);
    world.0.write("shim/sessions", "2");
    good(&world.run("job.cwf1", "faulty.toml"));
    assert_eq!(world.0.report()["job"]["balance"]["good"], CARDS);
}

#[test]
fn a_locked_pin_opens_no_line() {
    let world = TokenWorld::new(&[]);
    world.faulty_line();
    world.0.prepared("job", 1, 1);
    world.0.write("shim/locked", "");
    let refused = world.run("job.cwf1", "faulty.toml");
    assert_eq!(refused.code, 23, "{}", refused.stderr);
    assert!(refused.stderr.contains("locked"), "{}", refused.stderr);
    assert!(!world.0.path("token.db").exists(), "nothing was accepted");
}
