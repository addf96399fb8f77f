//! The event stream: one line with a JSON object for each event (`--events`), and the line that people read.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, TryRecvError};
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::laws::event::ChainVersion;
use crate::laws::{ChipId, EventFact, KeyFate, LedgerEvent, SpoolFate, rfc3339};
use crate::printable::one_line;
use crate::stdout;
use crate::threads;

/// An event in the words of the trade, as JSON wherever it is shown or sent. `ts` is RFC 3339 in UTC with milliseconds. The first twelve
/// fields, `n` and `simulated` are always there (`null` where they do not apply). The fields from `chain` on
/// are those of chain version 2 (`src/manual/ledger-events.md` section 6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    ts: String,
    job: String,
    seq: Option<u32>,
    card_ref: Option<String>,
    attempt: Option<u32>,
    blank: Option<String>,
    station: Option<String>,
    module: Option<String>,
    from: Option<String>,
    to: String,
    reason: Option<String>,
    ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hsm_calls: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hsm_ms: Option<f64>,
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sw: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    simulated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blank_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chip: Option<ChipLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<FactLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_person: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<ActLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

/// A chip. A kind of chip without a name is shown as a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ChipLine {
    kind: String,
    id: String,
    kmc: Option<String>,
}

/// The fields that only one kind of event has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum FactLine {
    Terms {
        records: u32,
        line: String,
        rejects_shredded: bool,
        rejects_marked: bool,
        spool_key: Option<String>,
        line_digest: String,
        product_digest: String,
        chip_program: Option<String>,
        plan_ms: Option<u32>,
        cards: String,
        laws: u16,
    },
    Ran {
        worked: BTreeMap<String, u64>,
        hsm_calls: BTreeMap<String, u64>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        hsm_ms: BTreeMap<String, f64>,
    },
    Verified {
        compared: String,
    },
    Wiring {
        device: Option<String>,
        how: String,
    },
    Value {
        name: String,
        length: u32,
        sha256: String,
        public: Option<String>,
    },
    Deleted {
        key: KeyFate,
        spool: SpoolFate,
        unreadable: bool,
    },
}

/// The request that led to an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ActLine {
    key: String,
    request: String,
}

impl From<&LedgerEvent> for EventLine {
    fn from(event: &LedgerEvent) -> Self {
        // Events of chain version 1 keep the form that they always had, without the later fields.
        let (context, second) = (&event.context, event.chain == ChainVersion::Two);
        Self {
            ts: rfc3339(event.ts),
            job: event.job_text(),
            seq: event.seq(),
            card_ref: event.card_ref().map(str::to_owned),
            attempt: event.attempt(),
            blank: event.blank_name(),
            station: context.station.clone(),
            module: context.module.clone(),
            from: event.from_word().map(str::to_owned),
            to: event.to_word(),
            reason: context.reason.as_ref().map(|reason| reason.as_str().to_owned()),
            ms: context.ms,
            hsm_calls: context.hsm.map(|hsm| hsm.calls),
            hsm_ms: context.hsm.map(|hsm| milliseconds(hsm.us)),
            n: event.n,
            detail: event.detail_text(),
            header: context.header.clone(),
            sw: context.sw.map(|sw| format!("{sw:04X}")),
            position: event.position(),
            actor: context.actor.clone(),
            simulated: event.simulated,
            count: event.count(),
            chain: second.then_some(2),
            blank_number: event.fact.blank().and_then(|blank| blank.number).filter(|_| second),
            chip: event.fact.chip().filter(|_| second).map(chip_line),
            facts: fact_line(&event.fact).filter(|_| second),
            first_person: context.first_person.clone(),
            act: context
                .act
                .as_ref()
                .map(|act| ActLine { key: act.key.clone(), request: hex::encode_upper(act.request) }),
            line: context.on_line.clone(),
            body: None,
        }
    }
}

impl EventLine {
    /// Number of the event in its ledger.
    pub fn number(&self) -> u64 {
        self.n
    }

    /// Sequence of the record, if the event is about one.
    pub fn record(&self) -> Option<u32> {
        self.seq
    }

    /// Whether it is an event of a job on a simulated line.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// Returns the event as one line for people.
    pub fn text(&self) -> String {
        let mut words = vec![self.ts.clone()];
        if !self.job.is_empty() {
            words.push(self.job.clone());
        }
        if self.simulated {
            words.push(super::SIMULATED.to_owned());
        }
        if let Some(seq) = self.seq {
            words.push(format!("record {seq} {}", self.card_ref.as_deref().unwrap_or("?")));
        }
        if let Some(attempt) = self.attempt {
            words.push(format!("attempt {attempt}"));
        }
        if let Some(blank) = &self.blank {
            words.push(format!("blank {blank}"));
        }
        words.extend(self.station.as_ref().or(self.module.as_ref()).cloned());
        words.push(match &self.from {
            Some(from) => format!("{from} -> {}", self.to),
            None => self.to.clone(),
        });
        words.extend(self.count.map(|count| count.to_string()));
        words.extend(self.position.map(|position| format!("position {position}")));
        words.extend(self.ms.map(|ms| format!("{ms} ms")));
        let [reason, header, sw, detail] =
            [&self.reason, &self.header, &self.sw, &self.detail].map(Option::as_deref);
        words.extend(cause(reason, header, sw, detail).map(|cause| format!("({cause})")));
        if let Some(name) = self.actor.clone() {
            words.push(format!("by {}", Actor { name, first: self.first_person.clone() }));
        }
        one_line(&words.join(" ")).into_owned()
    }
}

