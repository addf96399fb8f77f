//! The time that a chip may take: a limit for each command, for each phase (inspection, each application), and for
//! the card. Every call to the reader gets the shortest of the times that are left.

use std::time::{Duration, Instant};

use drivers::link::SessionLimits;

use crate::profile::line::TimeLimits;

/// A link that waits in steps of the system's clock may time out earlier by this much.
const EARLY: Duration = Duration::from_millis(5);

/// Extra time, besides that of a command, for a reader to notice the card that was moved into it: pcscd polls every
/// 0.4 s, first finds that the last card is gone, and tries twice if a card seems to be mute.
const ARRIVAL_TIME: Duration = Duration::from_secs(4);

/// The time of one card.
pub struct CardDeadline {
    command: Duration,
    phase: Duration,
    card: Duration,
    phase_began: Instant,
    card_began: Instant,
}

impl CardDeadline {
    /// Starts the time of a card and of its first phase.
    pub fn new(limits: TimeLimits) -> Self {
        let now = Instant::now();
        Self {
            command: Duration::from_secs_f64(limits.command),
            phase: Duration::from_secs_f64(limits.phase),
            card: Duration::from_secs_f64(limits.card),
            phase_began: now,
            card_began: now,
        }
    }

    /// Starts the next phase.
    pub fn next_phase(&mut self) {
        self.phase_began = Instant::now();
    }

    /// The time for the next commands, each and all together; `None` if none is left.
    pub fn session(&self) -> Option<SessionLimits> {
        let left = |limit: Duration, began: Instant| limit.saturating_sub(began.elapsed());
        let all = left(self.phase, self.phase_began).min(left(self.card, self.card_began));
        (!all.is_zero()).then_some(SessionLimits { each: self.command.min(all), all })
    }

    /// The time for a power-on.
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
