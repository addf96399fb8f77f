//! The MSE-630T against scripts: the bytes of wire section 8, then every kind of damage that a line can do.

use proptest::prelude::*;

use super::*;
use crate::identity::ExpectedNumber;
use crate::registry::Capability;
use crate::stripe::{Density, LeadingZeros, RawTracks, WriteCoercivity};
use crate::testing::{Script, noise};

const HOW: Recording = Recording { coercivity: WriteCoercivity::Hi, leading_zeros: None, density: None };

/// By hand: 25 41 3F 3B 31 3F 2B 32 3F 03, whose XOR is 4B.
const PACKAGE: &[u8] = b"\x02%A?;1?+2?\x03\x4B";
/// The BCC above with 57 in front: 4B ^ 57.
const COMMAND: &[u8] = b"\x02W%A?;1?+2?\x03\x1C";

fn tracks() -> Tracks {
    Tracks { t1: Some("A".into()), t2: Some("1".into()), t3: Some("2".into()) }
}

fn write(script: Script) -> Result<(), DeviceError> {
    let (link, check) = script.build();
    let outcome = Mse630::new(link).write(&tracks(), &HOW);
    check.finished();
    outcome
}

#[test]
fn a_package_is_that_of_wire_section_8_and_its_echo_confirms_it() {
    write(Script::new().expect(COMMAND).give(PACKAGE)).unwrap();
    for (absent, bytes) in [
        (Tracks { t1: Some("A".into()), t2: None, t3: None }, &b"\x02%A?\x03\x58"[..]),
        (Tracks { t1: None, t2: Some("1".into()), t3: None }, b"\x02;1?\x03\x36"),
        (Tracks { t1: None, t2: None, t3: Some("2".into()) }, b"\x02+2?\x03\x25"),
        (Tracks { t1: Some(String::new()), t2: None, t3: None }, b"\x02%?\x03\x19"),
    ] {
        assert_eq!(package(&absent).unwrap()[..], bytes[..]);
        let (body, bcc) = (&bytes[1..bytes.len() - 1], bytes[bytes.len() - 1] ^ 0x57);
        assert_eq!(command(bytes)[..], [b"\x02W", body, &[bcc]].concat());
    }
}

#[test]
fn tracks_that_cannot_be_written_are_not_sent() {
    let (link, check) = Script::new().build();
    let mut encoder = Mse630::new(link);
    for bad in [
        Tracks::default(),
        Tracks { t1: Some("a".into()), t2: None, t3: None },
        Tracks { t1: Some("A\x03".into()), t2: None, t3: None },
        Tracks { t1: None, t2: Some("1".repeat(38)), t3: None },
        Tracks { t1: None, t2: None, t3: Some("+".into()) },
        Tracks { t1: None, t2: Some("1<2".into()), t3: None },
    ] {
        assert!(encoder.write(&bad, &HOW).unwrap_err().is_data());
    }
    let zeros = Recording { leading_zeros: Some(LeadingZeros { t13: 61, t2: 22 }), ..HOW };
    let density = Recording { density: Some([Density::Bpi210; 3]), ..HOW };
    for how in [zeros, density] {
        assert!(matches!(encoder.write(&tracks(), &how), Err(DeviceError::Unsupported(_))));
    }
    check.finished();
}

#[test]
fn missing_abilities_are_refused_without_sending() {
    let (link, check) = Script::new().build();
    let mut encoder = Mse630::new(link);
    let outcomes = [
        encoder.read().err(),
        encoder.erase(&[TrackNumber::T1], &HOW).err(),
        encoder.write_raw(&RawTracks::default(), [7, 5, 5], &HOW).err(),
        encoder.read_raw([7, 5, 5]).err(),
        encoder.settings().err(),
    ];
    assert!(outcomes.iter().all(|o| matches!(o, Some(DeviceError::Unsupported(_)))), "{outcomes:?}");
    for lacks in [Capability::ReadBack, Capability::Erase, Capability::Raw, Capability::ReportsSettings] {
        assert!(!CAPABILITIES.contains(&lacks));
    }
    check.finished();
}

#[test]
fn nak_repeats_the_package_three_times_in_all() {
    let refused = |n: usize| (0..n).fold(Script::new(), |s, _| s.expect(COMMAND).give(&[NAK]).silence());
    write(refused(2).expect(COMMAND).give(PACKAGE)).unwrap();
    let failed = DeviceError::Status { status: NAK, meaning: Condition::Stripe };
    assert_eq!(write(refused(3)), Err(failed));
}

#[test]
fn the_next_card_is_written_after_one_that_was_refused() {
    let script = (0..3).fold(Script::new(), |s, _| s.expect(COMMAND).give(&[NAK]).silence());
    let (link, check) = script.expect(COMMAND).give(PACKAGE).build();
    let mut encoder = Mse630::new(link);
    assert!(encoder.write(&tracks(), &HOW).is_err());
    encoder.write(&tracks(), &HOW).unwrap();
    check.finished();
}

#[test]
fn after_a_timeout_nothing_is_sent_until_the_link_is_reopened() {
    let (link, check) = Script::new()
        .expect(COMMAND)
        .silence()
        // The echo is late: it must not pass for the echo of the next package, which is equal.
        .give(PACKAGE)
        .silence()
        .expect(&[0x7F, 0x1B])
        .give(&[0x06])
        .expect(COMMAND)
        .give(PACKAGE)
        .build();
    let mut encoder = Mse630::new(link);
    assert_eq!(encoder.write(&tracks(), &HOW), Err(DeviceError::Timeout(SWIPE_TIME)));
    assert!(matches!(encoder.write(&tracks(), &HOW), Err(DeviceError::Restart(_))));
    encoder.reopen(SWIPE_TIME).unwrap();
    encoder.write(&tracks(), &HOW).unwrap();
    check.finished();
}

