//! A station's thread: gets the card in, lets the module work, throws a bad card out, and says what happened.
//!
//! ```text
//! feed order:  prepare → feed → inspect ──fault──► throw out, feed the next blank (no attempt is lost)
//!                                  │
//!                                  └─► ask to bind → wait until durable → personalize → done | throw out
//! take order:  prepare → take from the station before → inspect → personalize → done | throw out
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::{CardTransport, StationSetup};
use crate::ledger::Ticket;
use crate::modules::{Blame, Blank, Done, Fault, Work};

/// Blanks that may fail in a row before the station asks for a person: a whole stack of wrong ones must not go to
/// the reject bin.
const BAD_BLANKS_IN_A_ROW: u32 = 10;

/// Which station: stage and place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the module in line order.
    pub stage: usize,
    /// Index of the station in its module.
    pub station: usize,
}

/// What the dispatcher orders.
pub enum Order {
    /// Feed a blank and make this record's first module.
    Feed(Arc<Work>),
    /// Take the card from that station and go on with it.
    Take {
        /// Name of the station where the card lies.
        from: String,
        /// Its work.
        work: Arc<Work>,
    },
    /// Nobody can go on with the card that lies here: throw it out, for this reason.
    ThrowOut(Fault),
}

/// What happened at a station.
pub enum Happening {
    /// A blank came in.
    Fed,
    /// An unbound blank was thrown out.
    BlankOut {
        /// As far as the chip was asked.
        blank: Blank,
        /// Why.
        fault: Fault,
        /// Since it was fed.
        took: Duration,
    },
    /// The blank is good so far: may it be bound? The answer comes over `binds`.
    MayBind(Blank),
    /// The card is out of the station before.
    Taken,
    /// The card did not come: it still lies in the station before.
    NotTaken(Fault),
    /// The binding is durable, or the station has the card: data is going to it.
    Writing,
    /// The module is done; the card waits in the station.
    Done {
        /// What was done.
        done: Done,
        /// Time with the card.
        took: Duration,
    },
    /// The bound card is out.
    CardOut {
        /// Why.
        fault: Fault,
        /// Time with the card.
        took: Duration,
    },
    /// No card was touched: the record's data, or the line, is at fault. The order is void.
    Void(Fault),
}

/// Runs a station until the dispatcher hangs up.
pub fn run(
    mut setup: StationSetup,
    place: Place,
    orders: &Receiver<Order>,
    binds: &Receiver<Ticket>,
    say: &Sender<(Place, Happening)>,
) {
    let mut tell = |happening| say.send((place, happening)).is_ok();
    for order in orders {
        let goes_on = match order {
            Order::Feed(work) => feed(&mut setup, &work, binds, &mut tell),
            Order::Take { from, work } => take(&mut setup, &from, &work, &mut tell),
            Order::ThrowOut(fault) => {
                let fault = thrown_out(&mut setup.transport, fault);
                tell(Happening::CardOut { fault, took: Duration::ZERO })
            }
        };
        if !goes_on {
            return;
        }
    }
}

