//! The language in which a product defines the value of a DGI or a line: `70{57{track2_chip}
//! 9F1F{track1_disc} 00}`.
//!
//! ```text
//! template = item*                      items are joined; blanks separate them and mean nothing
//! item     = HEX                        bytes: an even number of 0-9 A-F (upper case)
//!          | 'text'                     printable ASCII, without '
//!          | name                       a computed field (`fields::FIELDS`) or one of the product's own: a-z 0-9 _,
//!                                       begins with a-z
//!          | TAG{ template }            BER-TLV: the tag as HEX, directly before the brace; length minimal
//! ```
//!
//! These are errors, found when the profile is read: an unknown name, a tag that is not one BER tag, a
//! constructed tag with anything but TLVs inside, a primitive tag with TLVs inside. ISO/IEC 8825-1 8.1, ISO
//! 7816-4 5.2.2.

use super::fields::{self, CardField};
use super::own_field::OwnField;
use crate::hsm::{ValuePart, WipedBytes};

/// A template, parsed once for a run.
pub struct DataTemplate(Vec<PlacedItem>);

/// An item and the number of its first character in the template, from 1.
struct PlacedItem {
    at: usize,
    item: TemplateItem,
}

enum TemplateItem {
    Text(Vec<u8>),
    Hex(Vec<u8>),
    Field(CardField),
    Tlv { tag: Vec<u8>, content: DataTemplate },
}

/// A fault of a template. It may quote the template, because profiles hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template, character {at}: {what}")]
pub struct TemplateError {
    /// Position of the fault: the number of a character, from 1.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

/// The values of the fields of one card.
pub trait FieldValues {
    /// Returns the value of a field; `None` if the card has none.
    fn value(&self, field: CardField) -> Option<FieldValue<'_>>;
}

/// The value of a field.
#[derive(Clone, Copy)]
pub enum FieldValue<'a> {
    /// Known bytes.
    Bytes(&'a [u8]),
    /// Made inside the issuer's HSM, with this many bytes.
    Made(&'a ValuePart, usize),
}

impl<'a> FieldValue<'a> {
    /// The bytes, if they are known.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Made(..) => None,
        }
    }
}

/// A rendered template: known bytes, and parts that the issuer's HSM makes.
#[derive(Default)]
pub struct Rendered {
    /// The parts in order; no two known ones follow each other.
    pub parts: Vec<ValuePart>,
    /// Bytes of all parts together.
    pub length: usize,
}

impl Rendered {
    /// Adds known bytes. `room` is the length of the whole value, so that no buffer grows.
    fn bytes(&mut self, bytes: &[u8], room: usize) {
        self.length += bytes.len();
        match self.parts.last_mut() {
            Some(ValuePart::Clear(last)) => last.extend_from_slice(bytes),
            _ => {
                let mut first = WipedBytes::with_capacity(room);
                first.extend_from_slice(bytes);
                self.parts.push(ValuePart::Clear(first));
            }
        }
    }

    /// The whole value, if the HSM makes no part of it.
    pub fn known(self) -> Option<WipedBytes> {
        let mut parts = self.parts.into_iter();
        match (parts.next(), parts.next()) {
            (None, None) => Some(WipedBytes::default()),
            (Some(ValuePart::Clear(bytes)), None) => Some(bytes),
            _ => None,
        }
    }
}

/// Deepest nesting of templates. Real data has two or three levels, so a deeper template is a mistake.
const MAX_DEPTH: usize = 8;

impl DataTemplate {
    /// Parses and checks a template of a product with these own fields.
    pub fn parse(text: &str, own: &[OwnField]) -> Result<Self, TemplateError> {
        let mut parser = TemplateParser { rest: text, length: text.len(), own };
        let template = parser.template(0)?;
        match parser.peek() {
            None => Ok(template),
            Some(_) => Err(parser.error("a } without its {")),
        }
    }

    /// Returns the value for one card. The error is the first field for which the card has no value.
    pub fn render(&self, values: &impl FieldValues) -> Result<Rendered, CardField> {
        let room = self.rendered_length(values)?;
        let mut out = Rendered::default();
        self.render_into(&mut out, values, room)?;
        Ok(out)
    }

    fn render_into(
        &self,
        out: &mut Rendered,
        values: &impl FieldValues,
        room: usize,
    ) -> Result<(), CardField> {
        for PlacedItem { item, .. } in &self.0 {
            match item {
                TemplateItem::Text(bytes) | TemplateItem::Hex(bytes) => out.bytes(bytes, room),
                TemplateItem::Field(field) => match values.value(*field).ok_or(*field)? {
                    FieldValue::Bytes(bytes) => out.bytes(bytes, room),
                    FieldValue::Made(part, length) => {
                        out.parts.push(part.clone());
                        out.length += length;
                    }
                },
                TemplateItem::Tlv { content, .. } if content.falls_out(values) => {}
                TemplateItem::Tlv { tag, content } => {
                    out.bytes(tag, room);
                    let (digits, count) = ber_length(content.rendered_length(values)?);
                    out.bytes(digits.get(..count).unwrap_or_default(), room);
                    content.render_into(out, values, room)?;
                }
            }
        }
        Ok(())
    }

