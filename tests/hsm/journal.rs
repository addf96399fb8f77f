//! The HSM's memory behind its host: killed, cut, copied while it is written. All ledgers are made up.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cardwright::audit::{ChainPlace, LedgerId};
use cardwright::exit::Exit;
use cardwright::hsm::client::{HostProcess, HsmClient};
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::{KeyStore, LockedStore, back_up};
use cardwright::hsm::{Auditor, CallerRole, FileAdmission, HsmError};
use cardwright::ids::{FileId, IssuerId};

use super::host::{Place, place};

fn at(ledger: u8, n: u64) -> ChainPlace {
    ChainPlace { ledger: LedgerId([ledger; 16]), n, hash: [ledger ^ n as u8; 32] }
}

fn file(number: u8, ledger: u8) -> FileAdmission {
    FileAdmission {
        issuer_id: IssuerId::new("TESTBANK").unwrap(),
        file_id: FileId::new(format!("FILE-{number}")).unwrap(),
        digest: [number; 32],
        ledger: LedgerId([ledger; 16]),
    }
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
                    let mut n = last;
                    while let Ok(signed) = client.checkpoint(at(number, n + 1)) {
                        assert!(signed.is_genuine());
                        n += 1;
                    }
                    n
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
    for step in 1..=6u8 {
        let (ledger, files) = (step % 2, answered.last().unwrap().2);
        if step % 3 == 0 {
            hsm.admit(&file(step, ledger)).unwrap();
            answered.push((length(), known(&place.store), files + 1));
        } else {
            hsm.checkpoint(at(ledger, step.into())).unwrap();
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
            assert!(hsm.checkpoint(at(ledger.0[0], n - 1)).is_err());
            hsm.checkpoint(at(ledger.0[0], *n)).unwrap();
        }
        hsm.checkpoint(at(9, 1)).unwrap();
        drop(hsm);
        assert_eq!(known(&place.store)[&LedgerId([9; 16])], 1);
    }
}

#[test]
fn no_changed_byte_of_the_memory_gets_a_host() {
    let place = place();
    let mut hsm = SoftHsm::new(KeyStore::open(&place.store).unwrap()).unwrap();
    for n in 1..=3 {
        hsm.checkpoint(at(1, n)).unwrap();
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
            for n in 1..=300 {
                hsm.checkpoint(at(1, n)).unwrap();
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
            again.checkpoint(at(1, answered + 1)).unwrap();
        }
        writer.join().unwrap();
    });
}
