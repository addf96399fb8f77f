//! Card printer (`drivers::wire` section 4). It keeps no picture of a card, only the SHA-256 of each side's
//! decoded raster: RGBA with 8 bits each, not premultiplied, rows from top to bottom without padding.
//!
//! Images come over the `stream` link of the station, and the last whole one of each side lies in its
//! [`ImageInbox`], from which 'P' takes the images that 'H' announced. Bounds: 1 to 2048 pixels each way, and
//! no PNG longer than such a raster. 'P' with nothing announced is '3' and prints nothing. Announcements stay
//! until 'C' or the next 'H' of that side; a stream that sends anything but images is closed.

use std::io::{self, Cursor, ErrorKind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use drivers::wire::status;
use png::{ColorType, Transformations};
use sha2::{Digest, Sha256};

use super::frame::{FramedMachine, MachineAnswer};
use super::link::{MachineLink, read_exact};
use crate::faults::{DamagedMachine, FaultKind};
use crate::pace::LinkPace;
use crate::sync::lock;
use crate::world::{SimulatedLine, SimulatedStation, TransportMove};

/// Answer to 'S', before the number.
const MODEL: &str = "hwsim printer SIMULATED";
/// Most pixels each way.
const SIDE_MAX: u32 = 2048;
/// Bytes of the largest raster; a longer PNG is not accepted, and its decoder gets no more memory.
const RASTER_MAX: usize = 2048 * 2048 * 4;
/// How long 'P' waits for an image (`drivers::wire` section 4); not divided by `--speed`.
const IMAGE_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum PrintedSide {
    Front,
    Back,
}

impl PrintedSide {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            b'F' => Some(Self::Front),
            b'B' => Some(Self::Back),
            _ => None,
        }
    }
}

/// A pair of values, one for each side.
#[derive(Default)]
struct PerSide<T> {
    front: Option<T>,
    back: Option<T>,
}

impl<T> PerSide<T> {
    fn at(&mut self, side: PrintedSide) -> &mut Option<T> {
        match side {
            PrintedSide::Front => &mut self.front,
            PrintedSide::Back => &mut self.back,
        }
    }
}

/// A PNG that has arrived, unchanged.
#[derive(Default)]
struct ReceivedImage {
    digest: [u8; 32],
    png: Vec<u8>,
}

/// Images that have arrived at a printer: the last of each side.
#[derive(Default)]
pub struct ImageInbox {
    images: Mutex<PerSide<ReceivedImage>>,
    arrived: Condvar,
}

impl ImageInbox {
    /// Takes images from the stream until the other end hangs up.
    pub fn receive(&self, stream: &impl MachineLink) -> io::Result<()> {
        let no_image = || io::Error::new(ErrorKind::InvalidData, "not an image of a side");
        loop {
            let mut header = [0; 5];
            match read_exact(stream, &mut header) {
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            }
            let [side, length @ ..] = header;
            let side = PrintedSide::of(side).ok_or_else(no_image)?;
            let mut png = vec![0; png_length(length).ok_or_else(no_image)?];
            read_exact(stream, &mut png)?;
            let digest = Sha256::digest(&png).into();
            *lock(&self.images).at(side) = Some(ReceivedImage { digest, png });
            self.arrived.notify_all();
        }
    }

