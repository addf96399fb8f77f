//! Faults of a machine, in the words of the technician who has to repair them.
//!
//! Not here: the effect on card, record and job (the modules decide), and readers (`link::CardError`). No error
//! quotes bytes that were sent or read, because they are cardholder data.

use std::fmt;
use std::time::Duration;

use crate::link::LinkError;
use crate::wire::{FRAME_TRIES, status};

/// Why a machine did not carry out a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Nothing, or only a part, came from the machine in time. It may or may not have done the work.
    #[error("the machine did not answer within {0:?}: is it switched on, connected and ready?")]
    Timeout(Duration),
    /// The link is closed. The machine may or may not have done its last work.
    #[error("the connection to the machine is closed: check the cable, then reconnect")]
    Closed,
    /// The operating system reports an error of the link, in its own words.
    #[error("the connection to the machine failed: {0}")]
    Link(String),
    /// The machine answered DLE: it does not know the command. Wrong model, or wrong machine on this port.
    #[error("the machine refuses command '{0}': is it the model that the line profile names?")]
    Refused(char),
    /// The frame arrived damaged at every try.
    #[error("{0} damaged {FRAME_TRIES} times running: check cable, plug and baud rate")]
    Damaged(FramePassage),
    /// The machine took the command and reports that it failed. `status` is its raw byte.
    #[error("the machine reports: {meaning} (status {status:02X}h)")]
    Status {
        /// Byte of the machine.
        status: u8,
        /// Meaning of the byte.
        meaning: Condition,
    },
    /// The machine at the link of a transport is not the transport of this station.
    #[error(
        "the machine that answers there says that it is {says:?}, not the transport of {station}: exchange the \
         cables, or correct link.{station}.transport in the profile"
    )]
    OtherStation {
        /// The station that the link is for.
        station: String,
        /// What the machine says of itself.
        says: String,
    },
    /// The machine has another serial number than the line profile gives.
    #[error(
        "WRONG MACHINE: {station} needs the machine with number {number}, but the machine that answers there {found}: \
         exchange the cables, or correct link.{station}.number in the profile"
    )]
    OtherMachine {
        /// The station that the link is for.
        station: String,
        /// The number of its machine.
        number: String,
        /// The number of the machine at the link, in words.
        found: String,
    },
    /// No person's word holds for the machine on this connection.
    #[error(
        "the machine on this connection is not proved to be that of {station}, and the line has others of its model: \
         prove it with `cardwright line check LINE --cards`, or give link.{station}.number in the profile"
    )]
    Unproved {
        /// The station that the link is for.
        station: String,
    },
    /// No blank left to feed.
    #[error("the hopper is empty: load blanks of the job's stock")]
    HopperEmpty,
    /// An answer that its format does not allow.
    #[error("the machine's answer makes no sense: {0}")]
    Unexpected(&'static str),
    /// A picture did not reach the printer.
    #[error("the printer's link for images: {0}: check its cable and address")]
    Image(String),
    /// The machine has no such setting or command.
    #[error("the machine cannot do this: {0}")]
    Unsupported(&'static str),
    /// The machine may still do work that was meant for an earlier card, and no command takes that work back.
    #[error("the machine must be switched off and on, and its connection opened anew: {0}")]
    Restart(&'static str),
    /// This machine cannot put the data on a card; nothing was sent.
    #[error("the data does not fit the machine: {0}")]
    Data(&'static str),
}

impl DeviceError {
    /// The condition that the machine itself reported, if it did.
    pub fn condition(&self) -> Option<Condition> {
        match self {
            Self::Status { meaning, .. } => Some(*meaning),
            Self::HopperEmpty => Some(Condition::Supply),
            _ => None,
        }
    }

    /// A card is stuck: a person must open the machine.
    pub fn is_jam(&self) -> bool {
        self.condition() == Some(Condition::Jam)
    }

    /// The machine has not begun, and waits for a person: it wants foil, ribbon or blanks, room in a bin, or a
    /// closed cover. The command may be given again.
    pub fn waits_for_person(&self) -> bool {
        matches!(self.condition(), Some(Condition::Supply | Condition::OutputFull | Condition::CoverOpen))
    }

    /// The data is to blame, not the machine or the card.
    pub fn is_data(&self) -> bool {
        matches!(self, Self::Data(_)) || self.condition() == Some(Condition::BadData)
    }
}

impl From<LinkError> for DeviceError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Timeout(time) => Self::Timeout(time),
            LinkError::Closed => Self::Closed,
            LinkError::Io(text) => Self::Link(text),
        }
    }
}

