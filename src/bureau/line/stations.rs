//! The composition root of a line: from the profile's modules to stations with drivers on open links.

use std::time::Duration;

use drivers::registry::{self, Capability, DrivenMachine, Driver, Family, LinkRole};
use drivers::stripe::{self, Density, LeadingZeros, Recording};
use drivers::transport::Transport;

use super::links::Links;
use crate::exit::{Exit, Failure};
use crate::hsm::Hsm;
use crate::ids::Mic;
use crate::modules::{ChipModule, EmbosserModule, Module, PrinterModule, StripeModule};
use crate::pipeline::{LineSetup, StageSetup, StationSetup};
use crate::profile::line::{self, Bpi, Kind, Line, OUTPUT};

/// The one driver of chip modules: it works on whatever reader the link leads to.
const READER: &str = "reader";

/// Whether every module's driver exists and can do what the module needs; no link is opened.
pub fn check(line: &Line) -> Result<(), Failure> {
    for module in &line.modules {
        if let Some(driver) = driver(module)? {
            driver.check(&needs(module)).map_err(|what| wrong(module, &what))?;
        }
    }
    Ok(())
}

/// Opens every link of a line. `connect_hsm` gives a connection for each chip station.
pub fn open(
    line: &Line,
    links: &dyn Links,
    mut connect_hsm: impl FnMut() -> Result<Box<dyn Hsm>, Failure>,
) -> Result<LineSetup, Failure> {
    check(line)?;
    let mut stages = Vec::new();
    for module in line.working() {
        let mut stations = Vec::new();
        for name in module.station_names() {
            let worker: Box<dyn Module> = match machine(module, &name, links)? {
                Some((_, machine)) => over(machine, module)?,
                None => {
                    let reader = links.reader(&name)?;
                    Box::new(ChipModule::new(name.clone(), reader, connect_hsm()?, line.limits))
                }
            };
            let transport = Transport::new(links.transport(&name)?);
            stations.push(StationSetup { name, module: worker, transport });
        }
        stages.push(StageSetup { name: module.name.clone(), mics: module.mics.clone(), stations });
    }
    let output = Transport::new(links.transport(OUTPUT)?);
    let reorder_buffer = u16::try_from(line.reorder_buffer)
        .map_err(|_| Failure::new(Exit::Profile, "reorder_buffer is too large"))?;
    let recover = Duration::from_secs_f64(line.limits.recover);
    Ok(LineSetup { stages, output, reorder_buffer, recover, breakers: line.breakers })
}

/// A station that can be asked about the card in it.
pub enum Askable {
    /// A reader.
    Chip(Box<ChipModule>),
    /// A stripe encoder that reads.
    Stripe(StripeModule),
}

/// The stations of a line that can be asked, and the other places where a card may lie.
pub fn askable(line: &Line) -> (Vec<(&line::Module, String)>, Vec<String>) {
    let stations = line.working().flat_map(|m| m.station_names().map(move |name| (m, name)));
    let (askable, others): (Vec<_>, Vec<_>) =
        stations.partition(|(m, _)| m.kind == Kind::Chip || (m.kind == Kind::Stripe && m.read_back));
    (askable, others.into_iter().map(|(_, name)| name).chain([OUTPUT.to_owned()]).collect())
}

/// Opens the links of one such station, but not to its transport: the card stays where it is.
pub fn open_to_ask(
    line: &Line,
    module: &line::Module,
    station: &str,
    links: &dyn Links,
    connect_hsm: impl FnOnce() -> Result<Box<dyn Hsm>, Failure>,
) -> Result<Askable, Failure> {
    Ok(match machine(module, station, links)? {
        Some((_, DrivenMachine::Stripe(machine))) => {
            Askable::Stripe(StripeModule::new(machine, recording(module), module.read_back, mic(module)?))
        }
        Some(_) => return Err(wrong(module, "it cannot be asked about a card")),
        None => {
            let (name, reader) = (station.to_owned(), links.reader(station)?);
            Askable::Chip(Box::new(ChipModule::new(name, reader, connect_hsm()?, line.limits)))
        }
    })
}

/// A station's machine over its links, with its driver; `None` where there is a reader. A driver that cannot do what the
/// module needs is refused.
pub fn machine(
    module: &line::Module,
    station: &str,
    links: &dyn Links,
) -> Result<Option<(&'static Driver, DrivenMachine)>, Failure> {
    let Some(driver) = driver(module)? else { return Ok(None) };
    driver.check(&needs(module)).map_err(|what| wrong(module, &what))?;
    let machine = driver.open(|wire| match wire {
        LinkRole::Serial => links.machine(station, driver.baud),
        LinkRole::Stream => links.stream(station),
    })?;
    Ok(Some((driver, machine)))
}

/// The driver of a module's machine, by its name or by default; `None` where there is a reader, or no device.
fn driver(module: &line::Module) -> Result<Option<&'static Driver>, Failure> {
    let name = module.driver.as_deref();
    let family = match module.kind {
        Kind::Stripe => Family::Stripe,
        Kind::Printer => Family::Printer,
        Kind::Embosser => Family::Embosser,
        Kind::Chip if name.is_none_or(|name| name == READER) => return Ok(None),
        Kind::Chip => {
            let what = format!("no chip driver is called {:?}; there is {READER}", name.unwrap_or_default());
            return Err(wrong(module, &what));
        }
        Kind::Fulfilment if name.is_none() => return Ok(None),
        Kind::Fulfilment => return Err(wrong(module, "it has no device, so no driver")),
    };
    registry::find(family, name).map(Some).map_err(|what| wrong(module, &what))
}

