//! Checks rows: the values by the rules of their columns, required columns, the rules between columns, duplicates.
//!
//! Not here: the shape of values (`columns`), reading (`rows`).

use std::collections::HashSet;
use std::io::Read;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seen::SeenDigests;
use super::{
    Cardholder, InputError, InputPlace, InputSchema, RejectedLine, RowReader, RowValues, SourceRow,
    TextLimit, names,
};
use crate::emv::MonthYear;
use crate::ids::{CardRef, KekId};
use crate::prep::allow::{Allowances, AllowedKind, TakenCards};
use crate::prep::columns::{self, Column};
use crate::prep::plastic::FULFILMENT;
use crate::prep::today::year_month;
use crate::prep::transliterate::spelled;

/// Makes checked cards of rows.
pub struct CardholderReader<'a, I> {
    rows: I,
    schema: &'a InputSchema,
    rules: RunRules<'a>,
    /// The names so far; `None` if an earlier reading has found that each stands once.
    seen: Option<SeenDigests>,
    doubled: DoubledNames,
    taken: TakenCards,
    /// The number of the tool's counter that comes next, and how many were used; none without a counter.
    numbers: Option<(u64, u64)>,
}

/// The card_refs, and the account numbers with their PSN, that stand in several rows: digests.
#[derive(Default)]
pub struct DoubledNames(HashSet<[u8; 16]>);

/// The rules of a run beside those of the columns. Without a run, as in tests of the columns, there are none.
#[derive(Default, Clone, Copy)]
struct RunRules<'a> {
    /// The KEK that protects the cards.
    kek: Option<KekId>,
    /// This month.
    today: Option<MonthYear>,
    /// What is taken in spite of the rules.
    allowed: Option<&'a Allowances>,
    /// The counter's next number. A row may not have this number or a later one of the counter.
    next_number: Option<u64>,
}

impl<'a, R: Read> CardholderReader<'a, RowReader<'a, R>> {
    /// Reads the cards of one source, whose header is checked here.
    pub fn new(source: R, schema: &'a InputSchema) -> Result<Self, RejectedLine> {
        Ok(Self::of(RowReader::new(source, schema.format, None, schema)?, schema))
    }
}

impl<'a, I: Iterator<Item = Result<SourceRow, RejectedLine>>> CardholderReader<'a, I> {
    /// Makes cards of rows, one of each.
    pub fn of(rows: I, schema: &'a InputSchema) -> Self {
        let (rules, seen, taken) = (RunRules::default(), Some(SeenDigests::new()), TakenCards::default());
        let doubled = DoubledNames::default();
        Self { rows, schema, rules, seen, doubled, taken, numbers: None }
    }

    /// Refuses account numbers and long purse identifiers outside the issuer identifier of this KEK, and a card_ref that could be
    /// an account number inside.
    #[must_use]
    pub fn under(mut self, kek: KekId) -> Self {
        self.rules.kek = Some(kek);
        self
    }

    /// Refuses cards that have expired before this month.
    #[must_use]
    pub fn at(mut self, today: MonthYear) -> Self {
        self.rules.today = Some(today);
        self
    }

    /// Takes cards in spite of these rules, and counts them.
    #[must_use]
    pub fn allowing(mut self, allowed: &'a Allowances) -> Self {
        self.rules.allowed = Some(allowed);
        self
    }

    /// Gives cards without a value in the counted column numbers from this one on.
    #[must_use]
    pub fn counting_from(mut self, first: u64) -> Self {
        self.numbers = Some((first, 0));
        self
    }

    /// Refuses a row whose number the counter has not given yet; `next` is the counter's next number.
    #[must_use]
    pub fn refusing_from(mut self, next: u64) -> Self {
        self.rules.next_number = Some(next);
        self
    }

    /// Refuses every card with one of these names, the first too.
    #[must_use]
    pub fn rejecting(mut self, doubled: DoubledNames) -> Self {
        self.doubled = doubled;
        self
    }

    /// Does not compare the rows with each other: an earlier reading has done that.
    #[must_use]
    pub fn compared_before(mut self) -> Self {
        self.seen = None;
        self
    }

    /// The names that stood in several rows.
    pub fn into_doubled(self) -> DoubledNames {
        self.doubled
    }

    /// How many numbers of the counter were used so far.
    pub fn counted(&self) -> u64 {
        self.numbers.map_or(0, |(_, used)| used)
    }

    /// The cards so far that were taken in spite of a rule.
    pub fn taken(&self) -> &TakenCards {
        &self.taken
    }

