//! The output file CWF1 (WO 99/19846 FIG 5A-5D; `src/manual/cwf1.md`): streaming reader and writer, the chip
//! section, and acceptance into the spool.
//!
//! ```text
//! bytes → ReadWindow (buffer, running SHA-256) → Cwf1Reader → Frame (borrowed) → Record (owned)
//!                                                               └ CHP → chip::ApplicationView → chip::ChipApplication
//! envelope: opens the sealed file in which those bytes travel, as a stream
//! accept: Cwf1Reader over the input, which is copied into the spool and sealed in pieces
//! Spool:  reads one record again, and returns it only if its bytes have the accepted hash
//! ```
//!
//! The codec does no I/O beyond the `Read` or `Write` that it is given, reads no clock, and holds one record
//! in memory; only [`accept()`] and [`Spool`] know files. Not here: keys (a file's MACs are checked by
//! `hsm`), what a section means to a machine (`modules`), which MICs and products a line serves (the caller's
//! [`AcceptanceChecks`]).

mod accept;
mod batch;
pub mod chip;
pub(crate) mod cursor;
pub mod envelope;
mod error;
mod fields;
mod frame;
mod reader;
mod sealed;
mod spool;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "tests build files from small numbers")]
pub(crate) mod testing;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "tests build files from small numbers")]
mod tests;
mod types;
mod unique;
mod window;
mod writer;

pub use accept::{AcceptanceChecks, AcceptedFile, CheckedFile, accept, check, check_regular, open_input};
pub use batch::FrameBatch;
pub use error::{FileError, FileFault};
pub use frame::{Frame, SectionRef, others_digest};
pub use reader::{Cwf1Reader, FileEnd, FileLimits};
pub use sealed::{PIECE, PIECE_TAG, Sealer};
pub use spool::Spool;
pub use types::*;
pub use writer::{Cwf1Writer, Finished, TrailerKey, TrailerMac};
