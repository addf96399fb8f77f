//! Both ends of the station host protocol: each against the other, or against bytes made by hand from wire
//! section 7.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::hello::{self, HostAnswer};
use super::process::HostPipe;
use super::serve::exchanges;
use super::*;
use crate::exchange::ReaderExchange;
use crate::link::{ByteLink, CardError, CardLink, CommandStep, LinkError, Protocols, Reset, SessionLimits};
use crate::pcsc::{ReaderSelector, ReaderSpec};
use crate::presence::{CardPresence, DeviceConnection, LookFor, ReaderSighting};
use crate::sim::SimLink;
use crate::stream::TimedSocket;
use crate::wire::{HOST_BODY_MAX, READER_BODY_MAX};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const LIMITS: SessionLimits = SessionLimits { each: LONG, all: LONG };

/// A reader that answers each command with its second byte as status word 90xx, and keeps the commands.
#[derive(Default)]
struct Fake {
    asked: Vec<Vec<u8>>,
    answer: Vec<u8>,
}

impl ServedReader for Fake {
    fn power_on(&mut self, reset: Reset, protocols: Protocols) -> Result<Vec<u8>, CardError> {
        match reset {
            Reset::Cold => Ok(vec![0x3B, protocols.to_byte()]),
            Reset::Warm => Err(CardError::Mute),
        }
    }

    fn transmit(&mut self, command: &[u8]) -> Result<&[u8], CardError> {
        self.asked.push(command.to_vec());
        match command.get(1) {
            Some(0xFF) | None => Err(CardError::Removed),
            Some(low) => {
                self.answer = vec![0x90, *low];
                Ok(&self.answer)
            }
        }
    }

    fn power_off(&mut self) -> Result<(), CardError> {
        Err(CardError::NoReader("gone; there are: A, B".into()))
    }

    fn probe(&mut self) -> Result<(), CardError> {
        Ok(())
    }

    fn look(&mut self, wanted: LookFor, wait: Duration) -> Result<ReaderSighting, CardError> {
        let presence = match wanted {
            LookFor::Anything => CardPresence::Mute,
            LookFor::NoCard => CardPresence::Empty,
            LookFor::Card => CardPresence::Card,
        };
        let count = u16::try_from(wait.as_millis()).unwrap_or(u16::MAX);
        Ok(ReaderSighting { presence, connection: DeviceConnection { node: "pcscd X 00 00".into(), count } })
    }
}

/// Runs work at the controller's end of a fake reader. Returns the commands that reached the reader.
fn with_fake(work: impl FnOnce(&mut ReaderExchange<SimLink>)) -> Vec<Vec<u8>> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let host = thread::spawn(move || {
        let mut fake = Fake::default();
        exchanges(&theirs, &mut fake).unwrap();
        fake.asked
    });
    let mut link = ReaderExchange::over(SimLink::bare(ours));
    work(&mut link);
    drop(link);
    host.join().unwrap()
}

#[test]
fn a_look_brings_presence_and_connection() {
    with_fake(|link| {
        for (wanted, presence) in [
            (LookFor::Anything, CardPresence::Mute),
            (LookFor::NoCard, CardPresence::Empty),
            (LookFor::Card, CardPresence::Card),
        ] {
            let seen = link.look(wanted, Duration::from_millis(0x0102)).unwrap();
            let connection = DeviceConnection { node: "pcscd X 00 00".into(), count: 0x0102 };
            assert_eq!(seen, ReaderSighting { presence, connection });
        }
    });
}

#[test]
fn both_ends_understand_each_other() {
    let asked = with_fake(|link| {
        link.probe(LONG).unwrap();
        for protocols in [Protocols::ANY, Protocols { t0: true, t1: false }] {
            assert_eq!(link.power_on(Reset::Cold, protocols, LONG), Ok(vec![0x3B, protocols.to_byte()]));
        }
        assert_eq!(link.power_on(Reset::Warm, Protocols::ANY, LONG), Err(CardError::Mute));
        assert_eq!(link.transmit(&[0, 5], LONG), Ok(vec![0x90, 5]));
        assert_eq!(link.transmit(&[], LONG), Err(CardError::Removed));
        assert_eq!(link.power_off(LONG), Err(CardError::NoReader("gone; there are: A, B".into())));
    });
    assert_eq!(asked, [vec![0, 5], vec![]]);
}

