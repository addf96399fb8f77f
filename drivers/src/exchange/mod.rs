//! A card reader at the end of a byte link: the controller's end of the exchanges in wire section 1. `hwsim`
//! and the station hosts of real readers are the other end.
//!
//! Not here: the reader itself, and the link.

use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::link::{ByteLink, CardError, CardLink, CommandStep, LinkError, Protocols, Reset, SessionLimits};
use crate::presence::{CardPresence, DeviceConnection, LookFor, ReaderSighting};
use crate::wire::{READER_BODY_MAX, reader};

/// kind u8, length u32.
const HEADER: usize = 5;
/// Longest time for which a host keeps an answer of a session to send it with the next one.
pub(crate) const KEPT: Duration = Duration::from_millis(1);
/// Answers that come faster than this are left to gather; a command that makes the chip work takes longer.
const FAST: Duration = Duration::from_millis(5);
/// Longest pause; it is short compared with any time limit.
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// Shortest pause; the kernel's slack for timers (50 us) would make a shorter one much too long.
const PAUSE_MIN: Duration = Duration::from_micros(200);
/// Time for the answer to a look, beyond the wait that it asks for: the service may have to be found again.
const LOOK_SLACK: Duration = Duration::from_secs(2);
/// Most characters of the other end's text that are shown: 16 readers with names of 128 bytes.
const SHOWN_MAX: usize = 2400;

/// A card link over a byte link.
///
/// Answers come in the order of the requests. An answer that missed its time is still owed, and is dropped
/// when it comes, so that it is never taken for the answer to a later request. After a timeout in a session
/// of several commands it is unknown how many answers are owed: the reader is lost until it is reconnected.
pub struct ReaderExchange<L> {
    link: L,
    /// Received, not yet a whole answer.
    held: Zeroizing<Vec<u8>>,
    owed: u32,
    /// Set when requests and answers can no longer be matched.
    lost: bool,
}

impl<L: ByteLink> ReaderExchange<L> {
    /// Takes a link over that is ready for the first request.
    pub fn over(link: L) -> Self {
        Self { link, held: Zeroizing::new(Vec::new()), owed: 0, lost: false }
    }

    /// The byte link under the exchanges.
    pub(crate) fn link(&self) -> &L {
        &self.link
    }

    /// The byte link under the exchanges, to end it.
    pub(crate) fn link_mut(&mut self) -> &mut L {
        &mut self.link
    }

    /// Whether only a new connection can help.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    fn exchange(
        &mut self,
        request: u8,
        body: &[u8],
        expected: u8,
        timeout: Duration,
    ) -> Result<Vec<u8>, CardError> {
        let deadline = Instant::now() + timeout;
        self.request(request, body, timeout)?;
        let answer = self.own_answer(deadline, timeout);
        self.lost =
            matches!(&answer, Err(error) if !matches!(error, CardError::Reader(LinkError::Timeout(_))));
        body_of(answer?, expected)
    }

    /// Sends a request. Until the answers are read the reader counts as lost, because a request that was sent
    /// in part puts requests and answers out of step.
    fn request(&mut self, request: u8, body: &[u8], timeout: Duration) -> Result<(), CardError> {
        if self.lost {
            return Err(CardError::Reader(LinkError::Closed));
        }
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= READER_BODY_MAX);
        let length =
            length.ok_or_else(|| CardError::Reader(LinkError::Io("command longer than an APDU".into())))?;
        let mut message = Zeroizing::new(Vec::with_capacity(HEADER + body.len()));
        message.push(request);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        self.lost = true;
        self.link.send(&message, timeout).map_err(CardError::Reader)?;
        self.owed += 1;
        Ok(())
    }

    /// Returns the first answer to the last request and drops those that were owed to earlier ones.
    fn own_answer(&mut self, deadline: Instant, timeout: Duration) -> Result<(u8, Vec<u8>), CardError> {
        loop {
            let answer = self.answer(deadline, timeout)?;
            self.owed -= 1;
            if self.owed == 0 {
                return Ok(answer);
            }
        }
    }

    /// Sends commands that fit one request together; returns false if one of them stopped the session.
    fn several(
        &mut self,
        steps: &[CommandStep<'_>],
        each: Duration,
        until: Instant,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<bool, CardError> {
        let mut body = Zeroizing::new(Vec::with_capacity(steps.iter().map(size).sum()));
        for step in steps {
            // Both lengths fit: they are below that of a body, which was checked before.
            body.push(u8::try_from(step.go_on.len()).unwrap_or(u8::MAX));
            step.go_on.iter().for_each(|sw| body.extend_from_slice(&sw.to_be_bytes()));
            body.extend_from_slice(&u16::try_from(step.command.len()).unwrap_or(u16::MAX).to_be_bytes());
            body.extend_from_slice(step.command);
        }
        self.request(reader::TRANSMIT_ALL, &body, left(each, until)?)?;
        let begun = Instant::now();
        for (answered, step) in steps.iter().enumerate() {
            if self.held.is_empty() {
                thread::sleep(pause(begun.elapsed(), answered, steps.len() - answered));
            }
            let time = left(each, until)?;
            let deadline = Instant::now() + time;
            let answer =
                if self.owed > 0 { self.own_answer(deadline, time) } else { self.answer(deadline, time) };
            let answer = answer?;
            let failed = answer.0 == reader::FAILED;
            self.lost = !failed;
            let response = body_of(answer, reader::RESPONSE)?;
            let goes_on = step.goes_on_after(&response);
            responses.push(response);
            if !goes_on {
                self.lost = false;
                return Ok(false);
            }
        }
        self.lost = false;
        Ok(true)
    }

    /// Returns the next whole answer: kind and body.
    fn answer(&mut self, deadline: Instant, timeout: Duration) -> Result<(u8, Vec<u8>), CardError> {
        loop {
            if let Some(&[kind, a, b, c, d]) = self.held.first_chunk::<HEADER>() {
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                if length > READER_BODY_MAX {
                    return Err(CardError::Malformed);
                }
                if let Some(body) = self.held.get(HEADER..HEADER + length) {
                    let body = body.to_vec();
                    let rest = self.held.get(HEADER + length..).unwrap_or_default().to_vec();
                    self.held = Zeroizing::new(rest);
                    return Ok((kind, body));
                }
            }
            let mut piece = Zeroizing::new([0; 4096]);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CardError::Reader(LinkError::Timeout(timeout)));
            }
            let n = self.link.receive(&mut piece[..], left).map_err(|error| match error {
                LinkError::Timeout(_) => CardError::Reader(LinkError::Timeout(timeout)),
                error => CardError::Reader(error),
            })?;
            self.held.extend_from_slice(piece.get(..n).unwrap_or_default());
        }
    }
}

