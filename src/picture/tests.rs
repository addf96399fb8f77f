//! Hostile and honest pictures.

use ::png::{BitDepth, ColorType, Encoder};
use proptest::prelude::*;

use super::exif::Orientation;
use super::*;

const BASELINE: &[u8] = include_bytes!("samples/baseline.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("samples/progressive.jpg");
const GREY: &[u8] = include_bytes!("samples/grey.jpg");
const CMYK: &[u8] = include_bytes!("samples/cmyk.jpg");

fn png(width: u32, height: u32, color: ColorType, depth: BitDepth, samples: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(samples).unwrap();
    out
}

/// A chunk without a right checksum, which is what the decoder looks at, not the check.
fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], kind, data, &[0; 4]].concat()
}

/// A PNG of this size that holds no pixels.
fn hollow(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [PNG, &chunk(b"IHDR", &header), &chunk(b"IDAT", &[]), &chunk(b"IEND", &[])].concat()
}

fn pixel(canvas: &Canvas, x: u32, y: u32) -> [u8; 4] {
    let pixel = canvas.0.pixel(x, y).unwrap();
    [pixel.red(), pixel.green(), pixel.blue(), pixel.alpha()]
}

fn near(is: [u8; 4], must: [u8; 4]) -> bool {
    is.iter().zip(must).all(|(a, b)| a.abs_diff(b) <= 6)
}

/// The JPEG with another segment behind SOI.
fn with_segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&BASELINE[..2], &[0xFF, marker], &length, body, &BASELINE[2..]].concat()
}

#[test]
fn every_kind_of_png_becomes_premultiplied_rgba() {
    use BitDepth::{Eight, Sixteen};
    for (data, must) in [
        (png(1, 1, ColorType::Rgb, Eight, &[1, 2, 3]), [1, 2, 3, 255]),
        (png(1, 1, ColorType::Rgba, Eight, &[200, 100, 0, 51]), [40, 20, 0, 51]),
        (png(1, 1, ColorType::Grayscale, Eight, &[7]), [7, 7, 7, 255]),
        (png(1, 1, ColorType::Grayscale, BitDepth::One, &[0x80]), [255, 255, 255, 255]),
        (png(1, 1, ColorType::GrayscaleAlpha, Eight, &[9, 0]), [0, 0, 0, 0]),
        (png(1, 1, ColorType::Rgb, Sixteen, &[10, 0, 20, 0, 30, 0]), [10, 20, 30, 255]),
    ] {
        assert_eq!(check(&data), Ok((1, 1)));
        assert_eq!(pixel(&decode(&data).unwrap(), 0, 0), must);
    }
}

#[test]
fn jpegs_baseline_progressive_and_grey() {
    for (data, left, right) in [
        (BASELINE, [200, 40, 40, 255], [40, 40, 200, 255]),
        (PROGRESSIVE, [200, 40, 40, 255], [40, 40, 200, 255]),
        (GREY, [88, 88, 88, 255], [58, 58, 58, 255]),
    ] {
        assert_eq!(check(data), Ok((48, 64)));
        let canvas = decode(data).unwrap();
        assert!(near(pixel(&canvas, 4, 4), left), "{:?}", pixel(&canvas, 4, 4));
        assert!(near(pixel(&canvas, 44, 60), right), "{:?}", pixel(&canvas, 44, 60));
    }
}

