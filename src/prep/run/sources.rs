//! The sources of a run: how the first is read, and the others, opened and checked against each other by their header lines.
//!
//! Not here: their rows (`prep::join`).

use std::path::Path;
use std::sync::Arc;

use super::PrepRunArgs;
use crate::exit::{Exit, Failure};
use crate::prep::columns::Column;
use crate::prep::hashed::HashedInput;
use crate::prep::input::{InputError, InputPlace, InputSchema, RejectedLine, RowReader, SourceRow};
use crate::prep::join::{Join, SOURCES_MAX};
use crate::prep::rejects;
use crate::prep::unfinished::UnfinishedRows;
use crate::record::Record;

/// The last line of a refusal of an input.
pub(super) const NOTHING_WRITTEN: &str = "nothing else was written; correct the input and start again";

/// Rows of a source, whatever its form.
pub(super) type Rows<'s, T = SourceRow> = Box<dyn Iterator<Item = Result<T, RejectedLine>> + 's>;

/// A source's name in faults.
pub(super) fn name(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// The columns of a source, by its name; `None` in JSON Lines, where every row has its own.
type SourceColumns = (Arc<str>, Option<Vec<Column>>);

/// The first source, of which the header line was read.
pub(super) struct FirstSource<'s> {
    /// Its columns; `None` if every row has its own.
    columns: Option<Vec<Column>>,
    /// Its rows, each with its record if the source is an unfinished file.
    pub rows: Rows<'s, (SourceRow, Option<Record>)>,
}

impl<'s> FirstSource<'s> {
    /// Reads the header line. `file` is the name for faults if there are several sources; a single one must have every column
    /// that a card needs.
    pub fn new(
        path: &Path,
        source: &'s mut HashedInput,
        is_unfinished: bool,
        file: Option<Arc<str>>,
        schema: &'s InputSchema,
    ) -> Result<Self, RejectedLine> {
        if is_unfinished {
            let rows = UnfinishedRows::new(source, file)?;
            let rows = rows.map(|row| row.map(|(row, record)| (row, Some(record))));
            return Ok(Self { columns: Some(vec![Column::CardRef]), rows: Box::new(rows) });
        }
        let rows = RowReader::new(source, schema.format.of_file(path), file, schema)?;
        let columns = rows.columns().map(<[Column]>::to_vec);
        Ok(Self { columns, rows: Box::new(rows.map(|row| row.map(|row| (row, None)))) })
    }
}

/// A joined source that has been read, and its SHA-256.
pub(super) type JoinedFile<'a> = (&'a Path, [u8; 32]);

/// The sources that are joined to the first.
pub(super) struct JoinedSources<'a> {
    pub join: Join<'a>,
    /// SHA-256 of the first source, of which the join has read the names.
    pub first: [u8; 32],
    pub files: Vec<JoinedFile<'a>>,
}

/// Reads the sources that are joined to the first, and the names of the first; `None` if there are none.
pub(super) fn joined<'a>(
    args: &'a PrepRunArgs,
    is_unfinished: bool,
    schema: &'a InputSchema,
) -> Result<Option<JoinedSources<'a>>, Failure> {
    let PrepRunArgs { input, joins: paths, output, .. } = args;
    if paths.is_empty() {
        return Ok(None);
    }
    if paths.len() > SOURCES_MAX {
        let what = format!("--join: at most {SOURCES_MAX} inputs can be joined");
        return Err(Failure::new(Exit::Usage, what));
    }
    let mut names = HashedInput::open(input)?;
    // A header line that is wrong is reported when the cards are read.
    let first = FirstSource::new(input, &mut names, is_unfinished, Some(name(input)), schema).ok();
    let mut columns: Vec<SourceColumns> = Vec::new();
    let mut files = paths.iter().map(|path| HashedInput::open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut sources: Vec<Rows<'_>> = Vec::new();
    for (path, file) in paths.iter().zip(&mut files) {
        match RowReader::new(file, schema.format.of_file(path), Some(name(path)), schema) {
            Ok(rows) => {
                columns.push((name(path), rows.columns().map(<[Column]>::to_vec)));
                sources.push(Box::new(rows));
            }
            Err(header) => sources.push(Box::new(std::iter::once(Err(header)))),
        }
    }
    let all_are_right = columns.len() == paths.len();
    let faults = match &first {
        Some(first) if all_are_right => {
            faults(std::iter::once((name(input), first.columns.clone())).chain(columns), schema)
        }
        _ => Vec::new(),
    };
    if !faults.is_empty() {
        // Alone: the rows would have a fault in each of these columns.
        let list = rejects::list(output, input, faults.into_iter().map(Ok));
        return Err(list.failure(Exit::Input, [NOTHING_WRITTEN.to_owned()]));
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let room = tempfile::tempfile_in(folder).map_err(|e| {
        let what = format!("output: no room for the rows of joined inputs in {}: {e}", folder.display());
        Failure::new(Exit::Io, what)
    })?;
    let first = first.into_iter().flat_map(|first| first.rows).map(|row| row.map(|(row, _)| row));
    let join = Join::read(first, sources, schema, room)?;
    let inputs = paths.iter().zip(files).map(|(path, file)| Ok((path.as_path(), file.finish()?)));
    let files = inputs.collect::<Result<_, Failure>>()?;
    Ok(Some(JoinedSources { join, first: names.finish()?, files }))
}

/// The columns that stand in two sources or, though every card needs them, in none.
fn faults(sources: impl Iterator<Item = SourceColumns>, schema: &InputSchema) -> Vec<RejectedLine> {
    let mut found: Vec<(Column, Arc<str>)> = Vec::new();
    let mut faults = Vec::new();
    let mut fault = |file: &Arc<str>, what: String| {
        let place = InputPlace { file: Some(Arc::clone(file)), line: 1 };
        faults.push(RejectedLine::from(InputError::Line { place, what }));
    };
    let (mut first, mut all_are_known) = (None, true);
    for (file, columns) in sources {
        all_are_known &= columns.is_some();
        for column in columns.unwrap_or_default() {
            match found.iter().find(|(known, _)| *known == column) {
                Some((_, other)) if column != Column::CardRef => {
                    fault(&file, format!("column `{}` stands in {other} too", schema.name(column)));
                }
                Some(_) => {}
                None => found.push((column, Arc::clone(&file))),
            }
        }
        first.get_or_insert(file);
    }
    let columns: Vec<Column> = found.iter().map(|(column, _)| *column).collect();
    if let (true, Some(first), [one, ..]) = (all_are_known, &first, schema.missing(&columns).as_slice()) {
        fault(first, format!("column `{one}` stands in no input, and every card needs it"));
    }
    faults
}
