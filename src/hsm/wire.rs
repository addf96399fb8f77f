//! The socket between a daemon and its HSM host: a greeting, then requests and answers in turn.
//!
//! ```text
//! host    "CWHSM" | protocol u16 | realm 'T' or 'L'          8 bytes, once
//! client  length u32 | postcard of Request
//! host    length u32 | postcard of Result<Answer, HsmError>
//! ```
//!
//! Integers are big-endian. Frames are wiped after use: they carry cardholder data (never keys). A frame is one write and,
//! as far as it fits [`ROOM`], one read: at a line's speed the wake-ups of both processes cost more than what they do.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

use super::octets::{Octets, OctetsRef};
use super::{
    Admission, AuditInfo, Handle, HsmError, HsmInfo, OpenRequest, Opened, PersonalizeRequest, Personalized,
    Realm, SessionRequest, TrailerRequest, Verified, VerifyRequest,
};
use crate::audit::{ChainPlace, Checkpoint, DocumentKind, LedgerId, Signature};
use crate::ids::SpoolKeyName;

const MAGIC: [u8; 5] = *b"CWHSM";
/// Rises with every change of a message: postcard carries no names.
pub(super) const PROTOCOL: u16 = 4;
/// Most bytes of a frame: an application has at most 65,535, its wrapped commands little more.
pub(super) const MAX_FRAME: usize = 1 << 20;
/// Bytes of the length before a frame.
const LENGTH: usize = 4;
/// Room for a frame: four times what the largest application of the shipped product needs.
const ROOM: usize = 8 << 10;

/// What a client asks: one for each method of `Hsm`.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    Info,
    VerifyTrailer(TrailerRequest),
    Verify(VerifyRequest),
    VerifyAll(Vec<VerifyRequest>),
    Open(OpenRequest),
    Personalize(PersonalizeRequest),
    Session(OpenRequest, SessionRequest),
    Release(Vec<Handle>),
    Audit(LedgerId),
    Checkpoint(ChainPlace),
    Admit(Admission),
    Sign(DocumentKind, LedgerId, [u8; 32]),
    NewSpool(LedgerId),
    Seal(SpoolKeyName, u64, Octets),
    Unseal(SpoolKeyName, u64, Octets),
    DestroySpool(SpoolKeyName),
    KeepSpools(LedgerId, Vec<SpoolKeyName>),
}

