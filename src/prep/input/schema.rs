//! What a product expects of its input: the columns with their names in the file, which of them a card must have, and
//! values for those that a file leaves out.
//!
//! Not here: the shape of values (`columns`), how the product's tables are read (`plan`).

use std::collections::{BTreeMap, BTreeSet};

use crate::prep::columns::{COLUMNS, Column};

/// Values of the product profile for columns that a file does not have or leaves empty.
pub type Defaults = BTreeMap<Column, String>;

/// The columns of a product's input.
pub struct InputSchema {
    columns: Vec<SchemaColumn>,
    /// Values for columns that the input leaves empty.
    pub defaults: Defaults,
}

/// A column as the product's files have it.
pub(super) struct SchemaColumn {
    pub column: Column,
    /// Name in the header.
    pub name: String,
    /// Whether every card must have a value.
    pub required: bool,
}

impl InputSchema {
    /// The schema of a product whose cards need these columns.
    pub fn new(required: &BTreeSet<Column>, defaults: Defaults) -> Self {
        let known = COLUMNS.iter().map(|d| SchemaColumn {
            column: d.column,
            name: d.name.to_owned(),
            required: required.contains(&d.column),
        });
        Self { columns: known.collect(), defaults }
    }

    /// Every column, in the order of the documentation.
    pub(super) fn columns(&self) -> &[SchemaColumn] {
        &self.columns
    }

    /// The column with this name in the header.
    pub fn by_name(&self, name: &str) -> Option<Column> {
        self.columns.iter().find(|known| known.name == name).map(|known| known.column)
    }

    /// The name of a column in the header.
    pub fn name(&self, column: Column) -> &str {
        self.columns.iter().find(|known| known.column == column).map_or("", |known| &known.name)
    }

    /// The names of the columns that a card must have and that no source has.
    pub fn missing(&self, found: &[Column]) -> Vec<&str> {
        let missing = self.columns.iter().filter(|known| known.required && !found.contains(&known.column));
        missing.map(|known| known.name.as_str()).collect()
    }
}
