//! The bytes of an event of chain version 2: `src/manual/ledger-events.md`, sections 2 to 5. Pure.
//!
//! An event has exactly one encoding. The decoder reads the bytes, encodes the event again, and refuses bytes that
//! differ. So the order of fields and lists and their lengths are spelled in one place only, the encoder.

use super::chip::{BlankLabel, ChipId};
use super::kinds;
use super::limits::{
    ACT_KEY_MAX, COMPARED_MAX, DETAIL_MAX, NAME_MAX, PATH_MAX, PUBLIC_MAX, WORD_MAX, header_bytes, sound_text,
};
use super::{
    AcceptedTerms, BlankSubject, CardSubject, CardValue, ChainVersion, DataFate, EVENT_MAX, EventFact,
    JobProfiles, KeyFate, LedgerEvent, RawField, RecordSubject, RunCounts, SpoolFate, StateName,
};
use crate::ids::{KekId, SpoolKeyName};
use crate::laws::types::{ActReference, Context, HsmUse, JobId};
use sha2::{Digest, Sha256};

/// From this tag on, a field changes no state.
pub(crate) const NOTE_TAG: u8 = 0x80;

/// Bytes before the first field: kind, number, time, job, marks.
const HEAD: usize = 2 + 8 + 8 + 4 + 1;

/// JSON readers hold integers exactly only below this.
const TIME_END: u64 = 1 << 53;

/// Role in field BY: a person decided.
const PERSON: u8 = 1;
/// Role in field BY: the line decided.
const THE_LINE: u8 = 2;
/// Name of the line in fields that otherwise name people.
pub(crate) const LINE_NAME: &str = "line";

/// Tags; section 4 and 5 of the specification.
mod tag {
    pub(super) const SEQ: u8 = 0x01;
    pub(super) const CARD_REF: u8 = 0x02;
    pub(super) const ATTEMPT: u8 = 0x03;
    pub(super) const BLANK: u8 = 0x04;
    pub(super) const LABEL: u8 = 0x05;
    pub(super) const CHIP: u8 = 0x06;
    pub(super) const FROM: u8 = 0x07;
    pub(super) const POSITION: u8 = 0x08;
    pub(super) const COUNT: u8 = 0x09;
    pub(super) const COMPARED: u8 = 0x0A;
    pub(super) const VALUE: u8 = 0x0B;
    pub(super) const PUBLIC: u8 = 0x0C;
    pub(super) const BY: u8 = 0x0D;
    pub(super) const FIRST_PERSON: u8 = 0x0E;
    pub(super) const REASON: u8 = 0x0F;
    pub(super) const ISSUER: u8 = 0x10;
    pub(super) const FILE_ID: u8 = 0x11;
    pub(super) const PRODUCT: u8 = 0x12;
    pub(super) const RECORDS: u8 = 0x13;
    pub(super) const LINE: u8 = 0x14;
    pub(super) const KEK: u8 = 0x15;
    pub(super) const DIGEST: u8 = 0x16;
    pub(super) const SPOOL: u8 = 0x17;
    pub(super) const SPOOL_KEY: u8 = 0x18;
    pub(super) const REJECTS: u8 = 0x19;
    pub(super) const KEYS: u8 = 0x1A;
    pub(super) const CARDS: u8 = 0x1B;
    pub(super) const LINE_DIGEST: u8 = 0x1C;
    pub(super) const PRODUCT_DIGEST: u8 = 0x1D;
    pub(super) const CHIP_PROGRAM: u8 = 0x1E;
    pub(super) const PLAN_MS: u8 = 0x1F;
    pub(super) const LAWS: u8 = 0x20;
    pub(super) const WORKED: u8 = 0x21;
    pub(super) const HSM_CALLS: u8 = 0x22;
    pub(super) const SHIFT: u8 = 0x23;
    pub(super) const KEY_FATE: u8 = 0x24;
    pub(super) const SPOOL_FATE: u8 = 0x25;
    pub(super) const SUBJECT: u8 = 0x26;
    pub(super) const DEVICE: u8 = 0x27;
    pub(super) const HOW: u8 = 0x28;
    pub(super) const SUPPLY: u8 = 0x29;
    pub(super) const STATE_WORD: u8 = 0x2A;
    pub(super) const HSM_TIME: u8 = 0x2B;
    pub(super) const STATION: u8 = 0x80;
    pub(super) const MODULE: u8 = 0x81;
    pub(super) const DETAIL: u8 = 0x82;
    pub(super) const HEADER: u8 = 0x83;
    pub(super) const SW: u8 = 0x84;
    pub(super) const MS: u8 = 0x85;
    pub(super) const ACT_KEY: u8 = 0x86;
    pub(super) const ACT_REQUEST: u8 = 0x87;
    pub(super) const ON_LINE: u8 = 0x88;
    pub(super) const HSM_USE: u8 = 0x89;
}

