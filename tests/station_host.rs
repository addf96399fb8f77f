//! Station hosts of machines: the real program on a serial port and on a network connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use drivers::framed::FramedLink;
use drivers::host::{HostLink, HostReader, HostSpec, HostedDevice};
use drivers::link::{ByteLink, CardError, CardLink, LinkError};
use drivers::pcsc::{ReaderSelector, ReaderSpec};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, ttyname};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const PROGRAM: &str = env!("CARGO_BIN_EXE_cardwright");

fn spec(device: HostedDevice) -> HostSpec {
    HostSpec { program: PROGRAM.into(), arguments: vec!["station-host".into()], pcscd: None, device }
}

/// The machine's end of a serial port, a link to the other end, and a spare handle that keeps the port from
/// hanging up.
fn serial() -> (File, HostLink, OwnedFd) {
    let pair = openpty(None, None).unwrap();
    let path = ttyname(&pair.slave).unwrap().to_str().unwrap().to_string();
    let mut link = HostLink::new(spec(HostedDevice::Serial { path, baud: 115_200 }));
    link.reopen(LONG).unwrap();
    (File::from(pair.master), link, pair.slave)
}

fn receive(link: &mut HostLink, count: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < count {
        let mut piece = [0; 1000];
        let n = link.receive(&mut piece, LONG).unwrap();
        got.extend_from_slice(&piece[..n]);
    }
    got
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_serial_port_carries_every_byte_both_ways_at_once() {
    let (mut machine, mut link, _spare) = serial();
    let all: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let echo = all.clone();
    let end = std::thread::spawn(move || {
        let mut seen = vec![0; echo.len()];
        for piece in seen.chunks_mut(500) {
            machine.read_exact(piece).unwrap();
            machine.write_all(piece).unwrap();
        }
        assert!(seen == echo);
        machine
    });
    for piece in all.chunks(5_000) {
        link.send(piece, LONG).unwrap();
    }
    assert!(receive(&mut link, all.len()) == all);
    let begun = Instant::now();
    assert_eq!(link.receive(&mut [0; 8], SHORT), Err(LinkError::Timeout(SHORT)));
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < SHORT + Duration::from_secs(1));
    assert!(link.pid().is_some(), "silence ended the host");
    end.join().unwrap();
}

#[test]
fn a_codec_runs_on_it() {
    let (mut machine, link, _spare) = serial();
    let end = std::thread::spawn(move || {
        let mut command = [0; 4];
        machine.read_exact(&mut command).unwrap();
        machine.write_all(&[0x06, 0x02, b'S', b'0', b'M', 0x03, 0x53 ^ 0x30 ^ 0x4D ^ 0x03]).unwrap();
        machine.read_exact(&mut [0]).unwrap();
    });
    assert_eq!(FramedLink::new(link).command(b'S', b"", LONG).unwrap(), b"M");
    end.join().unwrap();
}

#[test]
fn a_machine_that_disconnects_is_reported_and_reopened() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut link = HostLink::new(spec(HostedDevice::Tcp { address: address.clone() }));
    link.reopen(LONG).unwrap();
    let (mut machine, _) = listener.accept().unwrap();
    link.send(b"image", LONG).unwrap();
    let mut got = [0; 5];
    machine.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"image");
    // The bytes that it sent last still arrive.
    machine.write_all(b"bye").unwrap();
    drop(machine);
    assert_eq!(receive(&mut link, 3), b"bye");
    let first = link.pid().unwrap();
    let error = link.receive(&mut [0; 8], LONG).unwrap_err();
    assert!(matches!(&error, LinkError::Io(text) if text.contains("closed")), "{error:?}");
    assert!(is_gone(first));
    link.reopen(LONG).unwrap();
    listener.accept().unwrap().0.write_all(b"here").unwrap();
    assert_eq!(receive(&mut link, 4), b"here");
    drop(listener);
    let text = link.reopen(LONG).unwrap_err().to_string();
    assert!(text.contains(&address), "{text}");
}

#[test]
fn a_host_that_is_killed_is_reported_and_reaped() {
    let (_machine, mut link, _spare) = serial();
    let pid = link.pid().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(link.receive(&mut [0; 8], LONG), Err(LinkError::Closed));
    assert!(is_gone(pid));
    link.reopen(LONG).unwrap();
    let pid = link.pid().unwrap();
    drop(link);
    assert!(is_gone(pid));
}

#[test]
fn a_host_has_a_group_of_its_own_and_keeps_its_memory_to_itself() {
    let (_machine, link, _spare) = serial();
    let pid = Pid::from_raw(i32::try_from(link.pid().unwrap()).unwrap());
    assert_eq!(nix::unistd::getpgid(Some(pid)).unwrap(), pid);
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
}

#[test]
fn an_idle_host_ends_when_its_socket_closes() {
    let pair = openpty(None, None).unwrap();
    let path = ttyname(&pair.slave).unwrap();
    let body = format!("{{\"serial\":{{\"path\":\"{}\",\"baud\":9600}}}}", path.display());
    let length = u8::try_from(body.len()).unwrap();
    for hello in [vec![], [b"CWSH\0\x01\0\0\0", &[length][..], body.as_bytes()].concat()] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut child = Command::new(PROGRAM)
            .arg("station-host")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        ours.write_all(&hello).unwrap();
        if !hello.is_empty() {
            ours.read_exact(&mut [0; 10]).unwrap();
        }
        drop(ours);
        let until = Instant::now() + LONG;
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "it stays");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn an_input_that_is_no_controllers_socket_is_refused() {
    for input in ["", "hello?", "CWSH\0\x09\0\0\0\0"] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(input.as_bytes()).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let output = Command::new(PROGRAM)
            .arg("station-host")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(50), "{input:?}");
    }
    let output = Command::new(PROGRAM).arg("station-host").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(50));
}

#[test]
fn a_missing_pcscd_is_reported() {
    let device =
        HostedDevice::Reader(ReaderSpec { by: ReaderSelector::Name("ACS".into()), slot: 0, wait_ms: 0 });
    let mut reader = HostReader::new(HostSpec { pcscd: Some("/no/such/pcscd.comm".into()), ..spec(device) });
    let error = reader.reopen(LONG).unwrap_err();
    assert!(matches!(&error, CardError::Reader(LinkError::Io(text)) if text.contains("PC/SC")), "{error}");
}