/// A reader that sends the second command only after a signal that the answer to the first has arrived.
struct Gated(mpsc::Receiver<()>);

impl ServedReader for Gated {
    fn power_on(&mut self, _: Reset, _: Protocols) -> Result<Vec<u8>, CardError> {
        Err(CardError::Mute)
    }

    fn transmit(&mut self, command: &[u8]) -> Result<&[u8], CardError> {
        match command {
            [1] => Ok(&[0x90, 1]),
            _ => self.0.recv_timeout(LONG).map(|()| &[0x90, 2][..]).map_err(|_| CardError::Mute),
        }
    }

    fn power_off(&mut self) -> Result<(), CardError> {
        Err(CardError::Mute)
    }

    fn probe(&mut self) -> Result<(), CardError> {
        Err(CardError::Mute)
    }

    fn look(&mut self, _: LookFor, _: Duration) -> Result<ReaderSighting, CardError> {
        Err(CardError::Absent)
    }
}

#[test]
fn an_answer_is_given_while_the_card_hangs_on_the_next_command() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(LONG)).unwrap();
    let (arrived, gate) = mpsc::channel();
    let host = thread::spawn(move || exchanges(&theirs, &mut Gated(gate)));
    // Two commands of one byte each; 9001 lets the session go on.
    ours.write_all(b"\x04\0\0\0\x0A\x01\x90\x01\0\x01\x01\0\0\x01\x02").unwrap();
    let mut answer = [0; 7];
    ours.read_exact(&mut answer).expect("no answer while the session goes on");
    assert_eq!(answer, *b"\x82\0\0\0\x02\x90\x01");
    arrived.send(()).unwrap();
    ours.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\x82\0\0\0\x02\x90\x02");
    drop(ours);
    host.join().unwrap().unwrap();
}

#[test]
fn every_failure_arrives_unchanged() {
    for error in [
        CardError::Absent,
        CardError::Mute,
        CardError::Removed,
        CardError::Protocol,
        CardError::Held,
        CardError::NoReader("no reader; there are: A".into()),
        CardError::Reader(LinkError::Io("PC/SC: sad".into())),
    ] {
        assert_eq!(crate::exchange::failure_of(&crate::exchange::failure(&error)), Some(error.clone()));
        assert_eq!(HostAnswer::refusal(&error).outcome(), Err(error));
    }
    assert_eq!(HostAnswer::default().outcome(), Err(CardError::Malformed));
}