    /// The length of the value for one card.
    fn rendered_length(&self, values: &impl FieldValues) -> Result<usize, CardField> {
        let each = self.0.iter().map(|placed| match &placed.item {
            TemplateItem::Text(bytes) | TemplateItem::Hex(bytes) => Ok(bytes.len()),
            TemplateItem::Field(field) => match values.value(*field).ok_or(*field)? {
                FieldValue::Bytes(bytes) => Ok(bytes.len()),
                FieldValue::Made(_, length) => Ok(length),
            },
            TemplateItem::Tlv { content, .. } if content.falls_out(values) => Ok(0),
            TemplateItem::Tlv { tag, content } => {
                let content = content.rendered_length(values)?;
                Ok(tag.len() + ber_length(content).1 + content)
            }
        });
        each.sum()
    }

    /// Whether the template is one field that has no value and may fall out.
    pub(super) fn falls_out(&self, values: &impl FieldValues) -> bool {
        let [PlacedItem { item: TemplateItem::Field(field), .. }] = self.0.as_slice() else { return false };
        field.may_fall_out() && values.value(*field).is_none()
    }

    /// Whether a TLV with this tag stands in the template.
    pub fn holds_tag(&self, wanted: &[u8]) -> bool {
        self.0.iter().any(|placed| match &placed.item {
            TemplateItem::Tlv { tag, content } => tag == wanted || content.holds_tag(wanted),
            TemplateItem::Text(_) | TemplateItem::Hex(_) | TemplateItem::Field(_) => false,
        })
    }

    /// Returns the length of the value of a TLV with this tag; `None` without one, or if the length depends on the card.
    pub fn length_of(&self, wanted: &[u8]) -> Option<usize> {
        self.0.iter().find_map(|placed| match &placed.item {
            TemplateItem::Tlv { tag, content } if tag == wanted => content.length(),
            TemplateItem::Tlv { content, .. } => content.length_of(wanted),
            TemplateItem::Text(_) | TemplateItem::Hex(_) | TemplateItem::Field(_) => None,
        })
    }

    /// The length of the value, if it is the same on every card. A TLV inside is not looked into.
    fn length(&self) -> Option<usize> {
        let each = self.0.iter().map(|placed| match &placed.item {
            TemplateItem::Text(bytes) | TemplateItem::Hex(bytes) => Some(bytes.len()),
            TemplateItem::Field(field) => field.length(),
            TemplateItem::Tlv { .. } => None,
        });
        each.sum()
    }

    /// Returns the bytes for one card, for a template without a field that the HSM makes. The error is the first field that
    /// has no value, or one that the HSM makes.
    pub fn render_known(&self, values: &impl FieldValues) -> Result<WipedBytes, CardField> {
        let made = || self.fields().into_iter().find(|field| field.secret());
        // `plan` has refused such templates, so a secret field is there whenever bytes are missing.
        self.render(values)?.known().ok_or_else(|| made().unwrap_or(CardField::PinBlock))
    }

    /// Returns every field that the template names.
    pub fn fields(&self) -> Vec<CardField> {
        let each = |placed: &PlacedItem| match &placed.item {
            TemplateItem::Text(_) | TemplateItem::Hex(_) => Vec::new(),
            TemplateItem::Field(field) => vec![*field],
            TemplateItem::Tlv { content, .. } => content.fields(),
        };
        self.0.iter().flat_map(each).collect()
    }

    /// Visits the tag and the content of every TLV.
    pub fn each_content<'t>(&'t self, visit: &mut impl FnMut(&'t [u8], &'t DataTemplate)) {
        for PlacedItem { item, .. } in &self.0 {
            if let TemplateItem::Tlv { tag, content } = item {
                visit(tag, content);
                content.each_content(visit);
            }
        }
    }

    /// Whether the template is exactly one TLV with this tag.
    pub fn is_one(&self, wanted: &[u8]) -> bool {
        matches!(self.0.as_slice(), [PlacedItem { item: TemplateItem::Tlv { tag, .. }, .. }] if tag == wanted)
    }

    /// Whether the template is exactly this one field.
    pub fn is_field(&self, wanted: CardField) -> bool {
        matches!(self.0.as_slice(), [PlacedItem { item: TemplateItem::Field(field), .. }] if *field == wanted)
    }

    /// Checks that the template makes a text of these characters, as far as that does not depend on a card:
    /// literal text, and the fields by the text that each has on a made-up card.
    pub fn check_text(&self, allowed: impl Fn(u8) -> bool) -> Result<(), TemplateError> {
        let fail = |at, what: String| Err(TemplateError { at, what });
        for PlacedItem { at, item } in &self.0 {
            let wrong = |bytes: &[u8]| bytes.iter().position(|b| !allowed(*b));
            let place = match item {
                // After the quotation mark, and two digits for a byte.
                TemplateItem::Text(bytes) => wrong(bytes).map(|place| at + 1 + place),
                TemplateItem::Hex(bytes) => wrong(bytes).map(|place| at + 2 * place),
                TemplateItem::Field(field) => match field.example() {
                    None => return fail(*at, format!("{} is bytes for the chip, not text", field.name())),
                    Some(text) if wrong(text.as_bytes()).is_some() => {
                        return fail(*at, format!("{} has characters that cannot stand here", field.name()));
                    }
                    Some(_) => None,
                },
                TemplateItem::Tlv { .. } => {
                    return fail(*at, "TAG{...} is bytes for the chip, not text".into());
                }
            };
            if let Some(place) = place {
                return fail(place, "a character that cannot stand here".into());
            }
        }
        Ok(())
    }
}

