//! Machine's end of the framed links (`drivers::wire` section 2): stuffing, BCC, ACK, NAK, DLE, repeated
//! answers.
//!
//! The machine never acts on damage. A frame counts only if its BCC is right *and* nothing follows it before
//! the acknowledgement, because a data byte that turned into an ETX may be followed by a byte that fits as
//! BCC. After any damage the machine listens until the line is quiet, and then sends exactly one NAK: a
//! second NAK for one burst would make the controller repeat a command that was already accepted.
//!
//! Not here: the effects of the commands ([`FramedMachine`]).

use std::io;
use std::time::Duration;

use drivers::wire::{ACK, DLE, ESCAPE_XOR, ETX, FRAME_DATA_MAX, FRAME_TRIES, NAK, STX, status};

use super::link::MachineLink;

/// A silence that ends a burst.
pub const QUIET: Duration = Duration::from_millis(50);

/// Answer of a machine to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineAnswer {
    /// Status character.
    pub status: u8,
    /// At most [`FRAME_DATA_MAX`] bytes.
    pub data: Vec<u8>,
}

impl MachineAnswer {
    /// Makes an answer without data.
    pub fn status(status: u8) -> Self {
        Self { status, data: Vec::new() }
    }

    /// Makes the answer "done", or the one with this status.
    pub fn of(result: Result<(), u8>) -> Self {
        Self::status(result.err().unwrap_or(status::DONE))
    }

    /// Makes the answer "done" with the model's name.
    pub fn model(name: &str) -> Self {
        Self { status: status::DONE, data: name.as_bytes().to_vec() }
    }

    /// Makes the answer "done" with the model's name and the serial number of the machine that stands at a place.
    pub fn numbered(name: &str, place: &str) -> Self {
        Self::model(&format!("{name} no.SIM-{place}"))
    }
}

/// A machine that takes framed commands.
pub trait FramedMachine {
    /// Its command characters.
    const COMMANDS: &'static [u8];
    /// Carries out a command and takes the machine's time. `None`: the machine closes the link instead of
    /// answering.
    fn run(&mut self, command: u8, data: &[u8]) -> Option<MachineAnswer>;
    /// Damages an answer's frame on its way, if a fault requires it.
    fn damage(&mut self, _frame: &mut [u8]) {}
}

/// Serves a machine until the other end hangs up. With `instant` the machine takes no time, so ACK and answer
/// are sent in one piece.
pub fn serve<M: FramedMachine>(
    stream: &impl MachineLink,
    machine: &mut M,
    instant: bool,
    quiet: Duration,
) -> io::Result<()> {
    let mut line = IncomingBytes { stream, quiet, buffer: [0; 4096], start: 0, end: 0 };
    let mut body = Vec::with_capacity(FRAME_DATA_MAX + 1);
    let mut out = Vec::with_capacity(64);
    let mut frame = Vec::with_capacity(64);
    let mut first = line.next()?;
    while let Some(byte) = first {
        let verdict = match byte {
            ACK | NAK => {
                first = line.next()?; // a stray one, of an exchange that is over
                continue;
            }
            STX => line.frame(&mut body)?,
            _ => FrameVerdict::Damaged,
        };
        first = match (verdict, body.split_first()) {
            (FrameVerdict::Whole, Some((command, data))) if M::COMMANDS.contains(command) => {
                out.clear();
                out.push(ACK);
                if !instant {
                    line.send(&out)?;
                    out.clear();
                }
                let Some(answer) = machine.run(*command, data) else { return Ok(()) };
                frame.clear();
                encode(*command, &answer, &mut frame);
                line.answer(&mut out, &frame, machine)?;
                line.acknowledged(&frame, machine)?
            }
            (FrameVerdict::Whole, _) => {
                line.send(&[DLE])?;
                line.next()?
            }
            (FrameVerdict::Damaged, _) => {
                line.settle()?;
                line.send(&[NAK])?;
                line.next()?
            }
        };
    }
    Ok(())
}

fn is_special(byte: u8) -> bool {
    matches!(byte, STX | ETX | ACK | DLE | NAK)
}

