//! Opens and closes the bureau: a line with its keys and its ledger, ready to accept files and to make jobs.
//!
//! Not here: acceptance (`acceptance`), making a job (`run_job`), identifying people (`cli`, `daemon`).

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use super::cpu_time;
use super::key_access::{self, KeyAccess};
use super::ledger_desk::{LedgerDesk, the_file};
use super::line::blind::BlindMachines;
use super::line::links::{Links, Real, Simulated};
use super::line::simulator::{Simulation, Simulator};
use super::line::stations;
use super::outcome::Outcome;
use super::refusal::Refusal;
use super::retention::{IdleWatch, KeptLongEnough, kept_long_enough};
use super::spool_folder::{forget_unfinished, has_spool, sweep};
use crate::actor::Actor;
use crate::exit::{Exit, Failure};
use crate::hsm::client::{HostProcess, HsmCallCounter, HsmClient};
use crate::hsm::key_host::socket_directory;
use crate::hsm::{CallerRole, Hsm, HsmDoor, Realm, TokenPart};
use crate::ids::JobId;
use crate::ledger::{ClockGap, Ledger, LedgerError};
use crate::modules::LineProfile;
use crate::pipeline::WiringProofs;
use crate::profile::line::{PermittedKeys, RejectDisposal};
use crate::report::ProgressDisplay;
use crate::report::summary::CpuTimes;
use crate::request::Action;
use crate::signals::Signals;

/// A line with its keys and its ledger.
pub struct Bureau {
    /// The line as the operator named it.
    pub(super) named: String,
    /// The profile of the line.
    pub line: LineProfile,
    /// Text of the line profile, for `hwsim`.
    profile: String,
    pub(super) simulation: Simulation,
    /// The ledger. It is signed and closed before the keys go.
    pub ledger: Ledger,
    /// The simulator, as soon as the first job has started it.
    simulator: Mutex<Option<Simulator>>,
    directory: TempDir,
    /// The process that holds the keys.
    host: Mutex<HostProcess>,
    pub(super) door: HsmDoor,
    pub(super) realm: Realm,
    /// What a token does, if keys lie in one.
    pub token: Option<TokenPart>,
    /// Counts the calls to the HSM for the job on the line.
    pub(super) calls: HsmCallCounter,
    /// Stations whose devices are proved, from job to job.
    pub(super) proofs: Arc<WiringProofs>,
}

/// How the processes of a bureau ended.
pub struct Ended {
    /// The end of `hwsim`.
    pub simulator: Result<(), Failure>,
    /// Whether the ledger wrote everything.
    pub ledger: Result<(), LedgerError>,
    /// CPU time that the processes used.
    pub cpu: CpuTimes,
    /// Jobs whose cardholder data have been kept for long enough, each with the time since which deletion is
    /// due.
    pub due: Vec<(JobId, String)>,
    /// Jobs whose deletion is due if the system's clock is right.
    pub doubtful: Vec<(JobId, String, ClockGap)>,
}

impl Bureau {
    /// Opens the bureau, and checks everything that can be checked before a file is accepted.
    pub fn open(
        named: &str,
        keys: KeyAccess<'_>,
        ledger: &Path,
        simulation: &Simulation,
        signals: &Signals,
    ) -> Result<Self, Refusal> {
        let (profile, origin) = LineProfile::source(named)?;
        let line = LineProfile::from_toml(&profile, &origin)?;
        stations::check(&line)?;
        can_run(&line, simulation.on)?;
        let directory = signals.directory(socket_directory)?;
        // A line that cannot run must not accept a job.
        if simulation.on {
            Simulator::check(&profile, &origin, simulation, directory.path())?;
        }
        if !ledger.exists() && has_spool(ledger) {
            return Err(Refusal::fault(
                Exit::Ledger,
                format!(
                    "operator: ledger {} is missing, but files that it accepted lie in its spool: restore it, or move the \
                     spool away if you mean to begin anew",
                    ledger.display()
                ),
            ));
        }
        let socket = directory.path().join("hsm.sock");
        let host = keys.start(&line, &socket)?;
        let door = host.door().clone();
        let token = key_access::token(&door)?;
        let auditor = HsmClient::connect_again(&door, CallerRole::Ledger)?;
        let realm = auditor.realm();
        if !simulation.on {
            allowed(&line, realm)?;
        }
        let ledger = Ledger::open_audited(ledger, Box::new(auditor))?;
        sweep(ledger.path());
        forget_unfinished(&ledger)?;
        let path = ledger.path().to_owned();
        signals.undo(move || sweep(&path));
        let simulator = Mutex::default();
        Ok(Self {
            named: named.to_owned(),
            line,
            profile,
            simulation: simulation.clone(),
            simulator,
            directory,
            host: Mutex::new(host),
            door,
            realm,
            token,
            calls: HsmCallCounter::default(),
            proofs: Arc::default(),
            ledger,
        })
    }

    /// Carries an action out in the name of `actor`. `files` came with the request. Actions on the queue of a
    /// running line (release, hold, resume, cancel, kill) belong to the daemon.
    pub fn carry_out(&self, action: &Action, actor: &Actor, files: Vec<File>) -> Result<Outcome, Refusal> {
        match action {
            Action::SubmitFile { .. } => {
                let (job, seen) =
                    self.accept(the_file(files)?, Some(actor.clone()), ProgressDisplay::Nothing)?;
                let seen_before = u64::try_from(seen.len()).unwrap_or(u64::MAX);
                Ok(Outcome::Accepted { job: job.id, seen_before, first_seen: seen.first().copied() })
            }
            Action::SurveyCards { job, records, station } => {
                Ok(Outcome::Surveyed(Box::new(self.survey(*job, records, station.as_deref(), actor)?)))
            }
            _ => LedgerDesk { ledger: &self.ledger, connect: &|| self.connect_for_ledger() }
                .carry_out(action, actor, files),
        }
    }

