//! Chooses one reader of those that PC/SC lists.
//!
//! pcscd makes a reader's name of the driver's name for it and two hexadecimal numbers, `XX YY`. XX numbers
//! readers of equal names in the order in which they were plugged in, so it changes; YY is the slot and stays
//! (pcsc-lite 1.9.9, `RFSetReaderName`). A station is bound to the part that stays, or to the USB path; never
//! to a position in the list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::link::CardError;

/// Longest name or path of a reader, in bytes (MAX_READERNAME of pcsc-lite).
const NAME_MAX: usize = 128;

/// The reader of a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderSpec {
    /// The device.
    pub by: ReaderSelector,
    /// Slot of a reader with several, from 0.
    #[serde(default)]
    pub slot: u8,
    /// How long a power-on waits for the card to arrive, in milliseconds.
    #[serde(default)]
    pub wait_ms: u16,
}

/// The property by which a reader is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReaderSelector {
    /// Its name without pcscd's two numbers.
    Name(String),
    /// The USB path where it is plugged in ("1-4.2").
    Usb(String),
}

impl std::fmt::Display for ReaderSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.by {
            ReaderSelector::Name(name) => write!(f, "named \"{name}\"")?,
            ReaderSelector::Usb(path) => write!(f, "at USB path {path}")?,
        }
        write!(f, ", slot {}", self.slot)
    }
}

/// Splits a name of pcscd into the part that stays, and the slot.
fn split(full: &str) -> Option<(&str, u8)> {
    let (rest, slot) = full.rsplit_once(' ')?;
    let (stem, plug) = rest.rsplit_once(' ')?;
    let number = |text: &str| match text.len() {
        2 => u8::from_str_radix(text, 16).ok(),
        _ => None,
    };
    number(plug)?;
    Some((stem, number(slot)?))
}

/// Finds the one reader of this name and slot.
pub(super) fn by_name(readers: &[String], spec: &ReaderSpec, name: &str) -> Result<String, CardError> {
    let meant = |full: &&String| split(full) == Some((name, spec.slot));
    one(readers, spec, readers.iter().filter(meant), "bind each of them by its USB path")
}

/// Finds the one reader on this channel with this slot.
pub(super) fn by_channel(
    readers: &[(String, Option<u32>)],
    spec: &ReaderSpec,
    channel: u32,
) -> Result<String, CardError> {
    let names: Vec<String> = readers.iter().map(|(name, _)| name.clone()).collect();
    let slot = |name: &str| split(name).map(|(_, slot)| slot);
    let meant = readers.iter().filter(|(name, at)| *at == Some(channel) && slot(name) == Some(spec.slot));
    one(&names, spec, meant.map(|(name, _)| name), "its driver gives all of them one place")
}

fn one<'a>(
    readers: &[String],
    spec: &ReaderSpec,
    mut meant: impl Iterator<Item = &'a String>,
    advice: &str,
) -> Result<String, CardError> {
    let Some(first) = meant.next() else {
        let advice = match &spec.by {
            ReaderSelector::Name(name) if split(name).is_some() => {
                ": leave out the two numbers at the end, which pcscd adds"
            }
            _ => "",
        };
        return Err(CardError::NoReader(format!("no reader {spec}{advice}; {}", there_is(readers))));
    };
    match meant.count() {
        0 => Ok(first.clone()),
        others => Err(CardError::NoReader(format!(
            "{} readers {spec}: {advice}; {}",
            others + 1,
            there_is(readers)
        ))),
    }
}

/// A list of the readers that a technician can choose from, each as a line profile names it.
fn there_is(readers: &[String]) -> String {
    let mut counts: BTreeMap<(&str, u8), usize> = BTreeMap::new();
    for full in readers {
        *counts.entry(split(full).unwrap_or((full, 0))).or_default() += 1;
    }
    let shown = counts.iter().map(|((name, slot), count)| {
        let slot = if *slot > 0 { format!(" slot {slot}") } else { String::new() };
        let count = if *count > 1 { format!(" ({count} readers)") } else { String::new() };
        format!("\"{name}\"{slot}{count}")
    });
    let shown: Vec<_> = shown.collect();
    match shown.is_empty() {
        true => "there is no reader".into(),
        false => format!("there are: {}", shown.join(", ")),
    }
}

