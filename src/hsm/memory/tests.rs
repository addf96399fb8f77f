//! The memory of the HSM: killed, damaged, rotated. All ledgers and chips are made up.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::journal::{self, HEAD};
use super::rotation::RotationStep;
use super::*;
use crate::audit::{AuditKey, ChainPlace, CheckpointLink, LedgerId};
use crate::hsm::CardAttempt;
use crate::ids::{Aid, KeyData};
use crate::laws::{ChipId, Context, EventFact, JobId, LedgerBook, LedgerEvent};

const STORE: [u8; 16] = [0x51; 16];
const A: LedgerId = LedgerId([0xA; 16]);
const B: LedgerId = LedgerId([0xB; 16]);

fn key() -> MemoryKey {
    MemoryKey::of(&[7; 32])
}

fn name() -> JournalName {
    JournalName { realm: b'T', store: STORE, generation: 3 }
}

/// A lawful note about the line, the next event of a ledger.
pub(in crate::hsm) fn event(n: u64) -> Vec<u8> {
    let event = LedgerEvent {
        n,
        ts: n,
        job: None,
        simulated: false,
        chain: crate::laws::event::ChainVersion::Two,
        from: None,
        fact: EventFact::ShiftBegun { name: format!("shift-{n}") },
        context: Context::default(),
        unknown: Vec::new(),
    };
    event.body().unwrap()
}

/// A history of two ledgers, as the host would record it.
struct History {
    state: MemoryState,
    records: Vec<MemoryRecord>,
}

impl History {
    fn new() -> Self {
        let mut history = Self { state: MemoryState::default(), records: Vec::new() };
        history.record(MemoryRecord::Started { version: "1".to_owned(), time: 5, cut: 0 });
        history.record(MemoryRecord::LedgerKnown { ledger: A, epoch: 1, noted: None, by: Vec::new() });
        history.record(MemoryRecord::LedgerKnown { ledger: B, epoch: 1, noted: None, by: Vec::new() });
        history
    }

    fn record(&mut self, record: MemoryRecord) {
        self.state.apply(&record).unwrap();
        self.records.push(record);
    }

    fn place(&self, ledger: LedgerId) -> ChainPlace {
        self.state.ledger(ledger).unwrap().book.place()
    }

    /// The next thing that happens, from random numbers.
    fn step(&mut self, (what, number): (u8, u8)) {
        let ledger = if number % 2 == 0 { A } else { B };
        let place = self.place(ledger);
        match what {
            0..=4 => {
                let events: Vec<_> = (1..=u64::from(number % 4)).map(|more| event(place.n + more)).collect();
                let mut book = self.state.ledger(ledger).unwrap().book.clone();
                for event in &events {
                    book.follow(event).unwrap();
                }
                let chips = vec![[number; 16]; usize::from(number % 3)];
                let (after, hash) = (place.n, book.place().hash);
                self.record(MemoryRecord::Shown { ledger, after, time: number.into(), events, chips, hash });
            }
            5 | 6 => {
                let key = AuditKey::from_seed(&zeroize::Zeroizing::new([9; 32]));
                let before = self
                    .state
                    .ledger(ledger)
                    .and_then(|known| known.signed)
                    .map_or([0; 32], |last| last.digest());
                let link = Some(CheckpointLink { epoch: 1, time: self.state.time(), before });
                self.record(MemoryRecord::Checkpoint(key.checkpoint(
                    place,
                    self.state.generation() + 1,
                    link,
                )));
            }
            7 => {
                let (name, digest) = ([number; 32], [number ^ 0x80; 32]);
                if self.state.file_elsewhere([name, digest], ledger).is_none() {
                    self.record(MemoryRecord::Admitted {
                        name,
                        digest,
                        ledger,
                        records: Some(number.into()),
                    });
                }
            }
            _ => self.record(MemoryRecord::Started { version: "2".to_owned(), time: number.into(), cut: 1 }),
        }
    }

