//! PNG (ISO/IEC 15948), one still picture.

use png::{Decoder, Limits, Transformations};
use resvg::tiny_skia::Pixmap;
use zeroize::Zeroizing;

use super::StoredPicture;
use super::exif::Orientation;

/// Length and checksum around a chunk's type and data.
const FRAME: usize = 12;
/// Memory that the decoder may use: some lines of 4096 pixels of 16-bit RGBA.
const LIMITS: Limits = Limits { bytes: 1 << 20 };

/// Size of IHDR, which comes first, and orientation; every chunk lies inside the file, IEND ends it, none animates.
pub(super) fn look(data: &[u8]) -> Result<StoredPicture, String> {
    let cut = || "is a PNG that is cut short".to_owned();
    let mut rest = data.get(super::PNG.len()..).ok_or_else(cut)?;
    let (mut size, mut orientation) = (None, None);
    loop {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (kind, body) = after.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut())?;
        let body = body.get(..length).ok_or_else(cut)?;
        match (kind, size) {
            (b"IHDR", None) => {
                let (width, more) = body.split_first_chunk::<4>().ok_or_else(cut)?;
                let (height, _) = more.split_first_chunk::<4>().ok_or_else(cut)?;
                size = Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)));
            }
            (_, None) => return Err("is a PNG that does not begin with its header".into()),
            (b"IHDR", _) => return Err("is a PNG with two headers".into()),
            (b"acTL", _) => return Err("is an animated PNG".into()),
            (b"IEND", Some((width, height))) => {
                return Ok(StoredPicture { width, height, orientation: orientation.unwrap_or_default() });
            }
            (b"eXIf", _) => orientation = orientation.or_else(|| Some(Orientation::of_exif(body))),
            _ => {}
        }
        rest = length.checked_add(FRAME).and_then(|whole| rest.get(whole..)).ok_or_else(cut)?;
    }
}

/// Decodes into a picture of the header's size.
pub fn decode(data: &[u8], picture: &mut Pixmap) -> Result<(), String> {
    let broken = |_| "is a broken PNG".to_owned();
    let mut decoder = Decoder::new_with_limits(std::io::Cursor::new(data), LIMITS);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(broken)?;
    if (reader.info().width, reader.info().height) != (picture.width(), picture.height()) {
        return Err("is not as large as it says".into());
    }
    let length = reader.output_buffer_size().ok_or("is too large")?;
    let mut samples = Zeroizing::new(vec![0; length]);
    reader.next_frame(&mut samples).map_err(broken)?;
    let channels = reader.output_color_type().0.samples();
    super::fill(picture, &samples, channels)
}