/// Bit 0 of `rejects`.
const SHREDS: u8 = 1;
/// Bit 1 of `rejects`.
const MARKS: u8 = 2;
/// Set in the fate of a spool that could not be read as the accepted one.
const UNREADABLE: u8 = 0x80;

/// Why bytes do not decode to an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// The bytes end too early, or their lengths do not fit.
    #[error("its bytes are cut off or do not fit their lengths")]
    Framing,
    /// There are more bytes than an event may have.
    #[error("it has more than {EVENT_MAX} bytes")]
    TooLong,
    /// A field's value does not have the form that its tag requires.
    #[error("field {0:02X} does not have the form that the specification requires")]
    Field(u8),
    /// A field that the kind must have is missing.
    #[error("field {0:02X} is missing")]
    Missing(u8),
    /// The head has an unknown mark, or a job or time that is not possible.
    #[error("{0}")]
    Head(&'static str),
    /// The event has another encoding than these bytes.
    #[error("it is not in the only encoding that it may have")]
    NotCanonical,
}

/// Writes fields in rising order of their tags.
struct FieldWriter<'a>(&'a mut Vec<u8>);

impl FieldWriter<'_> {
    fn bytes(&mut self, tag: u8, value: &[u8]) {
        // Longer values are refused before they get here, and again by the length of the whole event.
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.push(tag);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
    }

    fn text(&mut self, tag: u8, value: Option<&str>) {
        if let Some(value) = value {
            self.bytes(tag, value.as_bytes());
        }
    }

    fn u8(&mut self, tag: u8, value: Option<u8>) {
        if let Some(value) = value {
            self.bytes(tag, &[value]);
        }
    }

    fn u32(&mut self, tag: u8, value: Option<u32>) {
        if let Some(value) = value {
            self.bytes(tag, &value.to_be_bytes());
        }
    }

    fn array<const N: usize>(&mut self, tag: u8, value: Option<&[u8; N]>) {
        if let Some(value) = value {
            self.bytes(tag, value);
        }
    }

    fn raw(&mut self, fields: &[RawField]) {
        fields.iter().for_each(|field| self.bytes(field.tag, &field.value));
    }
}

/// Appends the bytes of an event.
pub(crate) fn encode(event: &LedgerEvent, out: &mut Vec<u8>) {
    out.extend_from_slice(&event.kind().to_be_bytes());
    out.extend_from_slice(&event.n.to_be_bytes());
    out.extend_from_slice(&event.ts.to_be_bytes());
    out.extend_from_slice(&event.job.map_or(0, |job| job.0).to_be_bytes());
    out.push(u8::from(event.simulated));
    let mut writer = FieldWriter(out);
    match &event.fact {
        EventFact::Unknown { fields, .. } => writer.raw(fields),
        fact => {
            encode_subject(event, fact, &mut writer);
            encode_common(&event.context, &mut writer);
            encode_fact(fact, &mut writer);
        }
    }
    encode_notes(event, &mut writer);
}

/// Tags 01 to 0C.
fn encode_subject(event: &LedgerEvent, fact: &EventFact, writer: &mut FieldWriter<'_>) {
    let (record, blank) = (fact.record(), fact.blank());
    writer.u32(tag::SEQ, record.map(|record| record.seq));
    writer.text(tag::CARD_REF, record.map(|record| record.card_ref.as_str()));
    writer.u32(tag::ATTEMPT, fact.card().map(|card| card.attempt));
    writer.u32(tag::BLANK, blank.and_then(|blank| blank.number));
    if let Some(label) = blank.and_then(|blank| blank.label) {
        writer.bytes(tag::LABEL, label.as_slice());
    }
    if let Some(chip) = fact.chip() {
        writer.bytes(tag::CHIP, &chip.to_bytes());
    }
    writer.u8(tag::FROM, event.from.map(StateName::code));
    writer.u32(tag::POSITION, event.position());
    writer.u32(tag::COUNT, event.count());
    match fact {
        EventFact::Verified { compared, .. } if !compared.is_empty() => {
            writer.text(tag::COMPARED, Some(compared));
        }
        EventFact::ValueGiven { value, .. } => encode_value(value, writer),
        _ => {}
    }
}