    fn of(steps: &[(u8, u8)]) -> Self {
        let mut history = Self::new();
        steps.iter().for_each(|step| history.step(*step));
        history
    }
}

/// A journal of these records, and the places where each ends.
fn written(records: &[MemoryRecord]) -> (Vec<u8>, Vec<usize>) {
    let (mut file, mut end) = JournalEnd::begin(&key(), &name(), b"snapshot");
    let mut ends = vec![file.len()];
    for record in records {
        file.extend(end.append(record).unwrap());
        ends.push(file.len());
    }
    (file, ends)
}

fn read(file: &[u8]) -> Result<Vec<MemoryRecord>, MemoryFault> {
    journal::read(&key(), &name(), b"snapshot", file).map(|read| read.records)
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0u8..11, any::<u8>()), 0..30)
}

fn some_steps() -> Vec<(u8, u8)> {
    (0..22).map(|n| (n % 11, n * 7 % 23)).collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

/// After a kill at any byte, and after a power cut that leaves zeros from there to the end, every record before the place is
/// there, and nothing else.
#[test]
fn a_journal_killed_at_every_byte_opens_with_all_that_was_answered() {
    let history = History::of(&some_steps());
    let (file, ends) = written(&history.records);
    for cut in HEAD..=file.len() {
        let answered = ends.iter().rposition(|end| *end <= cut).unwrap();
        assert_eq!(read(&file[..cut]).unwrap(), history.records[..answered], "cut at {cut}");
    }
    // A disk writes sectors: what was not written is zero from a boundary, or from the end of what was there before, on.
    for pair in ends.windows(2) {
        let &[begin, end] = pair else { unreachable!() };
        let boundaries = (begin..end).filter(|place| place % 512 == 0);
        for cut in boundaries.chain([begin]) {
            let zeros = vec![0; end - cut];
            let answered = ends.iter().rposition(|end| *end <= cut).unwrap();
            let torn = [&file[..cut], &zeros].concat();
            assert_eq!(read(&torn).unwrap(), history.records[..answered], "zero from {cut}");
        }
    }
    for cut in 0..HEAD {
        assert_eq!(read(&file[..cut]), Err(MemoryFault::Head));
    }
}

#[test]
fn no_flipped_bit_of_a_journal_is_accepted() {
    let history = History::of(&some_steps());
    let (file, _) = written(&history.records);
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut bad = file.clone();
            bad[at] ^= 1 << bit;
            assert!(read(&bad).is_err(), "{at}.{bit}");
        }
    }
}

/// A power cut at the end excuses nothing before it.
#[test]
fn a_torn_end_hides_no_change_before_it() {
    let history = History::of(&some_steps());
    let (file, _) = written(&history.records);
    let torn = [&file[..], &[0; 1024]].concat();
    assert_eq!(read(&torn).unwrap(), history.records);
    for at in 0..file.len() {
        let mut bad = torn.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(read(&bad).is_err(), "{at}");
    }
}

#[test]
fn a_record_moved_copied_or_left_out_is_found() {
    let history = History::of(&some_steps());
    let (file, ends) = written(&history.records);
    let records: Vec<_> = ends.windows(2).map(|pair| &file[pair[0]..pair[1]]).collect();
    let joined = |order: Vec<usize>| {
        let parts: Vec<_> = order.into_iter().map(|n| records[n]).collect();
        [&file[..HEAD], &parts.concat()].concat()
    };
    let all: Vec<usize> = (0..records.len()).collect();
    assert!(read(&joined(all.clone())).is_ok());
    for n in 0..records.len() {
        let (mut copied, mut moved) = (all.clone(), all.clone());
        copied.insert(n, n);
        assert!(read(&joined(copied)).is_err(), "record {n} twice");
        if n + 1 < records.len() {
            moved.swap(n, n + 1);
            assert!(read(&joined(moved)).is_err(), "record {n} after the next one");
            let without = all.iter().copied().filter(|m| *m != n).collect();
            assert!(read(&joined(without)).is_err(), "without record {n}");
        }
    }
    // A journal of another store, realm, number, snapshot or key.
    let other_key = MemoryKey::of(&[8; 32]);
    assert!(journal::read(&other_key, &name(), b"snapshot", &file).is_err());
    assert!(journal::read(&key(), &name(), b"another", &file).is_err());
    for other in [
        JournalName { realm: b'L', ..name() },
        JournalName { store: [0x52; 16], ..name() },
        JournalName { generation: 4, ..name() },
    ] {
        assert!(journal::read(&key(), &other, b"snapshot", &file).is_err(), "{other:?}");
    }
}

