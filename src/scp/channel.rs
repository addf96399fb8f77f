//! The choice of a secure channel, its table of protocols, and the states of an open one.
//!
//! ```text
//! SecureChannel --open--> PendingChannel --verify--> VerifiedChannel --authenticate--> ChannelSession --wrap--> APDUs
//!                              |
//!                              +--> WrongCryptogram: the end; the card gets no second INITIALIZE UPDATE
//! ```
//!
//! A state is a struct and a transition consumes it: no host cryptogram exists before the card's was right. The structs
//! here serve every protocol: each holds the protocol's own state, a trait object.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::answer::{AnswerError, AnswerLayout, InitializeUpdateAnswer};
use super::challenge::HostChallenge;
use super::derive::{CardStaticKeys, KeyDerivation};
use super::level::SecLevel;
use super::scp02;
use super::token_keys::TokenKeyFault;
use crate::crypto::{CipherKey, KeyType};
use crate::ids::KmcRef;

/// Every protocol of this build: a new one adds its line.
const PROTOCOLS: [&dyn ChannelProtocol; 1] = [&scp02::Scp02];

/// Whether any protocol of this build has a level.
pub(super) fn is_offered(level: SecLevel) -> bool {
    PROTOCOLS.iter().any(|p| p.parameters().iter().any(|i| p.levels(*i).contains(&level)))
}

/// The differences between secure channel protocols. The parameter is "i".
pub(super) trait ChannelProtocol: Sync {
    /// Identifier in the answer to INITIALIZE UPDATE: 02 for SCP02.
    fn number(&self) -> u8;
    /// The values of "i" that this build speaks.
    fn parameters(&self) -> &'static [u8];
    /// The security levels of a session.
    fn levels(&self, parameter: u8) -> &'static [SecLevel];
    /// Block of the DEK's cipher in bytes.
    fn block(&self) -> u8;
    /// Whether a card's static keys may come from a KMC of this type.
    fn takes(&self, kmc: KeyType) -> bool;
    /// Bytes of the host challenge.
    fn challenge_length(&self, parameter: u8) -> usize;
    /// Fields of the answer to INITIALIZE UPDATE.
    fn layout(&self, parameter: u8) -> AnswerLayout;
    /// Most plain data bytes of one command that still fits a short APDU once wrapped.
    fn room(&self, level: SecLevel) -> usize;
    /// Session keys and both cryptograms.
    fn open(
        &self,
        keys: &CardStaticKeys,
        answer: &InitializeUpdateAnswer,
        challenge: &HostChallenge,
    ) -> Result<Box<dyn PendingProtocol>, ChannelOpenError>;
}

/// A protocol's state before its card is proved.
pub(super) trait PendingProtocol: Send {
    /// Compares the card's cryptogram in constant time.
    fn verify(self: Box<Self>) -> Result<Box<dyn VerifiedProtocol>, WrongCryptogram>;
}

/// A protocol's state once its card is proved.
pub(super) trait VerifiedProtocol: Send {
    /// EXTERNAL AUTHENTICATE and the session after it.
    fn authenticate(
        self: Box<Self>,
        level: SecLevel,
    ) -> Result<(Box<dyn SessionProtocol>, Vec<u8>), TokenKeyFault>;
}

/// A protocol's session.
pub(super) trait SessionProtocol: Send {
    /// The command APDU, without Le.
    fn wrap(&mut self, header: CommandHeader, data: &[u8]) -> Result<Vec<u8>, WrapFault>;
    /// Encrypts a secret under the session DEK, in place.
    fn encrypt_secret(&self, data: &mut [u8]) -> Result<(), SecretFault>;
}

/// The secure channel that a product asks for, as plain data: it may be one that this build does not speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecureChannelSpec {
    /// Protocol identifier: 02 for SCP02.
    pub protocol: u8,
    /// "i", the options of the protocol (GPCS Table E-1).
    pub parameter: u8,
    /// P1 of INITIALIZE UPDATE: the key version asked for; 00 is the card's default.
    pub key_version: u8,
}

/// A channel that this build does not speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SCP{:02X} with i = {:02X}", .0.protocol, .0.parameter)]
pub struct UnsupportedChannel(pub SecureChannelSpec);

/// A channel that this build speaks.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "ChannelTable")]
pub struct SecureChannel {
    protocol: &'static dyn ChannelProtocol,
    spec: SecureChannelSpec,
}

/// A channel as a product profile writes it: `{ scp = "02", i = "55" }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelTable {
    scp: String,
    i: String,
    #[serde(default)]
    key_version: u8,
}

impl TryFrom<ChannelTable> for SecureChannel {
    type Error = String;
    fn try_from(table: ChannelTable) -> Result<Self, String> {
        let byte = |name: &str, text: &str| match hex::decode(text).as_deref() {
            Ok([byte]) => Ok(*byte),
            _ => Err(format!("{name} is two hex digits, not {text:?}")),
        };
        let (protocol, parameter) = (byte("scp", &table.scp)?, byte("i", &table.i)?);
        let spec = SecureChannelSpec { protocol, parameter, key_version: table.key_version };
        Self::new(spec).map_err(|unsupported| {
            let spoken = PROTOCOLS.iter().flat_map(|p| p.parameters().iter().map(|i| (p.number(), *i)));
            let spoken: Vec<_> = spoken.map(|(scp, i)| format!("SCP{scp:02X} with i = {i:02X}")).collect();
            format!("{unsupported} is not supported; there are {}", spoken.join(", "))
        })
    }
}

