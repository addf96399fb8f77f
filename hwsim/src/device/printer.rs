//! Card printer (`drivers::wire` section 4). It keeps no picture: of each side it keeps the SHA-256 of the decoded
//! raster, RGBA with 8 bits each, not premultiplied, rows from top to bottom without padding.
//!
//! Bounds: 1 to 2048 pixels each way, and no PNG longer than such a raster. 'P' with no image, or with one that is
//! incomplete or no PNG, is '3' and prints nothing. Like the embosser's buffer, the images stay until 'C'.

use std::io::Cursor;

use drivers::wire::status;
use png::{ColorType, Transformations};
use sha2::{Digest, Sha256};

use super::frame::{Answer, Machine};
use crate::faults::Kind;
use crate::pace::Pace;
use crate::sync::lock;
use crate::world::{Move, Station, World};

/// Answer to 'S'.
const MODEL: &str = "hwsim printer SIMULATED";
/// Pixels each way, at most.
const SIDE_MAX: u32 = 2048;
/// Bytes of such a raster; a longer PNG is not accepted, and its decoder gets no more memory.
const RASTER_MAX: usize = 2048 * 2048 * 4;

/// An image under way: what was announced, and what has come.
struct Image {
    announced: usize,
    png: Vec<u8>,
}

/// A printer at a station.
pub struct Printer<'a> {
    world: &'a World,
    station: &'a Station,
    pace: Pace,
    front: Option<Image>,
    back: Option<Image>,
    /// The side whose chunks come.
    side: Side,
}

#[derive(Clone, Copy)]
enum Side {
    Front,
    Back,
}

impl<'a> Printer<'a> {
    /// With no images.
    pub fn new(world: &'a World, station: &'a Station) -> Self {
        let pace = Pace::new(world.speed);
        Self { world, station, pace, front: None, back: None, side: Side::Front }
    }

    fn image(&mut self) -> &mut Option<Image> {
        match self.side {
            Side::Front => &mut self.front,
            Side::Back => &mut self.back,
        }
    }

    fn begin(&mut self, side: u8, length: u32) -> Move {
        self.side = match side {
            b'F' => Side::Front,
            b'B' => Side::Back,
            _ => return Err(status::BAD_DATA),
        };
        let announced = usize::try_from(length).unwrap_or(usize::MAX);
        if announced == 0 || announced > RASTER_MAX {
            return Err(status::BAD_DATA);
        }
        *self.image() = Some(Image { announced, png: Vec::new() });
        Ok(())
    }

    fn chunk(&mut self, data: &[u8]) -> Move {
        let image = self.image().as_mut().ok_or(status::BAD_DATA)?;
        if data.is_empty() || image.png.len() + data.len() > image.announced {
            return Err(status::BAD_DATA);
        }
        image.png.extend_from_slice(data);
        Ok(())
    }

    fn print(&mut self) -> Move {
        let slot = self.station.slot();
        let card = slot.card().ok_or(status::NO_CARD)?;
        if self.world.jams(&mut lock(card), Kind::JamPrinter, self.station) {
            return Err(status::JAM);
        }
        if self.front.is_none() && self.back.is_none() {
            return Err(status::BAD_DATA);
        }
        let front = raster_of(self.front.as_ref())?;
        let back = raster_of(self.back.as_ref())?;
        self.pace.work(self.world.sim.printer_s);
        let mut blank = lock(card);
        blank.front = front.or(blank.front);
        blank.back = back.or(blank.back);
        blank.jobs += 1;
        Ok(())
    }
}

impl Machine for Printer<'_> {
    const COMMANDS: &'static [u8] = b"CHDPS";

    fn run(&mut self, command: u8, data: &[u8]) -> Answer {
        let done = match (command, data) {
            (b'C', []) => {
                self.front = None;
                self.back = None;
                Ok(())
            }
            (b'H', [side, a, b, c, d]) => self.begin(*side, u32::from_be_bytes([*a, *b, *c, *d])),
            (b'D', chunk) => self.chunk(chunk),
            (b'P', []) => self.print(),
            (b'S', []) => return Answer::model(MODEL),
            _ => Err(status::BAD_DATA),
        };
        Answer::of(done)
    }
}

/// The raster of a side that was begun: an error if it is not complete or no PNG.
fn raster_of(image: Option<&Image>) -> Result<Option<[u8; 32]>, u8> {
    let Some(image) = image else { return Ok(None) };
    if image.png.len() != image.announced {
        return Err(status::BAD_DATA);
    }
    raster(&image.png).map(Some).ok_or(status::BAD_DATA)
}

/// SHA-256 of the raster of a PNG: RGBA8, rows top to bottom. `None` if it is none, or out of bounds.
pub fn raster(png: &[u8]) -> Option<[u8; 32]> {
    let limits = png::Limits { bytes: RASTER_MAX };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(png), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::ALPHA | Transformations::STRIP_16);
    let mut reader = decoder.read_info().ok()?;
    let info = reader.info();
    if info.width > SIDE_MAX || info.height > SIDE_MAX || info.is_animated() {
        return None;
    }
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut pixels).ok()?;
    reader.finish().ok()?;
    let pixels = pixels.get(..frame.buffer_size())?;
    let digest = match frame.color_type {
        ColorType::Rgba => Sha256::digest(pixels),
        ColorType::GrayscaleAlpha => {
            let (grey, _) = pixels.as_chunks::<2>();
            let rgba: Vec<u8> = grey.iter().flat_map(|[v, a]| [*v, *v, *v, *a]).collect();
            Sha256::digest(&rgba)
        }
        _ => return None,
    };
    Some(digest.into())
}

#[cfg(test)]
#[path = "printer_tests.rs"]
mod tests;