fn home(folder: &Path) -> MemoryHome {
    MemoryHome { folder: folder.to_owned(), key: key(), name: name() }
}

fn made() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    home(folder.path()).make(&MemoryState::default()).unwrap();
    folder
}

fn open(folder: &Path) -> Result<Memory, MemoryFault> {
    Memory::open(&home(folder))
}

/// `tests/data/second-memory`: made by the program at commit dc9d0cb, the last whose checkpoints were not linked: 13 records, a
/// rotation, and 8 records of two ledgers. Its snapshot has the second form.
#[test]
fn a_memory_of_the_second_form_opens_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["chips", "journal-1", "memory-1"] {
        let from = format!("{}/tests/data/second-memory/{name}", env!("CARGO_MANIFEST_DIR"));
        let to = folder.path().join(name);
        std::fs::write(&to, std::fs::read(from).unwrap()).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut memory = open(folder.path()).unwrap();
    // Generation, time, last event and last signed event of each ledger, as that program printed them.
    assert_eq!((memory.state().generation(), memory.state().time()), (4, 22));
    for (ledger, shown, signed, generation) in [(A, 6, 6, 4), (B, 9, 5, 2)] {
        let known = memory.state().ledger(ledger).unwrap();
        let last = known.signed.unwrap();
        assert!(last.is_genuine() && last.link.is_none());
        assert_eq!((known.book.place().n, last.place.n, last.generation), (shown, signed, generation));
    }
    // The next signature follows the last one of the first form, and the next snapshot is of the third form.
    let (signer, known) =
        (AuditKey::from_seed(&zeroize::Zeroizing::new([9; 32])), memory.state().ledger(B).unwrap());
    let (place, before) = (known.book.place(), known.signed.unwrap());
    let link = CheckpointLink { epoch: 1, time: 30, before: before.digest() };
    let next = signer.checkpoint(place, 5, Some(link));
    assert_eq!(next.breach(Some(&before)), None);
    remember(&mut memory, &[MemoryRecord::Checkpoint(next)]);
    memory.rotate().unwrap();
    let state = memory.state().clone();
    drop(memory);
    assert!(std::fs::read(folder.path().join("memory-2")).unwrap().starts_with(b"CWM3"));
    assert_eq!(*open(folder.path()).unwrap().state(), state);
}

/// Notes records, and makes them durable.
fn remember(memory: &mut Memory, records: &[MemoryRecord]) {
    records.iter().for_each(|record| memory.note(record).unwrap());
    memory.sync().unwrap();
}

