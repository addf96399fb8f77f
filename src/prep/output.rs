//! Writes a file that appears whole or not at all: it is written under a temporary name in its directory,
//! synced, and renamed.
//!
//! It has mode 0600 from the first byte. An earlier file of its name is replaced.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::fill_random;
use crate::exit::{Exit, Failure};
use crate::files;

/// Lets `write` fill a new file at `path`. If it fails, nothing remains of the new file.
pub fn write_whole<T>(
    path: &Path,
    write: impl FnOnce(BufWriter<&File>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let fail = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("output {}: {}", path.display(), files::trouble(&e)))
    };
    let mut random = [0u8; 6];
    fill_random(&mut random)?;
    let Some(name) = path.file_name() else {
        return Err(Failure::new(
            Exit::Io,
            format!("output {}: it is no name of a file: name one", path.display()),
        ));
    };
    let temporary = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), hex::encode(random)));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(fail)?;
    let unfinished = UnfinishedOutput(Some(temporary));
    let result = write(BufWriter::with_capacity(256 * 1024, &file))?;
    file.sync_all().map_err(fail)?;
    unfinished.rename(path).map_err(fail)?;
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|d| d.sync_all()).map_err(fail)?;
    Ok(result)
}

/// Writes a new file of these bytes. A file that exists is not replaced.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if path.exists() {
        let what =
            format!("output {}: a file lies there: name another, or remove it yourself", path.display());
        return Err(Failure::new(Exit::Io, what));
    }
    let fail = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("output {}: {}", path.display(), files::trouble(&e)))
    };
    write_whole(path, |mut out| out.write_all(bytes).and_then(|()| out.flush()).map_err(fail))
}

/// The temporary file; it is removed when this value is dropped, unless it was renamed.
struct UnfinishedOutput(Option<PathBuf>);

impl UnfinishedOutput {
    fn rename(mut self, to: &Path) -> std::io::Result<()> {
        if let Some(from) = &self.0 {
            std::fs::rename(from, to)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for UnfinishedOutput {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // If this fails, a useless temporary file stays behind, which does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn whole_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.cwf");
        write_whole(&path, |mut out| out.write_all(b"abc").map_err(|_| unreachable!())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_failure_leaves_nothing_and_keeps_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.cwf");
        std::fs::write(&path, b"old").unwrap();
        let failed: Result<(), _> = write_whole(&path, |mut out| {
            out.write_all(&[0; 1 << 20]).unwrap();
            Err(Failure::new(Exit::Bug, "x"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_directory_is_an_io_failure() {
        let failed = write_whole(Path::new("/nonexistent/out.cwf"), |_| Ok(()));
        assert_eq!(failed.unwrap_err().exit, Exit::Io);
        assert_eq!(write_whole(Path::new("/"), |_| Ok(())).unwrap_err().exit, Exit::Io);
    }
}
