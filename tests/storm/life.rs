//! One life of a job: a kill, the restart, the acts of a person, and the end. Findings are returned, not
//! asserted, so that the storm can count them.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::checker::{Books, Finding, Kind, Witness};
use crate::world::{CARDS, Daemon, Template, World, is_at_rest, is_closed, was_killed};

/// The disk stands still for so long before a kill at the ledger. An acknowledgement that did not wait for
/// the disk would let an APDU out in that time. See preload.c.
const STALL_MS: u32 = 60;
/// Time for which the chip delays an answer while a card is withdrawn.
const LATE_MS: u32 = 400;

/// The victim and the moment of a kill.
#[derive(Debug, Clone, Copy)]
pub enum Blow {
    /// The daemon, in the APDU after the chips have answered this many.
    Apdu(u32),
    /// The daemon, before the n-th write to its ledger.
    Write(u32),
    /// The daemon, before the n-th sync of its ledger.
    Sync(u32),
    /// Like `Write`, together with a power cut.
    CutAtWrite(u32),
    /// Like `Sync`, together with a power cut.
    CutAtSync(u32),
    /// A process, before it sends its n-th message; the messages of all station hosts are counted together.
    Send(Victim, u32),
    /// A process, at this time after the release.
    Later(Victim, Duration),
}

#[derive(Debug, Clone, Copy)]
pub enum Victim {
    Daemon,
    HsmHost,
    StationHost,
    Hwsim,
}

impl Victim {
    /// The name that preload.c has for the victim.
    fn word(self) -> &'static str {
        match self {
            Self::Daemon => "cardwrightd",
            Self::HsmHost => "hsm-host",
            Self::StationHost => "station-host",
            Self::Hwsim => "serve",
        }
    }
}

/// A withdrawal by a person, once the first card has answered this many APDUs.
#[derive(Debug, Clone, Copy)]
pub struct Withdrawal {
    pub after: u32,
    /// A record; `None` is the whole job.
    pub record: Option<u32>,
}

/// The events of one life.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    /// A kill on a simulated line.
    Struck(Blow),
    /// A kill on a line of real links.
    StruckReal(Blow),
    /// A kill, and another one while the job goes on; the job is released as soon as the daemon is back.
    Twice { first: Blow, second: Blow, real: bool },
    /// A withdrawal while the first card is written. If true, the daemon is killed right after its answer.
    Withdrawn(Withdrawal, bool),
}

impl Plan {
    /// Whether this kill did not happen, so that later ones of its kind would not happen either.
    pub fn is_over(self, outcome: &Outcome) -> bool {
        let counts = matches!(
            self,
            Self::Struck(Blow::Apdu(_) | Blow::Write(_) | Blow::Sync(_) | Blow::Send(..))
                | Self::StruckReal(_)
        );
        counts && outcome.kills == 0 && outcome.findings.is_empty()
    }
}

/// The result of one life.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Kills that happened before the end.
    pub kills: usize,
    /// The time from the last daemon's start until it is ready.
    pub restart: Duration,
    /// Number of UNKNOWN records after the restart.
    pub unknown: usize,
    /// Number of cards that the witness saw in the line at the kill.
    pub in_line: usize,
    /// Number of UNKNOWN cards that the witness saw leave the line before the ledger recorded it.
    pub just_out: usize,
    pub findings: Vec<Finding>,
}

/// Carries out a plan.
pub fn live(template: &Template, plan: Plan) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(what) = Life::new(template, plan).through(plan, &mut outcome) {
        outcome.findings.push((Kind::Wrong, what));
    }
    outcome
}

/// A world, and the observations so far.
struct Life<'a> {
    template: &'a Template,
    world: World,
    /// One for each life of hwsim.
    witnesses: Vec<Witness>,
    /// Whether the machines outlive the daemon.
    real: bool,
    /// Records that a person asked to withdraw, whether or not it was granted.
    withdrawn: BTreeSet<u32>,
    /// Records whose withdrawal the daemon confirmed.
    promised: BTreeSet<u32>,
}

impl<'a> Life<'a> {
    fn new(template: &'a Template, plan: Plan) -> Self {
        let real = matches!(plan, Plan::StruckReal(_) | Plan::Twice { real: true, .. });
        let world = if real { template.copy_with_machines() } else { template.copy() };
        let (withdrawn, promised) = (BTreeSet::new(), BTreeSet::new());
        Self { template, world, witnesses: vec![], real, withdrawn, promised }
    }

