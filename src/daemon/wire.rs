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
use serde_json::{Map, Value};

use crate::bureau::{Outcome, Refusal};
use crate::request::{Action, Request};

/// Version of the messages. A message of another version is refused.
pub const VERSION: u32 = 2;
/// Most bytes of a request.
pub const REQUEST_MAX: u64 = 64 << 10;
/// Longest name of a field that a message repeats.
const FIELD_MAX: usize = 24;
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

/// Reads the request in a line, or returns why it is none: the text names the field that is wrong, and never
/// its value. The version is checked first, because another version may know other requests.
pub fn request(line: &[u8]) -> Result<Request, String> {
    let message: Value = serde_json::from_slice(line)
        .map_err(|_| "that is no request: one JSON object in a line of at most 64 KiB".to_owned())?;
    if message.get("v").and_then(Value::as_u64) != Some(VERSION.into()) {
        return Err("the daemon is of another version; install both from one build".into());
    }
    let objects = [message.pointer("/request"), message.pointer("/request/action")];
    if objects.into_iter().flatten().any(Value::is_array) {
        // Serde would read the fields of an array by their order.
        return Err("that is no request: `request` and `request.action` are objects, no arrays".to_owned());
    }
    // The line is read again, because a `Value` takes a field that is there twice.
    let read = serde_json::from_slice::<RequestMessage>(line);
    read.map(|message| message.request).map_err(|error| {
        let what = field_at_fault(&message, &error.to_string());
        format!("that is no request that the daemon knows: {what}; compare it with the page of the wire")
    })
}

/// Says which field of a message keeps it from being a request. `error` is the text of serde, whose words for
/// a field that is missing or there twice name the field.
fn field_at_fault(message: &Value, error: &str) -> String {
    let named = |begin: &str| error.strip_prefix(begin)?.split('`').next();
    if let Some(name) = named("duplicate field `") {
        return format!("the field `{name}` is there twice");
    }
    let places = [
        (Some(message), "", reads::<RequestFields> as Reads),
        (message.get("request"), "request.", reads::<ActionFields>),
        (
            message.get("request").and_then(|request| request.get("action")),
            "request.action.",
            reads::<Action>,
        ),
    ];
    for (object, path, reads) in places {
        let Some(Value::Object(fields)) = object else { break };
        // The name of the action comes first, because it decides about the other fields.
        let (first, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| *name == "action");
        let mut tried = Map::new();
        for (name, value) in first.into_iter().chain(others) {
            tried.insert(name.clone(), value.clone());
            match reads(&tried) {
                Ok(()) => {}
                Err(error) if error.starts_with("missing field ") => {}
                Err(error) if error.starts_with("unknown field ") => {
                    return format!("it has no field {}", shown(path, name));
                }
                Err(_) => return format!("the value of the field {} is wrong", shown(path, name)),
            }
        }
    }
    named("missing field `").map_or_else(
        || "a field has a value of the wrong type".to_owned(),
        |name| format!("the field `{name}` is missing"),
    )
}

/// Reads an object, or returns the text of serde.
type Reads = fn(&Map<String, Value>) -> Result<(), String>;

fn reads<T: DeserializeOwned>(fields: &Map<String, Value>) -> Result<(), String> {
    serde_json::from_value::<T>(Value::Object(fields.clone())).map(drop).map_err(|error| error.to_string())
}

/// The fields of a message; the value of `request` may be any object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only whether it reads is of interest")]
struct RequestFields {
    v: u32,
    request: Map<String, Value>,
}

/// The fields of a request; the value of `action` may be any object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only whether it reads is of interest")]
struct ActionFields {
    line: Option<String>,
    action: Map<String, Value>,
}

/// The name of a field with its path, if it looks like one of ours; any other name may be a value.
fn shown(path: &str, name: &str) -> String {
    let ours = name.len() <= FIELD_MAX && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if ours { format!("`{path}{name}`") } else { "of such a name".to_owned() }
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
    let line = receive_line(stream, longest)?;
    line.map(|line| Ok(serde_json::from_slice(&line)?)).transpose()
}

