//! Build script of all programs: finds the commit and the kind of build for `--version`.
//!
//! It reads git's own files, so it needs no `git`, and a source tree without them builds as "commit unknown".
//! A release build is made again for each commit. A debug build is not, because that would compile everything
//! again after each commit: it names the commit of its first build on this branch, and says "or later".
//! Changes that are not committed do not show.
//!
//! Not here: generated code, links to C libraries.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Digits of a commit that are shown: enough for a repository of this size.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed={}", own_source().display());
    let said = |name: &str| env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    let exact = said("PROFILE") == "release";
    let commit = git_folder().and_then(|git| {
        // HEAD names the branch. Its log grows whenever HEAD comes to another commit.
        let files = [Some(git.join("HEAD")), exact.then(|| git.join("logs/HEAD"))];
        for file in files.iter().flatten().filter(|file| file.exists()) {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        commit(&git)
    });
    let commit = match commit.as_deref().and_then(|commit| commit.get(..DIGITS)) {
        None => "unknown".to_owned(),
        Some(commit) if exact => commit.to_owned(),
        Some(commit) => format!("{commit} or later"),
    };
    println!(
        "cargo::rustc-env=CARDWRIGHT_BUILD=commit {commit}, {} build for {}",
        said("PROFILE"),
        said("TARGET")
    );
}

/// The folder of the workspace: that of the root package, or the one above it.
fn workspace() -> PathBuf {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    if package.join("src/build.rs").exists() { package } else { package.join("..") }
}

fn own_source() -> PathBuf {
    workspace().join("src/build.rs")
}

/// Folder where git keeps its files about this checkout: `.git`, or the folder that a file `.git` names (in a
/// worktree).
fn git_folder() -> Option<PathBuf> {
    let root = workspace();
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let text = fs::read_to_string(git).ok()?;
    Some(root.join(text.strip_prefix("gitdir: ")?.trim_end()))
}

/// The commit of HEAD, by itself or by the name of a branch.
fn commit(git: &Path) -> Option<String> {
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let head = head.trim_end();
    let Some(branch) = head.strip_prefix("ref: ") else { return Some(head.to_owned()) };
    // A worktree shares its branches with the others.
    let common = fs::read_to_string(git.join("commondir")).ok();
    let common = common.map_or_else(|| git.to_owned(), |path| git.join(path.trim_end()));
    let loose = [git, &common].into_iter().find_map(|folder| fs::read_to_string(folder.join(branch)).ok());
    let commit = loose.or_else(|| {
        let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
        packed.lines().find_map(|line| Some(line.strip_suffix(branch)?.strip_suffix(' ')?.to_owned()))
    })?;
    Some(commit.trim_end().to_owned())
}
