//! The answer of the programs to `--version`: version, commit, and how they were built.

/// `0.1.0 (commit 0123456789ab, release build for x86_64-unknown-linux-gnu)`; the build script knows the
/// commit. A debug build says "or later".
pub const VERSION_TEXT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CARDWRIGHT_BUILD"), ")");
