//! The daemon's connections: a thread for each, a bounded number for each person, and bounded patience, so that nobody shuts
//! the others out. Who is not in the people file is told so and gets no thread.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::people::Person;
use super::server::{Core, not_allowed};
use super::wire::{self, Answer};
use crate::cli::common::Early;
use crate::exit::{Exit, Failure};

/// Connections of one person at a time: commands, and the programs that they watch with.
const OF_ONE: usize = 16;
/// How long a connection may say nothing, and take nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a question may take from its first byte.
const QUESTION_TIME: Duration = Duration::from_secs(10);

/// How often the log says that somebody wants more than that.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The connections of each user id.
#[derive(Default)]
struct Open(Mutex<HashMap<u32, Of>>);

/// One person's connections.
#[derive(Default)]
struct Of {
    open: usize,
    /// Refused since the log said so.
    refused: u64,
    /// When it did.
    told: Option<Instant>,
}

impl Of {
    /// One is refused. Gives how many were since the log was told, if it is to be told now.
    fn refuse(&mut self, now: Instant) -> Option<u64> {
        self.refused += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.refused))
    }
}

impl Open {
    /// Counts one more of this person, or says that there is no room for it.
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

    fn one_less(&self, uid: u32) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = open.get_mut(&uid) {
            of.open = of.open.saturating_sub(1);
        }
    }
}

/// A stream on which what is begun has to be finished in time.
struct Patient {
    stream: UnixStream,
    until: Instant,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(ErrorKind::TimedOut, "the question took too long"));
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

impl Core {
    /// Serves whoever connects, for ever.
    pub(super) fn accept(self: &Arc<Self>, listener: &UnixListener) {
        let open = Arc::new(Open::default());
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors, most likely: connections must end before the next can begin.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if let Err(error) = self.serve(stream, &open) {
                tracing::debug!(%error, "a connection was not served");
            }
        }
    }

    fn serve(self: &Arc<Self>, stream: UnixStream, open: &Arc<Open>) -> std::io::Result<()> {
        let uid = getsockopt(&stream, PeerCredentials)?.uid();
        stream.set_write_timeout(Some(PATIENCE))?;
        let Some(person) = self.people.of(uid).cloned() else {
            let why = format!("nobody with uid {uid} stands in the daemon's people file");
            return send(&stream, String::new(), Err(not_allowed(&why)));
        };
        if !open.one_more(&person, uid) {
            let name = &person.name;
            let why = format!("{name} has {OF_ONE} connections open already; end some of them");
            return send(&stream, String::new(), Err(Failure::new(Exit::Daemon, format!("operator: {why}"))));
        }
        let (core, still_open) = (Arc::clone(self), Arc::clone(open));
        let spawned = std::thread::Builder::new().name("connection".into()).spawn(move || {
            if let Err(error) = core.converse(&stream, &person) {
                tracing::debug!(%error, "a connection ended");
            }
            still_open.one_less(uid);
        });
        spawned.map(drop).inspect_err(|_| open.one_less(uid))
    }

    /// Questions and answers until the other end closes.
    fn converse(&self, stream: &UnixStream, person: &Person) -> std::io::Result<()> {
        let mut reader =
            BufReader::new(Patient { stream: stream.try_clone()?, until: Instant::now() + PATIENCE });
        while !reader.fill_buf()?.is_empty() {
            reader.get_mut().until = Instant::now() + QUESTION_TIME;
            let message = match wire::receive(&mut reader, wire::QUESTION_MAX) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let what = "operator: that is no question: one JSON object in a line of at most 64 KiB";
                    send(stream, String::new(), Err(Failure::new(Exit::Daemon, what)))?;
                    return Err(error);
                }
            };
            let mut out = Vec::new();
            let result = match wire::question(message) {
                Ok(question) => self.answer(person, &question, &mut out),
                Err(why) => Err(Failure::new(Exit::Daemon, format!("operator: {why}")).into()),
            };
            let result = match result {
                Ok(exit) => Ok(exit),
                Err(Early::Failure(failure)) => Err(failure),
                Err(Early::Output(error)) => return Err(error),
            };
            let sent = send(stream, String::from_utf8_lossy(&out).into_owned(), result);
            if self.shop.ledger.failed().is_some() || self.shop.keys_are_gone() {
                // The line ends, and the daemon with it: a new one begins with what is on the disk.
                self.queue().drain();
                self.changed.notify_all();
            }
            sent?;
            reader.get_mut().until = Instant::now() + PATIENCE;
        }
        Ok(())
    }
}

fn send(mut stream: &UnixStream, out: String, result: Result<Exit, Failure>) -> std::io::Result<()> {
    let (exit, error) = match result {
        Ok(exit) => (exit, None),
        Err(failure) => (failure.exit, Some(failure.message)),
    };
    wire::send(&mut stream, &Answer { exit: exit as u8, out, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_at_once_and_then_at_most_once_a_minute() {
        let (mut of, start) = (Of::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(of.refuse(at(0)), Some(1));
        assert!((1..60).all(|second| of.refuse(at(second)).is_none()));
        assert_eq!(of.refuse(at(60)), Some(60));
        assert_eq!(of.refuse(at(61)), None);
        assert_eq!(of.refuse(at(600)), Some(2));
    }
}
