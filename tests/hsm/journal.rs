//! The HSM's memory behind its host: killed, cut, copied while it is written. All ledgers are made up.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cardwright::audit::{ChainPlace, Checkpoint, LedgerId};
use cardwright::exit::Exit;
use cardwright::hsm::client::{HostProcess, HsmClient};
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{CompanionKind, KeyStore, LockedStore, back_up};
use cardwright::hsm::{Auditor, CallerRole, FileAdmission, Following, HsmError, ShownEvents};
use cardwright::laws::event::ChainVersion;
use cardwright::laws::{Context, EventFact, LAWS, LedgerEvent};

use super::host::{Place, place};
use crate::file::{self, kek_tdes};

/// A lawful note about the line, of which ledgers are made here.
fn event(n: u64) -> Vec<u8> {
    let event = LedgerEvent {
        n,
        ts: n,
        job: None,
        simulated: false,
        chain: ChainVersion::Two,
        from: None,
        fact: EventFact::ShiftBegun { name: format!("shift-{n}") },
        context: Context::default(),
        unknown: Vec::new(),
    };
    event.body().unwrap()
}

/// A ledger that is shown to an HSM, an event at a time.
struct Told {
    place: ChainPlace,
}

impl Told {
    fn follow(hsm: &mut impl Auditor, ledger: u8) -> Self {
        let request = Following { ledger: LedgerId([ledger; 16]), laws: LAWS, signed: None, last: None };
        Self { place: hsm.follow(&request).unwrap().place }
    }

    fn tell(&mut self, hsm: &mut impl Auditor) -> Result<Checkpoint, HsmError> {
        let events = vec![event(self.place.n + 1)];
        let now = hsm.show(&ShownEvents { after: self.place, events, sign: true })?;
        self.place = now.place;
        Ok(now.signed.unwrap())
    }
}

fn file(number: u8, ledger: u8) -> FileAdmission {
    let name = if number == 3 { "FILE-3" } else { "FILE-6" };
    let trailer = file::trailer(&kek_tdes(), "TESTBANK", name);
    FileAdmission { ledger: LedgerId([ledger; 16]), digest: [number; 32], trailer }
}

/// How far the ledgers had come that a store knows.
fn known(store: &Path) -> BTreeMap<LedgerId, u64> {
    let places = KeyStore::open(store).unwrap().ledgers().unwrap();
    places.into_iter().map(|place| (place.ledger, place.n)).collect()
}

fn started(place: &Place) -> HostProcess {
    let _ = std::fs::remove_file(&place.socket);
    HostProcess::start(&place.program, &place.store, &place.socket).unwrap()
}

/// Three ledgers that go on as fast as the host answers, until it is killed.
#[test]
fn a_killed_host_has_forgotten_nothing_that_it_answered() {
    let place = place();
    let mut last = [0u64; 3];
    let mut answers = 0;
    for round in 1..=6 {
        let host = started(&place);
        std::thread::scope(|scope| {
            let mut ledgers = Vec::new();
            for (number, last) in (1u8..).zip(last) {
                let mut client = HsmClient::connect(host.door(), CallerRole::Ledger).unwrap();
                ledgers.push(scope.spawn(move || {
                    let mut ledger = Told::follow(&mut client, number);
                    assert_eq!(ledger.place.n, last);
                    while let Ok(signed) = ledger.tell(&mut client) {
                        assert!(signed.is_genuine());
                    }
                    ledger.place.n
                }));
            }
            std::thread::sleep(Duration::from_millis(70 * round));
            drop(host);
            for (ledger, last) in ledgers.into_iter().zip(&mut last) {
                let n = ledger.join().unwrap();
                answers += n - *last;
                *last = n;
            }
        });
        let known = known(&place.store);
        for (number, last) in (1u8..).zip(&mut last) {
            let n = known.get(&LedgerId([number; 16])).copied().unwrap_or_default();
            // The answer to the last one may have been lost.
            assert!(n == *last || n == *last + 1, "ledger {number}: {n} is known, {last} was answered");
            answers += n - *last;
            *last = n;
        }
    }
    assert!(answers > 20, "{answers}");
    let mut again = SoftHsm::new(KeyStore::open(&place.store).unwrap()).unwrap();
    assert_eq!(again.audit(LedgerId([1; 16])).unwrap().generation, answers);
}

