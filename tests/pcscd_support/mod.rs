//! A real pcscd with virtual readers, and virtual cards for them, out of the way of everything else on the
//! machine.
//!
//! `scene` runs the pcscd, `card` is what lies in its readers, `machines` is `hwsim` behind them. Several
//! scenes run at the same time. Needs root, for the namespaces, and the Debian packages that [`scene`] names
//! when they are missing.

// No test uses all of it.
#![allow(dead_code, reason = "each program uses its part of what they share")]

pub mod card;
pub mod machines;
pub mod scene;
