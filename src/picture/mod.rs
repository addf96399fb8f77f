//! Pictures from outside, such as a cardholder's photo: PNG and JPEG, distinguished by their first bytes.
//!
//! There are two steps, because a picture is accepted long before it is drawn. [`check`] walks the file's structure without
//! decoding: format, size, colours that can be printed, no animation, its end is there. Preparation calls it, which costs
//! microseconds. [`decode`] checks again, then decodes within the bounds below; acceptance calls it, so that a picture
//! that is broken inside costs no blank, and the printer's module before a card is fed.
//!
//! A photo is turned as its EXIF orientation says (`exif`). All other metadata is skipped, ICC profiles too: sRGB is taken
//! for granted. Errors describe and never quote. What the decoders keep in their own buffers while they work
//! is not wiped; what they give back is.

mod exif;
mod jpeg;
mod png;

use resvg::tiny_skia::{ColorU8, Pixmap};
use zeroize::Zeroize;

use self::exif::Orientation;
use crate::panics::contained_or;

/// Longest picture, in bytes: ten times a good portrait at 300 dpi.
pub const BYTES_MAX: usize = 1 << 20;
/// Longest side, in pixels: four times the long side of a card at 300 dpi.
pub const SIDE_MAX: u32 = 4096;
/// Most pixels: 16 MiB decoded, some 50 ms.
pub const PIXELS_MAX: u32 = 4 << 20;

const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";
const JPEG: &[u8] = b"\xFF\xD8\xFF";

/// Pixels that are wiped when dropped: a card with its texts, a photo.
pub struct Canvas(pub Pixmap);

impl Drop for Canvas {
    fn drop(&mut self) {
        self.0.data_mut().zeroize();
    }
}

/// A picture as its file describes it.
struct StoredPicture {
    width: u32,
    height: u32,
    orientation: Orientation,
}

/// Width and height as they are seen, if everything that can be seen without decoding is in order.
pub fn check(data: &[u8]) -> Result<(u32, u32), String> {
    let StoredPicture { width, height, orientation } = look(data)?;
    Ok(orientation.seen((width, height)))
}

fn look(data: &[u8]) -> Result<StoredPicture, String> {
    let stored = match data {
        _ if data.len() > BYTES_MAX => return Err(format!("is longer than {} KiB", BYTES_MAX >> 10)),
        _ if data.starts_with(PNG) => png::look(data)?,
        _ if data.starts_with(JPEG) => jpeg::look(data)?,
        _ => return Err("is neither PNG nor JPEG".into()),
    };
    let StoredPicture { width, height, .. } = stored;
    if width == 0 || height == 0 {
        return Err("has no pixels".into());
    }
    if width > SIDE_MAX || height > SIDE_MAX || width.saturating_mul(height) > PIXELS_MAX {
        return Err(format!("has a side over {SIDE_MAX} or more than {PIXELS_MAX} pixels"));
    }
    Ok(stored)
}

/// Checks, then decodes to premultiplied RGBA, turned as it is to be seen.
pub fn decode(data: &[u8]) -> Result<Canvas, String> {
    let StoredPicture { width, height, orientation } = look(data)?;
    let mut canvas = Canvas(Pixmap::new(width, height).ok_or("has no pixels")?);
    let decoder = if data.starts_with(PNG) { png::decode } else { jpeg::decode };
    decode_with(decoder, data, &mut canvas.0)?;
    orientation.turn(canvas)
}

/// A decoder that panics costs the record that the picture is of.
fn decode_with(
    decoder: fn(&[u8], &mut Pixmap) -> Result<(), String>,
    data: &[u8],
    picture: &mut Pixmap,
) -> Result<(), String> {
    contained_or("cannot be decoded", || decoder(data, picture))
}

/// Puts samples of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) bytes a pixel into the picture.
fn fill(picture: &mut Pixmap, samples: &[u8], channels: usize) -> Result<(), String> {
    if Some(samples.len()) != picture.pixels().len().checked_mul(channels) {
        return Err("is not as large as it says".into());
    }
    for (pixel, sample) in picture.pixels_mut().iter_mut().zip(samples.chunks_exact(channels.max(1))) {
        let color = match *sample {
            [grey] => ColorU8::from_rgba(grey, grey, grey, 255),
            [grey, alpha] => ColorU8::from_rgba(grey, grey, grey, alpha),
            [red, green, blue] => ColorU8::from_rgba(red, green, blue, 255),
            [red, green, blue, alpha] => ColorU8::from_rgba(red, green, blue, alpha),
            _ => return Err("has an unknown number of colours".into()),
        };
        *pixel = color.premultiply();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
