//! An HSM that does not sign for a while: what waits, what is refused, and that nothing stays owed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::audit::Memory;
use super::*;
use crate::audit::{ChainPlace, LedgerId};
use crate::hsm::memory::AttemptBar;
use crate::hsm::{
    Acknowledged, AuditInfo, Auditor, BarredAttempt, CardAttempt, FileAdmission, FollowedLedger, Following,
    HsmError, ShownEvents,
};

/// An HSM that can be made not to answer, or whose answers can be lost.
#[derive(Clone, Default)]
struct Deaf {
    memory: Memory,
    deaf: Arc<AtomicBool>,
    loses_answers: Arc<AtomicBool>,
    /// Attempts that get no session; said with the next answer.
    bars: Arc<Mutex<Vec<BarredAttempt>>>,
}

impl Deaf {
    fn be(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    fn known(&self) -> AuditInfo {
        self.memory.clone().audit(LedgerId([0; 16])).unwrap()
    }

    /// Signs an event, and loses the answer with its signature. Returns the place that it signed.
    fn loses_an_answer(&self, ledger: &Ledger, job: JobId) -> ChainPlace {
        let before = self.known().generation;
        self.loses_answers.store(true, Ordering::SeqCst);
        say(ledger, job, Change::Fed { blank: 1 }).unwrap();
        while self.known().generation == before {
            std::thread::sleep(Duration::from_millis(20));
        }
        let signed = self.known().head.unwrap();
        self.loses_answers.store(false, Ordering::SeqCst);
        signed
    }

    fn hears(&mut self) -> Result<&mut Memory, HsmError> {
        if self.deaf.load(Ordering::SeqCst) {
            return Err(HsmError::Host("it takes too long".into()));
        }
        Ok(&mut self.memory)
    }
}

impl Auditor for Deaf {
    fn audit(&mut self, ledger: LedgerId) -> Result<AuditInfo, HsmError> {
        self.hears()?.audit(ledger)
    }

    fn follow(&mut self, request: &Following) -> Result<FollowedLedger, HsmError> {
        self.hears()?.follow(request)
    }

    fn show(&mut self, events: &ShownEvents) -> Result<Acknowledged, HsmError> {
        let signed = self.hears()?.show(events)?;
        if self.loses_answers.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(600));
            return Err(HsmError::Host("it takes too long".into()));
        }
        Ok(Acknowledged { barred: std::mem::take(&mut *self.bars.lock().unwrap()), ..signed })
    }

    fn admit(&mut self, file: &FileAdmission) -> Result<(), HsmError> {
        self.hears()?.admit(file)
    }
}

/// A ledger with an open job of three records, all of it signed.
fn signed(deaf: &Deaf) -> (TempDir, Ledger, JobId) {
    let directory = directory();
    let ledger = Ledger::open_audited(directory.path().join("l.db"), Box::new(deaf.clone())).unwrap();
    let job = ledger.new_job(file("F", 3)).unwrap().job;
    everything_is_signed(&ledger);
    (directory, ledger, job)
}

