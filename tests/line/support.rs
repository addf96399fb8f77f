//! An issuer and a bureau in a temporary directory, with the real programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cardwright::hsm::store::{CompanionKind, KeyStore};
use serde_json::Value;

use crate::v1_store;

/// Key lists of both sides, TEST keys only.
pub const ISSUER_KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys-issuer.toml");
pub const BUREAU_KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys-bureau.toml");
/// Product multiapp as the issuer of a world prepares it: without RSA. It lies there as `plain.toml`.
pub const PRODUCT: &str = include_str!("../data/multiapp.toml");

/// A world for one test: two key stores, and a folder for files, ledger, events, dumps.
pub struct World {
    directory: tempfile::TempDir,
    /// Process whose mount namespace the programs run in.
    namespace: Option<u32>,
    /// Additional environment variables of the programs.
    environment: Vec<(&'static str, PathBuf)>,
}

/// The exit code and the output of a program that ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Compiles `tests/SOURCE`, a library for preloading, into a folder; the file has the source's name with
/// `.so`.
pub fn compile(source: &str, folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o"])
        .arg(folder.join(source.with_extension("so").file_name().unwrap()))
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler: run `make setup`");
    assert!(compiled.success());
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let world = Self { directory, namespace: None, environment: Vec::new() };
        let made = world.prep(&["key", "init", "--test", "--from", ISSUER_KEYS, "--store", "issuer.store"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        std::fs::write(world.path("plain.toml"), PRODUCT).unwrap();
        world.new_store("bureau.store");
        world
    }

    /// Makes a bureau's store that has seen no ledger and no file.
    pub fn new_store(&self, name: &str) {
        let made = self.cardwright(&["key", "init", "--test", "--from", BUREAU_KEYS, "--store", name]);
        assert_eq!(made.code, 0, "{}", made.stderr);
    }

    /// Replaces the bureau's key store by one made of its key list with this change.
    pub fn change_keys(&self, change: impl FnOnce(&str) -> String) {
        let list = change(&std::fs::read_to_string(BUREAU_KEYS).unwrap());
        std::fs::write(self.path("changed.toml"), list).unwrap();
        std::fs::remove_dir_all(self.path("bureau.store")).unwrap();
        let made =
            self.cardwright(&["key", "init", "--test", "--from", "changed.toml", "--store", "bureau.store"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
    }

    /// The text of a file that the HSM keeps in a key store.
    pub fn companion(&self, store: &str, kind: CompanionKind) -> String {
        let store = KeyStore::open(&self.path(store)).unwrap();
        store.companion_text(kind).unwrap().unwrap().to_string()
    }

    /// The files of the HSM's memory in the bureau's store.
    pub fn hsm_memory(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(self.path("bureau.store")).unwrap().map(|entry| entry.unwrap().path());
        let is_memory = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            ["memory-", "journal-", "chips"].iter().any(|begin| name.starts_with(begin))
        };
        files.filter(is_memory).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    /// Puts files back as they were.
    pub fn put_back(&self, files: &[(PathBuf, Vec<u8>)]) {
        files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    }

    /// The lines of the keys of the spools.
    pub fn spool_keys(&self) -> String {
        self.companion("bureau.store", CompanionKind::Spools)
    }

    /// Makes a bureau's store with this key list, audit book and keys of spools, by way of a store of version 1.
    pub fn store_of(&self, name: &str, list: &str, audit: &str, spools: &str) {
        let old = format!("{name}-v1");
        v1_store::write(&self.path(&old), "bureau", list, &[("audit", audit), ("spools", spools)]);
        let made = self.cardwright(&["key", "upgrade", &old, "--store", name]);
        assert_eq!(made.code, 0, "{}", made.stderr);
    }

    /// From now on the programs run in the mount namespace of this process.
    pub fn enter(&mut self, namespace: u32) {
        self.namespace = Some(namespace);
    }

    /// From now on the programs have this environment variable.
    pub fn set(&mut self, name: &'static str, path: &str) {
        self.environment.push((name, self.path(path)));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of the world.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Makes `count` synthetic cardholders as `NAME.csv`, prepared as `NAME.cwf1`. Returns the file's path.
    pub fn prepared(&self, name: &str, count: u32, seed: u64) -> PathBuf {
        let (csv, file) = (format!("{name}.csv"), format!("{name}.cwf1"));
        let (count, seed) = (count.to_string(), seed.to_string());
        let made = self.prep(&["sample", "--count", &count, "--output", &csv, "--seed", &seed]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        let made = self.prep(&[
            "run",
            "--input",
            &csv,
            "--product",
            "plain.toml",
            "--keys",
            "issuer.store",
            "--kek",
            "476173FF:1",
            "--output",
            &file,
        ]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        self.path(&file)
    }

    /// Runs `cardwright-prep ARGS` in the world's directory.
    pub fn prep(&self, args: &[&str]) -> Ended {
        self.program(Path::new(env!("CARGO_BIN_EXE_cardwright-prep")), args)
    }

    /// Runs `cardwright ARGS` in the world's directory; the ledger is `cardwright.db` there.
    pub fn cardwright(&self, args: &[&str]) -> Ended {
        self.program(Path::new(env!("CARGO_BIN_EXE_cardwright")), args)
    }

    /// Runs `cardwright run FILE --line LINE --simulate --speed 0 --dump dumps --events events.jsonl --report
    /// report.json`.
    pub fn run(&self, file: &str, line: &str, more: &[&str]) -> Ended {
        self.made(&["run", file], line, more)
    }

    /// Runs `job resume J1` with the options of [`World::run`].
    pub fn resume(&self, line: &str, more: &[&str]) -> Ended {
        self.made(&["job", "resume", "J1"], line, more)
    }

    /// A program adds events to the end of their file, so each run here gets a new file.
    fn made(&self, verb: &[&str], line: &str, more: &[&str]) -> Ended {
        let _ = std::fs::remove_file(self.path("events.jsonl"));
        let common = [
            "--line",
            line,
            "--keys",
            "bureau.store",
            "--simulate",
            "--speed",
            "0",
            "--dump",
            "dumps",
            "--events",
            "events.jsonl",
            "--report",
            "report.json",
        ];
        self.cardwright(&[verb, &common, more].concat())
    }

    pub fn program(&self, program: &Path, args: &[&str]) -> Ended {
        Ended::from(self.command(program).args(args).output().unwrap())
    }

    /// A program that is ready to run in the world's directory.
    pub fn command(&self, program: &Path) -> Command {
        let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
        assert!(hwsim.exists(), "hwsim is not built: run `make build` first");
        let mut command = match self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                let directory = format!("--wdns={}", self.directory.path().display());
                command.args(["--mount", &directory, "--target", &namespace.to_string()]).arg(program);
                command
            }
        };
        command
            .current_dir(self.directory.path())
            // A killed program leaves its folder of sockets, which goes with the world.
            .env("TMPDIR", self.directory.path())
            .env_remove("CARDWRIGHT_LEDGER")
            .env_remove("CARDWRIGHT_KEYS")
            .env_remove("CARDWRIGHT_PROFILES")
            .envs(self.environment.iter().map(|(name, path)| (name, path)));
        command
    }

    /// The report of the last run.
    pub fn report(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("report.json")).unwrap()).unwrap()
    }

    /// The events of the last run.
    pub fn events(&self) -> Vec<Value> {
        lines(&self.path("events.jsonl"))
    }

    /// All dumps: one for each blank that left a line.
    pub fn dumps(&self) -> Vec<Value> {
        let entries = std::fs::read_dir(self.path("dumps")).unwrap().map(|e| e.unwrap().path());
        let dumps = entries.filter(|p| p.extension().is_some_and(|e| e == "json"));
        dumps.map(|p| serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap()).collect()
    }
}

/// The values in a file of JSON lines.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
