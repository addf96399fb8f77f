//! Fulfilment: the FUL section says where the card goes after the line. No station works on it; reports and papers
//! read it.

use super::kind::{KindDevice, ModuleKind, SectionKind};
use super::sections::fulfilment;
use crate::profile::kind::KindRules;

/// The kind `fulfilment` of a line profile.
pub static KIND: ModuleKind = ModuleKind {
    rules: KindRules {
        word: "fulfilment",
        links: None,
        own_mic: None,
        several_mics: true,
        keys: &[],
        needed_keys: &[],
    },
    sections: &[SectionKind { mic: "FUL", check: |data| fulfilment(data).map(drop) }],
    device: KindDevice::None,
    can_be_asked: |_| false,
};
