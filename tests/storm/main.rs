//! The kill storm. The daemon and the processes that it needs are killed at every APDU, at every write and
//! every sync of the ledger from its creation on, before messages that they send, by a power cut, while a job
//! goes on that was released at once, and at random times. After each kill the simulated line's account is
//! compared with the tables of the ledger.
//!
//! By default the storm takes each APDU and each sync, each fifth write, 36 random kills, and a few of the
//! rest. With `STORM=full` it takes each write, a thousand random kills, and more of the rest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod checker;
mod life;
mod machines;
#[path = "../pcscd_support/mod.rs"]
mod pcscd_support;
mod world;

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use checker::{Finding, Kind};
use life::{Blow, Outcome, Plan, Victim, Withdrawal, live};
use world::{CARDS, Template};

/// Number of lives that run in parallel.
const AT_ONCE: usize = 2;
/// Messages of `hwsim` until it has answered the first feed, with some to spare.
const FIRST_FEED: u32 = 24;

/// One line of the table.
struct Row {
    name: &'static str,
    /// The least number of kills for the row to count.
    least: usize,
    outcomes: Vec<(Plan, Outcome)>,
}

/// Carries out plan after plan, `AT_ONCE` in parallel, until there are no more or one of them was the last of
/// its kind.
fn storm(
    name: &'static str,
    least: usize,
    template: &Template,
    plan: impl Fn(u32) -> Option<Plan> + Sync,
) -> Row {
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst)
                    && let Some(plan) = plan(next.fetch_add(1, Ordering::SeqCst))
                {
                    let outcome = live(template, plan);
                    over.fetch_or(plan.is_over(&outcome), Ordering::SeqCst);
                    outcomes.lock().unwrap().push((plan, outcome));
                }
            });
        }
    });
    Row { name, least, outcomes: outcomes.into_inner().unwrap() }
}

impl Row {
    fn struck(&self) -> impl Iterator<Item = &(Plan, Outcome)> {
        self.outcomes.iter().filter(|(_, o)| o.kills > 0)
    }

    fn kills(&self) -> usize {
        self.outcomes.iter().map(|(_, o)| o.kills).sum()
    }

    fn findings(&self) -> impl Iterator<Item = (&Plan, &Finding)> {
        self.outcomes.iter().flat_map(|(plan, o)| o.findings.iter().map(move |f| (plan, f)))
    }

    fn line(&self) -> String {
        let count = |kind| self.findings().filter(|(_, (k, _))| *k == kind).count();
        let mut restarts: Vec<_> = self.struck().map(|(_, o)| o.restart.as_millis()).collect();
        restarts.sort_unstable();
        let median = restarts.get(restarts.len() / 2).copied().unwrap_or_default();
        let max = |of: fn(&Outcome) -> usize| self.struck().map(|(_, o)| of(o)).max().unwrap_or_default();
        format!(
            "{:<23} {:>5} {:>6} {:>10} {:>5} {:>4} {:>6} {:>8} {:>8} {:>8} {:>8} {:>9}",
            self.name,
            self.kills(),
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

const HEAD: &str = "killed at                kills  cards duplicates  lost  off  wrong  restart  (max)ms  UNKNOWN  in line  just out";

#[test]
fn nothing_is_lost_and_nothing_is_made_twice() {
    let template = Template::new();
    let full = std::env::var("STORM").is_ok_and(|storm| storm == "full");
    let (step, random) = if full { (1, 1000) } else { (5, 36) };
    // The kills of the other processes are this many messages apart.
    let (of_hsm, of_hwsim, of_hosts) = if full { (1, 1, 5) } else { (4, 8, 60) };
    let few = if full { 60 } else { 6 };
    let each = |blow| Some(Plan::Struck(blow));
    let mut rows = vec![
        storm("each APDU", 40, &template, |n| each(Blow::Apdu(n))),
        storm("each ledger write", 30, &template, |n| each(Blow::Write(n * step + 1))),
        storm("each ledger sync", 10, &template, |n| each(Blow::Sync(n + 1))),
        storm("HSM host, messages", 5, &template, |n| each(Blow::Send(Victim::HsmHost, n * of_hsm + 1))),
        // Each message until the first feed is answered: nothing is proved there yet, and a line once waited in vain.
        storm("hwsim, messages", 5, &template, |n| {
            each(Blow::Send(Victim::Hwsim, n.min(FIRST_FEED) + n.saturating_sub(FIRST_FEED) * of_hwsim + 1))
        }),
        storm("station hosts, messages", 4, &template, |n| {
            Some(Plan::StruckReal(Blow::Send(Victim::StationHost, n * of_hosts + 1)))
        }),
    ];
    let last = |row: &Row, of: fn(&Plan) -> Option<u32>| {
        row.struck().filter_map(|(plan, _)| of(plan)).max().unwrap_or(1)
    };
    let writes = last(&rows[1], |p| if let Plan::Struck(Blow::Write(n)) = p { Some(*n) } else { None });
    let syncs = last(&rows[2], |p| if let Plan::Struck(Blow::Sync(n)) = p { Some(*n) } else { None });
    let at = |n: u32, range: u32| 1 + drawn(n) % range;
    rows.push(storm("power cut, random", 30, &template, |n| {
        let blow =
            if n.is_multiple_of(2) { Blow::CutAtWrite(at(n, writes)) } else { Blow::CutAtSync(at(n, syncs)) };
        (n < random).then_some(Plan::Struck(blow))
    }));
    rows.push(storm("random time", 30, &template, |n| {
        let victim = [Victim::Daemon, Victim::HsmHost, Victim::Hwsim][n as usize % 3];
        let delay = Duration::from_millis(u64::from(drawn(n) % 60));
        (n < random).then_some(Plan::Struck(Blow::Later(victim, delay)))
    }));
    let twice = |n: u32, real: bool| Plan::Twice {
        first: Blow::Write(writes / 2 + at(n, writes / 2)),
        second: Blow::Write(at(n + 1000, writes / 2)),
        real,
    };
    rows.push(storm("twice, released at once", 10, &template, |n| (n < 2 * few).then_some(twice(n, false))));
    rows.push(storm("the same, real links", 5, &template, |n| (n < few).then_some(twice(n, true))));
    rows.push(storm("withdrawn in mid-card", 4, &template, |n| {
        let record = [None, Some(1), Some(2), Some(CARDS)][n as usize % 4];
        let withdrawal = Withdrawal { after: 2 + drawn(n) % 12, record };
        (n < 2 * few).then_some(Plan::Withdrawn(withdrawal, n % 8 < 4))
    }));
    print_rows(&rows);
}

/// The n-th number of a sequence that looks random and is the same in every run.
fn drawn(n: u32) -> u32 {
    let mut x = (n + 1).wrapping_mul(0x9E37_79B9);
    x ^= x >> 16;
    x = x.wrapping_mul(0x85EB_CA6B);
    x ^= x >> 13;
    x
}

/// Prints the table past the harness's capture of output, and fails if there is a finding.
fn print_rows(rows: &[Row]) {
    let mut text = format!("{HEAD}\n");
    rows.iter().for_each(|row| text += &format!("{}\n", row.line()));
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    let findings: Vec<_> = rows
        .iter()
        .flat_map(Row::findings)
        .map(|(plan, (kind, what))| format!("{plan:?}: {kind:?}: {what}"))
        .collect();
    let few = findings.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(findings.is_empty(), "{} findings:\n{few}", findings.len());
    for row in rows {
        assert!(row.kills() >= row.least, "{}: not a storm", row.name);
    }
}