    fn through(&mut self, plan: Plan, outcome: &mut Outcome) -> Result<(), String> {
        let first = match plan {
            Plan::Struck(blow) | Plan::StruckReal(blow) | Plan::Twice { first: blow, .. } => {
                self.until_struck("daemon-1", "1", blow)?
            }
            Plan::Withdrawn(withdrawal, killed) => self.withdraw(withdrawal, killed)?,
        };
        outcome.kills += usize::from(first);
        self.look()?;
        if let Plan::Twice { second, .. } = plan
            && !Books::read(&self.world).is_closed()
        {
            outcome.kills += usize::from(self.until_struck("daemon-2", "2", second)?);
            self.look()?;
        }
        outcome.in_line = self.witnesses.iter().map(Witness::left).sum();

        let mut daemon = Daemon::start(&self.world, "daemon-3", "3", &mut |_| ())?;
        outcome.restart = daemon.took;
        let books = Books::read(&self.world);
        outcome.unknown = books.unknown().len();
        outcome.just_out = books.unrecorded(&self.witnesses);
        outcome.findings.extend(books.after_restart(&self.witnesses, &self.withdrawn));
        let gives_up = matches!(plan, Plan::Withdrawn(Withdrawal { record: None, .. }, _));
        made_to_the_end(&mut daemon, &books, &self.witnesses, gives_up)?;
        let ended = daemon.drain();
        if ended.code() != Some(0) {
            return Err(format!("the last daemon: {ended}"));
        }
        drop(daemon);
        self.world.off();
        self.look()?;
        let books = Books::read(&self.world);
        outcome.findings.extend(books.at_end(&self.witnesses, &self.withdrawn));
        for seq in self.promised.iter().filter(|seq| books.state(**seq) != "CANCELLED") {
            outcome
                .findings
                .push((Kind::Wrong, format!("record {seq} was withdrawn: {}", books.state(*seq))));
        }
        self.world.cardwright("audit verify --keys bureau.store")?;
        Ok(())
    }

    /// Waits until all processes of the daemon have ended, and reads the line's own account.
    fn look(&mut self) -> Result<(), String> {
        self.world.settle()?;
        let dumps = self.world.path("dumps");
        let witness = Witness::read(&dumps);
        if self.real {
            // The machines are those of the earlier lives, so this account includes theirs.
            self.witnesses.clear();
        } else {
            let _ = std::fs::remove_dir_all(&dumps);
        }
        self.witnesses.push(witness);
        Ok(())
    }

    /// Starts a daemon that is to lose itself or another process, releases the job at once, and waits until
    /// the daemon is dead or at rest. Returns whether the kill happened.
    fn until_struck(&self, log: &str, seed: &str, blow: Blow) -> Result<bool, String> {
        let world = &self.world;
        let armed = &mut |command: &mut Command| self.arm(command, blow);
        let mut daemon = match Daemon::start(world, log, seed, armed) {
            Ok(daemon) => daemon,
            Err(what) if what.contains("SIGKILL") => return Ok(true),
            // A daemon whose HSM host was killed does not start.
            Err(_) if self.has_sent(blow) => return Ok(true),
            Err(what) => return Err(what),
        };
        // These requests fail if the daemon, or a process that it needs, is killed during them.
        let submitted =
            if Books::read(world).has_job() { Ok(String::new()) } else { daemon.ask("job submit a.cwf1") };
        let released = submitted.and_then(|_| daemon.ask("job release J1"));
        match (blow, released) {
            (Blow::Later(victim, delay), released) => {
                released?;
                // The moment is arbitrary, so there is no state to wait for.
                std::thread::sleep(delay);
                let victims = match victim {
                    Victim::Daemon => vec![daemon.pid()],
                    other => world.children(other.word()),
                };
                for pid in &victims {
                    kill(Pid::from_raw(*pid), Signal::SIGKILL).map_err(|e| format!("kill {pid}: {e}"))?;
                }
                daemon.until(is_at_rest)?;
                daemon.drain();
                Ok(!victims.is_empty())
            }
            (Blow::Send(..), released) => {
                if released.is_ok() {
                    daemon.until(is_at_rest)?;
                } else if !self.has_sent(blow) {
                    released?;
                }
                daemon.drain();
                Ok(self.has_sent(blow))
            }
            (_, Err(what)) if daemon.outlives(Duration::from_secs(1)) => Err(what),
            _ => {
                daemon.until(is_at_rest)?;
                Ok(was_killed(daemon.drain()))
            }
        }
    }

