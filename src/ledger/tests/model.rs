//! The laws against a model that is written from `src/manual/ledger-events.md` in another way: it keeps only blanks
//! and attempts, as text, and derives everything else from them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ids::CardRef;
use crate::laws::book::JobBook;
use crate::laws::records::JobRecords;

/// `src/manual/ledger-events.md`, the line `attempt:`, arrow by arrow.
const ARROWS: [(&str, &str); 18] = [
    ("BOUND", "PERSONALIZING"),
    ("PERSONALIZING", "WRITTEN"),
    ("WRITTEN", "VERIFIED"),
    ("VERIFIED", "STACKED"),
    ("BOUND", "REJECTED"),
    ("PERSONALIZING", "REJECTED"),
    ("WRITTEN", "REJECTED"),
    ("VERIFIED", "REJECTED"),
    ("BOUND", "UNKNOWN"),
    ("PERSONALIZING", "UNKNOWN"),
    ("WRITTEN", "UNKNOWN"),
    ("VERIFIED", "UNKNOWN"),
    ("REJECTED", "DESTROYED"),
    ("UNKNOWN", "DESTROYED"),
    ("UNKNOWN", "GOOD"),
    ("STACKED", "SAMPLE"),
    ("GOOD", "SAMPLE"),
    ("SAMPLE", "DESTROYED"),
];

#[derive(Default)]
struct Card {
    /// (blank, states that it was in)
    attempts: Vec<(u32, Vec<&'static str>)>,
    cancelled: bool,
    released: bool,
}

impl Card {
    fn state(&self) -> &'static str {
        let now = self.attempts.last().map(|a| *a.1.last().unwrap());
        match now {
            _ if self.cancelled => "CANCELLED",
            None => "QUEUED",
            Some("STACKED" | "GOOD") => "GOOD",
            Some("REJECTED" | "DESTROYED" | "SAMPLE") => "REMAKE",
            Some("UNKNOWN") => "UNKNOWN",
            Some(_) => "IN_FLIGHT",
        }
    }
}

pub(crate) struct Model {
    shredded: bool,
    job: &'static str,
    deleting: bool,
    deleted: bool,
    /// Last bytes of all chips that were bound.
    chips: BTreeSet<u8>,
    /// Records whose last attempt has a known chip, and whose card returned its value.
    known: BTreeSet<u32>,
    gave: BTreeSet<u32>,
    cards: Vec<Card>,
    /// Fate of each unbound blank; "bound" once it is bound.
    blanks: Vec<&'static str>,
    position: u32,
    /// Issued, returned, vaulted.
    stock: [u64; 3],
}

impl Model {
    pub(crate) fn new(cards: usize, shredded: bool) -> Self {
        let cards = (0..cards).map(|_| Card::default()).collect();
        Self {
            shredded,
            job: "OPEN",
            deleting: false,
            deleted: false,
            chips: BTreeSet::new(),
            known: BTreeSet::new(),
            gave: BTreeSet::new(),
            cards,
            blanks: Vec::new(),
            position: 0,
            stock: [0; 3],
        }
    }

    fn free(&self, blank: u32) -> bool {
        blank > 0 && self.blanks.get(blank as usize - 1) == Some(&"line")
    }

    /// Blanks in the hopper: issued, minus returned, minus those in the line or beyond.
    fn hopper(&self) -> i64 {
        let [issued, returned, _] = self.stock.map(u64::cast_signed);
        let away = self.blanks.iter().filter(|blank| **blank != "returned").count().cast_signed() as i64;
        if issued > 0 { issued - returned - away } else { 0 }
    }

    fn good(&self) -> u64 {
        self.cards.iter().filter(|card| card.state() == "GOOD").count() as u64
    }

