//! Reads a text file that a person names: a regular one of bounded size, so that neither a pipe nor a device holds
//! the program up for ever. Also parses TOML; an error names its place.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use nix::fcntl::OFlag;
use serde::de::DeserializeOwned;

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

/// Parses TOML. The error begins with line and key.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let key = before.rsplit('\n').next().and_then(|head| head.trim_end().strip_suffix('='));
        let key = key.map(|key| format!("{}: ", key.trim())).unwrap_or_default();
        anyhow!("line {line}: {key}{}", error.message())
    })
}
