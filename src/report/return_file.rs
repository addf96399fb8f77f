//! Reads a return file line by line (`src/manual/return-file.md`): a header, a line for each record, an end line.
//!
//! It is data from outside, also when the signature is right: lines are bounded, and a message quotes none. Not here:
//! writing it (`closeout`), its signature (`seal`), what the lines must say (`prep::check_return`).

use std::io::{BufRead, BufReader, Read};

use serde::Deserialize;

use crate::exit::{Exit, Failure};
use crate::files;

/// Longest line in bytes: one of a record has five texts of fulfilment, each of at most some hundred.
const LINE_MAX: u64 = 64 << 10;

/// The first line.
#[derive(Deserialize)]
pub struct ReceivedHeader {
    #[serde(rename = "return")]
    format: String,
    pub simulated: bool,
    pub test_keys: bool,
    pub issuer_id: String,
    pub file_id: String,
    pub product: String,
    pub sha256: String,
    pub ledger: String,
    pub job: String,
    pub closed: String,
}

/// The line of a record.
#[derive(Deserialize)]
pub struct ReceivedRecord {
    pub seq: u32,
    pub card_ref: String,
    pub outcome: String,
    pub attempts: u64,
    pub blank: Option<String>,
    pub position: Option<u32>,
}

/// The last line.
#[derive(Deserialize)]
pub struct ReceivedEnd {
    end: String,
    pub records: u64,
    pub good: u64,
    pub cancelled: u64,
}

/// A line after the header.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum ReceivedLine {
    /// The last line.
    End(ReceivedEnd),
    /// The line of a record.
    Record(ReceivedRecord),
}

/// A return file while it is read.
pub struct ReturnFile<R> {
    name: String,
    input: BufReader<R>,
    /// Number of the last line.
    line: u64,
    pub header: ReceivedHeader,
}

impl<R: Read> ReturnFile<R> {
    /// Begins to read, with the header. `name` is the file's in messages.
    pub fn begin(name: String, input: R) -> Result<Self, Failure> {
        let mut input = BufReader::new(input);
        let header: Option<ReceivedHeader> = parsed(&name, &mut input, 1)?;
        let header = header.filter(|header| header.format == "CWR1");
        let header = header.ok_or_else(|| wrong(&name, 1, "it is no header of a CWR1 return file"))?;
        Ok(Self { name, input, line: 1, header })
    }

    /// The next line; `None` after the last one.
    pub fn next(&mut self) -> Result<Option<ReceivedLine>, Failure> {
        self.line += 1;
        match parsed(&self.name, &mut self.input, self.line)? {
            Some(ReceivedLine::End(end)) if end.end != "CWR1" => {
                Err(wrong(&self.name, self.line, "it is no end line of a CWR1 return file"))
            }
            line => Ok(line),
        }
    }
}

fn parsed<T: for<'a> Deserialize<'a>>(
    name: &str,
    input: &mut impl BufRead,
    line: u64,
) -> Result<Option<T>, Failure> {
    let mut bytes = Vec::new();
    let read = input.take(LINE_MAX).read_until(b'\n', &mut bytes);
    read.map_err(|e| Failure::new(Exit::Io, format!("operator: {name}: {}", files::trouble(&e))))?;
    match bytes.strip_suffix(b"\n") {
        None if bytes.is_empty() => Ok(None),
        None => Err(wrong(name, line, "it has no end, or is too long")),
        // The reader's own words could quote the line.
        Some(text) => serde_json::from_slice(text)
            .map(Some)
            .map_err(|_| wrong(name, line, "it is no line of a return file")),
    }
}

fn wrong(name: &str, line: u64, what: &str) -> Failure {
    Failure::new(Exit::NotReconciled, format!("bureau: {name}, line {line}: {what}; ask the bureau"))
}
