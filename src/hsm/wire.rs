//! The frames between the controller and its HSM host: requests and answers in turn, after the greeting (`greeting`).
//!
//! ```text
//! client  length u32 | postcard of HsmRequest
//! host    length u32 | postcard of Result<HsmAnswer, HsmError>
//! ```
//!
//! A frame that has begun has to arrive whole within a time limit; the time between frames has no limit. After a malformed
//! or late frame the host answers once more and closes.
//!
//! Integers are big-endian. Frames are wiped after use: they carry cardholder data (never keys). A frame is one write
//! and, if it fits [`ROOM`], one read: at a line's speed the wake-ups of both processes cost more than the work
//! itself.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};

use super::HsmError;
use super::operations::HsmAnswer;
use crate::hardening::wipe;
use crate::wiped::WipedBytes;

/// Rises with every change of a message: postcard carries no names.
pub(super) const PROTOCOL: u16 = 16;
/// Most bytes of a frame: an application has at most 65,535, its wrapped commands little more. A host takes shorter ones
/// from some roles.
pub(super) const MAX_FRAME: usize = 1 << 20;
/// Bytes of the length before a frame.
const LENGTH: usize = 4;
/// The shortest time for which a read can wait.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Room for a frame: four times what the largest application of the shipped product needs.
const ROOM: usize = 8 << 10;

/// An answer or an error.
pub(super) type HsmReply = std::result::Result<HsmAnswer, HsmError>;

pub(super) fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
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

/// A stream of which a read can be limited in time.
pub(super) trait TimedRead: Read {
    /// Lets each read from now on wait so long at most; without a limit, for ever.
    fn limit(&mut self, limit: Option<Duration>) -> Result<()>;
}

impl TimedRead for UnixStream {
    fn limit(&mut self, limit: Option<Duration>) -> Result<()> {
        self.set_read_timeout(limit)
    }
}

/// The receiving side of a connection.
pub(super) struct WireFrames<S> {
    stream: S,
    /// Received, not yet a whole frame.
    held: WipedBytes,
    /// Most bytes of a frame.
    longest: usize,
    /// The time within which a frame that has begun must be there.
    patience: Option<Duration>,
}

impl<S> WireFrames<S> {
    /// Takes the stream over, after the greeting. The stream itself limits each read.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: WipedBytes::with_capacity(ROOM), longest: MAX_FRAME, patience: None }
    }

    /// As `new`, with limits for each frame.
    pub(super) fn limited(stream: S, longest: usize, patience: Duration) -> Self {
        Self { longest: longest.min(MAX_FRAME), patience: Some(patience), ..Self::new(stream) }
    }

    /// The sending side.
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: TimedRead> WireFrames<S> {
    /// Reads one frame; `None` if the other side closed before it began.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut clock = FrameClock { limit: self.patience, begun: None };
        let received = self.received(&mut clock);
        if clock.begun.is_some() && received.is_ok() {
            self.stream.limit(None)?;
        }
        received
    }

    fn received<T: DeserializeOwned>(&mut self, clock: &mut FrameClock) -> Result<Option<T>> {
        if !self.fill(LENGTH, clock)? {
            return if self.held.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        let length = self.held.first_chunk::<LENGTH>().copied().unwrap_or_default();
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.longest {
            return Err(invalid("a message is too long"));
        }
        let end = LENGTH + length;
        if !self.fill(end, clock)? {
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
    fn fill(&mut self, wanted: usize, clock: &mut FrameClock) -> Result<bool> {
        while self.held.len() < wanted {
            let have = self.held.len();
            if have == self.held.capacity() {
                // A new one, so that growing leaves no copy behind. It grows with what has come, not with what was announced.
                let mut larger = WipedBytes::with_capacity((2 * have).min(LENGTH + self.longest));
                larger.extend_from_slice(&self.held);
                self.held = larger;
            }
            if have > 0 {
                clock.wait(&mut self.stream)?;
            }
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

/// The time of a frame that has begun.
struct FrameClock {
    limit: Option<Duration>,
    begun: Option<Instant>,
}

impl FrameClock {
    /// Limits the next read to the time that is left.
    fn wait(&mut self, stream: &mut impl TimedRead) -> Result<()> {
        let Some(limit) = self.limit else { return Ok(()) };
        let left = limit.saturating_sub(self.begun.get_or_insert_with(Instant::now).elapsed());
        // Bytes that are there already were sent in time; this host was late to read them.
        stream.limit(Some(left.max(AT_ONCE)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::RecordHandle;
    use super::super::operation_table::SentBytes;
    use super::super::operations::{HsmRequest, HsmRequestRef};
    use super::*;
    use crate::ids::SpoolKeyName;

    #[test]
    fn a_request_by_reference_reads_as_the_request() {
        let handles = [RecordHandle([7; 16])];
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

    impl TimedRead for &[u8] {
        fn limit(&mut self, _: Option<Duration>) -> Result<()> {
            Ok(())
        }
    }

    impl TimedRead for Dribble<'_> {
        fn limit(&mut self, _: Option<Duration>) -> Result<()> {
            Ok(())
        }
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
            send(&mut bytes, &HsmRequestRef::release(&vec![RecordHandle([7; 16]); size])).unwrap();
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
        send(&mut longest, &HsmRequestRef::release(&vec![RecordHandle([7; 16]); MAX_FRAME / 16 - 1]))
            .unwrap();
        let longest: Option<HsmRequest> = WireFrames::new(longest.as_slice()).receive().unwrap();
        assert!(matches!(longest, Some(HsmRequest::release(h)) if h.len() == MAX_FRAME / 16 - 1));
        assert!(
            send(&mut bytes, &HsmRequestRef::release(&vec![RecordHandle([7; 16]); MAX_FRAME / 16])).is_err()
        );
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
