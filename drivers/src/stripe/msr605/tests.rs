//! The MSR605 against scripts: the bytes of the vendors' manuals, then wrong ones.

use proptest::prelude::*;

use super::*;
use crate::error::Condition;
use crate::testing::{Script, ScriptLink, noise};

type Device = Msr605<ScriptLink>;

/// Runs `act` on a machine that must receive `command` and answers with `reply`.
fn with<T>(command: &[u8], reply: &[u8], act: impl FnOnce(&mut Device) -> T) -> T {
    let (link, check) = Script::new().expect(command).give(reply).build();
    let outcome = act(&mut Msr605::new(link));
    check.finished();
    outcome
}

fn tracks(t1: Option<&str>, t2: Option<&str>, t3: Option<&str>) -> Tracks {
    Tracks { t1: t1.map(str::to_string), t2: t2.map(str::to_string), t3: t3.map(str::to_string) }
}

/// A read reply with this block and status.
fn reading(block: &[u8], status: u8) -> Vec<u8> {
    [b"\x1Bs", block, b"?\x1C\x1B", &[status]].concat()
}

#[test]
fn setting_commands_as_in_the_manuals() {
    let done = b"\x1B0";
    with(b"\x1Bx", done, |d| d.set_coercivity(WriteCoercivity::Hi)).unwrap();
    with(b"\x1By", done, |d| d.set_coercivity(WriteCoercivity::Lo)).unwrap();
    with(b"\x1Bz\x3D\x16", done, |d| d.set_leading_zeros(LeadingZeros { t13: 61, t2: 22 })).unwrap();
    with(b"\x1Bb\xA1", done, |d| d.select_bpi(TrackNumber::T1, Density::Bpi210)).unwrap();
    with(b"\x1Bb\xA0", done, |d| d.select_bpi(TrackNumber::T1, Density::Bpi75)).unwrap();
    with(b"\x1Bb\xD2", done, |d| d.select_bpi(TrackNumber::T2, Density::Bpi210)).unwrap();
    with(b"\x1Bb\x4B", done, |d| d.select_bpi(TrackNumber::T2, Density::Bpi75)).unwrap();
    with(b"\x1Bb\xC1", done, |d| d.select_bpi(TrackNumber::T3, Density::Bpi210)).unwrap();
    with(b"\x1Bb\xC0", done, |d| d.select_bpi(TrackNumber::T3, Density::Bpi75)).unwrap();
    with(b"\x1Bo\x07\x05\x05", b"\x1B0\x07\x05\x05", |d| d.set_bpc([7, 5, 5])).unwrap();
}

#[test]
fn asking_commands_as_in_the_manuals() {
    with(b"\x1Be", b"\x1By", |d| d.comm_test()).unwrap();
    with(b"\x1B\x87", b"\x1B0", |d| d.ram_test()).unwrap();
    assert_eq!(with(b"\x1Bd", b"\x1BH", |d| d.coercivity()), Ok(WriteCoercivity::Hi));
    assert_eq!(with(b"\x1Bd", b"\x1BL", |d| d.coercivity()), Ok(WriteCoercivity::Lo));
    assert_eq!(with(b"\x1Bl", b"\x1B\x3D\x16", |d| d.leading_zeros()), Ok(LeadingZeros { t13: 61, t2: 22 }));
    // 1B is a value here, not an escape.
    assert_eq!(with(b"\x1Bl", b"\x1B\x1B\x1B", |d| d.leading_zeros()), Ok(LeadingZeros { t13: 27, t2: 27 }));
    assert_eq!(with(b"\x1Bt", b"\x1B3S", |d| d.model()), Ok('3'));
    assert_eq!(with(b"\x1Bv", b"\x1BREVH1.31", |d| d.firmware()).unwrap(), "REVH1.31");
}

#[test]
fn lamps_as_in_the_manuals_without_a_reply() {
    for (led, code) in [
        (EncoderLed::Off, 0x81),
        (EncoderLed::All, 0x82),
        (EncoderLed::Green, 0x83),
        (EncoderLed::Yellow, 0x84),
        (EncoderLed::Red, 0x85),
    ] {
        with(&[0x1B, code], b"", |d| d.led(led)).unwrap();
    }
}

