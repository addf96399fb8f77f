//! A serial port as a link: 8 data bits, no parity, 1 stop bit, no flow control, for this process alone.
//!
//! Not here: finding ports; the line profile names them. Three habits are due to the `serialport` crate: a
//! write of more than the driver has room for blocks in spite of the timeout, so writes go out in pieces of
//! 256 bytes; `flush` waits without a limit, so it is never called; the crate's time limit is set before
//! every call. One weakness is left: bytes that arrive together with the hang-up are lost (the crate answers
//! BrokenPipe), and the command ends as "closed".

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use serialport::{DataBits, FlowControl, Parity, SerialPort, StopBits};

use crate::link::{ByteLink, LinkError};
use crate::presence::node_at;
use crate::usb_port;

/// Most bytes in a write: with more, poll reports "writable" and the write then blocks for ever (seen with
/// `serialport` 4.10.1 on a PTY that is not read).
const WRITE_MAX: usize = 256;

/// The kernel's view of USB, and its device files.
const SYSFS: &str = "/sys";
const DEV: &str = "/dev";

/// An open serial port; no other process can open it while this exists (TIOCEXCL and a lock).
pub struct SerialLink {
    path: String,
    baud: u32,
    /// `None` while it is being reopened.
    port: Option<Box<dyn SerialPort>>,
    /// The node that was opened.
    node: String,
}

impl SerialLink {
    /// Opens `path` (`/dev/ttyS0`, or `usb:1-4.2` for the port of the device at that USB path) at `baud` bit/s. An error names the port.
    pub fn open(path: &str, baud: u32) -> Result<Self, LinkError> {
        let (port, node) = port(path, baud)?;
        Ok(Self { path: path.to_owned(), baud, port: Some(port), node })
    }

    /// Makes a second handle, so that bytes can go both ways at once; neither can be reopened while the other
    /// lives.
    pub fn second(&self) -> Result<Self, LinkError> {
        let port = self.port.as_ref().ok_or(LinkError::Closed)?;
        let port = port.try_clone().map_err(|error| LinkError::Io(error.to_string()))?;
        Ok(Self { path: self.path.clone(), baud: self.baud, port: Some(port), node: self.node.clone() })
    }

    /// Returns the open port after setting its time limit.
    fn within(&mut self, timeout: Duration) -> Result<&mut dyn SerialPort, LinkError> {
        let port = self.port.as_mut().ok_or(LinkError::Closed)?;
        port.set_timeout(timeout).map_err(|error| LinkError::Io(error.to_string()))?;
        Ok(&mut **port)
    }
}

/// Opens the port. Also returns the name of its node; the path leads to it before and after.
fn port(path: &str, baud: u32) -> Result<(Box<dyn SerialPort>, String), LinkError> {
    let file = usb_port::device_file(path, Path::new(SYSFS), Path::new(DEV))?;
    let before = node_at(&file);
    let port = serialport::new(file.to_string_lossy(), baud)
        .data_bits(DataBits::Eight)
        .parity(Parity::None)
        .stop_bits(StopBits::One)
        .flow_control(FlowControl::None)
        .exclusive(true)
        .open()
        .map_err(|error| LinkError::Io(format!("serial port {path}: {}", plainly(error))))?;
    match (before, node_at(&file)) {
        (Ok(before), Ok(after)) if before == after => Ok((port, after)),
        _ => {
            Err(LinkError::Io(format!("serial port {path}: it was plugged in again just now; open it again")))
        }
    }
}

/// The operating system's words, or clearer ones if those do not help a technician.
fn plainly(error: serialport::Error) -> String {
    match error.description.as_str() {
        "Not a typewriter" | "Inappropriate ioctl for device" => {
            "it is no serial port: correct the path in the line profile".to_owned()
        }
        "No such file or directory" => {
            "there is no such port: plug the device in and switch it on, or correct the path in the line profile".to_owned()
        }
        "Permission denied" => {
            "this user may not open it: add the user to the port's group (often dialout), and log in again".to_owned()
        }
        _ => error.to_string(),
    }
}

impl ByteLink for SerialLink {
    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        // Closed first: a port that is open for this process alone cannot be opened twice.
        self.port = None;
        let (port, node) = port(&self.path, self.baud)?;
        (self.port, self.node) = (Some(port), node);
        Ok(())
    }

    fn node(&self) -> &str {
        &self.node
    }

    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        let deadline = Instant::now() + timeout;
        let mut rest = bytes;
        while !rest.is_empty() {
            let port = self.within(deadline.saturating_duration_since(Instant::now()))?;
            let piece = rest.get(..WRITE_MAX).unwrap_or(rest);
            match port.write(piece) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(fault(&error, timeout)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        let deadline = Instant::now() + timeout;
        loop {
            let port = self.within(deadline.saturating_duration_since(Instant::now()))?;
            match port.read(buffer) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(n) => return Ok(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(fault(&error, timeout)),
            }
        }
    }
}

