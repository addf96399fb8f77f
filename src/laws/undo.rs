//! Takes a change back that turned out not to be the one of its event. Pure.

use std::collections::BTreeSet;

use super::book::{Attempt, JobBook};
use super::event::{ChipIdentity, LedgerEvent};
use super::records::RecordLife;
use super::types::{Balance, JobState, Stock};

/// Every part of a job's book that one event may change, as it was before the event.
pub(super) struct BookBefore {
    simulated: bool,
    state: JobState,
    deleting: bool,
    deleted: bool,
    balance: Balance,
    stock: Stock,
    in_line: BTreeSet<u32>,
    values: BTreeSet<(u32, String)>,
    last_blank: u32,
    last_position: u32,
    /// The record that the event is about.
    record: Option<(u32, RecordLife, Vec<Attempt>)>,
    /// The event's chip, if the book did not have it.
    new_chip: Option<ChipIdentity>,
}

impl BookBefore {
    /// Keeps what `event` may change.
    pub(super) fn of(book: &JobBook, event: &LedgerEvent) -> Self {
        // Named one by one, so that a new field of the book is not forgotten here.
        let JobBook {
            rejects_shredded: _,
            simulated,
            state,
            deleting,
            deleted,
            balance,
            stock,
            records,
            in_line,
            chips,
            values,
            last_blank,
            last_position,
        } = book;
        let life = |seq| Some((seq, records.life(seq)?, records.attempts_of(seq).to_vec()));
        let chip = event.fact.chip().map(|chip| chip.identity);
        Self {
            simulated: *simulated,
            state: *state,
            deleting: *deleting,
            deleted: *deleted,
            balance: *balance,
            stock: *stock,
            in_line: in_line.clone(),
            values: values.clone(),
            last_blank: *last_blank,
            last_position: *last_position,
            record: event.seq().and_then(life),
            new_chip: chip.filter(|chip| !chips.contains(chip)),
        }
    }

    /// Makes the book what it was.
    pub(super) fn put_back(self, book: &mut JobBook) {
        book.simulated = self.simulated;
        book.state = self.state;
        book.deleting = self.deleting;
        book.deleted = self.deleted;
        book.balance = self.balance;
        book.stock = self.stock;
        book.in_line = self.in_line;
        book.values = self.values;
        book.last_blank = self.last_blank;
        book.last_position = self.last_position;
        if let Some((seq, life, attempts)) = self.record {
            book.records.put_back(seq, life, attempts);
        }
        if let Some(chip) = self.new_chip {
            book.chips.remove(&chip);
        }
    }
}
