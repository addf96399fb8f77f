//! A serial port for a machine: a pseudo-terminal whose slave is found under a symbolic link.
//!
//! Raw, so every byte passes unchanged. A spare descriptor of the slave stays open; without it the master
//! fails with EIO while no client is there. The machine does not notice a client that closes and opens the
//! port: unlike a new connection, that is no power cycle.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, ttyname, write};

use super::link::MachineLink;

/// A pseudo-terminal and the link to it; both are gone when it is dropped.
pub struct PseudoTerminal {
    master: OwnedFd,
    _spare: OwnedFd,
    link: PathBuf,
    slave: PathBuf,
}

impl PseudoTerminal {
    /// Opens a pseudo-terminal and links it at `link`. A symbolic link there is replaced; any other file is
    /// refused.
    pub fn open(link: &Path) -> io::Result<Self> {
        let OpenptyResult { master, slave } = openpty(None, None)?;
        let mut settings = tcgetattr(&slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
        let name = ttyname(&slave)?;
        match std::fs::symlink_metadata(link) {
            Ok(there) if there.is_symlink() => std::fs::remove_file(link)?,
            Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "exists and is no symbolic link")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        symlink(&name, link)?;
        Ok(Self { master, _spare: slave, link: link.to_owned(), slave: name })
    }

    /// Removes the link, if it still leads to this terminal.
    pub fn unlink(&self) {
        if std::fs::read_link(&self.link).is_ok_and(|to| to == self.slave) {
            let _ = std::fs::remove_file(&self.link); // best effort: the next one replaces it
        }
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        self.unlink();
    }
}

impl MachineLink for PseudoTerminal {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match read(&self.master, buffer) {
                Err(Errno::EINTR) => {}
                other => return Ok(other?),
            }
        }
    }

    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match write(&self.master, bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn every_byte_passes_and_the_link_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("port");
        symlink("/nowhere", &path).unwrap();
        let pty = PseudoTerminal::open(&path).unwrap();
        let all: Vec<u8> = (0..=255).collect();
        for _ in 0..2 {
            let mut client = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
            client.write_all(&all).unwrap();
            let mut got = [0; 256];
            super::super::link::read_exact(&pty, &mut got).unwrap();
            assert_eq!(got[..], all);
            pty.send(&all).unwrap();
            client.read_exact(&mut got).unwrap();
            assert_eq!(got[..], all);
            assert!(!pty.stirs_within(std::time::Duration::from_millis(10)).unwrap());
        }
        drop(pty);
        assert!(std::fs::symlink_metadata(&path).is_err());
        std::fs::write(&path, "mine").unwrap();
        assert!(PseudoTerminal::open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
