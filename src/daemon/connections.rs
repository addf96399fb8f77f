//! The daemon's connections. Each has a thread; each person has a bounded number of them, and each has a
//! bounded time, so that one person cannot shut the others out. A user who is not in the people file gets a
//! refusal and no thread.
//!
//! Not here: the answers (`answers`).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::farewell::Farewells;
use super::files::{self, ReceivedFiles};
use super::people::Person;
use super::server::LineDaemon;
use super::wire::{self, AnswerMessage};
use crate::bureau::refusal::NotAllowed;
use crate::bureau::{Outcome, Refusal};
use crate::exit::Exit;
use crate::threads;

/// Most connections of one person, for commands and for programs that show progress.
const OF_ONE: usize = 16;
/// How long a connection may stay silent, or take no bytes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a request may take from its first byte to its last.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// Most descriptors of the ledger's own files that stay open because one person sent them.
const KEPT_OPEN_MAX: u32 = 8;

/// The interval at which the log reports that a person asks for more connections than that.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The connections of each user id.
#[derive(Default)]
struct OpenConnections(Mutex<HashMap<u32, OfPerson>>);

/// One person's connections.
#[derive(Default)]
struct OfPerson {
    open: usize,
    /// Connections refused since the last report in the log.
    refused: u64,
    /// Time of the last report in the log.
    told: Option<Instant>,
    /// Descriptors of the ledger's own files that came from this person and stay open.
    kept_open: u32,
}

impl OfPerson {
    /// Counts a refused connection. Returns the number of refusals since the last report, if the log should
    /// report them now.
    fn refuse(&mut self, now: Instant) -> Option<u64> {
        self.refused += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.refused))
    }
}

impl OpenConnections {
    /// Counts one more connection of this person. Returns false if the person has no room for it.
    fn one_more(&self, person: &Person, uid: u32) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = open.entry(uid).or_default();
        let room = of.open < OF_ONE;
        of.open += usize::from(room);
        if !room && let Some(refused) = of.refuse(Instant::now()) {
            tracing::warn!(uid, name = %person.name, refused, "more connections than one person gets");
        }
        room
    }

    /// Whether the daemon takes files from this person: not after the person has sent the ledger's own files
    /// several times.
    fn trusts(&self, uid: u32) -> bool {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&uid).is_none_or(|of| of.kept_open < KEPT_OPEN_MAX)
    }

    fn kept_open(&self, uid: u32, more: u32) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = open.entry(uid).or_default();
        of.kept_open = of.kept_open.saturating_add(more);
        tracing::warn!(
            uid,
            kept_open = of.kept_open,
            "somebody sent the ledger's own file; its descriptor stays open"
        );
    }

    fn one_less(&self, uid: u32) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = open.get_mut(&uid) {
            of.open = of.open.saturating_sub(1);
        }
    }
}

/// A stream on which a message, once begun, must be complete in time. It keeps the files that come with it.
struct PatientStream<'a> {
    stream: &'a UnixStream,
    until: Instant,
    daemon: &'a LineDaemon,
    connections: &'a OpenConnections,
    uid: u32,
    received: ReceivedFiles,
}

impl Read for PatientStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(ErrorKind::TimedOut, "the request took too long"));
        }
        self.stream.set_read_timeout(Some(left))?;
        let (before, ledger) = (self.received.kept_open, self.daemon.bureau.ledger.path());
        let trusted = self.connections.trusts(self.uid);
        let read = files::receive_with(self.stream, buffer, trusted, ledger, &mut self.received);
        let more = self.received.kept_open - before;
        if more > 0 {
            self.connections.kept_open(self.uid, more);
        }
        read
    }
}

