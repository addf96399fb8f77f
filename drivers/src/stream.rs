//! Sends and receives with a time limit over a connected stream socket: what the links over sockets share.
//!
//! Not here: what the bytes mean, and making the connection.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::link::LinkError;

/// A stream socket whose calls can be limited in time.
pub(crate) trait Socket: Read + Write {
    fn limit_reads(&self, limit: Option<Duration>) -> Result<()>;
    fn limit_writes(&self, limit: Option<Duration>) -> Result<()>;
    fn wait(&self, wait: bool) -> Result<()>;
}

impl Socket for UnixStream {
    fn limit_reads(&self, limit: Option<Duration>) -> Result<()> {
        self.set_read_timeout(limit)
    }

    fn limit_writes(&self, limit: Option<Duration>) -> Result<()> {
        self.set_write_timeout(limit)
    }

    fn wait(&self, wait: bool) -> Result<()> {
        self.set_nonblocking(!wait)
    }
}

impl Socket for TcpStream {
    fn limit_reads(&self, limit: Option<Duration>) -> Result<()> {
        self.set_read_timeout(limit)
    }

    fn limit_writes(&self, limit: Option<Duration>) -> Result<()> {
        self.set_write_timeout(limit)
    }

    fn wait(&self, wait: bool) -> Result<()> {
        self.set_nonblocking(!wait)
    }
}

/// Sends all the bytes, or fails; see [`crate::link::Link::send`].
pub(crate) fn send(
    socket: &mut impl Socket,
    bytes: &[u8],
    timeout: Duration,
) -> std::result::Result<(), LinkError> {
    let deadline = Instant::now() + timeout;
    let mut rest = bytes;
    while !rest.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        match attempt(socket, left, Socket::limit_writes, |socket| socket.write(rest)) {
            Ok(0) => return Err(LinkError::Closed),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(&error, timeout)),
        }
    }
    Ok(())
}

/// Waits for at least one byte; see [`crate::link::Link::receive`].
pub(crate) fn receive(
    socket: &mut impl Socket,
    buffer: &mut [u8],
    timeout: Duration,
) -> std::result::Result<usize, LinkError> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match attempt(socket, left, Socket::limit_reads, |socket| socket.read(buffer)) {
            Ok(0) => return Err(LinkError::Closed),
            Ok(n) => return Ok(n),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(&error, timeout)),
        }
    }
}

/// Fills the buffer, or fails.
pub(crate) fn receive_all(
    socket: &mut impl Socket,
    mut buffer: &mut [u8],
    deadline: Instant,
) -> std::result::Result<(), LinkError> {
    while !buffer.is_empty() {
        let n = receive(socket, buffer, deadline.saturating_duration_since(Instant::now()))?;
        buffer = buffer.get_mut(n..).unwrap_or_default();
    }
    Ok(())
}

/// One read or write with the time that is left; without any, it does not wait.
fn attempt<S: Socket>(
    socket: &mut S,
    left: Duration,
    limit: fn(&S, Option<Duration>) -> Result<()>,
    mut act: impl FnMut(&mut S) -> Result<usize>,
) -> Result<usize> {
    if left.is_zero() {
        socket.wait(false)?;
        let outcome = act(socket);
        socket.wait(true)?;
        return outcome;
    }
    limit(socket, Some(left))?;
    act(socket)
}

fn fault(error: &std::io::Error, timeout: Duration) -> LinkError {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => LinkError::Timeout(timeout),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected => LinkError::Closed,
        _ => LinkError::Io(error.to_string()),
    }
}
