//! One card, one account number: the embossed number, the stripe's and the chip's are compared before a blank is
//! bound to the record. Pure.
//!
//! | part | its account number |
//! |---|---|
//! | `emboss` | the longest group of digits in the lines of EMB, spaces removed, from 12 digits on |
//! | `stripe` | before the `=` of track 2; between `B` and `^` of track 1 |
//! | `chip` | tags 57 (up to the D) and 5A in the clear records of an application |
//!
//! A part without a number is not compared. On a card with several payment applications, embossing and stripe must show
//! the number of one of them. A disagreement is a fault of the data; no message holds a digit.

mod shown;

use zeroize::Zeroizing;

pub use self::shown::{card_ref_of, fulfilment_without_name};
use super::{ApplicationWork, Fault, sections};
use crate::ids::Dgi;
use crate::record::chip::{ApplicationView, ChipApplication};
use crate::record::{Frame, Record};
use crate::tlv::{self, Tag};

/// Fewest digits of an account number (ISO/IEC 7812-1: up to 19); shorter groups are dates and the like.
const SHORTEST: usize = 12;
/// Track 2 equivalent data.
const TRACK_2: Tag = Tag(0x57);
/// Application PAN.
const PAN: Tag = Tag(0x5A);
/// Template of a record (EMV Book 3, 6.5.11).
const RECORD: Tag = Tag(0x70);

/// Digits of an account number: cardholder data, so no `Debug`.
type AccountDigits = Zeroizing<String>;

/// The parts of the record that hold one number, in words; `None` if fewer than two parts have a number.
pub fn agreed(record: &Record, applications: &[ApplicationWork]) -> Result<Option<&'static str>, Fault> {
    let chip = applications.iter().map(|checked| {
        let ChipApplication { aid, dgis, protected, .. } = &checked.application;
        let clear = dgis.iter().filter(|d| !protected.contains(&d.dgi)).map(|d| (d.dgi, d.value.as_slice()));
        in_chip(|| aid.to_string(), clear)
    });
    compared(record.section("EMB"), record.section("MAG"), chip)
}

/// Compares the parts of a record in a file as [`agreed`] does.
pub fn check(frame: &Frame<'_>, applications: &[ApplicationView<'_>]) -> Result<(), Fault> {
    let chip = applications.iter().map(|a| in_chip(|| hex::encode_upper(a.aid), a.clear()));
    compared(frame.section("EMB"), frame.section("MAG"), chip).map(drop)
}

/// Compares the embossed number and the stripe's with each other and with those of the chip's applications.
fn compared(
    emboss: Option<&[u8]>,
    stripe: Option<&[u8]>,
    applications: impl Iterator<Item = Result<Option<AccountDigits>, Fault>>,
) -> Result<Option<&'static str>, Fault> {
    let emboss = emboss.map(embossed).transpose()?.flatten();
    let stripe = stripe.map(on_stripe).transpose()?.flatten();
    let mut chip = Vec::new();
    for number in applications {
        chip.extend(number?);
    }
    let in_none = |number: &AccountDigits| !chip.is_empty() && !chip.contains(number);
    if let (Some(emboss), Some(stripe)) = (&emboss, &stripe)
        && emboss != stripe
    {
        return Err(Fault::data("the embossed number is not that of the stripe"));
    }
    if emboss.as_ref().is_some_and(in_none) {
        return Err(Fault::data("the embossed number is that of no application in the chip"));
    }
    if stripe.as_ref().is_some_and(in_none) {
        return Err(Fault::data("the number of the stripe is that of no application in the chip"));
    }
    Ok(match (emboss.is_some(), stripe.is_some(), !chip.is_empty()) {
        (true, true, true) => Some("emboss = stripe = chip"),
        (true, true, false) => Some("emboss = stripe"),
        (true, false, true) => Some("emboss = chip"),
        (false, true, true) => Some("stripe = chip"),
        _ => None,
    })
}

fn embossed(section: &[u8]) -> Result<Option<AccountDigits>, Fault> {
    let lines =
        sections::emboss_lines(section).map_err(|what| Fault::data(format!("section EMB: {what}")))?;
    let mut longest = AccountDigits::default();
    for line in lines {
        let text: Zeroizing<Vec<u8>> =
            Zeroizing::new(line.text.iter().copied().filter(|b| *b != b' ').collect());
        let group = text.split(|b| !b.is_ascii_digit()).max_by_key(|group| group.len()).unwrap_or_default();
        if group.len() > longest.len() {
            longest = Zeroizing::new(group.iter().copied().map(char::from).collect());
        }
    }
    Ok(Some(longest).filter(|number| number.len() >= SHORTEST))
}

fn on_stripe(section: &[u8]) -> Result<Option<AccountDigits>, Fault> {
    let tracks = sections::tracks(section).map_err(|what| Fault::data(format!("section MAG: {what}")))?;
    let track_1 = tracks.t1.and_then(|t| t.strip_prefix('B')).and_then(|t| before(t, '^'));
    let track_2 = tracks.t2.and_then(|t| before(t, '='));
    match (track_1, track_2) {
        (Some(one), Some(two)) if one != two => {
            Err(Fault::data("the number of track 1 is not that of track 2"))
        }
        // They are equal, or at most one track has a number.
        (one, two) => Ok(two.or(one)),
    }
}

/// The digits before a separator; `None` if anything else stands there, as on a card that is no bank card.
fn before(track: &str, separator: char) -> Option<AccountDigits> {
    let (number, _) = track.split_once(separator)?;
    let number: AccountDigits = Zeroizing::new(number.chars().filter(|c| *c != ' ').collect());
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

/// The number in the clear values of an application.
fn in_chip<'a>(
    aid: impl Fn() -> String,
    clear: impl Iterator<Item = (Dgi, &'a [u8])>,
) -> Result<Option<AccountDigits>, Fault> {
    let mut found: Option<AccountDigits> = None;
    for (_, value) in clear.filter(|(dgi, _)| dgi.record().is_some()) {
        // A DGI without a record template holds no tags to compare.
        let Ok(Some(template)) = tlv::find(value, RECORD) else { continue };
        for (tag, end) in [(TRACK_2, 'D'), (PAN, 'F')] {
            let Ok(Some(value)) = tlv::find(template, tag) else { continue };
            let text = Zeroizing::new(hex::encode_upper(value));
            let number = Zeroizing::new(text.split(end).next().unwrap_or_default().to_owned());
            if found.as_ref().is_some_and(|found| *found != number) {
                let aid = aid();
                return Err(Fault::data(format!("application {aid} has two different account numbers")));
            }
            found = Some(number);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
