//! A link with a receive buffer: it returns bytes one by one, each with a deadline.
//!
//! A link returns arrived bytes in pieces of any size, while a codec needs the next byte. A timeout never
//! loses bytes that arrived, and a machine that never stops sending cannot hold the controller past the
//! deadline. The buffer is wiped, because stripes and emboss lines pass through it.

use std::time::{Duration, Instant};

use zeroize::Zeroize;

use crate::error::DeviceError;
use crate::link::{ByteLink, LinkError};

/// Bytes taken from the link at once.
const CHUNK: usize = 512;
/// Most stale bytes thrown away before a command; a machine that sends more is out of order.
const STALE_MAX: usize = 16 * 1024;
/// Time to reconnect a link that closed between two commands.
const REOPEN_TIME: Duration = Duration::from_secs(1);
/// Time for the bytes to leave: the longest stuffed frame (2,053 bytes) takes 2.1 s at 9600 bit/s.
const SEND_TIME: Duration = Duration::from_secs(5);

/// A link, and the bytes that arrived on it and were not read yet.
pub(crate) struct BufferedLink<L> {
    link: L,
    held: Vec<u8>,
    next: usize,
}

impl<L: ByteLink> BufferedLink<L> {
    pub(crate) fn new(link: L) -> Self {
        Self { link, held: Vec::new(), next: 0 }
    }

    /// Reconnects and forgets the bytes that had arrived.
    pub(crate) fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        self.link.reopen(timeout)?;
        self.held.zeroize();
        self.held.clear();
        self.next = 0;
        Ok(())
    }

    /// The name of the connection in the system.
    pub(crate) fn node(&self) -> &str {
        self.link.node()
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), DeviceError> {
        Ok(self.link.send(bytes, SEND_TIME)?)
    }

    /// Returns the next byte, or [`LinkError::Timeout`] when the deadline passes without one.
    pub(crate) fn byte(&mut self, deadline: Instant) -> Result<u8, LinkError> {
        loop {
            if let Some(byte) = self.take() {
                return Ok(byte);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LinkError::Timeout(left));
            }
            self.fill(left)?;
        }
    }

    /// Passes every byte that has already arrived to `each`, without waiting for more. If `reopens`, a link
    /// that closed in the meantime is reconnected, and the result is true: the machine may have lost its
    /// settings.
    pub(crate) fn drain(&mut self, reopens: bool, mut each: impl FnMut(u8)) -> Result<bool, DeviceError> {
        let mut reopened = false;
        for _ in 0..STALE_MAX {
            if let Some(byte) = self.take() {
                each(byte);
                continue;
            }
            match self.fill(Duration::ZERO) {
                Ok(()) => {}
                Err(LinkError::Timeout(_)) => return Ok(reopened),
                // The link closed while no work was under way, so no work is lost.
                Err(LinkError::Closed) if reopens && !reopened => {
                    reopened = true;
                    let node = self.link.node().to_owned();
                    self.reopen(REOPEN_TIME)?;
                    // It may be another machine: only a caller who asked for a new connection may go on.
                    if self.link.node() != node {
                        return Err(DeviceError::Closed);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(DeviceError::Unexpected("it sends without end and unasked"))
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.held.get(self.next).copied()?;
        self.next += 1;
        Some(byte)
    }

    fn fill(&mut self, timeout: Duration) -> Result<(), LinkError> {
        self.held.zeroize();
        self.next = 0;
        self.held.resize(CHUNK, 0);
        let got = self.link.receive(&mut self.held, timeout);
        self.held.truncate(*got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => Err(LinkError::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl<L> Drop for BufferedLink<L> {
    fn drop(&mut self) {
        self.held.zeroize();
    }
}
