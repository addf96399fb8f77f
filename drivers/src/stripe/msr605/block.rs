//! Data blocks of the MSR605, text and raw (manuals: see [`super`]). No I/O.
//!
//! ```text
//! text   1B 73 | 1B 01 str1 | 1B 02 str2 | 1B 03 str3 | 3F 1C        a track without data: only its mark
//! raw    1B 73 | 1B 01 LEN bytes | 1B 02 LEN bytes | 1B 03 LEN bytes | 3F 1C        no data: LEN 00
//! ```
//!
//! Neither ESC nor FS is in any track's character set, so a text block can be split at them; a raw block is
//! split by LEN.

use zeroize::Zeroizing;

use crate::error::DeviceError;
use crate::stripe::TrackNumber;
use crate::stripe::tracks::{RawTracks, TrackLimits, Tracks};
use crate::wire::{ESC, FS};

/// Longest text block from after ESC 's' up to FS: marks, tracks with sentinels, `?`.
pub(super) const TEXT_MAX: usize = 3 * 2 + (78 + 39 + 106) + 1;

/// Builds `letter` and a text block. Fails if a track cannot hold its text.
pub(super) fn text(letter: u8, tracks: &Tracks) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
    let mut out = begin(letter, TEXT_MAX);
    for (number, track, text) in
        [(1, TrackNumber::T1, &tracks.t1), (2, TrackNumber::T2, &tracks.t2), (3, TrackNumber::T3, &tracks.t3)]
    {
        out.extend_from_slice(&[ESC, number]);
        if let Some(text) = text {
            TrackLimits::of(track).check(text.as_bytes()).map_err(DeviceError::Data)?;
            out.extend_from_slice(text.as_bytes());
        }
    }
    out.extend_from_slice(&[b'?', FS]);
    Ok(out)
}

/// Builds `letter` and a raw block. Fails if a track is longer than 255 bytes.
pub(super) fn raw(letter: u8, tracks: &RawTracks) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
    let mut out = begin(letter, tracks.t1.len() + tracks.t2.len() + tracks.t3.len() + 3 * 3);
    for (number, bytes) in [(1, &tracks.t1), (2, &tracks.t2), (3, &tracks.t3)] {
        let length = u8::try_from(bytes.len())
            .map_err(|_| DeviceError::Data("a raw track is longer than 255 bytes"))?;
        out.extend_from_slice(&[ESC, number, length]);
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&[b'?', FS]);
    Ok(out)
}

/// The letter and ESC 's', with room for `body` and the end, so that no copy is left in freed memory.
fn begin(letter: u8, body: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(3 + body + 2));
    out.extend_from_slice(&[letter, ESC, b's']);
    out
}

/// Parses a text block, from after ESC 's' up to but not including FS: checks the sentinels and drops them.
pub(super) fn parse_text(block: &[u8]) -> Result<Tracks, DeviceError> {
    let order = DeviceError::Unexpected("tracks not in the order 1, 2, 3");
    let block =
        block.strip_suffix(b"?").ok_or(DeviceError::Unexpected("stripe data without its end mark"))?;
    let mut parts = block.split(|b| *b == ESC);
    if parts.next() != Some(&[]) {
        return Err(order);
    }
    let mut track = |number: u8, track: TrackNumber| {
        let text = parts.next().and_then(|part| part.strip_prefix(&[number])).ok_or(order.clone())?;
        if text.is_empty() {
            return Ok(None);
        }
        TrackLimits::of(track).strip(text).map(|text| Some(text.to_string()))
    };
    let tracks = Tracks {
        t1: track(1, TrackNumber::T1)?,
        t2: track(2, TrackNumber::T2)?,
        t3: track(3, TrackNumber::T3)?,
    };
    match parts.next() {
        None => Ok(tracks),
        Some(_) => Err(order),
    }
}
