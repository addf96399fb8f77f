//! One command and its reply: keeps commands and replies of the MSR605 in step.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::{Msr605, REPLY_TIME, REST_TIME, block};
use crate::error::{Condition, DeviceError};
use crate::link::{ByteLink, LinkError};
use crate::stripe::RawTracks;
use crate::wire::{ESC, FS};

impl<L: ByteLink> Msr605<L> {
    /// Sends one command, without its ESC, and takes its reply, which must begin within `time`.
    pub(super) fn ask<T>(
        &mut self,
        command: &[u8],
        time: Duration,
        reply: impl FnOnce(&mut Self, Instant) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        self.settle()?;
        self.exchange(command, time, reply)
    }

    /// Sends a command to a machine that is ready, and takes its reply.
    fn exchange<T>(
        &mut self,
        command: &[u8],
        time: Duration,
        reply: impl FnOnce(&mut Self, Instant) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let mut message = Zeroizing::new(Vec::with_capacity(1 + command.len()));
        message.push(ESC);
        message.extend_from_slice(command);
        self.unsure = true;
        self.port.send(&message)?;
        let outcome = reply(self, Instant::now() + time);
        match &outcome {
            // A whole reply came, even if it reports a failure.
            Ok(_) | Err(DeviceError::Status { .. }) => self.unsure = false,
            Err(DeviceError::Timeout(_)) => return Err(DeviceError::Timeout(time)),
            Err(_) => {}
        }
        outcome
    }

    /// Sends a setting and remembers it, to send it again after a reset of the machine.
    pub(super) fn keep(&mut self, key: (u8, u8), command: &[u8]) -> Result<(), DeviceError> {
        self.settle()?;
        self.give_setting(command)?;
        self.settings.insert(key, command.to_vec());
        Ok(())
    }

    fn give_setting(&mut self, command: &[u8]) -> Result<(), DeviceError> {
        self.exchange(command, REPLY_TIME, |device, until| {
            device.status(until)?;
            // The machine answers with the bits per character; it only confirms other settings.
            let (kind, values) = command.split_first().unwrap_or((&0, &[]));
            if *kind == b'o' {
                for value in values {
                    if device.port.byte(until)? != *value {
                        return Err(DeviceError::Unexpected("other bits per character than asked for"));
                    }
                }
            }
            Ok(())
        })
    }

    /// Makes sure that nothing is under way on the line. After a missing or a meaningless reply, resets the
    /// machine, waits for the communication test and repeats all settings.
    pub(super) fn settle(&mut self) -> Result<(), DeviceError> {
        if self.port.drain(true, drop)? {
            self.unsure = true;
        }
        if !self.unsure {
            return Ok(());
        }
        self.port.send(&[ESC, b'a'])?;
        self.port.send(&[ESC, b'e'])?;
        let until = Instant::now() + REPLY_TIME;
        let mut last = 0;
        loop {
            // Other bytes are the rest of earlier work, because the machine replies in order.
            let byte = self.port.byte(until).map_err(|error| match error {
                LinkError::Timeout(_) => DeviceError::Timeout(REPLY_TIME),
                error => error.into(),
            })?;
            if (last, byte) == (ESC, b'y') {
                break;
            }
            last = byte;
        }
        self.unsure = false;
        let settings: Vec<Vec<u8>> = self.settings.values().cloned().collect();
        settings.iter().try_for_each(|command| self.give_setting(command))
    }

    /// Returns the byte after the next ESC and drops the bytes before it as noise.
    pub(super) fn escaped(&mut self, until: Instant) -> Result<u8, DeviceError> {
        while self.port.byte(until)? != ESC {}
        Ok(self.port.byte(until)?)
    }

    /// Takes ESC and a status.
    pub(super) fn status(&mut self, until: Instant) -> Result<(), DeviceError> {
        let status = self.escaped(until)?;
        match meaning(status) {
            None => Ok(()),
            Some(meaning) => Err(DeviceError::Status { status, meaning }),
        }
    }

    /// Takes ESC 's', which begins a block; a status in its place ends the command.
    fn block_begins(&mut self, until: Instant) -> Result<(), DeviceError> {
        match self.escaped(until)? {
            b's' => Ok(()),
            status => match meaning(status) {
                Some(meaning) => Err(DeviceError::Status { status, meaning }),
                None => Err(DeviceError::Unexpected("done, but no data came")),
            },
        }
    }

    /// Takes a text block, from after ESC 's' up to FS, without it.
    pub(super) fn text_block(&mut self, until: Instant) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
        self.block_begins(until)?;
        let until = Instant::now() + REST_TIME;
        let mut block = Zeroizing::new(Vec::with_capacity(block::TEXT_MAX));
        loop {
            match self.port.byte(until)? {
                FS => return Ok(block),
                _ if block.len() == block::TEXT_MAX => {
                    return Err(DeviceError::Unexpected("stripe data without end"));
                }
                byte => block.push(byte),
            }
        }
    }

    /// Takes a raw block: each track ESC n LEN bytes, then `?` FS.
    pub(super) fn raw_block(&mut self, until: Instant) -> Result<RawTracks, DeviceError> {
        self.block_begins(until)?;
        let until = Instant::now() + REST_TIME;
        let mut raw = RawTracks::default();
        for (number, track) in (1..).zip(raw.each_mut()) {
            if (self.port.byte(until)?, self.port.byte(until)?) != (ESC, number) {
                return Err(DeviceError::Unexpected("raw tracks not in the order 1, 2, 3"));
            }
            let length = usize::from(self.port.byte(until)?);
            track.reserve_exact(length);
            for _ in 0..length {
                track.push(self.port.byte(until)?);
            }
        }
        if (self.port.byte(until)?, self.port.byte(until)?) != (b'?', FS) {
            return Err(DeviceError::Unexpected("raw tracks without their end mark"));
        }
        Ok(raw)
    }
}

/// Meaning of a status byte; `None` when it is "done".
fn meaning(status: u8) -> Option<Condition> {
    Some(match status {
        0x30 => return None,
        0x31 => Condition::Stripe,
        0x32 => Condition::CommandFormat,
        0x34 => Condition::CommandUnknown,
        0x39 => Condition::Swipe,
        0x41 => Condition::Failed,
        _ => Condition::Unknown,
    })
}
