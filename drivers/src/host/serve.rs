//! The host's end of a reader: the exchanges of wire section 1, one after the other, until the socket closes.
//!
//! Not here: time limits, which the controller keeps. A malformed message ends the host before any part of it
//! is sent to the card.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zeroize::{Zeroize, Zeroizing};

use super::answers::HeldAnswers;
use super::hello::{self, HostAnswer, HostedDevice};
use super::pump::{self, DeviceEnds};
use crate::exchange;
use crate::link::{CardError, CommandStep, LinkError, Protocols, Reset};
use crate::pcsc::PcscReader;
use crate::presence::{LookFor, ReaderSighting};
use crate::stream::TimedSocket;
use crate::wire::{READER_BODY_MAX, reader};

/// Time for the hello, which the controller sends at once.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// kind u8, length u32.
const HEADER: usize = 5;

/// A reader that a host serves. Its calls may block for ever.
pub trait ServedReader {
    /// Resets the card; returns its ATR.
    fn power_on(&mut self, reset: Reset, protocols: Protocols) -> Result<Vec<u8>, CardError>;
    /// Sends one command APDU and returns one response APDU.
    fn transmit(&mut self, command: &[u8]) -> Result<&[u8], CardError>;
    /// Takes the power off the card.
    fn power_off(&mut self) -> Result<(), CardError>;
    /// Checks that the reader answers.
    fn probe(&mut self) -> Result<(), CardError>;
    /// Returns what the reader sees, once that is what is looked for, and after `wait` at the latest.
    fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError>;
}

impl ServedReader for PcscReader {
    fn power_on(&mut self, reset: Reset, protocols: Protocols) -> Result<Vec<u8>, CardError> {
        self.power_on(reset, protocols)
    }

    fn transmit(&mut self, command: &[u8]) -> Result<&[u8], CardError> {
        self.transmit(command)
    }

    fn power_off(&mut self) -> Result<(), CardError> {
        self.power_off()
    }

    fn probe(&mut self) -> Result<(), CardError> {
        self.probe()
    }

    fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError> {
        self.look(wanted, wait)
    }
}

/// Why a host ends before its controller does.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The other end is no controller, or comes from another build.
    #[error("{0}")]
    Hello(LinkError),
    /// The device cannot be opened; the controller has the reason.
    #[error("{0}")]
    Device(CardError),
    /// The controller sent a malformed message.
    #[error("the controller sent {0}")]
    Protocol(&'static str),
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Serves the device that the other end names, until that end closes.
pub fn serve(socket: UnixStream) -> Result<(), HostError> {
    let deadline = Instant::now() + HELLO_TIME;
    let mut socket = TimedSocket::new(socket);
    let device: HostedDevice = hello::receive(&mut socket, deadline).map_err(HostError::Hello)?;
    match device {
        HostedDevice::Reader(spec) => {
            let name = |reader: &PcscReader| (reader.name(), String::new());
            let (socket, mut reader) = opened(socket, PcscReader::open(spec), name)?;
            exchanges(&socket, &mut reader)
        }
        HostedDevice::Serial { path, baud } => {
            let ends = pump::serial(&path, baud).map_err(CardError::Reader);
            let node = |(_, from): &DeviceEnds| from.node().to_owned();
            let (socket, ends) = opened(socket, ends, |ends| (path, node(ends)))?;
            pump::pump(socket, ends)
        }
        HostedDevice::Tcp { address } => {
            let ends = pump::tcp(&address).map_err(CardError::Reader);
            let (socket, ends) = opened(socket, ends, |_| (address, String::new()))?;
            pump::pump(socket, ends)
        }
    }
}

/// Ends this process when the other end of the socket closes, even while a call blocks.
pub fn end_with(socket: &UnixStream) -> std::io::Result<()> {
    let socket = socket.try_clone()?;
    let watch = move || {
        // Asks for no event: poll always reports that the other end has closed.
        let mut closed = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        while !matches!(poll(&mut closed, PollTimeout::NONE), Ok(n) if n > 0) {}
        // SIGKILL, because a call of a library could delay any other end.
        let _ = kill(Pid::this(), Signal::SIGKILL);
    };
    thread::Builder::new().name("controller".into()).spawn(watch).map(drop)
}

/// Answers the hello with the names of the device and its node.
fn opened<T>(
    mut socket: TimedSocket<UnixStream>,
    device: Result<T, CardError>,
    names: impl FnOnce(&T) -> (String, String),
) -> Result<(UnixStream, T), HostError> {
    let answer = match &device {
        Ok(device) => {
            let (opened, node) = names(device);
            HostAnswer { opened: Some(opened), node, ..HostAnswer::default() }
        }
        Err(error) => HostAnswer::refusal(error),
    };
    hello::send(&mut socket, &answer, Instant::now() + HELLO_TIME).map_err(HostError::Hello)?;
    Ok((socket.into_inner()?, device.map_err(HostError::Device)?))
}

/// Serves requests until the other end closes.
pub(super) fn exchanges(socket: &UnixStream, device: &mut impl ServedReader) -> Result<(), HostError> {
    let held = HeldAnswers::new(socket);
    thread::scope(|scope| {
        thread::Builder::new().name("late answers".into()).spawn_scoped(scope, || held.send_late())?;
        let _last = held.until_dropped();
        requests(socket, &held, device)
    })
}

fn requests(
    mut socket: &UnixStream,
    held: &HeldAnswers<'_>,
    device: &mut impl ServedReader,
) -> Result<(), HostError> {
    let mut body = Zeroizing::new(Vec::new());
    let mut answers = AnswerWriter { held, message: Zeroizing::new(Vec::new()) };
    while let Some(kind) = message(&mut socket, &mut body, READER_BODY_MAX)? {
        match (kind, body.as_slice()) {
            (reader::POWER_ON, [reset @ (reader::COLD | reader::WARM), protocols]) => {
                let reset = if *reset == reader::WARM { Reset::Warm } else { Reset::Cold };
                let protocols = Protocols::from_byte(*protocols);
                let protocols = protocols.ok_or(HostError::Protocol("a protocol that is none"))?;
                let atr = device.power_on(reset, protocols);
                answers.give(reader::ATR, atr.as_deref())?;
            }
            (reader::TRANSMIT, command) => {
                answers.give(reader::RESPONSE, device.transmit(command).as_deref())?;
            }
            (reader::TRANSMIT_ALL, commands) => all(&mut answers, device, commands)?,
            (reader::POWER_OFF, []) => {
                answers.give(reader::OFF, device.power_off().as_ref().map(|()| &[][..]))?;
            }
            (reader::PROBE, []) => {
                answers.give(reader::READY, device.probe().as_ref().map(|()| &[][..]))?;
            }
            (reader::LOOK, asked) => {
                let (wanted, wait) =
                    exchange::look_request(asked).ok_or(HostError::Protocol("a look for nothing known"))?;
                let seen = device.look(wanted, wait).map(|sighting| exchange::seen(&sighting));
                answers.give(reader::SEEN, seen.as_deref())?;
            }
            _ => return Err(HostError::Protocol("a request that is none")),
        }
        body.zeroize();
    }
    Ok(())
}

/// Sends commands to the card until the stop rule of one of them holds.
fn all(
    answers: &mut AnswerWriter<'_>,
    device: &mut impl ServedReader,
    commands: &[u8],
) -> Result<(), HostError> {
    let none = || HostError::Protocol("commands that are none");
    // All commands are checked before the first one is sent.
    let mut steps = Vec::new();
    let mut rest = commands;
    while !rest.is_empty() {
        steps.push(RequestedCommand::split_off(&mut rest).ok_or_else(none)?);
    }
    if steps.is_empty() {
        return Err(none());
    }
    for (after, RequestedCommand { command, go_on }) in (1..).zip(&steps) {
        let response = device.transmit(command);
        let goes_on =
            response.as_ref().is_ok_and(|response| CommandStep { command, go_on }.goes_on_after(response));
        if !goes_on || after == steps.len() {
            return answers.give(reader::RESPONSE, response.as_deref());
        }
        answers.give_more(reader::RESPONSE, response.as_deref())?;
    }
    Ok(())
}

/// One command of a session, in the controller's request.
struct RequestedCommand<'a> {
    command: &'a [u8],
    go_on: Vec<u16>,
}

