//! A file that is hashed while it is read. A run checks by the digest that a second reading had equal bytes; a report or a
//! signature covers exactly the bytes that were read.
//!
//! Not here: what stands in it (`input`, `check_return`).

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failure};
use crate::files;

/// Opens a regular file.
fn open_source(path: &Path) -> Result<BufReader<File>, Failure> {
    let fail = |what: String| Failure::new(Exit::Io, format!("operator: input {}: {what}", path.display()));
    // Some files are read again, which a pipe does not allow.
    if !std::fs::metadata(path).map_err(|e| fail(files::trouble(&e)))?.is_file() {
        return Err(fail("it is no regular file: name a file".into()));
    }
    let file = File::open(path).map_err(|e| fail(files::trouble(&e)))?;
    Ok(BufReader::with_capacity(256 * 1024, file))
}

/// A file that is hashed while it is read.
pub(super) struct HashedInput {
    file: BufReader<File>,
    hash: Sha256,
    name: String,
}

impl HashedInput {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self { file: open_source(path)?, hash: Sha256::new(), name: path.display().to_string() })
    }

    /// Reads the rest of the file and returns the SHA-256 of all of it.
    pub fn finish(mut self) -> Result<[u8; 32], Failure> {
        std::io::copy(&mut self, &mut std::io::sink())
            .map_err(|e| Failure::new(Exit::Io, format!("input {}: {}", self.name, files::trouble(&e))))?;
        Ok(self.hash.finalize().into())
    }
}

impl Read for HashedInput {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
