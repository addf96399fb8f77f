//! The host's end of a byte link: carries frames from the socket to the device and back, until one of them
//! closes.
//!
//! There is one thread for each direction and no queue between them: bytes that one side does not take yet
//! stay on the other side.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::serve::{HostError, message};
use crate::link::{ByteLink, LinkError};
use crate::serial::SerialLink;
use crate::stream::TimedSocket;
use crate::wire::{HOST_BODY_MAX, host};

/// Longest time in which a machine may take no bytes. At 9600 bit/s the longest frame takes 4.3 s.
const TAKE_TIME: Duration = Duration::from_secs(30);
/// How often the thread that reads the device checks that the link is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Time for a connection to a machine on the network.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Two handles of one device: one to send bytes to it, one to receive bytes from it.
pub(super) type DeviceEnds = (Box<dyn ByteLink>, Box<dyn ByteLink>);

/// Opens a serial port.
pub(super) fn serial(path: &str, baud: u32) -> Result<DeviceEnds, LinkError> {
    let port = SerialLink::open(path, baud)?;
    Ok((Box::new(port.second()?), Box::new(port)))
}

/// Connects to a machine on the network.
pub(super) fn tcp(address: &str) -> Result<DeviceEnds, LinkError> {
    let fault = |what: &dyn std::fmt::Display| LinkError::Io(format!("{address}: {what}"));
    let mut found = address.to_socket_addrs().map_err(|e| fault(&e))?;
    let found = found.next().ok_or_else(|| fault(&"no such host"))?;
    let socket = TcpStream::connect_timeout(&found, CONNECT_TIME).map_err(|e| fault(&e))?;
    socket.set_nodelay(true).map_err(|e| fault(&e))?;
    let second = socket.try_clone().map_err(|e| fault(&e))?;
    Ok((Box::new(TcpMachine(TimedSocket::new(second))), Box::new(TcpMachine(TimedSocket::new(socket)))))
}

/// One connection; it is never opened again, because its host is started again instead.
struct TcpMachine(TimedSocket<TcpStream>);

impl ByteLink for TcpMachine {
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        self.0.send(bytes, timeout)
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        self.0.receive(buffer, timeout)
    }

    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        Err(LinkError::Closed)
    }
}

/// Carries bytes both ways until the controller closes its end or the device does.
pub(super) fn pump(socket: UnixStream, (mut to, mut from): DeviceEnds) -> Result<(), HostError> {
    let mut requests = socket.try_clone()?;
    let back = Mutex::new(socket);
    let ended = AtomicBool::new(false);
    let send_frame = |kind: u8, body: &[u8]| -> std::io::Result<()> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let frame = [&[kind], &length[..], body].concat();
        back.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame)
    };
    let closed = |error: &LinkError| {
        ended.store(true, Ordering::Relaxed);
        let text = error.to_string();
        // Best effort: the controller may be gone too.
        let _ = send_frame(
            host::CLOSED,
            text.get(..text.floor_char_boundary(HOST_BODY_MAX)).unwrap_or_default().as_bytes(),
        );
        let socket = back.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = socket.shutdown(std::net::Shutdown::Both);
    };
    thread::scope(|scope| {
        let back = thread::Builder::new().name("device".into()).spawn_scoped(scope, || {
            let mut piece = [0; HOST_BODY_MAX];
            while !ended.load(Ordering::Relaxed) {
                match from.receive(&mut piece, LOOK_INTERVAL) {
                    Ok(n) => {
                        if send_frame(host::BYTES, piece.get(..n).unwrap_or_default()).is_err() {
                            return;
                        }
                    }
                    Err(LinkError::Timeout(_)) => {}
                    Err(error) => return closed(&error),
                }
            }
        });
        if let Err(error) = back {
            closed(&LinkError::Io(format!("the system gives the station host no thread: {error}")));
            return Err(HostError::Io(error));
        }
        let mut bytes = Vec::new();
        let outcome = loop {
            match message(&mut requests, &mut bytes, HOST_BODY_MAX) {
                Ok(Some(host::BYTES)) => {
                    if let Err(error) = to.send(&bytes, TAKE_TIME) {
                        closed(&error);
                        break Ok(());
                    }
                }
                Ok(Some(_)) => break Err(HostError::Protocol("a frame that is none")),
                Ok(None) => break Ok(()),
                // The other thread has closed the socket.
                Err(HostError::Io(_)) if ended.load(Ordering::Relaxed) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        ended.store(true, Ordering::Relaxed);
        outcome
    })
}
