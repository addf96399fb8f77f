//! The end of a line that was told to end: cards under way have `limits.stop` for it. Then they lie where they are,
//! and are UNKNOWN; a blank that was not bound counts as rejected, as after a crash. No call to a device is waited
//! for any more.

use std::time::{Duration, Instant};

use super::Dispatcher;
use super::output::output_context;
use crate::laws::{Change, Context};
use crate::modules::{Blame, Fault};
use crate::pipeline::Stop;
use crate::pipeline::station::Place;
use crate::reason::ReasonWord;

/// How a line ends that was told to.
pub(super) struct Leaving {
    /// Longest time for cards under way.
    pub(super) limit: Duration,
    /// When that ends, once the line was told to end.
    pub(super) at: Option<Instant>,
    /// Cards under way were left where they lay: no thread is waited for.
    pub(super) left: bool,
}

impl Leaving {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, at: None, left: false }
    }
}

impl Dispatcher<'_> {
    /// The line is told to end: from now on the time for it runs.
    pub(super) fn end_asked(&mut self) {
        self.stop_feeding(Stop::Operator);
        self.leaving.at = Instant::now().checked_add(self.leaving.limit);
        self.stop = crossbeam_channel::never();
    }

    /// Leaves the cards under way where they are.
    pub(super) fn leave(&mut self) {
        self.leaving.at = None;
        self.leaving.left = true;
        let detail = format!(
            "operator: the line was told to end, and the card was not finished within {:?}; look for it where it lay, and \
             ask it or destroy it",
            self.leaving.limit
        );
        tracing::warn!(job = %self.job, limit = ?self.leaving.limit, "the line ends; cards under way are UNKNOWN and lie where they are");
        let fault = Fault::new(Blame::Device, ReasonWord::Restart, detail);
        let stations = self
            .stages
            .iter()
            .enumerate()
            .flat_map(|(stage, s)| (0..s.stations.len()).map(move |station| Place { stage, station }));
        for place in stations.collect::<Vec<_>>() {
            if let Some(seq) = self.floor.working_at(place) {
                self.left_at(place, seq, &fault);
            }
        }
        for (seq, place) in self.floor.lying() {
            let context = place.map_or_else(output_context, |place| self.context(place));
            let (reason, detail) = (Some(fault.reason.clone()), Some(fault.detail.clone()));
            self.record(Change::Lost { seq }, Context { reason, detail, ..context });
            if let Some(card) = self.off_floor(seq) {
                self.release(card.work.as_deref());
            }
        }
    }
}
