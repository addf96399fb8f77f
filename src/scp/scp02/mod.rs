//! SCP02 with explicit initiation, three keys, C-MAC on the modified APDU and ICV encryption: "i" = 15 and 55
//! (GPCS 2.3.1 Annex E). Levels 00, 01, 03.
//!
//! The states are those of `channel`: `Scp02Pending`, `Scp02Verified`, `Scp02Session`. For i = 55 the card challenge is pseudo-random;
//! that it is what the AID gives (GPCS E.4.2.3) is not checked, because the card cryptogram proves the card already.
//! R-MAC is not supported. The session's keys are in `keys`.

mod keys;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use self::keys::Scp02Keys;
use super::answer::{AnswerLayout, InitializeUpdateAnswer};
use super::challenge::HostChallenge;
use super::channel::{
    ChannelOpenError, ChannelProtocol, CommandHeader, CommandTooLong, PendingProtocol, SecretFault,
    SessionProtocol, VerifiedProtocol, WrapFault, WrongCryptogram,
};
use super::derive::CardStaticKeys;
use super::level::SecLevel;
use super::token_keys::TokenKeyFault;
use crate::crypto::KeyType;

/// Most bytes of a command's data field in a short APDU.
const SHORT_DATA: usize = 255;
/// Bytes of a C-MAC.
const MAC: usize = 8;
/// Block of TDES in bytes.
const BLOCK: usize = 8;

/// The protocol's line in the table of protocols.
pub(super) struct Scp02;

impl ChannelProtocol for Scp02 {
    fn number(&self) -> u8 {
        0x02
    }

    fn parameters(&self) -> &'static [u8] {
        &[0x15, 0x55]
    }

    fn levels(&self, _: u8) -> &'static [SecLevel] {
        &[SecLevel::Authenticated, SecLevel::Mac, SecLevel::MacEnc]
    }

    fn block(&self) -> u8 {
        8
    }

    fn takes(&self, kmc: KeyType) -> bool {
        kmc == KeyType::Tdes2
    }

    fn challenge_length(&self, _: u8) -> usize {
        8
    }

    /// GPCS Table E-8: 28 bytes.
    fn layout(&self, _: u8) -> AnswerLayout {
        AnswerLayout { parameter: 0, counter_before: 2, challenge: 6, cryptogram: 8, counter_after: 0 }
    }

    /// 255, 247, 239.
    fn room(&self, level: SecLevel) -> usize {
        match (level.has_command_mac(), level.has_command_encryption()) {
            // 240 padded bytes and the C-MAC are 248; one block more would be 256.
            (true, true) => 239,
            (true, false) => SHORT_DATA - MAC,
            (false, _) => SHORT_DATA,
        }
    }

    fn open(
        &self,
        keys: &CardStaticKeys,
        answer: &InitializeUpdateAnswer,
        challenge: &HostChallenge,
    ) -> Result<Box<dyn PendingProtocol>, ChannelOpenError> {
        let pending = Scp02Pending::new(keys, answer, challenge)?;
        Ok(Box::new(pending))
    }
}

/// The card has answered; whether it is genuine is not known yet.
struct Scp02Pending {
    keys: Scp02Keys,
    card: [u8; 8],
    host: [u8; 8],
    received: Vec<u8>,
}

impl Scp02Pending {
    /// Scp02Session keys and both cryptograms for an answer to INITIALIZE UPDATE with `challenge` (RTERM).
    fn new(
        keys: &CardStaticKeys,
        answer: &InitializeUpdateAnswer,
        challenge: &HostChallenge,
    ) -> Result<Self, ChannelOpenError> {
        let challenge: [u8; 8] =
            challenge.as_bytes().try_into().map_err(|_| ChannelOpenError::ChallengeLength)?;
        // The layout makes them 2 and 6 bytes.
        let sequence = <[u8; 2]>::try_from(answer.counter.as_slice()).unwrap_or_default();
        let [c0, c1, c2, c3, c4, c5] = <[u8; 6]>::try_from(answer.challenge.as_slice()).unwrap_or_default();
        let keys = Scp02Keys::derive(keys, sequence)?;
        let [s0, s1] = sequence;
        let card_side = [s0, s1, c0, c1, c2, c3, c4, c5];
        Ok(Self {
            card: keys.cryptogram(challenge, card_side)?,
            host: keys.cryptogram(card_side, challenge)?,
            keys,
            received: answer.cryptogram.clone(),
        })
    }
}

