//! To be written.

pub mod hsm_host;
pub mod inspect;
pub mod card;
pub mod common;
pub mod job;
#[cfg(test)]
mod ledger_tests;
pub mod log;
pub mod keys;
