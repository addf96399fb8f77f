//! The smallest possible ledger: a row for each blank, a state for each record. It shares with
//! `cardwright::ledger` only the names of the states.

use cardwright::laws::{AttemptState, JobState};

/// Number of records in the job.
pub const RECORDS: u8 = 2;
/// Most blanks in a search.
pub const BLANKS: u8 = 3;

/// The ledger's entry for a blank; blanks are numbered in the order of feeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Row {
    /// The blank was not fed yet.
    None,
    /// In the line, unbound.
    Fed,
    /// Thrown out, unbound.
    Rejected,
    /// Back to stock.
    Returned,
    /// Used up to set up the machines.
    Test,
    /// Bound to a record.
    Attempt(Attempt),
}

/// One record on one blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub record: u8,
    /// Number of the attempt at its record, from 1.
    pub number: u8,
    /// The piece of plastic, identified by its chip.
    pub plastic: u8,
    pub is: AttemptState,
    /// Whether data of the record went to it.
    pub wrote: bool,
}

impl Attempt {
    /// Whether the attempt is between BOUND and VERIFIED.
    pub fn under_way(&self) -> bool {
        use AttemptState::{Bound, Personalizing, Verified, Written};
        matches!(self.is, Bound | Personalizing | Written | Verified)
    }
}

/// State of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    Queued,
    InFlight,
    Good,
    Remake { released: bool },
    Unknown,
    Cancelled,
}

/// A message to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    Fed { blank: u8 },
    RejectedUnbound { blank: u8 },
    Returned { blank: u8 },
    Tested { blank: u8 },
    Bound { record: u8, blank: u8, plastic: u8 },
    Moved { record: u8, to: AttemptState },
    Cancelled { record: u8 },
    RemakeReleased { record: u8 },
    Held,
    Released,
    Closed,
}

/// The conditions of one search.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Blanks in the hopper, at most [`BLANKS`].
    pub blanks: u8,
    /// Most crashes in one history.
    pub crashes: u8,
    /// Whether the machine shreds rejected cards.
    pub shredded: bool,
    /// The mistake that the program makes, if any.
    pub fault: Option<Fault>,
}

/// A program that makes one mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The first byte goes to the card before the ledger receives the binding.
    BindsLate,
    /// The ledger confirms a binding that is only queued, not durable.
    AcknowledgesEarly,
    /// A restart takes cards under way for cards that were not begun.
    Requeues,
    /// A remake is released although the earlier card may still exist.
    RemakesUndestroyed,
    /// STACKED is recorded before the card is moved.
    StacksLate,
    /// The person at the line reports a card as destroyed that is not.
    SaysDestroyed,
    /// REJECTED is recorded for a card that is to be thrown out while it still lies in its station and may go
    /// on.
    RejectsEarly,
    /// A sample counts as destroyed: its record is made again while the sample still exists.
    RemakesSampled,
}

/// A ledger of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Book {
    /// Rows by the number of the blank, from 1.
    pub rows: [Row; BLANKS as usize],
    /// Records by sequence, from 0.
    pub records: [Record; RECORDS as usize],
    pub job: JobState,
}

impl Book {
    pub fn new() -> Self {
        Self { rows: [Row::None; _], records: [Record::Queued; _], job: JobState::Open }
    }

    pub fn attempts(&self) -> impl Iterator<Item = Attempt> {
        self.rows
            .into_iter()
            .filter_map(|row| if let Row::Attempt(attempt) = row { Some(attempt) } else { None })
    }

    /// The number that the next blank gets.
    pub fn next_blank(&self) -> u8 {
        1 + self.rows.iter().filter(|row| **row != Row::None).count() as u8
    }

    /// The attempts of a record, in the order in which their blanks were fed.
    pub fn of(&self, record: u8) -> impl Iterator<Item = Attempt> {
        self.attempts().filter(move |a| a.record == record)
    }

    fn last(&self, record: u8) -> Option<Attempt> {
        self.of(record).max_by_key(|a| a.number)
    }

