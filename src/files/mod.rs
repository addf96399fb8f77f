//! Opening files that other users or earlier processes may have put there.
//!
//! A private file is made new, never through a link, so that no other user owns or reads it. A file that a person
//! names is read only if it is a regular one and not longer than its kind can be: a pipe would block for ever, and a
//! device never ends. Not here: which output may replace which file (`output_path`).

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

/// Sticky bit of a folder: only its owner removes or renames a file in it.
const STICKY: u32 = 0o1000;
/// Write permission of the group or of all other users.
const OTHERS_WRITE: u32 = 0o022;
/// Most links on the way to a file, as Linux allows.
const LINKS_MAX: usize = 40;

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
    std::fs::rename(next, path).inspect_err(|_| drop(std::fs::remove_file(next)))?;
    sync_folder(path)
}

/// Makes a private file of these bytes, which are on disk when this returns. After an error there is none.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let written =
        make_private(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// Makes the names in a file's folder durable.
pub fn sync_folder(file: &Path) -> Result<()> {
    File::open(folder_of(file))?.sync_all()
}

/// A file that is about to be replaced, and whose bytes are to be lost then.
pub struct OldFile(Option<File>);

impl OldFile {
    /// Opens the file that has this name now, if there is one.
    pub fn open(path: &Path) -> Self {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        Self(OpenOptions::new().write(true).custom_flags(flags.bits()).open(path).ok())
    }

    /// Overwrites it, after another file has got its name, unless it has another name too: a backup may be made of links, and is
    /// not to be lost. If it has none, nobody can open it again, even if overwriting fails. This does not reach copies
    /// that a disk keeps by itself: remapped flash blocks, copy-on-write file systems.
    pub fn wipe(self) {
        if let Some(mut old) = self.0
            && old.metadata().is_ok_and(|old| old.nlink() == 0)
            && let Ok(length) = old.seek(SeekFrom::End(0))
        {
            let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
            let _ = old.rewind().and_then(|()| old.write_all(&zeros)).and_then(|()| old.sync_all());
        }
    }
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
    check_folder(folder_of(file))
}

/// Refuses a file for which other users can put another in its place, because they may write or own one of the folders above it
/// or a link on the way.
pub fn check_way(file: &Path) -> Result<()> {
    let mut way = std::path::absolute(folder_of(file))?;
    // Each turn resolves one link, and what it leads to is checked like the path before.
    for _ in 0..LINKS_MAX {
        let Some((link, target)) = first_link(&way)? else {
            return way.ancestors().try_for_each(check_folder);
        };
        folder_of(&link).ancestors().try_for_each(check_folder)?;
        let behind = way.strip_prefix(&link).map_err(Error::other)?.to_owned();
        // `..` behind a link is of where it leads, and only the system resolves it.
        way = folder_of(&link).canonicalize()?.join(target).join(behind);
    }
    Err(Error::other("the way to it goes over too many links: name the folder itself"))
}

/// The first link of a path, and what it says. Another user's link is refused.
fn first_link(path: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let mut way = PathBuf::new();
    for part in path.components() {
        way.push(part);
        let meta = way.symlink_metadata()?;
        if !meta.is_symlink() {
            continue;
        }
        if ![0, nix::unistd::geteuid().as_raw()].contains(&meta.uid()) {
            let what = format!("{} is another user's link: name the folder itself", way.display());
            return Err(Error::other(what));
        }
        let target = std::fs::read_link(&way)?;
        return Ok(Some((way, target)));
    }
    Ok(None)
}

fn check_folder(folder: &Path) -> Result<()> {
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
mod tests;
