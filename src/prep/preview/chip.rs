//! The applications of a card in a preview: DGIs with their lengths, clear values with what must not be shown hidden.
//!
//! What only the HSM makes has its length here and no value. Not here: how a value is hidden (`mask`).

use std::ops::Range;

use zeroize::Zeroizing;

use super::mask::{CardMask, MaskedText};
use crate::hsm::{ApplicationToProtect, DgiToProtect, IssuerInfo, ValuePart};
use crate::ids::{Aid, Dgi};
use crate::prep::ClearBytes;
use crate::prep::order::CardBuilder;
use crate::record::chip::EncType;
use crate::tlv::{Tag, Tlv, TlvError, objects};

/// Tags of discretionary data of tracks, which are hidden whole: PVV and CVV stand there.
const DISCRETIONARY: [Tag; 2] = [Tag(0x9F1F), Tag(0x9F20)];
/// The rest of the card's modulus: a preview takes no key pair.
const CARD_REMAINDER: Tag = Tag(0x9F48);
/// What stands for the value of a key pair that a preview does not take.
const OF_KEY_PAIR: &str = "of the card's key pair";

/// An application of a card.
pub struct ApplicationPreview {
    /// Its AID.
    pub aid: Aid,
    /// The security level of its channel.
    pub level: u8,
    /// Its DGIs in file order.
    pub dgis: Vec<DgiPreview>,
}

/// A DGI of a card.
pub struct DgiPreview {
    /// The DGI.
    pub dgi: Dgi,
    /// Length of its value in bytes.
    pub length: usize,
    /// For a secret value: how it is sent to the card.
    pub secret: Option<EncType>,
    /// The value of a clear one: the TLVs of which it is made, or one line without a tag.
    pub values: Vec<ValuePreview>,
}

/// A TLV of a clear value, or the value itself.
pub struct ValuePreview {
    /// How many TLVs hold this one.
    pub depth: usize,
    /// Its tag; `None` for a value that is no TLV.
    pub tag: Option<Tag>,
    /// Its length in bytes.
    pub length: usize,
    /// Its value as it may be shown; empty for a tag that holds other TLVs.
    pub shown: MaskedText,
}

/// The applications of an ordered card.
pub(super) fn applications(
    wanted: &[ApplicationToProtect],
    builder: &CardBuilder,
    info: &IssuerInfo,
    mask: &CardMask,
) -> Vec<ApplicationPreview> {
    let shown = wanted.iter().map(|application| {
        let lengths = PartLengths { application, builder, info };
        let dgis = application.dgis.iter().map(|group| {
            let secret = application.pdi.enc.iter().find(|(dgi, _)| *dgi == group.dgi).map(|(_, enc)| *enc);
            let value = lengths.filled(group);
            let values = if secret.is_some() { Vec::new() } else { value.shown(mask) };
            DgiPreview { dgi: group.dgi, length: value.bytes.len(), secret, values }
        });
        let dgis = dgis.collect();
        ApplicationPreview { aid: application.aid.clone(), level: application.pdi.level.byte(), dgis }
    });
    shown.collect()
}

/// The lengths of what the HSM makes for an application.
struct PartLengths<'a> {
    application: &'a ApplicationToProtect,
    builder: &'a CardBuilder,
    info: &'a IssuerInfo,
}

/// A value in which zeros stand for what the HSM makes.
struct FilledValue {
    bytes: ClearBytes,
    made: Vec<(Range<usize>, &'static str)>,
}

impl PartLengths<'_> {
    fn filled(&self, group: &DgiToProtect) -> FilledValue {
        let mut value = FilledValue { bytes: Zeroizing::new(Vec::with_capacity(1024)), made: Vec::new() };
        for part in &group.parts {
            let (length, what) = match part {
                ValuePart::Clear(bytes) => {
                    value.bytes.extend_from_slice(bytes);
                    continue;
                }
                ValuePart::CardKey(key) => {
                    (self.builder.keys().find(key.master.usage).map_or(0, |master| master.length), "a key")
                }
                ValuePart::CheckValue(_) => (3, "the check value of a key"),
                ValuePart::PinBlock => (8, "the PIN block"),
                ValuePart::Rsa(_) => (self.card_modulus() / 2, "a part of the card's RSA key"),
                ValuePart::CardCertificate => (self.issuer_modulus(), "the certificate of the card's key"),
                ValuePart::SignedStaticData => (self.issuer_modulus(), "the issuer's signature"),
                // A preview has no earlier pass, so nothing is sealed.
                ValuePart::Sealed => (0, "a sealed value"),
            };
            let from = value.bytes.len();
            value.bytes.resize(from.saturating_add(length), 0);
            value.made.push((from..value.bytes.len(), what));
        }
        value
    }

    fn issuer_modulus(&self) -> usize {
        let offline = self.application.offline.as_ref();
        let key = offline.and_then(|offline| self.info.rsa.iter().find(|key| key.name == offline.issuer_key));
        key.map_or(0, |key| key.modulus.len())
    }

    fn card_modulus(&self) -> usize {
        let plans = &self.builder.plan().applications;
        let plan = plans.iter().find(|plan| plan.aid == self.application.aid);
        let size = plan.and_then(|plan| plan.offline.as_ref()?.card_key);
        size.map_or(0, |size| usize::from(size.bits / 8))
    }
}

impl FilledValue {
    fn shown(&self, mask: &CardMask) -> Vec<ValuePreview> {
        let mut values = Vec::new();
        let whole = self.objects(&objects(&self.bytes).collect::<Vec<_>>(), 0, mask, &mut values);
        if whole.is_none() || values.is_empty() {
            let length = self.bytes.len();
            values = vec![ValuePreview { depth: 0, tag: None, length, shown: self.value(&self.bytes, mask) }];
        }
        values
    }

    /// Adds TLVs and those that they hold; `None` if something is no TLV.
    fn objects(
        &self,
        objects: &[Result<Tlv<'_>, TlvError>],
        depth: usize,
        mask: &CardMask,
        values: &mut Vec<ValuePreview>,
    ) -> Option<()> {
        for object in objects {
            let object = object.as_ref().ok()?;
            let (tag, length) = (object.tag, object.value.len());
            let mut add = |shown| values.push(ValuePreview { depth, tag: Some(tag), length, shown });
            if tag.is_constructed() {
                add(MaskedText::default());
                let children: Vec<_> = object.children().ok()?.collect();
                self.objects(&children, depth + 1, mask, values)?;
            } else if DISCRETIONARY.contains(&tag) {
                add(Zeroizing::new("*".repeat(2 * length)));
            } else if tag == CARD_REMAINDER {
                add(Zeroizing::new(OF_KEY_PAIR.into()));
            } else {
                add(self.value(object.value, mask));
            }
        }
        Some(())
    }

    /// A part of the value in hex, and as text if it is one.
    fn value(&self, part: &[u8], mask: &CardMask) -> MaskedText {
        let from = part.as_ptr().addr().saturating_sub(self.bytes.as_ptr().addr());
        let end = from.saturating_add(part.len());
        let made = self.made.iter().find(|(range, _)| range.start < end && from < range.end);
        if let Some((_, what)) = made {
            return Zeroizing::new((*what).to_owned());
        }
        let mut shown = mask.bytes(part);
        if part.len() > 1 && part.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            let text: MaskedText = Zeroizing::new(part.iter().map(|byte| char::from(*byte)).collect());
            shown = Zeroizing::new([shown.as_str(), "  ", mask.text(&text).as_str()].concat());
        }
        shown
    }
}