fn chips_of(records: &[MemoryRecord]) -> Vec<MemoryTag> {
    let tags = records.iter().flat_map(|record| match record {
        MemoryRecord::Shown { chips, .. } => chips.clone(),
        _ => Vec::new(),
    });
    let mut tags: Vec<_> = tags.collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn agrees(memory: &Memory, history: &History) {
    assert_eq!(*memory.state(), history.state);
    let chips = chips_of(&history.records);
    assert_eq!(memory.chips().len(), chips.len());
    assert!(chips.iter().all(|tag| memory.chips().contains(tag)));
}

proptest! {
    #![proptest_config(config())]

    /// Wherever the journal is rotated and the host restarted, what is remembered is what the records mean in order.
    #[test]
    fn memory_is_a_function_of_the_journal(steps in steps(), rotate in any::<u32>(), restart in any::<u32>()) {
        let history = History::of(&steps);
        let folder = made();
        let mut memory = open(folder.path()).unwrap();
        for (n, record) in history.records.iter().enumerate() {
            remember(&mut memory, std::slice::from_ref(record));
            if rotate >> (n % 32) & 1 == 1 {
                memory.rotate().unwrap();
            }
            if restart >> (n % 32) & 1 == 1 {
                drop(memory);
                memory = open(folder.path()).unwrap();
                prop_assert_eq!(memory.cut(), 0);
            }
        }
        agrees(&memory, &history);
        drop(memory);
        agrees(&open(folder.path()).unwrap(), &history);
    }
}

/// After each step, and in the middle of each file that a step writes.
#[test]
fn a_rotation_killed_at_every_step_loses_nothing() {
    let history = History::of(&some_steps());
    for last in RotationStep::ALL {
        let folder = made();
        let mut memory = open(folder.path()).unwrap();
        remember(&mut memory, &history.records[..5]);
        memory.rotate().unwrap();
        remember(&mut memory, &history.records[5..]);
        memory.rotate_until(last).unwrap();
        drop(memory);
        let copy = tempfile::tempdir().unwrap();
        let generation = last_generation(folder.path()).unwrap().unwrap();
        for name in file_names(folder.path(), generation) {
            std::fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
        }
        agrees(&open(copy.path()).unwrap(), &history);
        let mut again = open(folder.path()).unwrap();
        agrees(&again, &history);
        // It goes on, and the next rotation works.
        let more = MemoryRecord::Admitted { name: [9; 32], digest: [0x99; 32], ledger: A, records: Some(9) };
        remember(&mut again, std::slice::from_ref(&more));
        again.rotate().unwrap();
        drop(again);
        let mut history = History::of(&some_steps());
        history.record(more);
        agrees(&open(folder.path()).unwrap(), &history);
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("chips"))
            .collect();
        left.sort();
        let generation = if last < RotationStep::Snapshot { 2 } else { 3 };
        assert_eq!(left, [format!("journal-{generation}"), format!("memory-{generation}")], "{last:?}");
    }
}

#[test]
fn a_rotation_killed_inside_of_a_file_loses_nothing() {
    let history = History::of(&some_steps());
    let folder = made();
    let mut memory = open(folder.path()).unwrap();
    remember(&mut memory, &history.records);
    let before = std::fs::read(folder.path().join("chips")).unwrap();
    memory.rotate_until(RotationStep::Chips).unwrap();
    drop(memory);
    let after = std::fs::read(folder.path().join("chips")).unwrap();
    assert!(after.len() > before.len());
    for cut in before.len()..after.len() {
        std::fs::write(folder.path().join("chips"), &after[..cut]).unwrap();
        std::fs::write(folder.path().join("memory-1.next"), &after[..cut]).unwrap();
        std::fs::write(folder.path().join("journal-1.next"), b"").unwrap();
        agrees(&open(folder.path()).unwrap(), &history);
        assert_eq!(std::fs::read(folder.path().join("chips")).unwrap(), before, "cut at {cut}");
    }
}

