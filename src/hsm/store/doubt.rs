//! Doubts about the value of a key: weak keys, and keys that everybody knows.
//!
//! A doubt is shown when a key list is read; it refuses nothing by itself, because TEST keys are often such keys. Not
//! here: check values (`list`). NIST SP 800-67 rev. 2, 3.3.2 (weak keys of DES).

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::{KeyType, set_odd_parity};

/// Test keys that stand in standards and in manuals of cards.
const WELL_KNOWN: [[u8; 16]; 3] = [
    *b"@ABCDEFGHIJKLMNO", // 40 41 .. 4F, the first key of many GlobalPlatform cards
    [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10],
    [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF],
];

/// Why the value of a key is no secret, or protects less than its length promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDoubt {
    /// All bytes are equal, as in a key of zeros.
    EqualBytes,
    /// Each byte is one more, or one less, than the byte before.
    Counting,
    /// It stands in standards or in manuals of cards.
    WellKnown,
    /// TDES: both halves are equal, so that it is single DES.
    EqualHalves,
    /// TDES: a half is a weak or semi-weak key of DES.
    WeakHalf,
}

impl fmt::Display for KeyDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EqualBytes => "all its bytes are equal",
            Self::Counting => "its bytes count up or down",
            Self::WellKnown => "it is a test key that everybody knows",
            Self::EqualHalves => "its halves are equal: it is single DES",
            Self::WeakHalf => "a half of it is a weak key of DES",
        })
    }
}

/// Returns the first doubt about a value. Parity bits make no difference to a TDES key.
pub(super) fn about(key_type: KeyType, value: &[u8]) -> Option<KeyDoubt> {
    let mut value = Zeroizing::new(value.to_vec());
    let each_is =
        |step: u8| value.windows(2).all(|pair| matches!(pair, [a, b] if a.wrapping_add(step) == *b));
    if WELL_KNOWN.iter().any(|known| value.starts_with(known)) {
        return Some(KeyDoubt::WellKnown);
    }
    if each_is(1) || each_is(u8::MAX) {
        return Some(KeyDoubt::Counting);
    }
    if each_is(0) {
        return Some(KeyDoubt::EqualBytes);
    }
    if key_type != KeyType::Tdes2 {
        return None;
    }
    set_odd_parity(&mut value);
    if value.windows(2).all(|pair| matches!(pair, [a, b] if a == b)) {
        return Some(KeyDoubt::EqualBytes);
    }
    let (left, right) = value.split_at_checked(8)?;
    if left == right {
        return Some(KeyDoubt::EqualHalves);
    }
    let weak = |half: &[u8]| half.try_into().is_ok_and(|half: [u8; 8]| des::weak_key_test(&half).is_err());
    (weak(left) || weak(right)).then_some(KeyDoubt::WeakHalf)
}
