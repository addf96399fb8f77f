//! Magnetic stripe encoder MSR605 and its family (MSR206, MSRE206): one command set, ESC and a letter, 9600
//! 8N1.
//!
//! Sources: the vendors' manuals (MSR605 p. 10, 12, 14; Unitech MSR206 p. 12-16; MSRE206 p. 11-12). The
//! machine adds the sentinels when it writes and returns them when it reads; [`Tracks`] has none. Not here:
//! the right content of a track, comparing, and deciding which stripes count as blank.
//!
//! The protocol has neither check bytes nor names in its replies. So a wrong byte shows only in a comparison
//! with the intended one: the caller reads the stripe back, and this driver reads back coercivity and leading
//! zeros. A density that arrives damaged shows in the read-back of the stripe at best. After a missing reply,
//! the next one cannot be trusted: the driver then resets the machine, waits for its communication test and
//! repeats all settings.

mod block;
mod dialogue;
mod encoder;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Density, LeadingZeros, RawTracks, TrackNumber, Tracks, WriteCoercivity};
use crate::error::DeviceError;
use crate::link::{ByteLink, LinkError};
use crate::port::BufferedLink;
use crate::registry::Capability;
use crate::wire::ESC;

/// Time for a command without a card; replies have at most a dozen bytes.
const REPLY_TIME: Duration = Duration::from_secs(3);
/// Time for a pass of the card, until the reply begins.
const SWIPE_TIME: Duration = Duration::from_secs(15);
/// Time for the rest of a reply that has begun: at most 800 bytes, 0.8 s at 9600 bit/s.
const REST_TIME: Duration = Duration::from_secs(3);
/// Longest version of the firmware: "REV?X.XX" has eight characters.
const VERSION_MAX: usize = 16;
/// Time in which an armed sensor reports a card that lies there already.
const ARM_TIME: Duration = Duration::from_millis(150);
/// Silence that ends a version, which has no end mark.
const VERSION_GAP: Duration = Duration::from_millis(200);

/// State of the lamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderLed {
    /// All off.
    Off,
    /// All on.
    All,
    /// Green alone.
    Green,
    /// Yellow alone.
    Yellow,
    /// Red alone.
    Red,
}

/// Bit/s of its serial port.
pub const BAUD: u32 = 9600;

/// The machine's abilities.
pub const CAPABILITIES: &[Capability] = &[
    Capability::Track1,
    Capability::Track2,
    Capability::Track3,
    Capability::HiCo,
    Capability::LoCo,
    Capability::ReadBack,
    Capability::Erase,
    Capability::Raw,
    Capability::Density,
    Capability::LeadingZeros,
    Capability::ReportsSettings,
    Capability::NoticesCards,
];

/// An MSR605 on a link.
pub struct Msr605<L> {
    port: BufferedLink<L>,
    /// A reply may still be under way.
    unsure: bool,
    /// Setting commands that the machine confirmed, by kind and track; a reset is followed by all of them.
    settings: BTreeMap<(u8, u8), Vec<u8>>,
}

impl<L: ByteLink> Msr605<L> {
    /// Takes the link over.
    pub fn new(link: L) -> Self {
        Self { port: BufferedLink::new(link), unsure: false, settings: BTreeMap::new() }
    }

    /// Resets the machine to its own settings and waits until it passes the communication test.
    pub fn reset(&mut self) -> Result<(), DeviceError> {
        self.settings.clear();
        self.unsure = true;
        self.settle()
    }

    /// Asks for a sign of life.
    pub fn comm_test(&mut self) -> Result<(), DeviceError> {
        self.ask(b"e", REPLY_TIME, |device, until| match device.escaped(until)? {
            b'y' => Ok(()),
            _ => Err(DeviceError::Unexpected("communication test not answered with ESC y")),
        })
    }

    /// Tests the machine's memory.
    pub fn ram_test(&mut self) -> Result<(), DeviceError> {
        self.ask(&[0x87], REPLY_TIME, Self::status)
    }

    /// Switches the lamps; the machine does not confirm it.
    pub fn led(&mut self, led: EncoderLed) -> Result<(), DeviceError> {
        self.settle()?;
        let command = match led {
            EncoderLed::Off => 0x81,
            EncoderLed::All => 0x82,
            EncoderLed::Green => 0x83,
            EncoderLed::Yellow => 0x84,
            EncoderLed::Red => 0x85,
        };
        self.port.send(&[ESC, command])
    }

    /// Sets the strength of the writing field.
    pub fn set_coercivity(&mut self, coercivity: WriteCoercivity) -> Result<(), DeviceError> {
        let letter = match coercivity {
            WriteCoercivity::Hi => b'x',
            WriteCoercivity::Lo => b'y',
        };
        self.keep((b'x', 0), &[letter])
    }

    /// Asks for the strength that is set.
    pub fn coercivity(&mut self) -> Result<WriteCoercivity, DeviceError> {
        self.ask(b"d", REPLY_TIME, |device, until| match device.escaped(until)? {
            b'H' => Ok(WriteCoercivity::Hi),
            b'L' => Ok(WriteCoercivity::Lo),
            _ => Err(DeviceError::Unexpected("coercivity that is neither H nor L")),
        })
    }