    /// Waits for the image that was announced; returns the digest of its raster, or `None` if it does not
    /// come or is no PNG.
    fn raster_of(&self, side: PrintedSide, announced: &AnnouncedImage) -> Option<[u8; 32]> {
        let missing = |images: &mut PerSide<ReceivedImage>| {
            let here = images.at(side).as_ref();
            here.is_none_or(|i| i.digest != announced.digest || i.png.len() != announced.length)
        };
        let images = lock(&self.images);
        let waited = self.arrived.wait_timeout_while(images, IMAGE_WAIT, missing);
        let (mut images, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        // Decoded without the lock: the next card's image may arrive meanwhile.
        let image = images.at(side).take()?;
        drop(images);
        let raster = raster(&image.png);
        lock(&self.images).at(side).get_or_insert(image);
        raster
    }
}

/// The length of a PNG, if it is within bounds.
fn png_length(length: [u8; 4]) -> Option<usize> {
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    (1..=RASTER_MAX).contains(&length).then_some(length)
}

/// Announcement of a side by 'H'.
#[derive(Default)]
struct AnnouncedImage {
    length: usize,
    digest: [u8; 32],
}

/// A printer at a station of the simulated line.
pub struct SimulatedPrinter<'a> {
    world: &'a SimulatedLine,
    station: &'a SimulatedStation,
    pace: LinkPace,
    announced: PerSide<AnnouncedImage>,
}

impl<'a> SimulatedPrinter<'a> {
    /// Makes the printer with nothing announced.
    pub fn new(world: &'a SimulatedLine, station: &'a SimulatedStation) -> Self {
        Self { world, station, pace: LinkPace::new(world.speed), announced: PerSide::default() }
    }

    /// Takes an announcement: `side | length u32 | SHA-256`.
    fn announce(&mut self, data: &[u8]) -> TransportMove {
        let (&[side, ref length @ ..], digest) = data.split_first_chunk::<5>().ok_or(status::BAD_DATA)?;
        let side = PrintedSide::of(side).ok_or(status::BAD_DATA)?;
        let length = png_length(*length).ok_or(status::BAD_DATA)?;
        let digest = digest.try_into().map_err(|_| status::BAD_DATA)?;
        *self.announced.at(side) = Some(AnnouncedImage { length, digest });
        Ok(())
    }

    fn print(&mut self) -> TransportMove {
        let slot = self.station.slot();
        let card = slot.card().ok_or(status::NO_CARD)?;
        if self.world.jams(&mut lock(card), FaultKind::JamPrinter, self.station) {
            return Err(status::JAM);
        }
        let (ribbon, printer) = ((FaultKind::RibbonOut, status::SUPPLY), DamagedMachine::Printer);
        self.world.may_begin(&mut lock(card), ribbon, printer, self.station)?;
        let PerSide { front, back } = &self.announced;
        if front.is_none() && back.is_none() {
            return Err(status::BAD_DATA);
        }
        let raster_of = |side, announced: &Option<AnnouncedImage>| match announced {
            None => Ok(None),
            Some(a) => self.station.inbox.raster_of(side, a).map(Some).ok_or(status::BAD_DATA),
        };
        let front = raster_of(PrintedSide::Front, front)?;
        let back = raster_of(PrintedSide::Back, back)?;
        self.pace.work(self.world.sim.printer_s);
        let mut blank = lock(card);
        blank.front = front.or(blank.front);
        blank.back = back.or(blank.back);
        blank.worked_on();
        Ok(())
    }
}

impl FramedMachine for SimulatedPrinter<'_> {
    const COMMANDS: &'static [u8] = b"CHPS";

    fn run(&mut self, command: u8, data: &[u8]) -> Option<MachineAnswer> {
        let done = match (command, data) {
            (b'C', []) => {
                self.announced = PerSide::default();
                Ok(())
            }
            (b'H', data) => self.announce(data),
            (b'P', []) if self.world.closes(FaultKind::ClosePrinter, self.station) => return None,
            (b'P', []) => self.print(),
            (b'S', []) => match self.station.machine_wants.refuses() {
                Ok(()) => return Some(MachineAnswer::numbered(MODEL, &self.station.name)),
                wanted => wanted,
            },
            _ => Err(status::BAD_DATA),
        };
        Some(MachineAnswer::of(done))
    }

    fn damage(&mut self, frame: &mut [u8]) {
        self.world.damage(DamagedMachine::Printer, self.station, frame);
    }
}

/// SHA-256 of the raster of a PNG: RGBA8, rows top to bottom. `None` if it is no PNG, or out of bounds.
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
mod tests;
