//! How much time passed between two events, as far as the events between them prove it.
//!
//! The system's clock may be wrong, and an event has the time that the clock showed. So a time that no event
//! divides is believed only up to [`UNSEEN_MAX`]: a longer one may be a clock that was set, and counts as nothing.

use std::time::Duration;

use super::Reader;
use super::events::{self, EventFilter};
use crate::ledger::error::LedgerError;
use crate::ledger::views::{ClockGap, TimePassed};

/// The longest time between two events that is believed: a long weekend.
pub const UNSEEN_MAX: Duration = Duration::from_secs(4 * 86_400);

/// Number and time (Unix in ms) of an event.
type Moment = (u64, u64);

impl Reader {
    /// The time that passed from an event to the last one.
    pub fn passed_since(&self, n: u64) -> Result<TimePassed, LedgerError> {
        let from = self.moment_at(n)?.ok_or_else(|| LedgerError::Damaged(format!("event {n} is missing")))?;
        let last = events::last(&self.connection, EventFilter::All, |_| true)?;
        let last = last.map_or(from, |event| (event.n, event.ts));
        let mut passed = TimePassed::until(last);
        let mut before = from.1;
        // Every event counts: the clock may have gone forward and back between two that show almost one time.
        events::each(&self.connection, EventFilter::All, (n, None), |event| {
            if u128::from(before.abs_diff(event.ts)) <= UNSEEN_MAX.as_millis() {
                passed.count(before, event.ts);
            } else {
                passed.skip(ClockGap { from: before, to: event.ts });
            }
            before = event.ts;
            Ok(true)
        })?;
        Ok(passed)
    }

    /// The first event from a number on.
    fn moment_at(&self, n: u64) -> Result<Option<Moment>, LedgerError> {
        let mut found = None;
        events::each(&self.connection, EventFilter::All, (n.saturating_sub(1), Some(1)), |event| {
            found = found.or(Some((event.n, event.ts)));
            Ok(false)
        })?;
        Ok(found)
    }
}
