//! Conformance: checks that a machine or reader at the end of a link keeps the promises of its family's
//! trait. A simulated machine, a bench and a line at its opening get equal checks.
//!
//! Not here: opening links, feeding cards. Checks without a card change only settings and put them back;
//! checks with a card spoil it. An ability that a driver does not declare must be refused as not supported,
//! not tried. The data written is made up and no cardholder's.

mod embosser;
mod printer;
mod reader;
mod stripe;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::embosser::embosser;
pub use self::printer::printer;
pub use self::reader::{ChipUnderTest, ReaderSuite, reader};
pub use self::stripe::stripe;
use crate::error::DeviceError;
use crate::registry::{DrivenMachine, Driver};
use crate::stripe::Recording;

/// Time for a new connection.
const OPEN_TIME: Duration = Duration::from_secs(5);

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConformanceFinding {
    /// The check, in a few words that do not change.
    pub check: &'static str,
    /// Good, or the fault in a technician's words.
    pub outcome: Result<(), String>,
}

/// The card in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardUnderTest {
    /// No card, or one that must not be touched.
    None,
    /// A card that may be spoilt; its stripe, if it has one, takes this recording.
    Spoil(Recording),
}

/// Runs all the checks of a driver's family, in order.
pub fn machine(driver: &Driver, machine: &mut DrivenMachine, card: CardUnderTest) -> Vec<ConformanceFinding> {
    match machine {
        DrivenMachine::Stripe(encoder) => stripe(&mut **encoder, driver.capabilities, card),
        DrivenMachine::Printer(machine) => printer(&mut **machine, driver.capabilities, card),
        DrivenMachine::Embosser(machine) => embosser(&mut **machine, driver.capabilities, card),
    }
}

/// Collects findings.
#[derive(Default)]
struct FindingCollector(Vec<ConformanceFinding>);

impl FindingCollector {
    /// Adds a check's outcome; returns whether it was good.
    fn add<E: ToString>(&mut self, check: &'static str, outcome: Result<(), E>) -> bool {
        let outcome = outcome.map_err(|error| error.to_string());
        let good = outcome.is_ok();
        self.0.push(ConformanceFinding { check, outcome });
        good
    }

    /// Checks common to all machines: it answers, is of its kind if its protocol names the kind, gives the
    /// same name twice, and again over a new connection. Returns false if further checks are pointless.
    fn begin<M: ?Sized>(
        &mut self,
        machine: &mut M,
        ready: fn(&mut M) -> Result<String, DeviceError>,
        reopen: fn(&mut M, Duration) -> Result<(), DeviceError>,
        kind: Option<&str>,
    ) -> bool {
        let first = ready(machine);
        if !self.add("it answers", first.clone().map(drop)) {
            return false;
        }
        let first = first.unwrap_or_default();
        let printable = !first.is_empty() && first.chars().all(|c| !c.is_control());
        self.add("it says what it is", require(printable, "its name is empty, or has control characters"));
        if let Some(kind) = kind {
            let other = format!(
                "it says that it is {first:?}, which is no {kind}: exchange the cables, or correct the profile's `serial`"
            );
            if !self.add("it is what the profile says", require(first.to_lowercase().contains(kind), &other))
            {
                return false;
            }
        }
        let again = ready(machine).map_err(|error| error.to_string());
        let same = again.and_then(|name| require(name == first, "another name than before: is there noise?"));
        self.add("it says the same again", same);
        let anew =
            reopen(machine, OPEN_TIME).and_then(|()| ready(machine)).map_err(|error| error.to_string());
        let anew = anew.and_then(|name| require(name == first, "another name over a new connection"));
        self.add("it answers over a new connection", anew)
    }
}

/// Good, or a fault in these words.
fn require(good: bool, otherwise: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// Passes if an undeclared ability was refused as not supported.
fn refused<T>(outcome: Result<T, DeviceError>) -> Result<(), String> {
    match outcome {
        Err(DeviceError::Unsupported(_)) => Ok(()),
        Err(error) => Err(format!("not declared, yet it was tried: {error}")),
        Ok(_) => Err("not declared, yet it was done: declare it".to_owned()),
    }
}

/// Passes if data that cannot go on a card was refused as such.
fn refused_as_data(outcome: Result<(), DeviceError>) -> Result<(), String> {
    match outcome {
        Err(error) if error.is_data() => Ok(()),
        Err(error) => Err(format!("wrong data was not refused as wrong data: {error}")),
        Ok(()) => Err("wrong data was accepted".to_owned()),
    }
}
