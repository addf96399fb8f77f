//! A station's thread: gets the card in, lets the module work, throws a bad card out, and reports what
//! happened. While its device does not answer, the thread probes it.
//!
//! ```text
//! feed order:  prepare → feed → inspect ──fault──► throw out (no attempt is lost; the record waits again)
//!                                  ├─reader away before the first command──► probe, inspect again, for 3 s
//!                                  └─► ask to bind → wait until durable → personalize → done | throw out
//! take order:  lift from the station before → prepare → arrive → inspect → personalize → done | throw out
//!                                                      a chip: ask to open it → wait until durable ─┘
//!              a chip that has to wait for its turn (`turn`) is inspected anew before the station asks again
//!
//! in service ──the device did not answer; the card is out──► out of service: probe, wait, probe ...
//!    │  ▲                                                       │  │
//!    │  └────────────────────────the device answers─────────────┘  │
//!    │                                                             │ a card found there
//!    │ a card cannot be thrown out, a person is needed             │ cannot be thrown out
//!    └─────────────────────────► stuck ◄───────────────────────────┘
//!
//! in service ──the machine wants supplies──► it waits with its card or order (`supply`), without a limit
//!
//! any of them ──its thread panics──► died: it reports that, and the dispatcher accounts for its card
//! ```

mod card;
mod probe;
mod proof;
mod supply;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

pub use self::probe::transport_fault;
pub use self::proof::WiringProofs;
pub use self::supply::Patience;
use super::{CardTransport, StationSetup};
use crate::audit::LedgerId;
use crate::ids::KmcRef;
use crate::ledger::{LedgerError, Ticket};
use crate::modules::{BlankInspection, CardWork, Fault, ModuleOutcome};
use crate::panics::ends_well;

/// The place of a station: index of its stage, and index in the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the module in line order.
    pub stage: usize,
    /// Index of the station in its module.
    pub station: usize,
}

/// The dispatcher's orders to a station.
pub enum StationOrder {
    /// Feed a blank, and do the work of this record's first module.
    Feed {
        /// Work of its record.
        work: Arc<CardWork>,
        /// The station is the one that may prove its device now, with this card.
        proving: bool,
    },
    /// Take the card from another station, and go on with it.
    Take {
        /// Name of the station where the card lies.
        from: String,
        /// Work of its record.
        work: Arc<CardWork>,
        /// The station is the one that may prove its device now, with this card.
        proving: bool,
    },
    /// Say whether the device sees a card, although none was brought there.
    Look,
    /// Throw out the card that lies here, for this reason: no other place can go on with it.
    ThrowOut(Fault),
    /// End the wait for supplies, and throw out the card that waits, for this reason. A station that does not wait
    /// ignores it.
    EndWait(Fault),
    /// A person has freed the station: find out whether it works.
    Prove,
}

/// Whether a station can take cards after an order has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can take the next card.
    InService,
    /// It takes no card until its device answers; the thread probes the device.
    Probed,
    /// It takes no card in this run: a person has to see to it.
    Stuck,
}

/// The answer to a station that asks to bind a blank, or to open a chip.
pub enum Binding {
    /// It may, once this change of the ledger is durable.
    Given {
        /// The ledger that records it.
        ledger: LedgerId,
        /// The change to wait for.
        ticket: Ticket,
        /// Whether the chip goes first, so that the station reports how it answers EXTERNAL AUTHENTICATE.
        first: bool,
    },
    /// It waited for its turn: inspect the card anew, and ask again.
    AskAnew,
    /// The card has to go, for this reason.
    Refused(Fault),
}

/// A station's report of what its device sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SightReport {
    /// The device saw the card that the transport brought: it is the one of this station.
    Proved,
    /// The device was connected anew: nothing shows any more that it is the one of this station.
    Unproved,
    /// The device does not see the card that was brought. The card lies there until the next order.
    Unseen,
    /// The answer to [`StationOrder::Look`].
    Looked(bool),
}

