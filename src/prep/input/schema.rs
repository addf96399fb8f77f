//! What a product expects of its input: the columns with their names in the files, which of them a card must have, values
//! for those that a file leaves out, and the characters that each may hold.
//!
//! Not here: the shape of values (`columns`), which fields take which columns (`plan`).

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::format::SourceFormat;
use crate::prep::columns::{self, COLUMNS, Column};
use crate::prep::own_field::OwnField;
use crate::prep::tables::PrepTables;
use crate::prep::transliterate::{is_ascii_text, is_latin1_text};

/// Values of the product profile for columns that a file does not have or leaves empty.
pub type Defaults = BTreeMap<Column, String>;

/// Digits of a purse's identifier.
const PURSE_ID: usize = 10;

/// The characters that the media of a text take, from the narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextLimit {
    /// Chip and stripe: printable ASCII.
    Ascii,
    /// Embossing and indent print: ISO 8859-1 without `<` and `>`.
    Latin1,
}

impl TextLimit {
    /// The media in words, for faults.
    pub(super) fn media(self) -> &'static str {
        match self {
            Self::Ascii => "chip or stripe",
            Self::Latin1 => "a line on plastic",
        }
    }

    /// Whether a medium takes a character.
    pub fn takes(self, c: char) -> bool {
        match self {
            Self::Ascii => is_ascii_text(c),
            Self::Latin1 => is_latin1_text(c),
        }
    }
}

/// The columns of a product's input.
#[derive(Default, Clone)]
pub struct InputSchema {
    /// How files are written.
    pub format: SourceFormat,
    /// Whether text is spelled in ASCII where a medium takes no more.
    pub transliterate: bool,
    /// Values for columns that the input leaves empty.
    pub defaults: Defaults,
    /// The column that the tool's counter fills.
    pub counter: Option<CountedColumn>,
    columns: Vec<SchemaColumn>,
    /// Whether print or embossing need the cardholder's name, from the one column or the other.
    pub(super) needs_printed_name: bool,
    /// The narrowest medium for the text of a column, if it takes not everything.
    limits: BTreeMap<Column, TextLimit>,
}

/// A column as the product's files have it.
#[derive(Clone)]
pub(super) struct SchemaColumn {
    pub column: Column,
    /// Name in the header.
    pub name: String,
    /// Whether every card must have a value.
    pub required: bool,
}

/// A column whose value is a number of the tool where a row has none.
#[derive(Clone)]
pub struct CountedColumn {
    /// The column.
    pub column: Column,
    prefix: String,
    /// Digits of the value.
    width: usize,
}

impl CountedColumn {
    /// Returns the value for a number; `None` if it has too many digits.
    pub(super) fn value(&self, number: u64) -> Option<String> {
        let width = self.width.saturating_sub(self.prefix.len());
        Some(format!("{}{number:0>width$}", self.prefix)).filter(|text| text.len() == self.width)
    }

    /// Pads a value with zeros to the width of the column: form bcd writes it so on the chip.
    pub(super) fn filled(&self, text: &str) -> Zeroizing<String> {
        let width = self.width;
        Zeroizing::new(format!("{text:0>width$}"))
    }

    /// The number for which the counter gives this value; `None` if it never gives it.
    pub(super) fn number(&self, text: &str) -> Option<u64> {
        let filled = self.filled(text);
        filled.strip_prefix(&self.prefix).filter(|_| filled.len() == self.width)?.parse().ok()
    }
}

/// What a product's templates take from the input.
#[derive(Default)]
pub struct ColumnUse {
    /// The columns without which a card cannot be built.
    pub required: BTreeSet<Column>,
    /// Whether print or embossing need the cardholder's name.
    pub printed_name: bool,
    /// The narrowest medium for the text of a column.
    pub limits: BTreeMap<Column, TextLimit>,
}

impl InputSchema {
    /// Reads the tables of a product with these own fields. Call [`Self::used`] for what its templates take.
    pub fn new(tables: &PrepTables, own: &[OwnField]) -> Result<Self, String> {
        let known = COLUMNS.iter().map(|d| d.column).chain(own.iter().map(|own| Column::Own(*own)));
        let column = |column: Column| {
            let renamed = tables.columns.get(column.name()).cloned();
            SchemaColumn {
                column,
                name: renamed.unwrap_or_else(|| column.name().to_owned()),
                required: false,
            }
        };
        let mut schema = Self {
            format: SourceFormat::new(&tables.input).map_err(|what| format!("input: {what}"))?,
            transliterate: tables.transliterate,
            columns: known.map(column).collect(),
            ..Self::default()
        };
        for (name, renamed) in &tables.columns {
            schema.own_name(name).map_err(|what| format!("columns: {what}"))?;
            let good = (1..=40).contains(&renamed.chars().count()) && renamed.chars().all(columns::printable);
            let twice = schema.columns.iter().filter(|known| known.name == *renamed).count() > 1;
            if !good || twice {
                let rule = "a name is 1 to 40 printable characters, and no column's own";
                return Err(format!("columns: {name} = {renamed:?}: {rule}"));
            }
        }
        for name in &tables.required {
            let column = schema.own_name(name).map_err(|what| format!("required: {what}"))?;
            schema.require(column);
        }
        schema.defaults = schema.defaults_of(tables)?;
        schema.counter = schema.counter_of(tables).map_err(|what| format!("counter: {what}"))?;
        Ok(schema)
    }

