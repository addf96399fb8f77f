//! The controller's end of a byte link's host.

use std::time::{Duration, Instant};

use super::process::{HostPipe, HostSpec};
use crate::exchange;
use crate::link::{ByteLink, LinkError};
use crate::wire::{HOST_BODY_MAX, host};

/// kind u8, length u32.
const HEADER: usize = 5;

/// A byte link to a machine in a host process.
///
/// No process runs until [`ByteLink::reopen`], which also reopens the device. A silent machine is no fault
/// of the host.
pub struct HostLink {
    pipe: HostPipe,
    /// Received but not yet taken: whole frames, or the beginning of one.
    held: Vec<u8>,
}

impl HostLink {
    /// Takes the specification; starts nothing yet.
    pub fn new(spec: HostSpec) -> Self {
        Self { pipe: HostPipe::new(spec), held: Vec::new() }
    }

    /// The process of the host, if one runs.
    pub fn pid(&self) -> Option<u32> {
        self.pipe.pid()
    }

    /// Takes bytes of the first frame, if it is there; those that do not fit stay in it.
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, LinkError> {
        let Some(&[kind, a, b, c, d]) = self.held.first_chunk::<HEADER>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > HOST_BODY_MAX || !matches!(kind, host::BYTES | host::CLOSED) {
            return Err(LinkError::Io("station host: malformed frame".into()));
        }
        let Some(body) = self.held.get(HEADER..HEADER + length) else { return Ok(None) };
        if kind == host::CLOSED {
            return Err(match exchange::shown(body) {
                why if why.is_empty() => LinkError::Closed,
                why => LinkError::Io(why),
            });
        }
        let n = length.min(buffer.len());
        buffer.iter_mut().zip(body).for_each(|(to, from)| *to = *from);
        let left = u32::try_from(length - n).unwrap_or(0).to_be_bytes();
        self.held.drain(..if n == length { HEADER + n } else { n });
        if n < length {
            self.held.iter_mut().zip([kind].iter().chain(&left)).for_each(|(to, from)| *to = *from);
        }
        Ok(Some(n))
    }

    /// Ends a host that breaks the protocol or whose device is gone.
    fn lost(&mut self, error: LinkError) -> LinkError {
        self.pipe.kill();
        self.held.clear();
        error
    }
}

impl ByteLink for HostLink {
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        let deadline = Instant::now() + timeout;
        for piece in bytes.chunks(HOST_BODY_MAX) {
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes();
            let frame = [&[host::BYTES], &length[..], piece].concat();
            let left = deadline.saturating_duration_since(Instant::now());
            let sent = self.pipe.send(&frame, left);
            // A frame that was sent in part puts the frames out of step.
            sent.map_err(|error| match self.lost(error) {
                LinkError::Timeout(_) => LinkError::Timeout(timeout),
                error => error,
            })?;
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.take(buffer) {
                // An empty frame has no meaning.
                Ok(Some(0)) if !buffer.is_empty() => continue,
                Ok(Some(n)) => return Ok(n),
                Ok(None) => {}
                Err(error) => return Err(self.lost(error)),
            }
            let mut piece = [0; HEADER + HOST_BODY_MAX];
            match self.pipe.receive(&mut piece, deadline.saturating_duration_since(Instant::now())) {
                Ok(n) => self.held.extend_from_slice(piece.get(..n).unwrap_or_default()),
                Err(LinkError::Timeout(_)) => return Err(LinkError::Timeout(timeout)),
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), LinkError> {
        self.held.clear();
        self.pipe.reopen(timeout)
    }

    fn node(&self) -> &str {
        self.pipe.node()
    }
}
