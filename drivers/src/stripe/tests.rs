//! Both encoders over a line that changes any byte of a session to any value, or breaks at any byte: an
//! accepted stripe is the stripe on the card.

use std::time::Duration;

use super::mse630::Mse630;
use super::msr605::Msr605;
use super::{LeadingZeros, Recording, StripeEncoder, Tracks, WriteCoercivity};
use crate::error::DeviceError;
use crate::testing::{DamagedLine, LineDamage, MachineBehaviour, damages};
use crate::wire::{ACK, DEL, ESC, ETX, FS, NAK, STX};

const SOON: Duration = Duration::from_secs(1);
const HOW: Recording = Recording {
    coercivity: WriteCoercivity::Hi,
    leading_zeros: Some(LeadingZeros { t13: 30, t2: 12 }),
    density: None,
};

fn tracks() -> Tracks {
    Tracks { t1: Some("AB".into()), t2: Some("12".into()), t3: Some("3".into()) }
}

/// An MSR605 with a card whose stripe is empty (wire section 6). It checks nothing and writes every block
/// that arrives.
#[derive(Default)]
struct Msr {
    input: Vec<u8>,
    hico: bool,
    zeros: [u8; 2],
    /// The stripe as it was written, and its recording.
    written: Option<(Vec<u8>, bool, [u8; 2])>,
}

impl MachineBehaviour for Msr {
    fn take(&mut self, byte: u8) -> Vec<u8> {
        self.input.push(byte);
        if self.input[0] != ESC {
            self.input.clear();
            return vec![];
        }
        let done = vec![ESC, b'0'];
        let said = match self.input[1..] {
            [] | [b'z'] | [b'z', _] => return vec![],
            [b'w', ..] if byte != FS => return vec![],
            [b'a'] => vec![],
            [b'e'] => vec![ESC, b'y'],
            [b'x' | b'y'] => {
                self.hico = self.input[1] == b'x';
                done
            }
            [b'd'] => vec![ESC, if self.hico { b'H' } else { b'L' }],
            [b'z', t13, t2] => {
                self.zeros = [t13, t2];
                done
            }
            [b'l'] => [&[ESC], &self.zeros[..]].concat(),
            [b'w', ref block @ ..] => {
                self.written = Some((block.to_vec(), self.hico, self.zeros));
                done
            }
            [b'r'] => self.read(),
            _ => vec![ESC, b'4'],
        };
        self.input.clear();
        said
    }

    fn reopened(&mut self) {
        self.input.clear();
    }
}

impl Msr {
    /// The block with sentinels added at each mark.
    fn read(&self) -> Vec<u8> {
        let block = self.written.as_ref().map_or(&b"\x1Bs\x1B\x01\x1B\x02\x1B\x03?\x1C"[..], |(b, ..)| b);
        let mut out = vec![];
        let inner = block.strip_suffix(b"?\x1C").unwrap_or(block);
        for part in inner.split(|byte| *byte == ESC).skip(1) {
            out.push(ESC);
            match part {
                [mark @ 1..=3, text @ ..] if !text.is_empty() => {
                    out.extend([*mark, if *mark == 1 { b'%' } else { b';' }]);
                    out.extend(text);
                    out.push(b'?');
                }
                part => out.extend(part),
            }
        }
        out.extend([b'?', FS, ESC, b'0']);
        out
    }
}

/// Writes a stripe and reads it back, as the encoder's caller does. Returns whether the card is accepted.
fn accepted(encoder: &mut dyn StripeEncoder) -> Result<bool, DeviceError> {
    encoder.write(&tracks(), &HOW)?;
    Ok(encoder.read()? == tracks())
}

#[test]
fn a_damaged_msr605_session_accepts_only_the_stripe_on_the_card() {
    let block = b"\x1Bs\x1B\x01AB\x1B\x0212\x1B\x033?\x1C";
    // The commands x, d, z, l, w, r, and the replies with two sentinels for each track.
    let (ours, its) = (2 + 2 + 4 + 2 + 2 + block.len() + 2, 2 + 2 + 2 + 3 + 2 + block.len() + 6 + 2);
    for damage in damages(ours, its).chain([LineDamage::None]) {
        let (line, machine) = DamagedLine::new(Msr::default(), damage);
        let mut encoder = Msr605::new(line);
        let outcome = accepted(&mut encoder);
        if outcome == Ok(true) {
            let written = machine.lock().unwrap().written.clone().unwrap();
            assert_eq!(written, (block.to_vec(), true, [30, 12]));
        }
        if matches!(damage, LineDamage::None) {
            assert_eq!(outcome, Ok(true));
        }
        if matches!(damage, LineDamage::Break(_)) {
            // Between two commands the connection is made again automatically, and the card is right, as
            // asserted above.
            assert!(matches!(outcome, Ok(true) | Err(DeviceError::Closed)), "{damage:?}: {outcome:?}");
            encoder.reopen(SOON).unwrap();
            assert_eq!(accepted(&mut encoder), Ok(true), "after the connection came back");
        }
    }
}

/// An MSE-630T with a card (wire section 8).
#[derive(Default)]
struct Mse {
    package: Vec<u8>,
    written: Vec<Vec<u8>>,
}

impl MachineBehaviour for Mse {
    fn take(&mut self, byte: u8) -> Vec<u8> {
        match byte {
            ESC if self.package.is_empty() => return vec![ACK],
            DEL if self.package.is_empty() => return vec![],
            _ => {}
        }
        let bcc = self.package.len() > 1 && self.package.ends_with(&[ETX]);
        if byte == STX && !bcc {
            self.package.clear();
        }
        if byte == STX || !self.package.is_empty() {
            self.package.push(byte);
        }
        if !bcc {
            return vec![];
        }
        let package = std::mem::take(&mut self.package);
        if package[1] != b'W' || package[1..].iter().fold(0, |sum, byte| sum ^ byte) != 0 {
            return vec![NAK];
        }
        let [tracks @ .., bcc] = &package[2..] else { return vec![NAK] };
        let echo = [&[STX], tracks, &[bcc ^ b'W']].concat();
        self.written.push(package);
        echo
    }

    fn reopened(&mut self) {
        self.package.clear();
    }
}

#[test]
fn a_damaged_mse630_session_accepts_only_the_stripe_on_the_card() {
    // XOR of all bytes after STX: 25 41 42 3F 3B 31 32 3F 2B 33 3F 03.
    let echo = b"\x02%AB?;12?+3?\x03\x3A";
    // And W: 57.
    let package = b"\x02W%AB?;12?+3?\x03\x6D";
    let how = Recording::on(WriteCoercivity::Hi);
    for damage in damages(package.len(), echo.len()) {
        let (line, machine) = DamagedLine::new(Mse::default(), damage);
        let mut encoder = Mse630::new(line);
        let outcome = encoder.write(&tracks(), &how);
        if outcome.is_ok() {
            assert_eq!(machine.lock().unwrap().written, [package.to_vec()]);
        }
        if let LineDamage::Ours(at, _) = damage
            && at > 0
            && at < package.len() - 2
        {
            assert!(outcome.is_ok() || machine.lock().unwrap().written.len() <= 1, "mended by repetition");
        }
        if matches!(damage, LineDamage::Break(_)) {
            assert_eq!(outcome, Err(DeviceError::Closed));
        }
        if outcome.is_err() {
            encoder.reopen(SOON).unwrap();
            encoder.write(&tracks(), &how).unwrap();
            assert_eq!(machine.lock().unwrap().written.last().unwrap()[..], package[..]);
        }
    }
}
