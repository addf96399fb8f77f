//! Links: the pipes under the codecs. A byte link to a machine, a card link to a reader.
//!
//! Not here: what the bytes mean. Every wait has a deadline; nothing blocks for ever on a link of ours (PC/SC can,
//! which is why readers get processes of their own).

use std::time::Duration;

use crate::wire::SW_DONE;

/// A byte link to one machine. A timeout of zero means: whatever is possible at once, without waiting.
pub trait Link: Send {
    /// Sends all the bytes, or fails.
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError>;
    /// Waits for at least one byte and takes at most `buffer.len()`; gives how many.
    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError>;
}

impl<L: Link + ?Sized> Link for Box<L> {
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        (**self).send(bytes, timeout)
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        (**self).receive(buffer, timeout)
    }
}

/// Why a link did not carry the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing came, or not all went, within the time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The other end is gone.
    #[error("the link is closed")]
    Closed,
    /// The operating system's word.
    #[error("{0}")]
    Io(String),
}

/// A link to one card reader with at most one card.
pub trait CardLink: Send {
    /// Resets the card in the reader; gives its ATR (ISO 7816-3).
    fn power_on(&mut self, timeout: Duration) -> Result<Vec<u8>, CardError>;
    /// One command APDU, one response APDU (data, SW1, SW2). No 61xx or 6Cxx handling here.
    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError>;
    /// Several command APDUs one after the other, each at most `timeout`, until one is answered with something else
    /// than 9000: what follows that one has not been sent. Adds the responses to `responses`; after an error the
    /// command that failed is the next one.
    fn transmit_all(
        &mut self,
        commands: &[&[u8]],
        timeout: Duration,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        for command in commands {
            let response = self.transmit(command, timeout)?;
            let done = response.ends_with(&SW_DONE);
            responses.push(response);
            if !done {
                break;
            }
        }
        Ok(())
    }
    /// Takes the power off.
    fn power_off(&mut self, timeout: Duration) -> Result<(), CardError>;
}

impl<C: CardLink + ?Sized> CardLink for Box<C> {
    fn power_on(&mut self, timeout: Duration) -> Result<Vec<u8>, CardError> {
        (**self).power_on(timeout)
    }

    fn transmit(&mut self, command: &[u8], timeout: Duration) -> Result<Vec<u8>, CardError> {
        (**self).transmit(command, timeout)
    }

    fn transmit_all(
        &mut self,
        commands: &[&[u8]],
        timeout: Duration,
        responses: &mut Vec<Vec<u8>>,
    ) -> Result<(), CardError> {
        (**self).transmit_all(commands, timeout, responses)
    }

    fn power_off(&mut self, timeout: Duration) -> Result<(), CardError> {
        (**self).power_off(timeout)
    }
}

/// Why there is no answer from a card.
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
    /// The reader itself.
    #[error("reader: {0}")]
    Reader(LinkError),
    /// The reader said something that is no answer.
    #[error("reader: malformed answer")]
    Malformed,
}
