//! Processing modules: one for each kind of station. A module turns a section of a record into what its device does
//! to the card that lies in the station.
//!
//! A module knows the record and its device; it does not know the ledger, other stations, or what happens next: it
//! reports to `pipeline`. The order is always: [`Module::prepare`] (no card needed) → card is fed or taken →
//! [`Module::inspect`] (changes nothing on the card) → binding is durable → [`Module::personalize`]. After a fault that
//! [wants it](Fault::wants_probe), and with no card in the station: [`Module::probe`].

mod chip;
pub mod crosscheck;
mod embosser;
mod fault;
mod printer;
pub mod sections;
mod stripe;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

pub use chip::{ChipModule, HowFar, Life, Read, Told, how_far};
pub use embosser::EmbosserModule;
pub use printer::PrinterModule;
pub use sections::check_section;
pub use stripe::{StripeModule, is_blank};

use crate::hsm::VerifiedApplication;
use crate::ids::{Aid, KeyData, KmcRef};
use crate::ledger::ChipId;
use crate::profile::Product;
use crate::reason::ReasonWord;
use crate::record::Record;

/// For connecting anew to a machine, while probing it.
const REOPEN_TIME: std::time::Duration = std::time::Duration::from_secs(1);

/// One card's work: its record, checked.
pub struct Work {
    /// The record as it stands in the file. Holds cardholder data: never shown.
    pub record: Record,
    /// Its applications in file order, each verified by the HSM; empty without a CHP section.
    pub applications: Vec<Checked>,
    /// The product of the file.
    pub product: Arc<Product>,
    /// Which parts of the record hold the same account number ([`crosscheck`]).
    pub agreed: Option<&'static str>,
}

/// An application of the record that the HSM verified.
pub struct Checked {
    /// Parsed.
    pub application: crate::record::chip::ChipApplication,
    /// The HSM's answer.
    pub verified: VerifiedApplication,
}

/// What a module saw of a blank before anything was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blank {
    /// From INITIALIZE UPDATE; `None` where no chip was asked.
    pub key_data: Option<KeyData>,
    /// The key set that the chip says it has, likewise.
    pub kmc: Option<KmcRef>,
}

impl Blank {
    /// The chip, as the ledger has it.
    pub fn chip(&self) -> Option<ChipId> {
        self.key_data.map(|key_data| ChipId::globalplatform(key_data, self.kmc))
    }
}

/// A processing module at one station.
pub trait Module: Send {
    /// Work that needs no card (rendering). Called before the card arrives; a fault here is the data's.
    fn prepare(&mut self, work: &Work) -> Result<(), Fault>;
    /// Looks at the card without changing it: ATR, SELECT, INITIALIZE UPDATE, blank stripe. At the first module of a
    /// line this comes before the binding, and a fault costs no attempt.
    fn inspect(&mut self, work: &Work) -> Result<Blank, Fault>;
    /// Writes the record's section to the card and checks it as the device allows.
    fn personalize(&mut self, work: &Work) -> Result<Done, Fault>;
    /// Whether the record has anything for this module.
    fn wants(&self, work: &Work) -> bool;
    /// Without a card: connects anew to a device that did not answer, and asks whether it is ready. Takes a few seconds
    /// at most.
    fn probe(&mut self) -> Result<(), Fault>;
}

/// What a module did.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// What was compared with what, in words ("stripe read-back"); empty if nothing was.
    pub compared: Vec<&'static str>,
    /// For each application and each DGI named in LOGDATA: length and status word, never the value.
    pub log: Vec<LoggedDgi>,
    /// HSM calls made at this station.
    pub hsm_calls: u32,
    /// Commands sent to the chip.
    pub commands: u32,
}

/// One DGI of LOGDATA.
#[derive(Debug, Clone)]
pub struct LoggedDgi {
    /// Application.
    pub aid: Aid,
    /// DGI.
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
    /// For people: what and what next. No secret, no cardholder data.
    pub detail: String,
    /// Command header (CLA INS P1 P2, hex) of the APDU that failed, if one did.
    pub header: Option<String>,
    /// Status word, if there was one.
    pub sw: Option<u16>,
    /// KEYDATA of the chip that is at fault, if it was asked before anything was bound.
    pub key_data: Option<KeyData>,
}

/// Who is to blame; decides what happens to card, record and line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The blank: it is rejected; before the binding the record does not notice.
    Card,
    /// The record's data: CANCELLED(data) before the binding.
    Data,
    /// The device: the card is rejected, the station may be out of service.
    Device,
    /// Key or HSM: the card is rejected, and the line stops feeding.
    Hsm,
    /// A bug of ours: as `Hsm`.
    Us,
}
