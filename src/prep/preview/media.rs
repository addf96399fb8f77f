//! What stripe, embosser and printer will show of a card: its sections as the bureau's modules read them, with what must
//! not be shown hidden.
//!
//! Not here: the chip (`chip`), how a text is hidden (`mask`).

use zeroize::Zeroizing;

use super::mask::{CardMask, MaskedText};
use crate::modules::sections::{FulfilmentSection, emboss_lines, fulfilment, graphics, tracks};
use crate::modules::template::ReliefLine;
use crate::prep::ClearBytes;
use crate::record::Section;

/// What the media of a card show.
#[derive(Default)]
pub struct MediaPreview {
    /// Number and text of each track, without sentinels.
    pub stripe: Vec<(u8, MaskedText)>,
    /// Lines that stand in relief, each kind with its name.
    pub relief: Vec<(&'static str, Vec<ReliefLine>)>,
    /// What is printed.
    pub graphics: Option<GraphicsPreview>,
    /// Name and text of each fulfilment field.
    pub fulfilment: Vec<(&'static str, MaskedText)>,
}

/// What is printed on a card.
pub struct GraphicsPreview {
    /// Name of the graphics template.
    pub template: String,
    /// Each text field.
    pub texts: Vec<(String, MaskedText)>,
    /// Each image slot with its picture.
    pub images: Vec<(String, ClearBytes)>,
}

/// Reads the sections of a card. The error says which section the bureau would refuse.
pub(super) fn media(sections: &[Section], mask: &CardMask) -> Result<MediaPreview, String> {
    let mut media = MediaPreview::default();
    for section in sections {
        let mic = section.mic.as_str();
        read(&mut media, mic, &section.data, mask).map_err(|what| format!("section {mic}: {what}"))?;
    }
    Ok(media)
}

fn read(media: &mut MediaPreview, mic: &str, data: &[u8], mask: &CardMask) -> Result<(), String> {
    match mic {
        "MAG" => {
            let found = tracks(data)?;
            let found = [(1, found.t1), (2, found.t2), (3, found.t3)];
            media.stripe = found.iter().filter_map(|(n, text)| Some((*n, mask.text((*text)?)))).collect();
        }
        "EMB" => media.relief.push(("Embossing", relief(data, mask)?)),
        "IND" => media.relief.push(("Indent print", relief(data, mask)?)),
        "GFX" => {
            let found = graphics(data)?;
            let texts = found.fields.iter().map(|(name, text)| ((*name).to_owned(), mask.text(text)));
            let images =
                found.images.iter().map(|(name, image)| ((*name).to_owned(), Zeroizing::new(image.to_vec())));
            let (texts, images) = (texts.collect(), images.collect());
            media.graphics = Some(GraphicsPreview { template: found.template.to_owned(), texts, images });
        }
        "FUL" => {
            let FulfilmentSection { product, stock, carrier, ship_group, priority, group } =
                fulfilment(data)?;
            let product = product.map(|name| name.to_string());
            let fields = [
                ("product", product),
                ("stock", stock),
                ("carrier", carrier),
                ("ship_group", ship_group),
                ("priority", priority),
                ("group", group),
            ];
            media.fulfilment =
                fields.into_iter().filter_map(|(name, text)| Some((name, mask.text(&text?)))).collect();
        }
        _ => return Err("it is of a kind that a preview does not show".into()),
    }
    Ok(())
}

fn relief(data: &[u8], mask: &CardMask) -> Result<Vec<ReliefLine>, String> {
    let lines = emboss_lines(data)?;
    let shown = lines.iter().map(|line| {
        let text: MaskedText = Zeroizing::new(line.text.iter().map(|byte| char::from(*byte)).collect());
        ReliefLine { font: line.font, x: line.x, y: line.y, text: mask.text(&text) }
    });
    Ok(shown.collect())
}
