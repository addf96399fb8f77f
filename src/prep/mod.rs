//! The issuer's data preparation: cardholder data and master keys become an output file (WO 99/19846 FIG 2
//! and 3).
//!
//! ```text
//! CSV ─ input ─► Cardholder ─ fields ─► computed values ─ clear ─► ClearCard ─ protect ─► record::Cwf1Writer ─► file
//!       columns              emv, verification, pin      plan, template, plastic, photo
//! ```
//!
//! The `[prep]` tables of a product's profile define the contents of its cards ([`tables`] shows them); the
//! code knows fields, not products. Master keys stay with the issuer; only encrypted card keys leave. RSA is
//! not supported yet: certificates and card key pairs (FIG 4) are missing. Not here: custody of keys
//! (`hsm::store`), the layout of the file (`record`).

pub mod clear;
pub mod columns;
mod digits;
mod emv;
pub mod fields;
pub mod input;
pub mod keys;
mod output;
mod photo;
mod pin;
pub mod plan;
mod plastic;
mod protect;
mod rejects;
mod run;
mod samples;
pub mod tables;
pub mod template;
mod verification;

pub use run::{PrepRunArgs, SampleArgs, run, sample};

use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// Cardholder data or a secret in clear; wiped when dropped.
type ClearBytes = Zeroizing<Vec<u8>>;

/// Fills `bytes` with random bytes of the operating system.
fn fill_random(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes)
        .map_err(|e| Failure::new(Exit::Io, format!("device: the system gives no random numbers: {e}")))
}