impl<'a> RequestedCommand<'a> {
    /// Splits off the first one: n u8 | n x status word u16 | length u16 | command.
    fn split_off(bytes: &mut &'a [u8]) -> Option<Self> {
        let (&n, rest) = bytes.split_first()?;
        let (words, rest) = rest.split_at_checked(2 * usize::from(n))?;
        let (length, rest) = rest.split_first_chunk()?;
        let (command, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let word = |sw: &[u8]| sw.first_chunk().map(|sw| u16::from_be_bytes(*sw));
        *bytes = rest;
        Some(Self { command, go_on: words.chunks_exact(2).filter_map(word).collect() })
    }
}

/// Reads kind and body of the next message; `None` if the other end closed between two messages.
pub(super) fn message(
    socket: &mut impl Read,
    body: &mut Vec<u8>,
    longest: usize,
) -> Result<Option<u8>, HostError> {
    let mut kind = [0];
    loop {
        match socket.read(&mut kind) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    let mut length = [0; HEADER - 1];
    socket.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > longest {
        return Err(HostError::Protocol("a message that is too long"));
    }
    body.resize(length, 0);
    socket.read_exact(body)?;
    let [kind] = kind;
    Ok(Some(kind))
}

/// Turns answers into messages, and passes them on to be sent.
struct AnswerWriter<'a> {
    held: &'a HeldAnswers<'a>,
    message: Zeroizing<Vec<u8>>,
}

impl AnswerWriter<'_> {
    /// Gives the last answer to a request.
    fn give(&mut self, kind: u8, body: Result<&[u8], &CardError>) -> Result<(), HostError> {
        self.make(kind, body)?;
        Ok(self.held.send(&self.message)?)
    }

    /// Gives an answer of a session that goes on.
    fn give_more(&mut self, kind: u8, body: Result<&[u8], &CardError>) -> Result<(), HostError> {
        self.make(kind, body)?;
        Ok(self.held.send_soon(&self.message)?)
    }

    fn make(&mut self, kind: u8, body: Result<&[u8], &CardError>) -> Result<(), HostError> {
        let failure;
        let (kind, body) = match body {
            Ok(body) => (kind, body),
            Err(error) => {
                failure = exchange::failure(error);
                (reader::FAILED, failure.as_slice())
            }
        };
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= READER_BODY_MAX);
        let length = length.ok_or_else(|| std::io::Error::other("the card answers longer than an APDU"))?;
        self.message.zeroize();
        self.message.push(kind);
        self.message.extend_from_slice(&length.to_be_bytes());
        self.message.extend_from_slice(body);
        Ok(())
    }
}
