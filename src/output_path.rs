//! Files that a program may write over: never a ledger, a key store or an input, however the command line was mistyped.
//!
//! A file is known by how it begins, so that no list of a run's own inputs can be incomplete.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// What an earlier file at the place of an output must look like.
#[derive(Debug, Clone, Copy)]
pub enum OutputKind {
    /// JSON: events or a report.
    Json,
    /// CWF1: `H`, a length, "CWF1" (DESIGN.md section 3).
    Cwf1,
    /// Cardholders: a CSV that begins with its first column's name.
    Csv,
}

impl OutputKind {
    fn fits(self, head: &[u8]) -> bool {
        match self {
            Self::Json => head.starts_with(b"{"),
            Self::Cwf1 => head.starts_with(b"H") && head.get(5..9) == Some(b"CWF1"),
            Self::Csv => head.starts_with(b"card_ref"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "events or report file",
            Self::Cwf1 => "CWF1 file",
            Self::Csv => "file of cardholders",
        }
    }
}

/// Refuses a path at which something else lies. Nothing, an empty file, a file of that kind, and what is no regular file
/// (a terminal, a pipe) will do.
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

/// The file beside which this one lies, for a program that has it open: a ledger or a key store.
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
            (&b""[..], [true, true, true]),
            (b"{\"n\":1}", [true, false, false]),
            (b"H\0\0\0\x40CWF1\0\x01", [false, true, false]),
            (b"card_ref,pan", [false, false, true]),
            (b"SQLite format 3\0", [false; 3]),
            (b"cardwright key store", [false; 3]),
        ] {
            std::fs::write(&path, content).unwrap();
            let got = [OutputKind::Json, OutputKind::Cwf1, OutputKind::Csv]
                .map(|kind| check_replaceable(&path, kind).is_ok());
            assert_eq!(got, fits, "{content:?}");
        }
        assert!(check_replaceable(directory.path(), OutputKind::Json).is_err());
        // Empty, but somebody's.
        let wal = directory.path().join("l.db-wal");
        std::fs::write(&wal, "").unwrap();
        assert!(check_replaceable(&wal, OutputKind::Json).is_ok());
        std::fs::write(directory.path().join("l.db"), "x").unwrap();
        assert!(check_replaceable(&wal, OutputKind::Json).is_err());
        assert!(check_replaceable(Path::new("/dev/null"), OutputKind::Csv).is_ok());
    }
}
