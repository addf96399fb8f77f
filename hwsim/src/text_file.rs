//! Reads a text file that a person names: a regular one of bounded size, so that neither a pipe nor a device holds
//! the program up for ever.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Result, ensure};
use nix::fcntl::OFlag;

/// Most bytes of a profile or a faults file.
const MOST: u64 = 1 << 20;

/// Reads it as a whole.
pub fn read(path: &Path) -> Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let meta = file.metadata()?;
    ensure!(meta.is_file(), "it is no regular file");
    ensure!(meta.len() <= MOST, "it is longer than {MOST} bytes");
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}
