//! One life of a job: a blow, the restart, a person's word, and its end. What went wrong is told, not asserted, so that
//! the storm can count.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::checker::{Books, Finding, Kind, Witness};
use crate::world::{Daemon, Template, World, is_at_rest, is_closed, was_killed};

/// What is killed, and when.
#[derive(Debug, Clone, Copy)]
pub enum Blow {
    /// The daemon, when the chips have answered so many APDUs, in the next one.
    Apdu(u32),
    /// The daemon, before the n-th write to its ledger.
    Write(u32),
    /// The daemon, before the n-th sync of its ledger.
    Sync(u32),
    /// As `Write`, with the power.
    CutAtWrite(u32),
    /// As `Sync`, with the power.
    CutAtSync(u32),
    /// A process, so long after the release.
    Later(Victim, Duration),
}

#[derive(Debug, Clone, Copy)]
pub enum Victim {
    Daemon,
    HsmHost,
    Hwsim,
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// Whether the blow came before the end.
    pub struck: bool,
    /// From the start to "ready" of the daemon that came after it.
    pub restart: Duration,
    /// UNKNOWN after the restart.
    pub unknown: usize,
    /// What the witness saw in the line at the blow.
    pub in_line: usize,
    /// UNKNOWN cards that the witness saw leave the line before the ledger heard of it.
    pub just_out: usize,
    pub findings: Vec<Finding>,
}

/// Lives through it.
pub fn live(template: &Template, blow: Blow) -> Outcome {
    let world = template.copy();
    let mut outcome = Outcome {
        struck: false,
        restart: Duration::ZERO,
        unknown: 0,
        in_line: 0,
        just_out: 0,
        findings: Vec::new(),
    };
    if let Err(what) = through(&world, template.library(), blow, &mut outcome) {
        outcome.findings.push((Kind::Wrong, what));
    }
    outcome
}

fn through(world: &World, library: PathBuf, blow: Blow, outcome: &mut Outcome) -> Result<(), String> {
    outcome.struck = first_life(world, library, blow)?;
    world.settle()?;
    let mut witnesses = vec![kept(world)];
    outcome.in_line = witnesses[0].left();

    let mut daemon = Daemon::start(world, "daemon-2", &mut |command| {
        command.args(["--seed", "2"]);
    })?;
    outcome.restart = daemon.took;
    let books = Books::read(world);
    outcome.unknown = books.unknown().len();
    outcome.just_out = books.unrecorded(&witnesses);
    outcome.findings.extend(books.after_restart(&witnesses));
    made_to_the_end(&mut daemon, &books, &witnesses[0])?;
    let ended = daemon.drain();
    if ended.code() != Some(0) {
        return Err(format!("the second daemon: {ended}"));
    }
    world.settle()?;
    witnesses.push(kept(world));
    outcome.findings.extend(Books::read(world).at_end(&witnesses));
    world.cardwright("audit verify --keys bureau.store")?;
    Ok(())
}

/// Up to the blow, or to the end of the job if it never comes.
fn first_life(world: &World, library: PathBuf, blow: Blow) -> Result<bool, String> {
    let faults = world.path("faults.toml");
    let mut armed = |command: &mut Command| {
        command.args(["--seed", "1"]);
        let at = match blow {
            Blow::Apdu(after) => {
                let text = format!("[[fault]]\nkind = \"kill-controller\"\nafter = {after}\n");
                std::fs::write(&faults, text).unwrap();
                command.args(["--faults", "faults.toml"]);
                return;
            }
            Blow::Later(..) => return,
            Blow::Write(n) | Blow::CutAtWrite(n) => format!("write:{n}"),
            Blow::Sync(n) | Blow::CutAtSync(n) => format!("sync:{n}"),
        };
        if matches!(blow, Blow::CutAtWrite(_) | Blow::CutAtSync(_)) {
            command.env("CUT", "1");
        }
        let ledger = world.path("cardwright.db").canonicalize().unwrap();
        command.env("LD_PRELOAD", &library).env("CRASH_LEDGER", ledger).env("CRASH_AT", at);
    };
    let mut daemon = match Daemon::start(world, "daemon-1", &mut armed) {
        Ok(daemon) => daemon,
        Err(what) if what.contains("SIGKILL") => return Ok(true),
        Err(what) => return Err(what),
    };
    // They fail if the daemon dies of them.
    let released = daemon.ask("job submit a.cwf1").and_then(|_| daemon.ask("job release J1"));
    if let Blow::Later(victim, delay) = blow {
        released?;
        // When, not until what: any moment will do.
        std::thread::sleep(delay);
        let victims = match victim {
            Victim::Daemon => vec![daemon.pid()],
            Victim::HsmHost => world.children("hsm-host"),
            Victim::Hwsim => world.children("hwsim"),
        };
        for pid in &victims {
            kill(Pid::from_raw(*pid), Signal::SIGKILL).map_err(|e| format!("kill {pid}: {e}"))?;
        }
        daemon.until(is_at_rest)?;
        daemon.drain();
        return Ok(!victims.is_empty());
    }
    if let Err(what) = released
        && daemon.outlives(Duration::from_secs(1))
    {
        return Err(what);
    }
    daemon.until(is_closed)?;
    Ok(was_killed(daemon.drain()))
}

/// The dumps of the life that has ended, put aside.
fn kept(world: &World) -> Witness {
    let witness = Witness::read(&world.path("dumps"));
    let _ = std::fs::remove_dir_all(world.path("dumps"));
    witness
}

/// What a person does: looks into the stacker, destroys the rest, lets it be made again.
fn made_to_the_end(daemon: &mut Daemon<'_>, books: &Books, witness: &Witness) -> Result<(), String> {
    if !books.has_job() {
        daemon.ask("job submit a.cwf1")?;
    }
    if books.is_closed() {
        return Ok(());
    }
    for seq in books.found_good(witness) {
        daemon.ask(&format!("card resolve J1 {seq} --good"))?;
    }
    daemon.ask("card resolve J1 all --destroyed")?;
    daemon.ask("card remake J1 all")?;
    daemon.ask("job release J1")?;
    if daemon.until(is_closed)? { Ok(()) } else { Err("the second daemon died".into()) }
}