#[test]
fn the_hello_of_each_device_is_as_written_on_the_page() {
    let by_name = ReaderSpec { by: ReaderSelector::Name("ACS".into()), slot: 1, wait_ms: 500 };
    let by_usb = ReaderSpec { by: ReaderSelector::Usb("1-4.2".into()), slot: 0, wait_ms: 0 };
    for (device, text) in [
        (HostedDevice::Reader(by_name), r#"{"reader":{"by":{"name":"ACS"},"slot":1,"wait_ms":500}}"#),
        (HostedDevice::Reader(by_usb), r#"{"reader":{"by":{"usb":"1-4.2"},"slot":0,"wait_ms":0}}"#),
        (
            HostedDevice::Serial { path: "/dev/ttyS0".into(), baud: 9600 },
            r#"{"serial":{"path":"/dev/ttyS0","baud":9600}}"#,
        ),
        (HostedDevice::Tcp { address: "printer:9100".into() }, r#"{"tcp":{"address":"printer:9100"}}"#),
    ] {
        assert_eq!(serde_json::to_string(&device).unwrap(), text);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        hello::send(&mut TimedSocket::new(ours), &device, Instant::now() + LONG).unwrap();
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).unwrap();
        let length = u8::try_from(text.len()).unwrap();
        assert_eq!(sent, [b"CWSH\0\x01\0\0\0", &[length][..], text.as_bytes()].concat());
    }
}

/// Outcome and answers of a host that receives these bytes.
fn said_to_host(bytes: &[u8]) -> (Result<(), HostError>, Vec<u8>) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(bytes).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let outcome = serve(theirs);
    let mut answer = Vec::new();
    // A host that ends before it has read all bytes resets the connection.
    let _ = ours.read_to_end(&mut answer);
    (outcome, answer)
}

fn hello_of(magic: &[u8], version: u16, length: u32, body: &[u8]) -> Vec<u8> {
    [magic, &version.to_be_bytes(), &length.to_be_bytes(), body].concat()
}

#[test]
fn a_host_refuses_a_malformed_hello() {
    for (bytes, why) in [
        (vec![], "closed"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "something else"),
        (hello_of(b"CWSH", 2, 2, b"{}"), "version 2"),
        (hello_of(b"CWSH", 1, 4097, b"{}"), "too great a length"),
        (hello_of(b"CWSH", 1, u32::MAX, b"{}"), "too great a length"),
        (hello_of(b"CWSH", 1, 9, b"{}"), "closed"),
        (hello_of(b"CWSH", 1, 2, b"{}"), "not known"),
        (hello_of(b"CWSH", 1, 18, br#"{"floppy":{"a":1}}"#), "not known"),
    ] {
        let (outcome, answer) = said_to_host(&bytes);
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
        assert!(answer.is_empty());
    }
}

#[test]
fn a_host_names_the_device_that_it_cannot_open() {
    let body = br#"{"serial":{"path":"/dev/no-such-port","baud":9600}}"#;
    let (outcome, answer) = said_to_host(&hello_of(b"CWSH", 1, u32::try_from(body.len()).unwrap(), body));
    assert!(matches!(outcome, Err(HostError::Device(_))));
    assert!(answer.starts_with(b"CWSH\0\x01\0\0"));
    let text = String::from_utf8(answer[10..].to_vec()).unwrap();
    assert!(text.contains(r#""error":"#) && text.contains("/dev/no-such-port"), "{text}");
}

/// A host that is a shell script, with its arguments; its output to descriptor 0 reaches the controller.
fn script(script: &str, arguments: &[&str]) -> HostSpec {
    HostSpec {
        program: "/bin/sh".into(),
        arguments: ["-c", script, "sh"].iter().chain(arguments).map(Into::into).collect(),
        pcscd: None,
        device: HostedDevice::Tcp { address: "nowhere:1".into() },
    }
}

/// Bytes in the form of `printf`.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

/// A host that sends these bytes and then ends, or stays and listens.
fn saying(bytes: &[u8], stays: bool) -> HostSpec {
    let after = if stays { "exec cat >/dev/null" } else { "exit" };
    script(&format!("printf \"$1\" >&0; {after}"), &[&octal(bytes)])
}

fn opened_hello() -> Vec<u8> {
    let body = br#"{"opened":"ACS 00 00"}"#;
    hello_of(b"CWSH", 1, u32::try_from(body.len()).unwrap(), body)
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_controller_refuses_a_malformed_hello() {
    for (bytes, why) in [
        (vec![], "before it said hello"),
        (b"Usage: cardwright".to_vec(), "something else"),
        (hello_of(b"CWSH", 3, 2, b"{}"), "version 3"),
        (hello_of(b"CWSH", 1, 5000, b"{}"), "too great a length"),
        (hello_of(b"CWSH", 1, 2, b"[]"), "not known"),
        (hello_of(b"CWSH", 1, 2, b"{}"), "malformed"),
        (hello_of(b"CWSH", 1, 15, br#"{"error":"why"}"#), "why"),
        (hello_of(b"CWSH", 1, 23, br#"{"error":"why","why":5}"#), "another program has"),
    ] {
        let mut reader = HostReader::new(saying(&bytes, false));
        let text = reader.reopen(LONG).unwrap_err().to_string();
        assert!(text.contains(why), "{text}");
        assert_eq!(reader.pid(), None);
    }
}

#[test]
fn a_program_that_cannot_start_is_named() {
    let spec = HostSpec { program: "/no/such/program".into(), ..script("", &[]) };
    let text = HostReader::new(spec).reopen(LONG).unwrap_err().to_string();
    assert!(text.contains("/no/such/program"), "{text}");
}

#[test]
fn a_silent_host_is_killed_at_the_limit() {
    let mut reader = HostReader::new(script("exec sleep 60", &[]));
    let begun = Instant::now();
    assert_eq!(reader.probe(SHORT), Err(CardError::Reader(LinkError::Timeout(SHORT))));
    assert_eq!(reader.reopen(SHORT), Err(CardError::Reader(LinkError::Timeout(SHORT))));
    assert!(begun.elapsed() < 2 * SHORT + Duration::from_secs(1));
    assert_eq!(reader.pid(), None);
}

#[test]
fn after_a_host_is_killed_the_next_one_starts_after_a_pause() {
    let mut reader = HostReader::new(saying(&opened_hello(), true));
    reader.reopen(LONG).unwrap();
    let first = reader.pid().unwrap();
    assert_eq!(reader.opened(), "ACS 00 00");
    assert_eq!(reader.transmit(&[0, 1], SHORT), Err(CardError::Reader(LinkError::Timeout(SHORT))));
    assert!(is_gone(first));
    // No host is started for a session that is lost.
    assert_eq!(reader.transmit(&[0, 1], SHORT), Err(CardError::Reader(LinkError::Closed)));
    assert_eq!(reader.power_off(SHORT), Err(CardError::Reader(LinkError::Closed)));
    assert_eq!(reader.pid(), None);
    let begun = Instant::now();
    for _ in 0..4 {
        reader.reopen(LONG).unwrap();
    }
    assert!(begun.elapsed() >= 3 * Duration::from_millis(250), "{:?}", begun.elapsed());
    let last = reader.pid().unwrap();
    drop(reader);
    assert!(is_gone(last));
}

#[test]
fn garbage_after_the_hello_ends_the_host() {
    for garbage in [&[0x77, 0, 0, 0, 0][..], &[0x82, 0xFF, 0, 0, 0], &[0xFF, 0, 0, 0, 1, 0x55]] {
        let mut reader = HostReader::new(saying(&[&opened_hello(), garbage].concat(), true));
        reader.reopen(LONG).unwrap();
        let pid = reader.pid().unwrap();
        assert_eq!(reader.transmit(&[0, 1], LONG), Err(CardError::Malformed), "{garbage:?}");
        assert!(is_gone(pid));
    }
}

#[test]
fn a_byte_link_returns_bytes_in_pieces_of_any_size_and_the_cause_of_its_close() {
    let frames =
        [&b"\x10\0\0\0\x05hello"[..], b"\x10\0\0\0\0", b"\x10\0\0\0\x01!", b"\x11\0\0\0\x03off"].concat();
    let mut link = HostLink::new(saying(&[opened_hello(), frames].concat(), true));
    assert_eq!(link.receive(&mut [0; 4], SHORT), Err(LinkError::Closed));
    link.reopen(LONG).unwrap();
    let pid = link.pid().unwrap();
    let mut got = Vec::new();
    for size in [1, 2, 9, 9] {
        let mut buffer = vec![0; size];
        let n = link.receive(&mut buffer, LONG).unwrap();
        got.extend_from_slice(&buffer[..n]);
    }
    assert_eq!(got, b"hello!");
    assert_eq!(link.receive(&mut [0; 4], LONG), Err(LinkError::Io("off".into())));
    assert!(is_gone(pid));
    assert_eq!(link.send(b"x", LONG), Err(LinkError::Closed));
}

#[test]
fn a_host_that_takes_no_bytes_is_ended_at_the_limit() {
    let mut link = HostLink::new(script("printf \"$1\" >&0; exec sleep 60", &[&octal(&opened_hello())]));
    link.reopen(LONG).unwrap();
    let begun = Instant::now();
    assert_eq!(link.send(&vec![0; 4_000_000], SHORT), Err(LinkError::Timeout(SHORT)));
    assert!(begun.elapsed() < SHORT + Duration::from_secs(1));
    assert_eq!(link.pid(), None);
}

#[test]
fn nothing_is_left_of_a_host() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut pids = Vec::new();
    // Other tests of this process open files too: only growth with the number of hosts counts.
    let before = open();
    for _ in 0..40 {
        let mut pipe = HostPipe::new(saying(&opened_hello(), true));
        pipe.reopen(LONG).unwrap();
        pids.push(pipe.pid().unwrap());
    }
    assert!(open() < before + 40, "{before} descriptors, then {}", open());
    assert!(pids.into_iter().all(is_gone));
}

#[test]
fn a_message_longer_than_any_ends_either_end_before_its_body_comes() {
    let longer = u32::try_from(READER_BODY_MAX).unwrap() + 1;
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(&[&[2][..], &longer.to_be_bytes()].concat()).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let outcome = exchanges(&theirs, &mut Fake::default());
    assert!(matches!(outcome, Err(HostError::Protocol(_))), "{outcome:?}");

    let longer = u32::try_from(HOST_BODY_MAX).unwrap() + 1;
    let frame = [&[0x10][..], &longer.to_be_bytes()].concat();
    let mut link = HostLink::new(saying(&[opened_hello(), frame].concat(), true));
    link.reopen(LONG).unwrap();
    let outcome = link.receive(&mut [0; 4], LONG);
    assert!(matches!(outcome, Err(LinkError::Io(_))), "{outcome:?}");
    assert_eq!(link.pid(), None);
}

proptest! {
    #[test]
    fn a_host_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), good in any::<bool>()) {
        let bytes = if good { [b"CWSH\0\x01", &bytes[..]].concat() } else { bytes };
        said_to_host(&bytes).0.unwrap_err();
    }

    #[test]
    fn a_malformed_request_stops_the_commands_after_it(
        kind in 0_u8..8,
        body in prop::collection::vec(0_u8..6, 0..40),
    ) {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        ours.write_all(&[&[kind], &length[..], &body, &[0x77, 0, 0, 0, 0]].concat()).unwrap();
        drop(ours.shutdown(std::net::Shutdown::Write));
        let mut fake = Fake::default();
        let outcome = exchanges(&theirs, &mut fake);
        prop_assert!(matches!(outcome, Err(HostError::Protocol(_))));
        // The commands together are never longer than the request.
        prop_assert!(fake.asked.concat().len() <= body.len());
        if kind != 2 && kind != 4 {
            prop_assert!(fake.asked.is_empty());
        }
    }

    #[test]
    fn a_session_stops_where_its_rules_say(
        steps in prop::collection::vec((0_u8..4, prop::collection::vec(0x9000_u16..0x9004, 0..3)), 1..12),
    ) {
        let commands: Vec<[u8; 2]> = steps.iter().map(|(low, _)| [0x80, *low]).collect();
        let asked: Vec<CommandStep<'_>> = commands
            .iter()
            .zip(&steps)
            .map(|(command, (_, go_on))| CommandStep { command, go_on })
            .collect();
        let stops = |(low, go_on): &(u8, Vec<u16>)| *low != 0 && !go_on.contains(&(0x9000 + u16::from(*low)));
        let expected = steps.iter().position(stops).map_or(steps.len(), |at| at + 1);
        let mut responses = Vec::new();
        let sent = with_fake(|link| link.transmit_all(&asked, LIMITS, &mut responses).unwrap());
        prop_assert_eq!(sent, &commands[..expected]);
        prop_assert_eq!(responses.len(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Each case starts a process.
        cases: ProptestConfig::default().cases / 8,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_controller_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..60), good in any::<bool>()) {
        let bytes = if good { [opened_hello(), bytes].concat() } else { bytes };
        let mut reader = HostReader::new(saying(&bytes, false));
        // Only a whole answer to the request could be right.
        let outcome = reader.probe(LONG);
        prop_assert!(outcome.is_err() || bytes.get(32..37) == Some(&[0x85, 0, 0, 0, 0]), "{outcome:?}");
    }
}