#[test]
fn what_is_no_still_picture_of_bearable_size_is_refused_before_decoding() {
    let mut tall = BASELINE.to_vec();
    let frame = tall.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    tall[frame + 5..frame + 7].copy_from_slice(&[0xFF, 0xFF]);
    let mut flat = BASELINE.to_vec();
    flat[frame + 5..frame + 7].copy_from_slice(&[0, 0]);
    let mut lossless = BASELINE.to_vec();
    lossless[frame + 1] = 0xC3;
    let still = png(1, 1, ColorType::Rgb, BitDepth::Eight, &[1, 2, 3]);
    let animated = [&still[..33], &chunk(b"acTL", &[0; 8]), &still[33..]].concat();
    for (wrong, data, why) in [
        ("empty", vec![], "neither"),
        ("GIF", b"GIF89a\x01\0\x01\0".to_vec(), "neither"),
        ("SVG", b"<svg/>".to_vec(), "neither"),
        ("magic alone", PNG.to_vec(), "cut short"),
        ("JPEG magic alone", JPEG.to_vec(), "cut short"),
        ("PNG bomb", hollow(4_000_000_000, 4_000_000_000), "4096"),
        ("PNG too wide", hollow(4097, 1), "4096"),
        ("PNG of too many pixels", hollow(4096, 1025), "4096"),
        ("PNG 0 x 1", hollow(0, 1), "no pixels"),
        ("PNG 1 x 0", hollow(1, 0), "no pixels"),
        ("animated", animated, "animated"),
        ("PNG cut", still[..still.len() - 13].to_vec(), "cut short"),
        ("PNG chunk longer than the file", [PNG, &[0xFF; 8]].concat(), "cut short"),
        ("JPEG too tall", tall, "4096"),
        ("JPEG without height", flat, "no pixels"),
        ("lossless JPEG", lossless, "not supported"),
        ("CMYK", CMYK.to_vec(), "CMYK"),
        ("JPEG cut in its picture", BASELINE[..BASELINE.len() - 2].to_vec(), "cut short"),
        ("JPEG cut in its tables", BASELINE[..frame].to_vec(), "cut short"),
        ("too long", [BASELINE, &vec![0; BYTES_MAX]].concat(), "1024 KiB"),
    ] {
        let error = check(&data).unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
        assert_eq!(decode(&data).err(), Some(error), "{wrong}");
    }
}

#[test]
fn what_only_decoding_shows_is_an_error_there() {
    assert_eq!(check(&hollow(4, 4)), Ok((4, 4)));
    assert!(decode(&hollow(4, 4)).is_err());
    let mut scrambled = png(8, 8, ColorType::Rgb, BitDepth::Eight, &[5; 192]);
    let end = scrambled.len() - 20;
    scrambled[end] ^= 0xFF;
    assert!(check(&scrambled).is_ok() && decode(&scrambled).is_err());
    // A table of Huffman codes that cannot be.
    let table = BASELINE.windows(2).position(|w| w == [0xFF, 0xC4]).unwrap();
    let mut impossible = BASELINE.to_vec();
    impossible[table + 5..table + 21].fill(0xFF);
    assert!(check(&impossible).is_ok() && decode(&impossible).is_err());
}

