//! The rows of rejected cards as they stood, each source's in a file of its own: to be mended and given to a run.
//!
//! A card is rejected as a whole: of every source the rows with its card_ref go together, those without a fault too. The
//! files hold cardholder data (mode 0600). Not here: what is wrong with a row (`rejects`), copying lines (`lines`).

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::lines::{CodeUnit, LineForm, copy_lines};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::prep::columns::Column;
use crate::prep::hashed::HashedInput;
use crate::prep::input::{
    InputPlace, InputSchema, RejectedLine, RowReader, SourceFormat, SourceKind, SourceRow, TextEncoding,
};
use crate::prep::join::SOURCES_MAX;
use crate::prep::output::write_whole;
use crate::sibling_path::sibling_path;

/// A source of a run.
pub struct RejectSource<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its name in faults, if there are several sources.
    pub name: Option<Arc<str>>,
    /// How it is written.
    pub format: SourceFormat,
    /// SHA-256 of what the run has read.
    pub digest: [u8; 32],
}

/// The cards that are rejected, by digests of their card_refs.
#[derive(Default)]
struct RejectedCards(HashSet<[u8; 16]>);

impl RejectedCards {
    /// Whether a row belongs to one of the cards.
    fn is_of(&self, row: &SourceRow) -> bool {
        row.values.get(Column::CardRef).is_some_and(|name| self.0.contains(&digest(name)))
    }

    /// Adds the card of a row that has a fault. Returns whether the row names one.
    fn add(&mut self, row: &SourceRow) -> bool {
        let name = row.values.get(Column::CardRef);
        self.0.extend(name.map(digest));
        name.is_some()
    }
}

fn digest(card_ref: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(card_ref).into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// Rows with faults, and the cards to which they belong.
pub struct RejectedRows<'a> {
    sources: Vec<RejectSource<'a>>,
    schema: &'a InputSchema,
    /// The lines of each source in which a row with a fault begins.
    lines: Vec<BTreeSet<u64>>,
    /// Number of rows with faults in each source that name their card.
    named: Vec<usize>,
    cards: RejectedCards,
}

impl<'a> RejectedRows<'a> {
    /// Finds the cards of the rows that begin at these places. A row of the first source is a card.
    pub fn find(
        sources: Vec<RejectSource<'a>>,
        schema: &'a InputSchema,
        places: &[InputPlace],
    ) -> Result<Self, Failure> {
        let of = |source: &RejectSource<'_>| {
            places.iter().filter(|place| place.file == source.name).map(|place| place.line).collect()
        };
        let lines = sources.iter().map(of).collect();
        let mut rows = Self { sources, schema, lines, named: Vec::new(), cards: RejectedCards::default() };
        for (source, lines) in rows.sources.iter().zip(&rows.lines) {
            let mut named = 0;
            source.each_row(schema, |row| {
                if let Ok(row) = row
                    && lines.contains(&row.place.line)
                    && rows.cards.add(row)
                {
                    named += 1;
                }
                true
            })?;
            rows.named.push(named);
        }
        Ok(rows)
    }

    /// Whether a row has a fault, or belongs to a card of which another row has one.
    pub fn is_rejected(&self, row: &SourceRow) -> bool {
        let mut sources = self.sources.iter().zip(&self.lines);
        let has_fault =
            sources.any(|(source, lines)| source.name == row.place.file && lines.contains(&row.place.line));
        has_fault || self.cards.is_of(row)
    }

    /// Writes the rows of each source that has some. Returns the path of each file, or why there is none.
    pub fn write(&self, output: &Path) -> Vec<Result<PathBuf, Failure>> {
        let sources = (1..).zip(self.sources.iter().zip(&self.lines));
        let copies = sources.filter_map(|(number, (source, lines))| {
            let path = path(output, number, source.format.kind);
            self.copy(source, lines, path).transpose()
        });
        copies.collect()
    }

    /// Copies the rows of a source; `None` if it has none.
    fn copy(
        &self,
        source: &RejectSource<'_>,
        lines: &BTreeSet<u64>,
        path: PathBuf,
    ) -> Result<Option<PathBuf>, Failure> {
        let ranges = self.ranges(source, lines)?;
        if ranges.is_empty() {
            return Ok(None);
        }
        let fail = |e: std::io::Error| {
            Failure::new(Exit::Io, format!("output {}: {}", path.display(), files::trouble(&e)))
        };
        write_whole(
            &path,
            || check_free(&path),
            |mut out| {
                let mut input = HashedInput::open(source.path)?;
                copy_lines(&mut input, source.format.lines(), &ranges, &mut out).map_err(fail)?;
                source.check_same(input)?;
                out.flush().map_err(fail)
            },
        )?;
        Ok(Some(path))
    }

    /// Whether the card of each row with a fault is known: every such row of a joined source names one.
    pub fn names_all_cards(&self) -> bool {
        self.lines.iter().zip(&self.named).skip(1).all(|(lines, named)| lines.len() == *named)
    }

    /// The lines of a source's header and of its rows of rejected cards; none if it has no such row.
    fn ranges(&self, source: &RejectSource<'_>, faulty: &BTreeSet<u64>) -> Result<Vec<Range<u64>>, Failure> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut add = |lines: Range<u64>| match ranges.last_mut() {
            Some(last) if last.end == lines.start => last.end = lines.end,
            _ => ranges.push(lines),
        };
        let has_header = source.format.kind == SourceKind::Csv;
        // The row before, if it is wanted; at first the header line.
        let (mut wanted, mut any) = (has_header.then_some(1), false);
        source.each_row(self.schema, |row| {
            let (line, is_rejected) = match row {
                Ok(row) => (Some(row.place.line), self.cards.is_of(row)),
                Err(row) => (row.line(), true),
            };
            let Some(line) = line else { return false };
            if let Some(begin) = wanted.take() {
                add(begin..line);
            }
            if is_rejected || faulty.contains(&line) {
                (wanted, any) = (Some(line), true);
            }
            true
        })?;
        if let Some(begin) = wanted {
            add(begin..u64::MAX);
        }
        Ok(if any { ranges } else { Vec::new() })
    }
}