#[test]
fn reset_is_followed_by_the_communication_test() {
    with(b"\x1Ba\x1Be", b"\x1By", |d| d.reset()).unwrap();
    assert_eq!(with(b"\x1Ba\x1Be", b"", |d| d.reset()), Err(DeviceError::Timeout(REPLY_TIME)));
}

#[test]
fn erase_masks_as_in_the_manuals() {
    // 00: track 1 only.
    for (mask, code) in [(1, 0), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)] {
        with(&[0x1B, 0x63, code], b"\x1B0", |d| d.erase_tracks(mask)).unwrap();
    }
    for mask in [0, 8, 255] {
        assert!(matches!(with(b"", b"", |d| d.erase_tracks(mask)), Err(DeviceError::Unsupported(_))));
    }
}

#[test]
fn reads_the_sample_of_the_ezwriter_manual() {
    let reply = b"\x1Bs\x1B\x01%01?\x1B\x02;23?\x1B\x03;45??\x1C\x1B0";
    let read = with(b"\x1Br", reply, |d| d.read_text()).unwrap();
    assert!(read == tracks(Some("01"), Some("23"), Some("45")));
}

#[test]
fn writes_without_sentinels() {
    let data = tracks(Some("B4761739001010119^TEST/CARD^2212"), Some("4761739001010119=2212"), None);
    let command =
        b"\x1Bw\x1Bs\x1B\x01B4761739001010119^TEST/CARD^2212\x1B\x024761739001010119=2212\x1B\x03?\x1C";
    with(command, b"\x1B0", |d| d.write_text(&data)).unwrap();
}

#[test]
fn a_track_without_data_is_none() {
    let read = with(b"\x1Br", &reading(b"\x1B\x01\x1B\x02;1?\x1B\x03", b'0'), |d| d.read_text()).unwrap();
    assert!(read == tracks(None, Some("1"), None) && !read.is_blank());
    let read = with(b"\x1Br", &reading(b"\x1B\x01\x1B\x02\x1B\x03", b'0'), |d| d.read_text()).unwrap();
    assert!(read.is_blank());
    // Sentinels with nothing between them are data.
    let read = with(b"\x1Br", &reading(b"\x1B\x01%?\x1B\x02\x1B\x03", b'0'), |d| d.read_text()).unwrap();
    assert!(read == tracks(Some(""), None, None));
}

#[test]
fn every_status_byte_is_reported() {
    let table = [
        (0x31, Condition::Stripe),
        (0x32, Condition::CommandFormat),
        (0x34, Condition::CommandUnknown),
        (0x39, Condition::Swipe),
        (0x41, Condition::Failed),
        (0x33, Condition::Unknown),
        (0xFF, Condition::Unknown),
    ];
    for (status, meaning) in table {
        let error = DeviceError::Status { status, meaning };
        let reply = [0x1B, status];
        assert_eq!(with(b"\x1Bc\x07", &reply, |d| d.erase_tracks(7)), Err(error.clone()));
        assert_eq!(with(b"\x1Bx", &reply, |d| d.set_coercivity(WriteCoercivity::Hi)), Err(error.clone()));
        assert_eq!(with(b"\x1Br", &reply, |d| d.read_text().err()), Some(error.clone()));
        assert_eq!(with(b"\x1Bm", &reply, |d| d.read_bits().err()), Some(error.clone()));
        let block = reading(b"\x1B\x01%A?\x1B\x02\x1B\x03", status);
        assert_eq!(with(b"\x1Br", &block, |d| d.read_text().err()), Some(error.clone()));
        let empty = b"\x1Bw\x1Bs\x1B\x01\x1B\x02\x1B\x03?\x1C";
        assert_eq!(with(empty, &reply, |d| d.write_text(&Tracks::default())), Err(error));
        assert_ne!(meaning, Condition::Jam);
    }
    assert!(matches!(with(b"\x1Br", b"\x1B0", |d| d.read_text().err()), Some(DeviceError::Unexpected(_))));
}