    /// The attempt to which a DESTROYED refers.
    pub fn waits_for_the_shredder(&self, record: u8) -> Option<Attempt> {
        use AttemptState::{Rejected, Sample, Unknown};
        let waits = |a: &Attempt| matches!(a.is, Rejected | Unknown | Sample);
        self.of(record).filter(waits).max_by_key(|a| a.number)
    }

    /// Makes this change if the laws allow it, and returns whether they do.
    pub fn say(&mut self, say: Say, rules: Rules) -> bool {
        self.job != JobState::Closed && self.lets(say, rules) && {
            self.make(say);
            true
        }
    }

    fn is(&self, blank: u8, row: Row) -> bool {
        blank > 0 && self.rows.get(usize::from(blank) - 1) == Some(&row)
    }

    fn settled(&self, record: u8, rules: Rules) -> bool {
        rules.fault == Some(Fault::RemakesUndestroyed)
            || self.of(record).all(|a| match a.is {
                AttemptState::Destroyed => true,
                AttemptState::Rejected => rules.shredded,
                AttemptState::Sample => rules.fault == Some(Fault::RemakesSampled),
                _ => false,
            })
    }

    fn lets(&self, say: Say, rules: Rules) -> bool {
        use AttemptState::{
            Bound, Destroyed, Good, Personalizing, Rejected, Sample, Stacked, Unknown, Verified, Written,
        };
        let state = |record: u8| self.records[usize::from(record)];
        match say {
            Say::Fed { blank } => blank == self.next_blank(),
            Say::RejectedUnbound { blank } | Say::Returned { blank } => self.is(blank, Row::Fed),
            Say::Tested { blank } => {
                let idle = !self.rows.contains(&Row::Fed) && !self.attempts().any(|a| a.under_way());
                blank == self.next_blank() && idle
            }
            Say::Bound { record, blank, plastic } => {
                self.job == JobState::Open
                    && matches!(state(record), Record::Queued | Record::Remake { released: true })
                    && self.settled(record, rules)
                    && self.is(blank, Row::Fed)
                    && self.attempts().all(|a| a.plastic != plastic)
            }
            Say::Moved { record, to: Destroyed } => self.waits_for_the_shredder(record).is_some(),
            Say::Moved { record, to } => self.last(record).is_some_and(|last| match to {
                Bound | Destroyed => false,
                Personalizing => last.is == Bound,
                Written => last.is == Personalizing,
                Verified => last.is == Written,
                Stacked => last.is == Verified,
                Rejected | Unknown => last.under_way(),
                Good => last.is == Unknown,
                Sample => matches!(last.is, Stacked | Good),
            }),
            Say::Cancelled { record } => matches!(state(record), Record::Queued | Record::Remake { .. }),
            Say::RemakeReleased { record } => {
                state(record) == Record::Remake { released: false } && self.settled(record, rules)
            }
            Say::Held => true,
            Say::Released => self.job == JobState::Held,
            Say::Closed => {
                let live = |a: Attempt| a.is == Sample || a.is == Rejected && a.wrote;
                self.records.iter().all(|r| matches!(r, Record::Good | Record::Cancelled))
                    && !self.rows.contains(&Row::Fed)
                    && !self.attempts().any(|a| a.under_way() || live(a))
            }
        }
    }

