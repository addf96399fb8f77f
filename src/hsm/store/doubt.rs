//! Doubts about the value of a key: weak keys, and keys that everybody knows.
//!
//! A doubt is shown when a key is listed; it refuses nothing by itself, because TEST keys are often such keys. Not
//! here: check values (`rules`). NIST SP 800-67 rev. 2, 3.3.2 (weak keys of DES).

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

/// Returns the first doubt about a value as a store keeps it: TDES with odd parity, which hides whether it was typed with
/// another.
pub(super) fn about(key_type: KeyType, value: &[u8]) -> Option<KeyDoubt> {
    let tdes = key_type == KeyType::Tdes2;
    let kept = |bytes: &mut Zeroizing<Vec<u8>>| {
        if tdes {
            set_odd_parity(bytes);
        }
    };
    if WELL_KNOWN.iter().any(|known| {
        let mut known = Zeroizing::new(known.to_vec());
        kept(&mut known);
        value.starts_with(&known)
    }) {
        return Some(KeyDoubt::WellKnown);
    }
    // As typed, the first byte had this parity or the other.
    let first = *value.first()?;
    let goes_by = |step: u8| {
        [first, first ^ u8::from(tdes)].into_iter().any(|first| {
            let steps = std::iter::successors(Some(first), |byte| Some(byte.wrapping_add(step)));
            let mut run = Zeroizing::new(steps.take(value.len()).collect::<Vec<u8>>());
            kept(&mut run);
            *run == value
        })
    };
    if goes_by(1) || goes_by(u8::MAX) {
        return Some(KeyDoubt::Counting);
    }
    if goes_by(0) {
        return Some(KeyDoubt::EqualBytes);
    }
    let (left, right) = value.split_at_checked(8).filter(|_| tdes)?;
    if left == right {
        return Some(KeyDoubt::EqualHalves);
    }
    let weak = |half: &[u8]| half.try_into().is_ok_and(|half: [u8; 8]| des::weak_key_test(&half).is_err());
    (weak(left) || weak(right)).then_some(KeyDoubt::WeakHalf)
}
