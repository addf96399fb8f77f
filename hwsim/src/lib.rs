//! Simulated cards and machines for Cardwright. TEST keys only; a production install does not ship this crate.

pub mod card;
