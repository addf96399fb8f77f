//! The terminal at which secrets are typed. A custodian's secret never comes in any other way: not by standard input, arguments,
//! environment or files.
//!
//! ```text
//! cooked ── secret(): echo and signals off, what was typed ahead is lost ──► raw ── end of line, stop ──► cooked
//!                                                                             └── signal, 20 minutes ──► cooked, program ends
//! ```
//!
//! While a secret is typed, the terminal sends every byte at once: keys that would stop or suspend the program arrive as bytes,
//! and only Ctrl-C, Ctrl-D and Ctrl-\ end it. The rest of a paste is lost with the settings, so that the next prompt does not
//! show it. Only SIGKILL leaves a terminal without echo.
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
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    FlushArg, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcflush, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
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
    /// The settings of before, while others are in force.
    before: Arc<Mutex<Option<Termios>>>,
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
        let (theirs, before) = (tty.try_clone().map_err(|e| broken(&e))?, Arc::default());
        let signals = Signals::handle(stopped)?;
        let kept = Arc::clone(&before);
        signals.undo(move || give_back(&theirs, &kept));
        Ok(Self { tty, before, stopped, _signals: signals })
    }

    /// Shows a line.
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.write(&format!("{text}\n"))
    }

    /// Asks for a line that everybody may see.
    pub fn line(&mut self, prompt: &str) -> Result<String, Failure> {
        let _ = tcflush(&self.tty, FlushArg::TCIFLUSH);
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
        let raw = RawTerminal::enter(self)?;
        let typed = raw.typed(prompt);
        drop(raw);
        self.write("\n")?;
        typed
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

/// A terminal that shows nothing of what is typed, until this is dropped.
struct RawTerminal<'a>(&'a mut Terminal);

impl<'a> RawTerminal<'a> {
    fn enter(terminal: &'a mut Terminal) -> Result<Self, Failure> {
        let before = tcgetattr(&terminal.tty).map_err(|e| broken(&e.into()))?;
        let mut raw = before.clone();
        raw.local_flags.remove(
            LocalFlags::ICANON
                | LocalFlags::ECHO
                | LocalFlags::ECHONL
                | LocalFlags::ISIG
                | LocalFlags::IEXTEN,
        );
        for (index, value) in [(SpecialCharacterIndices::VMIN, 1), (SpecialCharacterIndices::VTIME, 0)] {
            if let Some(place) = raw.control_chars.get_mut(index as usize) {
                *place = value;
            }
        }
        // A signal between the two calls has the settings to give back already.
        *terminal.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let raw = tcsetattr(&terminal.tty, SetArg::TCSAFLUSH, &raw).map_err(|e| broken(&e.into()));
        let entered = Self(terminal);
        raw.map(|()| entered)
    }

    /// Reads a line without its end.
    fn typed(&self, prompt: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let mut tty = self.0.tty.try_clone().map_err(|e| broken(&e))?;
        tty.write_all(prompt.as_bytes()).map_err(|e| broken(&e))?;
        let mut line = TypedLine::new();
        loop {
            self.0.wait()?;
            let mut bytes = Zeroizing::new([0; 64]);
            let length = read(&mut tty, &mut *bytes)?;
            if length == 0 {
                return Err(self.0.ended());
            }
            for byte in bytes.iter().take(length) {
                match line.take(*byte) {
                    Typed::More => {}
                    Typed::End => return Ok(line.whole()),
                    Typed::Stop => return Err(self.0.ended()),
                }
            }
        }
    }
}

impl Drop for RawTerminal<'_> {
    fn drop(&mut self) {
        give_back(&self.0.tty, &self.0.before);
    }
}

/// Puts the settings of before in force again, if others are. Bytes that were typed and not read are lost.
fn give_back(tty: &File, before: &Mutex<Option<Termios>>) {
    if let Some(before) = before.lock().unwrap_or_else(PoisonError::into_inner).take() {
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
