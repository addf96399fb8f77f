//! The socket between the controller and its HSM host: a greeting, then requests and answers in turn.
//!
//! ```text
//! host    "CWHSM" | protocol u16 | realm 'T' or 'L'          8 bytes, once
//! client  length u32 | postcard of HsmRequest
//! host    length u32 | postcard of Result<HsmAnswer, HsmError>
//! ```
//!
//! Integers are big-endian. Frames are wiped after use: they carry cardholder data (never keys). A frame is one write
//! and, if it fits [`ROOM`], one read: at a line's speed the wake-ups of both processes cost more than the work
//! itself.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Serialize, de::DeserializeOwned};

use super::operations::HsmAnswer;
use super::{HsmError, Realm};
use crate::hardening::wipe;
use crate::wiped::WipedBytes;

const MAGIC: [u8; 5] = *b"CWHSM";
/// Rises with every change of a message: postcard carries no names.
pub(super) const PROTOCOL: u16 = 11;
/// Most bytes of a frame: an application has at most 65,535, its wrapped commands little more.
pub(super) const MAX_FRAME: usize = 1 << 20;
/// Bytes of the length before a frame.
const LENGTH: usize = 4;
/// Room for a frame: four times what the largest application of the shipped product needs.
const ROOM: usize = 8 << 10;

/// An answer or an error.
pub(super) type HsmReply = std::result::Result<HsmAnswer, HsmError>;

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

/// Sends the greeting.
pub(super) fn greet(stream: &mut impl Write, realm: Realm) -> Result<()> {
    let [high, low] = PROTOCOL.to_be_bytes();
    let [a, b, c, d, e] = MAGIC;
    let realm = match realm {
        Realm::Test => b'T',
        Realm::Live => b'L',
    };
    stream.write_all(&[a, b, c, d, e, high, low, realm])
}

/// Reads and checks the greeting.
pub(super) fn greeted(stream: &mut impl Read) -> Result<Realm> {
    let mut greeting = [0u8; 8];
    stream.read_exact(&mut greeting)?;
    let [magic @ .., high, low, realm] = greeting;
    if magic != MAGIC {
        return Err(invalid("it is no HSM host"));
    }
    if u16::from_be_bytes([high, low]) != PROTOCOL {
        return Err(invalid("the HSM host is of another version; install both from one build"));
    }
    match realm {
        b'T' => Ok(Realm::Test),
        b'L' => Ok(Realm::Live),
        _ => Err(invalid("it is neither TEST nor LIVE")),
    }
}

/// A frame while it is encoded. A `Vec` that grows frees its old buffer unwiped; this one wipes it first.
struct FrameBuffer(WipedBytes);

impl Extend<u8> for FrameBuffer {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        let bytes = bytes.into_iter();
        let needed = self.0.len() + bytes.size_hint().0;
        if needed > self.0.capacity() {
            let mut larger = WipedBytes::with_capacity(needed.max(2 * self.0.capacity()));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend(bytes);
    }
}

/// Writes one frame.
pub(super) fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<()> {
    let mut frame = WipedBytes::with_capacity(ROOM);
    frame.resize(LENGTH, 0);
    let frame = postcard::to_extend(message, FrameBuffer(frame));
    let FrameBuffer(mut frame) = frame.map_err(|_| invalid("a message cannot be encoded"))?;
    let length = u32::try_from(frame.len().saturating_sub(LENGTH));
    let length = length.ok().filter(|_| frame.len() <= MAX_FRAME + LENGTH);
    let length = length.ok_or_else(|| invalid("a message is too long"))?;
    if let Some(place) = frame.first_chunk_mut::<LENGTH>() {
        *place = length.to_be_bytes();
    }
    stream.write_all(&frame)?;
    stream.flush()
}

/// The receiving side of a connection.
pub(super) struct WireFrames<S> {
    stream: S,
    /// Received, not yet a whole frame.
    held: WipedBytes,
}

