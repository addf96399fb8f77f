//! Turns the bytes of a framed machine, one by one, into events. No I/O.
//!
//! ```text
//! outside ──STX──▶ inside ──ETX──▶ check ──BCC──▶ outside: Frame or Damaged
//!    │ ACK NAK DLE: Control   │ STX: begins anew   │
//!    │ ETX: Damaged           │ ACK NAK: Control, outside
//!    │ else: noise            │ DLE: the next byte is escaped
//! ```
//!
//! STX, ETX, ACK and NAK never stand unescaped between STX and ETX. A raw one there shows that either the
//! beginning or the rest was noise. An ETX outside a frame ends a frame whose STX got lost.

use zeroize::Zeroizing;

use super::is_special;
use crate::wire::{ACK, DLE, ESCAPE_XOR, ETX, FRAME_DATA_MAX, NAK, STX};

/// Longest body: cmd, status and data.
const BODY_MAX: usize = FRAME_DATA_MAX + 2;

/// A message from a machine.
pub(super) enum FrameEvent {
    /// ACK, NAK or DLE outside a frame.
    Control(u8),
    /// An intact frame: cmd, status, data; at least one byte.
    Frame(Zeroizing<Vec<u8>>),
    /// A damaged frame, or the end of one.
    Damaged,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum FrameState {
    #[default]
    Outside,
    Inside,
    Escaped,
    Check,
}

/// Collects one frame, up to the longest body.
#[derive(Default)]
pub(super) struct FrameDecoder {
    state: FrameState,
    body: Zeroizing<Vec<u8>>,
    bcc: u8,
    broken: bool,
}

impl FrameDecoder {
    /// Whether a frame has begun and not ended.
    pub(super) fn inside(&self) -> bool {
        self.state != FrameState::Outside
    }

    /// Takes one byte; returns an event if the byte completes one.
    pub(super) fn push(&mut self, byte: u8) -> Option<FrameEvent> {
        match (self.state, byte) {
            (FrameState::Check, _) => return Some(self.finish(byte)),
            (_, STX) => *self = Self { state: FrameState::Inside, ..Self::default() },
            (FrameState::Outside, ACK | NAK | DLE) => return Some(FrameEvent::Control(byte)),
            (FrameState::Outside, ETX) => return Some(FrameEvent::Damaged),
            (FrameState::Outside, _) => {}
            (_, ACK | NAK) => {
                *self = Self::default();
                return Some(FrameEvent::Control(byte));
            }
            (state, ETX) => {
                self.broken |= state == FrameState::Escaped;
                self.bcc ^= byte;
                self.state = FrameState::Check;
            }
            (FrameState::Inside, DLE) => {
                self.bcc ^= byte;
                self.state = FrameState::Escaped;
            }
            (state, _) => {
                self.bcc ^= byte;
                let plain = if state == FrameState::Escaped { byte ^ ESCAPE_XOR } else { byte };
                self.broken |= state == FrameState::Escaped && !is_special(plain);
                self.state = FrameState::Inside;
                if self.body.len() < BODY_MAX {
                    self.body.push(plain);
                } else {
                    self.broken = true;
                }
            }
        }
        None
    }

    fn finish(&mut self, bcc: u8) -> FrameEvent {
        let done = std::mem::take(self);
        if done.broken || done.bcc != bcc || done.body.is_empty() {
            return FrameEvent::Damaged;
        }
        FrameEvent::Frame(done.body)
    }
}
