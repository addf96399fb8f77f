//! The faults file: which blanks get which fault. TOML, strict keys:
//!
//! ```toml
//! [[fault]]
//! kind = "status"        # see [`Kind`]
//! every = 20             # which blanks, by feed ordinal from 1: one of
//! offset = 3             #   every (with offset: n mod every = offset), blanks = [4, 17], probability = 0.01
//! limit = 5              # optional: at most so many blanks
//! sw = "6A84"            # status only: what the card answers
//! store_data = 3         # status only: to which STORE DATA, from 1; default 3
//! # after = 7            # card-pulled only: APDUs that the card still answers; default 7
//! ```
//!
//! A fault that is given to a blank takes effect when the line comes to it, or never; the witness records the effect.
//! Probabilities depend on the seed and the feed ordinal alone.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::rng::SplitMix64;

/// STORE DATA that fails unless the rule names another.
const STORE_DATA_DEFAULT: u32 = 3;
/// APDUs that a card answers before it is pulled, unless the rule says otherwise.
const AFTER_DEFAULT: u32 = 7;

/// Kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The chip gives no ATR.
    Mute,
    /// The chip gives the ATR of something else.
    WrongAtr,
    /// The blank comes from a supplier of whom nobody has a KMC.
    UnknownKmc,
    /// The card cryptogram is wrong.
    WrongCryptogram,
    /// One STORE DATA is refused.
    Status,
    /// The card leaves the contacts in the middle of the work.
    CardPulled,
    /// Reading the stripe gives one wrong character.
    StripeMisread,
    /// The blank arrives with data on track 2.
    StripeDirty,
    /// The card jams in the stripe encoder.
    JamStripe,
    /// The card jams in the printer.
    JamPrinter,
    /// The card jams in the embosser.
    JamEmbosser,
    /// The card jams when it is first taken from a station.
    JamTransfer,
    /// The blank jams between hopper and station.
    FeedJam,
}

impl Kind {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::WrongAtr => "wrong-atr",
            Self::UnknownKmc => "unknown-kmc",
            Self::WrongCryptogram => "wrong-cryptogram",
            Self::Status => "status",
            Self::CardPulled => "card-pulled",
            Self::StripeMisread => "stripe-misread",
            Self::StripeDirty => "stripe-dirty",
            Self::JamStripe => "jam-stripe",
            Self::JamPrinter => "jam-printer",
            Self::JamEmbosser => "jam-embosser",
            Self::JamTransfer => "jam-transfer",
            Self::FeedJam => "feed-jam",
        }
    }
}

/// A fault that a blank was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// [`Kind::Status`]: what the card answers.
    pub sw: u16,
    /// [`Kind::Status`]: to which STORE DATA, from 1.
    pub store_data: u32,
    /// [`Kind::CardPulled`]: APDUs still answered.
    pub after: u32,
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fault: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Kind,
    every: Option<u64>,
    offset: Option<u64>,
    blanks: Option<BTreeSet<u64>>,
    probability: Option<f64>,
    limit: Option<u64>,
    sw: Option<String>,
    store_data: Option<u32>,
    after: Option<u32>,
}

#[derive(Debug)]
enum Which {
    Every { every: u64, offset: u64 },
    Blanks(BTreeSet<u64>),
    Probability(f64),
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    which: Which,
    /// Blanks that it may still be given to.
    left: u64,
}

/// All rules of a run.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    seed: u64,
}

impl Faults {
    /// Parses and checks; `seed` decides the probabilities.
    pub fn from_toml(text: &str, seed: u64) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let rules = file
            .fault
            .into_iter()
            .enumerate()
            .map(|(at, entry)| {
                let kind = entry.kind;
                rule(entry).with_context(|| format!("fault {} ({})", at + 1, kind.name()))
            })
            .collect::<Result<_>>()?;
        Ok(Self { rules, seed })
    }

    /// The faults of blank `n`, each kind at most once; to be asked once for every n, in order.
    pub fn of(&mut self, n: u64) -> Vec<Fault> {
        let mut given: Vec<Fault> = Vec::new();
        for (at, rule) in (0u64..).zip(&mut self.rules) {
            let hit = match &rule.which {
                Which::Every { every, offset } => n % every == *offset,
                Which::Blanks(blanks) => blanks.contains(&n),
                Which::Probability(p) => {
                    SplitMix64::of(self.seed, n, FAULT_PURPOSE.wrapping_add(at)).next_unit() < *p
                }
            };
            if hit && rule.left > 0 && given.iter().all(|f| f.kind != rule.fault.kind) {
                rule.left -= 1;
                given.push(rule.fault);
            }
        }
        given
    }
}

/// Keeps the random numbers of faults apart from those of blanks.
const FAULT_PURPOSE: u64 = 1 << 32;