/// Tags 0D to 0F.
fn encode_common(context: &Context, writer: &mut FieldWriter<'_>) {
    if let Some(actor) = &context.actor {
        let role = if actor == LINE_NAME { THE_LINE } else { PERSON };
        writer.bytes(tag::BY, &[&[role], actor.as_bytes()].concat());
    }
    writer.text(tag::FIRST_PERSON, context.first_person.as_deref());
    writer.text(tag::REASON, context.reason.as_ref().map(|reason| reason.as_str()));
}

/// Tags from 10 on.
fn encode_fact(fact: &EventFact, writer: &mut FieldWriter<'_>) {
    match fact {
        EventFact::Accepted(Some(terms)) => encode_terms(terms, writer),
        EventFact::Ran(counts) => encode_counts(counts, writer),
        EventFact::ShiftBegun { name } => writer.text(tag::SHIFT, Some(name)),
        EventFact::Deleting { spool_key } => {
            writer.array(tag::SPOOL_KEY, spool_key.as_ref().map(|key| &key.0));
        }
        EventFact::Deleted(fate) => encode_fate(*fate, writer),
        EventFact::PersonsWord { station, device } => {
            writer.text(tag::SUBJECT, Some(station));
            writer.text(tag::DEVICE, device.as_deref());
        }
        EventFact::WiringProved { station, device, how } => {
            writer.text(tag::SUBJECT, Some(station));
            writer.text(tag::DEVICE, device.as_deref());
            writer.text(tag::HOW, Some(how));
        }
        EventFact::SupplyTold { station, supply, state } => {
            writer.text(tag::SUBJECT, Some(station));
            writer.text(tag::SUPPLY, Some(supply));
            writer.text(tag::STATE_WORD, Some(state));
        }
        EventFact::BlanksTested { station, .. } => writer.text(tag::SUBJECT, station.as_deref()),
        _ => {}
    }
}

fn encode_value(value: &CardValue, writer: &mut FieldWriter<'_>) {
    let mut bytes = named(&value.name);
    bytes.extend_from_slice(&value.length.to_be_bytes());
    bytes.extend_from_slice(&value.digest);
    writer.bytes(tag::VALUE, &bytes);
    if let Some(public) = &value.public {
        writer.bytes(tag::PUBLIC, public);
    }
}

fn encode_terms(terms: &AcceptedTerms, writer: &mut FieldWriter<'_>) {
    writer.text(tag::ISSUER, Some(&terms.issuer));
    writer.text(tag::FILE_ID, Some(&terms.file_id));
    writer.text(tag::PRODUCT, Some(&terms.product));
    writer.u32(tag::RECORDS, Some(terms.records));
    writer.text(tag::LINE, Some(&terms.line));
    writer.array(tag::KEK, Some(&terms.kek.0));
    writer.array(tag::DIGEST, Some(&terms.digest));
    writer.text(tag::SPOOL, Some(&terms.spool));
    writer.array(tag::SPOOL_KEY, terms.spool_key.as_ref().map(|key| &key.0));
    let shreds = if terms.rejects_shredded { SHREDS } else { 0 };
    let marks = if terms.rejects_marked { MARKS } else { 0 };
    writer.u8(tag::REJECTS, Some(shreds | marks));
    writer.u8(tag::KEYS, Some(u8::from(!terms.test_keys)));
    writer.array(tag::CARDS, Some(&terms.cards));
    writer.array(tag::LINE_DIGEST, Some(&terms.profiles.line_digest));
    writer.array(tag::PRODUCT_DIGEST, Some(&terms.profiles.product_digest));
    writer.array(tag::CHIP_PROGRAM, terms.profiles.chip_program.as_ref());
    writer.u32(tag::PLAN_MS, terms.profiles.plan_ms);
    writer.array(tag::LAWS, Some(&terms.laws.to_be_bytes()));
}