    fn checked(&mut self, row: SourceRow) -> Result<Cardholder, RejectedLine> {
        let mut checked = CheckedLine::new(self.schema, row);
        if let Some(next) = self.rules.next_number {
            checked.given(next);
        }
        if let Some((next, used)) = self.numbers
            && checked.count(next)
        {
            self.numbers = Some((next.saturating_add(1), used + 1));
        }
        checked.complete();
        checked.characters();
        checked.relate();
        let taken = checked.admit(self.rules);
        checked.name(self.rules.kek);
        if let Some(seen) = &mut self.seen {
            checked.unique(seen, &mut self.doubled);
        }
        let card = checked.card()?;
        self.taken.add(taken);
        Ok(card)
    }
}

impl<I: Iterator<Item = Result<SourceRow, RejectedLine>>> Iterator for CardholderReader<'_, I> {
    type Item = Result<Cardholder, RejectedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.rows.next()?.and_then(|row| self.checked(row)))
    }
}

/// One line while it is checked. It is cardholder data: no `Debug`, wiped when dropped.
struct CheckedLine<'a> {
    schema: &'a InputSchema,
    /// Where the row begins in each source.
    places: Vec<InputPlace>,
    /// The values that are not of the first source, with their source's number in `places`.
    sources: Vec<(Column, usize)>,
    /// The values that follow the rules of their columns.
    values: RowValues,
    /// The values that break them.
    wrong: RowValues,
    /// The name before it was spelled for the track.
    as_written: Option<Zeroizing<String>>,
    faults: Vec<InputError>,
}

impl<'a> CheckedLine<'a> {
    /// Checks each value by the rule of its column.
    fn new(schema: &'a InputSchema, row: SourceRow) -> Self {
        let SourceRow { place, values, others } = row;
        let mut line = Self {
            schema,
            places: vec![place],
            sources: Vec::new(),
            values,
            wrong: RowValues::default(),
            as_written: None,
            faults: Vec::new(),
        };
        others.into_iter().for_each(|other| line.part(other));
        if schema.transliterate {
            line.spell();
        }
        let broken = line
            .values
            .iter()
            .filter_map(|(column, text)| Some((column, columns::check(column, text).err()?)));
        for (column, what) in broken.collect::<Vec<_>>() {
            line.refuse(column, &what);
        }
        line
    }

    /// Adds the values of another source.
    fn part(&mut self, row: SourceRow) {
        let number = self.places.len();
        self.places.push(row.place);
        for (column, text) in row.values.iter() {
            // The join has put the sources together by it.
            if column == Column::CardRef {
                continue;
            }
            if self.values.contains(column) {
                self.fault_at(number, column, "stands in another source too");
            } else {
                self.sources.push((column, number));
                self.values.insert(column, text);
            }
        }
    }

    fn fault(&mut self, column: Column, what: &str) {
        let source = self.sources.iter().find(|(known, _)| *known == column);
        self.fault_at(source.map_or(0, |(_, number)| *number), column, what);
    }

    /// Adds a fault of the source with this number.
    fn fault_at(&mut self, number: usize, column: Column, what: &str) {
        if let Some(place) = self.places.get(number).or(self.places.first()).cloned() {
            let column = self.schema.name(column).to_owned();
            self.faults.push(InputError::Value { place, column, what: what.into() });
        }
    }

    /// Notes that the value of a column is wrong.
    fn refuse(&mut self, column: Column, what: &str) {
        if let Some(text) = self.values.get(column) {
            self.wrong.insert(column, text);
        }
        self.values.remove(column);
        self.fault(column, what);
    }

    /// Adds a value that no source has, and checks it by the rule of its column.
    fn add(&mut self, column: Column, text: &str) {
        self.values.insert(column, text);
        if column == Column::Name && self.schema.transliterate {
            self.spell();
        }
        let checked = self.values.get(column).map(|text| columns::check(column, text));
        if let Some(Err(what)) = checked {
            self.refuse(column, &what);
        }
    }

    /// Spells the name as the track has it, and keeps it for print as it was written.
    fn spell(&mut self) {
        let Some(name) = self.values.get(Column::Name).filter(|name| name.chars().all(columns::printable))
        else {
            return;
        };
        // The rule of the column refuses a name that cannot be spelled.
        let Some(mut ascii) = spelled(name, |c| TextLimit::Ascii.takes(c)) else { return };
        ascii.make_ascii_uppercase();
        self.as_written = Some(Zeroizing::new(name.to_owned()));
        self.values.insert(Column::Name, &ascii);
    }

    fn absent(&self, column: Column) -> bool {
        !self.values.contains(column) && !self.wrong.contains(column)
    }

    /// Gives the card this number of the counter, if it has no value in the counted column. Returns whether it does.
    fn count(&mut self, number: u64) -> bool {
        let counted = self.schema.counter.as_ref().filter(|counted| self.absent(counted.column));
        let Some(counted) = counted else { return false };
        match counted.value(number) {
            Some(value) => self.add(counted.column, &value),
            None => {
                self.wrong.insert(counted.column, "");
                self.fault(counted.column, "has too few digits for the next number of the counter");
            }
        }
        true
    }