fn rule(entry: Entry) -> Result<Rule> {
    let is_status = entry.kind == Kind::Status;
    ensure!(entry.sw.is_some() == is_status, "sw belongs to kind \"status\", which needs it");
    ensure!(is_status || entry.store_data.is_none(), "store_data belongs to kind \"status\"");
    ensure!(entry.kind == Kind::CardPulled || entry.after.is_none(), "after belongs to kind \"card-pulled\"");
    ensure!(entry.offset.is_none() || entry.every.is_some(), "offset belongs to every");
    let which = match (entry.every, entry.blanks, entry.probability) {
        (Some(every), None, None) => {
            let offset = entry.offset.unwrap_or(0);
            ensure!(every > offset, "every must be at least 1 and greater than offset");
            Which::Every { every, offset }
        }
        (None, Some(blanks), None) => {
            ensure!(!blanks.contains(&0), "blanks are counted from 1");
            Which::Blanks(blanks)
        }
        (None, None, Some(p)) => {
            ensure!((0.0..=1.0).contains(&p), "probability must be from 0 to 1");
            Which::Probability(p)
        }
        _ => anyhow::bail!("needs exactly one of every, blanks and probability"),
    };
    let sw = match &entry.sw {
        None => 0,
        Some(text) => {
            let bytes: Option<[u8; 2]> = hex::decode(text).ok().and_then(|b| b.try_into().ok());
            u16::from_be_bytes(bytes.context("sw must be 4 hex digits")?)
        }
    };
    let store_data = entry.store_data.unwrap_or(STORE_DATA_DEFAULT);
    ensure!(store_data > 0, "store_data is counted from 1");
    let fault = Fault { kind: entry.kind, sw, store_data, after: entry.after.unwrap_or(AFTER_DEFAULT) };
    Ok(Rule { fault, which, left: entry.limit.unwrap_or(u64::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(text: &str, blanks: u64) -> Vec<u64> {
        let mut faults = Faults::from_toml(text, 42).unwrap();
        (1..=blanks).filter(|n| !faults.of(*n).is_empty()).collect()
    }

    #[test]
    fn which_blanks() {
        assert_eq!(hits("[[fault]]\nkind = \"mute\"\nevery = 4", 12), [4, 8, 12]);
        assert_eq!(hits("[[fault]]\nkind = \"mute\"\nevery = 4\noffset = 1", 12), [1, 5, 9]);
        assert_eq!(hits("[[fault]]\nkind = \"mute\"\nevery = 1", 3), [1, 2, 3]);
        assert_eq!(hits("[[fault]]\nkind = \"mute\"\nblanks = [7, 2]", 12), [2, 7]);
        assert_eq!(hits("[[fault]]\nkind = \"mute\"\nevery = 2\nlimit = 2", 12), [2, 4]);
        assert!(hits("", 12).is_empty());
    }

    #[test]
    fn probability_is_repeatable_and_about_right() {
        let text = "[[fault]]\nkind = \"mute\"\nprobability = 0.1";
        let hit = hits(text, 10_000);
        assert!((800..1200).contains(&hit.len()), "{}", hit.len());
        assert_eq!(hit, hits(text, 10_000));
        assert!(hits("[[fault]]\nkind = \"mute\"\nprobability = 0.0", 1000).is_empty());
        assert_eq!(hits("[[fault]]\nkind = \"mute\"\nprobability = 1.0", 1000).len(), 1000);
        // Two rules of one probability do not hit the same blanks.
        let two = format!("{text}\n[[fault]]\nkind = \"wrong-atr\"\nprobability = 0.1");
        assert!(hits(&two, 10_000).len() > hit.len() * 3 / 2);
    }

    #[test]
    fn parameters_and_defaults() {
        let text = "[[fault]]\nkind = \"status\"\nsw = \"6A84\"\nevery = 1\n[[fault]]\nkind = \"card-pulled\"\nevery = 1";
        let given = Faults::from_toml(text, 0).unwrap().of(1);
        assert_eq!(
            given,
            [
                Fault { kind: Kind::Status, sw: 0x6A84, store_data: 3, after: 7 },
                Fault { kind: Kind::CardPulled, sw: 0, store_data: 3, after: 7 },
            ]
        );
    }

    #[test]
    fn one_kind_once_per_blank() {
        let text = "[[fault]]\nkind = \"mute\"\nevery = 2\n[[fault]]\nkind = \"mute\"\nevery = 3";
        let mut faults = Faults::from_toml(text, 0).unwrap();
        assert_eq!(faults.of(6).len(), 1);
    }

    #[test]
    fn every_kind_has_its_name() {
        let names = "mute wrong-atr unknown-kmc wrong-cryptogram card-pulled stripe-misread stripe-dirty jam-stripe \
                     jam-printer jam-embosser jam-transfer feed-jam";
        for name in names.split_whitespace() {
            let text = format!("[[fault]]\nkind = \"{name}\"\nevery = 1");
            let given = Faults::from_toml(&text, 0).unwrap().of(1);
            assert_eq!(given[0].kind.name(), name);
        }
    }

    #[test]
    fn bad_rules_are_refused() {
        let cases = [
            ("kind = \"mute\"", "exactly one"),
            ("kind = \"mute\"\nevery = 2\nblanks = [1]", "exactly one"),
            ("kind = \"mute\"\nevery = 0", "at least 1"),
            ("kind = \"mute\"\nevery = 2\noffset = 2", "greater than offset"),
            ("kind = \"mute\"\nblanks = [1]\noffset = 2", "offset belongs"),
            ("kind = \"mute\"\nblanks = [0]", "from 1"),
            ("kind = \"mute\"\nprobability = 1.5", "from 0 to 1"),
            ("kind = \"mute\"\nprobability = nan", "from 0 to 1"),
            ("kind = \"mute\"\nevery = 2\nsw = \"6A84\"", "sw belongs"),
            ("kind = \"mute\"\nevery = 2\nafter = 3", "after belongs"),
            ("kind = \"mute\"\nevery = 2\nstore_data = 3", "store_data belongs"),
            ("kind = \"status\"\nevery = 2", "which needs it"),
            ("kind = \"status\"\nevery = 2\nsw = \"6A\"", "4 hex digits"),
            ("kind = \"status\"\nevery = 2\nsw = \"6A84\"\nstore_data = 0", "from 1"),
            ("kind = \"mutes\"\nevery = 2", "mutes"),
            ("kind = \"mute\"\nevery = 2\nsometimes = true", "sometimes"),
        ];
        for (text, said) in cases {
            let error = format!("{:#}", Faults::from_toml(&format!("[[fault]]\n{text}"), 0).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
