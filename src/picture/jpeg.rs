//! JPEG (ISO/IEC 10918-1): baseline, extended and progressive, 8 bits, grey or three colours.
//!
//! Not here: CMYK (what a printer makes of it is not what the issuer saw), lossless and arithmetic coding, a height that
//! only follows the picture (DNL). A file that is cut short lacks its end and is refused; one whose scan stops early
//! although an end follows cannot be told from a plain picture by this decoder and shows a plain area.

use resvg::tiny_skia::Pixmap;
use zeroize::Zeroizing;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::StoredPicture;
use super::exif::Orientation;

/// Usual progressive files have ten. Each goes over the whole picture, however few bytes it has.
const SCANS_MAX: usize = 64;
/// Start of scan.
const SOS: u8 = 0xDA;
/// Application segment 1, in which EXIF data stand.
const APP1: u8 = 0xE1;

/// Size of the frame header, and orientation; the segments before the first scan are whole, and an end follows it.
pub(super) fn look(data: &[u8]) -> Result<StoredPicture, String> {
    let cut = || "is a JPEG that is cut short".to_owned();
    let mut rest = data.get(2..).ok_or_else(cut)?;
    let (mut size, mut orientation) = (None, None);
    loop {
        let (&[start, marker], after) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        if start != 0xFF {
            return Err("is a JPEG with something between its segments".into());
        }
        // Any number of FF may precede a marker.
        if marker == 0xFF {
            rest = rest.get(1..).ok_or_else(cut)?;
            continue;
        }
        let length = after.first_chunk().map(|l| usize::from(u16::from_be_bytes(*l))).ok_or_else(cut)?;
        let body = after.get(2..length).ok_or_else(cut)?;
        match (marker, size) {
            (0xC0..=0xC2, None) => size = Some(frame(body)?),
            (0xC0..=0xC2, _) => return Err("is a JPEG with two frames".into()),
            (0xC4 | 0xCC, _) => {}
            (0xC3..=0xCF, _) => return Err("is a JPEG of a kind that is not supported".into()),
            (0xD9, _) => return Err("is a JPEG without a picture".into()),
            (SOS, None) => return Err("is a JPEG whose picture comes before its size".into()),
            (SOS, Some((width, height))) => {
                let orientation = orientation.unwrap_or_default();
                let stored = StoredPicture { width, height, orientation };
                return ends(after.get(length..).unwrap_or_default()).then_some(stored).ok_or_else(cut);
            }
            (APP1, _) => orientation = orientation.or_else(|| Orientation::of_segment(body)),
            _ => {}
        }
        rest = after.get(length..).ok_or_else(cut)?;
    }
}

/// Precision, height, width, number of components, the components.
fn frame(body: &[u8]) -> Result<(u32, u32), String> {
    match *body {
        [8, h1, h0, w1, w0, 1 | 3, ..] => {
            Ok((u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into()))
        }
        [8, _, _, _, _, 4, ..] => Err("is a CMYK JPEG; it must be RGB or grey".into()),
        _ => Err("is a JPEG of a kind that is not supported".into()),
    }
}

/// Whether an end marker follows; coded data cannot hold one by chance.
fn ends(scans: &[u8]) -> bool {
    scans.windows(2).any(|pair| pair == b"\xFF\xD9")
}

/// Decodes into a picture of the frame header's size.
pub fn decode(data: &[u8], picture: &mut Pixmap) -> Result<(), String> {
    let broken = |_| "is a broken JPEG".to_owned();
    let side = |pixels: u32| usize::try_from(pixels).map_err(|_| "is too large".to_owned());
    let (width, height) = (side(picture.width())?, side(picture.height())?);
    let options = DecoderOptions::new_safe()
        .set_strict_mode(true)
        .set_max_width(width)
        .set_max_height(height)
        .jpeg_set_max_scans(SCANS_MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder.decode_headers().map_err(broken)?;
    let (colors, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(colors));
    let info = decoder.info().ok_or("is a broken JPEG")?;
    if (usize::from(info.width), usize::from(info.height)) != (width, height) {
        return Err("is not as large as it says".into());
    }
    let length = decoder.output_buffer_size().ok_or("is too large")?;
    let mut samples = Zeroizing::new(vec![0; length]);
    decoder.decode_into(&mut samples).map_err(broken)?;
    super::fill(picture, &samples, channels)
}