/// The time to let answers gather before looking for the next: waking up for each answer of a fast card costs
/// a tenth of its rate. At most half of the time that the remaining answers will take, so that the last one
/// never waits for this pause; of that the time is taken off in which the host may have kept further answers.
fn pause(so_far: Duration, answered: usize, left: usize) -> Duration {
    let counts = u32::try_from(answered).ok().zip(u32::try_from(left).ok());
    let each =
        counts.and_then(|(answered, left)| Some((so_far.saturating_sub(KEPT).checked_div(answered)?, left)));
    match each {
        Some((each, left)) if each < FAST => {
            let pause = (each * left / 2).saturating_sub(KEPT).min(PAUSE_MAX);
            if pause < PAUSE_MIN { Duration::ZERO } else { pause }
        }
        _ => Duration::ZERO,
    }
}

/// The time that the next command may take.
fn left(each: Duration, until: Instant) -> Result<Duration, CardError> {
    let left = each.min(until.saturating_duration_since(Instant::now()));
    if left.is_zero() { Err(CardError::Reader(LinkError::Timeout(each))) } else { Ok(left) }
}

/// Returns the body of an answer of the expected kind, or the failure that it reports.
fn body_of((kind, body): (u8, Vec<u8>), expected: u8) -> Result<Vec<u8>, CardError> {
    match kind {
        kind if kind == expected => Ok(body),
        reader::FAILED => Err(failure_of(&body).unwrap_or(CardError::Malformed)),
        _ => Err(CardError::Malformed),
    }
}

/// The error for a body of [`reader::FAILED`].
pub(crate) fn failure_of(body: &[u8]) -> Option<CardError> {
    match body {
        [reader::NO_CARD] => Some(CardError::Absent),
        [reader::MUTE] => Some(CardError::Mute),
        [reader::REMOVED] => Some(CardError::Removed),
        [reader::PROTOCOL] => Some(CardError::Protocol),
        [reader::HELD] => Some(CardError::Held),
        [reader::NO_READER, text @ ..] => Some(CardError::NoReader(shown(text))),
        [reader::BROKEN, text @ ..] => Some(CardError::Reader(LinkError::Io(shown(text)))),
        _ => None,
    }
}

/// The body of [`reader::FAILED`] for this error.
pub(crate) fn failure(error: &CardError) -> Vec<u8> {
    let (code, text) = match error {
        CardError::Absent => (reader::NO_CARD, String::new()),
        CardError::Mute => (reader::MUTE, String::new()),
        CardError::Removed => (reader::REMOVED, String::new()),
        CardError::Protocol => (reader::PROTOCOL, String::new()),
        CardError::Held => (reader::HELD, String::new()),
        CardError::NoReader(text) => (reader::NO_READER, text.clone()),
        CardError::Reader(error) => (reader::BROKEN, error.to_string()),
        CardError::Malformed => (reader::BROKEN, error.to_string()),
    };
    [&[code], text.as_bytes()].concat()
}

