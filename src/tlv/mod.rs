//! The two length-prefixed codings inside card data: BER-TLV (ISO 7816-4 5.2.2, EMV Book 3 Annex B) and DGIs (EMV CPS
//! 3.2, module [`dgi`]). Zero-copy readers over a slice; writers that append to a vector.
//!
//! Reading: every object is bounded by its parent, at most [`MAX_DEPTH`] levels, non-minimal lengths are accepted,
//! indefinite ones are not, 00 bytes between objects are skipped (EMV Book 3 B1). Writing: lengths are minimal.
//! Not here: the meaning of tags, and any tree in memory.

mod ber;
pub mod dgi;

pub use ber::{MAX_DEPTH, Objects, Tag, Tlv, TlvError, find, objects, read_length, write, write_length};
