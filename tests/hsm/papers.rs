//! Papers of closed jobs, and the keys of their spools: the HSM signs what it has counted, and destroys a key at DELETING alone.
//!
//! The signed bytes and digests are made here from `src/manual/return-file.md`, and the signature is checked with `ed25519-dalek`.

use std::path::Path;

use cardwright::audit::{ChainPlace, DocumentKind, DocumentSeal, LedgerId, SpoolKeyState};
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{KeyStore, StoreSide};
use cardwright::hsm::{
    Auditor, DocumentRequest, Following, HostedHsm, HsmError, HsmRefusal, ShownEvents, Vault,
};
use cardwright::ids::SpoolKeyName;
use cardwright::laws::{AttemptState, Change, ChipId, Context, DataFate, JobId, KeyFate, LAWS, SpoolFate};
use cardwright::ledger::{Ledger, NewJob};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::chain::{RECORDS, admission, events, new_job};
use crate::file::KEYS;

const JOB: JobId = JobId(1);

/// A ledger with one job, and the store of its HSM. Records 1 and 2 are GOOD, the others CANCELLED.
struct Closing {
    folder: TempDir,
    ledger: Ledger,
    id: LedgerId,
    key: SpoolKeyName,
}

fn record(ledger: &Ledger, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        ledger.record(JOB, change, Context::default()).wait().unwrap();
    }
}

/// The changes of a card that is made.
fn made(seq: u32, position: u32) -> Vec<Change> {
    let key_data = cardwright::ids::KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 0, 0, 1, seq as u8]);
    let (blank, chip) = (seq, Some(ChipId::globalplatform(key_data, None)));
    vec![
        Change::Fed { blank },
        Change::Bound { seq, blank, chip },
        Change::Attempt { seq, to: AttemptState::Personalizing },
        Change::Attempt { seq, to: AttemptState::Written },
        Change::Verified { seq, compared: String::new() },
        Change::Stacked { seq, position },
    ]
}

impl Closing {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        KeyStore::create_test(KEYS, &folder.path().join("store"), StoreSide::Bureau).unwrap();
        let ledger = Ledger::open(folder.path().join("l.db")).unwrap();
        let id = ledger.reader().unwrap().id().unwrap();
        let key = hsm(folder.path()).new_spool(id).unwrap();
        ledger.new_job(NewJob { spool_key: Some(key), ..new_job("FILE-1", 1, RECORDS) }).unwrap();
        record(&ledger, made(1, 1));
        record(&ledger, made(2, 2));
        Self { folder, ledger, id, key }
    }

    fn close(&self) {
        record(&self.ledger, (3..=RECORDS).map(|seq| Change::Cancelled { seq }));
        record(&self.ledger, [Change::Closed]);
    }

    fn hsm(&self) -> SoftHsm {
        hsm(self.folder.path())
    }

    /// Follows it as its program does at a start.
    fn follow(&self, hsm: &mut SoftHsm) {
        let last = Some(self.events() as u64);
        hsm.follow(&Following { ledger: self.id, laws: LAWS, signed: None, last }).unwrap();
    }

    /// Shows an HSM that follows the ledger what it has not seen, up to a number of events.
    fn show(&self, hsm: &mut SoftHsm, to: usize) {
        let events = events(&self.folder.path().join("l.db"));
        let from = usize::try_from(hsm.audit(self.id).unwrap().head.map_or(0, |head| head.n)).unwrap();
        let hash = from.checked_sub(1).map_or([0; 32], |last| events[last].1);
        let after = ChainPlace { ledger: self.id, n: from as u64, hash };
        let bytes = events[from..to].iter().map(|(body, _)| body.clone()).collect();
        hsm.show(&ShownEvents { after, events: bytes, sign: true }).unwrap();
    }

    fn events(&self) -> usize {
        events(&self.folder.path().join("l.db")).len()
    }

    /// An HSM that has seen all of it.
    fn shown(&self) -> SoftHsm {
        let mut hsm = self.hsm();
        hsm.admit(&admission(self.id, "FILE-1", 1)).unwrap();
        self.follow(&mut hsm);
        self.show(&mut hsm, self.events());
        hsm
    }

    fn seal(&self, hsm: &mut SoftHsm, kind: DocumentKind) -> Result<DocumentSeal, HsmError> {
        hsm.seal_document(&DocumentRequest { kind, ledger: self.id, job: JOB, text: [0xAB; 32] })
    }
}

