//! Links to `hwsim` over its Unix socket (wire section 1): a byte link to a machine, and the card link over
//! it.
//!
//! Not here: starting `hwsim`. The other end must declare itself simulated, or the link is refused, so that
//! no real machine can be reached through a simulated line.

use std::fmt::Display;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::apdu::ApduExchange;
use crate::atr;
use crate::exchange::ReaderExchange;
use crate::link::{
    ByteLink, CardError, CardLink, CommandStep, LinkError, Protocol, Protocols, Reset, SessionLimits,
};
use crate::presence::{self, LookFor, ReaderSighting};
use crate::stream::TimedSocket;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize};

/// Time for the hello and its answer.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Longest answer to the hello, in bytes.
const HELLO_MAX: usize = 4096;

/// Device of a simulated station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SimDevice {
    /// The card reader; see [`SimReader`].
    Reader,
    /// The machine: embosser, printer or stripe encoder.
    Machine,
    /// The printer's link for images.
    Stream,
    /// The station's end of the card transport.
    Transport,
}

#[derive(Serialize)]
struct SimHello<'a> {
    station: &'a str,
    device: SimDevice,
}

#[derive(Deserialize)]
struct SimHelloAnswer {
    #[serde(default)]
    simulated: bool,
    /// Changes when devices of the line have changed places.
    #[serde(default)]
    wiring: u64,
    error: Option<String>,
}

/// A byte link to a machine of `hwsim`.
pub struct SimLink {
    stream: TimedSocket<UnixStream>,
    to: SimAddress,
    /// The process of the simulator.
    node: String,
}

/// The address of a link, kept to connect again.
struct SimAddress {
    socket: PathBuf,
    station: String,
    device: SimDevice,
}

impl SimLink {
    /// Connects to `device` at `station` ("chip-1", "output"). An error quotes the other end's reason.
    pub fn connect(socket: &Path, station: &str, device: SimDevice) -> Result<Self, LinkError> {
        let to = SimAddress { socket: socket.to_owned(), station: station.to_owned(), device };
        let (stream, node) = to.connect()?;
        let mut link = Self { stream, to, node };
        link.hello()?;
        Ok(link)
    }

    /// A link without a hello, which cannot connect again.
    #[cfg(test)]
    pub(crate) fn bare(stream: UnixStream) -> Self {
        let to = SimAddress { socket: PathBuf::new(), station: String::new(), device: SimDevice::Reader };
        Self { stream: TimedSocket::new(stream), to, node: "bare".into() }
    }

    fn hello(&mut self) -> Result<(), LinkError> {
        let (station, device) = (self.to.station.clone(), self.to.device);
        let no_simulator = || LinkError::Io("the other end does not answer as a simulator".to_string());
        let deadline = Instant::now() + HELLO_TIME;
        let body = serde_json::to_vec(&SimHello { station: &station, device }).map_err(|_| no_simulator())?;
        let length = u32::try_from(body.len()).map_err(|_| no_simulator())?;
        self.send(&[&length.to_be_bytes(), &body[..]].concat(), HELLO_TIME)?;

        let mut length = [0; 4];
        self.stream.receive_all(&mut length, deadline)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| no_simulator())?;
        if length > HELLO_MAX {
            return Err(no_simulator());
        }
        let mut body = vec![0; length];
        self.stream.receive_all(&mut body, deadline)?;
        let answer: SimHelloAnswer = serde_json::from_slice(&body).map_err(|_| no_simulator())?;
        match answer.error {
            Some(text) => {
                let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                Err(LinkError::Io(format!("the simulator refuses station {station}: {text}")))
            }
            None if answer.simulated => {
                self.node = format!("{} {}", self.node, answer.wiring);
                Ok(())
            }
            None => Err(LinkError::Io("the other end does not say that it is simulated".to_string())),
        }
    }
}

impl SimAddress {
    /// The new connection, and the simulator's process.
    fn connect(&self) -> Result<(TimedSocket<UnixStream>, String), LinkError> {
        let fault =
            |error: &dyn Display| LinkError::Io(format!("simulator at {}: {error}", self.socket.display()));
        let stream = UnixStream::connect(&self.socket).map_err(|error| fault(&error))?;
        let peer = getsockopt(&stream, PeerCredentials).map_err(|error| fault(&error))?;
        Ok((TimedSocket::new(stream), presence::process(peer.pid())))
    }
}