    /// Whether the law allows the change; if so, makes it.
    pub(crate) fn step(&mut self, change: &Change) -> bool {
        if matches!(change, Change::Deleting { .. }) {
            return self.job == "CLOSED" && !self.deleted && !std::mem::replace(&mut self.deleting, true);
        }
        if matches!(change, Change::Deleted(_)) {
            return self.job == "CLOSED" && self.deleting && !std::mem::replace(&mut self.deleted, true);
        }
        if self.job == "CLOSED" {
            return false;
        }
        match change.clone() {
            Change::Fed { blank } => {
                let next = blank as usize == self.blanks.len() + 1;
                if next {
                    self.blanks.push("line");
                }
                next
            }
            Change::RejectedUnbound { blank, .. } => self.leave(blank, "rejected"),
            Change::Returned { blank } => self.leave(blank, "returned"),
            Change::Tested { blank } => {
                let next = blank as usize == self.blanks.len() + 1;
                let idle = self.balance().blanks_in_line == 0;
                let ok = next && idle && (self.stock[0] == 0 || self.hopper() > 0);
                if ok {
                    self.blanks.push("test");
                }
                ok
            }
            Change::StockIssued { count } => {
                let ok = count > 0 && (self.stock[0] > 0 || self.blanks.is_empty());
                self.stock[0] += if ok { u64::from(count) } else { 0 };
                ok
            }
            Change::StockReturned { count } => {
                let ok = count > 0 && self.stock[0] > 0 && i64::from(count) <= self.hopper();
                self.stock[1] += if ok { u64::from(count) } else { 0 };
                ok
            }
            Change::StockVaulted { count } => {
                let with = self.stock[2] + u64::from(count);
                let ok = count > 0 && self.stock[0] > 0 && with <= self.good();
                self.stock[2] = if ok { with } else { self.stock[2] };
                ok
            }
            Change::Sampled { seq } => {
                // At least one good card must be outside the vault.
                self.stock[2] < self.good() && self.last(seq, "SAMPLE")
            }
            Change::Bound { seq, blank, chip } => {
                let (free, held, settled) = (self.free(blank), self.job == "HELD", self.settled(seq));
                let seen = chip.is_some_and(|chip| self.chips.contains(&last_byte(&chip)));
                let Some(card) = self.card(seq) else { return false };
                let waits = card.state() == "QUEUED" || card.state() == "REMAKE" && card.released;
                if !(free && waits && settled && !held && !seen) {
                    return false;
                }
                self.know(seq, chip);
                let Some(card) = self.card(seq) else { return false };
                card.attempts.push((blank, vec!["BOUND"]));
                card.released = false;
                self.blanks[blank as usize - 1] = "bound";
                true
            }
            Change::ChipFound { seq, chip } => {
                let now = self.card(seq).and_then(|c| c.attempts.last()).map(|a| *a.1.last().unwrap());
                let ok = matches!(now, Some("BOUND" | "PERSONALIZING"))
                    && !self.known.contains(&seq)
                    && !self.chips.contains(&last_byte(&chip));
                if ok {
                    self.know(seq, Some(chip));
                }
                ok
            }
            Change::ValueGiven { seq, .. } => {
                let now = self.card(seq).and_then(|c| c.attempts.last()).map(|a| *a.1.last().unwrap());
                now == Some("PERSONALIZING") && self.gave.insert(seq)
            }
            Change::Attempt { seq, to } => {
                let to = match to {
                    AttemptState::Personalizing => "PERSONALIZING",
                    AttemptState::Written => "WRITTEN",
                    _ => return false,
                };
                self.last(seq, to)
            }
            Change::Verified { seq, .. } => self.last(seq, "VERIFIED"),
            Change::Stacked { seq, position } => {
                let ok = position > self.position && self.last(seq, "STACKED");
                if ok {
                    self.position = position;
                }
                ok
            }
            Change::Rejected { seq } => self.last(seq, "REJECTED"),
            Change::Lost { seq } => self.last(seq, "UNKNOWN"),
            Change::FoundGood { seq } => self.last(seq, "GOOD"),
            Change::Destroyed { seq } => {
                let Some(card) = self.card(seq) else { return false };
                let waiting = |a: &&mut (u32, Vec<&str>)| {
                    matches!(a.1.last(), Some(&("REJECTED" | "UNKNOWN" | "SAMPLE")))
                };
                let Some(attempt) = card.attempts.iter_mut().rev().find(waiting) else { return false };
                attempt.1.push("DESTROYED");
                true
            }
            Change::Cancelled { seq } => {
                let Some(card) = self.card(seq) else { return false };
                let ok = matches!(card.state(), "QUEUED" | "REMAKE");
                card.cancelled |= ok;
                card.released &= !ok;
                ok
            }
            Change::RemakeReleased { seq } => {
                let settled = self.settled(seq);
                let Some(card) = self.card(seq) else { return false };
                let ok = card.state() == "REMAKE" && !card.released && settled;
                card.released |= ok;
                ok
            }
            Change::Asked { seq } => self.card(seq).is_some(),
            Change::Ran(_) => true,
            Change::Held => {
                self.job = "HELD";
                true
            }
            Change::HoldAsked | Change::HoldTakenBack => self.job == "OPEN",
            Change::Released => {
                let ok = self.job == "HELD";
                self.job = if ok { "OPEN" } else { self.job };
                ok
            }
            Change::Deleting { .. } | Change::Deleted(_) => false,
            Change::Closed => {
                let done = self.cards.iter().all(|c| matches!(c.state(), "GOOD" | "CANCELLED"));
                let live = self.cards.iter().flat_map(|c| &c.attempts).any(|a| {
                    let out = a.1.contains(&"REJECTED") || a.1.contains(&"SAMPLE");
                    a.1.contains(&"PERSONALIZING") && out && !a.1.contains(&"DESTROYED")
                });
                let ok = done && !live && !self.blanks.contains(&"line") && self.hopper() == 0;
                self.job = if ok { "CLOSED" } else { self.job };
                ok
            }
        }
    }

