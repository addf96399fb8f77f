//! Simulated links against a socket played by hand from wire section 1.

use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use proptest::prelude::*;

use super::*;

const SOON: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(10);

/// Connects to a listener that reads the hello and answers with these bytes; gives back what the hello said.
fn hello(answer: &[u8]) -> (Result<SimLink, LinkError>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let answer = answer.to_vec();
    let end: JoinHandle<String> = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(&answer).unwrap();
        String::from_utf8(body).unwrap()
    });
    let link = SimLink::connect(&path, "chip-1", Device::Transport);
    (link, end.join().unwrap())
}

fn json(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// A reader whose other end is in our hand.
fn pair() -> (SimReader, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (SimReader::over(SimLink { stream: ours }), theirs)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

#[test]
fn hello_names_station_and_device() {
    let (link, said) = hello(&json(r#"{"simulated": true}"#));
    link.unwrap();
    assert_eq!(said, r#"{"station":"chip-1","device":"transport"}"#);
    assert_eq!(serde_json::to_string(&Device::Reader).unwrap(), r#""reader""#);
    assert_eq!(serde_json::to_string(&Device::Machine).unwrap(), r#""machine""#);
}

#[test]
fn an_end_that_does_not_say_that_it_is_simulated_is_refused() {
    for text in [r#"{"simulated": false}"#, "{}", r#"{"simulated": "true"}"#, "[]", "true", "", "{"] {
        assert!(hello(&json(text)).0.is_err(), "{text}");
    }
    assert!(hello(b"").0.is_err());
    assert!(hello(b"\x00\x00\x00\x09{").0.is_err());
    assert!(hello(b"\xFF\xFF\xFF\xFF{}").0.is_err());
}

#[test]
fn a_refusal_says_why_and_cannot_inject_control_characters() {
    let answer = json(r#"{"simulated": true, "error": "no such \u001b[31m station\n"}"#);
    let text = hello(&answer).0.err().unwrap().to_string();
    assert_eq!(text, "the simulator refuses station chip-1: no such [31m station");
}

#[test]
fn nobody_there_names_the_socket() {
    let text = SimLink::connect(Path::new("/nonexistent/sock"), "chip-1", Device::Machine).err().unwrap();
    assert!(text.to_string().contains("/nonexistent/sock"));
}

#[test]
fn bytes_both_ways_timeouts_and_close() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut link = SimLink { stream: ours };
    link.send(b"abc", SOON).unwrap();
    let mut got = [0; 3];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"abc");

    let mut buffer = [0; 8];
    for timeout in [Duration::ZERO, Duration::from_millis(30)] {
        let begun = Instant::now();
        assert_eq!(link.receive(&mut buffer, timeout), Err(LinkError::Timeout(timeout)));
        assert!(begun.elapsed() >= timeout && begun.elapsed() < timeout + Duration::from_secs(1));
    }
    theirs.write_all(b"12").unwrap();
    assert_eq!(link.receive(&mut buffer, Duration::ZERO), Ok(2));
    assert_eq!(link.send(&vec![0; 10_000_000], SOON), Err(LinkError::Timeout(SOON)));
    drop(theirs);
    assert_eq!(link.receive(&mut buffer, SOON), Err(LinkError::Closed));
    assert_eq!(link.send(b"x", SOON), Err(LinkError::Closed));
}

#[test]
fn every_exchange_of_a_reader() {
    let (mut card, mut end) = pair();
    for bytes in [message(0x81, &[0x3B, 0x60]), message(0x82, &[0x90, 0x00]), message(0x83, &[])] {
        end.write_all(&bytes).unwrap();
    }
    assert_eq!(card.power_on(LONG).unwrap(), [0x3B, 0x60]);
    assert_eq!(card.transmit(&[0x00, 0xA4, 0x04, 0x00], LONG).unwrap(), [0x90, 0x00]);
    card.power_off(LONG).unwrap();
    let mut sent = [0; 5 + 9 + 5];
    end.read_exact(&mut sent).unwrap();
    assert_eq!(sent, *b"\x01\0\0\0\0\x02\0\0\0\x04\x00\xA4\x04\x00\x03\0\0\0\0");
}

#[test]
fn every_failure_of_a_reader() {
    for (answer, expected) in [
        (message(0xFF, &[1]), CardError::Absent),
        (message(0xFF, &[2]), CardError::Mute),
        (message(0xFF, &[3]), CardError::Removed),
        (message(0xFF, &[4]), CardError::Malformed),
        (message(0xFF, &[]), CardError::Malformed),
        (message(0xFF, &[1, 1]), CardError::Malformed),
        (message(0x82, &[]), CardError::Malformed),
        (message(0x01, &[]), CardError::Malformed),
        (vec![0x81, 0x00, 0x01, 0x00, 0x09], CardError::Malformed),
        (vec![0x81, 0xFF, 0xFF, 0xFF, 0xFF], CardError::Malformed),
    ] {
        let (mut card, mut end) = pair();
        end.write_all(&answer).unwrap();
        assert_eq!(card.power_on(LONG), Err(expected), "{answer:02X?}");
    }
}

#[test]
fn a_late_answer_is_never_taken_for_the_next() {
    let (mut card, mut end) = pair();
    assert_eq!(card.transmit(b"1", SOON), Err(CardError::Reader(LinkError::Timeout(SOON))));
    assert_eq!(card.transmit(b"2", SOON), Err(CardError::Reader(LinkError::Timeout(SOON))));
    // The first comes whole, the second in halves, the third in time.
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
    assert_eq!(card.power_on(LONG), Err(CardError::Malformed));
    end.write_all(&message(0x81, b"x")).unwrap();
    assert_eq!(card.power_on(LONG), Err(CardError::Reader(LinkError::Closed)));
}

#[test]
fn a_body_of_the_longest_size_passes_and_one_more_is_not_sent() {
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

/// Commands of one byte each, and what becomes of them when the other end has said `answers`.
fn all(
    commands: &[&[u8]],
    answers: &[Vec<u8>],
) -> (SimReader, UnixStream, Vec<Vec<u8>>, Result<(), CardError>) {
    let (mut card, mut end) = pair();
    end.write_all(&answers.concat()).unwrap();
    let mut responses = Vec::new();
    let outcome = card.transmit_all(commands, SOON, &mut responses);
    (card, end, responses, outcome)
}

#[test]
fn several_commands_are_one_request_with_an_answer_each() {
    let done = message(0x82, b"a\x90\x00");
    let (_, mut end, responses, outcome) =
        all(&[b"1", b"22", b"3"], &[done.clone(), done.clone(), done.clone()]);
    assert_eq!((responses, outcome), (vec![b"a\x90\x00".to_vec(); 3], Ok(())));
    let mut sent = [0; 5 + 10];
    end.read_exact(&mut sent).unwrap();
    assert_eq!(sent, *b"\x04\0\0\0\x0A\0\x011\0\x0222\0\x013");
    // One alone goes out as one; none at all does nothing.
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
    card.transmit_all(&[b"1", b"2"], SOON, &mut responses).unwrap();
    assert_eq!(responses, [b"one\x90\x00", b"two\x90\x00"]);
}

#[test]
fn more_than_one_request_holds_are_several_requests() {
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
    let (half, one) = (vec![7; READER_BODY_MAX / 2 - 2], [1]);
    let mut responses = Vec::new();
    card.transmit_all(&[&half, &half, &one], LONG, &mut responses).unwrap();
    assert_eq!(responses.len(), 3);
    assert_eq!(helper.join().unwrap().0, [(0x04, READER_BODY_MAX), (0x02, 1)]);
}

proptest! {
    #[test]
    fn random_bytes_never_panic_or_hang(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0x82)], 0..200),
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
        let _ = card.transmit_all(&[&b"\x00"[..]; 3], LONG, &mut Vec::new());
    }
}
