//! The steps of a session with a card, as a token sees them.

use std::fmt;

use super::token::CallRefused;

/// A step of a session, or of what comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStep {
    /// KMC and KEYDATA to the three keys of a card.
    CardKeys,
    /// A key of a card and a counter to a key of the session.
    SessionKeys,
    /// The card's and the host's cryptogram.
    Cryptogram,
    /// The MAC of a command.
    CommandMac,
    /// KEK and the name of a value to a TDES TK.
    TdesTransportKey,
    /// KEK and the name of a value to an AES TK.
    AesTransportKey,
    /// A value of a file under a TDES TK, unwrapped.
    TdesUnwrap,
    /// A value of a file under an AES TK, unwrapped.
    AesUnwrap,
    /// An unwrapped value, wrapped under the session's DEK.
    Wrap,
    /// The MAC of a file or application, under a MACkey that is unwrapped and blinded.
    FileMac,
    /// The checks of an unwrapped value, and the conversion of a PIN block.
    ValueCheck,
}

impl fmt::Display for TokenStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CardKeys => "card keys (KDC) from the KMC",
            Self::SessionKeys => "session keys",
            Self::Cryptogram => "cryptograms",
            Self::CommandMac => "C-MAC",
            Self::TdesTransportKey => "TK from a TDES KEK",
            Self::AesTransportKey => "TK from an AES KEK",
            Self::TdesUnwrap => "unwrap under a TDES TK",
            Self::AesUnwrap => "unwrap under an AES TK",
            Self::Wrap => "wrap under the session DEK",
            Self::FileMac => "MAC of a file",
            Self::ValueCheck => "checks of values, PIN blocks",
        })
    }
}

/// Where a step can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepPlace {
    /// In the token: no secret comes into the memory of the host.
    Inside,
    /// The token's part gives a secret to the memory of the host, which does the rest.
    OnHost,
    /// Neither in the token nor with its help.
    Refused,
}

impl fmt::Display for StepPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inside => "inside",
            Self::OnHost => "on host",
            Self::Refused => "refused",
        })
    }
}

/// Why a step is not done inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepObstacle {
    /// The token refused a call.
    #[error("{0}")]
    Call(CallRefused),
    /// The token did something, and its result is not the known one.
    #[error("its answer is wrong")]
    WrongAnswer,
    /// The standard has no mechanism for the step.
    #[error("PKCS#11 has no mechanism for it")]
    NoMechanism,
}

impl From<CallRefused> for StepObstacle {
    fn from(refused: CallRefused) -> Self {
        Self::Call(refused)
    }
}

/// What was found about a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFinding {
    /// The step.
    pub step: TokenStep,
    /// Where it can be done.
    pub place: StepPlace,
    /// Why it is not done inside.
    pub obstacle: Option<StepObstacle>,
    /// It is done inside, but the token shows the result to its user if asked, whatever was asked for when it was made.
    pub readable: bool,
}

/// What was found about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenReport {
    /// Its label.
    pub label: String,
    /// Who made it, and what it is.
    pub maker: String,
    /// Each step.
    pub findings: Vec<StepFinding>,
}

impl TokenReport {
    /// Whether a step is done there.
    pub fn has(&self, place: StepPlace) -> bool {
        self.findings.iter().any(|finding| finding.place == place)
    }
}
