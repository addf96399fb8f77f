//! Where a line that has keys in a token does each step: the probe's findings, for the keys that there are.
//!
//! A step that is done on the host puts a derived key or a clear value into its memory. The channel is one piece: if one of its
//! steps cannot be done inside, the host gets the keys of the card and does all of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::steps::{StepPlace, TokenReport, TokenStep};
use super::token::TokenFault;
use crate::crypto::KeyType;

/// The steps of a channel.
const CHANNEL: [TokenStep; 4] =
    [TokenStep::CardKeys, TokenStep::SessionKeys, TokenStep::Cryptogram, TokenStep::CommandMac];

/// The kinds of keys that lie in a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyKinds {
    /// A KMC.
    pub kmc: bool,
    /// A KEK of TDES.
    pub tdes_kek: bool,
    /// A KEK of AES.
    pub aes_kek: bool,
}

/// Where each step is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPlan {
    /// The channel with a card is the token's.
    pub(super) channel: bool,
    /// A TDES TK is made in the token, and opens values there.
    pub(super) tdes_tk: bool,
    /// The same for an AES TK.
    pub(super) aes_tk: bool,
    steps: Vec<(TokenStep, StepPlace)>,
}

/// What a token does of a line's work, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPart {
    /// Its label.
    pub token: String,
    /// The steps that it does inside.
    pub inside: Vec<String>,
    /// The steps that the memory of the host sees.
    pub on_host: Vec<String>,
}

impl fmt::Display for TokenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed =
            |steps: &[String]| if steps.is_empty() { "nothing".to_owned() } else { steps.join(", ") };
        let Self { token, inside, on_host } = self;
        write!(f, "{token}: inside {}; in the memory of the host {}", listed(inside), listed(on_host))
    }
}

impl TokenPlan {
    /// The plan for keys of these kinds. An error names the steps that neither the token nor the host can do.
    pub fn of(report: &TokenReport, kinds: KeyKinds) -> Result<Self, TokenFault> {
        let of = |step| report.findings.iter().find(|f| f.step == step);
        let found = |step| of(step).map(|f| f.place);
        // A token that shows the result to a program that asks keeps nothing inside.
        let inside = |step| of(step).is_some_and(|f| f.place == StepPlace::Inside && !f.readable);
        let channel = CHANNEL.into_iter().all(inside);
        let (tdes_tk, aes_tk) = (inside(TokenStep::TdesTransportKey), inside(TokenStep::AesTransportKey));
        let in_token = |is_inside: bool| if is_inside { StepPlace::Inside } else { StepPlace::OnHost };
        let mut steps = Vec::new();
        if kinds.kmc {
            steps.extend(CHANNEL.map(|step| (step, in_token(channel))));
        }
        for (there, derivation, unwrap, is_inside) in [
            (kinds.tdes_kek, TokenStep::TdesTransportKey, TokenStep::TdesUnwrap, tdes_tk),
            (kinds.aes_kek, TokenStep::AesTransportKey, TokenStep::AesUnwrap, aes_tk),
        ] {
            if there {
                // An unwrapped value is checked, and a PIN block converted, which no mechanism does.
                steps.extend([(derivation, in_token(is_inside)), (unwrap, StepPlace::OnHost)]);
            }
        }
        if kinds.tdes_kek || kinds.aes_kek {
            steps.extend([TokenStep::FileMac, TokenStep::ValueCheck].map(|step| (step, StepPlace::OnHost)));
        }
        if kinds.kmc {
            // The value comes from the host.
            steps.push((TokenStep::Wrap, StepPlace::OnHost));
        }
        let refused = |(step, _): &&(TokenStep, StepPlace)| found(*step) == Some(StepPlace::Refused);
        let refused: Vec<String> = steps.iter().filter(refused).map(|(step, _)| step.to_string()).collect();
        if refused.is_empty() {
            Ok(Self { channel, tdes_tk, aes_tk, steps })
        } else {
            Err(TokenFault::Refuses(report.label.clone(), refused.join(", ")))
        }
    }

    /// The steps that are done there.
    fn steps(&self, place: StepPlace) -> Vec<String> {
        self.steps.iter().filter(|(_, at)| *at == place).map(|(step, _)| step.to_string()).collect()
    }

    /// The plan for people.
    pub fn part(&self, label: &str) -> TokenPart {
        TokenPart {
            token: label.to_owned(),
            inside: self.steps(StepPlace::Inside),
            on_host: self.steps(StepPlace::OnHost),
        }
    }

    /// Refuses a plan with steps on the host, unless they are allowed.
    pub fn check(&self, label: &str, host_crypto: bool) -> Result<(), TokenFault> {
        let on_host = self.steps(StepPlace::OnHost);
        if host_crypto || on_host.is_empty() {
            Ok(())
        } else {
            Err(TokenFault::HostCrypto(label.to_owned(), on_host.join(", ")))
        }
    }
}

impl KeyKinds {
    /// Counts a KEK of this type in.
    pub fn with_kek(self, key_type: KeyType) -> Self {
        match key_type {
            KeyType::Tdes2 => Self { tdes_kek: true, ..self },
            KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => Self { aes_kek: true, ..self },
        }
    }
}
