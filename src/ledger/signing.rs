//! The debt of signatures: which events the HSM has not acknowledged and signed yet, and what has to wait until it has.
//!
//! A binding, a chip, the end of a job and the start of a deletion are answered only after the HSM has acknowledged them,
//! because their callers act on the HSM's answer.
//!
//! An HSM that does not answer is asked again and again. Cards whose binding is acknowledged go on, because the next
//! checkpoint covers their events too. While too much is owed, nothing new is bound, and a job is closed only with a
//! signed end. Not here: the checkpoint itself (`store`), the connection (`hsm::client`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::error::LedgerError;
use super::writer::{ChangeReply, Said};
use crate::audit::ChainPlace;
use crate::hsm::memory::AttemptBar;
use crate::hsm::{Auditor, BarredAttempt, CardAttempt, HsmError};
use crate::laws::event::{EventFact, LedgerEvent};
use crate::laws::types::{Change, JobId};

/// Events between two checkpoints, and the most that may be owed while a card is bound. A start has to verify at most
/// this many.
pub(super) const SIGNED_EVERY: u64 = 1_000;
/// The longest time that an event waits to be signed. If an old copy of the ledger is put back after a crash, only
/// the events of this time can be missing without a trace.
pub(super) const SIGNED_WITHIN: Duration = Duration::from_secs(1);
/// The oldest event that may be owed while a card is bound.
const OWED_LONGEST: Duration = Duration::from_secs(10);
/// Shortest pause before an HSM that did not sign is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// The pause is this many times as long as the HSM took not to sign: while it hangs, the writer waits for it, and the
/// cards that are under way wait for the writer.
const PAUSE_FACTOR: u32 = 2;
/// Longest pause. A binding that waits has to see the HSM asked at least once.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a binding waits for the HSM before it is refused.
const PATIENCE: Duration = Duration::from_secs(30);

/// The debt.
pub(super) struct Signing {
    /// Signs checkpoints; `None` without an HSM.
    pub(super) auditor: Option<Box<dyn Auditor>>,
    /// The last event that the HSM has acknowledged; `None` while this connection does not follow the ledger.
    pub(super) acknowledged: Option<ChainPlace>,
    /// Number of the last event that was signed.
    signed_to: u64,
    /// Since when an event waits to be signed.
    since: Option<Instant>,
    /// A change about a job as a whole was written, and is to be signed at once.
    at_once: bool,
    /// Why the HSM did not sign, and when it is asked again.
    failed: Option<(HsmError, Instant)>,
    /// Bindings and ends of jobs that wait, and since when.
    waiting: Vec<(Instant, Said)>,
    /// Attempts to which the HSM gives no session, until their changes are answered.
    barred: BTreeMap<(JobId, u32, u32), AttemptBar>,
    /// Changes that are written and wait for the HSM, with their events.
    unanswered: Vec<(Instant, LedgerEvent, ChangeReply<LedgerEvent>)>,
}

impl Signing {
    pub(super) fn new(auditor: Option<Box<dyn Auditor>>, signed_to: u64) -> Self {
        let (waiting, unanswered) = (Vec::new(), Vec::new());
        Self {
            auditor,
            acknowledged: None,
            signed_to,
            since: None,
            at_once: true,
            failed: None,
            waiting,
            barred: BTreeMap::new(),
            unanswered,
        }
    }

    /// Has the next checkpoint made at once.
    pub(super) fn hurry(&mut self) {
        self.at_once = true;
    }

    /// Events that are not signed.
    pub(super) fn owed(&self, last: u64) -> u64 {
        if self.auditor.is_some() { last.saturating_sub(self.signed_to) } else { 0 }
    }

