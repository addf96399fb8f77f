//! The recipient of a key store: files for its owner are sealed to the public key, and only this HSM has the private one.
//!
//! One file in the key store (`companion`), `recipient`, made when the recipient is asked for first:
//!
//! ```text
//! cardwright X25519 recipient 1
//! AGE-SECRET-KEY-1...                   X25519, as the `age` format writes it
//! ```
//!
//! The key is never replaced: files may be on their way. Not here: the envelope (`record::envelope`).

use std::io::Read;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use age_core::format::Stanza;
use zeroize::Zeroizing;

use super::companion::{CompanionFile, CompanionKind, CompanionSeal};
use super::{FileReceiver, HsmError, WipedBytes};
use crate::record::FileError;
use crate::record::envelope::{DeliveredFile, RECIPIENTS_MAX, WrappedFileKey, X25519};

const FIRST: &str = "cardwright X25519 recipient 1";
/// Room for the lines, so that growing leaves no copy of the key behind.
const ROOM: usize = 256;

/// Opens an issuer's file as it came, bare or sealed. Without an HSM a sealed one is refused.
pub fn open_delivered<R: Read, K: FileReceiver + ?Sized>(
    input: R,
    keys: Option<&mut K>,
) -> Result<DeliveredFile<R>, FileError> {
    match keys {
        Some(keys) => DeliveredFile::open(input, Some(&mut |wrapped| Ok(keys.unwrap_file_key(wrapped)?))),
        None => DeliveredFile::open(input, None),
    }
}

/// The recipient of a store.
pub(super) struct RecipientKey(CompanionFile);

impl RecipientKey {
    /// The recipient of the store with this seal.
    pub(super) fn of(seal: &Arc<CompanionSeal>) -> Self {
        Self(CompanionFile::in_store(seal, CompanionKind::Recipient))
    }

    /// The recipient as others write it (`age1...`); `None` if it was not asked for yet.
    pub(super) fn public(&self) -> Result<Option<String>, HsmError> {
        Ok(self.known()?.map(|key| key.to_public().to_string()))
    }

    /// Draws a key. Returns the recipient, and the text to keep.
    pub(super) fn draw() -> (String, Zeroizing<String>) {
        let key = Identity::generate();
        let mut text = Zeroizing::new(String::with_capacity(ROOM));
        for part in [FIRST, "\n", key.to_string().expose_secret(), "\n"] {
            text.push_str(part);
        }
        (key.to_public().to_string(), text)
    }

    /// Keeps the key that was drawn for a store that has none.
    pub(super) fn keep(&self, text: Zeroizing<String>) -> Result<(), HsmError> {
        let _lock = self.0.lock()?;
        self.0.write(text)
    }

    /// See [`super::FileReceiver::unwrap_file_key`].
    pub(super) fn unwrap(&self, wrapped: &[WrappedFileKey]) -> Result<WipedBytes, HsmError> {
        let Some(key) = self.known()? else { return Err(HsmError::NoRecipient) };
        if wrapped.len() > RECIPIENTS_MAX {
            return Err(HsmError::WrappedFileKey);
        }
        for WrappedFileKey { arguments, body } in wrapped {
            let stanza = Stanza { tag: X25519.to_owned(), args: arguments.clone(), body: body.clone() };
            match age::Identity::unwrap_stanza(&key, &stanza) {
                Some(Ok(file_key)) => return Ok(WipedBytes::from(file_key.expose_secret().as_slice())),
                // Another recipient's.
                None => {}
                Some(Err(_)) => return Err(HsmError::WrappedFileKey),
            }
        }
        Err(HsmError::OtherRecipient(key.to_public().to_string()))
    }

    fn known(&self) -> Result<Option<Identity>, HsmError> {
        let Some(text) = self.0.read()? else { return Ok(None) };
        let mut lines = text.lines();
        let key = match (lines.next(), lines.next(), lines.next()) {
            (Some(FIRST), Some(key), None) => key.parse().ok(),
            _ => None,
        };
        key.map(Some).ok_or_else(|| self.0.damaged())
    }
}

#[cfg(test)]
mod tests {
    use age_core::format::FileKey;

    use super::*;
    use crate::hsm::companion::tests::seal;

    const FILE_KEY: [u8; 16] = [7; 16];

    /// A file key, wrapped to a recipient as `age` does it.
    fn wrapped(recipient: &str) -> WrappedFileKey {
        let recipient: age::x25519::Recipient = recipient.parse().unwrap();
        let key = FileKey::init_with_mut(|place| *place = FILE_KEY);
        let stanza = age::Recipient::wrap_file_key(&recipient, &key).unwrap().0.remove(0);
        assert_eq!(stanza.tag, X25519);
        WrappedFileKey { arguments: stanza.args, body: stanza.body }
    }

    #[test]
    fn it_unwraps_what_is_its_own_among_others_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let store = RecipientKey::of(&seal(folder.path(), 1));
        assert_eq!(store.unwrap(&[]).err(), Some(HsmError::NoRecipient));
        assert_eq!(store.public().unwrap(), None);
        let ((own, text), (other, _)) = (RecipientKey::draw(), RecipientKey::draw());
        store.keep(text).unwrap();
        assert_eq!(store.public().unwrap(), Some(own.clone()));
        let keys = [wrapped(&other), wrapped(&own)];
        assert_eq!(store.unwrap(&keys).unwrap().as_slice(), FILE_KEY);
        assert_eq!(store.unwrap(&keys[..1]).err(), Some(HsmError::OtherRecipient(own.clone())));
        assert_eq!(store.unwrap(&[]).err(), Some(HsmError::OtherRecipient(own)));
    }

    #[test]
    fn malformed_and_too_many_file_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let key = RecipientKey::of(&seal(folder.path(), 1));
        let (public, text) = RecipientKey::draw();
        key.keep(text).unwrap();
        let good = wrapped(&public);
        let with = |change: fn(&mut WrappedFileKey)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed
        };
        for wrong in [
            with(|wrapped| wrapped.arguments.clear()),
            with(|wrapped| wrapped.arguments.push("a".into())),
            with(|wrapped| wrapped.arguments[0].push('A')),
            with(|wrapped| wrapped.arguments[0] = "*".repeat(43)),
            // The share of a low order: the agreed key would be known to everybody.
            with(|wrapped| wrapped.arguments[0] = "A".repeat(43)),
            with(|wrapped| wrapped.body.push(0)),
            with(|wrapped| wrapped.body.clear()),
        ] {
            assert_eq!(
                key.unwrap(std::slice::from_ref(&wrong)).err(),
                Some(HsmError::WrappedFileKey),
                "{wrong:?}"
            );
        }
        let changed = with(|wrapped| wrapped.body[0] ^= 1);
        assert!(matches!(key.unwrap(&[changed]), Err(HsmError::OtherRecipient(_))));
        let many = vec![good; RECIPIENTS_MAX + 1];
        assert_eq!(key.unwrap(&many).err(), Some(HsmError::WrappedFileKey));
    }
}
