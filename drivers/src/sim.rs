//! Links to `hwsim` over its Unix socket (wire section 1): a byte link to a machine, a card link to a reader.
//!
//! Not here: starting `hwsim`. The other end must say that it is simulated; a link that does not is refused, so that
//! nothing live can be reached through a simulated line.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::link::{CardError, CardLink, Link, LinkError};
use crate::wire::{READER_BODY_MAX, SW_DONE, reader};

/// For the hello and its answer.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Longest answer to the hello.
const HELLO_MAX: usize = 4096;
/// kind u8, length u32.
const HEADER: usize = 5;

/// What to talk to at a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The card reader; see [`SimReader`].
    Reader,
    /// The machine: embosser, printer or stripe encoder.
    Machine,
    /// The transport's end.
    Transport,
}

#[derive(Serialize)]
struct Hello<'a> {
    station: &'a str,
    device: Device,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    simulated: bool,
    error: Option<String>,
}

/// A byte link to a machine of `hwsim`.
pub struct SimLink {
    stream: UnixStream,
}

impl SimLink {
    /// Connects to `device` at `station` ("chip-1", "output"). The error says what the other end said.
    pub fn connect(socket: &Path, station: &str, device: Device) -> Result<Self, LinkError> {
        let stream = UnixStream::connect(socket)
            .map_err(|error| LinkError::Io(format!("simulator at {}: {error}", socket.display())))?;
        let mut link = Self { stream };
        link.hello(station, device)?;
        Ok(link)
    }

    fn hello(&mut self, station: &str, device: Device) -> Result<(), LinkError> {
        let no_simulator = || LinkError::Io("the other end does not answer as a simulator".to_string());
        let deadline = Instant::now() + HELLO_TIME;
        let body = serde_json::to_vec(&Hello { station, device }).map_err(|_| no_simulator())?;
        let length = u32::try_from(body.len()).map_err(|_| no_simulator())?;
        self.send(&[&length.to_be_bytes(), &body[..]].concat(), HELLO_TIME)?;

        let mut length = [0; 4];
        self.receive_all(&mut length, deadline)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| no_simulator())?;
        if length > HELLO_MAX {
            return Err(no_simulator());
        }
        let mut body = vec![0; length];
        self.receive_all(&mut body, deadline)?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| no_simulator())?;
        match answer.error {
            Some(text) => {
                let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                Err(LinkError::Io(format!("the simulator refuses station {station}: {text}")))
            }
            None if answer.simulated => Ok(()),
            None => Err(LinkError::Io("the other end does not say that it is simulated".to_string())),
        }
    }

    fn receive_all(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<(), LinkError> {
        while !buffer.is_empty() {
            let n = self.receive(buffer, deadline.saturating_duration_since(Instant::now()))?;
            buffer = buffer.get_mut(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// One read or write with the time that is left; without any, it does not wait.
    fn attempt(
        &mut self,
        left: Duration,
        limit: fn(&UnixStream, Option<Duration>) -> std::io::Result<()>,
        mut act: impl FnMut(&mut UnixStream) -> std::io::Result<usize>,
    ) -> std::io::Result<usize> {
        if left.is_zero() {
            self.stream.set_nonblocking(true)?;
            let outcome = act(&mut self.stream);
            self.stream.set_nonblocking(false)?;
            return outcome;
        }
        limit(&self.stream, Some(left))?;
        act(&mut self.stream)
    }
}

impl Link for SimLink {
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        let deadline = Instant::now() + timeout;
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.attempt(left, UnixStream::set_write_timeout, |stream| stream.write(rest)) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(fault(&error, timeout)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.attempt(left, UnixStream::set_read_timeout, |stream| stream.read(buffer)) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(n) => return Ok(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(fault(&error, timeout)),
            }
        }
    }
}

fn fault(error: &std::io::Error, timeout: Duration) -> LinkError {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => LinkError::Timeout(timeout),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected => LinkError::Closed,
        _ => LinkError::Io(error.to_string()),
    }
}

/// A card link to a reader of `hwsim`.
///
/// Answers come in the order of the requests. An answer that did not come in time is still owed, and is dropped when it
/// comes, so that it is never taken for the answer of a later request. Of several commands sent at once nobody knows how
/// many answers are owed: after a timeout there the reader is lost until connected anew.
pub struct SimReader {
    link: SimLink,
    /// Received, not yet a whole answer.
    held: Zeroizing<Vec<u8>>,
    owed: u32,
    /// Set when the exchanges cannot be told apart any more.
    lost: bool,
}

impl SimReader {
    /// Connects to the reader of `station` ("chip-1").
    pub fn connect(socket: &Path, station: &str) -> Result<Self, LinkError> {
        Ok(Self::over(SimLink::connect(socket, station, Device::Reader)?))
    }

    fn over(link: SimLink) -> Self {
        Self { link, held: Zeroizing::new(Vec::new()), owed: 0, lost: false }
    }

    fn exchange(
        &mut self,
        request: u8,
        body: &[u8],
        expected: u8,
        timeout: Duration,
    ) -> Result<Vec<u8>, CardError> {
        let deadline = Instant::now() + timeout;
        self.request(request, body, timeout)?;
        let answer = self.own_answer(deadline, timeout);
        self.lost =
            matches!(&answer, Err(error) if !matches!(error, CardError::Reader(LinkError::Timeout(_))));
        body_of(answer?, expected)
    }

    /// Sends a request. The reader counts as lost until its answers were read: one that went out in part leaves the
    /// exchanges out of step.
    fn request(&mut self, request: u8, body: &[u8], timeout: Duration) -> Result<(), CardError> {
        if self.lost {
            return Err(CardError::Reader(LinkError::Closed));
        }
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= READER_BODY_MAX);
        let length =
            length.ok_or_else(|| CardError::Reader(LinkError::Io("command longer than an APDU".into())))?;
        let mut message = Zeroizing::new(Vec::with_capacity(HEADER + body.len()));
        message.push(request);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        self.lost = true;
        self.link.send(&message, timeout).map_err(CardError::Reader)?;
        self.owed += 1;
        Ok(())
    }

    /// The first answer to the last request; those that are owed to earlier ones are dropped.
    fn own_answer(&mut self, deadline: Instant, timeout: Duration) -> Result<(u8, Vec<u8>), CardError> {
        loop {
            let answer = self.answer(deadline, timeout)?;
            self.owed -= 1;
            if self.owed == 0 {
                return Ok(answer);
            }
        }
    }

    /// Sends so many of the commands as fit one request; false if one of them stopped.
    fn several(
        &mut self,
        commands: &[&[u8]],
        timeout: Duration,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<bool, CardError> {
        let mut body = Zeroizing::new(Vec::with_capacity(commands.iter().map(|c| 2 + c.len()).sum()));
        for command in commands {
            // Shorter than a body, which was looked at before.
            body.extend_from_slice(&u16::try_from(command.len()).unwrap_or(u16::MAX).to_be_bytes());
            body.extend_from_slice(command);
        }
        self.request(reader::TRANSMIT_ALL, &body, timeout)?;
        for _ in commands {
            let deadline = Instant::now() + timeout;
            let answer = if self.owed > 0 {
                self.own_answer(deadline, timeout)
            } else {
                self.answer(deadline, timeout)
            };
            let answer = answer?;
            let failed = answer.0 == reader::FAILED;
            self.lost = !failed;
            let response = body_of(answer, reader::RESPONSE)?;
            let done = response.ends_with(&SW_DONE);
            responses.push(response);
            if !done {
                self.lost = false;
                return Ok(false);
            }
        }
        self.lost = false;
        Ok(true)
    }

    /// The next whole answer: kind and body.
    fn answer(&mut self, deadline: Instant, timeout: Duration) -> Result<(u8, Vec<u8>), CardError> {
        loop {
            if let Some(&[kind, a, b, c, d]) = self.held.first_chunk::<HEADER>() {
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                if length > READER_BODY_MAX {
                    return Err(CardError::Malformed);
                }
                if let Some(body) = self.held.get(HEADER..HEADER + length) {
                    let body = body.to_vec();
                    let rest = self.held.get(HEADER + length..).unwrap_or_default().to_vec();
                    self.held = Zeroizing::new(rest);
                    return Ok((kind, body));
                }
            }
            let mut piece = Zeroizing::new([0; 4096]);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CardError::Reader(LinkError::Timeout(timeout)));
            }
            let n = self.link.receive(&mut piece[..], left).map_err(|error| match error {
                LinkError::Timeout(_) => CardError::Reader(LinkError::Timeout(timeout)),
                error => CardError::Reader(error),
            })?;
            self.held.extend_from_slice(piece.get(..n).unwrap_or_default());
        }
    }
}

