//! Standard output for answers: a reader that closes it early (`| head`) is no failure.
//!
//! Not here: what the answers are (`cli`, `prep`), standard error.

use std::io::{ErrorKind, Write};

use crate::exit::{Exit, Failure};

/// Prints an answer as a whole.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    read(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
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
