//! The PIN of a token, which the program that starts a host gives to it on its standard input. It stays in locked pages: after a
//! restart of the token the host logs in again.

use std::io::{Read, Write};

use zeroize::Zeroizing;

use crate::hardening::LockedBox;

/// Most bytes of a PIN.
const MOST: usize = 64;

/// A PIN. Shows nothing of itself.
pub struct TokenPin {
    bytes: LockedBox<[u8; MOST]>,
    length: usize,
}

impl TokenPin {
    /// `None` if it is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = LockedBox::zeros();
        bytes.get_mut(..text.len()).filter(|_| !text.is_empty())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: text.len() })
    }

    /// Gives it to a host.
    pub fn give(&self, host: &mut impl Write) -> std::io::Result<()> {
        let length = u8::try_from(self.length).unwrap_or(u8::MAX);
        host.write_all(&[length])?;
        host.write_all(self.text().as_bytes())?;
        host.flush()
    }

    /// Takes it from the program that started this host.
    pub fn take(parent: &mut impl Read) -> std::io::Result<Self> {
        let mut length = [0; 1];
        parent.read_exact(&mut length)?;
        let mut text = Zeroizing::new(vec![0; length[0].into()]);
        parent.read_exact(&mut text)?;
        let pin = std::str::from_utf8(&text).ok().and_then(Self::new);
        pin.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
    }

    /// The PIN, to log in.
    pub(super) fn text(&self) -> &str {
        // Made of a text.
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}
