//! The software HSM, its store, host and client, against files and cards that are made here from the words of
//! DESIGN.md and standards.md with raw ciphers: nothing of `src/crypto`, `src/scp` or `src/record` is used to
//! make them.

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