/// Waits until the last event is signed, without any further event.
fn everything_is_signed(ledger: &Ledger) {
    let reader = ledger.reader().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let last = reader.events(None, 0, u32::MAX).unwrap().last().map(|event| event.n);
        let signed = reader.checkpoints().unwrap().last().map(|checkpoint| checkpoint.place.n);
        if signed == last {
            return;
        }
        assert!(Instant::now() < until, "signed to {signed:?}, but the last event is {last:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// More events than may be owed while a card is bound.
fn much(ledger: &Ledger, job: JobId) {
    all(ledger, job, (0..600).flat_map(|_| [Change::Held, Change::Released]));
}

#[test]
fn a_fault_of_the_hsm_that_is_mended_leaves_nothing_owed() {
    let deaf = Deaf::default();
    let (_directory, ledger, job) = signed(&deaf);
    deaf.be(true);
    all(&ledger, job, [Change::Held, Change::Released]);
    std::thread::sleep(Duration::from_millis(1500));
    deaf.be(false);
    everything_is_signed(&ledger);
    ledger.close().unwrap();
}

/// The binding is in the ledger, and its caller is told that nothing may be written: at once, or when the HSM answers again.
#[test]
fn a_binding_to_which_the_hsm_gives_no_session_is_answered_so() {
    for late in [false, true] {
        let deaf = Deaf::default();
        let (_directory, ledger, job) = signed(&deaf);
        let attempt = |seq| CardAttempt { ledger: ledger.id(), job, seq, attempt: 1 };
        all(&ledger, job, [Change::Fed { blank: 1 }, Change::Fed { blank: 2 }]);
        everything_is_signed(&ledger);
        deaf.be(late);
        *deaf.bars.lock().unwrap() = vec![BarredAttempt { card: attempt(2), why: AttemptBar::ChipSeen }];
        let bind = |seq| Change::Bound { seq, blank: seq, chip: None };
        let tickets = ledger.record_together(job, vec![bind(1), bind(2)], &Context::default());
        std::thread::sleep(Duration::from_millis(if late { 300 } else { 0 }));
        deaf.be(false);
        let [good, barred] = <[_; 2]>::try_from(tickets).ok().unwrap().map(Ticket::wait);
        assert_eq!(good.unwrap().seq(), Some(1));
        let right = LedgerError::Barred { job, seq: 2, why: AttemptBar::ChipSeen };
        assert_eq!(barred, Err(right), "late: {late}");
        // It is thrown out like any other card.
        ledger.record(job, Change::Rejected { seq: 2 }, Context::default()).wait().unwrap();
        ledger.close().unwrap();
    }
}

#[test]
fn a_binding_waits_while_too_much_is_owed_and_goes_on_by_itself() {
    let deaf = Deaf::default();
    let (_directory, ledger, job) = signed(&deaf);
    all(&ledger, job, bind(1, 1));
    deaf.be(true);
    much(&ledger, job);
    // The HSM is asked, and does not answer.
    std::thread::sleep(Duration::from_millis(600));
    let [fed, bound] = bind(2, 2);
    all(&ledger, job, [fed]);
    let ticket = ledger.record(job, bound, Context::default());
    // A card under way is not stopped.
    all(&ledger, job, [Change::Attempt { seq: 1, to: AttemptState::Personalizing }]);
    std::thread::sleep(Duration::from_millis(700));
    let record = |seq| ledger.reader().unwrap().card(job, seq).unwrap().state;
    assert_eq!((record(1), record(2)), (RecordState::InFlight, RecordState::Queued));
    deaf.be(false);
    ticket.wait().unwrap();
    assert_eq!(record(2), RecordState::InFlight);
    everything_is_signed(&ledger);
}

#[test]
fn a_job_is_closed_and_a_ledger_ended_only_with_a_signed_end() {
    let deaf = Deaf::default();
    let (_directory, ledger, job) = signed(&deaf);
    all(&ledger, job, (1..=3).map(|seq| Change::Cancelled { seq }));
    deaf.be(true);
    all(&ledger, job, [Change::Held]);
    let refused = say(&ledger, job, Change::Closed).unwrap_err();
    assert!(matches!(refused, LedgerError::NotSigned { .. }), "{refused}");
    assert!(refused.to_string().contains("it takes too long"), "{refused}");
    deaf.be(false);
    say(&ledger, job, Change::Closed).unwrap();
    ledger.close().unwrap();

    let (_directory, ledger, job) = signed(&deaf);
    deaf.be(true);
    all(&ledger, job, [Change::Held]);
    assert!(matches!(ledger.close(), Err(LedgerError::NotSigned { .. })));
}

/// The HSM has signed, its answer was lost, and the ledger asks again only after a pause: an audit in between must
/// not report a lost checkpoint.
#[test]
fn an_audit_waits_for_a_checkpoint_whose_answer_was_lost() {
    let deaf = Deaf::default();
    let (_directory, ledger, job) = signed(&deaf);
    deaf.loses_an_answer(&ledger, job);
    let reader = ledger.reader().unwrap();
    assert_eq!(reader.audit(Some(&mut || Ok(deaf.known())), |_| ()).unwrap().findings, []);
}

/// A station acts on BOUND, so it learns of it when the HSM has acknowledged it, and not before.
#[test]
fn a_bound_card_waits_for_the_acknowledgement() {
    let deaf = Deaf::default();
    let (_directory, ledger, job) = signed(&deaf);
    let [fed, bound] = bind(1, 1);
    deaf.be(true);
    all(&ledger, job, [fed]);
    let ticket = ledger.record(job, bound, Context::default());
    let answered = std::thread::spawn(move || ticket.wait());
    std::thread::sleep(Duration::from_millis(300));
    assert!(!answered.is_finished(), "the HSM has not acknowledged it");
    let record = |seq| ledger.reader().unwrap().card(job, seq).unwrap().state;
    assert_eq!(record(1), RecordState::InFlight, "it is written");
    // What nobody acts on does not wait.
    all(&ledger, job, [Change::Fed { blank: 2 }]);
    deaf.be(false);
    answered.join().unwrap().unwrap();
    everything_is_signed(&ledger);
    // A ledger that ends refuses what was not acknowledged.
    deaf.be(true);
    let [fed, bound] = bind(2, 3);
    all(&ledger, job, [fed]);
    let ticket = ledger.record(job, bound, Context::default());
    let answered = std::thread::spawn(move || ticket.wait());
    std::thread::sleep(Duration::from_millis(100));
    assert!(matches!(ledger.close(), Err(LedgerError::NotSigned { .. })));
    assert!(matches!(answered.join().unwrap(), Err(LedgerError::NotAcknowledged { .. })));
}

/// The answer with a checkpoint was lost. The HSM returns the checkpoint when it follows the ledger again. Newer events follow the
/// event that it signs.
#[test]
fn a_checkpoint_whose_answer_was_lost_is_kept_with_the_time_of_its_event() {
    let deaf = Deaf::default();
    let (_directory, ledger, job) = signed(&deaf);
    let lost = deaf.loses_an_answer(&ledger, job);
    for blank in 2..5 {
        std::thread::sleep(Duration::from_millis(5));
        say(&ledger, job, Change::Fed { blank }).unwrap();
    }
    everything_is_signed(&ledger);
    let reader = ledger.reader().unwrap();
    assert!(reader.checkpoints().unwrap().iter().any(|checkpoint| checkpoint.place == lost));
    assert_eq!(reader.audit(Some(&mut || Ok(deaf.known())), |_| ()).unwrap().findings, []);
}
