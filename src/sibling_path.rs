//! The names of files that belong to another one and lie beside it: a WAL, a lock, a seal. Nothing is opened here.

use std::path::{Path, PathBuf};

/// The file beside `path` whose name is longer by `suffix`.
pub(crate) fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
