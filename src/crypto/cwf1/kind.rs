//! Whether an output file is finished, which its first bytes state and every key and MAC under its KEK depends on.
//!
//! Not here: who takes which kind (`record`, `prep`). `src/manual/cwf1.md` section 8.

use serde::{Deserialize, Serialize};

/// The kind of a file. A value or a MAC of one kind means nothing in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// "CWF1": for a bureau.
    Finished,
    /// "CWFU": for another pass of the issuer's preparation.
    Unfinished,
}

impl FileKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Finished, Self::Unfinished];

    /// The first bytes of the Header, of what is hashed for a TK, and of what a MAC covers.
    pub fn magic(self) -> &'static [u8; 4] {
        match self {
            Self::Finished => b"CWF1",
            Self::Unfinished => b"CWFU",
        }
    }
}
