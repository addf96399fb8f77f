//! The composition root of a line: makes stations with drivers on open links from the modules of a line
//! profile.

use std::sync::Arc;
use std::time::Duration;

use drivers::identity::OnlyMachine;
use drivers::registry::{self, DrivenMachine, Driver, LinkRole};
use drivers::transport::Transport;

use super::blind::{self, BlindMachine, BlindMachines};
use super::links::Links;
use crate::exit::{Exit, Failure};
use crate::hsm::Hsm;
use crate::modules::kind::KindDevice;
use crate::modules::{Blame, ChipModule, Fault, LineProfile, ModuleProfile, StationModule, StripeModule};
use crate::pipeline::{LineSetup, StageSetup, StationSetup, WiringProofs};
use crate::profile::line::OUTPUT;
use crate::reason::ReasonWord;

/// The only driver of chip modules: it works with any reader that the link leads to.
const READER: &str = "reader";

/// Checks that every module's driver exists and has the abilities that the module needs. Opens no link.
pub fn check(line: &LineProfile) -> Result<(), Failure> {
    for module in &line.modules {
        driver(module)?;
    }
    blind::check(line)
}

/// Opens every link of a line. `connect_hsm` makes a connection for each chip station. A station whose machine is not
/// known to be its own takes no card.
pub fn open(
    line: &LineProfile,
    links: &dyn Links,
    proofs: &Arc<WiringProofs>,
    machines: &BlindMachines,
    mut connect_hsm: impl FnMut() -> Result<Box<dyn Hsm>, Failure>,
) -> Result<LineSetup, Failure> {
    check(line)?;
    let mut stages = Vec::new();
    for module in line.working() {
        let mut stations = Vec::new();
        for name in module.station_names() {
            let mut worker: Box<dyn StationModule> = match machine(module, &name, links)? {
                Some((_, machine)) => over(machine, module)?,
                None => {
                    let reader = links.reader(&name)?;
                    Box::new(ChipModule::new(name.clone(), reader, connect_hsm()?, line.limits))
                }
            };
            let transport = Transport::new(links.transport(&name)?).of_station(&name);
            let refused = known(&mut *worker, machines.at(&name));
            let proofs = Arc::clone(proofs);
            stations.push(StationSetup { name, module: worker, transport, proofs, refused });
        }
        let kind = module.kind.rules.word;
        stages.push(StageSetup { name: module.name.clone(), kind, mics: module.mics.clone(), stations });
    }
    let output = Transport::new(links.transport(OUTPUT)?).of_station(OUTPUT);
    let reorder_buffer = u16::try_from(line.reorder_buffer)
        .map_err(|_| Failure::new(Exit::Profile, "reorder_buffer is too large"))?;
    Ok(LineSetup {
        stages,
        output,
        reorder_buffer,
        recover: Duration::from_secs_f64(line.limits.recover),
        stop: Duration::from_secs_f64(line.limits.stop),
        waits_for_blanks: false,
        breakers: line.breakers,
    })
}

/// Lets the driver of a machine that does not notice cards write with the station's own machine only. Returns a fault
/// if the machine is another one, or may be. A machine that does not answer is asked again before its first card.
fn known(worker: &mut dyn StationModule, machine: Option<&BlindMachine>) -> Option<Fault> {
    let only = machine?.only.clone();
    let Some(identity) = worker.identity() else {
        let detail = "us: the driver must distinguish its machine from others of its model, but cannot";
        return (only != OnlyMachine::Any).then(|| Fault::new(Blame::Us, ReasonWord::Bug, detail));
    };
    identity.only(only);
    identity.check().err().map(Fault::from).filter(Fault::doubts_device)
}

/// A station that can be asked about the card in it.
pub enum Askable {
    /// A chip reader.
    Chip(Box<ChipModule>),
    /// A stripe encoder that reads.
    Stripe(StripeModule),
}

/// The stations of a line that can be asked, and the other places in which a card may lie.
pub fn askable(line: &LineProfile) -> (Vec<(&ModuleProfile, String)>, Vec<String>) {
    let stations = line.working().flat_map(|m| m.station_names().map(move |name| (m, name)));
    let (askable, others): (Vec<_>, Vec<_>) = stations.partition(|(m, _)| (m.kind.can_be_asked)(m));
    (askable, others.into_iter().map(|(_, name)| name).chain([OUTPUT.to_owned()]).collect())
}

