//! Sends a host's answers, usually each at once. If the answers of a session come faster than any card at contacts
//! gives them, several are sent together. An answer waits 50 ms at most, so the controller knows which command a card
//! hangs on.
//!
//! Not here: the answers (`serve`).

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zeroize::{Zeroize, Zeroizing};

use crate::exchange::KEPT;

/// Interval at which [`HeldAnswers::send_late`] looks for answers that wait.
const LATE: Duration = Duration::from_millis(25);

/// The answers of a host that are not sent yet.
pub(super) struct HeldAnswers<'a> {
    socket: &'a UnixStream,
    state: Mutex<UnsentAnswers>,
    changed: Condvar,
}

struct UnsentAnswers {
    held: Zeroizing<Vec<u8>>,
    /// When answers were last sent.
    sent: Instant,
    phase: SendingPhase,
    /// Whether [`HeldAnswers::send_late`] sleeps until it is notified.
    parked: bool,
}

#[derive(PartialEq, Eq)]
enum SendingPhase {
    /// No answer waits.
    Idle,
    /// A session is under way.
    Session,
    /// The host ends.
    Ended,
}

impl<'a> HeldAnswers<'a> {
    pub(super) fn new(socket: &'a UnixStream) -> Self {
        let state = UnsentAnswers {
            held: Zeroizing::default(),
            sent: Instant::now(),
            phase: SendingPhase::Idle,
            parked: false,
        };
        Self { socket, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Sends an answer at once, after those that wait. It is the last one of its request.
    pub(super) fn send(&self, answer: &[u8]) -> std::io::Result<()> {
        let mut state = self.state();
        state.held.extend_from_slice(answer);
        state.phase = SendingPhase::Idle;
        state.send(self.socket)
    }

    /// Sends an answer of a session that goes on, at once or together with later ones.
    pub(super) fn send_soon(&self, answer: &[u8]) -> std::io::Result<()> {
        let mut state = self.state();
        state.held.extend_from_slice(answer);
        if state.sent.elapsed() >= KEPT {
            return state.send(self.socket);
        }
        state.phase = SendingPhase::Session;
        if state.parked {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Sends answers that have waited too long, until the guard of [`Self::until_dropped`] is dropped.
    pub(super) fn send_late(&self) {
        let mut state = self.state();
        while state.phase != SendingPhase::Ended {
            if state.phase == SendingPhase::Idle {
                state.parked = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.parked = false;
            } else {
                state = self.changed.wait_timeout(state, LATE).unwrap_or_else(PoisonError::into_inner).0;
                if state.sent.elapsed() >= LATE && !state.held.is_empty() {
                    // If that fails, so does the next answer, whose sender reports it.
                    let _ = state.send(self.socket);
                }
            }
        }
    }

    /// Returns a guard that ends [`Self::send_late`] when it is dropped, also by a panic.
    pub(super) fn until_dropped(&self) -> LastAnswer<'_> {
        LastAnswer(self)
    }

    fn state(&self) -> MutexGuard<'_, UnsentAnswers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends [`HeldAnswers::send_late`] when it is dropped.
pub(super) struct LastAnswer<'a>(&'a HeldAnswers<'a>);

impl Drop for LastAnswer<'_> {
    fn drop(&mut self) {
        self.0.state().phase = SendingPhase::Ended;
        self.0.changed.notify_one();
    }
}

impl UnsentAnswers {
    fn send(&mut self, mut socket: &UnixStream) -> std::io::Result<()> {
        let sent = socket.write_all(&self.held);
        self.held.zeroize();
        self.sent = Instant::now();
        sent
    }
}
