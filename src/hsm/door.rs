//! The door of the HSM host: a connection gets in when it has shown the secret of a role.
//!
//! ```text
//! connected ──> waits ──> secret right ──> place free ──> in: a thread answers its requests
//!                 │            │               └─> 'F', closed
//!                 │            └─> 'S', closed: another user, wrong, cut or malformed
//!                 └─> closed without a word: no secret within the limit, or the oldest of too many that wait
//! ```
//!
//! A caller that waits costs a descriptor and nothing else, and takes no place from callers that got in. Not here: the socket,
//! and what a connection does when it is in (`host`).

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use zeroize::Zeroizing;

use super::caller::{CallerRole, CallerSecrets};
use super::greeting::{self, CALL, HostGreeting};

/// A caller shows its secret at once; a loaded machine gets this long.
const SHOW_LIMIT: Duration = Duration::from_secs(10);
/// Most connections that have not shown a secret yet. The oldest makes place for the next.
const MAX_WAITING: usize = 64;
/// Pause after the system gave no connection, for want of descriptors most likely: others must end first.
const PAUSE: Duration = Duration::from_millis(100);

/// Lets callers in, one after the other.
pub(super) struct Doorkeeper<'a> {
    listener: &'a UnixListener,
    secrets: &'a CallerSecrets,
    places: RolePlaces,
    waiting: VecDeque<WaitingCaller>,
}

struct WaitingCaller {
    stream: UnixStream,
    since: Instant,
}

/// A connection that got in.
pub(super) struct AdmittedCaller {
    /// Its stream. The host has not greeted it yet.
    pub(super) stream: UnixStream,
    /// Its role.
    pub(super) role: CallerRole,
    /// Its place, which is free again when this is dropped.
    pub(super) place: RolePlace,
}

impl<'a> Doorkeeper<'a> {
    pub(super) fn new(listener: &'a UnixListener, secrets: &'a CallerSecrets) -> std::io::Result<Self> {
        // A caller may be gone again before it is accepted.
        listener.set_nonblocking(true)?;
        Ok(Self { listener, secrets, places: RolePlaces::default(), waiting: VecDeque::new() })
    }

    /// Waits until a caller gets in.
    pub(super) fn next(&mut self) -> AdmittedCaller {
        loop {
            self.waiting.retain(|waiting| waiting.since.elapsed() < SHOW_LIMIT);
            let readable = self.readable();
            // Callers that have sent something are answered first: each frees a place among those that wait.
            for place in readable.into_iter().rev() {
                if let Some(waiting) = self.waiting.remove(place)
                    && let Some(admitted) = self.admit(waiting.stream)
                {
                    return admitted;
                }
            }
            self.accept();
        }
    }

    /// Waits for the next thing to do. Returns the places of waiting callers that have sent something or are gone.
    fn readable(&self) -> Vec<usize> {
        let oldest = self.waiting.front().map(|oldest| SHOW_LIMIT.saturating_sub(oldest.since.elapsed()));
        let limit = oldest.map_or(PollTimeout::NONE, |left| {
            // A millisecond more, so that the limit has passed when this returns.
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let streams = self.waiting.iter().map(|waiting| waiting.stream.as_fd());
        let all = std::iter::once(self.listener.as_fd()).chain(streams);
        let mut all: Vec<_> = all.map(|stream| PollFd::new(stream, PollFlags::POLLIN)).collect();
        if let Err(error) = poll(&mut all, limit) {
            tracing::debug!(%error, "the HSM host did not wait");
            return Vec::new();
        }
        let waiting = all.iter().skip(1).enumerate();
        waiting.filter(|(_, polled)| polled.any().unwrap_or(true)).map(|(place, _)| place).collect()
    }

    /// Takes the next connection, if there is one.
    fn accept(&mut self) {
        match self.listener.accept() {
            Ok((stream, _)) => {
                if self.waiting.len() == MAX_WAITING {
                    self.waiting.pop_front();
                }
                self.waiting.push_back(WaitingCaller { stream, since: Instant::now() });
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::debug!(%error, "the HSM host cannot take a connection");
                self.waiting.pop_front();
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Reads what a caller shows, which comes in one piece, and lets it in or sends it away.
    fn admit(&self, mut stream: UnixStream) -> Option<AdmittedCaller> {
        let mut call = Zeroizing::new([0; CALL]);
        let got = recv(stream.as_raw_fd(), &mut *call, MsgFlags::MSG_DONTWAIT);
        let whole = got.is_ok_and(|got| got == CALL) && greeting::same_user(&stream);
        let role = if whole { greeting::called(&call, self.secrets) } else { None };
        let answer = match role.map(|role| (role, self.places.take(role))) {
            Some((role, Some(place))) => return Some(AdmittedCaller { stream, role, place }),
            Some((role, None)) => {
                tracing::warn!(?role, "too many connections of one kind to the HSM; one more was refused");
                HostGreeting::Full
            }
            None => HostGreeting::Stranger,
        };
        // It may be gone already. Eight bytes always fit the buffer of a new socket.
        let _ = greeting::greet(&mut stream, answer);
        None
    }
}

/// Connections of each role, counted.
#[derive(Clone, Default)]
struct RolePlaces(Arc<[AtomicUsize; CallerRole::ALL.len()]>);

/// The place of a connection. It is given back when this is dropped, also when its thread panics or never starts.
pub(super) struct RolePlace {
    places: RolePlaces,
    role: CallerRole,
}

impl RolePlaces {
    /// Takes a place. Only the thread of the door does.
    fn take(&self, role: CallerRole) -> Option<RolePlace> {
        if role.of(&self.0).load(Ordering::SeqCst) >= role.most_connections() {
            return None;
        }
        role.of(&self.0).fetch_add(1, Ordering::SeqCst);
        Some(RolePlace { places: self.clone(), role })
    }
}

impl Drop for RolePlace {
    fn drop(&mut self) {
        self.role.of(&self.places.0).fetch_sub(1, Ordering::SeqCst);
    }
}
