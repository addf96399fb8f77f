//! GFX and FUL: TLVs of tag u8, length u32, value (`src/manual/cwf1.md`, section 4). All text is UTF-8; an unknown
//! tag is an error.

use crate::ids::ProductName;

/// The template, texts and images to print. Cardholder data: no `Debug`.
pub struct GraphicsSection<'a> {
    /// Tag 01: the template's name.
    pub template: &'a str,
    /// Tag 02: field name and text, in the section's order, each name once.
    pub fields: Vec<(&'a str, &'a str)>,
    /// Tag 03: slot name and image (PNG or JPEG), in the section's order, each slot once.
    pub images: Vec<(&'a str, &'a [u8])>,
}

/// Where the card goes after the line. Reports show it: nothing in it is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FulfilmentSection {
    /// Tag 01: product of this card; else the Header's.
    pub product: Option<ProductName>,
    /// Tag 02: plastic stock code.
    pub stock: Option<String>,
    /// Tag 03: carrier.
    pub carrier: Option<String>,
    /// Tag 04: ship group.
    pub ship_group: Option<String>,
    /// Tag 05: priority.
    pub priority: Option<String>,
    /// Tag 06: group of cards that go together.
    pub group: Option<String>,
}

/// Parses a GFX section.
pub fn graphics(data: &[u8]) -> Result<GraphicsSection<'_>, String> {
    let mut template = None;
    let (mut fields, mut images) = (Vec::new(), Vec::new());
    for item in items(data)? {
        match item.tag {
            0x01 => once(&mut template, &item, item.text()?)?,
            0x02 => {
                let (name, value) = item.named()?;
                let value = std::str::from_utf8(value).map_err(|_| item.wrong("is not UTF-8"))?;
                unnamed(&fields, name, &item)?;
                fields.push((name, value));
            }
            0x03 => {
                let (name, value) = item.named()?;
                unnamed(&images, name, &item)?;
                images.push((name, value));
            }
            _ => return Err(item.wrong("is not known")),
        }
    }
    let template = template.ok_or("has no template name (tag 01)")?;
    Ok(GraphicsSection { template, fields, images })
}

/// Parses a FUL section.
pub fn fulfilment(data: &[u8]) -> Result<FulfilmentSection, String> {
    let mut fulfilment = FulfilmentSection::default();
    for item in items(data)? {
        let text = item.text()?;
        if text.chars().any(char::is_control) {
            return Err(item.wrong("has a control character"));
        }
        let place = match item.tag {
            0x01 => {
                let product = ProductName::new(text).map_err(|e| item.wrong(&e.to_string()))?;
                once(&mut fulfilment.product, &item, product)?;
                continue;
            }
            0x02 => &mut fulfilment.stock,
            0x03 => &mut fulfilment.carrier,
            0x04 => &mut fulfilment.ship_group,
            0x05 => &mut fulfilment.priority,
            0x06 => &mut fulfilment.group,
            _ => return Err(item.wrong("is not known")),
        };
        once(place, &item, text.to_owned())?;
    }
    Ok(fulfilment)
}

/// One TLV and where it begins.
struct SectionTlv<'a> {
    offset: usize,
    tag: u8,
    value: &'a [u8],
}

impl<'a> SectionTlv<'a> {
    fn wrong(&self, what: &str) -> String {
        format!("tag {:02X} at offset {} {what}", self.tag, self.offset)
    }

    fn text(&self) -> Result<&'a str, String> {
        std::str::from_utf8(self.value).map_err(|_| self.wrong("is not UTF-8"))
    }

    /// L1 name, then the rest.
    fn named(&self) -> Result<(&'a str, &'a [u8]), String> {
        let (length, rest) = self.value.split_first().ok_or_else(|| self.wrong("has no name"))?;
        let (name, value) = rest
            .split_at_checked(usize::from(*length))
            .ok_or_else(|| self.wrong("is shorter than its name"))?;
        if name.is_empty() {
            return Err(self.wrong("has an empty name"));
        }
        let name = std::str::from_utf8(name).map_err(|_| self.wrong("has a name that is not UTF-8"))?;
        Ok((name, value))
    }
}

