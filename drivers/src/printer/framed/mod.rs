//! The framed card printer (wire section 4): commands and status on a serial link, each side's PNG on a link
//! of its own.
//!
//! Not here: drawing. The printer prints the pixels that it receives.
//!
//! The printer sends no bytes on the link for images, so a fault there shows in one of two places. An image
//! that does not leave in time fails at once, before anything is printed. An image that left but did not
//! arrive whole, or is not the announced one, gives status '3' to the command that prints. Both are
//! [`DeviceError::Image`]: the device is to blame, not the record, because the controller drew the picture.
//! After either, the link may have stopped in the middle of an image, so it is reopened before the next one.

use std::time::Duration;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::CardPrinter;
use crate::error::{Condition, DeviceError};
use crate::framed::{FramedLink, QUICK_WORK};
use crate::identity::MachineIdentity;
use crate::link::{ByteLink, LinkError};
use crate::registry::Capability;

/// Bit/s of its serial port.
pub const BAUD: u32 = 9600;

/// The machine's abilities.
pub const CAPABILITIES: &[Capability] =
    &[Capability::Front, Capability::Back, Capability::FullColour, Capability::Number];

/// Time for printing both sides of one card. Dye sublimation with overlay takes up to 25 s, and warming up as
/// long again.
const PRINT_WORK: Duration = Duration::from_secs(60);
/// Time for one image to leave: 2 MB, a card at 300 dpi that does not compress, take 1.6 s at 10 Mbit/s.
const IMAGE_TIME: Duration = Duration::from_secs(10);

/// A card printer on its links: `L` for commands, `S` for images.
pub struct FramedPrinter<L, S> {
    framed: FramedLink<L>,
    stream: S,
    /// The stream may have stopped in the middle of an image.
    torn: bool,
    work: Duration,
}

impl<L: ByteLink, S: ByteLink> FramedPrinter<L, S> {
    /// Takes the links over.
    pub fn new(serial: L, stream: S) -> Self {
        Self { framed: FramedLink::new(serial), stream, torn: false, work: PRINT_WORK }
    }

    /// Changes the time limit for printing one card, which is 60 s otherwise.
    pub fn with_work_time(self, work: Duration) -> Self {
        Self { work, ..self }
    }

    /// Announces a side on the serial link and sends its image on the other link.
    fn load(&mut self, side: u8, image: &[u8]) -> Result<(), DeviceError> {
        let length =
            u32::try_from(image.len()).map_err(|_| DeviceError::Data("an image of 4 GiB or more"))?;
        let head = [&[side][..], &length.to_be_bytes()].concat();
        let digest = Sha256::digest(image);
        self.framed.command(b'H', &[&head[..], &digest[..]].concat(), QUICK_WORK)?;
        if self.torn {
            self.stream.reopen(IMAGE_TIME).map_err(|error| not_sent(&error))?;
        }
        self.torn = true;
        let mut message = Zeroizing::new(Vec::with_capacity(head.len() + image.len()));
        message.extend_from_slice(&head);
        message.extend_from_slice(image);
        self.stream.send(&message, IMAGE_TIME).map_err(|error| not_sent(&error))?;
        self.torn = false;
        Ok(())
    }
}

impl<L: ByteLink, S: ByteLink> CardPrinter for FramedPrinter<L, S> {
    fn print(&mut self, front: Option<&[u8]>, back: Option<&[u8]>) -> Result<(), DeviceError> {
        let images = [(b'F', front), (b'B', back)];
        if images.iter().all(|(_, image)| image.is_none()) {
            return Err(DeviceError::Data("no side to print"));
        }
        self.framed.begin()?;
        for (side, image) in images {
            if let Some(image) = image {
                self.load(side, image)?;
            }
        }
        self.framed.command(b'P', &[], self.work).map(drop).map_err(|error| match error.condition() {
            Some(Condition::BadData) => {
                self.torn = true;
                DeviceError::Image("it did not get the picture that was announced".to_owned())
            }
            _ => error,
        })
    }

    fn ready(&mut self) -> Result<String, DeviceError> {
        self.framed.model()
    }

    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        Some(&mut self.framed)
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        self.framed.reopen(timeout)?;
        self.torn = true;
        self.stream.reopen(timeout).map_err(|error| not_sent(&error))?;
        self.torn = false;
        Ok(())
    }
}

fn not_sent(error: &LinkError) -> DeviceError {
    DeviceError::Image(error.to_string())
}

#[cfg(test)]
mod tests;