fn encode_counts(counts: &RunCounts, writer: &mut FieldWriter<'_>) {
    let mut bytes = Vec::new();
    for ((module, station), cards) in &counts.worked {
        bytes.extend(named(module));
        bytes.extend(named(station));
        bytes.extend_from_slice(&cards.to_be_bytes());
    }
    if !bytes.is_empty() {
        writer.bytes(tag::WORKED, &bytes);
    }
    for (tag, by_call) in [(tag::HSM_CALLS, &counts.hsm_calls), (tag::HSM_TIME, &counts.hsm_us)] {
        bytes.clear();
        for (call, number) in by_call {
            bytes.extend(named(call));
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        if !bytes.is_empty() {
            writer.bytes(tag, &bytes);
        }
    }
}

fn encode_fate(fate: DataFate, writer: &mut FieldWriter<'_>) {
    writer.u8(
        tag::KEY_FATE,
        Some(match fate.key {
            KeyFate::NoKey => 0,
            KeyFate::Destroyed => 1,
            KeyFate::Missing => 2,
        }),
    );
    let spool = match fate.spool {
        SpoolFate::Removed => 1,
        SpoolFate::Overwritten => 2,
        SpoolFate::Missing => 3,
    };
    writer.u8(tag::SPOOL_FATE, Some(spool | if fate.unreadable { UNREADABLE } else { 0 }));
}

fn encode_notes(event: &LedgerEvent, writer: &mut FieldWriter<'_>) {
    let context = &event.context;
    writer.text(tag::STATION, context.station.as_deref());
    writer.text(tag::MODULE, context.module.as_deref());
    writer.text(tag::DETAIL, context.detail.as_deref());
    writer.array(tag::HEADER, context.header.as_deref().and_then(header_bytes).as_ref());
    writer.array(tag::SW, context.sw.map(u16::to_be_bytes).as_ref());
    writer.array(tag::MS, context.ms.map(u64::to_be_bytes).as_ref());
    writer.text(tag::ACT_KEY, context.act.as_ref().map(|act| act.key.as_str()));
    writer.array(tag::ACT_REQUEST, context.act.as_ref().map(|act| &act.request));
    writer.text(tag::ON_LINE, context.on_line.as_deref());
    if let Some(HsmUse { calls, us }) = context.hsm {
        writer.bytes(tag::HSM_USE, &[&calls.to_be_bytes()[..], &us.to_be_bytes()].concat());
    }
    writer.raw(&event.unknown);
}

/// A text with a length of one byte before it. Callers have checked that the text fits.
fn named(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let mut out = Vec::with_capacity(1 + text.len() + 8);
    out.push(length);
    out.extend_from_slice(text.as_bytes());
    out
}

/// The fields of an event as they stand in its bytes.
struct FieldReader<'a>(Vec<(u8, &'a [u8])>);

impl<'a> FieldReader<'a> {
    fn parse(mut bytes: &'a [u8]) -> Result<Self, EventFault> {
        let mut fields = Vec::with_capacity(12);
        let mut last = None;
        while let Some((&tag, rest)) = bytes.split_first() {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or(EventFault::Framing)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (value, rest) = rest.split_at_checked(length).ok_or(EventFault::Framing)?;
            if value.is_empty() {
                return Err(EventFault::Field(tag));
            }
            if last.is_some_and(|last| last >= tag) {
                return Err(EventFault::NotCanonical);
            }
            last = Some(tag);
            fields.push((tag, value));
            bytes = rest;
        }
        Ok(Self(fields))
    }

