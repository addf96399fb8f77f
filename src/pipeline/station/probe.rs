//! A station out of service: what takes it there, and how its device is probed until it answers.

use std::time::Duration;

use drivers::{Condition, DeviceError};

use super::supply::Patience;
use super::{HungUp, Runner, Standing, StationHappening};
use crate::modules::{Blame, Fault};
use crate::reason::ReasonWord;

/// Time allowed for opening the transport again.
const REOPEN_TIME: Duration = Duration::from_secs(1);
/// Most outages in a row, without a finished card between them, that end without a person. With more of them,
/// a device that answers every probe but no card would use up the hopper. A card that the device does not see
/// counts as one.
const OUTAGES_IN_A_ROW: u32 = 3;

/// What has to be tried before the station is back in service.
pub struct Outage {
    patience: Patience,
    /// Set if the transport did not answer: it is opened again, and a card that lies in the station is thrown
    /// out.
    transport: Option<Lying>,
    /// The device said when it was asked last that it wants something of a person.
    wants: bool,
}

/// What may lie in a station whose transport did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lying {
    /// A card that the ledger already counts as thrown out.
    Known,
    /// A blank that may or may not have been fed.
    Blank(Fault),
}

impl Outage {
    /// Returns the time to wait before the next probe.
    pub fn wait(&mut self) -> Duration {
        self.patience.wait()
    }
}

impl Runner<'_> {
    /// The standing after a fault, when the card is out.
    pub(super) fn after(&mut self, fault: &Fault) -> Standing {
        if fault.wants_probe() {
            self.out_of_service(None)
        } else if fault.is_no_card() && self.needs_person() {
            Standing::Stuck
        } else {
            Standing::InService
        }
    }

    /// The standing after the transport failed with a card, or may have. A silent transport is tried again;
    /// for any other failure a person has to open the station.
    pub(super) fn after_transport(&mut self, error: &DeviceError, lying: Lying) -> Standing {
        if is_silent(error) {
            return self.out_of_service(Some(lying));
        }
        self.left = Some(lying);
        Standing::Stuck
    }

    pub(super) fn out_of_service(&mut self, transport: Option<Lying>) -> Standing {
        if self.needs_person() {
            self.left = transport;
            return Standing::Stuck;
        }
        self.out = Some(Outage { patience: Patience::new(), transport, wants: false });
        Standing::Probed
    }

    /// Counts an outage. Returns whether there were too many in a row.
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
                    // A known card is counted already.
                    if let Lying::Blank(fault) = lying {
                        self.tell(StationHappening::Found(fault))?;
                    }
                }
                Err(error) if is_silent(&error) || error.waits_for_person() => return Ok(()),
                Err(error) => {
                    self.out = None;
                    self.left = Some(lying);
                    let fault = transport_fault("throwing out what lies in the station", &error);
                    return self.tell(StationHappening::Stuck(fault));
                }
            }
            // The transport answers and is clear: from now on only the module's device is probed.
            if let Some(outage) = &mut self.out {
                outage.transport = None;
            }
        }
        match self.setup.module.probe().and_then(|()| self.own_machine()) {
            Ok(()) => {
                self.out = None;
                self.connected_again();
                self.tell(StationHappening::Back)
            }
            // Another machine answers there, which does not end by itself: people must read why the station is out.
            Err(fault) if fault.doubts_device() => {
                self.out = None;
                self.tell(StationHappening::Stuck(fault))
            }
            Err(fault) => {
                tracing::debug!(station = %self.setup.name, %fault, "still out of service");
                let wants = fault.waits_for_person();
                match &mut self.out {
                    Some(outage) if outage.wants != wants => outage.wants = wants,
                    _ => return Ok(()),
                }
                let happening = if wants { StationHappening::Wants } else { StationHappening::Silent };
                self.tell(happening(fault))
            }
        }
    }

    /// A person says that the station is free: opens its transport anew, throws out what lies there, and asks the
    /// device. A station that was not stuck is only asked.
    pub(super) fn prove(&mut self) -> Result<(), HungUp> {
        if self.out.is_some() {
            self.probe()?;
            let fault = Fault::new(Blame::Device, ReasonWord::Device, "device: it does not answer yet");
            return if self.out.is_some() { self.tell(StationHappening::NotReady(fault)) } else { Ok(()) };
        }
        let lying = self.left.clone();
        match self.clear() {
            Ok(true) => {
                // A known card is counted already.
                if let Some(Lying::Blank(fault)) = lying {
                    self.tell(StationHappening::Found(fault))?;
                }
            }
            Ok(false) => {}
            Err(error) => {
                let fault = transport_fault("throwing out what lies in the station", &error);
                return self.tell(StationHappening::NotReady(fault));
            }
        }
        self.left = None;
        match self.setup.module.probe().and_then(|()| self.own_machine()) {
            Ok(()) => {
                self.outages = 0;
                self.wired_anew()?;
                self.connected_again();
                self.tell(StationHappening::Back)
            }
            Err(fault) => self.tell(StationHappening::NotReady(fault)),
        }
    }

    /// Opens the transport again and throws out a card that lies there. Returns whether there was one.
    fn clear(&mut self) -> Result<bool, DeviceError> {
        self.setup.transport.reopen(REOPEN_TIME)?;
        match self.setup.transport.reject() {
            Ok(()) => Ok(true),
            Err(error) if error.condition() == Some(Condition::NoCard) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether the error is the lack of an answer, so that one may come later.
fn is_silent(error: &DeviceError) -> bool {
    matches!(
        error,
        DeviceError::Timeout(_) | DeviceError::Closed | DeviceError::Link(_) | DeviceError::Damaged(_)
    )
}

/// The fault for a failed movement of a card.
pub fn transport_fault(doing: &str, error: &DeviceError) -> Fault {
    let reason = if error.is_jam() {
        ReasonWord::Jam
    } else if error.waits_for_person() {
        ReasonWord::Supply
    } else {
        ReasonWord::Transport
    };
    Fault::new(Blame::Device, reason, format!("{doing}: {error}"))
}