/// Refuses an output next to which rejected rows of an earlier run lie. A person may have mended them, and the output holds
/// that run's other cards.
pub fn check_no_rows(output: &Path) -> Result<(), Failure> {
    let kinds = |number| [SourceKind::Csv, SourceKind::Jsonl].map(|kind| path(output, number, kind));
    (1..=1 + SOURCES_MAX).flat_map(kinds).try_for_each(|path| check_free(&path))
}

fn check_free(path: &Path) -> Result<(), Failure> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let what = format!(
        "operator: output {}: it holds rejected rows of an earlier run: mend them, run them with another --output, then \
         remove this file",
        path.display()
    );
    Err(Failure::new(Exit::Io, what))
}

impl RejectSource<'_> {
    /// Visits the rows as long as `visit` wants more; a header line that is wrong is no row. The file must be the one that the
    /// run has read.
    fn each_row(
        &self,
        schema: &InputSchema,
        mut visit: impl FnMut(&Result<SourceRow, RejectedLine>) -> bool,
    ) -> Result<(), Failure> {
        let mut input = HashedInput::open(self.path)?;
        if let Ok(mut rows) = RowReader::new(&mut input, self.format, self.name.clone(), schema) {
            while rows.next().is_some_and(|row| visit(&row)) {}
        }
        self.check_same(input)
    }

    /// Reads to the end and checks the digest. Rows are found by line number, so the file must not have changed.
    fn check_same(&self, input: HashedInput) -> Result<(), Failure> {
        if input.finish()? == self.digest {
            return Ok(());
        }
        let what = format!(
            "operator: input {}: it was changed while this run read it, so its rejected rows cannot be found: restore it",
            self.path.display()
        );
        Err(Failure::new(Exit::Input, what))
    }
}

/// The path of a source's rejected rows: that of the first source has no number.
fn path(output: &Path, number: usize, kind: SourceKind) -> PathBuf {
    let end = match kind {
        SourceKind::Csv => "csv",
        SourceKind::Jsonl => "jsonl",
    };
    let number = if number == 1 { String::new() } else { format!("-{number}") };
    sibling_path(output, &format!(".rejected-rows{number}.{end}"))
}

impl RejectedLine {
    /// Where it begins, if that is known.
    fn line(&self) -> Option<u64> {
        self.faults.iter().find_map(|fault| fault.place()).map(|place| place.line)
    }
}

impl SourceFormat {
    /// How its lines end.
    fn lines(self) -> LineForm {
        let unit = match self.encoding {
            Some(TextEncoding::Utf16Le) => CodeUnit::LowFirst,
            Some(TextEncoding::Utf16Be) => CodeUnit::HighFirst,
            _ => CodeUnit::Byte,
        };
        LineForm { unit, cr_ends: self.kind == SourceKind::Csv }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prep::testing;

    #[test]
    fn rows_of_a_source_that_was_changed_are_not_copied() {
        let schema = testing::schema();
        let folder = tempfile::tempdir().unwrap();
        let [first, second, out] = ["one.csv", "two.csv", "out"].map(|name| folder.path().join(name));
        let (one, two) = ("card_ref,member\nA,1\nB,2\nC,3\n", "card_ref,offer\nC,x\nB,y\nA,z\n");
        std::fs::write(&first, one).unwrap();
        std::fs::write(&second, two).unwrap();
        let source = |path, text: &str| {
            let (name, digest) = (Some(name_of(path)), Sha256::digest(text).into());
            RejectSource { path, name, format: schema.format, digest }
        };
        let place = InputPlace { file: Some(name_of(&first)), line: 3 };
        let find = || {
            let sources = vec![source(first.as_path(), one), source(second.as_path(), two)];
            RejectedRows::find(sources, &schema, std::slice::from_ref(&place))
        };
        let rows = find().map_err(|f| f.message).unwrap();
        let copies =
            ["rejected-rows.csv", "rejected-rows-2.csv"].map(|end| sibling_path(&out, &format!(".{end}")));
        let written: Vec<_> = rows.write(&out).into_iter().map(|copy| copy.map_err(|f| f.message)).collect();
        assert_eq!(written, copies.clone().map(Ok));
        let copied = copies.each_ref().map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(copied, ["card_ref,member\nB,2\n", "card_ref,offer\nB,y\n"]);
        for changed in
            [two.replace("C,x\n", ""), two.replace("B,y", "B,q"), format!("{two}D,w\n"), String::new()]
        {
            copies.iter().for_each(|path| std::fs::remove_file(path).unwrap_or_default());
            std::fs::write(&second, changed).unwrap();
            let mut written = rows.write(&out).into_iter();
            assert_eq!(written.next().unwrap().map_err(|f| f.message).as_deref(), Ok(copies[0].as_path()));
            let failure = written.next().unwrap().unwrap_err();
            assert_eq!(failure.exit, Exit::Input);
            assert!(failure.message.contains("two.csv: it was changed"), "{}", failure.message);
            assert!(!copies[1].exists());
            assert_eq!(find().err().unwrap().exit, Exit::Input);
        }
    }

    fn name_of(path: &Path) -> Arc<str> {
        path.display().to_string().into()
    }
}
