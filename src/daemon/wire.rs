//! What an operator's command and the daemon say to each other: one JSON object a line, a question and its answer in turn.
//!
//! ```text
//! {"v":1,"json":false,"ask":{"verb":"job","job":"J1","what":"release"}}
//! {"exit":0,"out":"J1 waits for the line\n","error":null}
//! ```
//!
//! The answer's text is what the command prints, its number the exit code. A line has at most 64 KiB as a question.

use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::policy::Ask as Kind;

/// Version of the questions; another one is refused.
pub const VERSION: u32 = 1;
/// Most bytes of a question.
pub const QUESTION_MAX: u64 = 64 << 10;
/// Most bytes of an answer: a report of a large job.
pub const ANSWER_MAX: u64 = 256 << 20;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// [`VERSION`].
    pub v: u32,
    /// The answer's text is one JSON document.
    pub json: bool,
    /// What.
    pub ask: Ask,
}

/// What is asked, in detail. Jobs are written `J1`, records as in `card show`; a file's path is the daemon's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "said above")]
pub enum Ask {
    /// All jobs.
    List,
    /// One job.
    Show { job: String },
    /// Its report.
    Report { job: String },
    /// Its cards.
    ShowCards { job: String, seq: String },
    /// Events behind the one of this number, a page of them, as a JSON array.
    Log { job: Option<String>, after: u64 },
    /// Prove the ledger; an audit key that must have signed it, in hex.
    Audit { key: Option<String> },
    /// Accept a file.
    Submit { file: String },
    /// Write the papers of a closed job into a directory.
    Papers { job: String, out: String },
    /// Delete its cardholder data; papers and certificate go into a directory.
    Delete { job: String, out: Option<String> },
    /// Something about a job.
    Job { job: String, what: Kind },
    /// Something about cards.
    Cards { job: String, seq: String, what: Kind },
    /// What a record's card says of itself, or those of all records; at one station, or wherever it can be asked.
    AskCards { job: String, seq: String, station: Option<String> },
    /// Something about the stock of a job.
    Stock { job: String, count: u32, what: Kind },
    /// A shift begins.
    Shift { name: String },
    /// Stock: of one job or all, and of a shift or the last one.
    ShowStock { job: Option<String>, shift: Option<String> },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Exit code.
    pub exit: u8,
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub error: Option<String>,
}

/// What a message asks. The version comes first: another one may know other questions.
pub fn question(message: serde_json::Value) -> Result<Question, &'static str> {
    if message.get("v").and_then(serde_json::Value::as_u64) != Some(VERSION.into()) {
        return Err("the daemon is of another version; install both from one build");
    }
    serde_json::from_value(message).map_err(|_| "that is no question that the daemon knows")
}

/// Writes one message.
pub fn send(stream: &mut impl Write, message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.flush()
}

/// Reads one message; `None` at the end. One that is too long or does not read is an error.
pub fn receive<T: DeserializeOwned>(stream: &mut impl BufRead, longest: u64) -> std::io::Result<Option<T>> {
    let mut line = Vec::new();
    stream.take(longest).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
        Some(_) => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "a message that is cut short or too long",
        )),
    }
}