fn hsm(folder: &Path) -> SoftHsm {
    SoftHsm::new(KeyStore::open(&folder.join("store")).unwrap()).unwrap()
}

/// Whether a key opens pieces.
fn is_there(hsm: &mut SoftHsm, key: SpoolKeyName) -> bool {
    match hsm.unseal(key, 0, &[]) {
        Ok(_) => true,
        Err(HsmError::SpoolKeyDestroyed(_) | HsmError::NoSpoolKey(..)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// The message of the manual, for the job of [`Closing`].
fn message(scene: &Closing, seal: &DocumentSeal, kind: u8, key: u8) -> Vec<u8> {
    let (events, mut out) = (events(&scene.folder.path().join("l.db")), Vec::new());
    out.extend(b"CWAD2");
    out.push(kind);
    out.extend(scene.id.0);
    out.extend(1u32.to_be_bytes());
    out.extend((events.len() as u64).to_be_bytes());
    out.extend(events.last().unwrap().1);
    out.extend(1u32.to_be_bytes());
    out.extend(seal.document.time.to_be_bytes());
    out.push(key);
    out.extend([0xAB; 32]);
    out.push(1);
    out.extend([1; 32]);
    out.extend(Sha256::digest(b"CWF1\x08TESTBANK\x06FILE-1"));
    // Simulated, TEST.
    out.extend([1, 1]);
    for count in [u64::from(RECORDS), 2, u64::from(RECORDS) - 2, 2, 2, 0, 0, 0] {
        out.extend(count.to_be_bytes());
    }
    let (mut outcomes, mut cards) = (Sha256::new(), Sha256::new());
    for seq in 1..=RECORDS {
        let (state, attempts, position): (u8, u32, u32) =
            if seq <= 2 { (0x13, 1, seq) } else { (0x16, 0, 0) };
        outcomes.update(seq.to_be_bytes());
        outcomes.update([state]);
        outcomes.update(attempts.to_be_bytes());
        outcomes.update(position.to_be_bytes());
        let name = format!("FILE-1-{seq}");
        cards.update([name.len() as u8]);
        cards.update(name);
    }
    out.extend(outcomes.finalize());
    out.extend(cards.finalize());
    out.push(0);
    out
}

fn verify(seal: &DocumentSeal, message: &[u8]) {
    let key = VerifyingKey::from_bytes(&seal.key.0).unwrap();
    key.verify_strict(message, &Signature::from_bytes(&seal.signature.to_bytes())).unwrap();
}

/// A false report cannot be signed: its signature has the figures that the HSM counted.
#[test]
fn attack_4_a_paper_is_signed_with_what_the_hsm_has_counted() {
    let scene = Closing::new();
    scene.close();
    let mut hsm = scene.shown();
    for (kind, number) in [(DocumentKind::Report, 1), (DocumentKind::ReturnFile, 2)] {
        let seal = scene.seal(&mut hsm, kind).unwrap();
        assert!(seal.is_genuine());
        verify(&seal, &message(&scene, &seal, number, 1));
    }
    // Nothing of it can be changed.
    let good = scene.seal(&mut hsm, DocumentKind::Report).unwrap();
    let mut changed = Vec::new();
    let mut change = |change: &dyn Fn(&mut DocumentSeal)| {
        let mut seal = good;
        change(&mut seal);
        changed.push(seal);
    };
    change(&|seal| seal.document.kind = DocumentKind::ReturnFile);
    change(&|seal| seal.document.head.ledger = LedgerId([1; 16]));
    change(&|seal| seal.document.head.n += 1);
    change(&|seal| seal.document.head.hash[0] ^= 1);
    change(&|seal| seal.document.epoch += 1);
    change(&|seal| seal.document.job = JobId(2));
    change(&|seal| seal.document.time += 1);
    change(&|seal| seal.document.spool_key = SpoolKeyState::Destroyed);
    change(&|seal| seal.document.text[31] ^= 1);
    change(&|seal| seal.document.counted = None);
    change(&|seal| seal.document.counted.as_mut().unwrap().file[0] ^= 1);
    change(&|seal| seal.document.counted.as_mut().unwrap().name[0] ^= 1);
    change(&|seal| seal.document.counted.as_mut().unwrap().simulated = false);
    change(&|seal| seal.document.counted.as_mut().unwrap().test_keys = false);
    change(&|seal| seal.document.counted.as_mut().unwrap().good += 1);
    change(&|seal| seal.document.counted.as_mut().unwrap().blanks_rejected += 1);
    change(&|seal| seal.document.counted.as_mut().unwrap().blanks_sample += 1);
    change(&|seal| seal.document.counted.as_mut().unwrap().outcomes[0] ^= 1);
    change(&|seal| seal.document.counted.as_mut().unwrap().cards[0] ^= 1);
    change(&|seal| seal.document.counted.as_mut().unwrap().unproved = Some(0));
    assert!(changed.iter().all(|seal| !seal.is_genuine()));
}

/// No paper of a job that is open, of one that was never shown, or of another ledger.
#[test]
fn outcomes_that_the_hsm_has_not_counted_are_not_signed() {
    let scene = Closing::new();
    let open = |result| assert_eq!(result, Err(HsmError::NotClosed(JOB)));
    open(scene.seal(&mut scene.hsm(), DocumentKind::Report));
    let mut hsm = scene.shown();
    open(scene.seal(&mut hsm, DocumentKind::Report));
    scene.close();
    // It is closed in the ledger, and the HSM has seen all but the closing.
    scene.show(&mut hsm, scene.events() - 1);
    open(scene.seal(&mut hsm, DocumentKind::ReturnFile));
    scene.show(&mut hsm, scene.events());
    scene.seal(&mut hsm, DocumentKind::ReturnFile).unwrap();
    let job = JobId(2);
    let other = DocumentRequest { kind: DocumentKind::Report, ledger: scene.id, job, text: [1; 32] };
    assert_eq!(hsm.seal_document(&other), Err(HsmError::NotClosed(job)));
    let other = DocumentRequest { ledger: LedgerId([9; 16]), job: JOB, ..other };
    open(hsm.seal_document(&other));
    // After a restart it still knows.
    drop(hsm);
    scene.seal(&mut scene.hsm(), DocumentKind::ReturnFile).unwrap();
}

#[test]
fn the_key_of_a_spool_ends_with_deleting_of_its_closed_job_alone() {
    let scene = Closing::new();
    let mut hsm = scene.shown();
    assert!(is_there(&mut hsm, scene.key), "the job is open");
    // Another connection, which has not made it, cannot give it up either.
    assert_eq!(hsm.abandon_spool(scene.key), Err(HsmError::Refused(HsmRefusal::ForeignSpool)));
    scene.close();
    scene.show(&mut hsm, scene.events());
    assert!(is_there(&mut hsm, scene.key), "the job is closed");
    let early = |hsm: &mut SoftHsm| {
        let refused = scene.seal(hsm, DocumentKind::Certificate);
        assert_eq!(refused, Err(HsmError::NotDeleted(JOB)));
    };
    early(&mut hsm);
    record(&scene.ledger, [Change::Deleting { spool_key: None }]);
    assert!(is_there(&mut hsm, scene.key), "it was not shown yet");
    scene.show(&mut hsm, scene.events());
    assert!(!is_there(&mut hsm, scene.key));
    // The key is gone, and the spool may still lie there.
    early(&mut hsm);
    let fate = DataFate { key: KeyFate::Destroyed, spool: SpoolFate::Removed, unreadable: false };
    record(&scene.ledger, [Change::Deleted(fate)]);
    scene.show(&mut hsm, scene.events());
    let seal = scene.seal(&mut hsm, DocumentKind::Certificate).unwrap();
    assert_eq!(seal.document.spool_key, SpoolKeyState::Destroyed);
    verify(&seal, &message(&scene, &seal, 3, 2));
}

/// DELETING of an open job, made by somebody who can write the ledger: it breaks a law, and the key stays.
#[test]
fn deleting_of_an_open_job_destroys_nothing() {
    let scene = Closing::new();
    let mut hsm = scene.shown();
    let last = events(&scene.folder.path().join("l.db")).last().unwrap().clone();
    let n = scene.events() as u64 + 1;
    // Kind, number, time, job, marks SIMULATED; field `from`: OPEN or CLOSED.
    for from in [0x01, 0x03] {
        let mut event = vec![0x00, 0x05];
        event.extend(n.to_be_bytes());
        event.extend(&last.0[10..18]);
        event.extend(1u32.to_be_bytes());
        event.push(last.0[22]);
        event.extend([0x07, 0x00, 0x01, from]);
        let after = ChainPlace { ledger: scene.id, n: n - 1, hash: last.1 };
        let refused = hsm.show(&ShownEvents { after, events: vec![event], sign: false });
        assert!(matches!(&refused, Err(HsmError::NotFollowed(_))), "{refused:?}");
    }
    assert!(is_there(&mut hsm, scene.key));
}

/// A host that ended between DELETING, which it noted, and the destruction; or whose old file of keys came back.
#[test]
fn a_key_that_outlived_its_deleting_ends_when_the_ledger_is_followed_again() {
    let scene = Closing::new();
    scene.close();
    let spools = scene.folder.path().join("store/spools");
    let mut hsm = scene.shown();
    let old = std::fs::read(&spools).unwrap();
    record(&scene.ledger, [Change::Deleting { spool_key: None }]);
    scene.show(&mut hsm, scene.events());
    drop(hsm);
    std::fs::write(&spools, old).unwrap();
    let mut hsm = scene.hsm();
    assert!(is_there(&mut hsm, scene.key));
    scene.follow(&mut hsm);
    assert!(!is_there(&mut hsm, scene.key));
}

/// The host ended between the commit of ACCEPTED and its showing. The key must not count as one of which no job was made.
#[test]
fn a_key_whose_accepted_was_not_shown_yet_stays() {
    let scene = Closing::new();
    let mut hsm = scene.hsm();
    hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
    scene.follow(&mut hsm);
    assert!(is_there(&mut hsm, scene.key), "no event was shown");
    scene.show(&mut hsm, scene.events());
    assert!(is_there(&mut hsm, scene.key));
}

#[test]
fn a_key_of_which_no_job_was_made_ends_at_the_next_start() {
    let scene = Closing::new();
    let mut hsm = scene.shown();
    let mut acceptance = hsm.connect();
    let orphan = acceptance.new_spool(scene.id).unwrap();
    drop(acceptance);
    let elsewhere = hsm.new_spool(LedgerId([9; 16])).unwrap();
    // In the life of its host, the event that makes a job of it may be on its way.
    scene.follow(&mut hsm);
    assert!(is_there(&mut hsm, orphan));
    drop(hsm);
    let mut hsm = scene.hsm();
    scene.follow(&mut hsm);
    assert_eq!([orphan, elsewhere, scene.key].map(|key| is_there(&mut hsm, key)), [false, true, true]);
}

/// While a program connects again, a file may be on its way into the ledger: its key was made before the host was started anew, and
/// no event names it yet.
#[test]
fn a_key_is_not_taken_for_an_orphan_when_a_program_connects_again() {
    let scene = Closing::new();
    drop(scene.shown());
    let mut hsm = scene.hsm();
    let coming = hsm.new_spool(scene.id).unwrap();
    drop(hsm);
    let mut hsm = scene.hsm();
    hsm.follow(&Following { ledger: scene.id, laws: LAWS, signed: None, last: None }).unwrap();
    scene.show(&mut hsm, scene.events());
    assert!(is_there(&mut hsm, coming));
    scene.follow(&mut hsm);
    assert!(!is_there(&mut hsm, coming), "at a start there is no such file");
}

/// A file of the issuer that becomes a job with the key of another job's spool: its deletion would end the other's data.
#[test]
fn no_two_jobs_have_one_key_of_a_spool() {
    let scene = Closing::new();
    scene.ledger.new_job(NewJob { spool_key: Some(scene.key), ..new_job("FILE-2", 2, RECORDS) }).unwrap();
    let mut hsm = scene.hsm();
    hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
    hsm.admit(&admission(scene.id, "FILE-2", 2)).unwrap();
    scene.follow(&mut hsm);
    let last = scene.events();
    scene.show(&mut hsm, last - 1);
    let all = events(&scene.folder.path().join("l.db"));
    let after = ChainPlace { ledger: scene.id, n: last as u64 - 1, hash: all[last - 2].1 };
    let refused = hsm.show(&ShownEvents { after, events: vec![all[last - 1].0.clone()], sign: false });
    assert!(refused.unwrap_err().to_string().contains("the key of its spool is that of J1"));
    assert!(is_there(&mut hsm, scene.key));
}

/// The connection that made the key gives it up after a job was made of it.
#[test]
fn the_key_of_a_job_is_not_abandoned() {
    let scene = Closing::new();
    let mut hsm = scene.shown();
    let coming = hsm.new_spool(scene.id).unwrap();
    scene.ledger.new_job(NewJob { spool_key: Some(coming), ..new_job("FILE-2", 2, RECORDS) }).unwrap();
    hsm.admit(&admission(scene.id, "FILE-2", 2)).unwrap();
    scene.show(&mut hsm, scene.events());
    assert_eq!(hsm.abandon_spool(coming), Err(HsmError::Refused(HsmRefusal::SpoolOfJob)));
    let unused = hsm.new_spool(scene.id).unwrap();
    hsm.abandon_spool(unused).unwrap();
    assert_eq!([coming, unused].map(|key| is_there(&mut hsm, key)), [true, false]);
}

/// Somebody's own ledger with an event of chain version 1, whose terms nobody can check: no paper of it is signed.
#[test]
fn a_job_of_chain_version_one_in_a_ledger_that_was_never_signed_gets_no_paper() {
    let scene = Closing::new();
    let mut hsm = scene.hsm();
    // "CWL1", n, ts, job J1, 7 absent fields, `to`, 7 absent fields, not simulated (`src/manual/ledger-events.md`, section 8).
    let text = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    let numbers = [1u64, 5].map(u64::to_be_bytes).concat();
    let old = [&b"CWL1"[..], &numbers, &text("J1"), &[0; 7], &text("ACCEPTED"), &[0; 7], &[0]].concat();
    let ledger = LedgerId([0x77; 16]);
    hsm.follow(&Following { ledger, laws: LAWS, signed: None, last: None }).unwrap();
    let after = ChainPlace { ledger, n: 0, hash: [0; 32] };
    hsm.show(&ShownEvents { after, events: vec![old], sign: true }).unwrap();
    let request = DocumentRequest { kind: DocumentKind::ReturnFile, ledger, job: JOB, text: [1; 32] };
    assert_eq!(hsm.seal_document(&request), Err(HsmError::NotClosed(JOB)));
}

/// A backup of the ledger is opened by mistake: it does not name the keys of later jobs, which must stay.
#[test]
fn an_older_copy_of_the_ledger_ends_no_key() {
    let scene = Closing::new();
    let mut hsm = scene.hsm();
    hsm.admit(&admission(scene.id, "FILE-1", 1)).unwrap();
    hsm.admit(&admission(scene.id, "FILE-2", 2)).unwrap();
    let coming = hsm.new_spool(scene.id).unwrap();
    scene.follow(&mut hsm);
    scene.show(&mut hsm, scene.events());
    drop(hsm);
    // ACCEPTED of the second file is in the newer ledger, and the HSM was not shown it.
    let mut hsm = scene.hsm();
    let old = scene.events() as u64 - 3;
    hsm.follow(&Following { ledger: scene.id, laws: LAWS, signed: None, last: Some(old) }).unwrap();
    assert!(is_there(&mut hsm, coming));
}