    /// Connects a station to the HSM for the job on the line.
    pub(super) fn station_hsm(&self) -> Result<Box<dyn Hsm>, Failure> {
        Ok(Box::new(self.connect_for_job(CallerRole::Station)?))
    }

    /// Connects to the HSM for the job on the line.
    pub(super) fn connect_for_job(&self, role: CallerRole) -> Result<HsmClient, Failure> {
        Ok(self.connect(role)?.counted(&self.calls))
    }

    /// Connects to the HSM for what is about the ledger: papers, deletion.
    pub fn connect_for_ledger(&self) -> Result<HsmClient, Failure> {
        self.connect(CallerRole::Ledger)
    }

    /// Connects to the HSM.
    pub(super) fn connect(&self, role: CallerRole) -> Result<HsmClient, Failure> {
        Ok(HsmClient::connect(&self.door, role)?)
    }

    pub(super) fn shredded(&self) -> bool {
        self.line.rejects == RejectDisposal::Shredded
    }

    /// Links to the machines, or to `hwsim`, which is started if it does not run.
    pub(super) fn links(&self) -> Result<Box<dyn Links + '_>, Failure> {
        if !self.simulation.on {
            return Ok(Box::new(Real::new(&self.line)?));
        }
        let mut simulator = self.simulator.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match simulator.take_if(|running| !running.has_ended()) {
            Some(running) => running,
            None => Simulator::start(&self.profile, &self.simulation, self.directory.path())?,
        };
        let socket = running.socket().to_owned();
        *simulator = Some(running);
        Ok(Box::new(Simulated { socket }))
    }

    /// The machines that do not notice cards, with the words that the ledger has for them.
    pub(super) fn blind_machines(&self, links: &dyn Links) -> Result<BlindMachines, Failure> {
        BlindMachines::of(&self.line, links, |stations| {
            let words = self.ledger.reader().and_then(|reader| reader.wired(stations));
            words.map_err(|error| Failure::new(Exit::Ledger, error.to_string()))
        })
    }

    /// Whether the HSM host has ended. It is not started again, because a store may want a passphrase.
    pub fn keys_are_gone(&self) -> bool {
        self.host.lock().unwrap_or_else(PoisonError::into_inner).has_ended()
    }

    /// Ends `hwsim` if it runs.
    pub fn end_simulator(&self) -> Result<(), Failure> {
        let simulator = self.simulator.lock().unwrap_or_else(PoisonError::into_inner).take();
        simulator.map_or(Ok(()), Simulator::end)
    }

    /// Ends the processes that were started: `hwsim`, then the ledger, and after its last signature the keys.
    pub fn close(self) -> Ended {
        let kept = kept_long_enough(&self.ledger, &self.line, &mut IdleWatch::default());
        let kept = kept.unwrap_or_else(|refusal| {
            tracing::debug!(?refusal, "which deletions are due is not known");
            KeptLongEnough::default()
        });
        let before = cpu_time::of_children();
        let simulator = self.end_simulator();
        let with_simulator = cpu_time::of_children();
        let ledger = self.ledger.close();
        drop(self.host);
        let cpu = CpuTimes {
            simulator: with_simulator.saturating_sub(before),
            hsm_host: cpu_time::of_children().saturating_sub(with_simulator),
            ..CpuTimes::default()
        };
        Ended { simulator, ledger, cpu, due: kept.due, doubtful: kept.doubtful }
    }
}

/// Most missing links that a message names.
const NAMED: usize = 3;

/// Checks that the profile has everything that this kind of run needs.
fn can_run(line: &LineProfile, simulated: bool) -> Result<(), Failure> {
    if simulated && line.sim.is_none() {
        let what = format!(
            "line {} has no [sim] table, so it cannot be simulated: add one (the manual for integrators shows how), or run it on \
             its devices without --simulate",
            line.name
        );
        return Err(Failure::new(Exit::Profile, what));
    }
    let missing = line.missing_links();
    if !simulated && !missing.is_empty() {
        let named: Vec<_> = missing.iter().take(NAMED).map(String::as_str).collect();
        let more = missing.len().saturating_sub(NAMED);
        let more =
            if more > 0 { format!(", and {more} more (line check lists them)") } else { String::new() };
        let what = format!(
            "profile: line {} cannot run on real devices, because its profile does not name them all: simulate it with \
             --simulate, or add its [link] tables: {}{more}",
            line.name,
            named.join(", "),
        );
        return Err(Failure::new(Exit::Profile, what));
    }
    Ok(())
}

/// Checks that these keys may reach the real devices of a line.
pub fn allowed(line: &LineProfile, realm: Realm) -> Result<(), Failure> {
    let (has, means) = match (line.keys, realm) {
        (PermittedKeys::Live, Realm::Live) | (PermittedKeys::Test, Realm::Test) => return Ok(()),
        (PermittedKeys::Live, Realm::Test) => {
            ("TEST", "a production line refuses them; the profile of a line for trials says keys = \"test\"")
        }
        (PermittedKeys::Test, Realm::Live) => ("LIVE", "the line is for TEST keys alone"),
    };
    let what = format!("key: the store holds {has} keys, and the line is {}: {means}", line.name);
    Err(Failure::new(Exit::KeyStore, what))
}
