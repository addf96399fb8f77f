//! The head of a stripe encoder, for any protocol: moves a card past it, unless a fault prevents that.

use std::time::Instant;

use crate::blank::SimulatedBlank;
use crate::faults::FaultKind;
use crate::pace::LinkPace;
use crate::sync::lock;
use crate::world::{SimulatedLine, SimulatedStation};

/// Why no card was moved past the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwipeMiss {
    /// No card lies there.
    NoCard,
    /// The card is stuck.
    Jam,
}

/// Behaviour of the encoder on its link after the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadLinkState {
    /// It answers as usual.
    Answers,
    /// It receives and sends nothing until this instant.
    Silent(Instant),
    /// It closes the link.
    Closed,
}

/// A head and its link.
pub struct EncoderHead<'a> {
    /// The line that the head belongs to.
    pub world: &'a SimulatedLine,
    /// The station where it stands.
    pub station: &'a SimulatedStation,
    /// Behaviour of the link.
    pub link: HeadLinkState,
    pace: LinkPace,
}

impl<'a> EncoderHead<'a> {
    /// A head at this station, with its link in order.
    pub fn new(world: &'a SimulatedLine, station: &'a SimulatedStation) -> Self {
        Self { world, station, link: HeadLinkState::Answers, pace: LinkPace::new(world.speed) }
    }

    /// Whether it is silent now.
    pub fn is_silent(&mut self) -> bool {
        if matches!(self.link, HeadLinkState::Silent(until) if Instant::now() >= until) {
            self.link = HeadLinkState::Answers;
        }
        matches!(self.link, HeadLinkState::Silent(_))
    }

    /// Moves the card past the head, if one lies there and can move. `None` if the link becomes silent or
    /// closed: then nothing was done.
    pub fn swipe<T>(
        &mut self,
        at_head: impl FnOnce(&mut SimulatedBlank) -> T,
    ) -> Option<Result<T, SwipeMiss>> {
        let (world, station) = (self.world, self.station);
        if world.closes(FaultKind::CloseStripe, station) {
            self.link = HeadLinkState::Closed;
            return None;
        }
        let slot = station.slot();
        let Some(card) = slot.card() else { return Some(Err(SwipeMiss::NoCard)) };
        if let Some(fault) = world.strike(&mut lock(card), FaultKind::SilentStripe, station) {
            self.link = HeadLinkState::Silent(Instant::now() + fault.pause());
            return None;
        }
        if world.jams(&mut lock(card), FaultKind::JamStripe, station) {
            return Some(Err(SwipeMiss::Jam));
        }
        self.pace.work(world.sim.stripe_s);
        let mut blank = lock(card);
        let seen = at_head(&mut blank);
        blank.worked = Instant::now();
        let late = world.strike(&mut blank, FaultKind::LateStripe, station);
        drop(blank);
        drop(slot);
        if let Some(fault) = late {
            std::thread::sleep(fault.pause());
        }
        Some(Ok(seen))
    }
}
