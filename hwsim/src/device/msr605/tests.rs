//! Tests of the encoder: the command table byte by byte, and the effects of garbage.

use proptest::prelude::*;

use super::*;
use crate::pace::LinkPace;
use crate::testing::{LinkClient, feed, link, look, world};

const WRITE: &[u8] =
    b"\x1bw\x1bs\x1b\x01B4761739001010119^TEST/CARD^2212\x1b\x024761739001010119=2212\x1b\x03\
                       0123\x3f\x1c";
const WRITTEN: &[u8] =
    b"\x1bs\x1b\x01%B4761739001010119^TEST/CARD^2212?\x1b\x02;4761739001010119=2212?\x1b\x03\
                         ;0123?\x3f\x1c\x1b0";
const EMPTY: &[u8] = b"\x1bs\x1b\x01\x1b\x02\x1b\x03\x3f\x1c\x1b0";

fn encoding<T>(
    faults: &str,
    client: impl FnOnce(&SimulatedLine, &SimulatedStation, &mut LinkClient) -> T,
) -> T {
    let world = world(faults);
    let station = feed(&world, "stripe-1");
    link(|stream| serve(stream, &world, station), |c| client(&world, station, c))
}

/// The manuals' table of commands and replies.
#[test]
fn the_command_table() {
    let table: &[(&[u8], &[u8])] = &[
        (b"\x1ba", b""),
        (b"\x1be", b"\x1by"),
        (b"\x1b\x81\x1b\x82\x1b\x83\x1b\x84\x1b\x85", b""),
        (b"\x1b\x86", b"\x1b0"),
        (b"\x1b\x87", b"\x1b0"),
        (b"\x1bl", &[0x1B, 61, 22]),
        (b"\x1bz\x05\x1b", b"\x1b0"),
        (b"\x1bl", b"\x1b\x05\x1b"),
        (b"\x1bb\xd2", b"\x1b0"),
        (b"\x1bb\x4b", b"\x1b0"),
        (b"\x1bb\xa1", b"\x1b0"),
        (b"\x1bb\x00", b"\x1bA"),
        (b"\x1bt", b"\x1b3S"),
        (b"\x1bv", b"\x1bREVS1.00"),
        (b"\x1bo\x07\x05\x05", b"\x1b0\x07\x05\x05"),
        (b"\x1bo\x07\x05\x09", b"\x1bA"),
        (b"\x1bd", b"\x1bH"),
        (b"\x1by", b"\x1b0"),
        (b"\x1bd", b"\x1bL"),
        (b"\x1bx", b"\x1b0"),
        (b"\x1bd", b"\x1bH"),
        (b"\x1bQ", b"\x1b4"),
        (b"\x1br", EMPTY),
        (b"\x1bm", b"\x1bs\x1b\x01\x00\x1b\x02\x00\x1b\x03\x00\x3f\x1c\x1b0"),
        (WRITE, b"\x1b0"),
        (b"\x1br", WRITTEN),
        (b"\x1bc\x08", b"\x1bA"),
        (b"\x1bc\x00", b"\x1b0"),
        (b"\x1br", b"\x1bs\x1b\x01\x1b\x02;4761739001010119=2212?\x1b\x03;0123?\x3f\x1c\x1b0"),
        (b"\x1bc\x02", b"\x1b0"),
        (b"\x1br", b"\x1bs\x1b\x01\x1b\x02\x1b\x03;0123?\x3f\x1c\x1b0"),
        (b"\x1bc\x07", b"\x1b0"),
        (b"\x1br", EMPTY),
    ];
    encoding("", |_, _, client| {
        for (command, reply) in table {
            client.send(command);
            client.expect(reply);
        }
        client.expect_silence();
    });
}

#[test]
fn reset_brings_back_the_settings() {
    encoding("", |_, _, client| {
        client.send(b"\x1by\x1bz\x01\x02\x1ba\x1bd\x1bl");
        client.expect(&[0x1B, 0x30, 0x1B, 0x30, 0x1B, b'H', 0x1B, 61, 22]);
    });
}

#[test]
fn the_card_keeps_the_written_data() {
    encoding("", |_, station, client| {
        client.send(WRITE);
        client.expect(b"\x1b0");
        look(station, |blank| {
            let [one, two, three] = &blank.stripe.tracks;
            assert_eq!(one.witness().unwrap(), "%B4761739001010119^TEST/CARD^2212?");
            assert_eq!(two.witness().unwrap(), ";4761739001010119=2212?");
            assert_eq!(three.witness().unwrap(), ";0123?");
            assert_eq!(blank.jobs, 1);
        });
        // A track that is empty in a write stays as it is.
        client.send(b"\x1bw\x1bs\x1b\x01\x1b\x0299\x1b\x03\x3f\x1c\x1br");
        client.expect(
            b"\x1b0\x1bs\x1b\x01%B4761739001010119^TEST/CARD^2212?\x1b\x02;99?\x1b\x03;0123?\x3f\x1c\x1b0",
        );
    });
}

