//! The output's thread: takes finished cards into buffer places, and stacks each when its turn comes.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use drivers::DeviceError;

use super::CardTransport;
use super::station::Patience;
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
    /// End the wait for supplies, and leave the card where it lies. Ignored if it does not wait, or if the card is in
    /// its hand.
    GiveBack,
}

/// The output's reports.
pub enum OutputHappening {
    /// The card is out of its station, on its way to a buffer place.
    Lifted(u32),
    /// The transport failed, so a person has to look whether the card still lies in its station.
    NotLifted(u32, DeviceError),
    /// The card lies in its buffer place, or is lost on the way (`Err`): a person has to look for it.
    Collected(u32, Result<(), DeviceError>),
    /// The card lies in the stacker, or is lost on the way.
    Stacked(u32, Result<(), DeviceError>),
    /// The card of a buffer place lies in the reject bin, or is lost on the way.
    Discarded(u32, Result<(), DeviceError>),
    /// It wants something of a person: room in a stacker or bin, a closed cover. Its order waits.
    Wants(DeviceError),
    /// It has got what it wanted.
    Supplied,
    /// It was told to leave this card where it lies.
    Kept(u32),
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
            OutputOrder::Collect { seq, from, slot } => {
                match insists(orders, say, true, || transport.take(&from)) {
                    OutputMoved::Done(Ok(())) if say.send(OutputHappening::Lifted(seq)).is_err() => return,
                    OutputMoved::Done(Ok(())) => match insists(orders, say, false, || transport.park(slot)) {
                        OutputMoved::Done(outcome) => OutputHappening::Collected(seq, outcome),
                        OutputMoved::GivenBack | OutputMoved::HungUp => return,
                    },
                    OutputMoved::Done(Err(error)) => OutputHappening::NotLifted(seq, error),
                    OutputMoved::GivenBack => OutputHappening::Kept(seq),
                    OutputMoved::HungUp => return,
                }
            }
            OutputOrder::Discard { seq, slot } => {
                match insists(orders, say, false, || transport.discard(slot)) {
                    OutputMoved::Done(outcome) => OutputHappening::Discarded(seq, outcome),
                    OutputMoved::GivenBack | OutputMoved::HungUp => return,
                }
            }
            OutputOrder::Stack { seq, slot, position, remake } => {
                let stack = if remake { CardTransport::stack_remake } else { CardTransport::stack };
                match insists(orders, say, true, || stack(transport, slot, position)) {
                    OutputMoved::Done(outcome) => OutputHappening::Stacked(seq, outcome),
                    OutputMoved::GivenBack => OutputHappening::Kept(seq),
                    OutputMoved::HungUp => return,
                }
            }
            OutputOrder::GiveBack => continue,
        };
        if say.send(happening).is_err() {
            return;
        }
    }
}

/// How a movement ended that may have to wait for a person.
enum OutputMoved {
    Done(Result<(), DeviceError>),
    GivenBack,
    HungUp,
}

/// Moves a card, again as often as the transport waits for a person. `may_keep`: the card may be left where it lies.
fn insists(
    orders: &Receiver<OutputOrder>,
    say: &Sender<OutputHappening>,
    may_keep: bool,
    mut motion: impl FnMut() -> Result<(), DeviceError>,
) -> OutputMoved {
    let mut patience = Patience::new();
    let mut waits = false;
    loop {
        let outcome = motion();
        let Some(error) = outcome.as_ref().err().filter(|error| error.waits_for_person()) else {
            if waits && say.send(OutputHappening::Supplied).is_err() {
                return OutputMoved::HungUp;
            }
            return OutputMoved::Done(outcome);
        };
        if !std::mem::replace(&mut waits, true) && say.send(OutputHappening::Wants(error.clone())).is_err() {
            return OutputMoved::HungUp;
        }
        match orders.recv_timeout(patience.wait()) {
            Ok(OutputOrder::GiveBack) if may_keep => return OutputMoved::GivenBack,
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return OutputMoved::HungUp,
        }
    }
}
