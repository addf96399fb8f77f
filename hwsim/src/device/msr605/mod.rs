//! Magnetic stripe encoder MSR605/MSR206 (`drivers::wire` section 6 names the manuals): ESC commands; the
//! machine adds the sentinels when it writes and returns them when it reads.
//!
//! Choices where the manuals are silent: without a card under the head, read and write end with status 39 and
//! erase with 41; a track that is empty in a write keeps its content; a write with a track of a wrong
//! character set or length, or with sentinels, gets status 32 and changes nothing; a jam is status 31; reset
//! restores the settings of power-on (HiCo, leading zeros 61 and 22, 7-5-5 bits); a raw track that is read as
//! ISO is empty and gets status 31.

mod parser;

use std::io;
use std::time::Duration;

use drivers::wire::{ESC, FS};

use super::head::{self, EncoderHead, SwipeMiss};
use super::link::MachineLink;
use crate::blank::SimulatedBlank;
use crate::faults::FaultKind;
use crate::profile::StripeCoercivity;
use crate::stripe::{END, FORMATS, TrackContent};
use crate::world::{SimulatedLine, SimulatedStation};
use parser::{BlockTracks, CommandParser, EncoderCommand};

/// Status bytes after ESC.
mod status {
    pub const OK: u8 = 0x30;
    pub const READ_WRITE: u8 = 0x31;
    pub const FORMAT: u8 = 0x32;
    pub const INVALID: u8 = 0x34;
    pub const SWIPE: u8 = 0x39;
    /// Failure of settings, RAM test and erase.
    pub const FAIL: u8 = 0x41;
}

/// Pause between two looks for the card of a sensor test.
const SENSOR_PAUSE: Duration = Duration::from_millis(5);
/// Model byte: three tracks, read and write.
const MODEL: u8 = b'3';
/// Version of the firmware, in the form "REV?X.XX".
const FIRMWARE: &[u8] = b"REVS1.00";

/// Serves the encoder of a station until the other end hangs up.
pub fn serve(stream: &impl MachineLink, world: &SimulatedLine, station: &SimulatedStation) -> io::Result<()> {
    let mut encoder = SimulatedMsr605::new(world, station);
    let mut parser = CommandParser::default();
    let mut buffer = [0; 1024];
    let mut out = Vec::new();
    let device = world.wiring.linked(&station.name);
    loop {
        while encoder.armed && !stream.stirs_within(SENSOR_PAUSE)? {
            if encoder.head.station.slot().card().is_some() && !encoder.head.is_silent() {
                encoder.armed = false;
                stream.send(&[ESC, status::OK])?;
            }
            if device.has_moved() {
                return Ok(());
            }
        }
        if device.is_cut(stream)? {
            return Ok(());
        }
        let n = stream.receive(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        if encoder.head.is_silent() {
            continue;
        }
        for byte in buffer.iter().take(n) {
            // An armed encoder waits for a card or a reset, and for nothing else.
            match parser.push(*byte) {
                Some(EncoderCommand::Reset) => encoder.reset(),
                Some(command) if !encoder.armed => encoder.run(command, &mut out),
                _ => {}
            }
        }
        match encoder.head.link {
            head::HeadLinkState::Answers => {}
            head::HeadLinkState::Silent(_) => out.clear(),
            head::HeadLinkState::Closed => return Ok(()),
        }
        if !out.is_empty() {
            stream.send(&out)?;
            out.clear();
        }
    }
}

/// Settings that commands change.
struct EncoderSettings {
    coercivity: StripeCoercivity,
    /// Leading zeros of tracks 1 and 3, and of track 2.
    zeros: [u8; 2],
}

impl EncoderSettings {
    /// Settings at power-on.
    const DEFAULT: Self = Self { coercivity: StripeCoercivity::Hico, zeros: [61, 22] };
}

struct SimulatedMsr605<'a> {
    head: EncoderHead<'a>,
    settings: EncoderSettings,
    /// A sensor test waits for a card.
    armed: bool,
}