#[test]
fn no_flipped_bit_of_snapshot_or_chips_is_accepted_and_no_missing_file() {
    let folder = made();
    let history = History::of(&some_steps());
    let mut memory = open(folder.path()).unwrap();
    remember(&mut memory, &history.records);
    memory.rotate().unwrap();
    drop(memory);
    for file in ["memory-1", "chips", "journal-1"] {
        let path = folder.path().join(file);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            assert!(open(folder.path()).is_err(), "{file} {at}");
        }
        for cut in 0..good.len() {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(open(folder.path()).is_err(), "{file} cut at {cut}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(open(folder.path()), Err(MemoryFault::Missing(_))), "{file}");
        std::fs::write(&path, &good).unwrap();
        agrees(&open(folder.path()).unwrap(), &history);
    }
    let right = home(folder.path());
    for wrong in [
        MemoryHome { name: JournalName { realm: b'L', ..name() }, ..right.clone() },
        MemoryHome { name: JournalName { store: [0x52; 16], ..name() }, ..right.clone() },
        MemoryHome { key: MemoryKey::of(&[8; 32]), ..right },
    ] {
        assert!(Memory::open(&wrong).is_err());
    }
}

#[test]
fn a_torn_record_is_cut_and_the_journal_goes_on() {
    let folder = made();
    let history = History::of(&some_steps());
    let mut memory = open(folder.path()).unwrap();
    remember(&mut memory, &history.records);
    drop(memory);
    let path = folder.path().join("journal-0");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &[0, 0, 0, 40, 1, 2, 3]].concat()).unwrap();
    let mut memory = open(folder.path()).unwrap();
    assert_eq!(memory.cut(), 7);
    agrees(&memory, &history);
    remember(&mut memory, &[MemoryRecord::Started { version: "3".to_owned(), time: 1, cut: 7 }]);
    drop(memory);
    assert_eq!(open(folder.path()).unwrap().cut(), 0);
}

/// Records that are authentic and still not those of one journal.
#[test]
fn records_that_do_not_follow_from_each_other_are_refused() {
    let mut history = History::of(&some_steps());
    history.step((0, 2));
    let place = history.place(A);
    let signer = AuditKey::from_seed(&zeroize::Zeroizing::new([9; 32]));
    let next = history.state.generation() + 1;
    let unknown = LedgerId([0xC; 16]);
    let shown = |ledger, after, events, hash| MemoryRecord::Shown {
        ledger,
        after,
        time: 0,
        events,
        chips: Vec::new(),
        hash,
    };
    let before = history.state.ledger(A).unwrap().signed.unwrap().digest();
    let link = CheckpointLink { epoch: 1, time: history.state.time(), before };
    let signed =
        |place, generation, link| MemoryRecord::Checkpoint(signer.checkpoint(place, generation, Some(link)));
    history.state.clone().apply(&signed(place, next, link)).unwrap();
    let mut book: LedgerBook = history.state.ledger(A).unwrap().book.clone();
    book.follow(&event(place.n + 1)).unwrap();
    let right = shown(A, place.n, vec![event(place.n + 1)], book.place().hash);
    for wrong in [
        MemoryRecord::LedgerKnown { ledger: A, epoch: 1, noted: None, by: Vec::new() },
        shown(unknown, 0, Vec::new(), [0; 32]),
        shown(A, place.n + 1, Vec::new(), place.hash),
        shown(A, place.n, vec![event(place.n + 2)], place.hash),
        shown(A, place.n, vec![event(place.n + 1)], [1; 32]),
        signed(place, next + 1, link),
        signed(place, next - 1, link),
        signed(ChainPlace { n: place.n - 1, ..place }, next, link),
        signed(ChainPlace { hash: [1; 32], ..place }, next, link),
        signed(ChainPlace { ledger: unknown, ..place }, next, link),
        signed(place, next, CheckpointLink { before: [1; 32], ..link }),
        signed(place, next, CheckpointLink { epoch: 0, ..link }),
        MemoryRecord::Stopped { ledger: unknown, n: 1, event: [0; 32], why: String::new() },
    ] {
        assert!(history.state.clone().apply(&wrong).is_err(), "{wrong:?}");
    }
    history.state.clone().apply(&right).unwrap();
    let stopped =
        MemoryRecord::Stopped { ledger: A, n: place.n + 1, event: [0; 32], why: "a law".to_owned() };
    history.record(stopped);
    assert!(history.state.apply(&right).is_err(), "a ledger that stopped goes no further");
}