impl<S> WireFrames<S> {
    /// Takes the stream over, after the greeting.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: WipedBytes::with_capacity(ROOM) }
    }

    /// The sending side.
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: Read> WireFrames<S> {
    /// Reads one frame; `None` if the other side closed before it began.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        if !self.fill(LENGTH)? {
            return if self.held.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        let length = self.held.first_chunk::<LENGTH>().copied().unwrap_or_default();
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(invalid("a message is too long"));
        }
        let end = LENGTH + length;
        if !self.fill(end)? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let message = match postcard::take_from_bytes(self.held.get(LENGTH..end).unwrap_or_default()) {
            Ok((message, [])) => message,
            _ => return Err(invalid("a message cannot be decoded")),
        };
        self.held.copy_within(end.., 0);
        let rest = self.held.len() - end;
        if let Some(done) = self.held.get_mut(rest..) {
            wipe(done);
        }
        self.held.truncate(rest);
        Ok(Some(message))
    }

    /// Reads until `wanted` bytes are there; false if the stream ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool> {
        if self.held.capacity() < wanted {
            // A new one, so that growing leaves no copy behind.
            let mut larger = WipedBytes::with_capacity(wanted);
            larger.extend_from_slice(&self.held);
            self.held = larger;
        }
        while self.held.len() < wanted {
            let have = self.held.len();
            let room = self.held.capacity();
            self.held.resize(room, 0);
            let got = match self.held.get_mut(have..) {
                Some(free) => self.stream.read(free),
                None => Ok(0),
            };
            self.held.truncate(have + got.as_ref().copied().unwrap_or(0));
            match got {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Whether the other end runs as the same user.
pub(super) fn same_user(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ApplicationHandle;
    use super::super::operation_table::SentBytes;
    use super::super::operations::{HsmRequest, HsmRequestRef};
    use super::*;
    use crate::ids::SpoolKeyName;

    #[test]
    fn a_request_by_reference_reads_as_the_request() {
        let handles = [ApplicationHandle([7; 16])];
        let mut bytes = Vec::new();
        send(&mut bytes, &HsmRequestRef::release(&handles)).unwrap();
        send(&mut bytes, &HsmRequestRef::info()).unwrap();
        let name = SpoolKeyName([8; 16]);
        send(&mut bytes, &HsmRequestRef::seal(name, 5, SentBytes(b"clear"))).unwrap();
        let mut frames = WireFrames::new(bytes.as_slice());
        assert!(matches!(frames.receive().unwrap(), Some(HsmRequest::release(h)) if h == handles));
        assert!(matches!(frames.receive().unwrap(), Some(HsmRequest::info())));
        let seal = frames.receive().unwrap();
        assert!(
            matches!(seal, Some(HsmRequest::seal(n, 5, bytes)) if n == name && bytes.as_slice() == b"clear")
        );
        assert!(frames.receive::<HsmRequest>().unwrap().is_none());
    }

    /// Returns its bytes one by one.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            let now = buffer.len().min(1);
            self.0.read(&mut buffer[..now])
        }
    }

    #[test]
    fn frames_come_in_any_pieces_and_sizes() {
        let mut bytes = Vec::new();
        let sizes = [0, 1, 600, ROOM / 16 + 1, 3 * ROOM / 16, 5];
        for size in sizes {
            send(&mut bytes, &HsmRequestRef::release(&vec![ApplicationHandle([7; 16]); size])).unwrap();
        }
        let mut whole = WireFrames::new(bytes.as_slice());
        let mut pieces = WireFrames::new(Dribble(&bytes));
        for size in sizes {
            assert!(matches!(whole.receive().unwrap(), Some(HsmRequest::release(h)) if h.len() == size));
            assert!(matches!(pieces.receive().unwrap(), Some(HsmRequest::release(h)) if h.len() == size));
        }
        assert!(whole.receive::<HsmRequest>().unwrap().is_none() && pieces.held.is_empty());
        // With the kind and the number of handles, the last that fits and the first that does not.
        let mut longest = Vec::new();
        send(&mut longest, &HsmRequestRef::release(&vec![ApplicationHandle([7; 16]); MAX_FRAME / 16 - 1]))
            .unwrap();
        let longest: Option<HsmRequest> = WireFrames::new(longest.as_slice()).receive().unwrap();
        assert!(matches!(longest, Some(HsmRequest::release(h)) if h.len() == MAX_FRAME / 16 - 1));
        assert!(
            send(&mut bytes, &HsmRequestRef::release(&vec![ApplicationHandle([7; 16]); MAX_FRAME / 16]))
                .is_err()
        );
    }

    #[test]
    fn the_greeting_is_checked() {
        for realm in [Realm::Test, Realm::Live] {
            let mut bytes = Vec::new();
            greet(&mut bytes, realm).unwrap();
            assert_eq!(greeted(&mut bytes.as_slice()).unwrap(), realm);
        }
        for bad in
            [&b"CWHSM\0\x04T"[..], b"CWHSM\0\x05T", b"CWHSN\0\x06T", b"CWHSM\0\x06X", b"CWHSM\0\x06", b""]
        {
            assert!(greeted(&mut &*bad).is_err());
        }
    }

    #[test]
    fn frames_that_are_too_long_cut_or_followed_by_something_are_refused() {
        let refused = |bytes: &[u8]| WireFrames::new(bytes).receive::<HsmRequest>().is_err();
        assert!(refused(&[0, 0x10, 0, 1]));
        assert!(refused(&[0xFF, 0xFF, 0xFF, 0xFF]));
        assert!(refused(&[0, 0]));
        assert!(refused(&[0, 0, 0, 2, 0]));
        assert!(refused(&[0, 0, 0, 2, 0, 0]), "a byte after the request");
        assert!(refused(&[0, 0, 0, 1, 99]), "no such request");
        assert!(!refused(&[0, 0, 0, 1, 0]), "Info");
    }

    proptest! {
        #[test]
        fn whatever_arrives_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frame = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
            frame.extend(&bytes);
            let _ = WireFrames::new(frame.as_slice()).receive::<HsmRequest>();
            let _ = WireFrames::new(bytes.as_slice()).receive::<HsmReply>();
        }
    }
}
