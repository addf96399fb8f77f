//! Test helpers: a link that plays a script, in pieces, without waiting; and frames built from the page in
//! `wire` by other means than the codec.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use crate::link::{ByteLink, LinkError};

enum ScriptStep {
    Expect(Vec<u8>),
    Give(VecDeque<u8>),
    Silence,
    Close,
}

/// The events on a link, in order.
pub(crate) struct Script {
    steps: VecDeque<ScriptStep>,
    sent: Vec<u8>,
    piece: usize,
}

/// The link that plays a script.
pub(crate) struct ScriptLink(Arc<Mutex<Script>>);

/// Checks at the end that every event of the script happened, and nothing else.
pub(crate) struct ScriptCheck(Arc<Mutex<Script>>);

impl Script {
    pub(crate) fn new() -> Self {
        Self { steps: VecDeque::new(), sent: Vec::new(), piece: 3 }
    }

    /// The driver receives pieces of at most this many bytes.
    pub(crate) fn pieces_of(mut self, piece: usize) -> Self {
        self.piece = piece;
        self
    }

    /// The driver must send exactly these bytes before anything more comes.
    pub(crate) fn expect(mut self, bytes: &[u8]) -> Self {
        self.steps.push_back(ScriptStep::Expect(bytes.to_vec()));
        self
    }

    /// The driver receives these bytes.
    pub(crate) fn give(mut self, bytes: &[u8]) -> Self {
        self.steps.push_back(ScriptStep::Give(bytes.iter().copied().collect()));
        self
    }

    /// A framed machine takes this command and does it: ACK, status 0, and the driver's ACK.
    pub(crate) fn done(self, cmd: u8, data: &[u8]) -> Self {
        self.expect(&frame(&[&[cmd], data].concat())).give(&[0x06]).give(&frame(&[cmd, b'0'])).expect(&[0x06])
    }

    /// One wait ends in a timeout.
    pub(crate) fn silence(mut self) -> Self {
        self.steps.push_back(ScriptStep::Silence);
        self
    }

    /// The other end goes away.
    pub(crate) fn close(mut self) -> Self {
        self.steps.push_back(ScriptStep::Close);
        self
    }

    pub(crate) fn build(self) -> (ScriptLink, ScriptCheck) {
        let shared = Arc::new(Mutex::new(self));
        (ScriptLink(Arc::clone(&shared)), ScriptCheck(shared))
    }

    /// Skips the steps that are done.
    fn advance(&mut self) {
        loop {
            match self.steps.front() {
                Some(ScriptStep::Expect(bytes)) if self.sent.starts_with(bytes) => {
                    self.sent.drain(..bytes.len());
                    self.steps.pop_front();
                }
                Some(ScriptStep::Give(bytes)) if bytes.is_empty() => {
                    self.steps.pop_front();
                }
                _ => return,
            }
        }
    }
}

impl ByteLink for ScriptLink {
    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], _: Duration) -> Result<(), LinkError> {
        let mut script = self.0.lock().unwrap();
        script.sent.extend_from_slice(bytes);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        let mut script = self.0.lock().unwrap();
        script.advance();
        let piece = script.piece.min(buffer.len());
        match script.steps.front_mut() {
            Some(ScriptStep::Give(bytes)) => {
                let n = piece.min(bytes.len());
                for (to, byte) in buffer.iter_mut().zip(bytes.drain(..n)) {
                    *to = byte;
                }
                Ok(n)
            }
            Some(ScriptStep::Silence) => {
                script.steps.pop_front();
                Err(LinkError::Timeout(timeout))
            }
            Some(ScriptStep::Close) => Err(LinkError::Closed),
            Some(ScriptStep::Expect(_)) | None => Err(LinkError::Timeout(timeout)),
        }
    }
}

impl ScriptCheck {
    /// Checks that the driver sent all expected bytes, in order, and no more, and received all given ones.
    pub(crate) fn finished(&self) {
        let mut script = self.0.lock().unwrap();
        script.advance();
        let left = script.steps.iter().find(|s| !matches!(s, ScriptStep::Close));
        match left {
            None => assert_eq!(script.sent, b"", "sent more than expected"),
            Some(ScriptStep::Expect(bytes)) => panic!("expected {bytes:02X?}, sent {:02X?}", script.sent),
            Some(ScriptStep::Give(bytes)) => panic!("not taken: {bytes:02X?}"),
            Some(_) => panic!("no wait for the silence"),
        }
    }
}

