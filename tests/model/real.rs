//! Compares the real ledger, on real files, with the model: it accepts and refuses the same changes, and
//! after each step its tables agree with the model, also when it is opened again after a crash. A second
//! implementation follows its events, without the names of cards, and agrees too.

use std::path::{Path, PathBuf};

use cardwright::ids::{CardRef, FileId, IssuerId, KekId, KeyData, ProductName};
use cardwright::laws::{
    AttemptState, Change, ChipId, Context, JobId, JobProfiles, JobState, LedgerBook, RecordState,
};
use cardwright::ledger::{Ledger, NewJob, Reader};
use proptest::prelude::*;

use crate::books::{Attempt, BLANKS, Book, RECORDS, Record, Row, Rules, Say};
use crate::world::{Step, World};

/// The ledger of a line with one job.
struct Real {
    directory: tempfile::TempDir,
    starts: u32,
    ledger: Ledger,
    job: JobId,
    /// The ledger as the HSM follows it.
    followed: LedgerBook,
}

fn file(directory: &Path, start: u32) -> PathBuf {
    directory.join(format!("{start}.db"))
}

impl Real {
    fn new(rules: Rules) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(file(directory.path(), 0)).unwrap();
        let new = NewJob {
            issuer_id: IssuerId::new("TESTBANK").unwrap(),
            file_id: FileId::new("MODEL").unwrap(),
            product: ProductName::new("multiapp").unwrap(),
            digest: [7; 32],
            kek: KekId([0x47, 0x61, 0x73, 0xFF, 1]),
            line: "sim-8".to_owned(),
            rejects_shredded: rules.shredded,
            rejects_marked: false,
            profiles: JobProfiles::default(),
            simulated: true,
            test_keys: true,
            spool: "none".to_owned(),
            spool_key: None,
            cards: (1..=RECORDS).map(|n| CardRef::new(format!("C{n}")).unwrap()).collect(),
            submitted_by: None,
        };
        let job = ledger.new_job(new).unwrap().job;
        let followed = LedgerBook::new(ledger.reader().unwrap().id().unwrap());
        Self { directory, starts: 0, ledger, job, followed }
    }

    /// Sends a change to the ledger, and returns whether the ledger accepted it.
    fn say(&self, say: Say) -> bool {
        let change = self.change(say);
        self.ledger.record(self.job, change, Context::default()).wait().is_ok()
    }

    fn change(&self, say: Say) -> Change {
        let blank = u32::from;
        let seq = |record: u8| u32::from(record) + 1;
        match say {
            Say::Fed { blank: number } => Change::Fed { blank: blank(number) },
            Say::RejectedUnbound { blank: number } => {
                Change::RejectedUnbound { blank: blank(number), chip: None }
            }
            Say::Returned { blank: number } => Change::Returned { blank: blank(number) },
            Say::Tested { blank: number } => Change::Tested { blank: blank(number) },
            Say::Bound { record, blank: number, plastic } => {
                let key_data = KeyData([0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 0, 0, 0, plastic]);
                let chip = Some(ChipId::globalplatform(key_data, None));
                Change::Bound { seq: seq(record), blank: blank(number), chip }
            }
            Say::Moved { record, to } => {
                let seq = seq(record);
                match to {
                    AttemptState::Verified => Change::Verified { seq, compared: "chip read-back".to_owned() },
                    AttemptState::Stacked => {
                        let position = self.ledger.reader().unwrap().next_position(self.job).unwrap();
                        Change::Stacked { seq, position }
                    }
                    AttemptState::Rejected => Change::Rejected { seq },
                    AttemptState::Unknown => Change::Lost { seq },
                    AttemptState::Destroyed => Change::Destroyed { seq },
                    AttemptState::Good => Change::FoundGood { seq },
                    AttemptState::Sample => Change::Sampled { seq },
                    to => Change::Attempt { seq, to },
                }
            }
            Say::Cancelled { record } => Change::Cancelled { seq: seq(record) },
            Say::RemakeReleased { record } => Change::RemakeReleased { seq: seq(record) },
            Say::Held => Change::Held,
            Say::Released => Change::Released,
            Say::Closed => Change::Closed,
        }
    }

    /// Opens the ledger again from the present state of the disk, as a new process would.
    fn crash(&mut self) {
        let from = file(self.directory.path(), self.starts);
        self.starts += 1;
        let to = file(self.directory.path(), self.starts);
        for ending in ["db", "db-wal"] {
            let from = from.with_extension(ending);
            if from.exists() {
                std::fs::copy(from, to.with_extension(ending)).unwrap();
            }
        }
        self.ledger = Ledger::open(to).unwrap();
    }

    /// Follows the new events. The model allows them, so none breaks a law.
    fn follow(&mut self, reader: &Reader) {
        for event in reader.events(None, self.followed.place().n, u32::MAX).unwrap() {
            self.followed.follow(&event.body().unwrap()).unwrap();
        }
        let view = reader.job(self.job).unwrap();
        assert_eq!(self.followed.job(self.job), Some((view.state, view.balance)));
    }

    /// Fails unless the tables agree with the model's book and the chain proves them.
    fn says(&mut self, book: &Book) {
        let reader = self.ledger.reader().unwrap();
        self.follow(&reader);
        let view = reader.job(self.job).unwrap();
        assert_eq!(view.state, book.job);
        for (record, state) in (0..RECORDS).zip(book.records) {
            let card = reader.card(self.job, u32::from(record) + 1).unwrap();
            let expected = match state {
                Record::Queued => (RecordState::Queued, false),
                Record::InFlight => (RecordState::InFlight, false),
                Record::Good => (RecordState::Good, false),
                Record::Remake { released } => (RecordState::Remake, released),
                Record::Unknown => (RecordState::Unknown, false),
                Record::Cancelled => (RecordState::Cancelled, false),
            };
            assert_eq!((card.state, card.released), expected);
            if view.state != JobState::Closed {
                let last = card.attempts.last().map(|last| (last.attempt, last.state));
                assert_eq!(self.followed.last_attempt(self.job, u32::from(record) + 1), last);
            }
            let mut expected: Vec<(u32, u32, AttemptState, bool)> = (1..)
                .zip(book.rows)
                .filter_map(|(blank, row)| match row {
                    Row::Attempt(a @ Attempt { number, is, wrote, .. }) if a.record == record => {
                        Some((u32::from(number), blank, is, wrote))
                    }
                    _ => None,
                })
                .collect();
            expected.sort_unstable();
            let found: Vec<_> =
                card.attempts.iter().map(|a| (a.attempt, a.blank_number, a.state, a.wrote)).collect();
            assert_eq!(found, expected);
        }
        let count = |is: &dyn Fn(Row) -> bool| book.rows.iter().filter(|row| is(**row)).count() as u64;
        let balance = view.balance;
        assert_eq!(balance.blanks_fed, count(&|row| row != Row::None));
        assert_eq!(balance.blanks_returned, count(&|row| row == Row::Returned));
        let sample = |row| matches!(row, Row::Attempt(a) if a.is == AttemptState::Sample);
        assert_eq!(balance.blanks_sample, count(&|row| row == Row::Test || sample(row)));
        let in_line = |row| matches!(row, Row::Attempt(a) if a.under_way());
        assert_eq!(balance.blanks_in_line, count(&|row| row == Row::Fed || in_line(row)));
        assert_eq!((balance.records_off(), balance.blanks_off()), (0, 0));
        assert_eq!(reader.recount(self.job).unwrap(), balance);
        assert_eq!(reader.audit(None, |_| ()).unwrap().findings, []);
    }
}

