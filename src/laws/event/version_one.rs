//! Chain version 1, frozen: its row, its canonical bytes, and the only reader of its `detail`. Nothing here is ever
//! extended; ledgers that were begun before schema 6 will always be verified with it.
//!
//! Canonical bytes: `"CWL1"`, then the fields of [`VersionOneRow`] in the order of their declaration. Integer: u64
//! big-endian. Text: length u32 big-endian, then UTF-8. Optional: 00, or 01 and the value. Boolean: one byte,
//! 00 or 01. The last field, `count`, was added later: if it is absent, no byte is written for it; if it is present, it is
//! written as an optional value.

use super::chip::{BlankLabel, ChipId};
use super::{
    BlankSubject, CardSubject, ChainVersion, DataFate, EventFact, KeyFate, LedgerEvent, RecordSubject,
    RunCounts, SpoolFate, StateName,
};
use crate::ids::KeyData;
use crate::laws::types::{AttemptState, Context, JobId, JobState, RecordState};

/// Bytes of a KMC_ID. KEYDATA begins with it; the CSN follows.
const KMC_ID: usize = 6;

/// The first canonical bytes.
pub(crate) const MAGIC: &[u8; 4] = b"CWL1";

/// A row of the table of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionOneRow {
    pub(crate) n: u64,
    pub(crate) ts: u64,
    /// `J1`; empty where a shift begins.
    pub(crate) job: String,
    pub(crate) seq: Option<u32>,
    pub(crate) card_ref: Option<String>,
    pub(crate) attempt: Option<u32>,
    /// CSN hex where known, else `#` and the blank's number.
    pub(crate) blank: Option<String>,
    pub(crate) station: Option<String>,
    pub(crate) module: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) header: Option<String>,
    pub(crate) sw: Option<String>,
    pub(crate) position: Option<u32>,
    pub(crate) ms: Option<u64>,
    pub(crate) actor: Option<String>,
    pub(crate) simulated: bool,
    pub(crate) count: Option<u32>,
}

impl VersionOneRow {
    /// Appends the bytes that were hashed.
    pub(crate) fn canonical(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        number(out, self.n);
        number(out, self.ts);
        text(out, &self.job);
        optional(out, self.seq.map(u64::from), number);
        optional(out, self.card_ref.as_deref(), text);
        optional(out, self.attempt.map(u64::from), number);
        optional(out, self.blank.as_deref(), text);
        optional(out, self.station.as_deref(), text);
        optional(out, self.module.as_deref(), text);
        optional(out, self.from.as_deref(), text);
        text(out, &self.to);
        optional(out, self.reason.as_deref(), text);
        optional(out, self.detail.as_deref(), text);
        optional(out, self.header.as_deref(), text);
        optional(out, self.sw.as_deref(), text);
        optional(out, self.position.map(u64::from), number);
        optional(out, self.ms, number);
        optional(out, self.actor.as_deref(), text);
        out.push(u8::from(self.simulated));
        if self.count.is_some() {
            optional(out, self.count.map(u64::from), number);
        }
    }

