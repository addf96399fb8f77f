//! The stripe module: writes the tracks and reads them back.
//!
//! A stripe that holds data already is no blank. Encoders add sentinels and LRC themselves, so texts are written and
//! read without them. If the line profile says `read_back = false`, because the encoder cannot read, the module
//! checks neither the blank stripe nor the written one, and reports no comparison.

mod sight;

use drivers::identity::MachineIdentity;
use drivers::registry::{Capability, DrivenMachine, Family};
use drivers::stripe::{self, Density, LeadingZeros, Recording, StripeEncoder, Tracks};

use super::kind::{KindDevice, ModuleKind, ModuleProfile, SectionKind};
use super::sight::CardSight;
use super::{BlankInspection, CardWork, Fault, ModuleOutcome, REOPEN_TIME, StationModule, sections};
use crate::ids::Mic;
use crate::profile::kind::{DeviceLinks, KindRules};
use crate::profile::line::{BitsPerInch, PlasticCoercivity};
use crate::reason::ReasonWord;
use crate::record::Record;

/// The kind `stripe` of a line profile.
pub static KIND: ModuleKind = ModuleKind {
    rules: KindRules {
        word: "stripe",
        links: Some(DeviceLinks::Serial),
        own_mic: None,
        several_mics: false,
        keys: &["coercivity", "read_back", "leading_zeros", "bpi"],
        needed_keys: &["coercivity"],
    },
    sections: &[SectionKind { mic: "MAG", check: |data| sections::tracks(data).map(drop) }],
    device: KindDevice::Machine {
        family: Family::Stripe,
        needs,
        over: |machine, module| Some(Box::new(StripeModule::over(machine, module)?)),
    },
    can_be_asked: |module| module.read_back,
};

/// The abilities that the module needs of its encoder. It needs all three tracks: the issuer decides which of them a
/// record has.
fn needs(module: &ModuleProfile) -> Vec<Capability> {
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
    always.into_iter().chain(asked.into_iter().filter(|(is, _)| *is).map(|(_, needed)| needed)).collect()
}

/// The recording that the profile asks for.
fn recording(module: &ModuleProfile) -> Recording {
    let density = |bpi| match bpi {
        BitsPerInch::Bpi75 => Density::Bpi75,
        BitsPerInch::Bpi210 => Density::Bpi210,
    };
    Recording {
        coercivity: match module.coercivity {
            Some(PlasticCoercivity::Loco) => stripe::WriteCoercivity::Lo,
            Some(PlasticCoercivity::Hico) | None => stripe::WriteCoercivity::Hi,
        },
        leading_zeros: module.leading_zeros.map(|[t13, t2]| LeadingZeros { t13, t2 }),
        density: module.bpi.map(|tracks| tracks.map(density)),
    }
}

/// A magnetic stripe station.
pub struct StripeModule {
    machine: Box<dyn StripeEncoder>,
    recording: Recording,
    read_back: bool,
    mic: Mic,
    /// The sensor waits for a card.
    armed: bool,
}

impl StripeModule {
    /// A station that records the section of this MIC of the line profile in this way.
    pub fn new(machine: Box<dyn StripeEncoder>, recording: Recording, read_back: bool, mic: Mic) -> Self {
        Self { machine, recording, read_back, mic, armed: false }
    }

    /// The station that a line profile asks for; `None` if the machine is no encoder.
    pub fn over(machine: DrivenMachine, module: &ModuleProfile) -> Option<Self> {
        let DrivenMachine::Stripe(machine) = machine else { return None };
        Some(Self::new(machine, recording(module), module.read_back, module.mics.first()?.clone()))
    }

    /// Reads the tracks of a card in the station, for `card ask`.
    pub fn read(&mut self) -> Result<Tracks, Fault> {
        Ok(self.machine.read()?)
    }

    /// Whether the tracks are those of a record.
    pub fn is_of(&self, found: &Tracks, record: &Record) -> Result<bool, Fault> {
        let Some(section) = record.section(self.mic.as_str()) else { return Ok(false) };
        Ok(same(&self.tracks(section)?, found))
    }

    fn tracks(&self, section: &[u8]) -> Result<Tracks, Fault> {
        let texts =
            sections::tracks(section).map_err(|what| Fault::data(format!("section {}: {what}", self.mic)))?;
        let owned = |t: Option<&str>| t.map(str::to_owned);
        Ok(Tracks { t1: owned(texts.t1), t2: owned(texts.t2), t3: owned(texts.t3) })
    }
}

impl StationModule for StripeModule {
    fn prepare(&mut self, work: &CardWork) -> Result<(), Fault> {
        match work.record.section(self.mic.as_str()) {
            Some(section) => self.tracks(section).map(|_| ()),
            None => Ok(()),
        }
    }

    fn inspect(&mut self, work: &CardWork) -> Result<BlankInspection, Fault> {
        if self.read_back && self.wants(work) && !is_blank(&self.machine.read()?) {
            return Err(Fault::card(
                ReasonWord::StripeNotBlank,
                "the stripe holds data already; this card is no blank",
            ));
        }
        Ok(BlankInspection::default())
    }

    fn personalize(&mut self, work: &CardWork) -> Result<ModuleOutcome, Fault> {
        let Some(section) = work.record.section(self.mic.as_str()) else {
            return Ok(ModuleOutcome::default());
        };
        let tracks = self.tracks(section)?;
        self.machine.write(&tracks, &self.recording)?;
        if !self.read_back {
            return Ok(ModuleOutcome::default());
        }
        let found = self.machine.read()?;
        if !same(&tracks, &found) {
            return Err(Fault::card(
                ReasonWord::StripeReadBack,
                "the stripe does not read as it was written; check coercivity and head if it happens again",
            ));
        }
        Ok(ModuleOutcome { compared: vec!["stripe read-back"], ..ModuleOutcome::default() })
    }

    fn wants(&self, work: &CardWork) -> bool {
        work.record.section(self.mic.as_str()).is_some()
    }

    fn sight(&mut self) -> Option<&mut dyn CardSight> {
        if self.machine.sensor().is_some() { Some(self) } else { None }
    }

    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        self.machine.identity()
    }

    /// Writes the name on track 1.
    fn mark(&mut self, station: &str) -> Result<&'static str, Fault> {
        let tracks = Tracks { t1: Some(station.to_uppercase()), t2: None, t3: None };
        self.machine.write(&tracks, &self.recording)?;
        Ok("track 1 of its stripe")
    }

    fn probe(&mut self) -> Result<(), Fault> {
        self.machine.reopen(REOPEN_TIME)?;
        Ok(self.machine.ready().map(drop)?)
    }
}

/// Whether every track is empty.
pub fn is_blank(found: &Tracks) -> bool {
    same(&Tracks::default(), found)
}

/// Compares track by track; an empty track counts as a missing one.
fn same(wanted: &Tracks, found: &Tracks) -> bool {
    let same = |wanted: &Option<String>, found: &Option<String>| {
        wanted.as_deref().unwrap_or_default() == found.as_deref().unwrap_or_default()
    };
    same(&wanted.t1, &found.t1) && same(&wanted.t2, &found.t2) && same(&wanted.t3, &found.t3)
}

#[cfg(test)]
mod tests;