impl ByteLink for SimLink {
    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        (self.stream, self.node) = self.to.connect()?;
        self.hello()
    }

    fn node(&self) -> &str {
        &self.node
    }

    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        self.stream.send(bytes, timeout)
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        self.stream.receive(buffer, timeout)
    }
}

/// A card link to a reader of `hwsim`, which carries what the card's protocol carries, as PC/SC does.
pub struct SimReader {
    exchange: ReaderExchange<SimLink>,
    /// The protocol of the card that was reset last.
    protocol: Protocol,
}

impl SimReader {
    /// Connects to the reader of `station` ("chip-1").
    pub fn connect(socket: &Path, station: &str) -> Result<Self, LinkError> {
        Ok(Self::over(SimLink::connect(socket, station, SimDevice::Reader)?))
    }

    fn over(link: SimLink) -> Self {
        Self { exchange: ReaderExchange::over(link), protocol: Protocol::T1 }
    }

    /// Sends what is pending until the response is whole.
    fn finish(&mut self, exchange: &mut ApduExchange<'_>, until: Instant) -> Result<(), CardError> {
        while let Some(command) = exchange.pending() {
            let left = until.saturating_duration_since(Instant::now());
            exchange.answer(&self.exchange.transmit(command, left)?);
        }
        Ok(())
    }

    /// Sends the first command of each exchange, until one stops the session or has a response to be fetched,
    /// and fetches that one. Returns the responses so far and how it ended.
    fn several(
        &mut self,
        steps: &[CommandStep<'_>],
        limits: SessionLimits,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        let mut exchanges: Vec<_> =
            steps.iter().map(|step| ApduExchange::new(self.protocol, step.command)).collect();
        let first: Vec<_> = exchanges
            .iter()
            .zip(steps)
            .map(|(exchange, step)| CommandStep { command: exchange.pending().unwrap_or_default(), ..*step })
            .collect();
        let begun = Instant::now();
        let before = responses.len();
        self.exchange.transmit_all(&first, limits, responses)?;
        let answered = responses.len() - before;
        // The last command began with the first, or has only just been answered.
        let since = if answered == 1 { begun } else { Instant::now() };
        let until = (since + limits.each).min(begun + limits.all);
        if let (Some(last), Some(exchange)) =
            (responses.pop(), answered.checked_sub(1).and_then(|n| exchanges.get_mut(n)))
        {
            exchange.answer(&last);
            self.finish(exchange, until)?;
            responses.push(exchange.take_response());
        }
        Ok(())
    }
}

impl CardLink for SimReader {
    fn power_on(
        &mut self,
        reset: Reset,
        protocols: Protocols,
        timeout: Duration,
    ) -> Result<Vec<u8>, CardError> {
        let atr = self.exchange.power_on(reset, protocols, timeout)?;
        self.protocol = if atr::offers_t1(&atr) { Protocol::T1 } else { Protocol::T0 };
        Ok(atr)
    }

    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError> {
        let mut exchange = ApduExchange::new(self.protocol, command);
        self.finish(&mut exchange, Instant::now() + timeout)?;
        Ok(exchange.take_response())
    }

    fn transmit_all(
        &mut self,
        steps: &[CommandStep<'_>],
        limits: SessionLimits,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        let until = Instant::now() + limits.all;
        let mut rest = steps;
        while !rest.is_empty() {
            let all = until.saturating_duration_since(Instant::now());
            let before = responses.len();
            self.several(rest, SessionLimits { all, ..limits }, responses)?;
            let (done, later) = rest.split_at((responses.len() - before).min(rest.len()));
            match (done.last(), responses.last()) {
                (Some(step), Some(response)) if step.goes_on_after(response) => rest = later,
                _ => break,
            }
        }
        Ok(())
    }

    fn power_off(&mut self, timeout: Duration) -> Result<(), CardError> {
        self.exchange.power_off(timeout)
    }

    fn probe(&mut self, timeout: Duration) -> Result<(), CardError> {
        self.exchange.probe(timeout)
    }

    fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError> {
        self.exchange.look(wanted, wait)
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), CardError> {
        self.exchange.reopen(timeout)
    }
}

#[cfg(test)]
mod tests;