#[test]
fn one_connection_follows_a_ledger() {
    let mut history = History::of(&some_steps());
    let mut followers = LedgerFollowers::default();
    assert_eq!(followers.follow(&history.state, LedgerId([0xC; 16]), 1, None), Err(FollowRefusal::Unknown));
    let place = followers.follow(&history.state, A, 1, None).unwrap();
    assert_eq!(place, history.place(A));
    assert_eq!(followers.follow(&history.state, A, 1, None), Ok(place));
    assert_eq!(followers.follow(&history.state, A, 2, None), Err(FollowRefusal::Followed));
    assert_eq!(followers.may_show(&history.state, &place, 2), Err(FollowRefusal::NotFollowed));
    assert_eq!(followers.may_show(&history.state, &place, 1), Ok(()));
    for other in [ChainPlace { n: place.n + 1, ..place }, ChainPlace { hash: [1; 32], ..place }] {
        let refused = followers.may_show(&history.state, &other, 1);
        assert!(matches!(refused, Err(FollowRefusal::OtherPlace { .. })));
    }
    followers.ended(1);
    assert_eq!(followers.follow(&history.state, A, 2, None), Ok(place));
    history.record(MemoryRecord::Stopped { ledger: A, n: 9, event: [0; 32], why: "a law".to_owned() });
    assert!(matches!(
        followers.may_show(&history.state, &place, 2),
        Err(FollowRefusal::Stopped { n: 9, .. })
    ));
    assert!(matches!(followers.follow(&history.state, A, 2, None), Err(FollowRefusal::Stopped { n: 9, .. })));
    history.record(MemoryRecord::Succeeded { ledger: A, by_ledger: B, by: Vec::new() });
    assert_eq!(followers.follow(&history.state, A, 2, None), Err(FollowRefusal::Succeeded(B)));
}

fn chip(n: u8) -> ChipId {
    ChipId::globalplatform(KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 0, 0, 0, n]), None)
}

fn aid(n: u8) -> Aid {
    Aid::new(&[0xF0, n]).unwrap()
}

const CARD: CardAttempt = CardAttempt { ledger: A, job: JobId(1), seq: 17, attempt: 1 };
const FILE: [u8; 32] = [0xF1; 32];

/// Step 1 on the right chip.
fn asked(step: u8, aid: u8, question: u8) -> AskedStep {
    let (aid, question) = (self::aid(aid), [question; 32]);
    AskedStep { card: CARD, chip: chip(1), record: (FILE, CARD.seq), step, aid, question }
}

#[test]
fn steps_of_an_attempt_come_once_and_in_order() {
    let mut table = AttemptTable::<u8>::default();
    let right = asked(1, 1, 1);
    assert_eq!(table.begin(&right), Err(AttemptRefusal::Stale), "bound before this host started");
    table.bound(CARD, FILE, None, []);
    assert_eq!(table.begin(&right), Err(AttemptRefusal::AwaitsChip));
    table.chip_found(CARD, chip(1), []);
    let other = AskedStep { chip: chip(2), ..right.clone() };
    assert_eq!(table.begin(&other), Err(AttemptRefusal::OtherChip));
    for record in [([0xF2; 32], CARD.seq), (FILE, CARD.seq + 1)] {
        let other = AskedStep { record, ..right.clone() };
        assert_eq!(table.begin(&other), Err(AttemptRefusal::OtherRecord));
    }
    for card in [CardAttempt { attempt: 2, ..CARD }, CardAttempt { ledger: B, ..CARD }] {
        assert_eq!(table.begin(&AskedStep { card, ..right.clone() }), Err(AttemptRefusal::Stale));
    }
    for step in [0, 2, 255] {
        assert_eq!(table.begin(&asked(step, 1, 1)), Err(AttemptRefusal::Step { next: 1 }));
    }
    assert_eq!(table.answer_again(CARD, &right.question), None);
    assert!(!table.answered(&right, 10), "it was not begun");
    table.begin(&right).unwrap();
    assert_eq!(table.begin(&right), Err(AttemptRefusal::Asked), "two connections at once");
    table.refused(CARD);
    table.begin(&right).unwrap();
    assert!(table.answered(&right, 11));
    // A lost answer is given again; a changed question is not answered.
    assert_eq!(table.answer_again(CARD, &right.question), Some(&11));
    assert_eq!(table.answer_again(CARD, &[2; 32]), None);
    assert_eq!(table.begin(&asked(1, 1, 2)), Err(AttemptRefusal::Step { next: 2 }));
    assert_eq!(table.begin(&asked(2, 1, 2)), Err(AttemptRefusal::OpenedBefore));
    let second = asked(2, 2, 2);
    table.begin(&second).unwrap();
    assert!(table.answered(&second, 12));
    assert_eq!(table.answer_again(CARD, &right.question), None, "only the last answer is kept");
    let third = asked(3, 3, 3);
    table.begin(&third).unwrap();
    table.over(CARD);
    assert!(!table.answered(&third, 13), "it ended meanwhile");
    assert_eq!(table.begin(&third), Err(AttemptRefusal::Stale));
    table.bound(CARD, FILE, Some(chip(1)), []);
    table.ledger_stopped(B);
    table.begin(&right).unwrap();
    table.ledger_stopped(A);
    assert_eq!(table.begin(&right), Err(AttemptRefusal::Stale));
}