impl SecureChannel {
    /// Whether cards of this KMC, whose key has this type, can open the channel: the derivation and the protocol take
    /// the type, and the key version is the one that the product asks for.
    pub fn can_use(&self, derivation: KeyDerivation, kmc: KmcRef, key_type: KeyType) -> bool {
        let version = self.spec.key_version;
        self.takes(derivation, key_type) && (version == 0 || version == kmc.version)
    }

    /// Whether the derivation and the protocol take a KMC of this type.
    pub fn takes(&self, derivation: KeyDerivation, key_type: KeyType) -> bool {
        derivation.takes(key_type) && self.protocol.takes(key_type)
    }

    /// Finds the protocol.
    pub fn new(spec: SecureChannelSpec) -> Result<Self, UnsupportedChannel> {
        PROTOCOLS
            .into_iter()
            .find(|p| p.number() == spec.protocol && p.parameters().contains(&spec.parameter))
            .map(|protocol| Self { protocol, spec })
            .ok_or(UnsupportedChannel(spec))
    }

    /// The choice as plain data, for the HSM.
    pub fn spec(&self) -> SecureChannelSpec {
        self.spec
    }

    /// Block of the card's DEK cipher in bytes: secrets for the card are whole blocks of it.
    pub fn block(&self) -> u8 {
        self.protocol.block()
    }

    /// Whether a session can have this level.
    pub fn has_level(&self, level: SecLevel) -> bool {
        self.protocol.levels(self.spec.parameter).contains(&level)
    }

    /// Most plain data bytes of one command at a level.
    pub fn room(&self, level: SecLevel) -> usize {
        self.protocol.room(level)
    }

    /// Bytes of the host challenge.
    pub fn challenge_length(&self) -> usize {
        self.protocol.challenge_length(self.spec.parameter)
    }

    /// INITIALIZE UPDATE with this challenge, with Le 00 (GPCS E.5.1).
    pub fn initialize_update(&self, challenge: &HostChallenge) -> Vec<u8> {
        let challenge = challenge.as_bytes();
        let length = u8::try_from(challenge.len()).unwrap_or(u8::MAX);
        [&[0x80, 0x50, self.spec.key_version, 0x00, length], challenge, &[0x00]].concat()
    }

    /// Parses the answer to [`Self::initialize_update`], without status word.
    pub fn read_answer(&self, answer: &[u8]) -> Result<InitializeUpdateAnswer, AnswerError> {
        let spec = self.spec;
        let layout = self.protocol.layout(spec.parameter);
        let answer = InitializeUpdateAnswer::parse(answer, &layout, spec.protocol)?;
        if let Some(found) = answer.parameter.filter(|found| *found != spec.parameter) {
            return Err(AnswerError::Parameter { found, wanted: spec.parameter });
        }
        if spec.key_version != 0 && answer.key_version != spec.key_version {
            return Err(AnswerError::KeyVersion { found: answer.key_version, wanted: spec.key_version });
        }
        Ok(answer)
    }

    /// Derives the card's keys from the KMC, then session keys and both cryptograms.
    pub fn open(
        &self,
        derivation: KeyDerivation,
        kmc: &CipherKey,
        answer: &InitializeUpdateAnswer,
        challenge: &HostChallenge,
    ) -> Result<PendingChannel, ChannelOpenError> {
        let keys = CardStaticKeys::derive(derivation, kmc, &answer.key_data)
            .ok_or(ChannelOpenError::UnsuitableKey)?;
        self.open_with(&keys, answer, challenge)
    }

    /// As [`Self::open`], with static keys that are known.
    pub fn open_with(
        &self,
        keys: &CardStaticKeys,
        answer: &InitializeUpdateAnswer,
        challenge: &HostChallenge,
    ) -> Result<PendingChannel, ChannelOpenError> {
        if challenge.as_bytes().len() != self.challenge_length() {
            return Err(ChannelOpenError::ChallengeLength);
        }
        self.protocol.open(keys, answer, challenge).map(PendingChannel)
    }
}

impl fmt::Display for SecureChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SCP{:02X}", self.spec.protocol)
    }
}

impl fmt::Debug for SecureChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecureChannel({self} i = {:02X})", self.spec.parameter)
    }
}

