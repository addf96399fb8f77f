//! Writes the output file, sealed to the bureau's recipients if there are any.
//!
//! Not here: the envelope (`record::envelope`).

use std::io::Write;
use std::path::Path;

use super::output::write_whole;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::record::envelope::{Recipient, seal};

/// Lets `write` fill a new file at `path` with an output file, and flush it. Without recipients the file is bare. If it
/// fails, nothing remains of the new file.
pub fn write_delivered<T>(
    path: &Path,
    recipients: &[Recipient],
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    write_whole(path, |mut out| {
        if recipients.is_empty() {
            return write(&mut out);
        }
        let mut envelope = seal(&mut out, recipients)?;
        let written = write(&mut envelope)?;
        envelope.finish().and_then(Write::flush).map_err(|e| {
            Failure::new(Exit::Io, format!("output {}: {}", path.display(), files::trouble(&e)))
        })?;
        Ok(written)
    })
}

/// Reads a recipient of the command line.
pub fn recipient(text: &str) -> Result<Recipient, String> {
    let wrong =
        |why| format!("it is no recipient ({why}): the bureau gives you a word that begins with age1");
    text.parse().map_err(wrong)
}
