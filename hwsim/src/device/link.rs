//! The link under a machine's end: the line's Unix socket, a TCP connection or a pseudo-terminal.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Both directions of a link. It is used through a shared reference, because several threads may hold it.
pub trait MachineLink: Sync {
    /// As [`Read::read`], repeating interrupted calls. Returns 0 at the end.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// As [`Write::write_all`].
    fn send(&self, bytes: &[u8]) -> io::Result<()>;
    /// The descriptor, to wait on.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Waits until bytes come, or the end; false if the link stays quiet for so long.
    fn stirs_within(&self, quiet: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + quiet;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.descriptor(), PollFlags::POLLIN)], timeout) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

macro_rules! link {
    ($stream:ty) => {
        impl MachineLink for $stream {
            fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
                receive(self, buffer)
            }

            fn send(&self, bytes: &[u8]) -> io::Result<()> {
                let mut stream = self;
                stream.write_all(bytes)
            }

            fn descriptor(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }
        }
    };
}

link!(UnixStream);
link!(TcpStream);

/// Reads, repeating interrupted calls.
pub fn receive(mut stream: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Fills the buffer from the link.
pub fn read_exact(link: &impl MachineLink, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match link.receive(buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => buffer = buffer.get_mut(n..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Reads and drops everything, without an answer, until the link ends.
pub fn forget(link: &impl MachineLink) -> io::Result<()> {
    let mut sink = [0; 256];
    while link.receive(&mut sink)? > 0 {}
    Ok(())
}
