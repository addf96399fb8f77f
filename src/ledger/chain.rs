//! The hash chain of the event table: hash = SHA-256(previous hash | canonical bytes of the event).
//!
//! Canonical bytes, never to change: `"CWL1"`, then the fields of [`Event`] in the order of their declaration.
//! Integer: u64 big-endian. Text: length u32 big-endian, then UTF-8. Optional: 00, or 01 and the value. Boolean: one
//! byte, 00 or 01. The number of blanks, which earlier events did not have, follows the last field where there is one, as an optional
//! value; where there is none, nothing follows. The first event's previous hash is 32 zero bytes.

use sha2::{Digest, Sha256};

use super::types::Event;

/// SHA-256.
pub(super) type Hash = [u8; 32];

/// What stands before the first event.
pub(super) const GENESIS: Hash = [0; 32];

/// The hash of an event that follows `previous`. `scratch` is a buffer to be used again.
pub(super) fn hash(previous: &Hash, event: &Event, scratch: &mut Vec<u8>) -> Hash {
    scratch.clear();
    canonical(event, scratch);
    Sha256::new().chain_update(previous).chain_update(scratch).finalize().into()
}

fn canonical(event: &Event, out: &mut Vec<u8>) {
    // Every field is named: a new one does not compile before it is chained.
    let Event {
        n,
        ts,
        job,
        seq,
        card_ref,
        attempt,
        blank,
        station,
        module,
        from,
        to,
        reason,
        detail,
        header,
        sw,
        position,
        ms,
        actor,
        simulated,
        count,
    } = event;
    out.extend_from_slice(b"CWL1");
    number(out, *n);
    number(out, *ts);
    text(out, job);
    optional(out, seq.map(u64::from), number);
    optional(out, card_ref.as_deref(), text);
    optional(out, attempt.map(u64::from), number);
    optional(out, blank.as_deref(), text);
    optional(out, station.as_deref(), text);
    optional(out, module.as_deref(), text);
    optional(out, from.as_deref(), text);
    text(out, to);
    optional(out, reason.as_deref(), text);
    optional(out, detail.as_deref(), text);
    optional(out, header.as_deref(), text);
    optional(out, sw.as_deref(), text);
    optional(out, position.map(u64::from), number);
    optional(out, *ms, number);
    optional(out, actor.as_deref(), text);
    out.push(u8::from(*simulated));
    if count.is_some() {
        optional(out, count.map(u64::from), number);
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl Fn(&mut Vec<u8>, T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            write(out, value);
        }
    }
}
