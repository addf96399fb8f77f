//! A station with a card: from the order until the card has left.

use std::thread;
use std::time::{Duration, Instant};

use drivers::{Condition, DeviceError};

use super::probe::{Lying, transport_fault};
use super::proof::{Readiness, Sight};
use super::supply::Waited;
use super::turn::CardPermission;
use super::{CardTransport, HungUp, Runner, SightReport, Standing, StationHappening};
use crate::modules::{Blame, BlankInspection, CardWork, Fault};
use crate::reason::ReasonWord;

/// How long a card stays in a reader that failed before the card received a command: pcscd restarts within a
/// second. Not longer, because the cards after it wait for its record, which another station could make.
const READER_PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two probes of that reader.
const READER_PAUSE: Duration = Duration::from_millis(200);

impl Runner<'_> {
    pub(super) fn feed(&mut self, work: &CardWork, proving: bool) -> Result<(), HungUp> {
        if let Err(fault) = self.setup.module.prepare(work) {
            return self.tell(StationHappening::Void(fault, Standing::InService));
        }
        let readiness = self.before_card(proving)?;
        if let Readiness::NotNow(fault, standing) = readiness {
            return self.tell(StationHappening::NotBegun(fault, standing));
        }
        let start = Instant::now();
        if let Err(error) = self.setup.transport.feed() {
            let fault = transport_fault("feeding a blank", &error);
            if error.waits_for_person() {
                self.hopper_empty(fault.clone())?;
                return self.tell(StationHappening::Void(fault, Standing::InService));
            }
            // A jammed blank that can be thrown out was fed, so it has to be accounted for.
            let failed = if error.is_jam() { self.reject()? } else { Err(error) };
            if let Err(error) = failed {
                let standing = self.after_transport(&error, Lying::Blank(fault.clone()));
                return self.tell(StationHappening::Void(fault, standing));
            }
            self.tell(StationHappening::Fed)?;
            return self.blank_out(BlankInspection::default(), fault, start, Standing::InService);
        }
        (self.hopper, self.without_blanks) = (None, false);
        self.tell(StationHappening::Fed)?;
        let Some(inspected) = self.seen(work, &readiness)? else { return Ok(()) };
        let (seen, fault) = match inspected {
            Ok(blank) => match self.leave(work, blank, StationHappening::MayBind)? {
                CardPermission::Given(blank, first) => return self.personalize(work, start, blank, first),
                CardPermission::Refused(blank, fault) => (blank, fault),
                CardPermission::Lost(fault) => return self.card_out(fault, start),
                CardPermission::NotRecorded(error) => return self.tell(StationHappening::NotBound(error)),
            },
            Err(fault) => (BlankInspection { key_data: fault.key_data, kmc: None }, fault),
        };
        let twice = fault.reason == ReasonWord::ChipSeen;
        let unseen = fault.is_no_card();
        let rejected = self.reject()?;
        if unseen && rejected.as_ref().is_err_and(|error| error.condition() == Some(Condition::NoCard)) {
            // Neither the device nor the transport has a card: none was brought.
            let standing = self.after(&fault);
            return self.tell(StationHappening::NotBrought { fault, took: start.elapsed(), standing });
        }
        let (fault, standing) = self.thrown_out(fault, rejected);
        // The chip was seen before, so the card here is not the one that was fed, even if the transport
        // reports a success.
        let standing = if twice { Standing::Stuck } else { standing };
        self.blank_out(seen, fault, start, standing)
    }

    /// Inspects the card that was brought, once the device has seen it. `None` if it does not see the card,
    /// which is reported.
    fn seen(
        &mut self,
        work: &CardWork,
        readiness: &Readiness,
    ) -> Result<Option<Result<BlankInspection, Fault>>, HungUp> {
        let inspected = match self.after_card(readiness)? {
            Sight::Unseen => {
                self.tell(StationHappening::Sight(SightReport::Unseen))?;
                return Ok(None);
            }
            Sight::Failed(fault) => Err(fault),
            Sight::Seen => self.look(work),
        };
        if let Err(fault) = &inspected {
            self.confirm(readiness, fault)?;
        }
        Ok(Some(inspected))
    }

    fn blank_out(
        &self,
        blank: BlankInspection,
        fault: Fault,
        start: Instant,
        standing: Standing,
    ) -> Result<(), HungUp> {
        self.tell(StationHappening::BlankOut { blank, fault, took: start.elapsed(), standing })
    }

    /// Inspects the card that lies here, again if its reader was away for a moment: the card is not at fault
    /// then, and nothing was sent to it.
    pub(super) fn look(&mut self, work: &CardWork) -> Result<BlankInspection, Fault> {
        let until = Instant::now() + READER_PATIENCE;
        loop {
            let outcome = self.setup.module.inspect(work);
            let Err(fault) = &outcome else { return outcome };
            if !fault.spares_card() {
                return outcome;
            }
            tracing::debug!(station = %self.setup.name, %fault, "the card waits for its reader");
            loop {
                if Instant::now() >= until {
                    return outcome;
                }
                thread::sleep(READER_PAUSE);
                if self.setup.module.probe().is_ok() {
                    break;
                }
            }
        }
    }

    pub(super) fn take(&mut self, from: &str, work: &CardWork, proving: bool) -> Result<(), HungUp> {
        let readiness = self.before_card(proving)?;
        if let Readiness::NotNow(fault, standing) = readiness {
            return self.tell(StationHappening::NotBegun(fault, standing));
        }
        // The card is bound: from here on the order ends with the card thrown out or done.
        let start = Instant::now();
        match self.moves("taking the card", |transport| transport.take(from))? {
            Waited::Ended(Ok(())) => {}
            Waited::Ended(Err(error)) => {
                return self.not_taken(transport_fault("taking the card", &error), start);
            }
            Waited::Sent { fault, .. } => {
                return self.tell(StationHappening::NotTaken(fault, Standing::InService));
            }
        }
        self.tell(StationHappening::Taken)?;
        // The module prepares while the card is on its way, and the previous station can already take its next
        // card.
        let prepared = self.setup.module.prepare(work);
        match self.moves("bringing the card", CardTransport::arrive)? {
            Waited::Ended(Ok(())) => {}
            Waited::Ended(Err(error)) => {
                return self.throw_out(transport_fault("bringing the card", &error), start.elapsed());
            }
            Waited::Sent { fault, .. } => return self.throw_out(fault, start.elapsed()),
        }
        if let Err(fault) = prepared {
            return self.throw_out(fault, start.elapsed());
        }
        let Some(inspected) = self.seen(work, &readiness)? else { return Ok(()) };
        match inspected {
            Ok(blank) => self.open(work, start, blank),
            Err(fault) => self.throw_out(fault, start.elapsed()),
        }
    }

    /// Goes on with a bound card that lies here. The ledger records a chip before its first channel is
    /// opened, so that a chip takes the data of one attempt only.
    fn open(&mut self, work: &CardWork, start: Instant, blank: BlankInspection) -> Result<(), HungUp> {
        if blank.chip().is_none() {
            return self.personalize(work, start, blank, false);
        }
        let fault = match self.leave(work, blank, StationHappening::MayOpen)? {
            CardPermission::Given(blank, first) => return self.personalize(work, start, blank, first),
            CardPermission::Refused(_, fault) | CardPermission::Lost(fault) => fault,
            CardPermission::NotRecorded(error) => {
                Fault::new(Blame::Us, ReasonWord::Ledger, error.to_string())
            }
        };
        self.card_out(fault, start)
    }

    /// Throws a bound card out on which nothing was written.
    fn card_out(&mut self, fault: Fault, start: Instant) -> Result<(), HungUp> {
        let twice = fault.reason == ReasonWord::ChipSeen;
        let rejected = self.reject()?;
        let (fault, standing) = self.thrown_out(fault, rejected);
        // The chip was seen before, so the card here is not the one that was bound, even if the transport
        // reports a success.
        let standing = if twice { Standing::Stuck } else { standing };
        self.tell(StationHappening::CardOut { fault, took: start.elapsed(), standing })
    }

    /// Throws the card out to find out whether it was lifted although the transport reported an error.
    fn not_taken(&mut self, fault: Fault, start: Instant) -> Result<(), HungUp> {
        match self.reject()? {
            Ok(()) => {
                self.tell(StationHappening::Taken)?;
                let (took, standing) = (start.elapsed(), Standing::InService);
                self.tell(StationHappening::CardOut { fault, took, standing })
            }
            Err(error) if error.condition() == Some(Condition::NoCard) => {
                self.tell(StationHappening::NotTaken(fault, Standing::InService))
            }
            Err(error) => {
                let standing = self.after_transport(&error, Lying::Known);
                self.tell(StationHappening::NotTaken(fault, standing))
            }
        }
    }

    fn personalize(
        &mut self,
        work: &CardWork,
        start: Instant,
        blank: BlankInspection,
        first: bool,
    ) -> Result<(), HungUp> {
        self.tell(StationHappening::Writing(blank.kmc))?;
        let proved = if first { self.proves_keys(work)? } else { Ok(()) };
        let outcome = match proved {
            Ok(()) => self.insist(|station| station.setup.module.personalize(work))?,
            Err(fault) => Waited::Ended(Err(fault)),
        };
        match outcome {
            Waited::Ended(Ok(done)) => {
                self.outages = 0;
                self.tell(StationHappening::Done { done, took: start.elapsed() })
            }
            Waited::Sent { fault, silent } => {
                let rejected = self.reject()?;
                let (fault, standing) = self.thrown_out(fault, rejected);
                let standing = if silent { self.out_of_service(None) } else { standing };
                self.tell(StationHappening::CardOut { fault, took: start.elapsed(), standing })
            }
            Waited::Ended(Err(fault)) => {
                if let Some(kmc) = blank.kmc.filter(|_| fault.doubts_keys()) {
                    self.tell(StationHappening::KeysWrong(kmc, fault.clone()))?;
                }
                self.throw_out(fault, start.elapsed())
            }
        }
    }

    /// Throws the bound card out and reports that.
    pub(super) fn throw_out(&mut self, fault: Fault, worked: Duration) -> Result<(), HungUp> {
        let start = Instant::now();
        let rejected = self.reject()?;
        let (fault, standing) = self.thrown_out(fault, rejected);
        self.tell(StationHappening::CardOut { fault, took: worked + start.elapsed(), standing })
    }

    /// The fault and the standing after the card was thrown out. If that failed, the fault says that a person has to
    /// find the card.
    fn thrown_out(&mut self, fault: Fault, rejected: Result<(), DeviceError>) -> (Fault, Standing) {
        let Err(error) = rejected else {
            let standing = self.after(&fault);
            return (fault, standing);
        };
        let standing = if error.condition() == Some(Condition::NoCard) {
            self.after(&fault)
        } else {
            self.after_transport(&error, Lying::Known)
        };
        let fault = Fault {
            blame: Blame::Device,
            reason: ReasonWord::Stuck,
            detail: format!(
                "after {}: {}; the card could not be thrown out ({error}): look for it in the station and in the reject \
                 bin, and destroy it",
                fault.reason, fault.detail
            ),
            ..fault
        };
        (fault, standing)
    }
}