    /// Sets the clocking zeros written before the start sentinel: tracks 1 and 3 (61 by default), track 2
    /// (22).
    pub fn set_leading_zeros(&mut self, zeros: LeadingZeros) -> Result<(), DeviceError> {
        self.keep((b'z', 0), &[b'z', zeros.t13, zeros.t2])
    }

    /// Asks for the clocking zeros that are set.
    pub fn leading_zeros(&mut self) -> Result<LeadingZeros, DeviceError> {
        self.ask(b"l", REPLY_TIME, |device, until| {
            Ok(LeadingZeros { t13: device.escaped(until)?, t2: device.port.byte(until)? })
        })
    }

    /// Sets the density of one track.
    pub fn select_bpi(&mut self, track: TrackNumber, density: Density) -> Result<(), DeviceError> {
        let code = match (track, density) {
            (TrackNumber::T1, Density::Bpi210) => 0xA1,
            (TrackNumber::T1, Density::Bpi75) => 0xA0,
            (TrackNumber::T2, Density::Bpi210) => 0xD2,
            (TrackNumber::T2, Density::Bpi75) => 0x4B,
            (TrackNumber::T3, Density::Bpi210) => 0xC1,
            (TrackNumber::T3, Density::Bpi75) => 0xC0,
        };
        self.keep((b'b', number(track)), &[b'b', code])
    }

    /// Sets the bits per character of each track, 5 to 8, for raw data.
    pub fn set_bpc(&mut self, bits: [u8; 3]) -> Result<(), DeviceError> {
        if !bits.iter().all(|b| (5..=8).contains(b)) {
            return Err(DeviceError::Unsupported("bits per character are 5 to 8"));
        }
        let [t1, t2, t3] = bits;
        self.keep((b'o', 0), &[b'o', t1, t2, t3])
    }

    /// Reads the stripe of the card.
    pub fn read_text(&mut self) -> Result<Tracks, DeviceError> {
        self.ask(b"r", SWIPE_TIME, |device, until| {
            let block = device.text_block(until)?;
            device.status(Instant::now() + REST_TIME)?;
            block::parse_text(&block)
        })
    }

    /// Writes the stripe of the card. A track that is `None` is sent as an empty one.
    pub fn write_text(&mut self, tracks: &Tracks) -> Result<(), DeviceError> {
        let command = block::text(b'w', tracks)?;
        self.ask(&command, SWIPE_TIME, Self::status)
    }

    /// Erases tracks: bit 0 track 1, bit 1 track 2, bit 2 track 3.
    pub fn erase_tracks(&mut self, mask: u8) -> Result<(), DeviceError> {
        let code = match mask {
            // The manual gives 00, not 01, for track 1 alone.
            1 => 0,
            2..=7 => mask,
            _ => return Err(DeviceError::Unsupported("only tracks 1 to 3 can be erased, and at least one")),
        };
        self.ask(&[b'c', code], SWIPE_TIME, Self::status)
    }

    /// Reads the bits of the stripe, packed as set by [`Self::set_bpc`].
    pub fn read_bits(&mut self) -> Result<RawTracks, DeviceError> {
        self.ask(b"m", SWIPE_TIME, |device, until| {
            let raw = device.raw_block(until)?;
            device.status(Instant::now() + REST_TIME)?;
            Ok(raw)
        })
    }

    /// Writes bits, packed as set by [`Self::set_bpc`]; at most 255 bytes a track.
    pub fn write_bits(&mut self, tracks: &RawTracks) -> Result<(), DeviceError> {
        let command = block::raw(b'n', tracks)?;
        self.ask(&command, SWIPE_TIME, Self::status)
    }

    /// Asks for the model: one character, which stands for the tracks that it has.
    pub fn model(&mut self) -> Result<char, DeviceError> {
        self.ask(b"t", REPLY_TIME, |device, until| {
            let model = device.escaped(until)?;
            let end = device.port.byte(until)?;
            if !model.is_ascii_graphic() || end != b'S' {
                return Err(DeviceError::Unexpected("model that is not one character and S"));
            }
            Ok(char::from(model))
        })
    }

    /// Asks for the firmware's version, "REV?X.XX". It has no end mark: bytes that come within 0.2 s belong
    /// to it.
    pub fn firmware(&mut self) -> Result<String, DeviceError> {
        self.ask(b"v", REPLY_TIME, |device, until| {
            let mut version = String::from(char::from(device.escaped(until)?));
            while version.len() < VERSION_MAX {
                match device.port.byte(Instant::now() + VERSION_GAP) {
                    Ok(byte) => version.push(char::from(byte)),
                    Err(LinkError::Timeout(_)) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if version.chars().all(|c| matches!(c, ' '..='~')) {
                Ok(version)
            } else {
                Err(DeviceError::Unexpected("firmware version that is not printable ASCII"))
            }
        })
    }
}

fn number(track: TrackNumber) -> u8 {
    match track {
        TrackNumber::T1 => 1,
        TrackNumber::T2 => 2,
        TrackNumber::T3 => 3,
    }
}

#[cfg(test)]
mod tests;