/// The body of an answer of this kind, or what failed.
fn body_of((kind, body): (u8, Vec<u8>), expected: u8) -> Result<Vec<u8>, CardError> {
    match (kind, body.as_slice()) {
        (kind, _) if kind == expected => Ok(body),
        (reader::FAILED, [reader::NO_CARD]) => Err(CardError::Absent),
        (reader::FAILED, [reader::MUTE]) => Err(CardError::Mute),
        (reader::FAILED, [reader::REMOVED]) => Err(CardError::Removed),
        _ => Err(CardError::Malformed),
    }
}

/// How many of these commands one request can carry; at least the first.
fn fitting(commands: &[&[u8]]) -> usize {
    let mut room = READER_BODY_MAX;
    let fits = |command: &&&[u8]| match room.checked_sub(2 + command.len()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    commands.iter().take_while(fits).count().max(1)
}

impl CardLink for SimReader {
    fn power_on(&mut self, timeout: Duration) -> Result<Vec<u8>, CardError> {
        self.exchange(reader::POWER_ON, &[], reader::ATR, timeout)
    }

    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError> {
        self.exchange(reader::TRANSMIT, command, reader::RESPONSE, timeout)
    }

    fn transmit_all(
        &mut self,
        commands: &[&[u8]],
        timeout: Duration,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        let mut rest = commands;
        while let Some((first, _)) = rest.split_first() {
            let (now, later) = rest.split_at(fitting(rest));
            let goes_on = if now.len() > 1 {
                self.several(now, timeout, responses)?
            } else {
                let response = self.transmit(first, timeout)?;
                let done = response.ends_with(&SW_DONE);
                responses.push(response);
                done
            };
            if !goes_on {
                break;
            }
            rest = later;
        }
        Ok(())
    }

    fn power_off(&mut self, timeout: Duration) -> Result<(), CardError> {
        self.exchange(reader::POWER_OFF, &[], reader::OFF, timeout).map(drop)
    }
}

#[cfg(test)]
mod tests;