    fn card(&mut self, seq: u32) -> Option<&mut Card> {
        self.cards.get_mut((seq as usize).wrapping_sub(1))
    }

    fn know(&mut self, seq: u32, chip: Option<ChipId>) {
        self.known.remove(&seq);
        if let Some(chip) = chip {
            self.known.insert(seq);
            self.chips.insert(last_byte(&chip));
        }
    }

    fn settled(&mut self, seq: u32) -> bool {
        let shredded = self.shredded;
        self.card(seq).is_some_and(|card| {
            card.attempts
                .iter()
                .all(|a| a.1.last() == Some(&"DESTROYED") || shredded && a.1.last() == Some(&"REJECTED"))
        })
    }

    fn leave(&mut self, blank: u32, to: &'static str) -> bool {
        let free = self.free(blank);
        if free {
            self.blanks[blank as usize - 1] = to;
        }
        free
    }

    fn last(&mut self, seq: u32, to: &'static str) -> bool {
        let Some(attempt) = self.card(seq).and_then(|c| c.attempts.last_mut()) else { return false };
        let ok = ARROWS.contains(&(attempt.1.last().unwrap(), to));
        if ok {
            if attempt.1.last() == Some(&"PERSONALIZING") {
                attempt.1.push(to);
                self.gave.remove(&seq);
            } else {
                attempt.1.push(to);
            }
        }
        ok
    }