#[test]
fn meaningless_replies_are_refused() {
    let bad = |outcome: Option<DeviceError>| matches!(outcome, Some(DeviceError::Unexpected(_)));
    assert!(bad(with(b"\x1Be", b"\x1Bx", |d| d.comm_test().err())));
    assert!(bad(with(b"\x1Bd", b"\x1BX", |d| d.coercivity().err())));
    assert!(bad(with(b"\x1Bt", b"\x1B3s", |d| d.model().err())));
    assert!(bad(with(b"\x1Bt", b"\x1B\x00S", |d| d.model().err())));
    assert!(bad(with(b"\x1Bv", b"\x1BREV\x07", |d| d.firmware().err())));
    assert!(bad(with(b"\x1Bo\x07\x05\x05", b"\x1B0\x07\x05\x06", |d| d.set_bpc([7, 5, 5]).err())));
    for block in [
        &b""[..],
        b"\x1B\x01",
        b"\x1B\x01\x1B\x02",
        b"\x1B\x02\x1B\x01\x1B\x03",
        b"\x1B\x01\x1B\x02\x1B\x03\x1B\x04",
        b"x\x1B\x01\x1B\x02\x1B\x03",
        b"\x1B\x01%A\x1B\x02\x1B\x03",
        b"\x1B\x01A?\x1B\x02\x1B\x03",
        b"\x1B\x01%\x1B\x02\x1B\x03",
        b"\x1B\x01?\x1B\x02\x1B\x03",
        b"\x1B\x01%A?B?\x1B\x02\x1B\x03",
        b"\x1B\x01%a?\x1B\x02\x1B\x03",
        b"\x1B\x01%\xC4?\x1B\x02\x1B\x03",
        b"\x1B\x01\x1B\x02%1?\x1B\x03",
        b"\x1B\x01\x1B\x02;A?\x1B\x03",
        b"\x1B\x01\x1B\x02\x1B\x03;1/?",
    ] {
        assert!(bad(with(b"\x1Br", &reading(block, b'0'), |d| d.read_text().err())), "{block:02X?}");
    }
    // One '?' too few, one character too many.
    assert!(bad(with(b"\x1Br", b"\x1Bs\x1B\x01\x1B\x02\x1B\x03\x1C\x1B0", |d| d.read_text().err())));
    let long = [b"\x1B\x01\x1B\x02;", "1".repeat(38).as_bytes(), b"?\x1B\x03"].concat();
    assert!(bad(with(b"\x1Br", &reading(&long, b'0'), |d| d.read_text().err())));
}

#[test]
fn stripe_data_without_end_is_cut_off() {
    let (link, _) = Script::new().pieces_of(100).expect(b"\x1Br").give(b"\x1Bs").give(&[b'A'; 5000]).build();
    assert!(matches!(Msr605::new(link).read_text().err(), Some(DeviceError::Unexpected(_))));
}

#[test]
fn text_that_a_track_cannot_hold_is_not_sent() {
    let t1 = |text: &str| tracks(Some(text), None, None);
    let t2 = |text: &str| tracks(None, Some(text), None);
    let t3 = |text: &str| tracks(None, None, Some(text));
    let bad = [
        t1(&"A".repeat(77)),
        t1("a"),
        t1("%A"),
        t1("A?"),
        t1("\x1F"),
        t1("`"),
        t1("Ä"),
        t1("A\x1B\x02"),
        t2(&"1".repeat(38)),
        t2("A"),
        t2(";1"),
        t2("1?"),
        t2("/"),
        t2("@"),
        t2(" "),
        t3(&"1".repeat(105)),
        t3(";"),
        t3("1 2"),
    ];
    for data in &bad {
        assert!(with(b"", b"", |d| d.write_text(data)).unwrap_err().is_data());
    }
    let good = tracks(Some(&"Z_ ^".repeat(19)), Some(&"9".repeat(37)), Some(&"0=<>:123".repeat(13)));
    let (link, _) = Script::new().build();
    assert_eq!(
        Msr605::new(link).write_text(&good),
        Err(DeviceError::Timeout(SWIPE_TIME)),
        "sent, not refused"
    );
}

