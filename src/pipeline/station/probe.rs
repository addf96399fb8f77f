//! A station out of service: what takes it there, and how its device is tried until it answers.

use std::time::Duration;

use drivers::{Condition, DeviceError};

use super::{HungUp, Runner, Standing, StationHappening};
use crate::modules::{Blame, Fault};
use crate::reason::ReasonWord;

/// Until the first probe: a cable that was touched, a host process that starts anew.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Between later ones: the wait doubles up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// For the transport to be connected anew.
const REOPEN_TIME: Duration = Duration::from_secs(1);
/// Outages in a row, without a card finished between them, after which only a person can help: a device that answers
/// every probe and no card must not go through the hopper. A card that the device does not see counts as one.
const OUTAGES_IN_A_ROW: u32 = 3;

/// What there is to be tried.
pub struct Outage {
    next: Duration,
    /// The transport did not answer: it is opened anew, and what lies in the station thrown out.
    transport: Option<Lying>,
}

/// What may lie in a station whose transport did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lying {
    /// A card of which the ledger knows that it is out.
    Known,
    /// A blank of which nobody knows whether it was fed.
    Blank(Fault),
}

impl Outage {
    /// How long to wait before the next probe.
    pub fn wait(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(LONGEST_WAIT);
        now
    }
}

impl Runner<'_> {
    /// The standing after a fault, the card being out.
    pub(super) fn after(&mut self, fault: &Fault) -> Standing {
        if fault.wants_probe() {
            self.out_of_service(None)
        } else if fault.is_no_card() && self.needs_person() {
            Standing::Stuck
        } else {
            Standing::InService
        }
    }

    /// The standing after the transport failed with a card, or may have: it is asked again if it was silent, else
    /// somebody has to open it.
    pub(super) fn after_transport(&mut self, error: &DeviceError, lying: Lying) -> Standing {
        if is_silent(error) { self.out_of_service(Some(lying)) } else { Standing::Stuck }
    }

    fn out_of_service(&mut self, transport: Option<Lying>) -> Standing {
        if self.needs_person() {
            return Standing::Stuck;
        }
        self.out = Some(Outage { next: FIRST_WAIT, transport });
        Standing::Probed
    }

    /// One outage more; whether they are too many in a row.
    fn needs_person(&mut self) -> bool {
        self.outages += 1;
        self.outages > OUTAGES_IN_A_ROW
    }

    /// Tries the device once.
    pub(super) fn probe(&mut self) -> Result<(), HungUp> {
        let Some(outage) = &mut self.out else { return Ok(()) };
        if let Some(lying) = outage.transport.clone() {
            match self.clear() {
                Ok(false) => {}
                Ok(true) => {
                    if let Lying::Blank(fault) = lying {
                        self.tell(StationHappening::Found(fault))?;
                    }
                }
                Err(error) if is_silent(&error) => return Ok(()),
                Err(error) => {
                    self.out = None;
                    let fault = transport_fault("throwing out what lies in the station", &error);
                    return self.tell(StationHappening::Stuck(fault));
                }
            }
            if let Some(outage) = &mut self.out {
                outage.transport = None;
            }
        }
        match self.setup.module.probe() {
            Ok(()) => {
                self.out = None;
                self.tell(StationHappening::Back)
            }
            Err(fault) => {
                tracing::debug!(station = %self.setup.name, %fault, "still out of service");
                Ok(())
            }
        }
    }

    /// Opens the transport anew and throws out what lies there; whether anything did.
    fn clear(&mut self) -> Result<bool, DeviceError> {
        self.setup.transport.reopen(REOPEN_TIME)?;
        match self.setup.transport.reject() {
            Ok(()) => Ok(true),
            Err(error) if error.condition() == Some(Condition::NoCard) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether no answer came, so that a later one may.
fn is_silent(error: &DeviceError) -> bool {
    matches!(
        error,
        DeviceError::Timeout(_) | DeviceError::Closed | DeviceError::Link(_) | DeviceError::Damaged(_)
    )
}

/// The fault of a motion.
pub fn transport_fault(doing: &str, error: &DeviceError) -> Fault {
    let reason = if error.is_jam() {
        ReasonWord::Jam
    } else if error.is_supply() {
        ReasonWord::Supply
    } else {
        ReasonWord::Transport
    };
    Fault::new(Blame::Device, reason, format!("{doing}: {error}"))
}
