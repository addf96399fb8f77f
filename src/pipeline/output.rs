//! The output's thread: takes finished cards into buffer places, and stacks each when its turn comes.

use crossbeam_channel::{Receiver, Sender};

use super::CardTransport;
use crate::panics::ends_well;

/// The dispatcher's orders to the output.
pub enum OutputOrder {
    /// Take the card from a station into a buffer place.
    Collect {
        /// Sequence of the record.
        seq: u32,
        /// Name of the station where the card lies.
        from: String,
        /// Number of the buffer place.
        slot: u16,
    },
    /// Throw out the card of a buffer place.
    Discard {
        /// Sequence of the record.
        seq: u32,
        /// Number of the buffer place.
        slot: u16,
    },
    /// Stack the card of a buffer place.
    Stack {
        /// Sequence of the record.
        seq: u32,
        /// Number of the buffer place.
        slot: u16,
        /// Stack position.
        position: u32,
        /// Whether the card goes to the remakes' stacker.
        remake: bool,
    },
}

/// The output's reports.
pub enum OutputHappening {
    /// The card is out of its station, on its way to a buffer place.
    Lifted(u32),
    /// The transport failed, so a person has to look whether the card still lies in its station.
    NotLifted(u32, drivers::DeviceError),
    /// The card lies in its buffer place, or is lost on the way (`Err`): a person has to look for it.
    Collected(u32, Result<(), drivers::DeviceError>),
    /// The card lies in the stacker, or is lost on the way.
    Stacked(u32, Result<(), drivers::DeviceError>),
    /// The card of a buffer place lies in the reject bin, or is lost on the way.
    Discarded(u32, Result<(), drivers::DeviceError>),
}

/// Runs the output until the dispatcher hangs up. If the thread dies, `say` is closed, which reports the
/// death.
pub fn run(mut transport: CardTransport, orders: &Receiver<OutputOrder>, say: Sender<OutputHappening>) {
    ends_well(|| work(&mut transport, orders, &say));
    // Dropped before the transport, which may take a moment, so that the dispatcher notices the end at once.
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
