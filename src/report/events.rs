//! The event stream: one line with a JSON object for each event (`--events`), and the line that people read.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, TryRecvError};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::ledger::{Event, rfc3339};
use crate::threads;

/// An event as JSON, the same everywhere: `ts` is RFC 3339 in UTC with milliseconds; the first twelve fields
/// are always there (`null` where they do not apply), and so are `n` and `simulated`.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    ts: String,
    job: &'a str,
    seq: Option<u32>,
    card_ref: Option<&'a str>,
    attempt: Option<u32>,
    blank: Option<&'a str>,
    station: Option<&'a str>,
    module: Option<&'a str>,
    from: Option<&'a str>,
    to: &'a str,
    reason: Option<&'a str>,
    ms: Option<u64>,
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    simulated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

impl<'a> From<&'a Event> for EventLine<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            ts: rfc3339(event.ts),
            job: &event.job,
            seq: event.seq,
            card_ref: event.card_ref.as_deref(),
            attempt: event.attempt,
            blank: event.blank.as_deref(),
            station: event.station.as_deref(),
            module: event.module.as_deref(),
            from: event.from.as_deref(),
            to: &event.to,
            reason: event.reason.as_deref(),
            ms: event.ms,
            n: event.n,
            detail: event.detail.as_deref(),
            header: event.header.as_deref(),
            sw: event.sw.as_deref(),
            position: event.position,
            actor: event.actor.as_deref(),
            simulated: event.simulated,
            count: event.count,
        }
    }
}

/// Writes an event as one JSON object, without the line's end.
pub fn write_json(event: &Event, out: &mut dyn Write) -> std::io::Result<()> {
    Ok(serde_json::to_writer(out, &EventLine::from(event))?)
}

/// Returns an event as one line for people.
pub fn text(event: &Event) -> String {
    let mut words = vec![rfc3339(event.ts)];
    if !event.job.is_empty() {
        words.push(event.job.clone());
    }
    if event.simulated {
        words.push(super::SIMULATED.to_owned());
    }
    if let Some(seq) = event.seq {
        let card_ref = event.card_ref.as_deref().unwrap_or("?");
        words.push(format!("record {seq} {card_ref}"));
    }
    if let Some(attempt) = event.attempt {
        words.push(format!("attempt {attempt}"));
    }
    if let Some(blank) = &event.blank {
        words.push(format!("blank {blank}"));
    }
    if let Some(station) = event.station.as_ref().or(event.module.as_ref()) {
        words.push(station.clone());
    }
    words.push(match &event.from {
        Some(from) => format!("{from} -> {}", event.to),
        None => event.to.clone(),
    });
    if let Some(count) = event.count {
        words.push(count.to_string());
    }
    if let Some(position) = event.position {
        words.push(format!("position {position}"));
    }
    if let Some(ms) = event.ms {
        words.push(format!("{ms} ms"));
    }
    if let Some(cause) =
        cause(event.reason.as_deref(), event.header.as_deref(), event.sw.as_deref(), event.detail.as_deref())
    {
        words.push(format!("({cause})"));
    }
    if let Some(actor) = &event.actor {
        words.push(format!("by {actor}"));
    }
    words.join(" ")
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
    thread: JoinHandle<std::io::Result<u64>>,
    path: String,
}

impl EventWriter {
    /// Starts to append to a file, or to write to standard output (`-`). The lines are flushed whenever no
    /// event is waiting.
    pub fn start(events: Receiver<Event>, path: &str) -> Result<Self, Failure> {
        let out: Box<dyn Write + Send> = match path {
            "-" => Box::new(std::io::stdout()),
            _ => {
                Box::new(File::options().create(true).append(true).open(path).map_err(|e| failure(path, &e))?)
            }
        };
        let thread = threads::start("events", move || write_all(&events, out))?;
        Ok(Self { thread, path: path.to_owned() })
    }

    /// Waits for the last event and returns the number of lines. The ledger must be closed, or this waits for
    /// ever.
    pub fn finish(self) -> Result<u64, Failure> {
        match self.thread.join() {
            Ok(lines) => lines.map_err(|e| failure(&self.path, &e)),
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
    Failure::new(Exit::Io, format!("events file {path}: {error}; {what}"))
}

/// Writes until the channel or an error ends it. Then the receiver is dropped, and the ledger goes on without
/// it.
fn write_all(events: &Receiver<Event>, out: Box<dyn Write + Send>) -> std::io::Result<u64> {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    let mut lines = 0;
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
        lines += 1;
    }
    out.flush()?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64) -> Event {
        Event {
            n,
            ts: 1_709_164_800_250,
            job: "J1".to_owned(),
            seq: Some(3),
            card_ref: Some("CARD-3".to_owned()),
            attempt: Some(1),
            blank: Some("0A0B0C0D".to_owned()),
            station: Some("chip-2".to_owned()),
            module: Some("chip".to_owned()),
            from: Some("PERSONALIZING".to_owned()),
            to: "REJECTED".to_owned(),
            reason: Some("sw-6A84".to_owned()),
            detail: None,
            header: Some("84E20001".to_owned()),
            sw: Some("6A84".to_owned()),
            position: None,
            ms: Some(812),
            actor: None,
            simulated: true,
            count: None,
        }
    }

    /// The fields that every line has, in their order.
    #[test]
    fn a_line_has_the_fields_of_the_design() {
        let held = Event {
            seq: None,
            card_ref: None,
            attempt: None,
            blank: None,
            station: None,
            module: None,
            from: None,
            reason: None,
            ms: None,
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
        let line = text(&event(1));
        for word in
            ["SIMULATED", "record 3 CARD-3", "chip-2", "PERSONALIZING -> REJECTED", "SW 6A84", "812 ms"]
        {
            assert!(line.contains(word), "{word} in {line}");
        }
        assert!(!text(&Event { simulated: false, ..event(1) }).contains("SIMULATED"));
    }

    #[test]
    fn the_writer_writes_every_event() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("e.jsonl");
        let (sender, events) = crossbeam_channel::bounded(4);
        let writer = EventWriter::start(events, path.to_str().unwrap()).unwrap();
        sender.send(event(1)).unwrap();
        // The first line is written before the run ends.
        while std::fs::read_to_string(&path).unwrap().lines().count() == 0 {
            std::thread::yield_now();
        }
        (2..=1000).for_each(|n| sender.send(event(n)).unwrap());
        drop(sender);
        assert_eq!(writer.finish().unwrap(), 1000);
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
        let writer = EventWriter::start(events, "/dev/full").unwrap();
        while sender.send(event(1)).is_ok() {}
        assert_eq!(writer.finish().unwrap_err().exit, Exit::Io);
        let (_sender, events) = crossbeam_channel::bounded(1);
        assert_eq!(EventWriter::start(events, "/no/such/directory/e").err().unwrap().exit, Exit::Io);
    }
}
