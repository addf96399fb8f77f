//! The head of a stripe encoder, whatever protocol it speaks: a card is moved past it, unless a fault has it otherwise.

use std::time::Instant;

use crate::blank::Blank;
use crate::faults::Kind;
use crate::pace::Pace;
use crate::sync::lock;
use crate::world::{Station, World};

/// Why no card was moved past the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// None lies there.
    NoCard,
    /// It is stuck.
    Jam,
}

/// What the encoder does on its link after the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It answers.
    Answers,
    /// It hears and says nothing until then.
    Silent(Instant),
    /// It closes it.
    Closed,
}

/// A head and its link.
pub struct Head<'a> {
    /// The line.
    pub world: &'a World,
    /// Where it stands.
    pub station: &'a Station,
    /// What the link does.
    pub link: Link,
    pace: Pace,
}

impl<'a> Head<'a> {
    /// At this station.
    pub fn new(world: &'a World, station: &'a Station) -> Self {
        Self { world, station, link: Link::Answers, pace: Pace::new(world.speed) }
    }

    /// Whether it is silent now.
    pub fn is_silent(&mut self) -> bool {
        if matches!(self.link, Link::Silent(until) if Instant::now() >= until) {
            self.link = Link::Answers;
        }
        matches!(self.link, Link::Silent(_))
    }

    /// Moves the card past the head, if one lies there that moves. `None` if the link is silent for a while, or closed, from now on:
    /// nothing was done.
    pub fn swipe<T>(&mut self, at_head: impl FnOnce(&mut Blank) -> T) -> Option<Result<T, Miss>> {
        let (world, station) = (self.world, self.station);
        if world.closes(Kind::CloseStripe, station) {
            self.link = Link::Closed;
            return None;
        }
        let slot = station.slot();
        let Some(card) = slot.card() else { return Some(Err(Miss::NoCard)) };
        if let Some(fault) = world.strike(&mut lock(card), Kind::SilentStripe, station) {
            self.link = Link::Silent(Instant::now() + fault.pause());
            return None;
        }
        if world.jams(&mut lock(card), Kind::JamStripe, station) {
            return Some(Err(Miss::Jam));
        }
        self.pace.work(world.sim.stripe_s);
        let mut blank = lock(card);
        let seen = at_head(&mut blank);
        blank.worked = Instant::now();
        let late = world.strike(&mut blank, Kind::LateStripe, station);
        drop(blank);
        drop(slot);
        if let Some(fault) = late {
            std::thread::sleep(fault.pause());
        }
        Some(Ok(seen))
    }
}
