//! The room that the fields of a side have: whether texts surely fit, found without laying them out.
//!
//! Laying a side out takes longer than all other checks of a record. So a side keeps the widths for which it was laid
//! out with probes that are as wide, and texts that are no wider fit as well: an anchor moves a narrower text inwards
//! on both sides. Texts that are not surely within those widths are laid out themselves. Not here: sides whose texts
//! are not laid out character after character ([`is_plain`]), for which every text is laid out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use resvg::usvg;

use super::side::{FIELDS, HEIGHT, WIDTH, tree};

/// A probe is made of this letter: no pair of it is moved together.
const PROBE: char = 'H';
/// Size at which advances are measured, in pixels.
const SIZE: f32 = 100.0;
/// What an SVG says if the place of a character depends on more than those before it.
const UNPLAIN: &[&str] = &[
    "spacing",
    "textLength",
    "lengthAdjust",
    "dx=",
    "dy=",
    "rotate",
    "skew",
    "matrix",
    "writing-mode",
    "direction",
    "baseline",
    "textPath",
    "font-kerning",
    "font-feature",
    "font-variant",
    "style",
];

/// Whether the texts of a layer are laid out character after character from one point each.
pub(super) fn is_plain(fields: &str) -> bool {
    let one_point = |key: &str| {
        let values = fields.split(key).skip(1);
        values.filter_map(|rest| rest.split('"').next()).all(|value| !value.contains([' ', ',']))
    };
    !UNPLAIN.iter().any(|word| fields.contains(word)) && one_point(" x=\"") && one_point(" y=\"")
}

/// The widths that the fields of a side are known to have room for, in pixels at [`SIZE`].
#[derive(Default)]
pub(super) struct FieldRoom {
    known: Mutex<HashMap<String, f32>>,
}

impl FieldRoom {
    /// Whether texts fit, if that is sure. `lay_out` tells for probes in their places whether these fit.
    pub(super) fn surely_holds<'a>(
        &self,
        fields: impl Iterator<Item = (&'a str, &'a str)>,
        lay_out: impl Fn(&HashMap<String, String>) -> bool,
    ) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: Option<HashMap<String, f32>> = None;
        for (name, text) in fields {
            let Some(width) = width(text) else { return false };
            if known.get(name).is_none_or(|room| *room < width) {
                wanted.get_or_insert_with(|| known.clone()).insert(name.to_owned(), width);
            }
        }
        let Some(wanted) = wanted else { return true };
        // All fields at once, because several may stand in one text.
        let probes: Option<HashMap<_, _>> =
            wanted.iter().map(|(name, width)| Some((name.clone(), probe(*width)?))).collect();
        let fits = probes.is_some_and(|probes| lay_out(&probes));
        if fits {
            *known = wanted;
        }
        fits
    }
}

/// A text at least as wide as this.
fn probe(width: f32) -> Option<String> {
    let letter = advance(PROBE)?;
    let mut text = String::new();
    let mut has = 0.0;
    while has < width {
        text.push(PROBE);
        has += letter;
    }
    // One more: what a letter draws may stand out of its advance.
    text.push(PROBE);
    Some(text)
}

/// The width of a text if no pair of its characters were moved together, which makes it narrower; `None` if the font
/// lacks a character.
fn width(text: &str) -> Option<f32> {
    text.chars().map(advance).sum()
}

/// The advance of a character, measured once.
fn advance(character: char) -> Option<f32> {
    static MEASURED: Mutex<Option<HashMap<char, Option<f32>>>> = Mutex::new(None);
    let mut measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    let measured = measured.get_or_insert_with(HashMap::new);
    *measured.entry(character).or_insert_with(|| measure(character))
}

/// Measures a character between two others, whose own widths are then taken away.
fn measure(character: char) -> Option<f32> {
    let width = |inner: &str| {
        let open =
            format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\">");
        let text = format!("<text x=\"100\" y=\"300\" font-size=\"{SIZE}\">|{inner}|</text>");
        text_width(tree(&format!("{open}{FIELDS}>{text}</g></svg>")).ok()?.root())
    };
    let inner = match character {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        // Several spaces in a row are drawn as one.
        ' ' => "- -".to_owned(),
        character => character.to_string(),
    };
    let around = if character == ' ' { "--" } else { "" };
    Some(width(&inner)? - width(around)?)
}

/// The width of the one text of a tree; `None` if the font lacks a character.
fn text_width(group: &usvg::Group) -> Option<f32> {
    group.children().iter().find_map(|node| match node {
        usvg::Node::Group(group) => text_width(group),
        usvg::Node::Text(text) => {
            let mut glyphs = text.layouted().iter().flat_map(|span| &span.positioned_glyphs);
            glyphs.all(|glyph| glyph.id.0 != 0).then(|| text.bounding_box().width())
        }
        _ => None,
    })
}
