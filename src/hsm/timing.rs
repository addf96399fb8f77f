//! How long callers wait for the HSM. Not here: how often it is asked, by kind (`client`).

use std::time::{Duration, Instant};

use crate::laws::HsmUse;

/// Asks the HSM once, and adds the call and its time to what a card has used.
pub fn timed<T>(used: &mut HsmUse, ask: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let answer = ask();
    *used += HsmUse { calls: 1, us: micros(begun.elapsed()) };
    answer
}

/// A time in microseconds.
pub(super) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
