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
    /// Cardholders: a CSV file that begins with the name of its first column.
    Csv,
    /// The rejected lines of an input: a CSV file with its own header line.
    Rejects,
}

impl OutputKind {
    fn fits(self, head: &[u8]) -> bool {
        match self {
            Self::Json => head.starts_with(b"{"),
            Self::Cwf1 => head.starts_with(b"H") && head.get(5..9) == Some(b"CWF1"),
            Self::Csv => head.starts_with(b"card_ref"),
            Self::Rejects => head.starts_with(b"line,column,card"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "events or report file",
            Self::Cwf1 => "CWF1 file",
            Self::Csv => "file of cardholders",
            Self::Rejects => "list of rejected lines",
        }
    }
}

/// Refuses a path that holds a file of another kind. Accepts a free path, an empty file, a file of this kind,
/// and anything that is not a regular file (a terminal, a pipe).
pub fn check_replaceable(path: &Path, kind: OutputKind) -> Result<(), Failure> {
    let fail = |what: String| Failure::new(Exit::Io, format!("operator: output {}: {what}", path.display()));
    let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
    if meta.is_dir() {
        return Err(fail("is a directory; name a file".into()));
    }
    if let Some(owner) = owner(path) {
        return Err(fail(format!("it belongs to {}; name another", owner.display())));
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
            (&b""[..], [true, true, true, true]),
            (b"{\"n\":1}", [true, false, false, false]),
            (b"H\0\0\0\x40CWF1\0\x01", [false, true, false, false]),
            (b"card_ref,pan", [false, false, true, false]),
            (b"line,column,card_ref,fault\n", [false, false, false, true]),
            (b"SQLite format 3\0", [false; 4]),
            (b"cardwright key store", [false; 4]),
        ] {
            std::fs::write(&path, content).unwrap();
            let got = [OutputKind::Json, OutputKind::Cwf1, OutputKind::Csv, OutputKind::Rejects]
                .map(|kind| check_replaceable(&path, kind).is_ok());
            assert_eq!(got, fits, "{content:?}");
        }
        assert!(check_replaceable(directory.path(), OutputKind::Json).is_err());
        // Empty, but the WAL of a ledger.
        let wal = directory.path().join("l.db-wal");
        std::fs::write(&wal, "").unwrap();
        assert!(check_replaceable(&wal, OutputKind::Json).is_ok());
        std::fs::write(directory.path().join("l.db"), "x").unwrap();
        assert!(check_replaceable(&wal, OutputKind::Json).is_err());
        assert!(check_replaceable(Path::new("/dev/null"), OutputKind::Csv).is_ok());
    }
}