    /// The row whose canonical bytes these are; `None` if they are no row's.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = CanonicalFields(bytes.strip_prefix(MAGIC)?);
        let mut row = Self {
            n: fields.number()?,
            ts: fields.number()?,
            job: fields.text()?,
            seq: fields.optional(CanonicalFields::small)?,
            card_ref: fields.optional(CanonicalFields::text)?,
            attempt: fields.optional(CanonicalFields::small)?,
            blank: fields.optional(CanonicalFields::text)?,
            station: fields.optional(CanonicalFields::text)?,
            module: fields.optional(CanonicalFields::text)?,
            from: fields.optional(CanonicalFields::text)?,
            to: fields.text()?,
            reason: fields.optional(CanonicalFields::text)?,
            detail: fields.optional(CanonicalFields::text)?,
            header: fields.optional(CanonicalFields::text)?,
            sw: fields.optional(CanonicalFields::text)?,
            position: fields.optional(CanonicalFields::small)?,
            ms: fields.optional(CanonicalFields::number)?,
            actor: fields.optional(CanonicalFields::text)?,
            simulated: fields.flag()?,
            count: None,
        };
        if !fields.0.is_empty() {
            // It is written only if it is there.
            row.count = Some(fields.optional(CanonicalFields::small)??);
        }
        fields.0.is_empty().then_some(row)
    }

    /// The row as a typed event. The error says what is wrong with the row.
    pub(crate) fn typed(self) -> Result<LedgerEvent, String> {
        let job = match self.job.strip_prefix('J').map(str::parse) {
            Some(Ok(number)) => Some(JobId(number)),
            None if self.job.is_empty() => None,
            _ => return Err("its job has no number".to_owned()),
        };
        let sw = self.sw.as_deref().map(|sw| u16::from_str_radix(sw, 16)).transpose();
        let sw = sw.map_err(|_| "its status word is not a status word".to_owned())?;
        let (fact, from) = self.fact(job.is_some())?;
        Ok(LedgerEvent {
            n: self.n,
            ts: self.ts,
            job,
            simulated: self.simulated,
            chain: ChainVersion::One,
            from,
            fact,
            context: Context {
                station: self.station,
                module: self.module,
                reason: self.reason.map(Into::into),
                detail: self.detail,
                header: self.header,
                sw,
                ms: self.ms,
                actor: self.actor,
                ..Context::default()
            },
            unknown: Vec::new(),
        })
    }

    fn fact(&self, of_job: bool) -> Result<(EventFact, Option<StateName>), String> {
        let to = self.to.as_str();
        if !of_job {
            let name = self.detail.clone().unwrap_or_default();
            let sound = to == "SHIFT" && self.seq.is_none() && self.blank.is_none();
            return if sound {
                Ok((EventFact::ShiftBegun { name }, None))
            } else {
                Err("it is about no job, and begins no shift".to_owned())
            };
        }
        let stray = self.position.is_some() && to != "STACKED"
            || self.count.is_some() && !matches!(to, "STOCK_ISSUED" | "STOCK_RETURNED" | "STOCK_VAULTED");
        let fact = if stray {
            None
        } else if self.seq.is_some() {
            self.card_fact()
        } else if self.blank.is_some() {
            self.blank_fact()
        } else {
            self.job_fact()
        };
        let fact = fact.ok_or_else(|| format!("it records no change: {to}"))?;
        let from = self.from.as_deref().map(|from| earlier(&fact, from));
        match from {
            None => Ok((fact, None)),
            Some(Some(from)) => Ok((fact, Some(from))),
            Some(None) => Err("its earlier state is not a state".to_owned()),
        }
    }

    fn card_fact(&self) -> Option<EventFact> {
        let record = RecordSubject { seq: self.seq?, card_ref: self.card_ref.clone().unwrap_or_default() };
        let of_record = self.attempt.is_none() && self.blank.is_none();
        match self.to.as_str() {
            "CANCELLED" if of_record => return Some(EventFact::Cancelled { record }),
            "RELEASED" if of_record => return Some(EventFact::RemakeReleased { record }),
            "ASKED" if of_record => return Some(EventFact::Asked { record }),
            _ => {}
        }
        let card = CardSubject { record, attempt: self.attempt?, blank: self.blank_subject()? };
        Some(match AttemptState::from_name(&self.to)? {
            AttemptState::Bound => EventFact::Bound { card, chip: self.chip() },
            AttemptState::Verified => {
                EventFact::Verified { card, compared: self.detail.clone().unwrap_or_default() }
            }
            AttemptState::Stacked => EventFact::Stacked { card, position: self.position? },
            to => EventFact::Moved { card, to },
        })
    }

    fn blank_fact(&self) -> Option<EventFact> {
        if self.attempt.is_some() || self.card_ref.is_some() {
            return None;
        }
        let blank = self.blank_subject()?;
        match self.to.as_str() {
            "FED" => Some(EventFact::Fed { blank }),
            "REJECTED" => Some(EventFact::BlankRejected { blank, chip: self.chip() }),
            "RETURNED" => Some(EventFact::Returned { blank }),
            "TEST" => Some(EventFact::Tested { blank }),
            _ => None,
        }
    }

    fn job_fact(&self) -> Option<EventFact> {
        if self.attempt.is_some() || self.card_ref.is_some() {
            return None;
        }
        let detail = self.detail.as_deref().unwrap_or_default();
        Some(match self.to.as_str() {
            "ACCEPTED" => EventFact::Accepted(None),
            "HELD" => EventFact::Held,
            "OPEN" => EventFact::Released,
            "CLOSED" => EventFact::Closed,
            "DELETED" => EventFact::Deleted(fate(detail)),
            "RAN" => EventFact::Ran(counts(detail)),
            "STOCK_ISSUED" => EventFact::StockIssued { count: self.count? },
            "STOCK_RETURNED" => EventFact::StockReturned { count: self.count? },
            "STOCK_VAULTED" => EventFact::StockVaulted { count: self.count? },
            _ => return None,
        })
    }

    /// The blank. If its chip is unknown, its name is `#` and its number; otherwise the number stands at the end of
    /// the detail.
    fn blank_subject(&self) -> Option<BlankSubject> {
        let name = self.blank.as_deref()?;
        if let Some(number) = name.strip_prefix('#') {
            return Some(BlankSubject { number: Some(number.parse().ok()?), label: None });
        }
        let label =
            hex::decode(name).ok().filter(|csn| csn.len() == 4).and_then(|csn| BlankLabel::new(&csn))?;
        let number = self.detail.as_deref().and_then(|detail| detail.rsplit_once("blank #"));
        let number = number.and_then(|(_, number)| number.parse().ok());
        // The name was only ever written in upper case.
        (label.to_string() == name).then_some(BlankSubject { number, label: Some(label) })
    }

    /// The chip, if the detail names its KMC_ID before the blank's number. Events from before jobs were sealed lack
    /// it.
    fn chip(&self) -> Option<ChipId> {
        let (before, _) = self.detail.as_deref()?.rsplit_once(", blank #")?;
        let (_, hexed) = before.rsplit_once("KMC_ID ")?;
        let mut key_data = [0; 10];
        let (kmc, csn) = key_data.split_at_mut(KMC_ID);
        hex::decode_to_slice(hexed, kmc).ok()?;
        hex::decode_to_slice(self.blank.as_deref()?, csn).ok()?;
        Some(ChipId::globalplatform(KeyData(key_data), None))
    }
}

