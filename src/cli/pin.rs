//! A PIN from a person or from a program: never on a command line or in the environment, where others can read it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::libc::O_NOCTTY;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// Most bytes of a line with a PIN; tokens take fewer.
const LONGEST: usize = 256;
/// What Ctrl-C types while it sends no signal.
const CTRL_C: u8 = 0x03;

/// The first line of standard input.
pub(super) fn from_standard_input() -> Result<Zeroizing<String>, Failure> {
    let lost = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("operator: no PIN can be read from standard input: {e}"))
    };
    // Not through the library's buffer, which nobody wipes.
    let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(lost)?;
    line(&mut File::from(input))
}

/// Asks at the terminal, without echo.
pub(super) fn from_terminal(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let none = |_| {
        Failure::new(
            Exit::Io,
            "operator: the PIN is typed at a terminal, and there is none: give it on standard input, with --pin-stdin",
        )
    };
    let failed = |what: String| Failure::new(Exit::Io, format!("us: the terminal does not work: {what}"));
    let terminal =
        File::options().read(true).write(true).custom_flags(O_NOCTTY).open("/dev/tty").map_err(none)?;
    let before = tcgetattr(&terminal).map_err(|e| failed(e.to_string()))?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ISIG);
    // What was typed before the question is no answer to it.
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent).map_err(|e| failed(e.to_string()))?;
    let mut echo = EchoLater { terminal, before };
    echo.terminal.write_all(prompt.as_bytes()).map_err(|e| failed(e.to_string()))?;
    let pin = line(&mut echo.terminal);
    // The end of line was not shown either.
    let _ = echo.terminal.write_all(b"\n");
    pin
}

/// Gives the terminal its echo back.
struct EchoLater {
    terminal: File,
    before: Termios,
}

impl Drop for EchoLater {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

fn line(input: &mut impl Read) -> Result<Zeroizing<String>, Failure> {
    let wrong = |what: &str| Failure::new(Exit::Io, format!("operator: {what}"));
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0]);
    loop {
        match input.read(&mut *byte) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(wrong(&format!("no PIN can be read: {e}"))),
        }
        let [typed] = *byte;
        match typed {
            b'\n' => break,
            CTRL_C => return Err(Failure::new(Exit::Stopped, "operator: stopped; nothing was done")),
            byte => line.push(byte),
        }
        if line.len() == LONGEST {
            return Err(wrong("the PIN is too long"));
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| wrong("the PIN holds characters that are no text"))?;
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(wrong("no PIN was given"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<String, Failure> {
        line(&mut bytes).map(|pin| pin.to_string())
    }

    #[test]
    fn a_pin_is_the_first_line() {
        for text in ["1234", "1234\n", "1234\r\n", "1234\nmore\n"] {
            assert_eq!(read(text.as_bytes()).unwrap(), "1234");
        }
    }

    #[test]
    fn a_pin_that_is_none_is_refused_and_not_quoted() {
        let long = [b'7'; LONGEST];
        for wrong in [&b""[..], b"\n", b"\r\n", b"12\xFF4\n", &long] {
            let said = read(wrong).unwrap_err();
            assert_eq!(said.exit, Exit::Io);
            assert!(!said.message.contains("12") && !said.message.contains("77"), "{said}");
        }
        assert_eq!(read(b"12\x034\n").unwrap_err().exit, Exit::Stopped);
    }
}
