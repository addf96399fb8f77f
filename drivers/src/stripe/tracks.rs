//! The text of the three tracks: character sets and lengths of ISO/IEC 7811-2 and 7811-6.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::TrackNumber;
use crate::error::DeviceError;

/// Most characters of track 1 without sentinels and LRC, which are three of the standard's 79.
pub const T1_MAX: usize = 79 - 3;

/// Text of a stripe, without sentinels and LRC. Cardholder data: it cannot be printed, and is wiped.
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

/// The bits of the three tracks. Cardholder data: it cannot be printed, and is wiped. An empty track has no
/// data.
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

/// The text that a track can hold by its standard.
pub(super) struct TrackLimits {
    /// Start sentinel; the end sentinel is `?` on all tracks.
    pub(super) start: u8,
    /// Its characters: 20 to 5F on track 1, 30 to 3F on tracks 2 and 3.
    set: std::ops::RangeInclusive<u8>,
    /// Most characters without sentinels and LRC, which are three of the standard's 79, 40 and 107.
    max: usize,
    /// Messages for a text that is too long, and for one with a wrong character.
    unfit: (&'static str, &'static str),
}

impl TrackLimits {
    /// The limits of a track.
    pub(super) fn of(track: TrackNumber) -> Self {
        match track {
            TrackNumber::T1 => Self {
                start: b'%',
                set: 0x20..=0x5F,
                max: T1_MAX,
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

    /// Checks that a track can hold this text (without sentinels); the error gives the reason.
    pub(super) fn check(&self, text: &[u8]) -> Result<(), &'static str> {
        if text.len() > self.max {
            return Err(self.unfit.0);
        }
        if text.iter().any(|b| !self.set.contains(b) || *b == self.start || *b == b'?') {
            return Err(self.unfit.1);
        }
        Ok(())
    }

    /// Checks the bytes that the machine read, and returns the text between the sentinels.
    pub(super) fn strip<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, DeviceError> {
        let text = bytes
            .strip_prefix(&[self.start])
            .and_then(|rest| rest.strip_suffix(b"?"))
            .ok_or(DeviceError::Unexpected("a track without its start or end sentinel"))?;
        self.check(text).map_err(DeviceError::Unexpected)?;
        std::str::from_utf8(text).map_err(|_| DeviceError::Unexpected(self.unfit.1))
    }
}
