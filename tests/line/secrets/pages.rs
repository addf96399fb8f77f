//! The keys in the memory of an HSM host, searched by root while cards are made. Its pages for keys show nothing; a host whose
//! pages are locked by `mlock` alone shows every key, so the search would find one elsewhere.

use std::ffi::OsStr;
use std::fs::read_to_string;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use cardwright::crypto::{KeyType, set_odd_parity};
use cardwright::hsm::store::{CompanionKind, KeyStore};
use nix::unistd::geteuid;

use super::memory::in_memory;
use super::needles;
use super::process::{Running, child_with, wait_for};
use super::scene::Scene;
use super::search::{Kind, Needle, Search, Value};
use crate::support::BUREAU_KEYS;

/// Set for a host of TEST keys: its pages can be read by root.
const ONLY_MLOCK: &str = "CARDWRIGHT_TEST_MLOCK";
/// A leak on purpose: the environment of a process lies in its memory.
const PLANTED: &str = "A0B1C2D3E4F596877869F5E4D3C2B1A0";

/// A line that makes cards, and what was found in the memory of its host meanwhile.
pub struct SearchedLine {
    pub scene: Scene,
    daemon: Running,
    host: u32,
}

impl SearchedLine {
    /// A line with a job, whose host has its pages locked by `mlock` alone, or as always.
    fn working(seed: u32, only_mlock: bool) -> Self {
        let mlock = only_mlock.then_some((ONLY_MLOCK, OsStr::new("1")));
        Self::begun(seed, mlock.into_iter().chain([("PLANTED", OsStr::new(PLANTED))]))
    }

    /// A line with a job, whose daemon has these variables of the environment.
    pub fn begun<'e>(seed: u32, environment: impl IntoIterator<Item = (&'e str, &'e OsStr)>) -> Self {
        assert!(geteuid().is_root(), "root looks into the memory of other programs");
        let mut scene = Scene::new("text");
        scene.prepare(24, seed);
        let people = format!(
            "[[person]]\nname = \"anna\"\nuid = {}\nroles = [\"operator\", \"supervisor\"]\n",
            geteuid()
        );
        std::fs::write(scene.world.path("people.toml"), people).unwrap();
        let args = "--line sim-8 --keys bureau.store --people people.toml --simulate --speed 20 --dump dumps --socket d.sock";
        let args: Vec<_> = args.split(' ').collect();
        let mut command = scene.command(env!("CARGO_BIN_EXE_cardwrightd"), &args);
        command.env("CARDWRIGHT_LOG", "warn").envs(environment);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let daemon = Running(child);
        let host = child_with(daemon.0.id(), "hsm-host").unwrap();
        scene.ends(0, "job submit job.cwf1 --socket d.sock");
        scene.ends(0, "job release J1 --socket d.sock");
        Self { scene, daemon, host }
    }

    fn cards(&self) -> usize {
        self.scene.world.path("dumps").read_dir().map_or(0, Iterator::count)
    }

    /// The keys that the host holds as long as it lives, as they are kept: a TDES key with odd parity.
    fn kept(&self) -> Vec<Needle> {
        let store = KeyStore::open(&self.scene.world.path("bureau.store")).unwrap();
        let mut needles: Vec<_> = needles::listed(BUREAU_KEYS)
            .into_iter()
            .flat_map(|(label, mut value)| {
                let entry = store.entries().iter().find(|entry| entry.label() == label).unwrap();
                if entry.key_type() == KeyType::Tdes2 {
                    set_odd_parity(&mut value);
                }
                needles::key(Kind::Master, &label, &value)
            })
            .collect();
        needles.extend(needles::spool_keys(&self.scene.world.spool_keys()));
        needles
    }

    /// Keys that it opens for a call: of the store's file, of signatures, and of blanks.
    fn passing(&self) -> Vec<Needle> {
        let audit = self.scene.world.companion("bureau.store", CompanionKind::Audit);
        let seed = audit.lines().find_map(|line| line.strip_prefix("seed ")).unwrap();
        // `src/hsm/store/header.rs`: a TEST store has its master key in its file, behind 58 bytes.
        let master = std::fs::read(self.scene.world.path("bureau.store/keys")).unwrap()[58..90].to_vec();
        let named = |name: &str, value: Vec<u8>| {
            let halves = value.chunks(16).map(<[u8]>::to_vec);
            halves
                .map(|half| Needle { name: name.into(), kind: Kind::Master, value: Value::Bytes(half) })
                .collect::<Vec<_>>()
        };
        [named("audit seed", hex::decode(seed).unwrap()), named("master key", master)].concat()
    }

    /// Names of the needles in the host's memory, each once.
    fn found(&self, needles: Vec<Needle>) -> Vec<String> {
        in_memory(self.host, &Search::new(needles))
    }

    fn planted() -> Needle {
        Needle {
            name: "planted".into(),
            kind: Kind::Master,
            value: Value::Bytes(hex::decode(PLANTED).unwrap()),
        }
    }

    fn secret_pages(&self) -> usize {
        let maps = read_to_string(format!("/proc/{}/maps", self.host)).unwrap();
        maps.lines().filter(|line| line.contains("secretmem")).count()
    }

    /// Waits until the job is made.
    pub fn complete(&mut self) {
        let scene = &mut self.scene;
        wait_for("the job's end", || {
            let shown = scene.cardwright("job show J1 --socket d.sock --json").stdout;
            let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
            (shown["phase"] == "COMPLETE").then_some(())
        });
    }
}

