//! The whole line with real programs: issuer's preparation, controller, HSM host, simulator. One test binary
//! for everything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod again;
mod against;
mod artwork;
mod attempts;
mod authentication;
mod bad_input;
mod bad_profile;
mod bad_words;
mod blows;
mod books;
mod breakers;
#[path = "../clear_cards/mod.rs"]
mod clear_cards;
mod closed_output;
mod crosscheck;
mod daemon;
mod daemon_files;
mod deletion;
mod delivery;
mod devices;
mod expected;
mod exported;
mod faults;
mod first_card;
mod foreign_files;
mod own_profiles;
mod papers;
#[path = "../pcscd_support/mod.rs"]
mod pcscd_support;
mod people;
#[path = "../prep_support/mod.rs"]
mod prep_support;
mod resumed;
mod secrets;
mod shipped;
mod smoke;
mod stock;
mod stopped;
mod storm;
mod stripe_first;
mod supplies;
mod support;
mod threads;
mod truth;
#[path = "../v1_store/mod.rs"]
mod v1_store;
mod wiring;
mod wiring_blind;