impl LineDaemon {
    /// Serves every client that connects, and never returns.
    pub(super) fn accept(self: &Arc<Self>, listener: &UnixListener, farewells: &Farewells) {
        let open = Arc::new(OpenConnections::default());
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Most likely no descriptors are left, and a connection must end before the next can begin.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if let Err(error) = self.serve(stream, &open, farewells) {
                tracing::debug!(%error, "a connection was not served");
            }
        }
    }

    fn serve(
        self: &Arc<Self>,
        stream: UnixStream,
        open: &Arc<OpenConnections>,
        farewells: &Farewells,
    ) -> std::io::Result<()> {
        let refuse = |stream: UnixStream, refusal| {
            let sent = send(&stream, Err(refusal));
            farewells.close(stream);
            sent
        };
        let uid = getsockopt(&stream, PeerCredentials)?.uid();
        stream.set_write_timeout(Some(PATIENCE))?;
        let Some(person) = self.people.of(uid).cloned() else {
            let why = NotAllowed::Unlisted { uid };
            return refuse(stream, Refusal::NotAllowed { job: None, why });
        };
        if !open.one_more(&person, uid) {
            let name = &person.name;
            let why = format!("operator: {name} has {OF_ONE} connections open already; end some of them");
            return refuse(stream, Refusal::fault(Exit::Daemon, why));
        }
        // If no thread starts, the closure is dropped with its stream, and the answer needs another.
        let (daemon, still_open, theirs) = (Arc::clone(self), Arc::clone(open), stream.try_clone()?);
        let later = farewells.clone();
        let started = threads::start("connection", move || {
            daemon.watch("connection", || {
                if let Err(error) = daemon.converse(&stream, &person, &still_open) {
                    tracing::debug!(%error, "a connection ended");
                }
            });
            later.close(stream);
            still_open.one_less(uid);
        });
        match started {
            Ok(_) => Ok(()),
            // The client can ask again; the line goes on.
            Err(refused) => {
                open.one_less(uid);
                refuse(theirs, Refusal::fault(Exit::Thread, refused.to_string()))
            }
        }
    }

    /// Reads requests and sends answers until the other end closes.
    fn converse(
        &self,
        stream: &UnixStream,
        person: &Person,
        connections: &OpenConnections,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(PatientStream {
            stream,
            until: Instant::now() + PATIENCE,
            daemon: self,
            connections,
            uid: person.uid,
            received: ReceivedFiles::default(),
        });
        while !reader.fill_buf()?.is_empty() {
            reader.get_mut().until = Instant::now() + REQUEST_TIME;
            let line = match wire::receive_line(&mut reader, wire::REQUEST_MAX) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let what = "operator: that is no request: one JSON object in a line of at most 64 KiB";
                    send(stream, Err(Refusal::fault(Exit::Daemon, what)))?;
                    return Err(error);
                }
            };
            let received = std::mem::take(&mut reader.get_mut().received);
            let sent = send(stream, self.carry_out(person, &line, received));
            if self.bureau.ledger.failed().is_some() || self.bureau.keys_are_gone() {
                // The line ends, and the daemon with it. The next daemon begins with the ledger as it is on
                // the disk.
                self.queue().drain();
                self.changed.notify_all();
            }
            sent?;
            reader.get_mut().until = Instant::now() + PATIENCE;
        }
        Ok(())
    }

    fn carry_out(&self, person: &Person, line: &[u8], received: ReceivedFiles) -> Result<Outcome, Refusal> {
        let request =
            wire::request(line).map_err(|why| Refusal::fault(Exit::Daemon, format!("operator: {why}")))?;
        if let Some(refusal) = received.refused {
            return Err(refusal);
        }
        files::check(&request.action, &received.files)?;
        self.answer(person, &request, received.files)
    }
}

fn send(mut stream: &UnixStream, answer: Result<Outcome, Refusal>) -> std::io::Result<()> {
    wire::send(&mut stream, &AnswerMessage::from(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_logged_at_once_and_then_at_most_once_a_minute() {
        let (mut of, start) = (OfPerson::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(of.refuse(at(0)), Some(1));
        assert!((1..60).all(|second| of.refuse(at(second)).is_none()));
        assert_eq!(of.refuse(at(60)), Some(60));
        assert_eq!(of.refuse(at(61)), None);
        assert_eq!(of.refuse(at(600)), Some(2));
    }
}
