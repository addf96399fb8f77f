//! How long a chip may take: a limit for each command, for each phase (looking at the card, each application), and for
//! the card. Every call to the reader gets the least of what is left of them.

use std::time::{Duration, Instant};

use drivers::link::SessionLimits;

use crate::profile::line::Limits;

/// A link that waits in steps of the system's clock may give up this much early.
const EARLY: Duration = Duration::from_millis(5);

/// For a reader to notice the card that was moved into it, beside what a command may take: pcscd looks every 0.4 s, first
/// finds the last card gone, and looks twice where a card seems to be mute.
const ARRIVAL_TIME: Duration = Duration::from_secs(4);

/// The time of one card.
pub struct Deadline {
    command: Duration,
    phase: Duration,
    card: Duration,
    phase_began: Instant,
    card_began: Instant,
}

impl Deadline {
    /// A card's time begins, with its first phase.
    pub fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            command: Duration::from_secs_f64(limits.command),
            phase: Duration::from_secs_f64(limits.phase),
            card: Duration::from_secs_f64(limits.card),
            phase_began: now,
            card_began: now,
        }
    }

    /// The next phase begins.
    pub fn next_phase(&mut self) {
        self.phase_began = Instant::now();
    }

    /// What the next commands may take; none of them, and all together, if that is nothing.
    pub fn session(&self) -> Option<SessionLimits> {
        let left = |limit: Duration, began: Instant| limit.saturating_sub(began.elapsed());
        let all = left(self.phase, self.phase_began).min(left(self.card, self.card_began));
        (!all.is_zero()).then_some(SessionLimits { each: self.command.min(all), all })
    }

    /// What a power-on may take.
    pub fn power_on(&self) -> Option<Duration> {
        self.session().map(|time| (time.each + ARRIVAL_TIME).min(time.all))
    }

    /// The limit that has just ended a call, in words.
    pub fn exceeded(&self) -> String {
        let over = |limit: Duration, began: Instant| began.elapsed() + EARLY >= limit;
        if over(self.card, self.card_began) {
            format!("the limit of {:?} for the chip's work on a card", self.card)
        } else if over(self.phase, self.phase_began) {
            format!("the limit of {:?} for looking at a card or for one application", self.phase)
        } else {
            format!("the limit of {:?} for a command (a power-on has {ARRIVAL_TIME:?} more)", self.command)
        }
    }
}
