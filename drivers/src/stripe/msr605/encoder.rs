//! The MSR605 as a [`StripeEncoder`].

use std::time::{Duration, Instant};

use super::{ARM_TIME, Msr605, number};
use crate::error::DeviceError;
use crate::link::ByteLink;
use crate::presence::DeviceConnection;
use crate::stripe::{CardSensor, RawTracks, Recording, StripeEncoder, TrackNumber, Tracks};
use crate::wire::ESC;

/// Letter of the sensor test.
const SENSOR_TEST: u8 = 0x86;

impl<L: ByteLink> StripeEncoder for Msr605<L> {
    fn write(&mut self, tracks: &Tracks, how: &Recording) -> Result<(), DeviceError> {
        self.set(how)?;
        self.write_text(tracks)
    }

    fn read(&mut self) -> Result<Tracks, DeviceError> {
        self.read_text()
    }

    fn erase(&mut self, tracks: &[TrackNumber], how: &Recording) -> Result<(), DeviceError> {
        self.set(how)?;
        self.erase_tracks(tracks.iter().fold(0, |mask, track| mask | 1 << (number(*track) - 1)))
    }

    fn write_raw(&mut self, tracks: &RawTracks, bits: [u8; 3], how: &Recording) -> Result<(), DeviceError> {
        self.set(how)?;
        self.set_bpc(bits)?;
        self.write_bits(tracks)
    }

    fn read_raw(&mut self, bits: [u8; 3]) -> Result<RawTracks, DeviceError> {
        self.set_bpc(bits)?;
        self.read_bits()
    }

    /// Sends every setting every time, even if nothing changed, because a machine that was switched off and
    /// on forgets its settings. Settings that can be read back are read back, because the machine confirms a
    /// damaged one like any other.
    fn set(&mut self, how: &Recording) -> Result<(), DeviceError> {
        self.set_coercivity(how.coercivity)?;
        if self.coercivity()? != how.coercivity {
            return Err(DeviceError::Unexpected("another coercivity than asked for"));
        }
        if let Some(zeros) = how.leading_zeros {
            self.set_leading_zeros(zeros)?;
            if self.leading_zeros()? != zeros {
                return Err(DeviceError::Unexpected("other leading zeros than asked for"));
            }
        }
        if let Some(densities) = how.density {
            for (track, density) in
                [TrackNumber::T1, TrackNumber::T2, TrackNumber::T3].into_iter().zip(densities)
            {
                self.select_bpi(track, density)?;
            }
        }
        Ok(())
    }

    /// The machine does not report its density.
    fn settings(&mut self) -> Result<Recording, DeviceError> {
        Ok(Recording {
            coercivity: self.coercivity()?,
            leading_zeros: Some(self.leading_zeros()?),
            density: None,
        })
    }

    fn sensor(&mut self) -> Option<&mut dyn CardSensor> {
        Some(self)
    }

    fn ready(&mut self) -> Result<String, DeviceError> {
        self.comm_test()?;
        Ok(format!("MSR605 family, model {}, firmware {}", self.model()?, self.firmware()?))
    }

    fn reopen(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        self.unsure = true;
        self.port.reopen(timeout)
    }
}

/// The sensor test: the machine answers when a card is sensed. Any other command is preceded by a reset, which
/// ends the test.
impl<L: ByteLink> CardSensor for Msr605<L> {
    fn connection(&self) -> DeviceConnection {
        DeviceConnection::through(self.port.node())
    }

    fn arm(&mut self) -> Result<bool, DeviceError> {
        // A program that was killed may have left the machine waiting for a card to write on.
        self.unsure = true;
        self.settle()?;
        self.unsure = true;
        self.port.send(&[ESC, SENSOR_TEST])?;
        Ok(!self.sees(ARM_TIME)?)
    }

