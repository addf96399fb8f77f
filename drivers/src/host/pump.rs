//! The host's end of a byte link: frames from the socket to the device and back, until one of them closes.
//!
//! One thread each way and no queue between: what the other side does not take yet stays where it came from.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::serve::{HostError, message};
use crate::link::{Link, LinkError};
use crate::serial::SerialLink;
use crate::stream::Timed;
use crate::wire::{HOST_BODY_MAX, host};

/// How long a machine may take no bytes. At 9600 bit/s the longest frame takes 4.3 s.
const TAKE_TIME: Duration = Duration::from_secs(30);
/// How often the way back looks whether the link is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// For a connection to a machine on the network.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Two handles of one device: bytes to it, bytes from it.
pub(super) type Ends = (Box<dyn Link>, Box<dyn Link>);

/// A serial port.
pub(super) fn serial(path: &str, baud: u32) -> Result<Ends, LinkError> {
    let port = SerialLink::open(path, baud)?;
    Ok((Box::new(port.second()?), Box::new(port)))
}

/// A machine on the network.
pub(super) fn tcp(address: &str) -> Result<Ends, LinkError> {
    let fault = |what: &dyn std::fmt::Display| LinkError::Io(format!("{address}: {what}"));
    let mut found = address.to_socket_addrs().map_err(|e| fault(&e))?;
    let found = found.next().ok_or_else(|| fault(&"no such host"))?;
    let socket = TcpStream::connect_timeout(&found, CONNECT_TIME).map_err(|e| fault(&e))?;
    socket.set_nodelay(true).map_err(|e| fault(&e))?;
    let second = socket.try_clone().map_err(|e| fault(&e))?;
    Ok((Box::new(Tcp(Timed::new(second))), Box::new(Tcp(Timed::new(socket)))))
}

/// One connection; not opened again, because its host is.
struct Tcp(Timed<TcpStream>);

impl Link for Tcp {
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
pub(super) fn pump(socket: UnixStream, (mut to, mut from): Ends) -> Result<(), HostError> {
    let mut requests = socket.try_clone()?;
    let back = Mutex::new(socket);
    let ended = AtomicBool::new(false);
    let tell = |kind: u8, body: &[u8]| -> std::io::Result<()> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let frame = [&[kind], &length[..], body].concat();
        back.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame)
    };
    let closed = |error: &LinkError| {
        ended.store(true, Ordering::Relaxed);
        let text = error.to_string();
        // The controller may have gone, too.
        let _ = tell(
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
                        if tell(host::BYTES, piece.get(..n).unwrap_or_default()).is_err() {
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
                // The other way has closed the socket.
                Err(HostError::Io(_)) if ended.load(Ordering::Relaxed) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        ended.store(true, Ordering::Relaxed);
        outcome
    })
}
