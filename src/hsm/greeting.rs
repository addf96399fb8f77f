//! The greeting between a caller and the HSM host: the host says nothing before it knows who calls.
//!
//! ```text
//! client  "CWHC" | protocol u16 | role u8 | secret of the role (32)      39 bytes, once, in one piece
//! host    "CWHSM" | protocol u16 | 'T' or 'L': the realm                 8 bytes, once
//!                                | 'S': a stranger, 'F': full            and the host closes
//! ```
//!
//! Integers are big-endian. Not here: who gets in (`door`), the frames that follow (`wire`).

use std::io::{Read, Result, Write};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use zeroize::Zeroizing;

use super::Realm;
use super::caller::{CallerRole, CallerSecrets, SECRET};
use super::wire::{PROTOCOL, invalid};

const MAGIC: [u8; 5] = *b"CWHSM";
const CALLER: [u8; 4] = *b"CWHC";
/// Bytes with which a caller begins.
pub(super) const CALL: usize = CALLER.len() + 2 + 1 + SECRET;

/// Says who calls.
pub(super) fn call(stream: &mut impl Write, role: CallerRole, secret: &[u8; SECRET]) -> Result<()> {
    let mut call = Zeroizing::new(Vec::with_capacity(CALL));
    call.extend_from_slice(&CALLER);
    call.extend_from_slice(&PROTOCOL.to_be_bytes());
    call.push(role.number());
    call.extend_from_slice(secret);
    stream.write_all(&call)
}

/// Reads who calls; `None` for a stranger.
pub(super) fn called(call: &[u8; CALL], secrets: &CallerSecrets) -> Option<CallerRole> {
    let (magic, rest) = call.split_first_chunk::<4>()?;
    let (protocol, rest) = rest.split_first_chunk::<2>()?;
    let (&number, secret) = rest.split_first()?;
    if *magic != CALLER || *protocol != PROTOCOL.to_be_bytes() {
        return None;
    }
    let role = CallerRole::ALL.into_iter().find(|role| role.number() == number)?;
    secrets.is_right(role, secret.try_into().ok()?).then_some(role)
}

/// A host's answer to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostGreeting {
    /// It takes the caller.
    Welcome(Realm),
    /// It does not know the caller.
    Stranger,
    /// It has no place for another connection of this role.
    Full,
}

/// Sends the greeting.
pub(super) fn greet(stream: &mut impl Write, greeting: HostGreeting) -> Result<()> {
    let [high, low] = PROTOCOL.to_be_bytes();
    let [a, b, c, d, e] = MAGIC;
    let last = match greeting {
        HostGreeting::Welcome(realm) => realm.code(),
        HostGreeting::Stranger => b'S',
        HostGreeting::Full => b'F',
    };
    stream.write_all(&[a, b, c, d, e, high, low, last])
}

/// Reads and checks the greeting.
pub(super) fn greeted(stream: &mut impl Read) -> Result<Realm> {
    let mut greeting = [0u8; 8];
    stream.read_exact(&mut greeting)?;
    let [magic @ .., high, low, last] = greeting;
    if magic != MAGIC {
        return Err(invalid("it is no HSM host"));
    }
    if u16::from_be_bytes([high, low]) != PROTOCOL {
        return Err(invalid("the HSM host is of another version; install both from one build"));
    }
    match last {
        b'S' => Err(invalid("it takes only callers that the program which started it knows")),
        b'F' => Err(invalid("it has no place for another connection of this kind; try again later")),
        realm => Realm::of_code(realm).ok_or_else(|| invalid("it is neither TEST nor LIVE")),
    }
}

/// Whether the other end runs as the same user.
pub(super) fn same_user(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw())
}

/// Whether this process has made the socket to which this stream is connected.
pub(super) fn listens(process: u32, stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| u32::try_from(peer.pid()) == Ok(process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_is_checked() {
        let greeting = |greeting| {
            let mut bytes = Vec::new();
            greet(&mut bytes, greeting).unwrap();
            bytes
        };
        for realm in [Realm::Test, Realm::Live] {
            assert_eq!(greeted(&mut greeting(HostGreeting::Welcome(realm)).as_slice()).unwrap(), realm);
        }
        let good = greeting(HostGreeting::Welcome(Realm::Test));
        let changed = |place: usize, byte| {
            let mut bad = good.clone();
            bad[place] = byte;
            bad
        };
        let bad = [changed(4, b'N'), changed(6, good[6] - 1), changed(6, good[6] + 1), changed(7, b'X')];
        for bad in bad.iter().map(Vec::as_slice).chain([&good[..7], b""]) {
            assert!(greeted(&mut &*bad).is_err());
        }
        for (refusal, says) in [(HostGreeting::Stranger, "knows"), (HostGreeting::Full, "no place")] {
            let error = greeted(&mut greeting(refusal).as_slice()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn only_the_secret_of_the_role_is_right_for_it() {
        let (secrets, others) = (CallerSecrets::draw().unwrap(), CallerSecrets::draw().unwrap());
        let calls = |role, secret| -> [u8; CALL] {
            let mut bytes = Vec::new();
            call(&mut bytes, role, secret).unwrap();
            bytes.try_into().unwrap()
        };
        for role in CallerRole::ALL {
            for shown in CallerRole::ALL {
                let right = called(&calls(role, secrets.of(shown)), &secrets);
                assert_eq!(right, (role == shown).then_some(role));
                assert_eq!(called(&calls(role, others.of(shown)), &secrets), None);
            }
            let good = calls(role, secrets.of(role));
            for bit in 0..CALL * 8 {
                let mut bad = good;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(called(&bad, &secrets), None, "bit {bit}");
            }
        }
        assert_eq!(called(&[0; CALL], &CallerSecrets::default()), None);
    }
}
