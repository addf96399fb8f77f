//! Graphics templates: an SVG with `{{name}}` where a record's text goes, rendered to the printer's pixels.
//!
//! A template is drawn on white in two layers. Everything before its last group `<g id="fields">` is the same on every
//! card and is rendered once; the group is rendered for each card over a copy of it. Only the embedded font is known: no
//! system fonts, no references to files or images. Not here: photos (they come with the devices), the printer.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{self, fontdb};
use zeroize::{Zeroize, Zeroizing};

use super::sections::Graphics;
use crate::profile::TEMPLATES;

/// CR80 at 300 dpi: 85.60 × 53.98 mm.
const WIDTH: u32 = 1011;
/// See [`WIDTH`].
const HEIGHT: u32 = 638;
/// Room for a picture, so that growing seldom leaves a copy behind: the shipped template needs half of it.
const PNG_ROOM: usize = 128 << 10;
/// Longest text of a field, in characters: twice what a card's name line holds (27, ISO 7811-3) and some.
const TEXT_MAX: usize = 64;
/// Liberation Sans 2.1.5, SIL Open Font License 1.1: `profiles/graphics/LiberationSans-OFL.txt`.
const FONT: &[u8] = include_bytes!("../../profiles/graphics/LiberationSans-Regular.ttf");
/// The family name inside [`FONT`].
const FONT_FAMILY: &str = "Liberation Sans";
/// What could reach outside the template.
const FORBIDDEN: &[&str] =
    &["<!DOCTYPE", "<!ENTITY", "href", "<image", "@import", "<script", "<foreignObject"];
/// Where the layer of a card begins.
const FIELDS: &str = "<g id=\"fields\"";
const CLOSE: &str = "</svg>";

/// A template, ready to render.
pub struct Template {
    /// The `<svg ...>` tag, for the layer of a card.
    open: String,
    pieces: Vec<Piece>,
    background: Pixmap,
}

/// The layer of a card is these, one after the other.
enum Piece {
    Literal(String),
    Field(String),
}

/// Checks what a record wants printed, as far as that needs no drawing: template and fields exist, texts are of
/// sensible length and characters.
pub fn check(graphics: &Graphics<'_>) -> Result<(), String> {
    shipped(graphics.template)?.check(graphics)
}

/// A shipped template; parsed and its background drawn at first use.
pub fn shipped(name: &str) -> Result<&'static Template, String> {
    static SHIPPED: OnceLock<Vec<(&'static str, Result<Template, String>)>> = OnceLock::new();
    let templates =
        SHIPPED.get_or_init(|| TEMPLATES.iter().map(|(name, svg)| (*name, Template::parse(svg))).collect());
    match templates.iter().find(|(n, _)| *n == name) {
        Some((_, Ok(template))) => Ok(template),
        Some((name, Err(what))) => Err(format!("the shipped template {name} is broken: {what}")),
        None => {
            let known: Vec<_> = TEMPLATES.iter().map(|(n, _)| *n).collect();
            Err(format!("names a template that does not exist; shipped are {}", known.join(", ")))
        }
    }
}

impl Template {
    /// Parses a template and draws its background.
    pub fn parse(svg: &str) -> Result<Self, String> {
        if let Some(what) = FORBIDDEN.iter().find(|what| svg.contains(**what)) {
            return Err(format!("{what} is not allowed in a template"));
        }
        let start = svg.find("<svg").ok_or("no <svg> element")?;
        let open = svg.get(start..).and_then(|s| s.split_inclusive('>').next()).ok_or("no <svg> element")?;
        let (before, fields) =
            svg.rfind(FIELDS).and_then(|at| svg.split_at_checked(at)).ok_or("no group \"fields\"")?;
        let fields =
            fields.trim_end().strip_suffix(CLOSE).ok_or("the group \"fields\" is not the last element")?;
        if before.contains("{{") {
            return Err("a field outside the group \"fields\"".into());
        }
        let mut background = Pixmap::new(WIDTH, HEIGHT).ok_or("no memory for the picture")?;
        background.fill(Color::WHITE);
        draw(&tree(&format!("{before}{CLOSE}"))?, &mut background)?;
        let template = Self { open: open.to_owned(), pieces: pieces(fields)?, background };
        // The layer must be well-formed with any text in it.
        template.layer(|_| "")?;
        Ok(template)
    }

    /// Names of the fields, in the order in which they stand, each once.
    pub fn fields(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in &self.pieces {
            if let Piece::Field(name) = piece
                && !names.contains(&name.as_str())
            {
                names.push(name.as_str());
            }
        }
        names
    }

