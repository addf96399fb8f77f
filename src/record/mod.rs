//! The output file CWF1 (WO 99/19846 FIG 5A-5D; DESIGN.md sections 3 and 4): streaming reader and writer, the chip
//! section, and acceptance into the spool.
//!
//! The codec does no I/O of its own beyond the `Read`/`Write` it is given, reads no clock, and holds one record in
//! memory. Not here: keys (a file's MACs are checked by `hsm`), what a section means to a machine (`modules`).

pub mod chip;
mod types;

pub use types::*;
