//! The judge: compares the simulated line's dumps with the ledger's tables by plain SQL. It shares no code
//! with the ledger, and identifies a card by its chip: the account number in tag 57.
//!
//! Each UNKNOWN card of a kill is compared with the witness. Either the card lay in the line after the kill
//! ("in line" in the table), or `hwsim` reports that it was stacked or thrown out while the killed ledger had
//! not recorded that ("just out"). The second kind cannot be avoided, because a machine moves a card first
//! and reports then. Such cards are counted separately, one by one, so that other faults cannot hide among
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::world::World;

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A card exists twice.
    Duplicate,
    /// A record or a card is not accounted for.
    Lost,
    /// A balance is not zero.
    Off,
    /// Anything else: a program refuses, hangs, or prints something false.
    Wrong,
}

/// One finding.
pub type Finding = (Kind, String);

/// The line's own account of one life of hwsim.
#[derive(Default)]
pub struct Witness {
    dumps: Vec<Value>,
    /// Number of blanks whose fate is not in the journal because hwsim itself was killed.
    silent: usize,
}

impl Witness {
    /// Reads a directory of dumps. If there is none, no card was ever in the line.
    pub fn read(directory: &Path) -> Self {
        let Ok(entries) = std::fs::read_dir(directory) else { return Self::default() };
        let dumps = entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
        let dumps: Vec<Value> =
            dumps.map(|p| serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap()).collect();
        let journal = std::fs::read_to_string(directory.join("line.jsonl")).unwrap_or_default();
        let fed = journal.lines().filter(|line| line.contains("\"fed\"")).count();
        let silent = fed.saturating_sub(dumps.len());
        Self { dumps, silent }
    }

    fn of(&self, fate: &str) -> impl Iterator<Item = &Value> {
        self.dumps.iter().filter(move |d| d["fate"] == fate)
    }

