//! What a run takes in spite of a rule, because its operator says so and why: `--allow expired:REASON`.
//!
//! The reason is repeated in the summary and the report. Not here: the rules (`input::check`).

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::printable::is_hidden;

/// Longest reason.
const REASON_MAX: usize = 200;

/// A rule that a run may be told to leave aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AllowedKind {
    /// The card has expired.
    Expired,
    /// The account number is outside the issuer identifier of the KEK.
    ForeignIin,
}

impl AllowedKind {
    const ALL: [Self; 2] = [Self::Expired, Self::ForeignIin];

    /// Its word on the command line and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::ForeignIin => "foreign-iin",
        }
    }

    /// What is wrong with a card that breaks the rule.
    pub(super) fn fault(self) -> String {
        let what = match self {
            Self::Expired => "is in the past: the card has expired",
            Self::ForeignIin => "is outside the issuer identifier of the KEK",
        };
        format!("{what}; --allow {}:REASON accepts such cards", self.word())
    }
}

/// A rule that is left aside, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The rule.
    pub kind: AllowedKind,
    /// Why, in the operator's words.
    pub reason: String,
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, reason) = text.split_once(':').unwrap_or((text, ""));
        let kind = AllowedKind::ALL.into_iter().find(|kind| kind.word() == word);
        let kind = kind.ok_or("it is expired:REASON or foreign-iin:REASON")?;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_MAX || reason.contains(is_hidden) {
            return Err(format!("after {word}: comes a reason of 1 to {REASON_MAX} printable characters"));
        }
        Ok(Self { kind, reason: reason.to_owned() })
    }
}

/// The rules that a run leaves aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowances(pub Vec<Allowance>);

impl Allowances {
    /// Why a rule is left aside; `None` if it holds.
    pub fn reason(&self, kind: AllowedKind) -> Option<&str> {
        self.0.iter().find(|allowance| allowance.kind == kind).map(|allowance| allowance.reason.as_str())
    }
}

/// Numbers of cards that were taken in spite of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenCards(BTreeMap<AllowedKind, u32>);

impl TakenCards {
    /// Counts a card that breaks these rules.
    pub fn add(&mut self, kinds: Vec<AllowedKind>) {
        for kind in kinds {
            let count = self.0.entry(kind).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Each rule that cards broke, with their number and the reason.
    pub fn with_reasons<'a>(
        &'a self,
        allowed: &'a Allowances,
    ) -> impl Iterator<Item = (AllowedKind, u32, &'a str)> {
        self.0.iter().filter_map(|(kind, count)| Some((*kind, *count, allowed.reason(*kind)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_left_aside_with_a_reason_alone() {
        let allowance: Allowance = "expired: test cards of the scheme ".parse().unwrap();
        assert_eq!(
            (allowance.kind, allowance.reason.as_str()),
            (AllowedKind::Expired, "test cards of the scheme")
        );
        assert_eq!("foreign-iin:a:b".parse::<Allowance>().unwrap().reason, "a:b");
        let long = format!("expired:{}", "x".repeat(201));
        for wrong in
            ["", "expired", "expired:", "expired:  ", "luhn:because", ":because", "expired:a\nb", &long]
        {
            assert!(wrong.parse::<Allowance>().is_err(), "{wrong}");
        }
    }
}
