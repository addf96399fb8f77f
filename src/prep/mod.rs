//! The issuer's data preparation: cardholder data and master keys become an output file (WO 99/19846 FIG 2
//! to 4).
//!
//! ```text
//! CSV ─ input ─► Cardholder ─ fields ─► values ─ order ─► OrderedCard ─ maker ─► record::Cwf1Writer ─► file
//!       join,                           │ plan, template,  ▲           │
//!       columns                         │ plastic, photo   │           └─ HSM: keys, PIN blocks, encryption, MACs
//!                                       └─ HSM: CVV, PVV   └─ unfinished: what an earlier pass has made
//! ```
//!
//! The `[prep]` tables of a product's profile define the contents of its cards ([`tables`] shows them); the
//! code knows fields, not products. Master keys stay in the issuer's HSM, and card keys exist in the clear nowhere else.
//! Certificates and card key pairs (FIG 4): `issuer_desk`, `key_pairs`, `pool`, `offline`. Not here: custody of keys
//! (`hsm::store`), the layout of the file (`record`).

mod agreement;
pub mod allow;
pub mod check_return;
pub mod columns;
pub mod counter;
pub mod delivery;
pub mod dry_run;
pub mod fields;
mod hashed;
pub mod input;
pub mod issuer_desk;
mod join;
pub mod key_pairs;
pub mod keys;
mod maker;
pub mod offline;
pub mod order;
mod output;
mod own_field;
mod photo;
pub mod plan;
mod plastic;
pub mod pool;
pub mod preview;
mod rejects;
mod report;
mod run;
mod samples;
pub mod tables;
pub mod template;
#[cfg(test)]
mod testing;
pub mod today;
mod transliterate;
mod unfinished;

pub use output::write_output;
pub use run::{PrepRunArgs, SampleArgs, run, sample};

use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// Cardholder data or a secret in clear; wiped when dropped.
type ClearBytes = Zeroizing<Vec<u8>>;

/// Fills `bytes` with random bytes of the operating system.
pub fn fill_random(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes)
        .map_err(|e| Failure::new(Exit::Io, format!("device: the system gives no random numbers: {e}")))
}