/// All possible changes, sensible or not, for one blank more than the model has rows for.
fn words() -> Vec<Say> {
    let mut words = vec![Say::Held, Say::Released, Say::Closed];
    for blank in 0..=BLANKS + 1 {
        words.extend((blank <= BLANKS).then_some(Say::Fed { blank }));
        words.extend((blank <= BLANKS).then_some(Say::Tested { blank }));
        words.extend([Say::RejectedUnbound { blank }, Say::Returned { blank }]);
        for (record, plastic) in (0..RECORDS).flat_map(|r| (0..BLANKS).map(move |p| (r, p))) {
            words.push(Say::Bound { record, blank, plastic });
        }
    }
    for record in 0..RECORDS {
        words.extend([Say::Cancelled { record }, Say::RemakeReleased { record }]);
        use AttemptState::{
            Bound, Destroyed, Good, Personalizing, Rejected, Sample, Stacked, Unknown, Verified, Written,
        };
        let all =
            [Bound, Personalizing, Written, Verified, Stacked, Rejected, Unknown, Destroyed, Good, Sample];
        words.extend(all.map(|to| Say::Moved { record, to }));
    }
    words
}

/// Whether a step carries a history on. Such steps are preferred, so that more histories get far.
fn goes_on(step: &Step) -> bool {
    let ends =
        |say: &Say| matches!(say, Say::Cancelled { .. } | Say::Moved { to: AttemptState::Unknown, .. });
    match step {
        Step::ThrowOut(_) | Step::GiveBack(_) | Step::Crash | Step::Test => false,
        Step::Tell(_, say) | Step::Ask(say) => !ends(say),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_real_ledger_walks_with_the_model(
        choices in prop::collection::vec((0usize..1000, 0usize..1000, 0usize..10), 20..120),
        shredded: bool,
    ) {
        let rules = Rules { blanks: BLANKS, crashes: 2, shredded, fault: None };
        let (mut world, words) = (World::new(), words());
        let mut real = Real::new(rules);
        for (step, word, onwards) in choices {
            // The ledger refuses a change that the model refuses, and nothing changes.
            let word = words[word % words.len()];
            if !{ world.memory }.say(word, rules) {
                prop_assert!(!real.say(word), "the ledger takes {word:?}");
            }
            let mut steps = world.steps(rules);
            if onwards > 0 && steps.iter().any(goes_on) {
                steps.retain(goes_on);
            }
            let Some(&step) = steps.get(step % steps.len().max(1)) else { break };
            let Some(after) = world.after(step, rules) else {
                // The job was closed before the station's report came.
                if let Step::Tell(_, say) = step {
                    prop_assert!(!real.say(say), "the ledger takes {say:?}");
                }
                continue;
            };
            match step {
                Step::Tell(_, say) | Step::Ask(say) => prop_assert!(real.say(say), "the ledger refuses {say:?}"),
                Step::Crash => real.crash(),
                Step::Test => {
                    let say = Say::Tested { blank: world.memory.next_blank() };
                    prop_assert!(real.say(say), "the ledger refuses {say:?}");
                }
                _ => {}
            }
            // The real ledger answers after its commit, so that nothing of the change is in memory alone.
            world = after;
            world.disk = world.memory;
            real.says(&world.disk);
        }
    }
}
