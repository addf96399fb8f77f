//! From one command APDU to its whole response APDU: the form in which a protocol carries the command, and
//! the commands that fetch the rest of the response.
//!
//! ```text
//! T=0   case 1       header, P3 = 00                            case 3   as it is
//!       case 2       header, P3 = Le                            case 4   without Le: P3 = Lc
//! T=1   every case   as it is
//! both  61xx         GET RESPONSE with P3 = xx; the data of all parts are joined
//!       6Cxx         the same header again with Le = xx, if the command that was sent has an Le
//! ```
//!
//! 61xx and 6Cxx may follow each other in any order, and GET RESPONSE may be answered with either. Sources:
//! ISO/IEC 7816-3, 12.2 (command TPDU of T=0); ISO/IEC 7816-4, 5.1 and 7.6.1 (GET RESPONSE); EMV Book 1,
//! 9.3.1.2 (61xx and 6Cxx).
//!
//! Over T=0 a command of extended length is sent as a short one if its data or its Le fit. Not here: longer
//! commands, which T=0 carries in ENVELOPE (they are sent as they are, and the card refuses them); time
//! limits, which the link keeps.

use std::borrow::Cow;
use std::mem;

use zeroize::Zeroizing;

use crate::link::Protocol;

/// Length of a T=0 command TPDU without data: CLA INS P1 P2 P3.
const HEADER: usize = 5;
/// Most commands that follow one command. 32 x 256 bytes is far above any answer that a personalization asks
/// for, and a card that never ends must not hold its station.
const FOLLOWING_MAX: u32 = 32;
/// Most bytes of data that are joined: those of the longest response APDU.
const DATA_MAX: usize = 65_536;

/// One command on its way to its whole response: send what is [pending](Self::pending), pass each response
/// to [`Self::answer`], until nothing is pending.
pub(crate) struct ApduExchange<'a> {
    /// The command sent last, or to be sent.
    command: Cow<'a, [u8]>,
    /// Place of the Le in `command`, if it has one.
    le: Option<usize>,
    pending: bool,
    /// Commands that have followed the first.
    followed: u32,
    /// Data of the parts so far; at the end the whole response.
    response: Zeroizing<Vec<u8>>,
}

impl<'a> ApduExchange<'a> {
    /// Begins with a command APDU.
    pub(crate) fn new(protocol: Protocol, command: &'a [u8]) -> Self {
        let (command, le) = match protocol {
            Protocol::T0 => command_tpdu(command),
            Protocol::T1 => (Cow::Borrowed(command), place_of_le(command)),
        };
        Self { command, le, pending: true, followed: 0, response: Zeroizing::default() }
    }

    /// The command that the card has to be sent next; `None` when the response is whole.
    pub(crate) fn pending(&self) -> Option<&[u8]> {
        self.pending.then_some(&self.command)
    }

    /// Takes the card's response to the pending command.
    pub(crate) fn answer(&mut self, response: &[u8]) {
        self.pending = false;
        let Some((data, &[sw1, sw2])) = response.split_last_chunk::<2>() else {
            // Not a response. Data of earlier parts would make it look like one.
            self.response = Zeroizing::new(response.to_vec());
            return;
        };
        self.response.extend_from_slice(data);
        let next = match sw1 {
            0x61 => Some((vec![0x00, 0xC0, 0x00, 0x00, sw2], HEADER - 1)),
            0x6C => self.with_le(sw2),
            _ => None,
        };
        match next {
            None => self.response.extend_from_slice(&[sw1, sw2]),
            Some(_) if self.followed == FOLLOWING_MAX || self.response.len() > DATA_MAX => {
                // The card has no end. The status word says so, and a part must not pass for the whole.
                self.response = Zeroizing::new(vec![sw1, sw2]);
            }
            Some((command, le)) => {
                self.followed += 1;
                self.command = Cow::Owned(command);
                self.le = Some(le);
                self.pending = true;
            }
        }
    }

    /// The whole response: data of all parts, then the last status word.
    pub(crate) fn take_response(&mut self) -> Vec<u8> {
        mem::take(&mut *self.response)
    }

    /// The command that was sent with another Le; `None` if it has none, or had this one.
    fn with_le(&self, le: u8) -> Option<(Vec<u8>, usize)> {
        let mut command = self.command.to_vec();
        let place = self.le?;
        let sent = command.get_mut(place)?;
        if *sent == le {
            return None;
        }
        *sent = le;
        Some((command, place))
    }
}

/// The command TPDU of T=0 for a command APDU (ISO/IEC 7816-3, 12.2), and the place of its Le.
fn command_tpdu(apdu: &[u8]) -> (Cow<'_, [u8]>, Option<usize>) {
    let Some((header, body)) = apdu.split_first_chunk::<4>() else { return (Cow::Borrowed(apdu), None) };
    let with = |p3: u8, data: &[u8]| Cow::Owned([&header[..], &[p3], data].concat());
    match body {
        // Case 1. A 6Cxx is then no wrong Le: the caller wants no data.
        [] => (with(0, &[]), None),
        // Case 2.
        [_] => (Cow::Borrowed(apdu), Some(HEADER - 1)),
        // Case 2, extended. 256 and more are 00.
        [0, le @ ..] if le.len() == 2 => (with(extended(le).unwrap_or(0), &[]), Some(HEADER - 1)),
        // Cases 3 and 4, extended, with data that fit a short command.
        [0, hi, lo, rest @ ..] => match extended(&[*hi, *lo]).filter(|lc| *lc > 0) {
            Some(lc) if [0, 2].map(|le| le + usize::from(lc)).contains(&rest.len()) => {
                (with(lc, rest.get(..lc.into()).unwrap_or_default()), None)
            }
            _ => (Cow::Borrowed(apdu), None),
        },
        // Case 4: all but Le. Case 3, and what is no command, as they are.
        [lc, rest @ ..] if *lc > 0 && rest.len() == usize::from(*lc) + 1 => {
            (Cow::Borrowed(apdu.get(..apdu.len() - 1).unwrap_or_default()), None)
        }
        _ => (Cow::Borrowed(apdu), None),
    }
}

/// A length of two bytes, if it fits one.
fn extended(length: &[u8]) -> Option<u8> {
    let length: [u8; 2] = length.try_into().ok()?;
    u8::try_from(u16::from_be_bytes(length)).ok()
}

/// The place of Le in a short command APDU: its fifth byte (case 2), or after as many bytes of data as Lc
/// says (case 4).
fn place_of_le(apdu: &[u8]) -> Option<usize> {
    let last = apdu.len().checked_sub(1)?;
    let lc = apdu.get(HEADER - 1)?;
    (last == HEADER - 1 || (*lc > 0 && last == HEADER + usize::from(*lc))).then_some(last)
}

#[cfg(test)]
mod tests;
