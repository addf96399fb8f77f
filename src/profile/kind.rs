//! The rules of line profiles for modules of one kind.
//!
//! Each kind states its rules in its own file of `modules`, a layer above profiles. A line profile reaches them
//! through [`KindTable`], which the table of kinds implements. Not here: which kinds there are.

use serde::de::DeserializeOwned;

/// The rules of a line profile for modules of one kind.
#[derive(Debug)]
pub struct KindRules {
    /// The kind's name in profiles.
    pub word: &'static str,
    /// The links that lead to each of its stations; a kind without links has no stations.
    pub links: Option<DeviceLinks>,
    /// The MIC that every module of this kind serves, and that no module of another kind may serve.
    pub own_mic: Option<&'static str>,
    /// Whether one module can serve several MICs.
    pub several_mics: bool,
    /// The keys of a module that not every kind takes, and this one does.
    pub keys: &'static [&'static str],
    /// Those of [`Self::keys`] that a module must have.
    pub needed_keys: &'static [&'static str],
}

/// The links that lead to the device of a station, besides its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceLinks {
    /// A card reader.
    Reader,
    /// A machine on a serial port.
    Serial,
    /// A machine on a serial port that gets images over a link of their own.
    SerialAndStream,
}

impl DeviceLinks {
    /// The keys of a station's `[link]` table that are of use.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Reader => &["reader", "usb", "pcscd"],
            Self::Serial => &["serial", "baud", "number"],
            Self::SerialAndStream => &["serial", "baud", "stream", "number"],
        }
    }

    /// The keys that a real line needs. If a key has an alternative, one of the two is needed.
    pub fn needed_keys(self) -> &'static [(&'static str, Option<&'static str>)] {
        match self {
            Self::Reader => &[("reader", Some("usb"))],
            Self::Serial => &[("serial", None)],
            Self::SerialAndStream => &[("serial", None), ("stream", None)],
        }
    }
}

/// A reference to one kind in the table of all kinds, as a line profile's `kind` names it.
pub trait KindTable: DeserializeOwned {
    /// The rules of this kind.
    fn rules(&self) -> &'static KindRules;
    /// The rules of every kind.
    fn every() -> impl Iterator<Item = &'static KindRules>;
}
