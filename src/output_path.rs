//! Keeps a mistyped command line from overwriting a ledger, a key store or an input.
//!
//! An existing file may be replaced only if its first bytes show that it is an earlier output of the same
//! kind. A list of files to be spared could miss one.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// The kind of an output, and so of the earlier file that it may replace.
#[derive(Debug, Clone, Copy)]
pub enum OutputKind {
    /// JSON: events or a report.
    Json,
    /// CWF1: `H`, a length, "CWF1" (`src/manual/cwf1.md` section 2).
    Cwf1,
    /// An unfinished file of the issuer's preparation: `H`, a length, "CWFU".
    Unfinished,
    /// A sealed CWF1 file: an envelope of the `age` format.
    Sealed,
    /// Cardholders: a CSV file that begins with the name of its first column.
    Csv,
    /// The report on a preparation: a JSON document that begins with its format.
    PrepReport,
    /// The rejected lines of an input: a CSV file with its own header line.
    Rejects,
}

impl OutputKind {
    fn fits(self, head: &[u8]) -> bool {
        match self {
            Self::Json => head.starts_with(b"{"),
            Self::Cwf1 => head.starts_with(b"H") && head.get(5..9) == Some(b"CWF1"),
            Self::Unfinished => head.starts_with(b"H") && head.get(5..9) == Some(b"CWFU"),
            Self::Sealed => head.starts_with(b"age-encryption.o"),
            Self::Csv => head.starts_with(b"card_ref"),
            Self::PrepReport => head == b"{\n  \"report\": \"C",
            Self::Rejects => head.starts_with(b"file,line,column"),
        }
    }

    /// Whether it is written as it comes, to a terminal or a pipe too. The others are written whole and renamed.
    fn is_streamed(self) -> bool {
        matches!(self, Self::Json)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "events or report file",
            Self::Cwf1 => "CWF1 file",
            Self::Unfinished => "unfinished file of an earlier pass",
            Self::Sealed => "sealed file",
            Self::Csv => "file of cardholders",
            Self::PrepReport => "preparation report",
            Self::Rejects => "list of rejected lines",
        }
    }
}

/// Refuses a path that holds a file of another kind and, unless the kind is streamed, a name in /dev or /proc. Accepts any
/// other free path, an empty file and a file of this kind. A streamed kind may also go to a terminal or a pipe.
pub fn check_replaceable(path: &Path, kind: OutputKind) -> Result<(), Failure> {
    let fail = |what: String| Failure::new(Exit::Io, format!("operator: output {}: {what}", path.display()));
    if !kind.is_streamed() && is_among_devices(path) {
        return Err(fail("is a name of the system, which a file would replace; name a file".into()));
    }
    let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
    if meta.is_dir() {
        return Err(fail("is a directory; name a file".into()));
    }
    if let Some(owner) = owner(path) {
        return Err(fail(format!("it belongs to {}; name another", owner.display())));
    }
    if !meta.is_file() && !kind.is_streamed() {
        return Err(fail("is a device or a pipe, which a file would replace; name a file".into()));
    }
    if !meta.is_file() || meta.len() == 0 {
        return Ok(());
    }
    let mut head = Vec::new();
    let mut file = std::fs::File::open(path).map_err(|e| fail(e.to_string()))?.take(16);
    file.read_to_end(&mut head).map_err(|e| fail(e.to_string()))?;
    if kind.fits(&head) {
        Ok(())
    } else {
        Err(fail(format!(
            "a file lies there that is no {}, so it is not written over; name another",
            kind.name()
        )))
    }
}

/// Whether a name lies in /dev or in /proc, where /dev/fd leads: such a name may be a link to a regular file, as /dev/stdout is
/// when the output goes to one. Below /dev there may be folders for files, as /dev/shm.
fn is_among_devices(path: &Path) -> bool {
    full_folder(path).is_some_and(|folder| folder == Path::new("/dev") || folder.starts_with("/proc"))
}

/// Refuses an output whose name is that of a ledger or key store that may not exist yet, or of a file next to it or in it:
/// `cardwright.db`, `cardwright.db-lock`, `cardwright.db.spool/...`, `bureau.store/...`.
pub fn check_apart(output: &Path, owner: &Path) -> Result<(), Failure> {
    let (Some(out), Some(own)) = (full_path(output), full_path(owner)) else { return Ok(()) };
    let (Some(out), Some(own)) = (out.to_str(), own.to_str()) else { return Ok(()) };
    let belongs =
        out.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '/']));
    if belongs {
        let what = format!(
            "operator: output {}: this name belongs to {}; name another",
            output.display(),
            owner.display()
        );
        return Err(Failure::new(Exit::Io, what));
    }
    Ok(())
}

