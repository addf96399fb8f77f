//! Lines of text with their SHA-256 in hex as the last line: it finds damage, not tampering. The note of a store's generation
//! (`folder`) and the files beside a store of version 1 (`upgrade`) have this form.

use sha2::{Digest, Sha256};

/// The lines with their digest.
pub(super) fn with_digest(lines: &str) -> String {
    format!("{lines}{}\n", hex::encode_upper(Sha256::digest(lines)))
}

/// The lines that the digest at the end covers, if it is right.
pub(super) fn covered(text: &str) -> Option<&str> {
    let (lines, digest) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let lines = text.get(..lines.len() + 1)?;
    (hex::encode_upper(Sha256::digest(lines)) == digest).then_some(lines)
}
