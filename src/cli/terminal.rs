//! The terminal at which secrets are typed. A custodian's secret never comes in any other way: not by standard input, arguments,
//! environment or files.
//!
//! ```text
//! theirs ── open ──► quiet ── line() ──► shown ── end of line ──► quiet
//!                      ├──── secret() ──► raw ── end of line ──► quiet
//!                      └── end, stop, signal, 20 minutes ──► theirs, for good
//! ```
//!
//! quiet: no echo, because a person may type a secret before the question for it is there. raw: the terminal sends every
//! byte at once: keys that would stop the program arrive as bytes, and only Ctrl-C, Ctrl-D and Ctrl-\ end it. Nothing suspends
//! the program while it has the terminal, because a suspended one would keep a store open. At each change of settings the bytes
//! that were typed and not read are lost, so that the rest of a paste is not shown at the next prompt. Only SIGKILL leaves a
//! terminal without echo.
//!
//! Not here: which questions are asked (`keys`, `pin`).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::_POSIX_VDISABLE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::printable::one_line;
use crate::signals::Signals;

/// Time without a byte after which the command ends: a store is not left open at an empty desk.
const IDLE: Duration = Duration::from_mins(20);
/// Most characters of a line.
const LINE_MAX: usize = 200;
/// Room for the bytes of a line, so that growing leaves no copy behind.
const ROOM: usize = 256;

/// The terminal of this process.
pub struct Terminal {
    tty: File,
    /// The settings of before, until they are in force again.
    theirs: Arc<Mutex<Option<Termios>>>,
    quiet: Termios,
    /// Printed when the program ends here.
    stopped: &'static str,
    _signals: Signals,
}

impl Terminal {
    /// Opens it; without one, fails with the message `none`. From here on a signal restores its settings, prints `stopped` and
    /// ends the program.
    pub fn open(none: &str, stopped: &'static str) -> Result<Self, Failure> {
        let tty =
            OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open("/dev/tty");
        let tty = tty.map_err(|_| Failure::new(Exit::Io, format!("operator: {none}")))?;
        let before = tcgetattr(&tty).map_err(|e| broken(&e.into()))?;
        let quiet = quiet(&before);
        let theirs = Arc::new(Mutex::new(Some(before)));
        let signals = Signals::handle(stopped)?;
        let (kept, theirs_too) = (tty.try_clone().map_err(|e| broken(&e))?, Arc::clone(&theirs));
        signals.undo(move || give_back(&kept, &theirs_too));
        let terminal = Self { tty, theirs, quiet, stopped, _signals: signals };
        terminal.set(&terminal.quiet)?;
        Ok(terminal)
    }

    /// Shows lines. Words of the command line may stand in them, so hidden characters are shown as such.
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        text.lines().try_for_each(|line| self.write(&format!("{}\n", one_line(line))))
    }

    /// Asks for a line that everybody may see.
    pub fn line(&mut self, prompt: &str) -> Result<String, Failure> {
        let mut shown = self.quiet.clone();
        shown.local_flags.insert(LocalFlags::ECHO);
        let typed = self.set(&shown).and_then(|()| self.typed_line(prompt));
        self.set(&self.quiet)?;
        typed
    }

    fn typed_line(&mut self, prompt: &str) -> Result<String, Failure> {
        self.write(prompt)?;
        let mut line = Vec::with_capacity(ROOM);
        loop {
            self.wait()?;
            let mut bytes = [0; ROOM];
            let length = read(&mut self.tty, &mut bytes)?;
            line.extend_from_slice(bytes.get(..length).unwrap_or_default());
            match (line.last(), length) {
                (_, 0) => return Err(self.ended()),
                (Some(b'\n'), _) => break,
                _ => {}
            }
        }
        line.truncate(LINE_MAX);
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Asks for a secret, which is not shown. `None` for a line with characters that not every keyboard has, or too long.
    pub fn secret(&mut self, prompt: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let typed = self.set(&raw(&self.quiet)).and_then(|()| self.typed_secret(prompt));
        self.set(&self.quiet)?;
        self.write("\n")?;
        typed
    }

    /// Reads a secret line without its end.
    fn typed_secret(&mut self, prompt: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        self.write(prompt)?;
        let mut line = TypedLine::new();
        loop {
            self.wait()?;
            let mut bytes = Zeroizing::new([0; 64]);
            let length = read(&mut self.tty, &mut *bytes)?;
            if length == 0 {
                return Err(self.ended());
            }
            for byte in bytes.iter().take(length) {
                match line.take(*byte) {
                    Typed::More => {}
                    Typed::End => return Ok(line.whole()),
                    Typed::Stop => return Err(self.ended()),
                }
            }
        }
    }

    /// Puts settings in force. After a signal has restored the settings of before, they stay.
    fn set(&self, settings: &Termios) -> Result<(), Failure> {
        let theirs = self.theirs.lock().unwrap_or_else(PoisonError::into_inner);
        if theirs.is_none() {
            return Err(self.ended());
        }
        tcsetattr(&self.tty, SetArg::TCSAFLUSH, settings).map_err(|e| broken(&e.into()))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.tty.write_all(text.as_bytes()).and_then(|()| self.tty.flush()).map_err(|e| broken(&e))
    }

    fn ended(&self) -> Failure {
        Failure::new(Exit::Stopped, self.stopped)
    }

    /// Waits for a byte.
    fn wait(&self) -> Result<(), Failure> {
        let idle = PollTimeout::try_from(IDLE).unwrap_or(PollTimeout::MAX);
        loop {
            return match poll(&mut [PollFd::new(self.tty.as_fd(), PollFlags::POLLIN)], idle) {
                Err(Errno::EINTR) => continue,
                Ok(0) => Err(Failure::new(
                    Exit::Stopped,
                    "operator: nobody typed anything for 20 minutes: nothing was changed",
                )),
                Ok(_) => Ok(()),
                Err(error) => Err(broken(&error.into())),
            };
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back(&self.tty, &self.theirs);
    }
}

/// Without echo and suspension. `ECHONL` would show the end of a line.
fn quiet(theirs: &Termios) -> Termios {
    let mut quiet = theirs.clone();
    quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL);
    control(&mut quiet, SpecialCharacterIndices::VSUSP, _POSIX_VDISABLE);
    quiet
}

