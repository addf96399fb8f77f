//! Shared by the benches: a bureau and an issuer in a directory on disk, prepared files, CPU time, medians.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use cardwright::crypto::rsa::RsaError;
use cardwright::crypto::{ApplicationScope, FileKind};
use cardwright::ids::KeyData;
use cardwright::record::chip::ChipApplication;
use cardwright::record::{Cwf1Reader, FileLimits, Record};
use nix::sys::resource::{Usage, UsageWho, getrusage};

/// Paths of the programs under test.
pub const CARDWRIGHT: &str = env!("CARGO_BIN_EXE_cardwright");
pub const PREP: &str = env!("CARGO_BIN_EXE_cardwright-prep");
/// KEK 476173FF:1 of both key lists, a published TEST key.
pub const KEK: &str = "1619402605FF52C0CEA2ED1B39A75979ED5627082A114A0EF952E1CF3BAFB787";
/// TEST keys of both sides.
const ISSUER_KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys-issuer.toml");
const BUREAU_KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys-bureau.toml");
/// Product multiapp without RSA, whose time is measured apart.
const PRODUCT: &str = include_str!("../../tests/data/multiapp.toml");

/// An issuer and a bureau with TEST keys; dropping it removes them.
pub struct World {
    directory: tempfile::TempDir,
}

impl World {
    /// In the build's own directory, which is on disk; the directory for temporary files may be in memory.
    pub fn new() -> Self {
        let world = Self { directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        world.ran(PREP, &["key", "init", "--test", "--from", ISSUER_KEYS, "--store", "issuer.store"]);
        std::fs::write(world.path("plain.toml"), PRODUCT).unwrap();
        world.new_bureau();
        world
    }

    /// Makes a bureau that has seen no file, because an HSM takes no file twice.
    pub fn new_bureau(&self) {
        let _ = std::fs::remove_dir_all(self.path("bureau.store"));
        let _ = std::fs::remove_file(self.path("run.db-lock"));
        self.ran(CARDWRIGHT, &["key", "init", "--test", "--from", BUREAU_KEYS, "--store", "bureau.store"]);
    }

    /// Raises the level of every application of the product to 03.
    pub fn with_seclev_03(self) -> Self {
        let raised = PRODUCT.replace("seclev = \"01\"", "seclev = \"03\"");
        assert_ne!(raised, PRODUCT);
        std::fs::write(self.path("plain.toml"), raised).unwrap();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A folder for sockets that only this user can enter.
    pub fn folder(&self) -> tempfile::TempDir {
        let private = std::fs::Permissions::from_mode(0o700);
        tempfile::Builder::new().permissions(private).tempdir_in(&self.directory).unwrap()
    }

    /// Prepares `NAME.cwf1` with this many cards of product multiapp, every application on each.
    pub fn prepared(&self, name: &str, cards: u32) -> PathBuf {
        let (csv, file, cards) = (format!("{name}.csv"), format!("{name}.cwf1"), cards.to_string());
        self.ran(PREP, &["sample", "--count", &cards, "--output", &csv]);
        let run = ["run", "--input", &csv, "--product", "plain.toml", "--keys", "issuer.store"];
        self.ran(PREP, &[&run[..], &["--kek", "476173FF:1", "--output", &file]].concat());
        self.path(&file)
    }

    /// A program with these arguments, in this world's directory.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.directory.path());
        for name in ["LEDGER", "KEYS", "PROFILES"] {
            command.env_remove(format!("CARDWRIGHT_{name}"));
        }
        command
    }

    /// Runs a program to its end, which must be a success.
    pub fn ran(&self, program: &str, args: &[&str]) -> Output {
        let output = self.command(program, args).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

/// Reads every record of a file.
pub fn records(file: &Path) -> Vec<Record> {
    let mut reader = Cwf1Reader::open(std::fs::File::open(file).unwrap(), FileLimits::default()).unwrap();
    std::iter::from_fn(|| reader.next_record().unwrap()).collect()
}

/// What the keys of an application depend on, in a file of another name: it costs as much.
pub fn scope_of<'a>(record: &'a Record, application: &'a ChipApplication) -> ApplicationScope<'a> {
    ApplicationScope {
        kind: FileKind::Finished,
        issuer_id: "TESTBANK",
        file_id: "TESTBANK-20260101-0001",
        sequence: record.sequence,
        card_ref: record.card_ref.as_str(),
        aid: application.aid.as_bytes(),
    }
}

/// KEYDATA number `n` of KMC FFFFFF476173.
pub fn key_data(n: u32) -> KeyData {
    let [a, b, c, d] = n.to_be_bytes();
    KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, a, b, c, d])
}

/// The random source of key pairs.
pub fn random(bytes: &mut [u8]) -> Result<(), RsaError> {
    getrandom::fill(bytes).map_err(|_| RsaError::Random)
}

/// Seconds of the day of a time as RFC 3339 in UTC.
pub fn seconds_of_day(ts: &str) -> f64 {
    let parts = ts[11..].trim_end_matches('Z').split(':').map(|part| part.parse::<f64>().unwrap());
    parts.fold(0.0, |seconds, part| seconds * 60.0 + part)
}

/// Cards per second between the tenth and the ninetieth percentile of those stacked, from their seconds of a day.
pub fn steady_rate(stacked: &[f64]) -> f64 {
    let (from, to) = (stacked.len() / 10, stacked.len() * 9 / 10);
    (to - from) as f64 / seconds_between(stacked[from], stacked[to])
}

/// Seconds from one second of the day to another.
pub fn seconds_between(from: f64, to: f64) -> f64 {
    (to - from).rem_euclid(86_400.0)
}

/// The middle value.
pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// User and system CPU time of this process.
pub fn cpu_of_self() -> Duration {
    cpu(&getrusage(UsageWho::RUSAGE_SELF).unwrap())
}

/// CPU time of the calling thread.
pub fn cpu_of_thread() -> Duration {
    cpu(&getrusage(UsageWho::RUSAGE_THREAD).unwrap())
}

/// CPU time of all children that have been waited for, and of their children.
pub fn cpu_of_children() -> Duration {
    cpu(&getrusage(UsageWho::RUSAGE_CHILDREN).unwrap())
}

fn cpu(usage: &Usage) -> Duration {
    let time = [usage.user_time(), usage.system_time()];
    time.iter().map(|t| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000)).sum()
}

/// Microseconds for each of `count`.
pub fn micros_each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}
