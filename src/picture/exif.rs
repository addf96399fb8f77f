//! The orientation of a picture, from its EXIF data (CIPA DC-008, tag 0112; in JPEG and PNG).
//!
//! Cameras store a photo as their sensor lay and say how it is to be turned. Viewers turn it, so the issuer has seen
//! it upright. Not here: every other tag. EXIF data that cannot be read turn nothing, as in viewers.

use resvg::tiny_skia::Pixmap;

use super::Canvas;

/// The segment of a JPEG that holds EXIF data begins with this.
const HEAD: &[u8] = b"Exif\0\0";
/// Orientation, and the type of its value: SHORT.
const TAG: u16 = 0x0112;
const SHORT: u16 = 3;
/// Bytes of an entry of a directory.
const ENTRY: usize = 12;

/// How a picture is turned from what is stored to what is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Orientation {
    /// 1: as it is stored.
    #[default]
    Upright,
    /// 2: left and right exchanged.
    Mirrored,
    /// 3: by 180 degrees.
    HalfTurn,
    /// 4: top and bottom exchanged.
    Flipped,
    /// 5: rows become columns.
    Transposed,
    /// 6: by 90 degrees clockwise.
    Clockwise,
    /// 7: rows become columns, from the other corner.
    Transverse,
    /// 8: by 90 degrees counterclockwise.
    Counterclockwise,
}

impl Orientation {
    /// Reads the body of a JPEG's APP1 segment; `None` if it is of another kind.
    pub(super) fn of_segment(body: &[u8]) -> Option<Self> {
        body.strip_prefix(HEAD).map(Self::of_exif)
    }

    /// Reads EXIF data: a TIFF header and its first directory.
    pub(super) fn of_exif(tiff: &[u8]) -> Self {
        read(tiff).unwrap_or_default()
    }

    fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Upright,
            2 => Self::Mirrored,
            3 => Self::HalfTurn,
            4 => Self::Flipped,
            5 => Self::Transposed,
            6 => Self::Clockwise,
            7 => Self::Transverse,
            8 => Self::Counterclockwise,
            _ => return None,
        })
    }

    fn exchanges_sides(self) -> bool {
        matches!(self, Self::Transposed | Self::Clockwise | Self::Transverse | Self::Counterclockwise)
    }

    /// The size that is seen, from the stored one.
    pub(super) fn seen(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.exchanges_sides() { (height, width) } else { (width, height) }
    }

    /// Turns a picture.
    pub(super) fn turn(self, stored: Canvas) -> Result<Canvas, String> {
        if self == Self::Upright {
            return Ok(stored);
        }
        let (stored_width, stored_height) = (stored.0.width(), stored.0.height());
        let (width, height) = self.seen((stored_width, stored_height));
        let mut seen = Canvas(Pixmap::new(width, height).ok_or("has no pixels")?);
        let mut places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let (right, bottom) = (stored_width.saturating_sub(1), stored_height.saturating_sub(1));
        for (pixel, (x, y)) in seen.0.pixels_mut().iter_mut().zip(places.by_ref()) {
            let (from_x, from_y) = match self {
                Self::Upright => (x, y),
                Self::Mirrored => (right.saturating_sub(x), y),
                Self::HalfTurn => (right.saturating_sub(x), bottom.saturating_sub(y)),
                Self::Flipped => (x, bottom.saturating_sub(y)),
                Self::Transposed => (y, x),
                Self::Clockwise => (y, bottom.saturating_sub(x)),
                Self::Transverse => (right.saturating_sub(y), bottom.saturating_sub(x)),
                Self::Counterclockwise => (right.saturating_sub(y), x),
            };
            *pixel = stored.0.pixel(from_x, from_y).ok_or("has no pixels")?;
        }
        Ok(seen)
    }
}

fn read(tiff: &[u8]) -> Option<Orientation> {
    let little = match tiff.get(..4)? {
        b"II\x2A\0" => true,
        b"MM\0\x2A" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let first = directory.checked_add(2)?;
    for entry in 0..usize::from(short(directory)?) {
        let at = first.checked_add(entry * ENTRY)?;
        if short(at)? == TAG {
            // One SHORT stands in the entry itself.
            let is_one_short = short(at.checked_add(2)?)? == SHORT && long(at.checked_add(4)?)? == 1;
            return is_one_short
                .then(|| short(at.checked_add(8)?))
                .flatten()
                .and_then(Orientation::from_number);
        }
    }
    None
}
