//! `cardwright-prep` as issuers run it, and the files that it writes. One program, because each takes a while to link.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../clear_cards/mod.rs"]
mod clear_cards;
mod cli;
mod hsm;
mod offline;
mod passes;
mod people;
#[path = "../prep_support/mod.rs"]
mod prep_support;
mod protection;
#[path = "../v1_store/mod.rs"]
mod v1_store;
