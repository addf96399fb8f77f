//! Copies lines of a file as they stand, in whatever encoding: rejected rows keep their form.
//!
//! Lines are counted as the reader of the input counts them: a line of CSV ends with LF, CR LF or CR, one of JSON Lines with
//! LF alone. Not here: which lines (`rows`).

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::ops::Range;

/// How a line end is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeUnit {
    /// In one byte: UTF-8, ISO 8859-1.
    Byte,
    /// In two bytes, low byte first.
    LowFirst,
    /// In two bytes, high byte first.
    HighFirst,
}

/// Byte order marks, and how characters after them are written.
const MARKS: [(&[u8], CodeUnit); 3] = [
    (b"\xEF\xBB\xBF", CodeUnit::Byte),
    (b"\xFF\xFE", CodeUnit::LowFirst),
    (b"\xFE\xFF", CodeUnit::HighFirst),
];

/// How a text is divided into lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineForm {
    /// How characters are written without a byte order mark.
    pub unit: CodeUnit,
    /// Whether a CR ends a line too.
    pub cr_ends: bool,
}

/// Copies the lines of these ranges (numbers from 1, ascending, apart), and a byte order mark.
pub(super) fn copy_lines(
    source: impl Read,
    form: LineForm,
    ranges: &[Range<u64>],
    out: &mut impl Write,
) -> Result<()> {
    let mut source = BufReader::with_capacity(64 << 10, source);
    let first = source.fill_buf()?;
    let mark = MARKS.into_iter().find(|(mark, _)| first.starts_with(mark));
    let (mark, unit) = mark.unwrap_or((b"", form.unit));
    out.write_all(mark)?;
    source.consume(mark.len());
    let mut lines =
        LineSelection { form, ranges: ranges.iter(), range: None, line: 1, after_cr: false, taken: false };
    let mut code = [0; 2];
    let width = if unit == CodeUnit::Byte { 1 } else { 2 };
    loop {
        let code = code.get_mut(..width).unwrap_or_default();
        let read = fill(&mut source, code)?;
        let character = match (unit, &*code) {
            (CodeUnit::LowFirst, [low, 0]) => *low,
            (CodeUnit::HighFirst, [0, low]) | (CodeUnit::Byte, [low]) => *low,
            _ => 0,
        };
        if lines.takes(character) {
            out.write_all(code.get(..read).unwrap_or_default())?;
        }
        if read < width {
            return Ok(());
        }
    }
}

/// Reads as many bytes as the buffer has; fewer at the end.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match source.read(rest)? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}

/// Follows the lines of a text, and says which are wanted.
struct LineSelection<'a> {
    form: LineForm,
    ranges: std::slice::Iter<'a, Range<u64>>,
    /// The range that ends next.
    range: Option<&'a Range<u64>>,
    /// Number of the line in which the next character stands.
    line: u64,
    after_cr: bool,
    /// Whether the line before is wanted.
    taken: bool,
}

impl LineSelection<'_> {
    /// Whether the next character belongs to a wanted line.
    fn takes(&mut self, character: u8) -> bool {
        if std::mem::take(&mut self.after_cr) && character == b'\n' {
            return self.taken;
        }
        while self.range.is_none_or(|range| range.end <= self.line) {
            self.range = self.ranges.next();
            if self.range.is_none() {
                break;
            }
        }
        let wanted = self.range.is_some_and(|range| range.contains(&self.line));
        let is_cr = self.form.cr_ends && character == b'\r';
        if is_cr || character == b'\n' {
            self.line += 1;
            self.after_cr = is_cr;
            self.taken = wanted;
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second line.
    const SECOND: Range<u64> = 2..3;

    fn copied(text: &[u8], unit: CodeUnit, ranges: &[Range<u64>]) -> Vec<u8> {
        let mut out = Vec::new();
        copy_lines(text, LineForm { unit, cr_ends: true }, ranges, &mut out).unwrap();
        out
    }

    #[test]
    fn a_carriage_return_ends_no_line_of_json_lines() {
        let text = b"{\"a\":1}\r\r\n{\r\"a\":2}\n";
        let mut out = Vec::new();
        let form = LineForm { unit: CodeUnit::Byte, cr_ends: false };
        copy_lines(&text[..], form, &[SECOND], &mut out).unwrap();
        assert_eq!(out, b"{\r\"a\":2}\n");
    }

    #[test]
    fn lines_stay_as_they_stand_whatever_their_end() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["head", "one", "", "two", "three"].join(end);
            for (ranges, lines) in [
                (&[][..], String::new()),
                (&[(1, 2)][..], format!("head{end}")),
                (&[(1, 2), (4, 5)][..], format!("head{end}two{end}")),
                (&[(2, 4)][..], format!("one{end}{end}")),
                (&[(1, 2), (5, 6)][..], format!("head{end}three")),
                (&[(5, u64::MAX)][..], "three".to_owned()),
                (&[(1, u64::MAX)][..], text.clone()),
                (&[(7, 8)][..], String::new()),
            ] {
                let ranges: Vec<Range<u64>> = ranges.iter().map(|(from, to)| *from..*to).collect();
                assert_eq!(
                    copied(text.as_bytes(), CodeUnit::Byte, &ranges),
                    lines.as_bytes(),
                    "{end:?} {ranges:?}"
                );
            }
        }
    }

    /// RFC 2781: two bytes, in the order that the mark says or that was declared; 0A0D is a character and no line end.
    #[test]
    fn lines_of_two_byte_characters_are_found() {
        let text = "head\r\n\u{E9}\u{0A0D}\u{0D0A}1\r\n\u{10348}2\r\n";
        let wanted = "head\r\n\u{10348}2\r\n";
        let low = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let high = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        let ranges = [1..2, 3..4];
        assert_eq!(copied(&low(text), CodeUnit::LowFirst, &ranges), low(wanted));
        assert_eq!(copied(&high(text), CodeUnit::HighFirst, &ranges), high(wanted));
        let marked = |text: &str| [&b"\xFF\xFE"[..], &low(text)].concat();
        assert_eq!(copied(&marked(text), CodeUnit::Byte, &ranges), marked(wanted));
        let marked = |text: &str| [&b"\xFE\xFF"[..], &high(text)].concat();
        assert_eq!(copied(&marked(text), CodeUnit::Byte, &ranges), marked(wanted));
        // An odd byte at the end is no character.
        let odd = [low("a\nb"), vec![7]].concat();
        assert_eq!(copied(&odd, CodeUnit::LowFirst, &[SECOND]), [low("b"), vec![7]].concat());
    }

    #[test]
    fn a_mark_is_copied_though_its_line_is_not() {
        let text = "\u{FEFF}{\"a\":1}\n{\"b\":2}\n";
        assert_eq!(copied(text.as_bytes(), CodeUnit::Byte, &[SECOND]), "\u{FEFF}{\"b\":2}\n".as_bytes());
        // ISO 8859-1 is one byte a character.
        assert_eq!(copied(b"\xE9\n\xE8\n", CodeUnit::Byte, &[SECOND]), b"\xE8\n");
    }
}