/// EXIF data with this orientation, big-endian as Pillow writes them, or little-endian.
fn exif(orientation: u8, little: bool) -> Vec<u8> {
    if little {
        return [&b"II\x2A\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0], &[0; 4]]
            .concat();
    }
    [&b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[orientation, 0, 0], &[0; 4]].concat()
}

/// A photo that lies on its side in its file is printed as its issuer saw it. The answers are those of Pillow 13.0:
/// `list(ImageOps.exif_transpose(image).getdata())` for a grey image of 3 x 2 pixels, 10 to 60 row by row, saved as PNG
/// with `exif=` for each orientation.
#[test]
fn each_exif_orientation_turns_the_picture_as_pillow_does() {
    let stored = [10, 20, 30, 40, 50, 60];
    let still = png(3, 2, ColorType::Grayscale, BitDepth::Eight, &stored);
    for (orientation, size, seen) in [
        (1, (3, 2), [10, 20, 30, 40, 50, 60]),
        (2, (3, 2), [30, 20, 10, 60, 50, 40]),
        (3, (3, 2), [60, 50, 40, 30, 20, 10]),
        (4, (3, 2), [40, 50, 60, 10, 20, 30]),
        (5, (2, 3), [10, 40, 20, 50, 30, 60]),
        (6, (2, 3), [40, 10, 50, 20, 60, 30]),
        (7, (2, 3), [60, 30, 50, 20, 40, 10]),
        (8, (2, 3), [30, 60, 20, 50, 10, 40]),
    ] {
        for little in [false, true] {
            let data = exif(orientation, little);
            let turned = [&still[..33], &chunk(b"eXIf", &data), &still[33..]].concat();
            assert_eq!(check(&turned), Ok(size), "{orientation}");
            // The chunk of the test has no right checksum, which only the decoder of the file looks at.
            let canvas = Orientation::of_exif(&data).turn(decode(&still).unwrap()).unwrap();
            assert_eq!((canvas.0.width(), canvas.0.height()), size, "{orientation}");
            let greys: Vec<u8> = canvas.0.pixels().iter().map(|pixel| pixel.red()).collect();
            assert_eq!(greys, seen, "{orientation}");
        }
    }
}

/// The sample is red on the left and blue on the right, 48 x 64.
#[test]
fn a_jpeg_is_turned_by_its_first_exif_segment() {
    let segment = |orientation| [&b"Exif\0\0"[..], &exif(orientation, false)].concat();
    let data = with_segment(0xE1, &segment(6));
    assert_eq!(check(&data), Ok((64, 48)));
    let canvas = decode(&data).unwrap();
    assert_eq!((canvas.0.width(), canvas.0.height()), (64, 48));
    // Clockwise, the left side becomes the top.
    assert!(near(pixel(&canvas, 60, 4), [200, 40, 40, 255]), "{:?}", pixel(&canvas, 60, 4));
    assert!(near(pixel(&canvas, 4, 44), [40, 40, 200, 255]), "{:?}", pixel(&canvas, 4, 44));
    // XMP data stand in a segment of that kind too.
    let xmp = with_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>");
    let both = [&xmp[..2], &data[2..data.len() - BASELINE.len() + 2], &xmp[2..]].concat();
    assert_eq!(check(&both), Ok((64, 48)));
}

#[test]
fn exif_data_that_cannot_be_read_turn_nothing() {
    let good = exif(6, false);
    assert_eq!(Orientation::of_exif(&good), Orientation::Clockwise);
    for length in 0..good.len() - 6 {
        assert_eq!(Orientation::of_exif(&good[..length]), Orientation::Upright, "{length} bytes");
    }
    for wrong in [exif(0, false), exif(9, true), b"MM\0\x2A\xFF\xFF\xFF\xFF".to_vec()] {
        assert_eq!(Orientation::of_exif(&wrong), Orientation::Upright);
    }
}

const SOS: u8 = 0xDA;

#[test]
fn metadata_is_skipped_however_much() {
    let icc = [&b"ICC_PROFILE\0\x01\x01"[..], &[0xFF; 65_000]].concat();
    let exif = [&b"Exif\0\0"[..], &[0xFF, 0xD9, 0xFF, 0xC0].repeat(5_000)].concat();
    let plain = decode(BASELINE).unwrap();
    for data in [with_segment(0xE2, &icc), with_segment(0xE1, &exif), with_segment(0xFE, b"comment")] {
        assert_eq!(check(&data), Ok((48, 64)));
        assert!(decode(&data).unwrap().0.data() == plain.0.data());
    }
    // A compressed profile of a PNG would unpack to gigabytes.
    let still = png(1, 1, ColorType::Rgb, BitDepth::Eight, &[1, 2, 3]);
    let profile = [&b"x\0\0"[..], &[0x78, 0x9C], &[0; 60_000]].concat();
    let with_profile = [&still[..33], &chunk(b"iCCP", &profile), &still[33..]].concat();
    assert_eq!(check(&with_profile), Ok((1, 1)));
    drop(decode(&with_profile));
}

#[test]
fn a_scan_repeated_for_ever_ends_soon() {
    let scan = PROGRESSIVE.windows(2).rposition(|w| w == [0xFF, SOS]).unwrap();
    let body = &PROGRESSIVE[scan..PROGRESSIVE.len() - 2];
    let mut data = PROGRESSIVE[..scan].to_vec();
    while data.len() + body.len() + 2 < BYTES_MAX {
        data.extend_from_slice(body);
    }
    data.extend_from_slice(&[0xFF, 0xD9]);
    let start = std::time::Instant::now();
    drop(decode(&data));
    assert!(start.elapsed().as_secs() < 10);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..4096), kind in 0..3u8) {
        let magic = match kind { 0 => PNG, 1 => JPEG, _ => b"" };
        let _ = decode(&[magic, &data].concat());
    }

    #[test]
    fn damaged_pictures_never_panic(
        which in 0..4usize,
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let still = png(16, 16, ColorType::Rgba, BitDepth::Eight, &[90; 1024]);
        let mut data = [BASELINE, PROGRESSIVE, GREY, &still][which].to_vec();
        for (place, byte) in hits {
            let place = place.index(data.len());
            data[place] = byte;
        }
        if cuts {
            data.truncate(cut.index(data.len()));
        }
        // What decodes has the size that the check saw.
        if let Ok(canvas) = decode(&data) {
            prop_assert_eq!(check(&data), Ok((canvas.0.width(), canvas.0.height())));
        }
    }
}

#[test]
fn a_decoder_that_panics_costs_the_picture() {
    let mut canvas = Pixmap::new(1, 1).unwrap();
    let dies = |_: &[u8], _: &mut Pixmap| -> Result<(), String> { panic!("planted") };
    assert_eq!(decode_with(dies, b"", &mut canvas), Err("cannot be decoded".to_owned()));
}
