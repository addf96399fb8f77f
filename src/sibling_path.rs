//! The names of files that belong to another file and lie in its directory: a WAL, a lock, a seal. Not here:
//! opening them.

use std::path::{Path, PathBuf};

/// Returns `path` with `suffix` added to its file name.
pub(crate) fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