    fn get(&self, tag: u8) -> Option<&'a [u8]> {
        self.0.iter().find(|(is, _)| *is == tag).map(|(_, value)| *value)
    }

    fn array<const N: usize>(&self, tag: u8) -> Result<Option<[u8; N]>, EventFault> {
        self.get(tag).map(|value| value.try_into().map_err(|_| EventFault::Field(tag))).transpose()
    }

    fn u8(&self, tag: u8) -> Result<Option<u8>, EventFault> {
        Ok(self.array::<1>(tag)?.map(|[value]| value))
    }

    fn u32(&self, tag: u8) -> Result<Option<u32>, EventFault> {
        Ok(self.array(tag)?.map(u32::from_be_bytes))
    }

    /// A required number that starts at 1.
    fn ordinal(&self, tag: u8) -> Result<u32, EventFault> {
        self.u32(tag)?
            .ok_or(EventFault::Missing(tag))
            .and_then(|n| (n > 0).then_some(n).ok_or(EventFault::Field(tag)))
    }

    fn optional_text(&self, tag: u8, max: usize) -> Result<Option<String>, EventFault> {
        self.get(tag)
            .map(|value| sound_text(value, max).map(str::to_owned).ok_or(EventFault::Field(tag)))
            .transpose()
    }

    fn text(&self, tag: u8, max: usize) -> Result<String, EventFault> {
        self.optional_text(tag, max)?.ok_or(EventFault::Missing(tag))
    }

    fn required<const N: usize>(&self, tag: u8) -> Result<[u8; N], EventFault> {
        self.array(tag)?.ok_or(EventFault::Missing(tag))
    }

    fn code<T>(&self, tag: u8, read: impl FnOnce(u8) -> Option<T>) -> Result<T, EventFault> {
        let code = self.u8(tag)?.ok_or(EventFault::Missing(tag))?;
        read(code).ok_or(EventFault::Field(tag))
    }

    fn count(&self) -> Result<u32, EventFault> {
        self.ordinal(tag::COUNT)
    }

    /// Name of the person or line that decided; role and name must agree.
    fn actor(&self) -> Result<Option<String>, EventFault> {
        let Some((role, name)) = self.get(tag::BY).and_then(<[u8]>::split_first) else { return Ok(None) };
        let name = sound_text(name, NAME_MAX).ok_or(EventFault::Field(tag::BY))?;
        match *role {
            PERSON | THE_LINE if (*role == THE_LINE) == (name == LINE_NAME) => Ok(Some(name.to_owned())),
            _ => Err(EventFault::Field(tag::BY)),
        }
    }

    fn record(&self) -> Result<RecordSubject, EventFault> {
        let card_ref = self.text(tag::CARD_REF, WORD_MAX)?;
        if !card_ref.is_ascii() {
            return Err(EventFault::Field(tag::CARD_REF));
        }
        Ok(RecordSubject { seq: self.ordinal(tag::SEQ)?, card_ref })
    }

    fn blank(&self) -> Result<BlankSubject, EventFault> {
        let label =
            self.get(tag::LABEL).map(|label| BlankLabel::new(label).ok_or(EventFault::Field(tag::LABEL)));
        Ok(BlankSubject { number: Some(self.ordinal(tag::BLANK)?), label: label.transpose()? })
    }

    fn card(&self) -> Result<CardSubject, EventFault> {
        Ok(CardSubject { record: self.record()?, attempt: self.ordinal(tag::ATTEMPT)?, blank: self.blank()? })
    }

    fn chip(&self) -> Result<Option<ChipId>, EventFault> {
        self.get(tag::CHIP)
            .map(|chip| ChipId::from_bytes(chip).ok_or(EventFault::Field(tag::CHIP)))
            .transpose()
    }

    fn raw(&self, which: impl Fn(u8) -> bool) -> Vec<RawField> {
        let fields = self.0.iter().filter(|(tag, _)| which(*tag));
        fields.map(|(tag, value)| RawField { tag: *tag, value: value.to_vec() }).collect()
    }
}

/// Decodes an event. Unknown kinds and fields are kept; see [`EventFact::is_understood`].
pub(crate) fn decode(bytes: &[u8]) -> Result<LedgerEvent, EventFault> {
    if bytes.len() > EVENT_MAX {
        return Err(EventFault::TooLong);
    }
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(EventFault::Framing)?;
    let (kind, n, ts, job, marks) = split_head(head);
    let fields = FieldReader::parse(rest)?;
    let simulated = match marks {
        0 => false,
        1 => true,
        _ => return Err(EventFault::Head("its marks are not known")),
    };
    if ts >= TIME_END {
        return Err(EventFault::Head("its time is beyond the largest possible one"));
    }
    let known = kinds::kind(kind);
    let job = (job > 0).then_some(JobId(job));
    if known.is_some_and(|kind| kind.of_job != job.is_some()) {
        return Err(EventFault::Head("it is about a job and should be about none, or the other way round"));
    }
    // An unknown kind or field below the notes may change state in a way that this program does not know: keep all of
    // it raw.
    let stranger = |tag: u8| known.is_none_or(|kind| !kind.may_have(tag));
    let strange = known.is_none() || fields.0.iter().any(|(tag, _)| *tag < NOTE_TAG && stranger(*tag));
    // An error here counts only for a known kind: another kind may use the tag in another form.
    let from_code = fields.u8(tag::FROM);
    let (fact, from) = if strange {
        (EventFact::Unknown { kind, fields: fields.raw(|tag| tag < NOTE_TAG) }, None)
    } else {
        let from = from_code?.map(|code| StateName::from_code(code).ok_or(EventFault::Field(tag::FROM)));
        (decode_fact(kind, &fields)?, from.transpose()?)
    };
    let event = LedgerEvent {
        n,
        ts,
        job,
        simulated,
        chain: ChainVersion::Two,
        from,
        fact,
        context: decode_context(&fields, strange)?,
        unknown: fields.raw(|tag| tag > tag::HSM_USE),
    };
    let mut again = Vec::with_capacity(bytes.len());
    encode(&event, &mut again);
    if again == bytes { Ok(event) } else { Err(EventFault::NotCanonical) }
}

