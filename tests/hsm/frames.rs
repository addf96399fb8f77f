//! Frames that no client sends, from callers of every role and from strangers: none is carried out, so none uses a key.

use std::io::Write;
use std::path::Path;

use cardwright::hsm::{CallerRole, HsmError, HsmRefusal};

use super::door::Host;
use super::roles::{Operation, operations};
use crate::raw_caller::{CALL, RawCaller, frame, heard, refusal, rest, stranger};

/// Frames of a test run. `make soak` has a million.
fn frames() -> u32 {
    if std::env::var("FRAMES").is_ok_and(|frames| frames == "full") { 1_000_000 } else { 3_000 }
}

/// Random numbers (xorshift), each run others. A failure shows the seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }
}

/// A right request: the roles that may make it, and its message.
type Request = (&'static [CallerRole], Vec<u8>);

fn requests() -> Vec<Request> {
    operations()
        .into_iter()
        .map(|Operation { callers, ask, .. }| (callers, heard(callers[0], |client| ask(client)).1))
        .collect()
}

/// What a caller of this role sends after its greeting, which must be refused.
fn unlawful(random: &mut Random, role: CallerRole, requests: &[Request]) -> Vec<u8> {
    let (callers, right) = &requests[random.below(requests.len())];
    match random.below(6) {
        // Another role's, whole.
        0 if !callers.contains(&role) => frame(right),
        // Cut short.
        1 => frame(&right[..random.below(right.len())]),
        // Followed by something.
        2 => frame(&[right, &random.bytes(20)[..], &[0]].concat()),
        // No such request. Numbers of up to 127 take one byte.
        3 => {
            let number = requests.len() + random.below(128 - requests.len());
            frame(&[&[number as u8], &random.bytes(200)[..]].concat())
        }
        // Too long.
        4 => {
            let length = (1 << 20) + 1 + random.below(u32::MAX as usize - (1 << 20));
            [&(length as u32).to_be_bytes(), &random.bytes(200)[..]].concat()
        }
        // Nothing is left of it: a number that does not end.
        _ => frame(&[&[0xFF; 9][..], &random.bytes(200)].concat()),
    }
}

/// Sends one frame, and checks that it was refused and its connection closed.
fn send_frame(host: &RawCaller, random: &mut Random, requests: &[Request]) {
    let role = CallerRole::ALL[random.below(CallerRole::ALL.len())];
    let sent = unlawful(random, role, requests);
    let mut stream = host.admitted(role);
    stream.write_all(&sent).unwrap();
    let refusal = refusal(&rest(&mut stream));
    let refused = matches!(&refusal, Some(HsmError::Refused(HsmRefusal::Role | HsmRefusal::Frame(_))));
    assert!(refused, "{role:?} sent {}: {refusal:?}", hex::encode(sent));
}

/// Shows something that is no secret, and checks that it was sent away.
fn show_rubbish(socket: &Path, right: &RawCaller, random: &mut Random) {
    let mut call = right.call(CallerRole::ALL[random.below(CallerRole::ALL.len())]);
    match random.below(3) {
        0 => call = random.bytes(2 * CALL),
        1 => call.truncate(random.below(CALL - 1) + 1),
        _ => call[random.below(CALL)] ^= 1 << random.below(8),
    }
    if call.is_empty() {
        return;
    }
    let answer = rest(&mut stranger(socket, &call));
    assert!(answer.len() == 8 && answer[7] == b'S', "{answer:?} to {}", hex::encode(call));
}

#[test]
fn a_million_random_frames_use_no_key() {
    let host = Host::new();
    let requests = requests();
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).unwrap();
    let mut random = Random(u64::from_le_bytes(seed) | 1);
    let all = frames();
    for number in 0..all {
        let before = random.0;
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match number % 3 {
            0 => show_rubbish(&host.place.socket, &host.caller, &mut random),
            _ => send_frame(&host.caller, &mut random, &requests),
        }));
        assert!(sent.is_ok(), "frame {number}, seed {before:#x}");
    }
    // Those requests are right ones, and the host still answers.
    for Operation { name, callers, ask } in operations() {
        let answer = ask(&mut host.client(callers[0]));
        let refused = matches!(answer, Err(HsmError::Refused(HsmRefusal::Role | HsmRefusal::Frame(_))));
        assert!(!refused, "{name}: {answer:?}");
    }
}