#[test]
fn what_bars_an_attempt_and_what_lifts_it() {
    let bars = [AttemptBar::ChipSeen, AttemptBar::NoKmc, AttemptBar::NotAdmitted, AttemptBar::EarlierAttempt];
    for bar in bars {
        let mut table = AttemptTable::<()>::default();
        table.bound(CARD, FILE, Some(chip(1)), [bar]);
        let refused = table.begin(&asked(1, 1, 1));
        assert_eq!((refused, table.bar(CARD)), (Err(AttemptRefusal::Barred(bar)), Some(bar)));
        // A proof that earlier cards are destroyed lifts no other bar.
        table.earlier_destroyed(CARD);
        assert_eq!(table.begin(&asked(1, 1, 1)).is_ok(), bar == AttemptBar::EarlierAttempt);
    }
    let mut table = AttemptTable::<()>::default();
    table.bound(CARD, FILE, None, []);
    table.chip_found(CARD, chip(1), [AttemptBar::ChipSeen]);
    assert_eq!(table.bar(CARD), Some(AttemptBar::ChipSeen));
}

/// A ledger that was known by a place alone is shown its events from the beginning, and has to pass that place.
#[test]
fn a_ledger_that_was_noted_has_to_pass_its_place() {
    let mut right = LedgerBook::new(A);
    let events: Vec<_> = (1..=5).map(event).collect();
    let places: Vec<_> = events
        .iter()
        .map(|event| {
            right.follow(event).unwrap();
            right.place()
        })
        .collect();
    let shown = |after: usize, to: usize| MemoryRecord::Shown {
        ledger: A,
        after: after as u64,
        time: 0,
        events: events[after..to].to_vec(),
        chips: Vec::new(),
        hash: places[to - 1].hash,
    };
    let mut state = MemoryState::of_book(7, [places[2]], std::collections::BTreeMap::new());
    assert_eq!((state.generation(), state.ledger(A).unwrap().head()), (7, places[2]));
    state.apply(&shown(0, 2)).unwrap();
    assert_eq!(state.ledger(A).unwrap().head(), places[2], "it is not there yet");
    state.apply(&shown(2, 5)).unwrap();
    assert_eq!(state.ledger(A).unwrap().head(), places[4]);
    for other in [ChainPlace { hash: [1; 32], ..places[2] }, ChainPlace { n: 2, ..places[2] }] {
        let mut state = MemoryState::of_book(7, [other], std::collections::BTreeMap::new());
        assert!(state.apply(&shown(0, 5)).is_err(), "another event was noted");
    }
}
