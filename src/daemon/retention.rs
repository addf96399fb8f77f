//! Deletes cardholder data that were kept for as long as the line profile requires.
//!
//! Not here: the steps of a deletion (`bureau::deletion`).

use std::time::Duration;

use super::queue::Queue;
use super::server::LineDaemon;
use crate::bureau::Refusal;
use crate::bureau::deletion::delete;
use crate::bureau::retention::{IdleWatch, kept_long_enough};
use crate::laws::{Context, rfc3339};
use crate::reason::ReasonWord;

/// Interval at which the daemon looks for data that are due.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

impl LineDaemon {
    /// Deletes data that are due: at the start, after a job has left the line or was closed, and at least
    /// every hour, until the daemon drains.
    pub(super) fn retain(&self) {
        let mut watch = IdleWatch::default();
        loop {
            let seen = self.queue().endings();
            if let Err(refusal) = self.delete_due(&mut watch) {
                tracing::error!(%refusal, "which cardholder data are due is not known; the daemon looks again later");
            }
            let queue = self.queue();
            if queue.is_draining() {
                return;
            }
            let nothing_ended = |queue: &mut Queue| !queue.is_draining() && queue.endings() == seen;
            drop(self.changed.wait_timeout_while(queue, LOOK_AGAIN, nothing_ended));
        }
    }

    fn delete_due(&self, watch: &mut IdleWatch) -> Result<(), Refusal> {
        let kept = kept_long_enough(&self.bureau.ledger, &self.bureau.line, watch)?;
        for (job, since) in kept.due {
            if self.queue().is_draining() {
                break;
            }
            let by = Context { reason: Some(ReasonWord::Retention), ..Context::by("line") };
            let _one = self.papers_guard();
            match delete(&self.bureau.ledger, job, by, &|| self.bureau.connect_for_ledger(), None) {
                Ok(_) => tracing::info!(%job, %since, "cardholder data were due and are deleted"),
                Err(refusal) => tracing::error!(
                    %job, %since, %refusal, "cardholder data that are due could not be deleted; it is tried again"
                ),
            }
        }
        for (job, since, gap) in kept.doubtful {
            tracing::error!(
                %job, %since,
                "cardholder data are due by the system's clock alone, and are not deleted by themselves: no event proves the time \
                 from {} to {}. Check the clock; if it is right, a supervisor has them deleted",
                rfc3339(gap.from),
                rfc3339(gap.to)
            );
        }
        for (job, since) in kept.left_open {
            tracing::warn!(%job, %since, "nothing stands against closing this job; its cardholder data stay until it is closed");
        }
        Ok(())
    }
}
