//! The socket between a daemon and its HSM host: a greeting, then requests and answers in turn.
//!
//! ```text
//! host    "CWHSM" | protocol u16 | realm 'T' or 'L'          8 bytes, once
//! client  length u32 | postcard of Request
//! host    length u32 | postcard of Result<Answer, HsmError>
//! ```
//!
//! Integers are big-endian. Frames are wiped after use: they carry cardholder data (never keys).

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{
    Handle, HsmError, HsmInfo, OpenRequest, Opened, PersonalizeRequest, Personalized, Realm, TrailerRequest,
    Verified, VerifyRequest,
};

const MAGIC: [u8; 5] = *b"CWHSM";
/// Rises with every change of a message: postcard carries no names.
pub(super) const PROTOCOL: u16 = 1;
/// Most bytes of a frame: an application has at most 65,535, its wrapped commands little more.
pub(super) const MAX_FRAME: usize = 1 << 20;

/// What a client asks: one for each method of `Hsm`.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    Info,
    VerifyTrailer(TrailerRequest),
    Verify(VerifyRequest),
    Open(OpenRequest),
    Personalize(PersonalizeRequest),
    Release(Vec<Handle>),
}

/// As [`Request`], without taking what is asked. The two encode alike; a test holds them together.
#[derive(Serialize)]
pub(super) enum RequestRef<'a> {
    Info,
    VerifyTrailer(&'a TrailerRequest),
    Verify(&'a VerifyRequest),
    Open(&'a OpenRequest),
    Personalize(&'a PersonalizeRequest),
    Release(&'a [Handle]),
}

/// What the host answers.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Info(HsmInfo),
    Done,
    Verified(Verified),
    Opened(Opened),
    Personalized(Personalized),
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
    let bytes =
        Zeroizing::new(postcard::to_allocvec(message).map_err(|_| invalid("a message cannot be encoded"))?);
    if bytes.len() > MAX_FRAME {
        return Err(invalid("a message is too long"));
    }
    let length = u32::try_from(bytes.len()).map_err(|_| invalid("a message is too long"))?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&bytes)?;
    stream.flush()
}

/// Reads one frame; `None` if the other side closed before it began.
pub(super) fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> Result<Option<T>> {
    let mut length = [0u8; 4];
    if stream.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..])?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(invalid("a message is too long"));
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut bytes)?;
    match postcard::take_from_bytes(&bytes) {
        Ok((message, [])) => Ok(Some(message)),
        _ => Err(invalid("a message does not read")),
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
        let mut rest = bytes.as_slice();
        assert!(matches!(receive(&mut rest).unwrap(), Some(Request::Release(h)) if h == handles));
        assert!(matches!(receive(&mut rest).unwrap(), Some(Request::Info)));
        assert!(receive::<Request>(&mut rest).unwrap().is_none());
    }

    #[test]
    fn the_greeting_is_checked() {
        for realm in [Realm::Test, Realm::Live] {
            let mut bytes = Vec::new();
            greet(&mut bytes, realm).unwrap();
            assert_eq!(greeted(&mut bytes.as_slice()).unwrap(), realm);
        }
        for bad in [&b"CWHSM\0\x02T"[..], b"CWHSN\0\x01T", b"CWHSM\0\x01X", b"CWHSM\0\x01", b""] {
            assert!(greeted(&mut &*bad).is_err());
        }
    }

    #[test]
    fn frames_that_are_too_long_cut_or_followed_by_something_are_refused() {
        let refused = |bytes: &[u8]| receive::<Request>(&mut &*bytes).is_err();
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
            let _ = receive::<Request>(&mut frame.as_slice());
            let _ = receive::<Reply>(&mut bytes.as_slice());
        }
    }
}