#[test]
fn a_loco_head_does_not_write_a_hico_stripe() {
    encoding("", |_, _, client| {
        client.send(b"\x1by");
        client.send(WRITE);
        client.send(b"\x1br");
        client.expect(b"\x1b0\x1b0");
        client.expect(EMPTY);
    });
}

#[test]
fn bad_blocks_write_nothing() {
    let long = [b"\x1bw\x1bs\x1b\x01\x1b\x02", &[b'1'; 38][..], b"\x1b\x03\x3f\x1c"].concat();
    let blocks: &[&[u8]] = &[
        b"\x1bw\x1bs\x1b\x01\x1b\x02;1?\x1b\x03\x3f\x1c", // with sentinels
        b"\x1bw\x1bs\x1b\x01abc\x1b\x02\x1b\x03\x3f\x1c", // lower case
        b"\x1bw\x1bs\x1b\x01\x1b\x02A\x1b\x03\x3f\x1c",   // a letter on track 2
        b"\x1bw\x1bs\x1b\x01A\x1b\x03\x3f\x1c\x1b",       // track 2 missing: the block ends at the wrong mark
        b"\x1bw\x1bs\x1b\x01A\x1c",                       // cut short
        b"\x1bw\x1bs\x1b\x01A\x1b\x021\x1b\x031\x1c",     // no ? before FS
        b"\x1bw\x1bx",
        b"\x1bw1",
        b"\x1bn\x1bs\x1b\x01\x01A\x1b\x02\x00\x1b\x03\x00!",
        &long,
    ];
    for block in blocks {
        encoding("", |_, station, client| {
            client.send(block);
            client.expect(b"\x1b2");
            client.send(b"\x1ba\x1bt"); // resets and goes on after any bytes
            let mut got = client.take(3);
            while !got.ends_with(b"\x1b3S") {
                got.extend(client.take(1));
            }
            look(station, |blank| assert_eq!(blank.jobs, 0, "{block:?}"));
        });
    }
}

#[test]
fn an_endless_track_is_malformed_and_bounded() {
    encoding("", |_, _, client| {
        client.send(b"\x1bw\x1bs\x1b\x01");
        client.send(&[b'A'; 5000]);
        client.expect(b"\x1b2");
        client.send(b"\x1be");
        client.expect(b"\x1by");
    });
}

#[test]
fn reset_inside_a_block() {
    encoding("", |_, _, client| {
        client.send(b"\x1bw\x1bs\x1b\x01ABC\x1ba\x1be");
        client.expect(b"\x1by");
    });
}

#[test]
fn raw_write_and_read() {
    encoding("", |_, station, client| {
        client.send(b"\x1bn\x1bs\x1b\x01\x00\x1b\x02\x03\x1b\xff\x1c\x1b\x03\x01\x5a\x3f\x1c");
        client.expect(b"\x1b0");
        client.send(b"\x1bm");
        client.expect(b"\x1bs\x1b\x01\x00\x1b\x02\x03\x1b\xff\x1c\x1b\x03\x01\x5a\x3f\x1c\x1b0");
        client.send(b"\x1br");
        client.expect(b"\x1bs\x1b\x01\x1b\x02\x1b\x03\x3f\x1c\x1b1");
        look(station, |blank| assert_eq!(blank.stripe.tracks[1].witness().unwrap(), "raw:1BFF1C"));
        // Text read raw: ";1?" and LRC 5 as 5-bit characters, worked out by hand.
        client.send(b"\x1bw\x1bs\x1b\x01\x1b\x021\x1b\x031\x3f\x1c\x1bm");
        client.expect(b"\x1b0\x1bs\x1b\x01\x00\x1b\x02\x03");
        // ; = 1011 -> 1101 0; 1 = 0001 -> 1000 0; ? = 1111 -> 1111 1; LRC = 1011^0001^1111 = 0101 -> 1010 1
        client.expect(&[0b1101_0100, 0b0011_1111, 0b0101_0000]);
    });
}

#[test]
fn without_a_card() {
    encoding("", |world, station, client| {
        world.reject(station, &mut LinkPace::new(0.0)).unwrap();
        client.send(b"\x1br");
        client.expect(b"\x1bs\x1b\x01\x1b\x02\x1b\x03\x3f\x1c\x1b9");
        client.send(WRITE);
        client.expect(b"\x1b9");
        client.send(b"\x1bc\x07\x1be");
        client.expect(b"\x1bA\x1by");
    });
}

#[test]
fn a_sensor_test_waits_for_a_card_or_a_reset_and_for_nothing_else() {
    encoding("", |world, station, client| {
        let mut pace = LinkPace::new(0.0);
        world.reject(station, &mut pace).unwrap();
        client.send(b"\x1b\x86\x1be\x1bd");
        client.expect_silence();
        world.feed(station, &mut pace).unwrap();
        client.expect(b"\x1b0");
        client.send(b"\x1be");
        client.expect(b"\x1by");
        world.reject(station, &mut pace).unwrap();
        client.send(b"\x1b\x86");
        client.send(b"\x1ba\x1be");
        client.expect(b"\x1by");
        world.feed(station, &mut pace).unwrap();
        client.expect_silence();
    });
}

