//! The sections of a record for stripe, embossing, print and fulfilment (`src/manual/cwf1.md` section 4).
//!
//! Not here: the chip (`clear`, `protect`), how a machine treats the lines (`modules`).

use std::path::Path;

use zeroize::Zeroizing;

use super::ClearBytes;
use super::columns::{Column, printable};
use super::fields::CardValues;
use super::input::{Cardholder, InputError};
use super::photo;
use super::plan::{GraphicsPlan, PrepPlan, PrintedLine};
use super::template::{DataTemplate, FieldValues};
use super::transliterate::{is_latin1_text, spelled};
use crate::modules::sections::check_track;
use crate::wiped::WipedBytes;

/// Returns MIC and data of every section that the card has, in file order. `folder` is the folder of the
/// photos. The fault names the column, or the part of the product for which the card has no data.
pub fn sections(
    plan: &PrepPlan,
    card: &Cardholder,
    values: &CardValues,
    folder: &Path,
) -> Result<Vec<(&'static str, ClearBytes)>, InputError> {
    let fail = |what: String| InputError::Line { place: card.place.clone(), what };
    let mut sections = Vec::new();
    let mut add = |mic, data: ClearBytes| {
        if !data.is_empty() {
            sections.push((mic, data));
        }
    };
    add("MAG", stripe(plan, values).map_err(fail)?);
    add("EMB", lines(plan, &plan.emboss, values).map_err(fail)?);
    add("IND", lines(plan, &plan.indent, values).map_err(fail)?);
    if let Some(graphics) = &plan.graphics {
        let images = images(graphics, card, folder)?;
        add("GFX", self::graphics(graphics, &images, &values.printed()).map_err(fail)?);
    }
    add("FUL", fulfilment(card).map_err(fail)?);
    Ok(sections)
}

/// Returns a buffer that need not grow: growing could leave unwiped cardholder data in freed memory.
fn buffer() -> ClearBytes {
    Zeroizing::new(Vec::with_capacity(1024))
}

/// Writes `~n` and the track with its sentinels, after the check that the bureau makes at acceptance.
fn stripe(plan: &PrepPlan, values: &CardValues) -> Result<ClearBytes, String> {
    let mut data = buffer();
    for (number, template) in &plan.stripe {
        let track = track(plan, template, values).map_err(|what| format!("stripe.track{number}: {what}"))?;
        check_track(*number, &track).map_err(|what| format!("stripe.track{number}: {what}"))?;
        data.extend_from_slice(format!("~{number}").as_bytes());
        data.extend_from_slice(&track);
        data.extend_from_slice(b"\r\n");
    }
    Ok(data)
}

/// Renders a track. Its set has no lower case, so spelled text is written in capitals.
fn track(plan: &PrepPlan, template: &DataTemplate, values: &CardValues) -> Result<WipedBytes, String> {
    let mut track = known(template, values)?;
    if plan.input.transliterate {
        track.make_ascii_uppercase();
    }
    Ok(track)
}

/// Writes lines in ISO 8859-1, the character set of their section. A line of one optional field that the card lacks falls
/// out.
fn lines(plan: &PrepPlan, lines: &[PrintedLine], values: &CardValues) -> Result<ClearBytes, String> {
    let mut data = buffer();
    let values = values.printed();
    for line in lines.iter().filter(|line| !line.text.falls_out(&values)) {
        let place = format!("the line at {};{};{}", line.font, line.x, line.y);
        let fail = |what: String| format!("{place}: {what}");
        let text = embossed(plan, &text(&line.text, &values).map_err(fail)?).map_err(fail)?;
        data.extend_from_slice(format!("~EM%{};{};{};", line.font, line.x, line.y).as_bytes());
        data.extend_from_slice(&text);
        data.extend_from_slice(b"\r\n");
    }
    Ok(data)
}

