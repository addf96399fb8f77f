//! What the token of a store did when a line used it last, for papers that are made without the token.
//!
//! One file in the key store (`companion`), `token`, written when a line opens its token:
//!
//! ```text
//! PKCS#11 token 1
//! LABEL
//! inside STEP                           each step that the token does
//! host STEP                             each step that the memory of the host sees
//! ```

use std::sync::Arc;

use zeroize::Zeroizing;

use super::companion::{CompanionFile, CompanionKind, CompanionSeal};
use super::{HsmError, TokenPart};

const FIRST: &str = "PKCS#11 token 1";

/// The note of a store.
pub(super) struct TokenNote(CompanionFile);

impl TokenNote {
    /// The note of the store with this seal.
    pub(super) fn of(seal: &Arc<CompanionSeal>) -> Self {
        Self(CompanionFile::in_store(seal, CompanionKind::Token))
    }

    /// Keeps what a token does, unless it is known.
    pub(super) fn keep(&self, part: &TokenPart) -> Result<(), HsmError> {
        let _lock = self.0.lock()?;
        // One that is damaged is replaced: nothing depends on it.
        if self.read().ok().flatten().as_ref() == Some(part) {
            return Ok(());
        }
        let mut text = format!("{FIRST}\n{}\n", part.token);
        for (word, steps) in [("inside", &part.inside), ("host", &part.on_host)] {
            for step in steps {
                text.extend([word, " ", step, "\n"]);
            }
        }
        self.0.write(Zeroizing::new(text))
    }

    /// What the token did; `None` if no line has used one.
    pub(super) fn read(&self) -> Result<Option<TokenPart>, HsmError> {
        let Some(text) = self.0.read()? else { return Ok(None) };
        let mut lines = text.lines();
        let head = (lines.next(), lines.next());
        let (Some(FIRST), Some(token)) = head else { return Err(self.0.damaged()) };
        let mut part = TokenPart { token: token.to_owned(), inside: Vec::new(), on_host: Vec::new() };
        for line in lines {
            match line.split_once(' ') {
                Some(("inside", step)) => part.inside.push(step.to_owned()),
                Some(("host", step)) => part.on_host.push(step.to_owned()),
                _ => return Err(self.0.damaged()),
            }
        }
        Ok(Some(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::companion::tests::seal;

    #[test]
    fn the_last_note_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let note = TokenNote::of(&seal(folder.path(), 1));
        assert_eq!(note.read().unwrap(), None);
        let part = |on_host: &[&str]| TokenPart {
            token: "a token".into(),
            inside: vec!["session keys".into()],
            on_host: on_host.iter().map(|step| (*step).to_owned()).collect(),
        };
        for kept in [part(&["C-MAC", "MAC of a file"]), part(&[])] {
            note.keep(&kept).unwrap();
            assert_eq!(note.read().unwrap(), Some(kept));
        }
    }
}
