//! A preview as text for people.

use std::fmt::Write;

use zeroize::Zeroizing;

use super::{ApplicationPreview, CardPreview, DgiPreview, MaskedText, ValuePreview};
use crate::modules::template::ReliefLine;
use crate::tlv::Tag;

/// Room for a text, so that growing seldom leaves a copy behind.
const ROOM: usize = 16 << 10;

impl CardPreview {
    /// The preview as text.
    pub fn text(&self) -> MaskedText {
        let mut out = Zeroizing::new(String::with_capacity(ROOM));
        let media = &self.media;
        line(&mut out, &format!("{}, card_ref {}, product {}", self.place, self.card_ref, self.product));
        if !media.stripe.is_empty() {
            line(&mut out, "\nStripe");
        }
        for (number, track) in &media.stripe {
            line(&mut out, &format!("  {number}  {}", track.as_str()));
        }
        media.relief.iter().for_each(|(name, lines)| relief(&mut out, name, lines));
        if let Some(graphics) = &media.graphics {
            line(&mut out, &format!("\nGraphics, template {}", graphics.template));
            for (name, text) in &graphics.texts {
                line(&mut out, &format!("  {name:<12}  {}", text.as_str()));
            }
            for (name, image) in &graphics.images {
                line(&mut out, &format!("  {name:<12}  image, {} bytes", image.len()));
            }
        }
        if !media.fulfilment.is_empty() {
            line(&mut out, "\nFulfilment");
        }
        for (name, text) in &media.fulfilment {
            line(&mut out, &format!("  {name:<12}  {}", text.as_str()));
        }
        self.applications.iter().for_each(|part| application(&mut out, part));
        out
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn relief(out: &mut String, name: &str, lines: &[ReliefLine]) {
    if !lines.is_empty() {
        line(out, &format!("\n{name} (font;x;y)"));
    }
    for ReliefLine { font, x, y, text } in lines {
        line(out, &format!("  {:<12}  {}", format!("{font};{x};{y}"), text.as_str()));
    }
}

fn application(out: &mut String, part: &ApplicationPreview) {
    line(out, &format!("\nApplication {}, SECLEV {:02X}", part.aid, part.level));
    for DgiPreview { dgi, length, secret, values } in &part.dgis {
        match (secret, values.as_slice()) {
            (Some(enc), _) => {
                line(out, &format!("  {dgi}  {length:>4} bytes  secret, ENC {:02X}", enc.byte()))
            }
            (None, [ValuePreview { tag: None, shown, .. }]) => {
                line(out, &format!("  {dgi}  {length:>4} bytes  {}", shown.as_str()));
            }
            (None, values) => {
                line(out, &format!("  {dgi}  {length:>4} bytes"));
                values.iter().for_each(|value| tlv(out, value));
            }
        }
    }
}

fn tlv(out: &mut String, value: &ValuePreview) {
    let tag: String =
        value.tag.iter().flat_map(|tag: &Tag| tag.bytes()).fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02X}");
            text
        });
    let indent = 8 + 2 * value.depth;
    line(out, format!("{:indent$}{tag:<4}  {:>3}  {}", "", value.length, value.shown.as_str()).trim_end());
}
