//! The printer module: prints the record's texts and images, drawn on a template, on the card's front and back.
//!
//! The machine reports only that it is done, so nothing is compared. Not here: drawing (`template`).

use drivers::identity::MachineIdentity;
use drivers::printer::CardPrinter;
use drivers::registry::{Capability, DrivenMachine, Family};
use zeroize::Zeroizing;

use super::kind::{KindDevice, ModuleKind, ModuleProfile, SectionKind};
use super::template::SidePictures;
use super::{
    BlankInspection, CardWork, Fault, ModuleOutcome, REOPEN_TIME, StationModule, sections, template,
};
use crate::ids::Mic;
use crate::profile::kind::{DeviceLinks, KindRules};

/// The kind `printer` of a line profile.
pub static KIND: ModuleKind = ModuleKind {
    rules: KindRules {
        word: "printer",
        links: Some(DeviceLinks::SerialAndStream),
        own_mic: None,
        several_mics: false,
        keys: &[],
        needed_keys: &[],
    },
    sections: &[SectionKind { mic: "GFX", check }],
    device: KindDevice::Machine {
        family: Family::Printer,
        needs: |_| vec![Capability::Front, Capability::FullColour],
        over,
    },
    can_be_asked: |_| false,
};

fn check(data: &[u8]) -> Result<(), String> {
    sections::graphics(data).and_then(|graphics| template::check(&graphics))
}

fn over(machine: DrivenMachine, module: &ModuleProfile) -> Option<Box<dyn StationModule>> {
    let DrivenMachine::Printer(machine) = machine else { return None };
    Some(Box::new(PrinterModule::new(machine, module.mics.first()?.clone())))
}

/// A card printer station.
pub struct PrinterModule {
    machine: Box<dyn CardPrinter>,
    mic: Mic,
    ready: Option<RenderedSection>,
}

/// The pictures that `prepare` drew, with their section: `personalize` prints them only on the card of that section.
struct RenderedSection {
    section: Zeroizing<Vec<u8>>,
    pictures: SidePictures,
}

impl PrinterModule {
    /// A station that prints the section of this MIC of the line profile.
    pub fn new(machine: Box<dyn CardPrinter>, mic: Mic) -> Self {
        Self { machine, mic, ready: None }
    }

    fn render(&self, section: &[u8]) -> Result<SidePictures, Fault> {
        let wrong = |what: String| Fault::data(format!("section {}: {what}", self.mic));
        let graphics = sections::graphics(section).map_err(wrong)?;
        template::named(graphics.template).and_then(|t| t.render(&graphics)).map_err(wrong)
    }
}

impl StationModule for PrinterModule {
    fn prepare(&mut self, work: &CardWork) -> Result<(), Fault> {
        self.ready = None;
        if let Some(section) = work.record.section(self.mic.as_str()) {
            let pictures = self.render(section)?;
            self.ready = Some(RenderedSection { section: Zeroizing::new(section.to_vec()), pictures });
        }
        Ok(())
    }

    fn inspect(&mut self, _: &CardWork) -> Result<BlankInspection, Fault> {
        Ok(BlankInspection::default())
    }

    fn personalize(&mut self, work: &CardWork) -> Result<ModuleOutcome, Fault> {
        if let Some(section) = work.record.section(self.mic.as_str()) {
            let pictures = match self.ready.take() {
                Some(ready) if ready.section.as_slice() == section => ready.pictures,
                _ => self.render(section)?,
            };
            let back = pictures.back.as_deref().map(Vec::as_slice);
            self.machine.print(Some(&pictures.front), back)?;
        }
        Ok(ModuleOutcome::default())
    }

    fn wants(&self, work: &CardWork) -> bool {
        work.record.section(self.mic.as_str()).is_some()
    }

    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        self.machine.identity()
    }

    fn mark(&mut self, station: &str) -> Result<&'static str, Fault> {
        let pictures = template::mark(station).map_err(Fault::us)?;
        self.machine.print(Some(&pictures.front), None)?;
        Ok("it, printed on the front")
    }

    fn probe(&mut self) -> Result<(), Fault> {
        self.machine.reopen(REOPEN_TIME)?;
        Ok(self.machine.ready().map(drop)?)
    }
}

#[cfg(test)]
mod tests;
