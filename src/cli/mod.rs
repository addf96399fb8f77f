//! To be written.

pub mod hsm_host;
pub mod inspect;
pub mod keys;
