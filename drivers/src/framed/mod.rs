//! The STX framing of embosser, printer and transport, controller's end (wire section 2; after the framing
//! that the Star TCP300 manual, p. 8, publishes).
//!
//! ```text
//! us       STX cmd data ETX BCC                                    ACK (or NAK: again)
//! machine                        ACK | NAK | DLE ... work ... STX cmd status data ETX BCC
//! ```
//!
//! - Only a command that the machine answered with NAK is repeated. A command whose acknowledgement got lost
//!   is not: the machine may be doing it, and a card must not be embossed twice. Such a command ends as
//!   [`DeviceError::Timeout`].
//! - Answers to earlier commands can still arrive. An answer that comes before the ACK, or names another
//!   command, is acknowledged, so that the machine goes on, and dropped.
//! - The acknowledgement is one byte without a check. If the line turns an ACK into a NAK, the controller
//!   sends a command twice; nothing in this protocol can prevent that.
//! - The BCC reveals every single changed byte, except a byte that turns into ETX: that cuts an answer's data
//!   short with a chance of 1 in 256. Command and status are safe from it, and nothing is decided by an
//!   answer's data.

mod decoder;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use self::decoder::{FrameDecoder, FrameEvent};
use crate::error::{Condition, DeviceError, FramePassage};
use crate::identity::{MachineIdentity, OnlyMachine};
use crate::link::{ByteLink, LinkError};
use crate::port::BufferedLink;
use crate::presence::DeviceConnection;
use crate::wire::{ACK, DLE, ESCAPE_XOR, ETX, FRAME_DATA_MAX, FRAME_TRIES, NAK, STX};

/// Time for the acknowledgement. The longest stuffed frame takes 2.1 s at 9600 bit/s before the machine can
/// judge it.
const ACKNOWLEDGE_TIME: Duration = Duration::from_secs(5);
/// Time for an answer that was asked for again: the work is done, only sending is left (2.1 s at most).
const REPEAT_TIME: Duration = Duration::from_secs(5);
/// Longest silence inside a frame; a byte takes 1 ms at 9600 bit/s. After it the frame counts as damaged.
const GAP_TIME: Duration = Duration::from_millis(500);
/// Time for commands that only fill or clear a buffer.
pub(crate) const QUICK_WORK: Duration = Duration::from_secs(5);

/// Attempts to begin work. The first one may have to connect anew, and the machine is then checked again.
const BEGIN_TRIES: u32 = 2;

/// Commands that do not depend on earlier ones: clear, feed, take, status (wire sections 3 to 5).
const BEGINS: [u8; 4] = *b"CFTS";

/// A link to a framed machine: commands and their answers.
pub struct FramedLink<L> {
    port: BufferedLink<L>,
    decoder: FrameDecoder,
    only: OnlyMachine,
    /// Whether the machine has given the expected number on this connection.
    identified: bool,
}

impl<L: ByteLink> FramedLink<L> {
    /// Takes the link over.
    pub fn new(link: L) -> Self {
        Self {
            port: BufferedLink::new(link),
            decoder: FrameDecoder::default(),
            only: OnlyMachine::Any,
            identified: false,
        }
    }

