//! A real pcscd with virtual readers, and virtual cards for them, separate from everything else on the
//! computer.
//!
//! `scene` runs the pcscd, `card` is a card in its readers, `machines` is `hwsim` at their other end. Several
//! scenes run at a time. Needs root, for the namespaces, and the Debian packages that [`scene`] names if they
//! are missing.

// Each test program uses only a part of this module.
#![allow(dead_code, reason = "each program uses its part of what they share")]

pub mod card;
pub mod machines;
pub mod scene;
