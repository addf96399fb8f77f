//! One side of a card: its background drawn once, its slots, and the layer that each card gets.
//!
//! Not here: the texts and pictures that a record may have (`template`).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{self, fontdb};
use zeroize::Zeroizing;

use super::room::{self, FieldRoom};
use super::slot::{self, ImageSlot};
use crate::modules::sections::GraphicsSection;
use crate::panics::contained_or;
use crate::picture::{self, Canvas};

/// CR80 at 300 dpi: 85.60 × 53.98 mm.
pub(super) const WIDTH: u32 = 1011;
/// Height of a card in pixels, as [`WIDTH`].
pub(super) const HEIGHT: u32 = 638;
/// Room for a picture, so that growing seldom leaves a copy behind: the shipped front
/// with a portrait needs 200 KiB.
const PNG_ROOM: usize = 256 << 10;
/// Liberation Sans 2.1.5, SIL Open Font License 1.1: `profiles/graphics/LiberationSans-OFL.txt`.
const FONT: &[u8] = include_bytes!("../../../profiles/graphics/LiberationSans-Regular.ttf");
/// The family name inside [`FONT`].
const FONT_FAMILY: &str = "Liberation Sans";
/// Texts in an SVG that could refer to something outside the template.
const FORBIDDEN: &[&str] =
    &["<!DOCTYPE", "<!ENTITY", "href", "<image", "@import", "<script", "<foreignObject"];
/// The text in an SVG at which the layer of a card begins.
pub(super) const FIELDS: &str = "<g id=\"fields\"";
const CLOSE: &str = "</svg>";
const UNDRAWABLE: &str = "cannot be drawn with these texts and images";

/// A side, ready to render.
pub(super) struct TemplateSide {
    /// The `<svg ...>` tag, for the layer of a card.
    open: String,
    pieces: Vec<FieldPiece>,
    slots: Vec<ImageSlot>,
    background: Pixmap,
    /// The room of its fields; `None` if only laying out shows it.
    room: Option<FieldRoom>,
    /// The background packed, which is all of a side without fields on a card without its pictures.
    plain: Option<Vec<u8>>,
}

/// A part of a card's layer; all of them in order are the layer.
enum FieldPiece {
    Literal(String),
    Field(String),
}

impl TemplateSide {
    /// Parses an SVG and draws its background.
    pub(super) fn parse(svg: &str) -> Result<Self, String> {
        if let Some(what) = FORBIDDEN.iter().find(|what| svg.contains(**what)) {
            return Err(format!("{what} is not allowed in a template"));
        }
        let start = svg.find("<svg").ok_or("no <svg> element")?;
        let open = svg.get(start..).and_then(|s| s.split_inclusive('>').next()).ok_or("no <svg> element")?;
        let whole = svg.trim_end().strip_suffix(CLOSE).ok_or("no </svg> at the end")?;
        let (before, fields) =
            whole.rfind(FIELDS).and_then(|at| whole.split_at_checked(at)).unwrap_or((whole, ""));
        if before.contains("{{") {
            return Err("a field outside the group \"fields\"".into());
        }
        if fields.contains(slot::MARK) {
            return Err("a slot inside the group \"fields\"".into());
        }
        let mut background = Pixmap::new(WIDTH, HEIGHT).ok_or("no memory for the picture")?;
        background.fill(Color::WHITE);
        let ground = tree(&format!("{before}{CLOSE}"))?;
        draw(&ground, &mut background)?;
        let slots = slot::all(before, &ground)?;
        let pieces = pieces(fields)?;
        let plain = match fields.is_empty() {
            true => Some(encode(&background).map_err(|e| e.to_string())?.to_vec()),
            false => None,
        };
        let room = (room::is_plain(open) && room::is_plain(fields)).then(FieldRoom::default);
        let side = Self { open: open.to_owned(), pieces, slots, background, room, plain };
        // The layer must be well-formed with any text in it.
        side.layer(|_| "")?;
        Ok(side)
    }

