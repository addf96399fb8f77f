//! The room that the fields of a side have: whether texts surely fit, found without laying them out.
//!
//! Laying a side out takes longer than all other checks of a record. So a side keeps the extents for which it was laid
//! out with probes, and texts of no larger extent fit as well: an anchor moves a narrower text inwards on both sides.
//! Texts that are not surely within those extents are laid out themselves. Not here: sides whose texts
//! are not laid out character after character ([`is_plain`]), for which every text is laid out.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use resvg::usvg;

use super::side::{FIELDS, HEIGHT, WIDTH, tree};

/// Probes are made of these, from narrow to wide: no pair of them is moved together.
const PROBES: [char; 4] = ['I', '0', 'H', 'M'];
/// Size at which advances are measured, in pixels.
const SIZE: f32 = 100.0;
/// Characters from here on are laid out every time; those that a text may have stand before.
const LAST: usize = 0x460;
/// What an SVG says if the place of a character depends on more than the widths and the number of those before it.
const UNPLAIN: &[&str] = &[
    "word-spacing",
    "letter-spacing=\"-",
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

/// The extent of a text: its width in pixels at [`SIZE`], and its characters, each of which a template may set apart.
#[derive(Clone, Copy, Default)]
struct TextExtent {
    width: f32,
    count: usize,
}

impl TextExtent {
    /// The extent of a text if no pair of its characters were moved together, which makes it narrower; `None` if the font
    /// lacks a character.
    fn of(text: &str) -> Option<Self> {
        let mut extent = Self::default();
        for character in text.chars() {
            extent.width += advance(character)?;
            extent.count += 1;
        }
        Some(extent)
    }

    fn holds(self, other: Self) -> bool {
        self.width >= other.width && self.count >= other.count
    }

    fn and(self, other: Self) -> Self {
        Self { width: self.width.max(other.width), count: self.count.max(other.count) }
    }

    /// A text at least as wide, with at least as many characters.
    fn probe(self) -> Option<String> {
        let advances: Option<Vec<f32>> = PROBES.iter().map(|letter| advance(*letter)).collect();
        let advances = advances?;
        let (mut text, mut width, mut left) = (String::new(), self.width, self.count);
        while left > 0 || width > 0.0 {
            // The narrowest letter that, in all the places that are left, is wide enough; else the widest.
            let places = u16::try_from(left.max(1)).map_or(f32::MAX, f32::from);
            let fits = |advance: &f32| advance * places >= width;
            let place = advances.iter().position(fits).unwrap_or(PROBES.len() - 1);
            text.push(*PROBES.get(place)?);
            width -= advances.get(place)?;
            left = left.saturating_sub(1);
        }
        // One more: what a letter draws may stand out of its advance.
        text.push('H');
        Some(text)
    }
}

/// The extents for which the fields of a side are known to have room.
#[derive(Default)]
pub(super) struct FieldRoom {
    known: Mutex<HashMap<String, TextExtent>>,
}

impl FieldRoom {
    /// Whether texts fit, if that is sure. `lay_out` says for probes in their places whether these fit.
    pub(super) fn surely_holds<'a>(
        &self,
        fields: impl Iterator<Item = (&'a str, &'a str)>,
        lay_out: impl Fn(&HashMap<String, String>) -> bool,
    ) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: Option<HashMap<String, TextExtent>> = None;
        for (name, text) in fields {
            let Some(extent) = TextExtent::of(text) else { return false };
            let room = known.get(name).copied();
            if room.is_none_or(|room| !room.holds(extent)) {
                let extent = room.unwrap_or_default().and(extent);
                wanted.get_or_insert_with(|| known.clone()).insert(name.to_owned(), extent);
            }
        }
        let Some(wanted) = wanted else { return true };
        // All fields at once, because several may stand in one text.
        let probes: Option<HashMap<_, _>> =
            wanted.iter().map(|(name, extent)| Some((name.clone(), extent.probe()?))).collect();
        let fits = probes.is_some_and(|probes| lay_out(&probes));
        if fits {
            *known = wanted;
        }
        fits
    }
}

/// The advance of a character, measured once.
fn advance(character: char) -> Option<f32> {
    static MEASURED: [OnceLock<Option<f32>>; LAST] = [const { OnceLock::new() }; LAST];
    let place = usize::try_from(u32::from(character)).ok()?;
    *MEASURED.get(place)?.get_or_init(|| measure(character))
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
