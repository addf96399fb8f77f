//! MAG: lines `~1%...?`, `~2;...?`, `~3;...?`, sentinels included, LRC not.
//!
//! Character sets and lengths are those of ISO/IEC 7811-6 (HiCo; 7811-2 for LoCo): track 1 IATA, track 2 ABA, track 3
//! THRIFT. The machine adds sentinels and LRC itself.

use super::crlf_lines;

/// The text of each track, without sentinels. Cardholder data: no `Debug`.
#[derive(Default)]
pub struct TrackTexts<'a> {
    /// Track 1, IATA.
    pub t1: Option<&'a str>,
    /// Track 2, ABA.
    pub t2: Option<&'a str>,
    /// Track 3, THRIFT.
    pub t3: Option<&'a str>,
}

/// The characters that a track may hold, and how many.
struct TrackFormat {
    start: u8,
    /// First and last character of its set.
    set: std::ops::RangeInclusive<u8>,
    /// Most characters on the stripe, with both sentinels and the LRC.
    length: usize,
}

const TRACK_1: TrackFormat = TrackFormat { start: b'%', set: 0x20..=0x5F, length: 79 };
const TRACK_2: TrackFormat = TrackFormat { start: b';', set: 0x30..=0x3F, length: 40 };
const TRACK_3: TrackFormat = TrackFormat { start: b';', set: 0x30..=0x3F, length: 107 };
const END: u8 = b'?';

/// The format of a track; `None` for a track that no card has.
fn format(number: u8) -> Option<TrackFormat> {
    match number {
        1 => Some(TRACK_1),
        2 => Some(TRACK_2),
        3 => Some(TRACK_3),
        _ => None,
    }
}

/// Returns the characters of a track's standard, sentinels among them; `None` for a track that no card has.
pub fn track_set(number: u8) -> Option<std::ops::RangeInclusive<u8>> {
    format(number).map(|format| format.set)
}

/// Checks one track, sentinels included, without `~` and number.
pub fn check_track(number: u8, text: &[u8]) -> Result<(), String> {
    let format = format(number).ok_or("a stripe has the tracks 1 to 3")?;
    track(&format, text).map(drop)
}

/// Parses a MAG section: at least one track, each at most once.
pub fn tracks(data: &[u8]) -> Result<TrackTexts<'_>, String> {
    let mut tracks = TrackTexts::default();
    for (i, line) in crlf_lines(data)?.into_iter().enumerate() {
        let (place, format, rest) = match line {
            [b'~', b'1', rest @ ..] => (&mut tracks.t1, TRACK_1, rest),
            [b'~', b'2', rest @ ..] => (&mut tracks.t2, TRACK_2, rest),
            [b'~', b'3', rest @ ..] => (&mut tracks.t3, TRACK_3, rest),
            _ => return Err(format!("line {} does not begin with ~1, ~2 or ~3", i + 1)),
        };
        let text = track(&format, rest).map_err(|what| format!("line {}: {what}", i + 1))?;
        if place.replace(text).is_some() {
            return Err(format!("line {}: the track stands twice", i + 1));
        }
    }
    Ok(tracks)
}

fn track<'a>(format: &TrackFormat, line: &'a [u8]) -> Result<&'a str, String> {
    if line.len() + 1 > format.length {
        return Err(format!("longer than {} characters with sentinels and LRC", format.length));
    }
    let text = match line {
        [start, text @ .., end] if *start == format.start && *end == END => text,
        _ => return Err("a sentinel is missing".into()),
    };
    // The encoder would write nothing, and a reader could not tell such a track from an erased one.
    if text.is_empty() {
        return Err("nothing stands between the sentinels".into());
    }
    let fits = |b: &u8| format.set.contains(b) && *b != format.start && *b != END;
    if let Some(place) = text.iter().position(|b| !fits(b)) {
        // Counted as people count, with the start sentinel as the first.
        let place = place + 2;
        return Err(format!("character {place} is outside the track's set, or a sentinel inside the text"));
    }
    std::str::from_utf8(text).map_err(|_| "a character outside the track's set".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_with_the_test_number_are_read() {
        let section =
            b"~1%B4761739001010119^TEST/CARD^22122011143878089?\r\n~2;4761739001010119=22122011143878089?\r\n";
        let tracks = tracks(section).unwrap();
        assert_eq!(tracks.t1, Some("B4761739001010119^TEST/CARD^22122011143878089"));
        assert_eq!(tracks.t2, Some("4761739001010119=22122011143878089"));
        assert_eq!(tracks.t3, None);
    }

    #[test]
    fn standard_lengths_hold_with_sentinels_and_lrc() {
        for (track, start, length) in [('1', '%', 79), ('2', ';', 40), ('3', ';', 107)] {
            for (n, good) in [(length - 3, true), (length - 2, false)] {
                let line = format!("~{track}{start}{}?\r\n", "1".repeat(n));
                assert_eq!(tracks(line.as_bytes()).is_ok(), good, "{track} {n}");
            }
        }
    }

    #[test]
    fn wrong_sections_are_refused() {
        for wrong in [
            "",
            "~1%A?",
            "~1%A?\n",
            "~4%A?\r\n",
            "~1;1?\r\n",
            "~1%A\r\n",
            "~1A?\r\n",
            "~1%\r\n",
            "~2%1?\r\n",
            "~2;A?\r\n",
            "~2;1?2?\r\n",
            "~2;1;2?\r\n",
            "~2;1%2?\r\n",
            "~1%a?\r\n",
            "~1%?\r\n",
            "~2;?\r\n",
            "~3;?\r\n",
            "~1%A?\r\n~2;?\r\n",
            "~1%A%B?\r\n",
            "~1%A?B?\r\n",
            "~1%\u{DC}?\r\n",
            "~2;1?\r\n~2;1?\r\n",
            "~2;1?\r\n\r\n",
            " ~2;1?\r\n",
        ] {
            assert!(tracks(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    /// ISO/IEC 7811-6: a track that is encoded holds data between its sentinels.
    #[test]
    fn a_track_without_data_is_an_error_of_its_own() {
        assert_eq!(tracks(b"~2;?\r\n").err().unwrap(), "line 1: nothing stands between the sentinels");
        assert_eq!(check_track(1, b"%?").unwrap_err(), "nothing stands between the sentinels");
        assert_eq!(check_track(2, b";1A?").unwrap_err().split(' ').nth(1), Some("3"));
        assert!(check_track(2, b";1?").is_ok() && check_track(4, b";1?").is_err());
    }

    #[test]
    fn errors_quote_nothing() {
        let error = tracks(b"~2;4761739001010119A?\r\n").err().unwrap();
        assert!(!error.contains("4761"), "{error}");
    }
}