impl ReaderSpec {
    /// Checks that PC/SC could have such a reader at all; the error gives the reason.
    pub fn check(&self) -> Result<(), CardError> {
        let (ReaderSelector::Name(text) | ReaderSelector::Usb(text)) = &self.by;
        if text.is_empty() || text.len() > NAME_MAX || text.chars().any(char::is_control) {
            return Err(CardError::NoReader(format!(
                "a reader is named by 1 to {NAME_MAX} bytes without control characters"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, slot: u8) -> ReaderSpec {
        ReaderSpec { by: ReaderSelector::Name(name.into()), slot, wait_ms: 0 }
    }

    fn readers(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn chosen(names: &[&str], name: &str, slot: u8) -> Result<String, String> {
        by_name(&readers(names), &named(name, slot), name).map_err(|e| e.to_string())
    }

    #[test]
    fn plug_numbers_and_order_mean_nothing() {
        for there in [
            ["ACS 00 00", "Gem 2 01 00", "Gem 2 01 01"],
            ["Gem 2 00 01", "ACS 02 00", "Gem 2 00 00"],
            ["Gem 2 0F 00", "Gem 2 0F 01", "ACS 0A 00"],
        ] {
            let name = |start: &str, end: &str| {
                there.iter().find(|n| n.starts_with(start) && n.ends_with(end)).unwrap().to_string()
            };
            assert_eq!(chosen(&there, "ACS", 0), Ok(name("ACS", " 00")));
            assert_eq!(chosen(&there, "Gem 2", 0), Ok(name("Gem", " 00")));
            assert_eq!(chosen(&there, "Gem 2", 1), Ok(name("Gem", " 01")));
        }
    }

    #[test]
    fn two_of_one_name_are_refused_with_advice() {
        let text = chosen(&["ACS 00 00", "ACS 01 00"], "ACS", 0).unwrap_err();
        assert!(text.contains("2 readers") && text.contains("USB path"), "{text}");
        assert!(text.ends_with("there are: \"ACS\" (2 readers)"), "{text}");
    }

    #[test]
    fn a_missing_name_is_reported_with_the_existing_readers() {
        let text = chosen(&["ACS 00 00", "Gem 01 00"], "Omni", 0).unwrap_err();
        assert!(text.contains("\"Omni\", slot 0") && text.ends_with("there are: \"ACS\", \"Gem\""), "{text}");
        assert!(chosen(&["ACS 00 00"], "ACS", 1).unwrap_err().contains("slot 1"));
        let text = chosen(&["Gem 2 00 00", "Gem 2 00 01", "Gem 2 01 00"], "Gem", 0).unwrap_err();
        assert!(text.ends_with("there are: \"Gem 2\" (2 readers), \"Gem 2\" slot 1"), "{text}");
        assert!(chosen(&[], "ACS", 0).unwrap_err().contains("there is no reader"));
    }

    #[test]
    fn only_the_whole_name_counts() {
        for there in
            ["ACS", "ACS 00", "ACS 0 0", "ACS 000 00", "ACS xx 00", "ACSS 00 00", "ACS Twin 00 00", ""]
        {
            assert!(chosen(&[there], "ACS", 0).is_err(), "{there}");
        }
        let text = chosen(&["ACS 00 00"], "ACS 00 00", 0).unwrap_err();
        assert!(
            text.contains("leave out the two numbers at the end") && text.ends_with("there are: \"ACS\""),
            "{text}"
        );
        // A name that itself ends like two numbers.
        assert_eq!(chosen(&["ACS 01 02 00 00"], "ACS 01 02", 0), Ok("ACS 01 02 00 00".into()));
    }

    #[test]
    fn a_usb_path_tells_readers_of_one_name_apart() {
        let spec = ReaderSpec { by: ReaderSelector::Usb("1-4".into()), slot: 0, wait_ms: 0 };
        let there = [
            ("ACS 00 00".to_string(), Some(0x0020_0105)),
            ("ACS 01 00".to_string(), Some(0x0020_0106)),
            ("ACS 01 01".to_string(), Some(0x0020_0106)),
            ("Odd 02 00".to_string(), None),
        ];
        assert_eq!(by_channel(&there, &spec, 0x0020_0106), Ok("ACS 01 00".into()));
        let slot = ReaderSpec { slot: 1, ..spec.clone() };
        assert_eq!(by_channel(&there, &slot, 0x0020_0106), Ok("ACS 01 01".into()));
        let text = by_channel(&there, &spec, 0x0020_0107).unwrap_err().to_string();
        assert!(text.contains("USB path 1-4") && text.ends_with("\"ACS\" slot 1, \"Odd\""), "{text}");
    }

    #[test]
    fn names_that_no_reader_can_have_are_refused() {
        for name in ["", "a\nb", "a\0", &"x".repeat(129)] {
            assert!(named(name, 0).check().is_err(), "{name:?}");
        }
        named("ACS ACR39U ICC Reader [CCID] (serial 1)", 0).check().unwrap();
    }
}