/// As [`Request`], without taking what is asked. The two encode alike; a test holds them together.
#[derive(Serialize)]
pub(super) enum RequestRef<'a> {
    Info,
    VerifyTrailer(&'a TrailerRequest),
    Verify(&'a VerifyRequest),
    VerifyAll(&'a [VerifyRequest]),
    Open(&'a OpenRequest),
    Personalize(&'a PersonalizeRequest),
    Session(&'a OpenRequest, &'a SessionRequest),
    Release(&'a [Handle]),
    Audit(LedgerId),
    Checkpoint(ChainPlace),
    Admit(&'a Admission),
    Sign(DocumentKind, LedgerId, [u8; 32]),
    NewSpool(LedgerId),
    Seal(SpoolKeyName, u64, OctetsRef<'a>),
    Unseal(SpoolKeyName, u64, OctetsRef<'a>),
    DestroySpool(SpoolKeyName),
    KeepSpools(LedgerId, &'a [SpoolKeyName]),
}

impl RequestRef<'_> {
    /// Its name in reports.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::VerifyTrailer(_) => "verify-trailer",
            Self::Verify(_) | Self::VerifyAll(_) => "verify",
            Self::Open(_) => "open",
            Self::Personalize(_) => "personalize",
            Self::Session(..) => "session",
            Self::Release(_) => "release",
            Self::Audit(_) => "audit",
            Self::Checkpoint(_) => "checkpoint",
            Self::Admit(_) => "admit",
            Self::Sign(..) => "sign",
            Self::NewSpool(_) => "new-spool",
            Self::Seal(..) => "seal",
            Self::Unseal(..) => "unseal",
            Self::DestroySpool(_) => "destroy-spool",
            Self::KeepSpools(..) => "keep-spools",
        }
    }
}

/// What the host answers.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Info(HsmInfo),
    Done,
    Verified(Verified),
    AllVerified(Vec<Verified>),
    Opened(Opened),
    Personalized(Personalized),
    Audit(AuditInfo),
    Checkpoint(Checkpoint),
    Signed(Signature),
    Spool(SpoolKeyName),
    Pieces(Octets),
}

/// An answer or an error.
pub(super) type Reply = std::result::Result<Answer, HsmError>;

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

/// Writes one frame.
pub(super) fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<()> {
    let mut frame = Vec::with_capacity(ROOM);
    frame.resize(LENGTH, 0);
    let frame = postcard::to_extend(message, frame).map_err(|_| invalid("a message cannot be encoded"))?;
    let mut frame = Zeroizing::new(frame);
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
pub(super) struct Frames<S> {
    stream: S,
    /// Received, not yet a whole frame.
    held: Zeroizing<Vec<u8>>,
}

impl<S> Frames<S> {
    /// Takes the stream over, behind the greeting.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: Zeroizing::new(Vec::with_capacity(ROOM)) }
    }

    /// The sending side.
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: Read> Frames<S> {
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
            _ => return Err(invalid("a message does not read")),
        };
        self.held.copy_within(end.., 0);
        let rest = self.held.len() - end;
        if let Some(done) = self.held.get_mut(rest..) {
            done.zeroize();
        }
        self.held.truncate(rest);
        Ok(Some(message))
    }

    /// Reads until so many bytes are there; false if the stream ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool> {
        if self.held.capacity() < wanted {
            // A new one, so that growing leaves no copy behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(wanted));
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

    use super::*;

    #[test]
    fn a_request_by_reference_reads_as_the_request() {
        let handles = [Handle([7; 16])];
        let mut bytes = Vec::new();
        send(&mut bytes, &RequestRef::Release(&handles)).unwrap();
        send(&mut bytes, &RequestRef::Info).unwrap();
        let name = SpoolKeyName([8; 16]);
        send(&mut bytes, &RequestRef::Seal(name, 5, OctetsRef(b"clear"))).unwrap();
        let mut frames = Frames::new(bytes.as_slice());
        assert!(matches!(frames.receive().unwrap(), Some(Request::Release(h)) if h == handles));
        assert!(matches!(frames.receive().unwrap(), Some(Request::Info)));
        let seal = frames.receive().unwrap();
        assert!(matches!(seal, Some(Request::Seal(n, 5, bytes)) if n == name && bytes.0 == b"clear"));
        assert!(frames.receive::<Request>().unwrap().is_none());
    }

    /// Gives what it has byte by byte.
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
            send(&mut bytes, &RequestRef::Release(&vec![Handle([7; 16]); size])).unwrap();
        }
        let mut whole = Frames::new(bytes.as_slice());
        let mut pieces = Frames::new(Dribble(&bytes));
        for size in sizes {
            assert!(matches!(whole.receive().unwrap(), Some(Request::Release(h)) if h.len() == size));
            assert!(matches!(pieces.receive().unwrap(), Some(Request::Release(h)) if h.len() == size));
        }
        assert!(whole.receive::<Request>().unwrap().is_none() && pieces.held.is_empty());
        // With the kind and the number of handles, the last that fits and the first that does not.
        let mut longest = Vec::new();
        send(&mut longest, &RequestRef::Release(&vec![Handle([7; 16]); MAX_FRAME / 16 - 1])).unwrap();
        let longest: Option<Request> = Frames::new(longest.as_slice()).receive().unwrap();
        assert!(matches!(longest, Some(Request::Release(h)) if h.len() == MAX_FRAME / 16 - 1));
        assert!(send(&mut bytes, &RequestRef::Release(&vec![Handle([7; 16]); MAX_FRAME / 16])).is_err());
    }

    #[test]
    fn the_greeting_is_checked() {
        for realm in [Realm::Test, Realm::Live] {
            let mut bytes = Vec::new();
            greet(&mut bytes, realm).unwrap();
            assert_eq!(greeted(&mut bytes.as_slice()).unwrap(), realm);
        }
        for bad in [&b"CWHSM\0\x03T"[..], b"CWHSN\0\x04T", b"CWHSM\0\x04X", b"CWHSM\0\x04", b""] {
            assert!(greeted(&mut &*bad).is_err());
        }
    }

    #[test]
    fn frames_that_are_too_long_cut_or_followed_by_something_are_refused() {
        let refused = |bytes: &[u8]| Frames::new(bytes).receive::<Request>().is_err();
        assert!(refused(&[0, 0x10, 0, 1]));
        assert!(refused(&[0xFF, 0xFF, 0xFF, 0xFF]));
        assert!(refused(&[0, 0]));
        assert!(refused(&[0, 0, 0, 2, 0]));
        assert!(refused(&[0, 0, 0, 2, 0, 0]), "a byte behind Info");
        assert!(refused(&[0, 0, 0, 1, 99]), "no such request");
        assert!(!refused(&[0, 0, 0, 1, 0]), "Info");
    }

    proptest! {
        #[test]
        fn whatever_arrives_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frame = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
            frame.extend(&bytes);
            let _ = Frames::new(frame.as_slice()).receive::<Request>();
            let _ = Frames::new(bytes.as_slice()).receive::<Reply>();
        }
    }
}