/// Returns a text in ISO 8859-1.
fn embossed(plan: &PrepPlan, text: &str) -> Result<ClearBytes, String> {
    let text = match plan.input.transliterate {
        true => spelled(text, is_latin1_text),
        false => Some(Zeroizing::new(text.to_owned())).filter(|text| text.chars().all(is_latin1_text)),
    };
    let text = text.ok_or("a line of embossing or indent print holds < or >, or what ISO 8859-1 has not")?;
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.map(Zeroizing::new).map_err(|_| "a line holds what ISO 8859-1 has not".into())
}

/// A slot of the graphics template and its image.
type SlotImage<'a> = (&'a str, Zeroizing<Vec<u8>>);

/// Reads the images that the card has.
fn images<'a>(
    graphics: &'a GraphicsPlan,
    card: &Cardholder,
    folder: &Path,
) -> Result<Vec<SlotImage<'a>>, InputError> {
    let mut images = Vec::new();
    for (slot, column) in &graphics.images {
        if let Some(file) = card.get(*column) {
            let fault = |what| {
                let (place, column) = (card.place.clone(), column.name().to_owned());
                InputError::Value { place, column, what }
            };
            images.push((slot.as_str(), photo::read(folder, file).map_err(fault)?));
        }
    }
    Ok(images)
}

/// Writes the TLVs of GFX. 01: template name. 02: text field, L1 name, then UTF-8. 03: image, L1 slot, then
/// PNG or JPEG. A text of one optional field that the card lacks falls out.
fn graphics(
    graphics: &GraphicsPlan,
    images: &[SlotImage<'_>],
    values: &impl FieldValues,
) -> Result<ClearBytes, String> {
    let room: usize = images.iter().map(|(_, image)| image.len()).sum();
    let mut data = Zeroizing::new(Vec::with_capacity(2048 + room));
    push_tlv(&mut data, 0x01, &[graphics.template.as_bytes()])?;
    for (name, template) in graphics.text.iter().filter(|(_, template)| !template.falls_out(values)) {
        let text = text(template, values).map_err(|what| format!("graphics field {name}: {what}"))?;
        push_tlv(&mut data, 0x02, &[&[length(name)?], name.as_bytes(), text.as_bytes()])?;
    }
    for (slot, image) in images {
        push_tlv(&mut data, 0x03, &[&[length(slot)?], slot.as_bytes(), image])?;
    }
    Ok(data)
}

fn length(name: &str) -> Result<u8, String> {
    u8::try_from(name.len()).map_err(|_| "a graphics name is over 255 bytes".to_owned())
}

/// The tags of the FUL section and their columns. Tag 01 (product) is left out, which means the product of
/// the Header.
pub(super) const FULFILMENT: [(u8, Column); 5] = [
    (0x02, Column::Stock),
    (0x03, Column::Carrier),
    (0x04, Column::ShipGroup),
    (0x05, Column::Priority),
    (0x06, Column::Group),
];

fn fulfilment(card: &Cardholder) -> Result<ClearBytes, String> {
    let mut data = buffer();
    for (tag, column) in FULFILMENT {
        if let Some(value) = card.get(column) {
            push_tlv(&mut data, tag, &[value.as_bytes()])?;
        }
    }
    Ok(data)
}

/// Adds a TLV: tag u8, length u32, value.
fn push_tlv(data: &mut ClearBytes, tag: u8, value: &[&[u8]]) -> Result<(), String> {
    let length: usize = value.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).map_err(|_| "a value is over 4 GiB".to_owned())?;
    data.push(tag);
    data.extend_from_slice(&length.to_be_bytes());
    value.iter().for_each(|part| data.extend_from_slice(part));
    Ok(())
}

/// Renders a text for print.
fn text(template: &DataTemplate, values: &impl FieldValues) -> Result<Zeroizing<String>, String> {
    let bytes = known(template, values)?;
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.chars().all(printable));
    text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| "holds what cannot be printed".into())
}

fn known(template: &DataTemplate, values: &impl FieldValues) -> Result<WipedBytes, String> {
    template.render_known(values).map_err(|field| format!("the card has no {}", field.name()))
}