impl ScriptCheck {
    /// Checks that nothing was sent beyond what was expected so far.
    pub(crate) fn no_more_sent(&self) {
        let mut script = self.0.lock().unwrap();
        script.advance();
        assert_eq!(script.sent, b"", "sent more than expected");
    }
}

/// Random bytes, up to `most`. On average every other one is taken from `special`, so that they get past the
/// first check. It is fast, because a soak asks for a million of them.
pub(crate) fn noise(most: usize, special: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u16>(), 0..most).prop_map(move |words| {
        let byte = |word: u16| {
            let [high, low] = word.to_be_bytes();
            if high < 128 { special[usize::from(high) % special.len()] } else { low }
        };
        words.into_iter().map(byte).collect()
    })
}

/// A machine at the other end: takes a byte and returns its answer.
pub(crate) trait MachineBehaviour: Send {
    fn take(&mut self, byte: u8) -> Vec<u8>;
    /// The connection was made again.
    fn reopened(&mut self) {}
}

/// Damage by the line to the bytes on it, which are counted from 0 in each direction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LineDamage {
    None,
    /// This byte from the driver arrives xored.
    Ours(usize, u8),
    /// This byte from the machine arrives xored.
    Its(usize, u8),
    /// The connection breaks after this many bytes, both ways together.
    Break(usize),
}

/// A link to a machine, over a line that does damage once. Waits for nothing.
pub(crate) struct DamagedLine<M> {
    machine: Arc<Mutex<M>>,
    on_its_way: VecDeque<u8>,
    damage: LineDamage,
    /// Number of bytes so far: from the driver, from the machine.
    counted: (usize, usize),
    broken: bool,
}

impl<M: MachineBehaviour> DamagedLine<M> {
    pub(crate) fn new(machine: M, damage: LineDamage) -> (Self, Arc<Mutex<M>>) {
        let machine = Arc::new(Mutex::new(machine));
        let shared = Arc::clone(&machine);
        let line = Self { machine, on_its_way: VecDeque::new(), damage, counted: (0, 0), broken: false };
        (line, shared)
    }

    fn breaks(&mut self) -> bool {
        self.broken |= matches!(self.damage, LineDamage::Break(at) if self.counted.0 + self.counted.1 == at);
        self.broken
    }
}

impl<M: MachineBehaviour> ByteLink for DamagedLine<M> {
    fn send(&mut self, bytes: &[u8], _: Duration) -> Result<(), LinkError> {
        for byte in bytes {
            if self.breaks() {
                return Err(LinkError::Closed);
            }
            let flip = if let LineDamage::Ours(at, flip) = self.damage
                && at == self.counted.0
            {
                flip
            } else {
                0
            };
            self.counted.0 += 1;
            self.on_its_way.extend(self.machine.lock().unwrap().take(byte ^ flip));
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        if self.breaks() {
            return Err(LinkError::Closed);
        }
        let byte = self.on_its_way.pop_front().ok_or(LinkError::Timeout(timeout))?;
        let flip = if let LineDamage::Its(at, flip) = self.damage
            && at == self.counted.1
        {
            flip
        } else {
            0
        };
        self.counted.1 += 1;
        buffer[0] = byte ^ flip;
        Ok(1)
    }

    fn reopen(&mut self, _: Duration) -> Result<(), LinkError> {
        self.on_its_way.clear();
        self.damage = LineDamage::None;
        self.broken = false;
        self.machine.lock().unwrap().reopened();
        Ok(())
    }
}

/// Every change of one byte, and every break, in a session of this many bytes in each direction.
pub(crate) fn damages(ours: usize, its: usize) -> impl Iterator<Item = LineDamage> {
    let flips = |n: usize| (0..n).flat_map(|at| (1..=255u8).map(move |flip| (at, flip)));
    let ours_damaged = flips(ours).map(|(at, flip)| LineDamage::Ours(at, flip));
    let its_damaged = flips(its).map(|(at, flip)| LineDamage::Its(at, flip));
    ours_damaged.chain(its_damaged).chain((0..ours + its).map(LineDamage::Break))
}

/// A frame with this body (cmd and data, or cmd, status and data), built by table from wire section 2.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let table = [(2, b'B'), (3, b'C'), (6, b'F'), (16, b'P'), (21, b'U')];
    let mut inner = Vec::new();
    for byte in body {
        match table.iter().find(|(special, _)| special == byte) {
            Some((_, stuffed)) => inner.extend([16, *stuffed]),
            None => inner.push(*byte),
        }
    }
    inner.push(3);
    let bcc = inner.iter().fold(0, |sum, byte| sum ^ byte);
    [vec![2], inner, vec![bcc]].concat()
}