fn split_head(head: &[u8; HEAD]) -> (u16, u64, u64, u32, u8) {
    let [k0, k1, n0, n1, n2, n3, n4, n5, n6, n7, t0, t1, t2, t3, t4, t5, t6, t7, j0, j1, j2, j3, marks] =
        *head;
    (
        u16::from_be_bytes([k0, k1]),
        u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
        u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        u32::from_be_bytes([j0, j1, j2, j3]),
        marks,
    )
}

/// The event number in an event's head; the rest is not checked.
pub(crate) fn number_in(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<HEAD>().map(|head| split_head(head).1)
}

/// Sequence of the record that an unknown event names, if it has that field.
pub(super) fn raw_seq(fields: &[RawField]) -> Option<u32> {
    let seq = fields.iter().find(|field| field.tag == tag::SEQ)?;
    Some(u32::from_be_bytes(seq.value.as_slice().try_into().ok()?))
}

fn decode_fact(kind: u16, fields: &FieldReader<'_>) -> Result<EventFact, EventFault> {
    if let Some(to) = kinds::moves_to(kind) {
        return Ok(EventFact::Moved { card: fields.card()?, to });
    }
    for decode in [decode_card_fact, decode_job_fact, decode_line_fact] {
        if let Some(fact) = decode(kind, fields)? {
            return Ok(fact);
        }
    }
    // The table of kinds has it and no decoder does: a test walks all of them.
    Ok(EventFact::Unknown { kind, fields: fields.raw(|tag| tag < NOTE_TAG) })
}

/// Facts about a job and its stock.
fn decode_job_fact(kind: u16, fields: &FieldReader<'_>) -> Result<Option<EventFact>, EventFault> {
    Ok(Some(match kind {
        kinds::ACCEPTED => EventFact::Accepted(Some(Box::new(decode_terms(fields)?))),
        kinds::HELD => EventFact::Held,
        kinds::RELEASED => EventFact::Released,
        kinds::CLOSED => EventFact::Closed,
        kinds::DELETING => EventFact::Deleting { spool_key: fields.array(tag::SPOOL_KEY)?.map(SpoolKeyName) },
        kinds::DELETED => EventFact::Deleted(decode_fate(fields)?),
        kinds::RAN => EventFact::Ran(decode_counts(fields)?),
        kinds::STOPPING => EventFact::HoldAsked,
        kinds::GOES_ON => EventFact::HoldTakenBack,
        kinds::STOCK_ISSUED => EventFact::StockIssued { count: fields.count()? },
        kinds::STOCK_RETURNED => EventFact::StockReturned { count: fields.count()? },
        kinds::STOCK_VAULTED => EventFact::StockVaulted { count: fields.count()? },
        _ => return Ok(None),
    }))
}

/// Facts about a blank, a card or a record.
fn decode_card_fact(kind: u16, fields: &FieldReader<'_>) -> Result<Option<EventFact>, EventFault> {
    Ok(Some(match kind {
        kinds::FED => EventFact::Fed { blank: fields.blank()? },
        kinds::RETURNED => EventFact::Returned { blank: fields.blank()? },
        kinds::TESTED => EventFact::Tested { blank: fields.blank()? },
        kinds::BLANK_REJECTED => EventFact::BlankRejected { blank: fields.blank()?, chip: fields.chip()? },
        kinds::BOUND => EventFact::Bound { card: fields.card()?, chip: fields.chip()? },
        kinds::CHIP => EventFact::ChipFound {
            card: fields.card()?,
            chip: fields.chip()?.ok_or(EventFault::Missing(tag::CHIP))?,
        },
        kinds::VALUE => {
            EventFact::ValueGiven { card: fields.card()?, value: Box::new(decode_value(fields)?) }
        }
        kinds::VERIFIED => EventFact::Verified {
            card: fields.card()?,
            compared: fields.optional_text(tag::COMPARED, COMPARED_MAX)?.unwrap_or_default(),
        },
        kinds::STACKED => {
            EventFact::Stacked { card: fields.card()?, position: fields.ordinal(tag::POSITION)? }
        }
        kinds::CANCELLED => EventFact::Cancelled { record: fields.record()? },
        kinds::REMAKE_RELEASED => EventFact::RemakeReleased { record: fields.record()? },
        kinds::ASKED => EventFact::Asked { record: fields.record()? },
        _ => return Ok(None),
    }))
}

