//! A job in which everything goes wrong that can go wrong, with all its output and files.

use std::path::Path;
use std::process::Command;

use super::needles::{self, OutputFile};
use super::search::{Kind, Needle};
use crate::support::{BUREAU_KEYS, Ended, ISSUER_KEYS, World};

/// Cards of the job.
pub const CARDS: u32 = 40;

/// Every kind of fault that hwsim knows, each on a separate blank.
pub const FAULTS: [&str; 15] = [
    r#"kind = "mute""#,
    r#"kind = "wrong-atr""#,
    r#"kind = "unknown-kmc""#,
    "kind = \"status\"\nsw = \"6A84\"",
    "kind = \"status\"\nsw = \"6985\"\nstore_data = 1",
    "kind = \"status\"\nsw = \"6A88\"\nstore_data = 2",
    r#"kind = "card-pulled""#,
    r#"kind = "stripe-misread""#,
    r#"kind = "stripe-dirty""#,
    r#"kind = "jam-stripe""#,
    r#"kind = "jam-printer""#,
    r#"kind = "jam-embosser""#,
    r#"kind = "jam-transfer""#,
    r#"kind = "feed-jam""#,
    // Last, so that a card of each KMC has proved its keys before: the first wrong one would hold the job.
    r#"kind = "wrong-cryptogram""#,
];

/// Bytes that a person could read later.
#[derive(Clone)]
pub struct Evidence {
    /// Name for messages.
    pub name: String,
    pub bytes: Vec<u8>,
    /// Whether it holds cardholder data by design: then only keys, PINs and secret DGIs must not be in it.
    pub of_cardholders: bool,
}

/// The world, the environment of every program in it, and the output of these programs so far.
pub struct Scene {
    pub world: World,
    environment: Vec<(&'static str, String)>,
    said: Vec<Evidence>,
}

impl Scene {
    /// A scene whose programs log everything, as `format`.
    pub fn new(format: &str) -> Self {
        let world = World::new();
        std::fs::create_dir(world.path("tmp")).unwrap();
        let temporary = world.path("tmp").display().to_string();
        let environment = vec![
            ("CARDWRIGHT_LOG", "trace".to_owned()),
            ("CARDWRIGHT_LOG_FORMAT", format.to_owned()),
            ("TMPDIR", temporary),
        ];
        Self { world, environment, said: Vec::new() }
    }

    /// A program, ready to run in the world.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.world.path("")).envs(self.environment.iter().cloned());
        for other in ["CARDWRIGHT_LEDGER", "CARDWRIGHT_KEYS", "CARDWRIGHT_PROFILES", "RUST_LOG"] {
            command.env_remove(other);
        }
        command
    }

    fn run(&mut self, program: &str, args: &[&str]) -> Ended {
        let output = self.command(program, args).output().unwrap();
        let name = format!("{} {}", Path::new(program).file_name().unwrap().display(), args.join(" "));
        for (stream, bytes) in [("standard output", &output.stdout), ("standard error", &output.stderr)] {
            let name = format!("{stream} of {name}");
            self.said.push(Evidence { name, bytes: bytes.clone(), of_cardholders: false });
        }
        output.into()
    }

    pub fn cardwright(&mut self, args: &str) -> Ended {
        self.run(env!("CARGO_BIN_EXE_cardwright"), &args.split(' ').collect::<Vec<_>>())
    }

    pub fn prep(&mut self, args: &str) -> Ended {
        self.run(env!("CARGO_BIN_EXE_cardwright-prep"), &args.split(' ').collect::<Vec<_>>())
    }

    /// Runs `cardwright`, which must end with this code.
    pub fn ends(&mut self, code: i32, args: &str) -> Ended {
        let ended = self.cardwright(args);
        assert_eq!(ended.code, code, "cardwright {args}\n{}{}", ended.stdout, ended.stderr);
        ended
    }

    /// Prepares the output file from synthetic cardholders; every other one gets a PIN of 12 digits.
    pub fn prepare(&mut self, cards: u32, seed: u32) {
        assert_eq!(self.prep(&format!("sample --count {cards} --output job.csv --seed {seed}")).code, 0);
        let path = self.world.path("job.csv");
        let csv = std::fs::read_to_string(&path).unwrap();
        let mut lines = csv.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let pin = header.iter().position(|column| column == "pin").unwrap();
        let mut changed = vec![header.join(",")];
        for (number, mut line) in (1u64..).zip(lines) {
            if number % 2 == 0 {
                // Multiples of a prime, because such numbers appear nowhere else.
                line[pin] =
                    format!("{:012}", (number + u64::from(seed)) * 738_201_949_337 % 1_000_000_000_000);
            }
            changed.push(line.join(","));
        }
        std::fs::write(path, changed.join("\n") + "\n").unwrap();
        let run =
            "run --input job.csv --product plain.toml --keys issuer.store --kek 476173FF:1 --output job.cwf1";
        assert_eq!(self.prep(run).code, 0);
        assert_eq!(self.prep(&format!("{run}.again --json")).code, 0);
    }

