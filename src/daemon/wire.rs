//! The messages between a client and the daemon: each is one JSON object on a line; a request and its answer
//! alternate.
//!
//! ```text
//! {"v":2,"request":{"action":{"action":"release-job","job":"J1"}}}
//! {"v":2,"done":{"outcome":"released","of":"J1"}}
//! ```
//!
//! Files that belong to a request come with its first byte, as descriptors (SCM_RIGHTS, unix(7)). A request
//! has at most 64 KiB. `src/manual/daemon-wire.md` is the specification for other programs.
//!
//! Not here: sending descriptors (`files`), carrying a request out (`answers`).

use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::bureau::{Outcome, Refusal};
use crate::request::Request;

/// Version of the messages. A message of another version is refused.
pub const VERSION: u32 = 2;
/// Most bytes of a request.
pub const REQUEST_MAX: u64 = 64 << 10;
/// Most bytes of an answer: enough for the report of a large job.
pub const ANSWER_MAX: u64 = 256 << 20;

/// A request, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestMessage {
    /// Always [`VERSION`].
    pub v: u32,
    /// The request itself.
    pub request: Request,
}

/// An answer, as it is sent: either `done` or `refused`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerMessage {
    /// Always [`VERSION`].
    pub v: u32,
    /// The outcome, if the request was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Outcome>,
    /// The reason why it was not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

impl From<Result<Outcome, Refusal>> for AnswerMessage {
    fn from(answer: Result<Outcome, Refusal>) -> Self {
        match answer {
            Ok(outcome) => Self { v: VERSION, done: Some(outcome), refused: None },
            Err(refusal) => Self { v: VERSION, done: None, refused: Some(refusal) },
        }
    }
}

/// Reads the request in a message. The version is checked first, because another version may know other
/// requests.
pub fn request(message: serde_json::Value) -> Result<Request, &'static str> {
    if message.get("v").and_then(serde_json::Value::as_u64) != Some(VERSION.into()) {
        return Err("the daemon is of another version; install both from one build");
    }
    let message: RequestMessage =
        serde_json::from_value(message).map_err(|_| "that is no request that the daemon knows")?;
    Ok(message.request)
}

/// Writes one message.
pub fn send(stream: &mut impl Write, message: &impl Serialize) -> std::io::Result<()> {
    stream.write_all(&line(message)?)?;
    stream.flush()
}

/// The bytes of a message, with the end of its line.
pub fn line(message: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads one message; `None` at the end of the stream. A message that is too long or malformed is an error.
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