/// Facts about the line, its people and its devices.
fn decode_line_fact(kind: u16, fields: &FieldReader<'_>) -> Result<Option<EventFact>, EventFault> {
    let name = |tag| fields.text(tag, NAME_MAX);
    let device = || fields.optional_text(tag::DEVICE, NAME_MAX);
    Ok(Some(match kind {
        kinds::SHIFT => EventFact::ShiftBegun { name: fields.text(tag::SHIFT, WORD_MAX)? },
        kinds::WORD => EventFact::PersonsWord { station: name(tag::SUBJECT)?, device: device()? },
        kinds::WIRED => EventFact::WiringProved {
            station: name(tag::SUBJECT)?,
            device: device()?,
            how: fields.text(tag::HOW, WORD_MAX)?,
        },
        kinds::SUPPLY => EventFact::SupplyTold {
            station: name(tag::SUBJECT)?,
            supply: fields.text(tag::SUPPLY, WORD_MAX)?,
            state: fields.text(tag::STATE_WORD, WORD_MAX)?,
        },
        kinds::TEST_BLANK => EventFact::BlanksTested {
            station: fields.optional_text(tag::SUBJECT, NAME_MAX)?,
            count: fields.count()?,
        },
        _ => return Ok(None),
    }))
}

fn decode_value(fields: &FieldReader<'_>) -> Result<CardValue, EventFault> {
    let wrong = || EventFault::Field(tag::VALUE);
    let value = fields.get(tag::VALUE).ok_or(EventFault::Missing(tag::VALUE))?;
    let (name, rest) = split_named(value, WORD_MAX).ok_or_else(wrong)?;
    let (length, digest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
    let length = u32::from_be_bytes(*length);
    let digest: [u8; 32] = digest.try_into().map_err(|_| wrong())?;
    let public = fields.get(tag::PUBLIC).map(<[u8]>::to_vec);
    let value = CardValue { name: name.to_owned(), length, digest, public };
    if value.is_sound() { Ok(value) } else { Err(EventFault::Field(tag::PUBLIC)) }
}

impl CardValue {
    /// A value with its digest; `public` keeps the value itself, which everybody may then read.
    pub fn new(name: &str, value: &[u8], public: bool) -> Self {
        Self {
            name: name.to_owned(),
            length: u32::try_from(value.len()).unwrap_or(u32::MAX),
            digest: Sha256::digest(value).into(),
            public: public.then(|| value.to_vec()),
        }
    }

    /// Whether the name and the public value have the form that the specification states, and the digest fits.
    pub(crate) fn is_sound(&self) -> bool {
        let public = self.public.as_ref().is_none_or(|public| {
            (1..=PUBLIC_MAX).contains(&public.len())
                && u32::try_from(public.len()).is_ok_and(|length| length == self.length)
                && <[u8; 32]>::from(Sha256::digest(public)) == self.digest
        });
        public && sound_text(self.name.as_bytes(), WORD_MAX).is_some()
    }
}

fn decode_terms(fields: &FieldReader<'_>) -> Result<AcceptedTerms, EventFault> {
    let rejects = fields.code(tag::REJECTS, |code| (code <= (SHREDS | MARKS)).then_some(code))?;
    let test_keys = fields.code(tag::KEYS, |code| match code {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    })?;
    Ok(AcceptedTerms {
        issuer: fields.text(tag::ISSUER, NAME_MAX)?,
        file_id: fields.text(tag::FILE_ID, NAME_MAX)?,
        product: fields.text(tag::PRODUCT, NAME_MAX)?,
        records: fields.ordinal(tag::RECORDS)?,
        line: fields.text(tag::LINE, NAME_MAX)?,
        kek: KekId(fields.required(tag::KEK)?),
        digest: fields.required(tag::DIGEST)?,
        spool: fields.text(tag::SPOOL, PATH_MAX)?,
        spool_key: fields.array(tag::SPOOL_KEY)?.map(SpoolKeyName),
        rejects_shredded: rejects & SHREDS != 0,
        rejects_marked: rejects & MARKS != 0,
        test_keys,
        cards: fields.required(tag::CARDS)?,
        profiles: JobProfiles {
            line_digest: fields.required(tag::LINE_DIGEST)?,
            product_digest: fields.required(tag::PRODUCT_DIGEST)?,
            chip_program: fields.array(tag::CHIP_PROGRAM)?,
            plan_ms: fields.u32(tag::PLAN_MS)?,
        },
        laws: u16::from_be_bytes(fields.required(tag::LAWS)?),
    })
}

fn decode_counts(fields: &FieldReader<'_>) -> Result<RunCounts, EventFault> {
    let mut counts = RunCounts::default();
    let mut rest = fields.get(tag::WORKED).unwrap_or_default();
    while !rest.is_empty() {
        let wrong = || EventFault::Field(tag::WORKED);
        let (module, after) = split_named(rest, NAME_MAX).ok_or_else(wrong)?;
        let (station, after) = split_named(after, NAME_MAX).ok_or_else(wrong)?;
        let (count, after) = split_count(after).ok_or_else(wrong)?;
        counts.worked.insert((module.to_owned(), station.to_owned()), count);
        rest = after;
    }
    for (tag, by_call) in [(tag::HSM_CALLS, &mut counts.hsm_calls), (tag::HSM_TIME, &mut counts.hsm_us)] {
        let mut rest = fields.get(tag).unwrap_or_default();
        while !rest.is_empty() {
            let wrong = || EventFault::Field(tag);
            let (call, after) = split_named(rest, NAME_MAX).ok_or_else(wrong)?;
            let (number, after) = split_count(after).ok_or_else(wrong)?;
            by_call.insert(call.to_owned(), number);
            rest = after;
        }
    }
    Ok(counts)
}

fn split_named(bytes: &[u8], max: usize) -> Option<(&str, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    Some((sound_text(name, max)?, rest))
}

/// A count that is not 0.
fn split_count(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*count), rest)).filter(|(count, _)| *count > 0)
}