    /// Checks that a number of the line is not one that the counter gives later.
    fn given(&mut self, next: u64) {
        let Some(counted) = &self.schema.counter else { return };
        let number = self.values.get(counted.column).and_then(|text| counted.number(text));
        if number.is_some_and(|number| number >= next) {
            let what = "is a number that the counter has not given yet and would give to a later card: leave the value empty, or \
                        make a counter that begins above this number (cardwright-prep counter new)";
            self.fault(counted.column, what);
        }
    }

    /// Adds the values that the line leaves out.
    fn complete(&mut self) {
        let schema = self.schema;
        let psn = (Column::Psn, "00");
        let values = schema.defaults.iter().map(|(column, text)| (*column, text.as_str())).chain([psn]);
        for (column, text) in values {
            if self.absent(column) {
                self.add(column, text);
            }
        }
        let several = self.places.first().is_some_and(|place| place.file.is_some());
        for required in schema.columns().iter().filter(|known| known.required) {
            if self.absent(required.column) {
                self.fault(
                    required.column,
                    if several { "is empty, or its input has no row of the card" } else { "is empty" },
                );
            }
        }
        if !self.absent(Column::NamePrinted) {
            return;
        }
        if let Some(name) = self.values.get(Column::Name) {
            let printed = names::printed(self.as_written.as_ref().map_or(name, |name| name));
            self.values.insert(Column::NamePrinted, &printed);
        } else if schema.needs_printed_name && self.absent(Column::Name) {
            let what = format!("is empty, and so is {}", schema.name(Column::Name));
            self.fault(Column::NamePrinted, &what);
        }
    }

    /// Checks that the media of each text take its characters.
    fn characters(&mut self) {
        let schema = self.schema;
        let mut found = Vec::new();
        for (column, text) in self.values.iter().filter(|(column, _)| column.is_text()) {
            let Some(limit) = schema.limit(column) else { continue };
            let media = limit.media();
            if schema.transliterate {
                if spelled(text, |c| limit.takes(c)).is_none() {
                    found.push((
                        column,
                        format!("holds a character that {media} cannot take, and that has no spelling that it can: change it"),
                    ));
                }
            } else if !text.chars().all(|c| limit.takes(c)) {
                let advice = "change it, or set transliterate = true in the product";
                found.push((column, format!("holds a character that {media} cannot take; {advice}")));
            }
        }
        found.into_iter().for_each(|(column, what)| self.fault(column, &what));
    }

    /// Checks the rules of the run. Returns what the card breaks and is taken for all that.
    fn admit(&mut self, rules: RunRules<'_>) -> Vec<AllowedKind> {
        let get = |column: Column| self.values.get(column);
        let mut broken = Vec::new();
        if let (Some(today), Some(expiry)) = (rules.today, get(Column::Expiry).and_then(year_month))
            && expiry < today
        {
            broken.push((AllowedKind::Expired, Column::Expiry));
        }
        if let (Some(kek), Some(pan)) = (rules.kek, get(Column::Pan))
            && !pan.starts_with(&kek.issuer_digits())
        {
            broken.push((AllowedKind::ForeignIin, Column::Pan));
        }
        let foreign_purse = rules.kek.zip(get(Column::PurseId)).is_some_and(|(kek, purse)| {
            purse.len() == columns::LONG_PURSE_ID && !purse.starts_with(&kek.issuer_digits())
        });
        let is_allowed = |kind| rules.allowed.is_some_and(|allowed| allowed.reason(kind).is_some());
        let (taken, refused): (Vec<_>, Vec<_>) = broken.into_iter().partition(|(kind, _)| is_allowed(*kind));
        refused.into_iter().for_each(|(kind, column)| self.fault(column, &kind.fault()));
        if foreign_purse {
            // No allowance: a purse has one issuer, who makes its keys, while an account may come to another.
            let what = "has 16 digits and does not begin with the issuer identifier of the KEK";
            self.fault(Column::PurseId, what);
        }
        taken.into_iter().map(|(kind, _)| kind).collect()
    }

    /// Checks the rules between columns, where the values follow the rules of their own.
    fn relate(&mut self) {
        let get = |column: Column| self.values.get(column);
        let mut found = Vec::new();
        // Fulfilment data is printed in the bureau's papers. So it must not hold the account number, even with
        // other characters between its digits.
        let printed = FULFILMENT.into_iter().map(|(_, column)| column);
        for (column, text) in printed.filter_map(|column| Some((column, get(column)?))) {
            if self.shows(text, Column::Pan) {
                found.push((column, "holds the account number"));
            }
        }
        // YYMM of one century can be compared as text.
        if let (Some(effective), Some(expiry)) = (get(Column::Effective), get(Column::Expiry))
            && effective > expiry
        {
            found.push((Column::Effective, "is after the expiry"));
        }
        let amount = |column| get(column).and_then(|v| v.parse::<u64>().ok());
        if let (Some(balance), Some(max)) = (amount(Column::Balance), amount(Column::MaxBalance))
            && balance > max
        {
            found.push((Column::Balance, "is above max_balance"));
        }
        found.into_iter().for_each(|(column, what)| self.fault(column, what));
    }