/// The answer's frame: STX cmd status data ETX BCC.
fn encode(command: u8, answer: &MachineAnswer, out: &mut Vec<u8>) {
    out.push(STX);
    let from = out.len();
    for byte in [command, answer.status].iter().chain(answer.data.iter().take(FRAME_DATA_MAX)) {
        if is_special(*byte) {
            out.extend([DLE, byte ^ ESCAPE_XOR]);
        } else {
            out.push(*byte);
        }
    }
    out.push(ETX);
    out.push(out.iter().skip(from).fold(0, |bcc, byte| bcc ^ byte));
}

enum FrameVerdict {
    Whole,
    Damaged,
}

/// Arriving bytes; reads as many at a time as have come.
struct IncomingBytes<'a, L> {
    stream: &'a L,
    quiet: Duration,
    buffer: [u8; 4096],
    start: usize,
    end: usize,
}

impl<L: MachineLink> IncomingBytes<'_, L> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.send(bytes)
    }

    /// Sends `ahead` and an answer's frame in one piece, damaged if a fault requires it.
    fn answer<M: FramedMachine>(
        &mut self,
        ahead: &mut Vec<u8>,
        frame: &[u8],
        machine: &mut M,
    ) -> io::Result<()> {
        let from = ahead.len();
        ahead.extend(frame);
        machine.damage(ahead.get_mut(from..).unwrap_or_default());
        self.send(ahead)
    }

    /// Returns the next byte, without a time limit; `None` at the end.
    fn next(&mut self) -> io::Result<Option<u8>> {
        while self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.end = self.stream.receive(&mut self.buffer)?;
            if self.end == 0 {
                return Ok(None);
            }
        }
        let byte = self.buffer.get(self.start).copied();
        self.start += 1;
        Ok(byte)
    }

    /// Returns the next byte of a burst; `None` if the line falls quiet, or at the end.
    fn next_in_burst(&mut self) -> io::Result<Option<u8>> {
        if self.start == self.end && !self.stream.stirs_within(self.quiet)? {
            return Ok(None);
        }
        self.next()
    }

    /// Drops all bytes until the line is quiet.
    fn settle(&mut self) -> io::Result<()> {
        while self.next_in_burst()?.is_some() {
            self.start = self.end;
        }
        Ok(())
    }

    /// Reads a frame after its STX into `body` (command, data).
    fn frame(&mut self, body: &mut Vec<u8>) -> io::Result<FrameVerdict> {
        body.clear();
        let mut bcc = 0;
        loop {
            let Some(byte) = self.next_in_burst()? else { return Ok(FrameVerdict::Damaged) };
            bcc ^= byte;
            match byte {
                ETX => break,
                DLE => match self.next_in_burst()? {
                    Some(escaped) if is_special(escaped ^ ESCAPE_XOR) => {
                        bcc ^= escaped;
                        body.push(escaped ^ ESCAPE_XOR);
                    }
                    _ => return Ok(FrameVerdict::Damaged),
                },
                STX | ACK | NAK => return Ok(FrameVerdict::Damaged),
                _ => body.push(byte),
            }
            if body.len() > FRAME_DATA_MAX + 1 {
                return Ok(FrameVerdict::Damaged);
            }
        }
        let right = self.next_in_burst()? == Some(bcc)
            && self.start == self.end
            && body.first().is_some_and(|c| (0x20..0x7F).contains(c));
        Ok(if right { FrameVerdict::Whole } else { FrameVerdict::Damaged })
    }

    /// Waits until the answer is acknowledged, and repeats it when asked. Returns the byte that begins the
    /// next command; a command that comes instead of an ACK shows that the controller has moved on.
    fn acknowledged<M: FramedMachine>(&mut self, answer: &[u8], machine: &mut M) -> io::Result<Option<u8>> {
        let mut tries = 1;
        loop {
            match self.next()? {
                Some(ACK) => return self.next(),
                Some(STX) => return Ok(Some(STX)),
                None => return Ok(None),
                Some(byte) if tries < FRAME_TRIES => {
                    if byte != NAK {
                        self.settle()?;
                    }
                    self.answer(&mut Vec::new(), answer, machine)?;
                    tries += 1;
                }
                Some(_) => return self.next(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
