//! Checks every station of a line without a card, all in parallel, so that a silent station does not delay
//! the others.

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

/// Checks every station. Returns the findings in line order.
pub fn look(line: &LineProfile, links: &dyn Links, machines: &BlindMachines) -> Vec<Finding> {
    let places: Vec<_> = line
        .working()
        .flat_map(|module| module.station_names().map(move |name| (name, Some(module))))
        .chain([(OUTPUT.to_owned(), None)])
        .collect();
    let looks = each_at_once(&places, |(name, module)| station(name, *module, links, machines));
    looks
        .into_iter()
        .zip(&places)
        .flat_map(|(look, (name, _))| {
            look.unwrap_or_else(|| {
                vec![Finding::new(name, "all", Err("us: the check itself failed".to_owned()))]
            })
        })
        .collect()
}

fn station(
    name: &str,
    module: Option<&ModuleProfile>,
    links: &dyn Links,
    machines: &BlindMachines,
) -> Vec<Finding> {
    let transport = transport(name, links);
    let free = transport.is_ok();
    let mut findings = vec![Finding::new(name, "transport", transport)];
    let Some(module) = module else { return findings };
    if !free {
        // Another process may be working with the station; checking its reader or machine could then cost a
        // card.
        let what = "not looked at, because its transport is in use by another program or cannot be reached: end the run on this line, or mend the transport";
        findings.push(Finding::new(name, "device", Err(what.to_owned())));
        return findings;
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
            Err(failure) => return with(findings, Finding::new(name, "reader", Err(failure.message))),
        },
        Err(failure) => return with(findings, Finding::new(name, "machine", Err(failure.message))),
    };
    findings.extend(found.into_iter().map(|found| Finding::new(name, found.check, found.outcome)));
    findings.extend(own);
    findings
}

/// Checks that a machine that does not notice cards is the station's own. If it lacks a person's word, that is a
/// warning and no fault: a test with blanks supplies the word.
fn identity(name: &str, machine: &mut DrivenMachine, machines: &BlindMachines) -> Option<Finding> {
    let identity = machine.identity()?;
    let only = &machines.at(name)?.only;
    identity.only(only.clone());
    let checked = identity.check();
    match (only, checked) {
        (OnlyMachine::Any, _) => None,
        (OnlyMachine::Numbered(expected), Ok(())) => {
            Some(Finding::saying(name, "number", Ok(format!("number {}", expected.number))))
        }
        (OnlyMachine::At { .. }, Ok(())) => {
            Some(Finding::saying(name, "wiring", Ok("a person has confirmed this machine".to_owned())))
        }
        (OnlyMachine::At { .. }, Err(error @ DeviceError::Unproved { .. })) => {
            Some(Finding::saying(name, "wiring", Ok(format!("warning: the station takes no card: {error}"))))
        }
        (_, Err(error)) => Some(Finding::new(name, "number", Err(error.to_string()))),
    }
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