    /// Checks that the card_ref, which is printed in logs and reports, holds no account number. It takes the
    /// number of the line even if that is wrong.
    fn name(&mut self, kek: Option<KekId>) {
        let Some(text) = self.values.get(Column::CardRef) else { return };
        let checked = if self.shows(text, Column::Pan) {
            Err("holds the account number")
        } else {
            let name = CardRef::new(text);
            let checked = name.and_then(|name| name.check_accounts([], kek));
            checked
                .map_err(|_| "holds, with separators left out, what could be an account number of the issuer")
        };
        if let Err(what) = checked {
            self.refuse(Column::CardRef, what);
        }
    }

    /// Whether a text holds the value of a column, or its digits with other characters between them.
    fn shows(&self, text: &str, column: Column) -> bool {
        let value = self.values.get(column).or_else(|| self.wrong.get(column));
        let Some(value) = value else { return false };
        let digits = |text: &str| -> Zeroizing<String> {
            Zeroizing::new(text.chars().filter(char::is_ascii_digit).collect())
        };
        let number = digits(value);
        text.contains(value) || (number.len() >= 4 && digits(text).contains(number.as_str()))
    }

    /// Checks that no earlier line has this card_ref, or this PAN with this PSN.
    fn unique(&mut self, seen: &mut SeenDigests, doubled: &mut DoubledNames) {
        let get = |column: Column| self.values.get(column).map(str::as_bytes);
        let mut found = Vec::new();
        let alone = Some(b"".as_slice());
        // Derivation data: two cards with one number would have one key.
        let counted = self.schema.counter.as_ref();
        let number = counted.and_then(|counted| Some(counted.filled(self.values.get(counted.column)?)));
        let names = [
            (Column::CardRef, b'R', [get(Column::CardRef), alone]),
            (Column::Pan, b'P', [get(Column::Pan), get(Column::Psn)]),
        ];
        let number = number.as_ref().map(|number| number.as_bytes());
        let counted = counted.map(|counted| (counted.column, b'N', [number, alone]));
        for (column, kind, parts) in names.into_iter().chain(counted) {
            let [Some(first), Some(second)] = parts else { continue };
            let mut hash = Sha256::new_with_prefix([kind]);
            [first, b"/", second].iter().for_each(|part| hash.update(part));
            let digest: [u8; 32] = hash.finalize().into();
            let digest = digest.first_chunk().copied().unwrap_or_default();
            let is_first = seen.insert(digest);
            if is_first && !doubled.0.contains(&digest) {
                continue;
            }
            doubled.0.insert(digest);
            found.push(match (column, is_first) {
                (Column::Pan, false) => (column, "stands with the same psn in an earlier line too"),
                (Column::Pan, true) => (column, "stands with the same psn in a later line too"),
                (_, false) => (column, "stands in an earlier line too"),
                (_, true) => (column, "stands in a later line too"),
            });
        }
        found.into_iter().for_each(|(column, what)| self.fault(column, what));
    }

    /// Returns the card, or all faults of the line.
    fn card(mut self) -> Result<Cardholder, RejectedLine> {
        let card_ref = self.values.get(Column::CardRef).and_then(|text| CardRef::new(text).ok());
        if self.faults.is_empty() {
            match card_ref {
                Some(card_ref) if !self.places.is_empty() => {
                    let place = self.places.swap_remove(0);
                    return Ok(Cardholder { place, card_ref, values: self.values });
                }
                _ => self.fault(Column::CardRef, "is not valid"),
            }
            return Err(RejectedLine { card_ref: None, faults: self.faults });
        }
        // In a line whose values have slipped into other columns, the card_ref may be anything.
        let private = [Column::Pan, Column::Pin, Column::Name, Column::NamePrinted];
        let card_ref = card_ref.filter(|name| !private.iter().any(|c| self.shows(name.as_str(), *c)));
        Err(RejectedLine { card_ref, faults: self.faults })
    }
}

/// Reads and checks the whole input. Returns the number of cards, or the first line with a fault.
pub fn check<T>(cards: impl Iterator<Item = Result<T, RejectedLine>>) -> Result<u32, RejectedLine> {
    let mut count = 0u32;
    for card in cards {
        card?;
        count = count.saturating_add(1);
    }
    Ok(count)
}
