//! Magnetic stripe encoder MSE-630T (`drivers::wire` section 8): one package writes the tracks, and is echoed
//! when they are written.
//!
//! `STX W %t1? ;t2? +t3? ETX BCC`, tracks in that order, absent ones left out; BCC = XOR of all bytes after
//! STX up to and including ETX. The echo is the package without `W`: the machine has read what it wrote, and
//! answers NAK for a stripe that it misreads. It answers ESC with ACK; DEL resets it without an answer. Track
//! 3 lies on the stripe with the sentinel of its standard. Reading is not simulated.
//!
//! Choices that no source decides: it answers NAK to a damaged package (once the line is quiet), to a track
//! that is not of its standard, without a card and for a jam; it writes HiCo; a package without tracks is
//! damaged; it skips other bytes between packages.

use std::io;

use drivers::wire::{ACK, ESC, ETX, NAK, STX};

use super::frame::QUIET;
use super::head::{self, EncoderHead};
use super::link::{MachineLink, read_exact};
use crate::faults::FaultKind;
use crate::profile::StripeCoercivity;
use crate::stripe::{END, FORMATS, TrackContent};
use crate::world::{SimulatedLine, SimulatedStation};

/// The command of a package.
const WRITE: u8 = b'W';
/// The one character that the machine does not write.
const LESS: u8 = b'<';
/// Start sentinels in a package.
const STARTS: [u8; 3] = [b'%', b';', b'+'];
/// Longest package: its command and three full tracks with their sentinels.
const PACKAGE_MAX: usize = 256;

/// Serves the encoder until the link ends.
pub fn serve(stream: &impl MachineLink, world: &SimulatedLine, station: &SimulatedStation) -> io::Result<()> {
    let mut head = EncoderHead::new(world, station);
    let mut byte = [0];
    loop {
        if stream.receive(&mut byte)? == 0 {
            return Ok(());
        }
        match byte {
            [STX] => {}
            [ESC] if !head.is_silent() => {
                stream.send(&[ACK])?;
                continue;
            }
            // These include a reset, which has nothing to drop.
            _ => continue,
        }
        let package = package(stream)?;
        if head.is_silent() {
            continue;
        }
        let written = package.as_deref().and_then(tracks).is_some_and(|tracks| {
            let done = head.swipe(|blank| {
                blank.stripe.put(StripeCoercivity::Hico, tracks);
                blank.worked_on();
                world.strikes(blank, FaultKind::StripeMisread, station);
                blank.fault(FaultKind::StripeMisread).is_none()
            });
            matches!(done, Some(Ok(true)))
        });
        match (head.link, package) {
            (head::HeadLinkState::Closed, _) => return Ok(()),
            (head::HeadLinkState::Silent(_), _) => {}
            (head::HeadLinkState::Answers, Some(package)) if written => {
                stream.send(&[&[STX][..], &package, &[ETX, bcc(&package)]].concat())?;
            }
            _ => stream.send(&[NAK])?,
        }
    }
}

/// Returns the tracks of a package, the bytes after `W` up to ETX. `None` if the BCC is wrong, the bytes are
/// no package, or the package does not end.
fn package(stream: &impl MachineLink) -> io::Result<Option<Vec<u8>>> {
    let mut package = Vec::new();
    let mut byte = [0];
    loop {
        if package.len() > PACKAGE_MAX || !stream.stirs_within(QUIET)? {
            return Ok(None);
        }
        if stream.receive(&mut byte)? == 0 {
            return Ok(None);
        }
        if byte == [ETX] {
            break;
        }
        package.extend(byte);
    }
    if !stream.stirs_within(QUIET)? {
        return Ok(None);
    }
    read_exact(stream, &mut byte)?;
    let good = byte == [bcc(&package)] && package.first() == Some(&WRITE);
    Ok(good.then(|| package.split_off(1)))
}

fn bcc(package: &[u8]) -> u8 {
    package.iter().fold(ETX, |bcc, byte| bcc ^ byte)
}