#[test]
fn it_is_asked_for_a_sign_of_life_up_to_three_times() {
    let ask = |silent: usize| (0..silent).fold(Script::new(), |s, _| s.expect(&[0x1B]).silence());
    for silent in 0..3 {
        let (link, check) = ask(silent).expect(&[0x1B]).give(b"noise\x06").build();
        assert_eq!(Mse630::new(link).ready(), Ok("MSE-630T".to_owned()));
        check.finished();
    }
    let (link, check) = ask(3).build();
    assert_eq!(Mse630::new(link).ready(), Err(DeviceError::Timeout(3 * LIFE_TIME)));
    check.finished();
    let (link, _) = Script::new().expect(&[0x1B]).close().build();
    assert_eq!(Mse630::new(link).ready(), Err(DeviceError::Closed));
}

#[test]
fn a_machine_that_does_not_live_after_its_reset_is_not_written_to() {
    let dead = (0..3).fold(Script::new().expect(&[0x7F]), |s, _| s.expect(&[0x1B]).silence());
    let (link, check) = dead.build();
    let mut encoder = Mse630::new(link);
    assert_eq!(encoder.reopen(SWIPE_TIME), Err(DeviceError::Timeout(3 * LIFE_TIME)));
    assert!(matches!(encoder.write(&tracks(), &HOW), Err(DeviceError::Restart(_))));
    check.finished();
}

#[test]
fn late_signs_of_life_are_no_answer_to_a_package() {
    let late = |s: Script| s.expect(COMMAND).give(&[0x06, 0x06]);
    write(late(Script::new()).give(PACKAGE)).unwrap();
    write(late(Script::new()).give(&[NAK]).silence().expect(COMMAND).give(PACKAGE)).unwrap();
}

#[test]
fn noise_before_the_echo_and_pieces_of_any_size() {
    for piece in 1..=PACKAGE.len() {
        for noise in [&b""[..], b"\x00", b"\xFFnoise\x1B"] {
            write(Script::new().pieces_of(piece).expect(COMMAND).give(noise).give(PACKAGE)).unwrap();
        }
    }
}

#[test]
fn a_closed_link_is_reported_at_every_stage() {
    for script in [
        Script::new().close(),
        Script::new().expect(COMMAND).close(),
        Script::new().expect(COMMAND).give(&PACKAGE[..4]).close(),
        Script::new().expect(COMMAND).give(&[NAK]).close(),
    ] {
        assert_eq!(Mse630::new(script.build().0).write(&tracks(), &HOW), Err(DeviceError::Closed));
    }
}

/// Fails unless the command fails and the package went out once.
fn not_taken(echo: &[u8], what: &str) {
    let (link, check) = Script::new().pieces_of(64).expect(COMMAND).give(echo).build();
    assert!(Mse630::new(link).write(&tracks(), &HOW).is_err(), "{what}");
    check.no_more_sent();
}

#[test]
fn an_echo_changed_cut_or_short_of_a_byte_anywhere_is_never_taken() {
    for position in 0..PACKAGE.len() {
        for flip in 1..=255u8 {
            let mut bad = PACKAGE.to_vec();
            bad[position] ^= flip;
            not_taken(&bad, &format!("position {position}, flip {flip:02X}"));
        }
        let mut short = PACKAGE.to_vec();
        short.remove(position);
        not_taken(&short, &format!("without {position}"));
        not_taken(&PACKAGE[..position], &format!("cut at {position}"));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_hang_or_pass(bytes in noise(64, PACKAGE), piece in 1usize..64) {
        let (link, _) = Script::new().pieces_of(piece).expect(COMMAND).give(&bytes).build();
        let mut encoder = Mse630::new(link);
        let echoed = bytes.windows(PACKAGE.len()).any(|window| window == PACKAGE);
        prop_assert!(echoed || encoder.write(&tracks(), &HOW).is_err());
        let _ = encoder.reopen(SWIPE_TIME);
        let _ = encoder.write(&tracks(), &HOW);
    }

    #[test]
    fn any_text_that_fits_makes_a_package_whose_bytes_cancel_out(
        t1 in proptest::option::of("[ -$&-;=>@-_]{0,76}"),
        t2 in proptest::option::of("[0-:=>]{0,37}"),
        t3 in proptest::option::of("[0-:=>]{0,104}"),
    ) {
        let data = Tracks { t1, t2, t3 };
        if data.is_blank() {
            return Ok(());
        }
        let package = package(&data).unwrap();
        prop_assert!(package.len() <= PACKAGE_MAX && package[0] == STX);
        for bytes in [&package, &command(&package)] {
            prop_assert_eq!(bytes[1..].iter().fold(0, |sum, byte| sum ^ byte), 0);
        }
    }
}

#[test]
fn nothing_is_sent_to_a_machine_that_is_not_known() {
    for only in [
        OnlyMachine::At { station: "stripe-1".into(), node: Some("another".into()) },
        OnlyMachine::Numbered(ExpectedNumber {
            station: "stripe-1".into(),
            number: "7".into(),
            stations: std::sync::Arc::default(),
        }),
    ] {
        let (link, check) = Script::new().build();
        let mut encoder = Mse630::new(link);
        encoder.only(only);
        assert!(encoder.write(&tracks(), &HOW).is_err());
        check.finished();
    }
}