    /// Whether the HSM is to be asked now.
    pub(super) fn is_due(&mut self, last: u64) -> bool {
        let owed = self.owed(last);
        if owed == 0 {
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if let Some((_, again)) = &self.failed {
            return Instant::now() >= *again;
        }
        owed >= SIGNED_EVERY || std::mem::take(&mut self.at_once) || since.elapsed() >= SIGNED_WITHIN
    }

    /// When the HSM is to be asked next; `None` if nothing is owed.
    pub(super) fn next(&self) -> Option<Instant> {
        let since = self.since?;
        let within = if self.at_once { Duration::ZERO } else { SIGNED_WITHIN };
        Some(self.failed.as_ref().map_or(since + within, |(_, again)| *again))
    }

    /// Whether the HSM did not answer, and is not to be asked yet.
    pub(super) fn pauses(&self) -> bool {
        self.failed.as_ref().is_some_and(|(_, again)| Instant::now() < *again)
    }

    /// Whether the HSM has acknowledged an event, or there is none.
    pub(super) fn knows(&self, n: u64) -> bool {
        self.auditor.is_none() || self.acknowledged.is_some_and(|place| place.n >= n)
    }

    /// Notes attempts to which the HSM gives no session.
    pub(super) fn bar(&mut self, barred: &[BarredAttempt]) {
        let key = |card: CardAttempt| (card.job, card.seq, card.attempt);
        self.barred.extend(barred.iter().map(|barred| (key(barred.card), barred.why)));
    }

    /// The answer to a change that the HSM has acknowledged.
    pub(super) fn answer_of(&mut self, event: LedgerEvent) -> Result<LedgerEvent, LedgerError> {
        let card = event.job.zip(event.seq()).zip(event.attempt());
        match card.and_then(|((job, seq), attempt)| {
            self.barred.remove(&(job, seq, attempt)).map(|why| (job, seq, why))
        }) {
            Some((job, seq, why)) => Err(LedgerError::Barred { job, seq, why }),
            None => Ok(event),
        }
    }

    /// Keeps the answer to a change until the HSM has acknowledged its event.
    pub(super) fn answer_later(&mut self, event: LedgerEvent, reply: ChangeReply<LedgerEvent>) {
        self.unanswered.push((Instant::now(), event, reply));
    }

    /// How long a change waits for an HSM that does not answer; `None` for one that does. A host that has ended does not come back.
    fn patience(&self) -> Option<Duration> {
        self.failed.as_ref().map(|(error, _)| match error {
            HsmError::HostEnded => Duration::ZERO,
            _ => PATIENCE,
        })
    }

    /// The answers that wait no longer: those that the HSM has acknowledged, with `true`, and those that waited too long for an
    /// HSM that does not answer. All of them once the ledger is at its end.
    pub(super) fn answerable(&mut self, all: bool) -> Vec<(bool, LedgerEvent, ChangeReply<LedgerEvent>)> {
        let known = self.acknowledged.map_or(0, |place| place.n);
        let patience = self.patience();
        let ends = |(begun, event, _): &mut (Instant, LedgerEvent, _)| {
            all || event.n <= known || patience.is_some_and(|patience| begun.elapsed() > patience)
        };
        let ended = self.unanswered.extract_if(.., ends);
        ended.map(|(_, event, reply)| (event.n <= known, event, reply)).collect()
    }

    /// Notes that the HSM has acknowledged everything up to a place.
    pub(super) fn acknowledges(&mut self, place: ChainPlace) {
        if self.failed.take().is_some() {
            tracing::warn!("the HSM answers again: it has acknowledged the ledger up to event {}", place.n);
        }
        self.acknowledged = Some(place);
    }

    /// Notes that everything up to an event is signed.
    pub(super) fn signed(&mut self, to: u64) {
        (self.signed_to, self.since) = (to, None);
    }

    /// Notes that the HSM did not sign, and how long that took. People are told once for each outage.
    pub(super) fn failed(&mut self, error: HsmError, last: u64, took: Duration) {
        if self.failed.is_none() {
            let owed = self.owed(last);
            tracing::warn!(%error, owed, "the ledger's end is not signed; the HSM is asked again until it signs");
        }
        let pause = took.saturating_mul(PAUSE_FACTOR).clamp(PAUSE, PAUSE_MAX);
        self.failed = Some((error, Instant::now() + pause));
    }

    /// The error for a change that needs what is owed to be signed; `None` if the HSM signs.
    pub(super) fn debt(&self, last: u64) -> Option<LedgerError> {
        let (error, _) = self.failed.as_ref()?;
        Some(LedgerError::NotSigned { events: self.owed(last), why: error.clone() })
    }

    /// The error for a change that is written and was not acknowledged; `None` if the HSM answers.
    pub(super) fn unacknowledged(&self, last: u64) -> Option<LedgerError> {
        let (error, _) = self.failed.as_ref()?;
        Some(LedgerError::NotAcknowledged { events: self.owed(last), why: error.clone() })
    }

    /// Whether so much is owed that it takes a while to sign it.
    pub(super) fn is_far_behind(&self, last: u64) -> bool {
        self.owed(last) > SIGNED_EVERY
    }

    /// Passes a change on. A binding waits here while too much is owed, and so does the end of a job.
    pub(super) fn admit(&mut self, said: Said, last: u64) -> Option<Said> {
        let waits = matches!(said.1, Change::Bound { .. } | Change::Closed);
        let late = self.failed.is_some() && self.since.is_some_and(|since| since.elapsed() > OWED_LONGEST);
        if waits && (late || self.is_far_behind(last)) {
            self.waiting.push((Instant::now(), said));
            return None;
        }
        Some(said)
    }

    /// The changes that wait no longer: all of them once little is owed or the ledger is at its end, else those that waited too
    /// long for an HSM that does not answer, which are to be refused.
    pub(super) fn released(&mut self, all: bool, last: u64) -> Vec<Said> {
        let patience = self.patience();
        let all = all || patience.is_none() && !self.is_far_behind(last);
        let ends = |begun: &Instant| all || patience.is_some_and(|patience| begun.elapsed() > patience);
        self.waiting.extract_if(.., |(begun, _)| ends(begun)).map(|(_, said)| said).collect()
    }
}

/// Whether the caller of this change acts on what the HSM makes of it, and so waits until the HSM has acknowledged it.
pub(super) fn waits_for_hsm(fact: &EventFact) -> bool {
    matches!(
        fact,
        EventFact::Bound { .. }
            | EventFact::ChipFound { .. }
            | EventFact::Closed
            | EventFact::Deleting { .. }
    )
}
