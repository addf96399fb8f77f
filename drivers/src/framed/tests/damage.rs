//! The framing over a line that changes any byte of a session to any value, or breaks at any byte: never a
//! wrong acceptance, never a command done twice, never a hang.

use std::sync::{Arc, Mutex};

use super::*;
use crate::testing::{DamagedLine, LineDamage, MachineBehaviour, damages, frame};

const WORK: Duration = Duration::from_secs(30);
/// Data with a byte that is stuffed.
const DATA: &[u8] = b"line \x10!";

/// A machine after wire section 2: it carries out and answers intact frames, and refuses others with NAK.
#[derive(Default)]
struct Machine {
    /// The frame from STX on.
    frame: Vec<u8>,
    /// The last answer, until it is acknowledged.
    answer: Vec<u8>,
    /// Body of every command that was carried out.
    done: Vec<Vec<u8>>,
}

impl MachineBehaviour for Machine {
    fn take(&mut self, byte: u8) -> Vec<u8> {
        let bcc = self.frame.len() > 1 && self.frame.ends_with(&[ETX]);
        match byte {
            _ if bcc => return self.complete(byte),
            STX => self.frame = vec![STX],
            _ if !self.frame.is_empty() => self.frame.push(byte),
            NAK => return self.answer.clone(),
            ACK => self.answer.clear(),
            _ => {}
        }
        vec![]
    }

    fn reopened(&mut self) {
        self.frame.clear();
        self.answer.clear();
    }
}

impl Machine {
    fn complete(&mut self, bcc: u8) -> Vec<u8> {
        let inner = std::mem::take(&mut self.frame).split_off(1);
        if inner.iter().fold(0, |sum, byte| sum ^ byte) != bcc || inner.len() < 2 {
            return vec![NAK];
        }
        let mut body = vec![];
        let mut escaped = false;
        for byte in &inner[..inner.len() - 1] {
            match byte {
                &DLE if !escaped => escaped = true,
                byte => {
                    body.push(if escaped { byte ^ ESCAPE_XOR } else { *byte });
                    escaped = false;
                }
            }
        }
        let name: &[u8] = if body[0] == b'S' { b"MODEL" } else { b"" };
        self.answer = frame(&[&[body[0], b'0'], name].concat());
        self.done.push(body);
        [&[ACK], &self.answer[..]].concat()
    }
}

fn session(damage: LineDamage) -> (FramedLink<DamagedLine<Machine>>, Arc<Mutex<Machine>>) {
    let (line, machine) = DamagedLine::new(Machine::default(), damage);
    (FramedLink::new(line), machine)
}

/// Numbers of bytes: the controller's frame and acknowledgement, and the machine's acknowledgement and
/// answer.
fn lengths() -> (usize, usize) {
    (frame(&[b"L", DATA].concat()).len() + 1, 1 + frame(b"L0").len())
}

#[test]
fn a_session_damaged_anywhere_is_mended_or_reported() {
    let wanted = [b"L", DATA].concat();
    let (ours, its) = lengths();
    for damage in damages(ours, its) {
        let (mut framed, machine) = session(damage);
        let outcome = framed.command(b'L', DATA, WORK);
        let done = machine.lock().unwrap().done.clone();
        assert!(done.iter().all(|body| *body == wanted), "another command was done");
        // An ACK that turns into a NAK is the limit of the protocol; see the documentation of `framed`.
        let turned = matches!(damage, LineDamage::Its(0, flip) if ACK ^ flip == NAK);
        assert!(done.len() <= 1 || turned, "done {} times", done.len());
        if outcome.is_ok() {
            assert_eq!((outcome, done.is_empty()), (Ok(vec![]), false));
        }
        // The next command gets its own answer, over the old connection or over a new one.
        if !matches!(framed.command(b'S', b"", WORK), Ok(name) if name == b"MODEL") {
            framed.reopen(WORK).unwrap();
            assert_eq!(framed.command(b'S', b"", WORK).unwrap(), b"MODEL");
        }
        let again = machine.lock().unwrap().done.iter().filter(|body| **body == wanted).count();
        assert_eq!(again, done.len(), "done again later");
    }
}

#[test]
fn a_broken_connection_is_reported_and_its_command_never_repeated() {
    let (ours, its) = lengths();
    for at in 0..ours + its {
        let (mut framed, machine) = session(LineDamage::Break(at));
        let outcome = framed.command(b'L', DATA, WORK);
        let done = machine.lock().unwrap().done.len();
        // If there is no error, only the acknowledgement of the answer may be lost.
        assert!(outcome == Err(DeviceError::Closed) || (outcome.is_ok() && done == 1), "{at}: {outcome:?}");
        framed.reopen(WORK).unwrap();
        assert_eq!(framed.command(b'S', b"", WORK).unwrap(), b"MODEL");
        assert_eq!(machine.lock().unwrap().done.len(), done + 1);
    }
}
