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
    }
}
