//! A command that a daemon carries out: the question goes out, and its answer is printed.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::common::on_stdout;
use crate::daemon::wire::{self, Answer, Question};
use crate::exit::{Exit, Failure};

/// Asks the daemon at this socket; prints what it says, and ends as it says.
pub fn ask(socket: &Path, json: bool, ask: wire::Ask) -> Result<Exit, Failure> {
    let (exit, out, error) = answer(socket, json, ask)?;
    on_stdout(|to| Ok(to.write_all(out.as_bytes()).map(|()| Exit::Ok)?))?;
    error.map_or(Ok(exit), |message| Err(Failure::new(exit, message)))
}

/// Asks for something that is not printed as it is.
pub fn text(socket: &Path, ask: wire::Ask) -> Result<String, Failure> {
    let (exit, out, error) = answer(socket, true, ask)?;
    error.map_or(Ok(out), |message| Err(Failure::new(exit, message)))
}

fn answer(socket: &Path, json: bool, ask: wire::Ask) -> Result<(Exit, String, Option<String>), Failure> {
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
    let exit = Exit::from_code(answer.exit).ok_or_else(|| failed(&"it answers nonsense"))?;
    Ok((exit, answer.out, answer.error))
}
