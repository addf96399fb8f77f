//! The text of the three tracks: character sets and lengths of ISO/IEC 7811-2 and -6 (standards 5.1).

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::TrackNumber;
use crate::error::DeviceError;

/// What stands on a stripe, without sentinels and LRC. Cardholder data: it cannot be printed, and is wiped.
#[derive(Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Tracks {
    /// Track 1: at most 76 characters 20-5F but `%` and `?`; `None` if nothing is on it.
    pub t1: Option<String>,
    /// Track 2: at most 37 characters 30-3F but `;` and `?`; `None` if nothing is on it.
    pub t2: Option<String>,
    /// Track 3: at most 104 characters 30-3F but `;` and `?`; `None` if nothing is on it.
    pub t3: Option<String>,
}

impl Tracks {
    /// Whether nothing is on any track.
    pub fn is_blank(&self) -> bool {
        self.t1.is_none() && self.t2.is_none() && self.t3.is_none()
    }
}

/// The bits of the three tracks. Cardholder data: it cannot be printed, and is wiped. An empty track has no data.
#[derive(Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RawTracks {
    /// Track 1, at most 255 bytes.
    pub t1: Vec<u8>,
    /// Track 2, at most 255 bytes.
    pub t2: Vec<u8>,
    /// Track 3, at most 255 bytes.
    pub t3: Vec<u8>,
}

impl RawTracks {
    pub(super) fn each_mut(&mut self) -> [&mut Vec<u8>; 3] {
        [&mut self.t1, &mut self.t2, &mut self.t3]
    }
}

/// What a track can hold.
pub(super) struct TrackLimits {
    /// Start sentinel; the end sentinel is `?` on all.
    pub(super) start: u8,
    /// The character set: from here to 32 or 64 above.
    set: std::ops::RangeInclusive<u8>,
    /// Most characters without sentinels and LRC, which are three of the standard's 79, 40 and 107.
    max: usize,
    /// What is told when the text does not fit.
    unfit: (&'static str, &'static str),
}

impl TrackLimits {
    /// The format of a track.
    pub(super) fn of(track: TrackNumber) -> Self {
        match track {
            TrackNumber::T1 => Self {
                start: b'%',
                set: 0x20..=0x5F,
                max: 79 - 3,
                unfit: ("track 1 is longer than 76 characters", "track 1 holds a character it cannot carry"),
            },
            TrackNumber::T2 => Self {
                start: b';',
                set: 0x30..=0x3F,
                max: 40 - 3,
                unfit: ("track 2 is longer than 37 characters", "track 2 holds a character it cannot carry"),
            },
            TrackNumber::T3 => Self {
                start: b';',
                set: 0x30..=0x3F,
                max: 107 - 3,
                unfit: ("track 3 is longer than 104 characters", "track 3 holds a character it cannot carry"),
            },
        }
    }

    /// Whether a track can hold this text (no sentinels); if not, why.
    pub(super) fn check(&self, text: &[u8]) -> Result<(), &'static str> {
        if text.len() > self.max {
            return Err(self.unfit.0);
        }
        if text.iter().any(|b| !self.set.contains(b) || *b == self.start || *b == b'?') {
            return Err(self.unfit.1);
        }
        Ok(())
    }

    /// The text between the sentinels, checked. `bytes` is what the machine read.
    pub(super) fn strip<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, DeviceError> {
        let text = bytes
            .strip_prefix(&[self.start])
            .and_then(|rest| rest.strip_suffix(b"?"))
            .ok_or(DeviceError::Unexpected("a track without its start or end sentinel"))?;
        self.check(text).map_err(DeviceError::Unexpected)?;
        std::str::from_utf8(text).map_err(|_| DeviceError::Unexpected(self.unfit.1))
    }
}
