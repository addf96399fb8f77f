//! A station's thread: gets the card in, lets the module work, throws a bad card out, and says what happened. While its
//! device does not answer, it tries it again and again.
//!
//! ```text
//! feed order:  prepare → feed → inspect ──fault──► throw out (no attempt is lost; the record waits again)
//!                                  ├─reader away before the first command──► probe, inspect again, for 3 s
//!                                  └─► ask to bind → wait until durable → personalize → done | throw out
//! take order:  lift from the station before → prepare → arrive → inspect → personalize → done | throw out
//!                                                                  └─a chip─► ask to open it → wait until durable
//!
//! in service ──the device did not answer; the card is out──► out of service: probe, wait, probe ... ──answer──► in service
//!     └──────a card cannot be thrown out, a person is needed──► stuck ◄──────a card found there cannot be thrown out
//!
//! any of them ──its thread panics──► died: it says so, and the dispatcher answers for its card
//! ```

mod card;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::StationSetup;
use crate::ids::KmcRef;
use crate::ledger::{LedgerError, Ticket};
use crate::modules::{BlankInspection, CardWork, Fault, ModuleOutcome};
use crate::panics::ends_well;

/// Which station: stage and place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the module in line order.
    pub stage: usize,
    /// Index of the station in its module.
    pub station: usize,
}

/// What the dispatcher orders.
pub enum StationOrder {
    /// Feed a blank and make this record's first module.
    Feed(Arc<CardWork>),
    /// Take the card from that station and go on with it.
    Take {
        /// Name of the station where the card lies.
        from: String,
        /// Its work.
        work: Arc<CardWork>,
    },
    /// Nobody can go on with the card that lies here: throw it out, for this reason.
    ThrowOut(Fault),
}

/// What a station is good for once an order has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The next card.
    InService,
    /// Nothing, until its device answers: it is probed.
    Probed,
    /// Nothing, until a person came.
    Stuck,
}

/// The answer to a station that may bind: what to wait for, or why its blank must go.
pub type Binding = Result<Ticket, Fault>;

/// What happened at a station.
pub enum StationHappening {
    /// A blank came in.
    Fed,
    /// An unbound blank was thrown out; the order is void.
    BlankOut {
        /// As far as the chip was asked.
        blank: BlankInspection,
        /// Why.
        fault: Fault,
        /// Since it was fed.
        took: Duration,
        /// Of the station without it.
        standing: Standing,
    },
    /// The blank is good so far: may it be bound? The answer comes over `binds`.
    MayBind(BlankInspection),
    /// The chip of the bound card is known: may its channel be opened? The answer comes over `binds`.
    MayOpen(BlankInspection),
    /// The card is out of the station before.
    Taken,
    /// The card did not come: it still lies in the station before.
    NotTaken(Fault, Standing),
    /// The binding is durable, or the station has the card, whose chip is of this KMC: data is going to it.
    Writing(Option<KmcRef>),
    /// The module is done; the card waits in the station.
    Done {
        /// What was done.
        done: ModuleOutcome,
        /// Time with the card.
        took: Duration,
    },
    /// The bound card is out.
    CardOut {
        /// Why.
        fault: Fault,
        /// Time with the card.
        took: Duration,
        /// Of the station without it.
        standing: Standing,
    },
    /// No card was touched: the record's data, the station or the line is at fault. The order is void.
    Void(Fault, Standing),
    /// Out of service, it threw a blank out of which it had not known whether it was fed.
    Found(Fault),
    /// Its device answers again.
    Back,
    /// Out of service, it found what only a person can clear.
    Stuck(Fault),
    /// The ledger did not take the binding: nothing of the record has left, and the blank stays where it is for a person.
    NotBound(LedgerError),
    /// Its thread died. It says nothing more, takes no order, and whatever card it had lies where it lay.
    Died,
}

/// The dispatcher has hung up.
struct HungUp;

/// Runs a station until the dispatcher hangs up; that ends probing, too, at once or within one probe.
pub fn run(
    setup: StationSetup,
    place: Place,
    orders: &Receiver<StationOrder>,
    binds: &Receiver<Binding>,
    say: &Sender<(Place, StationHappening)>,
) {
    let mut runner = Runner { setup, place, binds, say, outages: 0, out: None };
    if !ends_well(|| runner.work(orders)) {
        // The dispatcher may have hung up. Said before the device is let go of, which may take a moment.
        let _ = runner.tell(StationHappening::Died);
    }
}

struct Runner<'a> {
    setup: StationSetup,
    place: Place,
    binds: &'a Receiver<Binding>,
    say: &'a Sender<(Place, StationHappening)>,
    /// Without a card finished since.
    outages: u32,
    out: Option<probe::Outage>,
}

impl Runner<'_> {
    fn work(&mut self, orders: &Receiver<StationOrder>) {
        while let Some(order) = self.next(orders) {
            let obeyed = match order {
                StationOrder::Feed(work) => self.feed(&work),
                StationOrder::Take { from, work } => self.take(&from, &work),
                StationOrder::ThrowOut(fault) => self.throw_out(fault, Duration::ZERO),
            };
            if obeyed.is_err() {
                return;
            }
        }
    }

    fn tell(&self, happening: StationHappening) -> Result<(), HungUp> {
        self.say.send((self.place, happening)).map_err(|_| HungUp)
    }

    /// Waits for an order; a station that is out of service tries its device meanwhile.
    fn next(&mut self, orders: &Receiver<StationOrder>) -> Option<StationOrder> {
        loop {
            let Some(outage) = &mut self.out else { return orders.recv().ok() };
            match orders.recv_timeout(outage.wait()) {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.probe().ok()?,
            }
        }
    }
}

#[cfg(test)]
mod tests;
