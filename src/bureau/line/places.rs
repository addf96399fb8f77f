//! Checks every station of a line without a card, all in parallel, so that a silent station does not delay
//! the others.

use std::collections::BTreeSet;
use std::time::Duration;

use drivers::DeviceError;
use drivers::conformance::{self, CardUnderTest, ReaderSuite};
use drivers::identity::OnlyMachine;
use drivers::registry::DrivenMachine;
use drivers::transport::Transport;

use super::blind::BlindMachines;
use super::check::Finding;
use super::links::Links;
use super::stations;
use crate::modules::{LineProfile, ModuleProfile};
use crate::profile::line::OUTPUT;
use crate::threads::each_at_once;

/// Time for a reader to answer without a card.
const READER_TIME: Duration = Duration::from_secs(5);

/// Name of the finding about a machine that a person's word must prove.
const WIRING: &str = "wiring";

/// What was found at the stations.
pub struct PlacesLook {
    /// The findings, in line order.
    pub findings: Vec<Finding>,
    /// Stations that take no card, because their machine lacks a person's word.
    unproved: BTreeSet<String>,
}

impl PlacesLook {
    /// A fault for each module of which every station lacks its proof: a run stops before it feeds a card.
    pub fn modules_without_a_station(&self, line: &LineProfile) -> Vec<Finding> {
        let without = line.working().filter(|module| {
            let mut names = module.station_names().peekable();
            names.peek().is_some() && names.all(|name| self.unproved.contains(&name))
        });
        let what = "no station of this module takes a card before a person has confirmed its machine, and a run would \
                    stop before its first card: test the line with blanks (--cards), or give link.STATION.number";
        without.map(|module| Finding::new(&module.name, WIRING, Err(what.to_owned()))).collect()
    }
}

/// Checks every station.
pub fn look(line: &LineProfile, links: &dyn Links, machines: &BlindMachines) -> PlacesLook {
    let places: Vec<_> = line
        .working()
        .flat_map(|module| module.station_names().map(move |name| (name, Some(module))))
        .chain([(OUTPUT.to_owned(), None)])
        .collect();
    let looks = each_at_once(&places, |(name, module)| station(name, *module, links, machines));
    let mut all = PlacesLook { findings: Vec::new(), unproved: BTreeSet::new() };
    for (look, (name, _)) in looks.into_iter().zip(&places) {
        let (findings, proof) = look.unwrap_or_else(|| {
            let died = Finding::new(name, "all", Err("us: the check itself failed".to_owned()));
            (vec![died], StationProof::NotLacking)
        });
        all.findings.extend(findings);
        if proof == StationProof::Lacking {
            all.unproved.insert(name.clone());
        }
    }
    all
}

/// Whether a station lacks a person's word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StationProof {
    /// Its machine takes no card without one.
    Lacking,
    /// It has one, needs none, or another fault keeps cards away.
    NotLacking,
}

fn station(
    name: &str,
    module: Option<&ModuleProfile>,
    links: &dyn Links,
    machines: &BlindMachines,
) -> (Vec<Finding>, StationProof) {
    let none = StationProof::NotLacking;
    let transport = transport(name, links);
    let free = transport.is_ok();
    let mut findings = vec![Finding::new(name, "transport", transport)];
    let Some(module) = module else { return (findings, none) };
    if !free {
        // Another process may be working with the station; checking its reader or machine could then cost a
        // card.
        let what = "not looked at, because its transport is in use by another program or cannot be reached: end the run on this \
                    line, or mend the transport";
        return (with(findings, Finding::new(name, "device", Err(what.to_owned()))), none);
    }
    let mut own = None;
    let found = match stations::machine(module, name, links) {
        Ok(Some((driver, mut machine))) => {
            let found = conformance::machine(driver, &mut machine, CardUnderTest::None);
            if found.iter().all(|found| found.outcome.is_ok()) {
                own = identity(name, &mut machine, machines);
            }
            found
        }
        Ok(None) => match links.reader(name) {
            Ok(mut reader) => {
                conformance::reader(&mut *reader, &ReaderSuite { timeout: READER_TIME, card: None })
            }
            Err(failure) => {
                return (with(findings, Finding::new(name, "reader", Err(failure.message))), none);
            }
        },
        Err(failure) => return (with(findings, Finding::new(name, "machine", Err(failure.message))), none),
    };
    findings.extend(found.into_iter().map(|found| Finding::new(name, found.check, found.outcome)));
    let (own, proof) = own.unzip();
    findings.extend(own);
    (findings, proof.unwrap_or(none))
}

/// Checks that a machine that does not notice cards is the station's own. If it lacks a person's word, that is a
/// warning and no fault: a test with blanks supplies the word, and other stations of the module may have theirs.
fn identity(
    name: &str,
    machine: &mut DrivenMachine,
    machines: &BlindMachines,
) -> Option<(Finding, StationProof)> {
    let identity = machine.identity()?;
    let only = &machines.at(name)?.only;
    identity.only(only.clone());
    let checked = identity.check();
    let finding = match (only, checked) {
        (OnlyMachine::Any, _) => return None,
        (OnlyMachine::Numbered(expected), Ok(())) => {
            Finding::saying(name, "number", Ok(format!("number {}", expected.number)))
        }
        (OnlyMachine::At { .. }, Ok(())) => {
            Finding::saying(name, WIRING, Ok("a person has confirmed this machine".to_owned()))
        }
        (OnlyMachine::At { .. }, Err(error @ DeviceError::Unproved { .. })) => {
            let warning = Ok(format!("warning: the station takes no card: {error}"));
            return Some((Finding::saying(name, WIRING, warning), StationProof::Lacking));
        }
        (_, Err(error)) => Finding::new(name, "number", Err(error.to_string())),
    };
    Some((finding, StationProof::NotLacking))
}

fn with(mut findings: Vec<Finding>, last: Finding) -> Vec<Finding> {
    findings.push(last);
    findings
}

fn transport(name: &str, links: &dyn Links) -> Result<(), String> {
    let mut transport =
        Transport::new(links.transport(name).map_err(|failure| failure.message)?).of_station(name);
    transport.check().map_err(|error| error.to_string())
}