impl PartialEq for SecureChannel {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

/// Why a channel cannot be opened, whatever the card answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelOpenError {
    /// The KMC has a cipher that the protocol or the derivation does not use.
    #[error("the KMC has another cipher than the channel")]
    UnsuitableKey,
    /// The host challenge is shorter or longer than the channel's.
    #[error("the host challenge has another length than the channel's")]
    ChallengeLength,
    /// The keys lie in a token, which failed.
    #[error(transparent)]
    Token(#[from] TokenKeyFault),
}

/// The card's cryptogram is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the card cryptogram is wrong")]
pub struct WrongCryptogram;

/// The card has answered; whether it is genuine is not known yet.
pub struct PendingChannel(Box<dyn PendingProtocol>);

impl PendingChannel {
    /// Compares the card's cryptogram in constant time.
    pub fn verify(self) -> Result<VerifiedChannel, WrongCryptogram> {
        self.0.verify().map(VerifiedChannel)
    }
}

/// Proof that the card knows its keys.
pub struct VerifiedChannel(Box<dyn VerifiedProtocol>);

impl VerifiedChannel {
    /// EXTERNAL AUTHENTICATE for `level`, and the session that follows it. Ask [`SecureChannel::has_level`] before.
    pub fn authenticate(self, level: SecLevel) -> Result<(ChannelSession, Vec<u8>), TokenKeyFault> {
        let (session, apdu) = self.0.authenticate(level)?;
        Ok((ChannelSession(session), apdu))
    }
}

/// Header of a command: INS, P1, P2. CLA is the session's.
pub type CommandHeader = [u8; 3];

/// A command that does not fit a short APDU once wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes of data are too many for a short APDU at this security level")]
pub struct CommandTooLong(pub usize);

/// Why a command was not wrapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrapFault {
    /// It is too long.
    #[error(transparent)]
    TooLong(#[from] CommandTooLong),
    /// Its keys lie in a token, which failed.
    #[error(transparent)]
    Token(#[from] TokenKeyFault),
}

/// Why a secret was not encrypted for the card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// It is not whole blocks.
    #[error("not a multiple of the block")]
    Length,
    /// The keys lie in a token, which failed.
    #[error(transparent)]
    Token(#[from] TokenKeyFault),
}

/// An authenticated channel. Its C-MACs are chained, so commands go to the card in the order of wrapping.
pub struct ChannelSession(Box<dyn SessionProtocol>);

impl ChannelSession {
    /// The command APDU, without Le, protected as the level says.
    pub fn wrap(&mut self, header: CommandHeader, data: &[u8]) -> Result<Vec<u8>, WrapFault> {
        self.0.wrap(header, data)
    }

    /// Encrypts a secret for the card under the session DEK, in place; it is whole blocks of [`SecureChannel::block`].
    pub fn encrypt_secret(&self, data: &mut [u8]) -> Result<(), SecretFault> {
        self.0.encrypt_secret(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<SecureChannel, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_profile_names_a_channel_that_this_build_speaks() {
        let channel = table("scp = \"02\"\ni = \"55\"").unwrap();
        assert_eq!(channel.spec(), SecureChannelSpec { protocol: 2, parameter: 0x55, key_version: 0 });
        assert_eq!(format!("{channel} {channel:?}"), "SCP02 SecureChannel(SCP02 i = 55)");
        assert_eq!((channel.block(), channel.challenge_length()), (8, 8));
        for (wrong, why) in [
            ("scp = \"02\"\ni = \"65\"", "SCP02 with i = 65 is not supported"),
            ("scp = \"03\"\ni = \"70\"", "SCP03 with i = 70 is not supported"),
            ("scp = \"2\"\ni = \"55\"", "two hex digits"),
            ("scp = \"02\"\ni = 55", "invalid type"),
            ("scp = \"02\"", "missing field"),
            ("scp = \"02\"\ni = \"55\"\nj = 1", "unknown field"),
        ] {
            let error = table(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn initialize_update_asks_for_the_key_version_and_the_answer_must_have_it() {
        let any = table("scp = \"02\"\ni = \"15\"").unwrap();
        let second = table("scp = \"02\"\ni = \"15\"\nkey_version = 2").unwrap();
        let challenge = HostChallenge::new(vec![1, 2, 3, 4, 5, 6, 7, 8]);
        let command = |channel: SecureChannel| hex::encode_upper(channel.initialize_update(&challenge));
        assert_eq!(command(any), "8050000008010203040506070800");
        assert_eq!(command(second), "8050020008010203040506070800");
        let mut answer = [0; 28];
        (answer[10], answer[11]) = (1, 2);
        assert_eq!(any.read_answer(&answer).unwrap().key_version, 1);
        let error = Err(AnswerError::KeyVersion { found: 1, wanted: 2 });
        assert_eq!(second.read_answer(&answer), error);
    }

    #[test]
    fn a_challenge_of_another_length_opens_nothing() {
        let channel = table("scp = \"02\"\ni = \"15\"").unwrap();
        let mut answer = [0; 28];
        answer[11] = 2;
        let answer = channel.read_answer(&answer).unwrap();
        let kmc = CipherKey::tdes(&[7; 16]).unwrap();
        let challenge = HostChallenge::new(vec![0; 16]);
        let opened = channel.open(KeyDerivation::EmvCps, &kmc, &answer, &challenge);
        assert_eq!(opened.err(), Some(ChannelOpenError::ChallengeLength));
        let aes = CipherKey::aes(&[7; 16]).unwrap();
        let opened = channel.open(KeyDerivation::EmvCps, &aes, &answer, &challenge);
        assert_eq!(opened.err(), Some(ChannelOpenError::UnsuitableKey));
    }
}
