//! Simulated cards and machines for Cardwright. TEST keys only.

pub mod card;
pub mod faults;
pub mod pace;
pub mod profile;
pub mod rng;
pub mod timing;
