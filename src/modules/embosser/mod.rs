//! The embosser module: EMB and IND lines go to the machine in one pass.
//!
//! The machine reports only that it is done, so nothing is compared. Not here: fonts and positions, which the output
//! file states.

use drivers::embosser::CardEmbosser;
use drivers::identity::MachineIdentity;
use drivers::registry::{Capability, DrivenMachine, Family};
use zeroize::Zeroizing;

use super::kind::{KindDevice, ModuleKind, ModuleProfile, SectionKind};
use super::sections::{self, emboss_lines};
use super::{BlankInspection, CardWork, Fault, ModuleOutcome, REOPEN_TIME, StationModule};
use crate::ids::Mic;
use crate::profile::kind::{DeviceLinks, KindRules};

/// The kind `embosser` of a line profile.
pub static KIND: ModuleKind = ModuleKind {
    rules: KindRules {
        word: "embosser",
        links: Some(DeviceLinks::Serial),
        own_mic: None,
        several_mics: true,
        keys: &[],
        needed_keys: &[],
    },
    sections: &[SectionKind { mic: "EMB", check: lines }, SectionKind { mic: INDENT, check: lines }],
    device: KindDevice::Machine { family: Family::Embosser, needs, over },
    can_be_asked: |_| false,
};

/// The font of names.
const NAME_FONT: u8 = 1;
/// The font of the indent wheel.
const INDENT_FONT: u8 = 10;
/// The MIC of the lines that the indent wheel prints.
const INDENT: &str = "IND";

fn lines(data: &[u8]) -> Result<(), String> {
    emboss_lines(data).map(drop)
}

fn needs(module: &ModuleProfile) -> Vec<Capability> {
    let of = |mic: &Mic| if mic.as_str() == INDENT { Capability::Indent } else { Capability::Emboss };
    module.mics.iter().map(of).collect()
}

fn over(machine: DrivenMachine, module: &ModuleProfile) -> Option<Box<dyn StationModule>> {
    let DrivenMachine::Embosser(machine) = machine else { return None };
    Some(Box::new(EmbosserModule::new(machine, module.mics.clone())))
}

/// An embosser station.
pub struct EmbosserModule {
    machine: Box<dyn CardEmbosser>,
    /// EMB before IND.
    mics: Vec<Mic>,
}

impl EmbosserModule {
    /// A station that works the sections of these MICs of the line profile.
    pub fn new(machine: Box<dyn CardEmbosser>, mut mics: Vec<Mic>) -> Self {
        mics.sort();
        Self { machine, mics }
    }

    fn lines(&self, work: &CardWork) -> Result<Zeroizing<Vec<String>>, Fault> {
        let mut lines = Zeroizing::new(Vec::new());
        for mic in &self.mics {
            if let Some(data) = work.record.section(mic.as_str()) {
                let parsed =
                    emboss_lines(data).map_err(|what| Fault::data(format!("section {mic}: {what}")))?;
                lines.extend(parsed.iter().map(sections::EmbossLine::to_text));
            }
        }
        Ok(lines)
    }
}

impl StationModule for EmbosserModule {
    fn prepare(&mut self, work: &CardWork) -> Result<(), Fault> {
        self.lines(work).map(|_| ())
    }

    fn inspect(&mut self, _: &CardWork) -> Result<BlankInspection, Fault> {
        Ok(BlankInspection::default())
    }

    fn personalize(&mut self, work: &CardWork) -> Result<ModuleOutcome, Fault> {
        if self.wants(work) {
            self.machine.emboss(&self.lines(work)?)?;
        }
        Ok(ModuleOutcome::default())
    }

    fn wants(&self, work: &CardWork) -> bool {
        self.mics.iter().any(|mic| work.record.section(mic.as_str()).is_some())
    }

    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        self.machine.identity()
    }

    /// Embosses or indents the name, as the module's records need it.
    fn mark(&mut self, station: &str) -> Result<&'static str, Fault> {
        let indents = self.mics.iter().all(|mic| mic.as_str() == INDENT);
        let font = if indents { INDENT_FONT } else { NAME_FONT };
        self.machine.emboss(&[format!("~EM%{font};307;328;{}", station.to_uppercase())])?;
        Ok("it, embossed or indented")
    }

    fn probe(&mut self) -> Result<(), Fault> {
        self.machine.reopen(REOPEN_TIME)?;
        Ok(self.machine.ready().map(drop)?)
    }
}

#[cfg(test)]
mod tests;
