//! Opening files that other users or earlier processes may have put there.
//!
//! A private file is made new, never through a link, so that no other user owns or reads it. A file that a person
//! names is read only if it is a regular one and not longer than its kind can be: a pipe would block for ever, and a
//! device never ends. Not here: which output may replace which file (`output_path`).

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

/// Sticky bit of a folder: only its owner removes or renames a file in it.
const STICKY: u32 = 0o1000;
/// Write permission of the group or of all other users.
const OTHERS_WRITE: u32 = 0o022;

/// Describes why a file or folder that a person named cannot be used, and the next step, which the system's own words
/// lack.
pub fn trouble(error: &Error) -> String {
    let plain = match error.kind() {
        ErrorKind::NotFound => "there is no such file or folder: check the path",
        ErrorKind::PermissionDenied => "this user may not use it: check owner and mode, also of its folder",
        ErrorKind::IsADirectory => "it is a folder: name a file",
        ErrorKind::NotADirectory => "a file stands in its path where a folder must: check the path",
        ErrorKind::StorageFull => "No space left on its disk: make room",
        ErrorKind::QuotaExceeded => "this user's quota on its disk is used up: make room",
        ErrorKind::ReadOnlyFilesystem => {
            "Read-only file system: name another place, or have it mounted for writing"
        }
        // Reading a text says so.
        ErrorKind::InvalidData if error.raw_os_error().is_none() => {
            "it is no text in UTF-8: name another file"
        }
        _ => return error.to_string(),
    };
    plain.to_owned()
}

/// Makes a new file, mode 0600, in place of one that a killed process left. What lies there is removed and not
/// opened; if another user put something there again in between, this is an error.
pub fn make_private(path: &Path) -> Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file for reading and writing as it is, or makes it with mode 0600. A link, and a file of another user or
/// that others may write, is refused.
pub fn open_private(path: &Path) -> Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags.bits());
    let file = options.open(path).map_err(link_named)?;
    check_owned(&file.metadata()?)?;
    Ok(file)
}

/// Puts the words of a person in place of the system's for a link where none may be.
fn link_named(error: Error) -> Error {
    match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::ELOOP as i32 => Error::other("it is a link; remove it"),
        _ => error,
    }
}

/// Refuses a file that is not a regular file of this user, or that others may write.
pub fn check_owned(meta: &Metadata) -> Result<()> {
    if !meta.is_file() {
        return Err(Error::other("it is no regular file; remove it"));
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        let what = format!(
            "it belongs to another user (uid {}), who can change it: ask an administrator to remove it",
            meta.uid()
        );
        return Err(Error::other(what));
    }
    if meta.mode() & OTHERS_WRITE != 0 {
        return Err(Error::other("it must be a file of yours, and nobody else may write it (chmod go-w)"));
    }
    Ok(())
}

/// Replaces a private file, or makes it: the bytes are on disk under the name `next` before they get the file's name.
pub fn replace_private(path: &Path, next: &Path, bytes: &[u8]) -> Result<()> {
    write_private(next, bytes)?;
    rename_private(next, path)
}

/// Makes a private file of these bytes, which are on disk when this returns. After an error there is none.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let written =
        make_private(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// Gives a private file another name in its folder, durably. If it cannot get it, it is removed.
pub fn rename_private(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).inspect_err(|_| drop(std::fs::remove_file(from)))?;
    sync_folder(to)
}

/// Makes the names in a file's folder durable.
pub fn sync_folder(file: &Path) -> Result<()> {
    File::open(folder_of(file))?.sync_all()
}

/// Reads a file of at most `most` bytes that this user alone may use; `None` if there is none. The bytes are wiped when
/// they are dropped.
pub fn read_private(path: &Path, most: u64) -> Result<Option<Zeroizing<Vec<u8>>>> {
    // Opening a pipe would block until someone writes into it.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(link_named(error)),
    };
    let meta = file.metadata()?;
    let own = meta.is_file() && meta.uid() == nix::unistd::geteuid().as_raw();
    if !own || meta.mode() & 0o077 != 0 {
        return Err(Error::other("it must be a file of yours with mode 0600 (chmod 600)"));
    }
    if meta.len() > most {
        return Err(Error::other(format!("it is longer than {most} bytes")));
    }
    let capacity = usize::try_from(meta.len() + 1).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(meta.len()).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Makes an empty file of this user with these permissions if there is none. An existing file is checked by
/// [`check_owned`]. It is not opened: closing it would drop the locks that this process has on it.
pub fn make_or_check(path: &Path, permissions: u32) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.set_permissions(PermissionsExt::from_mode(permissions)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_owned(&path.symlink_metadata()?),
        Err(error) => Err(error),
    }
}

/// The folder in which a file has its name.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().unwrap_or(Path::new("/"));
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Refuses a file in whose folder other users can replace it, because they may write the folder or own it.
pub fn check_folder_of(file: &Path) -> Result<()> {
    let folder = folder_of(file);
    let meta = folder.metadata()?;
    if ![0, nix::unistd::geteuid().as_raw()].contains(&meta.uid()) {
        let what = format!(
            "the folder {} belongs to another user (uid {}), who can replace the files in it; name another folder",
            folder.display(),
            meta.uid()
        );
        return Err(Error::other(what));
    }
    if meta.mode() & OTHERS_WRITE != 0 && meta.mode() & STICKY == 0 {
        let what = format!(
            "others may write the folder {}: take that permission away (chmod go-w), or name another folder",
            folder.display()
        );
        return Err(Error::other(what));
    }
    Ok(())
}