#[test]
fn no_key_is_found_in_the_memory_of_an_hsm_host() {
    let mut line = SearchedLine::working(31, false);
    assert_eq!(line.secret_pages(), 1);
    wait_for("cards", || (line.cards() > 2).then_some(()));
    assert!(!line.found(vec![SearchedLine::planted()]).is_empty(), "a leak on purpose is found");
    line.complete();
    // While it answers, a cipher has its key on the stack.
    let needles = [line.kept(), line.passing(), line.scene.needles()].concat();
    assert_eq!(line.found(needles), [""; 0], "after the job");
}

#[test]
fn with_mlock_the_search_finds_every_key_and_a_planted_leak() {
    let line = SearchedLine::working(32, true);
    assert_eq!(line.secret_pages(), 0);
    wait_for("cards", || (line.cards() > 2).then_some(()));
    assert!(!line.found(vec![SearchedLine::planted()]).is_empty());
    let found = line.found(line.kept());
    for needle in line.kept() {
        let name = format!("{} as binary", needle.name);
        assert!(found.iter().any(|one| one.starts_with(&name)), "{name}: {found:#?}");
    }
}

/// The status of a process, as the kernel has it.
fn status(id: u32, field: &str) -> String {
    let status = read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn every_thread_of_a_working_host_is_in_the_sandbox() {
    let line = SearchedLine::working(33, false);
    wait_for("cards", || (line.cards() > 2).then_some(()));
    let threads: Vec<_> = std::fs::read_dir(format!("/proc/{}/task", line.host)).unwrap().flatten().collect();
    assert!(threads.len() > 5);
    for thread in threads {
        let path = thread.path().join("status");
        // A connection may have ended.
        let Ok(text) = read_to_string(path) else { continue };
        assert!(text.contains("Seccomp:\t2\n") && text.contains("NoNewPrivs:\t1\n"), "{text}");
    }
    assert_eq!(status(line.host, "Seccomp_filters"), "3");
    assert_eq!(status(std::process::id(), "Seccomp"), "0", "the check can give this answer too");
}

/// What the controller gets from the HSM host is wrapped, and what it gives to it is sealed.
#[test]
fn a_daemon_holds_no_key_and_no_secret_value_while_cards_are_made() {
    let mut line = SearchedLine::working(34, false);
    wait_for("cards", || (line.cards() > 2).then_some(()));
    // The profile of a simulated line has the KMCs of its simulated blanks.
    let secret = |needle: &Needle| needle.kind != Kind::Holder && !needle.name.starts_with("kmc-");
    for _ in 0..3 {
        let needles: Vec<_> = line.scene.needles().into_iter().filter(secret).collect();
        assert_eq!(in_memory(line.daemon.0.id(), &Search::new(needles)), [""; 0]);
    }
    let planted = Search::new(vec![SearchedLine::planted()]);
    assert!(!in_memory(line.daemon.0.id(), &planted).is_empty(), "a leak on purpose is found");
    line.complete();
}