fn chip_line(chip: &ChipId) -> ChipLine {
    let kind = match chip.identity.kind {
        ChipId::GLOBALPLATFORM => "globalplatform".to_owned(),
        other => other.to_string(),
    };
    ChipLine { kind, id: chip.identity.bytes.to_string(), kmc: chip.kmc().map(|kmc| kmc.to_string()) }
}

fn fact_line(fact: &EventFact) -> Option<FactLine> {
    Some(match fact {
        EventFact::Accepted(Some(terms)) => FactLine::Terms {
            records: terms.records,
            line: terms.line.clone(),
            rejects_shredded: terms.rejects_shredded,
            rejects_marked: terms.rejects_marked,
            spool_key: terms.spool_key.map(|key| key.to_string()),
            line_digest: hex::encode_upper(terms.profiles.line_digest),
            product_digest: hex::encode_upper(terms.profiles.product_digest),
            chip_program: terms.profiles.chip_program.map(hex::encode_upper),
            plan_ms: terms.profiles.plan_ms,
            cards: hex::encode_upper(terms.cards),
            laws: terms.laws,
        },
        EventFact::Ran(counts) => FactLine::Ran {
            worked: counts
                .worked
                .iter()
                .map(|((module, name), n)| (format!("{module}/{name}"), *n))
                .collect(),
            hsm_calls: counts.hsm_calls.clone(),
            hsm_ms: counts.hsm_us.iter().map(|(call, us)| (call.clone(), milliseconds(*us))).collect(),
        },
        EventFact::Verified { compared, .. } => FactLine::Verified { compared: compared.clone() },
        EventFact::WiringProved { device, how, .. } => {
            FactLine::Wiring { device: device.clone(), how: how.clone() }
        }
        EventFact::ValueGiven { value, .. } => FactLine::Value {
            name: value.name.clone(),
            length: value.length,
            sha256: hex::encode_upper(value.digest),
            public: value.public.as_ref().map(hex::encode_upper),
        },
        EventFact::Deleted(fate) => {
            FactLine::Deleted { key: fate.key, spool: fate.spool, unreadable: fate.unreadable }
        }
        _ => return None,
    })
}

/// Writes an event as one JSON object, without the line's end.
pub fn write_json(event: &LedgerEvent, out: &mut dyn Write) -> std::io::Result<()> {
    Ok(serde_json::to_writer(out, &EventLine::from(event))?)
}

/// Writes an event as [`write_json`] does, with the bytes that were hashed, so that the reader of an export
/// can compute the chain.
pub fn write_exported(event: &LedgerEvent, out: &mut dyn Write) -> std::io::Result<()> {
    let line = EventLine { body: event.body().map(hex::encode_upper), ..EventLine::from(event) };
    Ok(serde_json::to_writer(out, &line)?)
}

/// Microseconds as the milliseconds of a report.
pub(super) fn milliseconds(us: u64) -> f64 {
    // Exact up to 285 years.
    #[allow(clippy::cast_precision_loss, reason = "a time of this length does not come")]
    let us = us as f64;
    us / 1000.0
}