    /// Drops the connection, in whatever state it is, and makes a new one.
    pub fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        self.decoder = FrameDecoder::default();
        self.identified = false;
        self.port.reopen(timeout)
    }

    /// Makes sure that this is the right machine, and sends command 'C', which begins work on a card.
    pub(crate) fn begin(&mut self) -> Result<(), DeviceError> {
        for _ in 0..BEGIN_TRIES {
            self.check()?;
            self.command(b'C', &[], QUICK_WORK)?;
            // The command may have connected anew, perhaps to another machine.
            if !self.is_new() {
                return Ok(());
            }
        }
        Err(DeviceError::Closed)
    }

    /// Whether the machine still has to give its number on this connection.
    fn is_new(&self) -> bool {
        matches!(self.only, OnlyMachine::Numbered(_)) && !self.identified
    }

    /// Sends a command (one printable ASCII character, at most 1,024 bytes of data) and waits at most `work`,
    /// from its acceptance on, until the machine has done it. Returns the data of the answer.
    pub fn command(&mut self, cmd: u8, data: &[u8], work: Duration) -> Result<Vec<u8>, DeviceError> {
        let frame = encode(cmd, data)?;
        self.settle(BEGINS.contains(&cmd))?;
        self.offer(cmd, &frame)?;
        let body = self.answer(cmd, work)?;
        let (_, rest) = body.split_first().unwrap_or((&0, &[]));
        let (status, data) = rest.split_first().ok_or(DeviceError::Unexpected("answer without a status"))?;
        match Condition::of_framed(*status) {
            None => Ok(data.to_vec()),
            Some(meaning) => Err(DeviceError::Status { status: *status, meaning }),
        }
    }

    /// Command 'S': returns the model's name; a transport names its station before it. Printable ASCII.
    pub(crate) fn model(&mut self) -> Result<String, DeviceError> {
        let says = String::from_utf8(self.command(b'S', &[], QUICK_WORK)?)
            .ok()
            .filter(|name| name.bytes().all(|b| (0x20..=0x7E).contains(&b)))
            .ok_or(DeviceError::Unexpected("model name that is not printable ASCII"))?;
        if let OnlyMachine::Numbered(expected) = &self.only {
            self.identified = false;
            expected.compare(&says)?;
            self.identified = true;
        }
        Ok(says)
    }

    /// Drops bytes that arrived since the last command. Before a command that begins something, a dead link
    /// is reconnected.
    fn settle(&mut self, begins: bool) -> Result<(), DeviceError> {
        let mut late = 0u32;
        let decoder = &mut self.decoder;
        let reopened = self.port.drain(begins, |byte| {
            if let Some(FrameEvent::Frame(_)) = decoder.push(byte) {
                late = late.saturating_add(1);
            }
        })?;
        self.identified &= !reopened;
        for _ in 0..late {
            tracing::debug!("dropped a late answer");
            self.port.send(&[ACK])?;
        }
        Ok(())
    }

    /// Sends the command until the machine accepts it.
    fn offer(&mut self, cmd: u8, frame: &[u8]) -> Result<(), DeviceError> {
        for _ in 0..FRAME_TRIES {
            self.port.send(frame)?;
            match self.acknowledgement()? {
                ACK => return Ok(()),
                DLE => return Err(DeviceError::Refused(char::from(cmd))),
                _ => tracing::debug!(cmd = %char::from(cmd), "the machine asks for the command again"),
            }
        }
        Err(DeviceError::Damaged(FramePassage::Command))
    }

    /// Waits for ACK, NAK or DLE.
    fn acknowledgement(&mut self) -> Result<u8, DeviceError> {
        let deadline = Instant::now() + ACKNOWLEDGE_TIME;
        loop {
            match self.event(deadline) {
                Ok(FrameEvent::Control(byte)) => return Ok(byte),
                Ok(FrameEvent::Frame(_)) => self.drop_late()?,
                Ok(FrameEvent::Damaged) => {}
                Err(LinkError::Timeout(_)) => return Err(DeviceError::Timeout(ACKNOWLEDGE_TIME)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the answer's body: cmd, status, data.
    fn answer(&mut self, cmd: u8, work: Duration) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
        let mut deadline = Instant::now() + work;
        let mut tries = 1;
        loop {
            match self.event(deadline) {
                Ok(FrameEvent::Frame(body)) if body.first() == Some(&cmd) => {
                    // The answer counts, even if its acknowledgement does not reach the machine.
                    if self.port.send(&[ACK]).is_err() {
                        tracing::warn!("could not acknowledge an answer");
                    }
                    return Ok(body);
                }
                Ok(FrameEvent::Frame(_)) => self.drop_late()?,
                Ok(FrameEvent::Control(_)) => {}
                Ok(FrameEvent::Damaged) if tries == FRAME_TRIES => {
                    return Err(DeviceError::Damaged(FramePassage::Answer));
                }
                Ok(FrameEvent::Damaged) => {
                    tries += 1;
                    self.port.send(&[NAK])?;
                    deadline = Instant::now() + REPEAT_TIME;
                }
                Err(LinkError::Timeout(_)) => return Err(DeviceError::Timeout(work)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn drop_late(&mut self) -> Result<(), DeviceError> {
        tracing::debug!("dropped a late answer");
        self.port.send(&[ACK])
    }

    /// Returns the next event before the deadline.
    fn event(&mut self, deadline: Instant) -> Result<FrameEvent, LinkError> {
        loop {
            let inside = self.decoder.inside();
            let until = if inside { deadline.min(Instant::now() + GAP_TIME) } else { deadline };
            match self.port.byte(until) {
                Ok(byte) => {
                    if let Some(event) = self.decoder.push(byte) {
                        return Ok(event);
                    }
                }
                Err(LinkError::Timeout(_)) if inside => {
                    self.decoder = FrameDecoder::default();
                    return Ok(FrameEvent::Damaged);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl<L: ByteLink> MachineIdentity for FramedLink<L> {
    fn only(&mut self, machine: OnlyMachine) {
        self.only = machine;
        self.identified = false;
    }

    fn check(&mut self) -> Result<(), DeviceError> {
        self.only.is_at(self.port.node())?;
        if self.is_new() { self.model().map(drop) } else { Ok(()) }
    }

    fn connection(&self) -> DeviceConnection {
        DeviceConnection::through(self.port.node())
    }
}

/// Whether a byte is escaped inside a frame.
fn is_special(byte: u8) -> bool {
    matches!(byte, STX | ETX | ACK | DLE | NAK)
}

/// Builds a frame: STX, cmd and data stuffed, ETX, BCC.
fn encode(cmd: u8, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
    if !cmd.is_ascii_graphic() {
        return Err(DeviceError::Unsupported("a command is one printable character"));
    }
    if data.len() > FRAME_DATA_MAX {
        return Err(DeviceError::Data("more than one frame holds"));
    }
    let mut frame = Zeroizing::new(Vec::with_capacity(2 * data.len() + 4));
    frame.push(STX);
    let mut bcc = 0;
    let mut put = |byte: u8| {
        bcc ^= byte;
        frame.push(byte);
    };
    put(cmd);
    for &byte in data {
        if is_special(byte) {
            put(DLE);
            put(byte ^ ESCAPE_XOR);
        } else {
            put(byte);
        }
    }
    put(ETX);
    frame.push(bcc);
    Ok(frame)
}