/// The absolute path of a file that may not exist, in its folder without links.
fn full_path(path: &Path) -> Option<PathBuf> {
    if let Ok(there) = path.canonicalize() {
        return Some(there);
    }
    Some(full_folder(path)?.join(std::path::absolute(path).ok()?.file_name()?))
}

/// The folder of a file that may not exist, absolute and without links.
pub fn full_folder(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()?.parent()?.canonicalize().ok()
}

/// Returns the ledger or key store to which a file with this name belongs, if there is one in its directory.
fn owner(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let name = path.to_str()?;
    let owners = ["-wal", "-shm", "-lock"].iter().filter_map(|suffix| name.strip_suffix(suffix));
    owners.map(PathBuf::from).find(|owner| owner.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_kind_is_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert!(check_replaceable(&path, OutputKind::Json).is_ok());
        for (content, fits) in [
            (&b""[..], [true; 6]),
            (b"{\"n\":1}", [true, false, false, false, false, false]),
            (b"{\n  \"report\": \"CWP1\",", [true, false, false, false, true, false]),
            (b"{\n  \"report\": 1", [true, false, false, false, false, false]),
            (b"H\0\0\0\x40CWF1\0\x01", [false, true, false, false, false, false]),
            (b"card_ref,pan", [false, false, true, false, false, false]),
            (b"file,line,column,card_ref,fault\n", [false, false, false, true, false, false]),
            (b"H\0\0\0\x40CWFU\0\x01", [false, false, false, false, false, true]),
            (b"SQLite format 3\0", [false; 6]),
            (b"cardwright key store", [false; 6]),
        ] {
            std::fs::write(&path, content).unwrap();
            use OutputKind::{Csv, Cwf1, Json, PrepReport, Rejects, Unfinished};
            let kinds = [Json, Cwf1, Csv, Rejects, PrepReport, Unfinished];
            let got = kinds.map(|kind| check_replaceable(&path, kind).is_ok());
            assert_eq!(got, fits, "{content:?}");
        }
        assert!(check_replaceable(directory.path(), OutputKind::Json).is_err());
        // Empty, but the WAL of a ledger.
        let wal = directory.path().join("l.db-wal");
        std::fs::write(&wal, "").unwrap();
        assert!(check_replaceable(&wal, OutputKind::Json).is_ok());
        std::fs::write(directory.path().join("l.db"), "x").unwrap();
        assert!(check_replaceable(&wal, OutputKind::Json).is_err());
        assert!(check_replaceable(Path::new("/dev/null"), OutputKind::Json).is_ok());
        // It would become a file.
        assert!(check_replaceable(Path::new("/dev/null"), OutputKind::Cwf1).is_err());
    }

    /// A link is replaced, so one that leads to a file or to nothing may be, but not one that belongs to the system.
    #[test]
    fn a_name_of_the_system_is_not_replaced_wherever_it_leads() {
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &Path| {
            let path = directory.path().join(name);
            std::os::unix::fs::symlink(to, &path).unwrap();
            path
        };
        let empty = std::fs::File::create(directory.path().join("empty")).unwrap();
        let refused = |path: &Path| check_replaceable(path, OutputKind::Cwf1).is_err();
        // An open file, as /dev/stdout is with `> file`.
        for folder in ["/dev/fd", "/proc/self/fd"] {
            let name = Path::new(folder).join(empty.as_raw_fd().to_string());
            assert!(std::fs::metadata(&name).unwrap().is_file() && refused(&name), "{folder}");
            assert!(check_replaceable(&name, OutputKind::Json).is_ok());
        }
        for name in ["/dev/cardwright-x", "/dev/../dev/cardwright-x", "/proc/cardwright-x", "/dev/stdout"] {
            assert!(refused(Path::new(name)), "{name}");
        }
        let devices = link("devices", Path::new("/dev"));
        assert!(refused(&devices.join("cardwright-x")));
        assert!(refused(&link("null", Path::new("/dev/null"))));
        assert!(refused(&link("folder", directory.path())));
        assert!(!refused(&link("file", &directory.path().join("empty"))));
        assert!(!refused(&link("nothing", &directory.path().join("nothing-there"))));
    }

    #[test]
    fn an_output_never_has_the_name_of_a_ledger_that_is_made_later() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("l.db");
        let store = directory.path().join("store");
        std::fs::create_dir(&store).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        for (name, apart) in [
            ("l.db", false),
            ("l.db-lock", false),
            ("l.db-wal", false),
            ("l.db-new", false),
            ("l.db.spool", false),
            ("./l.db", false),
            ("store/spools", false),
            ("link/l.db-shm", false),
            ("l.dbx", true),
            ("report.json", true),
            ("l.json", true),
        ] {
            let path = directory.path().join(name);
            let apart_from_both = check_apart(&path, &ledger).and_then(|()| check_apart(&path, &store));
            assert_eq!(apart_from_both.is_ok(), apart, "{name}");
        }
    }
}