    /// Every field of the template and no other, no image, texts that can be printed.
    pub fn check(&self, graphics: &Graphics<'_>) -> Result<(), String> {
        if !graphics.images.is_empty() {
            return Err("images are not supported yet; they come with the devices".into());
        }
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

    /// Draws the card: a PNG of 1011 × 638 pixels, the same bytes for the same texts.
    pub fn render(&self, graphics: &Graphics<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
        self.check(graphics)?;
        let layer = self.layer(|name| value(graphics, name))?;
        fits(layer.root())?;
        let mut card = self.background.clone();
        let png = draw(&layer, &mut card).and_then(|()| encode(&card).map_err(|e| e.to_string()));
        card.data_mut().zeroize();
        png
    }

    /// The layer of a card with these texts. A text is put in once and never looked at again, so that a field marker
    /// inside it stays text; what XML would understand is escaped.
    fn layer<'a>(&self, text_of: impl Fn(&str) -> &'a str) -> Result<usvg::Tree, String> {
        let mut svg = Zeroizing::new(self.open.clone());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => svg.push_str(literal),
                Piece::Field(name) => text_of(name).chars().for_each(|c| match c {
                    '&' => svg.push_str("&amp;"),
                    '<' => svg.push_str("&lt;"),
                    '>' => svg.push_str("&gt;"),
                    '"' => svg.push_str("&quot;"),
                    '\'' => svg.push_str("&apos;"),
                    c => svg.push(c),
                }),
            }
        }
        svg.push_str(CLOSE);
        tree(&svg)
    }
}

fn value<'a>(graphics: &Graphics<'a>, name: &str) -> &'a str {
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

/// Cuts at `{{name}}`.
fn pieces(fields: &str) -> Result<Vec<Piece>, String> {
    let mut parts = fields.split("{{");
    let mut pieces = vec![Piece::Literal(parts.next().unwrap_or_default().to_owned())];
    for part in parts {
        let (name, literal) = part.split_once("}}").ok_or("a field marker without }}")?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err("a field name is made of a-z, 0-9 and -".into());
        }
        pieces.push(Piece::Field(name.to_owned()));
        pieces.push(Piece::Literal(literal.to_owned()));
    }
    Ok(pieces)
}

/// Every character has a glyph, and every text lies on the card.
fn fits(group: &usvg::Group) -> Result<(), String> {
    for node in group.children() {
        match node {
            usvg::Node::Group(group) => fits(group)?,
            usvg::Node::Text(text) => {
                if text.layouted().iter().flat_map(|s| &s.positioned_glyphs).any(|g| g.id.0 == 0) {
                    return Err("a text has a character that the font lacks".into());
                }
                let area = text.abs_bounding_box();
                // Both are small whole numbers: exact as f32.
                #[expect(clippy::cast_precision_loss)]
                let (width, height) = (WIDTH as f32, HEIGHT as f32);
                if area.left() < 0.0 || area.top() < 0.0 || area.right() > width || area.bottom() > height {
                    return Err("a text does not fit on the card: shorten it".into());
                }
            }
            usvg::Node::Path(_) | usvg::Node::Image(_) => {}
        }
    }
    Ok(())
}

/// Parses with the embedded font and nothing from outside. The error does not quote the input.
fn tree(svg: &str) -> Result<usvg::Tree, String> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(FONT)));
        fonts.set_serif_family(FONT_FAMILY);
        fonts.set_sans_serif_family(FONT_FAMILY);
        Arc::new(fonts)
    });
    let options = usvg::Options {
        fontdb: Arc::clone(fonts),
        font_family: FONT_FAMILY.to_owned(),
        image_href_resolver: usvg::ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        ..usvg::Options::default()
    };
    usvg::Tree::from_str(svg, &options).map_err(|_| "the template is not well-formed SVG".into())
}

fn draw(tree: &usvg::Tree, card: &mut Pixmap) -> Result<(), String> {
    #[expect(clippy::cast_precision_loss)]
    let size = usvg::Size::from_wh(WIDTH as f32, HEIGHT as f32);
    if Some(tree.size()) != size {
        return Err(format!("the template is not {WIDTH} x {HEIGHT}"));
    }
    resvg::render(tree, Transform::identity(), &mut card.as_mut());
    Ok(())
}

/// A PNG of an opaque picture: a white one that was drawn on. Packed fast: the best packing takes ten times as long, more
/// than the drawing, and halves what a printer's link carries in no time.
fn encode(card: &Pixmap) -> Result<Zeroizing<Vec<u8>>, png::EncodingError> {
    let mut out = Zeroizing::new(Vec::with_capacity(PNG_ROOM));
    let mut encoder = png::Encoder::new(&mut *out, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(card.data())?;
    writer.finish()?;
    Ok(out)
}

#[cfg(test)]
mod tests;
