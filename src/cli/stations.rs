//! The composition root of a line: from the profile's modules to stations with drivers on open links.

use std::path::Path;
use std::time::Duration;

use drivers::link::{CardLink, Link};
use drivers::sim::{Device, SimLink, SimReader};
use drivers::{embosser::Embosser, msr605::Msr605, printer::Printer, transport::Transport};

use crate::exit::{Exit, Failure};
use crate::hsm::Hsm;
use crate::modules::{ChipModule, EmbosserModule, Module, PrinterModule, StripeModule};
use crate::pipeline::{LineSetup, StageSetup, StationSetup};
use crate::profile::line::{Coercivity, Kind, Line};

/// Opens every link of a simulated line. `connect_hsm` gives a connection for each chip station.
pub fn simulated(
    line: &Line,
    socket: &Path,
    mut connect_hsm: impl FnMut() -> Result<Box<dyn Hsm>, Failure>,
) -> Result<LineSetup, Failure> {
    let mut stages = Vec::new();
    for module in line.working() {
        let mut stations = Vec::new();
        for name in module.station_names() {
            let worker: Box<dyn Module> = match module.kind {
                Kind::Chip => {
                    let reader: Box<dyn CardLink> =
                        Box::new(SimReader::connect(socket, &name).map_err(|e| refused(&name, &e))?);
                    Box::new(ChipModule::new(name.clone(), reader, connect_hsm()?, line.limits))
                }
                Kind::Stripe => {
                    let coercivity = module.coercivity.unwrap_or(Coercivity::Hico);
                    let encoder = Msr605::new(machine(socket, &name)?);
                    Box::new(StripeModule::new(encoder, coercivity, mic(module)?))
                }
                Kind::Printer => {
                    Box::new(PrinterModule::new(Printer::new(machine(socket, &name)?), mic(module)?))
                }
                Kind::Embosser => {
                    Box::new(EmbosserModule::new(Embosser::new(machine(socket, &name)?), module.mics.clone()))
                }
                Kind::Fulfilment => continue,
            };
            let transport = Transport::new(link(socket, &name, Device::Transport)?);
            stations.push(StationSetup { name, module: worker, transport });
        }
        stages.push(StageSetup { name: module.name.clone(), mics: module.mics.clone(), stations });
    }
    let output = Transport::new(link(socket, "output", Device::Transport)?);
    let reorder_buffer = u16::try_from(line.reorder_buffer)
        .map_err(|_| Failure::new(Exit::Profile, "reorder_buffer is too large"))?;
    let recover = Duration::from_secs_f64(line.limits.recover);
    Ok(LineSetup { stages, output, reorder_buffer, recover })
}

fn machine(socket: &Path, station: &str) -> Result<Box<dyn Link>, Failure> {
    link(socket, station, Device::Machine)
}

fn link(socket: &Path, station: &str, device: Device) -> Result<Box<dyn Link>, Failure> {
    Ok(Box::new(SimLink::connect(socket, station, device).map_err(|e| refused(station, &e))?))
}

fn refused(station: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Device, format!("device: station {station} cannot be reached: {error}"))
}

/// The one MIC of a module whose device takes one kind of data.
fn mic(module: &crate::profile::line::Module) -> Result<crate::ids::Mic, Failure> {
    match module.mics.as_slice() {
        [mic] => Ok(mic.clone()),
        _ => Err(Failure::new(Exit::Profile, format!("module {} serves exactly one MIC", module.name))),
    }
}