/// Parses the tracks of a package; `None` if there is none, or one is not of its standard.
fn tracks(mut package: &[u8]) -> Option<[Option<TrackContent>; 3]> {
    let mut tracks = [None, None, None];
    for ((to, format), start) in tracks.iter_mut().zip(&FORMATS).zip(STARTS) {
        let Some(rest) = package.strip_prefix(&[start]) else { continue };
        let end = rest.iter().position(|c| *c == END)?;
        let (text, rest) = rest.split_at_checked(end)?;
        if text.is_empty() || text.contains(&LESS) || !format.allows(text) {
            return None;
        }
        *to = Some(TrackContent::Text([&[format.start][..], text, &[END]].concat()));
        package = rest.get(1..)?;
    }
    (package.is_empty() && tracks.iter().any(Option::is_some)).then_some(tracks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LinkClient, feed, link, look, world};

    fn echoed(text: &[u8]) -> Vec<u8> {
        let bcc = text.iter().fold(0x03, |bcc, byte| bcc ^ byte);
        [&[0x02][..], text, &[0x03, bcc]].concat()
    }

    fn sent(text: &[u8]) -> Vec<u8> {
        echoed(&[b"W", text].concat())
    }

    fn encoding<T>(
        faults: &str,
        client: impl FnOnce(&SimulatedLine, &SimulatedStation, &mut LinkClient) -> T,
    ) -> T {
        let world = world(faults);
        let station = feed(&world, "stripe-1");
        link(|stream| serve(stream, &world, station), |c| client(&world, station, c))
    }

    #[test]
    fn a_package_is_written_and_echoed() {
        encoding("", |world, station, client| {
            for text in [&b"%B47^A/B^22?;47=22?+01?"[..], b";48=22?", b"%A?+9?"] {
                client.send(&sent(text));
                client.expect(&echoed(text));
            }
            look(station, |blank| {
                let texts: Vec<_> = blank.stripe.tracks.iter().map(TrackContent::witness).collect();
                assert_eq!(texts, ["%A?", ";48=22?", ";9?"].map(|text| Some(text.to_owned())));
                assert_eq!(blank.jobs, 3);
            });
            world.reject(station, &mut crate::pace::LinkPace::new(0.0)).unwrap();
            client.send(&sent(b";48=22?"));
            client.expect(&[0x15]);
        });
    }

    #[test]
    fn tracks_that_are_not_written() {
        encoding("[[fault]]\nkind = \"jam-stripe\"\nevery = 1", |_, station, client| {
            for text in [&b""[..], b"48", b";48", b";4A?", b";?", b";1?%A?", b";1?x", b";1<2?"] {
                client.send(&sent(text));
                client.expect(&[0x15]);
            }
            let mut wrong = sent(b";48=22?");
            wrong[4] ^= 1;
            client.send(&wrong);
            client.expect(&[0x15]);
            client.send(&echoed(b";48=22?"));
            client.expect(&[0x15]);
            client.send(b"\x02W;48");
            client.expect(&[0x15]);
            client.send(&sent(b";48=22?"));
            client.expect(&[0x15]);
            look(station, |blank| assert!(blank.jammed && blank.jobs == 0));
        });
    }

    #[test]
    fn a_misread_stripe_is_no_success() {
        encoding("[[fault]]\nkind = \"stripe-misread\"\nevery = 1", |_, station, client| {
            for _ in 0..2 {
                client.send(&sent(b";48=22?"));
                client.expect(&[0x15]);
            }
            look(station, |blank| {
                assert!(!blank.strike(FaultKind::StripeMisread) && blank.jobs == 2, "noted")
            });
        });
    }

    #[test]
    fn it_shows_a_sign_of_life_and_is_reset_without_a_word() {
        encoding("", |_, _, client| {
            client.send(b"\x1b");
            client.expect(&[0x06]);
            client.send(b"\x7fxy\x1b");
            client.expect(&[0x06]);
            client.send(&sent(b";48=22?"));
            client.expect(&echoed(b";48=22?"));
        });
    }

    #[test]
    fn silent_and_closed_links() {
        let silent = "[[fault]]\nkind = \"silent-stripe\"\nevery = 1";
        encoding(silent, |_, station, client| {
            client.send(&sent(b";48=22?"));
            client.send(&sent(b";48=22?"));
            client.send(b"\x1b");
            client.expect_silence();
            look(station, |blank| assert!(!blank.strike(FaultKind::SilentStripe), "noted"));
        });
        encoding("[[fault]]\nkind = \"close-stripe\"\nevery = 1", |_, station, client| {
            client.send(&sent(b";48=22?"));
            assert_eq!(io::Read::read(&mut client.0, &mut [0]).unwrap(), 0);
            look(station, |blank| assert_eq!(blank.jobs, 0));
        });
    }
}
