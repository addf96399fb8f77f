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