fn fault(error: &std::io::Error, timeout: Duration) -> LinkError {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => LinkError::Timeout(timeout),
        ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => LinkError::Closed,
        _ => LinkError::Io(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::sync::mpsc;
    use std::thread;

    use nix::pty::openpty;
    use nix::unistd::ttyname;

    use super::*;
    use crate::framed::FramedLink;
    use crate::stripe::msr605::Msr605;

    const SOON: Duration = Duration::from_millis(200);

    /// The machine's end, the port's path, and a spare handle that keeps the port from hanging up.
    fn pty() -> (File, String, OwnedFd) {
        let pair = openpty(None, None).unwrap();
        let path = ttyname(&pair.slave).unwrap().to_str().unwrap().to_string();
        (File::from(pair.master), path, pair.slave)
    }

    #[test]
    fn carries_every_byte_value_both_ways() {
        let (mut machine, path, _spare) = pty();
        let mut link = SerialLink::open(&path, 9600).unwrap();
        let all: Vec<u8> = (0..=255).collect();
        link.send(&all, SOON).unwrap();
        let mut got = vec![0; 256];
        machine.read_exact(&mut got).unwrap();
        assert_eq!(got, all);
        machine.write_all(&all).unwrap();
        let mut back = Vec::new();
        while back.len() < 256 {
            let mut piece = [0; 100];
            let n = link.receive(&mut piece, SOON).unwrap();
            back.extend_from_slice(&piece[..n]);
        }
        assert_eq!(back, all);
    }

    #[test]
    fn the_framing_runs_on_it() {
        let (mut machine, path, _spare) = pty();
        let end = thread::spawn(move || {
            let mut command = [0; 4];
            machine.read_exact(&mut command).unwrap();
            assert_eq!(command, [0x02, 0x53, 0x03, 0x50]);
            for byte in [0x06, 0x00, 0x02, b'S', b'0', b'M', 0x03, 0x53 ^ 0x30 ^ 0x4D ^ 0x03] {
                machine.write_all(&[byte]).unwrap();
            }
            let mut ack = [0];
            machine.read_exact(&mut ack).unwrap();
            assert_eq!(ack, [0x06]);
        });
        let mut framed = FramedLink::new(SerialLink::open(&path, 115_200).unwrap());
        assert_eq!(framed.command(b'S', b"", Duration::from_secs(5)).unwrap(), b"M");
        end.join().unwrap();
    }

    #[test]
    fn the_stripe_encoder_runs_on_it() {
        let (mut machine, path, _spare) = pty();
        let end = thread::spawn(move || {
            let mut command = [0; 2];
            machine.read_exact(&mut command).unwrap();
            assert_eq!(command, *b"\x1Br");
            machine.write_all(b"\x1Bs\x1B\x01%A?\x1B\x02\x1B\x03?\x1C\x1B0").unwrap();
            machine
        });
        let tracks = Msr605::new(SerialLink::open(&path, 9600).unwrap()).read_text().unwrap();
        assert!(tracks.t1.as_deref() == Some("A") && tracks.t2.is_none() && tracks.t3.is_none());
        let _still_there = end.join().unwrap();
    }

    #[test]
    fn silence_ends_in_time() {
        let (_machine, path, _spare) = pty();
        let mut link = SerialLink::open(&path, 9600).unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(30)] {
            let begun = Instant::now();
            assert_eq!(link.receive(&mut [0; 8], timeout), Err(LinkError::Timeout(timeout)));
            assert!(begun.elapsed() >= timeout && begun.elapsed() < timeout + Duration::from_secs(1));
        }
    }

    #[test]
    fn a_machine_that_takes_nothing_does_not_block_us() {
        let (_machine, path, _spare) = pty();
        let mut link = SerialLink::open(&path, 9600).unwrap();
        // In a thread, because a write that does block could not be ended.
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(link.send(&vec![0x55; 200_000], SOON)));
        assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Err(LinkError::Timeout(SOON))));
    }

    #[test]
    fn a_machine_that_goes_away_is_reported() {
        let (machine, path, spare) = pty();
        let mut link = SerialLink::open(&path, 9600).unwrap();
        drop((machine, spare));
        assert_eq!(link.receive(&mut [0; 8], SOON), Err(LinkError::Closed));
        assert!(link.send(b"x", SOON).is_err());
    }

    #[test]
    fn the_port_is_ours_alone() {
        let (_machine, path, _spare) = pty();
        let link = SerialLink::open(&path, 9600).unwrap();
        assert!(SerialLink::open(&path, 9600).is_err());
        drop(link);
        SerialLink::open(&path, 9600).unwrap();
    }

    #[test]
    fn an_error_of_opening_names_the_port() {
        let text = SerialLink::open("/dev/null", 9600).err().unwrap().to_string();
        assert!(text.contains("/dev/null") && text.contains("no serial port"), "{text}");
        let text = SerialLink::open("/dev/no-such-port", 9600).err().unwrap().to_string();
        assert!(text.contains("/dev/no-such-port"), "{text}");
    }
}
