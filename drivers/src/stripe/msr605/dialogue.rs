//! One command and its reply: what keeps commands and replies of the MSR605 in step.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::{Msr605, REPLY_TIME, REST_TIME, block};
use crate::error::{Condition, DeviceError};
use crate::link::{ByteLink, LinkError};
use crate::stripe::RawTracks;
use crate::wire::{ESC, FS};

impl<L: ByteLink> Msr605<L> {
    /// One command, ESC not included, and its reply, which must begin within `time`.
    pub(super) fn ask<T>(
        &mut self,
        command: &[u8],
        time: Duration,
        reply: impl FnOnce(&mut Self, Instant) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        self.settle()?;
        self.exchange(command, time, reply)
    }

    /// As [`Self::ask`], to a machine that is ready.
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
            // A whole reply came, even if it says no.
            Ok(_) | Err(DeviceError::Status { .. }) => self.unsure = false,
            Err(DeviceError::Timeout(_)) => return Err(DeviceError::Timeout(time)),
            Err(_) => {}
        }
        outcome
    }

    /// A setting that has to survive a reset of the machine.
    pub(super) fn keep(&mut self, key: (u8, u8), command: &[u8]) -> Result<(), DeviceError> {
        self.settle()?;
        self.give_setting(command)?;
        self.settings.insert(key, command.to_vec());
        Ok(())
    }

    fn give_setting(&mut self, command: &[u8]) -> Result<(), DeviceError> {
        self.exchange(command, REPLY_TIME, |device, until| {
            device.status(until)?;
            // Bits per character come back, the others only as "done".
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

    /// Nothing is under way on the line any more. After a reply that did not come or made no sense: reset, until the
    /// communication test passes, and all settings again.
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
            // Whatever else comes is the rest of what was under way: the machine replies in order.
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

    /// The byte after the next ESC; what comes before it is noise.
    pub(super) fn escaped(&mut self, until: Instant) -> Result<u8, DeviceError> {
        while self.port.byte(until)? != ESC {}
        Ok(self.port.byte(until)?)
    }

    /// ESC status.
    pub(super) fn status(&mut self, until: Instant) -> Result<(), DeviceError> {
        let status = self.escaped(until)?;
        match meaning(status) {
            None => Ok(()),
            Some(meaning) => Err(DeviceError::Status { status, meaning }),
        }
    }

    /// ESC 's', which begins a block; a status in its place ends the command.
    fn block_begins(&mut self, until: Instant) -> Result<(), DeviceError> {
        match self.escaped(until)? {
            b's' => Ok(()),
            status => match meaning(status) {
                Some(meaning) => Err(DeviceError::Status { status, meaning }),
                None => Err(DeviceError::Unexpected("done, but no data came")),
            },
        }
    }

    /// A text block, from behind ESC 's' up to, not including, FS.
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

    /// A raw block: each track ESC n LEN bytes, then `?` FS.
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
