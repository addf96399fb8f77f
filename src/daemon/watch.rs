//! The daemon's own threads. If one dies, which is a bug, the daemon drains and ends with a reason, because
//! its other threads may no longer take requests, or may keep cardholder data too long. Cards under way are
//! finished.
//!
//! Not here: the threads of a line (`pipeline`), whose deaths hold the job but do not end the daemon.

use std::sync::OnceLock;

use crate::exit::{Exit, Failure};
use crate::panics::ends_well;

/// Name of the first thread that died.
#[derive(Debug, Default)]
pub struct Deaths(OnceLock<String>);

impl Deaths {
    /// Does all of a thread's work. If it panics, notes its name and then calls `drain`.
    pub fn watch(&self, name: &str, work: impl FnOnce(), drain: impl FnOnce()) {
        if !ends_well(work) {
            self.note(name);
            drain();
        }
    }

    /// Notes a thread that has died. Only the first name is kept.
    pub fn note(&self, name: &str) {
        let _ = self.0.set(name.to_owned());
    }

    /// The failure that the daemon ends with, if a thread died.
    pub fn failure(&self) -> Option<Failure> {
        let name = self.0.get()?;
        let what = format!(
            "us: the daemon's thread {name:?} died, which is a bug, and the daemon ended with it: report it (its place stands in \
             the log above), and start again"
        );
        Some(Failure::new(Exit::Thread, what))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_thread_that_dies_drains_the_daemon_and_the_first_is_named() {
        let (deaths, drained) = (Deaths::default(), Cell::new(0));
        let drain = || drained.set(drained.get() + 1);
        deaths.watch("line", || (), drain);
        assert!(deaths.failure().is_none() && drained.get() == 0);
        deaths.watch("retention", || panic!("planted"), drain);
        deaths.watch("accept", || panic!("planted"), drain);
        let failure = deaths.failure().unwrap();
        assert_eq!((failure.exit, drained.get()), (Exit::Thread, 2));
        assert!(failure.message.contains("\"retention\""), "{failure}");
    }
}