    /// The column with this name in profiles.
    fn own_name(&self, name: &str) -> Result<Column, String> {
        let found = self.columns.iter().find(|known| known.column.name() == name);
        found.map(|known| known.column).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|known| known.column.name()).collect();
            format!("no column {name:?}; there are {}", names.join(", "))
        })
    }

    fn defaults_of(&self, tables: &PrepTables) -> Result<Defaults, String> {
        let own = tables.fields.iter().filter_map(|(name, table)| Some((name, table.default.as_ref()?)));
        let mut defaults = Defaults::new();
        for (name, value) in tables.defaults.iter().chain(own) {
            let column = self.own_name(name).ok().filter(|column| column.may_have_default());
            let Some(column) = column else {
                let others = self.columns.iter().map(|known| known.column);
                let others: Vec<_> = others.filter(|column| column.may_have_default()).collect();
                let others: Vec<_> = others.iter().map(Column::name).collect();
                return Err(format!(
                    "defaults: {name:?} is no column that can have one value for all cards; these can: {}",
                    others.join(", ")
                ));
            };
            let check = if value.is_empty() { Err("is empty".into()) } else { columns::check(column, value) };
            check.map_err(|what| format!("defaults: {name} = {value:?} {what}"))?;
            if defaults.insert(column, value.clone()).is_some() {
                return Err(format!("defaults: {name} has two"));
            }
        }
        Ok(defaults)
    }

    fn counter_of(&self, tables: &PrepTables) -> Result<Option<CountedColumn>, String> {
        let Some(table) = &tables.counter else { return Ok(None) };
        let column = self.own_name(&table.column)?;
        let width = match column {
            Column::PurseId => Some(PURSE_ID),
            Column::Own(own) => own.digits(),
            _ => None,
        };
        let width = width.ok_or("column is purse_id or an own field of form digits or bcd")?;
        let prefix = table.prefix.clone();
        if prefix.len() >= width || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("prefix is digits, fewer than the {width} of the column"));
        }
        if self.defaults.contains_key(&column) {
            return Err("column has a default already".into());
        }
        Ok(Some(CountedColumn { column, prefix, width }))
    }

    fn require(&mut self, column: Column) {
        if let Some(known) = self.columns.iter_mut().find(|known| known.column == column) {
            known.required = true;
        }
    }

    /// Adds what the product's templates take.
    pub fn used(&mut self, by_templates: ColumnUse) {
        let own = self.columns.iter().map(|known| known.column);
        let own: Vec<_> =
            own.filter(|column| matches!(column, Column::Own(own) if own.is_required())).collect();
        let needed = by_templates.required.into_iter().chain(own).chain([Column::CardRef]);
        needed.for_each(|column| self.require(column));
        self.needs_printed_name = by_templates.printed_name;
        self.limits = by_templates.limits;
    }

    /// The product's own fields.
    pub fn own_fields(&self) -> impl Iterator<Item = OwnField> {
        self.columns.iter().filter_map(|known| match known.column {
            Column::Own(own) => Some(own),
            _ => None,
        })
    }

    /// Every column, in the order of the documentation.
    pub(super) fn columns(&self) -> &[SchemaColumn] {
        &self.columns
    }

    /// The column with this name in the files.
    pub fn by_name(&self, name: &str) -> Option<Column> {
        self.columns.iter().find(|known| known.name == name).map(|known| known.column)
    }

    /// The name of a column in the files.
    pub fn name(&self, column: Column) -> &str {
        self.columns.iter().find(|known| known.column == column).map_or("", |known| &known.name)
    }

    /// The narrowest medium to which the text of a column goes; `None` if all of them take everything.
    pub fn limit(&self, column: Column) -> Option<TextLimit> {
        self.limits.get(&column).copied()
    }

    /// The names of the columns that a card must have, and that neither a source with the columns `found` nor the product
    /// has.
    pub fn missing(&self, found: &[Column]) -> Vec<&str> {
        let counted = self.counter.as_ref().map(|counter| counter.column);
        let has = |column: Column| {
            found.contains(&column) || self.defaults.contains_key(&column) || counted == Some(column)
        };
        let missing = self.columns.iter().filter(|known| known.required && !has(known.column));
        let of_name = self.columns.iter().any(|known| known.column == Column::Name && known.required);
        let printed = self.needs_printed_name && !of_name && !has(Column::Name) && !has(Column::NamePrinted);
        let printed = printed.then(|| self.name(Column::NamePrinted)).into_iter();
        missing.map(|known| known.name.as_str()).chain(printed).collect()
    }
}