/// Reads a text file of at most `most` bytes. The text is wiped when it is dropped.
pub fn read_text(path: &Path, most: u64) -> Result<Zeroizing<String>> {
    let (file, length) = bounded(path, most)?;
    // One byte more than there is, so that reading never moves the buffer and leaves a copy behind.
    let capacity = usize::try_from(length + 1).unwrap_or(0);
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    file.take(length).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a file of at most `most` bytes, which hold nothing secret.
pub fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    let (file, length) = bounded(path, most)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file of at most `most` bytes, and returns its length.
fn bounded(path: &Path, most: u64) -> Result<(File, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Error::other("it is no regular file"));
    }
    if meta.len() > most {
        return Err(Error::other(format!("it is longer than {most} bytes")));
    }
    Ok((file, meta.len()))
}

/// Opens an output to add to it, or makes it. A pipe that nobody reads is refused, because opening it would block.
pub fn append(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == nix::errno::Errno::ENXIO as i32 => {
                Error::other("it is a pipe that nobody reads: start its reader first")
            }
            _ => error,
        })?;
    // From here on a full pipe waits for its reader.
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_systems_bare_words_get_a_next_step() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("bytes"), [0xFF]).unwrap();
        for (path, step) in [
            (at("missing"), "no such file or folder: check the path"),
            (at("bytes/file"), "check the path"),
            (at("bytes"), "no text in UTF-8"),
            (at(""), "it is no regular file"),
        ] {
            let said = trouble(&read_text(&path, 5).unwrap_err());
            assert!(said.contains(step) && !said.contains("os error"), "{}: {said}", path.display());
        }
        assert!(trouble(&File::create(folder.path()).unwrap_err()).contains("it is a folder"));
    }

    #[test]
    fn a_private_file_is_new_and_never_another_users() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("store-next"), folder.path().join("target"));
        std::fs::write(&target, "before").unwrap();
        symlink(&target, &path).unwrap();
        let file = make_private(&path).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "before", "a link was followed");

        // Left by a killed process, and opened by another user before: that user keeps the old file.
        std::fs::write(&path, "left").unwrap();
        let left = File::open(&path).unwrap();
        let file = make_private(&path).unwrap();
        assert_ne!(left.metadata().unwrap().ino(), file.metadata().unwrap().ino());

        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(make_private(&path).is_err());
    }

    #[test]
    fn a_private_file_is_replaced_whole_and_read_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("keys"), folder.path().join("keys.next"));
        assert!(read_private(&path, 9).unwrap().is_none());
        std::fs::write(&next, "left by a killed process").unwrap();
        for bytes in ["one", "two"] {
            replace_private(&path, &next, bytes.as_bytes()).unwrap();
            assert_eq!(**read_private(&path, 3).unwrap().unwrap(), *bytes.as_bytes());
            assert!(!next.exists());
        }
        assert!(read_private(&path, 2).is_err(), "too long");
        for mode in [0o640, 0o604, 0o610] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert!(read_private(&path, 3).unwrap_err().to_string().contains("0600"), "{mode:o}");
        }
        // A folder has the name: nothing is left of the attempt.
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        assert!(replace_private(&folder.path().join("folder"), &next, b"three").is_err());
        assert!(!next.exists());
        symlink(&path, &next).unwrap();
        assert!(read_private(&next, 3).unwrap_err().to_string().contains("link"));
    }

    #[test]
    fn an_existing_private_file_is_this_users_and_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        drop(open_private(&path).unwrap());
        assert!(open_private(&path).is_ok());
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o620)).unwrap();
        assert!(open_private(&path).unwrap_err().to_string().contains("nobody else may write"));
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(open_private(&link).unwrap_err().to_string().contains("link"));
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_private(&folder.path().join("pipe")).is_err());
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused_unless_it_is_sticky() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, good) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false), (0o1777, true)] {
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(check_folder_of(&folder.path().join("file")).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn a_missing_companion_is_made_and_one_that_is_there_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wal");
        make_or_check(&path, 0o640).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
        make_or_check(&path, 0o600).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o660)).unwrap();
        assert!(make_or_check(&path, 0o600).unwrap_err().to_string().contains("nobody else may write"));
        std::fs::remove_file(&path).unwrap();
        symlink(folder.path().join("target"), &path).unwrap();
        assert!(make_or_check(&path, 0o600).unwrap_err().to_string().contains("no regular file"));
        assert!(!folder.path().join("target").exists());
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, pipe) = (folder.path().join("text"), folder.path().join("pipe"));
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(**read_text(&path, 5).unwrap(), *"12345");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, most, what) in [
            (path.as_path(), 4, "longer than 4 bytes"),
            (&pipe, 5, "no regular file"),
            (Path::new("/dev/zero"), 5, "no regular file"),
            (folder.path(), 5, "no regular file"),
        ] {
            let error = read_text(path, most).unwrap_err().to_string();
            assert!(error.contains(what), "{}: {error}", path.display());
        }
        assert!(append(&pipe).unwrap_err().to_string().contains("nobody reads"));
        let reader =
            OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&pipe).unwrap();
        let writer = append(&pipe).unwrap();
        let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert!(!OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK));
        drop(reader);
    }
}