    /// Runs the whole job, faults, rejects and remakes included, and prints every view of it.
    pub fn job(&mut self) {
        let rule = |(n, fault): (usize, &&str)| format!("[[fault]]\n{fault}\nblanks = [{}]\n", 2 * n + 3);
        let faults: String = FAULTS.iter().enumerate().map(rule).collect();
        std::fs::write(self.world.path("faults.toml"), faults).unwrap();
        let line = "--line sim-8 --keys bureau.store --simulate --speed 0 --dump dumps";
        self.ends(0, "inspect job.cwf1 --keys bureau.store");
        self.ends(0, "inspect job.cwf1 --keys bureau.store --json");
        self.ends(3, "inspect job.cwf1 --json");
        self.ends(
            4,
            &format!(
                "run job.cwf1 {line} --seed 7 --faults faults.toml --events events.jsonl --report report.json"
            ),
        );
        self.ends(41, &format!("run job.cwf1 {line}"));
        self.views();
        self.ends(0, "card resolve J1 all --destroyed");
        self.ends(0, "card remake J1 all");
        self.ends(
            0,
            &format!("job resume J1 {line} --seed 8 --json --events remakes.jsonl --report remakes.json"),
        );
        self.ends(14, &format!("run job.cwf1 {line}"));
        self.ends(0, "job papers J1 --keys bureau.store --out papers");
        self.views();
        for unknown in ["job show J9", "card show J1 999", "card resolve J1 1 --good", "card cancel J1 all"] {
            self.cardwright(unknown);
        }
    }

    /// Runs a job without faults.
    pub fn plain_job(&mut self) {
        self.ends(0, "run job.cwf1 --line sim-8 --keys bureau.store --simulate --speed 0 --dump dumps");
    }

    fn views(&mut self) {
        for view in ["job list", "job show J1", "job report J1", "card show J1 all", "log"] {
            self.ends(0, view);
            self.ends(0, &format!("{view} --json"));
        }
    }

    /// Number of faults that struck.
    pub fn struck(&self) -> usize {
        let journal = std::fs::read_to_string(self.world.path("dumps/faults.jsonl")).unwrap();
        journal.lines().count()
    }

    /// All values that must not leak.
    pub fn needles(&self) -> Vec<Needle> {
        let bureau = needles::listed(BUREAU_KEYS);
        let value = |label: &str| bureau.iter().find(|(l, _)| l == label).unwrap().1.clone();
        let kmcs = ["kmc-1", "kmc-2", "kmc-3"].map(value);
        let mut needles = needles::masters(&[ISSUER_KEYS, BUREAU_KEYS]);
        for file in ["job.cwf1", "job.cwf1.again"] {
            let bytes = std::fs::read(self.world.path(file)).unwrap();
            needles.extend(OutputFile::read(&bytes).needles(&value("kek-1")));
        }
        let keys = self.world.spool_keys();
        needles.extend(needles::spool_keys(&keys));
        for dump in self.world.dumps() {
            let key_data = hex::decode(dump["keydata"].as_str().unwrap()).unwrap();
            needles.extend(needles::blank(&kmcs, &key_data));
        }
        assert!(
            [Kind::Master, Kind::File, Kind::Blank, Kind::Secret, Kind::Holder]
                .iter()
                .all(|kind| needles.iter().any(|n| n.kind == *kind))
        );
        needles
    }

    /// All output, and all files except those that hold clear keys or card data: inputs, dumps. Key stores are sealed.
    pub fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = self.said.clone();
        files(&self.world.path(""), &mut |path, bytes| {
            let name = path.strip_prefix(self.world.path("")).unwrap().display().to_string();
            let inputs = [".csv", ".toml"].iter().any(|end| name.ends_with(end));
            if !name.starts_with("dumps/") && (!inputs || name == "faults.toml") {
                // The spool is sealed, so it must not show cardholder data.
                let of_cardholders = name.contains(".cwf1") && !name.contains(".spool/");
                evidence.push(Evidence { name, bytes, of_cardholders });
            }
        });
        evidence
    }
}

/// Every file below a directory.
fn files(directory: &Path, found: &mut impl FnMut(&Path, Vec<u8>)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found(&path, std::fs::read(&path).unwrap());
        }
    }
}
