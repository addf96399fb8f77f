//! Whether a line can begin a job: checks the profile, the links, every reader and machine (with those checks
//! of the conformance suite that need no card), the key store and the disk of the ledger. No card is needed
//! or touched.
//!
//! Not here: the duties of a device (`drivers::conformance`), opening links (`links`), words for people
//! (`cli::line`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::blind::{self, BlindMachines};
use super::links::{Links, Real, Simulated};
use super::simulator::{Simulation, Simulator};
use super::{disk, places};
use crate::audit::LedgerId;
use crate::bureau::key_access::KeyAccess;
use crate::bureau::opening::allowed;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{Auditor, CallerRole, Hsm};
use crate::ledger::Reader;
use crate::modules::LineProfile;

/// Place of the finding about the ledger's disk.
pub const DISK: &str = "disk";

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Station, module, `keys`, `disk` or `profile`.
    pub place: String,
    /// Name of the check.
    pub check: String,
    /// Whether the check was passed.
    pub good: bool,
    /// Details, if there are any. After a failed check: the fault, and the next step.
    pub says: String,
}

impl Finding {
    /// A finding that has details only if the check failed.
    pub fn new(place: &str, check: &str, found: Result<(), String>) -> Self {
        Self::saying(place, check, found.map(|()| String::new()))
    }

    /// A finding that has details even if the check passed.
    pub(in crate::bureau) fn saying(place: &str, check: &str, found: Result<String, String>) -> Self {
        let good = found.is_ok();
        Self { place: place.into(), check: check.into(), good, says: found.unwrap_or_else(|what| what) }
    }
}

/// The next use of a line that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextUse {
    /// A job.
    Job,
    /// Test blanks: they are the proof that stations may still lack.
    TestBlanks,
}

/// Checks every part of the line that is called `named` on the command line, for its next use; `directory` is for
/// sockets. Returns the line and the findings, those about the keys first.
pub fn check(
    named: &str,
    (access, ledger): (KeyAccess<'_>, &Path),
    simulation: &Simulation,
    directory: &Path,
    next: NextUse,
) -> Result<(LineProfile, Vec<Finding>), Failure> {
    let (text, origin) = LineProfile::source(named)?;
    let line = LineProfile::from_toml(&text, &origin)?;
    let reader = ledger.exists().then(|| Reader::open(ledger).ok()).flatten();
    let mut findings = vec![keys(&line, access, reader.as_ref(), simulation, directory)];
    findings.push(Finding::saying(DISK, "ledger", disk::look(ledger)));
    findings.extend(shared(&line));
    findings.extend(unstable(&line));
    if let Err(failure) = blind::check(&line) {
        findings.push(Finding::new("profile", "machines", Err(failure.message)));
    }
    // A ledger that cannot be read counts as one without words. The next run reports its fault.
    let words = |stations: &BTreeSet<String>| {
        let words = reader.as_ref().and_then(|reader| reader.wired(stations).ok());
        Ok(words.unwrap_or_default())
    };
    let mut look = |links: &dyn Links| -> Result<(), Failure> {
        let machines = BlindMachines::of(&line, links, words)?;
        let places = places::look(&line, links, &machines);
        if next == NextUse::Job {
            findings.extend(places.modules_without_a_station(&line));
        }
        findings.extend(places.findings);
        Ok(())
    };
    if simulation.on {
        Simulator::check(&text, &origin, simulation, directory)?;
        let simulator = Simulator::start(&text, simulation, directory)?;
        look(&Simulated { socket: simulator.socket().to_owned() })?;
        simulator.end()?;
    } else {
        let missing = line.missing_links();
        if missing.is_empty() {
            look(&Real::new(&line)?)?;
        }
        if line.link.is_empty() && line.sim.is_some() {
            let what =
                "it names no devices, but can be simulated: add --simulate, or its [link] tables".to_owned();
            findings.push(Finding::new("profile", "links", Err(what)));
        }
        let lacks = |what| format!("{what}: add it to the line profile");
        findings.extend(missing.into_iter().map(|what| Finding::new("profile", "links", Err(lacks(what)))));
    }
    Ok((line, findings))
}

/// Checks the key store, and its audit book, without which no ledger can be opened.
fn keys(
    line: &LineProfile,
    access: KeyAccess<'_>,
    reader: Option<&Reader>,
    simulation: &Simulation,
    directory: &Path,
) -> Finding {
    let look = || -> Result<String, Failure> {
        let socket = directory.join("hsm.sock");
        let host = access.start(line, &socket)?;
        let mut client = HsmClient::connect(host.door(), CallerRole::Check)?;
        if !simulation.on {
            allowed(line, client.realm())?;
        }
        // The book answers for a ledger that it does not know, too.
        let ledger = reader.and_then(|reader| reader.id().ok()).unwrap_or(LedgerId([0; 16]));
        client.audit(ledger)?;
        let info = client.info()?;
        if info.keks.is_empty() || info.kmcs.is_empty() {
            let what =
                format!("{} KEKs and {} KMCs: import what the job needs", info.keks.len(), info.kmcs.len());
            return Err(Failure::new(Exit::KeyStore, what));
        }
        Ok(format!("{} KEKs, {} KMCs", info.keks.len(), info.kmcs.len()))
    };
    Finding::saying("keys", "key store", look().map_err(|failure| failure.message))
}

/// Names of ports that depend on the order in which devices were plugged in.
const UNSTABLE: [&str; 2] = ["/dev/ttyUSB", "/dev/ttyACM"];

/// Warns of ports whose names may belong to other devices after the next start.
fn unstable(line: &LineProfile) -> Vec<Finding> {
    let ports = line.link.iter().flat_map(|(station, link)| {
        let named = [("serial", &link.serial), ("transport", &link.transport)];
        named.into_iter().filter_map(move |(key, port)| Some((station, key, port.as_ref()?)))
    });
    let unstable = ports.filter(|(_, _, port)| UNSTABLE.iter().any(|name| port.starts_with(name)));
    unstable
        .map(|(station, key, port)| {
            let says = format!(
                "warning: link.{station}.{key} names {port}, which may be another device after a restart: write \
                 usb:PATH (\"usb:1-4.2\") or a name under /dev/serial/by-path"
            );
            Finding::saying(station, "port name", Ok(says))
        })
        .collect()
}

/// Finds a device that two stations name.
fn shared(line: &LineProfile) -> Vec<Finding> {
    let mut users: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (station, link) in &line.link {
        let reader = link.reader.as_ref().or(link.usb.as_ref());
        let reader = reader.map(|reader| {
            let pcscd = link.pcscd.as_deref().unwrap_or("the system's pcscd");
            format!("reader {reader:?}, slot {}, of {pcscd}", link.slot)
        });
        let ports = [&link.serial, &link.transport].into_iter().flatten().map(|path| format!("port {path}"));
        for device in reader.into_iter().chain(ports) {
            users.entry(device).or_default().push(station);
        }
    }
    let twice = users.into_iter().filter(|(_, stations)| stations.len() > 1);
    twice
        .map(|(device, stations)| {
            let what = format!("{device} is named for {}: correct the profile", stations.join(" and "));
            Finding::new("profile", "links", Err(what))
        })
        .collect()
}
