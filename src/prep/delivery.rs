//! Writes the output file, sealed to the bureau's recipients if there are any.
//!
//! Not here: the envelope (`record::envelope`).

use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::output::write_whole;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::record::envelope::{Recipient, seal};

/// Lets `write` fill a new file at `path` with an output file, and flush it, unless `check` refuses what lies there.
/// Without recipients the file is bare; else the SHA-256 of the sealed file is returned too. If it fails, nothing
/// remains of the new file.
pub fn write_delivered<T>(
    path: &Path,
    recipients: &[Recipient],
    check: impl Fn() -> Result<(), Failure>,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<(T, Option<[u8; 32]>), Failure> {
    write_whole(path, check, |mut out| {
        if recipients.is_empty() {
            return Ok((write(&mut out)?, None));
        }
        let mut out = HashedOutput { out, hash: Sha256::new() };
        let mut envelope = seal(&mut out, recipients)?;
        let written = write(&mut envelope)?;
        envelope.finish().and_then(Write::flush).map_err(|e| {
            Failure::new(Exit::Io, format!("output {}: {}", path.display(), files::trouble(&e)))
        })?;
        Ok((written, Some(out.hash.finalize().into())))
    })
}

/// An output, which is hashed while it is written.
struct HashedOutput<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for HashedOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Reads a recipient of the command line.
pub fn recipient(text: &str) -> Result<Recipient, String> {
    let wrong = |why| {
        format!("it is no recipient ({why}): name one that `key recipient` prints; it begins with age1")
    };
    text.parse().map_err(wrong)
}
