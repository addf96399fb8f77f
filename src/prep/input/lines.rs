//! Finds the line of the file in which a card begins.
//!
//! The CSV reader counts lines too, but it states the line in which it stopped before: one too low after
//! CR LF, and lower after blank lines.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};

/// Most bytes of a row: a quotation mark that is never closed would make the rest of the file one row.
pub(super) const ROW_MAX: usize = 1 << 20;

/// Counts the lines of what is read through it. A line ends with LF, CR LF or CR.
pub(super) struct LineCounter<R> {
    source: R,
    /// Number of bytes read.
    offset: u64,
    /// Line of the next byte, from 1.
    line: u64,
    after_cr: bool,
    /// Whether the line has no character yet.
    blank: bool,
    /// Offset and number of each line that is not blank, from the last one that was asked for.
    starts: VecDeque<(u64, u64)>,
    /// Bytes that may still be read for this row.
    left: usize,
}

impl<R: Read> LineCounter<R> {
    pub fn new(source: R) -> Self {
        Self {
            source,
            offset: 0,
            line: 1,
            after_cr: false,
            blank: true,
            starts: VecDeque::new(),
            left: ROW_MAX,
        }
    }

    /// Begins a row, which may have [`ROW_MAX`] bytes.
    pub fn begin_row(&mut self) {
        self.left = ROW_MAX;
    }

    /// Whether the row that `line_at` found last has a further line, one that is not blank, before this offset.
    pub fn row_has_lines(&self, end: u64) -> bool {
        self.starts.get(1).is_some_and(|(start, _)| *start < end)
    }

    /// Returns the number of the first line that is not blank and begins at this offset or later; the last
    /// line if there is none. Asked with growing offsets: earlier lines are forgotten.
    pub fn line_at(&mut self, offset: u64) -> u64 {
        while self.starts.front().is_some_and(|(start, _)| *start < offset) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |(_, line)| *line)
    }
}

impl<R: Read> Read for LineCounter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let most = buffer.len().min(self.left);
        let count = self.source.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= count;
        for byte in buffer.iter().take(count) {
            match byte {
                // The line ended with the CR before.
                b'\n' if self.after_cr => {}
                b'\n' | b'\r' => {
                    self.line += 1;
                    self.blank = true;
                }
                _ if self.blank => {
                    self.starts.push_back((self.offset, self.line));
                    self.blank = false;
                }
                _ => {}
            }
            self.after_cr = *byte == b'\r';
            self.offset += 1;
        }
        Ok(count)
    }
}
