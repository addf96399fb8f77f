//! The progress of a run on standard error: a bar on a terminal, otherwise a plain line every few seconds.
//!
//! There are two threads: one counts events and waits for nothing else, so that a stopped terminal cannot
//! stop the ledger; the other one draws.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::laws::{AttemptState, EventFact, JobId, LedgerEvent, StateName};
use crate::threads::{self, ThreadRefused};

/// How often the bar is drawn.
const BAR: Duration = Duration::from_millis(200);
/// How often a plain line is printed.
const PLAIN: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressDisplay {
    /// A bar, drawn over and over.
    Bar,
    /// A line every five seconds.
    Plain,
    /// Nothing (`--json`, `--quiet`).
    Nothing,
}

impl ProgressDisplay {
    /// Returns the display that suits standard error; none if `quiet`.
    pub fn suitable(quiet: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Bar,
            (false, false) => Self::Plain,
        }
    }
}

/// Returns a bar for work of known size. It is drawn on a terminal only.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4));
    let template = format!("{{bar:40}} {{human_pos}}/{{human_len}} {what}, {{eta}} left");
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The progress of work of known size, shown by the thread that counts it.
pub struct CountedProgress {
    display: ProgressDisplay,
    bar: Option<ProgressBar>,
    total: u64,
    what: &'static str,
    shown: Instant,
}

impl CountedProgress {
    /// Begins with nothing done. The first plain line follows only after its interval, so that short work prints none.
    pub fn start(total: u64, what: &'static str, display: ProgressDisplay) -> Self {
        let bar = (display == ProgressDisplay::Bar).then(|| bar(total, what));
        Self { display, bar, total, what, shown: Instant::now() }
    }