    fn make(&mut self, say: Say) {
        use AttemptState::{Destroyed, Good, Personalizing, Rejected, Sample, Stacked, Unknown};
        match say {
            Say::Fed { blank } => self.rows[usize::from(blank) - 1] = Row::Fed,
            Say::RejectedUnbound { blank } => self.rows[usize::from(blank) - 1] = Row::Rejected,
            Say::Returned { blank } => self.rows[usize::from(blank) - 1] = Row::Returned,
            Say::Tested { blank } => self.rows[usize::from(blank) - 1] = Row::Test,
            Say::Bound { record, blank, plastic } => {
                let number = 1 + self.of(record).count() as u8;
                let is = AttemptState::Bound;
                self.rows[usize::from(blank) - 1] =
                    Row::Attempt(Attempt { record, number, plastic, is, wrote: false });
                self.records[usize::from(record)] = Record::InFlight;
            }
            Say::Moved { record, to } => {
                let about =
                    if to == Destroyed { self.waits_for_the_shredder(record) } else { self.last(record) };
                let rows = self.rows.iter_mut().filter_map(|row| match row {
                    Row::Attempt(attempt) if Some(*attempt) == about => Some(attempt),
                    _ => None,
                });
                for attempt in rows {
                    let state = &mut self.records[usize::from(record)];
                    match to {
                        Stacked | Good => *state = Record::Good,
                        Unknown => *state = Record::Unknown,
                        Rejected | Sample => *state = Record::Remake { released: false },
                        Destroyed if attempt.is == Unknown => *state = Record::Remake { released: false },
                        _ => {}
                    }
                    attempt.is = to;
                    attempt.wrote |= to == Personalizing;
                }
            }
            Say::Cancelled { record } => self.records[usize::from(record)] = Record::Cancelled,
            Say::RemakeReleased { record } => {
                self.records[usize::from(record)] = Record::Remake { released: true };
            }
            Say::Held => self.job = JobState::Held,
            Say::Released => self.job = JobState::Open,
            Say::Closed => self.job = JobState::Closed,
        }
    }

    /// The changes of a start: cards that the earlier process left under way become UNKNOWN or rejected.
    pub fn restart(&mut self, rules: Rules) {
        let before = *self;
        for record in 0..RECORDS {
            if self.records[usize::from(record)] == Record::InFlight {
                self.make(Say::Moved { record, to: AttemptState::Unknown });
            }
        }
        for row in self.rows.iter_mut().filter(|row| **row == Row::Fed) {
            *row = Row::Rejected;
        }
        if *self != before && self.job == JobState::Open {
            self.job = JobState::Held;
        }
        if rules.fault == Some(Fault::Requeues) {
            for (record, was) in self.records.iter_mut().zip(before.records) {
                *record = if was == Record::InFlight { Record::Queued } else { *record };
            }
            for (row, was) in self.rows.iter_mut().zip(before.rows) {
                *row = if *row == was { *row } else { Row::Rejected };
            }
        }
    }

    /// Whether the state of each record agrees with its attempts, so that both balances add up.
    pub fn balanced(&self) -> bool {
        (0..RECORDS).zip(self.records).all(|(record, state)| {
            let count = |is: fn(&Attempt) -> bool| self.of(record).filter(is).count();
            let good = count(|a| matches!(a.is, AttemptState::Stacked | AttemptState::Good));
            let unknown = count(|a| a.is == AttemptState::Unknown);
            let under_way = count(|a| a.under_way());
            let expected = match state {
                Record::Good => (1, 0, 0),
                Record::Unknown => (0, 1, 0),
                Record::InFlight => (0, 0, 1),
                Record::Queued | Record::Remake { .. } | Record::Cancelled => (0, 0, 0),
            };
            (good, unknown, under_way) == expected
                && (state != Record::Queued || self.last(record).is_none())
                && (!matches!(state, Record::Remake { .. }) || self.last(record).is_some())
        })
    }

    /// Whether `later` still contains everything that this ledger contained.
    pub fn is_kept_by(&self, later: &Self) -> bool {
        use AttemptState::{Destroyed, Good, Sample, Stacked};
        // A final state stays, except that a good card may be taken out as a sample.
        let goes_on = |was, is| match was {
            Stacked | Good => [was, Sample, Destroyed].contains(&is),
            Sample => [Sample, Destroyed].contains(&is),
            Destroyed => is == Destroyed,
            _ => true,
        };
        let kept = |(was, now): (&Row, &Row)| match (was, now) {
            (Row::None, _) | (Row::Fed, Row::Fed | Row::Rejected | Row::Returned | Row::Attempt(_)) => true,
            (Row::Attempt(was), Row::Attempt(now)) => {
                let same = (was.record, was.number, was.plastic) == (now.record, now.number, now.plastic);
                same && was.wrote <= now.wrote && goes_on(was.is, now.is)
            }
            (was, now) => was == now,
        };
        self.rows.iter().zip(&later.rows).all(kept) && (self.job != JobState::Closed || self == later)
    }
}
