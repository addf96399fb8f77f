//! Magnetic stripe encoder MSE-630T (wire section 8): packages between STX and BCC.
//!
//! ```text
//! us       STX W %t1? ;t2? +t3? ETX BCC       (no blanks; tracks that are absent left out)
//! machine  STX %t1? ;t2? +t3? ETX BCC: written, and read again by itself  |  NAK: not written
//! ```
//!
//! Not here: reading (the manual does not describe the answer for a blank track, and the machine compares
//! after each write), erasing, settings. The coercivity is set at the machine; the driver can neither check
//! nor set the one that the profile gives for the plastic.
//!
//! - Only an echo that equals the tracks byte for byte counts as written. So no damage on the line, in either
//!   direction, passes for success; a damaged echo after a good write costs a card.
//! - After a NAK the package is repeated, at most 3 times in all; writing one stripe twice does no harm. A
//!   NAK counts only if it comes alone: with bytes after it, it is an echo whose first byte was damaged.
//! - After a missing or a meaningless answer, the machine may still write the last package on the next card
//!   that passes. So the driver refuses to go on until the connection is reopened: then it resets the
//!   machine, which must show a sign of life, and drops bytes that arrive late.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::tracks::TrackLimits;
use super::{Recording, StripeEncoder, TrackNumber, Tracks};
use crate::error::{Condition, DeviceError};
use crate::identity::{MachineIdentity, OnlyMachine};
use crate::link::{ByteLink, LinkError};
use crate::port::BufferedLink;
use crate::presence::DeviceConnection;
use crate::registry::Capability;
use crate::wire::{ACK, DEL, ESC, ETX, FRAME_TRIES, NAK, STX};

/// Bit/s of its serial port. The manual does not give it; this is the rate of the other encoders.
pub const BAUD: u32 = 9600;

/// The machine's abilities; the module's documentation gives the reasons for the missing ones.
pub const CAPABILITIES: &[Capability] =
    &[Capability::Track1, Capability::Track2, Capability::Track3, Capability::HiCo, Capability::LoCo];

/// The machine's model.
const MODEL: &str = "MSE-630T";
/// The first byte of a package to be written.
const WRITE: u8 = b'W';
/// Longest echo: STX, three tracks with sentinels, ETX, BCC.
const PACKAGE_MAX: usize = 1 + (78 + 39 + 106) + 2;
/// Time for a pass of the card, until the echo begins.
const SWIPE_TIME: Duration = Duration::from_secs(15);
/// Time for the rest of an echo that has begun: at most 225 bytes, 0.24 s at 9600 bit/s.
const REST_TIME: Duration = Duration::from_secs(2);
/// Time for a sign of life, asked for up to 3 times: the machine may be busy with a reset.
const LIFE_TIME: Duration = Duration::from_secs(1);
/// Time after a NAK in which further bytes would show that it is none; a byte takes 1 ms at 9600 bit/s.
const ALONE_TIME: Duration = Duration::from_millis(100);

/// An MSE-630T on a link.
pub struct Mse630<L> {
    port: BufferedLink<L>,
    /// The machine may still hold a package.
    unsure: bool,
    only: OnlyMachine,
}

/// The machine's answer to a package.
enum PackageAnswer {
    Written,
    NotWritten,
}

impl<L: ByteLink> Mse630<L> {
    /// Takes the link over.
    pub fn new(link: L) -> Self {
        Self { port: BufferedLink::new(link), unsure: false, only: OnlyMachine::Any }
    }