    fn balance(&self) -> Balance {
        let records = |state| self.cards.iter().filter(|c| c.state() == state).count() as u64;
        let unbound = |fate| self.blanks.iter().filter(|b| **b == fate).count() as u64;
        let now = |a: &(u32, Vec<&'static str>)| *a.1.last().unwrap();
        let bound = |states: &[&str]| {
            self.cards.iter().flat_map(|c| &c.attempts).filter(|a| states.contains(&now(a))).count() as u64
        };
        Balance {
            records: self.cards.len() as u64,
            queued: records("QUEUED"),
            in_flight: records("IN_FLIGHT"),
            good: records("GOOD"),
            remake: records("REMAKE"),
            unknown: records("UNKNOWN"),
            cancelled: records("CANCELLED"),
            blanks_fed: self.blanks.len() as u64,
            blanks_in_line: unbound("line") + bound(&["BOUND", "PERSONALIZING", "WRITTEN", "VERIFIED"]),
            blanks_good: bound(&["STACKED", "GOOD"]),
            blanks_rejected: unbound("rejected") + bound(&["REJECTED", "DESTROYED"]),
            blanks_unknown: bound(&["UNKNOWN"]),
            blanks_returned: unbound("returned"),
            blanks_sample: unbound("test") + bound(&["SAMPLE"]),
        }
    }

    /// A change from random numbers; most of them near what the state allows.
    pub(crate) fn change(&mut self, (kind, seq, raw): (u8, u32, u32)) -> Change {
        let fed = self.blanks.len() as u32;
        let wild = raw % 7 == 0;
        let free = (1..=fed).filter(|b| self.free(*b)).nth(raw as usize % 3);
        let blank = if wild { raw % (fed + 3) } else { free.unwrap_or(fed) };
        let position = if wild { raw % 5 } else { self.position + 1 + raw % 2 };
        // A chip of its own for each blank.
        let bound_to = if raw % 2 == 0 { chip(blank as u8) } else { None };
        let (shredded, released) = (self.shredded, self.card(seq).is_some_and(|c| c.released));
        match kind {
            0..=3 => Change::Fed { blank: if wild { raw % 9 } else { fed + 1 } },
            4 => Change::RejectedUnbound { blank, chip: bound_to },
            5 => Change::Returned { blank },
            6..=11 => Change::Bound { seq, blank, chip: bound_to },
            // The next step forward of that record, in any state.
            12..=25 => match self.card(seq).and_then(|c| c.attempts.last()).map(|a| *a.1.last().unwrap()) {
                Some("BOUND") => Change::Attempt { seq, to: AttemptState::Personalizing },
                Some("PERSONALIZING") => Change::Attempt { seq, to: AttemptState::Written },
                Some("WRITTEN") => Change::Verified { seq, compared: "x".to_owned() },
                Some("VERIFIED") => Change::Stacked { seq, position },
                Some("REJECTED" | "DESTROYED") if released => Change::Bound { seq, blank, chip: bound_to },
                Some("REJECTED") if shredded && raw % 3 > 0 => Change::RemakeReleased { seq },
                Some("REJECTED" | "UNKNOWN" | "SAMPLE") => Change::Destroyed { seq },
                Some("DESTROYED") => Change::RemakeReleased { seq },
                _ => Change::Bound { seq, blank, chip: bound_to },
            },
            26 => Change::Attempt {
                seq,
                to: [
                    AttemptState::Bound,
                    AttemptState::Personalizing,
                    AttemptState::Written,
                    AttemptState::Verified,
                    AttemptState::Stacked,
                    AttemptState::Rejected,
                    AttemptState::Unknown,
                    AttemptState::Destroyed,
                    AttemptState::Good,
                    AttemptState::Sample,
                ][raw as usize % 10],
            },
            27 => Change::Verified { seq, compared: String::new() },
            28 => Change::Stacked { seq, position },
            29 | 30 => Change::Rejected { seq },
            31 => Change::Lost { seq },
            32 => Change::Cancelled { seq },
            33 => Change::Destroyed { seq },
            34 => Change::FoundGood { seq },
            35 => Change::RemakeReleased { seq },
            36 => Change::Asked { seq },
            37 => Change::Held,
            38 => Change::Released,
            39 if raw % 2 == 0 => Change::HoldAsked,
            39 => Change::HoldTakenBack,
            40 | 41 => Change::Closed,
            42 => Change::StockIssued { count: raw % 5 },
            43 => Change::StockReturned {
                count: if wild { raw % 9 } else { u32::try_from(self.hopper()).unwrap_or(1) },
            },
            44 => Change::StockVaulted { count: raw % 3 },
            45 => Change::Tested { blank: if wild { raw % 9 } else { fed + 1 } },
            // Issued as many as were fed too many.
            46 => Change::StockIssued { count: u32::try_from(-self.hopper()).unwrap_or(raw % 3) },
            47 => Change::Deleted(fate()),
            48 => Change::Ran(RunCounts::default()),
            49 => Change::ChipFound { seq, chip: chip((raw % 40) as u8).unwrap() },
            50 => Change::ValueGiven { seq, value: Box::new(CardValue::new("key", &[raw as u8], true)) },
            51 => Change::Deleting { spool_key: None },
            _ => Change::Sampled { seq },
        }
    }
}

pub(crate) fn numbers(length: usize) -> impl Strategy<Value = Vec<(u8, u32, u32)>> {
    prop::collection::vec((0u8..53, 0u32..6, 0u32..10_000), 1..length)
}

/// A few changes that finish or cancel everything and settle the hopper, so that closing is reached too.
pub(crate) fn windup(cards: u32) -> Vec<(u8, u32, u32)> {
    (1..=cards)
        .flat_map(|seq| (0..6).map(move |_| (12, seq, 1)).chain([(32, seq, 1)]))
        .chain([(43, 1, 1), (46, 1, 1), (40, 1, 1)])
        .collect()
}

fn last_byte(chip: &ChipId) -> u8 {
    *chip.identity.bytes.as_slice().last().unwrap()
}

fn fate() -> DataFate {
    DataFate { key: KeyFate::NoKey, spool: SpoolFate::Overwritten, unreadable: false }
}

/// A failure prints its input; the source tree stays unchanged.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn the_book_keeps_the_laws_of_the_model(
        numbers in numbers(120), shredded: bool, cards in 1u32..5, finish: bool, counted: bool
    ) {
        let mut model = Model::new(cards as usize, shredded);
        let names = (0..cards).map(|n| CardRef::new(format!("CARD-{n}")).unwrap()).collect();
        let records = JobRecords::queued(names);
        let mut book = JobBook::new(records, shredded, true);
        let tail = if finish { windup(cards) } else { Vec::new() };
        let head = counted.then_some((42, 1, 4));
        for numbers in head.into_iter().chain(numbers).chain(tail) {
            let change = model.change(numbers);
            let before = format!("{book:?}");
            let allowed = model.step(&change);
            let effect = book.apply(&change);
            prop_assert_eq!(effect.is_ok(), allowed, "{:?} gave {:?}", change, effect);
            if !allowed {
                prop_assert_eq!(before, format!("{book:?}"), "a refused change left a trace");
            }
            let balance = model.balance();
            prop_assert_eq!(book.balance, balance);
            let [issued, returned, vaulted] = model.stock;
            prop_assert_eq!(book.stock, Stock { issued, returned, vaulted });
            prop_assert_eq!(book.stock.hopper(&balance), model.hopper());
            prop_assert!(vaulted <= balance.blanks_good);
            prop_assert_eq!((balance.records_off(), balance.blanks_off()), (0, 0));
            prop_assert_eq!(book.records.len(), model.cards.len());
            for ((seq, record), card) in book.records.lives().zip(&model.cards) {
                prop_assert_eq!(record.state.name(), card.state());
                let attempts = book.records.attempts_of(seq);
                let attempts = attempts.iter().map(|a| (a.blank, a.state.name()));
                let expected = card.attempts.iter().map(|a| (a.0, *a.1.last().unwrap()));
                prop_assert!(attempts.eq(expected), "record {seq} is not {:?}", card.attempts);
            }
        }
    }
}