/// The state before the event, read as a state of the event's subject; `None` if it is no such state.
fn earlier(fact: &EventFact, from: &str) -> Option<StateName> {
    match fact {
        EventFact::Bound { .. } | EventFact::Cancelled { .. } | EventFact::RemakeReleased { .. } => {
            RecordState::from_name(from).map(Into::into)
        }
        fact if fact.card().is_some() => AttemptState::from_name(from).map(Into::into),
        EventFact::BlankRejected { .. } | EventFact::Returned { .. } => {
            (from == "FED").then_some(StateName::BlankFed)
        }
        _ => JobState::from_name(from).map(Into::into),
    }
}

/// Outcome of a deletion, read from the words of `detail`.
fn fate(detail: &str) -> DataFate {
    let key = if detail.contains("was already missing when the deletion was asked for") {
        KeyFate::Missing
    } else if detail.contains("spool key ") {
        KeyFate::Destroyed
    } else {
        KeyFate::NoKey
    };
    let spool = if detail.contains("spool was not there any more") {
        SpoolFate::Missing
    } else if key == KeyFate::NoKey {
        SpoolFate::Overwritten
    } else {
        SpoolFate::Removed
    };
    let unreadable = detail.contains("what lay in the spool's place did not read as what was accepted");
    DataFate { key, spool, unreadable }
}

/// Counts of a run, read from `detail`: `Cards: chip/chip-1 3, ...; HSM calls: session 12, verify 4`.
fn counts(detail: &str) -> RunCounts {
    let mut counts = RunCounts::default();
    for (name, count) in listed(detail, "Cards: ") {
        if let Some((module, station)) = name.split_once('/') {
            *counts.worked.entry((module.to_owned(), station.to_owned())).or_default() += count;
        }
    }
    for (name, count) in listed(detail, "HSM calls: ") {
        *counts.hsm_calls.entry(name.to_owned()).or_default() += count;
    }
    counts
}

fn listed<'a>(detail: &'a str, begin: &str) -> impl Iterator<Item = (&'a str, u64)> {
    let counts = detail.rsplit_once(begin).map_or("", |(_, counts)| counts);
    let counts = counts.split("; ").next().unwrap_or_default().split(", ");
    counts
        .filter_map(|count| count.split_once(' '))
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
}

/// Canonical bytes that are read, field by field.
struct CanonicalFields<'a>(&'a [u8]);

impl CanonicalFields<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn text(&mut self) -> Option<String> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)?;
        self.0 = rest;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }

    fn flag(&mut self) -> Option<bool> {
        let (flag, rest) = self.0.split_first()?;
        self.0 = rest;
        (*flag < 2).then_some(*flag == 1)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.flag()? {
            false => Some(None),
            true => read(self).map(Some),
        }
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl Fn(&mut Vec<u8>, T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            write(out, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_behind_whatever_stands_before_them() {
        let tally = "Cards: chip/chip-1 3; HSM calls: session 12, verify 4";
        for before in ["", "stopped; HSM calls: none; ", "nothing of it; and, more; "] {
            let counts = counts(&format!("{before}{tally}"));
            assert_eq!(
                counts.worked.into_iter().collect::<Vec<_>>(),
                [(("chip".into(), "chip-1".into()), 3)]
            );
            let calls: Vec<_> = counts.hsm_calls.into_iter().collect();
            assert_eq!(calls, [("session".into(), 12), ("verify".into(), 4)]);
        }
        assert_eq!(counts("nothing"), RunCounts::default());
    }

    #[test]
    fn the_fate_of_data_is_read() {
        for (detail, key, spool, unreadable) in [
            ("spool key 05 destroyed, spool removed", KeyFate::Destroyed, SpoolFate::Removed, false),
            (
                "spool key 05 was already missing when the deletion was asked for, spool was not there any more",
                KeyFate::Missing,
                SpoolFate::Missing,
                false,
            ),
            (
                "spool overwritten and removed, what lay in the spool's place did not read as what was accepted",
                KeyFate::NoKey,
                SpoolFate::Overwritten,
                true,
            ),
        ] {
            assert_eq!(fate(detail), DataFate { key, spool, unreadable }, "{detail}");
        }
    }
}