fn feed(
    setup: &mut StationSetup,
    work: &Work,
    binds: &Receiver<Ticket>,
    tell: &mut impl FnMut(Happening) -> bool,
) -> bool {
    if let Err(fault) = setup.module.prepare(work) {
        return tell(Happening::Void(fault));
    }
    for _ in 0..BAD_BLANKS_IN_A_ROW {
        let start = Instant::now();
        if let Err(error) = setup.transport.feed() {
            let fault = transport_fault("feeding a blank", &error);
            // A jammed blank that can be thrown out was fed all the same, and is accounted for.
            if !error.is_jam() || setup.transport.reject().is_err() {
                return tell(Happening::Void(fault));
            }
            let out = Happening::BlankOut { blank: Blank::default(), fault, took: start.elapsed() };
            if !tell(Happening::Fed) || !tell(out) {
                return false;
            }
            continue;
        }
        if !tell(Happening::Fed) {
            return false;
        }
        match setup.module.inspect(work) {
            Ok(blank) => {
                if !tell(Happening::MayBind(blank)) {
                    return false;
                }
                let Ok(ticket) = binds.recv() else { return false };
                if let Err(error) = ticket.wait() {
                    // Not bound: nothing of the record has left, and the blank stays where it is for a person.
                    return tell(Happening::Void(Fault::new(Blame::Us, "ledger", error.to_string())));
                }
                return personalize(setup, work, start, tell);
            }
            Err(fault) => {
                let fault = thrown_out(&mut setup.transport, fault);
                let stuck = fault.reason == STUCK;
                let happening = Happening::BlankOut {
                    blank: Blank::default(),
                    fault: fault.clone(),
                    took: start.elapsed(),
                };
                if !tell(happening) {
                    return false;
                }
                if stuck || matches!(fault.blame, Blame::Hsm | Blame::Us) {
                    return tell(Happening::Void(fault));
                }
            }
        }
    }
    tell(Happening::Void(Fault::new(
        Blame::Device,
        "bad-blanks",
        format!(
            "{BAD_BLANKS_IN_A_ROW} blanks in a row failed before binding; check the stack in the hopper, the reader \
             and the key store's KMCs"
        ),
    )))
}

fn take(setup: &mut StationSetup, from: &str, work: &Work, tell: &mut impl FnMut(Happening) -> bool) -> bool {
    // The card is bound: whatever happens from here ends with the card out or done.
    let start = Instant::now();
    let prepared = setup.module.prepare(work);
    if let Err(error) = setup.transport.take(from) {
        let fault = transport_fault("taking the card", &error);
        return match setup.transport.reject() {
            Ok(()) => tell(Happening::Taken) && tell(Happening::CardOut { fault, took: start.elapsed() }),
            Err(_) => tell(Happening::NotTaken(fault)),
        };
    }
    if !tell(Happening::Taken) {
        return false;
    }
    if let Err(error) = setup.transport.arrive() {
        let fault = thrown_out(&mut setup.transport, transport_fault("bringing the card", &error));
        return tell(Happening::CardOut { fault, took: start.elapsed() });
    }
    match prepared.and_then(|()| setup.module.inspect(work)) {
        Ok(_) => personalize(setup, work, start, tell),
        Err(fault) => {
            let fault = thrown_out(&mut setup.transport, fault);
            tell(Happening::CardOut { fault, took: start.elapsed() })
        }
    }
}

fn personalize(
    setup: &mut StationSetup,
    work: &Work,
    start: Instant,
    tell: &mut impl FnMut(Happening) -> bool,
) -> bool {
    if !tell(Happening::Writing) {
        return false;
    }
    match setup.module.personalize(work) {
        Ok(done) => tell(Happening::Done { done, took: start.elapsed() }),
        Err(fault) => {
            let fault = thrown_out(&mut setup.transport, fault);
            tell(Happening::CardOut { fault, took: start.elapsed() })
        }
    }
}

/// Reason of a card that could not be thrown out: the station needs a person.
pub const STUCK: &str = "stuck";

/// Throws the card out; if even that fails, the fault says that the card is still there.
fn thrown_out(transport: &mut CardTransport, fault: Fault) -> Fault {
    match transport.reject() {
        Ok(()) => fault,
        Err(error) => Fault {
            blame: Blame::Device,
            reason: STUCK.into(),
            detail: format!(
                "after {}: {}; the card could not be thrown out ({error}): take it out by hand and destroy it",
                fault.reason, fault.detail
            ),
            ..fault
        },
    }
}

fn transport_fault(doing: &str, error: &drivers::DeviceError) -> Fault {
    let reason = if error.is_jam() {
        "jam"
    } else if error.is_supply() {
        "supply"
    } else {
        "transport"
    };
    Fault::new(Blame::Device, reason, format!("{doing}: {error}"))
}