/// Returns reason, command header, status word and detail as one phrase.
pub(super) fn cause(
    reason: Option<&str>,
    header: Option<&str>,
    sw: Option<&str>,
    detail: Option<&str>,
) -> Option<String> {
    let header = header.map(|h| format!("command {h}"));
    let sw = sw.map(|s| format!("SW {s}"));
    let parts: Vec<_> = [reason, header.as_deref(), sw.as_deref(), detail].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The thread that writes the event stream of a run. It drops no event: the ledger waits for a slow file or
/// pipe (`Ledger::subscribe`).
pub struct EventWriter {
    thread: JoinHandle<std::io::Result<()>>,
    path: String,
}

/// An open output for events.
pub struct EventOutput {
    out: Box<dyn Write + Send>,
    path: String,
}

impl EventOutput {
    /// Opens a file, to add to it, or standard output (`-`).
    pub fn open(path: &str) -> Result<Self, Failure> {
        let out: Box<dyn Write + Send> = match path {
            "-" => Box::new(stdout::Tame::new(std::io::stdout())),
            _ => Box::new(files::append(Path::new(path)).map_err(|e| failure(path, &e))?),
        };
        Ok(Self { out, path: path.to_owned() })
    }
}

impl EventWriter {
    /// Starts to write. The lines are flushed whenever no event is waiting.
    pub fn start(events: Receiver<Arc<LedgerEvent>>, output: EventOutput) -> Result<Self, Failure> {
        let EventOutput { out, path } = output;
        let thread = threads::start("events", move || write_all(&events, out))?;
        Ok(Self { thread, path })
    }

    /// Waits for the last event. The ledger must be closed, or this waits for ever.
    pub fn finish(self) -> Result<(), Failure> {
        match self.thread.join() {
            Ok(Err(error)) if self.path == "-" && stdout::is_left(&error) => Ok(()),
            Ok(written) => written.map_err(|e| failure(&self.path, &e)),
            Err(_) => {
                let what =
                    "us: the writer of the events file died, which is a bug; the ledger has every event";
                Err(Failure::new(Exit::Thread, what))
            }
        }
    }
}

fn failure(path: &str, error: &std::io::Error) -> Failure {
    let what = "the ledger has every event";
    Failure::new(Exit::Io, format!("events file {path}: {}; {what}", files::trouble(error)))
}

/// Writes until the channel or an error ends it. Then the receiver is dropped, and the ledger goes on without
/// it.
fn write_all(events: &Receiver<Arc<LedgerEvent>>, out: Box<dyn Write + Send>) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    loop {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                out.flush()?;
                match events.recv() {
                    Ok(event) => event,
                    Err(_) => break,
                }
            }
        };
        write_json(&event, &mut out)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::event::{BlankSubject, CardSubject, RecordSubject};
    use crate::laws::{AttemptState, BlankLabel, Context, JobId, StateName};

    fn event(n: u64) -> LedgerEvent {
        LedgerEvent {
            n,
            ts: 1_709_164_800_250,
            job: Some(JobId(1)),
            simulated: true,
            chain: ChainVersion::Two,
            from: Some(StateName::AttemptPersonalizing),
            fact: EventFact::Moved {
                card: CardSubject {
                    record: RecordSubject { seq: 3, card_ref: "CARD-3".to_owned() },
                    attempt: 1,
                    blank: BlankSubject { number: Some(7), label: BlankLabel::new(&[10, 11, 12, 13]) },
                },
                to: AttemptState::Rejected,
            },
            context: Context {
                station: Some("chip-2".to_owned()),
                module: Some("chip".to_owned()),
                reason: Some("sw-6A84".into()),
                header: Some("84E20001".to_owned()),
                sw: Some(0x6A84),
                ms: Some(812),
                ..Context::default()
            },
            unknown: vec![],
        }
    }

    /// The fields that every line has, in their order.
    #[test]
    fn a_line_has_the_fields_of_the_design() {
        let held = LedgerEvent {
            from: None,
            fact: EventFact::Held,
            context: Context::default(),
            simulated: false,
            ..event(1)
        };
        let design = "ts, job, seq, card_ref, attempt, blank, station, module, from, to, reason, ms";
        for event in [event(1), held] {
            let mut line = Vec::new();
            write_json(&event, &mut line).unwrap();
            let line = String::from_utf8(line).unwrap();
            let mut rest = line.as_str();
            for field in design.split(", ") {
                let at = rest.find(&format!("\"{field}\":")).unwrap_or_else(|| panic!("{field} in {line}"));
                rest = &rest[at..];
            }
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["ts"], "2024-02-29T00:00:00.250Z");
            assert_eq!(value["simulated"], event.simulated);
        }
    }

    #[test]
    fn simulated_events_say_so_to_people_too() {
        let line = EventLine::from(&event(1)).text();
        for word in
            ["SIMULATED", "record 3 CARD-3", "chip-2", "PERSONALIZING -> REJECTED", "SW 6A84", "812 ms"]
        {
            assert!(line.contains(word), "{word} in {line}");
        }
        let live = LedgerEvent { simulated: false, ..event(1) };
        assert!(!EventLine::from(&live).text().contains("SIMULATED"));
    }

    #[test]
    fn the_writer_writes_every_event() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("e.jsonl");
        let (sender, events) = crossbeam_channel::bounded(4);
        let writer = EventWriter::start(events, EventOutput::open(path.to_str().unwrap()).unwrap()).unwrap();
        sender.send(event(1).into()).unwrap();
        // The first line is written before the run ends.
        while std::fs::read_to_string(&path).unwrap().lines().count() == 0 {
            std::thread::yield_now();
        }
        (2..=1000).for_each(|n| sender.send(event(n).into()).unwrap());
        drop(sender);
        writer.finish().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let numbers: Vec<_> = text
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["n"].as_u64())
            .collect();
        assert_eq!(numbers, (1..=1000).map(Some).collect::<Vec<_>>());
    }

    /// /dev/full answers every write with ENOSPC: the writer ends with the error, and the sender is not
    /// blocked.
    #[test]
    fn a_full_disk_is_told_and_blocks_nobody() {
        let (sender, events) = crossbeam_channel::bounded(1);
        let writer = EventWriter::start(events, EventOutput::open("/dev/full").unwrap()).unwrap();
        while sender.send(event(1).into()).is_ok() {}
        assert_eq!(writer.finish().unwrap_err().exit, Exit::Io);
        assert_eq!(EventOutput::open("/no/such/directory/e").err().unwrap().exit, Exit::Io);
    }
}
