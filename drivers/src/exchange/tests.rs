//! A reader's exchanges; the test plays the other end by hand from wire section 1.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::sim::SimLink;

const SOON: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(10);
const COLD: Reset = Reset::Cold;
const ANY: Protocols = Protocols::ANY;

fn within(each: Duration) -> SessionLimits {
    SessionLimits { each, all: LONG }
}

fn steps<'a>(commands: &[&'a [u8]]) -> Vec<CommandStep<'a>> {
    commands.iter().map(|command| CommandStep { command, go_on: &[] }).collect()
}

/// A reader whose other end the test plays.
fn pair() -> (ReaderExchange<SimLink>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ReaderExchange::over(SimLink::bare(ours)), theirs)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

#[test]
fn every_exchange_of_a_reader() {
    let (mut card, mut end) = pair();
    for bytes in [message(0x81, &[0x3B, 0x60]), message(0x82, &[0x90, 0x00]), message(0x83, &[])] {
        end.write_all(&bytes).unwrap();
    }
    assert_eq!(card.power_on(COLD, ANY, LONG).unwrap(), [0x3B, 0x60]);
    assert_eq!(card.transmit(&[0x00, 0xA4, 0x04, 0x00], LONG).unwrap(), [0x90, 0x00]);
    card.power_off(LONG).unwrap();
    let mut sent = [0; 7 + 9 + 5];
    end.read_exact(&mut sent).unwrap();
    assert_eq!(sent, *b"\x01\0\0\0\x02\x00\x03\x02\0\0\0\x04\x00\xA4\x04\x00\x03\0\0\0\0");
}

#[test]
fn every_failure_of_a_reader() {
    for (answer, expected) in [
        (message(0xFF, &[1]), CardError::Absent),
        (message(0xFF, &[2]), CardError::Mute),
        (message(0xFF, &[3]), CardError::Removed),
        (message(0xFF, &[4]), CardError::Protocol),
        (message(0xFF, &[5]), CardError::Held),
        (message(0xFF, b"\x06no reader A\x1b"), CardError::NoReader("no reader A\\u001b".into())),
        (message(0xFF, b"\x07gone"), CardError::Reader(LinkError::Io("gone".into()))),
        (message(0xFF, &[8]), CardError::Malformed),
        (message(0xFF, &[]), CardError::Malformed),
        (message(0xFF, &[1, 1]), CardError::Malformed),
        (message(0x82, &[]), CardError::Malformed),
        (message(0x01, &[]), CardError::Malformed),
        (vec![0x81, 0x00, 0x01, 0x00, 0x09], CardError::Malformed),
        (vec![0x81, 0xFF, 0xFF, 0xFF, 0xFF], CardError::Malformed),
    ] {
        let (mut card, mut end) = pair();
        end.write_all(&answer).unwrap();
        assert_eq!(card.power_on(COLD, ANY, LONG), Err(expected), "{answer:02X?}");
    }
}

#[test]
fn a_late_answer_is_never_taken_for_the_next() {
    let (mut card, mut end) = pair();
    assert_eq!(card.transmit(b"1", SOON), Err(CardError::Reader(LinkError::Timeout(SOON))));
    assert_eq!(card.transmit(b"2", SOON), Err(CardError::Reader(LinkError::Timeout(SOON))));
    // The first late answer comes whole, the second in halves; the third answer is in time.
    let second = message(0x82, b"two");
    end.write_all(&[&message(0x82, b"one")[..], &second[..4]].concat()).unwrap();
    assert_eq!(card.power_off(SOON), Err(CardError::Reader(LinkError::Timeout(SOON))));
    end.write_all(&[&second[4..], &message(0x83, b"")].concat()).unwrap();
    end.write_all(&message(0x82, b"four")).unwrap();
    assert_eq!(card.transmit(b"4", LONG).unwrap(), b"four");
}

#[test]
fn after_nonsense_the_reader_is_lost_until_connected_anew() {
    let (mut card, mut end) = pair();
    end.write_all(b"\x81\xFF\xFF\xFF\xFF").unwrap();
    assert_eq!(card.power_on(COLD, ANY, LONG), Err(CardError::Malformed));
    end.write_all(&message(0x81, b"x")).unwrap();
    assert_eq!(card.power_on(COLD, ANY, LONG), Err(CardError::Reader(LinkError::Closed)));
}

