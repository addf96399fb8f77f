//! Locked pages in processes of their own, because a process has its pages for good.

use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, geteuid, setuid};

use super::*;

/// Set for a child process: what it does.
const CHILD: &str = "CARDWRIGHT_TEST_ARENA";

/// The pages belong to a process for good, so each test has one of its own. Not a test.
#[test]
fn child() {
    match std::env::var(CHILD).as_deref() {
        Ok("values") => values(),
        Ok("full") => full(),
        Ok("mlock") => mlock_is_read(),
        Ok("refused") => refused(),
        _ => {}
    }
}

fn in_child(what: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let name = concat!(module_path!(), "::child").split_once("::").unwrap().1;
    child.args(["--exact", name, "--nocapture"]).env(CHILD, what);
    let ended = child.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && said.contains("1 passed"),
        "{}{}",
        said,
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// What `/proc/self/mem` shows of an address.
fn seen<T>(at: *const T) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; size_of::<T>()];
    let memory = std::fs::File::open("/proc/self/mem")?;
    memory.read_exact_at(&mut bytes, at.addr().try_into().unwrap())?;
    Ok(bytes)
}

fn values() {
    let before = LockedBox::copy_of(&[3; 16]);
    let Ok(LockedPages::Secret) = lock_pages(PageLock::Best) else { panic!("no memfd_secret") };
    let mut boxes: Vec<_> = (0..100u8).map(|n| LockedBox::copy_of(&[n; 40])).collect();
    let long = LockedBox::new([7u64; 100]);
    boxes.retain(|value| value[0] % 3 == 0);
    boxes.extend((100..200u8).map(|n| LockedBox::copy_of(&[n; 40])));
    for value in &boxes {
        assert!(value.iter().all(|byte| *byte == value[0]));
        assert!(seen(&raw const **value).is_err(), "the kernel shows a secret page");
    }
    assert!(seen(&raw const *long).is_err() && seen(&raw const *before).is_ok());
    assert_eq!((*long, *before), ([7; 100], [3; 16]));
    let at = (&raw const *long).addr();
    drop(long);
    let again = LockedBox::<[u8; 800]>::zeros();
    assert_eq!((&raw const *again).addr(), at, "the place is used again");
    assert!(!spilled());
}

fn full() {
    lock_pages(PageLock::Best).unwrap();
    let mut kept: Vec<LockedBox<[u8; 1024]>> = Vec::new();
    while let Some(one) = LockedBox::if_room([0xA5; 1024]) {
        kept.push(one);
        assert!(kept.len() <= LENGTH / 1024);
    }
    assert_eq!(kept.len(), LENGTH / 1024);
    assert!(spilled());
    // A box that is not asked for its place lies elsewhere.
    let outside = LockedBox::new([1u8; 1024]);
    assert!(seen(&raw const *outside).is_ok());
    kept.pop();
    assert!(LockedBox::if_room([2u8; 1024]).is_some());
    assert!(kept.iter().all(|one| **one == [0xA5; 1024]));
}

fn mlock_is_read() {
    assert_eq!(lock_pages(PageLock::OnlyMlock).unwrap(), LockedPages::InMemory);
    let value = LockedBox::copy_of(&[0x5A; 64]);
    assert_eq!(seen(&raw const *value).unwrap(), [0x5A; 64]);
    let at = &raw const *value;
    drop(value);
    assert_eq!(seen(at).unwrap(), [0; 64], "wiped");
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let kept = maps.split("VmFlags:").filter(|flags| flags.contains(" lo ") && flags.contains(" dd "));
    assert_eq!(kept.count(), 1, "locked, and in no dump");
}

/// The memory that a process may lock is 0, and it may not raise that.
fn refused() {
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
    if geteuid().is_root() {
        setuid(Uid::from_raw(65_534)).unwrap();
    }
    for how in [PageLock::Best, PageLock::OnlyMlock] {
        let failure = lock_pages(how).unwrap_err();
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.message.contains("locks no memory for keys"), "{failure}");
    }
    // Nothing was taken by halves.
    assert!(!spilled() && ARENA.get().is_none());
}

#[test]
fn values_keep_their_bytes_and_no_other_process_sees_them() {
    in_child("values");
}

#[test]
fn a_full_arena_says_so() {
    in_child("full");
}

#[test]
fn pages_of_mlock_are_seen_by_root_and_wiped_when_they_are_given_back() {
    in_child("mlock");
}

#[test]
fn a_system_that_locks_no_memory_is_an_error() {
    in_child("refused");
}

#[test]
fn the_guards_cannot_be_touched() {
    // A debug build checks the addresses, so the kernel is asked.
    let (start, _) = mapped(PageLock::Best).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ends = [start.addr().get(), start.addr().get() + LENGTH].map(|at| format!("{at:x}"));
    let before = maps.lines().find(|line| line.contains(&format!("-{} ", ends[0]))).unwrap();
    let behind = maps.lines().find(|line| line.starts_with(&format!("{}-", ends[1]))).unwrap();
    assert!([before, behind].iter().all(|line| line.contains(" ---p ")), "{before}\n{behind}");
}
