//! The output's thread: takes finished cards into buffer places and stacks them when their turn comes.

use crossbeam_channel::{Receiver, Sender};

use super::CardTransport;
use crate::panics::ends_well;

/// What the dispatcher orders.
pub enum OutputOrder {
    /// Take the card from a station into a buffer place.
    Collect {
        /// Record.
        seq: u32,
        /// Station where the card lies.
        from: String,
        /// Buffer place.
        slot: u16,
    },
    /// Throw the card of a buffer place out.
    Discard {
        /// Record.
        seq: u32,
        /// Buffer place.
        slot: u16,
    },
    /// Stack the card of a buffer place.
    Stack {
        /// Record.
        seq: u32,
        /// Buffer place.
        slot: u16,
        /// Stack position.
        position: u32,
        /// In the remakes' stacker.
        remake: bool,
    },
}

/// What happened at the output.
pub enum OutputHappening {
    /// The card is out of its station, on its way to a buffer place.
    Lifted(u32),
    /// Whether it is out of its station is not known: a person must look.
    NotLifted(u32, drivers::DeviceError),
    /// The card is in its buffer place, or is lost on the way (`Err`): a person must look.
    Collected(u32, Result<(), drivers::DeviceError>),
    /// The card is in the stacker, or is lost on the way.
    Stacked(u32, Result<(), drivers::DeviceError>),
    /// The card of a buffer place is in the reject bin, or is lost on the way.
    Discarded(u32, Result<(), drivers::DeviceError>),
}

/// Runs the output until the dispatcher hangs up. If it dies, the end of `say` says so.
pub fn run(mut transport: CardTransport, orders: &Receiver<OutputOrder>, say: Sender<OutputHappening>) {
    ends_well(|| work(&mut transport, orders, &say));
    // Before the transport is let go of, which may take a moment.
    drop(say);
}

fn work(transport: &mut CardTransport, orders: &Receiver<OutputOrder>, say: &Sender<OutputHappening>) {
    for order in orders {
        let happening = match order {
            OutputOrder::Collect { seq, from, slot } => match transport.take(&from) {
                Ok(()) if say.send(OutputHappening::Lifted(seq)).is_err() => return,
                Ok(()) => OutputHappening::Collected(seq, transport.park(slot)),
                Err(error) => OutputHappening::NotLifted(seq, error),
            },
            OutputOrder::Discard { seq, slot } => OutputHappening::Discarded(seq, transport.discard(slot)),
            OutputOrder::Stack { seq, slot, position, remake: false } => {
                OutputHappening::Stacked(seq, transport.stack(slot, position))
            }
            OutputOrder::Stack { seq, slot, position, remake: true } => {
                OutputHappening::Stacked(seq, transport.stack_remake(slot, position))
            }
        };
        if say.send(happening).is_err() {
            return;
        }
    }
}