/// Opens the links of such a station except its transport, so that the card stays where it is.
pub fn open_to_ask(
    line: &LineProfile,
    module: &ModuleProfile,
    station: &str,
    links: &dyn Links,
    connect_hsm: impl FnOnce() -> Result<Box<dyn Hsm>, Failure>,
) -> Result<Askable, Failure> {
    Ok(match machine(module, station, links)? {
        Some((_, machine)) => {
            let stripe = StripeModule::over(machine, module);
            Askable::Stripe(stripe.ok_or_else(|| wrong(module, "it cannot be asked about a card"))?)
        }
        None => {
            let (name, reader) = (station.to_owned(), links.reader(station)?);
            Askable::Chip(Box::new(ChipModule::new(name, reader, connect_hsm()?, line.limits)))
        }
    })
}

/// A station's machine with its driver over its links; `None` for a station with a reader. A driver that
/// lacks an ability that the module needs is refused.
pub fn machine(
    module: &ModuleProfile,
    station: &str,
    links: &dyn Links,
) -> Result<Option<(&'static Driver, DrivenMachine)>, Failure> {
    let Some(driver) = driver(module)? else { return Ok(None) };
    let machine = driver.open(|wire| match wire {
        LinkRole::Serial => links.machine(station, driver.baud),
        LinkRole::Stream => links.stream(station),
    })?;
    Ok(Some((driver, machine)))
}

/// The driver of a module's machine, by name or by default; `None` for a reader or for no device. A driver
/// that lacks an ability that the module needs is refused.
pub(super) fn driver(module: &ModuleProfile) -> Result<Option<&'static Driver>, Failure> {
    let driver = match (&module.kind.device, module.driver.as_deref()) {
        (KindDevice::None | KindDevice::Reader, None) | (KindDevice::Reader, Some(READER)) => Ok(None),
        (KindDevice::None, Some(_)) => Err("it has no device, so no driver".to_owned()),
        (KindDevice::Reader, Some(name)) => {
            Err(format!("no chip driver is called {name:?}; there is {READER}"))
        }
        (KindDevice::Machine { family, needs, .. }, name) => registry::find(*family, name)
            .and_then(|driver| driver.check(&needs(module)).map(|()| Some(driver))),
    };
    driver.map_err(|what| wrong(module, &what))
}

/// The module that works with a machine.
fn over(machine: DrivenMachine, module: &ModuleProfile) -> Result<Box<dyn StationModule>, Failure> {
    let station = match module.kind.device {
        KindDevice::Machine { over, .. } => over(machine, module),
        KindDevice::None | KindDevice::Reader => None,
    };
    station.ok_or_else(|| wrong(module, "its machine is of another kind"))
}

fn wrong(module: &ModuleProfile, what: &str) -> Failure {
    Failure::new(Exit::Profile, format!("module {}: {what}", module.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::LINES;

    /// The error of the shipped line sim-8 with one change.
    fn said(from: &str, to: &str) -> String {
        let (_, text) = LINES.iter().find(|(name, _)| *name == "sim-8").unwrap();
        assert!(text.contains(from), "{from}");
        let line = LineProfile::from_toml(&text.replacen(from, to, 1), "test").unwrap();
        check(&line).err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    const HICO: &str = "coercivity = \"hico\"";

    #[test]
    fn every_shipped_line_can_be_done_by_its_drivers() {
        for (name, text) in LINES {
            let line = LineProfile::from_toml(text, name).unwrap();
            assert!(check(&line).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unknown_driver_is_answered_with_those_there_are() {
        let stripe = said(HICO, &format!("{HICO}\ndriver = \"laser\""));
        assert_eq!(stripe, "module stripe: no stripe driver is called \"laser\"; there are msr605, mse630");
        let chip = said("kind = \"chip\"", "kind = \"chip\"\ndriver = \"msr605\"");
        assert!(chip.contains("there is reader"), "{chip}");
        let printer = said("kind = \"printer\"", "kind = \"printer\"\ndriver = \"embosser\"");
        assert!(printer.contains("there are card-printer"), "{printer}");
        let none = said("kind = \"fulfilment\"", "kind = \"fulfilment\"\ndriver = \"reader\"");
        assert!(none.contains("no device"), "{none}");
    }

    #[test]
    fn a_driver_without_a_needed_ability_is_refused() {
        let mse630 = |more: &str| said(HICO, &format!("{HICO}\ndriver = \"mse630\"\n{more}"));
        assert!(mse630("").contains("cannot read back what it wrote; msr605 can"), "{}", mse630(""));
        assert_eq!(mse630("read_back = false"), "");
        let zeros = mse630("read_back = false\nleading_zeros = [61, 22]\nbpi = [210, 75, 210]");
        assert!(zeros.contains("cannot set the leading zeros, set the density"), "{zeros}");
        let msr605 = said(HICO, &format!("{HICO}\nleading_zeros = [61, 22]\nbpi = [210, 75, 210]"));
        assert_eq!(msr605, "");
    }
}
