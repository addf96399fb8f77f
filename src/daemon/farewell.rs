//! Connections that were refused with an answer, until their question was read.
//!
//! A client that writes its question to a closed socket gets EPIPE, and may never read the answer that lies there.
//! So a refused connection stays open until its question has come, or for a short time. One thread does that for all
//! of them, and their number is bounded. Not here: who is refused (`connections`).

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::wire::REQUEST_MAX;
use crate::threads::{self, ThreadRefused};

/// Most refused connections that stay open. A flood of strangers must not use up the descriptors of the daemon.
const OPEN_MAX: usize = 64;
/// How long a refused connection stays open for its question.
const QUESTION_TIME: Duration = Duration::from_secs(2);
/// Interval at which the thread looks for questions.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Passes refused connections to the thread that closes them.
#[derive(Clone)]
pub(super) struct Farewells(Sender<UnixStream>);

/// A refused connection.
struct Refused {
    stream: UnixStream,
    until: Instant,
    /// Bytes of the question that may still come.
    left: u64,
}

impl Farewells {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, ThreadRefused> {
        let (sender, receiver) = bounded(OPEN_MAX);
        threads::start("farewells", move || wait_for_questions(&receiver))?;
        Ok(Self(sender))
    }

    /// Closes a connection later, when its question was read. If too many wait, it is closed at once.
    pub(super) fn close(&self, stream: UnixStream) {
        if stream.set_nonblocking(true).is_ok() {
            let _closed_at_once = self.0.try_send(stream);
        }
    }
}

impl Refused {
    /// Reads what has come of the question. Returns whether more may come.
    fn is_open(&mut self) -> bool {
        let mut piece = [0; 4096];
        while self.left > 0 {
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(n) => {
                    self.left = self.left.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
                    if piece.get(..n).is_some_and(|piece| piece.contains(&b'\n')) {
                        return false;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Instant::now() < self.until;
                }
                Err(_) => return false,
            }
        }
        false
    }
}

fn wait_for_questions(refused: &Receiver<UnixStream>) {
    let mut open: Vec<Refused> = Vec::new();
    loop {
        let next = if open.is_empty() {
            refused.recv().map_err(RecvTimeoutError::from)
        } else {
            refused.recv_timeout(LOOK_AGAIN)
        };
        match next {
            Ok(stream) => {
                // The oldest has waited longest.
                if open.len() >= OPEN_MAX {
                    open.remove(0);
                }
                open.push(Refused { stream, until: Instant::now() + QUESTION_TIME, left: REQUEST_MAX });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        open.retain_mut(Refused::is_open);
    }
}
