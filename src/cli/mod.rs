//! To be written.

pub mod inspect;
pub mod keys;