impl PendingProtocol for Scp02Pending {
    fn verify(self: Box<Self>) -> Result<Box<dyn VerifiedProtocol>, WrongCryptogram> {
        if bool::from(self.card.ct_eq(&self.received)) {
            Ok(Box::new(Scp02Verified { keys: self.keys, host: self.host }))
        } else {
            Err(WrongCryptogram)
        }
    }
}

/// Proof that the card knows its keys.
struct Scp02Verified {
    keys: Scp02Keys,
    host: [u8; 8],
}

impl VerifiedProtocol for Scp02Verified {
    /// The C-MAC of EXTERNAL AUTHENTICATE starts from a zero ICV and is there whatever the level.
    fn authenticate(
        self: Box<Self>,
        level: SecLevel,
    ) -> Result<(Box<dyn SessionProtocol>, Vec<u8>), TokenKeyFault> {
        let [h0, h1, h2, h3, h4, h5, h6, h7] = self.host;
        let mut apdu = vec![0x84, 0x82, level.byte(), 0x00, 0x10, h0, h1, h2, h3, h4, h5, h6, h7];
        let mac = self.keys.mac(&[0; 8], &apdu)?;
        apdu.extend_from_slice(&mac);
        Ok((Box::new(Scp02Session { keys: self.keys, level, last_mac: mac }), apdu))
    }
}

/// An authenticated channel. Its C-MACs are chained, so commands go to the card in the order of wrapping.
struct Scp02Session {
    keys: Scp02Keys,
    level: SecLevel,
    last_mac: [u8; 8],
}

impl SessionProtocol for Scp02Session {
    /// CLA 80 and plain at level 00; CLA 84 with C-MAC at 01; encrypted too at 03.
    fn wrap(&mut self, [ins, p1, p2]: CommandHeader, data: &[u8]) -> Result<Vec<u8>, WrapFault> {
        if data.len() > Scp02.room(self.level) {
            return Err(CommandTooLong(data.len()).into());
        }
        let body = self.body_length(data.len());
        let lc = u8::try_from(body).map_err(|_| CommandTooLong(data.len()))?;
        if !self.level.has_command_mac() {
            return Ok([&[0x80, ins, p1, p2, lc], data].concat());
        }
        // The C-MAC is over the plain data with the Lc of data and C-MAC, also at level 03 (GPCS E.4.4, E.4.6).
        let plain_lc = u8::try_from(data.len() + MAC).map_err(|_| CommandTooLong(data.len()))?;
        let mut maced = Zeroizing::new(Vec::with_capacity(5 + data.len()));
        maced.extend_from_slice(&[0x84, ins, p1, p2, plain_lc]);
        maced.extend_from_slice(data);
        let mut icv = self.last_mac;
        self.keys.encrypt_icv(&mut icv)?;
        let mac = self.keys.mac(&icv, &maced)?;
        self.last_mac = mac;

        let mut apdu = Vec::with_capacity(5 + body);
        apdu.extend_from_slice(&[0x84, ins, p1, p2, lc]);
        apdu.extend_from_slice(data);
        if self.level.has_command_encryption() && !data.is_empty() {
            apdu.push(0x80);
            apdu.resize(5 + body - MAC, 0);
            if let Some(encrypted) = apdu.get_mut(5..) {
                // Padded to whole blocks just before.
                self.keys.encrypt(encrypted)?;
            }
        }
        apdu.extend_from_slice(&mac);
        Ok(apdu)
    }

    fn encrypt_secret(&self, data: &mut [u8]) -> Result<(), SecretFault> {
        self.keys.encrypt_secret(data)
    }
}

impl Scp02Session {
    /// Bytes of the wrapped data field.
    fn body_length(&self, data: usize) -> usize {
        if !self.level.has_command_mac() {
            data
        } else if self.level.has_command_encryption() && data > 0 {
            (data / BLOCK + 1) * BLOCK + MAC
        } else {
            data + MAC
        }
    }
}

impl Drop for Scp02Session {
    fn drop(&mut self) {
        self.last_mac.zeroize();
    }
}

#[cfg(test)]
mod tests;