/// What a module needs of its driver. Which tracks a record has, its issuer decides.
fn needs(module: &line::Module) -> Vec<Capability> {
    match module.kind {
        Kind::Stripe => {
            let coercivity = match recording(module).coercivity {
                stripe::WriteCoercivity::Hi => Capability::HiCo,
                stripe::WriteCoercivity::Lo => Capability::LoCo,
            };
            let asked = [
                (module.read_back, Capability::ReadBack),
                (module.leading_zeros.is_some(), Capability::LeadingZeros),
                (module.bpi.is_some(), Capability::Density),
            ];
            let always = [Capability::Track1, Capability::Track2, Capability::Track3, coercivity];
            always.into_iter().chain(asked.into_iter().filter(|(is, _)| *is).map(|(_, what)| what)).collect()
        }
        Kind::Printer => vec![Capability::Front, Capability::FullColour],
        Kind::Embosser => {
            let of = |mic: &Mic| if mic.as_str() == "IND" { Capability::Indent } else { Capability::Emboss };
            module.mics.iter().map(of).collect()
        }
        Kind::Chip | Kind::Fulfilment => vec![],
    }
}

/// How a stripe module records.
fn recording(module: &line::Module) -> Recording {
    let density = |bpi| match bpi {
        Bpi::Bpi75 => Density::Bpi75,
        Bpi::Bpi210 => Density::Bpi210,
    };
    Recording {
        coercivity: match module.coercivity {
            Some(line::Coercivity::Loco) => stripe::WriteCoercivity::Lo,
            Some(line::Coercivity::Hico) | None => stripe::WriteCoercivity::Hi,
        },
        leading_zeros: module.leading_zeros.map(|[t13, t2]| LeadingZeros { t13, t2 }),
        density: module.bpi.map(|tracks| tracks.map(density)),
    }
}

/// The module over its machine.
fn over(machine: DrivenMachine, module: &line::Module) -> Result<Box<dyn Module>, Failure> {
    Ok(match machine {
        DrivenMachine::Stripe(machine) => {
            Box::new(StripeModule::new(machine, recording(module), module.read_back, mic(module)?))
        }
        DrivenMachine::Printer(machine) => Box::new(PrinterModule::new(machine, mic(module)?)),
        DrivenMachine::Embosser(machine) => Box::new(EmbosserModule::new(machine, module.mics.clone())),
    })
}

fn wrong(module: &line::Module, what: &str) -> Failure {
    Failure::new(Exit::Profile, format!("module {}: {what}", module.name))
}

/// The one MIC of a module whose device takes one kind of data.
fn mic(module: &line::Module) -> Result<Mic, Failure> {
    match module.mics.as_slice() {
        [mic] => Ok(mic.clone()),
        _ => Err(wrong(module, "it serves exactly one MIC")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::LINES;

    /// What is said of shipped line sim-8 with one change.
    fn said(from: &str, to: &str) -> String {
        let (_, text) = LINES.iter().find(|(name, _)| *name == "sim-8").unwrap();
        assert!(text.contains(from), "{from}");
        let line = Line::from_toml(&text.replacen(from, to, 1), "test").unwrap();
        check(&line).err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    const HICO: &str = "coercivity = \"hico\"";

    #[test]
    fn every_shipped_line_can_be_done_by_its_drivers() {
        for (name, text) in LINES {
            let line = Line::from_toml(text, name).unwrap();
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
    fn what_a_driver_cannot_do_is_refused() {
        let mse630 = |more: &str| said(HICO, &format!("{HICO}\ndriver = \"mse630\"\n{more}"));
        assert!(mse630("").contains("cannot read back what it wrote; msr605 can"), "{}", mse630(""));
        assert_eq!(mse630("read_back = false"), "");
        let zeros = mse630("read_back = false\nleading_zeros = [61, 22]\nbpi = [210, 75, 210]");
        assert!(zeros.contains("cannot set the leading zeros, set the density"), "{zeros}");
        let msr605 = said(HICO, &format!("{HICO}\nleading_zeros = [61, 22]\nbpi = [210, 75, 210]"));
        assert_eq!(msr605, "");
    }

    #[test]
    fn a_stripe_is_recorded_as_the_profile_says() {
        let (_, text) = LINES.iter().find(|(name, _)| *name == "sim-8").unwrap();
        let text =
            text.replacen(HICO, "coercivity = \"loco\"\nleading_zeros = [30, 12]\nbpi = [210, 75, 75]", 1);
        let line = Line::from_toml(&text, "test").unwrap();
        let module = line.modules.iter().find(|m| m.kind == Kind::Stripe).unwrap();
        assert_eq!(
            recording(module),
            Recording {
                coercivity: stripe::WriteCoercivity::Lo,
                leading_zeros: Some(LeadingZeros { t13: 30, t2: 12 }),
                density: Some([Density::Bpi210, Density::Bpi75, Density::Bpi75]),
            }
        );
    }
}
