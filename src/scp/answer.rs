//! The answer to INITIALIZE UPDATE, for all protocols: parsed here and nowhere else.
//!
//! ```text
//! KEYDATA 10 | key version | protocol | [i] | [counter] | card challenge | card cryptogram | [counter]
//! ```
//!
//! The protocol decides which of the bracketed fields exist and how long the others are ([`AnswerLayout`]): GPCS Annex E
//! (Table E-8) for SCP02, Annex D for SCP01, Amendment D for SCP03.

use crate::ids::{KeyData, KmcRef};

/// Bytes before the fields that differ: KEYDATA, key version, protocol identifier.
const COMMON: usize = 12;

/// How a protocol lays out its answer.
pub(super) struct AnswerLayout {
    /// Bytes of "i" after the protocol identifier: 0 or 1.
    pub(super) parameter: usize,
    /// Bytes of the sequence counter before the card challenge.
    pub(super) counter_before: usize,
    /// Bytes of the card challenge.
    pub(super) challenge: usize,
    /// Bytes of the card cryptogram.
    pub(super) cryptogram: usize,
    /// Bytes of the sequence counter after the card cryptogram.
    pub(super) counter_after: usize,
}

impl AnswerLayout {
    /// Bytes of the whole answer, without status word.
    fn length(&self) -> usize {
        COMMON + self.parameter + self.counter_before + self.challenge + self.cryptogram + self.counter_after
    }
}

/// A card's answer to INITIALIZE UPDATE. Nothing of it is proved before [`super::PendingChannel::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitializeUpdateAnswer {
    /// Bytes 0-9: KMC_ID (6), CSN (4).
    pub key_data: KeyData,
    /// Byte 10: key version number.
    pub key_version: u8,
    /// Byte 11: secure channel protocol identifier.
    pub protocol: u8,
    /// "i", where the protocol puts it into the answer.
    pub parameter: Option<u8>,
    /// Sequence counter; empty where the answer has none.
    pub(super) counter: Vec<u8>,
    /// Card challenge.
    pub(super) challenge: Vec<u8>,
    /// Card cryptogram.
    pub(super) cryptogram: Vec<u8>,
}

/// Why an answer to INITIALIZE UPDATE does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Too short or too long for the protocol.
    #[error("{found} bytes instead of {wanted}")]
    Length {
        /// Bytes that came.
        found: usize,
        /// Bytes that the protocol has.
        wanted: usize,
    },
    /// Another protocol than the product's.
    #[error("secure channel protocol {found:02X} instead of {wanted:02X}")]
    Protocol {
        /// Byte 11.
        found: u8,
        /// The product's.
        wanted: u8,
    },
    /// Another "i" than the product's, where the answer says it.
    #[error("secure channel parameter i = {found:02X} instead of {wanted:02X}")]
    Parameter {
        /// In the answer.
        found: u8,
        /// The product's.
        wanted: u8,
    },
    /// Another key version than the one asked for.
    #[error("key version {found} instead of {wanted}")]
    KeyVersion {
        /// Byte 10.
        found: u8,
        /// The product's.
        wanted: u8,
    },
}

impl InitializeUpdateAnswer {
    /// Takes the fields of `answer`, without status word, apart.
    pub(super) fn parse(answer: &[u8], layout: &AnswerLayout, protocol: u8) -> Result<Self, AnswerError> {
        let length = AnswerError::Length { found: answer.len(), wanted: layout.length() };
        if answer.len() != layout.length() {
            return Err(length);
        }
        let (key_data, rest) = answer.split_first_chunk::<10>().ok_or(length)?;
        let ([key_version, found], mut rest) = rest.split_first_chunk::<2>().ok_or(length)?;
        if *found != protocol {
            return Err(AnswerError::Protocol { found: *found, wanted: protocol });
        }
        let mut field = |bytes: usize| {
            let (field, after) = rest.split_at_checked(bytes).ok_or(length)?;
            rest = after;
            Ok(field.to_vec())
        };
        let parameter = field(layout.parameter)?.first().copied();
        let before = field(layout.counter_before)?;
        let challenge = field(layout.challenge)?;
        let cryptogram = field(layout.cryptogram)?;
        let after = field(layout.counter_after)?;
        Ok(Self {
            key_data: KeyData(*key_data),
            key_version: *key_version,
            protocol,
            parameter,
            counter: if before.is_empty() { after } else { before },
            challenge,
            cryptogram,
        })
    }

    /// The supplier's key from which the card's keys come.
    pub fn kmc(&self) -> KmcRef {
        KmcRef { id: self.key_data.kmc_id(), version: self.key_version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SCP03 with a pseudo-random challenge: the layout that differs most from the one in use.
    const WITH_ALL_FIELDS: AnswerLayout =
        AnswerLayout { parameter: 1, counter_before: 0, challenge: 8, cryptogram: 8, counter_after: 3 };

    #[test]
    fn every_field_is_taken_from_its_place() {
        let bytes: Vec<u8> = (0..11).chain([3]).chain(12..32).collect();
        let answer = InitializeUpdateAnswer::parse(&bytes, &WITH_ALL_FIELDS, 3).unwrap();
        assert_eq!(answer.key_data.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!((answer.key_version, answer.protocol, answer.parameter), (10, 3, Some(12)));
        assert_eq!(answer.challenge, (13..21).collect::<Vec<u8>>());
        assert_eq!(answer.cryptogram, (21..29).collect::<Vec<u8>>());
        assert_eq!(answer.counter, [29, 30, 31]);
        assert_eq!(answer.kmc().version, 10);
    }

    #[test]
    fn another_length_is_refused_before_another_protocol() {
        for length in [0, 11, 12, 31, 33] {
            let error = InitializeUpdateAnswer::parse(&vec![0; length], &WITH_ALL_FIELDS, 3);
            assert_eq!(error, Err(AnswerError::Length { found: length, wanted: 32 }));
        }
        let error = InitializeUpdateAnswer::parse(&[0; 32], &WITH_ALL_FIELDS, 3);
        assert_eq!(error, Err(AnswerError::Protocol { found: 0, wanted: 3 }));
    }
}
