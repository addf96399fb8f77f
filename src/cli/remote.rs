//! A request that a daemon carries out: sends it with its files, and receives the answer.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::bureau::{Outcome, Refusal};
use crate::daemon::files::send_with;
use crate::daemon::wire::{self, AnswerMessage, RequestMessage};
use crate::exit::Exit;
use crate::files;
use crate::request::{Action, Request};

/// Asks the daemon at this socket.
pub(super) fn ask(socket: &Path, action: &Action, files: &[File]) -> Result<Outcome, Refusal> {
    let failed = |what: &dyn std::fmt::Display| {
        Refusal::fault(
            Exit::Daemon,
            format!("daemon {}: {what}; start cardwrightd, or name its socket by --socket", socket.display()),
        )
    };
    let stream = UnixStream::connect(socket).map_err(|e| failed(&files::trouble(&e)))?;
    let request = Request { line: None, action: action.clone() };
    let message = wire::line(&RequestMessage { v: wire::VERSION, request }).map_err(|e| failed(&e))?;
    // A daemon that refuses the connection answers and hangs up. Its answer can be read even if sending
    // fails.
    let sent = send_with(&stream, &message, files);
    let answer: std::io::Result<Option<AnswerMessage>> =
        wire::receive(&mut BufReader::new(stream), wire::ANSWER_MAX);
    match (answer, sent) {
        (Ok(Some(AnswerMessage { refused: Some(refusal), .. })), _) => Err(refusal),
        (Ok(Some(AnswerMessage { done: Some(outcome), .. })), _) => Ok(outcome),
        (Ok(Some(_)), _) => {
            Err(failed(&"it answers nothing that this program knows; install both from one build"))
        }
        (_, Err(error)) => Err(failed(&error)),
        (Err(error), Ok(())) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(failed(&format!("its answer does not read ({error}); install both from one build")))
        }
        (Err(error), Ok(())) => Err(failed(&error)),
        (Ok(None), Ok(())) => Err(failed(&"it hung up without an answer")),
    }
}
