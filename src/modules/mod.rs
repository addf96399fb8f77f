//! Processing modules, one for each kind of station, and the table of their kinds. A module turns a section of a record
//! into commands for the device at its station, which works on the card that lies there.
//!
//! A module knows the record and its device. It does not know the ledger, the other stations, or the card's next
//! step: it reports to `pipeline`. The order is always: [`StationModule::prepare`] (no card needed) → card is fed or
//! taken → [`StationModule::inspect`] (changes nothing on the card) → binding is durable →
//! [`StationModule::personalize`]. After a fault that [wants it](Fault::wants_probe), and with no card in the
//! station: [`StationModule::probe`].

mod chip;
pub mod crosscheck;
mod embosser;
mod fault;
mod fulfilment;
pub mod kind;
mod printer;
pub mod sections;
pub mod sight;
mod stripe;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use drivers::identity::MachineIdentity;

pub use chip::{ApplicationAnswer, ApplicationLife, ChipModule, ChipProgress, RecordReading, chip_progress};
pub use embosser::EmbosserModule;
pub use kind::{LineProfile, ModuleKind, ModuleProfile};
pub use printer::PrinterModule;
pub use sections::SectionCheck;
pub use stripe::{StripeModule, is_blank};

use crate::hsm::{CardAttempt, RecordHandle, VerifiedApplication};
use crate::ids::{Aid, KeyData, KmcRef};
use crate::laws::{ChipId, HsmUse};
use crate::profile::ProductProfile;
use crate::reason::ReasonWord;
use crate::record::Record;

/// Every kind of module, in the order in which `inspect` counts their sections.
pub static MODULE_KINDS: [&ModuleKind; 5] =
    [&embosser::KIND, &stripe::KIND, &printer::KIND, &chip::KIND, &fulfilment::KIND];

/// Time to connect to a machine again, for a probe.
const REOPEN_TIME: std::time::Duration = std::time::Duration::from_secs(1);

/// One card's work: its record, checked.
pub struct CardWork {
    /// The record as it stands in the file. It holds cardholder data and is never shown.
    pub record: Record,
    /// Its applications in file order, each verified by the HSM; empty without a CHP section.
    pub applications: Vec<ApplicationWork>,
    /// The HSM's name for them; `None` if there are none.
    pub handle: Option<RecordHandle>,
    /// The product of the file.
    pub product: Arc<ProductProfile>,
    /// The parts of the record that hold one account number ([`crosscheck`]).
    pub agreed: Option<&'static str>,
}

/// An application of the record, verified by the HSM.
pub struct ApplicationWork {
    /// The parsed application.
    pub application: crate::record::chip::ChipApplication,
    /// The HSM's answer.
    pub verified: VerifiedApplication,
}

/// The result of inspecting a blank, before anything is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlankInspection {
    /// From INITIALIZE UPDATE; `None` if no chip was asked.
    pub key_data: Option<KeyData>,
    /// The KMC from which the chip's keys come, as its answer to INITIALIZE UPDATE says.
    pub kmc: Option<KmcRef>,
}

impl BlankInspection {
    /// The chip in the form that the ledger records.
    pub fn chip(&self) -> Option<ChipId> {
        self.key_data.map(|key_data| ChipId::globalplatform(key_data, self.kmc))
    }
}

/// A processing module at one station.
pub trait StationModule: Send {
    /// Work that needs no card (rendering). Called before the card arrives; a fault here is the data's.
    fn prepare(&mut self, work: &CardWork) -> Result<(), Fault>;
    /// Looks at the card without changing it: ATR, SELECT, INITIALIZE UPDATE, blank stripe. At the first module of a
    /// line this comes before the binding, and a fault costs no attempt.
    fn inspect(&mut self, work: &CardWork) -> Result<BlankInspection, Fault>;
    /// The card that was inspected is bound as this attempt. Called before anything is written to a chip.
    fn bound(&mut self, _: CardAttempt) {}
    /// Opens the chip that was inspected, and sends nothing more than that: `Ok` is the proof that its keys are
    /// right. Called before [`StationModule::personalize`], which goes on from there, for a card that others wait for.
    fn authenticate(&mut self, _: &CardWork) -> Result<(), Fault> {
        Ok(())
    }
    /// Writes the record's section to the card and checks it as the device allows.
    fn personalize(&mut self, work: &CardWork) -> Result<ModuleOutcome, Fault>;
    /// Whether the record has anything for this module.
    fn wants(&self, work: &CardWork) -> bool;
    /// The sight of the device; `None` if it does not notice cards.
    fn sight(&mut self) -> Option<&mut dyn sight::CardSight> {
        None
    }
    /// The identity of a device that does not notice cards, so that it can be mistaken for another one; else `None`.
    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        None
    }
    /// Writes the station's name on a test blank, so that a person can read where the device stands. Returns the
    /// place of the name on the card, in words.
    fn mark(&mut self, _: &str) -> Result<&'static str, Fault> {
        Err(Fault::us("a device was asked for a mark that it cannot make"))
    }
    /// Without a card: connects anew to a device that did not answer, and asks whether it is ready. Takes a few seconds
    /// at most.
    fn probe(&mut self) -> Result<(), Fault>;
}

/// The work that a module did on a card.
#[derive(Debug, Clone, Default)]
pub struct ModuleOutcome {
    /// Each comparison with the record, in words ("stripe read-back").
    pub compared: Vec<&'static str>,
    /// For each application and each DGI named in LOGDATA: length and status word, never the value.
    pub log: Vec<LoggedDgi>,
    /// What this station asked of the HSM.
    pub hsm: HsmUse,
    /// Commands sent to the chip.
    pub commands: u32,
}

/// One DGI of LOGDATA.
#[derive(Debug, Clone)]
pub struct LoggedDgi {
    /// The application that has the DGI.
    pub aid: Aid,
    /// The DGI.
    pub dgi: crate::ids::Dgi,
    /// Length of its value in bytes.
    pub length: u16,
    /// Status word of the command that ended it.
    pub sw: u16,
}

/// Why a card did not get its section. The reason is a stable word for events and ledger; the detail is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Fault {
    /// Who is to blame.
    pub blame: Blame,
    /// Stable: pipeline, ledger and people decide by it.
    pub reason: ReasonWord,
    /// For people: what happened, and the next step. No secret, no cardholder data.
    pub detail: String,
    /// Command header (CLA INS P1 P2, hex) of the APDU that failed, if one did.
    pub header: Option<String>,
    /// Status word, if there was one.
    pub sw: Option<u16>,
    /// KEYDATA of the chip that is at fault, if it was asked before anything was bound.
    pub key_data: Option<KeyData>,
    /// Commands that the card got before.
    pub commands: u32,
    /// What it cost of the HSM.
    pub hsm: HsmUse,
}

/// Who is to blame. This decides what happens to card, record and line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The blank: it is rejected. Before the binding no record is affected.
    Card,
    /// The record's data: CANCELLED(data) before the binding.
    Data,
    /// The device: the card is rejected, the station may be out of service.
    Device,
    /// Key or HSM: the card is rejected, and the line stops feeding.
    Hsm,
    /// A bug of ours: handled like `Hsm`.
    Us,
}
