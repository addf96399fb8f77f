//! The composition root of a line: which link leads to which device, which driver speaks over it, and `hwsim` in place of
//! all of them. Only here are concrete drivers and links named.
//!
//! Not here: what a module does to a card (`modules`), the order of work (`pipeline`).

pub mod check;
pub mod disk;
pub mod links;
pub mod places;
pub mod simulator;
pub mod stations;
