//! Simulated links against a socket played by hand from wire section 1.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use super::*;

const SOON: Duration = Duration::from_millis(100);

/// Connects to a listener that reads the hello and answers with these bytes; returns the hello.
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
    let link = SimLink::connect(&path, "chip-1", SimDevice::Transport);
    (link, end.join().unwrap())
}

fn json(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

#[test]
fn hello_names_station_and_device() {
    let (link, said) = hello(&json(r#"{"simulated": true}"#));
    link.unwrap();
    assert_eq!(said, r#"{"station":"chip-1","device":"transport"}"#);
    assert_eq!(serde_json::to_string(&SimDevice::Reader).unwrap(), r#""reader""#);
    assert_eq!(serde_json::to_string(&SimDevice::Machine).unwrap(), r#""machine""#);
    assert_eq!(serde_json::to_string(&SimDevice::Stream).unwrap(), r#""stream""#);
}

#[test]
fn an_end_that_does_not_declare_itself_simulated_is_refused() {
    for text in [r#"{"simulated": false}"#, "{}", r#"{"simulated": "true"}"#, "[]", "true", "", "{"] {
        assert!(hello(&json(text)).0.is_err(), "{text}");
    }
    assert!(hello(b"").0.is_err());
    assert!(hello(b"\x00\x00\x00\x09{").0.is_err());
    assert!(hello(b"\xFF\xFF\xFF\xFF{}").0.is_err());
}

#[test]
fn a_refusal_names_the_cause_and_cannot_inject_control_characters() {
    let answer = json(r#"{"simulated": true, "error": "no such \u001b[31m station\n"}"#);
    let text = hello(&answer).0.err().unwrap().to_string();
    assert_eq!(text, "the simulator refuses station chip-1: no such [31m station");
}

#[test]
fn a_socket_without_a_listener_is_named() {
    let text = SimLink::connect(Path::new("/nonexistent/sock"), "chip-1", SimDevice::Machine).err().unwrap();
    assert!(text.to_string().contains("/nonexistent/sock"));
}

#[test]
fn bytes_both_ways_timeouts_and_close() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut link = SimLink::bare(ours);
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

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

/// SELECT, a command of case 4, and READ RECORD, one of case 2.
const SELECT: &[u8] = &[0x00, 0xA4, 0x04, 0x00, 0x01, 0xAA, 0x00];
const READ: &[u8] = &[0x00, 0xB2, 0x01, 0x0C, 0x00];
const LIMITS: SessionLimits = SessionLimits { each: Duration::from_secs(5), all: Duration::from_secs(5) };

/// A simulated reader with a card of this ATR; the other end, which has sent its answers, shows the requests.
fn reader(atr: &[u8], answers: &[&[u8]]) -> (SimReader, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut reader = SimReader::over(SimLink::bare(ours));
    theirs.write_all(&message(0x81, atr)).unwrap();
    answers.iter().for_each(|answer| theirs.write_all(&message(0x82, answer)).unwrap());
    reader.power_on(Reset::Cold, Protocols::ANY, LIMITS.each).unwrap();
    theirs.read_exact(&mut [0; 7]).unwrap();
    (reader, theirs)
}

/// The rest of the requests, after the reader has gone.
fn requests((reader, mut theirs): (SimReader, UnixStream)) -> Vec<u8> {
    drop(reader);
    let mut requests = Vec::new();
    theirs.read_to_end(&mut requests).unwrap();
    requests
}

/// ATRs of cards that speak T=0 alone and T=1 alone.
const T0: &[u8] = &[0x3B, 0x60, 0x00, 0x00];
const T1: &[u8] = &[0x3B, 0xE0, 0x00, 0x00, 0x81, 0x31, 0x20, 0x45, 0x35];

#[test]
fn a_simulated_card_gets_the_commands_of_its_protocol() {
    let (tpdu, fetch) = (&SELECT[..6], [0x00, 0xC0, 0x00, 0x00, 0x02]);
    let mut end = reader(T0, &[&[0x61, 0x02], &[1, 2, 0x90, 0x00]]);
    assert_eq!(end.0.transmit(SELECT, LIMITS.each).unwrap(), [1, 2, 0x90, 0x00]);
    assert_eq!(requests(end), [message(2, tpdu), message(2, &fetch)].concat());
    let mut end = reader(T1, &[&[1, 2, 0x90, 0x00]]);
    assert_eq!(end.0.transmit(SELECT, LIMITS.each).unwrap(), [1, 2, 0x90, 0x00]);
    assert_eq!(requests(end), message(2, SELECT));
}

#[test]
fn a_session_goes_on_after_each_fetched_answer_and_stops_where_it_must() {
    let all: Vec<_> = [SELECT, READ, READ, READ, READ]
        .map(|command| CommandStep { command, go_on: &[] })
        .into_iter()
        .collect();
    let mut end = reader(
        T0,
        &[
            &[0x61, 0x01],
            &[0xA1, 0x90, 0x00],
            &[0xA2, 0x90, 0x00],
            &[0x6C, 0x01],
            &[0xA3, 0x90, 0x00],
            &[0x6A, 0x83],
        ],
    );
    let mut responses = Vec::new();
    end.0.transmit_all(&all, LIMITS, &mut responses).unwrap();
    assert_eq!(responses, [&[0xA1, 0x90, 0x00][..], &[0xA2, 0x90, 0x00], &[0xA3, 0x90, 0x00], &[0x6A, 0x83]]);
    let said = requests(end);
    let step = |command: &[u8]| [&[0, 0, u8::try_from(command.len()).unwrap()], command].concat();
    let several = |commands: &[&[u8]]| message(4, &commands.iter().flat_map(|c| step(c)).collect::<Vec<_>>());
    let expected = [
        several(&[&SELECT[..6], READ, READ, READ, READ]),
        message(2, &[0x00, 0xC0, 0x00, 0x00, 0x01]),
        several(&[READ, READ, READ, READ]),
        message(2, &[0x00, 0xB2, 0x01, 0x0C, 0x01]),
        several(&[READ, READ]),
    ];
    assert_eq!(hex::encode(said), hex::encode(expected.concat()));
}

#[test]
fn an_answer_that_is_not_fetched_in_time_is_missing() {
    let (reader, _end) = &mut reader(T0, &[&[0x90, 0x00], &[0x61, 0x02]]);
    let steps = [READ, SELECT].map(|command| CommandStep { command, go_on: &[] });
    let mut responses = Vec::new();
    let limits = SessionLimits { each: SOON, all: LIMITS.all };
    let outcome = reader.transmit_all(&steps, limits, &mut responses);
    assert!(matches!(outcome, Err(CardError::Reader(LinkError::Timeout(_)))), "{outcome:?}");
    assert_eq!(responses, [[0x90, 0x00]], "a part is no response");
}