proptest! {
    #![proptest_config(config(24))]

    /// Like the model test, through SQLite, in batches: refused changes do not disturb their neighbours, the tables
    /// agree with the model, and after a restart everything that was under way is UNKNOWN, rejected or HELD.
    #[test]
    fn the_ledger_keeps_the_laws_of_the_model(numbers in numbers(150), shredded: bool, counted: bool) {
        let directory = directory();
        let path = directory.path().join("l.db");
        let ledger = Ledger::open(&path).unwrap();
        let new = NewJob { rejects_shredded: shredded, ..file("F", 4) };
        let job = ledger.new_job(new).unwrap().job;
        let mut model = Model::new(4, shredded);
        let mut expected = Vec::new();
        let head = counted.then_some((42, 1, 4));
        let tickets: Vec<_> = head
            .into_iter()
            .chain(numbers)
            .map(|numbers| {
                let change = model.change(numbers);
                expected.push(model.step(&change));
                ledger.record(job, change, Context::default())
            })
            .collect();
        let allowed: Vec<_> = tickets.into_iter().map(|t| t.wait().is_ok()).collect();
        prop_assert_eq!(&allowed, &expected);
        compare(&ledger.reader().unwrap(), job, &model);

        drop(ledger);
        let ledger = Ledger::open(&path).unwrap();
        let interrupted = model.balance().in_flight + model.balance().blanks_in_line > 0;
        for seq in 1..=4 {
            model.last(seq, "UNKNOWN");
        }
        model.blanks.iter_mut().filter(|b| **b == "line").for_each(|b| *b = "rejected");
        if interrupted {
            model.job = "HELD";
        }
        let reader = ledger.reader().unwrap();
        compare(&reader, job, &model);
        // The loaded book equals the written one: the laws continue as before.
        for numbers in windup(4) {
            let change = model.change(numbers);
            prop_assert_eq!(say(&ledger, job, change.clone()).is_ok(), model.step(&change), "{:?}", change);
        }
        compare(&reader, job, &model);
    }
}

fn compare(reader: &Reader, job: JobId, model: &Model) {
    sound(reader);
    let view = reader.job(job).unwrap();
    assert_eq!(view.state.name(), model.job);
    assert_eq!(view.balance, model.balance());
    let stock = reader.stock(job).unwrap();
    let [issued, returned, vaulted] = model.stock;
    assert_eq!((stock.stock, stock.hopper), (Stock { issued, returned, vaulted }, model.hopper()));
    assert_eq!(reader.audit(None, |_| ()).unwrap().findings, []);
    for (card, seq) in model.cards.iter().zip(1..) {
        let view = reader.card(job, seq).unwrap();
        assert_eq!((view.state.name(), view.released), (card.state(), card.released));
        let attempts: Vec<_> =
            view.attempts.iter().map(|a| (a.blank_number, a.state.name(), a.wrote)).collect();
        let expected: Vec<_> = card
            .attempts
            .iter()
            .map(|a| (a.0, *a.1.last().unwrap(), a.1.contains(&"PERSONALIZING")))
            .collect();
        assert_eq!(attempts, expected);
    }
    let pending: Vec<u32> = (1..)
        .zip(&model.cards)
        .filter(|(_, c)| c.state() == "QUEUED" || c.released)
        .map(|(seq, _)| seq)
        .collect();
    assert_eq!(reader.pending(job).unwrap(), pending);
    assert_eq!(reader.next_blank(job).unwrap() as usize, model.blanks.len() + 1);
    assert_eq!(reader.next_position(job).unwrap(), model.position + 1);
}
