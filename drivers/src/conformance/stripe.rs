//! The checks of a magnetic stripe encoder.

use super::{CardUnderTest, ConformanceFinding, FindingCollector, refused, refused_as_data, require};
use crate::error::DeviceError;
use crate::registry::Capability;
use crate::stripe::{
    Density, LeadingZeros, RawTracks, Recording, StripeEncoder, TrackNumber, Tracks, WriteCoercivity,
};

/// Bits of a character on tracks 1, 2 and 3 (ISO 7811).
const BITS: [u8; 3] = [7, 5, 5];
/// Leading zeros that the family's manuals give as defaults.
const STANDARD: LeadingZeros = LeadingZeros { t13: 61, t2: 22 };
/// Densities of tracks 1, 2 and 3 (ISO 7811).
const DENSITIES: [Density; 3] = [Density::Bpi210, Density::Bpi75, Density::Bpi210];

/// Runs the checks of an encoder that declares these capabilities.
pub fn stripe(
    encoder: &mut dyn StripeEncoder,
    can: &[Capability],
    card: CardUnderTest,
) -> Vec<ConformanceFinding> {
    let mut findings = FindingCollector::default();
    if findings.begin(encoder, StripeEncoder::ready, StripeEncoder::reopen, None) {
        settings(&mut findings, encoder, can);
        undeclared(&mut findings, encoder, can);
        if let CardUnderTest::Spoil(how) = card {
            with_card(&mut findings, encoder, can, &how);
        }
    }
    findings.0
}

fn settings(findings: &mut FindingCollector, encoder: &mut dyn StripeEncoder, can: &[Capability]) {
    let reports = can.contains(&Capability::ReportsSettings);
    let before = if reports { encoder.settings().ok() } else { None };
    for (capability, coercivity, check) in [
        (Capability::HiCo, WriteCoercivity::Hi, "it can be set to HiCo"),
        (Capability::LoCo, WriteCoercivity::Lo, "it can be set to LoCo"),
    ] {
        if can.contains(&capability) {
            findings.add(check, set(encoder, &Recording::on(coercivity), reports));
        }
    }
    let base = if can.contains(&Capability::HiCo) { WriteCoercivity::Hi } else { WriteCoercivity::Lo };
    let base = Recording::on(base);
    if can.contains(&Capability::LeadingZeros) {
        for zeros in [LeadingZeros { t13: 30, t2: 12 }, STANDARD] {
            let how = Recording { leading_zeros: Some(zeros), ..base };
            findings.add("its leading zeros can be set", set(encoder, &how, reports));
        }
    }
    if can.contains(&Capability::Density) {
        for density in [[Density::Bpi75; 3], DENSITIES] {
            let how = Recording { density: Some(density), ..base };
            findings.add("its densities can be set", set(encoder, &how, false));
        }
    }
    if let Some(before) = before {
        findings.add("its settings can be put back", set(encoder, &before, true));
    }
}

/// Sets the recording, and checks by a question that it was set.
fn set(encoder: &mut dyn StripeEncoder, how: &Recording, reports: bool) -> Result<(), String> {
    encoder.set(how).map_err(|error| error.to_string())?;
    if !reports {
        return Ok(());
    }
    let found = encoder.settings().map_err(|error| error.to_string())?;
    let zeros = how.leading_zeros.is_none() || how.leading_zeros == found.leading_zeros;
    require(zeros && how.coercivity == found.coercivity, "it reports another setting than it was given")
}

fn undeclared(findings: &mut FindingCollector, encoder: &mut dyn StripeEncoder, can: &[Capability]) {
    let how = Recording::on(WriteCoercivity::Hi);
    let mut lacks = |capability: Capability,
                     outcome: &dyn Fn(&mut dyn StripeEncoder) -> Result<(), String>| {
        if !can.contains(&capability) {
            findings.add("it refuses what it does not declare", outcome(encoder));
        }
    };
    lacks(Capability::ReadBack, &|e| refused(e.read()));
    lacks(Capability::Erase, &|e| refused(e.erase(&[TrackNumber::T1], &how)));
    lacks(Capability::Raw, &|e| refused(e.read_raw(BITS)));
    lacks(Capability::Raw, &|e| refused(e.write_raw(&RawTracks::default(), BITS, &how)));
    lacks(Capability::ReportsSettings, &|e| refused(e.settings()));
    lacks(Capability::LeadingZeros, &|e| refused(e.set(&Recording { leading_zeros: Some(STANDARD), ..how })));
    lacks(Capability::Density, &|e| refused(e.set(&Recording { density: Some(DENSITIES), ..how })));
    let wrong = Tracks { t1: None, t2: Some("A".to_owned()), t3: None };
    findings.add("it refuses letters on track 2", refused_as_data(encoder.write(&wrong, &how)));
}

fn with_card(
    findings: &mut FindingCollector,
    encoder: &mut dyn StripeEncoder,
    can: &[Capability],
    how: &Recording,
) {
    let reads = can.contains(&Capability::ReadBack);
    let short = |text: &str| Some(text.to_owned());
    let few = Tracks { t1: short("B^CONFORMANCE^"), t2: short("12=34"), t3: short("56=78") };
    let full = Tracks {
        t1: Some("AZ 09/-^".repeat(10).chars().take(76).collect()),
        t2: Some("1234567890=".repeat(4).chars().take(37).collect()),
        t3: Some("0987654321=".repeat(10).chars().take(104).collect()),
    };
    for (check, tracks) in [("it writes a stripe", &few), ("it writes a full stripe", &full)] {
        findings.add(check, written(encoder, tracks, how, reads));
    }
    if can.contains(&Capability::Erase) {
        let erased = encoder
            .erase(&[TrackNumber::T1, TrackNumber::T2, TrackNumber::T3], how)
            .map_err(|e| e.to_string());
        let blank = erased.and_then(|()| if reads { is_blank(encoder) } else { Ok(()) });
        findings.add("it erases", blank);
    }
    if can.contains(&Capability::Raw) {
        findings.add("it writes and reads bits", bits(encoder, how).unwrap_or_else(|e| Err(e.to_string())));
    }
}

fn written(
    encoder: &mut dyn StripeEncoder,
    tracks: &Tracks,
    how: &Recording,
    reads: bool,
) -> Result<(), String> {
    encoder.write(tracks, how).map_err(|error| error.to_string())?;
    if !reads {
        return Ok(());
    }
    let found = encoder.read().map_err(|error| error.to_string())?;
    require(found == *tracks, "it reads otherwise than it wrote: check coercivity, clean the head")
}

fn is_blank(encoder: &mut dyn StripeEncoder) -> Result<(), String> {
    let found = encoder.read().map_err(|error| error.to_string())?;
    require(found.is_blank(), "something is still there")
}

/// Writes and reads bits that are no text. An encoder may read more zeros after them than were written.
fn bits(encoder: &mut dyn StripeEncoder, how: &Recording) -> Result<Result<(), String>, DeviceError> {
    let raw =
        RawTracks { t1: vec![0x55, 0x2A, 0x7F, 0x01], t2: vec![0x15, 0x0A, 0x1F], t3: vec![0x11, 0x1B] };
    encoder.write_raw(&raw, BITS, how)?;
    let found = encoder.read_raw(BITS)?;
    let same = |wanted: &[u8], found: &[u8]| {
        found.strip_prefix(wanted).is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    };
    let good = same(&raw.t1, &found.t1) && same(&raw.t2, &found.t2) && same(&raw.t3, &found.t3);
    Ok(require(good, "it reads other bits than it wrote"))
}
