//! A PIN from a person or from a program: never on a command line or in the environment, where others can read it.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::terminal::Terminal;
use crate::exit::{Exit, Failure};
use crate::files;

/// Most bytes of a line with a PIN; tokens take fewer.
const LONGEST: usize = 256;
/// Most bytes of a file with one.
const MOST_FILE: u64 = 4096;
const NO_TEXT: &str = "the PIN holds bytes that are no text (UTF-8)";

/// The first line of standard input.
pub(super) fn from_standard_input() -> Result<Zeroizing<String>, Failure> {
    let lost = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("operator: no PIN can be read from standard input: {e}"))
    };
    // Not through the library's buffer, which nobody wipes.
    let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(lost)?;
    line(&mut File::from(input))
}

/// Asks at the terminal, without echo. `otherwise` is the argument that gives the PIN without a terminal.
pub(super) fn from_terminal(otherwise: &str) -> Result<Zeroizing<String>, Failure> {
    let none = format!("the PIN is typed at a terminal, and there is none: give it with {otherwise}");
    let mut terminal = Terminal::open(&none, "stopped; if a PIN was typed, the token may have counted it")?;
    let typed = terminal.secret("PIN of the token: ")?;
    // Keyboards and terminals differ in other characters.
    text(&typed.ok_or_else(|| {
        wrong(&format!(
            "a PIN that is typed has at most 200 letters, digits and signs of ASCII: give any other one with {otherwise}"
        ))
    })?)
}

/// Where a line gets the PIN of its token.
#[derive(Debug, clap::Args)]
pub struct PinArg {
    /// Read the PIN of the line's token from this file, which only you can read, and do not ask for it at the terminal
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

impl PinArg {
    /// Whether it was given.
    pub(super) fn is_given(&self) -> bool {
        self.pin_file.is_some()
    }

    /// The PIN, when a line asks for it.
    pub(super) fn pin(&self) -> Result<Zeroizing<String>, Failure> {
        let Some(path) = &self.pin_file else { return from_terminal("--pin-file") };
        let fail = |what: String| wrong(&format!("PIN file {}: {what}", path.display()));
        let file = files::read_private(path, MOST_FILE).map_err(|e| fail(files::trouble(&e)))?;
        let file = file.ok_or_else(|| fail("it is not there".into()))?;
        line(&mut file.as_slice())
    }
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