    /// Cards that lay in the line at its end.
    pub fn left(&self) -> usize {
        self.of("left").count() + self.silent
    }
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// Account number and sequence of each record in the file.
fn ordered(world: &World) -> Vec<(String, u32)> {
    let text = std::fs::read_to_string(world.path("a.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = header.iter().position(|name| *name == "pan").unwrap();
    lines.map(|line| line[column].to_owned()).zip(1..).collect()
}

/// One attempt, as its row has it.
struct Attempt {
    seq: u32,
    state: String,
    keydata: String,
}

/// The content of the ledger's tables.
pub struct Books {
    records: BTreeMap<u32, String>,
    attempts: Vec<Attempt>,
    off: Vec<String>,
    ordered: Vec<(String, u32)>,
    closed: bool,
}

impl Books {
    /// Reads the world's ledger. Without a ledger or without a job, the result is empty.
    pub fn read(world: &World) -> Self {
        let (records, attempts) = (BTreeMap::new(), vec![]);
        let nothing = Self { records, attempts, off: vec![], ordered: ordered(world), closed: false };
        if !world.path("cardwright.db").exists() {
            return nothing;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(world.path("cardwright.db"), flags).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        let mut statement = db.prepare("SELECT seq, state FROM record").unwrap();
        let records = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        let records = records.collect::<Result<_, _>>().unwrap();
        let mut statement = db
            .prepare(
                "SELECT seq, attempt.state, hex(key_data) FROM attempt
                 JOIN blank ON blank.job = attempt.job AND blank.number = attempt.blank
                 ORDER BY seq, attempt.number",
            )
            .unwrap();
        let attempts = statement
            .query_map([], |r| Ok(Attempt { seq: r.get(0)?, state: r.get(1)?, keydata: r.get(2)? }))
            .unwrap();
        let attempts = attempts.collect::<Result<_, _>>().unwrap();
        let closed =
            db.query_row("SELECT count(*) > 0 FROM job WHERE state = 'CLOSED'", [], |r| r.get(0)).unwrap();
        Self { records, attempts, off: off(&db), closed, ..nothing }
    }

    /// Whether the job is closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the ledger has a job.
    pub fn has_job(&self) -> bool {
        !self.records.is_empty()
    }

    /// Records whose card a person has to look for.
    pub fn unknown(&self) -> Vec<u32> {
        self.records.iter().filter(|(_, state)| *state == "UNKNOWN").map(|(seq, _)| *seq).collect()
    }

    /// The record to which a card belongs, by its chip.
    fn owner(&self, dump: &Value) -> Option<u32> {
        let chip = dump["chip"].to_string();
        self.ordered.iter().find(|(pan, _)| chip.contains(&format!("{pan}D"))).map(|(_, seq)| *seq)
    }

    /// The UNKNOWN records whose cards lie in the stacker.
    pub fn found_good(&self, witness: &Witness) -> Vec<u32> {
        let stacked: BTreeSet<_> = witness.of("stacked").filter_map(|d| self.owner(d)).collect();
        self.unknown().into_iter().filter(|seq| stacked.contains(seq)).collect()
    }

    /// Findings that hold after any life of the line; `witnesses` are those of all lives so far.
    fn accounted(&self, witnesses: &[Witness]) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.off.iter().map(|what| (Kind::Off, what.clone())).collect();
        let mut say = |kind, what: String| findings.push((kind, what));
        if self.has_job() && self.records.len() != self.ordered.len() {
            say(Kind::Lost, format!("{} records", self.records.len()));
        }
        let mut stacked: BTreeMap<u32, usize> = BTreeMap::new();
        for dump in witnesses.iter().flat_map(|w| &w.dumps) {
            let (keydata, fate) = (word(dump, "keydata"), word(dump, "fate"));
            let bound = self.attempts.iter().find(|a| a.keydata == keydata);
            if dump["writes"] != 0 && bound.is_none() {
                say(Kind::Lost, format!("{keydata} was written ({fate}) and never bound"));
            }
            let owner = self.owner(dump);
            if let (Some(owner), Some(bound)) = (owner, bound)
                && owner != bound.seq
            {
                say(Kind::Wrong, format!("{keydata} holds record {owner} and was bound to {}", bound.seq));
            }
            if fate != "stacked" {
                continue;
            }
            let Some(owner) = owner else {
                say(Kind::Lost, format!("{keydata} was stacked and holds no record"));
                continue;
            };
            *stacked.entry(owner).or_default() += 1;
            let state = self.records.get(&owner).map_or("missing", String::as_str);
            if !["GOOD", "UNKNOWN"].contains(&state) {
                say(Kind::Lost, format!("the card of record {owner} is stacked, the record {state}"));
            }
        }
        for (seq, cards) in stacked.iter().filter(|(_, cards)| **cards > 1) {
            say(Kind::Duplicate, format!("record {seq} has {cards} stacked cards"));
        }
        for (seq, _) in
            self.records.iter().filter(|(seq, state)| *state == "GOOD" && !stacked.contains_key(seq))
        {
            say(Kind::Lost, format!("record {seq} is GOOD, and no card of it was stacked"));
        }
        findings
    }

    /// Findings after the restart: an attempt under way, an UNKNOWN card that neither lay in the line nor
    /// left it unrecorded, a CANCELLED record that is not in `cancelled`.
    pub fn after_restart(&self, witnesses: &[Witness], cancelled: &BTreeSet<u32>) -> Vec<Finding> {
        let mut findings = self.accounted(witnesses);
        if let Some((seq, state)) = self.records.iter().find(|(seq, state)| match state.as_str() {
            "IN_FLIGHT" => true,
            "CANCELLED" => !cancelled.contains(seq),
            _ => false,
        }) {
            findings.push((Kind::Lost, format!("record {seq} is {state} after a restart")));
        }
        for attempt in &self.attempts {
            let live = ["BOUND", "PERSONALIZING", "WRITTEN", "VERIFIED"].contains(&attempt.state.as_str());
            if live {
                findings.push((Kind::Lost, format!("record {}: attempt {}", attempt.seq, attempt.state)));
            }
        }
        let in_line = witnesses.iter().map(Witness::left).sum::<usize>();
        let (unknown, out) = (self.unknown().len(), self.unrecorded(witnesses));
        if unknown > in_line + out {
            findings.push((Kind::Lost, format!("{unknown} UNKNOWN, {in_line} in the line, {out} just out")));
        }
        if witnesses.iter().all(|w| w.silent == 0) {
            let seen: BTreeSet<_> =
                witnesses.iter().flat_map(|w| &w.dumps).map(|d| word(d, "keydata")).collect();
            let unknown = self.attempts.iter().filter(|a| a.state == "UNKNOWN");
            for attempt in unknown.filter(|a| !seen.contains(a.keydata.as_str())) {
                findings.push((Kind::Lost, format!("{} is UNKNOWN, and nobody saw it", attempt.keydata)));
            }
        }
        findings
    }

    /// Number of UNKNOWN cards that had left the line before the ledger recorded it.
    pub fn unrecorded(&self, witnesses: &[Witness]) -> usize {
        let unknown: BTreeSet<_> =
            self.attempts.iter().filter(|a| a.state == "UNKNOWN").map(|a| a.keydata.as_str()).collect();
        let out = witnesses.iter().flat_map(|w| w.of("stacked").chain(w.of("rejected")));
        out.filter(|d| unknown.contains(word(d, "keydata"))).count()
    }

    /// Findings at the end: a record that is neither GOOD with one card in the stacker, nor CANCELLED without
    /// one and in `cancelled`.
    pub fn at_end(&self, witnesses: &[Witness], cancelled: &BTreeSet<u32>) -> Vec<Finding> {
        let mut findings = self.accounted(witnesses);
        for (_, seq) in &self.ordered {
            let state = self.records.get(seq).map_or("missing", String::as_str);
            if state != "GOOD" && !(state == "CANCELLED" && cancelled.contains(seq)) {
                findings.push((Kind::Lost, format!("record {seq} is {state} at the end")));
            }
        }
        findings
    }

    /// The state of a record.
    pub fn state(&self, seq: u32) -> &str {
        self.records.get(&seq).map_or("missing", String::as_str)
    }
}

/// Differences in both balances: within themselves, and from the counts of the rows.
fn off(db: &Connection) -> Vec<String> {
    let sums = [
        ("records", "queued + in_flight + good + remake + unknown + cancelled"),
        (
            "blanks_fed",
            "blanks_in_line + blanks_good + blanks_rejected + blanks_unknown + blanks_returned + blanks_sample",
        ),
        ("records", "(SELECT count(*) FROM record)"),
        ("blanks_fed", "(SELECT count(*) FROM blank)"),
        ("good", "(SELECT count(*) FROM record WHERE state = 'GOOD')"),
        ("unknown", "(SELECT count(*) FROM record WHERE state = 'UNKNOWN')"),
        ("remake", "(SELECT count(*) FROM record WHERE state = 'REMAKE')"),
        ("blanks_good", "(SELECT count(*) FROM attempt WHERE state IN ('STACKED', 'GOOD'))"),
        ("blanks_unknown", "(SELECT count(*) FROM attempt WHERE state = 'UNKNOWN')"),
    ];
    let differs = |(left, right): &(&str, &str)| {
        let sql = format!("SELECT coalesce(sum(({left}) - ({right})), 0) FROM balance");
        let off: i64 = db.query_row(&sql, [], |r| r.get(0)).unwrap();
        (off != 0).then(|| format!("{left} is {off} off {right}"))
    };
    sums.iter().filter_map(differs).collect()
}