/// The direction of a frame that arrived damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramePassage {
    /// From us to the machine, which answered NAK: the work was not begun.
    Command,
    /// From the machine to us: the work may be done.
    Answer,
}

impl fmt::Display for FramePassage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "our command reached the machine",
            Self::Answer => "the machine's answer reached us",
        })
    }
}

/// Meaning of a machine's status byte. Framed machines and the MSR605 use equal bytes for different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// A card is stuck.
    Jam,
    /// No card lies in the station.
    NoCard,
    /// The machine cannot work with the data sent.
    BadData,
    /// Foil, ribbon or hopper empty.
    Supply,
    /// The machine's work failed; it does not say why.
    Failed,
    /// No room in stacker or bin.
    OutputFull,
    /// A cover is open.
    CoverOpen,
    /// MSR605: the stripe could not be written or read.
    Stripe,
    /// MSR605: card moved wrongly, or no card was moved in write mode.
    Swipe,
    /// MSR605: command format error.
    CommandFormat,
    /// MSR605: command not known.
    CommandUnknown,
    /// A status byte that the machine's manual does not list.
    Unknown,
}

impl Condition {
    /// Meaning of a framed machine's status (wire section 2); `None` when it is "done".
    pub(crate) fn of_framed(byte: u8) -> Option<Self> {
        Some(match byte {
            status::DONE => return None,
            status::JAM => Self::Jam,
            status::NO_CARD => Self::NoCard,
            status::BAD_DATA => Self::BadData,
            status::SUPPLY => Self::Supply,
            status::FAILED => Self::Failed,
            status::FULL => Self::OutputFull,
            status::COVER_OPEN => Self::CoverOpen,
            _ => Self::Unknown,
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jam => "card jam: open the machine and remove the card",
            Self::NoCard => "no card in the station",
            Self::BadData => "it cannot work with the data sent",
            Self::Supply => "foil, ribbon or hopper empty: refill",
            Self::Failed => "its work failed",
            Self::OutputFull => "output full: empty the stacker or bin",
            Self::CoverOpen => "a cover is open: close it",
            Self::Stripe => "the stripe could not be read or written: check coercivity, clean the head",
            Self::Swipe => "the card moved wrongly past the head",
            Self::CommandFormat => "format of the command wrong",
            Self::CommandUnknown => "command not known: is it an MSR605 or MSR206?",
            Self::Unknown => "a status that its manual does not list",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framed_status_bytes_have_the_meanings_of_wire_section_2() {
        let table = [
            (b'1', Condition::Jam),
            (b'2', Condition::NoCard),
            (b'3', Condition::BadData),
            (b'4', Condition::Supply),
            (b'5', Condition::Failed),
            (b'6', Condition::OutputFull),
            (b'7', Condition::CoverOpen),
        ];
        assert_eq!(Condition::of_framed(b'0'), None);
        for byte in (0..=255u8).filter(|b| *b != b'0') {
            let listed = table.iter().find(|(b, _)| *b == byte).map(|(_, c)| *c);
            assert_eq!(Condition::of_framed(byte), Some(listed.unwrap_or(Condition::Unknown)));
        }
    }

    #[test]
    fn one_byte_of_two_machines_has_two_meanings() {
        let full = DeviceError::Status { status: b'6', meaning: Condition::OutputFull };
        assert!(full.waits_for_person() && DeviceError::HopperEmpty.waits_for_person() && !full.is_jam());
        let jam = DeviceError::Status { status: 0x31, meaning: Condition::Jam };
        let stripe = DeviceError::Status { status: 0x31, meaning: Condition::Stripe };
        assert!(jam.is_jam() && !stripe.is_jam());
        assert!(!jam.waits_for_person() && !stripe.waits_for_person());
        assert!(DeviceError::Data("x").is_data() && !jam.is_data());
    }

    #[test]
    fn messages_give_the_next_step() {
        assert_eq!(
            DeviceError::Damaged(FramePassage::Command).to_string(),
            "our command reached the machine damaged 3 times running: check cable, plug and baud rate"
        );
        assert_eq!(
            DeviceError::Status { status: b'1', meaning: Condition::Jam }.to_string(),
            "the machine reports: card jam: open the machine and remove the card (status 31h)"
        );
    }
}