fn items(data: &[u8]) -> Result<Vec<SectionTlv<'_>>, String> {
    let mut items = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let offset = data.len() - rest.len();
        let cut = || format!("the TLV at offset {offset} is cut short");
        let (tag, after) = rest.split_first().ok_or_else(cut)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut())?;
        let (value, after) = after.split_at_checked(length).ok_or_else(cut)?;
        items.push(SectionTlv { offset, tag: *tag, value });
        rest = after;
    }
    Ok(items)
}

fn once<T>(place: &mut Option<T>, item: &SectionTlv<'_>, value: T) -> Result<(), String> {
    if place.replace(value).is_some() { Err(item.wrong("stands twice")) } else { Ok(()) }
}

fn unnamed<T>(list: &[(&str, T)], name: &str, item: &SectionTlv<'_>) -> Result<(), String> {
    if list.iter().any(|(n, _)| *n == name) { Err(item.wrong("names a field twice")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
        [&[tag][..], &u32::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    }

    #[test]
    fn a_graphics_section_is_read() {
        let section =
            [tlv(1, b"front"), tlv(2, "\x04nameÅSE".as_bytes()), tlv(3, b"\x05photo\x89PNG")].concat();
        let graphics = graphics(&section).unwrap();
        assert_eq!(graphics.template, "front");
        assert_eq!(graphics.fields, [("name", "ÅSE")]);
        assert_eq!(graphics.images, [("photo", &b"\x89PNG"[..])]);
    }

    #[test]
    fn wrong_graphics_sections_are_refused() {
        let template = tlv(1, b"front");
        let with = |more: Vec<u8>| [template.clone(), more].concat();
        for (wrong, section) in [
            ("empty", vec![]),
            ("no template", tlv(2, b"\x01aX")),
            ("template twice", with(template.clone())),
            ("template not UTF-8", tlv(1, b"\xFF")),
            ("unknown tag", with(tlv(4, b""))),
            ("no name", with(tlv(2, b""))),
            ("empty name", with(tlv(2, b"\x00X"))),
            ("name too long", with(tlv(2, b"\x05abc"))),
            ("name not UTF-8", with(tlv(2, b"\x01\xFFX"))),
            ("text not UTF-8", with(tlv(2, b"\x01a\xC3"))),
            ("field twice", with([tlv(2, b"\x01aX"), tlv(2, b"\x01aY")].concat())),
            ("image slot twice", with([tlv(3, b"\x01aX"), tlv(3, b"\x01aY")].concat())),
            ("cut in the value", with(vec![2, 0, 0, 0, 2, 1])),
            ("cut in the length", with(vec![2, 0, 0])),
            ("cut after the tag", with(vec![2])),
            ("huge length", with(vec![2, 0xFF, 0xFF, 0xFF, 0xFF, 1])),
        ] {
            assert!(graphics(&section).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fulfilment_section_is_read() {
        let section = [tlv(1, b"multiapp"), tlv(5, b"express"), tlv(6, "Famille Müller".as_bytes())].concat();
        let read = fulfilment(&section).unwrap();
        assert_eq!(read.product.unwrap().as_str(), "multiapp");
        assert_eq!(read.priority.as_deref(), Some("express"));
        assert_eq!(read.group.as_deref(), Some("Famille Müller"));
        assert_eq!((read.stock, read.carrier, read.ship_group), (None, None, None));
        assert_eq!(fulfilment(&[]).unwrap(), FulfilmentSection::default());
    }

    #[test]
    fn wrong_fulfilment_sections_are_refused() {
        for (wrong, section) in [
            ("unknown tag", tlv(7, b"x")),
            ("tag 00", tlv(0, b"x")),
            ("twice", [tlv(2, b"a"), tlv(2, b"a")].concat()),
            ("product twice", [tlv(1, b"a"), tlv(1, b"a")].concat()),
            ("empty product", tlv(1, b"")),
            ("not UTF-8", tlv(3, b"\xFF")),
            ("control character", tlv(3, b"a\nb")),
            ("cut", vec![2, 0, 0, 0, 9, b'a']),
        ] {
            assert!(fulfilment(&section).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_name_tag_and_offset_and_quote_nothing() {
        let section = [tlv(1, b"front"), tlv(9, b"SECRET")].concat();
        assert_eq!(graphics(&section).err().unwrap(), "tag 09 at offset 10 is not known");
    }
}
