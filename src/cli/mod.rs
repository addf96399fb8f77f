//! To be written.

pub mod inspect;
