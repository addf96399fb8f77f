//! Parsers for the sections of a record, with the limits of the standards. Pure.
//!
//! Acceptance asks a [`SectionCheck`] about every section of a file; the modules parse it again when they work. The
//! formats are in `src/manual/cwf1.md`, section 4. No error quotes a section, because it holds cardholder data. Not
//! here: CHP (`record::chip` and `chip`).

mod lines;
mod stripe;
mod tlv;

pub use lines::EmbossLine;
pub use stripe::{TrackTexts, check_track, track_set};
pub use tlv::{FulfilmentSection, GraphicsSection};

use super::kind::{LineProfile, SectionRule, section_kinds};
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

/// The check of the sections with one MIC on one line.
pub struct SectionCheck {
    mic: Mic,
    check: Option<SectionRule>,
}

impl SectionCheck {
    /// Returns the checks of every MIC that records may have on a line. A MIC of an issuer's own gets the check of the
    /// module that serves it. A MIC that the line ignores gets that of the kind that it is made for, if there is one.
    pub fn of_line(line: &LineProfile) -> Vec<Self> {
        let own = |mic: &Mic| section_kinds().find(|section| section.mic == mic.as_str());
        let served = line.modules.iter().flat_map(|module| module.mics.iter().map(move |mic| (module, mic)));
        let served = served.map(|(module, mic)| {
            let kinds = module.kind.sections;
            let section = kinds.iter().find(|section| section.mic == mic.as_str()).or(kinds.first());
            Self { mic: mic.clone(), check: section.map(|section| section.check) }
        });
        let ignored =
            line.ignore.iter().map(|mic| Self { mic: mic.clone(), check: own(mic).map(|own| own.check) });
        served.chain(ignored).collect()
    }

    /// Whether it is for sections with this MIC.
    pub fn is_of(&self, mic: &[u8]) -> bool {
        self.mic.as_str().as_bytes() == mic
    }

    /// Checks a section at acceptance, before any card, as far as its module will look at it. The error quotes nothing.
    pub fn check(&self, data: &[u8]) -> Result<(), String> {
        let Self { mic, check } = self;
        check.map_or(Ok(()), |check| read(|| check(data))).map_err(|what| format!("section {mic}: {what}"))
    }
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
            for check in SectionCheck::of_line(&LineProfile::load("sim-8").unwrap()) {
                let _ = check.check(&data);
            }
        }
    }

    #[test]
    fn a_parser_that_panics_costs_the_section() {
        assert_eq!(read::<()>(|| panic!("planted")), Err("cannot be read".to_owned()));
    }

    #[test]
    fn every_shipped_mic_is_checked_wherever_it_is_served_or_ignored() {
        for line in ["sim-8", "sim-line", "sim-chip-8"] {
            let checks = SectionCheck::of_line(&LineProfile::load(line).unwrap());
            for mic in ["EMB", "IND", "MAG", "GFX", "FUL"] {
                let Some(check) = checks.iter().find(|check| check.is_of(mic.as_bytes())) else { continue };
                let error = check.check(b"nonsense").unwrap_err();
                assert!(error.starts_with(&format!("section {mic}: ")), "{error}");
                assert!(!error.contains("nonsense"));
            }
            let chip = checks.iter().find(|check| check.is_of(b"CHP")).unwrap();
            assert_eq!(chip.check(b"nonsense"), Ok(()));
            assert!(!checks.iter().any(|check| check.is_of(b"XYZ")));
        }
    }

    /// A module that an issuer's own MIC feeds refuses the section in the run as it would refuse its usual one.
    #[test]
    fn a_mic_of_an_issuers_own_is_checked_as_its_module_would() {
        let text = include_str!("../../../profiles/lines/sim-8.toml").replace("\"MAG\"", "\"STRIPE2\"");
        let line = LineProfile::from_toml(&text, "own").unwrap();
        let checks = SectionCheck::of_line(&line);
        let own = checks.iter().find(|check| check.is_of(b"STRIPE2")).unwrap();
        assert_eq!(own.check(b"~2;4761739001010119=2212?\r\n"), Ok(()));
        assert_eq!(own.check(b"~2;?\r\n").unwrap_err().split(':').next(), Some("section STRIPE2"));
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
