//! Writes a file that appears whole or not at all: it is written without a name in its directory, synced, and gets its name
//! then.
//!
//! So nothing of it remains when the program is killed. A file system without such files (`O_TMPFILE`, open(2)) gets one under
//! a temporary name. It has mode 0600 from the first byte. An earlier file of its name is replaced, a link is not followed.
//! The caller's check decides which file may be replaced. It runs before the writing and again
//! just before the file gets its name, since hours may lie between.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;

use super::fill_random;
use crate::exit::{Exit, Failure};
use crate::files;

/// Lets `write` fill a new file at `path`, unless `check` refuses what lies there. If it fails, nothing remains of the new file.
pub fn write_whole<T>(
    path: &Path,
    check: impl Fn() -> Result<(), Failure>,
    write: impl FnOnce(BufWriter<&File>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let fail = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("output {}: {}", path.display(), files::trouble(&e)))
    };
    check()?;
    let mut random = [0u8; 6];
    fill_random(&mut random)?;
    let Some(name) = path.file_name() else {
        return Err(Failure::new(
            Exit::Io,
            format!("output {}: it is no name of a file: name one", path.display()),
        ));
    };
    let temporary = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), hex::encode(random)));
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (file, mut unfinished) = match nameless(directory) {
        Some(file) => (file, UnfinishedOutput(None)),
        None => {
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&temporary).map_err(fail)?;
            (file, UnfinishedOutput(Some(temporary.clone())))
        }
    };
    let result = write(BufWriter::with_capacity(256 * 1024, &file))?;
    file.sync_all().map_err(fail)?;
    unfinished.name(&file, temporary).map_err(fail)?;
    check()?;
    unfinished.rename(path).map_err(fail)?;
    File::open(directory).and_then(|d| d.sync_all()).map_err(fail)?;
    Ok(result)
}

/// Writes a new file of these bytes. A file that exists is not replaced.
pub fn write_output(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let check = || match path.exists() {
        true => {
            let what =
                format!("output {}: a file lies there: name another, or remove it yourself", path.display());
            Err(Failure::new(Exit::Io, what))
        }
        false => Ok(()),
    };
    let fail = |e: std::io::Error| {
        Failure::new(Exit::Io, format!("output {}: {}", path.display(), files::trouble(&e)))
    };
    write_whole(path, check, |mut out| out.write_all(bytes).and_then(|()| out.flush()).map_err(fail))
}

/// Makes a file without a name, if it can get one later.
fn nameless(directory: &Path) -> Option<File> {
    let flags = OFlag::O_TMPFILE.bits();
    let file = OpenOptions::new().write(true).mode(0o600).custom_flags(flags).open(directory).ok()?;
    descriptor(&file).exists().then_some(file)
}

/// The name of an open file in this process.
fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The temporary name, if there is one by now; it is removed when this value is dropped, unless the file was renamed.
struct UnfinishedOutput(Option<PathBuf>);

impl UnfinishedOutput {
    /// Gives the file its temporary name if it has none: a file without a name cannot replace another.
    fn name(&mut self, file: &File, temporary: PathBuf) -> std::io::Result<()> {
        if self.0.is_none() {
            linkat(AT_FDCWD, &descriptor(file), AT_FDCWD, &temporary, AtFlags::AT_SYMLINK_FOLLOW)?;
            self.0 = Some(temporary);
        }
        Ok(())
    }

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
    use crate::output_path::{OutputKind, check_replaceable};

    /// Replaces whatever lies there.
    fn any() -> Result<(), Failure> {
        Ok(())
    }

    #[test]
    fn whole_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.cwf");
        write_whole(&path, any, |mut out| out.write_all(b"abc").map_err(|_| unreachable!())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_failure_leaves_nothing_and_keeps_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.cwf");
        std::fs::write(&path, b"old").unwrap();
        let failed: Result<(), _> = write_whole(&path, any, |mut out| {
            out.write_all(&[0; 1 << 20]).unwrap();
            Err(Failure::new(Exit::Bug, "x"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_has_a_name_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.cwf");
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        // Every file system on which the tests run has files without a name.
        write_whole(&path, any, |_| {
            assert_eq!(names(), 0);
            Ok(())
        })
        .unwrap();
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("out.cwf"), dir.path().join("other"));
        std::fs::write(&other, b"other").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        write_whole(&path, any, |mut out| out.write_all(b"abc").map_err(|_| unreachable!())).unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"other");
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
    }

    /// While the output is written, somebody puts another file in its place, or removes the earlier output and makes a
    /// folder there.
    #[test]
    fn a_file_that_appears_during_writing_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.cwf");
        let check = || check_replaceable(&path, OutputKind::Cwf1);
        let meanwhile = |change: &dyn Fn()| {
            write_whole(&path, check, |mut out| {
                out.write_all(b"new").unwrap();
                change();
                Ok(())
            })
        };
        let failed = meanwhile(&|| std::fs::write(&path, b"card_ref,pan").unwrap()).unwrap_err();
        assert!(failed.exit == Exit::Io && failed.message.contains("no CWF1 file"), "{failed}");
        assert_eq!(std::fs::read(&path).unwrap(), b"card_ref,pan");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else remains");

        let earlier = b"H\0\0\0\x40CWF1\0\x01";
        std::fs::write(&path, earlier).unwrap();
        let change = || {
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        };
        assert_eq!(meanwhile(&change).unwrap_err().exit, Exit::Io);
        assert!(path.is_dir());
        std::fs::remove_dir(&path).unwrap();
        // A file of the right kind is replaced, even if it appeared only now.
        meanwhile(&|| std::fs::write(&path, earlier).unwrap()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");

        std::fs::remove_file(&path).unwrap();
        let failed =
            write_whole(&path, || Err(Failure::new(Exit::Io, "x")), |_| -> Result<(), _> { unreachable!() });
        assert_eq!(failed.unwrap_err().exit, Exit::Io);
        assert!(!path.exists());
    }

    #[test]
    fn bytes_replace_no_file_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("request");
        write_output(&path, b"a").unwrap();
        let failed = write_output(&path, b"b").unwrap_err();
        assert!(failed.exit == Exit::Io && failed.message.contains("a file lies there"), "{failed}");
        assert_eq!(std::fs::read(&path).unwrap(), b"a");
    }

    #[test]
    fn no_directory_is_an_io_failure() {
        let failed = write_whole(Path::new("/nonexistent/out.cwf"), any, |_| Ok(()));
        assert_eq!(failed.unwrap_err().exit, Exit::Io);
        assert_eq!(write_whole(Path::new("/"), any, |_| Ok(())).unwrap_err().exit, Exit::Io);
    }
}