    fn sees(&mut self, wait: Duration) -> Result<bool, DeviceError> {
        match self.status(Instant::now() + wait) {
            Ok(()) => {
                self.unsure = false;
                Ok(true)
            }
            // It is still armed.
            Err(DeviceError::Timeout(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::msr605::REPLY_TIME;
    use crate::stripe::{Density, LeadingZeros, WriteCoercivity};
    use crate::testing::Script;

    #[test]
    fn it_names_its_model_and_firmware() {
        let script = Script::new().expect(b"\x1Be").give(b"\x1By").expect(b"\x1Bt").give(b"\x1B3S");
        let (link, check) = script.expect(b"\x1Bv").give(b"\x1BREVH1.31").build();
        assert_eq!(Msr605::new(link).ready().unwrap(), "MSR605 family, model 3, firmware REVH1.31");
        check.finished();
    }

    #[test]
    fn a_recording_is_set_and_asked_for() {
        let how = Recording {
            coercivity: WriteCoercivity::Lo,
            leading_zeros: Some(LeadingZeros { t13: 30, t2: 12 }),
            density: Some([Density::Bpi210, Density::Bpi75, Density::Bpi210]),
        };
        let done = |script: Script, command: &[u8]| script.expect(command).give(b"\x1B0");
        let confirmed = |script| done(script, b"\x1By").expect(b"\x1Bd").give(b"\x1BL");
        let script = done(confirmed(Script::new()), b"\x1Bz\x1E\x0C").expect(b"\x1Bl").give(b"\x1B\x1E\x0C");
        let script = done(done(done(script, b"\x1Bb\xA1"), b"\x1Bb\x4B"), b"\x1Bb\xC1");
        let (link, check) = script.build();
        Msr605::new(link).set(&how).unwrap();
        check.finished();
        // The machine reports another setting than the one it received, so nothing is written.
        let (link, check) = done(Script::new(), b"\x1By").expect(b"\x1Bd").give(b"\x1BH").build();
        let outcome = Msr605::new(link).write(&Tracks::default(), &how);
        assert!(matches!(outcome, Err(DeviceError::Unexpected(_))));
        check.finished();
    }

    #[test]
    fn an_armed_sensor_reports_the_card_that_comes() {
        let reset = || Script::new().expect(b"\x1Ba\x1Be").give(b"\x1By");
        let (link, check) = reset().expect(b"\x1B\x86").give(b"\x1B0").build();
        assert_eq!(Msr605::new(link).arm(), Ok(false), "a card lies there already");
        check.finished();
        let (link, check) = reset().expect(b"\x1B\x86").silence().give(b"\x1B0").build();
        let mut device = Msr605::new(link);
        assert_eq!(device.arm(), Ok(true));
        assert_eq!(device.sees(ARM_TIME), Ok(true));
        check.finished();
    }

    #[test]
    fn the_next_command_ends_a_sensor_test_without_a_card() {
        let script =
            Script::new().expect(b"\x1Ba\x1Be").give(b"\x1By").expect(b"\x1B\x86").silence().silence();
        let (link, check) =
            script.expect(b"\x1Ba\x1Be").give(b"\x1By").expect(b"\x1Be").give(b"\x1By").build();
        let mut device = Msr605::new(link);
        assert_eq!((device.arm(), device.sees(ARM_TIME)), (Ok(true), Ok(false)));
        device.comm_test().unwrap();
        check.finished();
    }

    #[test]
    fn tracks_to_be_erased_are_named_by_their_bits() {
        for (which, code) in [
            (&[TrackNumber::T1][..], 0),
            (&[TrackNumber::T2, TrackNumber::T3], 6),
            (&[TrackNumber::T1, TrackNumber::T3], 5),
        ] {
            let script = Script::new().expect(b"\x1Bx").give(b"\x1B0").expect(b"\x1Bd").give(b"\x1BH");
            let (link, check) = script.expect(&[0x1B, b'c', code]).give(b"\x1B0").build();
            Msr605::new(link).erase(which, &Recording::on(WriteCoercivity::Hi)).unwrap();
            check.finished();
        }
    }

    #[test]
    fn a_new_connection_resets_it_and_sends_the_settings_again() {
        let script = Script::new().expect(b"\x1By").give(b"\x1B0").expect(b"\x1Ba\x1Be").give(b"\x1By");
        let (link, check) = script.expect(b"\x1By").give(b"\x1B0").expect(b"\x1Be").give(b"\x1By").build();
        let mut device = Msr605::new(link);
        device.set_coercivity(WriteCoercivity::Lo).unwrap();
        device.reopen(REPLY_TIME).unwrap();
        device.comm_test().unwrap();
        check.finished();
    }
}