fn decode_fate(fields: &FieldReader<'_>) -> Result<DataFate, EventFault> {
    let key = fields.code(tag::KEY_FATE, |code| match code {
        0 => Some(KeyFate::NoKey),
        1 => Some(KeyFate::Destroyed),
        2 => Some(KeyFate::Missing),
        _ => None,
    })?;
    let (spool, unreadable) = fields.code(tag::SPOOL_FATE, |code| {
        let spool = match code & !UNREADABLE {
            1 => SpoolFate::Removed,
            2 => SpoolFate::Overwritten,
            3 => SpoolFate::Missing,
            _ => return None,
        };
        Some((spool, code & UNREADABLE != 0))
    })?;
    Ok(DataFate { key, spool, unreadable })
}

/// The context of an event; of an event that is not understood, only its notes.
fn decode_context(fields: &FieldReader<'_>, strange: bool) -> Result<Context, EventFault> {
    let notes = decode_notes(fields)?;
    if strange {
        return Ok(notes);
    }
    Ok(Context {
        reason: fields.optional_text(tag::REASON, WORD_MAX)?.map(Into::into),
        actor: fields.actor()?,
        first_person: fields.optional_text(tag::FIRST_PERSON, NAME_MAX)?,
        ..notes
    })
}

fn decode_notes(fields: &FieldReader<'_>) -> Result<Context, EventFault> {
    let name = |tag| fields.optional_text(tag, NAME_MAX);
    let act = match (fields.optional_text(tag::ACT_KEY, ACT_KEY_MAX)?, fields.array(tag::ACT_REQUEST)?) {
        (Some(key), Some(request)) if key.is_ascii() => Some(ActReference { key, request }),
        (None, None) => None,
        _ => return Err(EventFault::Field(tag::ACT_KEY)),
    };
    Ok(Context {
        station: name(tag::STATION)?,
        module: name(tag::MODULE)?,
        detail: fields.optional_text(tag::DETAIL, DETAIL_MAX)?,
        header: fields.array::<4>(tag::HEADER)?.map(hex::encode_upper),
        sw: fields.array(tag::SW)?.map(u16::from_be_bytes),
        ms: fields.array(tag::MS)?.map(u64::from_be_bytes),
        act,
        on_line: name(tag::ON_LINE)?,
        hsm: fields.array(tag::HSM_USE)?.map(hsm_use),
        ..Context::default()
    })
}

fn hsm_use(bytes: [u8; 12]) -> HsmUse {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    HsmUse { calls: u32::from_be_bytes([a, b, c, d]), us: u64::from_be_bytes([e, f, g, h, i, j, k, l]) }
}

/// Whether the counts of a run fit into an event; see [`RunCounts::parts`].
pub(crate) fn counts_fit(counts: &RunCounts) -> bool {
    let named = |name: &str| sound_text(name.as_bytes(), NAME_MAX).is_some();
    let worked = counts.worked.iter().all(|((module, station), n)| named(module) && named(station) && *n > 0);
    let mut by_call = counts.hsm_calls.iter().chain(&counts.hsm_us);
    let calls = by_call.all(|(call, n)| named(call) && *n > 0);
    let mut bytes = Vec::new();
    encode_counts(counts, &mut FieldWriter(&mut bytes));
    worked && calls && bytes.len() <= EVENT_MAX / 2
}