/// Makes the other end's text fit to be shown, with control characters as JSON writes them. The text may be as long as
/// the names of all possible readers together.
pub(crate) fn shown(text: &[u8]) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(text).chars().take(SHOWN_MAX) {
        if c.is_control() {
            shown += &format!("\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The byte of [`reader::LOOK`] for what a look waits for.
fn looked_for(wanted: LookFor) -> u8 {
    match wanted {
        LookFor::Anything => reader::FOR_ANYTHING,
        LookFor::NoCard => reader::FOR_NO_CARD,
        LookFor::Card => reader::FOR_CARD,
    }
}

/// Reads the body of [`reader::LOOK`].
pub(crate) fn look_request(body: &[u8]) -> Option<(LookFor, Duration)> {
    let [wanted, wait @ ..] = body else { return None };
    let wanted = match *wanted {
        reader::FOR_ANYTHING => LookFor::Anything,
        reader::FOR_NO_CARD => LookFor::NoCard,
        reader::FOR_CARD => LookFor::Card,
        _ => return None,
    };
    let wait = u32::from_be_bytes(wait.try_into().ok()?);
    Some((wanted, Duration::from_millis(wait.into())))
}

/// The body of [`reader::SEEN`].
pub(crate) fn seen(sighting: &ReaderSighting) -> Vec<u8> {
    let presence = match sighting.presence {
        CardPresence::Empty => reader::SEES_NONE,
        CardPresence::Mute => reader::SEES_MUTE,
        CardPresence::Card => reader::SEES_CARD,
    };
    let DeviceConnection { node, count } = &sighting.connection;
    [&[presence], &count.to_be_bytes()[..], node.as_bytes()].concat()
}

/// Reads the body of [`reader::SEEN`].
fn sighting(body: &[u8]) -> Option<ReaderSighting> {
    let (presence, rest) = body.split_first()?;
    let presence = match *presence {
        reader::SEES_NONE => CardPresence::Empty,
        reader::SEES_MUTE => CardPresence::Mute,
        reader::SEES_CARD => CardPresence::Card,
        _ => return None,
    };
    let (count, node) = rest.split_first_chunk()?;
    let connection = DeviceConnection { node: shown(node), count: u16::from_be_bytes(*count) };
    Some(ReaderSighting { presence, connection })
}

/// Number of bytes that a step takes in a request.
fn size(step: &CommandStep<'_>) -> usize {
    1 + 2 * step.go_on.len() + 2 + step.command.len()
}

/// Number of these steps that fit into one request; at least one counts.
fn fitting(steps: &[CommandStep<'_>]) -> usize {
    let mut room = READER_BODY_MAX;
    let fits = |step: &&CommandStep<'_>| match room.checked_sub(size(step)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    steps.iter().take_while(fits).count().max(1)
}

impl<L: ByteLink> CardLink for ReaderExchange<L> {
    fn power_on(
        &mut self,
        reset: Reset,
        protocols: Protocols,
        timeout: Duration,
    ) -> Result<Vec<u8>, CardError> {
        let reset = match reset {
            Reset::Cold => reader::COLD,
            Reset::Warm => reader::WARM,
        };
        self.exchange(reader::POWER_ON, &[reset, protocols.to_byte()], reader::ATR, timeout)
    }

    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError> {
        self.exchange(reader::TRANSMIT, command, reader::RESPONSE, timeout)
    }

    fn transmit_all(
        &mut self,
        steps: &[CommandStep<'_>],
        limits: SessionLimits,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        let until = Instant::now() + limits.all;
        let mut rest = steps;
        while let Some((first, _)) = rest.split_first() {
            let (now, later) = rest.split_at(fitting(rest));
            let goes_on = if now.len() > 1 {
                self.several(now, limits.each, until, responses)?
            } else {
                let response = self.transmit(first.command, left(limits.each, until)?)?;
                let goes_on = first.goes_on_after(&response);
                responses.push(response);
                goes_on
            };
            if !goes_on {
                break;
            }
            rest = later;
        }
        Ok(())
    }

    fn power_off(&mut self, timeout: Duration) -> Result<(), CardError> {
        self.exchange(reader::POWER_OFF, &[], reader::OFF, timeout).map(drop)
    }

    fn probe(&mut self, timeout: Duration) -> Result<(), CardError> {
        self.exchange(reader::PROBE, &[], reader::READY, timeout).map(drop)
    }

    fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError> {
        let [a, b, c, d] = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).to_be_bytes();
        let body = [looked_for(wanted), a, b, c, d];
        let seen = self.exchange(reader::LOOK, &body, reader::SEEN, wait + LOOK_SLACK)?;
        let mut sighting = sighting(&seen).ok_or(CardError::Malformed)?;
        if sighting.connection.node.is_empty() {
            sighting.connection.node = self.link.node().to_owned();
        }
        Ok(sighting)
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), CardError> {
        self.held = Zeroizing::new(Vec::new());
        self.owed = 0;
        self.lost = true;
        self.link.reopen(timeout).map_err(CardError::Reader)?;
        self.lost = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
