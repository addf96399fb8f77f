//! Tests of the card printer: complete images, decoded rasters, bounds.

use super::*;
use crate::device::frame::{QUIET, serve};
use crate::testing::{LinkClient, feed, link, look, world};

/// A PNG of these samples.
fn png(width: u32, height: u32, color: ColorType, depth: png::BitDepth, samples: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(samples).unwrap();
    writer.finish().unwrap();
    out
}

/// Announces an image and sends it.
fn send(station: &SimulatedStation, client: &mut LinkClient, side: u8, png: &[u8]) {
    assert_eq!(client.command(b'H', &announcement(side, png)).0, b'0');
    come(station, &image(side, png)).unwrap();
}

fn announcement(side: u8, png: &[u8]) -> Vec<u8> {
    let length = u32::try_from(png.len()).unwrap().to_be_bytes();
    [&[side][..], &length, &Sha256::digest(png)].concat()
}

fn image(side: u8, png: &[u8]) -> Vec<u8> {
    [&[side][..], &u32::try_from(png.len()).unwrap().to_be_bytes(), png].concat()
}

/// Sends bytes over a stream link, and hangs up.
fn come(station: &SimulatedStation, bytes: &[u8]) -> io::Result<()> {
    let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let inbox = scope.spawn(move || station.inbox.receive(&far));
        let _ = io::Write::write_all(&mut near, bytes);
        drop(near);
        inbox.join().unwrap()
    })
}

fn printing<T>(
    faults: &str,
    client: impl FnOnce(&SimulatedLine, &SimulatedStation, &mut LinkClient) -> T,
) -> T {
    let world = world(faults);
    let station = feed(&world, "printer-1");
    let mut printer = SimulatedPrinter::new(&world, station);
    link(|stream| serve(stream, &mut printer, true, QUIET), |c| client(&world, station, c))
}

/// A picture has the same raster in every colour type; the digest is of the RGBA bytes and computed here from
/// them.
#[test]
fn the_raster_not_the_encoding_is_witnessed() {
    use png::BitDepth::{Eight, Four, Sixteen};
    let rgba = [0, 0, 0, 255, 255, 255, 255, 255, 119, 119, 119, 255, 0, 0, 0, 255];
    let expected: [u8; 32] = Sha256::digest(rgba).into();
    let grey = [0, 255, 119, 0];
    let wide: Vec<u8> = grey.iter().flat_map(|v| [*v, *v]).collect();
    let rgb: Vec<u8> = grey.iter().flat_map(|v| [*v, *v, *v]).collect();
    let with_alpha: Vec<u8> = grey.iter().flat_map(|v| [*v, 255]).collect();
    assert_eq!(raster(&png(2, 2, ColorType::Rgba, Eight, &rgba)).unwrap(), expected);
    assert_eq!(raster(&png(2, 2, ColorType::Rgb, Eight, &rgb)).unwrap(), expected);
    assert_eq!(raster(&png(2, 2, ColorType::Grayscale, Eight, &grey)).unwrap(), expected);
    assert_eq!(raster(&png(2, 2, ColorType::GrayscaleAlpha, Eight, &with_alpha)).unwrap(), expected);
    assert_eq!(raster(&png(2, 2, ColorType::Grayscale, Sixteen, &wide)).unwrap(), expected);
    assert_eq!(raster(&png(2, 2, ColorType::Grayscale, Four, &[0x0F, 0x70])).unwrap(), expected);
}

#[test]
fn bytes_that_are_no_picture() {
    use png::BitDepth::Eight;
    let good = png(4, 4, ColorType::Grayscale, Eight, &[7; 16]);
    assert!(raster(&good).is_some());
    assert!(raster(b"").is_none());
    assert!(raster(b"\xFF\xD8\xFF\xE0 a JPEG").is_none());
    for length in 0..good.len() {
        assert!(raster(&good[..length]).is_none(), "cut at {length}");
    }
    let mut bad = good.clone();
    bad[45] ^= 1; // inside the image data: its CRC is wrong
    assert!(raster(&bad).is_none());
    assert!(raster(&png(2049, 1, ColorType::Grayscale, Eight, &[0; 2049])).is_none());
    assert!(raster(&png(1, 2049, ColorType::Grayscale, Eight, &[0; 2049])).is_none());
    assert!(raster(&png(2048, 2048, ColorType::Rgba, Eight, &vec![9; RASTER_MAX])).is_some());
}

#[test]
fn both_sides_are_printed() {
    let front = png(2, 1, ColorType::Grayscale, png::BitDepth::Eight, &[1, 2]);
    let noise: Vec<u8> = (0..4000u32).map(|n| ((n * n) >> 3).to_le_bytes()[0]).collect();
    let back = png(100, 40, ColorType::Grayscale, png::BitDepth::Eight, &noise);
    assert!(back.len() > 1024, "more than one chunk");
    printing("", |_, station, client| {
        send(station, client, b'F', &front);
        send(station, client, b'B', &back);
        assert_eq!(client.command(b'P', b"").0, b'0');
        look(station, |blank| {
            assert_eq!((blank.front, blank.back), (raster(&front), raster(&back)));
            assert_eq!(blank.jobs, 1);
        });
        // After 'C' there is nothing to print. When only the front is printed, the back stays as it is.
        assert_eq!(client.command(b'C', b"").0, b'0');
        assert_eq!(client.command(b'P', b"").0, b'3');
        send(station, client, b'F', &back);
        assert_eq!(client.command(b'P', b"").0, b'0');
        look(station, |blank| assert_eq!((blank.front, blank.back), (raster(&back), raster(&back))));
    });
}

