//! Graphics templates: an SVG for the front and perhaps one for the back, rendered to the printer's pixels.
//!
//! A side is drawn on white from bottom to top:
//!
//! 1. The background: everything before the last group `<g id="fields">`. It looks alike on every card and is
//!    rendered once.
//! 2. Slots: a shape of the background with `id="slot:NAME"` marks the place of the record's image of that name, as
//!    `<rect id="slot:photo" x="763" y="140" width="184" height="230" rx="12" fill="#ddd"/>`. The image is scaled to
//!    cover the shape's box, cut evenly at both ends of its longer side, clipped to the shape, and drawn over it with
//!    its transparency. With `id="optional-slot:NAME"` a card may lack the image, and the bare shape stays. Any shape
//!    on the card will do, with a fill or without; the image does not inherit the shape's opacity or mask.
//! 3. Fields: the group `<g id="fields">`, last element of the SVG, with `{{name}}` at the place of a record's text.
//!    A side without the group looks alike on every card and is packed once.
//!
//! A name may stand on both sides and then shows the same text or image on both. Only the embedded font is known: no
//! system fonts, no references to files or images.
//!
//! At acceptance, [`check`] finds all that could be wrong with the graphics of a record: wrong templates, fields and
//! images, texts with characters that cannot be printed, a text that is too wide, an image that cannot be decoded. It
//! draws nothing. [`GraphicsTemplate::render`], which the printer's module calls before the card is fed, draws.
//!
//! A bureau's own templates come before the shipped ones (`profile::graphics`).

mod relief;
mod room;
mod side;
mod slot;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

pub use self::relief::ReliefLine;
use self::side::{HEIGHT, TemplateSide, WIDTH};
use super::sections::GraphicsSection;
use crate::picture;
use crate::profile::graphics::{self, TemplateText};

/// Longest text of a field, in characters: more than twice a card's name line (27, ISO 7811-3).
const TEXT_MAX: usize = 64;

/// A template, ready to render.
pub struct GraphicsTemplate {
    front: TemplateSide,
    back: Option<TemplateSide>,
}

/// The pictures for the printer: PNGs of 1011 x 638 pixels.
pub struct SidePictures {
    /// The front.
    pub front: Zeroizing<Vec<u8>>,
    /// The back, if the template has one.
    pub back: Option<Zeroizing<Vec<u8>>>,
}

/// Checks a record's graphics without drawing them. What passes can be drawn.
pub fn check(graphics: &GraphicsSection<'_>) -> Result<(), String> {
    named(graphics.template)?.try_out(graphics)
}

/// Time after which the files of a template are looked at again.
const STALE: Duration = Duration::from_secs(1);
/// Most templates that are held, at some 5 MiB each.
const HELD: usize = 8;

/// A template that was used.
struct HeldTemplate {
    looked_at: Instant,
    text: TemplateText,
    parsed: Result<Arc<GraphicsTemplate>, String>,
}

/// A template by the name that a record gives; parsed and its background drawn at first use, and again when its files
/// have changed.
pub fn named(name: &str) -> Result<Arc<GraphicsTemplate>, String> {
    static TEMPLATES: Mutex<BTreeMap<String, HeldTemplate>> = Mutex::new(BTreeMap::new());
    let mut held = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(template) = held.get(name)
        && template.looked_at.elapsed() < STALE
    {
        return template.parsed.clone();
    }
    let Some(text) = graphics::template(name)? else {
        held.remove(name);
        let known = graphics::names().join(", ");
        return Err(format!("names a template that does not exist; there are {known}"));
    };
    let looked_at = Instant::now();
    if let Some(template) = held.get_mut(name).filter(|template| template.text == text) {
        template.looked_at = looked_at;
        return template.parsed.clone();
    }
    let parsed = GraphicsTemplate::parse(&text.front, text.back.as_deref());
    let parsed =
        parsed.map(Arc::new).map_err(|what| format!("needs {}, which is wrong: {what}", text.origin));
    if held.len() >= HELD {
        held.pop_first();
    }
    held.insert(name.to_owned(), HeldTemplate { looked_at, text, parsed: parsed.clone() });
    parsed
}

/// A front that shows a station's name, for a test blank.
pub fn mark(station: &str) -> Result<SidePictures, String> {
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\">\
         <text x=\"80\" y=\"340\" font-size=\"90\">{}</text></svg>",
        station.to_uppercase()
    );
    let nothing = GraphicsSection { template: "", fields: Vec::new(), images: Vec::new() };
    GraphicsTemplate::parse(&svg, None)?.render(&nothing)
}

/// A card without graphics, with what is embossed or indented on it, for a person.
pub fn bare<'l>(lines: impl Iterator<Item = &'l ReliefLine> + Clone) -> Result<SidePictures, String> {
    let svg =
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\"></svg>");
    let nothing = GraphicsSection { template: "", fields: Vec::new(), images: Vec::new() };
    let back = lines.clone().any(ReliefLine::is_on_back).then_some(svg.as_str());
    GraphicsTemplate::parse(&svg, back)?.render_with(&nothing, lines)
}