#[test]
fn the_longest_body_passes_and_a_longer_one_is_not_sent() {
    let (mut card, mut end) = pair();
    let helper = thread::spawn(move || {
        let mut request = vec![0; 5 + READER_BODY_MAX];
        end.read_exact(&mut request).unwrap();
        end.write_all(&message(0x82, &request[5..])).unwrap();
        end
    });
    let body = vec![7; READER_BODY_MAX];
    assert!(card.transmit(&body, LONG).unwrap() == body);
    let _end = helper.join().unwrap();
    assert!(matches!(
        card.transmit(&[0; READER_BODY_MAX + 1], LONG),
        Err(CardError::Reader(LinkError::Io(_)))
    ));
}

/// Sends commands of one byte each; the other end sends `answers`.
fn all(
    commands: &[&[u8]],
    answers: &[Vec<u8>],
) -> (ReaderExchange<SimLink>, UnixStream, Vec<Vec<u8>>, Result<(), CardError>) {
    let (mut card, mut end) = pair();
    end.write_all(&answers.concat()).unwrap();
    let mut responses = Vec::new();
    let outcome = card.transmit_all(&steps(commands), within(SOON), &mut responses);
    (card, end, responses, outcome)
}

#[test]
fn several_commands_are_one_request_with_an_answer_each() {
    let done = message(0x82, b"a\x90\x00");
    let (_, mut end, responses, outcome) =
        all(&[b"1", b"22", b"3"], &[done.clone(), done.clone(), done.clone()]);
    assert_eq!((responses, outcome), (vec![b"a\x90\x00".to_vec(); 3], Ok(())));
    let mut sent = [0; 5 + 13];
    end.read_exact(&mut sent).unwrap();
    assert_eq!(sent, *b"\x04\0\0\0\x0D\0\0\x011\0\0\x0222\0\0\x013");
    // A single command goes out as a single transmit; an empty list sends nothing.
    let (_, mut end, _, outcome) = all(&[b"1"], std::slice::from_ref(&done));
    assert_eq!(outcome, Ok(()));
    end.read_exact(&mut sent[..6]).unwrap();
    assert_eq!(sent[..6], *b"\x02\0\0\0\x011");
    assert_eq!(all(&[], &[]).3, Ok(()));
}

#[test]
fn several_commands_stop_at_the_first_that_is_not_done_or_fails() {
    let done = message(0x82, b"\x90\x00");
    for (stop, expected) in [
        (message(0x82, b"\x6A\x84"), Ok(())),
        (message(0x82, b"\x61\x1C"), Ok(())),
        (message(0x82, b"\x90"), Ok(())),
        (message(0x82, b""), Ok(())),
        (message(0xFF, &[3]), Err(CardError::Removed)),
        (message(0xFF, &[9]), Err(CardError::Malformed)),
    ] {
        let (mut card, mut end, responses, outcome) = all(&[b"1", b"2", b"3"], &[done.clone(), stop.clone()]);
        assert_eq!(outcome, expected, "{stop:02X?}");
        assert_eq!(responses.len(), if outcome.is_ok() { 2 } else { 1 });
        // Request and answers are in step again.
        end.write_all(&message(0x83, &[])).unwrap();
        card.power_off(LONG).unwrap();
    }
}

#[test]
fn several_commands_without_all_answers_lose_the_reader() {
    let done = message(0x82, b"\x90\x00");
    let late = Err(CardError::Reader(LinkError::Timeout(SOON)));
    for (answers, expected) in [
        (vec![], late.clone()),
        (vec![done.clone()], late),
        (vec![done.clone(), message(0x83, b"")], Err(CardError::Malformed)),
        (vec![message(0x81, b"\x90\x00")], Err(CardError::Malformed)),
    ] {
        let (mut card, mut end, _, outcome) = all(&[b"1", b"2", b"3"], &answers);
        assert_eq!(outcome, expected, "{answers:02X?}");
        end.write_all(&message(0x83, &[])).unwrap();
        assert_eq!(card.power_off(SOON), Err(CardError::Reader(LinkError::Closed)));
    }
}

#[test]
fn answers_owed_from_before_are_not_taken_for_those_of_several() {
    let (mut card, mut end) = pair();
    assert_eq!(card.transmit(b"0", SOON), Err(CardError::Reader(LinkError::Timeout(SOON))));
    for text in [b"old\x90\x00", b"one\x90\x00", b"two\x90\x00"] {
        end.write_all(&message(0x82, text)).unwrap();
    }
    let mut responses = Vec::new();
    card.transmit_all(&steps(&[b"1", b"2"]), within(SOON), &mut responses).unwrap();
    assert_eq!(responses, [b"one\x90\x00", b"two\x90\x00"]);
}

