//! Draws lines of embossing and indent print, as a person who looks at a preview wants to see them. No machine gets such a
//! picture.
//!
//! Sizes and pitches are those of ISO/IEC 7811-1 and -3: the number line has 7 characters per inch, other lines 10.

use std::fmt::Write;

use resvg::usvg;
use zeroize::Zeroizing;

use super::side::{HEIGHT, WIDTH, tree};

/// A line of embossing or indent print. Cardholder data: no `Debug`.
pub struct ReliefLine {
    /// 1-11; 21-31 are fonts 1-11 on the other side.
    pub font: u8,
    /// Mils (1/1000 inch) from the left edge to the centre of the first character.
    pub x: u16,
    /// Mils from the bottom edge to the middle of the line.
    pub y: u16,
    /// Its text.
    pub text: Zeroizing<String>,
}

/// Pixels of an inch: a card is drawn at 300 dpi.
const DPI: f32 = 300.0;
/// Pixels of a mil.
const MIL: f32 = DPI / 1000.0;
/// The font of the number line.
const NUMBER_FONT: u8 = 2;
/// Fonts from here on are fonts of the other side.
const BACK: u8 = 20;
/// Height of a capital over the size of the embedded font.
const CAPITAL: f32 = 0.73;

impl ReliefLine {
    /// Whether it stands on the back.
    pub fn is_on_back(&self) -> bool {
        self.font > BACK
    }

    /// Pixels from character to character, and the size of the font.
    fn measures(&self) -> (f32, f32) {
        match self.font % BACK {
            NUMBER_FONT => (DPI / 7.0, 52.0),
            _ => (DPI / 10.0, 36.0),
        }
    }
}

/// A picture of the lines alone, of the size of a card.
pub(super) fn picture<'a>(lines: impl Iterator<Item = &'a ReliefLine>) -> Result<usvg::Tree, String> {
    let mut svg = Zeroizing::new(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" text-anchor=\"middle\">"
    ));
    for line in lines {
        let (pitch, size) = line.measures();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
        let middle = HEIGHT as f32 - f32::from(line.y) * MIL;
        let base = middle + size * CAPITAL / 2.0;
        let mut x = f32::from(line.x) * MIL;
        for character in line.text.chars() {
            // The light edge first, the character over it. Writing to a String does not fail.
            for (shift, colour) in [(2.0, "#ffffff"), (0.0, "#303030")] {
                let _ = write!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{size}\" fill=\"{colour}\">&#{};</text>",
                    x + shift,
                    base + shift,
                    u32::from(character)
                );
            }
            x += pitch;
        }
    }
    svg.push_str("</svg>");
    tree(&svg)
}