#[test]
fn raw_blocks_go_by_length() {
    let data = RawTracks { t1: vec![0x1B, 0x1C, 0x3F], t2: Vec::new(), t3: vec![0x1B, 0x02] };
    let block = b"\x1Bs\x1B\x01\x03\x1B\x1C\x3F\x1B\x02\x00\x1B\x03\x02\x1B\x02?\x1C";
    with(&[b"\x1Bn", &block[..]].concat(), b"\x1B0", |d| d.write_bits(&data)).unwrap();
    let read = with(b"\x1Bm", &[block, &b"\x1B0"[..]].concat(), |d| d.read_bits()).unwrap();
    assert!(read == data);
    let long = RawTracks { t1: vec![0; 256], t2: Vec::new(), t3: Vec::new() };
    assert!(with(b"", b"", |d| d.write_bits(&long)).unwrap_err().is_data());
    for bad in [
        &b"\x1Bs\x1B\x02\x00\x1B\x01\x00\x1B\x03\x00?\x1C\x1B0"[..],
        b"\x1Bs\x1B\x01\x00\x1B\x02\x00\x1B\x03\x00!\x1C\x1B0",
    ] {
        let (link, _) = Script::new().expect(b"\x1Bm").give(bad).build();
        assert!(matches!(Msr605::new(link).read_bits().err(), Some(DeviceError::Unexpected(_))));
    }
}

#[test]
fn bits_per_character_outside_5_to_8_are_not_sent() {
    for bits in [[4, 5, 5], [5, 9, 5], [5, 5, 0]] {
        assert!(matches!(with(b"", b"", |d| d.set_bpc(bits)), Err(DeviceError::Unsupported(_))));
    }
}

#[test]
fn noise_before_a_reply_and_pieces_of_any_size() {
    for piece in 1..20 {
        let script = Script::new().pieces_of(piece).expect(b"\x1Br").give(b"\x00\xFF");
        let (link, check) = script.give(b"\x1Bs\x1B\x01%01?\x1B\x02\x1B\x03?\x1C\x1B0").build();
        assert!(Msr605::new(link).read_text().unwrap() == tracks(Some("01"), None, None));
        check.finished();
    }
}

#[test]
fn a_late_reply_is_never_taken_for_the_next() {
    // The reply of the swipe is late: it comes before the next command, after it, or in halves before and after.
    let late = b"\x1Bs\x1B\x01%LATE?\x1B\x02\x1B\x03?\x1C\x1B0";
    for (before, after) in [(&late[..], &b""[..]), (b"", late), (&late[..9], &late[9..])] {
        let (link, check) = Script::new()
            .expect(b"\x1Br")
            .silence()
            .give(before)
            .silence()
            .expect(b"\x1Ba\x1Be")
            .give(after)
            .give(b"\x1By")
            .expect(b"\x1Br")
            .give(b"\x1Bs\x1B\x01%NEXT?\x1B\x02\x1B\x03?\x1C\x1B0")
            .build();
        let mut device = Msr605::new(link);
        assert_eq!(device.read_text().err(), Some(DeviceError::Timeout(SWIPE_TIME)));
        assert!(device.read_text().unwrap() == tracks(Some("NEXT"), None, None));
        check.finished();
    }
}