    /// Names of the fields in the order in which they stand, with repetitions.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            FieldPiece::Field(name) => Some(name.as_str()),
            FieldPiece::Literal(_) => None,
        })
    }

    /// The slots in the order in which they stand.
    pub(super) fn slots(&self) -> &[ImageSlot] {
        &self.slots
    }

    /// Checks that the texts of a card whose graphics the template has checked can be drawn and fit.
    pub(super) fn check_texts(&self, graphics: &GraphicsSection<'_>) -> Result<(), String> {
        let texts = || self.fields().map(|name| (name, super::value(graphics, name)));
        if texts().next().is_none() {
            return Ok(());
        }
        let probes_fit = |probes: &HashMap<String, String>| {
            let probe = |name: &str| probes.get(name).map_or("", String::as_str);
            contained_or(UNDRAWABLE, || fits(self.layer(probe)?.root())).is_ok()
        };
        if self.room.as_ref().is_some_and(|room| room.surely_holds(texts(), probes_fit)) {
            return Ok(());
        }
        contained_or(UNDRAWABLE, || fits(self.layer(|name| super::value(graphics, name))?.root()))
    }

    /// Draws the side of a card whose graphics the template has checked, and `over` it what stands there besides.
    pub(super) fn render(
        &self,
        graphics: &GraphicsSection<'_>,
        over: Option<&usvg::Tree>,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let filled = self.slots.iter().filter_map(|slot| Some((slot, slot.image(graphics)?)));
        let filled: Vec<_> = filled.collect();
        if let (Some(plain), true, None) = (&self.plain, filled.is_empty(), over) {
            return Ok(Zeroizing::new(plain.clone()));
        }
        // If this panics, only the record that is drawn is refused.
        contained_or(UNDRAWABLE, || self.draw(graphics, filled, over))
    }

    /// Texts and images on the background, by libraries that lay out, draw and encode.
    fn draw(
        &self,
        graphics: &GraphicsSection<'_>,
        filled: Vec<(&ImageSlot, &[u8])>,
        over: Option<&usvg::Tree>,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let layer = self.layer(|name| super::value(graphics, name))?;
        fits(layer.root())?;
        let mut card = Canvas(self.background.clone());
        for (slot, image) in filled {
            let image = picture::decode(image).map_err(|what| format!("image {} {what}", slot.name))?;
            slot.draw(&image, &mut card.0)?;
        }
        draw(&layer, &mut card.0)?;
        if let Some(over) = over {
            draw(over, &mut card.0)?;
        }
        encode(&card.0).map_err(|e| e.to_string())
    }

    /// The layer of a card with these texts. A text is put in once and never looked at again, so that a field marker
    /// inside it stays text; what XML would understand is escaped.
    pub(super) fn layer<'a>(&self, text_of: impl Fn(&str) -> &'a str) -> Result<usvg::Tree, String> {
        let mut svg = Zeroizing::new(self.open.clone());
        for piece in &self.pieces {
            match piece {
                FieldPiece::Literal(literal) => svg.push_str(literal),
                FieldPiece::Field(name) => text_of(name).chars().for_each(|c| match c {
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

/// Cuts the layer's SVG at each `{{name}}`.
fn pieces(fields: &str) -> Result<Vec<FieldPiece>, String> {
    let mut parts = fields.split("{{");
    let mut pieces = vec![FieldPiece::Literal(parts.next().unwrap_or_default().to_owned())];
    for part in parts {
        let (name, literal) = part.split_once("}}").ok_or("a field marker without }}")?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err("a field name is made of a-z, 0-9 and -".into());
        }
        pieces.push(FieldPiece::Field(name.to_owned()));
        pieces.push(FieldPiece::Literal(literal.to_owned()));
    }
    Ok(pieces)
}

/// Checks that every character has a glyph, and that every text lies on the card.
pub(super) fn fits(group: &usvg::Group) -> Result<(), String> {
    for node in group.children() {
        match node {
            usvg::Node::Group(group) => fits(group)?,
            usvg::Node::Text(text) => {
                if text.layouted().iter().flat_map(|s| &s.positioned_glyphs).any(|g| g.id.0 == 0) {
                    return Err("a text has a character that the font lacks".into());
                }
                let area = text.abs_bounding_box();
                // Both are small whole numbers: exact as f32.
                #[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
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
pub(super) fn tree(svg: &str) -> Result<usvg::Tree, String> {
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

pub(super) fn draw(tree: &usvg::Tree, card: &mut Pixmap) -> Result<(), String> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
    let size = usvg::Size::from_wh(WIDTH as f32, HEIGHT as f32);
    if Some(tree.size()) != size {
        return Err(format!("the template is not {WIDTH} x {HEIGHT}"));
    }
    resvg::render(tree, Transform::identity(), &mut card.as_mut());
    Ok(())
}

/// A PNG of an opaque picture: it was drawn on white, so three colours are enough. Packed fast, with one filter for
/// all lines: choosing the best filter for each line takes half as long again, and the best packing ten times as
/// long, which is more than the drawing takes. Both save only bytes that a printer's link carries in no time.
fn encode(card: &Pixmap) -> Result<Zeroizing<Vec<u8>>, png::EncodingError> {
    let mut samples = Zeroizing::new(vec![0; card.pixels().len() * 3]);
    for (three, four) in samples.chunks_exact_mut(3).zip(card.data().chunks_exact(4)) {
        three.copy_from_slice(four.first_chunk::<3>().unwrap_or(&[0; 3]));
    }
    let mut out = Zeroizing::new(Vec::with_capacity(PNG_ROOM));
    let mut encoder = png::Encoder::new(&mut *out, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fastest);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&samples)?;
    writer.finish()?;
    Ok(out)
}