    /// Shows how much is done, if it is time to.
    pub fn show(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        if self.display == ProgressDisplay::Plain && self.shown.elapsed() >= PLAIN {
            self.shown = Instant::now();
            // A closed standard error does not stop the work.
            let _unread = writeln!(std::io::stderr(), "{done} of {} {}", self.total, self.what);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The counts of a run so far.
#[derive(Default)]
struct ProgressCounts {
    good: AtomicU64,
    rejected: AtomicU64,
    unknown: AtomicU64,
    cancelled: AtomicU64,
    in_flight: AtomicU64,
    held: AtomicBool,
}

/// The display of a run's progress on standard error.
pub struct Progress {
    counter: JoinHandle<()>,
    drawer: JoinHandle<()>,
    /// Dropping it ends the drawing thread.
    end: Sender<()>,
}

impl Progress {
    /// Starts to show the progress of a job. `total` is the number of records that this run is to make;
    /// `mark` is put before the name of the job.
    pub fn start(
        events: Receiver<Arc<LedgerEvent>>,
        job: JobId,
        total: u64,
        mark: Option<&str>,
        shown: ProgressDisplay,
    ) -> Result<Self, ThreadRefused> {
        let counts = Arc::new(ProgressCounts::default());
        let (end, ended) = bounded(0);
        let name = mark.map_or_else(|| job.to_string(), |mark| format!("{mark} {job}"));
        let drawn = Arc::clone(&counts);
        let drawer = threads::start("progress", move || match shown {
            ProgressDisplay::Bar => draw_bar(&drawn, &ended, name, total),
            ProgressDisplay::Plain => print_lines(&drawn, &ended, &name, total),
            ProgressDisplay::Nothing => {}
        })?;
        let counter = threads::start("counter", move || {
            events.iter().filter(|e| e.job == Some(job)).for_each(|e| counts.count(&e));
        })?;
        Ok(Self { counter, drawer, end })
    }

    /// Waits for the last event and shows the last state. The ledger must be closed, or this waits for ever.
    pub fn finish(self) {
        // The outcome of a run does not depend on these threads, and a panic of theirs was printed already.
        let _counted = self.counter.join();
        drop(self.end);
        let _drawn = self.drawer.join();
    }
}

impl ProgressCounts {
    fn count(&self, event: &LedgerEvent) {
        let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        let ends = match &event.fact {
            EventFact::Bound { .. } => {
                add(&self.in_flight);
                false
            }
            EventFact::Stacked { .. } => {
                add(&self.good);
                true
            }
            EventFact::BlankRejected { .. } => {
                add(&self.rejected);
                false
            }
            EventFact::Moved { to: AttemptState::Rejected, .. } => {
                add(&self.rejected);
                true
            }
            EventFact::Moved { to: AttemptState::Unknown, .. } => {
                add(&self.unknown);
                true
            }
            EventFact::Cancelled { .. } => {
                add(&self.cancelled);
                false
            }
            EventFact::Held => {
                self.held.store(true, Ordering::Relaxed);
                false
            }
            EventFact::Released => {
                self.held.store(false, Ordering::Relaxed);
                false
            }
            _ => false,
        };
        let under_way = matches!(
            event.from,
            Some(
                StateName::AttemptBound
                    | StateName::AttemptPersonalizing
                    | StateName::AttemptWritten
                    | StateName::AttemptVerified
            )
        );
        if ends && under_way {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns one line: the outcomes of the cards, speed, time left.
    fn text(&self, total: u64, elapsed: Duration) -> String {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (good, cancelled) = (get(&self.good), get(&self.cancelled));
        let mut text = format!(
            "{good} GOOD, {} rejected, {} unknown, {} in flight",
            get(&self.rejected),
            get(&self.unknown),
            get(&self.in_flight)
        );
        let seconds = elapsed.as_secs();
        if let Some(per_hour) = good.saturating_mul(3600).checked_div(seconds.max(1))
            && good > 0
        {
            let left = total.saturating_sub(good).saturating_sub(cancelled);
            let eta = left.saturating_mul(seconds) / good;
            text.push_str(&format!(", {per_hour} cards/h, {} left", clock(eta)));
        }
        if self.held.load(Ordering::Relaxed) {
            text.push_str(", HELD");
        }
        text
    }
}

/// Returns a time as h:mm:ss.
fn clock(seconds: u64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn draw_bar(counts: &ProgressCounts, ended: &Receiver<()>, name: String, total: u64) {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(name);
    let begun = Instant::now();
    loop {
        let end = ended.recv_timeout(BAR) != Err(RecvTimeoutError::Timeout);
        bar.set_position(counts.good.load(Ordering::Relaxed));
        bar.set_message(counts.text(total, begun.elapsed()));
        if end {
            bar.abandon();
            return;
        }
    }
}

fn print_lines(counts: &ProgressCounts, ended: &Receiver<()>, name: &str, total: u64) {
    let begun = Instant::now();
    loop {
        let end = ended.recv_timeout(PLAIN) != Err(RecvTimeoutError::Timeout);
        let text = counts.text(total, begun.elapsed());
        // A closed standard error does not stop a run.
        let _unread = writeln!(std::io::stderr(), "{name} {}: {text}", clock(begun.elapsed().as_secs()));
        if end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::Context;
    use crate::laws::event::{BlankSubject, CardSubject, ChainVersion, RecordSubject};

    fn event(from: StateName, fact: EventFact) -> LedgerEvent {
        LedgerEvent {
            n: 1,
            ts: 0,
            job: Some(JobId(1)),
            simulated: false,
            chain: ChainVersion::Two,
            from: Some(from),
            fact,
            context: Context::default(),
            unknown: vec![],
        }
    }

    #[test]
    fn events_are_counted_once() {
        let counts = ProgressCounts::default();
        let blank = BlankSubject { number: Some(1), label: None };
        let record = RecordSubject { seq: 1, card_ref: "C".into() };
        let card = CardSubject { record, attempt: 1, blank };
        let moved = |from, to| event(from, EventFact::Moved { card: card.clone(), to });
        for n in 0..6 {
            let bound = EventFact::Bound { card: card.clone(), chip: None };
            counts.count(&event(StateName::RecordQueued, bound));
            if n < 3 {
                let stacked = EventFact::Stacked { card: card.clone(), position: 1 };
                counts.count(&event(StateName::AttemptVerified, stacked));
            }
        }
        counts.count(&moved(StateName::AttemptPersonalizing, AttemptState::Rejected));
        // An unbound blank was never in flight; a card seen destroyed left long ago.
        counts.count(&event(StateName::BlankFed, EventFact::BlankRejected { blank, chip: None }));
        counts.count(&moved(StateName::AttemptWritten, AttemptState::Unknown));
        counts.count(&moved(StateName::AttemptUnknown, AttemptState::Destroyed));
        counts.count(&event(StateName::JobOpen, EventFact::Held));
        let text = counts.text(9, Duration::from_secs(10));
        assert_eq!(text, "3 GOOD, 2 rejected, 1 unknown, 1 in flight, 1080 cards/h, 0:00:20 left, HELD");
    }

    #[test]
    fn it_ends_with_the_events() {
        for shown in [ProgressDisplay::Bar, ProgressDisplay::Nothing] {
            let (sender, events) = bounded(1);
            let progress = Progress::start(events, JobId(1), 0, Some("SIMULATED"), shown).unwrap();
            sender.send(event(StateName::JobOpen, EventFact::Held).into()).unwrap();
            drop(sender);
            progress.finish();
        }
    }
}
