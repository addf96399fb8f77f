//! Parsers for the sections of a record, with the limits of the standards. Pure.
//!
//! Acceptance calls [`check_section`] for every section of a file; the modules parse it again when they work. The
//! formats are in `src/manual/cwf1.md`, section 4. No error quotes a section, because it holds cardholder data. Not
//! here: CHP (`record::chip` and `chip`).

mod lines;
mod stripe;
mod tlv;

pub use lines::EmbossLine;
pub use stripe::{TrackTexts, check_track, track_set};
pub use tlv::{FulfilmentSection, GraphicsSection};

use super::kind::section_kinds;
use crate::ids::Mic;
use crate::panics::contained_or;

/// The lines of an EMB or IND section; at least one.
pub fn emboss_lines(data: &[u8]) -> Result<Vec<EmbossLine<'_>>, String> {
    read(|| lines::emboss_lines(data))
}

/// The tracks of a MAG section.
pub fn tracks(data: &[u8]) -> Result<TrackTexts<'_>, String> {
    read(|| stripe::tracks(data))
}

/// Parses a GFX section.
pub fn graphics(data: &[u8]) -> Result<GraphicsSection<'_>, String> {
    read(|| tlv::graphics(data))
}

/// Parses a FUL section.
pub fn fulfilment(data: &[u8]) -> Result<FulfilmentSection, String> {
    read(|| tlv::fulfilment(data))
}

/// Runs a parser. If it panics, only the record that it was reading is refused.
fn read<T>(parser: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    contained_or("cannot be read", parser)
}

/// Checks a section at acceptance, before any card. A section with a MIC that no kind of module knows passes: the
/// line profile says whether it may be there.
pub fn check_section(mic: &Mic, data: &[u8]) -> Result<(), String> {
    let section = section_kinds().find(|section| section.mic == mic.as_str());
    section
        .map_or(Ok(()), |section| read(|| (section.check)(data)))
        .map_err(|what| format!("section {mic}: {what}"))
}

/// The lines of a section, each ended by CR LF, without it. At least one.
fn crlf_lines(data: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut lines = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let Some((line, after)) = end.and_then(|end| rest.split_at_checked(end)) else {
            return Err(format!("line {} does not end with CR LF", lines.len() + 1));
        };
        lines.push(line);
        rest = after.get(2..).unwrap_or_default();
    }
    if lines.is_empty() { Err("is empty".into()) } else { Ok(lines) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(data in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"~EM%123;?\r\n\0\x01\x02".to_vec())], 0..80))
        {
            for mic in ["EMB", "MAG", "GFX", "FUL"] {
                let _ = check_section(&Mic::new(mic).unwrap(), &data);
            }
        }
    }

    #[test]
    fn a_parser_that_panics_costs_the_section() {
        assert_eq!(read::<()>(|| panic!("planted")), Err("cannot be read".to_owned()));
    }

    #[test]
    fn every_shipped_mic_is_checked_and_others_are_not() {
        for mic in ["EMB", "IND", "MAG", "GFX", "FUL"] {
            let error = check_section(&Mic::new(mic).unwrap(), b"nonsense").unwrap_err();
            assert!(error.starts_with(&format!("section {mic}: ")), "{error}");
            assert!(!error.contains("nonsense"));
        }
        for mic in ["CHP", "XYZ"] {
            assert_eq!(check_section(&Mic::new(mic).unwrap(), b"nonsense"), Ok(()));
        }
    }

    #[test]
    fn lines_end_with_cr_lf() {
        assert_eq!(crlf_lines(b"a\r\nb\r\n").unwrap(), [b"a", b"b"]);
        assert_eq!(crlf_lines(b"\r\n").unwrap(), [b""]);
        for wrong in [&b""[..], b"a", b"a\r", b"a\n", b"a\r\nb", b"a\r\nb\r"] {
            assert!(crlf_lines(wrong).is_err());
        }
    }
}
