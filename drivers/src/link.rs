//! Links: the pipes under the codecs. A byte link leads to a machine, a card link to a reader.
//!
//! Not here: the meaning of the bytes. Every wait has a deadline; no call blocks for ever on a link of this
//! crate (a call of PC/SC can, which is why each reader gets its own process).

use std::time::Duration;

use crate::presence::{LookFor, ReaderSighting};
use crate::wire::{SW_DONE, reader};

/// A byte link to one machine. With a timeout of zero, a call does not wait.
pub trait ByteLink: Send {
    /// Sends all the bytes, or fails.
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError>;
    /// Waits for at least one byte and takes at most `buffer.len()`; returns how many it took.
    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError>;
    /// Drops the connection, in whatever state it is, and makes a new one.
    fn reopen(&mut self, timeout: Duration) -> Result<(), LinkError>;
    /// The name of the connection in the system. It changes when the device was gone, and stays when its node
    /// is opened again. Empty where the system gives no such name.
    fn node(&self) -> &str {
        ""
    }
}

impl<L: ByteLink + ?Sized> ByteLink for Box<L> {
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        (**self).send(bytes, timeout)
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        (**self).receive(buffer, timeout)
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), LinkError> {
        (**self).reopen(timeout)
    }

    fn node(&self) -> &str {
        (**self).node()
    }
}

/// Why a link did not carry bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No bytes came, or not all were sent, within the time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The other end is gone.
    #[error("the link is closed")]
    Closed,
    /// The operating system reports an error, in its own words.
    #[error("{0}")]
    Io(String),
}

/// How a card is reset (ISO 7816-3, 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Power off and on.
    Cold,
    /// The RST line alone.
    Warm,
}

/// Transmission protocols (ISO 7816-3) that may be used with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    /// T=0.
    pub t0: bool,
    /// T=1.
    pub t1: bool,
}

impl Protocols {
    /// Both: of a card that offers both, T=1 is taken, as pcscd does.
    pub const ANY: Self = Self { t0: true, t1: true };

    /// The byte of [`crate::wire`] section 1.
    pub fn to_byte(self) -> u8 {
        u8::from(self.t0) * reader::T0 + u8::from(self.t1) * reader::T1
    }

    /// Reads the byte of [`crate::wire`] section 1; `None` if it names no protocol or an unknown one.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let known = byte != 0 && byte & !(reader::T0 | reader::T1) == 0;
        known.then_some(Self { t0: byte & reader::T0 != 0, t1: byte & reader::T1 != 0 })
    }
}

/// The transmission protocol in use with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// T=0: commands without Le beside data, answers that are fetched.
    T0,
    /// T=1, or another one that carries APDUs as they are.
    T1,
}

/// A command of a session and its stop rule.
#[derive(Debug, Clone, Copy)]
pub struct CommandStep<'a> {
    /// Command APDU.
    pub command: &'a [u8],
    /// Status words besides 9000 after which the next command may be sent.
    pub go_on: &'a [u16],
}

impl CommandStep<'_> {
    /// Whether the next command may be sent after this response.
    pub fn goes_on_after(&self, response: &[u8]) -> bool {
        response.ends_with(&SW_DONE) || self.go_on.iter().any(|sw| response.ends_with(&sw.to_be_bytes()))
    }
}

/// Time limits of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// For each command.
    pub each: Duration,
    /// For all commands together.
    pub all: Duration,
}

/// A link to one card reader with at most one card.
pub trait CardLink: Send {
    /// Resets the card in the reader; returns its ATR (ISO 7816-3).
    fn power_on(
        &mut self,
        reset: Reset,
        protocols: Protocols,
        timeout: Duration,
    ) -> Result<Vec<u8>, CardError>;
    /// Sends one command APDU, in the form that the card's protocol wants, and returns the whole response APDU
    /// (data, SW1, SW2): parts after 61xx are joined, a wrong Le (6Cxx) is corrected.
    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError>;
    /// Sends command APDUs one after the other until the stop rule of one of them holds; the commands after
    /// it are not sent. Adds the responses to `responses`; after an error, the next command is the one that
    /// failed.
    fn transmit_all(
        &mut self,
        steps: &[CommandStep<'_>],
        limits: SessionLimits,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError>;
    /// Takes the power off the card.
    fn power_off(&mut self, timeout: Duration) -> Result<(), CardError>;
    /// Whether the reader answers, with a card in it or without.
    fn probe(&mut self, timeout: Duration) -> Result<(), CardError>;
    /// Returns what the reader sees, as soon as that is what is looked for, and after `wait` at the latest.
    fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError>;
    /// Drops the connection to the reader, in whatever state it is, and makes a new one.
    fn reopen(&mut self, timeout: Duration) -> Result<(), CardError>;
}

impl<C: CardLink + ?Sized> CardLink for Box<C> {
    fn power_on(
        &mut self,
        reset: Reset,
        protocols: Protocols,
        timeout: Duration,
    ) -> Result<Vec<u8>, CardError> {
        (**self).power_on(reset, protocols, timeout)
    }

    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError> {
        (**self).transmit(command, timeout)
    }

    fn transmit_all(
        &mut self,
        steps: &[CommandStep<'_>],
        limits: SessionLimits,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        (**self).transmit_all(steps, limits, responses)
    }

    fn power_off(&mut self, timeout: Duration) -> Result<(), CardError> {
        (**self).power_off(timeout)
    }

    fn probe(&mut self, timeout: Duration) -> Result<(), CardError> {
        (**self).probe(timeout)
    }

    fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError> {
        (**self).look(wanted, wait)
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), CardError> {
        (**self).reopen(timeout)
    }
}

/// Why a card gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// No card in the reader.
    #[error("no card in the reader")]
    Absent,
    /// The card gives no ATR.
    #[error("the card is mute: no answer to reset")]
    Mute,
    /// The card went away or stopped answering.
    #[error("the card was removed or stopped answering")]
    Removed,
    /// The card speaks none of the protocols that the product allows.
    #[error("the card refuses the protocol: it speaks neither T=0 nor T=1 as the product wants")]
    Protocol,
    /// Another program has the reader.
    #[error(
        "another program has a card session in this reader: end it (or the reader is still busy with a card that does not \
         answer)"
    )]
    Held,
    /// There is no reader of that name, or at that place.
    #[error("{0}")]
    NoReader(String),
    /// The reader itself failed.
    #[error("reader: {0}")]
    Reader(LinkError),
    /// The reader sent something that is not an answer.
    #[error("reader: malformed answer")]
    Malformed,
}