    /// Checks that the machine answers.
    fn lives(&mut self) -> Result<(), DeviceError> {
        for _ in 0..FRAME_TRIES {
            self.port.send(&[ESC])?;
            let until = Instant::now() + LIFE_TIME;
            loop {
                match self.port.byte(until) {
                    Ok(ACK) => return Ok(()),
                    // The rest of earlier work, or noise.
                    Ok(_) => {}
                    Err(LinkError::Timeout(_)) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Err(DeviceError::Timeout(LIFE_TIME * FRAME_TRIES))
    }

    /// Waits for the machine's answer to the package, which must come back without its command.
    fn answer(&mut self, package: &[u8]) -> Result<PackageAnswer, DeviceError> {
        let late = |error: LinkError, time: Duration| match error {
            LinkError::Timeout(_) => DeviceError::Timeout(time),
            error => error.into(),
        };
        let until = Instant::now() + SWIPE_TIME;
        let mut first = self.port.byte(until).map_err(|error| late(error, SWIPE_TIME))?;
        // Late signs of life.
        while first == ACK {
            first = self.port.byte(until).map_err(|error| late(error, SWIPE_TIME))?;
        }
        if first == NAK {
            return match self.port.byte(Instant::now() + ALONE_TIME) {
                Err(LinkError::Timeout(_)) => Ok(PackageAnswer::NotWritten),
                Ok(_) => Err(DeviceError::Unexpected("more than a NAK, and no echo: it may have written")),
                Err(error) => Err(error.into()),
            };
        }
        // Noise before the echo.
        while first != STX {
            first = self.port.byte(until).map_err(|error| late(error, SWIPE_TIME))?;
        }
        let until = Instant::now() + REST_TIME;
        for expected in package.iter().skip(1) {
            if self.port.byte(until).map_err(|error| late(error, REST_TIME))? != *expected {
                return Err(DeviceError::Unexpected("the echo differs from what was to be written"));
            }
        }
        Ok(PackageAnswer::Written)
    }
}

impl<L: ByteLink> StripeEncoder for Mse630<L> {
    fn write(&mut self, tracks: &Tracks, how: &Recording) -> Result<(), DeviceError> {
        self.set(how)?;
        let package = package(tracks)?;
        if self.unsure {
            return Err(DeviceError::Restart("it may still hold the last card's stripe"));
        }
        let command = command(&package);
        self.port.drain(false, drop)?;
        self.check()?;
        self.unsure = true;
        for _ in 0..FRAME_TRIES {
            self.port.send(&command)?;
            match self.answer(&package)? {
                PackageAnswer::Written => {
                    self.unsure = false;
                    return Ok(());
                }
                PackageAnswer::NotWritten => tracing::debug!("the encoder did not write"),
            }
        }
        self.unsure = false;
        Err(DeviceError::Status { status: NAK, meaning: Condition::Stripe })
    }

    fn set(&mut self, how: &Recording) -> Result<(), DeviceError> {
        if how.leading_zeros.is_some() || how.density.is_some() {
            return Err(DeviceError::Unsupported("leading zeros and density are fixed"));
        }
        Ok(())
    }

    /// The machine does not name its model.
    fn ready(&mut self) -> Result<String, DeviceError> {
        self.port.drain(false, drop)?;
        self.lives()?;
        Ok(MODEL.to_owned())
    }

    fn identity(&mut self) -> Option<&mut dyn MachineIdentity> {
        Some(self)
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        self.unsure = true;
        self.port.reopen(timeout)?;
        self.port.drain(false, drop)?;
        self.port.send(&[DEL])?;
        self.lives()?;
        self.unsure = false;
        Ok(())
    }
}

/// The machine gives no number.
impl<L: ByteLink> MachineIdentity for Mse630<L> {
    fn only(&mut self, machine: OnlyMachine) {
        self.only = machine;
    }

    fn check(&mut self) -> Result<(), DeviceError> {
        match &self.only {
            OnlyMachine::Numbered(expected) => expected.compare(MODEL),
            only => only.is_at(self.port.node()),
        }
    }

    fn connection(&self) -> DeviceConnection {
        DeviceConnection::through(self.port.node())
    }
}

/// The echo that the machine must send: STX, the tracks with their sentinels, ETX, BCC. Fails if a track
/// cannot hold its text, or if there is no text to write.
fn package(tracks: &Tracks) -> Result<Zeroizing<Vec<u8>>, DeviceError> {
    let mut package = Zeroizing::new(Vec::with_capacity(PACKAGE_MAX));
    package.push(STX);
    for (track, start, text) in [
        (TrackNumber::T1, b'%', &tracks.t1),
        (TrackNumber::T2, b';', &tracks.t2),
        (TrackNumber::T3, b'+', &tracks.t3),
    ] {
        if let Some(text) = text {
            TrackLimits::of(track).check(text.as_bytes()).map_err(DeviceError::Data)?;
            if text.contains('<') {
                return Err(DeviceError::Data("this encoder cannot write the character <"));
            }
            package.push(start);
            package.extend_from_slice(text.as_bytes());
            package.push(b'?');
        }
    }
    if package.len() == 1 {
        return Err(DeviceError::Data("no track to write"));
    }
    package.push(ETX);
    let bcc = package.iter().skip(1).fold(0, |sum, byte| sum ^ byte);
    package.push(bcc);
    Ok(package)
}

/// The command that writes: the package with `W` after STX, and a BCC that fits.
fn command(package: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut command = Zeroizing::new(Vec::with_capacity(package.len() + 1));
    if let [stx, body @ .., bcc] = package {
        command.extend_from_slice(&[*stx, WRITE]);
        command.extend_from_slice(body);
        command.push(bcc ^ WRITE);
    }
    command
}
