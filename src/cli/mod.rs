//! To be written.

pub mod keys;