impl<'a> SimulatedMsr605<'a> {
    fn new(world: &'a SimulatedLine, station: &'a SimulatedStation) -> Self {
        Self { head: EncoderHead::new(world, station), settings: EncoderSettings::DEFAULT, armed: false }
    }

    fn reset(&mut self) {
        self.settings = EncoderSettings::DEFAULT;
        self.armed = false;
    }

    /// Carries out a command and appends its reply to `out`.
    fn run(&mut self, command: EncoderCommand, out: &mut Vec<u8>) {
        let verdict = |ok: bool| [ESC, if ok { status::OK } else { status::FAIL }];
        match command {
            EncoderCommand::Reset => self.reset(),
            EncoderCommand::Leds => {}
            EncoderCommand::CommTest => out.extend([ESC, b'y']),
            EncoderCommand::SensorTest => {
                self.armed = self.head.station.slot().card().is_none();
                if !self.armed {
                    out.extend([ESC, status::OK]);
                }
            }
            EncoderCommand::RamTest => out.extend([ESC, status::OK]),
            EncoderCommand::SetZeros(zeros) => {
                self.settings.zeros = zeros;
                out.extend([ESC, status::OK]);
            }
            EncoderCommand::GetZeros => {
                let [t13, t2] = self.settings.zeros;
                out.extend([ESC, t13, t2]);
            }
            EncoderCommand::SelectBpi(x) => {
                out.extend(verdict(matches!(x, 0xD2 | 0x4B | 0xA1 | 0xA0 | 0xC1 | 0xC0)));
            }
            EncoderCommand::SetBpc(bits) if bits.iter().all(|b| (5..=8).contains(b)) => {
                out.extend([ESC, status::OK]);
                out.extend(bits);
            }
            EncoderCommand::SetBpc(_) => out.extend([ESC, status::FAIL]),
            EncoderCommand::Hico => self.set_coercivity(StripeCoercivity::Hico, out),
            EncoderCommand::Loco => self.set_coercivity(StripeCoercivity::Loco, out),
            EncoderCommand::Coercivity => {
                let letter = if self.settings.coercivity == StripeCoercivity::Hico { b'H' } else { b'L' };
                out.extend([ESC, letter]);
            }
            EncoderCommand::Model => out.extend([ESC, MODEL, b'S']),
            EncoderCommand::Firmware => {
                out.push(ESC);
                out.extend(FIRMWARE);
            }
            EncoderCommand::Erase(mask) => out.extend(verdict(self.erase(mask))),
            EncoderCommand::ReadIso => self.read(out, iso_track),
            EncoderCommand::ReadRaw => self.read(out, raw_track),
            EncoderCommand::WriteIso(tracks) => {
                let status = iso_tracks(tracks).map_or(status::FORMAT, |tracks| self.put(tracks));
                out.extend([ESC, status]);
            }
            EncoderCommand::WriteRaw(tracks) => {
                let status =
                    self.put(tracks.map(|t| if t.is_empty() { None } else { Some(TrackContent::Raw(t)) }));
                out.extend([ESC, status]);
            }
            EncoderCommand::Malformed => out.extend([ESC, status::FORMAT]),
            EncoderCommand::Unknown => out.extend([ESC, status::INVALID]),
        }
    }

    /// Sets the current of the next writes.
    fn set_coercivity(&mut self, coercivity: StripeCoercivity, out: &mut Vec<u8>) {
        self.settings.coercivity = coercivity;
        out.extend([ESC, status::OK]);
    }

    /// Moves the card past the head; returns the status if that fails. On a silent link any status will do,
    /// because no reply is sent.
    fn swipe<T>(&mut self, at_head: impl FnOnce(&mut SimulatedBlank) -> T) -> Result<T, u8> {
        self.head.swipe(at_head).unwrap_or(Err(SwipeMiss::Jam)).map_err(|miss| match miss {
            SwipeMiss::NoCard => status::SWIPE,
            SwipeMiss::Jam => status::READ_WRITE,
        })
    }