impl GraphicsTemplate {
    /// Parses a template and draws its backgrounds.
    pub fn parse(front: &str, back: Option<&str>) -> Result<Self, String> {
        let front = TemplateSide::parse(front).map_err(|what| format!("front: {what}"))?;
        let back = back.map(TemplateSide::parse).transpose().map_err(|what| format!("back: {what}"))?;
        Ok(Self { front, back })
    }

    fn sides(&self) -> impl Iterator<Item = &TemplateSide> {
        std::iter::once(&self.front).chain(&self.back)
    }

    /// Whether it prints the back too.
    pub fn has_back(&self) -> bool {
        self.back.is_some()
    }

    /// Names of the fields, in the order in which they stand, each once.
    pub fn fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for name in self.sides().flat_map(TemplateSide::fields) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Checks that there is every field of the template and no other, every image that it needs and none without a
    /// slot, and that texts and images can be printed.
    pub fn check(&self, graphics: &GraphicsSection<'_>) -> Result<(), String> {
        self.check_images(graphics)?;
        let names = self.fields();
        if let Some(missing) = names.iter().find(|n| !graphics.fields.iter().any(|(f, _)| f == *n)) {
            return Err(format!("field {missing} of the template is missing"));
        }
        if graphics.fields.iter().any(|(f, _)| !names.contains(f)) {
            return Err(format!("has a field that the template lacks; it has {}", names.join(", ")));
        }
        for name in names {
            let text = value(graphics, name);
            if text.chars().count() > TEXT_MAX {
                return Err(format!("field {name} is longer than {TEXT_MAX} characters"));
            }
            if !text.chars().all(printable) {
                return Err(format!("field {name} has a character that cannot be printed"));
            }
        }
        Ok(())
    }

    fn check_images(&self, graphics: &GraphicsSection<'_>) -> Result<(), String> {
        let slots = || self.sides().flat_map(|side| side.slots());
        if let Some(missing) = slots().find(|s| !s.optional && s.image(graphics).is_none()) {
            return Err(format!("image {} of the template is missing", missing.name));
        }
        for (name, image) in &graphics.images {
            // The template's spelling: nothing of the record is quoted.
            let Some(slot) = slots().find(|s| s.name == *name) else {
                return Err("has an image for which the template has no slot".into());
            };
            picture::check(image).map_err(|what| format!("image {} {what}", slot.name))?;
        }
        Ok(())
    }

    /// Checks as [`Self::check`] does, decodes every image, and checks that every text fits.
    pub fn try_out(&self, graphics: &GraphicsSection<'_>) -> Result<(), String> {
        self.check(graphics)?;
        for (name, image) in &graphics.images {
            // The template's spelling: nothing of the record is quoted.
            let slot = self.sides().flat_map(TemplateSide::slots).find(|slot| slot.name == *name);
            let slot = slot.map_or("", |slot| slot.name.as_str());
            picture::decode(image).map_err(|what| format!("image {slot} {what}"))?;
        }
        self.sides().try_for_each(|side| side.check_texts(graphics))
    }

    /// Draws the card. Equal texts and images give equal bytes.
    pub fn render(&self, graphics: &GraphicsSection<'_>) -> Result<SidePictures, String> {
        self.check(graphics)?;
        let front = self.front.render(graphics, None)?;
        let back = self.back.as_ref().map(|side| side.render(graphics, None)).transpose()?;
        Ok(SidePictures { front, back })
    }

    /// Draws the card with what is embossed or indented on it, for a person.
    pub fn render_with<'l>(
        &self,
        graphics: &GraphicsSection<'_>,
        lines: impl Iterator<Item = &'l ReliefLine> + Clone,
    ) -> Result<SidePictures, String> {
        self.check(graphics)?;
        let of_side = |back| relief::picture(lines.clone().filter(move |line| line.is_on_back() == back));
        let front = self.front.render(graphics, Some(&of_side(false)?))?;
        let relief = of_side(true)?;
        let back = self.back.as_ref().map(|side| side.render(graphics, Some(&relief))).transpose()?;
        Ok(SidePictures { front, back })
    }
}

fn value<'a>(graphics: &GraphicsSection<'a>, name: &str) -> &'a str {
    graphics.fields.iter().find(|(n, _)| *n == name).map_or("", |(_, text)| text)
}

/// Latin, Greek and Cyrillic letters, digits and signs: what the font has and a printed card needs. No control,
/// combining or direction characters, which could make a text look like another.
fn printable(c: char) -> bool {
    matches!(c,
        ' '..='~' | '\u{A0}'..='\u{AC}' | '\u{AE}'..='\u{17F}'
        | '\u{386}'..='\u{38A}' | 'Ό' | 'Ύ'..='Ρ' | 'Σ'..='ώ'
        | '\u{400}'..='\u{45F}')
}

#[cfg(test)]
mod tests;
