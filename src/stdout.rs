//! Standard output for answers: a reader that closes it early (`| head`) is no failure. Texts from files, devices and
//! ledgers may hold control characters, which a terminal would obey: they are shown as `\u001b`, as JSON writes them.
//!
//! Not here: what the answers are (`cli`, `prep`), standard error.

use std::io::{ErrorKind, Write};

use crate::exit::{Exit, Failure};

/// Prints an answer as a whole.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = Tame::new(std::io::stdout().lock());
    read(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The first of two bytes of a control character from U+0080 to U+009F.
const LEAD: u8 = 0xC2;

/// Writes text with its control characters shown. Line ends and tabs stay.
pub struct Tame<W> {
    out: W,
    /// The last byte was [`LEAD`], and was not written.
    lead: bool,
}

impl<W: Write> Tame<W> {
    /// A writer in front of another.
    pub fn new(out: W) -> Self {
        Self { out, lead: false }
    }

    fn byte(&mut self, byte: u8) -> std::io::Result<()> {
        if std::mem::take(&mut self.lead) {
            if matches!(byte, 0x80..=0x9F) {
                return write!(self.out, "\\u{byte:04x}");
            }
            self.out.write_all(&[LEAD])?;
        }
        match byte {
            LEAD => self.lead = true,
            b'\n' | b'\t' => self.out.write_all(&[byte])?,
            0x00..=0x1F | 0x7F => write!(self.out, "\\u{byte:04x}")?,
            _ => self.out.write_all(&[byte])?,
        }
        Ok(())
    }
}

impl<W: Write> Write for Tame<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let harmless = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~' | 0x80..=0xC1 | 0xC3..);
        let whole = if self.lead { 0 } else { bytes.iter().take_while(|byte| harmless(byte)).count() };
        let (whole, rest) = bytes.split_at(whole);
        self.out.write_all(whole)?;
        rest.iter().try_for_each(|byte| self.byte(*byte))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// A text with its control characters shown.
pub fn tame(text: &str) -> String {
    let mut out = Tame::new(Vec::with_capacity(text.len()));
    // Writing into a vector does not fail.
    let _ = out.write_all(text.as_bytes());
    String::from_utf8_lossy(&out.out).into_owned()
}

/// Returns the failure of a write to standard output, unless the reader has closed it.
pub fn read(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if !is_left(&error) => Err(Failure::new(Exit::Io, format!("standard output: {error}"))),
        _ => Ok(()),
    }
}

/// Whether a write failed because the reader of the output has left.
pub fn is_left(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_all_else_stays() {
        let text = "J1\tg\u{e4}\u{a0}\u{20ac}\n\u{1b}[2J\r\u{7f}\u{9b}31m\u{0}";
        assert_eq!(tame(text), "J1\tg\u{e4}\u{a0}\u{20ac}\n\\u001b[2J\\u000d\\u007f\\u009b31m\\u0000");
        // In any pieces.
        let mut out = Tame::new(Vec::new());
        text.as_bytes().iter().for_each(|byte| out.write_all(&[*byte]).unwrap());
        assert_eq!(String::from_utf8(out.out).unwrap(), tame(text));
    }
}
