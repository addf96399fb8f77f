//! The description of a kind of module: one [`ModuleKind`] in the kind's own file, and one entry in
//! [`MODULE_KINDS`](super::MODULE_KINDS).
//!
//! Profiles, acceptance, inspection and the composition root ask the entry and never the kind's name. Not here: which
//! driver a station gets (`bureau::line`).

use drivers::registry::{Capability, DrivenMachine, Family};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::{MODULE_KINDS, StationModule};
use crate::profile::kind::{KindRules, KindTable};
use crate::profile::line::{LineProfileOf, ModuleProfileOf};

/// A line profile whose kinds are those of this program.
pub type LineProfile = LineProfileOf<&'static ModuleKind>;

/// One module in it.
pub type ModuleProfile = ModuleProfileOf<&'static ModuleKind>;

/// A kind of module.
#[derive(Debug)]
pub struct ModuleKind {
    /// Its name in line profiles, and the rules there.
    pub rules: KindRules,
    /// The sections that it is made for. A line profile may give it others, for an issuer's own MIC.
    pub sections: &'static [SectionKind],
    /// The device at its stations.
    pub device: KindDevice,
    /// Whether a station of such a module can be asked about the card that lies in it.
    pub can_be_asked: fn(&ModuleProfile) -> bool,
}

/// A section that records have for a kind of module.
#[derive(Debug)]
pub struct SectionKind {
    /// The MIC of the section.
    pub mic: &'static str,
    /// Checks the section at acceptance.
    pub check: SectionRule,
}

/// A check of a section's data. The error quotes no cardholder data.
pub type SectionRule = fn(&[u8]) -> Result<(), String>;

/// The device at the stations of a kind of module.
#[derive(Debug)]
pub enum KindDevice {
    /// None: the section goes to reports.
    None,
    /// A card reader.
    Reader,
    /// A machine with a driver.
    Machine {
        /// The family of its drivers.
        family: Family,
        /// The abilities of the driver that the module needs.
        needs: fn(&ModuleProfile) -> Vec<Capability>,
        /// The module over the machine; `None` if the machine is of another family.
        over: fn(DrivenMachine, &ModuleProfile) -> Option<Box<dyn StationModule>>,
    },
}

/// The sections that any kind of module is made for.
pub fn section_kinds() -> impl Iterator<Item = &'static SectionKind> {
    MODULE_KINDS.iter().flat_map(|kind| kind.sections)
}

impl KindTable for &'static ModuleKind {
    fn rules(&self) -> &'static KindRules {
        &self.rules
    }

    fn every() -> impl Iterator<Item = &'static KindRules> {
        MODULE_KINDS.iter().map(|kind| &kind.rules)
    }
}

impl<'de> Deserialize<'de> for &'static ModuleKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        MODULE_KINDS.iter().find(|kind| kind.rules.word == word).copied().ok_or_else(|| {
            let known: Vec<_> = MODULE_KINDS.iter().map(|kind| format!("`{}`", kind.rules.word)).collect();
            D::Error::custom(format!("unknown variant `{word}`, expected one of {}", known.join(", ")))
        })
    }
}