#[test]
fn a_jam_lasts_until_the_bin() {
    encoding("[[fault]]\nkind = \"jam-stripe\"\nevery = 1", |_, station, client| {
        client.send(WRITE);
        client.expect(b"\x1b1");
        client.send(b"\x1br\x1bc\x07");
        client.expect(b"\x1bs\x1b\x01\x1b\x02\x1b\x03\x3f\x1c\x1b1\x1bA");
        look(station, |blank| assert_eq!(blank.jobs, 0));
    });
}

#[test]
fn a_misread_changes_one_character_and_not_the_card() {
    encoding("[[fault]]\nkind = \"stripe-misread\"\nevery = 1", |_, station, client| {
        client.send(b"\x1br"); // the blank check sees nothing to misread
        client.expect(EMPTY);
        client.send(WRITE);
        client.send(b"\x1br");
        client.expect(b"\x1b0");
        let got = client.take(WRITTEN.len());
        assert_eq!(got.iter().zip(WRITTEN).filter(|(a, b)| a != b).count(), 1);
        look(station, |blank| {
            assert_eq!(blank.stripe.tracks[1].witness().unwrap(), ";4761739001010119=2212?");
            assert!(!blank.strike(FaultKind::StripeMisread), "noted already");
        });
    });
}

#[test]
fn a_dirty_blank_has_data_on_track_2() {
    encoding("[[fault]]\nkind = \"stripe-dirty\"\nevery = 1", |_, station, client| {
        client.send(b"\x1br");
        client.expect(b"\x1bs\x1b\x01\x1b\x02;9999999999999999=4912?\x1b\x03\x3f\x1c\x1b0");
        look(station, |blank| assert!(!blank.strike(FaultKind::StripeDirty), "noted already"));
    });
    // The data were overwritten before they were read, so the fault took no effect.
    encoding("[[fault]]\nkind = \"stripe-dirty\"\nevery = 1", |_, station, client| {
        client.send(WRITE);
        client.send(b"\x1br");
        client.expect(b"\x1b0");
        client.expect(WRITTEN);
        look(station, |blank| assert!(blank.strike(FaultKind::StripeDirty), "not noted"));
    });
}

proptest! {
    /// After enough bytes to end any block, a reset makes the encoder answer again, whatever garbage came
    /// before.
    #[test]
    fn garbage_is_survived(garbage in prop::collection::vec(prop_oneof![Just(0x1b), Just(0x1c), any::<u8>()], 0..300)) {
        let mut parser = CommandParser::default();
        for byte in garbage.iter().chain(&[b'A'; 3 * 255 + 4]) {
            parser.push(*byte);
        }
        let last: Vec<_> = b"\x1ba\x1be".iter().filter_map(|b| parser.push(*b)).collect();
        prop_assert_eq!(last.last(), Some(&EncoderCommand::CommTest));
    }

    /// A write block gives no command before it is whole, and then always the same command, however it was
    /// cut.
    #[test]
    fn a_write_in_pieces(cut in 0..WRITE.len()) {
        let mut parser = CommandParser::default();
        let (head, tail) = WRITE.split_at(cut);
        prop_assert!(head.iter().all(|b| parser.push(*b).is_none()));
        let got: Vec<_> = tail.iter().filter_map(|b| parser.push(*b)).collect();
        let tracks: BlockTracks = [b"B4761739001010119^TEST/CARD^2212".into(), b"4761739001010119=2212".into(), b"0123".into()];
        prop_assert_eq!(got, [EncoderCommand::WriteIso(tracks)]);
    }
}

#[test]
fn silent_late_and_closed_links() {
    encoding("[[fault]]\nkind = \"silent-stripe\"\nms = 300\nevery = 1", |world, station, client| {
        client.send(b"\x1be");
        client.expect(b"\x1by");
        client.send(WRITE);
        client.send(b"\x1be");
        client.expect_silence();
        // After a while the encoder answers again, and the card was not written.
        std::thread::sleep(Duration::from_millis(300));
        link(
            |stream| serve(stream, world, station),
            |again| {
                again.send(b"\x1br");
                again.expect(EMPTY);
            },
        );
    });
    encoding("[[fault]]\nkind = \"late-stripe\"\nms = 250\nevery = 1", |_, _, client| {
        client.send(WRITE);
        client.expect_silence();
        client.expect(b"\x1b0");
        client.send(b"\x1br");
        client.expect(WRITTEN);
    });
    encoding("[[fault]]\nkind = \"close-stripe\"\nevery = 1", |_, station, client| {
        client.send(WRITE);
        assert_eq!(io::Read::read(&mut client.0, &mut [0]).unwrap(), 0);
        look(station, |blank| assert_eq!(blank.jobs, 0));
    });
}
