//! A command that a daemon carries out: the question goes out, and its answer is printed.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::common::on_stdout;
use crate::daemon::wire::{self, Answer, Question};
use crate::exit::{Exit, Failure};

/// Asks the daemon at this socket; ends as the daemon says.
pub(super) fn ask(socket: &Path, json: bool, ask: wire::Ask) -> Result<Exit, Failure> {
    let failed = |what: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Daemon,
            format!("daemon {}: {what}; start cardwrightd, or name its socket by --socket", socket.display()),
        )
    };
    let mut stream = UnixStream::connect(socket).map_err(|e| failed(&e))?;
    // A daemon that does not listen to whoever asks says so and hangs up: its answer is there all the same.
    let sent = wire::send(&mut stream, &Question { v: wire::VERSION, json, ask });
    let answer: std::io::Result<Option<Answer>> =
        wire::receive(&mut BufReader::new(stream), wire::ANSWER_MAX);
    let answer = match (answer, sent) {
        (Ok(Some(answer)), _) => answer,
        (_, Err(error)) | (Err(error), Ok(())) => return Err(failed(&error)),
        (Ok(None), Ok(())) => return Err(failed(&"it hung up without an answer")),
    };
    on_stdout(|out| Ok(out.write_all(answer.out.as_bytes()).map(|()| Exit::Ok)?))?;
    let exit = Exit::from_code(answer.exit).ok_or_else(|| failed(&"it answers nonsense"))?;
    match answer.error {
        None => Ok(exit),
        Some(message) => Err(Failure::new(exit, message)),
    }
}