    /// Loads the means of the kill.
    fn arm(&self, command: &mut Command, blow: Blow) {
        let world = &self.world;
        let (victim, at) = match blow {
            Blow::Apdu(after) => {
                let text = format!("[[fault]]\nkind = \"kill-controller\"\nafter = {after}\n");
                std::fs::write(world.path("faults.toml"), text).unwrap();
                command.args(["--faults", "faults.toml"]);
                return;
            }
            Blow::Later(..) => return,
            Blow::Write(n) | Blow::CutAtWrite(n) => (Victim::Daemon, format!("write:{n}")),
            Blow::Sync(n) | Blow::CutAtSync(n) => (Victim::Daemon, format!("sync:{n}")),
            Blow::Send(victim, n) => (victim, format!("send:{n}")),
        };
        if matches!(blow, Blow::CutAtWrite(_) | Blow::CutAtSync(_)) {
            command.env("CUT", "1");
        }
        if matches!(victim, Victim::Daemon) {
            command.env("STALL_MS", STALL_MS.to_string());
        }
        let count = world.path("sent");
        std::fs::write(&count, [0; 4]).unwrap();
        let ledger = world.path("").canonicalize().unwrap().join("cardwright.db");
        command.env("LD_PRELOAD", self.template.library()).env("CRASH_IN", victim.word());
        command.env("CRASH_AT", at).env("CRASH_LEDGER", ledger).env("CRASH_COUNT", count);
    }

    /// Whether the victim has come to the message before which it is killed.
    fn has_sent(&self, blow: Blow) -> bool {
        let Blow::Send(_, n) = blow else { return false };
        let bytes = std::fs::read(self.world.path("sent")).unwrap();
        u32::from_ne_bytes(bytes.try_into().unwrap()) >= n
    }

    /// Withdraws a record or the job while the first card waits for an answer of its chip. Returns whether
    /// the daemon was killed.
    fn withdraw(&mut self, withdrawal: Withdrawal, killed: bool) -> Result<bool, String> {
        let world = &self.world;
        let after = withdrawal.after;
        let late = format!("[[fault]]\nkind = \"late\"\nblanks = [1]\nafter = {after}\nms = {LATE_MS}\n");
        std::fs::write(world.path("faults.toml"), late).unwrap();
        let mut daemon = Daemon::start(world, "daemon-1", "1", &mut |command| {
            command.args(["--faults", "faults.toml"]);
        })?;
        daemon.ask("job submit a.cwf1")?;
        daemon.ask("job release J1")?;
        world.until("the first card waits", || {
            std::fs::read_to_string(world.path("dumps/faults.jsonl")).is_ok_and(|said| said.contains("late"))
        })?;
        let answer = match withdrawal.record {
            Some(seq) => daemon.ask(&format!("card cancel J1 {seq}")),
            None => daemon.ask("job cancel J1"),
        };
        match (withdrawal.record, answer) {
            (Some(seq), Ok(_)) => {
                self.promised.insert(seq);
            }
            // The record is being made, so it cannot be withdrawn.
            (Some(_), Err(refused)) if refused.contains("QUEUED or REMAKE") => {}
            (None, Ok(_)) => {}
            (_, Err(refused)) => return Err(refused),
        }
        match withdrawal.record {
            Some(seq) => self.withdrawn.extend([seq]),
            None => self.withdrawn.extend(1..=CARDS),
        }
        if killed {
            kill(Pid::from_raw(daemon.pid()), Signal::SIGKILL).map_err(|e| e.to_string())?;
        } else {
            daemon.until(is_at_rest)?;
        }
        Ok(was_killed(daemon.drain()))
    }
}

/// The acts of a person: look into the stacker, destroy the other cards, and let them be made again or give
/// them up.
fn made_to_the_end(
    daemon: &mut Daemon<'_>,
    books: &Books,
    witnesses: &[Witness],
    gives_up: bool,
) -> Result<(), String> {
    if !books.has_job() {
        daemon.ask("job submit a.cwf1")?;
    }
    if books.is_closed() {
        return Ok(());
    }
    for seq in witnesses.iter().flat_map(|witness| books.found_good(witness)) {
        daemon.ask(&format!("card resolve J1 {seq} --good"))?;
    }
    daemon.ask("card resolve J1 all --destroyed")?;
    if gives_up {
        daemon.ask("job cancel J1")?;
        daemon.ask("job close J1")?;
    } else {
        daemon.ask("card remake J1 all")?;
        daemon.ask("job release J1")?;
    }
    if daemon.until(is_closed)? { Ok(()) } else { Err("the last daemon died".into()) }
}
