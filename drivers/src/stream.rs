//! Sends and receives with a time limit over a connected stream socket, for every link over a socket.
//!
//! Not here: the meaning of the bytes, and making the connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::link::LinkError;

/// A stream socket whose calls can be limited in time.
pub(crate) trait StreamSocket: Read + Write {
    fn limit_reads(&self, limit: Option<Duration>) -> std::io::Result<()>;
    fn limit_writes(&self, limit: Option<Duration>) -> std::io::Result<()>;
    fn wait(&self, wait: bool) -> std::io::Result<()>;
    fn end_writes(&self) -> std::io::Result<()>;
}

impl StreamSocket for UnixStream {
    fn limit_reads(&self, limit: Option<Duration>) -> std::io::Result<()> {
        self.set_read_timeout(limit)
    }

    fn limit_writes(&self, limit: Option<Duration>) -> std::io::Result<()> {
        self.set_write_timeout(limit)
    }

    fn wait(&self, wait: bool) -> std::io::Result<()> {
        self.set_nonblocking(!wait)
    }

    fn end_writes(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl StreamSocket for TcpStream {
    fn limit_reads(&self, limit: Option<Duration>) -> std::io::Result<()> {
        self.set_read_timeout(limit)
    }

    fn limit_writes(&self, limit: Option<Duration>) -> std::io::Result<()> {
        self.set_write_timeout(limit)
    }

    fn wait(&self, wait: bool) -> std::io::Result<()> {
        self.set_nonblocking(!wait)
    }

    fn end_writes(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A limit that is already set on the socket is kept if it differs by less than this, because every change
/// costs a call to the kernel, once for each answer of a session.
const CLOSE_ENOUGH: Duration = Duration::from_millis(5);

/// A socket, and the limits last set on it.
pub(crate) struct TimedSocket<S> {
    socket: S,
    reads: Option<Duration>,
    writes: Option<Duration>,
}

impl<S: StreamSocket> TimedSocket<S> {
    /// Takes a socket without limits.
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, reads: None, writes: None }
    }

    /// Sends all the bytes, or fails; see [`crate::link::ByteLink::send`].
    pub(crate) fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        let deadline = Instant::now() + timeout;
        let mut rest = bytes;
        while !rest.is_empty() {
            let limit = DirectionLimit(S::limit_writes, &mut self.writes);
            let n = some(&mut self.socket, limit, (deadline, timeout), |socket| socket.write(rest))?;
            rest = rest.get(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for at least one byte; see [`crate::link::ByteLink::receive`].
    pub(crate) fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        let deadline = Instant::now() + timeout;
        let limit = DirectionLimit(S::limit_reads, &mut self.reads);
        some(&mut self.socket, limit, (deadline, timeout), |socket| socket.read(buffer))
    }

    /// Fills the buffer, or fails at the deadline.
    pub(crate) fn receive_all(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<(), LinkError> {
        while !buffer.is_empty() {
            let n = self.receive(buffer, deadline.saturating_duration_since(Instant::now()))?;
            buffer = buffer.get_mut(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// Closes this end for writing, so that the other end reads an end of file.
    pub(crate) fn finish(&self) -> std::io::Result<()> {
        self.socket.end_writes()
    }

    /// Returns the socket, without limits.
    pub(crate) fn into_inner(self) -> std::io::Result<S> {
        self.socket.limit_reads(None)?;
        self.socket.limit_writes(None)?;
        Ok(self.socket)
    }
}

/// A function that sets the limit of one direction, and the limit last set.
struct DirectionLimit<'a, S>(fn(&S, Option<Duration>) -> std::io::Result<()>, &'a mut Option<Duration>);

/// Reads or writes until some bytes passed or the deadline came. A timeout reports the caller's whole time.
fn some<S: StreamSocket>(
    socket: &mut S,
    DirectionLimit(limit, set): DirectionLimit<'_, S>,
    (deadline, timeout): (Instant, Duration),
    mut act: impl FnMut(&mut S) -> std::io::Result<usize>,
) -> Result<usize, LinkError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match attempt(socket, left, DirectionLimit(limit, set), &mut act) {
            Ok(0) => return Err(LinkError::Closed),
            Ok(n) => return Ok(n),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(&error, timeout)),
        }
    }
}

/// Reads or writes once with the time that is left; if none is left, without waiting.
fn attempt<S: StreamSocket>(
    socket: &mut S,
    left: Duration,
    DirectionLimit(limit, set): DirectionLimit<'_, S>,
    mut act: impl FnMut(&mut S) -> std::io::Result<usize>,
) -> std::io::Result<usize> {
    if left.is_zero() {
        socket.wait(false)?;
        let outcome = act(socket);
        socket.wait(true)?;
        return outcome;
    }
    if set.is_none_or(|set| set < left || set > left + CLOSE_ENOUGH) {
        limit(socket, Some(left))?;
        *set = Some(left);
    }
    act(socket)
}

fn fault(error: &std::io::Error, timeout: Duration) -> LinkError {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => LinkError::Timeout(timeout),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected => LinkError::Closed,
        _ => LinkError::Io(error.to_string()),
    }
}