#[test]
fn an_image_may_come_during_the_wait_and_the_last_one_counts() {
    let one = png(2, 1, ColorType::Grayscale, png::BitDepth::Eight, &[1, 2]);
    let two = png(2, 1, ColorType::Grayscale, png::BitDepth::Eight, &[3, 4]);
    printing("", |_, station, client| {
        send(station, client, b'F', &one);
        assert_eq!(client.command(b'H', &announcement(b'F', &two)).0, b'0');
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                come(station, &image(b'F', &two)).unwrap();
            });
            assert_eq!(client.command(b'P', b"").0, b'0');
        });
        look(station, |blank| assert_eq!(blank.front, raster(&two)));
        // The image is kept, because the next card may have it too.
        assert_eq!(client.command(b'P', b"").0, b'0');
    });
}

#[test]
fn incomplete_and_wrong_images_print_nothing() {
    let good = png(2, 1, ColorType::Grayscale, png::BitDepth::Eight, &[1, 2]);
    printing("", |_, station, client| {
        assert_eq!(client.command(b'P', b"").0, b'3', "nothing announced");
        let digest = [7; 32];
        for header in [&b"F"[..], b"X\0\0\0\x09", b"F\0\0\0\0", b"F\x02\0\0\0"] {
            assert_eq!(client.command(b'H', &[header, &digest].concat()).0, b'3', "{header:?}");
        }
        assert_eq!(client.command(b'H', b"F\0\0\0\x09").0, b'3', "no digest");
        assert_eq!(client.command(b'H', &[&b"F\0\0\0\x09"[..], &[7; 33]].concat()).0, b'3');
        send(station, client, b'F', &good[..good.len() - 1]);
        assert_eq!(client.command(b'P', b"").0, b'3', "no PNG");
        assert_eq!(client.command(b'C', b"").0, b'0');
        let cut = image(b'B', &good);
        assert!(come(station, &cut[..cut.len() - 1]).is_err());
        assert!(come(station, b"X\0\0\0\x01x").is_err());
        assert!(come(station, b"F\0\0\0\0").is_err());
        assert!(come(station, b"F\xFF\0\0\0").is_err());
        assert_eq!(client.command(b'H', &announcement(b'B', &good)).0, b'0');
        assert_eq!(client.command(b'P', b"").0, b'3', "it does not come in time");
        look(station, |blank| assert_eq!((blank.front, blank.back, blank.jobs), (None, None, 0)));
    });
}

#[test]
fn no_card_jam_and_model() {
    let fault = "[[fault]]\nkind = \"jam-printer\"\nblanks = [1]";
    let good = png(2, 1, ColorType::Grayscale, png::BitDepth::Eight, &[1, 2]);
    printing(fault, |world, station, client| {
        send(station, client, b'F', &good);
        assert_eq!(client.command(b'P', b"").0, b'1');
        assert_eq!(client.command(b'P', b"").0, b'1', "still jammed");
        world.reject(station, &mut LinkPace::new(0.0)).unwrap();
        assert_eq!(client.command(b'P', b"").0, b'2');
        assert_eq!(client.command(b'S', b""), (b'0', format!("{MODEL} no.SIM-printer-1").into_bytes()));
        assert_eq!(client.command(b'C', b"x").0, b'3');
    });
}

#[test]
fn the_ribbon_ends_and_is_refilled() {
    let good = png(2, 1, ColorType::Grayscale, png::BitDepth::Eight, &[1, 2]);
    printing("[[fault]]\nkind = \"ribbon-out\"\nms = 150\nevery = 1", |_, station, client| {
        send(station, client, b'F', &good);
        assert_eq!(client.command(b'S', b"").0, b'0');
        assert_eq!(client.command(b'P', b"").0, b'4');
        assert_eq!(client.command(b'S', b"").0, b'4');
        look(station, |blank| assert_eq!((blank.front, blank.jobs), (None, 0)));
        std::thread::sleep(Duration::from_millis(160));
        assert_eq!(client.command(b'S', b"").0, b'0');
        assert_eq!(client.command(b'P', b"").0, b'0');
    });
}

/// An answer is damaged as often as the card's fault says; the controller asks again until it arrives whole.
#[test]
fn damaged_answers() {
    let fault = "[[fault]]\nkind = \"frame-corrupt\"\ndevice = \"printer\"\ntimes = 2\nevery = 1";
    printing(fault, |_, _, client| {
        client.send(&crate::testing::frame(b"C"));
        client.expect(&[0x06]);
        for _ in 0..2 {
            client.expect(&[0x02, b'C', b'1', 0x03, b'C' ^ b'0' ^ 0x03]);
            client.send(&[0x15]);
        }
        client.expect(&[0x02, b'C', b'0', 0x03, b'C' ^ b'0' ^ 0x03]);
        client.send(&[0x06]);
        assert_eq!(client.command(b'C', b"").0, b'0');
    });
    printing("[[fault]]\nkind = \"frame-corrupt\"\ndevice = \"embosser\"\nevery = 1", |_, _, client| {
        assert_eq!(client.command(b'C', b"").0, b'0', "another machine's");
    });
}

#[test]
fn the_printer_closes_its_link_at_the_job() {
    printing("[[fault]]\nkind = \"close-printer\"\nms = 30\nevery = 1", |_, station, client| {
        assert_eq!(client.command(b'C', b"").0, b'0');
        client.send(&crate::testing::frame(b"P"));
        assert_eq!(io::Read::read(&mut client.0, &mut [0]).unwrap(), 0);
        assert_eq!(station.absence(), Duration::from_millis(30));
        assert_eq!(station.absence(), Duration::ZERO);
    });
}
