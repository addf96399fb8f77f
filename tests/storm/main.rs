//! The kill storm: the daemon, and what it works with, are killed at every APDU, every write and every sync of the ledger,
//! by pulling the plug, and at random; what the simulated line saw is held against the tables of the ledger each time.
//!
//! Each APDU and each sync; each second write, and 50 at random. `STORM=full`: each write, and a thousand at random.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod checker;
mod life;
mod world;

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use checker::{Finding, Kind};
use life::{Blow, Outcome, Victim, live};
use world::{CARDS, Template};

/// Lives at a time.
const AT_ONCE: usize = 2;

/// One line of the table.
struct Row {
    name: &'static str,
    outcomes: Vec<(Blow, Outcome)>,
}

/// Blow after blow, `AT_ONCE` at a time, until there is none or one that is to be the last did not strike.
fn storm(name: &'static str, template: &Template, blow: impl Fn(u32) -> Option<Blow> + Sync) -> Row {
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst)
                    && let Some(blow) = blow(next.fetch_add(1, Ordering::SeqCst))
                {
                    let outcome = live(template, blow);
                    let counts = matches!(blow, Blow::Apdu(_) | Blow::Write(_) | Blow::Sync(_));
                    if counts && !outcome.struck && outcome.findings.is_empty() {
                        over.store(true, Ordering::SeqCst);
                    }
                    outcomes.lock().unwrap().push((blow, outcome));
                }
            });
        }
    });
    Row { name, outcomes: outcomes.into_inner().unwrap() }
}

impl Row {
    fn struck(&self) -> impl Iterator<Item = &(Blow, Outcome)> {
        self.outcomes.iter().filter(|(_, o)| o.struck)
    }

    fn findings(&self) -> impl Iterator<Item = (&Blow, &Finding)> {
        self.outcomes.iter().flat_map(|(blow, o)| o.findings.iter().map(move |f| (blow, f)))
    }

    fn line(&self) -> String {
        let count = |kind| self.findings().filter(|(_, (k, _))| *k == kind).count();
        let mut restarts: Vec<_> = self.struck().map(|(_, o)| o.restart.as_millis()).collect();
        restarts.sort_unstable();
        let median = restarts.get(restarts.len() / 2).copied().unwrap_or_default();
        let max = |of: fn(&Outcome) -> usize| self.struck().map(|(_, o)| of(o)).max().unwrap_or_default();
        format!(
            "{:<22} {:>5} {:>6} {:>10} {:>5} {:>4} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9}",
            self.name,
            self.struck().count(),
            self.outcomes.len() * CARDS as usize,
            count(Kind::Duplicate),
            count(Kind::Lost),
            count(Kind::Off),
            count(Kind::Wrong),
            median,
            restarts.last().copied().unwrap_or_default(),
            max(|o| o.unknown),
            max(|o| o.in_line),
            max(|o| o.just_out),
        )
    }
}

const HEAD: &str = "killed at               kills  cards duplicates  lost  off  wrong  restart  (max)ms  UNKNOWN  in line  just out";

#[test]
fn nothing_is_lost_and_nothing_is_made_twice() {
    let template = Template::new();
    let full = std::env::var("STORM").is_ok_and(|storm| storm == "full");
    let (step, random) = if full { (1, 1000) } else { (2, 50) };
    let mut rows = vec![
        storm("each APDU", &template, |n| Some(Blow::Apdu(n))),
        storm("each ledger write", &template, |n| Some(Blow::Write(n * step + 1))),
        storm("each ledger sync", &template, |n| Some(Blow::Sync(n + 1))),
    ];
    let last = |row: &Row, of: fn(&Blow) -> Option<u32>| {
        row.struck().filter_map(|(blow, _)| of(blow)).max().unwrap_or(1)
    };
    let writes = last(&rows[1], |b| if let Blow::Write(n) = b { Some(*n) } else { None });
    let syncs = last(&rows[2], |b| if let Blow::Sync(n) = b { Some(*n) } else { None });
    rows.push(storm("power cut, random", &template, |n| {
        let at = |range: u32| 1 + drawn(n) % range;
        let blow =
            if n.is_multiple_of(2) { Blow::CutAtWrite(at(writes)) } else { Blow::CutAtSync(at(syncs)) };
        (n < random).then_some(blow)
    }));
    rows.push(storm("random time", &template, |n| {
        let victim = [Victim::Daemon, Victim::HsmHost, Victim::Hwsim][n as usize % 3];
        let delay = Duration::from_millis(u64::from(drawn(n) % 60));
        (n < random).then_some(Blow::Later(victim, delay))
    }));
    told(&rows);
}

/// The n-th of numbers that look random and are the same every time.
fn drawn(n: u32) -> u32 {
    let mut x = (n + 1).wrapping_mul(0x9E37_79B9);
    x ^= x >> 16;
    x = x.wrapping_mul(0x85EB_CA6B);
    x ^= x >> 13;
    x
}

/// Shows the table, past the capture of output, and fails if there is a finding.
fn told(rows: &[Row]) {
    let mut text = format!("{HEAD}\n");
    rows.iter().for_each(|row| text += &format!("{}\n", row.line()));
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    let findings: Vec<_> = rows
        .iter()
        .flat_map(Row::findings)
        .map(|(blow, (kind, what))| format!("{blow:?}: {kind:?}: {what}"))
        .collect();
    let few = findings.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(findings.is_empty(), "{} findings:\n{few}", findings.len());
    for row in rows {
        assert!(row.struck().count() >= 10, "{}: not a storm", row.name);
    }
}
