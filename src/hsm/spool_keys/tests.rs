//! Sealing, opening and destroying, and the file of the keys.

use super::*;
use crate::hsm::companion::tests::seal;

const A: LedgerId = LedgerId([0xA; 16]);
const B: LedgerId = LedgerId([0xB; 16]);

fn store() -> (tempfile::TempDir, SpoolKeys) {
    let directory = tempfile::tempdir().unwrap();
    let spools = again(&directory);
    (directory, spools)
}

fn again(directory: &tempfile::TempDir) -> SpoolKeys {
    SpoolKeys::of(&seal(directory.path(), 1))
}

fn text() -> Vec<u8> {
    (0..PIECE * 2 + 100).map(|n| n.to_le_bytes()[0]).collect()
}

#[test]
fn what_was_sealed_opens_in_its_place_and_nowhere_else() {
    let (directory, spools) = store();
    let (a, b) = (spools.make(A).unwrap(), spools.make(A).unwrap());
    let sealed = spools.seal(a, 0, &text()).unwrap();
    assert_eq!(sealed.len(), text().len() + 3 * PIECE_TAG);
    for spools in [&spools, &again(&directory)] {
        assert_eq!(spools.unseal(a, 0, &sealed).unwrap(), text());
        let one = PIECE + PIECE_TAG;
        assert_eq!(spools.unseal(a, 1, &sealed[one..2 * one]).unwrap(), text()[PIECE..2 * PIECE]);
        let mut swapped = sealed[one..2 * one].to_vec();
        swapped.extend(&sealed[..one]);
        let shorter = &sealed[..sealed.len() - 1];
        let wrong =
            [(a, 0, &swapped[..]), (a, 1, &sealed), (b, 0, &sealed), (a, 0, shorter), (a, 2, &[0; 15])];
        for (spool, first, bytes) in wrong {
            assert_eq!(spools.unseal(spool, first, bytes), Err(HsmError::SpoolDamaged));
        }
    }
    for at in (0..sealed.len()).step_by(61).chain([sealed.len() - 1]) {
        let mut bad = sealed.clone();
        bad[at] ^= 0x80;
        assert_eq!(spools.unseal(a, 0, &bad), Err(HsmError::SpoolDamaged), "{at}");
    }
}

#[test]
fn no_number_is_sealed_twice() {
    let (directory, spools) = store();
    let name = spools.make(A).unwrap();
    let twice = Err(HsmError::Refused(HsmRefusal::SealTwice));
    assert_eq!(spools.seal(name, 1, &[0; PIECE]), twice, "not from the beginning");
    spools.seal(name, 0, &[0; PIECE]).unwrap();
    assert_eq!(spools.seal(name, 0, &[1; PIECE]), twice);
    assert_eq!(again(&directory).seal(name, 1, &[0; PIECE]), twice, "another host");
    spools.seal(name, 1, &[0; 5]).unwrap();
    assert_eq!(spools.seal(name, 2, &[0; 5]), twice, "after the end");
}

#[test]
fn a_key_that_was_destroyed_is_gone_and_says_so() {
    let (directory, spools) = store();
    let (a, b) = (spools.make(A).unwrap(), spools.make(B).unwrap());
    let path = directory.path().join("spools");
    let key = |name: SpoolKeyName| {
        let text = again(&directory).kept.read().unwrap().unwrap();
        let line = text.lines().find(|l| l.contains(&name.to_string())).unwrap().to_owned();
        line.split(' ').nth(3).map(str::to_owned)
    };
    let old = std::fs::File::open(&path).unwrap();
    let value = key(a).unwrap();
    let sealed = [a, b].map(|name| spools.seal(name, 0, b"data").unwrap());
    // Only its own ledger destroys a key, and it may do so again.
    spools.destroy(B, &[a]).unwrap();
    assert_eq!(spools.state(A, a), Ok(SpoolKeyState::There));
    spools.destroy(A, &[a]).unwrap();
    spools.destroy(A, &[a]).unwrap();
    assert_eq!(key(a), None);
    let left = again(&directory).kept.read().unwrap().unwrap();
    assert!(left.contains("gone ") && !left.contains(&value));
    // The old bytes are overwritten in place.
    let overwritten = std::io::read_to_string(old).unwrap();
    assert!(!overwritten.is_empty() && overwritten.bytes().all(|b| b == 0), "{}", path.display());
    for spools in [&spools, &again(&directory)] {
        assert_eq!(spools.unseal(a, 0, &sealed[0]), Err(HsmError::SpoolKeyDestroyed(a)));
        assert_eq!(spools.unseal(b, 0, &sealed[1]).unwrap(), b"data");
        let unknown = SpoolKeyName([7; 16]);
        assert!(matches!(spools.unseal(unknown, 0, &sealed[0]), Err(HsmError::NoSpoolKey(..))));
        let states = [(A, a), (B, b), (A, unknown), (B, a)].map(|(of, name)| spools.state(of, name).unwrap());
        let missing = SpoolKeyState::Missing;
        assert_eq!(states, [SpoolKeyState::Destroyed, SpoolKeyState::There, missing, missing]);
    }
}

