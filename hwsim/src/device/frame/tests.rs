//! Tests of the machine's end of framed links: damage of every form is answered by one NAK and never acted
//! on.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::testing::{LinkClient, frame, link};

const SHORT: Duration = Duration::from_millis(10);

/// Answers with the data that it received, and remembers every command.
#[derive(Default)]
struct Echo<'a>(Option<&'a Mutex<Vec<Vec<u8>>>>);

impl FramedMachine for Echo<'_> {
    const COMMANDS: &'static [u8] = b"CLM";

    fn run(&mut self, command: u8, data: &[u8]) -> Option<MachineAnswer> {
        if let Some(done) = self.0 {
            done.lock().unwrap().push([&[command], data].concat());
        }
        Some(MachineAnswer { status: status::DONE, data: data.to_vec() })
    }
}

fn echo<T>(instant: bool, client: impl FnOnce(&mut LinkClient) -> T) -> T {
    link(|stream| serve(stream, &mut Echo::default(), instant, SHORT), client)
}

#[test]
fn bytes_of_the_page() {
    // 02 is stuffed as 10 42; BCC = 4C ^ 10 ^ 42 ^ 03.
    assert_eq!(frame(&[b'L', 0x02]), [0x02, 0x4C, 0x10, 0x42, 0x03, 0x1D]);
    let mut out = Vec::new();
    encode(b'L', &MachineAnswer { status: b'0', data: vec![0x15] }, &mut out);
    assert_eq!(out, [0x02, 0x4C, 0x30, 0x10, 0x55, 0x03, 0x4C ^ 0x30 ^ 0x10 ^ 0x55 ^ 0x03]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_data_there_and_back(data in prop::collection::vec(any::<u8>(), 0..=FRAME_DATA_MAX), instant: bool) {
        let (status, back) = echo(instant, |client| client.command(b'L', &data));
        prop_assert_eq!(status, b'0');
        prop_assert_eq!(back, data);
    }

    #[test]
    fn any_garbage_is_survived(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
        // Any bytes, then silence, then a good command within the three tries that a controller has.
        echo(true, |client| {
            client.send(&garbage);
            std::thread::sleep(SHORT * 3);
            let good = frame(b"Mdata");
            client.send(&good);
            let mut tries = 1;
            loop {
                match client.take(1)[0] {
                    ACK => break,
                    NAK | DLE if tries < 4 => {
                        client.send(&good);
                        tries += 1;
                    }
                    _ => {} // the garbage held a whole frame: its answer
                }
            }
        });
    }
}

/// Changes every byte of a frame into many others: the machine answers NAK and does nothing, and then acts on
/// the repeated frame.
#[test]
fn damage_at_every_byte_is_never_acted_on() {
    // In the second body, data bytes that turn into an ETX are followed by a byte that would be the right
    // BCC: 4C^41^03 = 0E.
    let bodies: [&[u8]; 3] = [b"LAB\x02C\x10D", &[b'L', b'A', b'z', 0x0E, b'q'], &[b'M', 0, 1, 0, 0, 0, 9]];
    for body in bodies {
        let good = frame(body);
        let done = Mutex::new(Vec::new());
        let mut rounds = 0;
        let mut machine = Echo(Some(&done));
        link(
            |stream| serve(stream, &mut machine, true, SHORT),
            |client| {
                for at in 0..good.len() {
                    for value in
                        [0x00, 0x02, 0x03, 0x06, 0x10, 0x15, 0x42, 0x4C, 0xFF, good[at] ^ 1, good[at] ^ 0x40]
                    {
                        if value == good[at] {
                            continue;
                        }
                        let mut bad = good.clone();
                        bad[at] = value;
                        client.send(&bad);
                        assert_eq!(client.take(1), [NAK], "{} at {at}", hex::encode(&bad));
                        let (status, _) = client.command(body[0], &body[1..]);
                        assert_eq!(status, b'0');
                        rounds += 1;
                    }
                }
                client.expect_silence();
            },
        );
        let done = done.into_inner().unwrap();
        assert_eq!(done.len(), rounds);
        assert!(done.iter().all(|d| d == body));
    }
}

#[test]
fn a_frame_cut_anywhere_gets_one_nak() {
    let good = frame(b"LA\x02B");
    echo(true, |client| {
        for length in 1..good.len() {
            client.send(&good[..length]);
            client.expect(&[NAK]);
        }
        client.expect_silence();
        assert_eq!(client.command(b'L', b"x").1, b"x");
    });
}

#[test]
fn one_burst_of_damage_gets_one_nak() {
    echo(true, |client| {
        let bad = [0x02, b'L', 0x03, 0x00].repeat(5);
        client.send(&bad);
        client.expect(&[NAK]);
        client.expect_silence();
    });
}

#[test]
fn bytes_may_come_one_by_one() {
    link(
        |stream| serve(stream, &mut Echo::default(), true, Duration::from_secs(2)),
        |client| {
            for byte in frame(b"LA\x03") {
                client.send(&[byte]);
                std::thread::sleep(Duration::from_millis(2));
            }
            client.expect(&[ACK]);
            assert_eq!(client.answer(), b"L0A\x03");
        },
    );
}

#[test]
fn unknown_commands_are_refused() {
    echo(true, |client| {
        for command in [b'X', b'l', b' '] {
            client.send(&frame(&[command]));
            client.expect(&[DLE]);
        }
        for body in [&b""[..], b"\x02", b"\x80x", b"\n"] {
            client.send(&frame(body));
            client.expect(&[NAK]);
        }
    });
}

/// Control bytes that are not stuffed, and escapes that escape nothing: damage, even with a right BCC.
#[test]
fn bytes_that_cannot_stand_in_a_frame() {
    echo(true, |client| {
        for inside in [&[STX][..], &[ACK], &[NAK], &[DLE, b'A'], &[DLE, STX], &[DLE, DLE]] {
            let mut wire = [b"LA", inside, b"B", &[ETX]].concat();
            wire.push(wire.iter().fold(0, |bcc, byte| bcc ^ byte));
            client.send(&[&[STX], &wire[..]].concat());
            client.expect(&[NAK]);
        }
        client.expect_silence();
    });
}

#[test]
fn too_much_data_is_damage() {
    echo(true, |client| {
        client.send(&frame(&[b'L'; FRAME_DATA_MAX + 2]));
        client.expect(&[NAK]);
        assert_eq!(client.command(b'L', &[b'A'; FRAME_DATA_MAX]).1.len(), FRAME_DATA_MAX);
    });
}

#[test]
fn an_answer_is_repeated_three_times_at_most() {
    echo(false, |client| {
        client.send(&frame(b"LA"));
        client.expect(&[ACK]);
        let answer = frame(b"L0A");
        client.expect(&answer);
        client.send(&[NAK]);
        client.expect(&answer);
        client.send(&[0x55]); // what may have been an ACK
        client.expect(&answer);
        client.send(&[NAK]);
        client.expect_silence();
        assert_eq!(client.command(b'L', b"next").1, b"next");
    });
}

#[test]
fn a_command_instead_of_an_ack_is_taken() {
    echo(true, |client| {
        client.send(&frame(b"L1"));
        client.expect(&[ACK]);
        client.expect(&frame(b"L01"));
        assert_eq!(client.command(b'L', b"2").1, b"2");
        // Acknowledgement and next command in one piece, and an acknowledgement too many.
        client.send(&frame(b"L3"));
        client.expect(&[ACK]);
        client.expect(&frame(b"L03"));
        client.send(&[&[ACK, ACK][..], &frame(b"L4")].concat());
        client.expect(&[ACK]);
        client.expect(&frame(b"L04"));
    });
}