/// Reads the line of one message, without its end; `None` at the end of the stream. A line that is too long
/// is an error.
pub fn receive_line(stream: &mut impl BufRead, longest: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.take(longest).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "a message that is cut short or too long",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(action: &str) -> String {
        let line = format!("{{\"v\":2,\"request\":{{\"action\":{action}}}}}");
        request(line.as_bytes()).expect_err(action)
    }

    #[test]
    fn a_request_names_each_field_once_and_its_job_in_one_way() {
        for line in [
            r#"{"v":2,"v":2,"request":{"action":{"action":"list-jobs"}}}"#,
            r#"{"v":2,"request":{"action":{"action":"list-jobs"}},"request":{"action":{"action":"list-jobs"}}}"#,
            r#"{"v":2,"request":{"line":"a","line":"a","action":{"action":"list-jobs"}}}"#,
            r#"{"v":2,"request":{"action":{"action":"list-jobs","action":"list-jobs"}}}"#,
            r#"{"v":2,"request":{"action":{"action":"show-job","job":"J1","job":"J1"}}}"#,
        ] {
            let why = request(line.as_bytes()).expect_err(line);
            assert!(why.contains("twice"), "{line}: {why}");
        }
        let of =
            |job: &str| format!(r#"{{"v":2,"request":{{"action":{{"action":"show-job","job":"{job}"}}}}}}"#);
        assert!(request(of("J1").as_bytes()).is_ok());
        for job in ["j1", "1", "J01", "J+1", "J", "", " J1"] {
            let why = request(of(job).as_bytes()).expect_err(job);
            assert!(why.contains("value of the field `request.action.job`"), "{job}: {why}");
        }
    }

    #[test]
    fn a_refusal_names_the_field_and_not_its_value() {
        for (action, why) in [
            (
                r#"{"action":"show-job","job":"J1","extra":"not-to-be-shown"}"#,
                "no field `request.action.extra`",
            ),
            (r#"{"action":"show-job","job":417}"#, "value of the field `request.action.job`"),
            (r#"{"action":"not-to-be-shown"}"#, "value of the field `request.action.action`"),
            (r#"{"action":"show-job"}"#, "the field `job` is missing"),
            (r#"{"job":"J1"}"#, "the field `action` is missing"),
            (r#"{"action":"list-jobs","not-to-be-shown":1}"#, "no field of such a name"),
            (r#"{"action":"show-cards","records":"not-to-be-shown","job":"J1"}"#, "`request.action.records`"),
            (
                r#"{"action":"move-stock","job":"J1","count":-1,"stock_move":"issue"}"#,
                "`request.action.count`",
            ),
            (r#"{"action":"delete-data","job":"J1","copies":["x"]}"#, "`request.action.copies`"),
            (r#""not-to-be-shown""#, "value of the field `request.action`"),
        ] {
            let said = refused(action);
            assert!(said.contains(why) && !said.contains("not-to-be-shown"), "{action}: {said}");
        }
        for (line, why) in [
            (r#"{"v":2}"#, "the field `request` is missing"),
            (r#"{"v":2,"request":[null,{"action":"list-jobs"}]}"#, "are objects"),
            (r#"{"v":2,"request":{"action":["release-job","J1"]}}"#, "are objects"),
            (r#"{"v":2,"request":7}"#, "value of the field `request`"),
            (r#"{"v":2,"request":{"action":{"action":"list-jobs"},"by":"anna"}}"#, "no field `request.by`"),
            (r#"{"v":2,"request":{"action":{"action":"list-jobs"},"line":7}}"#, "the field `request.line`"),
            (r#"{"v":2,"to":"x","request":{"action":{"action":"list-jobs"}}}"#, "no field `to`"),
            (r#"{"v":3,"request":{"action":{"action":"list-jobs"}}}"#, "another version"),
            (r#"{"v":2,"request":"#, "one JSON object"),
        ] {
            let said = request(line.as_bytes()).expect_err(line);
            assert!(said.contains(why), "{line}: {said}");
        }
    }
}
