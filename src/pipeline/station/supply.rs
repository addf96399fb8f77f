//! A machine wants something of a person: ribbon, foil, blanks, room in a bin, a closed cover. It says so before it
//! begins, so nothing has happened to the card. The station keeps its card and its order, asks again until the
//! machine begins, and has no limit for that.
//!
//! ```text
//! order ──► the machine wants something ──► wait ──► ask the device ──► ready: give the command again
//!                                            ▲  │         │
//!                                            └──┼─────────┘ not yet, or silent
//!                                               └─► the order to end the wait, or the line has hung up
//! ```
//!
//! An empty hopper keeps no order: its record could be made at another station. Without an order the station asks
//! its transport whether there are blanks again.

use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use drivers::DeviceError;

use super::probe::transport_fault;
use super::{CardTransport, HungUp, Runner, StationHappening, StationOrder};
use crate::modules::Fault;

/// Wait before a device is asked for the first time: enough for a loose cable, or for a host process that restarts.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait between later questions: the wait doubles up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The waits between questions to a device that wants something or does not answer.
#[derive(Debug, Clone, Copy)]
pub struct Patience(Duration);

impl Patience {
    /// Begins with the shortest wait.
    pub fn new() -> Self {
        Self(FIRST_WAIT)
    }

    /// The time to wait now.
    pub fn wait(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST_WAIT);
        now
    }
}

/// How a wait ended.
pub(super) enum Waited<T> {
    /// The machine did what it was asked, or failed for another reason.
    Ended(T),
    /// The card has to go, for this reason; `silent`: the machine does not answer any more.
    Sent { fault: Fault, silent: bool },
}

impl Runner<'_> {
    /// Has the module do something, and repeats it as long as its machine waits for a person.
    pub(super) fn insist<T>(
        &mut self,
        act: impl FnMut(&mut Self) -> Result<T, Fault>,
    ) -> Result<Waited<Result<T, Fault>>, HungUp> {
        let wants = |fault: &Fault| fault.waits_for_person().then(|| fault.clone());
        self.repeat(act, wants, Self::until_ready)
    }

    /// Has the transport move a card, and repeats it as long as the transport waits for a person.
    pub(super) fn moves(
        &mut self,
        doing: &str,
        mut motion: impl FnMut(&mut CardTransport) -> Result<(), DeviceError>,
    ) -> Result<Waited<Result<(), DeviceError>>, HungUp> {
        let wants = |error: &DeviceError| error.waits_for_person().then(|| transport_fault(doing, error));
        let pause = |runner: &mut Self, patience: &mut Patience| {
            Ok(runner.pause(patience)?.map(|fault| (fault, false)))
        };
        self.repeat(|runner| motion(&mut runner.setup.transport), wants, pause)
    }

    /// Repeats `act` as long as its error shows, by `wants`, that the device waits for a person. Reports the beginning
    /// and the end of that time. `wait` waits between two attempts. If the card has to go, it returns the reason, and
    /// whether the device was silent.
    fn repeat<T, E>(
        &mut self,
        mut act: impl FnMut(&mut Self) -> Result<T, E>,
        wants: impl Fn(&E) -> Option<Fault>,
        mut wait: impl FnMut(&mut Self, &mut Patience) -> Result<Option<(Fault, bool)>, HungUp>,
    ) -> Result<Waited<Result<T, E>>, HungUp> {
        let mut patience = Patience::new();
        let mut waits = false;
        loop {
            let outcome = act(self);
            let Some(fault) = outcome.as_ref().err().and_then(&wants) else {
                if waits {
                    self.tell(StationHappening::Supplied)?;
                }
                return Ok(Waited::Ended(outcome));
            };
            if !std::mem::replace(&mut waits, true) {
                self.tell(StationHappening::Wants(fault))?;
            }
            if let Some((fault, silent)) = wait(self, &mut patience)? {
                return Ok(Waited::Sent { fault, silent });
            }
        }
    }

    /// Asks the module's device until it is ready. Returns the reason if the card has to go before, and whether the
    /// device was silent then.
    fn until_ready(&mut self, patience: &mut Patience) -> Result<Option<(Fault, bool)>, HungUp> {
        let mut silent = false;
        loop {
            if let Some(fault) = self.pause(patience)? {
                return Ok(Some((fault, silent)));
            }
            match self.setup.module.probe() {
                Ok(()) => return Ok(None),
                Err(fault) if fault.waits_for_person() => {
                    if std::mem::take(&mut silent) {
                        self.tell(StationHappening::Wants(fault))?;
                    }
                }
                Err(fault) => {
                    if !std::mem::replace(&mut silent, true) {
                        self.tell(StationHappening::Silent(fault))?;
                    }
                }
            }
        }
    }

    /// Throws the card out, as soon as the bin has room.
    pub(super) fn reject(&mut self) -> Result<Result<(), DeviceError>, HungUp> {
        loop {
            // A card that is being thrown out cannot be sent away faster.
            if let Waited::Ended(outcome) = self.moves("throwing out the card", CardTransport::reject)? {
                return Ok(outcome);
            }
        }
    }

    /// Waits for a while. Returns the reason if the card has to go.
    fn pause(&mut self, patience: &mut Patience) -> Result<Option<Fault>, HungUp> {
        match self.orders.recv_timeout(patience.wait()) {
            Ok(StationOrder::EndWait(fault)) => Ok(Some(fault)),
            Ok(_) | Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(HungUp),
        }
    }

    /// Notes that there was no blank to feed.
    pub(super) fn hopper_empty(&mut self, fault: Fault) -> Result<(), HungUp> {
        self.hopper.get_or_insert_with(Patience::new);
        self.without_blanks = true;
        self.tell(StationHappening::NoBlanks(fault))
    }

    /// Asks the transport once whether there are blanks again. If it cannot tell, the line finds out with the next
    /// feed; the wait before the next question is longer each time.
    pub(super) fn ask_for_blanks(&mut self) -> Result<(), HungUp> {
        match self.setup.transport.status() {
            Err(error) if error.waits_for_person() => Ok(()),
            _ => {
                self.without_blanks = false;
                self.tell(StationHappening::Blanks)
            }
        }
    }
}