/// A station's reports.
pub enum StationHappening {
    /// A blank came in.
    Fed,
    /// An unbound blank was thrown out. The order is void.
    BlankOut {
        /// The result of the inspection; empty if the chip was not read.
        blank: BlankInspection,
        /// Why the blank was thrown out.
        fault: Fault,
        /// Time since it was fed.
        took: Duration,
        /// The station's standing without the blank.
        standing: Standing,
    },
    /// The blank is good so far, and the station asks to bind it. The answer comes over `binds`.
    MayBind(BlankInspection),
    /// The chip of the bound card is known, and the station asks to open its channel. The answer comes over
    /// `binds`.
    MayOpen(BlankInspection),
    /// The card has left the previous station.
    Taken,
    /// The card did not come. It still lies in the previous station.
    NotTaken(Fault, Standing),
    /// The binding is durable, or the station has taken the card. Data goes to the card now; its chip is of
    /// this KMC.
    Writing(Option<KmcRef>),
    /// The chip has answered EXTERNAL AUTHENTICATE: its keys are right.
    KeysProved,
    /// The chip of this KMC gave a wrong cryptogram, or found ours wrong. The card is thrown out next.
    KeysWrong(KmcRef, Fault),
    /// The module is done. The card waits in the station.
    Done {
        /// The module's result.
        done: ModuleOutcome,
        /// Time that the station worked on the card.
        took: Duration,
    },
    /// The bound card was thrown out.
    CardOut {
        /// Why it was thrown out.
        fault: Fault,
        /// Time that the station worked on the card.
        took: Duration,
        /// The station's standing without the card.
        standing: Standing,
    },
    /// No card was touched, because the record's data, the station or the line is at fault. The order is
    /// void.
    Void(Fault, Standing),
    /// The order was not begun, and no card was touched: the device has lost its proof, or has a fault.
    NotBegun(Option<Fault>, Standing),
    /// What the device sees of cards, as far as that proves something.
    Sight(SightReport),
    /// While out of service, the station threw out a blank after an unclear feed.
    Found(Fault),
    /// Its machine wants something of a person. Its card or order waits; without one, the station stays out of
    /// service.
    Wants(Fault),
    /// The machine that wanted something does not answer now.
    Silent(Fault),
    /// The machine has got what it wanted.
    Supplied,
    /// There is no blank for the transport to feed.
    NoBlanks(Fault),
    /// There may be blanks again.
    Blanks,
    /// The transport brought no blank, although it had reported one. The order is void.
    NotBrought {
        /// What the device saw.
        fault: Fault,
        /// Time since the feed.
        took: Duration,
        /// The station's standing.
        standing: Standing,
    },
    /// Its device answers again.
    Back,
    /// A person said that it is free, and it does not work.
    NotReady(Fault),
    /// While out of service, the station found a card that only a person can clear.
    Stuck(Fault),
    /// The ledger did not take the binding. No data of the record has left, and the blank stays where it is
    /// for a person.
    NotBound(LedgerError),
    /// Its thread died. It reports nothing more and takes no order, and its card lies where it lay.
    Died,
}

/// The dispatcher has hung up.
struct HungUp;

/// Runs a station until the dispatcher hangs up. That also ends probing, within one probe at most.
pub fn run(
    setup: StationSetup,
    place: Place,
    orders: &Receiver<StationOrder>,
    binds: &Receiver<Binding>,
    say: &Sender<(Place, StationHappening)>,
) {
    let mut runner = Runner {
        setup,
        place,
        orders,
        binds,
        say,
        outages: 0,
        out: None,
        left: None,
        hopper: None,
        without_blanks: false,
        connected: None,
    };
    runner.connected_at_start();
    if !ends_well(|| runner.work()) {
        // Reported before the device is dropped, which may take a moment. The dispatcher may have hung up.
        let _ = runner.tell(StationHappening::Died);
    }
}

struct Runner<'a> {
    setup: StationSetup,
    place: Place,
    orders: &'a Receiver<StationOrder>,
    binds: &'a Receiver<Binding>,
    say: &'a Sender<(Place, StationHappening)>,
    /// Outages in a row, without a finished card between them.
    outages: u32,
    out: Option<probe::Outage>,
    /// When its device was connected; `None` for a device that does not see cards.
    connected: Option<proof::ConnectedSince>,
    /// What may lie there, since only a person can free the station.
    left: Option<probe::Lying>,
    /// The waits between questions for blanks, since the hopper was empty for the first time.
    hopper: Option<Patience>,
    /// The transport had no blank to feed when it was asked last.
    without_blanks: bool,
}

impl Runner<'_> {
    fn work(&mut self) {
        while let Some(order) = self.next() {
            let obeyed = match order {
                StationOrder::Feed { work, proving } => self.feed(&work, proving),
                StationOrder::Take { from, work, proving } => self.take(&from, &work, proving),
                StationOrder::Look => self.look_for_card(),
                StationOrder::ThrowOut(fault) => self.throw_out(fault, Duration::ZERO),
                StationOrder::EndWait(_) => Ok(()),
                StationOrder::Prove => self.prove(),
            };
            if obeyed.is_err() {
                return;
            }
        }
    }

    fn tell(&self, happening: StationHappening) -> Result<(), HungUp> {
        self.say.send((self.place, happening)).map_err(|_| HungUp)
    }

    /// Waits for an order. Meanwhile a station that is out of service probes its device, and one without blanks asks
    /// for them.
    fn next(&mut self) -> Option<StationOrder> {
        loop {
            let wait = match (&mut self.out, &mut self.hopper) {
                (Some(outage), _) => outage.wait(),
                (None, Some(hopper)) if self.without_blanks => hopper.wait(),
                _ => return self.orders.recv().ok(),
            };
            match self.orders.recv_timeout(wait) {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.out.is_some() => self.probe().ok()?,
                Err(RecvTimeoutError::Timeout) => self.ask_for_blanks().ok()?,
            }
        }
    }
}

#[cfg(test)]
mod tests;