/// Returns a definite, minimal BER length and its number of bytes. A value has at most 65,535 bytes, so two bytes of length are
/// enough.
fn ber_length(length: usize) -> ([u8; 3], usize) {
    let [.., high, low] = length.to_be_bytes();
    match length {
        0..=0x7F => ([low, 0, 0], 1),
        0x80..=0xFF => ([0x81, low, 0], 2),
        _ => ([0x82, high, low], 3),
    }
}

struct TemplateParser<'a> {
    rest: &'a str,
    length: usize,
    own: &'a [OwnField],
}

impl<'a> TemplateParser<'a> {
    fn template(&mut self, depth: usize) -> Result<DataTemplate, TemplateError> {
        if depth > MAX_DEPTH {
            return Err(self.error("templates nested too deep"));
        }
        let mut items = Vec::new();
        loop {
            let at = self.at();
            let item = match self.peek() {
                None | Some('}') => return Ok(DataTemplate(items)),
                Some(' ' | '\n' | '\r' | '\t') => {
                    self.take_while(|c| c.is_ascii_whitespace());
                    continue;
                }
                Some('\'') => self.text()?,
                Some('a'..='z') => self.field()?,
                Some('0'..='9' | 'A'..='F') => self.hex_or_tlv(depth)?,
                Some(_) => return Err(self.error("neither HEX, 'text', a field name nor TAG{...}")),
            };
            items.push(PlacedItem { at, item });
        }
    }

    fn text(&mut self) -> Result<TemplateItem, TemplateError> {
        let Some((text, rest)) = self.rest.strip_prefix('\'').and_then(|r| r.split_once('\'')) else {
            return Err(self.error("a text without its closing '"));
        };
        if !text.bytes().all(|b| (0x20..=0x7E).contains(&b)) {
            return Err(self.error("a text that is not printable ASCII"));
        }
        self.rest = rest;
        Ok(TemplateItem::Text(text.as_bytes().to_vec()))
    }

    fn field(&mut self) -> Result<TemplateItem, TemplateError> {
        let before = self.error("");
        let name = self.take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        match fields::by_name(name, self.own) {
            Some(field) => Ok(TemplateItem::Field(field)),
            None => Err(TemplateError { what: fields::unknown(name, self.own), ..before }),
        }
    }

    fn hex_or_tlv(&mut self, depth: usize) -> Result<TemplateItem, TemplateError> {
        let before = self.error("");
        let fail = |what: &str| TemplateError { what: what.into(), ..before.clone() };
        let digits = self.take_while(|c| matches!(c, '0'..='9' | 'A'..='F'));
        let bytes = hex::decode(digits).map_err(|_| fail("an odd number of hex digits"))?;
        let Some(inside) = self.rest.strip_prefix('{') else { return Ok(TemplateItem::Hex(bytes)) };
        if !is_tag(&bytes) {
            return Err(fail("the text before the { is not one BER tag"));
        }
        self.rest = inside;
        let content = self.template(depth + 1)?;
        self.rest = self.rest.strip_prefix('}').ok_or_else(|| fail("a { without its }"))?;
        let constructed = bytes.first().is_some_and(|b| b & 0x20 != 0);
        let fits =
            content.0.iter().all(|placed| matches!(placed.item, TemplateItem::Tlv { .. }) == constructed);
        if !fits {
            return Err(fail(match constructed {
                true => "a constructed tag holds only TLVs",
                false => "a primitive tag holds no TLVs",
            }));
        }
        Ok(TemplateItem::Tlv { tag: bytes, content })
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn error(&self, what: &str) -> TemplateError {
        TemplateError { at: self.at(), what: what.into() }
    }

    /// Returns the number of the next character, from 1.
    fn at(&self) -> usize {
        self.length - self.rest.len() + 1
    }
}

/// Whether the bytes are one BER tag of 1 to 3 bytes. If the low five bits of the first byte are all set,
/// more bytes follow, up to and including the first one without bit 8.
fn is_tag(bytes: &[u8]) -> bool {
    match bytes {
        [0x00 | 0xFF] | [] => false,
        [one] => one & 0x1F != 0x1F,
        [first, middle @ .., last] => {
            let long = first & 0x1F == 0x1F && bytes.len() <= 3;
            let leading_zero = matches!(bytes, [_, 0x80, ..]);
            long && !leading_zero && middle.iter().all(|b| b & 0x80 != 0) && last & 0x80 == 0
        }
    }
}

#[cfg(test)]
mod tests;