/// Each byte at once, and no byte with a meaning.
fn raw(quiet: &Termios) -> Termios {
    let mut raw = quiet.clone();
    raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ISIG | LocalFlags::IEXTEN);
    control(&mut raw, SpecialCharacterIndices::VMIN, 1);
    control(&mut raw, SpecialCharacterIndices::VTIME, 0);
    raw
}

fn control(settings: &mut Termios, index: SpecialCharacterIndices, value: u8) {
    if let Some(place) = settings.control_chars.get_mut(index as usize) {
        *place = value;
    }
}

/// Puts the settings of before in force again, for good. Bytes that were typed and not read are lost.
fn give_back(tty: &File, theirs: &Mutex<Option<Termios>>) {
    if let Some(before) = theirs.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // The terminal may be gone.
        let _ = tcsetattr(tty, SetArg::TCSAFLUSH, &before);
    }
}

/// What a byte did to a line.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    More,
    End,
    Stop,
}

/// A secret line while it is typed.
struct TypedLine {
    bytes: Zeroizing<Vec<u8>>,
    /// A byte that cannot stand in it, or too many.
    wrong: bool,
}

impl TypedLine {
    fn new() -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(ROOM)), wrong: false }
    }

    fn take(&mut self, byte: u8) -> Typed {
        match byte {
            b'\r' | b'\n' => return Typed::End,
            // Ctrl-C, Ctrl-D, Ctrl-\
            0x03 | 0x04 | 0x1C => return Typed::Stop,
            // Backspace
            0x7F | 0x08 => {
                self.bytes.pop();
            }
            // Ctrl-U
            0x15 => *self = Self::new(),
            // Ctrl-Z
            0x1A => {}
            b' '..=b'~' if self.bytes.len() < LINE_MAX => self.bytes.push(byte),
            _ => self.wrong = true,
        }
        Typed::More
    }

    fn whole(self) -> Option<Zeroizing<Vec<u8>>> {
        (!self.wrong).then_some(self.bytes)
    }
}

fn read(tty: &mut File, bytes: &mut [u8]) -> Result<usize, Failure> {
    loop {
        match tty.read(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(&error)),
            Ok(length) => return Ok(length),
        }
    }
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("operator: the terminal cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> (Typed, Option<Vec<u8>>) {
        let mut line = TypedLine::new();
        let last = bytes.iter().map(|byte| line.take(*byte)).last().unwrap();
        (last, line.whole().map(|bytes| bytes.to_vec()))
    }

    #[test]
    fn keys_do_what_they_do_at_a_terminal() {
        let end = |line: &[u8]| (Typed::End, Some(line.to_vec()));
        assert_eq!(typed(b"abc\r"), end(b"abc"));
        assert_eq!(typed(b"abc\n"), end(b"abc"));
        assert_eq!(typed(b"abx\x7fc\x08c\n"), end(b"abc"));
        assert_eq!(typed(b"\x7fx\x15abc\x1a\n"), end(b"abc"));
        assert_eq!(typed(b"\n"), end(b""));
        for stop in [3, 4, 0x1C] {
            assert_eq!(typed(&[b'a', stop]).0, Typed::Stop);
        }
        for wrong in
            [&b"a\tb\n"[..], "a\u{e9}b\n".as_bytes(), b"\x1b[A\n", &[[b'a'; 201].as_slice(), b"\n"].concat()]
        {
            assert_eq!(typed(wrong), (Typed::End, None));
        }
        assert_eq!(typed(&[[b'a'; 200].as_slice(), b"\n"].concat()), end(&[b'a'; 200]));
        assert_eq!(typed(b"\tx\x15abc\n"), end(b"abc"), "all is cleared");
    }
}