    /// Writes or erases the tracks that are given.
    fn put(&mut self, tracks: [Option<TrackContent>; 3]) -> u8 {
        let current = self.settings.coercivity;
        let done = self.swipe(|blank| {
            blank.stripe.put(current, tracks);
            blank.worked_on();
        });
        done.err().unwrap_or(status::OK)
    }

    /// Erases tracks: bits 0 to 2 are tracks 1 to 3; none of them is track 1 alone.
    fn erase(&mut self, mask: u8) -> bool {
        let mask = if mask == 0 { 1 } else { mask };
        let erased = |bit: u8| (mask & bit != 0).then_some(TrackContent::Empty);
        mask < 8 && self.put([erased(1), erased(2), erased(4)]) == status::OK
    }

    /// Reads all tracks; `form` appends one of them, with its number, to `out` and returns whether it could
    /// be read.
    fn read(&mut self, out: &mut Vec<u8>, form: fn(usize, &TrackContent, &mut Vec<u8>) -> bool) {
        let (world, station) = (self.head.world, self.head.station);
        let seen = self.swipe(|blank| seen(world, station, blank));
        out.extend([ESC, b's']);
        let (tracks, mut status) = match seen {
            Ok(tracks) => (tracks, status::OK),
            Err(why) => (Default::default(), why),
        };
        for (at, track) in tracks.iter().enumerate() {
            out.extend([ESC, u8::try_from(at + 1).unwrap_or_default()]);
            if !form(at, track, out) {
                status = status::READ_WRITE;
            }
        }
        out.extend([END, FS, ESC, status]);
    }
}

/// Returns the tracks that the head sees, with the faults that the card was given.
fn seen(world: &SimulatedLine, station: &SimulatedStation, blank: &mut SimulatedBlank) -> [TrackContent; 3] {
    if blank.stripe.dirty {
        world.strikes(blank, FaultKind::StripeDirty, station);
    }
    let mut tracks = blank.stripe.tracks.clone();
    let misread = blank.fault(FaultKind::StripeMisread).is_some();
    if misread && tracks.iter_mut().zip(&FORMATS).any(|(track, format)| blur(track, format)) {
        world.strikes(blank, FaultKind::StripeMisread, station);
    }
    tracks
}

/// Changes the character in the middle of a track; false if there is none.
fn blur(track: &mut TrackContent, format: &crate::stripe::TrackStandard) -> bool {
    let TrackContent::Text(text) = track else { return false };
    let middle = text.len() / 2;
    match text.get_mut(middle) {
        Some(c) if *c != format.start && *c != END => {
            *c = format.neighbour(*c);
            true
        }
        _ => false,
    }
}

/// Appends a track of an ISO read: its characters, or nothing if it is empty.
fn iso_track(_: usize, track: &TrackContent, out: &mut Vec<u8>) -> bool {
    if let TrackContent::Text(text) = track {
        out.extend(text);
    }
    !matches!(track, TrackContent::Raw(_))
}

/// Appends a track of a raw read: length and bytes, LEN 00 if it is empty.
fn raw_track(at: usize, track: &TrackContent, out: &mut Vec<u8>) -> bool {
    let bytes = match (track, FORMATS.get(at)) {
        (TrackContent::Text(text), Some(format)) => format.bits(text),
        (TrackContent::Raw(bytes), _) => bytes.clone(),
        _ => Vec::new(),
    };
    match u8::try_from(bytes.len()) {
        Ok(length) => {
            out.push(length);
            out.extend(bytes);
            true
        }
        Err(_) => {
            out.push(0);
            false
        }
    }
}

/// Returns the tracks of an ISO write with their sentinels; `None` if any is not of its standard.
fn iso_tracks(tracks: BlockTracks) -> Option<[Option<TrackContent>; 3]> {
    let mut out = [None, None, None];
    for ((text, format), to) in tracks.into_iter().zip(&FORMATS).zip(&mut out) {
        if !format.allows(&text) {
            return None;
        }
        if !text.is_empty() {
            *to = Some(TrackContent::Text([&[format.start][..], &text, &[END]].concat()));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