#[test]
fn commands_that_do_not_fit_one_request_are_split() {
    let (mut card, mut end) = pair();
    let helper = thread::spawn(move || {
        let mut bodies = Vec::new();
        for count in [2, 1] {
            let mut header = [0; 5];
            end.read_exact(&mut header).unwrap();
            let mut body = vec![0; u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize];
            end.read_exact(&mut body).unwrap();
            bodies.push((header[0], body.len()));
            (0..count).for_each(|_| end.write_all(&message(0x82, b"\x90\x00")).unwrap());
        }
        (bodies, end)
    });
    // With their lengths, two fill a request to the last byte.
    let (half, one) = (vec![7; READER_BODY_MAX / 2 - 3], [1]);
    let mut responses = Vec::new();
    card.transmit_all(&steps(&[&half, &half, &one]), within(LONG), &mut responses).unwrap();
    assert_eq!(responses.len(), 3);
    assert_eq!(helper.join().unwrap().0, [(0x04, READER_BODY_MAX), (0x02, 1)]);
}

#[test]
fn each_command_has_a_stop_rule_of_its_own() {
    let (mut card, mut end) = pair();
    let (done, refused) = (message(0x82, b"\x90\x00"), message(0x82, b"\x6A\x88"));
    end.write_all(&[refused.clone(), done, refused].concat()).unwrap();
    let tolerant = |command| CommandStep { command, go_on: &[0x6A88, 0x6283] };
    let session = [
        tolerant(&b"1"[..]),
        CommandStep { command: b"2", go_on: &[] },
        CommandStep { command: b"3", go_on: &[] },
        tolerant(b"4"),
    ];
    let mut responses = Vec::new();
    card.transmit_all(&session, within(SOON), &mut responses).unwrap();
    assert_eq!(responses, [b"\x6A\x88".to_vec(), b"\x90\x00".to_vec(), b"\x6A\x88".to_vec()]);
    let mut sent = [0; 5 + 8];
    end.read_exact(&mut sent).unwrap();
    assert_eq!(sent, *b"\x04\0\0\0\x18\x02\x6A\x88\x62\x83\0\x011");
}

#[test]
fn a_session_ends_at_its_own_limit() {
    let (mut card, mut end) = pair();
    end.write_all(&message(0x82, b"\x90\x00")).unwrap();
    let begun = Instant::now();
    let limits = SessionLimits { each: LONG, all: SOON };
    let outcome = card.transmit_all(&steps(&[b"1", b"2"]), limits, &mut Vec::new());
    assert!(matches!(outcome, Err(CardError::Reader(LinkError::Timeout(_)))), "{outcome:?}");
    assert!(begun.elapsed() < LONG / 2);
}

#[test]
fn a_probe_asks_the_reader_alone() {
    let (mut card, mut end) = pair();
    end.write_all(&message(0x85, &[])).unwrap();
    card.probe(LONG).unwrap();
    let mut sent = [0; 5];
    end.read_exact(&mut sent).unwrap();
    assert_eq!(sent, *b"\x05\0\0\0\0");
}

#[test]
fn protocols_on_the_wire() {
    for byte in 0..=255 {
        let back = Protocols::from_byte(byte).map(Protocols::to_byte);
        assert_eq!(back, (1..=3).contains(&byte).then_some(byte));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_or_hang(
        bytes in crate::testing::noise(64, b"\x00\x00\x00\x01\x02\x82\xFF"),
    ) {
        let (mut card, mut end) = pair();
        end.write_all(&bytes).unwrap();
        end.shutdown(std::net::Shutdown::Write).unwrap();
        for _ in 0..5 {
            let _ = card.transmit(b"\x00", LONG);
        }
        let (mut card, mut end) = pair();
        end.write_all(&bytes).unwrap();
        end.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = card.transmit_all(&steps(&[&b"\x00"[..]; 3]), within(LONG), &mut Vec::new());
    }
}

#[test]
fn only_a_fast_card_is_paused_for_and_never_beyond_its_last_answer() {
    let (us, ms) = (Duration::from_micros, Duration::from_millis);
    assert_eq!(pause(ms(5), 0, 40), Duration::ZERO);
    assert_eq!(pause(ms(5), 40, 39), us(950));
    assert_eq!(pause(us(1100), 1, 400), PAUSE_MAX);
    assert_eq!(pause(us(3900), 39, 1), Duration::ZERO);
    assert_eq!(pause(ms(61), 10, 100), Duration::ZERO);
    for answered in 1..40 {
        let (each, left) = (us(150), 40 - answered);
        let so_far = each * u32::try_from(answered).unwrap();
        assert!(pause(so_far, answered, left) * 2 <= each * u32::try_from(left).unwrap());
    }
}
