//! The software HSM, its store, host and client, against files and cards that are made here with raw ciphers,
//! from the words of `src/manual/cwf1.md` and the GlobalPlatform Card Specification 2.3.1 (GPCS): nothing of
//! `src/crypto`, `src/scp` or `src/record` is used to make them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod card;
mod file;
mod host;
mod keys;
mod personalize;
mod raw;
mod verify;
