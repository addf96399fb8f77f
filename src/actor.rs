//! Who decided something: the line itself, one person, or two people where the line profile asks for two.
//!
//! Not here: who may decide what (`daemon::policy`).

use std::fmt;

/// Names in the ledger that mean no person: the line, and a signal to the daemon.
pub const NOT_PEOPLE: [&str; 2] = ["line", "signal"];

/// Who decided. Its text is the names in the order in which they asked: `anna, ben`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The person whose request was carried out, or `line`.
    pub name: String,
    /// The first of two people, who asked for that before.
    pub first: Option<String>,
}

impl Actor {
    /// The line, which decides about cards by itself.
    pub fn line() -> Self {
        "line".into()
    }
}

impl From<&str> for Actor {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), first: None }
    }
}

impl From<&Self> for Actor {
    fn from(actor: &Self) -> Self {
        actor.clone()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first {
            Some(first) => write!(f, "{first}, {}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
