//! HSMs, their store, host and client, against files and cards that these tests make from `src/manual/cwf1.md`,
//! EMV CPS and GPCS with raw ciphers, without `src/crypto`, `src/scp` and `src/record`.
//!
//! `verify`, `personalize`, `host`, `door`, `roles`, `frames` and `journal` are the suite that every HSM passes. A folder for each
//! HSM runs it: `softhsm2`, and `software`, which also runs `attempts`, `chain` and `papers`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test fails by panicking, and its numbers are small"
)]
#![allow(clippy::duplicate_mod, reason = "the suite is built once for each HSM")]

mod bound;
mod callers;
mod card;
mod ceremony;
mod custody;
mod file;
mod key_blocks;
mod keys;
mod raw;
mod raw_caller;
mod softhsm2;
mod software;
mod terminal;
#[path = "../v1_store/mod.rs"]
mod v1_store;
