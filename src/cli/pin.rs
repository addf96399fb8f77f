//! A PIN from a person or from a program: never on a command line or in the environment, where others can read it.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use zeroize::Zeroizing;

use super::terminal::Terminal;
use crate::exit::{Exit, Failure};

/// Most bytes of a line with a PIN; tokens take fewer.
const LONGEST: usize = 256;
const NO_TEXT: &str = "the PIN holds bytes that are no text (UTF-8)";
/// Keyboards and terminals differ in other characters.
const NOT_TYPED: &str = "a PIN that is typed has at most 200 letters, digits and signs of ASCII: give any other one on standard input, with --pin-stdin";

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
    let none =
        "the PIN is typed at a terminal, and there is none: give it on standard input, with --pin-stdin";
    let typed =
        Terminal::open(none, "stopped; if a PIN was typed, the token may have counted it")?.secret(prompt)?;
    text(&typed.ok_or_else(|| wrong(NOT_TYPED))?)
}

fn line(input: &mut impl Read) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0]);
    loop {
        match input.read(&mut *byte) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(wrong(&format!("no PIN can be read: {e}"))),
        }
        match *byte {
            [b'\n'] => break,
            [byte] => line.push(byte),
        }
        if line.len() == LONGEST {
            return Err(wrong("the PIN is too long"));
        }
    }
    text(&line)
}

fn text(line: &[u8]) -> Result<Zeroizing<String>, Failure> {
    let text = std::str::from_utf8(line).map_err(|_| wrong(NO_TEXT))?;
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(wrong("no PIN was given"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

fn wrong(what: &str) -> Failure {
    Failure::new(Exit::Io, format!("operator: {what}"))
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
    }
}