/// Wherever the journal ends, the store knows what was answered before that place, and its host goes on from there.
#[test]
fn a_journal_killed_at_every_byte_opens_with_all_that_was_answered() {
    let place = place();
    let journal = place.store.join("journal-0");
    let length = || std::fs::metadata(&journal).unwrap().len() as usize;
    let head = length();
    let mut answered = vec![(head, BTreeMap::new(), 0u8)];
    let mut hsm = SoftHsm::new(KeyStore::open(&place.store).unwrap()).unwrap();
    let mut told = [0, 1].map(|ledger| {
        let told = Told::follow(&mut hsm, ledger);
        answered.push((length(), known(&place.store), 0));
        told
    });
    for step in 1..=6u8 {
        let (ledger, files) = (step % 2, answered.last().unwrap().2);
        if step % 3 == 0 {
            hsm.admit(&file(step, ledger)).unwrap();
            answered.push((length(), known(&place.store), files + 1));
        } else {
            told[usize::from(ledger)].tell(&mut hsm).unwrap();
            answered.push((length(), known(&place.store), files));
        }
    }
    drop(hsm);
    let whole = std::fs::read(&journal).unwrap();
    for cut in head..=whole.len() {
        std::fs::write(&journal, &whole[..cut]).unwrap();
        // A record of the start may stand before the first answer.
        let (_, ledgers, _) = answered.iter().rfind(|(end, ..)| *end <= cut).unwrap();
        let found = known(&place.store);
        let next = answered.iter().find(|(end, ..)| *end > cut).map(|(_, next, _)| next);
        assert!(found == *ledgers || Some(&found) == next, "cut at {cut}: {found:?}");
    }
    for (end, ledgers, files) in &answered {
        std::fs::write(&journal, &whole[..(end + 5).min(whole.len())]).unwrap();
        let mut hsm = SoftHsm::new(KeyStore::open(&place.store).unwrap()).unwrap();
        assert_eq!(known(&place.store), *ledgers);
        for step in [3, 6].into_iter().take((*files).into()) {
            let other = file(step, 7);
            assert!(matches!(hsm.admit(&other), Err(HsmError::FileElsewhere(_))), "{step}");
        }
        for (ledger, n) in ledgers {
            let mut told = Told::follow(&mut hsm, ledger.0[0]);
            assert_eq!(told.place.n, *n);
            let other = ChainPlace { n: n + 1, ..told.place };
            assert!(Told { place: other }.tell(&mut hsm).is_err());
            told.tell(&mut hsm).unwrap();
        }
        Told::follow(&mut hsm, 9).tell(&mut hsm).unwrap();
        drop(hsm);
        assert_eq!(known(&place.store)[&LedgerId([9; 16])], 1);
    }
}

#[test]
fn no_changed_byte_of_the_memory_gets_a_host() {
    let place = place();
    let mut hsm = SoftHsm::new(KeyStore::open(&place.store).unwrap()).unwrap();
    let mut told = Told::follow(&mut hsm, 1);
    for _ in 0..3 {
        told.tell(&mut hsm).unwrap();
    }
    drop(hsm);
    for name in ["memory-0", "journal-0", "chips"] {
        let path = place.store.join(name);
        let good = std::fs::read(&path).unwrap();
        for byte in (0..good.len()).step_by(11) {
            let mut bad = good.clone();
            bad[byte] ^= 4;
            std::fs::write(&path, &bad).unwrap();
            let store = KeyStore::open(&place.store).unwrap();
            assert!(store.check_companions().is_err(), "{name} {byte}");
            assert_eq!(SoftHsm::new(store).err().unwrap().exit, Exit::KeyStore, "{name} {byte}");
        }
        std::fs::write(&path, &good).unwrap();
    }
    // That of another store, which has the same names.
    let other = self::place();
    std::fs::copy(other.store.join("memory-0"), place.store.join("memory-0")).unwrap();
    std::fs::copy(other.store.join("journal-0"), place.store.join("journal-0")).unwrap();
    assert!(SoftHsm::new(KeyStore::open(&place.store).unwrap()).is_err());
    KeyStore::open(&other.store).unwrap().check_companions().unwrap();
}

#[test]
fn a_backup_beside_a_host_that_writes_is_a_moment_of_it() {
    let place = place();
    let mut hsm = SoftHsm::new(KeyStore::open(&place.store).unwrap()).unwrap();
    let (mut answered, mut last) = (0, 0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut told = Told::follow(&mut hsm, 1);
            for _ in 0..300 {
                told.tell(&mut hsm).unwrap();
            }
        });
        for number in 0..8 {
            let (backup, restored) = (format!("backup-{number}"), format!("restored-{number}"));
            let (backup, restored) = (place.folder.path().join(backup), place.folder.path().join(restored));
            back_up(&place.store, &backup).unwrap();
            let opened = LockedStore::of_backup(&backup).unwrap().open_test().unwrap();
            drop(opened.restored(&restored).unwrap());
            answered = known(&restored).get(&LedgerId([1; 16])).copied().unwrap_or_default();
            assert!(answered >= last, "it forgot what an earlier backup has");
            last = answered;
            // A store that was put back goes on from there.
            let mut again = SoftHsm::new(KeyStore::open(&restored).unwrap()).unwrap();
            let mut told = Told::follow(&mut again, 1);
            assert_eq!(told.place.n, answered);
            told.tell(&mut again).unwrap();
        }
        writer.join().unwrap();
    });
}

/// `tests/data/first-journal-store`: made by the program at commit 0e2dfc8, the last whose hosts were shown no event, with `key
/// upgrade` from a store that had two ledgers and two files. Its snapshot has the first form.
#[test]
fn a_store_of_the_first_journal_opens_and_goes_on() {
    let place = place();
    for name in ["audit", "chips", "journal-0", "keys", "memory-0", "seen"] {
        let from = format!("{}/tests/data/first-journal-store/{name}", env!("CARGO_MANIFEST_DIR"));
        let to = place.store.join(name);
        std::fs::write(&to, std::fs::read(from).unwrap()).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let known_before = BTreeMap::from([(LedgerId([0x0A; 16]), 7), (LedgerId([0x0C; 16]), 9)]);
    assert_eq!(known(&place.store), known_before);
    let text = KeyStore::open(&place.store).unwrap().companion_text(CompanionKind::Audit);
    let text = text.unwrap().unwrap();
    assert!(text.contains("generation 41\n"), "the generation goes on");
    assert_eq!(text.lines().filter(|line| line.starts_with("file ")).count(), 2);

    let mut hsm = SoftHsm::new(KeyStore::open(&place.store).unwrap()).unwrap();
    assert_eq!(Told::follow(&mut hsm, 0x0C).place.n, 0, "it is shown from its first event");
    let mut new = Told::follow(&mut hsm, 1);
    assert_eq!(new.tell(&mut hsm).unwrap().generation, 42);
    drop(hsm);
    assert_eq!(known(&place.store).len(), 3);
}