#[test]
fn settings_are_sent_again_after_our_reset() {
    let (link, check) = Script::new()
        .expect(b"\x1Bx")
        .give(b"\x1B0")
        .expect(b"\x1Bo\x08\x08\x08")
        .give(b"\x1B0\x08\x08\x08")
        .expect(b"\x1By")
        .give(b"\x1B0")
        .expect(b"\x1Bt")
        .silence()
        .expect(b"\x1Ba\x1Be")
        .give(b"\x1By")
        .expect(b"\x1Bo\x08\x08\x08")
        .give(b"\x1B0\x08\x08\x08")
        .expect(b"\x1By")
        .give(b"\x1B0")
        .expect(b"\x1Bt")
        .give(b"\x1B2S")
        .build();
    let mut device = Msr605::new(link);
    device.set_coercivity(WriteCoercivity::Hi).unwrap();
    device.set_bpc([8, 8, 8]).unwrap();
    device.set_coercivity(WriteCoercivity::Lo).unwrap();
    assert_eq!(device.model(), Err(DeviceError::Timeout(REPLY_TIME)));
    assert_eq!(device.model(), Ok('2'));
    check.finished();
}

#[test]
fn a_refusal_needs_no_reset() {
    let (link, check) =
        Script::new().expect(b"\x1Bc\x02").give(b"\x1B9").expect(b"\x1Be").give(b"\x1By").build();
    let mut device = Msr605::new(link);
    assert!(device.erase_tracks(2).is_err());
    device.comm_test().unwrap();
    check.finished();
}

#[test]
fn a_closed_link_is_reported() {
    let (link, _) = Script::new().expect(b"\x1Br").give(b"\x1Bs\x1B").close().build();
    assert_eq!(Msr605::new(link).read_text().err(), Some(DeviceError::Closed));
}

#[test]
fn a_byte_changed_anywhere_never_passes_for_another_structure() {
    // Without check bytes a changed character is not noticed here, but tracks must not move, grow or vanish.
    let good = reading(b"\x1B\x01%AB?\x1B\x02;12?\x1B\x03;3?", b'0');
    for position in 0..good.len() {
        for flip in 1..=255u8 {
            let mut bad = good.clone();
            bad[position] ^= flip;
            let (link, _) = Script::new().pieces_of(64).expect(b"\x1Br").give(&bad).build();
            if let Ok(read) = Msr605::new(link).read_text() {
                let lengths = [&read.t1, &read.t2, &read.t3].map(|t| t.as_ref().map(String::len));
                assert_eq!(lengths, [Some(2), Some(2), Some(1)], "position {position}, flip {flip:02X}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_that_fits_is_read_back(
        t1 in proptest::option::of("[ -$&->@-_]{0,76}"),
        t2 in proptest::option::of("[0-:<=>]{0,37}"),
        t3 in proptest::option::of("[0-:<=>]{0,104}"),
    ) {
        let data = Tracks { t1, t2, t3 };
        let block = |start1: &str, start23: &str, end: &str| {
            let part = |n: char, text: &Option<String>, start: &str| match text {
                Some(text) => format!("\x1B{n}{start}{text}{end}"),
                None => format!("\x1B{n}"),
            };
            [part('\x01', &data.t1, start1), part('\x02', &data.t2, start23), part('\x03', &data.t3, start23)].concat()
        };
        // Written without sentinels, read with them.
        let sent = block::text(b'w', &data).unwrap();
        let wanted = format!("w\x1Bs{}?\x1C", block("", "", ""));
        prop_assert_eq!(&sent[..], wanted.as_bytes());
        let reply = reading(block("%", ";", "?").as_bytes(), b'0');
        let (link, check) = Script::new().pieces_of(31).expect(b"\x1Br").give(&reply).build();
        prop_assert!(Msr605::new(link).read_text().unwrap() == data);
        check.finished();
    }

    #[test]
    fn random_bytes_never_panic_or_hang(
        bytes in noise(300, b"\x1B\x1Cs?\x00\x01\x02\x030;%"),
        raw in any::<bool>(),
        piece in 1usize..64,
    ) {
        let command = if raw { b"\x1Bm" } else { b"\x1Br" };
        let (link, _) = Script::new().pieces_of(piece).expect(command).give(&bytes).build();
        let mut device = Msr605::new(link);
        if raw {
            let _ = device.read_bits();
        } else {
            let _ = device.read_text();
        }
        let _ = device.comm_test();
    }
}