#[test]
fn a_key_whose_file_was_lost_is_used_no_more_once_it_was_to_be_destroyed() {
    let (directory, spools) = store();
    let name = spools.make(A).unwrap();
    let sealed = spools.seal(name, 0, b"data").unwrap();
    std::fs::remove_file(directory.path().join("spools")).unwrap();
    assert_eq!(spools.unseal(name, 0, &sealed).unwrap(), b"data", "it is in use");
    spools.destroy(A, &[name]).unwrap();
    assert!(matches!(spools.unseal(name, 0, &sealed), Err(HsmError::NoSpoolKey(..))));
}

#[test]
fn keys_without_a_job_go_and_those_of_other_ledgers_stay() {
    let (directory, spools) = store();
    let names = [A, A, A, B].map(|ledger| spools.make(ledger).unwrap());
    let sealed = names.map(|name| spools.seal(name, 0, b"data").unwrap());
    let [kept, deleting, orphan, other] = names;
    let of_jobs = BTreeMap::from([(kept, false), (deleting, true)]);
    // The event that makes a job of it may be on its way while the host that made it lives.
    spools.settle(A, &of_jobs, true).unwrap();
    assert_eq!(spools.state(A, orphan), Ok(SpoolKeyState::There));
    assert_eq!(spools.state(A, deleting), Ok(SpoolKeyState::Destroyed));
    let next = again(&directory);
    next.settle(A, &of_jobs, false).unwrap();
    assert_eq!(next.state(A, orphan), Ok(SpoolKeyState::There));
    next.settle(A, &of_jobs, true).unwrap();
    for spools in [&next, &again(&directory)] {
        assert_eq!(spools.unseal(kept, 0, &sealed[0]).unwrap(), b"data");
        assert_eq!(spools.unseal(deleting, 0, &sealed[1]), Err(HsmError::SpoolKeyDestroyed(deleting)));
        assert!(matches!(spools.unseal(orphan, 0, &sealed[2]), Err(HsmError::NoSpoolKey(..))));
        assert_eq!(spools.unseal(other, 0, &sealed[3]).unwrap(), b"data");
    }
}

#[test]
fn a_key_that_comes_back_with_an_old_file_is_destroyed_again() {
    let (directory, spools) = store();
    let name = spools.make(A).unwrap();
    let path = directory.path().join("spools");
    let old = std::fs::read(&path).unwrap();
    spools.destroy(A, &[name]).unwrap();
    std::fs::write(&path, &old).unwrap();
    let spools = again(&directory);
    assert_eq!(spools.state(A, name), Ok(SpoolKeyState::There));
    spools.settle(A, &BTreeMap::from([(name, true)]), false).unwrap();
    assert_eq!(spools.state(A, name), Ok(SpoolKeyState::Destroyed));
}

#[test]
fn a_damaged_file_of_keys_is_named_and_left_alone() {
    let (directory, spools) = store();
    spools.make(A).unwrap();
    let path = directory.path().join("spools");
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(5) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(spools.make(A), Err(HsmError::Spools(_))), "{at}");
        assert_eq!(std::fs::read(&path).unwrap(), bad);
    }
}
