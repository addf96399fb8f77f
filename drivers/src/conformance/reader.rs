//! The checks of a card reader, over any card link.

use std::time::Duration;

use super::{ConformanceFinding, FindingCollector, OPEN_TIME, require};
use crate::link::{CardError, CardLink, CommandStep, Protocols, Reset, SessionLimits};

/// The checks of a reader that are wanted.
#[derive(Debug, Clone, Copy)]
pub struct ReaderSuite<'a> {
    /// Time limit for each command and each reset.
    pub timeout: Duration,
    /// The card that lies in it; `None` leaves out the checks with a card.
    pub card: Option<ChipUnderTest<'a>>,
}

/// A card for the checks; they change nothing on it.
#[derive(Debug, Clone, Copy)]
pub struct ChipUnderTest<'a> {
    /// Protocols that may be used with it.
    pub protocols: Protocols,
    /// An application on it.
    pub aid: &'a [u8],
    /// Whether it takes commands of extended length (ISO 7816-4, 5.1).
    pub extended: bool,
}

/// Runs the checks of a reader.
pub fn reader(link: &mut dyn CardLink, suite: &ReaderSuite<'_>) -> Vec<ConformanceFinding> {
    let mut findings = FindingCollector::default();
    if !findings.add("the reader answers", link.probe(suite.timeout)) {
        return findings.0;
    }
    let anew = link.reopen(OPEN_TIME).and_then(|()| link.probe(suite.timeout));
    findings.add("the reader answers over a new connection", anew);
    if let Some(chip) = &suite.card {
        with_card(&mut findings, link, chip, suite.timeout);
    }
    findings.0
}

fn with_card(
    findings: &mut FindingCollector,
    link: &mut dyn CardLink,
    chip: &ChipUnderTest<'_>,
    timeout: Duration,
) {
    if !findings.add("a cold reset gives an ATR", reset(link, chip, Reset::Cold, timeout)) {
        return;
    }
    findings.add("a warm reset gives an ATR", reset(link, chip, Reset::Warm, timeout));
    let select = select(chip.aid);
    findings.add("SELECT finds the application", selects(link, &select, timeout));
    let unknown = unknown(chip.aid);
    findings.add("an unknown instruction is refused with a status word", refuses(link, &unknown, timeout));
    findings.add("a session stops at the status word that it must", stops(link, &unknown, &select, timeout));
    findings.add(
        "a session goes on after the status words that it may",
        goes_on(link, &unknown, &select, timeout),
    );
    if chip.extended {
        let long = extended(chip.aid);
        findings.add("a command of extended length is answered", selects(link, &long, timeout));
    }
    let off = link.power_off(timeout).map_err(|error| error.to_string());
    let silent = off.and_then(|()| match link.transmit(&select, timeout) {
        Err(CardError::Removed | CardError::Absent) => Ok(()),
        Err(error) => Err(format!("after power off, a command ends otherwise than as removed: {error}")),
        Ok(_) => Err("the card answers after power off".to_owned()),
    });
    findings.add("without power no command is answered", silent);
    let again = reset(link, chip, Reset::Cold, timeout).and_then(|()| selects(link, &select, timeout));
    findings.add("after another reset the card works again", again);
    findings.add("the power can be taken off", link.power_off(timeout));
}

fn reset(
    link: &mut dyn CardLink,
    chip: &ChipUnderTest<'_>,
    how: Reset,
    timeout: Duration,
) -> Result<(), String> {
    let atr = link.power_on(how, chip.protocols, timeout).map_err(|error| error.to_string())?;
    // ISO 7816-3, 8.2: TS is 3B or 3F; at most 32 characters follow it.
    let good = (2..=33).contains(&atr.len()) && matches!(atr.first(), Some(0x3B | 0x3F));
    require(good, "the ATR is none: 2 to 33 bytes that begin with 3B or 3F")
}

/// Returns SW1 SW2 of the answer.
fn status(link: &mut dyn CardLink, command: &[u8], timeout: Duration) -> Result<[u8; 2], String> {
    let answer = link.transmit(command, timeout).map_err(|error| error.to_string())?;
    answer.last_chunk().copied().ok_or_else(|| "an answer without a status word".to_owned())
}

fn selects(link: &mut dyn CardLink, command: &[u8], timeout: Duration) -> Result<(), String> {
    match status(link, command, timeout)? {
        [0x90, 0x00] => Ok(()),
        [a, b] => Err(format!("SELECT is answered with {a:02X}{b:02X}: is it the card for this check?")),
    }
}

fn refuses(link: &mut dyn CardLink, command: &[u8], timeout: Duration) -> Result<(), String> {
    match status(link, command, timeout)? {
        [0x6D | 0x6E | 0x6A | 0x69 | 0x67 | 0x68, _] => Ok(()),
        [a, b] => Err(format!("an unknown instruction is answered with {a:02X}{b:02X}")),
    }
}

fn session(
    link: &mut dyn CardLink,
    steps: &[CommandStep<'_>],
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, String> {
    let mut responses = Vec::new();
    let limits = SessionLimits { each: timeout, all: 4 * timeout };
    link.transmit_all(steps, limits, &mut responses).map_err(|error| error.to_string())?;
    Ok(responses)
}

fn stops(link: &mut dyn CardLink, unknown: &[u8], select: &[u8], timeout: Duration) -> Result<(), String> {
    let [first, second] = [unknown, select].map(|command| CommandStep { command, go_on: &[] });
    let responses = session(link, &[first, second], timeout)?;
    require(responses.len() == 1, "it went on after a command was refused: cards could be spoilt")
}

fn goes_on(link: &mut dyn CardLink, unknown: &[u8], select: &[u8], timeout: Duration) -> Result<(), String> {
    let may = [u16::from_be_bytes(status(link, unknown, timeout)?)];
    let first = CommandStep { command: unknown, go_on: &may };
    let responses = session(link, &[first, CommandStep { command: select, go_on: &[] }], timeout)?;
    require(responses.len() == 2, "it stopped at a status word after which it was to go on")
}

/// SELECT by name: CLA 00 INS A4 P1 04 P2 00 Lc AID Le 00 (ISO 7816-4, 11.2.2).
fn select(aid: &[u8]) -> Vec<u8> {
    let length = u8::try_from(aid.len()).unwrap_or_default();
    [&[0x00, 0xA4, 0x04, 0x00, length], aid, &[0x00]].concat()
}

/// SELECT by name with Lc and Le of extended length: 00 and two bytes, then two bytes.
fn extended(aid: &[u8]) -> Vec<u8> {
    let length = u16::try_from(aid.len()).unwrap_or_default().to_be_bytes();
    [&[0x00, 0xA4, 0x04, 0x00, 0x00], &length[..], aid, &[0x00, 0x00]].concat()
}

/// An unknown command: INS FE, which no standard assigns, with data so that every card accepts its form.
fn unknown(aid: &[u8]) -> Vec<u8> {
    let length = u8::try_from(aid.len()).unwrap_or_default();
    [&[0x00, 0xFE, 0x00, 0x00, length], aid].concat()
}
