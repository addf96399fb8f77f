//! The end of a line that was told to end: cards under way have `limits.stop` for it. Then they lie where they are,
//! and are UNKNOWN; a blank that was not bound counts as rejected, as after a crash. No call to a device is waited
//! for any more.

use std::time::Instant;

use super::Dispatcher;
use super::output::output_context;
use crate::ledger::{Change, Context};
use crate::modules::{Blame, Fault};
use crate::pipeline::Stop;
use crate::pipeline::station::Place;
use crate::reason::ReasonWord;

impl Dispatcher<'_> {
    /// The line is told to end: from now on the time for it runs.
    pub(super) fn end_asked(&mut self) {
        self.stop_feeding(Stop::Operator);
        self.leave_at = Instant::now().checked_add(self.stop_limit);
        self.stop = crossbeam_channel::never();
    }

    /// Leaves the cards under way where they are.
    pub(super) fn leave(&mut self) {
        self.leave_at = None;
        self.left = true;
        let detail = format!(
            "operator: the line was told to end, and the card was not finished within {:?}; look for it where it lay, and \
             ask it or destroy it",
            self.stop_limit
        );
        tracing::warn!(job = %self.job, limit = ?self.stop_limit, "the line ends; cards under way are UNKNOWN and lie where they are");
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
